/* SPDX-License-Identifier: BSD-3-Clause */
/* What the settings ask for and a server refuses: waiting does not bring it, so that every way of
 * sending fails at once. */
#include "fake/fakes.h"
#include "support/turn.h"

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
    KW_TEST_UNTIL(code != KW_ERR_BUSY)
    {
        assert_int_equal(kw_test_turn(kw, 100), KW_OK);
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
static void test_settings_database_out_of_range_fails_at_once(void **state)
{
    (void)state;
    static kw_err (*const ways[])(kw_client *) = {by_call, by_batch, by_ticket, by_callback,
                                                  by_session};
    static const char *const uris[] = {"redis://%s/77?timeout=10s",
                                       "redis-ring://a=%s?db=77&timeout=10s"};
    renew_servers();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SELECT 77", "-ERR DB index is out of range");
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
            kw_client *kw = kw_test_open(uris[i], kw_fake_address(fakes[0]));
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_database_out_of_range_fails_at_once),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
