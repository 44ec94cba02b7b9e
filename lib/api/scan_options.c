/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of a scan: checked, copied, and made the walk that they ask for. */
#include "api/scan_private.h"

#include "base/error.h"
#include "engine/scan_cursor.h"
#include "route/slot.h"

#include <string.h>

#define COUNT_DEFAULT    500u
#define PARALLEL_DEFAULT 8u
#define PARALLEL_MAX     256u

/* A few slots of a cluster are walked by themselves, without a SCAN of their nodes. */
#define FEW_SLOTS 1024u

/* A copy of bytes, of which there is one at least, where data is not NULL. */
static bool copy(kw_scan *scan, kw_bytes *to, const char *data, size_t len)
{
    if (data == NULL) {
        return true;
    }
    to->data = kw_mem_strndup(&scan->mem, data, len);
    to->len = len;
    return to->data != NULL;
}

static const char *wrong_option(const kw_scan_options *options)
{
    unsigned scopes_n = (options->node != NULL ? 1u : 0) + (options->has_slots ? 1u : 0) +
                        (options->tag != NULL ? 1u : 0);
    bool is_of_key = options->of != KW_SCAN_KEYS;
    if ((unsigned)options->of > KW_SCAN_SORTED_SET) {
        return "options.of is none of kw_scan_of";
    }
    if (is_of_key && (options->key == NULL && options->key_len > 0)) {
        return "options.key is NULL";
    }
    if (is_of_key && (scopes_n > 0 || options->type != NULL)) {
        return "node, slots, tag and type are for keys, not for what is in one (options.of)";
    }
    if (scopes_n > 1) {
        return "of node, slots and tag there can be one";
    }
    if (options->has_slots &&
        (options->last_slot >= KW_SLOTS_N || options->first_slot > options->last_slot)) {
        return "slots are 0 to 16383, the first one not behind the last";
    }
    if (options->parallel > PARALLEL_MAX) {
        return "parallel is 256 at most";
    }
    return NULL;
}

/* Of the text, with its length, into a hash of 64 bits. */
static uint64_t add_hash(uint64_t hash, kw_bytes bytes)
{
    const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (bytes.data != NULL ? bytes.len + 1 : 0)) * factor;
    return (hash ^ hash >> 29 ^ (bytes.data != NULL ? kw_bytes_hash(bytes) : 0)) * factor;
}

/* A number for what is walked, by which a cursor knows whether it is of the same. */
static uint32_t scope_of(const kw_scan *scan)
{
    const kw_scan_wish *wish = &scan->wish;
    uint64_t hash = add_hash((uint64_t)wish->of, wish->key);
    hash = add_hash(hash ^ wish->first << 16 ^ wish->last, wish->match);
    hash = add_hash(hash ^ (uint64_t)scan->client->topology->env.options.scheme, wish->type);
    hash = add_hash(add_hash(hash, wish->node), wish->tag);
    return (uint32_t)(hash >> 32);
}

static bool copy_all(kw_scan *scan, const kw_scan_options *options)
{
    kw_scan_wish *wish = &scan->wish;
    const char *key = options->of == KW_SCAN_KEYS ? NULL : options->key;
    key = options->of != KW_SCAN_KEYS && key == NULL ? "" : key;
    return copy(scan, &wish->key, key, options->key_len) &&
           copy(scan, &wish->match, options->match, options->match_len) &&
           copy(scan, &wish->type, options->type,
                options->type != NULL ? strlen(options->type) : 0) &&
           copy(scan, &wish->node, options->node,
                options->node != NULL ? strlen(options->node) : 0) &&
           copy(scan, &wish->tag, options->tag, options->tag_len);
}

static void choose_slots(kw_scan *scan, const kw_scan_options *options, bool is_ring)
{
    kw_scan_wish *wish = &scan->wish;
    wish->first = 0;
    wish->last = KW_SLOTS_N - 1;
    wish->has_slots = options->has_slots;
    if (options->has_slots) {
        wish->first = options->first_slot;
        wish->last = options->last_slot;
    } else if (wish->tag.data != NULL && wish->tag.len > 0 && !is_ring) {
        /* In one slot; the empty tag is none, and keys with it are anywhere. */
        wish->first = kw_crc16_routed(wish->tag.data, wish->tag.len) % KW_SLOTS_N;
        wish->last = wish->first;
    } else if (wish->key.data != NULL) {
        wish->first = kw_slot_of(wish->key.data, wish->key.len);
        wish->last = wish->first;
    }
}

static kw_err init_walk(kw_scan *scan, kw_error *error, const kw_scan_options *options)
{
    const kw_scan_wish *wish = &scan->wish;
    bool is_cluster = scan->client->topology->env.options.scheme == KW_SCHEME_CLUSTER;
    kw_scan_spec spec = {.kind = KW_SCAN_OF_HOSTS};
    spec.kind = wish->of != KW_SCAN_KEYS                ? KW_SCAN_OF_KEY
                : is_cluster && wish->node.data == NULL ? KW_SCAN_OF_CLUSTER
                                                        : KW_SCAN_OF_HOSTS;
    spec.first = wish->first;
    spec.last = wish->last;
    spec.is_by_slot = wish->last - wish->first < FEW_SLOTS;
    spec.count = wish->count;
    spec.parallel_n = wish->parallel;
    if (!kw_scan_walk_init(&scan->walk, &scan->mem, &spec)) {
        return KW_ERR_NOMEM;
    }
    if (options->cursor == NULL) {
        return KW_OK;
    }
    kw_scan_fault fault;
    kw_bytes text = kw_bytes_of(options->cursor);
    kw_err code = kw_scan_cursor_read(&scan->walk, &fault, text, scan->scope);
    if (code == KW_ERR_ARGUMENT) {
        kw_error_set(error, code, KW_EFFECT_NONE, "the cursor is wrong at byte %zu of %zu: %s",
                     fault.at, text.len, fault.what);
    }
    return code;
}

kw_err kw_scan_wish_init(kw_scan *scan, kw_error *error, const kw_scan_options *options)
{
    kw_scan_wish *wish = &scan->wish;
    const char *wrong = wrong_option(options);
    bool is_ring = kw_topology_is_ring(scan->client->topology);
    if (wrong != NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, wrong);
    }
    if (options->has_slots && is_ring) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "a ring has no slots; a member is walked by options.node");
    }
    uint64_t timeout_ms = scan->client->topology->env.options.timeout_ms;
    wish->of = options->of;
    wish->count = options->count > 0 ? options->count : COUNT_DEFAULT;
    wish->parallel = options->parallel > 0 ? options->parallel : PARALLEL_DEFAULT;
    wish->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : timeout_ms;
    kw_err code = copy_all(scan, options) ? KW_OK : KW_ERR_NOMEM;
    if (code == KW_OK) {
        choose_slots(scan, options, is_ring);
        scan->scope = scope_of(scan);
        code = init_walk(scan, error, options);
    }
    if (code == KW_ERR_NOMEM) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a scan");
    }
    return code;
}

static void drop(kw_scan *scan, kw_bytes *bytes)
{
    kw_mem_free(&scan->mem, (void *)(uintptr_t)bytes->data);
    bytes->data = NULL;
}

void kw_scan_wish_fini(kw_scan *scan)
{
    kw_scan_wish *wish = &scan->wish;
    if (scan->walk.mem != NULL) {
        kw_scan_walk_fini(&scan->walk);
    }
    drop(scan, &wish->key);
    drop(scan, &wish->match);
    drop(scan, &wish->type);
    drop(scan, &wish->node);
    drop(scan, &wish->tag);
}
