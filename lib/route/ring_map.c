/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a ring become the map whose shards they are. */
#include "route/ring_map.h"

#include "base/error.h"

#include <string.h>

/* A port that nutcracker leaves out of a server's name. */
#define PORT_LEFT_OUT 11211

void kw_ring_map_name(kw_member *member, const kw_ring *placement)
{
    if (member->name_len > 0) {
        return;
    }
    if (kw_member_is_group(member)) {
        member->name_len = strlen(member->service);
        memcpy(member->name, member->service, member->name_len + 1);
        return;
    }
    char text[KW_ENDPOINT_TEXT];
    const kw_ring_method method = placement->rules.method;
    bool is_twemproxy = method == KW_RING_KETAMA || method == KW_RING_MODULA;
    if (is_twemproxy && member->server.port == PORT_LEFT_OUT) {
        memcpy(text, member->server.host, sizeof(member->server.host));
    } else {
        kw_endpoint_text(text, &member->server);
    }
    size_t len = strlen(text);
    len = len <= KW_MEMBER_NAME_MAX ? len : KW_MEMBER_NAME_MAX;
    memcpy(member->name, text, len);
    member->name[len] = '\0';
    member->name_len = len;
}

kw_ring *kw_ring_map_ring(const kw_ring_members *ring_members, kw_ring *placement, kw_error *error)
{
    kw_ring_change *change = kw_ring_change_new(placement->rules.text, error, &placement->mem);
    bool is_whole = change != NULL;
    for (size_t i = 0; is_whole && i < ring_members->n; i++) {
        const kw_member *member = &ring_members->members[i];
        is_whole = kw_ring_change_add(change, error, member->name, member->name_len,
                                      member->weight) == KW_OK &&
                   kw_ring_change_set_zone(change, error, member->name, member->name_len,
                                           member->zone) == KW_OK;
    }
    kw_ring *ring = is_whole ? kw_ring_change_commit(change, error) : NULL;
    kw_ring_change_free(change);
    return ring;
}

static kw_err add_server(kw_node_set *set, kw_map_member *members, kw_error *error,
                         const kw_endpoint *server, const kw_map_member *member)
{
    size_t known_n = set->n;
    size_t node = kw_node_set_add(set, server);
    if (set->n == known_n) {
        char text[KW_ENDPOINT_TEXT];
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "%.200s is there twice; each server and each replica of a ring is "
                            "there once",
                            kw_endpoint_text(text, server));
    }
    members[node] = *member;
    return KW_OK;
}

static kw_err add_all(kw_node_set *set, kw_map_member *members, kw_error *error,
                      const kw_ring_members *ring_members, const kw_ring *ring)
{
    for (size_t i = 0; i < ring_members->n; i++) {
        const kw_member *from = &ring_members->members[i];
        uint32_t shard;
        if (kw_ring_find(ring, &shard, from->name, from->name_len) != KW_OK) {
            continue; /* never: the ring is of these members */
        }
        kw_map_member member = {(uint16_t)shard, true, kw_member_is_group(from), 0, 0};
        kw_err code = add_server(set, members, error, &from->server, &member);
        member.is_primary = false;
        for (size_t k = 0; code == KW_OK && k < from->replicas_n; k++) {
            code = add_server(set, members, error, &from->replicas[k], &member);
        }
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

kw_err kw_ring_map_new(kw_map **map, kw_error *error, const kw_allocator *mem,
                       const kw_ring_members *ring_members, const kw_map_parts *state)
{
    size_t n = ring_members->n;
    for (size_t i = 0; i < ring_members->n; i++) {
        n += ring_members->members[i].replicas_n;
    }
    if (n > KW_MAP_NODES_MAX) {
        return kw_error_set(error, KW_ERR_LIMIT, KW_EFFECT_NONE,
                            "a ring has at most %zu servers, replicas included; these are %zu",
                            KW_MAP_NODES_MAX, n);
    }
    kw_map_parts parts = *state;
    kw_map_member *members = kw_mem_calloc(mem, n, sizeof(members[0]));
    kw_node_set set = {
        kw_mem_calloc(mem, n, sizeof(set.nodes[0])),
        kw_mem_calloc(mem, n, sizeof(set.sorted[0])),
        0,
    };
    kw_err code = KW_ERR_NOMEM;
    if (members != NULL && set.nodes != NULL && set.sorted != NULL) {
        code = add_all(&set, members, error, ring_members, parts.ring);
        parts.set = &set;
        parts.members = members;
        parts.shards_n = ring_members->n;
        code = code == KW_OK ? kw_map_new(map, mem, &parts) : code;
    }
    if (code == KW_ERR_NOMEM) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a map of the ring");
    }
    kw_mem_free(mem, members);
    kw_mem_free(mem, set.nodes);
    kw_mem_free(mem, set.sorted);
    return code;
}
