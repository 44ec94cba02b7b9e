/* SPDX-License-Identifier: BSD-3-Clause */
/* A name with several addresses, of which some swallow packets or refuse: all are tried within the
 * deadline, the good one is remembered, whatever the way of sending and the topology. */
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

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 4 };

static kw_fake *fake;
static kw_test_hole hole;
static uint16_t ports[ADDRESSES_MAX]; /* of the addresses of every name, in order */
static size_t ports_n;

static uint64_t told_ns;    /* the time of a clock that goes when the test says so */
static uint64_t look_up_ns; /* what a look-up takes of it */
static bool pushes;         /* what nobody asked for comes meanwhile */

typedef struct entry {
    struct addrinfo info;
    struct sockaddr_in address;
} entry;

/* In the place of the C library's: every name has the addresses that the test says. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)service;
    (void)hints;
    told_ns += strcmp(host, "some.test") == 0 ? look_up_ns : 0;
    if (pushes) {
        kw_fake_push(fake, "+unasked\r\n", 10);
    }
    entry *all = calloc(ADDRESSES_MAX, sizeof(*all));
    for (size_t i = 0; i < ports_n; i++) {
        all[i].address.sin_family = AF_INET;
        all[i].address.sin_port = htons(ports[i]);
        all[i].address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        all[i].info.ai_family = AF_INET;
        all[i].info.ai_addrlen = sizeof(all[i].address);
        all[i].info.ai_addr = (struct sockaddr *)&all[i].address;
        all[i].info.ai_next = i + 1 < ports_n ? &all[i + 1].info : NULL;
    }
    *found = &all->info;
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's */
void freeaddrinfo(struct addrinfo *found)
{
    free(found);
}

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "GET *", "+v");
    if (!kw_test_hole_open(&hole)) {
        kw_test_die("no address that swallows packets");
    }
    ports_n = 0;
    look_up_ns = 0;
    pushes = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_test_hole_close(&hole);
    kw_fake_free(fake);
    return 0;
}

static void by_call(kw_client *kw)
{
    kw_reply_free(kw_test_ask(kw, "GET a"));
}

static void by_batch(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(kw, &error);
    assert_int_equal(kw_batch_add(batch, &error, "GET a"), KW_OK);
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    kw_batch_free(batch);
}

static void by_ticket(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    kw_ticket *ticket = kw_submit(kw, &error, "GET a");
    assert_non_null(ticket);
    kw_reply *reply = kw_ticket_await(ticket, &error);
    if (reply == NULL) {
        kw_test_die("%s", error.text);
    }
    kw_reply_free(reply);
    kw_ticket_free(ticket);
}

typedef struct way {
    const char *name;
    void (*ask)(kw_client *kw);
    const char *query;
} way;

static const way ways[] = {
    {"call", by_call, ""},
    {"lane", by_call, "&share-above=0"},
    {"call with a name", by_call, "&client-name=somebody"},
    {"batch", by_batch, ""},
    {"ticket", by_ticket, ""},
};

/* The addresses that are bad come first; the deadline is far over what is needed. */
static void check_all_ways(void)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        kw_test_strain strain;
        kw_test_strain_init(&strain, 1);
        kw_client *kw =
            kw_test_open("redis://some.test:7000?timeout=60s&connect-timeout=20s%s", ways[i].query);
        kw->topology->env.transport = &strain.transport;
        ways[i].ask(kw);
        kw_fake_disconnect(fake, false);
        kw_fake_await_open(fake, 0);
        kw_test_sleep_ms(5); /* a connection used a moment ago is not looked at */
        unsigned long opens_n = kw_test_strain_count(&strain, KW_TEST_OPEN);
        ways[i].ask(kw);
        if (kw_test_strain_count(&strain, KW_TEST_OPEN) != opens_n + 1) {
            kw_test_die("%s: the good address was not remembered", ways[i].name);
        }
        kw_close(kw);
    }
}

static void add(uint16_t port)
{
    ports[ports_n++] = port;
}

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return told_ns;
}

/* One dial to all the addresses, by a clock that goes when told_ns does. */
typedef struct dial {
    kw_client *kw;
    kw_node *node;
    kw_conn *conn;
} dial;

static dial dial_by(kw_client *kw, kw_error *error)
{
    dial self = {.kw = kw};
    kw_env *env = &self.kw->topology->env;
    told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    self.node = kw_node_new(env, &env->options.seeds[0]);
    assert_non_null(self.node);
    assert_int_equal(kw_node_try_acquire(self.node, &self.conn, error, told_ns, true), KW_OK);
    return self;
}

static dial begin_dial(kw_error *error)
{
    return dial_by(kw_test_open("redis://some.test:7000?timeout=60s"), error);
}

static void end_dial(dial *self, kw_error *error)
{
    kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the test is over");
    kw_node_release(self->node, self->conn, told_ns, error);
    kw_node_unref(self->node);
    kw_close(self->kw);
}

/* Nobody has looked at the dial for longer than all addresses have together. */
static void test_address_whose_turn_comes_late_has_it(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    add(hole.port);
    add(kw_fake_port(fake));
    dial self = begin_dial(&error);
    kw_conn *conn = self.conn;
    assert_int_equal(conn->begun_n, 1);
    told_ns += (uint64_t)100000000000;
    assert_int_equal(kw_conn_check_overdue(conn, &error, told_ns), KW_OK);
    assert_int_equal(conn->begun_n, 2);
    assert_true(conn->deadline_ns > told_ns);
    end_dial(&self, &error);
}

/* The connect to the first address is over at the moment when the second one has its turn: what was
 * polled is of the first. */
static void test_address_that_has_its_turn_takes_no_other_ones_event(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    add(kw_fake_port(fake));
    add(hole.port);
    dial self = begin_dial(&error);
    kw_conn *conn = self.conn;
    told_ns = conn->next_ns;
    assert_int_equal(kw_conn_race(conn, &error, told_ns), KW_OK);
    assert_int_equal(conn->rivals_n, 1);
    assert_int_equal(kw_conn_progress(conn, &error, POLLOUT), KW_OK);
    assert_int_equal(conn->state, KW_CONN_CONNECTING);
    KW_TEST_UNTIL(conn->state != KW_CONN_CONNECTING)
    {
        assert_int_equal(kw_conn_race(conn, &error, told_ns), KW_OK);
        struct pollfd polled = {conn->socket, POLLOUT, 0};
        short revents = poll(&polled, 1, 1) > 0 ? polled.revents : 0;
        assert_int_equal(kw_conn_progress(conn, &error, revents), KW_OK);
    }
    assert_int_equal(conn->rivals_n, 0);
    end_dial(&self, &error);
}

/* The first address is the one after all, and there is no memory for its TLS: the dial is over, and
 * nothing of the greeting leaves without it. */
static void test_address_without_memory_for_its_tls_ends_the_dial(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_config_new(&memory.allocator);
    assert_non_null(config);
    kw_err code = kw_config_set_uri(config, &error, "rediss://some.test:7000?timeout=60s");
    if (code == KW_ERR_UNSUPPORTED) {
        kw_config_free(config);
        skip(); /* built without TLS */
    }
    assert_int_equal(code, KW_OK);
    kw_client *kw = kw_open_config(config, &error);
    assert_non_null(kw);
    kw_config_free(config);
    add(kw_fake_port(fake));
    add(hole.port);
    dial self = dial_by(kw, &error);
    kw_conn *conn = self.conn;
    KW_TEST_AWAIT(kw_fake_accepted(fake) > 0);
    told_ns = conn->next_ns;
    assert_int_equal(kw_conn_race(conn, &error, told_ns), KW_OK);
    assert_int_equal(conn->rivals_n, 1);
    memory.fail_at = kw_test_memory_calls(&memory) + 1;
    memory.fail_on = true;
    assert_int_equal(kw_conn_race(conn, &error, told_ns), KW_ERR_NOMEM);
    memory.fail_at = 0;
    assert_int_equal(error.code, KW_ERR_NOMEM);
    assert_int_equal(conn->state, KW_CONN_DEAD);
    end_dial(&self, &error);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

/* Nobody looks for long: the connect to the first address was over before the second had its turn,
 * and the probe goes on with it, as its answer says that the server is there. */
static void test_address_that_has_answered_is_gone_on_with_by_a_late_probe(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_conn *conn = NULL;
    kw_probe probe = {.conn = NULL};
    add(kw_fake_port(fake));
    add(hole.port);
    kw_client *kw = kw_test_open("redis://some.test:7000?timeout=60s");
    kw_env *env = &kw->topology->env;
    told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    kw_node *node = kw_node_new(env, &env->options.seeds[0]);
    assert_non_null(node);
    assert_int_equal(kw_node_try_acquire(node, &conn, &error, told_ns, true), KW_OK);
    kw_probe_begin(&probe, conn, told_ns);
    KW_TEST_AWAIT(kw_fake_accepted(fake) > 0);
    told_ns = conn->next_ns;
    assert_int_equal(kw_conn_race(conn, &error, told_ns), KW_OK);
    assert_int_equal(conn->rivals_n, 1);
    told_ns += 3000 * KW_NS_PER_MS;
    assert_int_equal(kw_probe_go_on(&probe, &error, told_ns), KW_OK);
    assert_int_equal(conn->rivals_n, 0);
    assert_int_not_equal(conn->state, KW_CONN_CONNECTING);
    kw_probe_fini(&probe);
    kw_node_unref(node);
    kw_close(kw);
}

static void test_address_behind_one_that_swallows_is_tried(void **state)
{
    (void)state;
    add(hole.port);
    add(kw_fake_port(fake));
    uint64_t start_ms = kw_test_now_ms();
    check_all_ways();
    assert_true(kw_test_now_ms() - start_ms < 20000); /* connect-timeout of one */
}

static void test_address_behind_refusing_and_swallowing_ones_is_tried(void **state)
{
    (void)state;
    kw_fake *refusing = kw_fake_start();
    kw_fake_down(refusing);
    add(kw_fake_port(refusing));
    add(hole.port);
    add(kw_fake_port(refusing));
    add(kw_fake_port(fake));
    check_all_ways();
    kw_fake_free(refusing);
}

/* The first one answers: no connect to another is begun. */
static void test_address_that_answers_is_not_left_for_others(void **state)
{
    (void)state;
    add(kw_fake_port(fake));
    add(hole.port);
    add(hole.port);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        kw_client *kw =
            kw_test_open("redis://some.test:7000?timeout=60s&connect-timeout=20s%s", ways[i].query);
        ways[i].ask(kw);
        kw_close(kw);
    }
}

/* All of them swallow: the call ends at its deadline, with nothing left open. */
static void test_address_where_none_answers_ends_in_time(void **state)
{
    (void)state;
    add(hole.port);
    add(hole.port);
    add(hole.port);
    int before_n = kw_test_fd_count();
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_test_open("redis://some.test:7000?timeout=300ms");
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_close(kw);
    assert_int_equal(kw_test_fd_count(), before_n);
}

/* The map of a cluster, whose only seed is a name. */
static void test_address_of_a_seed_behind_one_that_swallows_is_tried(void **state)
{
    (void)state;
    kw_fake_range all = {0, 16383, fake, NULL};
    kw_fake_set_cluster(&fake, 1, &all, 1);
    add(hole.port);
    add(kw_fake_port(fake));
    kw_client *kw = kw_test_open("redis-cluster://some.test:7000?timeout=60s&connect-timeout=20s");
    by_call(kw);
    kw_close(kw);
}

/* A look-up that holds its caller up takes nothing of the time of the connect behind it, .. */
static void test_address_that_is_found_late_has_its_time(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    uint64_t granted_ns[2];
    add(hole.port);
    for (size_t i = 0; i < 2; i++) {
        look_up_ns = i * 5000 * KW_NS_PER_MS;
        dial self = begin_dial(&error);
        assert_int_equal(self.conn->begun_ns, told_ns);
        granted_ns[i] = self.conn->deadline_ns - told_ns;
        end_dial(&self, &error);
    }
    assert_int_equal(granted_ns[1], granted_ns[0]);
}

/* .. nor of the time in which a server is to answer with the map. */
static void test_address_of_a_seed_that_is_found_late_is_given_time_to_answer(void **state)
{
    (void)state;
    uint64_t granted_ns[2];
    add(hole.port);
    for (size_t i = 0; i < 2; i++) {
        kw_client *kw = kw_test_open("redis-cluster://some.test:7000?connect-timeout=20s");
        kw_env *env = &kw->topology->env;
        kw_refresher *refresher = &kw->topology->refresher;
        told_ns = kw_env_now(env);
        env->clock = (kw_clock){tell_time, NULL};
        look_up_ns = i * 5000 * KW_NS_PER_MS;
        assert_true(kw_refresher_want(refresher));
        kw_refresher_drive(refresher, told_ns, NULL);
        assert_non_null(refresher->asks[0].conn);
        granted_ns[i] = refresher->asks[0].deadline_ns - told_ns;
        kw_close(kw);
    }
    assert_int_equal(granted_ns[1], granted_ns[0]);
}

/* The time that goes by itself, and what look-ups have taken. */
static uint64_t tell_time_and_more(void *arg)
{
    (void)arg;
    kw_clock real = {NULL, NULL};
    return kw_clock_now(&real) + told_ns;
}

/* A key of that member of a ring. */
static void find_key(char key[16], kw_client *kw, const char *member)
{
    char node[100] = "";
    for (int i = 0; strncmp(node, member, strlen(member)) != 0; i++) {
        snprintf(key, 16, "k%d", i);
        assert_int_equal(kw_client_key_node(kw, NULL, node, sizeof(node), key, strlen(key)), KW_OK);
    }
}

/* What a server sends unasked while a batch looks another one's name up is nobody's answer, whether
 * its command was put on the connection before, or comes behind. */
static void test_address_that_is_found_late_leaves_the_others_looked_at(void **state)
{
    (void)state;
    kw_fake *other = kw_fake_start();
    kw_fake_on_reply(other, KW_FAKE_ALWAYS, "GET *", "+v");
    add(kw_fake_port(other));
    for (size_t i = 0; i < 2; i++) {
        kw_error error = KW_ERROR_INIT;
        char keys[2][16];
        kw_client *kw =
            kw_test_open("redis-ring://a=%s,b=some.test:7000?timeout=60s", kw_fake_address(fake));
        find_key(keys[i], kw, kw_fake_address(fake));
        find_key(keys[1 - i], kw, "some.test");
        kw_reply_free(kw_test_ask(kw, "GET %s", keys[i]));
        told_ns = 0;
        kw->topology->env.clock = (kw_clock){tell_time_and_more, NULL};
        look_up_ns = 5 * KW_NS_PER_MS;
        pushes = true;
        kw_batch *batch = kw_batch_new(kw, &error);
        assert_int_equal(kw_batch_add(batch, &error, "GET %s", keys[0]), KW_OK);
        assert_int_equal(kw_batch_add(batch, &error, "GET %s", keys[1]), KW_OK);
        assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
        for (size_t k = 0; k < 2; k++) {
            assert_string_equal(kw_reply_str(kw_batch_reply(batch, &error, k), NULL), "v");
        }
        pushes = false;
        kw_batch_free(batch);
        kw_close(kw);
    }
    kw_fake_free(other);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_address_behind_one_that_swallows_is_tried),
        TEST(test_address_whose_turn_comes_late_has_it),
        TEST(test_address_that_has_its_turn_takes_no_other_ones_event),
        TEST(test_address_without_memory_for_its_tls_ends_the_dial),
        TEST(test_address_that_has_answered_is_gone_on_with_by_a_late_probe),
        TEST(test_address_behind_refusing_and_swallowing_ones_is_tried),
        TEST(test_address_that_answers_is_not_left_for_others),
        TEST(test_address_where_none_answers_ends_in_time),
        TEST(test_address_of_a_seed_behind_one_that_swallows_is_tried),
        TEST(test_address_that_is_found_late_has_its_time),
        TEST(test_address_of_a_seed_that_is_found_late_is_given_time_to_answer),
        TEST(test_address_that_is_found_late_leaves_the_others_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
