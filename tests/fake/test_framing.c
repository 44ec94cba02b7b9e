/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes that are no reply, or one without measure: refused by name, in bounded memory and
 * time; and replies at their limits, which pass. */
#include "fake/fakes.h"

#define TIMEOUT_MS 200

/* What a hostile reply may cost at most, besides the limits that are set here. */
#define MEMORY_LEN ((size_t)24 << 20)

typedef struct row {
    const char *bytes;
    size_t len;
    kw_err code; /* KW_OK: a reply */
} row;

#define ROW(text, code)                                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, code                                                               \
    }

static const char *shown(const row *at)
{
    static char text[80];
    size_t n = 0;
    for (size_t i = 0; i < at->len && n + 5 < sizeof(text); i++) {
        unsigned char c = (unsigned char)at->bytes[i];
        int status = snprintf(text + n, sizeof(text) - n, c >= ' ' && c <= '~' ? "%c" : "\\x%02x",
                              (unsigned)c);
        n += (size_t)status;
    }
    return text;
}

/* One INCR that is answered by the row's bytes. */
static void run_row(const row *at, kw_client *kw)
{
    kw_fake_reset(fakes[0]);
    kw_fake_log_clear(fakes[0]);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR *",
               KW_FAKE_STEPS(KW_FAKE_BYTES(at->bytes, at->len)));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "STRLEN *", ":42");
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *reply = kw_command(kw, &error, "INCR a");
    assert_in_range(kw_test_now_ms() - start_ms, 0, TIMEOUT_MS + LATE_MS);
    kw_err code = reply != NULL ? KW_OK : error.code;
    kw_reply_free(reply);
    /* Some versions of hiredis have limits of their own. */
    if (code != at->code && !(at->code == KW_ERR_LIMIT && code == KW_ERR_PROTOCOL)) {
        fail_msg("%s: %s %s", shown(at), kw_err_name(code), error.text);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 1);
    if (code != KW_OK) {
        assert_string_equal(error.node, kw_fake_address(fakes[0]));
        assert_int_equal(error.effect, code == KW_ERR_LIMIT ? KW_EFFECT_DONE : KW_EFFECT_MAYBE);
    }
    assert_int_equal(kw_test_ask_integer(kw, "STRLEN after"), 42);
}

static void run_rows(const row *rows, size_t rows_n, const char *options)
{
    kw_client *kw = kw_test_open("%s?timeout=%dms&pool-idle=100ms%s", kw_fake_uri(fakes[0]),
                                 TIMEOUT_MS, options);
    kw_reply_free(kw_test_ask(kw, "PING"));
    int descriptors_n = kw_test_fd_count();
    size_t memory_len = kw_test_rss_bytes();
    for (size_t i = 0; i < rows_n; i++) {
        run_row(&rows[i], kw);
    }
    if (memory_len > 0) {
        assert_in_range(kw_test_rss_bytes(), 0, memory_len + MEMORY_LEN);
    }
    /* A probe of a server that was silent ends in the time of callers, and leaves its connection in
     * the pool until it has been idle for long. */
    KW_TEST_UNTIL(kw_fake_open(fakes[0]) <= 1)
    {
        kw_reply_free(kw_test_ask(kw, "PING"));
        kw_test_sleep_ms(5);
    }
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
    kw_close(kw);
}

#define ROWS(rows) (rows), sizeof(rows) / sizeof((rows)[0])

static void test_framing_bytes_that_are_no_reply_are_named(void **state)
{
    (void)state;
    const row rows[] = {
        ROW("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", KW_ERR_PROTOCOL),
        ROW("\x15\x03\x03\x00\x02\x02\x28", KW_ERR_PROTOCOL),
        ROW("SSH-2.0-OpenSSH_9.6\r\n", KW_ERR_PROTOCOL),
        ROW("220 mail.example ESMTP\r\n", KW_ERR_PROTOCOL),
        ROW("\0\0\0\0", KW_ERR_PROTOCOL),
        ROW("\r\n", KW_ERR_PROTOCOL),
        ROW("$abc\r\n", KW_ERR_PROTOCOL),
        ROW("$-2\r\n", KW_ERR_PROTOCOL),
        ROW("$99999999999999999999\r\n", KW_ERR_PROTOCOL),
        ROW("*x\r\n", KW_ERR_PROTOCOL),
        ROW("*-2\r\n", KW_ERR_PROTOCOL),
        ROW("*99999999999999999999\r\n", KW_ERR_PROTOCOL),
        ROW(":\r\n", KW_ERR_PROTOCOL),
        ROW(":1x\r\n", KW_ERR_PROTOCOL),
        ROW(":99999999999999999999\r\n", KW_ERR_PROTOCOL),
        ROW("*2\r\n:1\r\nx", KW_ERR_PROTOCOL),
        ROW("*2\r\n:1\r\n$-9\r\n", KW_ERR_PROTOCOL),
        ROW("*1\r\n*1\r\n*1\r\n?\r\n", KW_ERR_PROTOCOL),
        ROW("$3\r\nabcde\r\n", KW_ERR_PROTOCOL), /* longer than it says */
        ROW("*1\r\n:1\r\n:2\r\n", KW_ERR_DESYNC),
        ROW("+OK\r\n\0", KW_ERR_PROTOCOL),
    };
    run_rows(ROWS(rows), "");
}

static void test_framing_bytes_that_never_end_have_the_deadline(void **state)
{
    (void)state;
    const row rows[] = {
        ROW("", KW_ERR_TIMEOUT),
        ROW("$", KW_ERR_TIMEOUT),
        ROW("$5", KW_ERR_TIMEOUT),
        ROW("$5\r", KW_ERR_TIMEOUT),
        ROW("$5\r\nabcde", KW_ERR_TIMEOUT),
        ROW("$5\r\nabcde\r", KW_ERR_TIMEOUT),
        ROW(":1", KW_ERR_TIMEOUT),
        ROW("+OK\n", KW_ERR_TIMEOUT),
        ROW("*2\r\n:1\r\n", KW_ERR_TIMEOUT),
        ROW("*2\r\n*2\r\n:1\r\n:2\r\n", KW_ERR_TIMEOUT),
    };
    run_rows(ROWS(rows), "");
}

static void test_framing_claims_over_the_limits_cost_no_memory(void **state)
{
    (void)state;
    const row rows[] = {
        ROW("$1073741824\r\nabc", KW_ERR_LIMIT),
        ROW("*1073741824\r\n", KW_ERR_LIMIT),
        ROW("*4294967295\r\n", KW_ERR_LIMIT),
        ROW("*1000001\r\n", KW_ERR_LIMIT),
        ROW("*2\r\n*600000\r\n", KW_ERR_TIMEOUT), /* within, and not there */
        ROW("*2\r\n*2\r\n*999999\r\n", KW_ERR_LIMIT),
        ROW("*3\r\n:1\r\n:2\r\n*999999\r\n", KW_ERR_LIMIT),
    };
    run_rows(ROWS(rows), "");
}

/* depth arrays in each other, or a row of items numbers. */
static size_t make_reply(char *out, size_t depth, size_t items_n)
{
    size_t len = 0;
    for (size_t i = 1; i < depth; i++) {
        len += (size_t)sprintf(out + len, "*1\r\n");
    }
    len += (size_t)sprintf(out + len, "*%zu\r\n", items_n);
    for (size_t i = 0; i < items_n; i++) {
        len += (size_t)sprintf(out + len, ":7\r\n");
    }
    return len;
}

static void test_framing_limits_are_exact(void **state)
{
    (void)state;
    static char texts[6][4096];
    static const struct {
        size_t depth;
        size_t items_n;
        kw_err code;
    } shapes[] = {{6, 1, KW_OK},  {7, 1, KW_ERR_LIMIT},   {1, 100, KW_OK},
                  {4, 97, KW_OK}, {1, 101, KW_ERR_LIMIT}, {4, 98, KW_ERR_LIMIT}};
    row rows[6];
    for (size_t i = 0; i < 6; i++) {
        rows[i].bytes = texts[i];
        rows[i].len = make_reply(texts[i], shapes[i].depth, shapes[i].items_n);
        rows[i].code = shapes[i].code;
    }
    run_rows(ROWS(rows), "&reply-depth-max=6&reply-items-max=100");
    static char strings[2][2048];
    for (size_t i = 0; i < 2; i++) {
        memset(strings[i], 'x', sizeof(strings[i]));
        size_t len = 1015 + i; /* and 9 around it: 1024 */
        memcpy(strings[i], i == 0 ? "$1015\r\n" : "$1016\r\n", 7);
        memcpy(strings[i] + 7 + len, "\r\n", 2);
        rows[i].bytes = strings[i];
        rows[i].len = 7 + len + 2;
        rows[i].code = i == 0 ? KW_OK : KW_ERR_LIMIT;
    }
    run_rows(rows, 2, "&reply-bytes-max=1kb");
}

static void test_framing_floods_end_in_bounded_memory(void **state)
{
    (void)state;
    static char nested[400000];
    static char line[200000];
    static char bulk[4 << 20];
    make_reply(nested, sizeof(nested) / 4 - 8, 0);
    memset(line, 'x', sizeof(line));
    line[0] = '+';
    memset(bulk, 'x', sizeof(bulk));
    memcpy(bulk, "$999999999\r\n", 12);
    const row rows[] = {
        {nested, strlen(nested), KW_ERR_LIMIT},
        {line, sizeof(line), KW_ERR_PROTOCOL},
        {bulk, sizeof(bulk), KW_ERR_LIMIT},
    };
    run_rows(ROWS(rows), "&reply-bytes-max=1mb");
}

/* The limits are about what callers asked for: greeting and map pass, however small they are. */
static void test_framing_limits_are_not_about_greetings_and_maps(void **state)
{
    (void)state;
    char slots[8192] = "*64\r\n";
    size_t len = strlen(slots);
    for (unsigned i = 0; i < 64; i++) {
        len += (size_t)sprintf(slots + len, "*3\r\n:%u\r\n:%u\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
                               i * 256, i * 256 + 255, (unsigned)kw_fake_port(fakes[0]));
    }
    kw_fake_reset(fakes[0]);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_BYTES(slots, len)));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "COMMAND INFO *", "%s",
                     "*1\r\n*6\r\n$7\r\nmod.get\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "mod.get *", ":7");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "LRANGE *", "*2\r\n:1\r\n:2");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "STRLEN *", ":42");
    static const char *const schemes[] = {"redis", "redis-cluster"};
    for (size_t i = 0; i < 2; i++) {
        kw_client *kw = kw_test_open("%s://%s?timeout=%dms&reply-bytes-max=1kb&reply-items-max=1"
                                     "&reply-depth-max=1",
                                     schemes[i], kw_fake_address(fakes[0]), TIMEOUT_MS);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(kw_test_ask_integer(kw, "STRLEN a"), 42);
            kw_error error = KW_ERROR_INIT;
            assert_null(kw_command(kw, &error, "LRANGE a 0 1"));
            assert_int_equal(error.code, KW_ERR_LIMIT);
            assert_non_null(strstr(error.text, "a reply over reply-items-max=1; raise it"));
            assert_int_equal(kw_connect(kw, NULL), KW_OK);
            assert_int_equal(kw_test_ask_integer(kw, "mod.get foo"), 7); /* looked up */
        }
        kw_close(kw);
    }
}

/* Every type byte of the newer protocol, which was not asked for. */
static void test_framing_newer_types_break_nothing(void **state)
{
    (void)state;
    static const char *const replies[] = {"_\r\n",
                                          "#t\r\n",
                                          ",1.5\r\n",
                                          "(123\r\n",
                                          "%1\r\n+a\r\n:1\r\n",
                                          "~1\r\n:1\r\n",
                                          "=5\r\ntxt:a\r\n",
                                          ">1\r\n+x\r\n",
                                          "!3\r\nERR\r\n",
                                          "|1\r\n+a\r\n:1\r\n:2\r\n"};
    kw_client *kw = kw_test_open("%s?timeout=%dms", kw_fake_uri(fakes[0]), TIMEOUT_MS);
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        kw_fake_reset(fakes[0]);
        kw_fake_on(fakes[0], 1, "INCR *",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(replies[i], strlen(replies[i]))));
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "STRLEN *", ":42");
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "INCR a");
        assert_true(reply != NULL || error.effect == KW_EFFECT_MAYBE);
        kw_reply_free(reply);
        kw_test_sleep_ms(5);
        assert_int_equal(kw_test_ask_integer(kw, "STRLEN after"), 42);
    }
    kw_close(kw);
}

/* In a pipeline as well: garbage right behind a reply makes that reply doubtful. */
static void test_framing_reply_that_ends_in_garbage_is_not_given(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_on(fakes[0], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_DELAY(1)));
    kw_fake_on(fakes[0], 1, "LPOP *", KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n$3\r\nabcde\r\n")));
    kw_client *kw = kw_test_open("%s?timeout=%dms", kw_fake_uri(fakes[0]), TIMEOUT_MS);
    kw_reply_free(kw_test_ask(kw, "PING"));
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR a"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "LPOP b"), KW_OK);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_PROTOCOL);
    assert_null(kw_batch_reply(batch, &error, 1));
    assert_int_equal(error.code, KW_ERR_PROTOCOL);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    kw_batch_free(batch);
    kw_close(kw);
}

/* A reply of all kinds, a byte at a time. */
static void test_framing_reply_byte_by_byte_is_the_reply(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_on(
        fakes[0], 1, "LRANGE *",
        KW_FAKE_STEPS(KW_FAKE_PIECES("*5\r\n$3\r\na\0\n\r\n:-12\r\n$-1\r\n*0\r\n+OK\r\n", 1)));
    kw_client *kw = kw_test_open("%s?timeout=5s", kw_fake_uri(fakes[0]));
    kw_reply *reply = kw_test_ask(kw, "LRANGE a 0 -1");
    assert_int_equal(kw_reply_count(reply), 5);
    size_t len;
    assert_memory_equal(kw_reply_str(kw_reply_at(reply, 0), &len), "a\0\n", 3);
    assert_int_equal(len, 3);
    assert_int_equal(kw_reply_int(kw_reply_at(reply, 1)), -12);
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 2)));
    assert_int_equal(kw_reply_count(kw_reply_at(reply, 3)), 0);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 4), NULL), "OK");
    kw_reply_free(reply);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing_bytes_that_are_no_reply_are_named),
        cmocka_unit_test(test_framing_bytes_that_never_end_have_the_deadline),
        cmocka_unit_test(test_framing_claims_over_the_limits_cost_no_memory),
        cmocka_unit_test(test_framing_limits_are_exact),
        cmocka_unit_test(test_framing_floods_end_in_bounded_memory),
        cmocka_unit_test(test_framing_limits_are_not_about_greetings_and_maps),
        cmocka_unit_test(test_framing_newer_types_break_nothing),
        cmocka_unit_test(test_framing_reply_that_ends_in_garbage_is_not_given),
        cmocka_unit_test(test_framing_reply_byte_by_byte_is_the_reply),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
