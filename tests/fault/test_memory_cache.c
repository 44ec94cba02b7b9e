/* SPDX-License-Identifier: BSD-3-Clause */
/* A cache while the nth allocation of the library fails, for every n: calls that wait, many keys,
 * and calls that end in callbacks. They fail for want of memory or not at all; what they give is
 * right; with memory there again, all is as it was; and nothing is left behind. Beside them, a host
 * with a loop and a cache that forks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/cache_places.h"
#include "support/calm.h"

#define ALLOCATIONS_MAX 3000ul

/* Given to callbacks. */
typedef struct ended {
    unsigned n;
    kw_err code;
    char text[20];
} ended;

typedef struct pass {
    kw_test_memory memory;
    kw_client *client;
    kw_cache *cache;
    unsigned long failed_n; /* calls for which there was no memory */
} pass;

/* What the n-th allocation may do to a call. A load that finds no memory to give its value fails.
 */
static void note(pass *self, const char *what, kw_err code)
{
    bool is_known = code == KW_OK || code == KW_ERR_NOMEM || code == KW_ERR_LOAD;
    if (!is_known) {
        kw_test_die("allocation %lu, %s: %s", self->memory.fail_at, what, kw_err_name(code));
    }
    self->failed_n += code != KW_OK ? 1 : 0;
}

static void take(char text[20], kw_cache_value *value)
{
    snprintf(text, 20, "%.*s", (int)value->len, value->data != NULL ? value->data : "");
    kw_cache_release(value);
}

/* Nothing, or what is stored or loaded. */
static void assert_known(const char *text)
{
    assert_true(text[0] == '\0' || strcmp(text, "stored") == 0 || strcmp(text, "loaded") == 0);
}

static kw_cache_loaded load(void *arg, kw_cache_load *load)
{
    (void)arg;
    return kw_cache_load_give(load, "loaded", 6) == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

static const kw_cache_loader loader = {load, NULL};

static void call(pass *self)
{
    char text[20];
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    note(self, "put",
         kw_cache_put(self->cache, &error, kw_cache_text("put"), kw_cache_text("stored")));
    for (int i = 0; i < 3; i++) { /* at a server, tracked, near */
        note(self, "get", kw_cache_get(self->cache, &error, &value, kw_cache_text("put")));
        take(text, &value);
        assert_known(text);
    }
    note(self, "fetch", kw_cache_fetch(self->cache, &error, &value, kw_cache_text("load"), loader));
    take(text, &value);
    assert_known(text);
    note(self, "forget", kw_cache_forget(self->cache, &error, kw_cache_text("load")));
}

static void call_many(pass *self)
{
    static const char *const names[] = {"put", "a", "b", "{long}", "none", "c", "d", "e"};
    kw_cache_value values[8];
    kw_cache_bytes keys[8];
    for (size_t i = 0; i < 8; i++) {
        values[i] = (kw_cache_value)KW_CACHE_VALUE_INIT;
        keys[i] = kw_cache_text(names[i]);
    }
    kw_error error = KW_ERROR_INIT;
    note(self, "get_many", kw_cache_get_many(self->cache, &error, values, keys, 8));
    for (size_t i = 0; i < 8; i++) {
        char text[20];
        take(text, &values[i]);
        assert_known(text);
    }
}

static void on_value(void *arg, const kw_error *error, kw_cache_value *value)
{
    ended *self = arg;
    self->n++;
    self->code = error != NULL ? error->code : KW_OK;
    if (value != NULL) {
        take(self->text, value);
    }
}

/* Ends of calls that were begun. */
static void await_ends(pass *self, const ended *ends, unsigned begun_n)
{
    unsigned ended_n = 0;
    KW_TEST_UNTIL(ended_n == begun_n)
    {
        struct pollfd fd = {kw_fd(self->client, NULL), POLLIN, 0};
        int wait_ms = kw_timeout(self->client);
        if (fd.fd >= 0) {
            (void)poll(&fd, 1, wait_ms >= 0 && wait_ms < 20 ? wait_ms : 20);
        }
        kw_err code = kw_process(self->client, NULL);
        assert_true(code == KW_OK || code == KW_ERR_NOMEM);
        ended_n = ends[0].n + ends[1].n + ends[2].n + ends[3].n;
    }
}

static void call_in_loop(pass *self)
{
    static const char *const whats[] = {"put_async", "get_async", "fetch_async", "forget_async"};
    ended ends[4] = {{0, KW_OK, ""}, {0, KW_OK, ""}, {0, KW_OK, ""}, {0, KW_OK, ""}};
    for (int i = 0; i < 4; i++) { /* one behind the other */
        kw_cache_callback callback = {on_value, &ends[i]};
        kw_cache_bytes key = kw_cache_text(i < 2 ? "put" : "load");
        kw_cache_bytes value = kw_cache_text("stored");
        kw_err code = i == 0   ? kw_cache_put_async(self->cache, NULL, key, value, callback)
                      : i == 1 ? kw_cache_get_async(self->cache, NULL, key, callback)
                      : i == 2 ? kw_cache_fetch_async(self->cache, NULL, key, loader, callback)
                               : kw_cache_forget_async(self->cache, NULL, key, callback);
        note(self, whats[i], code);
        if (code == KW_OK) {
            unsigned before_n = ends[0].n + ends[1].n + ends[2].n + ends[3].n;
            await_ends(self, ends, before_n + 1);
            assert_int_equal(ends[i].n, 1);
            note(self, whats[i], ends[i].code);
            assert_known(ends[i].text);
        }
    }
}

typedef void (*calls_fn)(pass *self);

static bool open_pass(pass *self, const char *options)
{
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(&self->memory.allocator);
    if (config != NULL && kw_config_set_uri(config, &error, here.uri) == KW_OK) {
        self->client = kw_open_config(config, &error);
    }
    kw_config_free(config);
    self->cache = self->client != NULL ? kw_cache_open(self->client, &error, options) : NULL;
    assert_true(self->cache != NULL || error.code == KW_ERR_NOMEM || config == NULL);
    return self->cache != NULL;
}

/* What must hold once there is memory: all calls are good, and what was put is there. */
static void assert_well(pass *self)
{
    self->memory.fail_at = 0;
    unsigned long failed_n = self->failed_n;
    call(self);
    call_many(self);
    assert_int_equal(self->failed_n, failed_n);
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    char text[20];
    assert_int_equal(kw_cache_get(self->cache, NULL, &value, kw_cache_text("put")), KW_OK);
    take(text, &value);
    assert_string_equal(text, "stored");
    assert_int_equal(cache_figures(self->cache).loading, 0);
}

/* False where there were fewer allocations. */
static bool run(const char *options, calls_fn calls, unsigned long fail_at, unsigned long *failed_n)
{
    pass self = {.client = NULL};
    kw_test_memory_init(&self.memory, fail_at);
    if (open_pass(&self, options)) {
        calls(&self);
        calls(&self); /* now that connections are there, and values near */
    }
    bool is_reached = kw_test_memory_calls(&self.memory) >= fail_at;
    if (self.cache != NULL) {
        assert_well(&self);
    }
    *failed_n += self.failed_n > 0 ? 1 : 0;
    kw_cache_close(self.cache);
    kw_close(self.client);
    long left = kw_test_memory_live(&self.memory);
    if (left != 0) {
        kw_test_die("allocation %lu: %ld blocks are left", fail_at, left);
    }
    return is_reached;
}

static void run_all(const char *what, const char *options, calls_fn calls)
{
    int fds = kw_test_fd_count();
    unsigned long failed_n = 0;
    unsigned long fail_at = 1;
    while (run(options, calls, fail_at, &failed_n)) {
        fail_at++;
        assert_true(fail_at < ALLOCATIONS_MAX);
    }
    printf("  %s: %lu allocations failed, one a pass; %lu of them failed a call\n", what,
           fail_at - 1, failed_n);
    assert_true(failed_n > 0);
    assert_int_equal(kw_test_fd_count(), fds);
}

#define NEAR "near-bytes=256kb&near-staleness=10s&stale=10s&stale-if-error=10s"

static void test_calls_without_memory(void **state)
{
    (void)state;
    run_all("calls", NULL, call);
    run_all("calls, near", NEAR, call);
}

static void test_many_keys_without_memory(void **state)
{
    (void)state;
    run_all("many keys, near", NEAR, call_many);
}

static void test_callbacks_without_memory(void **state)
{
    (void)state;
    run_all("callbacks, near", NEAR, call_in_loop);
}

static kw_cache_loaded load_later(void *arg, kw_cache_load *load)
{
    *(kw_cache_load **)arg = load;
    return KW_CACHE_LATER;
}

/* In the child no call sends anything, nor does its end: values that it holds stay. */
static void be_a_child(stage *at, kw_cache_value *held)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    ended how = {0, KW_OK, ""};
    kw_cache_callback callback = {on_value, &how};
    kw_cache_bytes key = kw_cache_text("put");
    bool is_good = kw_cache_get(at->cache, NULL, &value, key) == KW_ERR_FORKED &&
                   !kw_cache_peek(at->cache, &value, key) &&
                   kw_cache_put(at->cache, NULL, key, key) == KW_ERR_FORKED &&
                   kw_cache_get_async(at->cache, NULL, key, callback) == KW_ERR_FORKED &&
                   kw_process(at->client, NULL) == KW_ERR_FORKED &&
                   memcmp(held->data, "stored", 6) == 0;
    kw_cache_close(at->cache);
    is_good = is_good && memcmp(held->data, "stored", 6) == 0;
    kw_cache_release(held);
    kw_close(at->client);
    _exit(is_good ? 0 : 1);
}

/* A load is under way in the loop, and a value from memory is held. */
static void test_a_host_with_a_loop_and_a_cache_forks(void **state)
{
    (void)state;
    stage at = begin("near-bytes=1mb&near-staleness=1h");
    pass self = {.client = at.client, .cache = at.cache};
    kw_test_ask_ok(at.other, "SET put stored");
    kw_cache_value held = KW_CACHE_VALUE_INIT;
    KW_TEST_UNTIL(held.source == KW_CACHE_FROM_NEAR)
    {
        kw_cache_release(&held);
        assert_int_equal(kw_cache_get(at.cache, NULL, &held, kw_cache_text("put")), KW_OK);
        kw_test_sleep_ms(1);
    }
    struct {
        kw_cache_load *under_way;
    } host = {NULL};
    ended ends[4] = {{0, KW_OK, ""}, {0, KW_OK, ""}, {0, KW_OK, ""}, {0, KW_OK, ""}};
    assert_int_equal(kw_cache_fetch_async(at.cache, NULL, kw_cache_text("load"),
                                          (kw_cache_loader){load_later, &host.under_way},
                                          (kw_cache_callback){on_value, &ends[0]}),
                     KW_OK);
    KW_TEST_UNTIL(host.under_way != NULL)
    {
        assert_int_equal(kw_process(at.client, NULL), KW_OK);
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        be_a_child(&at, &held);
    }
    int status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(kw_cache_load_give(host.under_way, "loaded", 6), KW_OK); /* all goes on here */
    kw_cache_load_end(host.under_way, KW_CACHE_LOADED);
    await_ends(&self, ends, 1);
    assert_string_equal(ends[0].text, "loaded");
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_true(kw_cache_peek(at.cache, &value, kw_cache_text("put")));
    kw_cache_release(&value);
    kw_test_ask_ok(at.other, "SET put new"); /* and is told of */
    char text[20] = "";
    KW_TEST_UNTIL(strcmp(text, "new") == 0)
    {
        assert_int_equal(kw_cache_get(at.cache, NULL, &value, kw_cache_text("put")), KW_OK);
        take(text, &value);
        kw_test_sleep_ms(1);
    }
    kw_cache_release(&held);
    kw_reply_free(kw_test_ask(at.other, "FLUSHALL"));
    end(&at);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_a_host_with_a_loop_and_a_cache_forks,
                                                 cache_here_start, NULL, place),
        cmocka_unit_test(test_calls_without_memory),
        cmocka_unit_test(test_many_keys_without_memory),
        cmocka_unit_test_prestate_setup_teardown(test_callbacks_without_memory, NULL,
                                                 cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run_at("server") + run_at("cluster");
}
