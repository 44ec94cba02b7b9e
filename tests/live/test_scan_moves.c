/* SPDX-License-Identifier: BSD-3-Clause */
/* The promise of a scan: keys that stay are given, whatever happens to the cluster meanwhile. What
 * happens, happens between batches, so that each run has all of it in the middle of the walk; other
 * keys come and go by a thread of their own. KW_TEST_SCAN_KEYS: how many keys stay. */
#include "live/scan_keys.h"

#include "support/cluster.h"

#include <pthread.h>
#include <stdatomic.h>

#define TAGS_N    24 /* slots that go and come back */
#define PRIMARIES 3
#define BIG_N     ((size_t)110000) /* more than are asked of a slot as a whole */

static size_t keys_n;

/* The n-th key: half of them are in the slots that move. */
static void name_key(char *key, size_t len, size_t n)
{
    if (n % 2 == 0) {
        snprintf(key, len, "k:{t%zu}:%zu", n / 2 % TAGS_N, n);
    } else {
        snprintf(key, len, "k:%zu", n);
    }
}

static void fill(kw_client *kw)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t i = 0; i < keys_n; i++) {
        char key[64];
        name_key(key, sizeof(key), i);
        assert_int_equal(kw_batch_add(batch, NULL, "SET %s v", key), KW_OK);
        if (kw_batch_count(batch) == 2000 || i + 1 == keys_n) {
            assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
            kw_batch_clear(batch);
        }
    }
    kw_batch_free(batch);
}

/* Keys that come and go, "c:..." of numbers that no other key has. */
typedef struct churn {
    char uri[300];
    atomic_bool is_over;
    size_t n;
} churn;

static void *come_and_go(void *arg)
{
    churn *self = arg;
    kw_client *kw = kw_test_open("%s?timeout=10s", self->uri);
    for (size_t i = 0; !atomic_load(&self->is_over); i++) {
        kw_reply_free(kw_command(kw, NULL, "SET c:{t%zu}:%zu v", i % TAGS_N, i % 500));
        kw_reply_free(kw_command(kw, NULL, "DEL c:{t%zu}:%zu", (i + 7) % TAGS_N, (i + 99) % 500));
        self->n++;
        kw_test_sleep_ms(1);
    }
    kw_close(kw);
    return NULL;
}

/* What happens to the cluster: one act at a time. */
typedef struct fate {
    kw_test_cluster *cluster;
    kw_test_server *homes[TAGS_N]; /* where each slot goes back to */
    unsigned slots[TAGS_N];
    size_t acts_n;
    size_t returns_n; /* slots that went and came back */
    size_t brief_n;   /* a new scan goes on after so many batches */
    bool has_deaths;
} fate;

static kw_test_server *other_than(fate *self, const kw_test_server *owner, size_t salt)
{
    for (size_t i = 0;; i++) {
        kw_test_server *node = kw_test_cluster_node(self->cluster, (salt + i) % PRIMARIES);
        if (node != owner && !kw_test_server_is_dead(node)) {
            return node;
        }
    }
}

static void go_or_return(fate *self, size_t tag)
{
    kw_test_server *owner = kw_test_cluster_owner(self->cluster, self->slots[tag]);
    if (self->homes[tag] == NULL) {
        self->homes[tag] = owner;
        kw_test_cluster_move(self->cluster, self->slots[tag], self->slots[tag],
                             other_than(self, owner, tag));
        return;
    }
    if (owner != self->homes[tag] && !kw_test_server_is_dead(self->homes[tag])) {
        kw_test_cluster_move(self->cluster, self->slots[tag], self->slots[tag], self->homes[tag]);
        self->returns_n++;
    }
    self->homes[tag] = NULL;
}

static void lose_a_primary(fate *self)
{
    kw_test_server *owner = kw_test_cluster_owner(self->cluster, self->slots[0]);
    kw_test_server_kill(owner);
    assert_non_null(kw_test_cluster_wait_owner(self->cluster, self->slots[0], owner, 60000));
    kw_test_cluster_wait(self->cluster, 60000);
}

static void gain_a_node(fate *self)
{
    kw_test_server *node = kw_test_cluster_add(self->cluster);
    kw_test_cluster_wait(self->cluster, 60000);
    kw_test_cluster_move(self->cluster, 100, 119, node);
    kw_test_cluster_move(self->cluster, self->slots[1], self->slots[1], node);
}

static void act(fate *self)
{
    size_t n = self->acts_n++;
    if (self->has_deaths && n == TAGS_N) {
        lose_a_primary(self);
    } else if (self->has_deaths && n == TAGS_N + 1) {
        gain_a_node(self);
    } else {
        go_or_return(self, n % 2 == 0 ? n / 2 % TAGS_N : (n / 2 + TAGS_N / 2) % TAGS_N);
    }
}

static void begin_fate(fate *self, kw_test_cluster *cluster)
{
    memset(self, 0, sizeof(*self));
    self->cluster = cluster;
    self->brief_n = 50;
    for (size_t i = 0; i < TAGS_N; i++) {
        char key[32];
        snprintf(key, sizeof(key), "{t%zu}", i);
        self->slots[i] = kw_test_cluster_slot(cluster, key);
    }
}

/* Notes what is given; keys that came and went are no strangers. */
static void note(scan_sight *sight, const kw_scan_batch *batch)
{
    sight->batches_n++;
    for (size_t i = 0; i < batch->count; i++) {
        size_t number = (size_t)strtoul(strrchr(batch->keys[i], ':') + 1, NULL, 10);
        char key[64];
        if (batch->keys[i][0] == 'c') {
            continue;
        }
        name_key(key, sizeof(key), number);
        sight->given_n++;
        if (number < sight->n && strcmp(key, batch->keys[i]) == 0) {
            sight->times[number]++;
        } else {
            sight->strange_n++;
        }
    }
}

/* Walks to the end, with an act behind every few batches, and a new scan by its cursor now and
 * then; failures are gone on behind. */
static void walk(kw_client *kw, scan_sight *sight, fate *acts, size_t acts_max)
{
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    options.count = 100;
    options.timeout_ms = 5000;
    kw_scan *scan = scan_open(kw, &options);
    size_t pace = keys_n / 200 / acts_max + 1; /* in the first half of it */
    KW_TEST_UNTIL(batch.is_end)
    {
        uint64_t start_ms = kw_test_now_ms();
        kw_err code = kw_scan_next(scan, &error, &batch);
        assert_true(kw_test_now_ms() - start_ms < 5000 + 5000 * KW_TEST_SLOWNESS);
        if (code != KW_OK) {
            printf("%s\n", error.text);
            continue;
        }
        note(sight, &batch);
        if (sight->batches_n % pace == 0 && acts->acts_n < acts_max) {
            act(acts);
        }
        if (sight->batches_n % acts->brief_n == 0 && !batch.is_end) {
            char *cursor = strdup(kw_scan_cursor(scan, NULL));
            assert_true(strlen(cursor) <= 4096);
            options.cursor = cursor;
            kw_scan_close(scan);
            scan = scan_open(kw, &options);
            free(cursor);
        }
    }
    kw_scan_progress progress = {.size = sizeof(progress)};
    assert_int_equal(kw_scan_get_progress(scan, NULL, &progress), KW_OK);
    printf("%zu batches, %zu keys given for %zu, %zu acts, %zu slots there and back, %u rounds, "
           "%llu commands\n",
           sight->batches_n, sight->given_n, keys_n, acts->acts_n, acts->returns_n,
           progress.rounds_n, (unsigned long long)progress.commands_n);
    kw_scan_close(scan);
}

/* What programs do without: SCAN of one primary after the other. */
static void walk_plainly(kw_client *kw, scan_sight *sight, fate *acts, size_t acts_max)
{
    size_t pace = keys_n / 200 / acts_max + 1; /* in the first half of it */
    for (size_t i = 0; i < PRIMARIES; i++) {
        char cursor[32] = "0";
        do {
            const char *words[] = {"SCAN", cursor, "COUNT", "100"};
            kw_call_options to = KW_CALL_OPTIONS_INIT;
            to.route = KW_ROUTE_NODE;
            to.node = kw_test_server_address(kw_test_cluster_node(acts->cluster, i));
            kw_reply *page = kw_call(kw, NULL, &to, (kw_argv){4, words, NULL});
            assert_int_equal(kw_reply_count(page), 2);
            snprintf(cursor, sizeof(cursor), "%s", kw_reply_str(kw_reply_at(page, 0), NULL));
            const kw_reply *keys = kw_reply_at(page, 1);
            for (size_t k = 0; k < kw_reply_count(keys); k++) {
                const char *key = kw_reply_str(kw_reply_at(keys, k), NULL);
                size_t number = (size_t)strtoul(strrchr(key, ':') + 1, NULL, 10);
                sight->times[number < sight->n && key[0] == 'k' ? number : sight->n]++;
            }
            kw_reply_free(page);
            if (++sight->batches_n % pace == 0 && acts->acts_n < acts_max) {
                act(acts);
            }
        } while (strcmp(cursor, "0") != 0);
    }
}

static int set_up(void **state)
{
    const char *wish = getenv("KW_TEST_SCAN_KEYS");
    keys_n = wish != NULL ? (size_t)strtoul(wish, NULL, 10) : 20000;
    *state = kw_test_cluster_start(PRIMARIES, 1, 2000, NULL);
    return 0;
}

static int tear_down(void **state)
{
    kw_test_cluster_free(*state);
    return 0;
}

/* The test itself can fail: without a second walk keys are missed. */
static void test_plain_scans_miss_keys_of_slots_that_move(void **state)
{
    fate acts;
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(*state));
    scan_sight sight = scan_sight_new(keys_n);
    fill(kw);
    begin_fate(&acts, *state);
    walk_plainly(kw, &sight, &acts, 2 * TAGS_N);
    printf("missed by plain scans: %zu of %zu\n", scan_missed(&sight), keys_n);
    assert_true(scan_missed(&sight) > 0);
    free(sight.times);
    kw_close(kw);
}

/* Each batch by a scan of its own, which knows nothing but the cursor of the one before. */
static void test_scan_of_processes_that_end_at_once_gives_all_keys_that_stay(void **state)
{
    fate acts;
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(*state));
    scan_sight sight = scan_sight_new(keys_n);
    fill(kw);
    begin_fate(&acts, *state);
    acts.brief_n = 1;
    walk(kw, &sight, &acts, 2 * TAGS_N);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    assert_true(sight.given_n < 4 * keys_n);
    free(sight.times);
    kw_close(kw);
}

/* One slot with more keys than are asked for as a whole goes to another node when a part of it was
 * given; whoever goes on has nothing but a cursor each time. */
static void test_scan_gives_a_slot_of_very_many_keys_that_moves(void **state)
{
    size_t n = BIG_N;
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(*state));
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    unsigned slot = kw_test_cluster_slot(*state, "{big}");
    kw_test_server *owner = kw_test_cluster_owner(*state, slot);
    scan_sight sight = scan_sight_new(n);
    char *cursor = NULL;
    scan_fill(kw, "b:{big}:%zu", 0, n);
    options.match = "b:*";
    options.match_len = 3;
    options.count = 5000;
    options.timeout_ms = 20000;
    KW_TEST_UNTIL(batch.is_end)
    {
        options.cursor = cursor;
        kw_scan *scan = scan_open(kw, &options);
        if (kw_scan_next(scan, &error, &batch) != KW_OK) {
            fail_msg("%s", error.text);
        }
        scan_note(&sight, &batch);
        free(cursor);
        cursor = strdup(kw_scan_cursor(scan, NULL));
        kw_scan_close(scan);
        if (sight.batches_n == 4) {
            kw_test_server *other = owner;
            for (unsigned i = 0; other == owner; i += 1000) {
                other = kw_test_cluster_owner(*state, i % KW_TEST_SLOTS);
            }
            kw_test_cluster_move(*state, slot, slot, other);
        }
    }
    printf("%zu batches, %zu keys given for %zu\n", sight.batches_n, sight.given_n, n);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    free(cursor);
    free(sight.times);
    kw_close(kw);
}

static void test_scan_gives_all_keys_that_stay(void **state)
{
    fate acts;
    churn others = {.n = 0};
    pthread_t thread;
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(*state));
    scan_sight sight = scan_sight_new(keys_n);
    fill(kw);
    kw_test_cluster_wait(*state, 60000);
    begin_fate(&acts, *state);
    acts.has_deaths = true;
    snprintf(others.uri, sizeof(others.uri), "%s", kw_test_cluster_uri(*state));
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &others), 0);
    walk(kw, &sight, &acts, 4 * TAGS_N);
    atomic_store(&others.is_over, true);
    kw_test_join(thread);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    assert_true(acts.returns_n >= 20);
    free(sight.times);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_scans_miss_keys_of_slots_that_move),
        cmocka_unit_test(test_scan_of_processes_that_end_at_once_gives_all_keys_that_stay),
        cmocka_unit_test(test_scan_gives_all_keys_that_stay),
        cmocka_unit_test(test_scan_gives_a_slot_of_very_many_keys_that_moves),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
