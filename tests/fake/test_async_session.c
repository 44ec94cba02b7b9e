/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions whose commands come with callbacks, against scripted servers: one connection from
 * callback to callback, one command at a time, and what becomes of those that were given ahead.
 * What is lost at which moment is told by test_session.c, of both kinds alike. */
#include "fake/loop_fakes.h"

#include <sys/wait.h>
#include <unistd.h>

static kw_async_session *session;

static void open_on(const char *options)
{
    kw = kw_test_open("redis-cluster://%s?%s", kw_fake_address(fakes[0]), options);
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
    kw_error error = KW_ERROR_INIT;
    session = kw_async_session_open(kw, &error, "foo", 3);
    if (session == NULL) {
        fail_msg("%s", error.text);
    }
}

/* Its deadlines come soon. */
static void open_session(void)
{
    open_on("timeout=300ms");
}

/* No command ends by its deadline. */
static void open_patient(void)
{
    open_on("timeout=20s");
}

static int end_session(void **state)
{
    kw_async_session_close(session);
    session = NULL;
    return end(state);
}

static kw_callback callback_of(size_t at)
{
    return (kw_callback){kw_test_on_reply, &answers[at]};
}

/* Gives the session a command. */
static void tell(size_t at, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_async_session_command(session, &error, callback_of(at), command) != KW_OK) {
        fail_msg("%s: %s", command, error.text);
    }
}

static void is_refused(kw_err code, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_async_session_command(session, &error, callback_of(0), command), code);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(answers[0].calls_n, 0);
}

static void is_text(size_t at, const char *text)
{
    const char *got = kw_reply_text(answers[at].reply, answers[at].error.text);
    assert_int_equal(answers[at].calls_n, 1);
    assert_non_null(answers[at].reply);
    if (strncmp(got, text, strlen(text)) != 0) {
        fail_msg("command %zu: \"%s\", not \"%s\"", at, got, text);
    }
}

static void answer_all(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "MULTI", "+OK");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "WATCH *", "+OK");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "UNWATCH", "+OK");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "SET *", "+QUEUED");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "EXEC", "*1\r\n+OK");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\n%zu", i);
    }
}

/* All of the second fake's log from there on that match came on one connection. */
static unsigned connection_of(const char *pattern)
{
    unsigned found = 0;
    for (size_t i = 0; i < kw_fake_log_count(fakes[1]); i++) {
        kw_fake_entry entry;
        kw_fake_log_at(fakes[1], i, &entry);
        if (strncmp(entry.text, pattern, strlen(pattern)) == 0) {
            found = entry.connection;
        }
    }
    return found;
}

/* WATCH and GET first, the rest in the callback of GET: a session that outlives a callback, and is
 * closed in the last one. */
typedef struct increment {
    unsigned read_n;
    unsigned done_n;
} increment;

static void on_executed(void *arg, kw_reply *reply, const kw_error *error)
{
    increment *self = arg;
    assert_null(error);
    self->done_n++;
    kw_reply_free(reply);
    kw_async_session_close(session);
    session = NULL;
}

static void on_value(void *arg, kw_reply *reply, const kw_error *error)
{
    increment *self = arg;
    assert_null(error);
    self->read_n++;
    kw_reply_free(reply);
    tell(1, "MULTI");
    tell(2, "SET foo 2");
    kw_callback callback = {on_executed, self};
    assert_int_equal(kw_async_session_command(session, NULL, callback, "EXEC"), KW_OK);
}

static void test_async_session_outlives_a_callback(void **state)
{
    (void)state;
    open_session();
    answer_all();
    increment self = {0, 0};
    kw_callback callback = {on_value, &self};
    tell(0, "WATCH foo");
    assert_int_equal(kw_async_session_command(session, NULL, callback, "GET foo"), KW_OK);
    KW_TEST_UNTIL(self.done_n == 1)
    {
        kw_test_turn(kw, 10);
    }
    assert_int_equal(self.read_n, 1);
    is_text(2, "QUEUED");
    assert_int_equal(connection_of("WATCH"), connection_of("EXEC"));
    assert_int_equal(connection_of("WATCH"), connection_of("SET"));
    kw_test_turns_for(kw, 5);
    assert_int_equal(kw_test_stats(kw).disconnects, 0); /* it was clean: back to the pool */
    assert_int_equal(kw_drain(kw, NULL, 1000), KW_OK);
}

/* The next command leaves when the one before it is answered; other commands do not wait. */
static void test_async_session_runs_one_command_at_a_time(void **state)
{
    (void)state;
    open_patient();
    kw_fake_on(fakes[1], 1, "GET foo1", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("$1\r\n1\r\n")));
    answer_all();
    tell(0, "GET foo1{foo}");
    tell(1, "SET foo2{foo} v");
    tell(2, "GET foo3{foo}");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":7");
    give(3, "INCR bar");
    wait_for(3, 1);
    is_number(3, 7);
    wait_for(0, 3);
    assert_true(answers[0].place < answers[1].place && answers[1].place < answers[2].place);
    is_text(1, "QUEUED");
    assert_int_equal(connection_of("GET foo1"), connection_of("GET foo3"));
    kw_fake_pass(fakes[1]);
}

/* A MULTI or WATCH that is refused, or any command that is lost: what was given behind it is not
 * sent, and what is given later is. */
static void test_async_session_given_ahead_of_a_failure_is_not_sent(void **state)
{
    (void)state;
    open_session();
    kw_fake_on_reply(fakes[1], 1, "MULTI", "%s", "-ERR no transactions\ntoday");
    answer_all();
    tell(0, "MULTI");
    tell(1, "SET foo 1");
    tell(2, "EXEC");
    wait_for(0, 3);
    is_text(0, "ERR no transactions\n");
    is_failure(1, KW_ERR_ORDER, KW_EFFECT_NONE);
    is_failure(2, KW_ERR_ORDER, KW_EFFECT_NONE);
    assert_non_null(strstr(answers[2].error.text, ": given behind a command of the session that "
                                                  "failed: MULTI: ERR no transactions\\x0atoday"));
    assert_int_equal(kw_fake_count(fakes[1], "SET *") + kw_fake_count(fakes[1], "EXEC"), 0);
    tell(3, "MULTI");
    tell(4, "SET foo 1");
    tell(5, "EXEC");
    wait_for(3, 3);
    is_text(4, "QUEUED");
    assert_non_null(answers[5].reply);
}

/* The deadlines of a command and of a WATCH come in one turn: when the callback of the first is
 * called, WATCH has failed, and its own callback was not called yet. */
static void give_transaction(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_test_on_reply(arg, reply, error);
    assert_int_equal(answers[0].calls_n, 0);
    kw_fake_pass(fakes[1]);
    tell(1, "MULTI");
    tell(2, "SET foo 1");
    tell(3, "EXEC");
}

static void test_async_session_given_before_a_failure_is_told_is_not_sent(void **state)
{
    (void)state;
    open_session();
    need_map(kw);
    kw_fake_on_accept(fakes[1], 1, KW_FAKE_STEPS(KW_FAKE_GATE));
    kw_fake_on(fakes[0], 1, "INCR bar", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer_all();
    kw_callback callback = {give_transaction, &answers[10]};
    assert_int_equal(kw_command_async(kw, NULL, callback, "INCR bar"), KW_OK);
    tell(0, "WATCH foo");
    KW_TEST_UNTIL(kw_fake_count(fakes[0], "INCR bar") > 0)
    {
        kw_test_turn(kw, 10);
    }
    kw_test_sleep_ms(TIMEOUT_MS + 10); /* nobody processes meanwhile */
    wait_for(0, 4);
    is_failure(0, KW_ERR_HANDSHAKE, KW_EFFECT_NONE);
    for (size_t i = 1; i < 4; i++) {
        is_failure(i, KW_ERR_ORDER, KW_EFFECT_NONE);
    }
    assert_int_equal(kw_fake_count(fakes[1], "MULTI") + kw_fake_count(fakes[1], "SET *"), 0);
    tell(4, "SET foo 1"); /* by who knows */
    wait_for(4, 1);
    is_text(4, "QUEUED");
}

/* A MULTI for which there was no room: what it was to queue does not run once there is. */
static void test_async_session_behind_a_multi_without_room_nothing_runs(void **state)
{
    (void)state;
    open_on("timeout=20s&queue-max=1");
    kw_fake_on(fakes[1], 1, "GET *", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("$1\r\n1\r\n")));
    answer_all();
    tell(1, "GET foo");
    is_refused(KW_ERR_QUEUE_FULL, "MULTI");
    kw_fake_pass(fakes[1]);
    wait_for(1, 1);
    is_refused(KW_ERR_ORDER, "SET foo 1");
    is_refused(KW_ERR_ORDER, "EXEC");
    kw_callback nothing = {NULL, NULL};
    assert_int_equal(kw_async_session_command(session, NULL, nothing, "MULTI"), KW_ERR_ARGUMENT);
    is_refused(KW_ERR_ORDER, "SET foo 1");
    is_refused(KW_ERR_ORDER, "EXEC");
    tell(2, "SET foo 1");
    wait_for(2, 1);
    is_text(2, "QUEUED");
    assert_int_equal(kw_fake_count(fakes[1], "EXEC"), 0);
}

static void test_async_session_broken_ends_what_is_left(void **state)
{
    (void)state;
    open_session();
    answer_all();
    kw_fake_on(fakes[1], 1, "DEL *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    tell(0, "MULTI");
    tell(1, "DEL foo");
    tell(2, "SET foo 1");
    tell(3, "EXEC");
    wait_for(0, 4);
    is_text(0, "OK");
    is_failure(1, KW_ERR_CLOSED, KW_EFFECT_NONE);
    is_failure(2, KW_ERR_CLOSED, KW_EFFECT_NONE);
    is_failure(3, KW_ERR_CLOSED, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(fakes[1], "EXEC"), 0);
}

/* A slot that has moved: a clean session goes with it, and gives its connection back; one that
 * watches hands the redirect to its caller, whose EXEC the server aborts. */
static void test_async_session_moves_while_it_is_clean(void **state)
{
    (void)state;
    open_session();
    kw_fake_on_reply(fakes[1], 1, "WATCH *", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[0]));
    answer_all();
    tell(0, "GET foo");
    wait_for(0, 1);
    is_text(0, "1");
    tell(1, "WATCH foo");
    tell(2, "GET foo");
    wait_for(1, 2);
    is_text(1, "OK");
    is_text(2, "0");
    assert_int_equal(kw_fake_count(fakes[0], "WATCH foo"), 1);
    kw_fake_on_reply(fakes[0], 1, "STRLEN *", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[1]));
    tell(3, "STRLEN foo");
    wait_for(3, 1);
    is_text(3, "MOVED");
    assert_int_equal(kw_fake_count(fakes[1], "STRLEN *"), 0);
    kw_test_turns_for(kw, 5);
    assert_int_equal(kw_test_stats(kw).disconnects, 0);
}

/* One key has gone ahead: it is read there, and not watched. */
static void test_async_session_asks_while_it_is_clean(void **state)
{
    (void)state;
    open_session();
    kw_fake_on_reply(fakes[1], 1, "GET foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[0]));
    kw_fake_on_reply(fakes[1], 1, "WATCH foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[0]));
    answer_all();
    tell(0, "GET foo");
    wait_for(0, 1);
    is_text(0, "0");
    assert_int_equal(kw_fake_count(fakes[0], "ASKING"), 1);
    tell(1, "WATCH foo");
    wait_for(1, 1);
    is_text(1, "ASK");
    tell(2, "GET foo");
    wait_for(2, 1);
    is_text(2, "1");
    assert_int_equal(kw_fake_count(fakes[0], "ASKING"), 1);
}

static void cancel(size_t at)
{
    assert_int_equal(kw_cancel(kw, NULL, callback_of(at)), KW_OK);
}

static void test_async_session_cancels_by_where_the_command_is(void **state)
{
    (void)state;
    open_patient();
    answer_all();
    kw_fake_on(fakes[1], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_STALL));
    tell(0, "GET foo");
    cancel(0); /* before anything was sent */
    wait_for(0, 1);
    is_failure(0, KW_ERR_CANCELLED, KW_EFFECT_NONE);
    tell(1, "INCR foo");
    tell(2, "SET foo 1");
    tell(3, "GET foo");
    KW_TEST_UNTIL(kw_fake_count(fakes[1], "INCR *") == 1)
    {
        kw_test_turn(kw, 10);
    }
    cancel(2); /* behind another */
    wait_for(2, 1);
    is_failure(2, KW_ERR_CANCELLED, KW_EFFECT_NONE);
    assert_int_equal(answers[1].calls_n, 0);
    cancel(1); /* on its way: the connection goes with it */
    wait_for(1, 3);
    is_failure(1, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    is_failure(3, KW_ERR_CLOSED, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(fakes[1], "SET *"), 0);
    tell(4, "GET foo");
    wait_for(4, 1);
    is_failure(4, KW_ERR_CLOSED, KW_EFFECT_NONE);
}

static void test_async_session_deadlines_tell_the_right_effect(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *command;
        kw_effect effect;
    } rows[] = {{NULL, "SET foo 1", KW_EFFECT_MAYBE},
                {"MULTI", "SET foo 1", KW_EFFECT_NONE},
                {"WATCH foo", "GET foo", KW_EFFECT_MAYBE},
                {"MULTI", "EXEC", KW_EFFECT_MAYBE},
                {NULL, "WATCH foo", KW_EFFECT_NONE}};
    open_session();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_async_session_close(session);
        renew_fakes();
        kw_fake_on(fakes[1], 1, rows[i].command, KW_FAKE_STEPS(KW_FAKE_STALL));
        answer_all();
        session = kw_async_session_open(kw, NULL, "foo", 3);
        for (size_t k = 0; k < 4; k++) {
            kw_test_answer_clear(&answers[k]);
        }
        if (rows[i].before != NULL) {
            tell(0, rows[i].before);
            wait_for(0, 1);
            is_text(0, "OK");
        }
        tell(1, rows[i].command);
        tell(2, "GET foo");
        wait_for(1, 2);
        is_failure(1, KW_ERR_TIMEOUT, rows[i].effect);
        assert_null(answers[2].reply);
        tell(3, "GET foo");
        wait_for(3, 1);
        is_failure(3, KW_ERR_CLOSED, KW_EFFECT_NONE);
    }
}

/* What is open when the handle ends, or is to end. */
static void test_async_session_drain_waits_for_its_close(void **state)
{
    (void)state;
    open_patient();
    answer_all();
    tell(0, "WATCH foo");
    assert_int_equal(kw_drain(kw, NULL, 50), KW_ERR_TIMEOUT);
    wait_for(0, 1);
    is_text(0, "OK");
    tell(1, "GET foo"); /* what was begun goes on */
    kw_async_session_close(session);
    session = NULL;
    kw_error error = KW_ERROR_INIT;
    if (kw_drain(kw, &error, 5000) != KW_OK) {
        fail_msg("%s", error.text);
    }
    is_text(1, "1");
    assert_null(kw_async_session_open(kw, &error, "foo", 3));
    assert_int_equal(error.code, KW_ERR_DRAINING);
}

static void test_async_session_handle_closed_before_it(void **state)
{
    (void)state;
    open_patient();
    answer_all();
    tell(0, "WATCH foo");
    wait_for(0, 1);
    kw_fake_on(fakes[1], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_STALL));
    tell(1, "INCR foo");
    tell(2, "GET foo");
    kw_test_turn(kw, 10);
    kw_close(kw);
    kw = NULL;
    assert_int_equal(answers[1].error.code, KW_ERR_CANCELLED);
    assert_int_equal(answers[2].error.code, KW_ERR_CANCELLED);
    assert_int_equal(answers[2].error.effect, KW_EFFECT_NONE);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_async_session_command(session, &error, callback_of(3), "GET foo"),
                     KW_ERR_CANCELLED);
}

/* A callback that closes the handle, and one that closes its session in kw_close. */
static void close_handle(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_reply_free(reply);
    kw_close(kw);
}

static void close_session(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    assert_null(reply);
    assert_int_equal(error->code, KW_ERR_CANCELLED);
    kw_async_session_close(session);
    session = NULL;
}

static void test_async_session_closed_in_callbacks(void **state)
{
    (void)state;
    open_patient();
    answer_all();
    kw_callback last = {close_session, NULL};
    kw_callback first = {close_handle, NULL};
    assert_int_equal(kw_async_session_command(session, NULL, first, "GET foo"), KW_OK);
    assert_int_equal(kw_async_session_command(session, NULL, last, "GET foo"), KW_OK);
    kw_err code = KW_OK;
    KW_TEST_UNTIL(code != KW_OK)
    {
        code = kw_test_turn(kw, 10);
    }
    assert_int_equal(code, KW_ERR_CANCELLED);
    kw = NULL;
    assert_null(session);
}

static void test_async_session_takes_one_of_the_pool(void **state)
{
    (void)state;
    open_on("timeout=300ms&pool-max=1");
    answer_all();
    tell(0, "WATCH foo");
    wait_for(0, 1);
    kw_async_session *second = kw_async_session_open(kw, NULL, "foo", 3);
    assert_int_equal(kw_async_session_command(second, NULL, callback_of(1), "GET foo"), KW_OK);
    wait_for(1, 1);
    is_failure(1, KW_ERR_POOL_FULL, KW_EFFECT_NONE);
    assert_int_equal(kw_async_session_command(second, NULL, callback_of(2), "GET foo"), KW_OK);
    kw_async_session_close(session); /* which lets the other in */
    session = second;
    wait_for(2, 1);
    is_text(2, "1");
}

/* A loop that stands still has dials under way, as many as a node has at once. */
static void test_async_session_dials_left_alone_keep_no_caller(void **state)
{
    (void)state;
    open_on("timeout=2s");
    answer_all();
    tell(0, "GET foo"); /* the map is known now */
    wait_for(0, 1);
    kw_async_session *others[24];
    for (size_t i = 0; i < 24; i++) {
        others[i] = kw_async_session_open(kw, NULL, "foo", 3);
        assert_int_equal(kw_async_session_command(others[i], NULL, callback_of(3), "GET foo"),
                         KW_OK);
    }
    assert_int_equal(kw_process(kw, NULL), KW_OK); /* which is the last for now */
    kw_session *waiting[3];
    for (size_t i = 0; i < 3; i++) {
        kw_error error = KW_ERROR_INIT;
        waiting[i] = kw_session_open(kw, &error, "foo", 3);
        assert_string_equal(error.text, "");
        assert_non_null(waiting[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        kw_session_close(waiting[i]);
    }
    for (size_t i = 0; i < 24; i++) {
        kw_async_session_close(others[i]);
    }
}

static void test_async_session_refuses_before_anything_is_sent(void **state)
{
    (void)state;
    open_session();
    is_refused(KW_ERR_CROSSSLOT, "GET bar");
    is_refused(KW_ERR_REFUSED, "SUBSCRIBE x");
    is_refused(KW_ERR_REFUSED, "QUIT");
    is_refused(KW_ERR_KEYS, "GET");
    kw_error error = KW_ERROR_INIT;
    kw_callback none = {NULL, NULL};
    assert_int_equal(kw_async_session_command(session, &error, none, "GET foo"), KW_ERR_ARGUMENT);
    assert_int_equal(kw_async_session_command(NULL, &error, callback_of(0), "GET foo"),
                     KW_ERR_ARGUMENT);
    assert_null(kw_async_session_open(NULL, &error, "k", 1));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    kw_async_session_close(NULL);
    assert_int_equal(kw_fake_log_count(fakes[1]), 0);
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "NEWCOMMAND *", "+new");
    const char *argv[] = {"NEWCOMMAND", "foo"};
    kw_argv command = {2, argv, NULL};
    assert_int_equal(kw_async_session_command_argv(session, &error, callback_of(1), command),
                     KW_OK);
    wait_for(1, 1);
    is_text(1, "new");
}

static void test_async_session_stays_with_the_parent_after_fork(void **state)
{
    (void)state;
    open_patient();
    answer_all();
    tell(0, "MULTI");
    wait_for(0, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_async_session_command(session, &error, callback_of(1), "GET foo");
        kw_async_session_close(session);
        kw_close(kw);
        _exit(code == KW_ERR_FORKED ? 0 : 1);
    }
    assert_int_equal(kw_test_wait_child(child), 0);
    tell(2, "SET foo 1");
    tell(3, "EXEC");
    wait_for(2, 2);
    is_text(2, "QUEUED");
    assert_non_null(answers[3].reply);
    assert_int_equal(connection_of("MULTI"), connection_of("EXEC"));
}

/* One pass; true where an allocation failed. */
static bool run_without_memory(kw_test_memory *memory, unsigned long fail_at)
{
    renew_fakes();
    answer_all();
    kw_test_memory_init(memory, 0);
    kw_config *config = kw_test_config_new(&memory->allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_fake_uri(fakes[1])), KW_OK);
    kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_true(kw_fd(kw, NULL) >= 0);
    memory->fail_at = fail_at > 0 ? kw_test_memory_calls(memory) + fail_at : 0;
    static const char *const commands[] = {"WATCH foo", "GET foo", "MULTI", "SET foo 1", "EXEC"};
    bool is_good = true;
    session = kw_async_session_open(kw, NULL, "foo", 3);
    for (size_t i = 0; session != NULL && i < 5; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_test_answer_clear(&answers[i]);
        kw_err code = kw_async_session_command(session, &error, callback_of(i), commands[i]);
        if (code == KW_OK) {
            assert_true(kw_test_turns(kw, &answers[i], 1, 10000));
            code = answers[i].reply != NULL ? KW_OK : answers[i].error.code;
        }
        /* ORDER: EXEC, where the SET could not be given; both, where the MULTI could not. */
        assert_true(code == KW_OK || code == KW_ERR_NOMEM || code == KW_ERR_CLOSED ||
                    (code == KW_ERR_ORDER && i >= 3));
        is_good = is_good && code == KW_OK;
    }
    is_good = is_good && session != NULL;
    kw_async_session_close(session);
    session = NULL;
    kw_test_turns_for(kw, 1);
    bool has_failed = fail_at > 0 && kw_test_memory_calls(memory) >= memory->fail_at;
    assert_true(is_good || has_failed);
    memory->fail_at = 0;
    kw_close(kw);
    kw = NULL;
    for (size_t i = 0; i < 5; i++) {
        kw_test_answer_clear(&answers[i]);
    }
    assert_int_equal(kw_test_memory_live(memory), 0);
    return has_failed;
}

static void test_async_session_without_memory_leaks_nothing(void **state)
{
    (void)state;
    kw_test_memory memory;
    assert_false(run_without_memory(&memory, 0));
    unsigned long failed_n = 0;
    while (run_without_memory(&memory, failed_n + 1)) {
        failed_n++;
        assert_in_range(failed_n, 1, 200);
    }
    assert_in_range(failed_n, 5, 200);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, begin, end_session),                                     \
    {                                                                                              \
#name " with poll", name, begin_on_poll, end_session, NULL                                 \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_async_session_outlives_a_callback),
        CASE(test_async_session_runs_one_command_at_a_time),
        CASE(test_async_session_given_ahead_of_a_failure_is_not_sent),
        CASE(test_async_session_given_before_a_failure_is_told_is_not_sent),
        CASE(test_async_session_behind_a_multi_without_room_nothing_runs),
        CASE(test_async_session_broken_ends_what_is_left),
        CASE(test_async_session_moves_while_it_is_clean),
        CASE(test_async_session_asks_while_it_is_clean),
        CASE(test_async_session_cancels_by_where_the_command_is),
        CASE(test_async_session_deadlines_tell_the_right_effect),
        CASE(test_async_session_drain_waits_for_its_close),
        CASE(test_async_session_handle_closed_before_it),
        CASE(test_async_session_closed_in_callbacks),
        CASE(test_async_session_takes_one_of_the_pool),
        CASE(test_async_session_dials_left_alone_keep_no_caller),
        CASE(test_async_session_refuses_before_anything_is_sent),
        CASE(test_async_session_stays_with_the_parent_after_fork),
        CASE(test_async_session_without_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
