/* SPDX-License-Identifier: BSD-3-Clause */
/* Lineage: by which names the data of a server is known, so that another server at its address is
 * told from the same one, or from a replica of it that took its place. */
#ifndef ENGINE_LINEAGE_H
#define ENGINE_LINEAGE_H

#include "base/bytes.h"
#include "route/map.h"

#include <stddef.h>
#include <stdint.h>

#define KW_LINEAGE_MAX 8

/* Who did not answer once may do so the next time, and know better: where somebody was silent,
 * other data is believed after so many fetches. */
#define KW_LINEAGE_ROUNDS ((size_t)3)

/* Hashes of ids, the last learnt first: of the process (run_id), and of its replication history
 * (master_replid, master_replid2). Zeros: nothing is known. */
typedef struct kw_lineage {
    uint64_t ids[KW_LINEAGE_MAX];
    size_t n;
} kw_lineage;

/* Adds the ids of an answer to INFO server, or to INFO replication; any other text has none. */
void kw_lineage_read(kw_lineage *said, kw_bytes info);

/* Whether what a server says of itself has anything in common with what is known. */
kw_kinship kw_lineage_kinship(const kw_lineage *known, const kw_lineage *said);

/* What was said is known from now on; what was learnt first is forgotten where there is no room. */
void kw_lineage_learn(kw_lineage *known, const kw_lineage *said);

#endif
