/* SPDX-License-Identifier: BSD-3-Clause */
/* KW_TEST_FAST: scans of a cluster at rest, of one server, and of what is in one key. */
#include "live/scan_keys.h"

#include "support/cluster.h"

#include <poll.h>

#define KEYS_N 5000

static kw_test_cluster *cluster;
static kw_client *kw;

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 2000, NULL);
    kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster));
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    (void)kw_test_ask_integer(kw, "HSET {tag}:h:x f v");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    kw_test_cluster_free(cluster);
    return 0;
}

/* All keys "k:*", by these options, and nothing else; how many times over. */
static size_t walk(const kw_scan_options *options)
{
    scan_sight sight = scan_sight_new(KEYS_N);
    kw_scan *scan = scan_open(kw, options);
    scan_to_end(scan, &sight);
    kw_scan_progress progress = {.size = sizeof(progress)};
    assert_int_equal(kw_scan_get_progress(scan, NULL, &progress), KW_OK);
    assert_true(progress.is_end);
    assert_true(progress.part == 1);
    assert_int_equal(progress.given_n, sight.given_n);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    kw_scan_close(scan);
    free(sight.times);
    return sight.given_n;
}

static void test_scan_of_a_cluster_gives_all(void **state)
{
    (void)state;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.match = "k:*";
    options.match_len = 3;
    assert_int_equal(walk(&options), KEYS_N);
    options.parallel = 1;
    options.count = 7;
    assert_int_equal(walk(&options), KEYS_N);
    options.type = "string";
    options.count = 10000;
    assert_int_equal(walk(&options), KEYS_N);
}

static void test_scan_by_slots_gives_all(void **state)
{
    (void)state;
    scan_sight sight = scan_sight_new(KEYS_N);
    for (unsigned first = 0; first < 16384; first += 1024) {
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        options.has_slots = true;
        options.first_slot = first;
        options.last_slot = first + 1023;
        options.match = "k:*";
        options.match_len = 3;
        options.type = first % 2048 == 0 ? "string" : NULL;
        kw_scan *scan = scan_open(kw, &options);
        scan_to_end(scan, &sight);
        kw_scan_close(scan);
    }
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.given_n, KEYS_N);
    free(sight.times);
}

static size_t count_all(const kw_scan_options *options)
{
    scan_sight sight = scan_sight_new(KEYS_N);
    kw_scan *scan = scan_open(kw, options);
    scan_to_end(scan, &sight);
    kw_scan_close(scan);
    free(sight.times);
    return sight.given_n;
}

static void test_scan_of_a_tag_gives_its_keys(void **state)
{
    (void)state;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.tag = "tag";
    options.tag_len = 3;
    assert_int_equal(count_all(&options), 1);
    options.type = "string";
    assert_int_equal(count_all(&options), 0);
    options.type = "hash";
    assert_int_equal(count_all(&options), 1);
}

static void test_scan_of_one_node_gives_its_keys(void **state)
{
    (void)state;
    size_t sum = 0;
    for (size_t i = 0; i < 3; i++) {
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        options.node = kw_test_server_address(kw_test_cluster_node(cluster, i));
        sum += count_all(&options);
    }
    assert_int_equal(sum, KEYS_N + 1);
}

/* A cursor after each batch, and a new scan with it each time. */
static void test_scan_goes_on_by_its_cursor(void **state)
{
    (void)state;
    scan_sight sight = scan_sight_new(KEYS_N);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    char *cursor = NULL;
    options.match = "k:*";
    options.match_len = 3;
    options.count = 200;
    while (!batch.is_end) {
        options.cursor = cursor;
        kw_scan *scan = scan_open(kw, &options);
        for (size_t i = 0; i < 3 && !batch.is_end; i++) {
            assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
            scan_note(&sight, &batch);
        }
        free(cursor);
        cursor = strdup(kw_scan_cursor(scan, NULL));
        assert_true(strlen(cursor) < 500);
        kw_scan_close(scan);
    }
    free(cursor);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.given_n, KEYS_N); /* nothing was given twice */
    free(sight.times);
}

static void test_scan_of_what_is_in_keys_gives_all(void **state)
{
    (void)state;
    kw_scan_of kinds[] = {KW_SCAN_FIELDS, KW_SCAN_MEMBERS, KW_SCAN_SORTED_SET};
    for (size_t i = 0; i < 1000; i++) {
        (void)kw_test_ask_integer(kw, "HSET in:0 f:%zu %zu", i, i);
        (void)kw_test_ask_integer(kw, "SADD in:1 m:%zu", i);
        (void)kw_test_ask_integer(kw, "ZADD in:2 %zu z:%zu", i, i);
    }
    for (size_t k = 0; k < 3; k++) {
        char key[8];
        scan_sight sight = scan_sight_new(1000);
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        kw_scan_batch batch = KW_SCAN_BATCH_INIT;
        snprintf(key, sizeof(key), "in:%zu", k);
        options.of = kinds[k];
        options.key = key;
        options.key_len = strlen(key);
        options.count = 100;
        kw_scan *scan = scan_open(kw, &options);
        while (!batch.is_end) {
            assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
            scan_note(&sight, &batch);
            assert_true((batch.values != NULL) == (k != 1 && batch.count > 0));
            for (size_t i = 0; batch.values != NULL && i < batch.count; i++) {
                assert_string_equal(batch.keys[i] + 2, batch.values[i]);
                assert_int_equal(batch.value_lens[i], strlen(batch.values[i]));
            }
        }
        assert_int_equal(scan_missed(&sight), 0);
        assert_int_equal(sight.given_n, 1000);
        kw_scan_close(scan);
        free(sight.times);
        (void)kw_test_ask_integer(kw, "DEL %s", key);
    }
}

static void test_scan_of_a_key_of_another_type_fails(void **state)
{
    (void)state;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    options.of = KW_SCAN_FIELDS;
    options.key = "k:1";
    options.key_len = 3;
    kw_scan *scan = scan_open(kw, &options);
    assert_int_equal(kw_scan_next(scan, &error, &batch), KW_ERR_SERVER);
    assert_non_null(strstr(error.text, "WRONGTYPE"));
    kw_scan_close(scan);
}

typedef struct listener {
    kw_scan *scan;
    scan_sight sight;
    unsigned calls_n;
    bool is_end;
} listener;

static void on_batch(void *arg, const kw_scan_batch *batch, const kw_error *error)
{
    listener *self = arg;
    self->calls_n++;
    if (batch == NULL) {
        fail_msg("%s", error->text);
        return;
    }
    scan_note(&self->sight, batch);
    self->is_end = batch->is_end;
    if (!self->is_end) {
        assert_int_equal(kw_scan_next_async(self->scan, NULL, (kw_scan_callback){on_batch, self}),
                         KW_OK);
    }
}

static void test_scan_in_a_loop_gives_all(void **state)
{
    (void)state;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.match = "k:*";
    options.match_len = 3;
    listener self = {.sight = scan_sight_new(KEYS_N)};
    self.scan = scan_open(kw, &options);
    assert_int_equal(kw_scan_next_async(self.scan, NULL, (kw_scan_callback){on_batch, &self}),
                     KW_OK);
    assert_int_equal(self.calls_n, 0);
    KW_TEST_UNTIL(self.is_end)
    {
        struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
        (void)poll(&entry, 1, kw_timeout(kw));
        assert_int_equal(kw_process(kw, NULL), KW_OK);
    }
    assert_int_equal(scan_missed(&self.sight), 0);
    assert_int_equal(self.sight.given_n, KEYS_N);
    kw_scan_close(self.scan);
    free(self.sight.times);
}

static void test_scan_of_one_server_gives_all(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *cluster_kw = kw;
    kw = kw_test_open("%s?timeout=20s", kw_test_server_uri(server));
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    assert_int_equal(walk(NULL), KEYS_N);
    kw_close(kw);
    kw = cluster_kw;
    kw_test_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_of_a_cluster_gives_all),
        cmocka_unit_test(test_scan_by_slots_gives_all),
        cmocka_unit_test(test_scan_of_a_tag_gives_its_keys),
        cmocka_unit_test(test_scan_of_one_node_gives_its_keys),
        cmocka_unit_test(test_scan_goes_on_by_its_cursor),
        cmocka_unit_test(test_scan_of_what_is_in_keys_gives_all),
        cmocka_unit_test(test_scan_of_a_key_of_another_type_fails),
        cmocka_unit_test(test_scan_in_a_loop_gives_all),
        cmocka_unit_test(test_scan_of_one_server_gives_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
