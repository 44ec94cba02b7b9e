/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads CLUSTER SHARDS. */
#include "route/topology.h"

#include <limits.h>

#include "route/topology_builder.h"

/* An entry is a map (with RESP2 an array of keys and values) of "slots", an array of
 * first and last slots, and "nodes", an array of such maps. Fields may come in any
 * order; those not named here are passed over. */
typedef enum shard_field { SHARD_SLOTS, SHARD_NODES, SHARD_FIELDS_N } shard_field;

static const char *const shard_fields[SHARD_FIELDS_N] = {
    [SHARD_SLOTS] = "slots",
    [SHARD_NODES] = "nodes",
};

typedef enum node_field {
    NODE_ID,
    NODE_ENDPOINT,
    NODE_IP,
    NODE_PORT,
    NODE_TLS_PORT,
    NODE_ROLE,
    NODE_HEALTH,
    NODE_OFFSET,
    NODE_ZONE,
    NODE_FIELDS_N
} node_field;

static const char *const node_fields[NODE_FIELDS_N] = {
    [NODE_ID] = "id",
    [NODE_ENDPOINT] = "endpoint",
    [NODE_IP] = "ip",
    [NODE_PORT] = "port",
    [NODE_TLS_PORT] = "tls-port",
    [NODE_ROLE] = "role",
    [NODE_HEALTH] = "health",
    [NODE_OFFSET] = "replication-offset",
    [NODE_ZONE] = "availability-zone",
};

typedef struct shard_node {
    kw_endpoint endpoint;
    const kw_reply *id; /* NULL: none */
    bool is_known;      /* has an address to dial */
    bool is_primary;
    bool is_online;
    long long offset;     /* of replication: how much of the data it has */
    const kw_reply *zone; /* NULL: it has none */
} shard_node;

/* values[i] is the value of names[i], or NULL where reply does not have it. */
static kw_err read_fields(kw_topology_builder *builder, const kw_reply **values,
                          const kw_reply *reply, const char *const *names, size_t names_n)
{
    kw_reply_kind kind = kw_reply_type(reply);
    if ((kind != KW_REPLY_ARRAY && kind != KW_REPLY_MAP) || kw_reply_count(reply) % 2 != 0) {
        return kw_topology_builder_refuse(builder, "no map of fields and values");
    }
    for (size_t k = 0; k < names_n; k++) {
        values[k] = NULL;
    }
    for (size_t i = 0; i < kw_reply_count(reply); i += 2) {
        kw_bytes name = kw_reply_bytes(kw_reply_at(reply, i));
        for (size_t k = 0; k < names_n; k++) {
            if (kw_bytes_equal(name, kw_bytes_of(names[k]))) {
                values[k] = kw_reply_at(reply, i + 1);
            }
        }
    }
    return KW_OK;
}

/* An integer, or digits in a string. */
static bool read_number(long long *number, const kw_reply *reply)
{
    if (kw_reply_type(reply) == KW_REPLY_INTEGER) {
        *number = kw_reply_int(reply);
        return true;
    }
    uint64_t value;
    if (kw_reply_type(reply) != KW_REPLY_STRING ||
        !kw_bytes_to_uint(&value, kw_reply_bytes(reply), LLONG_MAX)) {
        return false;
    }
    *number = (long long)value;
    return true;
}

static kw_err read_address(kw_topology_builder *builder, shard_node *node,
                           const kw_reply *const *values)
{
    /* A node has one of the two ports, or both; 0 says that it cannot be dialled. */
    const kw_reply *port_reply = values[builder->source.use_tls ? NODE_TLS_PORT : NODE_PORT];
    long long port = 0;
    if (port_reply != NULL && !read_number(&port, port_reply)) {
        return kw_topology_builder_refuse(builder, "the port is no integer");
    }
    const kw_reply *host = values[NODE_ENDPOINT] != NULL ? values[NODE_ENDPOINT] : values[NODE_IP];
    if (host == NULL) {
        return kw_topology_builder_refuse(builder, "no endpoint");
    }
    return kw_topology_builder_address(builder, &node->endpoint, &node->is_known, host, port);
}

static kw_err read_state(kw_topology_builder *builder, shard_node *node,
                         const kw_reply *const *values)
{
    kw_bytes role = kw_reply_bytes(values[NODE_ROLE]);
    bool is_replica =
        kw_bytes_equal(role, kw_bytes_of("replica")) || kw_bytes_equal(role, kw_bytes_of("slave"));
    node->is_primary =
        kw_bytes_equal(role, kw_bytes_of("master")) || kw_bytes_equal(role, kw_bytes_of("primary"));
    if (!node->is_primary && !is_replica) {
        return kw_topology_builder_refuse(builder, "the role is neither master nor replica");
    }
    kw_bytes health = kw_reply_bytes(values[NODE_HEALTH]);
    node->is_online = values[NODE_HEALTH] == NULL || kw_bytes_equal(health, kw_bytes_of("online"));
    node->offset = 0;
    node->zone = values[NODE_ZONE];
    if (values[NODE_OFFSET] != NULL && !read_number(&node->offset, values[NODE_OFFSET])) {
        return kw_topology_builder_refuse(builder, "the replication offset is no integer");
    }
    return KW_OK;
}

static kw_err read_node(kw_topology_builder *builder, shard_node *node, const kw_reply *nodes,
                        size_t index)
{
    const kw_reply *values[NODE_FIELDS_N];
    builder->node = index;
    kw_err err =
        read_fields(builder, values, kw_reply_at(nodes, index), node_fields, NODE_FIELDS_N);
    if (err == KW_OK) {
        node->id = values[NODE_ID];
        err = read_address(builder, node, values);
    }
    if (err == KW_OK) {
        err = read_state(builder, node, values);
    }
    return err;
}

/* After a failover a shard may still name its old primary beside the new one: an online one is
 * better, then the one with more data. */
static bool is_better_primary(const shard_node *node, const shard_node *best)
{
    if (node->is_online != best->is_online) {
        return node->is_online;
    }
    return node->offset > best->offset;
}

/* Checks all nodes; best->is_primary is false where no primary can be dialled. */
static kw_err find_primary(kw_topology_builder *builder, shard_node *best, const kw_reply *nodes)
{
    best->is_primary = false;
    for (size_t i = 0; i < kw_reply_count(nodes); i++) {
        shard_node node;
        kw_err err = read_node(builder, &node, nodes, i);
        if (err != KW_OK) {
            return err;
        }
        if (node.is_primary && node.is_known &&
            (!best->is_primary || is_better_primary(&node, best))) {
            *best = node;
        }
    }
    return KW_OK;
}

static kw_err add_replicas(kw_topology_builder *builder, uint16_t shard, const kw_reply *nodes)
{
    for (size_t i = 0; i < kw_reply_count(nodes); i++) {
        shard_node node;
        kw_err err = read_node(builder, &node, nodes, i);
        if (err == KW_OK && !node.is_primary && node.is_known && node.is_online) {
            err = kw_topology_builder_replica(builder, shard, &node.endpoint);
            kw_topology_builder_id(builder, &node.endpoint, node.id);
            kw_topology_builder_zone(builder, &node.endpoint, node.zone);
        }
        if (err != KW_OK) {
            return err;
        }
    }
    return KW_OK;
}

/* *shard is KW_MAP_NO_SHARD where no primary can be dialled, and where there are no
 * slots to serve. */
static kw_err read_nodes(kw_topology_builder *builder, uint16_t *shard, const kw_reply *nodes,
                         bool has_slots)
{
    shard_node primary;
    *shard = KW_MAP_NO_SHARD;
    kw_err err = find_primary(builder, &primary, nodes);
    if (err == KW_OK && has_slots && primary.is_primary) {
        err = kw_topology_builder_primary(builder, shard, &primary.endpoint);
        kw_topology_builder_id(builder, &primary.endpoint, primary.id);
        if (err == KW_OK) {
            kw_topology_builder_zone(builder, &primary.endpoint, primary.zone);
            err = add_replicas(builder, *shard, nodes);
        }
    }
    if (err == KW_OK) {
        builder->node = KW_TOPOLOGY_NOWHERE;
    }
    return err;
}

static kw_err read_slots(kw_topology_builder *builder, uint16_t shard, const kw_reply *slots)
{
    for (size_t i = 0; i < kw_reply_count(slots); i += 2) {
        long long first;
        long long last;
        if (!read_number(&first, kw_reply_at(slots, i)) ||
            !read_number(&last, kw_reply_at(slots, i + 1))) {
            return kw_topology_builder_refuse(builder, "a slot number is no integer");
        }
        kw_err err = kw_topology_builder_claim(builder, shard, first, last);
        if (err != KW_OK) {
            return err;
        }
    }
    return KW_OK;
}

static kw_err read_entry(kw_topology_builder *builder, const kw_reply *entry)
{
    const kw_reply *values[SHARD_FIELDS_N];
    kw_err err = read_fields(builder, values, entry, shard_fields, SHARD_FIELDS_N);
    if (err != KW_OK) {
        return err;
    }
    const kw_reply *slots = values[SHARD_SLOTS];
    const kw_reply *nodes = values[SHARD_NODES];
    if (kw_reply_type(slots) != KW_REPLY_ARRAY || kw_reply_count(slots) % 2 != 0) {
        return kw_topology_builder_refuse(builder, "slots are no array of first and last slots");
    }
    if (kw_reply_type(nodes) != KW_REPLY_ARRAY) {
        return kw_topology_builder_refuse(builder, "nodes are no array");
    }
    uint16_t shard;
    err = read_nodes(builder, &shard, nodes, kw_reply_count(slots) > 0);
    return err == KW_OK ? read_slots(builder, shard, slots) : err;
}

/* The endpoint of a node that has an address; false: it has none. */
static bool has_address(kw_topology_builder *builder, shard_node *node, const kw_reply *nodes,
                        size_t index)
{
    return read_node(builder, node, nodes, index) == KW_OK && node->is_known;
}

/* In a failover a shard may be told without its slots (Redis 7.0 has them of the old primary
 * alone): what its nodes had, and nobody else has now, is the shard's still. */
static kw_err read_silent(kw_topology_builder *builder, const kw_reply *entry)
{
    const kw_reply *values[SHARD_FIELDS_N];
    uint16_t shard = KW_MAP_NO_SHARD;
    (void)read_fields(builder, values, entry, shard_fields, SHARD_FIELDS_N); /* it was read once */
    const kw_reply *nodes = values[SHARD_NODES];
    kw_err err = KW_OK;
    for (size_t i = 0;
         i < kw_reply_count(nodes) && kw_reply_count(values[SHARD_SLOTS]) == 0 && err == KW_OK;
         i++) {
        shard_node node;
        if (!has_address(builder, &node, nodes, i) ||
            kw_topology_builder_inherit(builder, shard, &node.endpoint) == 0) {
            continue;
        }
        err = shard == KW_MAP_NO_SHARD ? read_nodes(builder, &shard, nodes, true) : KW_OK;
        if (shard != KW_MAP_NO_SHARD) {
            (void)kw_topology_builder_inherit(builder, shard, &node.endpoint);
        }
    }
    return err;
}

kw_err kw_topology_from_shards(kw_map **map, kw_error *error, const kw_topology_source *source,
                               const kw_reply *reply)
{
    static const kw_topology_form form = {"CLUSTER SHARDS", read_entry, read_silent};
    return kw_topology_builder_read(map, error, source, reply, &form);
}
