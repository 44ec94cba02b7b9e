/* SPDX-License-Identifier: BSD-3-Clause */
/* What keeps values on several copies from being read or written by halves. KW_TEST_FAST */
#include "live/quorum_fixture.h"

#include <keyway/session.h>

#include <sys/wait.h>
#include <unistd.h>

static void mark(const fixture *fix, kw_test_server *server)
{
    (void)fix;
    kw_test_server_ok(server, "SET %s 1", KW_QUORUM_MARKER);
}

static void test_quorum_guard_keeps_an_empty_server_out_until_it_is_repaired(void **state)
{
    fixture fix = open_with(state, "?copies=3&quorum-guard=on&timeout=2s");
    for (size_t i = 0; i < RING_SERVERS; i++) {
        mark(&fix, fix.servers->servers[i]);
    }
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    /* Two of the three lose everything: only one still knows. */
    kw_test_server_ok(copy_of(&fix, "k", 0), "FLUSHALL");
    kw_test_server_ok(copy_of(&fix, "k", 1), "FLUSHALL");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_quorum_get(fix.quorum, &error, "k", 1)); /* and not: no value */
    assert_int_equal(error.code, KW_ERR_QUORUM);
    assert_non_null(strstr(error.text, "KWEMPTY"));
    kw_quorum_request request = request_of(KW_QUORUM_ACT_REPAIR, "k", NULL);
    assert_true(is_written(&fix, &request));
    assert_false(is_written(&fix, &request));
    mark(&fix, copy_of(&fix, "k", 0));
    assert_value(&fix, "k", "value");
    mark(&fix, copy_of(&fix, "k", 1));
    assert_value(&fix, "k", "value");
    shut(&fix);
}

static void test_quorum_in_a_forked_child_is_refused_and_goes_on_in_the_parent(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    set(&fix, "k", "before");
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool is_refused = kw_quorum_get(fix.quorum, &error, "k", 1) == NULL &&
                          error.code == KW_ERR_FORKED && error.effect == KW_EFFECT_NONE;
        shut(&fix);
        _exit(is_refused ? 0 : 1);
    }
    int status = kw_test_wait_child(child);
    assert_int_equal(status, 0);
    assert_value(&fix, "k", "before");
    set(&fix, "k", "after");
    assert_value(&fix, "k", "after");
    shut(&fix);
}

static void assert_refused(const fixture *fix, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(fix->client, &error, command));
    assert_int_equal(error.code, KW_ERR_REFUSED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "copies"));
}

static void test_quorum_plain_commands_on_keys_are_refused(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    kw_error error = KW_ERROR_INIT;
    assert_refused(&fix, "SET k 1");
    assert_refused(&fix, "GET k");
    assert_refused(&fix, "MSET a 1 b 2");
    assert_refused(&fix, "MSET a 1 b");
    assert_refused(&fix, "EVAL return 1 k");
    assert_null(kw_session_open(fix.client, &error, "k", 1));
    assert_int_equal(error.code, KW_ERR_REFUSED);
    kw_test_ask_ok(fix.client, "FLUSHALL");
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = "a";
    const char *argv[] = {"SET", "k", "1"};
    kw_reply *reply = kw_call(fix.client, &error, &options, (kw_argv){3, argv, NULL});
    assert_non_null(reply);
    kw_reply_free(reply);
    options.route = KW_ROUTE_KEY;
    options.key = "k";
    options.key_len = 1;
    assert_null(kw_call(fix.client, &error, &options, (kw_argv){3, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_REFUSED);
    shut(&fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quorum_guard_keeps_an_empty_server_out_until_it_is_repaired,
                               ring_flush),
        cmocka_unit_test_setup(test_quorum_in_a_forked_child_is_refused_and_goes_on_in_the_parent,
                               ring_flush),
        cmocka_unit_test_setup(test_quorum_plain_commands_on_keys_are_refused, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
