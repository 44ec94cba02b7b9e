/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole transactions: each failure ends alike, and with the truth about what was run, by a call, a
 * batch, a ticket and a callback. */
#include "fake/loop_fakes.h"

#define KEY "foo" /* fakes[1]'s */

typedef enum way { BY_CALL, BY_BATCH, BY_TICKET, BY_CALLBACK, WAYS_N } way;

static const char *const way_names[] = {"call", "batch", "ticket", "callback"};

/* How one transaction ended. */
typedef struct ending {
    kw_reply *reply; /* or NULL, and why */
    kw_error error;
} ending;

static ending by_batch(const kw_transaction *transaction)
{
    ending end = {NULL, KW_ERROR_INIT};
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add_transaction(batch, &end.error, transaction), KW_OK);
    (void)kw_batch_run(batch, NULL, 0);
    end.reply = kw_batch_take(batch, &end.error, 0);
    kw_batch_free(batch);
    return end;
}

static ending by_ticket(kw_transaction *transaction, const kw_call_options *options)
{
    ending end = {NULL, KW_ERROR_INIT};
    kw_ticket *ticket = kw_transaction_submit(transaction, &end.error, options);
    end.reply = ticket != NULL ? kw_ticket_await(ticket, &end.error) : NULL;
    kw_ticket_free(ticket);
    return end;
}

static ending by_callback(kw_transaction *transaction, const kw_call_options *options)
{
    ending end = {NULL, KW_ERROR_INIT};
    kw_test_answer told = {0};
    assert_int_equal(kw_transaction_async(transaction, &end.error,
                                          (kw_callback){kw_test_on_reply, &told}, options),
                     KW_OK);
    assert_true(kw_test_turns(kw, &told, 1, TIMEOUT_MS + LATE_MS));
    end.reply = told.reply;
    end.error = told.error;
    return end;
}

static ending send_by(way by, kw_transaction *transaction, const kw_call_options *options)
{
    ending end = {NULL, KW_ERROR_INIT};
    switch (by) {
    case BY_BATCH:
        return by_batch(transaction);
    case BY_TICKET:
        return by_ticket(transaction, options);
    case BY_CALLBACK:
        return by_callback(transaction, options);
    case BY_CALL:
    case WAYS_N:
        break;
    }
    end.reply = kw_transaction_run(transaction, &end.error, options);
    return end;
}

static kw_transaction *two_commands(void)
{
    kw_transaction *transaction = kw_transaction_new(kw, NULL);
    assert_int_equal(kw_transaction_add(transaction, NULL, "INCR " KEY), KW_OK);
    assert_int_equal(kw_transaction_add(transaction, NULL, "SET {" KEY "}b %d", 5), KW_OK);
    assert_int_equal(kw_transaction_count(transaction), 2);
    return transaction;
}

/* A server that queues and runs; rules that were given before come first. */
static void serve(kw_fake *fake)
{
    answer(fake, "MULTI", "+OK");
    answer(fake, "INCR *", "+QUEUED");
    answer(fake, "SET *", "+QUEUED");
    answer(fake, "EXEC", "*2\r\n:7\r\n+OK");
}

#define ABORTED "-EXECABORT Transaction discarded because of previous errors."

typedef enum want {
    WANT_REPLY,   /* of both commands */
    WANT_ERROR,   /* a server's error that holds text */
    WANT_FAILURE, /* code and effect */
} want;

typedef struct row {
    const char *name;
    const char *command; /* refused with .. */
    const char *refusal; /* .. this; "%u" is fakes[2]'s port; NULL: none is */
    const char *exec;    /* EXEC's answer; NULL: as ever */
    unsigned times;
    const kw_fake_step *exec_steps; /* instead of exec */
    bool is_idempotent;
    want want;
    const char *text;
    kw_err code;
    kw_effect effect;
    unsigned execs_n; /* that servers got in all */
} row;

static const kw_fake_step closes[] = {KW_FAKE_CLOSE, KW_FAKE_END};
static const kw_fake_step stalls[] = {KW_FAKE_STALL, KW_FAKE_END};
static const kw_fake_step garbles[] = {KW_FAKE_SEND("?\r\n"), KW_FAKE_END};
static const kw_fake_step breaks_off[] = {KW_FAKE_SEND("*2\r\n:7\r\n"), KW_FAKE_RESET, KW_FAKE_END};

/* clang-format off */
static const row rows[] = {
    {"plain", NULL, NULL, NULL, 0, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 1},
    {"moved", "INCR *", "-MOVED 12182 127.0.0.1:%u", ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"second moved", "SET *", "-MOVED 12182 127.0.0.1:%u", ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"moved at the end", NULL, NULL, "-MOVED 12182 127.0.0.1:%u", KW_FAKE_ALWAYS, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"asked", "INCR *", "-ASK 12182 127.0.0.1:%u", ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"between two nodes", "SET *", "-TRYAGAIN later", ABORTED, 1, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"between two nodes at the end", NULL, NULL, "-TRYAGAIN later", 1, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"down for a moment", "INCR *", "-CLUSTERDOWN Hash slot not served", ABORTED, 1, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"loading", "INCR *", "-LOADING data", ABORTED, 1, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"demoted at the end", NULL, NULL, "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.", 1, NULL, false, WANT_REPLY, NULL, KW_OK, 0, 2},
    {"wrong command", "SET *", "-ERR wrong number of arguments", ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "EXECABORT Transaction discarded because of: ERR wrong number of arguments", KW_OK, 0, 1},
    {"full", NULL, NULL, "-EXECABORT Transaction discarded because of: OOM command not allowed", KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "because of: OOM", KW_OK, 0, 1},
    {"aborted in silence", NULL, NULL, ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "because of previous errors", KW_OK, 0, 1},
    {"readonly said by what ran", NULL, NULL, "-READONLY said by a script", KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "READONLY", KW_OK, KW_EFFECT_MAYBE, 1},
    {"no MULTI", "MULTI", "-NOPERM no permissions to run the 'multi' command", "-ERR EXEC without MULTI", KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "MULTI was refused", KW_OK, KW_EFFECT_MAYBE, 1},
    {"no MULTI while it loads", "MULTI", "-LOADING data", "-ERR EXEC without MULTI", KW_FAKE_ALWAYS, NULL, false, WANT_ERROR, "MULTI was refused", KW_OK, KW_EFFECT_MAYBE, 1},
    {"down for ever", "INCR *", "-CLUSTERDOWN Hash slot not served", ABORTED, KW_FAKE_ALWAYS, NULL, false, WANT_FAILURE, NULL, KW_ERR_CLUSTER_DOWN, KW_EFFECT_NONE, 0},
    {"silent", NULL, NULL, NULL, 0, stalls, false, WANT_FAILURE, NULL, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, 1},
    {"lost at the end", NULL, NULL, NULL, 0, closes, false, WANT_FAILURE, NULL, KW_ERR_CLOSED, KW_EFFECT_MAYBE, 1},
    {"lost in the reply", NULL, NULL, NULL, 0, breaks_off, false, WANT_FAILURE, NULL, KW_ERR_CLOSED, KW_EFFECT_MAYBE, 1},
    {"garbage", NULL, NULL, NULL, 0, garbles, false, WANT_FAILURE, NULL, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE, 1},
    {"lost once, and may run twice", NULL, NULL, NULL, 1, closes, true, WANT_REPLY, NULL, KW_OK, 0, 2},
};
/* clang-format on */

static void say(const char *pattern, unsigned times, const char *format)
{
    char text[200];
    snprintf(text, sizeof(text), strstr(format, "%u") != NULL ? format : "%s",
             strstr(format, "%u") != NULL ? "" : format);
    const char *port = strstr(format, "%u");
    if (port != NULL) {
        snprintf(text, sizeof(text), "%.*s%u", (int)(port - format), format,
                 (unsigned)kw_fake_port(fakes[2]));
    }
    kw_fake_on_reply(fakes[1], times, pattern, "%s", text);
}

static void prepare(const row *self)
{
    renew_fakes();
    if (self->refusal != NULL) {
        say(self->command, self->times, self->refusal);
    }
    if (self->exec_steps != NULL) {
        kw_fake_on(fakes[1], self->times, "EXEC", self->exec_steps);
    } else if (self->exec != NULL) {
        say("EXEC", self->times, self->exec);
    }
    serve(fakes[1]);
    serve(fakes[2]);
}

static void expect_end(const row *self, way by, const ending *end)
{
    const char *said = end->reply != NULL ? kw_reply_str(end->reply, NULL) : NULL;
    kw_error told = KW_ERROR_INIT;
    switch (self->want) {
    case WANT_REPLY:
        if (end->reply == NULL || kw_reply_count(end->reply) != 2 ||
            kw_reply_int(kw_reply_at(end->reply, 0)) != 7) {
            fail_msg("%s by %s: %s", self->name, way_names[by], end->error.text);
        }
        break;
    case WANT_ERROR:
        if (end->reply == NULL || kw_reply_outcome(end->reply, &told) != KW_OUTCOME_ERROR ||
            strstr(said, self->text) == NULL || told.effect != self->effect) {
            fail_msg("%s by %s: %s, %s", self->name, way_names[by],
                     said != NULL ? said : end->error.text, kw_effect_name(told.effect));
        }
        break;
    case WANT_FAILURE:
        if (end->reply != NULL || end->error.code != self->code ||
            end->error.effect != self->effect) {
            fail_msg("%s by %s: %s, %s: %s", self->name, way_names[by],
                     kw_err_name(end->error.code), kw_effect_name(end->error.effect),
                     end->error.text);
        }
        break;
    }
    if (self->execs_n > 0) {
        assert_int_equal(received("EXEC"), self->execs_n);
    }
}

static void test_each_failure_ends_alike_by_every_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int by = 0; by < WAYS_N; by++) {
            if (rows[i].is_idempotent && by == BY_BATCH) {
                continue; /* batches take no options */
            }
            prepare(&rows[i]);
            open_handle("&on-node-down=wait");
            kw_transaction *transaction = two_commands();
            kw_call_options options = KW_CALL_OPTIONS_INIT;
            options.idempotent = rows[i].is_idempotent;
            ending end = send_by((way)by, transaction, &options);
            expect_end(&rows[i], (way)by, &end);
            kw_reply_free(end.reply);
            kw_transaction_free(transaction);
            kw_close(kw);
            kw = NULL;
        }
    }
}

/* MULTI and all that belongs to it come one behind the other, behind one ASKING, whatever else goes
 * over the connection. */
static void test_a_redirect_to_a_node_that_is_asked_leads_the_whole(void **state)
{
    (void)state;
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", "-ASK 12182 127.0.0.1:%u",
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[1], "EXEC", ABORTED);
    serve(fakes[1]);
    serve(fakes[2]);
    open_handle("");
    kw_transaction *transaction = two_commands();
    ending end = by_callback(transaction, NULL);
    assert_int_equal(kw_reply_count(end.reply), 2);
    const char *const wanted[] = {"ASKING", "MULTI", "INCR foo", "SET {foo}b 5", "EXEC"};
    size_t at = 0;
    kw_fake_entry entry;
    for (size_t i = 0; kw_fake_log_at(fakes[2], i, &entry); i++) {
        if (at > 0 || strcmp(entry.text, wanted[0]) == 0) {
            assert_true(at < sizeof(wanted) / sizeof(wanted[0]));
            assert_string_equal(entry.text, wanted[at++]);
        }
    }
    assert_int_equal(at, sizeof(wanted) / sizeof(wanted[0]));
    kw_reply_free(end.reply);
    kw_transaction_free(transaction);
}

static void test_an_error_of_one_command_is_its_own(void **state)
{
    (void)state;
    answer(fakes[1], "EXEC", "*2\r\n-WRONGTYPE it is a list\r\n+OK");
    serve(fakes[1]);
    open_handle("");
    kw_transaction *transaction = two_commands();
    ending end = by_ticket(transaction, NULL);
    assert_false(kw_reply_is_error(end.reply));
    assert_true(kw_reply_is_error(kw_reply_at(end.reply, 0)));
    assert_string_equal(kw_reply_str(kw_reply_at(end.reply, 1), NULL), "OK");
    kw_reply_free(end.reply);
    kw_transaction_free(transaction);
}

static void test_what_belongs_nowhere_is_refused_when_it_is_added(void **state)
{
    (void)state;
    open_handle("");
    kw_error error = KW_ERROR_INIT;
    kw_transaction *transaction = two_commands();
    assert_int_equal(kw_transaction_add(transaction, &error, "INCR bar"), KW_ERR_CROSSSLOT);
    assert_int_equal(kw_transaction_add(transaction, &error, "MGET foo bar"), KW_ERR_CROSSSLOT);
    assert_int_equal(kw_transaction_add(transaction, &error, "FLUSHALL"), KW_ERR_REFUSED);
    assert_int_equal(kw_transaction_add(transaction, &error, "MULTI"), KW_ERR_REFUSED);
    assert_int_equal(kw_transaction_add(transaction, &error, "EXEC"), KW_ERR_REFUSED);
    assert_int_equal(kw_transaction_add(transaction, &error, "WATCH foo"), KW_ERR_REFUSED);
    assert_int_equal(kw_transaction_add(transaction, &error, "SUBSCRIBE a"), KW_ERR_REFUSED);
    assert_int_equal(kw_transaction_count(transaction), 2);
    kw_transaction_clear(transaction);
    assert_null(kw_transaction_run(transaction, &error, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    kw_transaction_free(transaction);
    transaction = two_commands();
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ALL_NODES;
    assert_null(kw_transaction_run(transaction, &error, &options));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options = (kw_call_options)KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    assert_null(kw_transaction_run(transaction, &error, &options));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_int_equal(received("MULTI"), 0);
    kw_transaction_free(transaction);
}

/* Half a transaction is none: without the command that could not be added the others do not run. */
static void test_without_a_command_that_was_refused_nothing_runs(void **state)
{
    (void)state;
    serve(fakes[1]);
    open_handle("");
    static const char *const wrong[] = {"INCR bar", "INCR %y", NULL};
    for (int i = 0; i < 3; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_transaction *transaction = two_commands();
        assert_int_equal(kw_transaction_add(transaction, NULL, wrong[i], 1),
                         i == 0 ? KW_ERR_CROSSSLOT : KW_ERR_ARGUMENT);
        assert_int_equal(kw_transaction_add(transaction, NULL, "INCR " KEY), KW_OK);
        assert_null(kw_transaction_run(transaction, &error, NULL));
        assert_int_equal(error.code, KW_ERR_ORDER);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_null(kw_transaction_submit(transaction, &error, NULL));
        kw_callback callback = {kw_test_on_reply, &answers[0]};
        assert_int_equal(kw_transaction_async(transaction, NULL, callback, NULL), KW_ERR_ORDER);
        kw_batch *batch = kw_batch_new(kw, NULL);
        assert_int_equal(kw_batch_add_transaction(batch, NULL, transaction), KW_ERR_ORDER);
        kw_batch_free(batch);
        assert_int_equal(received("MULTI"), i);
        kw_transaction_clear(transaction);
        assert_int_equal(kw_transaction_add(transaction, NULL, "INCR " KEY), KW_OK);
        kw_reply_free(kw_transaction_run(transaction, NULL, NULL));
        assert_int_equal(received("MULTI"), i + 1);
        kw_transaction_free(transaction);
    }
}

/* It is changed, sent again, and freed, while what was sent is under way. */
static void test_a_transaction_is_sent_again_and_freed_at_any_time(void **state)
{
    (void)state;
    serve(fakes[1]);
    open_handle("");
    kw_transaction *transaction = two_commands();
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kw_transaction_async(transaction, NULL,
                                              (kw_callback){kw_test_on_reply, &answers[i]}, NULL),
                         KW_OK);
    }
    kw_transaction_clear(transaction);
    assert_int_equal(kw_transaction_add(transaction, NULL, "SET foo other"), KW_OK);
    kw_transaction_free(transaction);
    wait_for(0, 3);
    assert_int_equal(kw_fake_count(fakes[1], "EXEC"), 3);
    assert_int_equal(kw_fake_count(fakes[1], "SET foo other"), 0);
}

/* One that was refused goes before the transaction that writes its second key. */
static void test_order_by_key_is_kept_before_and_behind_it(void **state)
{
    (void)state;
    kw_fake_on_reply(fakes[1], 1, "GETDEL *", "-TRYAGAIN later");
    answer(fakes[1], "GETDEL *", ":1");
    answer(fakes[1], "APPEND *", ":1");
    serve(fakes[1]);
    open_handle("&order=strict");
    kw_transaction *transaction = two_commands();
    give(0, "GETDEL {foo}b");
    assert_int_equal(
        kw_transaction_async(transaction, NULL, (kw_callback){kw_test_on_reply, &answers[1]}, NULL),
        KW_OK);
    give(2, "APPEND foo x");
    wait_for(0, 3);
    assert_true(answers[0].place < answers[1].place && answers[1].place < answers[2].place);
    size_t seen_n = 0;
    const char *const wanted[] = {"GETDEL {foo}b", "GETDEL {foo}b", "MULTI",       "INCR foo",
                                  "SET {foo}b 5",  "EXEC",          "APPEND foo x"};
    kw_fake_entry entry;
    for (size_t i = 0; kw_fake_log_at(fakes[1], i, &entry); i++) {
        if (seen_n > 0 || strcmp(entry.text, wanted[0]) == 0) {
            assert_string_equal(entry.text, wanted[seen_n++]);
        }
    }
    assert_int_equal(seen_n, 7);
    kw_transaction_free(transaction);
}

static void test_one_that_is_given_up_keeps_its_place_for_late_answers(void **state)
{
    (void)state;
    kw_fake_on(fakes[1], 1, "EXEC",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("*2\r\n:7\r\n+OK\r\n")));
    serve(fakes[1]);
    answer(fakes[1], "GET *", "$1\r\nx");
    open_handle("");
    kw_transaction *transaction = two_commands();
    kw_callback callback = {kw_test_on_reply, &answers[0]};
    assert_int_equal(kw_transaction_async(transaction, NULL, callback, NULL), KW_OK);
    KW_TEST_UNTIL(kw_fake_at_gates(fakes[1]) == 1)
    {
        kw_test_turn(kw, 10);
    }
    assert_int_equal(kw_cancel(kw, NULL, callback), KW_OK);
    wait_for(0, 1);
    is_failure(0, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    give(1, "GET foo");
    kw_test_turn(kw, 0);
    kw_fake_pass(fakes[1]);
    wait_for(1, 1);
    assert_string_equal(kw_reply_str(answers[1].reply, NULL), "x");
    kw_transaction_free(transaction);
}

static void test_limits_and_drain_are_those_of_one_command(void **state)
{
    (void)state;
    serve(fakes[1]);
    open_handle("&queue-max=2");
    kw_error error = KW_ERROR_INIT;
    kw_transaction *transaction = two_commands();
    kw_callback callbacks[3];
    for (size_t i = 0; i < 3; i++) {
        callbacks[i] = (kw_callback){kw_test_on_reply, &answers[i]};
    }
    assert_int_equal(kw_transaction_async(transaction, NULL, callbacks[0], NULL), KW_OK);
    assert_int_equal(kw_transaction_async(transaction, NULL, callbacks[1], NULL), KW_OK);
    assert_int_equal(kw_transaction_async(transaction, &error, callbacks[2], NULL),
                     KW_ERR_QUEUE_FULL);
    assert_int_equal(kw_drain(kw, &error, 20000), KW_OK);
    assert_int_equal(answers[0].calls_n + answers[1].calls_n, 2);
    assert_int_equal(kw_transaction_async(transaction, &error, callbacks[2], NULL),
                     KW_ERR_DRAINING);
    assert_null(kw_transaction_run(transaction, &error, NULL));
    assert_int_equal(error.code, KW_ERR_DRAINING);
    kw_transaction_free(transaction);
}

static void open_with(kw_test_memory *memory)
{
    char uri[200];
    kw_test_memory_init(memory, 0);
    kw_config *config = kw_test_config_new(&memory->allocator);
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
}

/* One that is refused at first, all of it: true where it has its reply. */
static bool try_once(way by)
{
    kw_fake_reset(fakes[1]);
    kw_fake_log_clear(fakes[1]);
    kw_fake_on_reply(fakes[1], 1, "SET *", "-TRYAGAIN later");
    kw_fake_on_reply(fakes[1], 1, "EXEC", ABORTED);
    serve(fakes[1]);
    ending end = {NULL, KW_ERROR_INIT};
    kw_transaction *transaction = kw_transaction_new(kw, &end.error);
    if (transaction != NULL && kw_transaction_add(transaction, &end.error, "INCR " KEY) == KW_OK &&
        kw_transaction_add(transaction, &end.error, "SET {" KEY "}b 5") == KW_OK) {
        end = send_by(by, transaction, NULL);
    }
    bool has_reply = end.reply != NULL;
    if (!has_reply && (end.error.code != KW_ERR_NOMEM || end.error.effect > KW_EFFECT_MAYBE)) {
        fail_msg("%s: %s", way_names[by], end.error.text);
    }
    assert_true(kw_fake_count(fakes[1], "EXEC") <= 2);
    kw_reply_free(end.reply);
    kw_transaction_free(transaction);
    return has_reply;
}

/* Each allocation fails in turn: it ends with its reply, or with KW_ERR_NOMEM. */
static void test_memory_may_fail_anywhere(void **state)
{
    (void)state;
    static const way ways[] = {BY_CALL, BY_TICKET};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        kw_test_memory memory;
        open_with(&memory);
        bool has_failed = true;
        unsigned long n = 0;
        while (has_failed) {
            unsigned long fail_at = kw_test_memory_calls(&memory) + ++n;
            memory.fail_at = fail_at;
            bool has_reply = try_once(ways[i]);
            has_failed = kw_test_memory_calls(&memory) >= fail_at;
            memory.fail_at = 0;
            assert_true(has_reply || has_failed);
        }
        assert_true(n > 5);
        kw_close(kw);
        kw = NULL;
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, begin, end),                                             \
        cmocka_unit_test_setup_teardown(test, begin_on_poll, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_failure_ends_alike_by_every_way, begin, end),
        ON_BOTH(test_a_redirect_to_a_node_that_is_asked_leads_the_whole),
        ON_BOTH(test_an_error_of_one_command_is_its_own),
        ON_BOTH(test_what_belongs_nowhere_is_refused_when_it_is_added),
        ON_BOTH(test_without_a_command_that_was_refused_nothing_runs),
        ON_BOTH(test_a_transaction_is_sent_again_and_freed_at_any_time),
        ON_BOTH(test_order_by_key_is_kept_before_and_behind_it),
        ON_BOTH(test_one_that_is_given_up_keeps_its_place_for_late_answers),
        ON_BOTH(test_limits_and_drain_are_those_of_one_command),
        cmocka_unit_test_setup_teardown(test_memory_may_fail_anywhere, begin, end),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
