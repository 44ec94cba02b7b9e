/* SPDX-License-Identifier: BSD-3-Clause */
/* The script of the quorum on a real server, against the same rules in memory.
 * KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "engine/quorum_script.h"
#include "support/quorum_copy.h"
#include "support/server.h"

#define LINGER_MS 1000000u
#define AGES_MS   UINT64_C(4000000000000) /* no version is so far behind */
#define KEYS_N    4u
#define SLACK_MS  30000 /* the machine may be slow; lives are far longer, or far shorter */

static kw_test_server *server_of(void **state)
{
    return *state;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sends an ask; the reply is the caller's. */
static redisReply *ask_server(redisContext *context, const char *key, const char *marker,
                              const kw_quorum_ask *ask)
{
    kw_buf buf;
    kw_buf_init(&buf, kw_mem_default(), NULL, 0);
    kw_quorum_place place = {kw_bytes_of(key), kw_bytes_of(marker), false};
    void *reply = NULL;
    for (int i = 0; i < 2; i++) {
        buf.len = 0;
        assert_true(kw_quorum_script_encode(&buf, &place, ask));
        assert_int_equal(redisAppendFormattedCommand(context, buf.data, buf.len), REDIS_OK);
        assert_int_equal(redisGetReply(context, &reply), REDIS_OK);
        if (!kw_reply_has_code(reply, "NOSCRIPT")) {
            break;
        }
        freeReplyObject(reply);
        freeReplyObject(redisCommand(context, "SCRIPT LOAD %s", kw_quorum_script()->text.data));
    }
    kw_buf_fini(&buf);
    return reply;
}

static redisContext *connect_to(kw_test_server *server)
{
    redisContext *context = redisConnect("127.0.0.1", kw_test_server_port(server));
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    return context;
}

static void assert_same(const kw_quorum_answer *a, const kw_quorum_answer *b)
{
    assert_int_equal(a->is_taken, b->is_taken);
    assert_int_equal(a->is_kept, b->is_kept);
    assert_int_equal(a->has_record, b->has_record);
    if (!a->has_record) {
        return;
    }
    assert_true(kw_stamp_equal(a->record.stamp, b->record.stamp));
    assert_true(kw_stamp_equal(a->record.origin, b->record.origin));
    bool is_by_clock = a->record.promise.writer == 0 && a->record.promise.time != 0;
    assert_true(is_by_clock || kw_stamp_equal(a->record.promise, b->record.promise));
    assert_int_equal(is_by_clock, b->record.promise.writer == 0 && b->record.promise.time != 0);
    assert_true(a->record.floor == b->record.floor);
    assert_true(a->record.recent == b->record.recent);
    assert_true(llabs((long long)(a->record.linger_ms - b->record.linger_ms)) < SLACK_MS);
    assert_int_equal(a->record.is_tombstone, b->record.is_tombstone);
    assert_int_equal(a->record.is_copied, b->record.is_copied);
    assert_int_equal(a->record.is_mortal, b->record.is_mortal);
    assert_int_equal(a->record.is_kept, b->record.is_kept);
    assert_int_equal(a->record.value.len, b->record.value.len);
    assert_memory_equal(a->record.value.data, b->record.value.data, a->record.value.len);
    assert_int_equal(a->is_mortal, b->is_mortal);
    if (a->is_mortal) {
        assert_true(llabs((long long)(a->left_ms - b->left_ms)) < SLACK_MS);
    }
}

/* The key ends on the server when it ends in memory. */
static void assert_end(redisContext *context, const char *key, const kw_test_copy *copy)
{
    redisReply *reply = redisCommand(context, "PTTL %s", key);
    long long left = copy->has_key ? -1 : -2;
    if (copy->has_key && copy->ends_ms != 0) {
        left = (long long)(copy->ends_ms - now_ms());
        assert_true(reply->integer >= 0 && llabs(reply->integer - left) < SLACK_MS);
    } else {
        assert_int_equal(reply->integer, left);
    }
    freeReplyObject(reply);
}

static kw_stamp some_stamp(kw_random *random)
{
    /* Bytes above and below 128, and equal times, so that every way to compare wrongly
     * shows. */
    kw_stamp stamp = {(UINT64_C(0x7f) << 40) + kw_random_below(random, 6) * 0x4142u,
                      kw_random_below(random, 4) << 62 | kw_random_below(random, 3)};
    stamp.time += kw_random_below(random, 40) << 20;
    return stamp;
}

static kw_quorum_ask some_ask(kw_random *random, char *value)
{
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.kind = (kw_quorum_ask_kind)kw_random_below(random, 4);
    ask.linger_ms = LINGER_MS;
    ask.behind_ms = kw_random_below(random, 8) == 0 ? 0 : AGES_MS;
    ask.record.stamp = some_stamp(random);
    ask.record.origin = ask.record.stamp;
    if (ask.kind == KW_QUORUM_PREPARE || ask.kind == KW_QUORUM_SEAL) {
        kw_stamp *second = ask.kind == KW_QUORUM_PREPARE ? &ask.record.origin : &ask.record.promise;
        memset(second, 0, sizeof(*second));
        if (kw_random_below(random, 2) == 0) {
            *second = some_stamp(random);
        }
    }
    if (ask.kind != KW_QUORUM_PUT) {
        return ask;
    }
    if (kw_random_below(random, 3) == 0) {
        ask.record.origin.time -= kw_random_below(random, 3) << 20;
    }
    uint64_t sort = kw_random_below(random, 6);
    ask.record.is_tombstone = sort == 0;
    ask.record.is_mortal = sort == 1 || sort == 2;
    ask.record.linger_ms = ask.record.is_mortal ? LINGER_MS : 0;
    ask.life_ms = sort > 2 ? 0 : sort == 1 ? LINGER_MS * 2 : LINGER_MS / 2;
    ask.record.is_copied = kw_random_below(random, 2) == 0;
    ask.wants_value = kw_random_below(random, 2) == 0;
    ask.record.is_kept =
        (ask.record.is_mortal || ask.record.is_tombstone) && kw_random_below(random, 3) == 0;
    if (ask.record.is_kept) { /* as a repair does */
        ask.record.linger_ms += ask.record.is_mortal ? KW_RECORD_KEPT_MS : 0;
        ask.life_ms = ask.record.is_mortal ? ask.life_ms + KW_RECORD_KEPT_MS : 0;
    }
    if (kw_random_below(random, 4) == 0) { /* as a repair does */
        ask.record.floor = some_stamp(random).time;
    }
    if (!ask.record.is_tombstone) {
        ask.record.value.len = (size_t)kw_random_below(random, 30);
        ask.record.value.data = value;
        for (size_t i = 0; i < ask.record.value.len; i++) {
            value[i] = (char)kw_random_below(random, 256);
        }
    }
    return ask;
}

static uint64_t real_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Now and then a life, or a key, ends on both sides; or nearly. */
static void end_one(redisContext *context, kw_random *random, const char *key, kw_test_copy *copy)
{
    const kw_record *record = &copy->record;
    uint64_t dice = kw_random_below(random, 12);
    if (!copy->has_key || copy->ends_ms == 0 || dice > 2) {
        return;
    }
    uint64_t left_ms = dice == 0 ? 0 : dice == 1 ? record->linger_ms : record->linger_ms / 2;
    left_ms = dice == 2 && !record->is_mortal ? SLACK_MS * 4 : left_ms;
    copy->has_key = left_ms > 0;
    copy->ends_ms = left_ms > 0 ? now_ms() + left_ms : 0;
    freeReplyObject(redisCommand(context, "PEXPIRE %s %llu", key, (unsigned long long)left_ms));
}

static void test_quorum_script_does_as_the_rules_say(void **state)
{
    static kw_test_copy copies[KEYS_N];
    static kw_test_copy_answer expected;
    redisContext *context = connect_to(server_of(state));
    kw_random random;
    kw_random_init(&random, 42);
    char value[64];
    for (unsigned i = 0; i < 6000; i++) {
        unsigned number = (unsigned)kw_random_below(&random, KEYS_N);
        char key[] = {'q', (char)('a' + number), '\0'};
        if (kw_random_below(&random, 60) == 0) { /* begin anew */
            memset(&copies[number], 0, sizeof(copies[number]));
            freeReplyObject(redisCommand(context, "DEL %s", key));
        }
        kw_quorum_ask ask = some_ask(&random, value);
        end_one(context, &random, key, &copies[number]);
        copies[number].past.time = ask.behind_ms == 0 ? (real_ms() - 1000) << 16 : 0;
        kw_test_copy_do(&copies[number], &expected, &ask, now_ms());
        redisReply *reply = ask_server(context, key, "", &ask);
        kw_quorum_answer answer;
        kw_error error = KW_ERROR_INIT;
        kw_err code =
            kw_quorum_script_read(&answer, &error, ask.kind, (const kw_reply *)(void *)reply);
        if (code != KW_OK) {
            fprintf(stderr, "ask %u: %s\n", i, error.text);
        }
        assert_int_equal(code, KW_OK);
        assert_same(&expected.answer, &answer);
        freeReplyObject(reply);
        assert_end(context, key, &copies[number]);
    }
    redisFree(context);
}

static void test_quorum_script_has_the_name_that_is_used(void **state)
{
    redisContext *context = connect_to(server_of(state));
    redisReply *reply = redisCommand(context, "SCRIPT LOAD %s", kw_quorum_script()->text.data);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    assert_string_equal(reply->str, kw_quorum_script()->sha1);
    freeReplyObject(reply);
    redisFree(context);
}

/* A promise protects what is built on it, not what it found: it may not end with that. */
static void test_quorum_script_promise_outlives_what_was_there(void **state)
{
    redisContext *context = connect_to(server_of(state));
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    for (unsigned ends_ms = 1; ends_ms <= 101; ends_ms += 20) {
        memset(&ask, 0, sizeof(ask));
        ask.kind = KW_QUORUM_PUT;
        ask.record.stamp.time = 10;
        ask.record.origin = ask.record.stamp;
        ask.record.is_tombstone = true;
        ask.life_ms = ends_ms;
        ask.behind_ms = AGES_MS;
        freeReplyObject(redisCommand(context, "DEL promised"));
        freeReplyObject(ask_server(context, "promised", "", &ask));
        ask.kind = KW_QUORUM_PREPARE;
        ask.record.stamp.time = 20;
        ask.linger_ms = LINGER_MS;
        freeReplyObject(ask_server(context, "promised", "", &ask));
        redisReply *left = redisCommand(context, "PTTL promised");
        assert_true(left->integer > LINGER_MS - SLACK_MS && left->integer <= LINGER_MS);
        freeReplyObject(left);
    }
    redisFree(context);
}

static void assert_refused(redisContext *context, const char *key, const char *marker,
                           const char *word)
{
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.kind = KW_QUORUM_GET;
    redisReply *reply = ask_server(context, key, marker, &ask);
    kw_quorum_answer answer;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(
        kw_quorum_script_read(&answer, &error, ask.kind, (const kw_reply *)(void *)reply),
        KW_ERR_PROTOCOL);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, word));
    freeReplyObject(reply);
}

static void test_quorum_script_refuses_foreign_values_and_empty_servers(void **state)
{
    redisContext *context = connect_to(server_of(state));
    freeReplyObject(redisCommand(context, "SET foreign some-plain-value-of-somebody-else"));
    freeReplyObject(redisCommand(context, "SET short x"));
    freeReplyObject(redisCommand(context, "RPUSH list x"));
    assert_refused(context, "foreign", "", "KWFORMAT");
    assert_refused(context, "short", "", "KWFORMAT");
    assert_refused(context, "list", "", "WRONGTYPE");
    assert_refused(context, "none", "marker", "KWEMPTY");
    freeReplyObject(redisCommand(context, "SET marker 1"));
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.kind = KW_QUORUM_GET;
    redisReply *reply = ask_server(context, "none", "marker", &ask);
    assert_int_equal(reply->type, REDIS_REPLY_NIL);
    freeReplyObject(reply);
    redisFree(context);
}

static int start_server(void **state)
{
    *state = kw_test_server_start(NULL);
    return 0;
}

static int stop_server(void **state)
{
    kw_test_server_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_script_does_as_the_rules_say),
        cmocka_unit_test(test_quorum_script_promise_outlives_what_was_there),
        cmocka_unit_test(test_quorum_script_has_the_name_that_is_used),
        cmocka_unit_test(test_quorum_script_refuses_foreign_values_and_empty_servers),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
