/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts by every way of sending: NOSCRIPT is answered with the text, once, and where it was said.
 */
#include "fake/fakes.h"
#include "support/ways.h"

#include <poll.h>

/* foo is fakes[1]'s. */
#define KEY "foo"

/* What a fake has of scripts. */
typedef struct keeper {
    bool has_script;
    bool lacks_always; /* and EVAL does not help */
    int runs_n;
} keeper;

static keeper keepers[FAKES_N];
static kw_script *script;

/* Runs EVAL and EVALSHA as a server does; a run is answered by how many there were. */
static bool respond(void *arg, kw_fake_call *call)
{
    keeper *self = arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    bool is_text = strcmp(name, "EVAL") == 0 || strcmp(name, "EVAL_RO") == 0;
    if (!is_text && strcmp(name, "EVALSHA") != 0 && strcmp(name, "EVALSHA_RO") != 0) {
        return false;
    }
    self->has_script = (self->has_script || is_text) && !self->lacks_always;
    if (!self->has_script) {
        kw_fake_call_replyf(call, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
        return true;
    }
    kw_fake_call_replyf(call, ":%d\r\n", ++self->runs_n);
    return true;
}

static kw_client *begin(const char *settings)
{
    renew_fakes();
    memset(keepers, 0, sizeof(keepers));
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], respond, &keepers[i]);
    }
    kw_error error = KW_ERROR_INIT;
    script = kw_script_new(NULL, &error, KW_SCRIPT_WRITES, "return 1", 8);
    assert_non_null(script);
    return kw_test_open("redis-cluster://%s?timeout=5s%s", kw_fake_address(fakes[0]), settings);
}

static void end(kw_client *client)
{
    kw_script_free(script);
    kw_close(client);
}

typedef struct heard {
    kw_reply *reply;
    kw_error error;
    bool is_over;
} heard;

static void hear(void *arg, kw_reply *reply, const kw_error *error)
{
    heard *self = arg;
    self->reply = reply;
    if (reply == NULL) {
        self->error = *error;
    }
    self->is_over = true;
}

static kw_reply *run_async(kw_client *client, kw_error *error, kw_script_input input)
{
    heard self = {NULL, KW_ERROR_INIT, false};
    if (kw_fd(client, error) < 0 ||
        kw_script_async(client, error, (kw_callback){hear, &self}, NULL, input) != KW_OK) {
        return NULL;
    }
    struct pollfd entry = {kw_fd(client, error), POLLIN, 0};
    KW_TEST_UNTIL(self.is_over)
    {
        (void)poll(&entry, 1, 5);
        (void)kw_process(client, error);
    }
    *error = self.error;
    return self.reply;
}

/* The ways that run scripts. */
#define WAYS_N KW_TEST_ASYNC_SESSION

/* One run of the script by the way. */
static kw_reply *run_by(kw_client *client, kw_error *error, kw_test_way way)
{
    const char *argv[] = {KEY, "argument"};
    kw_script_input input = {script, 1, {2, argv, NULL}};
    kw_reply *reply = NULL;
    kw_batch *batch = NULL;
    kw_ticket *ticket = NULL;
    kw_session *session = NULL;
    switch (way) {
    case KW_TEST_CALL:
        return kw_script_call(client, error, NULL, input);
    case KW_TEST_BATCH:
        batch = kw_batch_new(client, error);
        if (batch != NULL && kw_script_add(batch, error, input) == KW_OK) {
            (void)kw_batch_run(batch, error, 0);
            reply = kw_batch_take(batch, error, 0);
        }
        kw_batch_free(batch);
        return reply;
    case KW_TEST_TICKET:
        ticket = kw_script_submit(client, error, NULL, input);
        reply = ticket != NULL ? kw_ticket_await(ticket, error) : NULL;
        kw_ticket_free(ticket);
        return reply;
    case KW_TEST_CALLBACK:
        return run_async(client, error, input);
    case KW_TEST_SESSION:
        session = kw_session_open(client, error, KEY, strlen(KEY));
        reply = session != NULL ? kw_script_in_session(session, error, input) : NULL;
        kw_session_close(session);
        return reply;
    case KW_TEST_ASYNC_SESSION: /* has no scripts, but EVAL */
        break;
    }
    return NULL;
}

static void expect_run(kw_client *client, kw_test_way way, long long number)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = run_by(client, &error, way);
    if (reply == NULL || kw_reply_int(reply) != number) {
        fail_msg("%s: %s %s", kw_test_way_name(way), error.text, kw_reply_text(reply, ""));
    }
    kw_reply_free(reply);
}

/* A batch brings the text at once to a server that is not known to have it. */
static void test_scripts_missing_are_brought_once_by_every_way(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS_N; i++) {
        kw_test_way way = (kw_test_way)i;
        kw_client *client = begin("");
        expect_run(client, way, 1);
        assert_int_equal(kw_fake_count(fakes[1], "EVAL return?1 1 foo argument"), 1);
        assert_int_equal(kw_fake_count(fakes[1], "EVALSHA *"), way == KW_TEST_BATCH ? 0 : 1);
        expect_run(client, way, 2);
        assert_int_equal(kw_fake_count(fakes[1], "EVAL *"), 1);
        keepers[1].has_script = false; /* SCRIPT FLUSH, or a restart */
        expect_run(client, way, 3);
        assert_int_equal(kw_fake_count(fakes[1], "EVAL *"), 2);
        assert_int_equal(keepers[1].runs_n, 3);
        end(client);
    }
}

static void test_scripts_that_no_text_helps_are_the_callers_to_read(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS_N; i++) {
        kw_client *client = begin("");
        kw_error error = KW_ERROR_INIT;
        keepers[1].lacks_always = true;
        kw_reply *reply = run_by(client, &error, (kw_test_way)i);
        assert_true(kw_reply_has_code(reply, "NOSCRIPT"));
        assert_int_equal(kw_reply_outcome(reply, &error), KW_OUTCOME_ERROR);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_in_range(kw_fake_count(fakes[1], "EVAL*"), 2, 5);
        kw_reply_free(reply);
        end(client);
    }
}

/* A slot on the move: the text goes to the node that was asked, behind another ASKING. */
static void test_scripts_missing_are_brought_where_they_were_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS_N; i++) {
        kw_client *client = begin("");
        keepers[1].has_script = true;
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "EVAL*", "-ASK %u %s", FOO_SLOT,
                         kw_fake_address(fakes[0]));
        expect_run(client, (kw_test_way)i, 1);
        assert_int_equal(keepers[0].runs_n, 1);
        assert_int_equal(kw_fake_count(fakes[0], "ASKING"), kw_fake_count(fakes[0], "EVAL*"));
        assert_int_equal(kw_fake_count(fakes[0], "EVAL *"), 1);
        end(client);
    }
}

/* A lost EVAL may have run: it is not sent again. */
static void test_scripts_lost_with_their_text_are_maybe(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS_N; i++) {
        kw_client *client = begin("");
        kw_error error = KW_ERROR_INIT;
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "EVAL *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
        assert_null(run_by(client, &error, (kw_test_way)i));
        expect_error(kw_test_way_name((kw_test_way)i), &error, KW_ERR_CLOSED, KW_EFFECT_MAYBE);
        assert_int_equal(kw_fake_count(fakes[1], "EVAL *"), 1);
        end(client);
    }
}

/* In a MULTI, and behind WATCH, a name that is lacked could not be sent again. */
static void test_scripts_of_held_sessions_bring_their_text(void **state)
{
    (void)state;
    static const char *const before[] = {"MULTI", "WATCH foo"};
    for (size_t i = 0; i < 2; i++) {
        kw_client *client = begin("");
        kw_error error = KW_ERROR_INIT;
        const char *argv[] = {KEY};
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "MULTI", "+OK");
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "WATCH*", "+OK");
        kw_session *session = kw_session_open(client, &error, KEY, strlen(KEY));
        kw_reply_free(kw_session_command(session, &error, before[i]));
        kw_reply_free(
            kw_script_in_session(session, &error, (kw_script_input){script, 1, {1, argv, NULL}}));
        assert_int_equal(kw_fake_count(fakes[1], "EVAL *"), 1);
        assert_int_equal(kw_fake_count(fakes[1], "EVALSHA *"), 0);
        kw_session_close(session);
        end(client);
    }
}

/* With acks WAIT follows in the same write, and to all nodes there are many answers: by the text.
 */
static void test_scripts_acked_or_for_all_nodes_bring_their_text(void **state)
{
    (void)state;
    kw_client *client = begin("");
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *argv[] = {KEY};
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "WAIT *", ":1");
    options.acks = 1;
    kw_reply *reply =
        kw_script_call(client, &error, &options, (kw_script_input){script, 1, {1, argv, NULL}});
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[1], "EVALSHA *"), 0);
    kw_call_options all = KW_CALL_OPTIONS_INIT;
    all.route = KW_ROUTE_ALL_PRIMARIES;
    reply = kw_script_call(client, &error, &all, (kw_script_input){script, 0, {0, NULL, NULL}});
    assert_non_null(reply);
    assert_false(kw_reply_is_error(reply));
    kw_reply_free(reply);
    assert_int_equal(keepers[0].runs_n, 1);
    assert_int_equal(keepers[1].runs_n, 2);
    kw_ticket *ticket =
        kw_script_submit(client, &error, &all, (kw_script_input){script, 0, {0, NULL, NULL}});
    reply = kw_ticket_await(ticket, &error);
    assert_false(reply == NULL || kw_reply_is_error(reply));
    kw_reply_free(reply);
    kw_ticket_free(ticket);
    assert_int_equal(kw_fake_count(fakes[0], "EVALSHA *"), 0);
    end(client);
}

static void test_scripts_wrong_inputs_are_named(void **state)
{
    (void)state;
    kw_client *client = begin("");
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {KEY};
    kw_script_input input = {script, 2, {1, argv, NULL}};
    assert_null(kw_script_call(client, &error, NULL, input));
    expect_error("keys_n", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "keys_n is 2"));
    input.script = NULL;
    assert_null(kw_script_submit(client, &error, NULL, input));
    assert_non_null(strstr(error.text, "script is NULL"));
    assert_null(kw_script_new(NULL, &error, KW_SCRIPT_WRITES, "", 0));
    assert_null(kw_script_new(NULL, &error, (kw_script_kind)7, "x", 1));
    assert_null(kw_script_new(NULL, &error, KW_SCRIPT_WRITES, NULL, 1));
    expect_error("text", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
    assert_null(kw_script_call(NULL, &error, NULL, input));
    assert_int_equal(kw_script_add(NULL, &error, input), KW_ERR_ARGUMENT);
    assert_null(kw_script_in_session(NULL, &error, input));
    assert_null(kw_script_sha1(NULL));
    kw_script_free(NULL);
    end(client);
}

/* One run of a script on a fresh handle, whose n-th allocation from then on fails, or all from the
 * n-th on. Says how many there are. */
static unsigned long run_without_memory(kw_test_way way, unsigned long fail_at, bool fails_on)
{
    kw_test_memory memory;
    kw_error error = KW_ERROR_INIT;
    char uri[100];
    kw_close(begin(""));
    kw_script_free(script);
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    assert_int_equal(kw_connect(client, &error), KW_OK);
    unsigned long before = kw_test_memory_calls(&memory);
    memory.fail_at = fail_at > 0 ? before + fail_at : 0;
    memory.fail_on = fails_on;
    script = kw_script_new(&memory.allocator, &error, KW_SCRIPT_WRITES, "return 1", 8);
    kw_reply *reply = script != NULL ? run_by(client, &error, way) : NULL;
    unsigned long calls = kw_test_memory_calls(&memory) - before;
    memory.fail_at = 0; /* there is memory again */
    memory.fail_on = false;
    int runs_n = keepers[1].runs_n;
    if (reply == NULL ? runs_n > (error.effect == KW_EFFECT_NONE ? 0 : 1) : runs_n != 1) {
        fail_msg("%s, allocation %lu: %d runs, %s, effect %d", kw_test_way_name(way), fail_at,
                 runs_n, error.text, (int)error.effect);
    }
    kw_reply_free(reply);
    if (script == NULL) {
        assert_int_equal(error.code, KW_ERR_NOMEM);
        script = kw_script_new(&memory.allocator, &error, KW_SCRIPT_WRITES, "return 1", 8);
    }
    expect_run(client, way, runs_n + 1);
    end(client);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return calls;
}

/* Without memory a script is run once, or not at all, and its caller knows which. */
static void test_scripts_without_memory_are_not_run_twice(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS_N; way++) {
        unsigned long calls = run_without_memory((kw_test_way)way, 0, false);
        assert_in_range(calls, 4, 300);
        for (unsigned long i = 1; i <= calls; i++) {
            (void)run_without_memory((kw_test_way)way, i, false);
            (void)run_without_memory((kw_test_way)way, i, true);
        }
    }
}

/* A fake that has functions once they are loaded. */
static bool serve_functions(void *arg, kw_fake_call *call)
{
    keeper *self = arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    if (strcmp(name, "FUNCTION") == 0) {
        if (self->lacks_always) {
            kw_fake_call_replyf(call, "-ERR Error compiling function\r\n");
        } else if (self->has_script && kw_fake_call_argc(call) == 3) {
            kw_fake_call_replyf(call, "-ERR Library 'lib' already exists\r\n");
        } else {
            self->has_script = true;
            kw_fake_call_replyf(call, "$3\r\nlib\r\n");
        }
        return true;
    }
    if (strncmp(name, "FCALL", 5) != 0) {
        return false;
    }
    if (!self->has_script) {
        kw_fake_call_replyf(call, "-ERR Function not found\r\n");
        return true;
    }
    kw_fake_call_replyf(call, ":%d\r\n", ++self->runs_n);
    return true;
}

static kw_client *begin_functions(kw_library **library)
{
    kw_client *client = begin("");
    kw_error error = KW_ERROR_INIT;
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], serve_functions, &keepers[i]);
    }
    *library = kw_library_new(NULL, &error, "#!lua name=lib", 14);
    assert_non_null(*library);
    return client;
}

static void test_functions_are_loaded_at_all_and_where_they_lack(void **state)
{
    (void)state;
    kw_library *library;
    kw_client *client = begin_functions(&library);
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {KEY, "argument"};
    kw_function_input input = {library, "f", false, 1, {2, argv, NULL}};
    assert_int_equal(kw_library_load(client, &error, library), KW_OK);
    assert_true(keepers[0].has_script && keepers[1].has_script);
    keepers[1].has_script = false; /* another node has joined */
    for (int i = 1; i <= 2; i++) {
        kw_reply *reply = kw_library_call(client, &error, NULL, input);
        assert_int_equal(kw_reply_int(reply), i);
        kw_reply_free(reply);
    }
    assert_int_equal(kw_fake_count(fakes[1], "FUNCTION LOAD #*"), 1);
    assert_int_equal(kw_fake_count(fakes[0], "FUNCTION LOAD #*"), 0);
    assert_int_equal(kw_fake_count(fakes[1], "FCALL f 1 foo argument"), 3);
    keepers[0].has_script = keepers[1].has_script = false;
    input.keys_n = 0;
    kw_reply *reply = kw_library_call(client, &error, NULL, input); /* any node: all get it */
    assert_false(reply == NULL || kw_reply_is_error(reply));
    kw_reply_free(reply);
    assert_true(keepers[0].has_script && keepers[1].has_script);
    kw_library_free(library);
    end(client);
}

static void test_functions_that_do_not_load_are_told(void **state)
{
    (void)state;
    kw_library *library;
    kw_client *client = begin_functions(&library);
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {KEY};
    kw_function_input input = {library, "f", false, 1, {1, argv, NULL}};
    keepers[1].lacks_always = true;
    kw_reply *reply = kw_library_call(client, &error, NULL, input);
    assert_true(kw_reply_is_error(reply));
    assert_non_null(strstr(kw_reply_str(reply, NULL), "compiling"));
    kw_reply_free(reply);
    assert_int_equal(kw_library_load(client, &error, library), KW_ERR_SERVER);
    assert_non_null(strstr(error.text, "compiling"));
    assert_string_equal(error.node, kw_fake_address(fakes[1]));
    input.keys_n = 2;
    assert_null(kw_library_call(client, &error, NULL, input));
    expect_error("keys_n", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
    input.function = NULL;
    assert_null(kw_library_call(client, &error, NULL, input));
    assert_null(kw_library_new(NULL, &error, "", 0));
    assert_int_equal(kw_library_load(client, &error, NULL), KW_ERR_ARGUMENT);
    kw_library_free(NULL);
    kw_library_free(library);
    end(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts_missing_are_brought_once_by_every_way),
        cmocka_unit_test(test_scripts_that_no_text_helps_are_the_callers_to_read),
        cmocka_unit_test(test_scripts_missing_are_brought_where_they_were_asked_for),
        cmocka_unit_test(test_scripts_lost_with_their_text_are_maybe),
        cmocka_unit_test(test_scripts_of_held_sessions_bring_their_text),
        cmocka_unit_test(test_scripts_acked_or_for_all_nodes_bring_their_text),
        cmocka_unit_test(test_scripts_wrong_inputs_are_named),
        cmocka_unit_test(test_scripts_without_memory_are_not_run_twice),
        cmocka_unit_test(test_functions_are_loaded_at_all_and_where_they_lack),
        cmocka_unit_test(test_functions_that_do_not_load_are_told),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
