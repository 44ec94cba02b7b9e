/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides between maps: one's own cluster before another's, then what the URI's servers say; of one
 * cluster the newer map, from a node that sees most of the others. */
#include "engine/map_trust.h"

#include "engine/lineage.h"

#include <string.h>

/* What is held, from the least to the most believable. */
#define RANK_STRANGER 1u /* another cluster's, from an address that was learnt */
#define RANK_SEED     2u /* another cluster's, from a server that the URI names */
#define RANK_OLDER    3u /* of a lower epoch than the one in use */
#define RANK_PARTED   4u /* no older, from a node that sees too few of the others */

void kw_map_said_info(kw_map_said *said, kw_bytes info)
{
    bool has_state = false;
    kw_bytes name;
    kw_bytes value;
    while (kw_bytes_next_field(&name, &value, &info)) {
        if (kw_bytes_equal(name, kw_bytes_of("cluster_state"))) {
            said->is_ok = kw_bytes_equal(value, kw_bytes_of("ok"));
            has_state = true;
        } else if (kw_bytes_equal(name, kw_bytes_of("cluster_current_epoch"))) {
            said->has_info = has_state && kw_bytes_to_uint(&said->epoch, value, UINT64_MAX);
        }
    }
}

void kw_map_trust_begin(kw_map_trust *trust)
{
    trust->rounds_n = trust->rank == RANK_STRANGER ? trust->rounds_n : 0;
    trust->rank = 0;
    trust->has_silent = false;
}

/* A node that sees too few others may have raised its own epoch in vain: its state comes first. */
static unsigned rank_of(const kw_map_trust *trust, const kw_map_said *said)
{
    const kw_map_said *in_use = &trust->in_use;
    if (said->kinship == KW_KINSHIP_NONE) {
        return said->is_seed ? RANK_SEED : RANK_STRANGER;
    }
    if (!in_use->has_info || !said->has_info || (said->is_ok && !in_use->is_ok)) {
        return 0;
    }
    if (said->epoch < in_use->epoch) {
        return RANK_OLDER;
    }
    return in_use->is_ok && !said->is_ok ? RANK_PARTED : 0;
}

static void note_older(kw_map_trust *trust, uint64_t witness)
{
    size_t bit = (size_t)(witness * UINT64_C(0x9e3779b97f4a7c15) >> 32) % KW_MAP_WITNESS_BITS;
    unsigned char mask = (unsigned char)(1u << bit % 8);
    trust->older_n += (trust->older[bit / 8] & mask) == 0 ? 1 : 0;
    trust->older[bit / 8] = (unsigned char)(trust->older[bit / 8] | mask);
}

kw_map_advice kw_map_trust_weigh(kw_map_trust *trust, const kw_map_said *said, uint64_t now_ns,
                                 uint64_t wait_ns)
{
    unsigned rank = rank_of(trust, said);
    if (rank == 0) {
        return KW_MAP_BELIEVED;
    }
    if (rank == RANK_OLDER) {
        note_older(trust, said->witness);
    }
    if (trust->rank == 0) {
        trust->until_ns = now_ns + wait_ns;
    }
    bool is_newer = rank == trust->rank && rank >= RANK_OLDER && said->epoch > trust->held.epoch;
    if (rank <= trust->rank && !is_newer) {
        return KW_MAP_PASSED;
    }
    trust->rank = rank;
    trust->held = *said;
    return KW_MAP_HELD;
}

void kw_map_trust_on_silence(kw_map_trust *trust)
{
    trust->has_silent = true;
}

void kw_map_trust_on_known(kw_map_trust *trust)
{
    memset(trust->older, 0, sizeof(trust->older));
    trust->older_n = 0;
}

void kw_map_trust_take(kw_map_trust *trust, const kw_map_said *said)
{
    memset(&trust->in_use, 0, sizeof(trust->in_use));
    trust->in_use.has_info = said->has_info;
    trust->in_use.is_ok = said->is_ok;
    trust->in_use.epoch = said->epoch;
    trust->rounds_n = 0;
    kw_map_trust_on_known(trust);
}

/* Nobody but strangers has answered: are they believed? */
static kw_map_end end_of_strangers(kw_map_trust *trust, bool is_strict)
{
    if (is_strict) {
        return KW_MAP_END_REFUSED;
    }
    trust->rounds_n++;
    return trust->has_silent && trust->rounds_n < KW_LINEAGE_ROUNDS ? KW_MAP_END_WAITS
                                                                    : KW_MAP_END_REPLACED;
}

kw_map_end kw_map_trust_end(kw_map_trust *trust, uint64_t now_ns, bool is_over, bool is_strict,
                            size_t nodes_n)
{
    if (trust->rank == 0) {
        return KW_MAP_END_NONE;
    }
    if (!is_over && (now_ns < trust->until_ns || trust->rank == RANK_STRANGER)) {
        return KW_MAP_END_WAITS; /* a stranger is believed once all servers of the URI are silent */
    }
    switch (trust->rank) {
    case RANK_STRANGER:
        return end_of_strangers(trust, is_strict);
    case RANK_SEED:
        return KW_MAP_END_REPLACED;
    case RANK_OLDER:
        /* Most nodes have lost the newer one: they were put back to an earlier state. */
        return is_over && trust->older_n * 2 > nodes_n ? KW_MAP_END_BELIEVED : KW_MAP_END_KEPT;
    default:
        return KW_MAP_END_BELIEVED;
    }
}
