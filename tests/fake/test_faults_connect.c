/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that are refused, reset, swallowed or greeted wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 300
#define LATE_MS    1500

static kw_fake *fake;

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fake);
    return 0;
}

static kw_client *open_at(const char *login, const char *options)
{
    return kw_test_open("redis://%s%s%s?timeout=%dms", login, kw_fake_address(fake), options,
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

/* The command is a write: whatever happens before the greeting is over, it did not run. */
static void run_fault(const fault *row)
{
    kw_fake_reset(fake);
    kw_fake_log_clear(fake);
    if (row->pattern != NULL) {
        kw_fake_on(fake, KW_FAKE_ALWAYS, row->pattern, row->steps);
    } else {
        kw_fake_on_accept(fake, KW_FAKE_ALWAYS, row->steps);
    }
    kw_client *kw = open_at(row->login, "");
    kw_error error = KW_ERROR_INIT;
    unsigned accepted_n = kw_fake_accepted(fake);
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(kw, &error, "INCR a"));
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_in_range(elapsed_ms, 0, TIMEOUT_MS + LATE_MS);
    if (error.code != row->code || error.effect != KW_EFFECT_NONE ||
        strstr(error.text, row->text) == NULL) {
        fail_msg("%s: %s, %s: %s", row->name, kw_err_name(error.code), kw_effect_name(error.effect),
                 error.text);
    }
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(kw_fake_count(fake, "INCR *"), 0);
    unsigned dials_n = kw_fake_accepted(fake) - accepted_n;
    if (row->is_final ? dials_n > 1 : dials_n > 20) {
        fail_msg("%s: dialled %u times", row->name, dials_n);
    }
    kw_fake_reset(fake);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    bool is_back = false;
    for (uint64_t i = 0; !is_back && kw_test_now_ms() - start_ms < 5000; i++) {
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

static void on_failure(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_reply_free(reply);
    *(kw_err *)arg = error != NULL ? error->code : KW_OK;
}

static kw_err by_callback(kw_client *kw)
{
    kw_err code = KW_ERR_BUSY;
    kw_callback callback = {on_failure, &code};
    assert_int_equal(kw_command_async(kw, NULL, callback, "INCR a"), KW_OK);
    while (code == KW_ERR_BUSY) {
        struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
        (void)poll(&entry, 1, kw_timeout(kw));
        assert_int_equal(kw_process(kw, NULL), KW_OK);
    }
    return code;
}

static kw_err by_batch(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR a"), KW_OK);
    (void)kw_batch_run(batch, NULL, 0);
    assert_null(kw_batch_reply(batch, &error, 0));
    kw_batch_free(batch);
    return error.code;
}

static kw_err by_ticket(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    kw_ticket *ticket = kw_submit(kw, &error, "INCR a");
    assert_null(kw_ticket_await(ticket, &error));
    kw_ticket_free(ticket);
    return error.code;
}

static kw_err by_call(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_non_null(strstr(error.text, "option db"));
    return error.code;
}

static kw_err by_session(kw_client *kw)
{
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(kw, &error, "a", 1);
    if (session != NULL) {
        assert_null(kw_session_command(session, &error, "INCR a"));
    }
    kw_session_close(session);
    return error.code;
}

/* A database that the server does not have: waiting does not bring it. The next calls fail as fast.
 */
static void test_connect_database_out_of_range_fails_at_once(void **state)
{
    (void)state;
    static kw_err (*const ways[])(kw_client *) = {by_call, by_batch, by_ticket, by_callback,
                                                  by_session};
    static const char *const uris[] = {"redis://%s/77?timeout=10s",
                                       "redis-ring://a=%s?db=77&timeout=10s"};
    kw_fake_reset(fake);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "SELECT 77", "-ERR DB index is out of range");
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
            kw_client *kw = kw_test_open(uris[i], kw_fake_address(fake));
            uint64_t start_ms = kw_test_now_ms();
            for (int n = 0; n < 3; n++) {
                kw_err code = ways[k](kw);
                if (code != KW_ERR_HANDSHAKE) {
                    fail_msg("%s, way %zu, call %d: %s", uris[i], k, n, kw_err_name(code));
                }
            }
            assert_in_range(kw_test_now_ms() - start_ms, 0, 5000);
            kw_close(kw);
        }
    }
    kw_fake_reset(fake);
}

static void test_connect_old_server_is_greeted_by_auth_and_select(void **state)
{
    (void)state;
    kw_fake_reset(fake);
    kw_fake_log_clear(fake);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "CLIENT SETINFO *", "-ERR unknown subcommand");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = open_at("me:secret@", "/3");
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, "INCR a");
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fake, "AUTH me secret"), 1);
    assert_true(kw_fake_count(fake, "SELECT 3") >= 1);
    kw_fake_entry last;
    assert_true(kw_fake_log_at(fake, kw_fake_log_count(fake) - 2, &last));
    assert_string_equal(last.text, "SELECT 3"); /* the last word before the command */
    kw_close(kw);
}

static void test_connect_swallowing_address_has_the_deadline(void **state)
{
    (void)state;
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        print_message("no address that swallows connects can be made here\n");
        return;
    }
    char uri[100];
    snprintf(uri, sizeof(uri), "redis://127.0.0.1:%u?timeout=%dms", (unsigned)hole.port,
             TIMEOUT_MS);
    kw_client *kw = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(kw, &error, "GET a"));
    assert_in_range(kw_test_now_ms() - start_ms, TIMEOUT_MS - 5, TIMEOUT_MS + LATE_MS);
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_close(kw);
    kw_test_hole_close(&hole);
}

static void test_connect_server_goes_and_comes_back(void **state)
{
    (void)state;
    kw_fake_reset(fake);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = open_at("", "");
    kw_reply_free(kw_command(kw, NULL, "INCR a"));
    kw_fake_down(fake);
    kw_error error = KW_ERROR_INIT;
    kw_test_sleep_ms(5);
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_non_null(strstr(error.text, "is a server running there?"));
    kw_fake_up(fake);
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
    kw_fake_reset(fake);
    kw_fake_log_clear(fake);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "CLIENT *", "-ERR unknown subcommand");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "GET *", "+v");
    kw_client *kw = open_at("", "");
    kw_reply *reply = kw_command(kw, NULL, "GET a");
    assert_string_equal(kw_reply_str(reply, NULL), "v");
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fake, "CLIENT SETINFO LIB-NAME keyway"), 1);
    assert_int_equal(kw_fake_count(fake, "CLIENT SETINFO LIB-VER " KW_VERSION), 1);
    kw_close(kw);
}

static void test_connect_wrong_kind_of_server_is_named(void **state)
{
    (void)state;
    kw_fake_reset(fake);
    kw_fake_set_map(fake, NULL, NULL);
    char uri[100];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=300ms", kw_fake_address(fake));
    kw_client *kw = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "use redis://"));
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_faults_run_nothing_and_pass),
        cmocka_unit_test(test_connect_database_out_of_range_fails_at_once),
        cmocka_unit_test(test_connect_old_server_is_greeted_by_auth_and_select),
        cmocka_unit_test(test_connect_swallowing_address_has_the_deadline),
        cmocka_unit_test(test_connect_server_goes_and_comes_back),
        cmocka_unit_test(test_connect_optional_greetings_may_fail),
        cmocka_unit_test(test_connect_wrong_kind_of_server_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
