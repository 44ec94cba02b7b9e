/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum rule: how many copies there are, and how many of them a read and a write need. */
#ifndef ENGINE_QUORUM_RULE_H
#define ENGINE_QUORUM_RULE_H

#include <stdbool.h>
#include <stdint.h>

#define KW_QUORUM_COPIES_MAX 15u

typedef struct kw_quorum_rule {
    unsigned copies_n;
    unsigned write_n;
    unsigned read_n;
    unsigned agree_n;   /* at least read_n and copies_n - read_n + 1 */
    bool is_weak;       /* reads and writes need not meet: no repair before an answer */
    uint64_t settle_ns; /* copies that differ are given this to agree by themselves */
    uint64_t linger_ms; /* life of what remembers a deleted or expired value */
} kw_quorum_rule;

/* Sets the numbers; false where they do not fit: write_n + read_n > copies_n and
 * 2 write_n > copies_n unless weak, each from 1 to copies_n. */
bool kw_quorum_rule_set(kw_quorum_rule *rule, unsigned copies_n, unsigned write_n, unsigned read_n,
                        bool is_weak);

#endif
