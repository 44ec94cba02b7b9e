/* SPDX-License-Identifier: BSD-3-Clause */
/* One server that answers wrongly, late, or not at all: each fault ends within the deadline
 * with the right code and effect, nothing is run twice, and the handle works afterwards. */
#include "fake/fakes.h"

#define TIMEOUT_MS 250

static kw_client *open_handle(const char *options)
{
    return kw_test_open("%s?timeout=%dms%s", kw_fake_uri(fakes[0]), TIMEOUT_MS, options);
}

/* A fault: what the server does with a command, and what the caller must get. */
typedef struct fault {
    const char *name;
    const char *command;
    unsigned times; /* how often the server does it; then it answers :7 */
    const kw_fake_step *steps;
    kw_err code;         /* KW_OK: a reply */
    kw_effect effect;    /* of a failure */
    const char *text;    /* in the error's text, or in the error reply; NULL: no matter */
    size_t received_min; /* how often the server sees the command */
    size_t received_max;
} fault;

static void check_failure(const fault *row, const kw_error *error)
{
    if (error->code != row->code &&
        !(row->code == KW_ERR_LIMIT && error->code == KW_ERR_PROTOCOL)) {
        fail_msg("%s: %s: %s", row->name, kw_err_name(error->code), error->text);
    }
    if (row->code == error->code && error->effect != row->effect) {
        fail_msg("%s: effect %s", row->name, kw_effect_name(error->effect));
    }
    if (row->text != NULL && strstr(error->text, row->text) == NULL) {
        fail_msg("%s says: %s", row->name, error->text);
    }
    assert_string_equal(error->node, kw_fake_address(fakes[0]));
    assert_non_null(strstr(error->text, kw_fake_address(fakes[0])));
}

static void run_fault(const fault *row)
{
    kw_client *kw = open_handle("&reply-bytes-max=64kb");
    kw_fake_reset(fakes[0]);
    kw_fake_log_clear(fakes[0]);
    char pattern[40];
    snprintf(pattern, sizeof(pattern), "%s", row->command);
    kw_reply_free(kw_command(kw, NULL, "PING"));
    kw_fake_on(fakes[0], row->times, pattern, row->steps);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, pattern, ":7");
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *reply = kw_command(kw, &error, row->command);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_in_range(elapsed_ms, 0, TIMEOUT_MS + LATE_MS);
    if (row->code == KW_OK && reply == NULL) {
        fail_msg("%s: %s", row->name, error.text);
    } else if (row->code == KW_OK && row->text != NULL) {
        assert_non_null(strstr(kw_reply_str(reply, NULL), row->text));
    } else if (row->code == KW_OK) {
        assert_int_equal(kw_reply_int(reply), 7);
    } else {
        assert_null(reply);
        check_failure(row, &error);
    }
    kw_reply_free(reply);
    size_t received_n = kw_fake_count(fakes[0], pattern);
    if (received_n < row->received_min || received_n > row->received_max) {
        fail_msg("%s: received %zu times", row->name, received_n);
    }
    /* The next command gets its own reply. */
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "STRLEN *", ":42");
    reply = kw_command(kw, &error, "STRLEN after");
    if (reply == NULL) {
        fail_msg("after %s: %s", row->name, error.text);
    }
    assert_int_equal(kw_reply_int(reply), 42);
    kw_reply_free(reply);
    kw_close(kw);
}

static void run_faults(const fault *rows, size_t n)
{
    int descriptors_n = kw_test_fd_count();
    for (size_t i = 0; i < n; i++) {
        run_fault(&rows[i]);
    }
    for (int i = 0; i < 200 && kw_fake_open(fakes[0]) > 0; i++) {
        kw_test_sleep_ms(5);
    }
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
}

#define ROWS(rows) (rows), sizeof(rows) / sizeof((rows)[0])

static void test_server_framing(void **state)
{
    (void)state;
    static char large[80 * 1024];
    memset(large, 'x', sizeof(large));
    memcpy(large, "$80000\r\n", 8);
    const fault rows[] = {
        {"bulk cut short", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND("$10\r\nabc"), KW_FAKE_STALL),
         KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, "may have run", 1, 1},
        {"silence", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_STALL), KW_ERR_TIMEOUT, KW_EFFECT_MAYBE,
         "deadline", 1, 1},
        {"HTTP", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad Request\r\n\r\n")),
         KW_ERR_PROTOCOL, KW_EFFECT_MAYBE, "Redis server?", 1, 1},
        {"TLS alert", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND("\x15\x03\x01\x00\x02\x02\x46")),
         KW_ERR_PROTOCOL, KW_EFFECT_MAYBE, NULL, 1, 1},
        {"bad length", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND("$-5\r\nx\r\n")), KW_ERR_PROTOCOL,
         KW_EFFECT_MAYBE, NULL, 1, 1},
        {"array of 2^30", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND("*1073741824\r\n")), KW_ERR_LIMIT,
         KW_EFFECT_DONE, NULL, 1, 1},
        {"nesting without end", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_FLOOD("*1\r\n*1\r\n", 0)),
         KW_ERR_LIMIT, KW_EFFECT_DONE, NULL, 1, 1},
        {"line without end", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_FLOOD("+aaaaaaaaaaaaaaaaaaaa", 0)),
         KW_ERR_LIMIT, KW_EFFECT_DONE, NULL, 1, 1},
        {"over reply-bytes-max", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_BYTES(large, sizeof(large))),
         KW_ERR_LIMIT, KW_EFFECT_DONE, "reply-bytes-max", 1, 1},
        {"byte by byte", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_PIECES(":7\r\n", 5)), KW_OK,
         KW_EFFECT_NONE, NULL, 1, 1},
        {"byte by byte, too slow", "INCR a", 1,
         KW_FAKE_STEPS(KW_FAKE_PIECES("$9\r\n123456789\r\n", 100)), KW_ERR_TIMEOUT, KW_EFFECT_MAYBE,
         NULL, 1, 1},
    };
    run_faults(ROWS(rows));
}

static void test_server_matching(void **state)
{
    (void)state;
    const fault rows[] = {
        {"two replies for one", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n:2\r\n")),
         KW_ERR_DESYNC, KW_EFFECT_MAYBE, NULL, 1, 1},
        {"half a reply too much", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n:")),
         KW_ERR_DESYNC, KW_EFFECT_MAYBE, NULL, 1, 1},
        {"write, then reset", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_RESET), KW_ERR_CLOSED,
         KW_EFFECT_MAYBE, "may have run", 1, 1},
        {"write, then closed", "INCR a", 1, KW_FAKE_STEPS(KW_FAKE_CLOSE), KW_ERR_CLOSED,
         KW_EFFECT_MAYBE, NULL, 1, 1},
        {"read, then reset, then fine", "GET a", 1, KW_FAKE_STEPS(KW_FAKE_RESET), KW_OK,
         KW_EFFECT_NONE, NULL, 2, 2},
        {"read, reset always", "GET a", KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_RESET), KW_ERR_CLOSED,
         KW_EFFECT_MAYBE, NULL, 2, 40},
    };
    run_faults(ROWS(rows));
}

static void test_server_states(void **state)
{
    (void)state;
#define SAYS(text) KW_FAKE_STEPS(KW_FAKE_SEND(text "\r\n"))
    const fault rows[] = {
        {"loading", "INCR a", 3, SAYS("-LOADING data"), KW_OK, KW_EFFECT_NONE, NULL, 4, 4},
        {"try again", "INCR a", 3, SAYS("-TRYAGAIN later"), KW_OK, KW_EFFECT_NONE, NULL, 4, 4},
        {"cluster down", "INCR a", 3, SAYS("-CLUSTERDOWN Hash slot not served"), KW_OK,
         KW_EFFECT_NONE, NULL, 4, 4},
        {"busy", "INCR a", 3, SAYS("-BUSY script"), KW_OK, KW_EFFECT_NONE, NULL, 4, 4},
        {"master down", "INCR a", 3, SAYS("-MASTERDOWN link"), KW_OK, KW_EFFECT_NONE, NULL, 4, 4},
        {"always loading", "INCR a", KW_FAKE_ALWAYS, SAYS("-LOADING data"), KW_ERR_LOADING,
         KW_EFFECT_NONE, "LOADING data", 2, 40},
        {"always try again", "INCR a", KW_FAKE_ALWAYS, SAYS("-TRYAGAIN later"), KW_ERR_TRY_AGAIN,
         KW_EFFECT_NONE, "TRYAGAIN later", 2, 40},
        {"always down", "INCR a", KW_FAKE_ALWAYS, SAYS("-CLUSTERDOWN down"), KW_ERR_CLUSTER_DOWN,
         KW_EFFECT_NONE, "CLUSTERDOWN down", 2, 40},
        {"always busy", "INCR a", KW_FAKE_ALWAYS, SAYS("-BUSY script"), KW_ERR_BUSY, KW_EFFECT_NONE,
         "BUSY script", 2, 40},
        {"read-only", "INCR a", 1, SAYS("-READONLY replica"), KW_OK, KW_EFFECT_NONE, NULL, 2, 2},
        {"moved, without a cluster", "INCR a", 1, SAYS("-MOVED 1 h:1"), KW_OK, KW_EFFECT_NONE,
         "MOVED 1 h:1", 1, 1},
        {"out of memory", "INCR a", 1, SAYS("-OOM no"), KW_OK, KW_EFFECT_NONE, "OOM no", 1, 1},
        {"wrong type", "INCR a", 1, SAYS("-WRONGTYPE x"), KW_OK, KW_EFFECT_NONE, "WRONG", 1, 1},
        {"no script", "EVALSHA x 0", 1, SAYS("-NOSCRIPT x"), KW_OK, KW_EFFECT_NONE, "NOSC", 1, 1},
        {"busy inside a script", "EVAL x 0", 1, SAYS("-BUSY y"), KW_OK, KW_EFFECT_NONE, "BUSY", 1,
         1},
        {"not allowed", "INCR a", 1, SAYS("-NOPERM x"), KW_OK, KW_EFFECT_NONE, "NOPERM", 1, 1},
        {"not logged in", "INCR a", 1, SAYS("-NOAUTH x"), KW_OK, KW_EFFECT_NONE, "NOAUTH", 1, 1},
        {"unknown command", "INCR a", 1, SAYS("-ERR unknown"), KW_OK, KW_EFFECT_NONE, "ERR", 1, 1},
        {"loaded word", "INCR a", 1, SAYS("-LOADINGX y"), KW_OK, KW_EFFECT_NONE, "LOADINGX", 1, 1},
    };
    run_faults(ROWS(rows));
}

static void assert_hint(const char *way, kw_reply *reply)
{
    char uri[60];
    snprintf(uri, sizeof(uri), "redis-cluster://%s)", kw_fake_address(fakes[0]));
    const char *text = kw_reply_is_error(reply) ? kw_reply_str(reply, NULL) : "no error";
    if (strncmp(text, "MOVED 1 h:1 (", strlen("MOVED 1 h:1 (")) != 0 || strstr(text, uri) == NULL) {
        fail_msg("%s: %s", way, text);
    }
    kw_reply_free(reply);
}

/* Who opened one server, or a ring, and gave a cluster's node reads what to open, with the port. */
static void test_server_moved_without_a_cluster_says_what_to_open(void **state)
{
    (void)state;
    static const char *const uris[] = {"redis://%s?timeout=2s", "redis-ring://a=%s?timeout=2s"};
    renew_servers();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", "-MOVED 1 h:1");
    for (size_t i = 0; i < 2; i++) {
        kw_client *kw = kw_test_open(uris[i], kw_fake_address(fakes[0]));
        assert_hint("call", kw_command(kw, NULL, "INCR a"));
        kw_ticket *ticket = kw_submit(kw, NULL, "INCR a");
        assert_hint("ticket", kw_ticket_await(ticket, NULL));
        kw_ticket_free(ticket);
        kw_batch *batch = kw_batch_new(kw, NULL);
        assert_int_equal(kw_batch_add(batch, NULL, "INCR a"), KW_OK);
        assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
        assert_hint("batch", kw_batch_take(batch, NULL, 0));
        kw_batch_free(batch);
        kw_session *session = kw_session_open(kw, NULL, "a", 1);
        assert_hint("session", kw_session_command(session, NULL, "INCR a"));
        kw_session_close(session);
        kw_close(kw);
    }
    kw_fake_reset(fakes[0]);
}

static void test_server_late_reply_never_reaches_the_next_command(void **state)
{
    (void)state;
    kw_client *kw = open_handle("");
    kw_fake_reset(fakes[0]);
    kw_fake_on(fakes[0], 1, "INCR late",
               KW_FAKE_STEPS(KW_FAKE_DELAY(TIMEOUT_MS + 100), KW_FAKE_SEND(":666\r\n")));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR own", ":1");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR late"));
    assert_int_equal(error.code, KW_ERR_TIMEOUT);
    for (int i = 0; i < 30; i++) {
        kw_reply *reply = kw_command(kw, &error, "INCR own");
        assert_int_equal(kw_reply_int(reply), 1);
        kw_reply_free(reply);
        kw_test_sleep_ms(10);
    }
    kw_close(kw);
}

static void test_server_unasked_reply_ends_the_idle_connection(void **state)
{
    (void)state;
    kw_client *kw = open_handle("");
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR own", ":1");
    kw_reply_free(kw_command(kw, NULL, "INCR own"));
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    kw_fake_push(fakes[0], ":666\r\n", 6);
    kw_test_sleep_ms(20);
    kw_reply *reply = kw_command(kw, NULL, "INCR own");
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 1);
    kw_close(kw);
}

static void test_server_server_that_does_not_read_holds_no_writer(void **state)
{
    (void)state;
    static char value[16 << 20];
    memset(value, 'v', sizeof(value) - 1);
    kw_client *kw = open_handle("");
    kw_fake_reset(fakes[0]);
    kw_reply_free(kw_command(kw, NULL, "PING"));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR first", KW_FAKE_STEPS(KW_FAKE_DEAF));
    kw_fake_on_accept(fakes[0], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_DEAF));
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR first"));
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(kw, &error, "SET a %b", value, sizeof(value) - 1));
    assert_in_range(kw_test_now_ms() - start_ms, 0, TIMEOUT_MS + LATE_MS);
    assert_int_equal(error.effect, KW_EFFECT_NONE); /* never sent whole */
    kw_close(kw);
    kw_fake_reset(fakes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_framing),
        cmocka_unit_test(test_server_matching),
        cmocka_unit_test(test_server_states),
        cmocka_unit_test(test_server_moved_without_a_cluster_says_what_to_open),
        cmocka_unit_test(test_server_late_reply_never_reaches_the_next_command),
        cmocka_unit_test(test_server_unasked_reply_ends_the_idle_connection),
        cmocka_unit_test(test_server_server_that_does_not_read_holds_no_writer),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
