/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum copy: one key on one server, as the script of the quorum treats it; in memory,
 * by a clock of the caller's. */
#ifndef SUPPORT_QUORUM_COPY_H
#define SUPPORT_QUORUM_COPY_H

#include "engine/quorum.h"

#define KW_TEST_COPY_MAX 64u /* bytes of a value */

/* Faults planted in a copy. */
typedef enum kw_test_copy_planted {
    KW_TEST_COPY_SOUND,
    KW_TEST_COPY_PROMISE_EXPIRES, /* a promise lives as long as what was there before it */
    KW_TEST_COPY_TAKES_ALL,       /* no version check */
    KW_TEST_COPY_NO_FLOOR,        /* forgets what came by other hands */
    KW_TEST_COPY_REFUSAL_EXPIRES, /* what a write was refused for ends at its old time */
    KW_TEST_COPY_KEEPS_NOTHING,   /* a tombstone ends, whatever it ended */
    KW_TEST_COPY_BASE_ENDS        /* a value ends, whatever a swap may have left on top of it */
} kw_test_copy_planted;

typedef struct kw_test_copy {
    kw_test_copy_planted planted;
    bool has_key;
    kw_record record; /* its value is in value, whatever it says */
    char value[KW_TEST_COPY_MAX];
    uint64_t ends_ms; /* of the key; 0: never */
    kw_stamp past;    /* without the key it takes no version below, but by repair */
    bool is_set_anew; /* that, by the last request */
} kw_test_copy;

typedef struct kw_test_copy_answer {
    kw_quorum_answer answer; /* its record's value is in value */
    char value[KW_TEST_COPY_MAX];
} kw_test_copy_answer;

/* Does what an ask says. */
void kw_test_copy_do(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                     uint64_t now_ms);

#endif
