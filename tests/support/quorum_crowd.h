/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum crowd: several processes, each with a clock of its own that is up to 5 s off and
 * jumps, read and write some keys of a ring of five servers behind doors, while one server
 * at a time has something happen to it. */
#ifndef SUPPORT_QUORUM_CROWD_H
#define SUPPORT_QUORUM_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/history.h"

#define KW_TEST_CROWD_SERVERS 5u

typedef struct kw_test_crowd_plan {
    const char *options; /* of the handles: "copies=3&..." */
    unsigned seconds;    /* at most */
    uint64_t acts_n;     /* ends when so many are done; 0: by time alone */
    bool has_checked;    /* writes on a condition as well */
    bool has_lives;      /* some values have a life, mostly a short one */
    unsigned skew_ms;    /* clocks differ by so much; 0: 5 s */
    bool is_calm;        /* nothing happens to servers */
    bool empties;        /* servers lose all data, are repaired, and then marked; no other fault */
    bool skips_repair;   /* planted: they are marked at once, with another copy behind */
    bool has_halves;     /* no other fault than writers that die when one copy has their write,
                            while the others take none */
    bool rolls_back;     /* planted: old records are put back past every check */
} kw_test_crowd_plan;

typedef struct kw_test_crowd_result {
    uint64_t done_n;
    uint64_t none_n;
    uint64_t maybe_n;
    uint64_t faults_n;
    uint64_t keys_n;
    uint64_t violations_n; /* keys whose history no register could have */
    uint64_t hard_n;       /* keys whose history was too hard to judge */
} kw_test_crowd_result;

/* Prints the counts, and the first history that is a violation where prints is set. */
kw_test_crowd_result kw_test_crowd_run(const kw_test_crowd_plan *plan, const char *name,
                                       bool prints);

#endif
