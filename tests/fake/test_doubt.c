/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that died in silence, as a firewall forgets those that rest: the first call that
 * meets one waits, and those behind it do not. In every way of sending. */
#include "fake/fixture.h"
#include "support/parts.h"
#include "support/ways.h"

#include <stdatomic.h>

enum { OLD = 4 };

/* Connections up to this number are dead, and nobody says so. */
static atomic_uint dead_n;

static bool answer_living(void *arg, kw_fake_call *call)
{
    (void)arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "INCR") != 0) {
        return false;
    }
    if (kw_fake_call_connection(call) > atomic_load(&dead_n)) {
        kw_fake_call_replyf(call, ":1\r\n");
    }
    return true;
}

/* So many connections that rest in the pool. */
static void open_some(kw_client *kw)
{
    kw_session *sessions[OLD];
    for (size_t k = 0; k < OLD; k++) {
        sessions[k] = kw_session_open(kw, NULL, "foo", 3);
        assert_non_null(sessions[k]);
        kw_reply_free(kw_session_command(sessions[k], NULL, "INCR foo"));
    }
    for (size_t k = 0; k < OLD; k++) {
        kw_session_close(sessions[k]);
    }
}

static void test_silent_connection_makes_its_equals_doubtful(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_fake_reset(fake);
        atomic_store(&dead_n, 0);
        kw_fake_respond(fake, answer_living, NULL);
        kw_client *kw = kw_test_open("%s?timeout=700ms&stall-timeout=200ms&on-node-down=wait",
                                     kw_fake_uri(fake));
        assert_true(kw_test_send(kw, (kw_test_way)way, "INCR", "foo").is_answered);
        open_some(kw);
        kw_test_sleep_ms(1200);
        atomic_store(&dead_n, kw_fake_accepted(fake));
        assert_false(kw_test_send(kw, KW_TEST_CALL, "INCR", "foo").is_answered);
        for (int i = 0; i < 2; i++) {
            kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "foo");
            if (!end.is_answered) {
                fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
            }
        }
        kw_close(kw);
    }
    kw_fake_free(fake);
}

/* One that is used all the time, and is slow once, says nothing of the others. */
static void test_slow_answer_without_a_rest_costs_no_other_connection(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    atomic_store(&dead_n, 0);
    kw_fake_respond(fake, answer_living, NULL);
    kw_client *kw =
        kw_test_open("%s?timeout=500ms&stall-timeout=100ms&on-node-down=wait", kw_fake_uri(fake));
    open_some(kw);
    unsigned before = kw_fake_accepted(fake);
    kw_fake_on(fake, 1, "INCR slow", KW_FAKE_STEPS(KW_FAKE_STALL));
    assert_false(kw_test_send(kw, KW_TEST_CALL, "INCR", "slow").is_answered);
    assert_true(kw_test_send(kw, KW_TEST_CALL, "INCR", "foo").is_answered);
    open_some(kw);
    assert_in_range(kw_fake_accepted(fake) - before, 0, 2);
    kw_close(kw);
    kw_fake_free(fake);
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_connection_makes_its_equals_doubtful),
        cmocka_unit_test(test_slow_answer_without_a_rest_costs_no_other_connection),
    };
    return KW_TEST_RUN_SHARE(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 2, run);
}
