/* SPDX-License-Identifier: BSD-3-Clause */
/* RESP3: the kinds of replies it adds, what servers push in between, and its refusal where
 * hiredis cannot read it. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <keyway/async_session.h>
#include <keyway/config.h>
#include <keyway/session.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader_functions.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/fake.h"
#include "support/server.h"

#define CALLS_N 500

/* hiredis reads big numbers from 1.1 on. */
#if HIREDIS_MAJOR > 1 || (HIREDIS_MAJOR == 1 && HIREDIS_MINOR >= 1)
#define HAS_BIG true
#else
#define HAS_BIG false
#endif

static void test_protocol_is_2_or_3(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    assert_non_null(config);
    assert_int_equal(kw_config_set(config, &error, "protocol", "2"), KW_OK);
    assert_int_equal(kw_config_set(config, &error, "protocol", "1"), KW_ERR_CONFIG);
    assert_int_equal(kw_config_set(config, &error, "protocol", "4"), KW_ERR_CONFIG);
    assert_int_equal(kw_config_set(config, &error, "protocol", "three"), KW_ERR_CONFIG);
    kw_config_free(config);
}

static void test_protocol_3_is_refused_where_hiredis_cannot_read_it(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    assert_non_null(config);
    kw_err code = kw_config_set(config, &error, "protocol", "3");
    if (kw_reader_knows_resp3()) {
        assert_int_equal(code, KW_OK);
    } else {
        assert_int_equal(code, KW_ERR_UNSUPPORTED);
        assert_non_null(strstr(error.text, "hiredis 1.0"));
        assert_null(kw_test_try_open("redis://127.0.0.1:1?protocol=3", &error));
        assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    }
    kw_config_free(config);
}

static void assert_kind(kw_client *client, kw_reply_kind kind, const char *command)
{
    kw_reply *reply = kw_test_ask(client, command);
    if (kw_reply_type(reply) != kind) {
        fprintf(stderr, "%s: kind %d\n", command, (int)kw_reply_type(reply));
    }
    assert_int_equal(kw_reply_type(reply), kind);
    kw_reply_free(reply);
}

static void test_kinds_of_resp3_arrive(void **state)
{
    (void)state;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    kw_test_server *server = kw_test_server_start(NULL);
    for (unsigned share_above = 0; share_above < 2; share_above++) {
        kw_client *client =
            kw_test_open("%s?protocol=3&share-above=%u", kw_test_server_uri(server), share_above);
        kw_reply_free(kw_test_ask(client, "HSET h f v"));
        kw_reply_free(kw_test_ask(client, "SADD s 1 2"));
        kw_reply_free(kw_test_ask(client, "ZADD z 1.5 m"));
        assert_kind(client, KW_REPLY_MAP, "HGETALL h");
        assert_kind(client, KW_REPLY_SET, "SMEMBERS s");
        assert_kind(client, KW_REPLY_DOUBLE, "ZSCORE z m");
        assert_kind(client, KW_REPLY_NIL, "GET nothing");
        assert_kind(client, KW_REPLY_VERB, "INFO server");
        if (HAS_BIG) {
            assert_kind(client, KW_REPLY_BIGNUM, "DEBUG PROTOCOL BIGNUM");
        }
        assert_kind(client, KW_REPLY_BOOL, "DEBUG PROTOCOL TRUE");
        kw_reply *reply = kw_test_ask(client, "ZSCORE z m");
        assert_string_equal(kw_reply_str(reply, NULL), "1.5");
        kw_reply_free(reply);
        reply = kw_test_ask(client, "HGETALL h");
        assert_int_equal(kw_reply_count(reply), 2);
        assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "v");
        kw_reply_free(reply);
        reply = kw_test_ask(client, "MGET h nothing");
        assert_int_equal(kw_reply_count(reply), 2);
        assert_true(kw_reply_is_nil(kw_reply_at(reply, 1)));
        kw_reply_free(reply);
        kw_close(client);
    }
    kw_test_server_free(server);
}

static void test_pushed_messages_are_dropped_and_counted(void **state)
{
    (void)state;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    kw_fake *fake = kw_fake_start();
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET before",
               KW_FAKE_STEPS(KW_FAKE_SEND(">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n$1\r\nv\r\n")));
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET behind",
               KW_FAKE_STEPS(KW_FAKE_SEND("$1\r\nv\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n")));
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET slowly",
               KW_FAKE_STEPS(KW_FAKE_PIECES(">1\r\n+a\r\n$1\r\nv\r\n>1\r\n+b\r\n", 0)));
    kw_fake_on(fake, KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_SEND(">1\r\n+a\r\n:7\r\n")));
    for (unsigned share_above = 0; share_above < 2; share_above++) {
        kw_client *client =
            kw_test_open("%s?protocol=3&share-above=%u", kw_fake_uri(fake), share_above);
        static const char *const keys[] = {"before", "behind", "slowly"};
        for (size_t i = 0; i < CALLS_N; i++) {
            char *text = kw_test_ask_text(client, "GET %s", keys[i % 3]);
            assert_string_equal(text, "v");
            free(text);
            assert_int_equal(kw_test_ask_integer(client, "INCR n"), 7);
        }
        kw_stats stats = kw_test_stats(client);
        assert_true(stats.pushes >= 2 * CALLS_N - 2);
        kw_close(client);
    }
    kw_fake_free(fake);
}

typedef struct ends {
    kw_reply *reply;
    unsigned n;
} ends;

static void on_end(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    ends *self = arg;
    kw_reply_free(self->reply);
    self->reply = reply;
    self->n++;
}

static void assert_end_is(kw_client *client, const ends *self, unsigned n, const char *expected)
{
    KW_TEST_UNTIL(self->n == n)
    {
        assert_int_equal(kw_process(client, NULL), KW_OK);
    }
    assert_string_equal(kw_reply_text(self->reply, ""), expected);
}

/* They come while nothing is asked: by a server that tracks what the session has read. */
static void test_a_session_outlives_messages_that_its_server_pushes(void **state)
{
    (void)state;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = kw_test_open("%s?protocol=3", kw_test_server_uri(server));
    kw_session *session = kw_session_open(client, NULL, "k", 1);
    kw_async_session *other = kw_async_session_open(client, NULL, "k", 1);
    ends told = {NULL, 0};
    kw_callback callback = {on_end, &told};
    kw_reply_free(kw_session_command(session, NULL, "CLIENT TRACKING ON BCAST"));
    assert_int_equal(kw_async_session_command(other, NULL, callback, "CLIENT TRACKING ON BCAST"),
                     KW_OK);
    assert_end_is(client, &told, 1, "OK");
    for (unsigned i = 0; i < 3; i++) {
        char value[20];
        snprintf(value, sizeof(value), "%u", i);
        kw_test_ask_ok(client, "SET k %s", value);
        kw_test_sleep_ms(5); /* longer than a connection is taken without a look */
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_session_command(session, &error, "GET k");
        assert_string_equal(kw_reply_text(reply, error.text), value);
        kw_reply_free(reply);
        assert_int_equal(kw_async_session_command(other, NULL, callback, "GET k"), KW_OK);
        assert_end_is(client, &told, 2 + i, value);
    }
    assert_true(kw_test_stats(client).pushes >= 4);
    kw_reply_free(told.reply);
    kw_async_session_close(other);
    kw_session_close(session);
    kw_close(client);
    kw_test_server_free(server);
}

static void test_pushed_messages_in_resp2_end_the_connection(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on(fake, KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_SEND(">1\r\n+a\r\n:7\r\n")));
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_test_open("%s", kw_fake_uri(fake));
    assert_null(kw_command(client, &error, "INCR n"));
    assert_int_equal(error.code, KW_ERR_PROTOCOL);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_int_equal(kw_fake_count(fake, "INCR n"), 1);
    kw_close(client);
    kw_fake_free(fake);
}

static void test_server_without_hello_is_refused_for_protocol_3(void **state)
{
    (void)state;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    kw_fake *fake = kw_fake_start();
    kw_error error = KW_ERROR_INIT;
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
    kw_client *client = kw_test_open("%s?protocol=3&timeout=300ms", kw_fake_uri(fake));
    assert_null(kw_command(client, &error, "SET a 1"));
    assert_int_equal(error.code, KW_ERR_HANDSHAKE);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "protocol=2"));
    assert_int_equal(kw_fake_count(fake, "SET *"), 0);
    kw_close(client);
    kw_fake_free(fake);
}

static void test_cluster_works_in_resp3(void **state)
{
    (void)state;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, NULL);
    kw_client *client = kw_test_open("%s?protocol=3&timeout=20s", kw_test_cluster_uri(cluster));
    kw_test_ask_ok(client, "MSET a 1 b 2 c 3 d 4");
    kw_reply *reply = kw_test_ask(client, "MGET a b none c d");
    assert_int_equal(kw_reply_count(reply), 5);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 4), NULL), "4");
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 2)));
    kw_reply_free(reply);
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 4);
    reply = kw_test_ask(client, "KEYS *");
    assert_int_equal(kw_reply_count(reply), 4);
    kw_reply_free(reply);
    const char *words[] = {"CONFIG", "GET", "maxmemory"};
    kw_argv command = {3, words, NULL};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ANY;
    reply = kw_call(client, NULL, &options, command);
    assert_int_equal(kw_reply_type(reply), KW_REPLY_MAP);
    kw_reply_free(reply);
    assert_int_equal(kw_test_ask_integer(client, "DEL a b c d"), 4);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol_is_2_or_3),
        cmocka_unit_test(test_protocol_3_is_refused_where_hiredis_cannot_read_it),
        cmocka_unit_test(test_kinds_of_resp3_arrive),
        cmocka_unit_test(test_pushed_messages_are_dropped_and_counted),
        cmocka_unit_test(test_a_session_outlives_messages_that_its_server_pushes),
        cmocka_unit_test(test_pushed_messages_in_resp2_end_the_connection),
        cmocka_unit_test(test_server_without_hello_is_refused_for_protocol_3),
        cmocka_unit_test(test_cluster_works_in_resp3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
