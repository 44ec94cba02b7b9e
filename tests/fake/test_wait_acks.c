/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes that wait for their replicas: the write and WAIT leave together, and each has its own
 * answer, whatever comes between the two. */
#include "fake/fakes.h"

/* What the reply is: a number, or one of these. */
#define NO_REPLY (-1)

#define ERROR_REPLY (-2)
#define PRIMARY     fakes[0]

#define OTHER fakes[1]

/* All slots are the primary's. */
static void renew_cluster(void)
{
    renew_fakes();
    own_all(PRIMARY);
}

/* "INCR foo" that asks for one acknowledgement, within 200 ms; errors as NO_REPLY and
 * ERROR_REPLY. */
static long long incr(kw_client *kw, kw_error *error, unsigned *acked)
{
    const char *argv[] = {"INCR", "foo"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_timeout_ms = 200;
    options.acked = acked;
    kw_reply *reply = kw_call(kw, error, &options, (kw_argv){2, argv, NULL});
    long long number = reply == NULL              ? NO_REPLY
                       : kw_reply_is_error(reply) ? ERROR_REPLY
                                                  : kw_reply_int(reply);
    kw_reply_free(reply);
    return number;
}

#define BOTH KW_FAKE_EXPECT("INCR foo"), KW_FAKE_EXPECT("WAIT 1 200")

typedef struct pair_row {
    const kw_fake_step *steps;
    long long number;
    kw_err code;
    kw_effect effect;
    unsigned acked;
} pair_row;

static const pair_row pair_rows[] = {
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n:1\r\n"), KW_FAKE_END}, 5, KW_OK,
     KW_EFFECT_NONE, 1},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n"), KW_FAKE_DELAY(50), KW_FAKE_SEND(":1\r\n"),
                            KW_FAKE_END},
     5, KW_OK, KW_EFFECT_NONE, 1},
    {(const kw_fake_step[]){BOTH, KW_FAKE_PIECES(":5\r\n:1\r\n", 5), KW_FAKE_END}, 5, KW_OK,
     KW_EFFECT_NONE, 1},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n:0\r\n"), KW_FAKE_END}, 5, KW_ERR_DURABILITY,
     KW_EFFECT_DONE, 0},
    /* Lost between the two, at once and later; wrong from there on. */
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n"), KW_FAKE_CLOSE, KW_FAKE_END}, 5,
     KW_ERR_DURABILITY, KW_EFFECT_DONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n"), KW_FAKE_DELAY(50), KW_FAKE_RESET,
                            KW_FAKE_END},
     5, KW_ERR_DURABILITY, KW_EFFECT_DONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n:"), KW_FAKE_CLOSE, KW_FAKE_END}, 5,
     KW_ERR_DURABILITY, KW_EFFECT_DONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\nHTTP\r\n"), KW_FAKE_END}, 5,
     KW_ERR_DURABILITY, KW_EFFECT_DONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n"), KW_FAKE_STALL, KW_FAKE_END}, 5,
     KW_ERR_DURABILITY, KW_EFFECT_DONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r\n:1\r\n:9\r\n"), KW_FAKE_END}, 5, KW_OK,
     KW_EFFECT_NONE, 1},
    /* The write's error is the reply, and WAIT's number nobody's. */
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND("-WRONGTYPE no\r\n:1\r\n"), KW_FAKE_END},
     ERROR_REPLY, KW_OK, KW_EFFECT_NONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND("-WRONGTYPE no\r\n"), KW_FAKE_STALL, KW_FAKE_END},
     ERROR_REPLY, KW_OK, KW_EFFECT_NONE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND("-WRONGTYPE no\r\n"), KW_FAKE_CLOSE, KW_FAKE_END},
     ERROR_REPLY, KW_OK, KW_EFFECT_NONE, 0},
    /* Nothing is known of the write. */
    {(const kw_fake_step[]){BOTH, KW_FAKE_CLOSE, KW_FAKE_END}, NO_REPLY, KW_ERR_CLOSED,
     KW_EFFECT_MAYBE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_SEND(":5\r"), KW_FAKE_RESET, KW_FAKE_END}, NO_REPLY,
     KW_ERR_CLOSED, KW_EFFECT_MAYBE, 0},
    {(const kw_fake_step[]){BOTH, KW_FAKE_STALL, KW_FAKE_END}, NO_REPLY, KW_ERR_TIMEOUT,
     KW_EFFECT_MAYBE, 0},
};

static void check_pair(const pair_row *row)
{
    kw_fake *fake = kw_fake_start();
    kw_fake_script(fake, 1, false, row->steps);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":77");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "WAIT *", ":3");
    kw_client *kw = kw_test_open("%s?timeout=800ms", kw_fake_uri(fake));
    kw_error error = KW_ERROR_INIT;
    unsigned acked = 99;
    uint64_t start_ms = kw_test_now_ms();
    long long number = incr(kw, &error, &acked);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 800 + LATE_MS);
    if (number != row->number || error.code != row->code) {
        fail_msg("row %zu: %lld, %s", (size_t)(row - pair_rows), number, error.text);
    }
    if (row->code != KW_OK) {
        assert_int_equal(error.effect, row->effect);
    }
    assert_int_equal(acked, row->acked);
    assert_int_equal(kw_fake_count(fake, "INCR *"), 1);
    /* The next call gets its own answers. */
    assert_int_equal(incr(kw, &error, &acked), 77);
    assert_int_equal(error.code, KW_OK);
    assert_int_equal(acked, 3);
    kw_close(kw);
    kw_fake_free(fake);
}

static void test_durable_write_and_wait_leave_together_and_have_answers_of_their_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pair_rows) / sizeof(pair_rows[0]); i++) {
        check_pair(&pair_rows[i]);
    }
}

/* Where the log has the command; its length where it has not. */
static size_t find_in_log(kw_fake *fake, size_t from, const char *text)
{
    kw_fake_entry entry;
    size_t at = from;
    while (kw_fake_log_at(fake, at, &entry) && strcmp(entry.text, text) != 0) {
        at++;
    }
    return at;
}

static void test_durable_write_that_is_turned_away_takes_no_answer_of_wait(void **state)
{
    (void)state;
    static const struct {
        const char *format; /* with the other server's address, or without */
        bool is_moved;
        bool is_asked;
    } rows[] = {
        {"-MOVED 12182 %s", true, false},
        {"-ASK 12182 %s", true, true},
        {"-TRYAGAIN Multiple keys request during rehashing of slot", false, false},
        {"-LOADING Redis is loading the dataset in memory", false, false},
    };
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        renew_cluster();
        kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "INCR *", ":5");
        kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "WAIT *", ":4");
        char text[120];
        snprintf(text, sizeof(text), "%s\r\n", rows[i / 2].format);
        char *mark = strstr(text, "%s");
        if (mark != NULL) {
            snprintf(mark, sizeof(text) - (size_t)(mark - text), "%s\r\n", kw_fake_address(OTHER));
        }
        kw_fake_on(PRIMARY, 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_BYTES(text, strlen(text))));
        if (i % 2 == 0) {
            kw_fake_on_reply(PRIMARY, 1, "WAIT *", ":9");
        } else {
            kw_fake_on(PRIMARY, 1, "WAIT *", KW_FAKE_STEPS(KW_FAKE_STALL));
        }
        kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", ":5");
        kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "WAIT *", ":4");
        kw_client *kw = open_cluster("timeout=3s&pool-max=8");
        kw_error error = KW_ERROR_INIT;
        unsigned acked = 99;
        long long number = incr(kw, &error, &acked);
        if (number != 5 || error.code != KW_OK || acked != 4) {
            fail_msg("%s: %lld, %u, %s", text, number, acked, error.text);
        }
        bool is_moved = rows[i / 2].is_moved;
        assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), is_moved ? 1 : 2);
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), is_moved ? 1 : 0);
        if (rows[i / 2].is_asked) {
            size_t asking_at = find_in_log(OTHER, 0, "ASKING");
            assert_int_equal(find_in_log(OTHER, asking_at, "INCR foo"), asking_at + 1);
            assert_int_equal(find_in_log(OTHER, asking_at, "WAIT 1 200"), asking_at + 2);
        }
        kw_close(kw);
    }
}

static void test_durable_wait_has_an_end_before_the_deadline(void **state)
{
    (void)state;
    renew_cluster();
    kw_fake_on(PRIMARY, 1, "INCR *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(100), KW_FAKE_SEND("-TRYAGAIN later\r\n")));
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", ":5");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "WAIT *", ":1");
    kw_client *kw = open_cluster("timeout=3s&pool-max=8");
    const char *argv[] = {"INCR", "foo"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 2000;
    options.acks = 1;
    options.acks_timeout_ms = 60000;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
    assert_int_equal(kw_reply_int(reply), 5);
    kw_reply_free(reply);
    unsigned waits_n = 0;
    unsigned last_ms = 2001;
    kw_fake_entry entry;
    for (size_t i = 0; kw_fake_log_at(PRIMARY, i, &entry); i++) {
        unsigned ms;
        if (sscanf(entry.text, "WAIT 1 %u", &ms) == 1) {
            assert_in_range(ms, 1, last_ms - 1);
            last_ms = ms - (waits_n == 0 ? 50 : 0); /* the next try has what is left */
            waits_n++;
        }
    }
    assert_int_equal(waits_n, 2);
    kw_close(kw);
}

static void test_durable_disk_is_asked_for_where_the_call_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        kw_err code;
        unsigned local;
        unsigned acked;
        const char *text; /* in the error's */
    } rows[] = {
        {"*2\r\n:1\r\n:1", KW_OK, 1, 1, ""},
        {"*2\r\n:1\r\n:3", KW_OK, 1, 3, ""},
        {"*2\r\n:0\r\n:1", KW_ERR_DURABILITY, 0, 1, "0 of 1 primary and 1 of 1 replicas"},
        {"*2\r\n:1\r\n:0", KW_ERR_DURABILITY, 1, 0, "1 of 1 primary and 0 of 1 replicas"},
        {"*2\r\n$1\r\n1\r\n:-1", KW_ERR_DURABILITY, 0, 0, "0 of 1"},
        {"*1\r\n:1", KW_ERR_DURABILITY, 0, 0, "0 of 1"},
        {"*0", KW_ERR_DURABILITY, 0, 0, "0 of 1"},
        {":1", KW_ERR_DURABILITY, 0, 0, "0 of 1"},
        {"-ERR unknown command 'WAITAOF', with args beginning with: '1' '1' '200' ",
         KW_ERR_UNSUPPORTED, 0, 0, "Redis 7.2"},
        {"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
         KW_ERR_DURABILITY, 0, 0, "appendonly is disabled"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_cluster();
        kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", ":5");
        kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "WAITAOF 1 1 200", "%s", rows[i].answer);
        kw_client *kw = open_cluster("timeout=3s&pool-max=8");
        kw_error error = KW_ERROR_INIT;
        unsigned acked = 99;
        unsigned local = 99;
        const char *argv[] = {"INCR", "foo"};
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.acks = 1;
        options.acks_local = 1;
        options.acks_timeout_ms = 200;
        options.acked = &acked;
        options.acked_local = &local;
        kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
        assert_int_equal(kw_reply_int(reply), 5);
        kw_reply_free(reply);
        if (error.code != rows[i].code || strstr(error.text, rows[i].text) == NULL) {
            fail_msg("%s: %s", rows[i].answer, error.text);
        }
        assert_true(error.code == KW_OK || error.effect == KW_EFFECT_DONE);
        assert_int_equal(local, rows[i].local);
        assert_int_equal(acked, rows[i].acked);
        options.acks_local = 2;
        assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
        assert_int_equal(error.code, KW_ERR_ARGUMENT);
        kw_close(kw);
    }
}

static kw_err call(kw_client *kw, unsigned acks, int argc, const char **argv)
{
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = acks;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){argc, argv, NULL});
    assert_int_equal(reply == NULL, error.code != KW_OK && error.code != KW_ERR_DURABILITY);
    kw_reply_free(reply);
    return error.code;
}

static kw_client *open_durable(void)
{
    renew_cluster();
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", ":5");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "MSET *", "+OK");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "WAIT *", ":1");
    return open_cluster("timeout=3s&acks=1&acks-timeout=150ms");
}

static void test_durable_handle_waits_for_all_its_single_writes(void **state)
{
    (void)state;
    kw_client *kw = open_durable();
    const char *one[] = {"INCR", "foo"};
    const char *many[] = {"MSET", "foo", "1", "bar", "2"};
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    assert_int_equal(call(kw, KW_ACKS_NONE, 2, one), KW_OK);
    assert_int_equal(call(kw, KW_ACKS_NONE, 5, many), KW_OK);
    assert_int_equal(kw_fake_count(PRIMARY, "WAIT *"), 0);
    kw_reply_free(kw_command(kw, NULL, "INCR foo"));
    assert_int_equal(kw_fake_count(PRIMARY, "WAIT 1 150"), 1);
    assert_int_equal(call(kw, 0, 2, one), KW_OK);
    assert_int_equal(kw_fake_count(PRIMARY, "WAIT 1 150"), 2);
    assert_int_equal(call(kw, 2, 2, one), KW_ERR_DURABILITY);
    assert_int_equal(kw_fake_count(PRIMARY, "WAIT 2 150"), 1);
    size_t before = kw_fake_count(PRIMARY, "MSET *");
    assert_int_equal(call(kw, 0, 5, many), KW_ERR_UNSUPPORTED);
    assert_int_equal(kw_fake_count(PRIMARY, "MSET *"), before);
    kw_close(kw);
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)reply;
    (void)error;
    (void)arg;
}

static void test_durable_handle_that_waits_refuses_writes_that_nobody_blocks_for(void **state)
{
    (void)state;
    kw_client *kw = open_durable();
    kw_error error = KW_ERROR_INIT;
    const char *one[] = {"INCR", "foo"};
    kw_call_options none = KW_CALL_OPTIONS_INIT;
    none.acks = KW_ACKS_NONE;
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, &error, "INCR foo"), KW_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "KW_ACKS_NONE"));
    assert_int_equal(kw_batch_add(batch, &error, "GET foo"), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
    assert_null(kw_submit_call(kw, &error, NULL, (kw_argv){2, one, NULL}));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_int_equal(
        kw_call_async(kw, &error, (kw_callback){on_reply, NULL}, NULL, (kw_argv){2, one, NULL}),
        KW_ERR_UNSUPPORTED);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
    kw_ticket *ticket = kw_submit_call(kw, &error, &none, (kw_argv){2, one, NULL});
    kw_reply_free(kw_ticket_await(ticket, &error));
    kw_ticket_free(ticket);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 1);
    none.acks_local = 1;
    assert_null(kw_submit_call(kw, &error, &none, (kw_argv){2, one, NULL}));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    kw_session *session = kw_session_open(kw, &error, "foo", 3); /* does as it is told */
    kw_reply_free(kw_session_command(session, &error, "INCR foo"));
    kw_session_close(session);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 2);
    assert_int_equal(kw_fake_count(PRIMARY, "WAIT *"), 0);
    kw_close(kw);
    assert_null(kw_test_try_open("redis-ring://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3?copies=3&acks=1",
                                 &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
}

static kw_client *open_with(const kw_test_memory *memory)
{
    char uri[100];
    kw_config *config = kw_test_config_new(&memory->allocator);
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=3s", kw_fake_address(PRIMARY));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *client = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_non_null(client);
    return client;
}

/* Without memory from any one place on: the write is not run twice, and its reply, once it is
 * there, is kept. */
static void test_durable_no_memory_takes_nothing_from_a_write_that_has_run(void **state)
{
    (void)state;
    static char value[3000];
    memset(value, 'v', sizeof(value));
    const char *argv[] = {"SET", "foo", value};
    const size_t lens[] = {3, 3, sizeof(value)};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_local = 1;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    memory.fail_on = true; /* there is more than one way to read a reply */
    renew_cluster();
    char answer[2000];
    int answer_len = snprintf(answer, sizeof(answer), "$1500\r\n%.*s\r\n", 1500, value);
    kw_fake_on(PRIMARY, KW_FAKE_ALWAYS, "SET *",
               KW_FAKE_STEPS(KW_FAKE_BYTES(answer, (size_t)answer_len)));
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "WAITAOF *", "*2\r\n:1\r\n:1");
    unsigned short_n = 0;
    unsigned failed_n = 0;
    bool is_over = false;
    for (unsigned long i = 1; !is_over; i++) {
        kw_client *kw = open_with(&memory);
        kw_reply_free(kw_command(kw, NULL, "PING"));
        size_t before = kw_fake_count(PRIMARY, "SET *");
        kw_error error = KW_ERROR_INIT;
        memory.calls = 0;
        memory.fail_at = i;
        kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, argv, lens});
        is_over = kw_test_memory_calls(&memory) < i;
        memory.fail_at = 0;
        size_t runs_n = kw_fake_count(PRIMARY, "SET *") - before;
        assert_in_range(runs_n, 0, 1);
        if (reply == NULL) {
            assert_int_equal(error.code, KW_ERR_NOMEM);
            assert_true(runs_n == 0 || error.effect == KW_EFFECT_MAYBE);
            failed_n++;
        } else {
            assert_true(error.code == KW_OK || error.code == KW_ERR_DURABILITY);
            short_n += error.code == KW_ERR_DURABILITY;
        }
        kw_reply_free(reply);
        kw_close(kw);
    }
    assert_int_equal(kw_test_memory_live(&memory), 0);
    assert_true(failed_n > 0);
    assert_true(short_n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_write_and_wait_leave_together_and_have_answers_of_their_own),
        cmocka_unit_test(test_durable_write_that_is_turned_away_takes_no_answer_of_wait),
        cmocka_unit_test(test_durable_wait_has_an_end_before_the_deadline),
        cmocka_unit_test(test_durable_disk_is_asked_for_where_the_call_says_so),
        cmocka_unit_test(test_durable_handle_waits_for_all_its_single_writes),
        cmocka_unit_test(test_durable_handle_that_waits_refuses_writes_that_nobody_blocks_for),
        cmocka_unit_test(test_durable_no_memory_takes_nothing_from_a_write_that_has_run),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
