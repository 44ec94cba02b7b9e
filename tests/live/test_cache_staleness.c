/* SPDX-License-Identifier: BSD-3-Clause */
/* Writers with a version, readers of values in memory, and faults at random: is any value older
 * than near-staleness allows, or than the handle's own last write? Then the same with mistakes that
 * are planted, which must be found; those of tests/live/mistakes are built in. KW_TEST_SECONDS is
 * how long each place is tried, KW_TEST_PLACE the only one.
 *
 * What is judged is sound whatever the machine does: a value that was replaced before the bound
 * before the call began, as the writer saw it acknowledged, was not its owner's answer within it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "api/client.h"
#include "base/random.h"
#include "cache/cache.h"
#include <keyway/members.h>

#include "live/cache_places.h"
#include "live/late_network.h"
#include "support/calm.h"

#define BOUND_MS 100
#define OPTIONS  "near-bytes=1mb&near-staleness=100ms&near-ttl=1h"

#define KEYS      24
#define OWN_KEYS  8  /* the first are written by the handle with the cache itself */
#define LIFE_KEYS 12 /* up to here the others live for LIFE_MS, and seldom */
#define LOAD_KEYS 16 /* from here on they are deleted as well, and loaded */
#define READERS   3
#define VERSIONS  65536

/* However slow the machine is, so many values are from memory. */
#define NEAR_MIN 300u

#define LIFE_MS 40 /* of some values */
/* What messages or answers are late by. */
#define LATE_MS 60

#define LIFE_PAUSE_NS ((uint64_t)300000000)

/* A mistake that a cache might have. */
typedef enum planted {
    NOTHING,
    NO_PROOF,        /* what was read once is good */
    UNFOUNDED_PROOF, /* a proof is taken that no server has given */
    OWN_NOT_KILLED   /* own writes do nothing to values in memory */
} planted;

typedef struct checker {
    planted plant;
    kw_client *client;
    kw_cache *cache;
    kw_client *other;
    atomic_bool is_over;
    atomic_uint latest[KEYS];                      /* version that was given last */
    atomic_uint_fast64_t acked_ns[KEYS][VERSIONS]; /* 0: not acknowledged */
    atomic_uint violations_n;
    atomic_uint reads_n;
    atomic_uint near_n;
    uint64_t seed;
    bool has_third; /* member of the ring */
} checker;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void name_of(char *key, size_t len, size_t at)
{
    snprintf(key, len, "key:%zu", at);
}

/* Of some keys each other version lives for LIFE_MS, and no other one comes soon. */
static bool has_life(size_t at, unsigned version)
{
    return at >= OWN_KEYS && at < LIFE_KEYS && version % 2 == 0;
}

/* A writer writes its keys, one at a time, and notes when it was told so. */
static void write_one(checker *self, kw_client *client, size_t at)
{
    char key[20];
    name_of(key, sizeof(key), at);
    unsigned version = atomic_load(&self->latest[at]) + 1;
    if (version >= VERSIONS) {
        return;
    }
    bool is_mortal = has_life(at, version);
    if (has_life(at, version - 1) &&
        now_ns() < atomic_load(&self->acked_ns[at][version - 1]) + LIFE_PAUSE_NS) {
        return;
    }
    atomic_store(&self->latest[at], version);
    kw_reply *reply = kw_command(client, NULL, is_mortal ? "SET %s %u PX %d" : "SET %s %u", key,
                                 version, LIFE_MS);
    if (reply != NULL && !kw_reply_is_error(reply)) {
        atomic_store(&self->acked_ns[at][version], now_ns());
    } else {
        /* It may still come: nothing is written over it before it has. */
        kw_test_sleep_ms(50);
    }
    kw_reply_free(reply);
    if (at >= LOAD_KEYS) { /* there and back */
        kw_reply_free(kw_command(client, NULL, "DEL %s", key));
    }
}

static void *write_others(void *arg)
{
    checker *self = arg;
    kw_random random;
    kw_random_init(&random, self->seed + 1);
    while (!atomic_load(&self->is_over)) {
        write_one(self, self->other, OWN_KEYS + kw_random_below(&random, KEYS - OWN_KEYS));
        kw_test_sleep_ms(1 + (unsigned)kw_random_below(&random, 20));
    }
    return NULL;
}

static void *write_own(void *arg)
{
    checker *self = arg;
    kw_random random;
    kw_random_init(&random, self->seed + 2);
    while (!atomic_load(&self->is_over)) {
        write_one(self, self->client, kw_random_below(&random, OWN_KEYS));
        kw_test_sleep_ms(1 + (unsigned)kw_random_below(&random, 5));
    }
    return NULL;
}

static void complain(checker *self, size_t at, unsigned version, const char *what,
                     uint64_t before_ns)
{
    if (atomic_fetch_add(&self->violations_n, 1) == 0 && self->plant == NOTHING) {
        fprintf(stderr, "%s: key %zu, version %u: %s %.3f ms before\n", here.name, at, version,
                what, (double)before_ns / 1e6);
    }
}

/* The value is to be as new as whatever was acknowledged by then. */
static void judge(checker *self, size_t at, unsigned version, uint64_t begun_ns, bool is_near)
{
    uint64_t bound_ns = at < OWN_KEYS ? 0 : (uint64_t)BOUND_MS * 1000000;
    unsigned latest = atomic_load(&self->latest[at]);
    uint64_t own_ns = atomic_load(&self->acked_ns[at][version]);
    if (is_near && has_life(at, version) && own_ns != 0 &&
        own_ns + (uint64_t)LIFE_MS * 1000000 + bound_ns < begun_ns) {
        complain(self, at, version, "its life had ended", begun_ns - own_ns);
        return;
    }
    for (unsigned later = version + 1; later <= latest; later++) {
        uint64_t acked_ns = atomic_load(&self->acked_ns[at][later]);
        if (acked_ns != 0 && acked_ns + bound_ns < begun_ns) {
            complain(self, at, version,
                     is_near ? "from memory, another was acknowledged"
                             : "from a server, another was acknowledged",
                     begun_ns - acked_ns);
            return;
        }
    }
}

/* What the database is: the last version, and slow. */
static kw_cache_loaded load_latest(void *arg, kw_cache_load *load)
{
    checker *self = arg;
    kw_cache_bytes key = kw_cache_load_key(load);
    char name[20];
    snprintf(name, sizeof(name), "%.*s", (int)key.len, key.data);
    char text[20];
    int len = snprintf(text, sizeof(text), "%u", atomic_load(&self->latest[atoi(name + 4)]));
    kw_test_sleep_ms(5);
    return kw_cache_load_give(load, text, (size_t)len) == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

/* Gets the value; a load's own is as old as it is. */
static bool read_one(checker *self, kw_cache_value *value, size_t at)
{
    char key[20];
    name_of(key, sizeof(key), at);
    kw_cache_loader loader = {load_latest, self};
    kw_err code = at < LOAD_KEYS
                      ? kw_cache_get(self->cache, NULL, value, kw_cache_text(key))
                      : kw_cache_fetch(self->cache, NULL, value, kw_cache_text(key), loader);
    return code == KW_OK && value->data != NULL && value->source != KW_CACHE_FROM_LOAD;
}

static void *read_all(void *arg)
{
    checker *self = arg;
    kw_random random;
    kw_random_init(&random, self->seed + 3 + (uintptr_t)pthread_self());
    while (!atomic_load(&self->is_over)) {
        size_t at = kw_random_below(&random, KEYS);
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        uint64_t begun_ns = now_ns();
        if (read_one(self, &value, at)) {
            char text[20];
            snprintf(text, sizeof(text), "%.*s", (int)value.len, value.data);
            bool is_near = value.source == KW_CACHE_FROM_NEAR;
            judge(self, at, (unsigned)atoi(text), begun_ns, is_near);
            atomic_fetch_add(&self->near_n, is_near ? 1 : 0);
            atomic_fetch_add(&self->reads_n, 1);
        }
        kw_cache_release(&value);
        if (self->plant == UNFOUNDED_PROOF) {
            for (size_t i = 0; i < 3; i++) {
                atomic_store(&self->cache->near->pairs[i].proof_ns, now_ns());
            }
        }
        if (kw_random_below(&random, 64) == 0) {
            kw_test_sleep_ms(1);
        }
    }
    return NULL;
}

static kw_test_server *server_at(size_t at)
{
    return here.cluster != NULL ? kw_test_cluster_node(here.cluster, at)
           : here.group != NULL ? kw_test_group_primary(here.group)
                                : here.servers[at];
}

static size_t servers_n(void)
{
    return here.cluster != NULL || here.servers[1] != NULL ? 3 : 1;
}

static void commit_members(kw_client *client, bool has_third)
{
    char third[100];
    kw_members *members = kw_members_begin(client, NULL);
    snprintf(third, sizeof(third), "c=%s", kw_test_server_address(here.servers[2]));
    if (members != NULL && (has_third ? kw_members_add(members, NULL, third)
                                      : kw_members_remove(members, NULL, "c", 1)) == KW_OK) {
        assert_int_equal(kw_members_commit(members, NULL), KW_OK);
    }
    kw_members_free(members);
}

/* The third member comes or goes, first for those who read. Who gets keys has none before. */
static void change_members(checker *self)
{
    bool has_third = !self->has_third;
    for (size_t i = 0; i < 3; i++) {
        if ((i == 2) == has_third) {
            kw_test_server_ok(here.servers[i], "FLUSHALL");
        }
    }
    commit_members(self->client, has_third);
    commit_members(self->other, has_third);
    self->has_third = has_third;
}

static void do_fault(checker *self, network *net, kw_random *random)
{
    kw_test_server *server = server_at(kw_random_below(random, servers_n()));
    static const unsigned ways[3][2] = {{0, 0}, {LATE_MS, 0}, {0, LATE_MS}};
    size_t late = kw_random_below(random, 3);
    atomic_store(&net->late_messages_ms, ways[late][0]);
    atomic_store(&net->late_answers_ms, ways[late][1]);
    atomic_store(&net->is_halved, kw_random_below(random, 2) == 0);
    switch (kw_random_below(random, 6)) {
    case 0:
        kw_test_server_integer(server, "CLIENT KILL TYPE pubsub");
        break;
    case 1:
        kw_test_server_integer(server, "CLIENT KILL TYPE normal SKIPME yes");
        break;
    case 2:
        kw_test_server_pause(server);
        kw_test_sleep_ms(300);
        kw_test_server_resume(server);
        break;
    case 3:
        if (here.cluster != NULL) {
            unsigned slot = kw_test_cluster_slot(here.cluster, "key:12");
            kw_test_cluster_move(here.cluster, slot, slot, server);
        } else if (here.servers[1] != NULL) {
            change_members(self);
        }
        break;
    default:
        atomic_store(&net->is_deaf, true);
        kw_test_sleep_ms(400);
        atomic_store(&net->is_deaf, false);
        break;
    }
    kw_test_sleep_ms(50 + (unsigned)kw_random_below(random, 200));
}

/* A write of nothing. */
static void end_nothing(kw_own_write *write)
{
    free(write);
}

static kw_own_write *begin_nothing(kw_write_stamps *stamps, const kw_own_command *command)
{
    (void)stamps;
    (void)command;
    kw_own_write *write = calloc(1, sizeof(*write));
    write->end_fn = end_nothing;
    return write;
}

static void plant_it(const checker *self)
{
    if (self->plant == NO_PROOF) {
        self->cache->near->limits.staleness_ns = UINT64_C(3600000000000);
    } else if (self->plant == OWN_NOT_KILLED) {
        self->cache->near->stamps->begin_fn = begin_nothing;
    }
}

static uint64_t seconds(void)
{
    const char *text = getenv("KW_TEST_SECONDS");
    return text != NULL && atoi(text) > 0 ? (uint64_t)atoi(text) : 2;
}

/* Violations found; it ends at the first. */
static unsigned check(planted plant)
{
    checker *self = calloc(1, sizeof(*self));
    network *net = network_new();
    char uri[500];
    snprintf(uri, sizeof(uri), "%s%sstall-timeout=250ms", here.uri,
             strchr(here.uri, '?') ? "&" : "?");
    self->plant = plant;
    self->has_third = true;
    self->seed = kw_test_seed("cache staleness");
    self->client = kw_test_open("%s", uri);
    self->other = kw_test_open("%s", uri);
    self->client->topology->env.transport = &net->face;
    self->cache = cache_open(self->client, OPTIONS);
    kw_reply_free(kw_test_ask(self->other, "FLUSHALL"));
    for (size_t i = 0; i < servers_n(); i++) { /* lives that end are noticed late */
        kw_test_server_ok(server_at(i), "CONFIG SET hz 1");
    }
    plant_it(self);
    pthread_t threads[READERS + 2];
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, self), 0);
    }
    assert_int_equal(pthread_create(&threads[READERS], NULL, write_others, self), 0);
    assert_int_equal(pthread_create(&threads[READERS + 1], NULL, write_own, self), 0);
    kw_random random;
    kw_random_init(&random, self->seed);
    uint64_t begin_ms = kw_test_real_ms();
    uint64_t end_ms = begin_ms + (plant == NOTHING ? seconds() : 60) * 1000;
    while ((kw_test_real_ms() < end_ms ||
            (atomic_load(&self->near_n) < NEAR_MIN && kw_test_real_ms() < begin_ms + 60000)) &&
           atomic_load(&self->violations_n) == 0) {
        do_fault(self, net, &random);
    }
    atomic_store(&self->is_over, true);
    for (size_t i = 0; i < READERS + 2; i++) {
        kw_test_join(threads[i]);
    }
    unsigned violations_n = atomic_load(&self->violations_n);
    kw_cache_figures figures = cache_figures(self->cache);
    printf("%s, plant %d: %u reads, %u from memory, %llu messages, %u too old\n", here.name,
           (int)plant, atomic_load(&self->reads_n), atomic_load(&self->near_n),
           (unsigned long long)figures.invalidations, violations_n);
    assert_true(atomic_load(&self->near_n) > 0);
    kw_cache_close(self->cache);
    kw_close(self->client);
    kw_close(self->other);
    free(net);
    free(self);
    return violations_n;
}

static void test_no_value_is_too_old(void **state)
{
    (void)state;
    assert_int_equal(check(NOTHING), 0);
}

static void test_planted_mistakes_are_found(void **state)
{
    (void)state;
    assert_true(check(NO_PROOF) > 0);
    assert_true(check(UNFOUNDED_PROOF) > 0);
    assert_true(check(OWN_NOT_KILLED) > 0);
}

static int run_at(const char *name, bool has_plants)
{
    char *place = (char *)(uintptr_t)name;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_no_value_is_too_old, cache_here_start,
                                                 has_plants ? NULL : cache_here_stop, place),
        cmocka_unit_test_prestate_setup_teardown(test_planted_mistakes_are_found, NULL,
                                                 cache_here_stop, place),
    };
    return has_plants ? cmocka_run_group_tests_name(name, tests, NULL, NULL)
                      : _cmocka_run_group_tests(name, tests, 1, NULL, NULL);
}

int main(void)
{
    static const char *const places[] = {"server", "cluster", "ring", "sentinel-alone"};
    const char *only = getenv("KW_TEST_PLACE");
    only = only != NULL && only[0] != '\0' ? only : NULL;
    int failures = 0;
    kw_test_calm_forbid(); /* the bound is one of real time */
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (only == NULL || strcmp(only, places[i]) == 0) {
            failures += run_at(places[i], i == 0 && only == NULL);
        }
    }
    return failures;
}
