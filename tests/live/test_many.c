/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands over many slots and all nodes: the answers are those of one standalone server,
 * and what fails is told key by key. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

#include <keyway.h>

#include <stdio.h>
#include <string.h>

#define KEYS_N 40
#define ARGS_N 25

static kw_test_cluster *cluster;
static kw_test_server *single;
static kw_client *many;
static kw_client *one;

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 0, NULL);
    single = kw_test_server_start(NULL);
    many = kw_test_try_open(kw_test_cluster_uri(cluster), NULL);
    one = kw_test_try_open(kw_test_server_uri(single), NULL);
    return many == NULL || one == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(many);
    kw_close(one);
    kw_test_server_free(single);
    kw_test_cluster_free(cluster);
    return 0;
}

static void same(const kw_reply *a, const kw_reply *b)
{
    assert_int_equal(kw_reply_type(a), kw_reply_type(b));
    assert_int_equal(kw_reply_int(a), kw_reply_int(b));
    assert_int_equal(kw_reply_count(a), kw_reply_count(b));
    size_t a_len;
    size_t b_len;
    const char *a_text = kw_reply_str(a, &a_len);
    const char *b_text = kw_reply_str(b, &b_len);
    assert_int_equal(a_len, b_len);
    if (a_text != NULL) {
        assert_memory_equal(a_text, b_text, a_len);
    }
    for (size_t i = 0; i < kw_reply_count(a); i++) {
        same(kw_reply_at(a, i), kw_reply_at(b, i));
    }
}

/* prefix and number; 0 is the empty word. */
static void put(char word[32], const char *prefix, uint64_t number)
{
    word[0] = '\0';
    if (number > 0) {
        snprintf(word, 32, "%s%llu", prefix, (unsigned long long)number);
    }
}

/* One random command over up to 12 keys of few, some of them twice, some of another type
 * or empty. */
static int random_command(char words[ARGS_N][32], kw_random *random)
{
    static const char *const names[] = {"MGET",   "MSET",  "DEL",  "UNLINK",
                                        "EXISTS", "TOUCH", "mget", "Mset"};
    size_t name = (size_t)kw_random_below(random, sizeof(names) / sizeof(names[0]));
    bool is_mset = names[name][1] == 'S' || names[name][1] == 's';
    int argc = 0;
    snprintf(words[argc++], 32, "%s", names[name]);
    size_t keys_n = 1 + (size_t)kw_random_below(random, 12);
    for (size_t i = 0; i < keys_n; i++) {
        uint64_t key = kw_random_below(random, KEYS_N);
        put(words[argc++], "key:", key);
        if (is_mset) {
            put(words[argc++], "", kw_random_below(random, 100));
        }
    }
    return argc;
}

static void test_many_random_commands_answer_as_one_server(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, kw_test_seed("test_many"));
    for (int i = 0; i < 1500; i++) {
        char words[ARGS_N][32];
        const char *argv[ARGS_N];
        int argc = random_command(words, &random);
        for (int k = 0; k < argc; k++) {
            argv[k] = words[k];
        }
        if (i % 50 == 0) { /* a list in the way of MGET */
            kw_reply_free(kw_command(many, NULL, "LPUSH key:%d x", i / 50));
            kw_reply_free(kw_command(one, NULL, "LPUSH key:%d x", i / 50));
        }
        kw_error error = KW_ERROR_INIT;
        kw_reply *a = kw_command_argv(many, &error, argc, argv, NULL);
        kw_reply *b = kw_command_argv(one, NULL, argc, argv, NULL);
        if (a == NULL) {
            fail_msg("%s: %s", argv[0], error.text);
        }
        same(a, b);
        kw_reply_free(a);
        kw_reply_free(b);
    }
}

static void test_many_thousands_of_keys_come_in_order(void **state)
{
    (void)state;
    enum { N = 3000 };
    static char words[2 * N + 1][24];
    static const char *argv[2 * N + 1];
    argv[0] = "MSET";
    for (int i = 0; i < N; i++) {
        snprintf(words[2 * i], sizeof(words[0]), "thousands:%d", i);
        snprintf(words[2 * i + 1], sizeof(words[0]), "%d", i);
        argv[1 + 2 * i] = words[2 * i];
        argv[2 + 2 * i] = words[2 * i + 1];
    }
    kw_reply *reply = kw_command_argv(many, NULL, 2 * N + 1, argv, NULL);
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    argv[0] = "MGET";
    for (int i = 0; i < N; i++) {
        argv[1 + i] = words[2 * i];
    }
    reply = kw_command_argv(many, NULL, N + 1, argv, NULL);
    assert_int_equal(kw_reply_count(reply), N);
    for (int i = 0; i < N; i++) {
        assert_string_equal(kw_reply_str(kw_reply_at(reply, (size_t)i), NULL), words[2 * i + 1]);
    }
    kw_reply_free(reply);
}

static void test_many_strict_handle_refuses(void **state)
{
    (void)state;
    char uri[300];
    snprintf(uri, sizeof(uri), "%s?cross-slot=refuse", kw_test_cluster_uri(cluster));
    kw_client *strict = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(strict, &error, "MGET a b"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    assert_int_equal(error.attempts, 0);
    kw_close(strict);
}

/* The owner of all its keys says so itself; of several owners none could. */
static void test_many_key_without_value_is_a_wrong_number_of_arguments(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(many, NULL, "MSET {a}1 1 {a}2");
    assert_true(kw_reply_is_error(reply));
    assert_non_null(strstr(kw_reply_str(reply, NULL), "wrong number of arguments"));
    kw_reply_free(reply);
    assert_null(kw_command(many, &error, "MSET a 1 b"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "wrong number of arguments"));
}

static void test_many_all_nodes_are_visited(void **state)
{
    (void)state;
    kw_reply_free(kw_command(many, NULL, "FLUSHALL"));
    for (int i = 0; i < 100; i++) {
        kw_reply_free(kw_command(many, NULL, "SET all:%d x", i));
    }
    kw_reply *reply = kw_command(many, NULL, "DBSIZE");
    assert_int_equal(kw_reply_int(reply), 100);
    kw_reply_free(reply);
    reply = kw_command(many, NULL, "KEYS all:*");
    assert_int_equal(kw_reply_count(reply), 100);
    kw_reply_free(reply);
    reply = kw_command(many, NULL, "FLUSHALL");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    reply = kw_command(many, NULL, "DBSIZE");
    assert_int_equal(kw_reply_int(reply), 0);
    kw_reply_free(reply);
}

static void test_many_stopped_node_is_told_key_by_key(void **state)
{
    (void)state;
    kw_reply_free(kw_command(many, NULL, "MSET a 1 b 2 c 3"));
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 300;
    kw_test_server *stopped = kw_test_cluster_owner(cluster, kw_slot("b", 1));
    assert_true(stopped != kw_test_cluster_owner(cluster, kw_slot("a", 1)));
    kw_test_server_pause(stopped);
    const char *mget[] = {"MGET", "a", "b", "c"};
    const char *mset[] = {"MSET", "a", "4", "b", "5", "b", "6"};
    const char *dbsize[] = {"DBSIZE"};
    kw_error error = KW_ERROR_INIT;
    kw_reply *read = kw_call(many, &error, &options, (kw_argv){4, mget, NULL});
    kw_reply *written = kw_call(many, &error, &options, (kw_argv){7, mset, NULL});
    kw_reply *size = kw_call(many, &error, &options, (kw_argv){1, dbsize, NULL});
    kw_test_server_resume(stopped);
    assert_true(kw_reply_is_error(read));
    assert_int_equal(kw_reply_count(read), 3);
    assert_string_equal(kw_reply_str(kw_reply_at(read, 0), NULL), "1");
    assert_true(kw_reply_is_error(kw_reply_at(read, 1)));
    assert_true(kw_reply_is_error(written));
    assert_non_null(strstr(kw_reply_str(written, NULL), "PARTIAL 2 of 3 keys"));
    assert_string_equal(kw_reply_str(kw_reply_at(written, 0), NULL), "OK");
    assert_true(kw_reply_is_error(kw_reply_at(written, 2)));
    assert_null(size);
    /* Sent and not answered, or no connection that could carry it. */
    assert_true(error.code == KW_ERR_TIMEOUT || error.code == KW_ERR_HANDSHAKE);
    assert_string_equal(error.node, kw_test_server_address(stopped));
    kw_reply_free(read);
    kw_reply_free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_random_commands_answer_as_one_server),
        cmocka_unit_test(test_many_thousands_of_keys_come_in_order),
        cmocka_unit_test(test_many_strict_handle_refuses),
        cmocka_unit_test(test_many_key_without_value_is_a_wrong_number_of_arguments),
        cmocka_unit_test(test_many_all_nodes_are_visited),
        cmocka_unit_test(test_many_stopped_node_is_told_key_by_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
