/* SPDX-License-Identifier: BSD-3-Clause */
/* What moves between two rings, as ranges and as a fraction; and a ring's fingerprint. */
#include "route/ring.h"

#include <string.h>

#include "base/error.h"
#include "route/hash_xxh.h"

struct kw_ring_diff {
    kw_allocator mem;
    size_t moves_n;
    kw_ring_move moves[];
};

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "ring: no memory");
}

static size_t arcs_n(const kw_ring *ring)
{
    return ring->live_n == 0 ? 1 : ring->points_n;
}

/* Arc i of a ring with arcs: its node, and in *last its last hash in the ring's own space. Some may
 * be empty, some repeated; the last one ends at the highest hash. */
static uint32_t arc_at(const kw_ring *ring, uint64_t *last, size_t index)
{
    unsigned unused = 64 - kw_ring_rules_bits(&ring->rules);
    if (ring->live_n == 0) {
        *last = UINT64_MAX >> unused;
        return KW_RING_NO_NODE;
    }
    if (ring->cells != NULL) {
        *last = ring->points[index] >> unused;
        return ring->points[index] & 0xffff;
    }
    *last = ring->points[index];
    return ring->owners[index];
}

/* Numbers of from's nodes in to. NULL when there is no memory. */
static uint32_t *match_nodes(const kw_ring *from, const kw_ring *to)
{
    uint32_t *numbers = kw_mem_calloc(&to->mem, from->nodes_n, sizeof(numbers[0]));
    for (size_t i = 0; numbers != NULL && i < from->nodes_n; i++) {
        const kw_ring_node *node = &from->nodes[i];
        numbers[i] = KW_RING_NO_NODE;
        kw_ring_find(to, &numbers[i], node->name, node->name_len);
    }
    return numbers;
}

/* Writes the ranges that move, or only counts them where moves is NULL. */
static size_t compare_arcs(kw_ring_move *moves, const kw_ring *from, const kw_ring *to,
                           const uint32_t *numbers)
{
    uint64_t highest = kw_ring_rules_highest(&from->rules);
    kw_ring_move move = {sizeof(move), 0, 0, KW_RING_NO_NODE, KW_RING_NO_NODE};
    size_t n = 0;
    size_t i = 0;
    size_t k = 0;
    for (uint64_t first = 0;;) {
        uint64_t ends[2];
        uint32_t a = arc_at(from, &ends[0], i);
        uint32_t b = arc_at(to, &ends[1], k);
        uint64_t last = ends[0] < ends[1] ? ends[0] : ends[1];
        last = last < highest ? last : highest;
        /* A node that is gone has the number of no node, which is no owner it stays with. */
        bool is_same = a == b && a == KW_RING_NO_NODE;
        if (a != KW_RING_NO_NODE && b != KW_RING_NO_NODE) {
            is_same = numbers[a] == b;
        }
        if (last >= first && !is_same) {
            bool goes_on = n > 0 && move.from == a && move.to == b && move.last + 1 == first;
            move.first = goes_on ? move.first : first;
            move.last = last;
            move.from = a;
            move.to = b;
            n += goes_on ? 0 : 1;
            if (moves != NULL) {
                moves[n - 1] = move;
            }
        }
        if (last == highest) {
            return n;
        }
        first = last >= first ? last + 1 : first;
        i += ends[0] == last;
        k += ends[1] == last;
    }
}

static kw_err check_pair(const kw_ring *from, kw_error *error, const kw_ring *to)
{
    if (from == NULL || to == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "ring: a ring is NULL");
    }
    if (!kw_ring_rules_same_hash(&from->rules, &to->rules)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "ring: %s and %s hash keys differently", from->rules.text,
                            to->rules.text);
    }
    return KW_OK;
}

kw_ring_diff *kw_ring_diff_new(const kw_ring *from, kw_error *error, const kw_ring *to)
{
    if (check_pair(from, error, to) != KW_OK) {
        return NULL;
    }
    if (!kw_ring_rules_has_arcs(&from->rules)) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE, "ring: %s has no ranges of hashes",
                     from->rules.text);
        return NULL;
    }
    uint32_t *numbers = match_nodes(from, to);
    if (numbers == NULL) {
        no_memory(error);
        return NULL;
    }
    size_t n = compare_arcs(NULL, from, to, numbers);
    kw_ring_diff *diff = kw_mem_alloc(&to->mem, sizeof(*diff) + n * sizeof(diff->moves[0]));
    if (diff != NULL) {
        diff->mem = to->mem;
        diff->moves_n = compare_arcs(diff->moves, from, to, numbers);
    } else {
        no_memory(error);
    }
    kw_mem_free(&to->mem, numbers);
    return diff;
}

size_t kw_ring_diff_count(const kw_ring_diff *diff)
{
    return diff != NULL ? diff->moves_n : 0;
}

const kw_ring_move *kw_ring_diff_at(const kw_ring_diff *diff, size_t index)
{
    return index < kw_ring_diff_count(diff) ? &diff->moves[index] : NULL;
}

void kw_ring_diff_free(kw_ring_diff *diff)
{
    if (diff != NULL) {
        kw_allocator mem = diff->mem;
        kw_mem_free(&mem, diff);
    }
}

/* Hashes that keys can have. */
static double space(const kw_ring *ring)
{
    return (double)kw_ring_rules_highest(&ring->rules) + 1;
}

/* So few hashes are looked at one by one. */
#define FEW_HASHES ((uint64_t)1 << 16)

static bool has_few_hashes(const kw_ring *ring)
{
    return kw_ring_rules_highest(&ring->rules) < FEW_HASHES;
}

static kw_err moved_arcs(const kw_ring *from, const kw_ring *to, double *fraction)
{
    kw_ring_diff *diff = kw_ring_diff_new(from, NULL, to);
    double sum = 0;
    if (diff == NULL) {
        return KW_ERR_NOMEM;
    }
    for (size_t i = 0; i < diff->moves_n; i++) {
        sum += (double)(diff->moves[i].last - diff->moves[i].first) + 1;
    }
    *fraction = sum / space(from);
    kw_ring_diff_free(diff);
    return KW_OK;
}

static size_t greatest_divisor(size_t a, size_t b)
{
    while (b > 0) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Two lists, of which not every place comes equally often. */
static double moved_few(const kw_ring *from, const kw_ring *to, const uint32_t *numbers)
{
    size_t moved_n = 0;
    for (uint64_t hash = 0; hash <= kw_ring_rules_highest(&from->rules); hash++) {
        moved_n += numbers[from->owners[hash % from->owners_n]] != to->owners[hash % to->owners_n];
    }
    return (double)moved_n / space(from);
}

/* By the Chinese remainder theorem the places i and k of two lists meet, equally often,
 * where they agree modulo the greatest common divisor of the lengths. */
static kw_err moved_list(const kw_ring *from, const kw_ring *to, const uint32_t *numbers,
                         double *fraction)
{
    size_t divisor = greatest_divisor(from->owners_n, to->owners_n);
    size_t *counts = kw_mem_calloc(&to->mem, to->nodes_n, sizeof(counts[0]));
    double stays = 0;
    if (counts == NULL) {
        return KW_ERR_NOMEM;
    }
    for (size_t rest = 0; rest < divisor; rest++) {
        for (size_t k = rest; k < to->owners_n; k += divisor) {
            counts[to->owners[k]]++;
        }
        for (size_t i = rest; i < from->owners_n; i += divisor) {
            uint32_t number = numbers[from->owners[i]];
            stays += number != KW_RING_NO_NODE ? (double)counts[number] : 0;
        }
        for (size_t k = rest; k < to->owners_n; k += divisor) {
            counts[to->owners[k]] = 0;
        }
    }
    *fraction = 1 - stays * (double)divisor / ((double)from->owners_n * (double)to->owners_n);
    kw_mem_free(&to->mem, counts);
    return KW_OK;
}

/* The best of all nodes of both is in both, and so the owner before and after; else it is
 * in one only, and the owners differ. */
static double moved_rendezvous(const kw_ring *from, const kw_ring *to, const uint32_t *numbers)
{
    size_t both = 0;
    for (size_t i = 0; i < from->owners_n; i++) {
        uint32_t number = numbers[from->owners[i]];
        both += number != KW_RING_NO_NODE && to->nodes[number].points_n > 0;
    }
    return 1 - (double)both / (double)(from->owners_n + to->owners_n - both);
}

kw_err kw_ring_moved(const kw_ring *from, kw_error *error, double *fraction, const kw_ring *to)
{
    kw_err err = check_pair(from, error, to);
    if (err != KW_OK) {
        return err;
    }
    if (from->live_n == 0 || to->live_n == 0) {
        *fraction = from->live_n == to->live_n ? 0 : 1;
        return KW_OK;
    }
    uint32_t *numbers = match_nodes(from, to);
    if (numbers == NULL) {
        return no_memory(error);
    }
    if (kw_ring_rules_has_arcs(&from->rules)) {
        err = moved_arcs(from, to, fraction);
    } else if (has_few_hashes(from)) {
        *fraction = moved_few(from, to, numbers);
    } else if (from->rules.method == KW_RING_RENDEZVOUS) {
        *fraction = moved_rendezvous(from, to, numbers);
    } else {
        err = moved_list(from, to, numbers, fraction);
    }
    kw_mem_free(&to->mem, numbers);
    return err == KW_OK ? KW_OK : no_memory(error);
}

/* Of a node in a list: its places, by how many hashes come to each where these are few. */
static double share_of_list(const kw_ring *ring, uint32_t node)
{
    if (!has_few_hashes(ring)) {
        return (double)ring->nodes[node].points_n / (double)ring->owners_n;
    }
    size_t hashes_n = (size_t)kw_ring_rules_highest(&ring->rules) + 1;
    size_t own_n = 0;
    for (size_t i = 0; i < ring->owners_n && i < hashes_n; i++) {
        own_n += ring->owners[i] == node ? (hashes_n - i - 1) / ring->owners_n + 1 : 0;
    }
    return (double)own_n / space(ring);
}

double kw_ring_node_share(const kw_ring *ring, uint32_t node)
{
    if (node >= kw_ring_nodes_n(ring) || ring->live_n == 0) {
        return 0;
    }
    if (!kw_ring_rules_has_arcs(&ring->rules)) {
        return share_of_list(ring, node);
    }
    uint64_t highest = kw_ring_rules_highest(&ring->rules);
    uint64_t own_n = 0; /* hashes */
    bool has_some = false;
    uint64_t first = 0;
    for (size_t i = 0; i < arcs_n(ring) && first <= highest; i++) {
        uint64_t last;
        uint32_t owner = arc_at(ring, &last, i);
        last = last < highest ? last : highest;
        if (last >= first && owner == node) {
            own_n += last - first + 1; /* all 2^64 of them are 0 */
            has_some = true;
        }
        if (last >= first) {
            first = last + 1; /* 0 behind the very last arc */
        }
    }
    return has_some && own_n == 0 ? 1 : (double)own_n / space(ring);
}

/* One entry of the fingerprint. */
static void add_point(XXH3_state_t *state, uint64_t point, const kw_ring_node *node)
{
    char text[8 + 1 + KW_RING_NAME_MAX];
    kw_store_le64(text, point);
    text[8] = (char)(unsigned char)node->name_len;
    memcpy(text + 9, node->name, node->name_len);
    XXH3_64bits_update(state, text, 9u + node->name_len);
}

uint64_t kw_ring_fingerprint(const kw_ring *ring)
{
    if (ring == NULL) {
        return 0;
    }
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    if (ring->cells != NULL) {
        unsigned unused = 64 - kw_ring_rules_bits(&ring->rules);
        for (size_t i = 0; i + 1 < ring->points_n; i++) {
            uint64_t point = ring->points[i];
            if (i == 0 || point != ring->points[i - 1]) {
                add_point(&state, point >> unused, &ring->nodes[point & 0xffff]);
            }
        }
    } else if (ring->live_n > 0) {
        bool has_arcs = kw_ring_rules_has_arcs(&ring->rules);
        size_t n = has_arcs ? ring->points_n - 1 : ring->owners_n;
        for (size_t i = 0; i < n; i++) {
            uint64_t point = ring->points != NULL ? ring->points[i] : i;
            add_point(&state, point, &ring->nodes[ring->owners[i]]);
        }
    }
    return XXH3_64bits_digest(&state);
}
