/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments at their limits, commands that are refused whatever way they come, and commands
 * that only a server knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/command_table.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "foo" is in slot 12182 of the second fake; "bar", 5061, in the first one's. */
static kw_fake *fakes[3];
static kw_client *kw;

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fakes[i] = kw_fake_start();
    }
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], fakes[2]}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, ranges, 2);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw = kw_test_try_open(uri, NULL);
    return kw == NULL || kw_connect(kw, NULL) != KW_OK;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    for (size_t i = 0; i < 3; i++) {
        kw_fake_free(fakes[i]);
    }
    return 0;
}

static size_t received(const char *pattern)
{
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        n += kw_fake_count(fakes[i], pattern);
    }
    return n;
}

static void reset_fakes(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_reset(fakes[i]);
        kw_fake_log_clear(fakes[i]);
    }
}

/* What a server got, compared byte by byte. */
typedef struct want {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
    atomic_uint seen_n;
} want;

static bool compare(void *arg, kw_fake_call *call)
{
    want *it = arg;
    size_t key_len;
    size_t value_len;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "SET") != 0) {
        return false;
    }
    const char *key = kw_fake_call_arg(call, 1, &key_len);
    const char *value = kw_fake_call_arg(call, 2, &value_len);
    bool is_equal = kw_fake_call_argc(call) == 3 && key_len == it->key_len &&
                    value_len == it->value_len && memcmp(key, it->key, key_len) == 0 &&
                    memcmp(value, it->value, value_len) == 0;
    atomic_fetch_add(&it->seen_n, is_equal ? 1 : 100);
    kw_fake_call_replyf(call, "+OK\r\n");
    return true;
}

static void check_arrival(const char *key, size_t key_len, const char *value, size_t value_len)
{
    want it = {key, key_len, value, value_len, 0};
    for (size_t i = 0; i < 3; i++) {
        kw_fake_respond(fakes[i], compare, &it);
    }
    const char *argv[] = {"SET", key, value};
    const size_t lens[] = {3, key_len, value_len};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 30000;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, argv, lens});
    if (reply == NULL) {
        fail_msg("key of %zu, value of %zu: %s", key_len, value_len, error.text);
    }
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add_argv(batch, NULL, 3, argv, lens), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 30000), KW_OK);
    kw_batch_free(batch);
    assert_int_equal(atomic_load(&it.seen_n), 2);
    reset_fakes();
}

static void test_arguments_of_all_sizes_arrive_whole(void **state)
{
    (void)state;
    reset_fakes();
    size_t large_len = (size_t)32 << 20;
    char *large = malloc(large_len);
    assert_non_null(large);
    for (size_t i = 0; i < large_len; i++) {
        large[i] = (char)(i * 7 + i / 251);
    }
    check_arrival("", 0, "", 0);
    check_arrival("\0", 1, "\0\0", 2);
    check_arrival("{}", 2, "\r\n$3\r\n", 6);
    check_arrival(large, 500, "v", 1); /* about what needs no heap */
    check_arrival(large, 1 << 20, large, 3);
    for (size_t i = 0; i < 8; i++) {
        check_arrival("k", 1, large, 16 * 1024 - 40 + i * 8); /* about what is copied */
        check_arrival("k", 1, large, 64 * 1024 - 40 + i * 8);
    }
    check_arrival("k", 1, large, large_len);
    free(large);
}

static void test_arguments_that_no_memory_holds_are_refused(void **state)
{
    (void)state;
    reset_fakes();
    const char *argv[] = {"SET", "foo", "v", "w"};
    const size_t lens[] = {3, 3, SIZE_MAX - 10, SIZE_MAX - 10};
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command_argv(kw, &error, 4, argv, lens));
    assert_true(error.code == KW_ERR_NOMEM || error.code == KW_ERR_ARGUMENT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_not_equal(kw_batch_add_argv(batch, &error, 4, argv, lens), KW_OK);
    assert_int_equal(kw_batch_count(batch), 0);
    kw_batch_free(batch);
    assert_int_equal(received("*"), 0);
}

static void test_arguments_of_endless_time_do_not_overflow(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "GET *", ":1");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", ":2");
    const char *get[] = {"GET", "foo"};
    const char *pop[] = {"BLPOP", "foo", "99999999999"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = UINT64_MAX;
    kw_reply *reply = kw_call(kw, NULL, &options, (kw_argv){2, get, NULL});
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    reply = kw_call(kw, NULL, NULL, (kw_argv){3, pop, NULL});
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
}

static void assert_refused(const char *what, kw_err code, const kw_error *error)
{
    if (code != KW_ERR_REFUSED || error->effect != KW_EFFECT_NONE) {
        fail_msg("%s: %s: %s", what, kw_err_name(code), error->text);
    }
}

/* Every command of the table that changes or binds its connection, by every way. */
static void test_refused_commands_are_refused_by_every_way(void **state)
{
    (void)state;
    reset_fakes();
    char uri[100];
    snprintf(uri, sizeof(uri), "%s?timeout=2s", kw_fake_uri(fakes[2]));
    kw_client *single = kw_test_try_open(uri, NULL);
    kw_batch *batch = kw_batch_new(kw, NULL);
    size_t refused_n = 0;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        if ((row->flags & (KW_COMMAND_SESSION | KW_COMMAND_REFUSED)) == 0) {
            continue;
        }
        refused_n++;
        char words[KW_COMMAND_NAME_MAX + 1];
        snprintf(words, sizeof(words), "%s", row->name);
        const char *argv[] = {words, "foo", "foo", "foo"};
        char *space = strchr(words, ' ');
        if (space != NULL) {
            *space = '\0';
            argv[1] = space + 1;
        }
        for (char *c = words; *c != '\0'; c++) {
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        }
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command_argv(kw, &error, 4, argv, NULL));
        assert_refused(row->name, error.code, &error);
        assert_null(kw_command_argv(single, &error, 4, argv, NULL));
        assert_refused(row->name, error.code, &error);
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.route = KW_ROUTE_NODE;
        options.node = kw_fake_address(fakes[1]);
        assert_null(kw_call(kw, &error, &options, (kw_argv){4, argv, NULL}));
        assert_refused(row->name, error.code, &error);
        options.route = KW_ROUTE_ALL_NODES;
        assert_null(kw_call(kw, &error, &options, (kw_argv){4, argv, NULL}));
        assert_refused(row->name, error.code, &error);
        kw_err code = kw_batch_add_argv(batch, &error, 4, argv, NULL);
        assert_refused(row->name, code, &error);
    }
    assert_true(refused_n > 20);
    assert_int_equal(received("*"), 0);
    kw_batch_free(batch);
    kw_close(single);
}

/* Who gives a command that is refused reads what to use in its place. */
static void test_refused_commands_name_what_takes_their_place(void **state)
{
    (void)state;
    static const char *const texts[][3] = {
        /* command, in a call, in a session (NULL: it is taken there) */
        {"SUBSCRIBE news", "connection of your own", "connection of your own"},
        {"MONITOR", "redis-cli", "redis-cli"},
        {"HELLO 3", "options protocol, user, password", "options protocol, user, password"},
        {"AUTH secret", "by the options user and password", "by the options user and password"},
        {"SELECT 1", "option db", NULL},
        {"WAIT 1 100", "acks", NULL},
        {"WAITAOF 1 0 100", "acks_local", NULL},
        {"MULTI", "kw_session_open", NULL},
        {"QUIT", "kw_close", "kw_session_close"},
        {"READONLY", "read-preference", NULL},
    };
    reset_fakes();
    kw_session *session = kw_session_open(kw, NULL, "k", 1);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(kw, &error, texts[i][0]));
        assert_refused(texts[i][0], error.code, &error);
        if (strstr(error.text, texts[i][1]) == NULL) {
            fail_msg("%s: %s", texts[i][0], error.text);
        }
        if (texts[i][2] != NULL) {
            assert_null(kw_session_command(session, &error, texts[i][0]));
            assert_refused(texts[i][0], error.code, &error);
            if (strstr(error.text, texts[i][2]) == NULL) {
                fail_msg("%s, in a session: %s", texts[i][0], error.text);
            }
        }
    }
    kw_session_close(session);
}

static void test_routes_any_and_all_nodes_go_where_they_say(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "PING *", "+PONG");
    }
    const char *argv[] = {"PING", "x"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ANY;
    for (int i = 0; i < 40; i++) {
        kw_reply_free(kw_call(kw, NULL, &options, (kw_argv){2, argv, NULL}));
    }
    assert_in_range(kw_fake_count(fakes[0], "PING x"), 5, 35); /* they are spread */
    assert_in_range(kw_fake_count(fakes[1], "PING x"), 5, 35);
    assert_int_equal(kw_fake_count(fakes[2], "PING x"), 0);
    reset_fakes();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "PING *", "+PONG");
    }
    options.route = KW_ROUTE_ALL_NODES;
    kw_reply *reply = kw_call(kw, NULL, &options, (kw_argv){2, argv, NULL});
    assert_false(reply == NULL || kw_reply_is_error(reply));
    kw_reply_free(reply);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kw_fake_count(fakes[i], "PING x"), 1);
    }
}

/* Unknown commands. */

static void *call_module(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, "mod.many foo");
    atomic_fetch_add((atomic_uint *)arg, kw_reply_int(reply) == 1 ? 1 : 0);
    kw_reply_free(reply);
    return NULL;
}

static void test_unknown_command_is_learnt_by_many_at_once(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on(
            fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO *",
            KW_FAKE_STEPS(KW_FAKE_DELAY(20),
                          KW_FAKE_SEND("*1\r\n*6\r\n$8\r\nmod.many\r\n:-2\r\n*1\r\n+write\r\n"
                                       ":1\r\n:1\r\n:1\r\n")));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.many *", ":%zu", i);
    }
    pthread_t threads[16];
    atomic_uint good_n = 0;
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_module, &good_n), 0);
    }
    for (size_t i = 0; i < 16; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&good_n), 16);
    assert_in_range(received("COMMAND INFO *"), 1, 16);
    reset_fakes();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "mod.many *", ":1");
    atomic_store(&good_n, 0);
    call_module(&good_n);
    assert_int_equal(atomic_load(&good_n), 1);
    assert_int_equal(received("COMMAND *"), 0); /* remembered */
}

/* COMMAND is forbidden, fails, or answers nonsense: the command goes all the same, and MOVED
 * says where to. */
static void test_unknown_command_goes_where_nobody_can_tell(void **state)
{
    (void)state;
    static const char *const answers[] = {"-NOPERM no COMMAND for you",
                                          "-ERR unknown command",
                                          "*0",
                                          ":1",
                                          "*1\r\n*2\r\n:1\r\n:2",
                                          "*1\r\n*6\r\n:1\r\n:1\r\n:1\r\n:99\r\n:-99\r\n:0"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        reset_fakes();
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "COMMAND *", "%s", answers[i]);
        }
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "mod.x*", "-MOVED 12182 %s",
                         kw_fake_address(fakes[1]));
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "mod.x*", ":1");
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "mod.x%zu foo", i);
        if (reply == NULL || kw_reply_int(reply) != 1) {
            fail_msg("%s: %s", answers[i], error.text);
        }
        kw_reply_free(reply);
    }
}

static void test_unknown_command_over_slots_is_refused(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.two",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*6\r\n$7\r\nmod.two\r\n:-2\r\n*1\r\n+write\r\n"
                                              ":1\r\n:-1\r\n:1\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.far",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*6\r\n$7\r\nmod.far\r\n:-2\r\n*2\r\n+write\r\n"
                                              "+movablekeys\r\n:0\r\n:0\r\n:0\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND GETKEYS mod.far *",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n")));
    }
    static const char *const commands[] = {"mod.two foo bar", "mod.far foo bar"};
    for (size_t i = 0; i < 2; i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(kw, &error, commands[i]));
        if (error.code != KW_ERR_CROSSSLOT || error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s", commands[i], error.text);
        }
        assert_int_equal(received(commands[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_of_all_sizes_arrive_whole),
        cmocka_unit_test(test_arguments_that_no_memory_holds_are_refused),
        cmocka_unit_test(test_arguments_of_endless_time_do_not_overflow),
        cmocka_unit_test(test_refused_commands_are_refused_by_every_way),
        cmocka_unit_test(test_refused_commands_name_what_takes_their_place),
        cmocka_unit_test(test_routes_any_and_all_nodes_go_where_they_say),
        cmocka_unit_test(test_unknown_command_is_learnt_by_many_at_once),
        cmocka_unit_test(test_unknown_command_goes_where_nobody_can_tell),
        cmocka_unit_test(test_unknown_command_over_slots_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
