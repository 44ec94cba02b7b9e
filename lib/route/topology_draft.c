/* SPDX-License-Identifier: BSD-3-Clause */
#include "route/topology_draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define FIRST_CAPACITY ((size_t)16)
#define REASON_LEN     256
#define SHOWN_LEN      80

static kw_topology_draft *draft_new(const kw_topology_source *source)
{
    kw_topology_draft *draft = kw_mem_calloc(source->mem, 1, sizeof(*draft));
    if (draft == NULL) {
        return NULL;
    }
    draft->source = *source;
    draft->entry = KW_TOPOLOGY_NOWHERE;
    draft->node = KW_TOPOLOGY_NOWHERE;
    kw_map_run_fill(draft->slots, 0, KW_SLOTS_N, KW_MAP_NO_SHARD);
    return draft;
}

static void draft_free(kw_topology_draft *draft)
{
    if (draft == NULL) {
        return;
    }
    const kw_allocator *mem = draft->source.mem;
    kw_mem_free(mem, draft->set.nodes);
    kw_mem_free(mem, draft->set.sorted);
    kw_mem_free(mem, draft->members);
    kw_mem_free(mem, draft->previous_shards);
    kw_mem_free(mem, draft);
}

kw_err kw_topology_draft_refuse(kw_topology_draft *draft, const char *format, ...)
{
    char reason[REASON_LEN];
    va_list args;
    va_start(args, format);
    if (vsnprintf(reason, sizeof(reason), format, args) < 0) {
        reason[0] = '\0';
    }
    va_end(args);
    const kw_err code = KW_ERR_TOPOLOGY;
    const kw_effect effect = KW_EFFECT_NONE;
    kw_error *error = draft->source.error;
    const char *answer = draft->source.answer;
    if (draft->entry == KW_TOPOLOGY_NOWHERE) {
        return kw_error_set(error, code, effect, "%s: %s", answer, reason);
    }
    if (draft->node == KW_TOPOLOGY_NOWHERE) {
        return kw_error_set(error, code, effect, "%s entry %zu: %s", answer, draft->entry, reason);
    }
    return kw_error_set(error, code, effect, "%s entry %zu, node %zu: %s", answer, draft->entry,
                        draft->node, reason);
}

static kw_err no_memory(const kw_topology_source *source)
{
    return kw_error_set(source->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for the map of %s",
                        source->answer);
}

/* The host that a node has: its own, or with a null or empty one that of the server
 * that answered. */
static kw_err read_host(kw_topology_draft *draft, kw_bytes *host, const kw_reply *reply)
{
    kw_reply_kind kind = kw_reply_type(reply);
    if (kind != KW_REPLY_STRING && kind != KW_REPLY_STATUS && kind != KW_REPLY_NIL) {
        return kw_topology_draft_refuse(draft, "the host is no string");
    }
    *host = kw_reply_bytes(reply);
    if (host->len > 0) {
        return KW_OK;
    }
    *host = kw_bytes_of(draft->source.from->host);
    if (draft->source.from->port == 0) {
        return kw_topology_draft_refuse(
            draft, "the host is empty, and the server was reached by a path, not a host");
    }
    return KW_OK;
}

kw_err kw_topology_draft_address(kw_topology_draft *draft, kw_endpoint *endpoint, bool *is_known,
                                 const kw_reply *host, long long port)
{
    kw_bytes name;
    kw_err err = read_host(draft, &name, host);
    if (err != KW_OK) {
        return err;
    }
    if (port < 0 || port > UINT16_MAX) {
        return kw_topology_draft_refuse(draft, "port %lld is outside 0 to 65535", port);
    }
    kw_endpoint address;
    if (!kw_endpoint_set(&address, name, port != 0 ? (uint64_t)port : 1)) {
        char shown[SHOWN_LEN];
        return kw_topology_draft_refuse(draft, "\"%s\" (%zu bytes) is no host name or address",
                                        kw_bytes_show(shown, sizeof(shown), name), name.len);
    }
    *is_known = port != 0 && !kw_bytes_equal(name, kw_bytes_of("?"));
    if (*is_known) {
        *endpoint = address;
    }
    return KW_OK;
}

/* Room for one more node. A failure leaves arrays of different, sufficient sizes. */
static bool reserve_node(kw_topology_draft *draft)
{
    if (draft->set.n < draft->capacity) {
        return true;
    }
    size_t capacity = draft->capacity > 0 ? 2 * draft->capacity : FIRST_CAPACITY;
    kw_endpoint *nodes =
        kw_mem_resize(draft->source.mem, draft->set.nodes, capacity, sizeof(*draft->set.nodes));
    if (nodes == NULL) {
        return false;
    }
    draft->set.nodes = nodes;
    uint16_t *sorted =
        kw_mem_resize(draft->source.mem, draft->set.sorted, capacity, sizeof(*draft->set.sorted));
    if (sorted == NULL) {
        return false;
    }
    draft->set.sorted = sorted;
    kw_map_member *members =
        kw_mem_resize(draft->source.mem, draft->members, capacity, sizeof(*draft->members));
    if (members == NULL) {
        return false;
    }
    draft->members = members;
    uint16_t *previous_shards = kw_mem_resize(draft->source.mem, draft->previous_shards, capacity,
                                              sizeof(*draft->previous_shards));
    if (previous_shards == NULL) {
        return false;
    }
    draft->previous_shards = previous_shards;
    draft->capacity = capacity;
    return true;
}

static kw_err add_node(kw_topology_draft *draft, size_t *node, const kw_endpoint *endpoint)
{
    if (kw_node_set_find(&draft->set, node, endpoint)) {
        return KW_OK;
    }
    if (draft->set.n == KW_MAP_NODES_MAX) {
        return kw_topology_draft_refuse(draft, "more than %zu nodes", KW_MAP_NODES_MAX);
    }
    if (!reserve_node(draft)) {
        return no_memory(&draft->source);
    }
    kw_map_member nothing = {KW_MAP_NO_SHARD, false, false};
    *node = kw_node_set_add(&draft->set, endpoint);
    draft->members[*node] = nothing;
    return KW_OK;
}

static uint16_t shard_in_previous(const kw_topology_draft *draft, const kw_endpoint *primary)
{
    size_t node;
    if (draft->source.previous == NULL || !kw_map_is_cluster(draft->source.previous) ||
        !kw_map_find_node(draft->source.previous, &node, primary)) {
        return KW_MAP_NO_SHARD;
    }
    const kw_map_member *member = kw_map_member_at(draft->source.previous, node);
    return member->is_primary ? member->shard : KW_MAP_NO_SHARD;
}

kw_err kw_topology_draft_primary(kw_topology_draft *draft, uint16_t *shard,
                                 const kw_endpoint *endpoint)
{
    size_t node;
    kw_err err = add_node(draft, &node, endpoint);
    if (err != KW_OK) {
        return err;
    }
    kw_map_member *member = &draft->members[node];
    if (!member->is_primary) {
        draft->previous_shards[draft->shards_n] = shard_in_previous(draft, endpoint);
        member->shard = (uint16_t)draft->shards_n++;
        member->is_primary = true;
    }
    *shard = member->shard;
    return KW_OK;
}

kw_err kw_topology_draft_replica(kw_topology_draft *draft, uint16_t shard,
                                 const kw_endpoint *endpoint)
{
    size_t node;
    kw_err err = add_node(draft, &node, endpoint);
    if (err == KW_OK && draft->members[node].shard == KW_MAP_NO_SHARD) {
        draft->members[node].shard = shard;
    }
    return err;
}

/* True where the previous map gives slot to the primary of shard. */
static bool is_previous_owner(const kw_topology_draft *draft, uint16_t shard, unsigned slot)
{
    uint16_t previous = draft->previous_shards[shard];
    return previous != KW_MAP_NO_SHARD && previous == kw_map_shard_of(draft->source.previous, slot);
}

/* Slots first .. end - 1, which have one owner in the draft, or none. */
static void claim_run(kw_topology_draft *draft, uint16_t shard, size_t first, size_t end)
{
    uint16_t owner = draft->slots[first];
    if (owner == shard) {
        return;
    }
    if (owner == KW_MAP_NO_SHARD) {
        kw_map_run_fill(draft->slots, first, end, shard);
        return;
    }
    for (size_t slot = first; slot < end; slot++) {
        if (is_previous_owner(draft, shard, (unsigned)slot)) {
            draft->slots[slot] = shard;
        }
    }
}

kw_err kw_topology_draft_claim(kw_topology_draft *draft, uint16_t shard, long long first,
                               long long last)
{
    if (first < 0 || first >= KW_SLOTS_N || last < 0 || last >= KW_SLOTS_N) {
        return kw_topology_draft_refuse(draft, "slots %lld to %lld are not within 0 to %d", first,
                                        last, KW_SLOTS_N - 1);
    }
    if (first > last) {
        return kw_topology_draft_refuse(draft, "first slot %lld is behind last slot %lld", first,
                                        last);
    }
    draft->claims += (size_t)(last - first) + 1;
    if (draft->claims > KW_TOPOLOGY_CLAIMS_MAX) {
        return kw_topology_draft_refuse(draft, "more than %zu slots claimed in all",
                                        KW_TOPOLOGY_CLAIMS_MAX);
    }
    if (shard == KW_MAP_NO_SHARD) {
        return KW_OK;
    }
    for (size_t slot = (size_t)first; slot <= (size_t)last;) {
        size_t end = kw_map_run_end(draft->slots, slot, (size_t)last + 1);
        claim_run(draft, shard, slot, end);
        slot = end;
    }
    return KW_OK;
}

static bool has_owner(const kw_topology_draft *draft)
{
    return draft->slots[0] != KW_MAP_NO_SHARD ||
           kw_map_run_end(draft->slots, 0, KW_SLOTS_N) < KW_SLOTS_N;
}

static kw_err read_entries(kw_topology_draft *draft, const kw_reply *reply,
                           kw_topology_reader read_entry)
{
    if (kw_reply_is_error(reply)) {
        char shown[SHOWN_LEN];
        return kw_topology_draft_refuse(draft, "%s",
                                        kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply)));
    }
    if (kw_reply_type(reply) != KW_REPLY_ARRAY) {
        return kw_topology_draft_refuse(draft, "the answer is no array");
    }
    if (kw_reply_count(reply) > KW_SLOTS_N) {
        return kw_topology_draft_refuse(draft, "%zu entries, more than slots",
                                        kw_reply_count(reply));
    }
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        draft->entry = i;
        draft->node = KW_TOPOLOGY_NOWHERE;
        kw_err err = read_entry(draft, kw_reply_at(reply, i));
        if (err != KW_OK) {
            return err;
        }
    }
    draft->entry = KW_TOPOLOGY_NOWHERE;
    draft->node = KW_TOPOLOGY_NOWHERE;
    return KW_OK;
}

static kw_err make_map(kw_map **map, kw_topology_draft *draft)
{
    if (!has_owner(draft)) {
        return kw_topology_draft_refuse(draft, "no slot has a primary with a known address");
    }
    kw_map_parts parts = {.set = &draft->set,
                          .members = draft->members,
                          .shards_n = draft->shards_n,
                          .slots = draft->slots};
    kw_err err = kw_map_new(map, draft->source.mem, &parts);
    return err == KW_OK ? KW_OK : no_memory(&draft->source);
}

kw_err kw_topology_draft_read(kw_map **map, const kw_topology_source *source, const kw_reply *reply,
                              kw_topology_reader read_entry)
{
    kw_topology_draft *draft = draft_new(source);
    if (draft == NULL) {
        return no_memory(source);
    }
    kw_err err = read_entries(draft, reply, read_entry);
    if (err == KW_OK) {
        err = make_map(map, draft);
    }
    draft_free(draft);
    return err;
}
