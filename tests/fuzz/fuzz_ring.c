/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: bytes become a placement, changes of a ring, and keys; then every reading of
 * the ring must agree with every other. */
#include <keyway/ring.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static unsigned take(input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

/* Up to max bytes of their own, so that a read behind them is seen; the caller frees. */
static char *take_text(input *in, size_t *len, size_t max)
{
    size_t wanted = take(in) % (max + 1);
    *len = wanted < in->left ? wanted : in->left;
    char *text = malloc(*len + 1);
    if (text == NULL) {
        abort();
    }
    memcpy(text, in->at, *len);
    text[*len] = '\0';
    in->at += *len;
    in->left -= *len;
    return text;
}

static void change_once(kw_ring_change *change, input *in)
{
    unsigned what = take(in);
    size_t len;
    char *text = take_text(in, &len, 20);
    switch (what % 6) {
    case 0:
        kw_ring_change_add_server(change, NULL, text);
        break;
    case 1:
        kw_ring_change_remove(change, NULL, text, len);
        break;
    case 2:
        kw_ring_change_reweight(change, NULL, text, len, take(in) % 8);
        break;
    case 3:
        kw_ring_change_set_zone(change, NULL, text, len, what > 127 ? "east" : "west");
        break;
    default:
        kw_ring_change_add(change, NULL, text, len, take(in) % 8);
        break;
    }
    free(text);
}

static void check_key(const kw_ring *ring, const char *key, size_t len)
{
    uint32_t owner = KW_RING_NO_NODE;
    uint32_t first = KW_RING_NO_NODE;
    size_t n = 0;
    kw_err err = kw_ring_lookup(ring, &owner, key, len);
    kw_ring_walk *walk = kw_ring_walk_new(ring, key, len);
    if (kw_ring_preference(ring, &first, 1, key, len) != (err == KW_OK ? 1u : 0u) ||
        owner != first || kw_ring_walk_next(walk) != owner) {
        abort();
    }
    while (kw_ring_walk_next(walk) != KW_RING_NO_NODE) {
        n++;
    }
    if (n >= kw_ring_nodes_n(ring) && n > 0) {
        abort();
    }
    kw_ring_walk_free(walk);
}

/* A key's owners in both rings are those of the range that moves it, or the same. */
static void check_move(const kw_ring *from, const kw_ring *to, const kw_ring_diff *diff,
                       const char *key, size_t len)
{
    uint64_t hash = kw_ring_hash(from, key, len);
    uint32_t a = KW_RING_NO_NODE;
    uint32_t b = KW_RING_NO_NODE;
    kw_ring_lookup(from, &a, key, len);
    kw_ring_lookup(to, &b, key, len);
    for (size_t i = 0; i < kw_ring_diff_count(diff); i++) {
        const kw_ring_move *move = kw_ring_diff_at(diff, i);
        if (move->first <= hash && hash <= move->last) {
            if (move->from != a || move->to != b) {
                abort();
            }
            return;
        }
    }
    const char *name_a = a == KW_RING_NO_NODE ? "" : kw_ring_node_name(from, NULL, a);
    const char *name_b = b == KW_RING_NO_NODE ? "" : kw_ring_node_name(to, NULL, b);
    if (strcmp(name_a, name_b) != 0) {
        abort();
    }
}

static void compare(const kw_ring *from, const kw_ring *to, input *in)
{
    kw_ring_diff *diff = kw_ring_diff_new(from, NULL, to);
    double moved = -1;
    if (kw_ring_moved(from, NULL, &moved, to) != KW_OK || moved < -1e-9 || moved > 1 + 1e-9) {
        abort();
    }
    for (unsigned i = 0; i < 4; i++) {
        size_t len;
        char *key = take_text(in, &len, 40);
        check_key(to, key, len);
        if (diff != NULL) {
            check_move(from, to, diff, key, len);
        }
        free(key);
    }
    kw_ring_diff_free(diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    input in = {data, len};
    size_t text_len;
    char *placement = take_text(&in, &text_len, 40);
    kw_ring_change *change = kw_ring_change_new(placement, NULL, NULL);
    free(placement);
    if (change == NULL) {
        return 0;
    }
    for (unsigned n = take(&in) % 16; n > 0; n--) {
        change_once(change, &in);
    }
    kw_ring *from = kw_ring_change_commit(change, NULL);
    kw_ring_change_free(change);
    if (from == NULL) {
        return 0;
    }
    change = kw_ring_change_of(from, NULL);
    for (unsigned n = take(&in) % 4; n > 0; n--) {
        change_once(change, &in);
    }
    kw_ring *to = kw_ring_change_commit(change, NULL);
    kw_ring_change_free(change);
    if (to != NULL) {
        compare(from, to, &in);
    }
    kw_ring_unref(from);
    kw_ring_unref(to);
    return 0;
}
