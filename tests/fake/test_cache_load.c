/* SPDX-License-Identifier: BSD-3-Clause */
/* Loads whose server answers late, or not at all, at the worst moment: the end of a call that waits
 * for another's load, the life of an old value that ends during the load, a guard that is lost
 * while the host loads. */
#include "fake/fakes.h"

#include <stdatomic.h>
#include <unistd.h>

#include "api/client.h"
#include "support/turn.h"

#define ACQUIRE "EVALSHA * acquire *"
#define REFRESH "EVALSHA * refresh *"
#define RELEASE "EVALSHA * release *"
#define EXTEND  "EVALSHA * extend *"
#define YOURS   "*3\r\n:0\r\n$-1\r\n:-2\r\n"
#define TAKEN                                                                                      \
    "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n"                        \
    ":60000\r\n"
#define OK(text) KW_FAKE_STEPS(KW_FAKE_SEND(text))

#define LOST "-NOSCRIPT No matching script. Please use EVAL.\r\n"

static kw_client *client;
static kw_cache *cache;
static bool has_lost_script; /* when a lease is given back */

static void begin(const char *uri_options, const char *options)
{
    kw_error error = KW_ERROR_INIT;
    renew_servers();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "WATCH *", OK("+OK\r\n"));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "UNWATCH", OK("+OK\r\n"));
    if (has_lost_script) {
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, RELEASE, OK(LOST));
    }
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, RELEASE, OK(":0\r\n"));
    client = kw_test_open("redis://%s?%s", kw_fake_address(fakes[0]), uri_options);
    cache = kw_cache_open(client, &error, options);
    assert_non_null(cache);
}

static void end(void)
{
    kw_cache_close(cache);
    kw_close(client);
}

static kw_cache_figures figures_of(kw_cache *self)
{
    kw_cache_figures figures = {.size = sizeof(figures)};
    assert_int_equal(kw_cache_stats(self, NULL, &figures), KW_OK);
    return figures;
}

/* Time that goes as the test says. */
static atomic_ullong now_ns;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return atomic_load(&now_ns);
}

static void hold_time(void)
{
    atomic_store(&now_ns, kw_env_now(&client->topology->env));
    client->topology->env.clock = (kw_clock){tell_time, NULL};
}

static void pass_ms(uint64_t ms)
{
    atomic_fetch_add(&now_ns, ms * KW_NS_PER_MS);
}

/* A load, which ends when the test says so. */
static atomic_uint loads_n;
static atomic_bool may_end;

static kw_cache_loaded load_slowly(void *arg, kw_cache_load *load)
{
    (void)arg;
    (void)load;
    atomic_fetch_add(&loads_n, 1);
    KW_TEST_AWAIT(atomic_load(&may_end));
    return KW_CACHE_FAILED;
}

static kw_cache_loaded load_at_once(void *arg, kw_cache_load *load)
{
    (void)arg;
    atomic_fetch_add(&loads_n, 1);
    return kw_cache_load_give(load, "1", 1) == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

static kw_cache_loaded load_when_told(void *arg, kw_cache_load *load)
{
    atomic_fetch_add(&loads_n, 1);
    KW_TEST_AWAIT(atomic_load(&may_end));
    return kw_cache_load_give(load, arg, 1) == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

/* A fetch in a thread of its own. */
typedef struct fetcher {
    kw_cache_load_fn fn;
    kw_err code;
    atomic_bool has_ended;
} fetcher;

static void *run_fetch(void *arg)
{
    fetcher *self = arg;
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    self->code = kw_cache_fetch(cache, &error, &value, kw_cache_text("key"),
                                (kw_cache_loader){self->fn, "1"});
    kw_cache_release(&value);
    atomic_store(&self->has_ended, true);
    return NULL;
}

static void start(pthread_t *thread, fetcher *self)
{
    assert_int_equal(pthread_create(thread, NULL, run_fetch, self), 0);
}

/* By which the last command of the kind asked. */
static void token_of(char token[33], const char *act)
{
    kw_fake_entry entry;
    memset(token, 0, 33);
    for (size_t i = 0; kw_fake_log_at(fakes[0], i, &entry); i++) {
        const char *at = strstr(entry.text, act);
        memcpy(token, at != NULL ? at + strlen(act) : token, 32);
    }
}

/* Starts one that loads, with the token of the command of that kind by which it asked. */
static void start_loading(pthread_t *thread, fetcher *self, char token[33], const char *act)
{
    unsigned before_n = atomic_load(&loads_n);
    start(thread, self);
    KW_TEST_AWAIT(atomic_load(&loads_n) > before_n);
    token_of(token, act);
}

/* The lease is renewed by one who waits, while no answer comes: that call ends in time. */
static void test_a_renewal_without_an_answer_takes_no_more_than_the_calls_time(void **state)
{
    (void)state;
    begin("timeout=400ms&stall-timeout=10s", "lease=600ms");
    hold_time();
    atomic_store(&may_end, false);
    kw_fake_on(fakes[0], 1, ACQUIRE, OK(YOURS));
    fetcher all[2] = {{load_slowly, KW_OK, false}, {load_at_once, KW_OK, false}};
    pthread_t threads[2];
    char token[33];
    start_loading(&threads[0], &all[0], token, " acquire ");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, ACQUIRE,
                     "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n%s\r\n:600", token);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, EXTEND, KW_FAKE_STEPS(KW_FAKE_STALL));
    start(&threads[1], &all[1]);
    KW_TEST_AWAIT(kw_fake_count(fakes[0], ACQUIRE) == 2);
    pass_ms(250);
    KW_TEST_AWAIT(kw_fake_count(fakes[0], EXTEND) == 1);
    pass_ms(200);
    KW_TEST_AWAIT(atomic_load(&all[1].has_ended));
    assert_int_equal(all[1].code, KW_ERR_TIMEOUT);
    atomic_store(&may_end, true);
    for (size_t i = 0; i < 2; i++) {
        KW_TEST_UNTIL(atomic_load(&all[i].has_ended))
        {
            pass_ms(10); /* for what began late as well */
            kw_test_sleep_ms(1);
        }
        kw_test_join(threads[i]);
    }
    end();
}

/* The server falls silent during the load: those who wait are given what was loaded once storing it
 * has taken stall-timeout, or their time is over, and not told that it was not there in time. */
static void test_what_was_loaded_is_given_though_storing_it_hangs(void **state)
{
    (void)state;
    static const char *const rows[] = {"timeout=400ms&stall-timeout=100ms",
                                       "timeout=400ms&stall-timeout=10s"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(rows[i], NULL);
        hold_time();
        atomic_store(&may_end, false);
        kw_fake_on(fakes[0], 1, ACQUIRE, OK(YOURS));
        fetcher all[2] = {{load_when_told, KW_OK, false}, {load_at_once, KW_OK, false}};
        pthread_t threads[2];
        char token[33];
        start_loading(&threads[0], &all[0], token, " acquire ");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, ACQUIRE,
                         "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n%s\r\n:10000", token);
        start(&threads[1], &all[1]);
        KW_TEST_AWAIT(kw_fake_count(fakes[0], ACQUIRE) == 2);
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "MULTI", KW_FAKE_STEPS(KW_FAKE_STALL));
        atomic_store(&may_end, true);
        KW_TEST_AWAIT(kw_fake_count(fakes[0], "MULTI") == 1);
        pass_ms(i == 0 ? 150 : 400);
        KW_TEST_AWAIT(atomic_load(&all[1].has_ended));
        assert_int_equal(all[1].code, KW_OK);
        KW_TEST_UNTIL(atomic_load(&all[0].has_ended))
        {
            pass_ms(10);
            kw_test_sleep_ms(1);
        }
        assert_int_equal(all[0].code, KW_OK);
        kw_test_join(threads[0]);
        kw_test_join(threads[1]);
        end();
    }
}

/* Another process loads. A server that was asked shortly before the call's end, and has not
 * answered yet, is not away; one that has been silent for stall-timeout is, and the value is loaded
 * here. */
static void test_an_answer_that_the_calls_end_cuts_off_is_no_outage(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        kw_err code;
    } rows[] = {{"timeout=400ms&stall-timeout=10s", KW_ERR_TIMEOUT},
                {"timeout=400ms&stall-timeout=100ms", KW_OK}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(rows[i].options, NULL);
        hold_time();
        kw_fake_on(fakes[0], 1, ACQUIRE, OK(TAKEN));
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, KW_FAKE_STEPS(KW_FAKE_STALL));
        unsigned before_n = atomic_load(&loads_n);
        fetcher one = {load_at_once, KW_OK, false};
        pthread_t thread;
        start(&thread, &one);
        KW_TEST_AWAIT(kw_fake_count(fakes[0], ACQUIRE) == 1);
        KW_TEST_UNTIL(kw_fake_count(fakes[0], ACQUIRE) == 2)
        {
            pass_ms(1);
            kw_test_sleep_ms(1);
        }
        KW_TEST_UNTIL(atomic_load(&one.has_ended))
        {
            pass_ms(10);
            kw_test_sleep_ms(1);
        }
        kw_test_join(thread);
        assert_int_equal(one.code, rows[i].code);
        assert_int_equal(atomic_load(&loads_n) - before_n, rows[i].code == KW_OK ? 1 : 0);
        end();
    }
}

/* What the load of an old value's key does meanwhile. */
static kw_cache_loaded fail_after(void *arg, kw_cache_load *load)
{
    (void)load;
    pass_ms(*(const unsigned *)arg);
    return KW_CACHE_FAILED;
}

/* stale-if-error is counted from the end of the ttl, and not from when the load began. */
static void test_an_old_value_is_given_no_longer_than_its_life(void **state)
{
    (void)state;
    static const struct {
        unsigned load_ms;
        kw_err code;
    } rows[] = {{50, KW_OK}, {150, KW_ERR_LOAD}};
    for (size_t i = 0; i < 2; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        begin("timeout=5s", "ttl=1s&stale-if-error=200ms");
        hold_time();
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK("*3\r\n:1\r\n$3\r\nold\r\n:100\r\n"));
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, REFRESH, OK("*3\r\n:0\r\n$3\r\nold\r\n:100\r\n"));
        kw_cache_loader loader = {fail_after, (void *)(uintptr_t)&rows[i].load_ms};
        kw_err code = kw_cache_fetch(cache, &error, &value, kw_cache_text("key"), loader);
        assert_int_equal(code, rows[i].code);
        assert_int_equal(value.source, code == KW_OK ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_NOWHERE);
        kw_cache_release(&value);
        end();
    }
}

/* Who waits for a load that fails is given what it has seen itself: the value that the loader saw
 * may have been deleted before that call began. */
static void test_an_old_value_is_given_to_those_who_saw_it(void **state)
{
    (void)state;
    begin("timeout=60s", "ttl=1s&stale-if-error=200ms");
    hold_time();
    atomic_store(&may_end, false);
    kw_fake_on(fakes[0], 1, ACQUIRE, OK("*3\r\n:1\r\n$3\r\nold\r\n:100\r\n"));
    kw_fake_on(fakes[0], 1, REFRESH, OK("*3\r\n:0\r\n$3\r\nold\r\n:100\r\n"));
    fetcher all[2] = {{load_slowly, KW_OK, false}, {load_at_once, KW_OK, false}};
    pthread_t threads[2];
    char token[33];
    start_loading(&threads[0], &all[0], token, " refresh ");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, ACQUIRE,
                     "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n%s\r\n:60000", token);
    start(&threads[1], &all[1]);
    KW_TEST_UNTIL(figures_of(cache).waits == 1)
    {
        kw_test_sleep_ms(1);
    }
    atomic_store(&may_end, true);
    for (size_t i = 0; i < 2; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(all[0].code, KW_OK);
    assert_int_equal(all[1].code, KW_ERR_LOAD);
    end();
}

/* Loads in the loop. */

static kw_cache_load *under_way;

static kw_cache_loaded load_later(void *arg, kw_cache_load *load)
{
    (void)arg;
    under_way = load;
    return KW_CACHE_LATER;
}

typedef struct async_fetch {
    unsigned ends_n;
    kw_err code;
    kw_cache_source source;
} async_fetch;

static void on_end(void *arg, const kw_error *error, kw_cache_value *value)
{
    async_fetch *self = arg;
    self->ends_n++;
    self->code = error != NULL ? error->code : KW_OK;
    self->source = value != NULL ? value->source : KW_CACHE_FROM_NOWHERE;
    kw_cache_release(value);
}

/* The host's descriptor is readable. */
static bool is_woken(void)
{
    struct pollfd entry = {kw_fd(client, NULL), POLLIN, 0};
    return poll(&entry, 1, 0) > 0;
}

static void test_a_guard_that_is_lost_during_a_load_wakes_the_host_once(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    async_fetch fetch = {0, KW_OK, KW_CACHE_UNKNOWN};
    begin("timeout=20s", NULL);
    hold_time();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK(YOURS));
    under_way = NULL;
    assert_int_equal(kw_cache_fetch_async(cache, &error, kw_cache_text("key"),
                                          (kw_cache_loader){load_later, NULL},
                                          (kw_cache_callback){on_end, &fetch}),
                     KW_OK);
    KW_TEST_UNTIL(under_way != NULL)
    {
        (void)kw_test_turn(client, 1);
    }
    kw_fake_entry entry;
    unsigned guard = 0;
    for (size_t i = 0; kw_fake_log_at(fakes[0], i, &entry); i++) {
        guard = strcmp(entry.text, "WATCH key") == 0 ? entry.connection : guard;
    }
    unsigned open_n = kw_fake_open(fakes[0]);
    kw_fake_disconnect_one(fakes[0], guard, true);
    kw_fake_await_open(fakes[0], open_n - 1);
    KW_TEST_AWAIT(is_woken());
    KW_TEST_UNTIL(!is_woken())
    {
        (void)kw_process(client, &error);
    }
    /* What it brings is given at once, though nobody stores it, and the lease goes back. */
    assert_int_equal(kw_cache_load_give(under_way, "1", 1), KW_OK);
    kw_cache_load_end(under_way, KW_CACHE_LOADED);
    KW_TEST_AWAIT(is_woken());
    (void)kw_process(client, &error);
    assert_int_equal(fetch.ends_n, 1);
    assert_int_equal(fetch.code, KW_OK);
    assert_int_equal(fetch.source, KW_CACHE_FROM_LOAD);
    KW_TEST_UNTIL(kw_fake_count(fakes[0], RELEASE) == 1)
    {
        (void)kw_test_turn(client, 1);
    }
    end();
}

static kw_cache_loaded load_nothing(void *arg, kw_cache_load *load)
{
    (void)arg;
    (void)load;
    return KW_CACHE_FAILED;
}

/* SCRIPT FLUSH behind the lease: it is given back with the script's text, in the loop as in calls,
 * and where the cache is closed meanwhile. */
static void test_a_lease_is_given_back_where_the_script_is_lost(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        kw_error error = KW_ERROR_INIT;
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        async_fetch fetch = {0};
        kw_cache_callback callback = {on_end, &fetch};
        has_lost_script = true;
        begin("timeout=20s", NULL);
        has_lost_script = false;
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK(YOURS));
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "EVAL *", OK(":0\r\n"));
        under_way = NULL;
        if (way == 0) {
            assert_int_equal(kw_cache_fetch(cache, &error, &value, kw_cache_text("key"),
                                            (kw_cache_loader){load_nothing, NULL}),
                             KW_ERR_LOAD);
        } else {
            kw_cache_load_fn fn = way == 1 ? load_nothing : load_later;
            assert_int_equal(kw_cache_fetch_async(cache, &error, kw_cache_text("key"),
                                                  (kw_cache_loader){fn, NULL}, callback),
                             KW_OK);
        }
        if (way == 2) {
            KW_TEST_UNTIL(under_way != NULL)
            {
                (void)kw_test_turn(client, 1);
            }
            kw_cache_close(cache);
            cache = NULL;
            kw_cache_load_end(under_way, KW_CACHE_FAILED);
        }
        KW_TEST_UNTIL(kw_fake_count(fakes[0], "EVAL *") == 1)
        {
            (void)kw_test_turn(client, 1);
        }
        assert_int_equal(fetch.ends_n, way == 0 ? 0 : 1);
        assert_int_equal(fetch.code, way == 0 ? KW_OK : way == 1 ? KW_ERR_LOAD : KW_ERR_CANCELLED);
        end();
    }
}

static void fetch_in_loop(async_fetch *fetch)
{
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_cache_fetch_async(cache, &error, kw_cache_text("key"),
                                          (kw_cache_loader){load_later, NULL},
                                          (kw_cache_callback){on_end, fetch}),
                     KW_OK);
}

/* Who waits in the loop for another call's load renews that call's lease, by its token. */
static void test_a_lease_is_renewed_in_the_loop_by_its_own_token(void **state)
{
    (void)state;
    async_fetch leader = {0};
    async_fetch other = {0};
    char token[33];
    char renewed[33];
    begin("timeout=20s", "lease=300ms");
    hold_time();
    kw_fake_on(fakes[0], 1, ACQUIRE, OK(YOURS));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, EXTEND, OK(":1\r\n"));
    under_way = NULL;
    fetch_in_loop(&leader);
    KW_TEST_UNTIL(under_way != NULL)
    {
        (void)kw_test_turn(client, 1);
    }
    token_of(token, " acquire ");
    kw_fake_on_reply(fakes[0], 1, ACQUIRE, "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n%s\r\n:60000", token);
    fetch_in_loop(&other);
    KW_TEST_UNTIL(figures_of(cache).waits == 1)
    {
        (void)kw_test_turn(client, 1);
    }
    KW_TEST_UNTIL(kw_fake_count(fakes[0], EXTEND) > 0)
    {
        pass_ms(10);
        (void)kw_test_turn(client, 1);
    }
    token_of(renewed, " extend ");
    assert_string_equal(renewed, token);
    kw_cache_load_end(under_way, KW_CACHE_FAILED);
    KW_TEST_UNTIL(leader.ends_n + other.ends_n == 2)
    {
        (void)kw_test_turn(client, 1);
    }
    end();
}

/* What forks inside the host's function: the parent goes on when the child has come back from
 * kw_process, and ended. */
static pid_t child;

static void fork_once(void)
{
    if (child < 0) {
        child = fork();
        if (child > 0) {
            assert_int_equal(kw_test_wait_child(child), 0);
        }
    }
}

static void fork_on_end(void *arg, const kw_error *error, kw_cache_value *value)
{
    on_end(arg, error, value);
    fork_once();
}

static kw_cache_loaded fork_and_load(void *arg, kw_cache_load *load)
{
    fork_once();
    return child == 0 ? load_at_once(arg, load) : KW_CACHE_FAILED;
}

/* Turns of both processes until the parent's calls have ended; n calls were begun, and one of them
 * may have ended in the child. */
static void turn_and_fork(const async_fetch *fetches, unsigned n)
{
    unsigned ends_n = 0;
    KW_TEST_UNTIL(ends_n == n)
    {
        kw_err code = kw_test_turn(client, 1);
        ends_n = 0;
        for (unsigned i = 0; i < n; i++) {
            ends_n += fetches[i].ends_n;
        }
        if (child == 0) {
            _exit(code == KW_ERR_FORKED && ends_n <= 1 ? 0 : 1);
        }
        assert_int_equal(code, KW_OK);
    }
    assert_true(child > 0);
}

/* Calls that fail as soon as they are looked at, of two caches. */
static void test_a_fork_in_a_callback_leaves_new_calls_to_the_parent(void **state)
{
    (void)state;
    async_fetch fetches[4] = {{0}};
    child = -1;
    begin("timeout=20s&queue-max=1", NULL);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_cache *other = kw_cache_open(client, NULL, NULL);
    kw_cache *const of[] = {cache, other, cache, cache};
    for (unsigned i = 0; i < 4; i++) {
        kw_cache_callback callback = {fork_on_end, &fetches[i]};
        assert_int_equal(kw_cache_get_async(of[i], NULL, kw_cache_text("key"), callback), KW_OK);
    }
    turn_and_fork(fetches, 3);
    kw_cache_close(other);
    end();
}

/* Calls that wait for somebody else's load until their time is over. */
static void test_a_fork_in_a_callback_leaves_calls_that_wait_to_the_parent(void **state)
{
    (void)state;
    async_fetch fetches[3] = {{0}};
    child = -1;
    begin("timeout=20s", NULL);
    hold_time();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK(TAKEN));
    for (unsigned i = 0; i < 3; i++) {
        char key[2] = {(char)('a' + i), 0};
        assert_int_equal(kw_cache_fetch_async(cache, NULL, kw_cache_text(key),
                                              (kw_cache_loader){load_at_once, NULL},
                                              (kw_cache_callback){fork_on_end, &fetches[i]}),
                         KW_OK);
    }
    KW_TEST_UNTIL(kw_fake_count(fakes[0], ACQUIRE) >= 3)
    {
        (void)kw_test_turn(client, 1);
    }
    kw_test_turns_for(client, 20);
    pass_ms(30000);
    turn_and_fork(fetches, 3);
    end();
}

/* A child that comes back from the host's loader stores nothing by the parent's connection. */
static void test_a_fork_in_a_load_leaves_the_load_to_the_parent(void **state)
{
    (void)state;
    async_fetch fetch = {0};
    child = -1;
    begin("timeout=20s", NULL);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK(YOURS));
    assert_int_equal(kw_cache_fetch_async(cache, NULL, kw_cache_text("key"),
                                          (kw_cache_loader){fork_and_load, NULL},
                                          (kw_cache_callback){on_end, &fetch}),
                     KW_OK);
    turn_and_fork(&fetch, 1);
    assert_int_equal(fetch.code, KW_ERR_LOAD);
    end();
    kw_fake_await_open(fakes[0], 0); /* it has read all that was sent */
    assert_int_equal(kw_fake_count(fakes[0], "MULTI"), 0);
}

static kw_cache_loaded fork_and_end_later(void *arg, kw_cache_load *load)
{
    fork_once();
    if (child != 0) {
        return KW_CACHE_FAILED;
    }
    kw_reply_free(kw_command(client, NULL, "PING")); /* that may reopen the handle */
    (void)load_at_once(arg, load);
    return KW_CACHE_LATER;
}

/* Nor by a call that waits, in a child that goes on, and closes what it has. */
static void test_a_fork_in_a_load_that_is_waited_for_leaves_it_to_the_parent(void **state)
{
    (void)state;
    const char *const uris[] = {"timeout=20s", "timeout=20s&after-fork=reopen"};
    const kw_cache_load_fn loads[] = {fork_and_load, fork_and_end_later};
    for (size_t i = 0; i < 4; i++) {
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        child = -1;
        begin(uris[i / 2], NULL);
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE, OK(YOURS));
        kw_err code = kw_cache_fetch(cache, NULL, &value, kw_cache_text("key"),
                                     (kw_cache_loader){loads[i % 2], NULL});
        if (child == 0) {
            bool is_well = code == KW_ERR_FORKED && value.data == NULL;
            end();
            _exit(is_well ? 0 : 1);
        }
        assert_int_equal(code, KW_ERR_LOAD);
        end();
        kw_fake_await_open(fakes[0], 0);
        assert_int_equal(kw_fake_count(fakes[0], "MULTI"), 0);
        assert_int_equal(kw_fake_count(fakes[0], "UNWATCH"), 1);
        assert_int_equal(kw_fake_count(fakes[0], RELEASE), 1);
    }
}

/* How an error of the server tells of a put or forget, by calls that wait and in the loop. */
typedef struct told {
    kw_effect effect;
    bool has_ended;
} told;

static void on_told(void *arg, const kw_error *error, kw_cache_value *value)
{
    told *self = arg;
    assert_non_null(error);
    assert_int_equal(error->code, KW_ERR_SERVER);
    self->effect = error->effect;
    self->has_ended = true;
    kw_cache_release(value);
}

static kw_effect effect_of(int way)
{
    kw_cache_bytes key = kw_cache_text("key");
    kw_error error = KW_ERROR_INIT;
    told end_of = {KW_EFFECT_NONE, false};
    kw_cache_callback callback = {on_told, &end_of};
    if (way < 2) {
        assert_int_equal(way == 0 ? kw_cache_put(cache, &error, key, key)
                                  : kw_cache_forget(cache, &error, key),
                         KW_ERR_SERVER);
        return error.effect;
    }
    assert_int_equal(way == 2 ? kw_cache_put_async(cache, &error, key, key, callback)
                              : kw_cache_forget_async(cache, &error, key, callback),
                     KW_OK);
    KW_TEST_UNTIL(end_of.has_ended)
    {
        (void)kw_test_turn(client, 1);
    }
    return end_of.effect;
}

/* A script is not undone where its second command fails: the value may be there. */
static void test_a_put_that_its_script_broke_off_may_be_done(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        kw_effect effect;
    } rows[] = {
        {"-ERR ACL failure in script: User a has no permissions to run the 'del' command script: "
         "0a092d90b7e07d899c09d96b9c8b87bfe8e25227, on @user_script:7.",
         KW_EFFECT_MAYBE},
        {"-NOPERM ACL failure in script: no permissions to run the 'del' command", KW_EFFECT_MAYBE},
        {"-NOPERM No permissions to access a key", KW_EFFECT_NONE},
        {"-NOPERM User a has no permissions to run the 'evalsha' command", KW_EFFECT_NONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin("timeout=20s", NULL);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "EVALSHA *", "%s", rows[i].reply);
        for (int way = 0; way < 4; way++) {
            assert_int_equal(effect_of(way), rows[i].effect);
        }
        end();
    }
}

/* A life without end, as far as this clock goes: a module's, or a hostile server's. */
static void test_a_life_that_no_clock_can_tell_is_long(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    begin("timeout=20s", "stale=1s");
    hold_time();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, ACQUIRE,
               OK("*3\r\n:1\r\n$3\r\nold\r\n:9223372036854775807\r\n"));
    assert_int_equal(kw_cache_fetch(cache, &error, &value, kw_cache_text("key"),
                                    (kw_cache_loader){load_at_once, NULL}),
                     KW_OK);
    assert_int_equal(value.source, KW_CACHE_FROM_SERVER);
    kw_cache_release(&value);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_renewal_without_an_answer_takes_no_more_than_the_calls_time),
        cmocka_unit_test(test_what_was_loaded_is_given_though_storing_it_hangs),
        cmocka_unit_test(test_an_answer_that_the_calls_end_cuts_off_is_no_outage),
        cmocka_unit_test(test_an_old_value_is_given_no_longer_than_its_life),
        cmocka_unit_test(test_an_old_value_is_given_to_those_who_saw_it),
        cmocka_unit_test(test_a_guard_that_is_lost_during_a_load_wakes_the_host_once),
        cmocka_unit_test(test_a_lease_is_given_back_where_the_script_is_lost),
        cmocka_unit_test(test_a_lease_is_renewed_in_the_loop_by_its_own_token),
        cmocka_unit_test(test_a_fork_in_a_callback_leaves_new_calls_to_the_parent),
        cmocka_unit_test(test_a_fork_in_a_callback_leaves_calls_that_wait_to_the_parent),
        cmocka_unit_test(test_a_fork_in_a_load_leaves_the_load_to_the_parent),
        cmocka_unit_test(test_a_fork_in_a_load_that_is_waited_for_leaves_it_to_the_parent),
        cmocka_unit_test(test_a_put_that_its_script_broke_off_may_be_done),
        cmocka_unit_test(test_a_life_that_no_clock_can_tell_is_long),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
