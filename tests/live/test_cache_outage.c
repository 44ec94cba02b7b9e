/* SPDX-License-Identifier: BSD-3-Clause */
/* One server of three is killed under Zipf reads with loads behind: how many loads are under way at
 * once, and whether the keys of the living servers notice. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <pthread.h>
#include <stdatomic.h>

#include "live/cache_places.h"
#include "support/parts.h"
#include "support/zipf.h"

#define KEYS_N    300u
#define THREADS_N 16
#define LOADS_MAX 3

typedef struct outage {
    kw_cache *cache;
    kw_test_zipf zipf;
    bool is_of_dead[KEYS_N]; /* its owner is the server that dies */
    atomic_bool is_over;
    atomic_uint loads_n[KEYS_N];
    atomic_int running_n;
    atomic_int most_n;
    atomic_uint wrong_n;      /* values, and calls for keys of living servers that failed */
    atomic_uint dead_given_n; /* values of keys of the dead server */
    atomic_uint living_given_n;
} outage;

static void name_of(char name[20], unsigned at)
{
    snprintf(name, 20, "key:%u", at);
}

static kw_cache_loaded load(void *arg, kw_cache_load *load)
{
    outage *self = arg;
    kw_cache_bytes key = kw_cache_load_key(load);
    char name[20];
    snprintf(name, sizeof(name), "%.*s", (int)key.len, key.data);
    int running = atomic_fetch_add(&self->running_n, 1) + 1;
    int most = atomic_load(&self->most_n);
    while (running > most && !atomic_compare_exchange_weak(&self->most_n, &most, running)) {
    }
    atomic_fetch_add(&self->loads_n[atoi(name + 4)], 1);
    kw_test_sleep_ms(2);
    bool is_given = kw_cache_load_give(load, key.data, key.len) == KW_OK;
    atomic_fetch_sub(&self->running_n, 1);
    return is_given ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

static void fetch(outage *self, unsigned at)
{
    char name[20];
    name_of(name, at);
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_err code = kw_cache_fetch(self->cache, NULL, &value, kw_cache_text(name),
                                 (kw_cache_loader){load, self});
    bool is_good =
        code == KW_OK && value.len == strlen(name) && memcmp(value.data, name, value.len) == 0;
    /* Those who want keys of the dead server wait for places among the loads. */
    bool is_known = is_good || (self->is_of_dead[at] && code == KW_ERR_QUEUE_TIMEOUT);
    atomic_fetch_add(&self->wrong_n, is_known ? 0 : 1);
    if (is_good) {
        atomic_fetch_add(self->is_of_dead[at] ? &self->dead_given_n : &self->living_given_n, 1);
    }
    kw_cache_release(&value);
}

static void *want_keys(void *arg)
{
    outage *self = arg;
    kw_random random;
    kw_random_init(&random, (uint64_t)(uintptr_t)&random);
    while (!atomic_load(&self->is_over)) {
        fetch(self, kw_test_zipf_draw(&self->zipf, &random));
    }
    return NULL;
}

static kw_test_server *server_at(size_t at)
{
    return here.cluster != NULL ? kw_test_cluster_node(here.cluster, at) : here.servers[at];
}

/* Who owns what; and all is loaded once. */
static void find_owners(outage *self, kw_client *client)
{
    char node[128];
    for (unsigned at = 0; at < KEYS_N; at++) {
        char name[20];
        name_of(name, at);
        assert_int_equal(kw_client_key_node(client, NULL, node, sizeof(node), name, strlen(name)),
                         KW_OK);
        self->is_of_dead[at] =
            strstr(node, kw_test_server_address(server_at(0))) != NULL || strcmp(node, "a") == 0;
        fetch(self, at);
    }
}

static unsigned loads_of(const outage *self, bool is_of_dead)
{
    unsigned n = 0;
    for (unsigned at = 0; at < KEYS_N; at++) {
        n += self->is_of_dead[at] == is_of_dead ? atomic_load(&self->loads_n[at]) : 0;
    }
    return n;
}

/* How many keys of living servers were loaded again. */
static unsigned missed_in_one(const char *options)
{
    static outage self;
    memset(&self, 0, sizeof(self));
    stage at = begin(options);
    self.cache = at.cache;
    self.zipf = kw_test_zipf_new(KEYS_N, 0.99);
    find_owners(&self, at.client);
    assert_true(loads_of(&self, true) > 0);
    unsigned living_n = loads_of(&self, false);
    unsigned dead_n = loads_of(&self, true);
    pthread_t threads[THREADS_N];
    for (size_t i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, want_keys, &self), 0);
    }
    KW_TEST_AWAIT(atomic_load(&self.living_given_n) >= 1000);
    kw_test_server_kill(server_at(0));
    KW_TEST_AWAIT(loads_of(&self, true) >= dead_n + 20);
    unsigned given_n = atomic_load(&self.living_given_n);
    KW_TEST_AWAIT(atomic_load(&self.living_given_n) >= given_n + 100);
    kw_test_server_restart(server_at(0));
    given_n = atomic_load(&self.dead_given_n);
    KW_TEST_AWAIT(atomic_load(&self.dead_given_n) >= given_n + 100);
    atomic_store(&self.is_over, true);
    for (size_t i = 0; i < THREADS_N; i++) {
        kw_test_join(threads[i]);
    }
    printf("  %s: %u loads of the dead server's keys, %u of others, %d at most at once\n",
           here.name, loads_of(&self, true) - dead_n, loads_of(&self, false) - living_n,
           atomic_load(&self.most_n));
    assert_in_range(atomic_load(&self.most_n), 1, LOADS_MAX);
    assert_int_equal(atomic_load(&self.wrong_n), 0);
    kw_test_zipf_free(&self.zipf);
    end(&at);
    return loads_of(&self, false) - living_n;
}

/* The others miss nothing. One that is late beside busy programs is one that has failed: then it is
 * looked at again. */
static void run(const char *options)
{
    unsigned missed_n = 1;
    for (int tries = 0; tries < 4 && missed_n > 0; tries++) {
        missed_n = missed_in_one(options);
    }
    assert_int_equal(missed_n, 0);
}

static void test_a_dead_server_is_the_trouble_of_its_own_keys(void **state)
{
    (void)state;
    for (size_t i = 0; here.cluster != NULL && i < 3; i++) { /* the others go on to serve */
        kw_test_server_ok(server_at(i), "CONFIG SET cluster-require-full-coverage no");
    }
    run("ttl=1h&ttl-jitter=0&loads-max=3");
    run("ttl=1h&ttl-jitter=0&loads-max=3&near-bytes=1mb&near-ttl=50ms");
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_a_dead_server_is_the_trouble_of_its_own_keys,
                                                 cache_here_start, cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run_part(size_t part)
{
    static const char *const places[] = {"ring", "cluster"};
    return run_at(places[part]);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 2, run_part);
}
