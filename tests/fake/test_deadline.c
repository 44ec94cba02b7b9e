/* SPDX-License-Identifier: BSD-3-Clause */
/* Whatever a server does not do, a call ends at its deadline: not before where waiting may
 * still help, and not later than 50 ms after it. */
#include "fake/fakes.h"

#include "api/client.h"
#include "drive/blocking_wait.h"
#include "drive/plan_lookup.h"

#define TIMEOUT_MS 120

/* What is promised, and what a machine that is busy elsewhere may add to one of the tries. */
#define LATEST_MS (50 * KW_TEST_SLOWNESS)

#define BUSY_MS 1500
#define TRIES   12

static kw_client *open_handle(const char *scheme, const char *options)
{
    return kw_test_open("%s://%s?%s", scheme, kw_fake_address(fakes[0]), options);
}

/* A call that nothing but its deadline can end. */
typedef kw_err (*call_fn)(kw_client *kw, kw_error *error);

typedef struct wait_row {
    const char *name;
    const char *scheme;
    const char *options;
    const char *pattern; /* what the fakes answer by steps */
    const kw_fake_step *steps;
    call_fn call;
    kw_err code;
    kw_effect effect;
} wait_row;

static kw_err code_of(kw_reply *reply, const kw_error *error)
{
    kw_err code = reply != NULL ? KW_OK : error->code;
    kw_reply_free(reply);
    return code;
}

static kw_err incr(kw_client *kw, kw_error *error)
{
    return code_of(kw_command(kw, error, "INCR foo"), error);
}

static kw_err get(kw_client *kw, kw_error *error)
{
    return code_of(kw_command(kw, error, "GET foo"), error);
}

static kw_err mget(kw_client *kw, kw_error *error)
{
    return code_of(kw_command(kw, error, "MGET foo bar"), error);
}

static kw_call_options briefly(void)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = TIMEOUT_MS;
    return options;
}

static char large[8 << 20];
static const char *large_set[] = {"SET", "foo", large};
static const size_t large_lens[] = {3, 3, sizeof(large)};

static kw_err set_large(kw_client *kw, kw_error *error)
{
    kw_call_options options = briefly();
    return code_of(kw_call(kw, error, &options, (kw_argv){3, large_set, large_lens}), error);
}

static kw_err set_large_in_a_session(kw_session *session, kw_error *error)
{
    kw_call_options options = briefly();
    kw_argv command = {3, large_set, large_lens};
    return code_of(kw_session_call(session, error, &options, command), error);
}

/* Its text is of what was not sent, and of no answer to it. */
static kw_err set_large_in_a_batch(kw_client *kw, kw_error *error)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add_argv(batch, NULL, 3, large_set, large_lens), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
    (void)kw_batch_run(batch, error, TIMEOUT_MS);
    assert_null(kw_batch_reply(batch, error, 1));
    kw_err code = error->code;
    assert_true(code == KW_ERR_TIMEOUT || strstr(error->text, "no answer") == NULL);
    kw_batch_free(batch);
    return code;
}

static kw_err call_briefly(kw_client *kw, kw_error *error)
{
    const char *argv[] = {"INCR", "foo"};
    kw_call_options options = briefly();
    return code_of(kw_call(kw, error, &options, (kw_argv){2, argv, NULL}), error);
}

static kw_err block_briefly(kw_client *kw, kw_error *error)
{
    const char *argv[] = {"BLPOP", "foo", "0"};
    kw_call_options options = briefly();
    return code_of(kw_call(kw, error, &options, (kw_argv){3, argv, NULL}), error);
}

static kw_err run_batch(kw_client *kw, kw_error *error)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR bar"), KW_OK);
    kw_err code = kw_batch_run(batch, error, 0);
    kw_batch_free(batch);
    return code;
}

static kw_err connect_handle(kw_client *kw, kw_error *error)
{
    return kw_connect(kw, error);
}

/* A deadline so near may come in another step than the row's: before a greeting or a map is there,
 * or in the middle of a try. That is looked at again. */
static bool ends_elsewhere(kw_err code, const kw_error *error)
{
    static const kw_err codes[] = {KW_ERR_CONNECT, KW_ERR_HANDSHAKE, KW_ERR_TOPOLOGY,
                                   KW_ERR_TIMEOUT, KW_ERR_QUEUE_TIMEOUT};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (code == codes[i]) {
            return error->effect == (code == KW_ERR_TIMEOUT ? KW_EFFECT_MAYBE : KW_EFFECT_NONE);
        }
    }
    return false;
}

/* How long the call took, and whether it ended as the row says; checks everything else. */
static uint64_t measure(const wait_row *row, bool *is_as_told)
{
    renew_fakes();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, row->pattern, row->steps);
    }
    kw_client *kw = open_handle(row->scheme, row->options);
    kw_error error = KW_ERROR_INIT;
    if (row->call == set_large ||
        row->call == set_large_in_a_batch) { /* greeted, and nobody reads any more */
        need_map(kw);
    }
    uint64_t start_ms = kw_test_now_ms();
    kw_err code = row->call(kw, &error);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    *is_as_told = code == row->code && error.effect == row->effect;
    if (!*is_as_told || error.text[0] == '\0') {
        print_message("%s: %s, %s: %s\n", row->name, kw_err_name(code),
                      kw_effect_name(error.effect), error.text);
        assert_true(error.text[0] != '\0' && ends_elsewhere(code, &error));
    }
    assert_in_range(error.elapsed_ms, 0, elapsed_ms + 1);
    if (code == KW_ERR_QUEUE_TIMEOUT) { /* a part of it may have been */
        assert_non_null(strstr(error.text, "before all of the command was sent"));
    }
    kw_close(kw);
    return elapsed_ms;
}

static void test_deadline_ends_every_wait(void **state)
{
    (void)state;
#define BRIEF "timeout=120ms"
#define STALL KW_FAKE_STEPS(KW_FAKE_STALL)
    const wait_row rows[] = {
        {"no answer", "redis", BRIEF, "INCR *", STALL, incr, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE},
        {"no answer, own deadline", "redis", "timeout=5s", "INCR *", STALL, call_briefly,
         KW_ERR_TIMEOUT, KW_EFFECT_MAYBE},
        {"no answer, in a cluster", "redis-cluster", BRIEF, "INCR *", STALL, incr, KW_ERR_TIMEOUT,
         KW_EFFECT_MAYBE},
        {"no answer, past stall-timeout", "redis-cluster", BRIEF "&stall-timeout=30ms", "INCR *",
         STALL, incr, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE},
        {"blocked", "redis-cluster", "timeout=5s", "BLPOP *", STALL, block_briefly, KW_ERR_TIMEOUT,
         KW_EFFECT_MAYBE},
        {"byte by byte", "redis", BRIEF, "GET *",
         KW_FAKE_STEPS(KW_FAKE_SEND("$1000000\r\n"), KW_FAKE_FLOOD("x", 10)), get, KW_ERR_TIMEOUT,
         KW_EFFECT_MAYBE},
        {"nobody reads", "redis", "timeout=5s", "CLIENT SETINFO LIB-VER *",
         KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_DEAF), set_large, KW_ERR_QUEUE_TIMEOUT,
         KW_EFFECT_NONE},
        {"nobody reads a batch", "redis", "timeout=5s", "CLIENT SETINFO LIB-VER *",
         KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_DEAF), set_large_in_a_batch,
         KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE},
        {"nobody greets", "redis", BRIEF, "HELLO *", STALL, incr, KW_ERR_HANDSHAKE, KW_EFFECT_NONE},
        {"loading", "redis", BRIEF, "GET *", KW_FAKE_STEPS(KW_FAKE_SEND("-LOADING x\r\n")), get,
         KW_ERR_LOADING, KW_EFFECT_NONE},
        {"no map", "redis-cluster", BRIEF, "CLUSTER S*", STALL, incr, KW_ERR_TOPOLOGY,
         KW_EFFECT_NONE},
        {"half a map", "redis-cluster", BRIEF, "CLUSTER S*",
         KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n*3\r\n:0\r\n"), KW_FAKE_STALL), connect_handle,
         KW_ERR_TOPOLOGY, KW_EFFECT_NONE},
        {"a map byte by byte", "redis-cluster", BRIEF, "CLUSTER S*",
         KW_FAKE_STEPS(KW_FAKE_FLOOD("*", 5)), connect_handle, KW_ERR_TOPOLOGY, KW_EFFECT_NONE},
        {"no answer to a batch", "redis-cluster", BRIEF, "INCR *", STALL, run_batch, KW_ERR_TIMEOUT,
         KW_EFFECT_MAYBE},
        {"no answer to parts", "redis-cluster", BRIEF, "MGET *", STALL, mget, KW_ERR_TIMEOUT,
         KW_EFFECT_MAYBE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t best_ms = UINT64_MAX;
        for (int k = 0; k < TRIES && best_ms > TIMEOUT_MS + LATEST_MS; k++) {
            bool is_as_told = false;
            uint64_t elapsed_ms = measure(&rows[i], &is_as_told);
            best_ms = is_as_told && elapsed_ms < best_ms ? elapsed_ms : best_ms;
            if (elapsed_ms + 2 < TIMEOUT_MS || elapsed_ms > TIMEOUT_MS + LATEST_MS + BUSY_MS) {
                fail_msg("%s: %llu ms", rows[i].name, (unsigned long long)elapsed_ms);
            }
        }
        if (best_ms > TIMEOUT_MS + LATEST_MS) {
            fail_msg("%s: never as told below %llu ms", rows[i].name, (unsigned long long)best_ms);
        }
    }
}

/* Deadlines where nobody takes the connection. */
static void test_deadline_holds_where_connects_are_swallowed(void **state)
{
    (void)state;
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        print_message("no address that swallows connects can be made here\n");
        return;
    }
    static const char *const schemes[] = {"redis", "redis-cluster"};
    for (size_t i = 0; i < 2; i++) {
        uint64_t best_ms = UINT64_MAX;
        for (int k = 0; k < TRIES && best_ms > TIMEOUT_MS + LATEST_MS; k++) {
            char uri[120];
            snprintf(uri, sizeof(uri), "%s://127.0.0.1:%u?timeout=%dms&connect-timeout=1s",
                     schemes[i], (unsigned)hole.port, TIMEOUT_MS);
            kw_client *kw = kw_test_try_open(uri, NULL);
            kw_error error = KW_ERROR_INIT;
            uint64_t start_ms = kw_test_now_ms();
            assert_null(kw_command(kw, &error, "GET a"));
            uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
            best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
            if (error.code != (i == 0 ? KW_ERR_CONNECT : KW_ERR_TOPOLOGY)) {
                fail_msg("%s: %s", kw_err_name(error.code), error.text);
            }
            assert_int_equal(error.effect, KW_EFFECT_NONE);
            kw_close(kw);
        }
        assert_in_range(best_ms, TIMEOUT_MS - 2, TIMEOUT_MS + LATEST_MS);
    }
    kw_test_hole_close(&hole);
}

static void *hold(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply_free(kw_command(arg, &error, "BLPOP held 0.3"));
    return NULL;
}

static void test_deadline_holds_where_the_pool_stays_empty(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_handle("redis", "timeout=1s&pool-max=1");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "BLPOP held *", KW_FAKE_STEPS(KW_FAKE_STALL));
    pthread_t holder;
    assert_int_equal(pthread_create(&holder, NULL, hold, kw), 0);
    assert_true(kw_fake_wait(fakes[0], "BLPOP held 0.3", 1, 5000));
    const char *argv[] = {"BLPOP", "foo", "0"};
    kw_call_options options = briefly();
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_call(kw, &error, &options, (kw_argv){3, argv, NULL}));
    assert_in_range(kw_test_now_ms() - start_ms, TIMEOUT_MS - 2, TIMEOUT_MS + BUSY_MS);
    assert_int_equal(error.code, KW_ERR_POOL_FULL);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "pool-max"));
    assert_string_equal(error.node, kw_fake_address(fakes[0]));
    kw_test_join(holder);
    assert_int_equal(kw_fake_count(fakes[0], "BLPOP foo *"), 0);
    kw_close(kw);
}

static uint64_t told_ns;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return told_ns += KW_NS_PER_MS;
}

/* What a call has to ask for before it is sent, the map for a node that it names, takes of its
 * time: its first wait begins behind that, and not when the call did. */
static void test_deadline_counts_what_was_asked_before(void **state)
{
    (void)state;
    renew_fakes();
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = open_handle("redis-cluster", "timeout=60s");
    assert_int_equal(kw_connect(kw, &error), KW_OK);
    kw_topology *topology = kw->topology;
    kw_clock before = topology->env.clock;
    told_ns = kw_env_now(&topology->env);
    topology->env.clock = (kw_clock){tell_time, NULL};
    kw_plan plan;
    memset(&plan, 0, sizeof(plan));
    plan.need = KW_PLAN_NEEDS_MAP;
    plan.start_ns = told_ns;
    plan.deadline_ns = told_ns + 60000 * KW_NS_PER_MS;
    kw_plan_task task = {.argc = 0};
    assert_int_equal(kw_plan_ask(&plan, topology, &error, &task), KW_OK);
    kw_blocking_wait wait;
    kw_blocking_wait_init(&wait, topology, &plan, 0);
    assert_int_equal(wait.now_ns, told_ns);
    topology->env.clock = before;
    kw_close(kw);
}

/* Each look at it is a second after the one before. */
static uint64_t tell_seconds(void *arg)
{
    (void)arg;
    told_ns += 1000 * KW_NS_PER_MS;
    return told_ns;
}

/* What it takes to encode a very large command is of its time: nothing of it is sent then, so that
 * its connection is used again. */
static void test_deadline_counts_how_long_encoding_took(void **state)
{
    (void)state;
    for (int is_session = 0; is_session <= 1; is_session++) {
        kw_error error = KW_ERROR_INIT;
        renew_fakes();
        kw_client *kw = open_handle("redis", "timeout=60s");
        kw_session *session = is_session ? kw_session_open(kw, &error, "foo", 3) : NULL;
        kw_reply_free(is_session ? kw_session_command(session, &error, "PING")
                                 : kw_command(kw, &error, "PING"));
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        kw_topology *topology = kw->topology;
        kw_clock before = topology->env.clock;
        told_ns = kw_env_now(&topology->env);
        topology->env.clock = (kw_clock){tell_seconds, NULL};
        kw_err code = is_session ? set_large_in_a_session(session, &error) : set_large(kw, &error);
        topology->env.clock = before;
        assert_int_equal(code, KW_ERR_QUEUE_TIMEOUT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        kw_reply *reply = is_session ? kw_session_command(session, &error, "PING")
                                     : kw_command(kw, &error, "PING");
        assert_non_null(reply);
        kw_reply_free(reply);
        assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n);
        kw_session_close(session);
        kw_close(kw);
    }
}

/* How a command ends that has no answer, or a part of it, in each way of sending. */
static void ask_by_call(kw_client *kw, kw_error *error, const char *text)
{
    assert_null(kw_command(kw, error, text));
}

static void ask_by_batch(kw_client *kw, kw_error *error, const char *text)
{
    kw_error behind = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, text), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR behind"), KW_OK);
    assert_int_equal(kw_batch_run(batch, error, 0), KW_ERR_TIMEOUT);
    assert_null(kw_batch_reply(batch, &behind, 1));
    assert_non_null(strstr(behind.text, ": no answer"));
    assert_null(strstr(behind.text, "no whole answer"));
    kw_batch_free(batch);
}

static void ask_by_ticket(kw_client *kw, kw_error *error, const char *text)
{
    kw_ticket *ticket = kw_submit(kw, NULL, text);
    assert_non_null(ticket);
    assert_null(kw_ticket_await(ticket, error));
    kw_ticket_free(ticket);
}

static void ask_in_session(kw_client *kw, kw_error *error, const char *text)
{
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    assert_non_null(session);
    assert_null(kw_session_command(session, error, text));
    kw_session_close(session);
}

static void ask_in_transaction(kw_client *kw, kw_error *error, const char *text)
{
    kw_transaction *transaction = kw_transaction_new(kw, NULL);
    assert_int_equal(kw_transaction_add(transaction, NULL, text), KW_OK);
    assert_null(kw_transaction_run(transaction, error, NULL));
    kw_transaction_free(transaction);
}

static void test_deadline_tells_that_a_part_of_the_answer_came(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        void (*ask)(kw_client *kw, kw_error *error, const char *text);
    } rows[] = {
        {"timeout=120ms", ask_by_call},    {"timeout=120ms&share-above=0", ask_by_call},
        {"timeout=120ms", ask_by_batch},   {"timeout=120ms", ask_by_ticket},
        {"timeout=120ms", ask_in_session}, {"timeout=120ms", ask_in_transaction},
    };
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        bool is_part = i % 2 == 1;
        renew_fakes();
        kw_client *kw = open_handle("redis", rows[i / 2].options);
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "SET foo *",
                   is_part ? KW_FAKE_STEPS(KW_FAKE_SEND("$100\r\nabc"), KW_FAKE_STALL)
                           : KW_FAKE_STEPS(KW_FAKE_STALL));
        kw_error error = KW_ERROR_INIT;
        rows[i / 2].ask(kw, &error, "SET foo 1");
        assert_int_equal(error.code, KW_ERR_TIMEOUT);
        assert_int_equal(error.effect, KW_EFFECT_MAYBE);
        const char *text = is_part ? ": no whole answer: a part of it has come;" : ": no answer;";
        if (strstr(error.text, text) == NULL) {
            fail_msg("%zu: %s", i, error.text);
        }
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_counts_how_long_encoding_took),
        cmocka_unit_test(test_deadline_ends_every_wait),
        cmocka_unit_test(test_deadline_counts_what_was_asked_before),
        cmocka_unit_test(test_deadline_tells_that_a_part_of_the_answer_came),
        cmocka_unit_test(test_deadline_holds_where_connects_are_swallowed),
        cmocka_unit_test(test_deadline_holds_where_the_pool_stays_empty),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
