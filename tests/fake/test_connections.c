/* SPDX-License-Identifier: BSD-3-Clause */
/* What holds of every connection, whatever travels on it: what it leaves in memory, how it takes a
 * server that hangs up, and how much of a reply it believes before that has come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/client.h"
#include "base/error.h"
#include "net/refresher_private.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"
#include "support/strain.h"

#include <keyway.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSWORD "sesame-7716-open"

static kw_fake *fake;

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fake);
    return 0;
}

/* An allocator that looks for the password in what is given back to it, and knows the largest
 * block. */
typedef struct watch {
    kw_allocator allocator;
    atomic_uint found_n;
    atomic_size_t largest;
} watch;

typedef union head {
    size_t len;
    max_align_t align;
} head;

static void *watched_alloc(void *arg, size_t len)
{
    watch *self = arg;
    head *block = malloc(sizeof(head) + len);
    if (block == NULL) {
        return NULL;
    }
    if (len > atomic_load(&self->largest)) {
        atomic_store(&self->largest, len);
    }
    block->len = len;
    return block + 1;
}

static void watched_free(void *arg, void *data)
{
    watch *self = arg;
    if (data == NULL) {
        return;
    }
    head *block = (head *)data - 1;
    for (size_t i = 0; i + sizeof(PASSWORD) - 1 <= block->len; i++) {
        if (memcmp((char *)data + i, PASSWORD, sizeof(PASSWORD) - 1) == 0) {
            atomic_fetch_add(&self->found_n, 1);
        }
    }
    free(block);
}

/* Always moves: what a block held is seen by free. */
static void *watched_resize(void *arg, void *data, size_t len)
{
    void *fresh = watched_alloc(arg, len);
    if (fresh != NULL && data != NULL) {
        size_t before = ((head *)data - 1)->len;
        memcpy(fresh, data, before < len ? before : len);
        watched_free(arg, data);
    }
    return fresh;
}

static kw_client *open_watched(watch *self, const char *query)
{
    char uri[300];
    kw_error error = KW_ERROR_INIT;
    memset(self, 0, sizeof(*self));
    self->allocator.size = sizeof(self->allocator);
    self->allocator.arg = self;
    self->allocator.malloc_fn = watched_alloc;
    self->allocator.realloc_fn = watched_resize;
    self->allocator.free_fn = watched_free;
    kw_config *config = kw_config_new(&self->allocator);
    snprintf(uri, sizeof(uri), "%s?%s", kw_fake_uri(fake), query);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *kw = kw_open_config(config, &error);
    kw_config_free(config);
    assert_non_null(kw);
    return kw;
}

/* HELLO, and AUTH for a server that does not know HELLO; a batch that makes the buffer grow beside
 * the greeting. */
static void test_connection_leaves_no_password_in_freed_memory(void **state)
{
    (void)state;
    watch memory;
    for (int is_old = 0; is_old < 2; is_old++) {
        kw_fake_reset(fake);
        if (is_old) {
            kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
        }
        kw_client *kw = open_watched(&memory, "password=" PASSWORD "&client-name=somebody");
        for (int i = 0; i < 3; i++) {
            kw_reply_free(kw_test_ask(kw, "PING"));
            kw_fake_disconnect(fake, false);
        }
        kw_close(kw);
        assert_true(kw_fake_count(fake, is_old ? "AUTH " PASSWORD : "HELLO * " PASSWORD "*") > 0);
        assert_int_equal(atomic_load(&memory.found_n), 0);
    }
}

/* How many recvs and sends there were between two looks at the clock, at most. */
typedef struct pace {
    kw_test_strain strain;
    atomic_uint recvs_n;
    atomic_uint sends_n;
    atomic_uint recvs_most;
    atomic_uint sends_most;
} pace;

static void count_pace(void *arg, kw_test_syscall what, bool is_after)
{
    pace *self = arg;
    if (is_after && what == KW_TEST_RECV) {
        atomic_fetch_add(&self->recvs_n, 1);
    } else if (is_after && what == KW_TEST_SEND) {
        atomic_fetch_add(&self->sends_n, 1);
    }
}

static void keep_most(atomic_uint *most, atomic_uint *n)
{
    unsigned seen = atomic_exchange(n, 0);
    if (seen > atomic_load(most)) {
        atomic_store(most, seen);
    }
}

static uint64_t look_at_clock(void *arg)
{
    pace *self = arg;
    keep_most(&self->recvs_most, &self->recvs_n);
    keep_most(&self->sends_most, &self->sends_n);
    return kw_test_now_ns();
}

static void pace_begin(pace *self, kw_client *kw)
{
    memset(self, 0, sizeof(*self));
    kw_test_strain_init(&self->strain, 1);
    atomic_store(&self->strain.hook_arg, self);
    atomic_store(&self->strain.hook, count_pace);
    kw->topology->env.transport = &self->strain.transport;
    kw->topology->env.clock.arg = self;
    kw->topology->env.clock.now_fn = look_at_clock;
}

enum { LARGE = 48 * 1024 * 1024, TURN_RECVS = 40, TURN_SENDS = 8 };

static void answer_large(const char *value)
{
    char *large = malloc(LARGE + 64);
    assert_non_null(large);
    size_t len = kw_fake_bulk(large, value, LARGE);
    const kw_fake_step steps[] = {KW_FAKE_BYTES(large, len), KW_FAKE_END};
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET *", steps);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "SET *", "+OK");
    free(large);
}

static void call(kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, NULL, command);
    if (reply == NULL) {
        kw_test_die("%s: %s", command.argv[0], error.text);
    }
    kw_reply_free(reply);
}

static void batch(kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *it = kw_batch_new(kw, &error);
    assert_non_null(it);
    assert_int_equal(kw_batch_add_argv(it, &error, command.argc, command.argv, command.argvlen),
                     KW_OK);
    assert_int_equal(kw_batch_run(it, &error, 0), KW_OK);
    kw_batch_free(it);
}

static void ticket(kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_ticket *it = kw_submit_call(kw, &error, NULL, command);
    assert_non_null(it);
    kw_reply *reply = kw_ticket_await(it, &error);
    assert_non_null(reply);
    kw_reply_free(reply);
    kw_ticket_free(it);
}

/* However much a server sends or takes at once, the clock is looked at between bounded parts. */
static void test_connection_that_stays_full_does_not_keep_the_clock_away(void **state)
{
    (void)state;
    static void (*const ways[])(kw_client *, kw_argv) = {call, batch, ticket};
    char *value = malloc(LARGE);
    assert_non_null(value);
    memset(value, 'v', LARGE);
    answer_large(value);
    const char *get[] = {"GET", "large"};
    const char *set[] = {"SET", "large", value};
    const size_t set_lens[] = {3, 5, LARGE};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        pace paced;
        kw_client *kw = kw_test_open("%s?timeout=60s&stall-timeout=60s", kw_fake_uri(fake));
        pace_begin(&paced, kw);
        ways[i](kw, (kw_argv){2, get, NULL});
        ways[i](kw, (kw_argv){3, set, set_lens});
        if (atomic_load(&paced.recvs_most) > TURN_RECVS ||
            atomic_load(&paced.sends_most) > TURN_SENDS) {
            kw_test_die("way %zu: %u recvs, %u sends without a look at the clock", i,
                        atomic_load(&paced.recvs_most), atomic_load(&paced.sends_most));
        }
        kw_close(kw);
    }
    free(value);
}

/* A way to send: the reply's text, or "" and why there is none. */
typedef struct outcome {
    char text[100];
    kw_err code;
    kw_effect effect;
} outcome;

static void note(outcome *it, const kw_reply *reply, const kw_error *error)
{
    const char *text = kw_reply_str(reply, NULL);
    snprintf(it->text, sizeof(it->text), "%s", text != NULL ? text : "");
    it->code = reply != NULL ? KW_OK : error->code;
    it->effect = reply != NULL ? KW_EFFECT_DONE : error->effect;
}

static void by_call(outcome *it, kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, NULL, command);
    note(it, reply, &error);
    kw_reply_free(reply);
}

static void by_batch(outcome *it, kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *all = kw_batch_new(kw, &error);
    assert_int_equal(kw_batch_add_argv(all, &error, command.argc, command.argv, command.argvlen),
                     KW_OK);
    (void)kw_batch_run(all, NULL, 0);
    note(it, kw_batch_reply(all, &error, 0), &error);
    kw_batch_free(all);
}

static void by_ticket(outcome *it, kw_client *kw, kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_ticket *one = kw_submit_call(kw, &error, NULL, command);
    assert_non_null(one);
    kw_reply *reply = kw_ticket_await(one, &error);
    note(it, reply, &error);
    kw_reply_free(reply);
    kw_ticket_free(one);
}

typedef void (*way)(outcome *it, kw_client *kw, kw_argv command);
static const way all_ways[] = {by_call, by_batch, by_ticket};
enum { WAYS = 3 };

#define PROTOCOL_ERROR "ERR Protocol error: invalid bulk length"

/* A server that refuses a command by its head says so, and hangs up on the rest of it. */
static void test_connection_that_is_hung_up_on_has_heard_why(void **state)
{
    (void)state;
    char *value = malloc(LARGE);
    assert_non_null(value);
    memset(value, 'v', LARGE);
    const char *set[] = {"SET", "large", value};
    const size_t lens[] = {3, 5, LARGE};
    for (size_t i = 0; i < WAYS; i++) {
        kw_fake_reset(fake);
        kw_fake_on(fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *",
                   KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_PART(100000),
                                 KW_FAKE_SEND("-" PROTOCOL_ERROR "\r\n"), KW_FAKE_CLOSE));
        kw_client *kw = kw_test_open("%s?timeout=20s", kw_fake_uri(fake));
        unsigned before_n = kw_fake_accepted(fake);
        outcome it;
        all_ways[i](&it, kw, (kw_argv){3, set, lens});
        assert_string_equal(it.text, PROTOCOL_ERROR);
        assert_int_equal(kw_fake_accepted(fake) - before_n, 1);
        kw_close(kw);
    }
    free(value);
}

/* A server that hangs up in the middle without a word gets the command a few times, no more. */
static void test_connection_large_command_is_not_sent_again_and_again(void **state)
{
    (void)state;
    enum { SENDS_MAX = 4 };
    char *value = malloc(LARGE);
    assert_non_null(value);
    memset(value, 'v', LARGE);
    const char *set[] = {"SET", "large", value};
    const size_t lens[] = {3, 5, LARGE};
    for (size_t i = 0; i < WAYS; i++) {
        kw_fake_reset(fake);
        kw_fake_on(fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *",
                   KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_PART(100000), KW_FAKE_RESET));
        kw_client *kw = kw_test_open("%s?timeout=20s", kw_fake_uri(fake));
        unsigned before_n = kw_fake_accepted(fake);
        outcome it;
        all_ways[i](&it, kw, (kw_argv){3, set, lens});
        assert_int_equal(it.code, KW_ERR_CLOSED);
        assert_int_equal(it.effect, KW_EFFECT_NONE);
        assert_in_range(kw_fake_accepted(fake) - before_n, 1, SENDS_MAX);
        kw_close(kw);
    }
    free(value);
}

/* A read whose reply makes the server hang up: the loss is CLOSED, and it is not repeated for
 * ever. */
static void test_connection_lost_behind_its_greeting_is_closed(void **state)
{
    (void)state;
    const char *get[] = {"GET", "poison"};
    for (size_t i = 0; i < WAYS; i++) {
        kw_fake_reset(fake);
        kw_fake_log_clear(fake);
        kw_fake_on(fake, KW_FAKE_ALWAYS, "GET poison", KW_FAKE_STEPS(KW_FAKE_CLOSE));
        kw_client *kw = kw_test_open("%s?timeout=20s", kw_fake_uri(fake));
        outcome it;
        all_ways[i](&it, kw, (kw_argv){2, get, NULL});
        assert_int_equal(it.code, KW_ERR_CLOSED);
        assert_int_equal(it.effect, KW_EFFECT_MAYBE);
        assert_in_range(kw_fake_count(fake, "GET poison"), 1, 5);
        kw_close(kw);
    }
}

/* A proxy that does not know HELLO hangs up: it is greeted with older commands, from then on. */
static void test_connection_to_who_hangs_up_at_hello_is_greeted_without(void **state)
{
    (void)state;
    static const char *const queries[] = {"", ("&password=" PASSWORD), "&db=3", "&share-above=0"};
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        kw_fake_reset(fake);
        kw_fake_log_clear(fake);
        kw_fake_on(fake, KW_FAKE_ALWAYS, "HELLO *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
        kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "SET *", "+OK");
        kw_client *kw = kw_test_open("%s?timeout=10s%s", kw_fake_uri(fake), queries[i]);
        for (int k = 0; k < 3; k++) {
            kw_test_ask_ok(kw, "SET a b");
            kw_fake_disconnect(fake, false);
            kw_fake_await_open(fake, 0);
            kw_test_sleep_ms(5); /* a connection used a moment ago is not looked at */
        }
        assert_in_range(kw_fake_count(fake, "HELLO *"), 1, 2);
        assert_int_equal(kw_fake_count(fake, "SET a b"), 3);
        kw_close(kw);
    }
}

/* Where the older greeting fails as well, it was another trouble: HELLO is tried again. */
static void test_connection_hello_is_tried_again_where_nothing_works(void **state)
{
    (void)state;
    kw_fake_on_accept(fake, 4, KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "SET *", "+OK");
    kw_client *kw = kw_test_open("%s?timeout=10s", kw_fake_uri(fake));
    kw_test_ask_ok(kw, "SET a b");
    assert_int_equal(kw_fake_count(fake, "HELLO *"), 1);
    kw_close(kw);
}

static uint64_t stand_still(void *arg)
{
    (void)arg;
    return 1000000000u;
}

typedef struct asker {
    kw_client *kw;
    const char *command;
    atomic_bool is_over;
    pthread_t thread;
} asker;

static void *ask_one(void *arg)
{
    asker *self = arg;
    kw_reply_free(kw_test_ask(self->kw, self->command));
    atomic_store(&self->is_over, true);
    return NULL;
}

static void asker_start(asker *self, kw_client *kw, const char *command)
{
    self->kw = kw;
    self->command = command;
    atomic_init(&self->is_over, false);
    assert_int_equal(pthread_create(&self->thread, NULL, ask_one, self), 0);
}

static bool is_reading_long(kw_lane *lane)
{
    kw_monitor_lock(&lane->monitor);
    bool is_long = lane->stream.is_long;
    kw_monitor_unlock(&lane->monitor);
    return is_long;
}

static size_t queued_n(kw_lane *lane)
{
    kw_monitor_lock(&lane->monitor);
    size_t n = lane->queue.n;
    kw_monitor_unlock(&lane->monitor);
    return n;
}

/* Two dials at once meet a proxy that hangs up at HELLO: neither is a failure of the server. */
static void test_connection_hang_up_at_hello_is_no_failure_for_each_dial_at_once(void **state)
{
    (void)state;
    kw_fake_on(fake, KW_FAKE_ALWAYS, "HELLO *", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_CLOSE));
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "SET *", "+OK");
    kw_client *kw =
        kw_test_open("%s?timeout=20s&connect-timeout=20s&share-above=60000", kw_fake_uri(fake));
    asker askers[2];
    for (size_t i = 0; i < 2; i++) {
        asker_start(&askers[i], kw, "SET a b");
    }
    KW_TEST_AWAIT(kw_fake_at_gates(fake) == 2);
    for (size_t i = 0; i < 2; i++) {
        kw_fake_pass(fake);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(askers[i].thread, NULL);
    }
    assert_int_equal(kw_test_stats(kw).connect_failures, 0);
    assert_int_equal(kw_fake_count(fake, "SET a b"), 2);
    kw_close(kw);
}

/* Short commands do not wait for a long reply on the connection that they share: neither what comes
 * while it is read, nor what was queued before it was known to be long. The clock stands still, so
 * that nothing is but what the reply's length does. */
static void test_connection_long_reply_holds_no_short_one_up(void **state)
{
    (void)state;
    enum { LONG = 1000000, PART = 300000 };
    char *reply = malloc(LONG + 64);
    char *value = calloc(1, LONG);
    assert_non_null(reply);
    assert_non_null(value);
    size_t len = kw_fake_bulk(reply, value, LONG);
    const kw_fake_step steps[] = {KW_FAKE_GATE, KW_FAKE_BYTES(reply, PART), KW_FAKE_GATE,
                                  KW_FAKE_BYTES(reply + PART, len - PART), KW_FAKE_END};
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "GET short*", "+v");
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET long", steps);
    kw_client *kw =
        kw_test_open("%s?share-above=0&timeout=60s&stall-timeout=60s", kw_fake_uri(fake));
    kw_reply_free(kw_test_ask(kw, "GET short"));
    kw->topology->env.clock.now_fn = stand_still;
    kw_lane *lane = &kw->topology->env.nodes->lane;
    asker long_one, queued, later;
    asker_start(&long_one, kw, "GET long");
    KW_TEST_AWAIT(kw_fake_at_gates(fake) == 1)
    asker_start(&queued, kw, "GET short:1");
    KW_TEST_AWAIT(queued_n(lane) == 1)
    kw_fake_pass(fake);
    KW_TEST_AWAIT(is_reading_long(lane))
    KW_TEST_AWAIT(atomic_load(&queued.is_over))
    asker_start(&later, kw, "GET short:2");
    KW_TEST_AWAIT(atomic_load(&later.is_over))
    assert_false(atomic_load(&long_one.is_over));
    kw_fake_pass(fake);
    KW_TEST_AWAIT(atomic_load(&long_one.is_over))
    kw_test_join(long_one.thread);
    kw_test_join(queued.thread);
    kw_test_join(later.thread);
    assert_false(is_reading_long(lane));
    kw_close(kw);
    free(reply);
    free(value);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* A call leaves a connection in its greeting, whose command of that pattern is answered with the
 * steps once nobody waits any more: the next call hears nothing of it. */
static void leave_in_greeting(const char *pattern, const kw_fake_step *steps)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *kw =
        kw_test_open("redis://%s?timeout=200ms&connect-timeout=300ms&db=1", kw_fake_address(fake));
    kw_fake_on(fake, 1, pattern, steps);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
    kw_reply *reply = kw_command(kw, &error, "GET a");
    assert_null(reply);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_fake_pass(fake);
    kw_test_sleep_ms(400); /* its own time is over as well */
    reply = kw_command(kw, &error, "GET a");
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    kw_close(kw);
}

/* A greeting that nobody waited for any more is answered with garbage: that is of then. */
static void test_connection_left_in_its_greeting_says_nothing_later(void **state)
{
    (void)state;
    leave_in_greeting("HELLO *", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":12x\r\n")));
}

/* Nor does what came unasked behind the greeting, in one piece with it. */
static void test_connection_left_in_its_greeting_ends_no_later_call(void **state)
{
    (void)state;
    leave_in_greeting("SELECT *",
                      KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("+OK\r\nHTTP/1.1 400\r\n")));
}

/* Time that goes on when a test says so. */
static uint64_t told_ns;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return told_ns;
}

static kw_client *open_by_told_time(kw_node **node)
{
    kw_client *kw = kw_test_open("redis://%s?timeout=20s", kw_fake_address(fake));
    kw_env *env = &kw->topology->env;
    told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    *node = kw_node_new(env, &env->options.seeds[0]);
    assert_non_null(*node);
    return kw;
}

/* Goes on until the connect is over. */
static void await_connect(kw_conn *conn, kw_error *error)
{
    KW_TEST_UNTIL(conn->state != KW_CONN_CONNECTING)
    {
        struct pollfd entry = {conn->socket, POLLOUT, 0};
        short revents = poll(&entry, 1, 10) > 0 ? entry.revents : 0;
        assert_int_equal(kw_conn_progress(conn, error, revents), KW_OK);
    }
}

/* A connect that was over long ago, and that nobody looked at: the time is no round trip, the
 * greeting has its own, and what it hears ends no call. */
static void test_connect_that_was_left_alone_is_no_round_trip(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_node *node;
    kw_conn *conn = NULL;
    kw_client *kw = open_by_told_time(&node);
    kw_env *env = &kw->topology->env;
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", ":12x");
    assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
    told_ns += (uint64_t)60000000000;
    await_connect(conn, &error);
    assert_true(conn->was_left);
    assert_true(conn->deadline_ns > told_ns);
    assert_int_equal(kw_env_patience_ns(env, 1000000), 1000000);
    kw_err code = KW_OK;
    KW_TEST_UNTIL(code != KW_OK)
    {
        struct pollfd entry = {conn->socket, POLLIN, 0};
        short revents = poll(&entry, 1, 10) > 0 ? entry.revents : 0;
        code = kw_conn_progress(conn, &error, revents);
    }
    assert_int_equal(code, KW_ERR_HANDSHAKE);
    kw_node_release(node, conn, told_ns, &error);
    kw_node_unref(node);
    kw_close(kw);
}

/* Nor does it end one that has sent its command together with the greeting, and waits. */
static void test_connect_that_was_left_alone_ends_no_call_that_waits(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_node *node;
    kw_conn *conn = NULL;
    kw_client *kw = open_by_told_time(&node);
    kw_request request;
    kw_request_init(&request);
    request.bytes = kw_bytes_of("*1\r\n$4\r\nPING\r\n");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "*1073741824");
    assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
    told_ns += (uint64_t)60000000000;
    await_connect(conn, &error);
    assert_true(conn->was_left);
    assert_int_equal(kw_conn_queue(conn, &error, &request, false), KW_OK);
    assert_int_equal(kw_conn_flush(conn, &error), KW_OK);
    uint64_t until_ns = told_ns + (uint64_t)20000000000;
    assert_int_equal(kw_conn_wait(conn, &error, &request, told_ns, until_ns), KW_ERR_HANDSHAKE);
    kw_node_release(node, conn, told_ns, &error);
    kw_node_unref(node);
    kw_close(kw);
}

/* HELLO is refused at the end of the greeting's time: the older greeting is a step of its own. */
static void test_connection_whose_hello_is_refused_has_time_for_the_older_greeting(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_conn *conn = NULL;
    kw_client *kw = kw_test_open("redis://%s?timeout=20s&db=1", kw_fake_address(fake));
    kw_env *env = &kw->topology->env;
    told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    kw_node *node = kw_node_new(env, &env->options.seeds[0]);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
    assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
    await_connect(conn, &error);
    told_ns = conn->deadline_ns - 1;
    KW_TEST_UNTIL(conn->begun_ns == told_ns)
    {
        struct pollfd entry = {conn->socket, POLLIN, 0};
        short revents = poll(&entry, 1, 10) > 0 ? entry.revents : 0;
        assert_int_equal(kw_conn_progress(conn, &error, revents), KW_OK);
        assert_int_not_equal(conn->state, KW_CONN_READY);
    }
    assert_true(conn->deadline_ns > told_ns + 1);
    kw_error_set(&error, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the test is over");
    kw_node_release(node, conn, told_ns, &error);
    kw_node_unref(node);
    kw_close(kw);
}

static void test_connection_greeting_has_as_long_as_its_connect_took(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_node *node;
    kw_conn *conn = NULL;
    kw_client *kw = open_by_told_time(&node);
    uint64_t begun_ns = told_ns;
    assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
    told_ns = conn->deadline_ns - 1000000; /* the server is far away */
    await_connect(conn, &error);
    assert_false(conn->was_left);
    assert_true(conn->deadline_ns >= told_ns + (told_ns - begun_ns));
    kw_error_set(&error, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the test is over");
    kw_node_release(node, conn, told_ns, &error);
    kw_node_unref(node);
    kw_close(kw);
}

/* "What was too short for all is longer the next time": one time, however many were dialled. */
static void test_connects_that_were_too_short_together_double_the_time_once(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_test_open("redis://%s?timeout=20s", kw_fake_address(fake));
    kw_env *env = &kw->topology->env;
    kw_endpoint endpoint = env->options.seeds[0];
    kw_node *node = kw_node_new(env, &endpoint);
    assert_non_null(node);
    uint64_t now_ns = kw_env_now(env);
    for (unsigned round = 1; round <= 3; round++) {
        kw_conn *conns[3] = {NULL, NULL, NULL};
        size_t n = round == 1 ? 3 : 1; /* a node that fails is dialled by one alone */
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(kw_node_try_acquire(node, &conns[i], &error, now_ns, true), KW_OK);
        }
        now_ns += (uint64_t)60000000000;
        for (size_t i = 0; i < n; i++) {
            (void)kw_conn_tell_overdue(conns[i], &error);
            kw_node_release(node, conns[i], now_ns, &error);
        }
        assert_int_equal(node->overdue_n, round);
        now_ns += (uint64_t)60000000000;
    }
    kw_node_unref(node);
    kw_close(kw);
}

/* A probe gives a connect up long before its time is over: that it was too short is not known. */
static void test_connect_that_was_given_up_before_its_time_doubles_no_time(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_node *node;
    kw_client *kw = open_by_told_time(&node);
    for (unsigned i = 0; i < 3; i++) {
        kw_conn *conn = NULL;
        assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
        assert_int_equal(conn->deadline_ns - told_ns, kw_conn_connect_ns(conn->env));
        told_ns = conn->deadline_ns - 1;
        (void)kw_conn_tell_overdue(conn, &error);
        kw_node_release(node, conn, told_ns, &error);
        told_ns += (uint64_t)60000000000;
    }
    kw_node_unref(node);
    kw_close(kw);
}

/* Callers dial as many as a node has under way at once: a connection that all share is not one of
 * them, nor is one for a question of the handle's. */
static void test_connect_of_many_does_not_wait_for_those_of_each(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_error over = KW_ERROR_INIT;
    kw_client *kw = kw_test_open("redis://%s?timeout=20s", kw_fake_address(fake));
    kw_env *env = &kw->topology->env;
    kw_node *node = kw_node_new(env, &env->options.seeds[0]);
    assert_non_null(node);
    uint64_t now_ns = kw_env_now(env);
    uint64_t retry_ns = 0;
    kw_conn *conns[KW_HEALTH_DIALS_MAX] = {NULL};
    kw_conn *many = NULL;
    kw_conn *asks = NULL;
    for (size_t i = 0; i < KW_HEALTH_DIALS_MAX; i++) {
        assert_int_equal(kw_node_try_acquire(node, &conns[i], &error, now_ns, false), KW_OK);
    }
    assert_int_equal(kw_node_try_acquire(node, &asks, &error, now_ns, false), KW_ERR_POOL_FULL);
    assert_int_equal(kw_node_open_shared(node, &many, &error, &retry_ns, now_ns), KW_OK);
    assert_int_equal(kw_node_try_acquire(node, &asks, &error, now_ns, true), KW_OK);
    kw_error_set(&over, KW_ERR_CONNECT, KW_EFFECT_NONE, "refused");
    for (size_t i = 0; i < KW_HEALTH_DIALS_MAX; i++) {
        kw_node_release(node, conns[i], now_ns, &over);
    }
    kw_node_release(node, asks, now_ns, &over);
    asks = NULL; /* one that fails is dialled by one alone, whoever it is */
    assert_int_equal(kw_node_try_acquire(node, &asks, &error, now_ns, true), KW_ERR_CONNECT);
    kw_node_release_shared(node, many, now_ns, &over);
    kw_node_unref(node);
    kw_close(kw);
}

/* Nobody drove the fetch until the time of its connection was over, which was answered long before.
 */
static void test_fetch_looks_at_a_connection_whose_time_is_over(void **state)
{
    (void)state;
    kw_fake_on(fake, KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_GATE));
    kw_client *kw =
        kw_test_open("redis-cluster://%s?timeout=20s&connect-timeout=10ms", kw_fake_address(fake));
    kw_refresher *refresher = &kw->topology->refresher;
    kw_env *env = &kw->topology->env;
    told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    (void)kw_refresher_want(refresher);
    told_ns += (uint64_t)10000000000;
    kw_refresher_drive(refresher, told_ns, NULL);
    const kw_conn *conn = refresher->asks[0].conn;
    assert_non_null(conn);
    assert_int_not_equal(conn->state, KW_CONN_READY);
    KW_TEST_AWAIT(kw_fake_at_gates(fake) == 1) /* behind the answers to the greeting */
    told_ns = conn->deadline_ns;
    assert_true(told_ns < refresher->asks[0].deadline_ns);
    kw_refresher_drive(refresher, told_ns, NULL);
    assert_int_equal(refresher->failures_n, 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection_leaves_no_password_in_freed_memory),
        TEST(test_connection_that_stays_full_does_not_keep_the_clock_away),
        TEST(test_connection_that_is_hung_up_on_has_heard_why),
        TEST(test_connection_large_command_is_not_sent_again_and_again),
        TEST(test_connection_lost_behind_its_greeting_is_closed),
        TEST(test_connection_to_who_hangs_up_at_hello_is_greeted_without),
        TEST(test_connection_hang_up_at_hello_is_no_failure_for_each_dial_at_once),
        TEST(test_connection_hello_is_tried_again_where_nothing_works),
        TEST(test_connection_long_reply_holds_no_short_one_up),
        TEST(test_connection_left_in_its_greeting_says_nothing_later),
        TEST(test_connection_left_in_its_greeting_ends_no_later_call),
        TEST(test_connect_that_was_left_alone_is_no_round_trip),
        TEST(test_connect_that_was_left_alone_ends_no_call_that_waits),
        TEST(test_connection_whose_hello_is_refused_has_time_for_the_older_greeting),
        TEST(test_connection_greeting_has_as_long_as_its_connect_took),
        TEST(test_connects_that_were_too_short_together_double_the_time_once),
        TEST(test_connect_that_was_given_up_before_its_time_doubles_no_time),
        TEST(test_connect_of_many_does_not_wait_for_those_of_each),
        TEST(test_fetch_looks_at_a_connection_whose_time_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
