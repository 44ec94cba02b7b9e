/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads CLUSTER SLOTS. */
#include "route/topology.h"

#include "route/topology_builder.h"

/* An entry is [first slot, last slot, primary, replica ...], a node is [host, port],
 * since Redis 4.0 with its id behind and since 7.0 with metadata behind that, of which only the
 * zone is needed: the host is the preferred endpoint already. */
#define ENTRY_NODES_AT 2
#define NODE_META_AT   3

/* Metadata are names and values; NULL where there is no zone. */
static const kw_reply *zone_of(const kw_reply *node)
{
    const kw_reply *meta = kw_reply_at(node, NODE_META_AT);
    for (size_t i = 0; i + 1 < kw_reply_count(meta); i += 2) {
        if (kw_bytes_equal(kw_reply_bytes(kw_reply_at(meta, i)),
                           kw_bytes_of("availability-zone"))) {
            return kw_reply_at(meta, i + 1);
        }
    }
    return NULL;
}

static kw_err read_node(kw_topology_builder *builder, kw_endpoint *endpoint, bool *is_known,
                        const kw_reply *node)
{
    if (kw_reply_type(node) != KW_REPLY_ARRAY || kw_reply_count(node) < 2) {
        return kw_topology_builder_refuse(builder, "no array of host and port");
    }
    const kw_reply *port = kw_reply_at(node, 1);
    if (kw_reply_type(port) != KW_REPLY_INTEGER) {
        return kw_topology_builder_refuse(builder, "the port is no integer");
    }
    return kw_topology_builder_address(builder, endpoint, is_known, kw_reply_at(node, 0),
                                       kw_reply_int(port));
}

/* *shard is KW_MAP_NO_SHARD where the primary has no address to dial. */
static kw_err read_nodes(kw_topology_builder *builder, uint16_t *shard, const kw_reply *entry)
{
    uint16_t owner = KW_MAP_NO_SHARD;
    for (size_t i = ENTRY_NODES_AT; i < kw_reply_count(entry); i++) {
        kw_endpoint endpoint;
        bool is_known;
        builder->node = i - ENTRY_NODES_AT;
        kw_err err = read_node(builder, &endpoint, &is_known, kw_reply_at(entry, i));
        if (err == KW_OK && is_known && i == ENTRY_NODES_AT) {
            err = kw_topology_builder_primary(builder, &owner, &endpoint);
        } else if (err == KW_OK && is_known && owner != KW_MAP_NO_SHARD) {
            err = kw_topology_builder_replica(builder, owner, &endpoint);
        }
        if (err != KW_OK) {
            return err;
        }
        if (is_known) {
            kw_topology_builder_id(builder, &endpoint, kw_reply_at(kw_reply_at(entry, i), 2));
            kw_topology_builder_zone(builder, &endpoint, zone_of(kw_reply_at(entry, i)));
        }
    }
    builder->node = KW_TOPOLOGY_NOWHERE;
    *shard = owner;
    return KW_OK;
}

static kw_err read_entry(kw_topology_builder *builder, const kw_reply *entry)
{
    if (kw_reply_type(entry) != KW_REPLY_ARRAY || kw_reply_count(entry) <= ENTRY_NODES_AT) {
        return kw_topology_builder_refuse(builder, "no array of first slot, last slot and nodes");
    }
    const kw_reply *first = kw_reply_at(entry, 0);
    const kw_reply *last = kw_reply_at(entry, 1);
    if (kw_reply_type(first) != KW_REPLY_INTEGER || kw_reply_type(last) != KW_REPLY_INTEGER) {
        return kw_topology_builder_refuse(builder, "a slot number is no integer");
    }
    uint16_t shard;
    kw_err err = read_nodes(builder, &shard, entry);
    if (err != KW_OK) {
        return err;
    }
    return kw_topology_builder_claim(builder, shard, kw_reply_int(first), kw_reply_int(last));
}

kw_err kw_topology_from_slots(kw_map **map, kw_error *error, const kw_topology_source *source,
                              const kw_reply *reply)
{
    static const kw_topology_form form = {"CLUSTER SLOTS", read_entry, NULL};
    return kw_topology_builder_read(map, error, source, reply, &form);
}
