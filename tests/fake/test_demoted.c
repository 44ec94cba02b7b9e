/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that is not what its sentinels still say: it is dialled as rarely as one that refuses a
 * login, in every way of sending, and what it is by then is seen as soon as it may be dialled. */
#include "fake/sentinel_fakes.h"
#include "support/parts.h"
#include "support/ways.h"

#include <pthread.h>

/* Calls go on for so long, and the server gets so many connects meanwhile at most: those of calls,
 * and of the questions for a map. */
#define SPAN_MS   500
#define DIALS_MAX 25

enum { CALLERS = 8 };

/* PRIMARY is a replica of OTHER. */
static void demote(void)
{
    kw_fake_reset(PRIMARY);
    be_replica(PRIMARY, "connected");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "* a",
                     "-READONLY You can't write against a read only replica.");
}

/* It is handed over, and its ROLE does not say so yet. */
static void hand_over(void)
{
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "* a", "-REDIRECT %s", kw_fake_address(OTHER));
}

static void promote(void)
{
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "* a", ":0");
}

static void expect_end(const kw_test_end *end, kw_test_way way, bool is_answered)
{
    kw_err code = end->error.code;
    /* Or the deadline came while it was dialled. */
    bool is_told = !is_answered && !end->is_answered && end->error.effect == KW_EFFECT_NONE &&
                   (code == KW_ERR_ROLE || code == KW_ERR_READONLY || code == KW_ERR_CONNECT ||
                    code == KW_ERR_HANDSHAKE);
    if (!is_told && !(is_answered && end->is_answered)) {
        fail_msg("%s: %s, %s: %s", kw_test_way_name(way), kw_err_name(end->error.code),
                 kw_effect_name(end->error.effect), end->error.text);
    }
}

/* Calls for a while; how many connects PRIMARY got by them. */
static unsigned call_for_a_while(kw_client *kw, kw_test_way way, bool is_answered)
{
    unsigned before_n = kw_fake_accepted(PRIMARY);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < SPAN_MS) {
        kw_test_end end = kw_test_send(kw, way, "INCR", "a");
        expect_end(&end, way, is_answered);
        kw_test_sleep_ms(1); /* some hundred calls tell as much as thousands */
    }
    return kw_fake_accepted(PRIMARY) - before_n;
}

static void expect_soon(kw_client *kw, kw_test_way way, kw_fake *server)
{
    size_t before_n = kw_fake_count(server, "INCR *");
    kw_test_end end;
    uint64_t start_ms = kw_test_now_ms();
    do {
        end = kw_test_send(kw, way, "INCR", "a");
        assert_in_range(kw_test_now_ms() - start_ms, 0, 1200 + LATE_MS);
    } while (!end.is_answered);
    assert_true(kw_fake_count(server, "INCR *") > before_n);
}

/* In every way of sending, until the sentinels name another one. */
static void expect_rare_dials(const char *options, void (*change)(void), bool is_answered)
{
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        reset_fakes();
        kw_client *kw = open_n(1, options);
        expect_number(kw, "INCR a", 0);
        change();
        assert_in_range(call_for_a_while(kw, (kw_test_way)way, is_answered), 1, DIALS_MAX);
        name(sentinels[0], OTHER, NULL, "", NULL);
        expect_soon(kw, (kw_test_way)way, OTHER);
        kw_close(kw);
    }
}

static void test_demoted_primary_is_dialled_rarely_until_it_is_replaced(void **state)
{
    (void)state;
    expect_rare_dials("timeout=100ms", demote, false);
}

static void test_demoted_primary_that_is_promoted_again_is_used_at_once(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        reset_fakes();
        kw_client *kw = open_n(1, "timeout=100ms");
        expect_number(kw, "INCR a", 0);
        demote();
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "a");
        expect_end(&end, (kw_test_way)way, false);
        promote();
        expect_soon(kw, (kw_test_way)way, PRIMARY);
        kw_close(kw);
    }
}

static void test_demoted_primary_that_redirects_is_dialled_rarely(void **state)
{
    (void)state;
    expect_rare_dials("timeout=5s", hand_over, true);
}

static void *call_from_a_thread(void *arg)
{
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < SPAN_MS) {
        kw_reply_free(kw_command(arg, NULL, "INCR a"));
        kw_test_sleep_ms(1);
    }
    return NULL;
}

/* Each on a connection of its own, or on the node's lane. */
static void test_demoted_primary_is_dialled_as_rarely_by_many(void **state)
{
    (void)state;
    static const char *const options[] = {"timeout=100ms", "timeout=100ms&share-above=0"};
    for (size_t k = 0; k < 2; k++) {
        pthread_t threads[CALLERS];
        reset_fakes();
        kw_client *kw = open_n(1, options[k]);
        expect_number(kw, "INCR a", 0);
        demote();
        unsigned before_n = kw_fake_accepted(PRIMARY);
        for (size_t i = 0; i < CALLERS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, call_from_a_thread, kw), 0);
        }
        for (size_t i = 0; i < CALLERS; i++) {
            kw_test_join(threads[i]);
        }
        assert_in_range(kw_fake_accepted(PRIMARY) - before_n, 1, DIALS_MAX);
        name(sentinels[0], OTHER, NULL, "", NULL);
        expect_soon(kw, KW_TEST_CALL, OTHER);
        kw_close(kw);
    }
}

/* A replica that has lost its primary, where nothing but replicas will do. */
static void test_replica_without_a_link_is_dialled_rarely(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        reset_fakes();
        name(sentinels[0], PRIMARY, OTHER, "slave", NULL);
        be_replica(OTHER, "connect");
        kw_client *kw = open_n(1, "timeout=100ms&read-preference=replica");
        uint64_t start_ms = kw_test_now_ms();
        unsigned before_n = kw_fake_accepted(OTHER);
        while (kw_test_now_ms() - start_ms < SPAN_MS) {
            kw_test_end end = kw_test_send(kw, (kw_test_way)way, "GET", "a");
            /* A session's reads are the primary's. */
            bool is_pinned = way == KW_TEST_SESSION || way == KW_TEST_ASYNC_SESSION;
            expect_end(&end, (kw_test_way)way, is_pinned);
            kw_test_sleep_ms(1);
        }
        assert_in_range(kw_fake_accepted(OTHER) - before_n, 0, DIALS_MAX);
        kw_fake_reset(OTHER);
        be_replica(OTHER, "connected");
        kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "GET *", ":1");
        start_ms = kw_test_now_ms();
        while (!kw_test_send(kw, (kw_test_way)way, "GET", "a").is_answered) {
            assert_in_range(kw_test_now_ms() - start_ms, 0, 1200 + LATE_MS);
        }
        kw_close(kw);
    }
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demoted_primary_is_dialled_rarely_until_it_is_replaced),
        cmocka_unit_test(test_demoted_primary_that_is_promoted_again_is_used_at_once),
        cmocka_unit_test(test_demoted_primary_that_redirects_is_dialled_rarely),
        cmocka_unit_test(test_demoted_primary_is_dialled_as_rarely_by_many),
        cmocka_unit_test(test_replica_without_a_link_is_dialled_rarely),
    };
    return KW_TEST_RUN_SHARE(tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 3, run);
}
