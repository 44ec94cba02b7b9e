/* Membership: who is in the ring of a handle. */
#ifndef API_MEMBERSHIP_H
#define API_MEMBERSHIP_H

#include "base/options.h"
#include "net/node.h"
#include "route/map.h"

/* Part of a handle; of a ring's, else zero. */
typedef struct kw_membership {
    kw_ring *placement; /* without nodes: what hashes keys; never changes */
    /* Guarded by the client's gate for publishing: */
    kw_roster roster;    /* in no order that matters, all with names */
    kw_ring *ring;       /* of all of them, with their own weights */
    unsigned char *down; /* one for each node of ring: 1 for one that is down */
    uint64_t commits_n;
} kw_membership;

struct kw_client;

/* The members that the options name. KW_ERR_CONFIG, KW_ERR_NOMEM, ..., with an error. */
kw_err kw_membership_init(kw_membership *self, kw_error *error, const kw_options *options,
                          const kw_allocator *mem);
void kw_membership_fini(kw_membership *self, const kw_allocator *mem);

/* Publishes the map of the members. The client's gate for publishing is held, and self may
 * be another membership than the client's own. */
kw_err kw_membership_publish(const kw_membership *self, struct kw_client *client, kw_error *error);

/* The member at that server is down, or is not: one new map. The gate is held.
 * KW_ERR_ARGUMENT where no member is at that server (any more), KW_ERR_NOMEM, with nothing
 * changed. */
kw_err kw_membership_set_down(kw_membership *self, struct kw_client *client,
                              const kw_endpoint *server, bool is_down);

/* Servers that are down in from are so in self, a change of it. */
void kw_membership_take_down(kw_membership *self, const kw_membership *from);

#endif
