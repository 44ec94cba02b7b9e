/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys with numbers, and which of them a scan has given. */
#ifndef LIVE_SCAN_KEYS_H
#define LIVE_SCAN_KEYS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was given. */
typedef struct scan_sight {
    unsigned *times; /* of each key, "k:0" to "k:<n-1>" */
    size_t n;
    size_t given_n; /* all keys */
    size_t strange_n;
    size_t batches_n;
} scan_sight;

static inline scan_sight scan_sight_new(size_t n)
{
    scan_sight sight = {.n = n};
    sight.times = calloc(n + 1, sizeof(sight.times[0]));
    assert_non_null(sight.times);
    return sight;
}

/* Keys first to first + n - 1 are set, in batches. */
static inline void scan_fill(kw_client *kw, const char *format, size_t first, size_t n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    kw_error error = KW_ERROR_INIT;
    for (size_t i = first; i < first + n; i++) {
        char key[64];
        snprintf(key, sizeof(key), format, i);
        assert_int_equal(kw_batch_add(batch, &error, "SET %s v", key), KW_OK);
        if (kw_batch_count(batch) == 2000 || i + 1 == first + n) {
            if (kw_batch_run(batch, &error, 0) != KW_OK) {
                fail_msg("%s", error.text);
            }
            kw_batch_clear(batch);
        }
    }
    kw_batch_free(batch);
}

static inline void scan_note(scan_sight *sight, const kw_scan_batch *batch)
{
    sight->batches_n++;
    for (size_t i = 0; i < batch->count; i++) {
        const char *colon = strrchr(batch->keys[i], ':');
        size_t number = colon != NULL ? (size_t)strtoul(colon + 1, NULL, 10) : sight->n;
        assert_int_equal(strlen(batch->keys[i]), batch->key_lens[i]);
        sight->given_n++;
        if (number < sight->n) {
            sight->times[number]++;
        } else {
            sight->strange_n++;
        }
    }
}

/* Goes on to the end, which comes without a failure. */
static inline void scan_to_end(kw_scan *scan, scan_sight *sight)
{
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    do {
        if (kw_scan_next(scan, &error, &batch) != KW_OK) {
            fail_msg("%s: %s", kw_err_name(error.code), error.text);
        }
        scan_note(sight, &batch);
    } while (!batch.is_end);
}

static inline kw_scan *scan_open(kw_client *kw, const kw_scan_options *options)
{
    kw_error error = KW_ERROR_INIT;
    kw_scan *scan = kw_scan_open(kw, &error, options);
    if (scan == NULL) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
    return scan;
}

/* Keys below n that were never given. */
static inline size_t scan_missed(const scan_sight *sight)
{
    size_t missed_n = 0;
    for (size_t i = 0; i < sight->n; i++) {
        missed_n += sight->times[i] == 0 ? 1 : 0;
    }
    return missed_n;
}

#endif
