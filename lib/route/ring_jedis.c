/* SPDX-License-Identifier: BSD-3-Clause */
/* Points as Jedis places its shards. */
#include "route/ring_jedis.h"

#include <string.h>

/* Longest text: "SHARD-10000-NODE-16777216", or a name, a star and two numbers. */
#define TEXT_MAX (KW_RING_NAME_MAX + 1 + 2 * 20)

/* Length of the line terminator at the front of text, which a dot of Java's does not match; 0 where
 * there is none. In UTF-8, as Jedis' keys are: next line is C2 85, the separators are E2 80 A8 and
 * A9. */
static size_t line_end_len(const char *text, size_t len)
{
    if (text[0] == '\n' || text[0] == '\r') {
        return 1;
    }
    if (len >= 2 && memcmp(text, "\xC2\x85", 2) == 0) {
        return 2;
    }
    bool is_separator = len >= 3 && memcmp(text, "\xE2\x80", 2) == 0 &&
                        ((unsigned char)text[2] == 0xA8 || (unsigned char)text[2] == 0xA9);
    return is_separator ? 3 : 0;
}

kw_bytes kw_jedis_tag(kw_bytes key, size_t open)
{
    while (open < key.len) {
        size_t at = open + 1;
        while (at < key.len && line_end_len(key.data + at, key.len - at) == 0) {
            if (at > open + 1 && key.data[at] == '}') {
                kw_bytes tag = {key.data + open + 1, at - open - 1};
                return tag;
            }
            at++;
        }
        /* No brace in front of the line's end begins a match: the next one behind it may. */
        while (at < key.len && key.data[at] != '{') {
            at++;
        }
        open = at;
    }
    return key;
}

static size_t put(char *text, size_t at, const char *more, size_t more_len)
{
    memcpy(text + at, more, more_len);
    return at + more_len;
}

static size_t put_number(char *text, size_t at, uint64_t number)
{
    return at + kw_uint_to_text(text + at, number);
}

static size_t write_text(char text[TEXT_MAX], const kw_ring *ring, size_t index, uint32_t k)
{
    const kw_ring_node *node = &ring->nodes[index];
    size_t len = 0;
    if (ring->rules.naming == KW_RING_SHARD_NODE_K) {
        len = put(text, 0, "SHARD-", 6);
        len = put_number(text, len, index);
        len = put(text, len, "-NODE-", 6);
        return put_number(text, len, k);
    }
    len = put(text, 0, node->name, node->name_len);
    len = put(text, len, "*", 1);
    if (ring->rules.naming == KW_RING_NAME_STAR_WEIGHT_K) {
        len = put_number(text, len, node->weight);
    }
    return put_number(text, len, k);
}

/* A point and when it came: the later of two equal ones stays. */
typedef struct entry {
    uint64_t point;
    uint32_t serial;
    uint16_t owner;
} entry;

static bool is_before(const entry *a, const entry *b)
{
    return a->point != b->point ? a->point < b->point : a->serial < b->serial;
}

static void sift_down(entry *entries, size_t at, size_t n)
{
    entry moved = entries[at];
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && is_before(&entries[child], &entries[child + 1])) {
            child++;
        }
        if (!is_before(&moved, &entries[child])) {
            break;
        }
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = moved;
}

/* Heap sort. */
static void sort(entry *entries, size_t n)
{
    for (size_t i = n / 2; i > 0; i--) {
        sift_down(entries, i - 1, n);
    }
    for (size_t end = n; end > 1; end--) {
        entry top = entries[0];
        entries[0] = entries[end - 1];
        entries[end - 1] = top;
        sift_down(entries, 0, end - 1);
    }
}

static void fill(entry *entries, const kw_ring *ring)
{
    char text[TEXT_MAX];
    uint32_t n = 0;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        for (uint32_t k = 0; k < ring->nodes[i].points_n; k++, n++) {
            size_t len = write_text(text, ring, i, k);
            entries[n].point = kw_jedis_hash(text, len);
            entries[n].serial = n;
            entries[n].owner = (uint16_t)i;
        }
    }
}

kw_err kw_jedis_points(kw_ring *ring, size_t points_n)
{
    entry *entries = kw_mem_calloc(&ring->mem, points_n, sizeof(entries[0]));
    ring->points = kw_mem_calloc(&ring->mem, points_n + 1, sizeof(ring->points[0]));
    ring->owners = kw_mem_calloc(&ring->mem, points_n + 1, sizeof(ring->owners[0]));
    if (entries == NULL || ring->points == NULL || ring->owners == NULL) {
        kw_mem_free(&ring->mem, entries);
        return KW_ERR_NOMEM;
    }
    fill(entries, ring);
    sort(entries, points_n);
    size_t n = 0;
    for (size_t i = 0; i < points_n; i++) {
        if (i + 1 < points_n && entries[i + 1].point == entries[i].point) {
            continue;
        }
        ring->points[n] = entries[i].point;
        ring->owners[n++] = entries[i].owner;
    }
    /* Behind the highest point the lowest one owns. */
    ring->points[n] = UINT64_MAX;
    ring->owners[n] = ring->owners[0];
    ring->owners_n = ring->points_n = n + 1;
    kw_mem_free(&ring->mem, entries);
    return KW_OK;
}
