/* SPDX-License-Identifier: BSD-3-Clause */
/* Membership: who is in the ring of a handle. */
#ifndef TOPOLOGY_MEMBERSHIP_H
#define TOPOLOGY_MEMBERSHIP_H

#include "settings/options.h"
#include "net/node.h"
#include "route/map.h"

/* Replaced as a whole, with the client's gate for publishing, which guards it. */
typedef struct kw_membership {
    kw_roster roster;    /* in no order that matters, all with names */
    kw_ring *ring;       /* of all of them, with their own weights */
    unsigned char *down; /* one for each node of ring: 1 for one that is down */
    uint64_t commits_n;
} kw_membership;

struct kw_client;

/* A ring without nodes, of the placement that the options name: what hashes keys. NULL,
 * with an error. */
kw_ring *kw_membership_placement(const kw_options *options, const kw_allocator *mem,
                                 kw_error *error);

/* The members that the options name. NULL, with an error: KW_ERR_CONFIG, KW_ERR_NOMEM, ... */
kw_membership *kw_membership_new(const kw_options *options, kw_ring *placement,
                                 const kw_allocator *mem, kw_error *error);

/* Members as a change has made them, none down; takes over the reference to their ring, also
 * when there is no memory: NULL. */
kw_membership *kw_membership_of(const kw_roster *roster, kw_ring *ring, const kw_allocator *mem);
void kw_membership_free(kw_membership *self, const kw_allocator *mem); /* NULL is allowed */

/* Publishes the map of the members. The client's gate for publishing is held, and self may
 * be another membership than the client's own. */
kw_err kw_membership_publish(const kw_membership *self, struct kw_client *client, kw_error *error);

/* The member at that server is down, or is not: one new map. The gate is held.
 * KW_ERR_ARGUMENT where no member is at that server (any more), KW_ERR_NOMEM, with nothing
 * changed. */
kw_err kw_membership_set_down(kw_membership *self, struct kw_client *client,
                              const kw_endpoint *server, bool is_down);

/* The member at that server has these replicas, found by ROLE: one new map, if that is news.
 * The gate is held. KW_ERR_ARGUMENT where it is no member (any more), or has listed others
 * itself; KW_ERR_CONFIG, with an error, where one of them is another member's; KW_ERR_NOMEM. */
kw_err kw_membership_set_replicas(kw_membership *self, struct kw_client *client, kw_error *error,
                                  const kw_endpoint *server, const kw_member *found,
                                  bool *has_news);

/* What the sentinels of a group say of it: one new map, if that is news; replicas that are
 * servers of the ring already are left out. The gate is held. KW_ERR_ARGUMENT where no member is
 * that group (any more); KW_ERR_CONFIG, with an error, where its primary is another member's;
 * KW_ERR_NOMEM. */
kw_err kw_membership_set_group(kw_membership *self, struct kw_client *client, kw_error *error,
                               const kw_member *group, const kw_map *map, bool *has_news);

/* Groups of both are, in self, what they are known to be in from. KW_ERR_NOMEM. */
kw_err kw_membership_take_groups(kw_membership *self, const kw_membership *from,
                                 const kw_allocator *mem);

/* Servers that are down in from are so in self, a change of it. */
void kw_membership_take_down(kw_membership *self, const kw_membership *from);

#endif
