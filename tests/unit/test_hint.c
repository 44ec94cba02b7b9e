/* SPDX-License-Identifier: BSD-3-Clause */
/* When a write becomes a hint, and how hints are written and read. */
#include "engine/hint.h"

#include "engine/quorum_script.h"
#include "unit/reply_text.h"

#include <stdint.h>

#define STAMP  "\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02\x02\x02"
#define RECORD "'\x93\x01\x02" STAMP "value'"
#define MORTAL "'\x93\x01\x0a" STAMP "\x01\x01\x01\x01\x01\x01value'"
#define GONE   "'\x93\x01\x01" STAMP "'"

static kw_stamp next_stamp(void *arg, kw_stamp past)
{
    (void)arg;
    past.time += 65536;
    return past;
}

static void learn_stamp(void *arg, kw_stamp seen)
{
    (void)arg;
    (void)seen;
}

static void start(kw_quorum_op *op, kw_quorum_kind kind)
{
    kw_quorum_spec spec;
    memset(&spec, 0, sizeof(spec));
    assert_true(kw_quorum_rule_set(&spec.rule, 3, 2, 2, false));
    spec.kind = kind;
    spec.value = kw_bytes_of("value");
    kw_quorum_clock clock = {next_stamp, learn_stamp, NULL};
    kw_quorum_start(op, &spec, &clock, 1, 1);
}

static void test_hint_is_due_for_the_writes_of_an_op_alone(void **state)
{
    (void)state;
    kw_quorum_op op;
    kw_quorum_ask ask;
    start(&op, KW_QUORUM_WRITE);
    assert_true(kw_quorum_next(&op, &ask, 1));
    assert_true(kw_hint_is_due(&op, &ask));
    ask.record.is_copied = true; /* what it found, not its own */
    assert_false(kw_hint_is_due(&op, &ask));
    ask.record.is_copied = false;
    ask.is_repair = true;
    assert_false(kw_hint_is_due(&op, &ask));
    start(&op, KW_QUORUM_CHECKED);
    assert_true(kw_quorum_next(&op, &ask, 1)); /* a ballot */
    assert_false(kw_hint_is_due(&op, &ask));
    start(&op, KW_QUORUM_READ);
    assert_true(kw_quorum_next(&op, &ask, 1));
    assert_false(kw_hint_is_due(&op, &ask));
    ask.kind = KW_QUORUM_PUT;
    assert_false(kw_hint_is_due(&op, &ask));
}

/* A hint that may yet come to the copy leaves no write for one that was nowhere. */
static void test_hint_that_is_left_makes_a_failed_write_unsure(void **state)
{
    (void)state;
    for (int has_hints = 0; has_hints < 2; has_hints++) {
        kw_quorum_op op;
        kw_quorum_ask ask;
        start(&op, KW_QUORUM_WRITE);
        while (kw_quorum_next(&op, &ask, 1)) {
            bool is_left = has_hints == 1 && kw_hint_is_due(&op, &ask);
            kw_quorum_on_lost(&op, ask.copy, ask.round, is_left ? KW_EFFECT_MAYBE : KW_EFFECT_NONE,
                              1);
        }
        assert_int_equal(op.state, KW_QUORUM_FAILED);
        assert_int_equal(op.got_n, 0);
        assert_int_equal(op.effect, has_hints == 1 ? KW_EFFECT_MAYBE : KW_EFFECT_NONE);
    }
}

static void test_hint_has_what_is_left_of_a_life(void **state)
{
    (void)state;
    uint64_t life_ms = 7;
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    assert_true(kw_hint_age(&life_ms, &ask, 1000));
    assert_int_equal(life_ms, 0);
    ask.life_ms = 100;
    assert_true(kw_hint_age(&life_ms, &ask, 99));
    assert_int_equal(life_ms, 1);
    assert_false(kw_hint_age(&life_ms, &ask, 100));
}

static void test_hint_takes_the_record_out_of_a_command(void **state)
{
    (void)state;
    kw_quorum_op op;
    kw_quorum_ask ask;
    start(&op, KW_QUORUM_WRITE);
    assert_true(kw_quorum_next(&op, &ask, 1));
    for (int i = 0; i < 4; i++) {
        kw_buf buf;
        kw_buf_init(&buf, kw_mem_default(), NULL, 0);
        kw_script_run_state *run = kw_script_run_state_new(kw_mem_default(), kw_quorum_script());
        kw_quorum_place place = {kw_bytes_of("$3\r\nkey"), {NULL, 0}, false};
        place.marker = kw_bytes_of(i % 2 == 0 ? "" : "marker");
        assert_true(kw_quorum_script_encode(&buf, &place, &ask));
        kw_bytes command = {buf.data, buf.len};
        if (i >= 2) {
            run->named = command;
            command = kw_script_run_full(run);
        }
        kw_record record;
        assert_true(kw_record_get(&record, kw_quorum_script_record(command)));
        assert_true(kw_stamp_equal(record.stamp, ask.record.stamp));
        assert_true(kw_bytes_equal(record.value, kw_bytes_of("value")));
        kw_buf_fini(&buf);
        kw_script_run_state_free(run);
    }
}

typedef struct row {
    const char *reply;
    size_t n;     /* hints, of three hint_keys */
    bool is_good; /* the first one */
} row;

static const row rows[] = {
    {"nil", 0, false},
    {"[]", 0, false},
    {"[1]", 0, false},
    {"[3 'k' " RECORD " 0]", 0, false},
    {"[-1 'k' " RECORD " 0]", 0, false},
    {"['1' 'k' " RECORD " 0]", 0, false},
    {"[1 'k' " RECORD "]", 0, false},
    {"!'ERR something'", 0, false},
    {"[1 'k' " RECORD " 0]", 1, true},
    {"[1 'k' " MORTAL " 5]", 1, true},
    {"[1 'k' " GONE " 5]", 1, true},
    {"[1 'k' " MORTAL " 0]", 1, false}, /* would never end */
    {"[1 'k' " GONE " 0]", 1, false},
    {"[1 'k' " RECORD " -1]", 1, false},
    {"[1 'k' " RECORD " '1']", 1, false},
    {"[1 'k' 'plain' 0]", 1, false},
    {"[1 7 " RECORD " 0]", 1, false},
    {"[1 'k' " RECORD " 0 'l' " RECORD " 0]", 2, true},
};

static void test_hint_replies_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *reply = reply_of(rows[i].reply);
        size_t hint_key = 7;
        size_t n = kw_hint_count(reply, &hint_key, 3);
        kw_bytes key;
        kw_quorum_ask ask;
        if (n != rows[i].n ||
            (n > 0 && (hint_key != 1 || kw_hint_at(reply, 0, &key, &ask) != rows[i].is_good))) {
            fail_msg("row %zu", i);
        }
        if (rows[i].is_good) {
            assert_true(kw_bytes_equal(key, kw_bytes_of("k")));
            assert_int_equal(ask.kind, KW_QUORUM_PUT);
            assert_true(ask.record.is_copied); /* nobody's own write any more */
        }
        kw_reply_free(reply);
    }
}

/* A server hands a page back, and no more, whoever has written what it runs. */
static void test_hint_replies_of_more_than_a_page_are_refused(void **state)
{
    (void)state;
    static const char hint[] = " 'k' " RECORD " 0";
    char *text = calloc(KW_HINT_PAGE + 2, sizeof(hint));
    for (size_t over = 0; over < 2; over++) {
        strcpy(text, "[1");
        for (size_t i = 0; i < KW_HINT_PAGE + over; i++) {
            strcat(text, hint);
        }
        strcat(text, "]");
        kw_reply *reply = reply_of(text);
        size_t hint_key = 7;
        assert_int_equal(kw_hint_count(reply, &hint_key, 3), over > 0 ? 0 : KW_HINT_PAGE);
        kw_reply_free(reply);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hint_is_due_for_the_writes_of_an_op_alone),
        cmocka_unit_test(test_hint_that_is_left_makes_a_failed_write_unsure),
        cmocka_unit_test(test_hint_has_what_is_left_of_a_life),
        cmocka_unit_test(test_hint_takes_the_record_out_of_a_command),
        cmocka_unit_test(test_hint_replies_are_read_or_refused),
        cmocka_unit_test(test_hint_replies_of_more_than_a_page_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
