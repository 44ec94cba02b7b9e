/* SPDX-License-Identifier: BSD-3-Clause */
/* A herd of processes and threads that want one cold key: how often it is loaded. KW_TEST_HERD is
 * how many threads each of the eight processes has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/cache_places.h"
#include "support/calm.h"
#include "support/keeper.h"

#define PROCESSES   8
#define THREADS_MAX 256

/* What the threads of a process share. */
typedef struct herd {
    kw_client *client;
    kw_cache *cache;
    unsigned load_ms;
    bool hangs;    /* the first loader never ends */
    bool is_named; /* each thread has a key of its own */
    atomic_uint failures_n;
    atomic_uint running_n;
    atomic_uint most_n;
    atomic_ullong latest_us; /* from the end of the load, by the clock that processes share */
} herd;

static unsigned threads_n(void)
{
    const char *text = getenv("KW_TEST_HERD");
    unsigned n = text != NULL ? (unsigned)atoi(text) : 32;
    return n > 0 && n <= THREADS_MAX ? n : 32;
}

static unsigned long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}

/* An answer as a number, in a child, where nothing is asserted. */
static long long ask_number(kw_client *client, const char *command)
{
    kw_reply *reply = kw_command(client, NULL, command);
    long long number = reply != NULL ? kw_reply_int(reply) : -1;
    kw_reply_free(reply);
    return number;
}

static void note_most(atomic_uint *most, unsigned n)
{
    unsigned before = atomic_load(most);
    while (n > before && !atomic_compare_exchange_weak(most, &before, n)) {
    }
}

/* The value is the time when it was loaded. */
static kw_cache_loaded load(void *arg, kw_cache_load *load)
{
    herd *self = arg;
    note_most(&self->most_n, atomic_fetch_add(&self->running_n, 1) + 1);
    long long n = ask_number(self->client, "INCR loads");
    if (self->hangs && n == 1) {
        kw_reply_free(kw_command(self->client, NULL, "SET loader %d", (int)getpid()));
        pause();
    }
    usleep(self->load_ms * 1000);
    char text[40];
    int len = snprintf(text, sizeof(text), "%llu", now_us());
    atomic_fetch_sub(&self->running_n, 1);
    return n > 0 && kw_cache_load_give(load, text, (size_t)len) == KW_OK ? KW_CACHE_LOADED
                                                                         : KW_CACHE_FAILED;
}

static void *want(void *arg)
{
    herd *self = arg;
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    char key[40] = "herd";
    if (self->is_named) {
        snprintf(key, sizeof(key), "herd:%d:%lx", (int)getpid(), (unsigned long)pthread_self());
    }
    kw_err code = kw_cache_fetch(self->cache, &error, &value, kw_cache_text(key),
                                 (kw_cache_loader){load, self});
    if (code != KW_OK || value.data == NULL) {
        fprintf(stderr, "herd: %s: %s\n", kw_err_name(code), error.text);
        atomic_fetch_add(&self->failures_n, 1);
        return NULL;
    }
    char text[40];
    snprintf(text, sizeof(text), "%.*s", (int)value.len, value.data);
    unsigned long long late_us = now_us() - strtoull(text, NULL, 10);
    unsigned long long before = atomic_load(&self->latest_us);
    while (late_us > before && !atomic_compare_exchange_weak(&self->latest_us, &before, late_us)) {
    }
    kw_cache_release(&value);
    return NULL;
}

/* A child: all its threads want at once. Its status is 0 where all have the value. */
static void run_child(const char *options, const herd *how, int gate)
{
    herd self = *how;
    char uri[500];
    snprintf(uri, sizeof(uri), "%s%stimeout=20s", here.uri, strchr(here.uri, '?') ? "&" : "?");
    kw_error error = KW_ERROR_INIT;
    self.client = kw_open(uri, &error);
    self.cache = self.client != NULL ? kw_cache_open(self.client, &error, options) : NULL;
    if (self.cache == NULL || kw_connect(self.client, &error) != KW_OK) {
        fprintf(stderr, "herd: %s\n", error.text);
        _exit(2);
    }
    char byte;
    (void)!read(gate, &byte, 1); /* the parent closes its end */
    pthread_t threads[THREADS_MAX];
    unsigned n = threads_n();
    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, want, &self) != 0) {
            _exit(3);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    kw_reply_free(kw_command(self.client, NULL, "RPUSH late %llu", atomic_load(&self.latest_us)));
    kw_reply_free(kw_command(self.client, NULL, "RPUSH most %u", atomic_load(&self.most_n)));
    kw_cache_close(self.cache);
    kw_close(self.client);
    _exit(atomic_load(&self.failures_n) == 0 ? 0 : 4);
}

typedef struct crowd {
    pid_t children[PROCESSES];
    kw_client *client;
} crowd;

static crowd let_go(const char *options, const herd *how)
{
    crowd self;
    int gate[2];
    self.client = kw_test_open("%s", here.uri);
    kw_reply_free(kw_test_ask(self.client, "FLUSHALL"));
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        self.children[i] = fork();
        assert_true(self.children[i] >= 0);
        if (self.children[i] == 0) {
            close(gate[1]);
            run_child(options, how, gate[0]);
        }
        kw_test_keeper_add(self.children[i]);
    }
    close(gate[0]);
    close(gate[1]);
    return self;
}

static void await_children(crowd *self, pid_t killed)
{
    for (int i = 0; i < PROCESSES; i++) {
        int status = kw_test_wait_child(self->children[i]);
        kw_test_keeper_drop(self->children[i]);
        if (self->children[i] != killed) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
    }
}

static void tell(kw_client *client, const char *what)
{
    long long latest_us = 0;
    kw_reply *reply = kw_test_ask(client, "LRANGE late 0 -1");
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        long long late_us = atoll(kw_reply_str(kw_reply_at(reply, i), NULL));
        latest_us = late_us > latest_us ? late_us : latest_us;
    }
    kw_reply_free(reply);
    printf("%s, %s: %d processes, %u threads each: the last had the value %lld.%03lld ms after the "
           "load\n",
           here.name, what, PROCESSES, threads_n(), latest_us / 1000, latest_us % 1000);
}

static void test_a_herd_loads_once(void **state)
{
    (void)state;
    herd how = {.load_ms = 200};
    crowd self = let_go("lease=15s", &how);
    await_children(&self, -1);
    char *loads = kw_test_ask_text(self.client, "GET loads");
    assert_string_equal(loads, "1");
    free(loads);
    tell(self.client, "one load");
    kw_close(self.client);
}

static void test_a_loader_that_dies_is_replaced_when_its_lease_ends(void **state)
{
    (void)state;
    herd how = {.load_ms = 50, .hangs = true};
    crowd self = let_go("lease=1500ms", &how);
    char *loader = NULL;
    KW_TEST_UNTIL(loader != NULL)
    {
        loader = kw_test_ask_text(self.client, "GET loader");
        kw_test_sleep_ms(5);
    }
    pid_t pid = (pid_t)atoi(loader);
    free(loader);
    char *loads = kw_test_ask_text(self.client, "GET loads");
    assert_string_equal(loads, "1");
    free(loads);
    uint64_t killed_ms = kw_test_real_ms();
    assert_int_equal(kill(pid, SIGKILL), 0);
    await_children(&self, pid);
    loads = kw_test_ask_text(self.client, "GET loads");
    assert_string_equal(loads, "2");
    free(loads);
    /* Who died had it renewed at times: a third of the lease had passed at most. */
    assert_true(kw_test_real_ms() - killed_ms >= 900);
    tell(self.client, "after SIGKILL");
    kw_close(self.client);
}

static void test_loads_at_a_time_are_bounded(void **state)
{
    (void)state;
    herd how = {.load_ms = 10, .is_named = true};
    crowd self = let_go("loads-max=3", &how);
    await_children(&self, -1);
    kw_reply *reply = kw_test_ask(self.client, "LRANGE most 0 -1");
    assert_int_equal(kw_reply_count(reply), PROCESSES);
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        assert_in_range(atoi(kw_reply_str(kw_reply_at(reply, i), NULL)), 1, 3);
    }
    kw_reply_free(reply);
    kw_close(self.client);
}

/* No server answers: what each process loads for itself is bounded, and one load a key. */
typedef struct alone {
    herd herd;
    const char *key;
} alone;

static void *want_alone(void *arg)
{
    alone *self = arg;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    if (kw_cache_fetch(self->herd.cache, NULL, &value, kw_cache_text(self->key),
                       (kw_cache_loader){load, &self->herd}) != KW_ERR_LOAD) {
        atomic_fetch_add(&self->herd.failures_n, 1);
    }
    kw_cache_release(&value);
    return NULL;
}

static void test_without_servers_loads_are_bounded_too(void **state)
{
    (void)state;
    static alone shared; /* loads count in one */
    memset(&shared, 0, sizeof(shared));
    shared.herd.load_ms = 1;
    shared.herd.client = kw_test_open("redis://127.0.0.1:1?timeout=5s");
    shared.herd.cache = cache_open(shared.herd.client, "loads-max=2");
    shared.key = "k";
    pthread_t threads[24];
    for (size_t i = 0; i < 24; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, want_alone, &shared), 0);
    }
    for (size_t i = 0; i < 24; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&shared.herd.failures_n), 0);
    assert_in_range(atomic_load(&shared.herd.most_n), 1, 2);
    kw_cache_close(shared.herd.cache);
    kw_close(shared.herd.client);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_a_herd_loads_once, cache_here_start, NULL,
                                                 place),
        cmocka_unit_test_prestate(test_loads_at_a_time_are_bounded, place),
        cmocka_unit_test_prestate_setup_teardown(
            test_a_loader_that_dies_is_replaced_when_its_lease_ends, NULL, cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    /* Processes compare their times. */
    kw_test_calm_forbid();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_servers_loads_are_bounded_too),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    return failures + run_at("server") + run_at("cluster") + run_at("ring");
}
