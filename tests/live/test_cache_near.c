/* SPDX-License-Identifier: BSD-3-Clause */
/* Values in this process' memory: given without a server, gone once somebody writes. KW_TEST_FAST
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <pthread.h>
#include <stdatomic.h>

#include "live/cache_places.h"
#include "support/near_ask.h"

/* Every wait for a value from memory, and for its end, is far below: an event ends it. */
#define OPTIONS "near-bytes=4mb&near-ttl=1h&near-staleness=1s"

static void test_a_value_comes_near_and_goes_when_somebody_writes(void **state)
{
    (void)state;
    stage self = begin(OPTIONS);
    kw_test_ask_ok(self.other, "SET key one");
    await_near(self.cache, "key", "one");
    kw_test_ask_ok(self.other, "SET key two");
    await_value(self.cache, "key", "two");
    await_near(self.cache, "key", "two");
    kw_reply_free(kw_test_ask(self.other, "DEL key"));
    await_value(self.cache, "key", "");
    kw_cache_figures figures = cache_figures(self.cache);
    assert_true(figures.near_hits >= 2);
    assert_true(figures.invalidations >= 2);
    assert_true(figures.near_servers >= 1);
    assert_in_range(figures.near_bytes, 1, 4 << 20);
    end(&self);
}

/* No byte goes to a server while the proof is young. */
static void test_a_hit_asks_nobody(void **state)
{
    (void)state;
    stage self = begin("near-bytes=4mb&near-staleness=1h");
    kw_test_ask_ok(self.other, "SET key one");
    await_near(self.cache, "key", "one");
    uint64_t commands = kw_test_stats(self.client).commands;
    for (int i = 0; i < 1000; i++) {
        char text[100];
        assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_NEAR);
    }
    assert_int_equal(kw_test_stats(self.client).commands, commands);
    end(&self);
}

typedef struct loop_end {
    kw_reply *reply;
} loop_end;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    ((loop_end *)arg)->reply = reply;
}

static void write_by_call(kw_client *client, const char *value)
{
    kw_test_ask_ok(client, "SET key %s", value);
}

static void write_by_batch(kw_client *client, const char *value)
{
    kw_batch *batch = kw_batch_new(client, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "SET key %s", value), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
}

static void write_by_ticket(kw_client *client, const char *value)
{
    kw_ticket *ticket = kw_submit(client, NULL, "SET key %s", value);
    kw_reply_free(kw_ticket_await(ticket, NULL));
    kw_ticket_free(ticket);
}

static void write_by_callback(kw_client *client, const char *value)
{
    loop_end ends = {NULL};
    assert_int_equal(
        kw_command_async(client, NULL, (kw_callback){on_reply, &ends}, "SET key %s", value), KW_OK);
    KW_TEST_UNTIL(ends.reply != NULL)
    {
        assert_int_equal(kw_process(client, NULL), KW_OK);
    }
    kw_reply_free(ends.reply);
}

static void write_by_session(kw_client *client, const char *value)
{
    kw_session *session = kw_session_open(client, NULL, "key", 3);
    kw_reply_free(kw_session_command(session, NULL, "SET key %s", value));
    kw_session_close(session);
}

static void write_by_transaction(kw_client *client, const char *value)
{
    kw_session *session = kw_session_open(client, NULL, "key", 3);
    kw_reply_free(kw_session_command(session, NULL, "MULTI"));
    kw_reply_free(kw_session_command(session, NULL, "SET key %s", value));
    kw_reply_free(kw_session_command(session, NULL, "EXEC"));
    kw_session_close(session);
}

static void write_by_split(kw_client *client, const char *value)
{
    kw_test_ask_ok(client, "MSET a 1 key %s b 2 c 3", value);
}

static void write_by_split_batch(kw_client *client, const char *value)
{
    kw_batch *batch = kw_batch_new(client, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "MSET a 1 key %s b 2 c 3", value), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
}

static void write_by_split_callback(kw_client *client, const char *value)
{
    loop_end ends = {NULL};
    assert_int_equal(kw_command_async(client, NULL, (kw_callback){on_reply, &ends},
                                      "MSET a 1 key %s b 2 c 3", value),
                     KW_OK);
    KW_TEST_UNTIL(ends.reply != NULL)
    {
        assert_int_equal(kw_process(client, NULL), KW_OK);
    }
    kw_reply_free(ends.reply);
}

static void write_by_script(kw_client *client, const char *value)
{
    kw_reply_free(
        kw_test_ask(client, "EVAL %s 1 key %s", "redis.call('SET',KEYS[1],ARGV[1])", value));
}

/* Not a moment later: no message needs to have come. */
static void test_own_writes_of_every_way_are_seen_at_once(void **state)
{
    (void)state;
    static void (*const ways[])(kw_client * client, const char *value) = {
        write_by_call,           write_by_batch, write_by_ticket,      write_by_callback,
        write_by_session,        write_by_split, write_by_transaction, write_by_split_batch,
        write_by_split_callback, write_by_script};
    stage self = begin("near-bytes=4mb&near-ttl=1h&near-staleness=1h");
    write_by_call(self.client, "0");
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char before[20];
        char value[20];
        snprintf(before, sizeof(before), "%zu", i);
        snprintf(value, sizeof(value), "%zu", i + 1);
        await_near(self.cache, "key", before);
        ways[i](self.client, value);
        assert_is(self.cache, "key", value);
    }
    await_near(self.cache, "key", "10");
    kw_reply_free(kw_test_ask(self.client, "FLUSHALL"));
    assert_is(self.cache, "key", "");
    assert_int_equal(kw_cache_put(self.cache, NULL, kw_cache_text("key"), kw_cache_text("put")),
                     KW_OK);
    await_near(self.cache, "key", "put");
    assert_int_equal(kw_cache_forget(self.cache, NULL, kw_cache_text("key")), KW_OK);
    assert_is(self.cache, "key", "");
    end(&self);
}

static void test_what_multi_has_queued_is_a_write_until_its_end(void **state)
{
    (void)state;
    stage self = begin("near-bytes=4mb&near-staleness=1h");
    write_by_call(self.client, "old");
    await_near(self.cache, "key", "old");
    kw_session *session = kw_session_open(self.client, NULL, "key", 3);
    kw_reply_free(kw_session_command(session, NULL, "MULTI"));
    kw_reply_free(kw_session_command(session, NULL, "SET key new"));
    for (int i = 0; i < 100; i++) { /* nothing is kept while it is queued */
        char text[100];
        assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_SERVER);
        assert_string_equal(text, "old");
    }
    kw_reply_free(kw_session_command(session, NULL, "EXEC"));
    assert_is(self.cache, "key", "new");
    await_near(self.cache, "key", "new");
    kw_session_close(session);
    end(&self);
}

static void on_ignored(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    *(int *)arg -= 1;
    kw_reply_free(reply);
}

static void write_by_transaction_in_the_loop(kw_client *client, const char *value)
{
    int left_n = 3;
    kw_callback callback = {on_ignored, &left_n};
    kw_async_session *session = kw_async_session_open(client, NULL, "key", 3);
    assert_int_equal(kw_async_session_command(session, NULL, callback, "MULTI"), KW_OK);
    assert_int_equal(kw_async_session_command(session, NULL, callback, "SET key %s", value), KW_OK);
    assert_int_equal(kw_async_session_command(session, NULL, callback, "EXEC"), KW_OK);
    KW_TEST_UNTIL(left_n == 0)
    {
        assert_int_equal(kw_process(client, NULL), KW_OK);
    }
    kw_async_session_close(session);
}

/* EXEC writes what was queued, and nothing else. */
static void test_a_transaction_of_a_session_ends_its_own_keys_alone(void **state)
{
    (void)state;
    stage self = begin("near-bytes=4mb&near-ttl=1h&near-staleness=1h");
    write_by_call(self.client, "old");
    kw_test_ask_ok(self.client, "SET apart kept");
    await_near(self.cache, "key", "old");
    await_near(self.cache, "apart", "kept");
    char text[100];
    write_by_transaction(self.client, "new");
    assert_int_equal(near_get(self.cache, text, "apart"), KW_CACHE_FROM_NEAR);
    assert_is(self.cache, "key", "new");
    await_near(self.cache, "key", "new");
    write_by_transaction_in_the_loop(self.client, "newest");
    assert_int_equal(near_get(self.cache, text, "apart"), KW_CACHE_FROM_NEAR);
    assert_is(self.cache, "key", "newest");
    end(&self);
}

static void test_flushall_by_others_ends_all(void **state)
{
    (void)state;
    stage self = begin(OPTIONS);
    kw_test_ask_ok(self.other, "SET key one");
    await_near(self.cache, "key", "one");
    kw_reply_free(kw_test_ask(self.other, "FLUSHALL"));
    await_value(self.cache, "key", "");
    end(&self);
}

static void test_a_life_that_ends_is_not_given(void **state)
{
    (void)state;
    stage self = begin("near-bytes=4mb&near-ttl=1h&near-staleness=1h");
    kw_test_ask_ok(self.other, "SET key one PX 100000");
    await_near(self.cache, "key", "one");
    kw_test_ask_ok(self.other, "SET short one PX 60");
    uint64_t start_ms = kw_test_real_ms();
    char text[100] = "one";
    KW_TEST_UNTIL(text[0] == '\0')
    {
        (void)near_get(self.cache, text, "short");
    }
    assert_true(kw_test_real_ms() - start_ms >= 50);
    end(&self);
}

/* Kills connections of one kind on every server that is there; how many. */
static long long kill_clients(const char *type)
{
    long long n = 0;
    for (size_t i = 0; i < 3; i++) {
        kw_test_server *server = here.servers[i];
        if (here.cluster != NULL) {
            server = kw_test_cluster_node(here.cluster, i);
        }
        if (server != NULL) {
            n += kw_test_server_integer(server, "CLIENT KILL TYPE %s SKIPME yes", type);
        }
    }
    return n;
}

static void test_lost_connections_end_what_came_by_them(void **state)
{
    (void)state;
    static const char *const types[] = {"pubsub", "normal"};
    if (here.group != NULL) {
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        stage self = begin("near-bytes=4mb&near-ttl=1h&near-staleness=1s");
        kw_test_ask_ok(self.other, "SET key one");
        await_near(self.cache, "key", "one");
        assert_true(kill_clients(types[i]) >= 1);
        /* Written while nobody tells. */
        KW_TEST_UNTIL(false)
        {
            kw_reply *reply = kw_command(self.other, NULL, "SET key two");
            bool is_done = reply != NULL;
            kw_reply_free(reply);
            if (is_done) {
                break;
            }
        }
        await_value(self.cache, "key", "two");
        await_near(self.cache, "key", "two"); /* and open anew */
        end(&self);
    }
}

static void test_memory_stays_within_near_bytes(void **state)
{
    (void)state;
    stage self = begin("near-bytes=256kb&near-staleness=1h");
    char value[200];
    memset(value, 'v', sizeof(value));
    value[199] = '\0';
    kw_test_ask_ok(self.other, "SET key:0 %s", value);
    char text[100];
    size_t servers_n = here.servers[1] != NULL || here.cluster != NULL ? 3 : 1;
    KW_TEST_UNTIL(cache_figures(self.cache).near_servers == servers_n)
    {
        for (int i = 0; i < 20; i++) {
            char key[20];
            snprintf(key, sizeof(key), "key:%d", i);
            (void)near_get(self.cache, text, key);
        }
        kw_test_sleep_ms(1);
    }
    for (int i = 0; i < 3000; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key:%d", i);
        kw_test_ask_ok(self.other, "SET %s %s", key, value);
        (void)near_get(self.cache, text, key);
        if (i % 100 == 0) {
            assert_true(cache_figures(self.cache).near_bytes <= 256 << 10);
        }
    }
    kw_cache_figures figures = cache_figures(self.cache);
    assert_true(figures.evictions > 1000);
    assert_true(figures.near_bytes <= 256 << 10);
    assert_true(figures.near_bytes >= 128 << 10);
    end(&self);
}

static void test_borrowed_values_outlive_write_and_close(void **state)
{
    (void)state;
    stage self = begin(OPTIONS);
    kw_test_ask_ok(self.other, "SET key one");
    await_near(self.cache, "key", "one");
    kw_cache_value values[3] = {KW_CACHE_VALUE_INIT, KW_CACHE_VALUE_INIT, KW_CACHE_VALUE_INIT};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kw_cache_get(self.cache, NULL, &values[i], kw_cache_text("key")), KW_OK);
        assert_int_equal(values[i].source, KW_CACHE_FROM_NEAR);
    }
    kw_test_ask_ok(self.client, "SET key two");
    assert_is(self.cache, "key", "two");
    kw_cache_release(&values[1]);
    end(&self);
    assert_memory_equal(values[0].data, "one", 3);
    kw_cache_release(&values[2]);
    assert_memory_equal(values[0].data, "one", 3);
    kw_cache_release(&values[0]);
}

static void test_without_tracking_all_else_works(void **state)
{
    (void)state;
    if (here.servers[0] == NULL || here.servers[1] != NULL) {
        return;
    }
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* rules for subcommands are of Redis 7 */
    }
    kw_test_server_ok(here.servers[0], "ACL SETUSER plain on >secret ~* &* +@all -client|tracking");
    kw_client *client =
        kw_test_open("redis://plain:secret@%s", kw_test_server_address(here.servers[0]));
    kw_cache *cache = cache_open(client, OPTIONS);
    char text[100];
    kw_test_ask_ok(client, "SET key one");
    for (int i = 0; i < 200; i++) {
        assert_int_equal(near_get(cache, text, "key"), KW_CACHE_FROM_SERVER);
        kw_test_sleep_ms(1);
    }
    assert_int_equal(cache_figures(cache).near_servers, 0);
    kw_cache_close(cache);
    kw_close(client);
    kw_test_server_integer(here.servers[0], "ACL DELUSER plain");
}

typedef struct heard {
    atomic_uint on_n;
    atomic_uint off_n;
} heard;

static void on_event(void *arg, const kw_event *event)
{
    heard *self = arg;
    atomic_fetch_add(&self->on_n, event->kind == KW_EVENT_NEAR_ON ? 1 : 0);
    if (event->kind == KW_EVENT_NEAR_OFF) {
        assert_non_null(strstr(event->text, event->node));
        atomic_fetch_add(&self->off_n, 1);
    }
}

static void test_the_host_hears_when_values_may_be_near_and_when_not(void **state)
{
    (void)state;
    if (here.group != NULL) {
        return;
    }
    heard ears = {0};
    kw_config *config = kw_config_new(NULL);
    assert_int_equal(kw_config_set(config, NULL, "server", here.uri), KW_OK);
    kw_config_set_event(config, on_event, &ears);
    kw_client *client = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_cache *cache = cache_open(client, OPTIONS);
    kw_test_ask_ok(client, "SET key one");
    await_near(cache, "key", "one");
    KW_TEST_UNTIL(atomic_load(&ears.on_n) >= 1)
    {
        assert_is(cache, "key", "one");
        kw_test_ask_ok(client, "SET other x");
    }
    assert_int_equal(atomic_load(&ears.off_n), 0);
    unsigned on_n = atomic_load(&ears.on_n);
    assert_true(kill_clients("pubsub") >= 1);
    KW_TEST_UNTIL(atomic_load(&ears.off_n) >= 1 && atomic_load(&ears.on_n) > on_n)
    {
        assert_is(cache, "key", "one");
        kw_reply_free(kw_command(client, NULL, "SET other x"));
        kw_test_sleep_ms(1);
    }
    kw_cache_close(cache);
    kw_close(client);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
#define PLACED(test) cmocka_unit_test_prestate(test, place)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(
            test_a_value_comes_near_and_goes_when_somebody_writes, cache_here_start, NULL, place),
        PLACED(test_a_hit_asks_nobody),
        PLACED(test_own_writes_of_every_way_are_seen_at_once),
        PLACED(test_what_multi_has_queued_is_a_write_until_its_end),
        PLACED(test_a_transaction_of_a_session_ends_its_own_keys_alone),
        PLACED(test_flushall_by_others_ends_all),
        PLACED(test_a_life_that_ends_is_not_given),
        PLACED(test_lost_connections_end_what_came_by_them),
        PLACED(test_the_host_hears_when_values_may_be_near_and_when_not),
        PLACED(test_memory_stays_within_near_bytes),
        PLACED(test_borrowed_values_outlive_write_and_close),
        cmocka_unit_test_prestate_setup_teardown(test_without_tracking_all_else_works, NULL,
                                                 cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failures = run_at("server") + run_at("cluster") + run_at("ring") + run_at("sentinel");
    if (cache_has_resp3()) {
        failures += run_at("server, RESP3") + run_at("cluster, RESP3");
    }
    return failures;
}
