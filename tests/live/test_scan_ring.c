/* SPDX-License-Identifier: BSD-3-Clause */
/* KW_TEST_FAST: scans of rings whose members come and go while keys are moved after them, and of a
 * server that is started anew. */
#include "live/scan_keys.h"

#include "live/ring_servers.h"

#include <hiredis.h>

#define KEYS_N 3000

/* Moves keys that are where the ring does not have them, so many at most, from that server on. */
static size_t move_keys(kw_client *kw, const ring_servers *servers, size_t at, size_t max)
{
    size_t moved_n = 0;
    redisReply *keys = kw_test_server_command(servers->servers[at], "KEYS *");
    for (size_t i = 0; i < keys->elements && moved_n < max; i++) {
        char node[128];
        const char *key = keys->element[i]->str;
        assert_int_equal(kw_client_key_node(kw, NULL, node, sizeof(node), key, strlen(key)), KW_OK);
        if (strcmp(node, kw_test_server_address(servers->servers[at])) == 0) {
            continue;
        }
        redisReply *dump = kw_test_server_command(servers->servers[at], "DUMP %s", key);
        kw_test_ask_ok(kw, "RESTORE %s 0 %b REPLACE", key, dump->str, (size_t)dump->len);
        freeReplyObject(dump);
        assert_int_equal(kw_test_server_integer(servers->servers[at], "DEL %s", key), 1);
        moved_n++;
    }
    freeReplyObject(keys);
    return moved_n;
}

static void change(kw_client *kw, const char *add, const char *remove)
{
    kw_members *members = kw_members_begin(kw, NULL);
    assert_non_null(members);
    if (add != NULL) {
        assert_int_equal(kw_members_add(members, NULL, add), KW_OK);
    }
    if (remove != NULL) {
        assert_int_equal(kw_members_remove(members, NULL, remove, strlen(remove)), KW_OK);
    }
    assert_int_equal(kw_members_commit(members, NULL), KW_OK);
    kw_members_free(members);
}

/* A member joins in the middle, and its keys are moved to it between batches, a few at a time. */
static void test_scan_of_a_ring_gives_all_while_a_member_joins(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    char line[100];
    kw_client *kw = kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, 2, "?timeout=20s"));
    scan_sight sight = scan_sight_new(KEYS_N);
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    options.count = 50;
    kw_scan *scan = scan_open(kw, &options);
    size_t moved_n = 0;
    snprintf(line, sizeof(line), "c=%s", kw_test_server_address(servers->servers[2]));
    while (!batch.is_end) {
        assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
        scan_note(&sight, &batch);
        if (sight.batches_n == 10) {
            change(kw, line, NULL);
        } else if (sight.batches_n > 10) {
            moved_n += move_keys(kw, servers, sight.batches_n % 2, 20);
        }
        if (sight.batches_n % 20 == 5) { /* and another process goes on */
            char *cursor = strdup(kw_scan_cursor(scan, NULL));
            options.cursor = cursor;
            kw_scan_close(scan);
            scan = scan_open(kw, &options);
            free(cursor);
        }
    }
    assert_true(moved_n > 100);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    kw_scan_close(scan);
    kw_close(kw);
    free(sight.times);
}

/* A member leaves, and its keys go to all others: everything is walked again. */
static void test_scan_of_a_ring_gives_all_when_a_member_has_left(void **state)
{
    ring_servers *servers = *state;
    kw_client *kw = ring_open(servers, "?timeout=20s");
    scan_sight sight = scan_sight_new(KEYS_N);
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    options.count = 50;
    options.parallel = 1;
    kw_scan *scan = scan_open(kw, &options);
    while (!batch.is_end) {
        assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
        scan_note(&sight, &batch);
        if (sight.batches_n == 25) {
            change(kw, NULL, "b");
            while (move_keys(kw, servers, 1, 1000) > 0) {
            }
        }
    }
    assert_int_equal(scan_missed(&sight), 0);
    kw_scan_close(scan);
    kw_close(kw);
    free(sight.times);
}

/* Another process with the same data has another order of keys: its SCAN begins again. */
static void test_scan_of_a_server_that_is_started_anew_gives_all(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("appendonly yes\nappendfsync always\n");
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_server_uri(server));
    scan_sight sight = scan_sight_new(KEYS_N);
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    options.count = 50;
    kw_scan *scan = scan_open(kw, &options);
    while (!batch.is_end) {
        kw_error error = KW_ERROR_INIT;
        if (kw_scan_next(scan, &error, &batch) != KW_OK) {
            fail_msg("%s", error.text);
        }
        scan_note(&sight, &batch);
        if (sight.batches_n == KEYS_N / 100) {
            kw_test_server_kill(server);
            kw_test_server_restart(server);
        }
    }
    assert_int_equal(scan_missed(&sight), 0);
    assert_true(sight.given_n > KEYS_N * 5 / 4);
    kw_scan_close(scan);
    kw_close(kw);
    kw_test_server_free(server);
    free(sight.times);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_scan_of_a_ring_gives_all_while_a_member_joins, ring_flush),
        cmocka_unit_test_setup(test_scan_of_a_ring_gives_all_when_a_member_has_left, ring_flush),
        cmocka_unit_test(test_scan_of_a_server_that_is_started_anew_gives_all),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
