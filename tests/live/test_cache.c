/* SPDX-License-Identifier: BSD-3-Clause */
/* A cache on real servers: values, loads under a lease, lives, what other clients do meanwhile.
 * KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <pthread.h>

#include "cache/lease.h"
#include "live/cache_places.h"

/* A loader whose acts a test says. */
typedef struct source {
    const char *text; /* what it gives; NULL: there is none */
    bool fails;
    bool gives_nothing;
    unsigned calls_n;
    kw_client *client;
    const char *command; /* sent by another client while it loads; NULL: nothing */
    const char *also;    /* and then */
    unsigned takes_ms;
} source;

static kw_cache_loaded load(void *arg, kw_cache_load *load)
{
    source *self = arg;
    self->calls_n++;
    if (self->command != NULL) {
        kw_reply_free(kw_test_ask(self->client, self->command));
    }
    if (self->also != NULL) {
        kw_reply_free(kw_test_ask(self->client, self->also));
    }
    if (self->takes_ms > 0) {
        kw_test_sleep_ms(self->takes_ms);
    }
    if (self->fails) {
        return KW_CACHE_FAILED;
    }
    if (self->text == NULL) {
        return KW_CACHE_NONE;
    }
    assert_int_equal(kw_cache_load_key(load).data[0], 'k');
    if (!self->gives_nothing) {
        assert_int_equal(kw_cache_load_give(load, "first", 5), KW_OK);
        assert_int_equal(kw_cache_load_give(load, self->text, strlen(self->text)), KW_OK);
    }
    return KW_CACHE_LOADED;
}

/* Who fetches "key" with the source, and what came: "text source", or the error's name. */
static const char *fetched(kw_cache *cache, source *from)
{
    static char shown[100];
    static const char *const sources[] = {"nowhere", "server", "load", "stale"};
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_err code =
        kw_cache_fetch(cache, &error, &value, kw_cache_text("key"), (kw_cache_loader){load, from});
    assert_int_equal(code, error.code);
    if (code != KW_OK) {
        assert_null(value.data);
        return kw_err_name(code);
    }
    snprintf(shown, sizeof(shown), "%.*s %s", (int)value.len, value.data != NULL ? value.data : "",
             sources[value.source]);
    kw_cache_release(&value);
    assert_null(value.data);
    return shown;
}

static const char *got(kw_cache *cache)
{
    static char shown[100];
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_err code = kw_cache_get(cache, &error, &value, kw_cache_text("key"));
    if (code != KW_OK) {
        return kw_err_name(code);
    }
    snprintf(shown, sizeof(shown), "%.*s%s", (int)value.len, value.data != NULL ? value.data : "",
             value.source == KW_CACHE_FROM_STALE     ? " stale"
             : value.source == KW_CACHE_FROM_NOWHERE ? "none"
                                                     : "");
    kw_cache_release(&value);
    return shown;
}

static void test_fetch_loads_once_and_leaves_a_plain_string(void **state)
{
    (void)state;
    stage self = begin("ttl=100s&ttl-jitter=0");
    source from = {.text = "Ann"};
    assert_string_equal(fetched(self.cache, &from), "Ann load");
    assert_string_equal(fetched(self.cache, &from), "Ann server");
    assert_string_equal(got(self.cache), "Ann");
    assert_int_equal(from.calls_n, 1);
    char *text = kw_test_ask_text(self.other, "GET key");
    assert_string_equal(text, "Ann");
    free(text);
    assert_in_range(kw_test_ask_integer(self.other, "TTL key"), 90, 100);
    kw_cache_figures figures = cache_figures(self.cache);
    assert_int_equal(figures.loads, 1);
    assert_int_equal(figures.fills, 1);
    assert_int_equal(figures.hits, 2);
    assert_int_equal(figures.misses, 1);
    assert_int_equal(figures.loading, 0);
    end(&self);
}

static void test_put_and_forget_are_seen(void **state)
{
    (void)state;
    stage self = begin(NULL);
    assert_string_equal(got(self.cache), "none");
    assert_int_equal(kw_cache_put(self.cache, NULL, kw_cache_text("key"), kw_cache_text("v")),
                     KW_OK);
    assert_string_equal(got(self.cache), "v");
    assert_in_range(kw_test_ask_integer(self.other, "TTL key"), 260, 300);
    assert_int_equal(kw_cache_forget(self.cache, NULL, kw_cache_text("key")), KW_OK);
    assert_string_equal(got(self.cache), "none");
    assert_int_equal(kw_test_ask_integer(self.other, "EXISTS key"), 0);
    end(&self);
}

static void test_any_bytes_and_an_empty_value(void **state)
{
    (void)state;
    stage self = begin(NULL);
    kw_cache_bytes key = {"k\0}{\xff", 5};
    kw_cache_bytes none = {NULL, 0};
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_put(self.cache, NULL, key, none), KW_OK);
    assert_int_equal(kw_cache_get(self.cache, NULL, &value, key), KW_OK);
    assert_non_null(value.data);
    assert_int_equal(value.len, 0);
    assert_int_equal(value.source, KW_CACHE_FROM_SERVER);
    kw_cache_release(&value);
    end(&self);
}

static void test_no_value_is_remembered_for_its_time(void **state)
{
    (void)state;
    stage self = begin("negative-ttl=100s");
    source from = {.text = NULL};
    assert_string_equal(fetched(self.cache, &from), " nowhere");
    assert_string_equal(fetched(self.cache, &from), " nowhere");
    assert_int_equal(from.calls_n, 1);
    assert_int_equal(kw_test_ask_integer(self.other, "EXISTS key"), 0);
    /* A value that anybody sets counts at once, and so does a forget. */
    kw_test_ask_ok(self.other, "SET key v");
    assert_string_equal(fetched(self.cache, &from), "v server");
    assert_int_equal(kw_cache_forget(self.cache, NULL, kw_cache_text("key")), KW_OK);
    from.text = "new";
    assert_string_equal(fetched(self.cache, &from), "new load");
    end(&self);
}

static void test_no_value_is_not_remembered_without_time(void **state)
{
    (void)state;
    stage self = begin("negative-ttl=0");
    source from = {.text = NULL};
    assert_string_equal(fetched(self.cache, &from), " nowhere");
    assert_string_equal(fetched(self.cache, &from), " nowhere");
    assert_int_equal(from.calls_n, 2);
    end(&self);
}

static void test_a_failed_load_is_an_error_and_gives_the_lease_back(void **state)
{
    (void)state;
    stage self = begin("lease=1h");
    source from = {.text = "v", .fails = true};
    assert_string_equal(fetched(self.cache, &from), "KW_ERR_LOAD");
    from.fails = false;
    from.gives_nothing = true;
    assert_string_equal(fetched(self.cache, &from), "KW_ERR_LOAD");
    from.gives_nothing = false;
    assert_string_equal(fetched(self.cache, &from), "v load");
    kw_cache_figures figures = cache_figures(self.cache);
    assert_int_equal(figures.load_failures, 2);
    assert_int_equal(figures.loads, 3);
    end(&self);
}

/* What others do while the value is loaded, and what is there afterwards. */
static void test_what_was_loaded_before_a_write_is_not_stored(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *command;
        const char *also;
        const char *after; /* of GET */
    } rows[] = {
        {NULL, "SET key theirs", NULL, "theirs"},
        {NULL, "SET key theirs", "DEL key", "none"},
        {NULL, "SET key theirs PX 1000", "UNLINK key", "none"},
        {NULL, "APPEND key theirs", "FLUSHALL", "none"},
        {NULL, "SET other v", NULL, "mine"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stage self = begin("lease=1h");
        source from = {.text = "mine", .client = self.other};
        from.command = rows[i].command;
        from.also = rows[i].also;
        assert_string_equal(fetched(self.cache, &from), "mine load");
        assert_string_equal(got(self.cache), rows[i].after);
        kw_cache_figures figures = cache_figures(self.cache);
        bool is_stored = strcmp(rows[i].after, "mine") == 0;
        assert_int_equal(figures.fills, is_stored ? 1 : 0);
        assert_int_equal(figures.fills_refused, is_stored ? 0 : 1);
        /* The lease is free. */
        from.command = from.also = NULL;
        from.text = "new";
        assert_string_equal(fetched(self.cache, &from), is_stored ? "mine server"
                                                        : strcmp(rows[i].after, "theirs") == 0
                                                            ? "theirs server"
                                                            : "new load");
        end(&self);
    }
}

typedef struct forgetting {
    kw_cache *cache;
    bool puts;
} forgetting;

static kw_cache_loaded load_and_forget(void *arg, kw_cache_load *load)
{
    forgetting *self = arg;
    kw_err code = self->puts
                      ? kw_cache_put(self->cache, NULL, kw_cache_text("key"), kw_cache_text("put"))
                      : kw_cache_forget(self->cache, NULL, kw_cache_text("key"));
    assert_int_equal(code, KW_OK);
    assert_int_equal(kw_cache_load_give(load, "old", 3), KW_OK);
    return KW_CACHE_LOADED;
}

static void test_what_was_loaded_before_a_forget_is_not_stored(void **state)
{
    (void)state;
    for (int puts = 0; puts < 2; puts++) {
        stage self = begin(NULL);
        kw_cache *elsewhere = cache_open(self.other, NULL);
        forgetting forgets = {elsewhere, puts == 1};
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        assert_int_equal(kw_cache_fetch(self.cache, NULL, &value, kw_cache_text("key"),
                                        (kw_cache_loader){load_and_forget, &forgets}),
                         KW_OK);
        assert_int_equal(value.len, 3);
        kw_cache_release(&value);
        assert_string_equal(got(self.cache), puts == 1 ? "put" : "none");
        kw_cache_close(elsewhere);
        end(&self);
    }
}

static void test_another_kind_of_key_is_the_servers_error(void **state)
{
    (void)state;
    stage self = begin(NULL);
    source from = {.text = "v"};
    kw_reply_free(kw_test_ask(self.other, "LPUSH key 1"));
    assert_string_equal(fetched(self.cache, &from), "KW_ERR_SERVER");
    assert_string_equal(got(self.cache), "KW_ERR_SERVER");
    assert_int_equal(from.calls_n, 0);
    end(&self);
}

static void test_stale_is_given_while_one_loads(void **state)
{
    (void)state;
    stage self = begin("ttl=1h&stale=10m&ttl-jitter=0&early=0");
    kw_cache *elsewhere = cache_open(self.other, "ttl=1h&stale=10m&ttl-jitter=0&early=0");
    source from = {.text = "new"};
    /* Half of its stale time is over. */
    kw_test_ask_ok(self.other, "SET key old PX 300000");
    assert_string_equal(got(self.cache), "old stale");
    /* Somebody else loads. */
    kw_slot_tags *tags = malloc(sizeof(*tags));
    kw_slot_tags_init(tags);
    char name[100];
    snprintf(name, sizeof(name), KW_LEASE_PREFIX "%.3s}:key", tags->at[kw_slot_of("key", 3)]);
    free(tags);
    kw_lease_token token = kw_lease_token_make(1, 2);
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_KEY;
    options.key = "key";
    options.key_len = 3;
    char lease[60];
    snprintf(lease, sizeof(lease), "L%.32s:", token.text);
    const char *argv[] = {"SET", name, lease};
    kw_reply_free(kw_call(self.other, NULL, &options, (kw_argv){3, argv, NULL}));
    assert_string_equal(fetched(self.cache, &from), "old stale");
    assert_int_equal(from.calls_n, 0);
    const char *gone[] = {"DEL", name};
    kw_reply_free(kw_call(self.other, NULL, &options, (kw_argv){2, gone, NULL}));
    /* Nobody does: this one. */
    assert_string_equal(fetched(self.cache, &from), "new load");
    assert_string_equal(fetched(elsewhere, &from), "new server");
    assert_in_range(kw_test_ask_integer(self.other, "TTL key"), 4100, 4200);
    kw_cache_close(elsewhere);
    end(&self);
}

static void test_stale_if_error_is_given_where_loading_fails(void **state)
{
    (void)state;
    stage self = begin("ttl=1h&stale-if-error=10m&ttl-jitter=0&early=0");
    source from = {.text = "new", .fails = true};
    kw_test_ask_ok(self.other, "SET key old PX 300000");
    assert_string_equal(got(self.cache), "none"); /* its ttl is over */
    assert_string_equal(fetched(self.cache, &from), "old stale");
    assert_int_equal(from.calls_n, 1);
    from.fails = false;
    assert_string_equal(fetched(self.cache, &from), "new load");
    assert_string_equal(fetched(self.cache, &from), "new server");
    end(&self);
}

static void test_early_loads_anew_before_the_end(void **state)
{
    (void)state;
    stage self = begin("ttl=1h&ttl-jitter=0&early=10000");
    source from = {.text = "v", .takes_ms = 5};
    assert_string_equal(fetched(self.cache, &from), "v load");
    /* A thousandth of what a load costs is left, but for the stale time, of which there is none. */
    kw_test_ask_integer(self.other, "PEXPIRE key 1800000"); /* also where the load took a second */
    assert_string_equal(got(self.cache), "v");
    unsigned tries_n = 0;
    kw_test_ask_integer(self.other, "PEXPIRE key 600");
    while (from.calls_n == 1 && tries_n++ < 100) {
        (void)fetched(self.cache, &from);
    }
    assert_int_equal(from.calls_n, 2);
    assert_in_range(kw_test_ask_integer(self.other, "TTL key"), 3000, 3600);
    end(&self);
}

static void test_dead_servers_leave_loads_to_the_process(void **state)
{
    (void)state;
    kw_client *client = kw_test_open("redis://127.0.0.1:1?timeout=300ms");
    kw_cache *cache = cache_open(client, NULL);
    source from = {.text = "v"};
    assert_string_equal(fetched(cache, &from), "v load");
    assert_string_equal(fetched(cache, &from), "v load");
    assert_int_equal(from.calls_n, 2);
    assert_int_equal(cache_figures(cache).alone, 2);
    assert_int_equal(cache_figures(cache).fills, 0);
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_get(cache, &error, &value, kw_cache_text("key")), KW_ERR_CONNECT);
    kw_cache_close(cache);
    kw_close(client);
}

static void test_wrong_arguments_are_refused(void **state)
{
    (void)state;
    stage self = begin(NULL);
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_cache_value unset = {.size = 1};
    kw_cache_bytes wrong = {NULL, 3};
    kw_cache_bytes key = kw_cache_text("key");
    assert_null(kw_cache_open(NULL, &error, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_cache_open(self.client, &error, "nonsense=1"));
    assert_int_equal(error.code, KW_ERR_CONFIG);
    assert_int_equal(kw_cache_get(NULL, &error, &value, key), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get(self.cache, &error, NULL, key), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get(self.cache, &error, &unset, key), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get(self.cache, &error, &value, wrong), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_put(self.cache, &error, key, wrong), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_put(self.cache, &error, wrong, key), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_forget(self.cache, &error, wrong), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_fetch(self.cache, &error, &value, key, (kw_cache_loader){NULL, NULL}),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_stats(self.cache, &error, NULL), KW_ERR_ARGUMENT);
    kw_client *ring = kw_test_open("redis-ring://a=127.0.0.1:1,b=127.0.0.1:2?copies=2");
    assert_null(kw_cache_open(ring, &error, NULL));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "copies"));
    kw_close(ring);
    kw_cache_release(NULL);
    kw_cache_release(&value);
    kw_cache_close(NULL);
    end(&self);
}

static void test_values_outlive_cache_and_handle(void **state)
{
    (void)state;
    stage self = begin(NULL);
    source from = {.text = "v"};
    kw_cache_value loaded = KW_CACHE_VALUE_INIT;
    kw_cache_value read = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_fetch(self.cache, NULL, &loaded, kw_cache_text("key"),
                                    (kw_cache_loader){load, &from}),
                     KW_OK);
    assert_int_equal(kw_cache_get(self.cache, NULL, &read, kw_cache_text("key")), KW_OK);
    end(&self);
    assert_memory_equal(loaded.data, "v", 1);
    assert_memory_equal(read.data, "v", 1);
    kw_cache_release(&loaded);
    kw_cache_release(&read);
}

static void test_the_script_has_its_name(void **state)
{
    (void)state;
    kw_client *client = kw_test_open("%s", here.uri);
    kw_reply *reply = kw_test_ask(client, "SCRIPT LOAD %s", kw_lease_script());
    const kw_reply *name = kw_reply_type(reply) == KW_REPLY_ARRAY ? kw_reply_at(reply, 0) : reply;
    assert_string_equal(kw_reply_str(name, NULL), kw_lease_script_sha1());
    kw_reply_free(reply);
    kw_close(client);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
#define PLACED(test) cmocka_unit_test_prestate(test, place)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_fetch_loads_once_and_leaves_a_plain_string,
                                                 cache_here_start, NULL, place),
        PLACED(test_put_and_forget_are_seen),
        PLACED(test_any_bytes_and_an_empty_value),
        PLACED(test_no_value_is_remembered_for_its_time),
        PLACED(test_no_value_is_not_remembered_without_time),
        PLACED(test_a_failed_load_is_an_error_and_gives_the_lease_back),
        PLACED(test_what_was_loaded_before_a_write_is_not_stored),
        PLACED(test_what_was_loaded_before_a_forget_is_not_stored),
        PLACED(test_another_kind_of_key_is_the_servers_error),
        PLACED(test_stale_is_given_while_one_loads),
        PLACED(test_stale_if_error_is_given_where_loading_fails),
        PLACED(test_early_loads_anew_before_the_end),
        PLACED(test_dead_servers_leave_loads_to_the_process),
        PLACED(test_wrong_arguments_are_refused),
        PLACED(test_values_outlive_cache_and_handle),
        cmocka_unit_test_prestate_setup_teardown(test_the_script_has_its_name, NULL,
                                                 cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run_at("server") + run_at("cluster") + run_at("ring") + run_at("sentinel");
}
