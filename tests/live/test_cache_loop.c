/* SPDX-License-Identifier: BSD-3-Clause */
/* A cache in the host's loop: values and loads that end in callbacks, loads that end later, beside
 * calls that wait. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "live/cache_places.h"
#include "support/parts.h"

/* How a call ended. */
typedef struct ended {
    unsigned n;
    kw_err code;
    kw_cache_source source;
    bool is_there;
    char text[100];
} ended;

static void on_value(void *arg, const kw_error *error, kw_cache_value *value)
{
    ended *self = arg;
    self->n++;
    self->code = error != NULL ? error->code : KW_OK;
    assert_true((error == NULL) == (value != NULL));
    if (value != NULL) {
        self->source = value->source;
        self->is_there = value->data != NULL;
        snprintf(self->text, sizeof(self->text), "%.*s", (int)value->len,
                 value->data != NULL ? value->data : "");
        kw_cache_release(value);
    }
}

/* As a host: sleeps until there is something to do. */
static void turn(kw_client *client)
{
    struct pollfd fd = {kw_fd(client, NULL), POLLIN, 0};
    int wait_ms = kw_timeout(client);
    (void)poll(&fd, 1, wait_ms >= 0 && wait_ms < 5000 ? wait_ms : 5000);
    kw_err code = kw_process(client, NULL);
    assert_int_equal(code, KW_OK);
}

static void await(kw_client *client, const ended *end)
{
    KW_TEST_UNTIL(end->n > 0)
    {
        turn(client);
    }
    assert_int_equal(end->n, 1);
}

/* "text source", or the error's name. */
static const char *shown(const ended *end)
{
    static char text[140];
    static const char *const sources[] = {"nowhere", "server", "load", "stale", "near"};
    if (end->code != KW_OK) {
        return kw_err_name(end->code);
    }
    snprintf(text, sizeof(text), "%s %s", end->text, sources[end->source]);
    return text;
}

static const char *got(stage *at, const char *key)
{
    ended how = {0};
    assert_int_equal(kw_cache_get_async(at->cache, NULL, kw_cache_text(key),
                                        (kw_cache_callback){on_value, &how}),
                     KW_OK);
    await(at->client, &how);
    return shown(&how);
}

/* A loader: at once, or later, by hand or by a thread. */
typedef struct source {
    const char *text;
    kw_cache_loaded how;
    bool is_later;
    bool is_by_thread;
    atomic_bool *gate; /* its thread ends the load behind this; NULL: soon */
    unsigned calls_n;
    unsigned running_n;
    unsigned most_n;
    kw_cache_load *loads[64]; /* under way */
    pthread_t thread;
    const char *command;
    const char *also;
    kw_client *client;
} source;

static void *end_later(void *arg)
{
    source *self = arg;
    KW_TEST_UNTIL(self->gate == NULL || atomic_load(self->gate))
    {
        kw_test_sleep_ms(1);
    }
    kw_test_sleep_ms(30);
    assert_int_equal(kw_cache_load_give(self->loads[0], self->text, strlen(self->text)), KW_OK);
    kw_cache_load_end(self->loads[0], self->how);
    return NULL;
}

static kw_cache_loaded load(void *arg, kw_cache_load *load)
{
    source *self = arg;
    self->loads[self->running_n++ % 64] = load;
    self->most_n = self->running_n > self->most_n ? self->running_n : self->most_n;
    self->calls_n++;
    if (self->command != NULL) {
        kw_reply_free(kw_test_ask(self->client, self->command));
    }
    if (self->also != NULL) {
        kw_reply_free(kw_test_ask(self->client, self->also));
    }
    if (self->is_by_thread) {
        assert_int_equal(pthread_create(&self->thread, NULL, end_later, self), 0);
        return KW_CACHE_LATER;
    }
    if (self->is_later) {
        return KW_CACHE_LATER;
    }
    self->running_n--;
    if (self->how == KW_CACHE_LOADED) {
        assert_int_equal(kw_cache_load_give(load, self->text, strlen(self->text)), KW_OK);
    }
    return self->how;
}

static void fetch(stage *at, const char *key, source *from, ended *end)
{
    assert_int_equal(kw_cache_fetch_async(at->cache, NULL, kw_cache_text(key),
                                          (kw_cache_loader){load, from},
                                          (kw_cache_callback){on_value, end}),
                     KW_OK);
}

static const char *fetched(stage *at, const char *key, source *from)
{
    ended how = {0};
    fetch(at, key, from, &how);
    await(at->client, &how);
    return shown(&how);
}

static void test_get_put_and_forget(void **state)
{
    (void)state;
    stage at = begin(NULL);
    ended how = {0};
    kw_cache_callback callback = {on_value, &how};
    assert_string_equal(got(&at, "key"), " nowhere");
    assert_int_equal(
        kw_cache_put_async(at.cache, NULL, kw_cache_text("key"), kw_cache_text("v"), callback),
        KW_OK);
    await(at.client, &how);
    assert_int_equal(how.code, KW_OK);
    assert_string_equal(got(&at, "key"), "v server");
    assert_in_range(kw_test_ask_integer(at.other, "TTL key"), 260, 300);
    how.n = 0;
    assert_int_equal(kw_cache_forget_async(at.cache, NULL, kw_cache_text("key"), callback), KW_OK);
    await(at.client, &how);
    assert_string_equal(got(&at, "key"), " nowhere");
    kw_reply_free(kw_test_ask(at.other, "RPUSH list a"));
    assert_string_equal(got(&at, "list"), kw_err_name(KW_ERR_SERVER));
    how = (ended){0};
    /* With lives to be looked at. */
    kw_cache *cache = cache_open(at.client, "stale=100s");
    kw_test_ask_ok(at.other, "SET key old PX 50000");
    assert_int_equal(kw_cache_get_async(cache, NULL, kw_cache_text("key"), callback), KW_OK);
    await(at.client, &how);
    assert_string_equal(shown(&how), "old stale");
    kw_cache_close(cache);
    end(&at);
}

static void test_fetch_loads_once_and_leaves_a_plain_string(void **state)
{
    (void)state;
    stage at = begin("ttl=100s&ttl-jitter=0");
    source from = {.text = "Ann", .how = KW_CACHE_LOADED};
    assert_string_equal(fetched(&at, "key", &from), "Ann load");
    assert_string_equal(fetched(&at, "key", &from), "Ann server");
    char *text = kw_test_ask_text(at.other, "GET key");
    assert_string_equal(text, "Ann");
    free(text);
    assert_in_range(kw_test_ask_integer(at.other, "TTL key"), 90, 100);
    source none = {.how = KW_CACHE_NONE};
    assert_string_equal(fetched(&at, "none", &none), " nowhere");
    assert_string_equal(fetched(&at, "none", &none), " nowhere");
    assert_int_equal(none.calls_n, 1);
    source bad = {.how = KW_CACHE_FAILED};
    assert_string_equal(fetched(&at, "bad", &bad), kw_err_name(KW_ERR_LOAD));
    kw_cache_figures figures = cache_figures(at.cache);
    assert_int_equal(figures.loads, 3);
    assert_int_equal(figures.fills, 2);
    assert_int_equal(figures.load_failures, 1);
    assert_int_equal(figures.loading, 0);
    end(&at);
}

typedef struct waiting {
    stage *at;
    source *from;
    atomic_bool is_over;
} waiting;

/* A call that waits, of the same key. */
static void *fetch_waiting(void *arg)
{
    waiting *self = arg;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_fetch(self->at->cache, NULL, &value, kw_cache_text("key"),
                                    (kw_cache_loader){load, self->from}),
                     KW_OK);
    assert_int_equal(value.len, 5);
    kw_cache_release(&value);
    atomic_store(&self->is_over, true);
    return NULL;
}

static void test_a_load_that_ends_later_is_one_for_all(void **state)
{
    (void)state;
    stage at = begin(NULL);
    source from = {.text = "value", .how = KW_CACHE_LOADED, .is_by_thread = true};
    source other = {.text = "wrong", .how = KW_CACHE_FAILED};
    ended ends[50] = {{0}};
    fetch(&at, "key", &from, &ends[0]);
    KW_TEST_UNTIL(from.calls_n > 0)
    {
        turn(at.client);
    }
    waiting beside = {.at = &at, .from = &other};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fetch_waiting, &beside), 0);
    for (size_t i = 1; i < 50; i++) {
        fetch(&at, "key", &from, &ends[i]);
    }
    for (size_t i = 0; i < 50; i++) {
        await(at.client, &ends[i]);
        assert_string_equal(ends[i].text, "value");
    }
    kw_test_join(thread);
    kw_test_join(from.thread);
    assert_true(atomic_load(&beside.is_over));
    assert_int_equal(from.calls_n, 1);
    assert_int_equal(other.calls_n, 0);
    end(&at);
}

/* A call that waits may have such a loader as well. */
static void test_a_call_that_waits_waits_for_a_later_end(void **state)
{
    (void)state;
    stage at = begin(NULL);
    source from = {.text = "value", .how = KW_CACHE_LOADED, .is_by_thread = true};
    waiting self = {.at = &at, .from = &from};
    (void)fetch_waiting(&self);
    kw_test_join(from.thread);
    assert_int_equal(from.calls_n, 1);
    assert_int_equal(kw_test_ask_integer(at.other, "STRLEN key"), 5);
    end(&at);
}

static void test_what_was_written_during_a_load_stays(void **state)
{
    (void)state;
    static const char *const commands[] = {"SET key new", "SET key new", "DEL key"};
    for (size_t i = 0; i < 3; i++) {
        stage at = begin(NULL);
        source from = {.text = "old", .how = KW_CACHE_LOADED, .client = at.other};
        from.command = commands[i];
        from.also = i == 1 ? "DEL key" : NULL; /* there and back */
        assert_string_equal(fetched(&at, "key", &from), "old load");
        kw_cache_figures figures = cache_figures(at.cache);
        assert_int_equal(figures.fills_refused, i == 2 ? 0 : 1); /* DEL of nothing is nothing */
        char *text = kw_test_ask_text(at.other, "GET key");
        if (i == 0) {
            assert_string_equal(text, "new");
        } else if (i == 1) {
            assert_null(text);
        }
        free(text);
        end(&at);
    }
}

static void test_what_was_read_is_near_and_own_writes_are_seen(void **state)
{
    (void)state;
    stage at = begin("near-bytes=4mb&near-ttl=1h&near-staleness=10s");
    source from = {.text = "loaded", .how = KW_CACHE_LOADED};
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_test_ask_ok(at.other, "SET key one");
    assert_false(kw_cache_peek(at.cache, &value, kw_cache_text("key")));
    KW_TEST_UNTIL(kw_cache_peek(at.cache, &value, kw_cache_text("key")))
    {
        (void)got(&at, "key");
    }
    assert_int_equal(value.source, KW_CACHE_FROM_NEAR);
    kw_cache_release(&value);
    assert_string_equal(got(&at, "key"), "one near");
    assert_string_equal(fetched(&at, "key", &from), "one near");
    ended how = {0};
    kw_cache_callback callback = {on_value, &how};
    assert_int_equal(
        kw_cache_put_async(at.cache, NULL, kw_cache_text("key"), kw_cache_text("two"), callback),
        KW_OK);
    await(at.client, &how);
    assert_string_equal(got(&at, "key"), "two server");
    kw_reply_free(kw_test_ask(at.client, "DEL key"));
    assert_string_equal(fetched(&at, "key", &from), "loaded load");
    assert_int_equal(from.calls_n, 1);
    end(&at);
}

/* Another process, as far as the servers can tell, whose load ends behind the gate. */
typedef struct elsewhere {
    stage *at;
    atomic_bool gate;
} elsewhere;

static void *load_elsewhere(void *arg)
{
    elsewhere *self = arg;
    stage *at = self->at;
    kw_cache *cache = cache_open(at->other, NULL);
    source from = {.text = "value", .how = KW_CACHE_LOADED, .command = "SET begun 1"};
    from.client = at->other;
    from.is_by_thread = true;
    from.gate = &self->gate;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(
        kw_cache_fetch(cache, NULL, &value, kw_cache_text("key"), (kw_cache_loader){load, &from}),
        KW_OK);
    kw_cache_release(&value);
    kw_test_join(from.thread);
    kw_cache_close(cache);
    return NULL;
}

static void test_a_load_of_another_process_is_waited_for(void **state)
{
    (void)state;
    static const char *const options[] = {NULL, "near-bytes=1mb&near-staleness=10s"};
    for (size_t i = 0; i < 2; i++) {
        stage at = begin(options[i]);
        source from = {.how = KW_CACHE_FAILED};
        elsewhere other = {.at = &at};
        ended how = {0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, load_elsewhere, &other), 0);
        KW_TEST_UNTIL(kw_test_ask_integer(at.client, "EXISTS begun") == 1)
        {
            kw_test_sleep_ms(1);
        }
        fetch(&at, "key", &from, &how);
        KW_TEST_UNTIL(cache_figures(at.cache).waits == 1)
        {
            turn(at.client);
        }
        atomic_store(&other.gate, true);
        await(at.client, &how);
        assert_string_equal(shown(&how), "value server");
        kw_test_join(thread);
        assert_int_equal(from.calls_n, 0);
        assert_int_equal(cache_figures(at.cache).waits, 1);
        end(&at);
    }
}

static void test_loads_at_a_time_are_bounded(void **state)
{
    (void)state;
    stage at = begin("loads-max=2");
    source from = {.text = "value", .how = KW_CACHE_LOADED, .is_later = true};
    ended ends[6] = {{0}};
    for (size_t i = 0; i < 6; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key:%zu", i);
        fetch(&at, key, &from, &ends[i]);
    }
    for (unsigned done_n = 0; done_n < 6; done_n++) {
        KW_TEST_UNTIL(from.running_n == (done_n < 5 ? 2 : 1))
        {
            turn(at.client);
        }
        from.running_n--;
        kw_cache_load *last = from.loads[from.running_n];
        assert_int_equal(kw_cache_load_give(last, "value", 5), KW_OK);
        kw_cache_load_end(last, KW_CACHE_LOADED);
        turn(at.client);
    }
    for (size_t i = 0; i < 6; i++) {
        await(at.client, &ends[i]);
        assert_string_equal(shown(&ends[i]), "value load");
    }
    assert_int_equal(from.most_n, 2);
    assert_int_equal(from.calls_n, 6);
    end(&at);
}

static void test_close_ends_calls_and_a_load_may_end_after_it(void **state)
{
    (void)state;
    stage at = begin("near-bytes=1mb");
    source from = {.text = "value", .how = KW_CACHE_LOADED, .is_later = true};
    ended loading = {0};
    ended following = {0};
    ended reading = {0};
    fetch(&at, "key", &from, &loading);
    KW_TEST_UNTIL(from.calls_n > 0)
    {
        turn(at.client);
    }
    fetch(&at, "key", &from, &following);
    turn(at.client);
    assert_int_equal(kw_cache_get_async(at.cache, NULL, kw_cache_text("other"),
                                        (kw_cache_callback){on_value, &reading}),
                     KW_OK);
    kw_cache_close(at.cache);
    assert_int_equal(loading.code, KW_ERR_CANCELLED);
    assert_int_equal(following.code, KW_ERR_CANCELLED);
    assert_int_equal(reading.code, KW_ERR_CANCELLED);
    assert_int_equal(loading.n + following.n + reading.n, 3);
    assert_int_equal(kw_cache_load_give(from.loads[0], "value", 5), KW_OK);
    kw_cache_load_end(from.loads[0], KW_CACHE_LOADED);
    /* The lease was given back: another loads at once. */
    at.cache = cache_open(at.client, NULL);
    source again = {.text = "again", .how = KW_CACHE_LOADED};
    assert_string_equal(fetched(&at, "key", &again), "again load");
    end(&at);
}

static void test_without_a_server_each_loads_for_itself(void **state)
{
    (void)state;
    stage at;
    at.client = kw_test_open("redis://127.0.0.1:1?timeout=400ms");
    at.other = kw_test_open("%s", here.uri);
    at.cache = cache_open(at.client, NULL);
    source from = {.text = "alone", .how = KW_CACHE_LOADED};
    assert_string_equal(fetched(&at, "key", &from), "alone load");
    assert_int_equal(cache_figures(at.cache).alone, 1);
    ended how = {0};
    assert_int_equal(kw_cache_get_async(at.cache, NULL, kw_cache_text("key"),
                                        (kw_cache_callback){on_value, &how}),
                     KW_OK);
    await(at.client, &how);
    assert_true(how.code != KW_OK);
    end(&at);
}

static void test_wrong_arguments_are_refused(void **state)
{
    (void)state;
    stage at = begin(NULL);
    kw_cache_callback callback = {on_value, NULL};
    kw_cache_callback none = {NULL, NULL};
    kw_cache_bytes key = kw_cache_text("k");
    kw_cache_bytes bad = {NULL, 1};
    kw_cache_loader loader = {NULL, NULL};
    assert_int_equal(kw_cache_get_async(NULL, NULL, key, callback), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get_async(at.cache, NULL, key, none), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get_async(at.cache, NULL, bad, callback), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_fetch_async(at.cache, NULL, key, loader, callback), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_put_async(at.cache, NULL, key, bad, callback), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_forget_async(at.cache, NULL, bad, callback), KW_ERR_ARGUMENT);
    assert_false(kw_cache_peek(at.cache, NULL, key));
    end(&at);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
#define PLACED(test) cmocka_unit_test_prestate(test, place)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_get_put_and_forget, cache_here_start, NULL,
                                                 place),
        PLACED(test_fetch_loads_once_and_leaves_a_plain_string),
        PLACED(test_a_load_that_ends_later_is_one_for_all),
        PLACED(test_a_call_that_waits_waits_for_a_later_end),
        PLACED(test_what_was_written_during_a_load_stays),
        PLACED(test_what_was_read_is_near_and_own_writes_are_seen),
        PLACED(test_a_load_of_another_process_is_waited_for),
        PLACED(test_loads_at_a_time_are_bounded),
        PLACED(test_close_ends_calls_and_a_load_may_end_after_it),
        PLACED(test_without_a_server_each_loads_for_itself),
        cmocka_unit_test_prestate_setup_teardown(test_wrong_arguments_are_refused, NULL,
                                                 cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run(size_t part)
{
    static const char *const places[] = {"server", "cluster", "ring", "sentinel"};
    return run_at(places[part]);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 4, run);
}
