/* SPDX-License-Identifier: BSD-3-Clause */
/* Chooses the server for a read: by role, zone or latency, at random among equals. */
#include "engine/read_choice.h"

/* With NEAREST one read in so many goes to any candidate, so that its latency is measured. */
#define EXPLORE_EVERY 64u

/* Latencies that differ by less than a fifth and this are equal. */
#define TOLERANCE_NS ((uint64_t)100000)

/* A candidate at random, of those from first on whose bit is set; NOBODY: none is. */
static size_t pick(uint32_t mask, kw_random *random)
{
    size_t count = 0;
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        count++;
    }
    size_t skip = (size_t)kw_random_below(random, count);
    for (size_t i = 0; i < KW_READ_CANDIDATES_MAX; i++) {
        if ((mask >> i & 1) != 0 && skip-- == 0) {
            return i;
        }
    }
    return KW_READ_NOBODY;
}

static uint32_t nearest_of(const kw_read_candidate *candidates, size_t n, uint32_t available)
{
    uint64_t best_ns = UINT64_MAX;
    uint32_t unknown = 0;
    uint32_t near = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_available = (available >> i & 1) != 0;
        if (is_available && candidates[i].latency_ns == 0) {
            unknown |= 1u << i;
        } else if (is_available && candidates[i].latency_ns < best_ns) {
            best_ns = candidates[i].latency_ns;
        }
    }
    for (size_t i = 0; unknown == 0 && i < n; i++) {
        if ((available >> i & 1) != 0 &&
            candidates[i].latency_ns <= best_ns + best_ns / 5 + TOLERANCE_NS) {
            near |= 1u << i;
        }
    }
    return unknown != 0 ? unknown : near;
}

size_t kw_read_choose(const kw_read_candidate *candidates, size_t n, kw_read_preference preference,
                      kw_random *random)
{
    uint32_t available = 0;
    uint32_t zone = 0;
    uint32_t barred = 0;
    n = n < KW_READ_CANDIDATES_MAX ? n : KW_READ_CANDIDATES_MAX;
    for (size_t i = 0; i < n; i++) {
        bool is_available = candidates[i].is_available && !candidates[i].is_barred;
        available |= is_available ? 1u << i : 0;
        zone |= is_available && candidates[i].is_in_zone ? 1u << i : 0;
        barred |= candidates[i].is_barred ? 1u << i : 0;
    }
    uint32_t all_replicas = ((1u << n) - 1) & ~1u & ~barred;
    uint32_t replicas = available & all_replicas;
    switch (preference) {
    case KW_READ_OF_PRIMARY:
        return 0;
    case KW_READ_OF_REPLICA:
        return pick(replicas != 0 ? replicas : all_replicas, random);
    case KW_READ_OF_NEAREST:
        if (available == 0) {
            return 0;
        }
        if (kw_random_below(random, EXPLORE_EVERY) == 0) {
            return pick(available, random);
        }
        return pick(nearest_of(candidates, n, available), random);
    case KW_READ_OF_ZONE:
        if (zone != 0) {
            return pick((zone & all_replicas) != 0 ? zone & all_replicas : zone, random);
        }
        return replicas != 0 ? pick(replicas, random) : 0;
    case KW_READ_OF_PREFERRED_REPLICA:
        return replicas != 0 ? pick(replicas, random) : 0;
    }
    return 0;
}
