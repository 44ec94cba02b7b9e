/* SPDX-License-Identifier: BSD-3-Clause */
/* Hints on real servers: what a copy missed arrives without a repair. KW_TEST_FAST */
#include "live/quorum_fixture.h"

#include <hiredis.h>

#include "engine/hint.h"

#define OPEN   "?copies=3&quorum-hints=on&timeout=1s"
#define KEYS_N 8u

/* Hashes of hints, on all servers that answer. */
static size_t count_hint_keys(const fixture *fix)
{
    size_t n = 0;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        redisReply *keys =
            kw_test_server_command(fix->servers->servers[i], "KEYS %s*", KW_QUORUM_HINTS);
        n += keys->elements;
        freeReplyObject(keys);
    }
    return n;
}

/* The name of the hash of hints for the server. */
static const char *hint_key_of(const fixture *fix, const kw_test_server *server)
{
    static char hint_key[40];
    char name = 'a';
    for (size_t i = 0; i < RING_SERVERS && fix->servers->servers[i] != server; i++) {
        name++;
    }
    snprintf(hint_key, sizeof(hint_key), "%s%c", KW_QUORUM_HINTS, name);
    return hint_key;
}

/* Hints for the server that its keeper has for the key. */
static long long count_hints(const fixture *fix, const char *key, kw_test_server *away)
{
    kw_test_server *keeper = copy_of(fix, key, 3);
    long long n = kw_test_server_integer(keeper, "HLEN %s", hint_key_of(fix, away));
    return n > 0 ? n - 1 : 0; /* the field of the size */
}

/* Calls of anything, as they pass by. */
static void pass_by(const fixture *fix)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results_free(kw_quorum_get(fix->quorum, &error, "other", 5));
    for (int i = 0; i < 10; i++) { /* of all nodes */
        char key = (char)('A' + i);
        kw_quorum_results_free(kw_quorum_get(fix->quorum, &error, &key, 1));
    }
    pause_ms(5);
}

static void wait_for_no_hints(const fixture *fix)
{
    for (int i = 0; i < 2000 && count_hint_keys(fix) > 0; i++) {
        pass_by(fix);
    }
    assert_int_equal(count_hint_keys(fix), 0);
}

/* The value that one server has, behind its header. */
static void assert_has(kw_test_server *server, const char *key, const char *value)
{
    redisReply *reply = kw_test_server_command(server, "GET %s", key);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    size_t len = strlen(value);
    assert_true((size_t)reply->len > len);
    assert_memory_equal(reply->str + reply->len - len, value, len);
    freeReplyObject(reply);
}

static void write_until_hinted(const fixture *fix, const char *key, const char *value,
                               kw_test_server *away)
{
    set(fix, key, value);
    for (int i = 0; i < 1000 && count_hints(fix, key, away) == 0; i++) {
        pass_by(fix);
    }
    assert_int_equal(count_hints(fix, key, away), 1);
}

static void test_hints_bring_a_copy_up_that_was_stopped(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "k", "old");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *away = copy_of(&fix, "k", 0);
    kw_test_server_kill(away);
    write_until_hinted(&fix, "k", "new", away);
    set(&fix, "k", "newer");
    pass_by(&fix);
    kw_test_server_restart(away);
    wait_for_no_hints(&fix);
    assert_has(away, "k", "newer");
    shut(&fix);
}

static void test_hints_bring_a_copy_up_that_hung(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "k", "old");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *away = copy_of(&fix, "k", 1);
    kw_test_server_pause(away);
    write_until_hinted(&fix, "k", "new", away);
    kw_test_server_resume(away);
    wait_for_no_hints(&fix);
    assert_has(away, "k", "new");
    shut(&fix);
}

/* Another process hands back what the one that left it cannot any more. */
static void test_hints_are_handed_back_by_whoever_passes_by(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "k", "old");
    wait_for_copies(&fix, "k", 3); /* else there may be a hint for this one */
    kw_test_server *away = copy_of(&fix, "k", 2);
    kw_test_server_kill(away);
    write_until_hinted(&fix, "k", "new", away);
    shut(&fix);
    kw_test_server_restart(away);
    assert_int_equal(kw_test_server_integer(away, "EXISTS k"), 0);
    fix = open_with(state, OPEN);
    wait_for_no_hints(&fix);
    assert_has(away, "k", "new");
    shut(&fix);
}

static void test_hints_never_go_over_what_is_newer(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "k", "old");
    wait_for_copies(&fix, "k", 3); /* else there may be a hint for this one */
    kw_test_server *away = copy_of(&fix, "k", 0);
    kw_test_server_kill(away);
    write_until_hinted(&fix, "k", "hinted", away);
    shut(&fix);
    kw_test_server_restart(away);
    fix = open_with(state, "?copies=3");
    set(&fix, "k", "newest");
    wait_for_copies(&fix, "k", 3);
    for (int i = 0; i < 1000 && kw_test_server_integer(away, "EXISTS k") == 0; i++) {
        pass_by(&fix);
    }
    shut(&fix);
    fix = open_with(state, OPEN);
    wait_for_no_hints(&fix);
    assert_has(away, "k", "newest");
    shut(&fix);
}

static void test_hints_do_not_count_towards_the_quorum(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "k", "old");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *first = copy_of(&fix, "k", 0);
    kw_test_server *second = copy_of(&fix, "k", 1);
    kw_test_server_kill(first);
    kw_test_server_kill(second);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "k", 1, "new", 3), KW_ERR_QUORUM);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    kw_test_server_restart(first);
    kw_test_server_restart(second);
    wait_for_no_hints(&fix);
    shut(&fix);
}

/* Deletions and lives are handed over as they are. */
static void test_hints_keep_lives_and_deletions(void **state)
{
    fixture fix = open_with(state, OPEN);
    set(&fix, "gone", "old");
    wait_for_copies(&fix, "gone", 3);
    kw_test_server *away = copy_of(&fix, "gone", 0);
    kw_test_server_kill(away);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_delete(fix.quorum, &error, "gone", 4), KW_OK);
    kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, "gone", "brief");
    request.ttl_ms = 100000;
    assert_true(is_written(&fix, &request));
    for (int i = 0; i < 1000 && count_hints(&fix, "gone", away) == 0; i++) {
        pass_by(&fix);
    }
    kw_test_server_restart(away);
    wait_for_no_hints(&fix);
    long long life_ms = kw_test_server_integer(away, "PTTL gone");
    assert_in_range(life_ms, 86400000 + 1, 86400000 + 100000); /* tombstone-ttl and its own */
    assert_has(away, "gone", "brief");
    shut(&fix);
}

static void test_hints_are_off_unless_asked_for(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    kw_test_server *away = copy_of(&fix, "k", 0);
    kw_test_server_kill(away);
    for (unsigned i = 0; i < KEYS_N; i++) {
        set(&fix, "k", "value");
        pass_by(&fix);
    }
    kw_test_server_restart(away);
    assert_int_equal(count_hint_keys(&fix), 0);
    shut(&fix);
}

/* What the server says to a command. */
static redisReply *ask_server(kw_test_server *server, kw_buf *command)
{
    redisContext *context = redisConnect("127.0.0.1", kw_test_server_port(server));
    void *reply = NULL;
    assert_non_null(context);
    assert_int_equal(redisAppendFormattedCommand(context, command->data, command->len), REDIS_OK);
    assert_int_equal(redisGetReply(context, &reply), REDIS_OK);
    redisFree(context);
    kw_buf_fini(command);
    return reply;
}

/* True where the server takes the hint: time is its record's. */
static bool is_left(kw_test_server *server, const char *key, uint64_t time, uint64_t linger_ms)
{
    kw_record record = {.stamp = {time, 1}, .origin = {time, 1}};
    unsigned char head[KW_RECORD_HEAD_MAX];
    kw_hint hint = {kw_bytes_of("hint_key"), kw_bytes_of(key), {(const char *)head, 0}, 0};
    hint.record.len = kw_record_put_head(head, &record);
    kw_buf command;
    kw_buf_init(&command, kw_mem_default(), NULL, 0);
    assert_true(kw_hint_encode_leave(&command, &hint, linger_ms));
    redisReply *reply = ask_server(server, &command);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    bool is_taken = reply->integer == 1;
    freeReplyObject(reply);
    return is_taken;
}

static redisReply *look(kw_test_server *server)
{
    kw_bytes hint_keys[] = {kw_bytes_of("none"), kw_bytes_of("hint_key")};
    kw_buf command;
    kw_buf_init(&command, kw_mem_default(), NULL, 0);
    assert_true(kw_hint_encode_look(&command, hint_keys, 2));
    return ask_server(server, &command);
}

static void drop(kw_test_server *server, const char *key, uint64_t time)
{
    kw_stamp stamp = {time, 1};
    kw_buf command;
    kw_buf_init(&command, kw_mem_default(), NULL, 0);
    assert_true(kw_hint_encode_drop(&command, kw_bytes_of("hint_key"), kw_bytes_of(key), stamp));
    freeReplyObject(ask_server(server, &command));
}

static void test_hints_are_kept_looked_at_and_dropped(void **state)
{
    kw_test_server *server = ((ring_servers *)*state)->servers[0];
    assert_true(is_left(server, "k", 5, 100000));
    assert_true(is_left(server, "k", 7, 100000));
    assert_true(is_left(server, "k", 6, 100000)); /* later than that is there */
    assert_true(is_left(server, "", 1, 100000));
    assert_true(is_left(server, "b", 1, 100000));
    assert_int_equal(kw_test_server_integer(server, "HLEN hint_key"), 4);
    assert_in_range(kw_test_server_integer(server, "PTTL hint_key"), 1, 50000);
    redisReply *reply = look(server);
    size_t hint_key = 0;
    assert_int_equal(kw_hint_count((kw_reply *)(void *)reply, &hint_key, 2), 3);
    assert_int_equal(hint_key, 1);
    for (size_t i = 0; i < 3; i++) {
        kw_bytes key;
        kw_quorum_ask ask;
        assert_true(kw_hint_at((kw_reply *)(void *)reply, i, &key, &ask));
        assert_int_equal(ask.record.stamp.time, key.len > 0 && key.data[0] == 'k' ? 7 : 1);
    }
    freeReplyObject(reply);
    drop(server, "k", 5); /* another one */
    assert_int_equal(kw_test_server_integer(server, "HLEN hint_key"), 4);
    drop(server, "k", 7);
    drop(server, "", 1);
    assert_int_equal(kw_test_server_integer(server, "HLEN hint_key"), 2);
    drop(server, "b", 1);
    drop(server, "b", 1); /* and again */
    assert_int_equal(kw_test_server_integer(server, "EXISTS hint_key"), 0);
}

static void test_hints_end(void **state)
{
    kw_test_server *server = ((ring_servers *)*state)->servers[0];
    assert_true(is_left(server, "short", 1, 2));
    pause_ms(5);
    assert_true(is_left(server, "long", 1, 100000));
    redisReply *reply = look(server);
    size_t hint_key = 0;
    assert_int_equal(kw_hint_count((kw_reply *)(void *)reply, &hint_key, 2), 1);
    freeReplyObject(reply);
    assert_int_equal(kw_test_server_integer(server, "HLEN hint_key"), 2);
}

static void test_hints_are_bounded(void **state)
{
    kw_test_server *server = ((ring_servers *)*state)->servers[0];
    char digits[31];
    snprintf(digits, sizeof(digits), "%015llu%015d", 999999999999999ULL, 0);
    freeReplyObject(kw_test_server_command(
        server, "EVAL %s 1 hint_key %d %s",
        "for i = 1, ARGV[1] do redis.call('HSET', KEYS[1], 'k' .. i, ARGV[2] .. ('x'):rep(19)) end",
        (int)KW_HINT_COUNT_MAX - 1, digits));
    (void)kw_test_server_integer(server, "HSET hint_key b 1000");
    assert_true(is_left(server, "last", 1, 100000));
    assert_false(is_left(server, "more", 1, 100000));
    assert_true(is_left(server, "last", 2, 100000)); /* in its own place */
    assert_int_equal(kw_test_server_integer(server, "HLEN hint_key"), KW_HINT_COUNT_MAX + 1);
    redisReply *reply = look(server);
    size_t hint_key = 0;
    assert_in_range(kw_hint_count((kw_reply *)(void *)reply, &hint_key, 2), 1, KW_HINT_PAGE);
    freeReplyObject(reply);
    drop(server, "last", 2);
    (void)kw_test_server_integer(server, "HSET hint_key b %d", (int)KW_HINT_BYTES_MAX - 40);
    assert_false(is_left(server, "last", 3, 100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hints_bring_a_copy_up_that_was_stopped, ring_flush),
        cmocka_unit_test_setup(test_hints_bring_a_copy_up_that_hung, ring_flush),
        cmocka_unit_test_setup(test_hints_are_handed_back_by_whoever_passes_by, ring_flush),
        cmocka_unit_test_setup(test_hints_never_go_over_what_is_newer, ring_flush),
        cmocka_unit_test_setup(test_hints_do_not_count_towards_the_quorum, ring_flush),
        cmocka_unit_test_setup(test_hints_keep_lives_and_deletions, ring_flush),
        cmocka_unit_test_setup(test_hints_are_off_unless_asked_for, ring_flush),
        cmocka_unit_test_setup(test_hints_are_kept_looked_at_and_dropped, ring_flush),
        cmocka_unit_test_setup(test_hints_end, ring_flush),
        cmocka_unit_test_setup(test_hints_are_bounded, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
