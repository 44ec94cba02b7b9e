/* SPDX-License-Identifier: BSD-3-Clause */
/* The quorum's commands and replies as bytes. */
#include "engine/quorum_script.h"

#include "unit/reply_text.h"

#include <stdint.h>
#include <stdio.h>

#define VALUE  "\x93\x01\x02" /* without zeros, so that a text can hold it */
#define STAMP  "\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02\x02\x02"
#define RECORD "'" VALUE STAMP "value'"
#define MORTAL "'\x93\x01\x0a" STAMP "\x01\x01\x01\x01\x01\x01value'"

typedef struct row {
    const char *reply;
    bool is_good[4]; /* for a get, a put, a prepare */
} row;

static const row rows[] = {
    {"nil", {true, false, false, false}},
    {RECORD, {true, false, false}},
    {MORTAL, {false, false, false}}, /* its life is missing */
    {"'plain'", {false, false, false}},
    {"1", {false, true, false, true}},
    {"0", {false, false, false}},
    {"2", {false, true, false, false}},
    {"[]", {false, false, false}},
    {"[1]", {false, false, true}},
    {"[0]", {false, false, false}},
    {"[2]", {false, false, false}},
    {"['1']", {false, false, false}},
    {"[1 " RECORD "]", {true, false, true}},
    {"[0 " RECORD "]", {false, true, true}},
    {"[1 " MORTAL " 5]", {true, false, true}},
    {"[0 " MORTAL " -5]", {false, true, true}},
    {"[1 " RECORD " 5]", {false, false, false}},
    {"[1 " MORTAL " '5']", {false, false, false}},
    {"[1 " MORTAL " 5 6]", {false, false, false}},
    {"[1 'plain']", {false, false, false}},
    {"[1 nil]", {false, false, false}},
    {"[1 [" RECORD "]]", {false, false, false}},
    {"!'ERR something'", {false, false, false}},
    {"!'NOSCRIPT No matching script'", {false, false, false}},
};

static void test_script_replies_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *reply = reply_of(rows[i].reply);
        for (int kind = 0; kind < 4; kind++) {
            kw_quorum_answer answer;
            kw_error error = KW_ERROR_INIT;
            kw_err code = kw_quorum_script_read(&answer, &error, (kw_quorum_ask_kind)kind, reply);
            if ((code == KW_OK) != rows[i].is_good[kind]) {
                fail_msg("row %zu, kind %d: %s", i, kind, error.text);
            }
        }
        kw_reply_free(reply);
    }
}

static kw_effect effect_of(const char *text)
{
    kw_reply *reply = reply_of(text);
    kw_quorum_answer answer;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_script_read(&answer, &error, KW_QUORUM_PUT, reply), KW_ERR_PROTOCOL);
    kw_reply_free(reply);
    return error.effect;
}

static void test_script_errors_say_what_they_did(void **state)
{
    (void)state;
    assert_int_equal(effect_of("!'KWEMPTY x'"), KW_EFFECT_NONE);
    assert_int_equal(effect_of("!'KWFORMAT x'"), KW_EFFECT_NONE);
    assert_int_equal(effect_of("!'WRONGTYPE x'"), KW_EFFECT_NONE);
    assert_int_equal(effect_of("!'OOM command not allowed'"), KW_EFFECT_MAYBE);
    assert_int_equal(effect_of("!'ERR'"), KW_EFFECT_MAYBE);
}

static void test_script_commands_are_as_written_here(void **state)
{
    (void)state;
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.kind = KW_QUORUM_PUT;
    ask.record.stamp.time = 0x0101010101010101u;
    ask.record.stamp.writer = 0x0202020202020202u;
    ask.record.origin = ask.record.stamp;
    ask.record.is_copied = true;
    ask.record.value = kw_bytes_of("value");
    ask.life_ms = 1500;
    ask.linger_ms = 1000;
    ask.behind_ms = 500;
    kw_quorum_place place = {kw_bytes_of("key"), kw_bytes_of("mark"), false};
    kw_buf buf;
    kw_buf_init(&buf, kw_mem_default(), NULL, 0);
    assert_true(kw_quorum_script_encode(&buf, &place, &ask));
    char expected[400];
    int len = snprintf(expected, sizeof(expected),
                       "*7\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n2\r\n$3\r\nkey\r\n$4\r\nmark\r\n"
                       "$16\r\ns1500 h 1000 500\r\n$24\r\n" VALUE STAMP "value\r\n",
                       kw_quorum_script()->sha1);
    assert_int_equal(buf.len, len);
    assert_memory_equal(buf.data, expected, buf.len);
    char digest[KW_SHA1_TEXT + 1];
    kw_sha1_text(digest, kw_quorum_script()->text);
    assert_string_equal(digest, kw_quorum_script()->sha1);
    kw_buf_fini(&buf);
}

/* True where the command of the ask fits into the room that is said to be enough. */
static bool fits(const kw_quorum_place *place, const kw_quorum_ask *ask)
{
    char room[1200];
    size_t lens = place->key.len + place->marker.len + ask->record.value.len;
    size_t room_len = kw_quorum_script_room(ask->kind, lens);
    assert_in_range(room_len, 1, sizeof(room));
    kw_buf buf;
    kw_buf_init(&buf, kw_mem_default(), room, room_len);
    assert_true(kw_quorum_script_encode(&buf, place, ask));
    bool is_inside = buf.data == room;
    kw_buf_fini(&buf);
    return is_inside;
}

static void test_script_commands_fit_into_the_room_for_them(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof(text));
    kw_quorum_ask ask;
    memset(&ask, 0xff, sizeof(ask)); /* the longest numbers */
    ask.wants_value = false;
    kw_record longest = {.stamp = {7, 7}, .origin = {6, 6}, .promise = {5, 5}, .floor = 1};
    longest.is_mortal = true;
    ask.record = longest;
    for (size_t len = 0; len <= sizeof(text); len += 100) {
        kw_quorum_place place = {{text, len}, kw_bytes_of("mark"), false};
        ask.kind = KW_QUORUM_PUT;
        ask.record.value.data = text;
        ask.record.value.len = len;
        assert_true(fits(&place, &ask));
        ask.record.value.len = 0;
        ask.kind = KW_QUORUM_PREPARE;
        assert_true(fits(&place, &ask));
        ask.kind = KW_QUORUM_GET;
        place.is_plain = true;
        place.marker.len = 0;
        assert_true(fits(&place, &ask));
    }
    assert_int_equal(kw_quorum_script_room(KW_QUORUM_PUT, SIZE_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_replies_are_read_or_refused),
        cmocka_unit_test(test_script_errors_say_what_they_did),
        cmocka_unit_test(test_script_commands_are_as_written_here),
        cmocka_unit_test(test_script_commands_fit_into_the_room_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
