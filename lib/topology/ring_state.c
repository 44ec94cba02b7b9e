/* SPDX-License-Identifier: BSD-3-Clause */
/* The members of a ring in use, and the maps that follow from each change of them. */
#include "topology/ring_state.h"

#include "topology/map_publish.h"
#include "base/error.h"
#include "route/ring_map.h"

#include <stdio.h>
#include <string.h>

kw_ring *kw_ring_state_placement(const kw_options *options, const kw_allocator *mem,
                                 kw_error *error)
{
    char text[KW_RING_PLACEMENT_MAX + 16];
    const char *placement = options->placement != NULL ? options->placement : "kw1";
    snprintf(text, sizeof(text), "%s", placement);
    if (options->vnodes > 0) {
        snprintf(text, sizeof(text), "%s/v%u", placement, (unsigned)options->vnodes);
    }
    kw_error failure = kw_error_none();
    kw_ring_change *change = kw_ring_change_new(text, &failure, mem);
    kw_ring *ring = change != NULL ? kw_ring_change_commit(change, &failure) : NULL;
    kw_ring_change_free(change);
    if (ring == NULL) {
        kw_err code = failure.code == KW_ERR_ARGUMENT ? KW_ERR_CONFIG : failure.code;
        kw_error_set(error, code, KW_EFFECT_NONE, "%s%s", failure.text,
                     options->vnodes > 0 ? " (with the option vnodes)" : "");
    }
    return ring;
}

kw_ring_state *kw_ring_state_of(const kw_ring_members *ring_members, kw_ring *ring,
                                const kw_allocator *mem)
{
    kw_ring_state *self = kw_mem_calloc(mem, 1, sizeof(*self));
    if (self == NULL) {
        kw_ring_unref(ring);
        return NULL;
    }
    self->ring = ring;
    self->down = kw_mem_calloc(mem, kw_ring_nodes_n(ring), 1);
    if (self->down == NULL || !kw_ring_members_copy(&self->ring_members, ring_members, mem)) {
        kw_ring_state_free(self, mem);
        return NULL;
    }
    return self;
}

void kw_ring_state_free(kw_ring_state *self, const kw_allocator *mem)
{
    if (self != NULL) {
        kw_ring_unref(self->ring);
        kw_ring_members_fini(&self->ring_members, mem);
        kw_mem_free(mem, self->down);
        kw_mem_free(mem, self);
    }
}

kw_ring_state *kw_ring_state_new(const kw_options *options, kw_ring *placement,
                                 const kw_allocator *mem, kw_error *error)
{
    kw_error failure = kw_error_none();
    kw_ring_members ring_members = {NULL, 0, 0};
    kw_ring_state *self = NULL;
    kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a ring");
    if (kw_ring_members_copy(&ring_members, &options->ring_members, mem)) {
        for (size_t i = 0; i < ring_members.n; i++) {
            kw_ring_map_name(&ring_members.members[i], placement);
        }
        kw_ring *ring = kw_ring_map_ring(&ring_members, placement, &failure);
        self = ring != NULL ? kw_ring_state_of(&ring_members, ring, mem) : NULL;
    }
    kw_ring_members_fini(&ring_members, mem);
    if (self == NULL) {
        kw_err code = failure.code == KW_ERR_ARGUMENT ? KW_ERR_CONFIG : failure.code;
        kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
    }
    return self;
}

/* The ring without those that are down; *live is NULL where none is, or no other is left. */
static kw_err eject(kw_ring **live, const kw_ring_state *self, kw_error *error)
{
    *live = NULL;
    bool has_down = false;
    kw_ring_change *change = kw_ring_change_of(self->ring, error);
    for (size_t i = 0; change != NULL && i < kw_ring_nodes_n(self->ring); i++) {
        if (self->down[i] != 0) {
            size_t len = 0;
            const char *name = kw_ring_node_name(self->ring, &len, (uint32_t)i);
            (void)kw_ring_change_remove(change, NULL, name, len); /* it is there */
            has_down = true;
        }
    }
    kw_ring *ring = change != NULL && has_down ? kw_ring_change_commit(change, error) : NULL;
    kw_err code = change == NULL || (has_down && ring == NULL) ? KW_ERR_NOMEM : KW_OK;
    kw_ring_change_free(change);
    if (ring != NULL && ring->live_n == 0) {
        kw_ring_unref(ring);
        ring = NULL;
    }
    *live = ring;
    return code;
}

kw_err kw_ring_state_publish(const kw_ring_state *self, kw_topology *topology, kw_error *error)
{
    kw_map *map;
    kw_map_parts parts = {.ring = self->ring, .is_down = self->down};
    parts.skips_down = topology->env.options.on_node_down == KW_NODE_DOWN_NEXT;
    kw_err code = KW_OK;
    if (topology->env.options.on_node_down == KW_NODE_DOWN_EJECT) {
        code = eject(&parts.live, self, error);
    }
    if (code == KW_OK) {
        code = kw_ring_map_new(&map, error, &topology->env.mem, &self->ring_members, &parts);
    }
    kw_ring_unref(parts.live);
    if (code != KW_OK) {
        return code;
    }
    bool has_news;
    code = kw_map_publish_locked(topology, &has_news, map);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a map of the ring");
    }
    return code;
}

/* Where down says of a server whether it is down; NULL where it is no member. */
static unsigned char *mark_of(const kw_ring_state *self, const kw_endpoint *server)
{
    for (size_t i = 0; i < self->ring_members.n; i++) {
        const kw_member *member = &self->ring_members.members[i];
        uint32_t node;
        if (kw_endpoint_equal(&member->server, server) &&
            kw_ring_find(self->ring, &node, member->name, member->name_len) == KW_OK) {
            return &self->down[node];
        }
    }
    return NULL;
}

kw_err kw_ring_state_set_down(kw_topology *topology, const kw_endpoint *server, bool is_down)
{
    unsigned char *mark = mark_of(topology->ring_state, server);
    if (mark == NULL) {
        return KW_ERR_ARGUMENT;
    }
    unsigned char before = *mark;
    *mark = is_down ? 1 : 0;
    kw_err code = kw_ring_state_publish(topology->ring_state, topology, NULL);
    if (code != KW_OK) {
        *mark = before;
    }
    return code;
}

void kw_ring_state_take_down(kw_ring_state *self, const kw_ring_state *from)
{
    for (size_t i = 0; i < kw_ring_nodes_n(from->ring); i++) {
        size_t len;
        kw_bytes name = {kw_ring_node_name(from->ring, &len, (uint32_t)i), 0};
        name.len = len;
        const kw_member *member =
            from->down[i] != 0 ? kw_ring_members_find(&from->ring_members, name) : NULL;
        unsigned char *mark = member != NULL ? mark_of(self, &member->server) : NULL;
        if (mark != NULL) {
            *mark = 1;
        }
    }
}

static bool has_replica(const kw_member *member, const kw_endpoint *replica)
{
    for (size_t i = 0; i < member->replicas_n; i++) {
        if (kw_endpoint_equal(&member->replicas[i], replica)) {
            return true;
        }
    }
    return false;
}

/* True for equal replicas, in whatever order. */
static bool has_same_replicas(const kw_member *a, const kw_member *b)
{
    bool is_same = a->replicas_n == b->replicas_n;
    for (size_t i = 0; is_same && i < a->replicas_n; i++) {
        is_same = has_replica(b, &a->replicas[i]);
    }
    return is_same;
}

static void swap_servers(kw_member *a, kw_member *b)
{
    kw_member before = *a;
    a->server = b->server;
    a->replicas = b->replicas;
    a->replicas_n = b->replicas_n;
    b->server = before.server;
    b->replicas = before.replicas;
    b->replicas_n = before.replicas_n;
}

/* Publishes the member with the servers of found, if they are news; found has the old ones then. */
static kw_err take_servers(kw_topology *topology, kw_error *error, kw_member *member,
                           kw_member *found, bool *has_news)
{
    kw_err code = KW_OK;
    *has_news =
        !kw_endpoint_equal(&found->server, &member->server) || !has_same_replicas(found, member);
    if (*has_news) {
        swap_servers(member, found);
        code = kw_ring_state_publish(topology->ring_state, topology, error);
    }
    if (code != KW_OK) {
        swap_servers(member, found);
        *has_news = false;
    }
    return code;
}

kw_err kw_ring_state_set_replicas(kw_topology *topology, kw_error *error, kw_member *found,
                                  bool *has_news)
{
    *has_news = false;
    for (size_t i = 0; i < topology->ring_state->ring_members.n; i++) {
        kw_member *member = &topology->ring_state->ring_members.members[i];
        if (kw_endpoint_equal(&member->server, &found->server) && !member->lists_replicas) {
            return take_servers(topology, error, member, found, has_news);
        }
    }
    return KW_ERR_ARGUMENT;
}

/* The member that is that group; NULL: none is. */
static kw_member *find_group(const kw_ring_state *self, const kw_member *group)
{
    kw_bytes name = {group->name, group->name_len};
    kw_member *member = kw_ring_members_find(&self->ring_members, name);
    return member != NULL && kw_member_is_same_group(member, group) ? member : NULL;
}

static bool is_of_other(const kw_ring_state *self, const kw_member *member,
                        const kw_endpoint *server)
{
    for (size_t i = 0; i < self->ring_members.n; i++) {
        const kw_member *other = &self->ring_members.members[i];
        if (other != member &&
            (kw_endpoint_equal(&other->server, server) || has_replica(other, server))) {
            return true;
        }
    }
    return false;
}

kw_err kw_ring_state_set_group(kw_topology *topology, kw_error *error, const kw_member *group,
                               const kw_map *map, bool *has_news)
{
    const kw_allocator *mem = &topology->env.mem;
    const kw_map_shard *shard = kw_map_shard_at(map, 0);
    kw_member *member = find_group(topology->ring_state, group);
    *has_news = false;
    if (member == NULL) {
        return KW_ERR_ARGUMENT;
    }
    kw_member found;
    bool is_whole = true;
    memset(&found, 0, sizeof(found));
    found.server = *kw_map_node(map, shard->primary);
    for (size_t i = 0; is_whole && i < shard->replicas_n; i++) {
        const kw_endpoint *replica = kw_map_node(map, kw_map_replica(map, shard, i));
        if (found.replicas_n < KW_MEMBER_REPLICAS_MAX &&
            !is_of_other(topology->ring_state, member, replica)) {
            is_whole = kw_member_add_replica(&found, replica, mem);
        }
    }
    kw_err code = is_whole
                      ? take_servers(topology, error, member, &found, has_news)
                      : kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a group");
    kw_member_fini(&found, mem);
    return code;
}

kw_err kw_ring_state_take_groups(kw_ring_state *self, const kw_ring_state *from,
                                 const kw_allocator *mem)
{
    for (size_t i = 0; i < from->ring_members.n; i++) {
        const kw_member *known = &from->ring_members.members[i];
        kw_member *member = kw_member_is_group(known) ? find_group(self, known) : NULL;
        kw_member fresh;
        if (member == NULL) {
            continue;
        }
        if (!kw_member_copy(&fresh, known, mem)) {
            return KW_ERR_NOMEM;
        }
        fresh.weight = member->weight;
        memcpy(fresh.zone, member->zone, sizeof(fresh.zone));
        kw_member_fini(member, mem);
        *member = fresh;
    }
    return KW_OK;
}
