/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that are refused, reset, swallowed or greeted wrongly: dialled at a pace, whatever
 * the number of callers; what was wrong is said, and forgotten once it is right. */
#include "fake/fakes.h"
#include "support/parts.h"
#include "support/ways.h"

#include <stdatomic.h>

#define TIMEOUT_MS 300

static kw_client *open_at(const char *login, const char *options)
{
    return kw_test_open("redis://%s%s%s?timeout=%dms", login, kw_fake_address(fakes[0]), options,
                        TIMEOUT_MS);
}

typedef struct fault {
    const char *name;
    const char *login;
    const char *pattern; /* command that steps answer; NULL: steps greet */
    const kw_fake_step *steps;
    kw_err code;
    const char *text;
    bool is_final; /* at once, without another try */
} fault;

/* One write that cannot be sent. False where its deadline fell into a dial, and says no more than
 * that. */
static bool is_refused(kw_client *kw, const fault *row)
{
    kw_error error = KW_ERROR_INIT;
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_in_range(kw_test_now_ms() - start_ms, 0, TIMEOUT_MS + LATE_MS);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_null(strstr(error.text, "secret"));
    unsigned dials_n = kw_fake_accepted(fakes[0]) - accepted_n;
    if (row->is_final ? dials_n > 1 : dials_n > 20) {
        fail_msg("%s: dialled %u times", row->name, dials_n);
    }
    if (strstr(error.text, "the deadline came") != NULL && row->code != KW_ERR_HANDSHAKE) {
        return false;
    }
    expect_error(row->name, &error, row->code, KW_EFFECT_NONE);
    if (strstr(error.text, row->text) == NULL) {
        fail_msg("%s: %s", row->name, error.text);
    }
    return true;
}

/* The command is a write: whatever happens before the greeting is over, it did not run. */
static void run_fault(const fault *row)
{
    renew_servers();
    if (row->pattern != NULL) {
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, row->pattern, row->steps);
    } else {
        kw_fake_on_accept(fakes[0], KW_FAKE_ALWAYS, row->steps);
    }
    kw_client *kw = open_at(row->login, "");
    int tries_n = 0;
    while (!is_refused(kw, row)) {
        assert_in_range(++tries_n, 1, 5);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    uint64_t start_ms = kw_test_now_ms();
    kw_error error = KW_ERROR_INIT;
    bool is_back = false;
    while (!is_back && kw_test_now_ms() - start_ms < 5000) {
        kw_reply *reply = kw_command(kw, &error, "INCR a");
        is_back = kw_reply_int(reply) == 1;
        kw_reply_free(reply);
    }
    if (!is_back) {
        fail_msg("after %s: %s", row->name, error.text);
    }
    kw_close(kw);
}

static void test_connect_faults_run_nothing_and_pass(void **state)
{
    (void)state;
    const fault rows[] = {
        {"too many clients", "", NULL,
         KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE),
         KW_ERR_CONNECT, "max number of clients", false},
        {"protected mode", "", NULL,
         KW_FAKE_STEPS(KW_FAKE_SEND("-DENIED protected mode\r\n"), KW_FAKE_CLOSE), KW_ERR_AUTH,
         "DENIED", true},
        {"closed at once", "", NULL, KW_FAKE_STEPS(KW_FAKE_CLOSE), KW_ERR_CONNECT, "connection",
         false},
        {"reset at once", "", NULL, KW_FAKE_STEPS(KW_FAKE_RESET), KW_ERR_CONNECT, "reset", false},
        {"accepted, then silence", "", "HELLO *", KW_FAKE_STEPS(KW_FAKE_STALL), KW_ERR_HANDSHAKE,
         "HELLO", false},
        {"password wanted", "", "HELLO *",
         KW_FAKE_STEPS(KW_FAKE_SEND("-NOAUTH HELLO must be called with AUTH\r\n")), KW_ERR_AUTH,
         "user:password@", true},
        {"wrong password", "me:secret@", "HELLO *",
         KW_FAKE_STEPS(KW_FAKE_SEND("-WRONGPASS invalid\r\n")), KW_ERR_AUTH, "WRONGPASS", true},
        {"nonsense for HELLO", "", "HELLO *", KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n")),
         KW_ERR_HANDSHAKE, "HELLO", false},
        {"no protocol", "", "HELLO *", KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400\r\n")),
         KW_ERR_PROTOCOL, "Redis server?", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_fault(&rows[i]);
    }
}

/* A read leaves together with the greeting: a server that has no place for the connection has read
 * neither. */
static void test_connect_full_server_has_run_no_read(void **state)
{
    (void)state;
    for (kw_test_way way = 0; way < KW_TEST_WAYS_N; way++) {
        renew_servers();
        kw_fake_on_accept(
            fakes[0], KW_FAKE_ALWAYS,
            KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE));
        kw_client *kw = open_at("", "");
        kw_test_end end = kw_test_send(kw, way, "GET", "a");
        for (int i = 0; i < 5 && strstr(end.error.text, "HELLO in time") != NULL; i++) {
            end = kw_test_send(kw, way, "GET", "a"); /* the deadline came before the refusal */
        }
        assert_false(end.is_answered);
        expect_error(kw_test_way_name(way), &end.error, KW_ERR_CONNECT, KW_EFFECT_NONE);
        kw_close(kw);
    }
}

static void test_connect_old_server_is_greeted_by_auth_and_select(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_log_clear(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "CLIENT SETINFO *", "-ERR unknown subcommand");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = open_at("me:secret@", "/3");
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, "INCR a");
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "AUTH me secret"), 1);
    assert_true(kw_fake_count(fakes[0], "SELECT 3") >= 1);
    kw_fake_entry last;
    assert_true(kw_fake_log_at(fakes[0], kw_fake_log_count(fakes[0]) - 2, &last));
    assert_string_equal(last.text, "SELECT 3"); /* the last word before the command */
    kw_close(kw);
}

/* What waits for a connect knows of nothing but the connect, however long it takes. */
static void test_connect_swallowing_address_has_the_deadline(void **state)
{
    (void)state;
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        print_message("no address that swallows connects can be made here\n");
        return;
    }
    for (int timeout_ms = TIMEOUT_MS; timeout_ms >= TIMEOUT_MS / 10; timeout_ms /= 2) {
        char uri[100];
        snprintf(uri, sizeof(uri), "redis://127.0.0.1:%u?timeout=%dms", (unsigned)hole.port,
                 timeout_ms);
        kw_client *kw = kw_test_try_open(uri, NULL);
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        assert_null(kw_command(kw, &error, "GET a"));
        assert_in_range(kw_test_now_ms() - start_ms, timeout_ms - 5, timeout_ms + LATE_MS);
        if (error.code != KW_ERR_CONNECT) {
            fail_msg("timeout=%dms: %s", timeout_ms, error.text);
        }
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        kw_close(kw);
    }
    kw_test_hole_close(&hole);
}

static void test_connect_unix_socket_that_is_not_there_has_a_hint(void **state)
{
    (void)state;
    kw_client *kw = kw_open("redis+unix:///no/such/keyway.sock?timeout=50ms", NULL);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_CONNECT);
    assert_non_null(strstr(error.text, "/no/such/keyway.sock"));
    assert_non_null(strstr(error.text, "is a server running there?"));
    kw_close(kw);
}

static void test_connect_server_goes_and_comes_back(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = open_at("", "");
    kw_reply_free(kw_command(kw, NULL, "INCR a"));
    kw_fake_down(fakes[0]);
    kw_error error = KW_ERROR_INIT;
    kw_test_sleep_ms(5);
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_non_null(strstr(error.text, "is a server running there?"));
    kw_fake_up(fakes[0]);
    uint64_t up_ms = kw_test_now_ms();
    kw_reply *reply = NULL;
    while (reply == NULL && kw_test_now_ms() - up_ms < 10000) {
        reply = kw_command(kw, &error, "INCR a");
    }
    assert_non_null(reply);
    assert_in_range(kw_test_now_ms() - up_ms, 0, 1000 + LATE_MS);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_connect_optional_greetings_may_fail(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_log_clear(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "CLIENT *", "-ERR unknown subcommand");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET *", "+v");
    kw_client *kw = open_at("", "");
    kw_reply *reply = kw_command(kw, NULL, "GET a");
    assert_string_equal(kw_reply_str(reply, NULL), "v");
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "CLIENT SETINFO LIB-NAME keyway"), 1);
    assert_int_equal(kw_fake_count(fakes[0], "CLIENT SETINFO LIB-VER " KW_VERSION), 1);
    kw_close(kw);
}

static void test_connect_wrong_kind_of_server_is_named(void **state)
{
    (void)state;
    kw_fake_reset(fakes[0]);
    kw_fake_set_map(fakes[0], NULL, NULL);
    char uri[100];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=300ms", kw_fake_address(fakes[0]));
    kw_client *kw = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "use redis://"));
    kw_close(kw);
}

#define THREADS_N 16
#define WHILE_MS  600

/* What one handle may dial a node that refuses it, a second. */
#define DIALS_PER_S 20

/* Servers come back and are used again within this. */
#define BACK_MS 1000

typedef struct caller {
    pthread_t thread;
    kw_client *kw;
    uint64_t until_ms;
    atomic_int *calls_n;
    kw_err code; /* of its last call */
    kw_effect effect;
} caller;

static void *call_until(void *arg)
{
    caller *self = arg;
    while (kw_test_now_ms() < self->until_ms) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(self->kw, &error, "INCR a");
        self->code = reply != NULL ? KW_OK : error.code;
        self->effect = error.effect;
        kw_reply_free(reply);
        atomic_fetch_add(self->calls_n, 1);
        kw_test_sleep_ms(1);
    }
    return NULL;
}

/* Many callers that go on for a while whatever they are told. */
static void call_for_a_while(kw_client *kw, kw_err code)
{
    caller callers[THREADS_N];
    atomic_int calls_n = 0;
    uint64_t until_ms = kw_test_now_ms() + WHILE_MS;
    for (size_t i = 0; i < THREADS_N; i++) {
        callers[i] = (caller){.kw = kw, .until_ms = until_ms, .calls_n = &calls_n};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_until, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS_N; i++) {
        kw_test_join(callers[i].thread);
        assert_int_equal(callers[i].effect, KW_EFFECT_NONE);
        if (callers[i].code != code) {
            fail_msg("%s", kw_err_name(callers[i].code));
        }
    }
    assert_true(calls_n >= THREADS_N);
}

static void expect_back(kw_client *kw)
{
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *reply = NULL;
    kw_error error = KW_ERROR_INIT;
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    while (reply == NULL && kw_test_now_ms() - start_ms < BACK_MS + LATE_MS) {
        reply = kw_command(kw, &error, "INCR a");
    }
    if (reply == NULL) {
        fail_msg("not back: %s", error.text);
    }
    kw_reply_free(reply);
}

static void test_connect_refusing_port_is_dialled_at_a_pace(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_down(fakes[0]);
    int descriptors_n = kw_test_fd_count();
    kw_client *kw = kw_test_open("%s?timeout=100ms", kw_fake_uri(fakes[0]));
    uint64_t start_ms = kw_test_now_ms();
    call_for_a_while(kw, KW_ERR_CONNECT);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    kw_stats stats = kw_test_stats(kw);
    assert_int_equal(stats.connects, 0);
    assert_in_range(stats.connect_failures, 2, DIALS_PER_S * (elapsed_ms / 1000 + 1));
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
    kw_fake_up(fakes[0]);
    expect_back(kw);
    kw_close(kw);
}

/* Taken, and given up at once: by a proxy without a server, by one with too many clients, by
 * one that is not for us. */
static void test_connect_unwilling_server_is_dialled_at_a_pace(void **state)
{
    (void)state;
    const struct {
        const kw_fake_step *steps;
        kw_err code;
    } rows[] = {
        {KW_FAKE_STEPS(KW_FAKE_RESET), KW_ERR_CONNECT},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE),
         KW_ERR_CONNECT},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-DENIED Redis is running in protected mode\r\n"),
                       KW_FAKE_CLOSE),
         KW_ERR_AUTH},
        {KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad Request\r\n\r\n"), KW_FAKE_CLOSE),
         KW_ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_servers();
        kw_fake_on_accept(fakes[0], KW_FAKE_ALWAYS, rows[i].steps);
        kw_client *kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
        unsigned before_n = kw_fake_accepted(fakes[0]);
        uint64_t start_ms = kw_test_now_ms();
        call_for_a_while(kw, rows[i].code);
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        unsigned dials_n = kw_fake_accepted(fakes[0]) - before_n;
        assert_in_range(dials_n, 2, DIALS_PER_S * (elapsed_ms / 1000 + 1));
        assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
        kw_fake_reset(fakes[0]);
        expect_back(kw);
        kw_close(kw);
    }
}

/* A wrong password is no reason to hammer the door, and a right one opens it. */
static void test_connect_refused_login_is_not_tried_over_and_over(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "HELLO *",
                     "-WRONGPASS invalid username-password pair");
    kw_client *kw = kw_test_open("redis://me:sesame@%s?timeout=100ms", kw_fake_address(fakes[0]));
    unsigned before_n = kw_fake_accepted(fakes[0]);
    call_for_a_while(kw, KW_ERR_AUTH);
    assert_in_range(kw_fake_accepted(fakes[0]) - before_n, 1, DIALS_PER_S);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_null(strstr(error.text, "sesame"));
    kw_fake_reset(fakes[0]);
    expect_back(kw);
    assert_true(kw_fake_count(fakes[0], "HELLO 2 AUTH me sesame*") >= 1);
    kw_close(kw);
}

/* The password is asked for later, by a server that was set so meanwhile: the server's word,
 * at once. */
static void test_connect_login_wanted_in_the_middle_is_the_servers_word(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_on_reply(fakes[0], 1, "INCR *", ":1");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", "-NOAUTH Authentication required.");
    kw_client *kw = kw_test_open("%s?timeout=300ms", kw_fake_uri(fakes[0]));
    assert_int_equal(kw_test_ask_integer(kw, "INCR a"), 1);
    for (int i = 0; i < 3; i++) {
        char *text = kw_test_ask_error(kw, "INCR a");
        assert_string_equal(text, "NOAUTH Authentication required.");
        free(text);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 4);
    kw_close(kw);
}

/* It takes connections and says nothing for a while, as a stopped process does. */
static void test_connect_server_that_stood_still_is_used_again(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "HELLO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_client *kw = kw_test_open("%s?timeout=100ms", kw_fake_uri(fakes[0]));
    call_for_a_while(kw, KW_ERR_HANDSHAKE);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
    assert_in_range(kw_fake_accepted(fakes[0]), 1, 1000);
    kw_fake_reset(fakes[0]);
    expect_back(kw);
    kw_close(kw);
}

/* Slow to greet, and many who want in: they wait for each other, and all are served. */
static void test_connect_slow_greeting_serves_all_who_wait(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(30), KW_FAKE_SEND("+OK\r\n")));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = kw_test_open("%s?timeout=3s&pool-max=4", kw_fake_uri(fakes[0]));
    unsigned before_n = kw_fake_accepted(fakes[0]);
    call_for_a_while(kw, KW_OK);
    assert_in_range(kw_fake_accepted(fakes[0]) - before_n, 1, 5); /* pool-max, and the lane */
    assert_int_equal(kw_test_stats(kw).failures, 0);
    kw_close(kw);
}

static void keep_line(void *arg, kw_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "redis-cluster://") != NULL) {
        snprintf(arg, 300, "%s", text);
    }
}

/* redis:// at a node of a cluster: keys of other nodes are answered by MOVED; the log says
 * what to write instead. */
static void test_connect_cluster_node_as_single_server_is_named(void **state)
{
    (void)state;
    renew_servers();
    const kw_fake_range ranges[] = {{0, 16383, fakes[0], NULL}};
    kw_fake_set_cluster(&fakes[0], 1, ranges, 1);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", "-MOVED 12182 127.0.0.1:1");
    char line[300] = "";
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_fake_uri(fakes[0])), KW_OK);
    kw_config_set_log(config, KW_LOG_WARNING, keep_line, line);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    char *text = kw_test_ask_error(kw, "INCR foo");
    assert_int_equal(strncmp(text, "MOVED 12182 127.0.0.1:1 (", 25), 0);
    assert_non_null(strstr(text, "redis-cluster://"));
    free(text);
    assert_non_null(strstr(line, "redis-cluster://"));
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 1);
    kw_close(kw);
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_faults_run_nothing_and_pass),
        cmocka_unit_test(test_connect_full_server_has_run_no_read),
        cmocka_unit_test(test_connect_old_server_is_greeted_by_auth_and_select),
        cmocka_unit_test(test_connect_swallowing_address_has_the_deadline),
        cmocka_unit_test(test_connect_unix_socket_that_is_not_there_has_a_hint),
        cmocka_unit_test(test_connect_server_goes_and_comes_back),
        cmocka_unit_test(test_connect_optional_greetings_may_fail),
        cmocka_unit_test(test_connect_wrong_kind_of_server_is_named),
        cmocka_unit_test(test_connect_refusing_port_is_dialled_at_a_pace),
        cmocka_unit_test(test_connect_unwilling_server_is_dialled_at_a_pace),
        cmocka_unit_test(test_connect_refused_login_is_not_tried_over_and_over),
        cmocka_unit_test(test_connect_login_wanted_in_the_middle_is_the_servers_word),
        cmocka_unit_test(test_connect_server_that_stood_still_is_used_again),
        cmocka_unit_test(test_connect_slow_greeting_serves_all_who_wait),
        cmocka_unit_test(test_connect_cluster_node_as_single_server_is_named),
    };
    return KW_TEST_RUN_SHARE(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 4, run);
}
