/* SPDX-License-Identifier: BSD-3-Clause */
/* Topology builder: a map while an answer about a cluster is being read. */
#ifndef ROUTE_TOPOLOGY_BUILDER_H
#define ROUTE_TOPOLOGY_BUILDER_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/reply.h"
#include "route/map.h"
#include "route/topology.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An answer may claim each slot this often, on average. True answers claim it once;
 * the bound keeps a false one from costing more than a few milliseconds. */
#define KW_TOPOLOGY_CLAIMS_MAX ((size_t)16 * KW_SLOTS_N)

/* No entry, or no node of the entry. */
#define KW_TOPOLOGY_NOWHERE SIZE_MAX

typedef struct kw_topology_builder {
    kw_topology_source source;
    kw_error *error;  /* the caller's, may be NULL */
    const char *name; /* of the command that was answered */

    /* Where the reader is, for the text of an error; set by the reader. */
    size_t entry;
    size_t node;

    /* Arrays of capacity elements. */
    kw_node_set set;
    kw_map_member *members;
    uint16_t *previous_shards; /* of each shard the one of the previous map with the same
                                  primary, or KW_MAP_NO_SHARD; never more than nodes */
    size_t capacity;
    size_t shards_n;

    size_t claims;    /* slots claimed so far, repeated ones counted again */
    size_t legacies;  /* nodes whose slots before were looked for */
    bool has_unnamed; /* a server has said "?" of a host */
    uint16_t slots[KW_SLOTS_N];
    unsigned char ownerless[KW_SLOTS_N]; /* named, without a primary that has an address */
} kw_topology_builder;

/* A form in which clusters answer. */
typedef struct kw_topology_form {
    const char *name; /* the command */
    /* Reads one element of the answer into the builder. */
    kw_err (*read_entry)(kw_topology_builder *builder, const kw_reply *entry);
    /* NULL, or looks at an element again when all were read: some slots have no owner. */
    kw_err (*read_again)(kw_topology_builder *builder, const kw_reply *entry);
} kw_topology_form;

/* Reads every element of the answer, then makes the map. An answer where no slot gets
 * an owner is refused. */
kw_err kw_topology_builder_read(kw_map **map, kw_error *error, const kw_topology_source *source,
                                const kw_reply *reply, const kw_topology_form *form);

/* Refuses the answer: fills in the error, with the place in the answer before the
 * text, and returns KW_ERR_TOPOLOGY. */
KW_FORMAT(2, 3)
kw_err kw_topology_builder_refuse(kw_topology_builder *builder, const char *format, ...);

/* Reads the address of a node. *is_known becomes false, and *endpoint stays as it was,
 * for one that cannot be dialled: host "?" or port 0. */
kw_err kw_topology_builder_address(kw_topology_builder *builder, kw_endpoint *endpoint,
                                   bool *is_known, const kw_reply *host, long long port);

/* *shard is the shard of that primary, a new one at its first mention. */
kw_err kw_topology_builder_primary(kw_topology_builder *builder, uint16_t *shard,
                                   const kw_endpoint *endpoint);

/* A replica of shard, unless the node is known as a primary or as a replica. */
kw_err kw_topology_builder_replica(kw_topology_builder *builder, uint16_t shard,
                                   const kw_endpoint *endpoint);

/* Notes the id of a node that was added, as the answer tells it; anything but a text is none. */
void kw_topology_builder_id(kw_topology_builder *builder, const kw_endpoint *endpoint,
                            const kw_reply *id);

/* Notes the zone of a node that was added, where it has one ("availability-zone", Valkey 9.1). */
void kw_topology_builder_zone(kw_topology_builder *builder, const kw_endpoint *endpoint,
                              const kw_reply *zone);

/* Gives slots that the previous map gives to the shard of that node, and that nobody has claimed,
 * to shard; with KW_MAP_NO_SHARD they are named, but without a primary. Returns how many they are.
 */
size_t kw_topology_builder_inherit(kw_topology_builder *builder, uint16_t shard,
                                   const kw_endpoint *endpoint);

/* Gives first .. last to shard, which may be KW_MAP_NO_SHARD: then the numbers are only
 * checked. A slot with another owner stays with the owner of the previous map if that
 * is one of the two, else with the first. */
kw_err kw_topology_builder_claim(kw_topology_builder *builder, uint16_t shard, long long first,
                                 long long last);

#endif
