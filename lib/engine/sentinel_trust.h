/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel trust: whether a primary that a sentinel names is believed, by what is known of the
 * group's data, and when strangers at the sentinels' addresses are. */
#ifndef ENGINE_SENTINEL_TRUST_H
#define ENGINE_SENTINEL_TRUST_H

#include "engine/lineage.h"

#include <stdbool.h>

/* What somebody knows better is not believed before nobody has said it for so long: the group was
 * made anew then. Sentinels that live tell each other theirs every 2 s. */
#define KW_SENTINEL_RELENT_NS ((uint64_t)10000000000)

/* Zeros: nothing is known yet. */
typedef struct kw_sentinel_trust {
    kw_lineage lineage;    /* of the group's data */
    bool follows_other;    /* other data is believed: no sentinel leads to what was known */
    bool follows_stranger; /* sentinels at learnt addresses are, whoever they are */
    size_t rounds_n;       /* fetches in a row that led to other data alone */
    uint64_t kin_ns;       /* since when has_kin keeps other data out; 0: it does not */
    /* Of this fetch: */
    size_t other_n;    /* sentinels that have named a primary with other data .. */
    size_t vain_n;     /* .. and one that did not answer as one .. */
    size_t put_off_n;  /* .. and one that had not the last time, and has not been asked yet */
    bool has_kin;      /* one has named a replica with the data that is known: its primary may be
                          named soon */
    bool has_stranger; /* another sentinel was at an address that was learnt */
} kw_sentinel_trust;

typedef enum kw_sentinel_belief {
    KW_SENTINEL_BELIEVED,
    KW_SENTINEL_REPLACED, /* believed, and it has nothing in common with what was known */
    KW_SENTINEL_DOUBTED   /* other sentinels are asked first */
} kw_sentinel_belief;

/* A fetch begins. */
void kw_sentinel_trust_begin(kw_sentinel_trust *trust);

/* A sentinel has named a primary, which says so of its data: it is learnt, if it is believed. */
kw_sentinel_belief kw_sentinel_trust_weigh(kw_sentinel_trust *trust, const kw_lineage *said);

/* The primary that a sentinel has named has other data, which was weighed, or is none. is_suspect:
 * those who named it and were put off have named this one. */
void kw_sentinel_trust_on_failure(kw_sentinel_trust *trust, bool is_other, bool is_suspect);

/* A sentinel has led to a primary that is believed. */
void kw_sentinel_trust_on_success(kw_sentinel_trust *trust);

/* No sentinel has: asked_n were asked, and answered_n have said something. True where the next
 * fetch is to come soon: it believes more. */
bool kw_sentinel_trust_on_end(kw_sentinel_trust *trust, size_t asked_n, size_t answered_n,
                              bool is_strict, uint64_t now_ns);

#endif
