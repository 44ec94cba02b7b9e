/* SPDX-License-Identifier: BSD-3-Clause */
/* Records as bytes: good, bad, and cut anywhere. */
#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STAMP  "\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x03\x04"
#define EARLY  "\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x03\x04"
#define LATE   "\x00\x00\x00\x00\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00\x03\x04"
#define ZEROS  "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
#define BEYOND "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x04"
#define LINGER "\x00\x00\x00\x00\x10\x01"
#define KEPT   "\x01\x00\x00\x00\x10\x01"
#define FLOOR  "\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x0a"

typedef struct row {
    const char *bytes;
    size_t len;
    bool is_good;
} row;

#define GOOD(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1, true                                                               \
    }
#define BAD(text)                                                                                  \
    {                                                                                              \
        text, sizeof(text) - 1, false                                                              \
    }

/* The bytes themselves: the format is frozen. */
static const row rows[] = {
    GOOD("\x93\x01\x00" STAMP "value"),
    GOOD("\x93\x01\x00" STAMP),
    GOOD("\x93\x01\x01" STAMP),
    GOOD("\x93\x01\x02" STAMP "value"),
    GOOD("\x93\x01\x06" STAMP EARLY "value"),
    GOOD("\x93\x01\x08" STAMP LINGER "value"),
    GOOD("\x93\x01\x10" STAMP FLOOR "value"),
    GOOD("\x93\x01\x20" STAMP LATE "value"),
    GOOD("\x93\x01\x3e" STAMP EARLY LINGER FLOOR LATE "value"),
    GOOD("\x93\x01\x21" ZEROS LATE),
    GOOD("\x93\x01\x41" STAMP),
    GOOD("\x93\x01\x48" STAMP KEPT "value"),
    BAD("\x93\x01\x48" STAMP LINGER "value"), /* kept, and about to end */
    BAD(""),
    BAD("\x93"),
    BAD("\x94\x01\x00" STAMP "value"),  /* another first byte */
    BAD("\x93\x02\x00" STAMP "value"),  /* another format */
    BAD("\x93\x01\x40" STAMP "value"),  /* unknown flags */
    BAD("\x93\x01\x80" STAMP "value"),  /* unknown flags */
    BAD("\x93\x01\x01" STAMP "value"),  /* a tombstone with a value */
    BAD("\x93\x01\x09" STAMP LINGER),   /* a mortal tombstone */
    BAD("\x93\x01\x00" ZEROS "value"),  /* a value that nobody wrote */
    BAD("\x93\x01\x00" BEYOND "value"), /* beyond all times */
    BAD("\x93\x01\x20" STAMP BEYOND "value"),
    BAD("\x93\x01\x04" STAMP STAMP "value"), /* an origin that is the version */
    BAD("\x93\x01\x04" STAMP LATE "value"),  /* an origin in the future */
    BAD("\x93\x01\x20" STAMP ZEROS "value"), /* a promise of nothing */
    BAD("\x93\x01\x10" STAMP ZEROS "value"),
};

static void test_record_good_bytes_are_read_and_bad_ones_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_record record;
        kw_bytes bytes = {rows[i].bytes, rows[i].len};
        if (kw_record_get(&record, bytes) != rows[i].is_good) {
            fail_msg("row %zu", i);
        }
        if (!rows[i].is_good) {
            continue;
        }
        unsigned char head[KW_RECORD_HEAD_MAX];
        size_t len = kw_record_put_head(head, &record);
        assert_int_equal(len + record.value.len, rows[i].len);
        assert_memory_equal(head, rows[i].bytes, len);
        assert_memory_equal(record.value.data, rows[i].bytes + len, record.value.len);
    }
}

static void test_record_cut_anywhere_in_its_header_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_record record;
        kw_bytes whole = {rows[i].bytes, rows[i].len};
        if (!kw_record_get(&record, whole)) {
            continue;
        }
        size_t head_len = rows[i].len - record.value.len;
        for (size_t len = 0; len < head_len; len++) {
            char *copy = malloc(len + 1); /* so that a sanitizer sees a byte too far */
            memcpy(copy, rows[i].bytes, len);
            kw_bytes cut = {copy, len};
            assert_false(kw_record_get(&record, cut));
            free(copy);
        }
    }
}

static void test_record_header_of_a_plain_value_is_short(void **state)
{
    (void)state;
    kw_record record;
    memset(&record, 0, sizeof(record));
    record.stamp.time = 1;
    record.origin = record.stamp;
    unsigned char head[KW_RECORD_HEAD_MAX];
    assert_int_equal(kw_record_put_head(head, &record), 19);
    memset(&record, 0xff, sizeof(record));
    record.origin.time = 1;
    record.is_tombstone = record.is_copied = record.is_mortal = record.is_kept = true;
    assert_int_equal(kw_record_put_head(head, &record), KW_RECORD_HEAD_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_good_bytes_are_read_and_bad_ones_refused),
        cmocka_unit_test(test_record_cut_anywhere_in_its_header_is_refused),
        cmocka_unit_test(test_record_header_of_a_plain_value_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
