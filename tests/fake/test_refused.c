/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands and uses that are refused, whatever way they come: nothing is sent, and what is wrong is
 * said. */
#include "fake/argument_fakes.h"
#include "route/command_table.h"

#include <stdatomic.h>

static void test_refused_wrong_uses_send_nothing(void **state)
{
    (void)state;
    renew_cluster();
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"GET", NULL};
    assert_null(kw_command(kw, &error, ""));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command(kw, &error, "SET a %y"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command(NULL, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command_argv(kw, &error, 0, argv, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command_argv(kw, &error, -1, argv, NULL));
    assert_null(kw_command_argv(kw, &error, 1, NULL, NULL));
    assert_null(kw_command_argv(kw, &error, 2, argv, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    static const char *const refused[] = {
        "MULTI",    "EXEC",    "WATCH a", "SUBSCRIBE c", "PSUBSCRIBE",       "MONITOR",
        "SELECT 1", "HELLO 3", "AUTH x",  "RESET",       "CLIENT REPLY OFF", "QUIT"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_null(kw_command(kw, &error, refused[i]));
        if (error.code != KW_ERR_REFUSED || error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s", refused[i], error.text);
        }
    }
    assert_null(kw_command(kw, &error, "SINTER foo bar"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    assert_non_null(strstr(error.text, "\"foo\" (slot 12182)"));
    assert_non_null(strstr(error.text, "\"bar\" (slot 5061)"));
    assert_null(kw_command(kw, &error, "EVAL script x a"));
    assert_int_equal(error.code, KW_ERR_KEYS);
    assert_null(kw_command(kw, &error, "EVAL script 99 a"));
    assert_int_equal(error.code, KW_ERR_KEYS);
    assert_int_equal(received("*"), 0);
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
    renew_cluster();
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
        snprintf(words, sizeof(words), "%s", kw_command_row_name(row));
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
        assert_refused(kw_command_row_name(row), error.code, &error);
        assert_null(kw_command_argv(single, &error, 4, argv, NULL));
        assert_refused(kw_command_row_name(row), error.code, &error);
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.route = KW_ROUTE_NODE;
        options.node = kw_fake_address(fakes[1]);
        assert_null(kw_call(kw, &error, &options, (kw_argv){4, argv, NULL}));
        assert_refused(kw_command_row_name(row), error.code, &error);
        options.route = KW_ROUTE_ALL_NODES;
        assert_null(kw_call(kw, &error, &options, (kw_argv){4, argv, NULL}));
        assert_refused(kw_command_row_name(row), error.code, &error);
        kw_err code = kw_batch_add_argv(batch, &error, 4, argv, NULL);
        assert_refused(kw_command_row_name(row), code, &error);
    }
    assert_true(refused_n > 20);
    assert_int_equal(received("*"), 0);
    kw_batch_free(batch);
    kw_close(single);
}

/* Commands that a caller might think would work, and what they are told before anything is
 * sent. */
static void test_refused_commands_send_nothing(void **state)
{
    (void)state;
    const struct {
        const char *command;
        kw_err code;
    } rows[] = {
        {"multi", KW_ERR_REFUSED},
        {"EXEC", KW_ERR_REFUSED},
        {"DISCARD", KW_ERR_REFUSED},
        {"WATCH foo", KW_ERR_REFUSED},
        {"UNWATCH", KW_ERR_REFUSED},
        {"SUBSCRIBE c", KW_ERR_REFUSED},
        {"SSUBSCRIBE c", KW_ERR_REFUSED},
        {"UNSUBSCRIBE", KW_ERR_REFUSED},
        {"MONITOR", KW_ERR_REFUSED},
        {"SELECT 1", KW_ERR_REFUSED},
        {"HELLO 3", KW_ERR_REFUSED},
        {"AUTH x", KW_ERR_REFUSED},
        {"RESET", KW_ERR_REFUSED},
        {"QUIT", KW_ERR_REFUSED},
        {"CLIENT REPLY OFF", KW_ERR_REFUSED},
        {"CLIENT TRACKING on", KW_ERR_REFUSED},
        {"SYNC", KW_ERR_REFUSED},
        {"PSYNC ? -1", KW_ERR_REFUSED},
        {"ASKING", KW_ERR_REFUSED},
        {"READONLY", KW_ERR_REFUSED},
        {"WAIT 1 0", KW_ERR_REFUSED},
        {"SINTERSTORE foo bar", KW_ERR_CROSSSLOT},
        {"RENAME foo bar", KW_ERR_CROSSSLOT},
        {"EVAL s 2 foo bar", KW_ERR_CROSSSLOT},
        {"MSET foo 1 bar", KW_ERR_ARGUMENT},
        {"MSETNX foo 1 bar", KW_ERR_ARGUMENT},
        {"JSON.MSET foo $ 1 bar $", KW_ERR_ARGUMENT},
        {"MSETEX 2 foo 1 bar", KW_ERR_ARGUMENT},
        {"MSETNX foo 1 bar 2", KW_ERR_CROSSSLOT},
        {"MSETEX 2 foo 1 bar 2 NX", KW_ERR_CROSSSLOT},
        {"EVAL s -1 foo", KW_ERR_KEYS},
        {"EVAL s 3 foo", KW_ERR_KEYS},
        {"MSET foo", KW_ERR_KEYS},
    };
    kw_client *client = open_anew("");
    kw_batch *batch = kw_batch_new(client, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(client, &error, rows[i].command);
        if (rows[i].code == KW_ERR_KEYS && reply != NULL) {
            kw_reply_free(reply); /* a server's to refuse as well */
            clear_logs();
            continue;
        }
        if (reply != NULL || error.code != rows[i].code || error.effect != KW_EFFECT_NONE ||
            error.text[0] == '\0') {
            fail_msg("%s: %s: %s", rows[i].command, kw_err_name(error.code), error.text);
        }
        assert_int_equal(kw_batch_add(batch, &error, rows[i].command), rows[i].code);
        if (received("*") > 0) {
            fail_msg("%s was sent", rows[i].command);
        }
    }
    assert_int_equal(kw_batch_count(batch), 0);
    kw_batch_free(batch);
    kw_close(client);
}

static void test_refused_split_commands_may_be_refused(void **state)
{
    (void)state;
    kw_client *client = open_anew("&cross-slot=refuse");
    static const char *const commands[] = {"MGET foo bar",   "MSET foo 1 bar 2", "DEL foo bar",
                                           "EXISTS foo bar", "TOUCH foo bar",    "UNLINK bar foo"};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(client, &error, commands[i]));
        assert_int_equal(error.code, KW_ERR_CROSSSLOT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, "12182"));
        assert_non_null(strstr(error.text, "5061"));
    }
    assert_int_equal(received("*"), 0);
    kw_fake_on_reply(fakes[1], 1, "MGET *", "*0");
    kw_reply_free(kw_test_ask(client, "MGET {foo}a {foo}b"));
    assert_int_equal(received("MGET {foo}a {foo}b"), 1);
    kw_close(client);
}

/* A last key that lacks its value is told as that, whoever has the keys. */
static void test_refused_words_tell_of_a_value_that_lacks(void **state)
{
    (void)state;
    char ring[200];
    snprintf(ring, sizeof(ring), "redis-ring://a=%s,b=%s?timeout=5s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[1]));
    kw_client *clients[] = {open_anew(""), kw_test_open("%s", ring)};
    for (size_t i = 0; i < 2; i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(
            kw_command(clients[i], &error, "MSET foo 1 bar 2 k1 3 k2 4 k3 5 k4 6 k5 7 k6 8 f"));
        expect_error("MSET", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
        assert_non_null(
            strstr(error.text, "wrong number of arguments for MSET: its last key, \"f\""));
        /* A condition of all its keys: no one of their owners can see to it. */
        assert_null(kw_command(clients[i], &error,
                               "MSETEX 8 foo 1 bar 2 k1 3 k2 4 k3 5 k4 6 k5 7 k6 8 NX"));
        expect_error("MSETEX", &error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE);
        kw_close(clients[i]);
    }
    assert_int_equal(received("MSET*"), 0);
}

/* Who gives a command that is refused reads what to use in its place. */
static void test_refused_commands_name_what_takes_their_place(void **state)
{
    (void)state;
    static const char *const texts[][3] = {
        /* command, in a call, in a session (NULL: it is taken there) */
        {"SUBSCRIBE news", "kw_subscriber_open", "kw_subscriber_open"},
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
    renew_cluster();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_wrong_uses_send_nothing),
        cmocka_unit_test(test_refused_commands_are_refused_by_every_way),
        cmocka_unit_test(test_refused_words_tell_of_a_value_that_lacks),
        cmocka_unit_test(test_refused_commands_name_what_takes_their_place),
        cmocka_unit_test(test_refused_commands_send_nothing),
        cmocka_unit_test(test_refused_split_commands_may_be_refused),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
