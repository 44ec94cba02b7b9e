/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches of a scan: which of the keys that have come are given, and how. */
#include "api/scan_private.h"

#include "base/error.h"
#include "base/reply.h"
#include "engine/glob.h"
#include "route/slot.h"

#include <stdio.h>
#include <string.h>

/* True where the key hashes by the tag that was asked for. */
static bool has_tag(const kw_scan_wish *wish, kw_bytes key)
{
    size_t len;
    const char *tag = kw_hash_tag(key.data, key.len, &len);
    return kw_bytes_equal((kw_bytes){tag, len}, wish->tag);
}

/* True where the key is in a slot that is wanted of this request. */
static bool is_in_slots(const kw_scan_request *request, kw_bytes key)
{
    const kw_scan *scan = request->scan;
    const kw_scan_wish *wish = &scan->wish;
    bool is_of_cluster = scan->walk.spec.kind == KW_SCAN_OF_CLUSTER;
    if (!is_of_cluster && !wish->has_slots) {
        return true;
    }
    unsigned slot = kw_slot_of(key.data, key.len);
    if (!is_of_cluster) {
        return slot >= wish->first && slot <= wish->last;
    }
    return request->step.act == KW_SCAN_PAGE ? scan->walk.slots[slot] != KW_SCAN_SLOT_GIVEN
                                             : slot == request->step.slot;
}

static bool is_wanted(const kw_scan_request *request, size_t index, kw_bytes key)
{
    const kw_scan_wish *wish = &request->scan->wish;
    if (wish->of != KW_SCAN_KEYS) {
        return true;
    }
    if (!is_in_slots(request, key) || (wish->tag.data != NULL && !has_tag(wish, key))) {
        return false;
    }
    if (request->step.act != KW_SCAN_SLOT) {
        return true; /* the server has applied the rest */
    }
    return request->is_kept != NULL ? request->is_kept[index] != 0
                                    : wish->match.data == NULL || kw_glob_matches(wish->match, key);
}

/* Room for so many keys, and as many values. */
static bool reserve(kw_scan *scan, size_t n)
{
    if (n <= scan->capacity) {
        return true;
    }
    const char **texts = kw_mem_resize(&scan->mem, (void *)scan->texts, 2 * n, sizeof(texts[0]));
    scan->texts = texts != NULL ? texts : scan->texts;
    size_t *lens = kw_mem_resize(&scan->mem, scan->lens, 2 * n, sizeof(lens[0]));
    scan->lens = lens != NULL ? lens : scan->lens;
    if (texts == NULL || lens == NULL) {
        kw_error_set(&scan->failure, KW_ERR_NOMEM, KW_EFFECT_NONE,
                     "no memory for a batch of %zu keys", n);
        return false;
    }
    scan->capacity = n;
    return true;
}

static void put(kw_scan *scan, size_t at, kw_bytes bytes)
{
    scan->texts[at] = bytes.data;
    scan->lens[at] = bytes.len;
}

/* Puts what is wanted of the request behind the n keys that are there; how many there are then. */
static size_t fill(kw_scan_request *request, bool has_values, size_t n)
{
    kw_scan *scan = request->scan;
    size_t width = has_values ? 2 : 1;
    size_t keys_n = kw_reply_count(request->keys) / width;
    for (size_t i = 0; i < keys_n; i++) {
        kw_bytes key = kw_reply_bytes(kw_reply_at(request->keys, i * width));
        if (!is_wanted(request, i, key)) {
            continue;
        }
        if (!kw_scan_unique_is_new(&scan->unique, key)) {
            scan->figures.repeated_n++;
            continue;
        }
        put(scan, n, key);
        if (has_values) {
            put(scan, scan->capacity + n,
                kw_reply_bytes(kw_reply_at(request->keys, i * width + 1)));
        }
        n++;
    }
    return n;
}

/* The walk hears of what was given. */
static void commit(kw_scan_request *request)
{
    kw_scan *scan = request->scan;
    bool is_well = true;
    if (request->step.act == KW_SCAN_SLOT) {
        kw_scan_walk_on_slot(&scan->walk, request->step.job);
    } else if (request->step.act == KW_SCAN_LARGE) {
        is_well = kw_scan_walk_on_large(&scan->walk, request->step.job, request->cursor);
    } else {
        is_well = kw_scan_walk_on_page(&scan->walk, request->step.host, request->cursor);
    }
    if (!is_well) {
        kw_error_set(&scan->trouble, KW_ERR_PROTOCOL, KW_EFFECT_NONE,
                     "SCAN of %.200s goes in a circle, or on without end (cursor %llu)", scan->node,
                     (unsigned long long)request->cursor);
        kw_error_set_node(&scan->trouble, scan->node);
    }
}

static bool is_of_slot(const kw_scan_request *request)
{
    return request != NULL && request->step.act == KW_SCAN_SLOT;
}

/* How many of those that are ready make one batch: one page, or slots of about as many keys. Fewer
 * slots wait for others that are under way. */
static size_t count_ready(const kw_scan *scan, size_t *keys_n)
{
    size_t n = 0;
    const kw_scan_request *request = scan->ready.head;
    *keys_n = 0;
    if (request != NULL && !is_of_slot(request)) {
        *keys_n = kw_reply_count(request->keys);
        return 1;
    }
    for (; is_of_slot(request) && *keys_n < scan->wish.count; request = request->next) {
        *keys_n += kw_reply_count(request->keys);
        n++;
    }
    bool is_enough = *keys_n >= scan->wish.count || request != NULL || scan->under_way.n == 0 ||
                     kw_scan_now(scan) >= scan->deadline_ns;
    return is_enough ? n : 0;
}

/* Names whom the request was asked of; nobody where there are several. */
static void name_node(kw_scan *scan, kw_scan_batch *batch, const kw_scan_request *request)
{
    const char *name = scan->walk.hosts[request->step.host].name;
    if (scan->given.n == 1) {
        snprintf(scan->node, sizeof(scan->node), "%s", name);
        batch->node = scan->node;
    } else if (batch->node != NULL && strcmp(batch->node, name) != 0) {
        batch->node = NULL;
    }
}

kw_scan_taken kw_scan_take(kw_scan *scan, kw_scan_batch *batch)
{
    kw_scan_of of = scan->wish.of;
    bool has_values = of == KW_SCAN_FIELDS || of == KW_SCAN_SORTED_SET;
    size_t keys_n;
    size_t requests_n = count_ready(scan, &keys_n);
    kw_scan_end_given(scan);
    if (requests_n == 0 || !reserve(scan, keys_n)) {
        return KW_SCAN_TOOK_NONE;
    }
    size_t n = 0;
    for (; requests_n > 0; requests_n--) {
        kw_scan_request *request = kw_scan_request_give(scan);
        name_node(scan, batch, request);
        n = fill(request, has_values, n);
        commit(request);
    }
    if (n == 0) {
        return KW_SCAN_TOOK_EMPTY;
    }
    scan->figures.given_n += n;
    batch->count = n;
    batch->keys = scan->texts;
    batch->key_lens = scan->lens;
    batch->values = has_values ? scan->texts + scan->capacity : NULL;
    batch->value_lens = has_values ? scan->lens + scan->capacity : NULL;
    return KW_SCAN_TOOK_KEYS;
}
