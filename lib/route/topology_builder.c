/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects nodes, shards and slots while an answer is read, checks them, and makes the map. */
#include "route/topology_builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define FIRST_CAPACITY ((size_t)16)
#define REASON_LEN     256
#define SHOWN_LEN      80

/* Each costs a look at all slots; true answers have a few. */
#define LEGACIES_MAX 256

static kw_topology_builder *builder_new(const kw_topology_source *source, kw_error *error,
                                        const char *name)
{
    kw_topology_builder *builder = kw_mem_calloc(source->mem, 1, sizeof(*builder));
    if (builder == NULL) {
        return NULL;
    }
    builder->source = *source;
    builder->error = error;
    builder->name = name;
    builder->entry = KW_TOPOLOGY_NOWHERE;
    builder->node = KW_TOPOLOGY_NOWHERE;
    kw_map_run_fill(builder->slots, 0, KW_SLOTS_N, KW_MAP_NO_SHARD);
    return builder;
}

static void builder_free(kw_topology_builder *builder)
{
    if (builder == NULL) {
        return;
    }
    const kw_allocator *mem = builder->source.mem;
    kw_mem_free(mem, builder->set.nodes);
    kw_mem_free(mem, builder->set.sorted);
    kw_mem_free(mem, builder->members);
    kw_mem_free(mem, builder->previous_shards);
    kw_mem_free(mem, builder);
}

kw_err kw_topology_builder_refuse(kw_topology_builder *builder, const char *format, ...)
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
    kw_error *error = builder->error;
    const char *answer = builder->name;
    if (builder->entry == KW_TOPOLOGY_NOWHERE) {
        return kw_error_set(error, code, effect, "%s: %s", answer, reason);
    }
    if (builder->node == KW_TOPOLOGY_NOWHERE) {
        return kw_error_set(error, code, effect, "%s entry %zu: %s", answer, builder->entry,
                            reason);
    }
    return kw_error_set(error, code, effect, "%s entry %zu, node %zu: %s", answer, builder->entry,
                        builder->node, reason);
}

static kw_err no_memory(kw_error *error, const char *name)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for the map of %s", name);
}

/* The host that a node has: its own, or with a null or empty one that of the server
 * that answered. */
static kw_err read_host(kw_topology_builder *builder, kw_bytes *host, const kw_reply *reply)
{
    kw_reply_kind kind = kw_reply_type(reply);
    if (kind != KW_REPLY_STRING && kind != KW_REPLY_STATUS && kind != KW_REPLY_NIL) {
        return kw_topology_builder_refuse(builder, "the host is no string");
    }
    *host = kw_reply_bytes(reply);
    if (host->len > 0) {
        return KW_OK;
    }
    *host = kw_bytes_of(builder->source.from->host);
    if (builder->source.from->port == 0) {
        return kw_topology_builder_refuse(
            builder, "the host is empty, and the server was reached by a path, not a host");
    }
    return KW_OK;
}

kw_err kw_topology_builder_address(kw_topology_builder *builder, kw_endpoint *endpoint,
                                   bool *is_known, const kw_reply *host, long long port)
{
    kw_bytes name;
    kw_err err = read_host(builder, &name, host);
    if (err != KW_OK) {
        return err;
    }
    if (port < 0 || port > UINT16_MAX) {
        return kw_topology_builder_refuse(builder, "port %lld is outside 0 to 65535", port);
    }
    kw_endpoint address;
    if (!kw_endpoint_set(&address, name, port != 0 ? (uint64_t)port : 1)) {
        char shown[SHOWN_LEN];
        return kw_topology_builder_refuse(builder, "\"%s\" (%zu bytes) is no host name or address",
                                          kw_bytes_show(shown, sizeof(shown), name), name.len);
    }
    bool is_unnamed = kw_bytes_equal(name, kw_bytes_of("?"));
    builder->has_unnamed = builder->has_unnamed || is_unnamed;
    *is_known = port != 0 && !is_unnamed;
    if (*is_known) {
        *endpoint = address;
    }
    return KW_OK;
}

/* Room for one more node. A failure leaves arrays of different, sufficient sizes. */
static bool reserve_node(kw_topology_builder *builder)
{
    if (builder->set.n < builder->capacity) {
        return true;
    }
    size_t capacity = builder->capacity > 0 ? 2 * builder->capacity : FIRST_CAPACITY;
    kw_endpoint *nodes = kw_mem_resize(builder->source.mem, builder->set.nodes, capacity,
                                       sizeof(*builder->set.nodes));
    if (nodes == NULL) {
        return false;
    }
    builder->set.nodes = nodes;
    uint16_t *sorted = kw_mem_resize(builder->source.mem, builder->set.sorted, capacity,
                                     sizeof(*builder->set.sorted));
    if (sorted == NULL) {
        return false;
    }
    builder->set.sorted = sorted;
    kw_map_member *members =
        kw_mem_resize(builder->source.mem, builder->members, capacity, sizeof(*builder->members));
    if (members == NULL) {
        return false;
    }
    builder->members = members;
    uint16_t *previous_shards = kw_mem_resize(builder->source.mem, builder->previous_shards,
                                              capacity, sizeof(*builder->previous_shards));
    if (previous_shards == NULL) {
        return false;
    }
    builder->previous_shards = previous_shards;
    builder->capacity = capacity;
    return true;
}

static kw_err add_node(kw_topology_builder *builder, size_t *node, const kw_endpoint *endpoint)
{
    if (kw_node_set_find(&builder->set, node, endpoint)) {
        return KW_OK;
    }
    if (builder->set.n == KW_MAP_NODES_MAX) {
        return kw_topology_builder_refuse(builder, "more than %zu nodes", KW_MAP_NODES_MAX);
    }
    if (!reserve_node(builder)) {
        return no_memory(builder->error, builder->name);
    }
    kw_map_member nothing = {.shard = KW_MAP_NO_SHARD};
    *node = kw_node_set_add(&builder->set, endpoint);
    builder->members[*node] = nothing;
    return KW_OK;
}

static uint16_t shard_in_previous(const kw_topology_builder *builder, const kw_endpoint *primary)
{
    size_t node;
    if (builder->source.previous == NULL || !kw_map_is_cluster(builder->source.previous) ||
        !kw_map_find_node(builder->source.previous, &node, primary)) {
        return KW_MAP_NO_SHARD;
    }
    const kw_map_member *member = kw_map_member_at(builder->source.previous, node);
    return member->is_primary ? member->shard : KW_MAP_NO_SHARD;
}

kw_err kw_topology_builder_primary(kw_topology_builder *builder, uint16_t *shard,
                                   const kw_endpoint *endpoint)
{
    size_t node;
    kw_err err = add_node(builder, &node, endpoint);
    if (err != KW_OK) {
        return err;
    }
    kw_map_member *member = &builder->members[node];
    if (!member->is_primary) {
        builder->previous_shards[builder->shards_n] = shard_in_previous(builder, endpoint);
        member->shard = (uint16_t)builder->shards_n++;
        member->is_primary = true;
    }
    *shard = member->shard;
    return KW_OK;
}

kw_err kw_topology_builder_replica(kw_topology_builder *builder, uint16_t shard,
                                   const kw_endpoint *endpoint)
{
    size_t node;
    kw_err err = add_node(builder, &node, endpoint);
    if (err == KW_OK && builder->members[node].shard == KW_MAP_NO_SHARD) {
        builder->members[node].shard = shard;
    }
    return err;
}

void kw_topology_builder_id(kw_topology_builder *builder, const kw_endpoint *endpoint,
                            const kw_reply *id)
{
    size_t node;
    kw_bytes text = kw_reply_bytes(id);
    if (id != NULL && text.len > 0 && kw_node_set_find(&builder->set, &node, endpoint)) {
        builder->members[node].id = kw_bytes_id(text);
    }
}

void kw_topology_builder_zone(kw_topology_builder *builder, const kw_endpoint *endpoint,
                              const kw_reply *zone)
{
    size_t node;
    kw_bytes name = zone != NULL ? kw_reply_bytes(zone) : kw_bytes_of(NULL);
    if (name.len > 0 && kw_node_set_find(&builder->set, &node, endpoint)) {
        builder->members[node].zone = kw_bytes_id(name);
    }
}

/* True where the previous map gives slot to the primary of shard. */
static bool is_previous_owner(const kw_topology_builder *builder, uint16_t shard, unsigned slot)
{
    uint16_t previous = builder->previous_shards[shard];
    return previous != KW_MAP_NO_SHARD &&
           previous == kw_map_shard_of(builder->source.previous, slot);
}

/* Slots first .. end - 1, which have one owner in the builder, or none. */
static void claim_run(kw_topology_builder *builder, uint16_t shard, size_t first, size_t end)
{
    uint16_t owner = builder->slots[first];
    if (owner == shard) {
        return;
    }
    if (owner == KW_MAP_NO_SHARD) {
        kw_map_run_fill(builder->slots, first, end, shard);
        return;
    }
    for (size_t slot = first; slot < end; slot++) {
        if (is_previous_owner(builder, shard, (unsigned)slot)) {
            builder->slots[slot] = shard;
        }
    }
}

kw_err kw_topology_builder_claim(kw_topology_builder *builder, uint16_t shard, long long first,
                                 long long last)
{
    if (first < 0 || first >= KW_SLOTS_N || last < 0 || last >= KW_SLOTS_N) {
        return kw_topology_builder_refuse(builder, "slots %lld to %lld are not within 0 to %d",
                                          first, last, KW_SLOTS_N - 1);
    }
    if (first > last) {
        return kw_topology_builder_refuse(builder, "first slot %lld is behind last slot %lld",
                                          first, last);
    }
    builder->claims += (size_t)(last - first) + 1;
    if (builder->claims > KW_TOPOLOGY_CLAIMS_MAX) {
        return kw_topology_builder_refuse(builder, "more than %zu slots claimed in all",
                                          KW_TOPOLOGY_CLAIMS_MAX);
    }
    if (shard == KW_MAP_NO_SHARD) {
        memset(&builder->ownerless[first], 1, (size_t)(last - first) + 1);
        return KW_OK;
    }
    for (size_t slot = (size_t)first; slot <= (size_t)last;) {
        size_t end = kw_map_run_end(builder->slots, slot, (size_t)last + 1);
        claim_run(builder, shard, slot, end);
        slot = end;
    }
    return KW_OK;
}

size_t kw_topology_builder_inherit(kw_topology_builder *builder, uint16_t shard,
                                   const kw_endpoint *endpoint)
{
    const kw_map *previous = builder->source.previous;
    size_t node;
    size_t n = 0;
    if (previous == NULL || !kw_map_is_cluster(previous) ||
        !kw_map_find_node(previous, &node, endpoint) || builder->legacies == LEGACIES_MAX) {
        return 0;
    }
    builder->legacies++;
    uint16_t before = kw_map_member_at(previous, node)->shard;
    for (unsigned slot = 0; slot < KW_SLOTS_N && before != KW_MAP_NO_SHARD; slot++) {
        if (builder->slots[slot] == KW_MAP_NO_SHARD && kw_map_shard_of(previous, slot) == before) {
            builder->slots[slot] = shard;
            builder->ownerless[slot] = 1;
            n++;
        }
    }
    return n;
}

static bool has_owner(const kw_topology_builder *builder)
{
    return builder->slots[0] != KW_MAP_NO_SHARD ||
           kw_map_run_end(builder->slots, 0, KW_SLOTS_N) < KW_SLOTS_N;
}

static bool has_hole(const kw_topology_builder *builder)
{
    unsigned slot = 0;
    while (slot < KW_SLOTS_N && builder->slots[slot] != KW_MAP_NO_SHARD) {
        slot++;
    }
    return slot < KW_SLOTS_N;
}

static kw_err read_all(kw_topology_builder *builder, const kw_reply *reply,
                       kw_err (*read)(kw_topology_builder *builder, const kw_reply *entry))
{
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        builder->entry = i;
        builder->node = KW_TOPOLOGY_NOWHERE;
        kw_err err = read(builder, kw_reply_at(reply, i));
        if (err != KW_OK) {
            return err;
        }
    }
    builder->entry = KW_TOPOLOGY_NOWHERE;
    builder->node = KW_TOPOLOGY_NOWHERE;
    return KW_OK;
}

static kw_err read_entries(kw_topology_builder *builder, const kw_reply *reply,
                           const kw_topology_form *form)
{
    if (kw_reply_is_error(reply)) {
        char shown[SHOWN_LEN];
        return kw_topology_builder_refuse(
            builder, "%s", kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply)));
    }
    if (kw_reply_type(reply) != KW_REPLY_ARRAY) {
        return kw_topology_builder_refuse(builder, "the answer is no array");
    }
    if (kw_reply_count(reply) > KW_SLOTS_N) {
        return kw_topology_builder_refuse(builder, "%zu entries, more than slots",
                                          kw_reply_count(reply));
    }
    kw_err err = read_all(builder, reply, form->read_entry);
    bool is_again = err == KW_OK && form->read_again != NULL && has_hole(builder);
    return is_again ? read_all(builder, reply, form->read_again) : err;
}

/* True where the answer names a node of the map in use: both are of one cluster. */
static bool is_of_previous(const kw_topology_builder *builder)
{
    const kw_map *previous = builder->source.previous;
    size_t node;
    for (size_t i = 0; i < builder->set.n && previous != NULL; i++) {
        if (kw_map_find_node(previous, &node, &builder->set.nodes[i])) {
            return kw_map_is_cluster(previous);
        }
    }
    return false;
}

/* A primary of the map in use, with its id. */
static kw_err add_previous(kw_topology_builder *builder, uint16_t *shard, size_t number)
{
    size_t node;
    const kw_map *previous = builder->source.previous;
    const kw_endpoint *endpoint = kw_map_node(previous, number);
    kw_err err = kw_topology_builder_primary(builder, shard, endpoint);
    if (err == KW_OK && kw_node_set_find(&builder->set, &node, endpoint)) {
        builder->members[node].id = kw_map_member_at(previous, number)->id;
    }
    return err;
}

/* For a moment a node may have no address, and a shard no primary, as in a failover: the owner that
 * is known keeps such slots. */
static kw_err keep_owners(kw_topology_builder *builder)
{
    const kw_map *previous = builder->source.previous;
    kw_err err = KW_OK;
    if (!is_of_previous(builder)) {
        return KW_OK;
    }
    for (unsigned slot = 0; slot < KW_SLOTS_N && err == KW_OK; slot++) {
        uint16_t owner = kw_map_shard_of(previous, slot);
        if (builder->ownerless[slot] != 0 && builder->slots[slot] == KW_MAP_NO_SHARD &&
            owner != KW_MAP_NO_SHARD) {
            size_t number = kw_map_shard_at(previous, owner)->primary;
            err = add_previous(builder, &builder->slots[slot], number);
        }
    }
    return err;
}

static kw_err make_map(kw_map **map, kw_topology_builder *builder)
{
    kw_err kept = keep_owners(builder);
    if (kept != KW_OK) {
        return kept;
    }
    if (!has_owner(builder)) {
        return kw_topology_builder_refuse(builder, "no slot has a primary with a known address%s",
                                          builder->has_unnamed
                                              ? "; the host \"?\" is a server's that lacks "
                                                "cluster-announce-hostname, where "
                                                "cluster-preferred-endpoint-type is hostname"
                                              : "");
    }
    kw_map_parts parts = {.set = &builder->set,
                          .members = builder->members,
                          .shards_n = builder->shards_n,
                          .slots = builder->slots};
    kw_err err = kw_map_new(map, builder->source.mem, &parts);
    return err == KW_OK ? KW_OK : no_memory(builder->error, builder->name);
}

kw_err kw_topology_builder_read(kw_map **map, kw_error *error, const kw_topology_source *source,
                                const kw_reply *reply, const kw_topology_form *form)
{
    kw_topology_builder *builder = builder_new(source, error, form->name);
    if (builder == NULL) {
        return no_memory(error, form->name);
    }
    kw_err err = read_entries(builder, reply, form);
    if (err == KW_OK) {
        err = make_map(map, builder);
    }
    builder_free(builder);
    return err;
}
