/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches on real servers: results in order, redirects in the middle, sick nodes, and
 * more bytes than sockets hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

#include <keyway.h>

#include <hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kw_test_cluster *cluster;
static kw_client *kw;

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    char uri[300];
    snprintf(uri, sizeof(uri), "%s?timeout=20s", kw_test_cluster_uri(cluster));
    kw = kw_test_try_open(uri, NULL);
    return kw == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    kw_test_cluster_free(cluster);
    return 0;
}

static kw_batch *new_batch(void)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_non_null(batch);
    return batch;
}

static void add(kw_batch *batch, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_vadd(batch, &error, format, values) != KW_OK) {
        fail_msg("%s: %s", format, error.text);
    }
    va_end(values);
}

static void run(kw_batch *batch)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
}

static void is_text(const kw_batch *batch, size_t index, const char *text)
{
    kw_error error = KW_ERROR_INIT;
    const kw_reply *reply = kw_batch_reply(batch, &error, index);
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(kw_reply_str(reply, NULL), text);
}

static void test_batch_results_come_in_order_of_adding(void **state)
{
    (void)state;
    kw_batch *batch = new_batch();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2000; i++) {
            add(batch, "SET order:%d %d", i, i + round);
            add(batch, "GET order:%d", i);
        }
        run(batch);
        assert_int_equal(kw_batch_count(batch), 4000);
        for (int i = 0; i < 2000; i++) {
            char text[16];
            snprintf(text, sizeof(text), "%d", i + round);
            is_text(batch, (size_t)(2 * i), "OK");
            is_text(batch, (size_t)(2 * i + 1), text);
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
}

static void test_batch_each_command_has_its_own_result(void **state)
{
    (void)state;
    kw_batch *batch = new_batch();
    add(batch, "SET own:text word");
    add(batch, "INCR own:text");
    add(batch, "GET own:missing");
    add(batch, "RPUSH {own}:list a b c");
    add(batch, "LRANGE {own}:list 0 -1");
    run(batch);
    is_text(batch, 0, "OK");
    assert_true(kw_reply_is_error(kw_batch_reply(batch, NULL, 1)));
    assert_true(kw_reply_is_nil(kw_batch_reply(batch, NULL, 2)));
    kw_reply *list = kw_batch_take(batch, NULL, 4);
    assert_null(kw_batch_reply(batch, NULL, 4));
    kw_batch_free(batch);
    assert_int_equal(kw_reply_count(list), 3); /* outlives the batch */
    kw_reply_free(list);
}

/* Split over slots, in their turn among commands of their keys. */
static void test_batch_splits_commands_over_slots(void **state)
{
    (void)state;
    kw_batch *batch = new_batch();
    for (int i = 0; i < 300; i++) {
        add(batch, "SET parts:%d old", i);
        add(batch, "MSET parts:%d %d parts:b:%d b", i, i, i);
        add(batch, "MGET parts:b:%d parts:%d parts:none:%d", i, i, i);
        add(batch, "DEL parts:%d parts:b:%d", i, i);
        add(batch, "EXISTS parts:%d parts:b:%d", i, i);
    }
    run(batch);
    for (size_t i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%zu", i);
        is_text(batch, 5 * i, "OK");
        is_text(batch, 5 * i + 1, "OK");
        const kw_reply *list = kw_batch_reply(batch, NULL, 5 * i + 2);
        assert_int_equal(kw_reply_count(list), 3);
        assert_string_equal(kw_reply_str(kw_reply_at(list, 0), NULL), "b");
        assert_string_equal(kw_reply_str(kw_reply_at(list, 1), NULL), text);
        assert_true(kw_reply_is_nil(kw_reply_at(list, 2)));
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 5 * i + 3)), 2);
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 5 * i + 4)), 0);
    }
    kw_batch_free(batch);
}

static void test_batch_wrong_uses_are_refused(void **state)
{
    (void)state;
    kw_batch *batch = new_batch();
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK); /* nothing to do */
    assert_int_equal(kw_batch_add(batch, &error, "PING"), KW_ERR_ARGUMENT);
    kw_batch_clear(batch);
    assert_int_equal(kw_batch_add(batch, &error, "BLPOP a 1"), KW_ERR_REFUSED);
    assert_int_equal(kw_batch_add(batch, &error, "DBSIZE"), KW_ERR_REFUSED);
    assert_int_equal(kw_batch_add(batch, &error, "MULTI"), KW_ERR_REFUSED);
    assert_int_equal(kw_batch_add(batch, &error, "SINTER a b"), KW_ERR_CROSSSLOT);
    assert_int_equal(kw_batch_count(batch), 0);
    assert_null(kw_batch_reply(batch, &error, 0));
    assert_null(kw_batch_new(NULL, &error));
    kw_batch_free(batch);
    kw_batch_free(NULL);
}

/* Moves slots there and back until told to stop. */
typedef struct slot_mover {
    pthread_t thread;
    atomic_bool stops;
    unsigned moves_n;
} slot_mover;

static void *move_slots(void *arg)
{
    slot_mover *self = arg;
    while (!atomic_load(&self->stops)) {
        kw_test_server *to = kw_test_cluster_node(cluster, self->moves_n % 2);
        kw_test_cluster_move(cluster, 0, 40, to);
        self->moves_n++;
        kw_test_sleep_ms(300); /* until all nodes agree on who has the slots */
    }
    return NULL;
}

static void test_batch_slots_moving_in_the_middle_keep_order_per_key(void **state)
{
    (void)state;
    slot_mover mover = {.moves_n = 1};
    assert_int_equal(pthread_create(&mover.thread, NULL, move_slots, &mover), 0);
    kw_batch *batch = new_batch();
    kw_stats stats = {.size = sizeof(stats)};
    for (int round = 0; round < 8 || stats.moved == 0; round++) {
        assert_in_range(round, 0, 1000);
        for (int i = 0; i < 5000; i++) {
            add(batch, "SET moving:%d r%d", i, round);
            add(batch, "APPEND moving:%d !", i);
        }
        run(batch);
        kw_batch_clear(batch);
        for (int i = 0; i < 5000; i++) {
            add(batch, "GET moving:%d", i);
        }
        run(batch);
        char text[16];
        snprintf(text, sizeof(text), "r%d!", round);
        for (size_t i = 0; i < 5000; i++) {
            is_text(batch, i, text);
        }
        kw_batch_clear(batch);
        assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    }
    kw_batch_free(batch);
    atomic_store(&mover.stops, true);
    kw_test_join(mover.thread);
}

static void test_batch_more_bytes_than_sockets_hold(void **state)
{
    (void)state;
    static char value[1 << 20];
    memset(value, 'v', sizeof(value) - 1);
    kw_batch *batch = new_batch();
    for (int i = 0; i < 40; i++) {
        add(batch, "SET big:%d %b", i, value, sizeof(value) - 1);
        add(batch, "GET big:%d", i);
    }
    run(batch);
    for (size_t i = 0; i < 40; i++) {
        size_t len;
        kw_reply_str(kw_batch_reply(batch, NULL, 2 * i + 1), &len);
        assert_int_equal(len, sizeof(value) - 1);
    }
    kw_batch_free(batch);
}

static void test_batch_stopped_node_fails_its_own_commands_only(void **state)
{
    (void)state;
    kw_test_server *stopped = kw_test_cluster_owner(cluster, 16000);
    kw_batch *batch = new_batch();
    for (int i = 0; i < 300; i++) {
        add(batch, "INCR stopped:%d", i);
    }
    kw_test_server_pause(stopped);
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    kw_err code = kw_batch_run(batch, &error, 400);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    kw_test_server_resume(stopped);
    assert_int_equal(code, KW_ERR_TIMEOUT);
    assert_in_range(elapsed_ms, 390, 2000);
    size_t answered_n = 0;
    for (size_t i = 0; i < 300; i++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "stopped:%zu", i);
        char node[64];
        assert_int_equal(
            kw_client_slot_node(kw, NULL, node, sizeof(node), kw_slot(key, (size_t)len)), KW_OK);
        bool is_stopped = strcmp(node, kw_test_server_address(stopped)) == 0;
        const kw_reply *reply = kw_batch_reply(batch, &error, i);
        assert_int_equal(reply == NULL, is_stopped);
        if (is_stopped) {
            assert_int_equal(error.effect, KW_EFFECT_MAYBE);
            assert_string_equal(error.node, kw_test_server_address(stopped));
        }
        answered_n += reply != NULL ? 1 : 0;
    }
    assert_in_range(answered_n, 100, 299);
    kw_batch_free(batch);
}

static void test_batch_killed_node_reads_survive_the_failover(void **state)
{
    (void)state;
    kw_test_cluster_wait(cluster, 60000);
    kw_batch *batch = new_batch();
    for (int i = 0; i < 1000; i++) {
        add(batch, "SET killed:%d %d", i, i);
    }
    run(batch);
    kw_reply_free(kw_command(kw, NULL, "PING"));
    kw_test_sleep_ms(300); /* the replicas have it all */
    kw_batch_clear(batch);
    for (int i = 0; i < 1000; i++) {
        add(batch, "GET killed:%d", i);
    }
    kw_test_server_kill(kw_test_cluster_owner(cluster, 16000));
    run(batch);
    for (int i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        is_text(batch, (size_t)i, text);
    }
    kw_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_results_come_in_order_of_adding),
        cmocka_unit_test(test_batch_each_command_has_its_own_result),
        cmocka_unit_test(test_batch_splits_commands_over_slots),
        cmocka_unit_test(test_batch_wrong_uses_are_refused),
        cmocka_unit_test(test_batch_slots_moving_in_the_middle_keep_order_per_key),
        cmocka_unit_test(test_batch_more_bytes_than_sockets_hold),
        cmocka_unit_test(test_batch_stopped_node_fails_its_own_commands_only),
        cmocka_unit_test(test_batch_killed_node_reads_survive_the_failover),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
