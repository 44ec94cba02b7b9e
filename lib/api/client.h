/* SPDX-License-Identifier: BSD-3-Clause */
/* Client: the handle, its published snapshot and its nodes. */
#ifndef API_CLIENT_H
#define API_CLIENT_H

#include <keyway/client.h>
#include <keyway/stats.h>

#include "drive/ticket_loop.h"
#include "topology/command_cache.h"
#include "topology/ring_state.h"
#include "topology/snapshot.h"
#include "topology/failure_watch.h"
#include "net/fork.h"
#include "net/refresher.h"

#include <stdatomic.h>

/* Nodes that a redirect named and no map does (a new one that gets its first slots). */
#define KW_CLIENT_EXTRAS_MAX 16

typedef struct kw_counters {
    atomic_uint_fast64_t commands;
    atomic_uint_fast64_t failures;
    atomic_uint_fast64_t moved;
    atomic_uint_fast64_t ask;
    atomic_uint_fast64_t waits;
    atomic_uint_fast64_t retries;
    atomic_uint_fast64_t timeouts;
    atomic_uint_fast64_t map_changes;
} kw_counters;

struct kw_client {
    kw_env env;
    kw_fork fork;
    atomic_size_t calls_n;    /* threads inside a call */
    bool is_bare;             /* in a child that had no memory to start anew: has no parts */
    atomic_flag is_reopening; /* a child's first call is starting anew */
    atomic_flag is_telling;   /* a thread tells the host of news */
    kw_monitor publishing;    /* one publisher at a time; taken before monitor */
    kw_monitor monitor;       /* guards snapshot, seeds, extras */
    kw_snapshot *snapshot;    /* NULL: no map yet */
    kw_node **seeds;          /* options.seeds_n of them; NULL until needed */
    kw_node *extras[KW_CLIENT_EXTRAS_MAX];
    size_t extra_at; /* the next to be replaced */
    kw_refresher refresher;
    atomic_uint_fast64_t sweep_ns;  /* when idle connections are looked for next */
    kw_ring *placement;             /* of a ring: what hashes keys; never changes. Else NULL */
    kw_ring_state *members;         /* the same; guarded by publishing */
    kw_failure_watch failure_watch; /* the same */
    atomic_bool lag_is_taken;       /* one thread at a time measures replicas */
    kw_command_cache command_cache;
    kw_counters counters;
    _Atomic(struct kw_loop *) loop; /* NULL until it is used */
    kw_ticket_loop ticket_loop;     /* of the tickets */
    unsigned generations_n;         /* how often a forked child has started anew */
};

/* Every public call begins with enter (KW_ERR_FORKED in a child, unless the child may
 * open its own) and ends with leave, its last touch of the handle. */
kw_err kw_client_enter(kw_client *client, kw_error *error);
void kw_client_leave(kw_client *client);

/* kw_close of a handle that is in no callback. */
void kw_client_close(kw_client *client);

/* A reference to the snapshot in use; NULL: no map yet. */
kw_snapshot *kw_client_snapshot(kw_client *client);

/* A reference to the node at the endpoint: of the map, a seed, or a new one. NULL when
 * there is no memory. */
kw_node *kw_client_node(kw_client *client, const kw_endpoint *endpoint);

/* The same for a node that the handle knows already; NULL otherwise. */
kw_node *kw_client_known_node(kw_client *client, const kw_endpoint *endpoint);

/* A server said that the slot now belongs to the primary at endpoint. */
void kw_client_patch(kw_client *client, unsigned slot, const kw_endpoint *endpoint);

/* What a caller does for the handle when its own work is done: it goes on with a fetch of
 * the map, and closes connections that were idle for too long. Never waits. */
void kw_client_tend(kw_client *client, uint64_t now_ns);

/* Commands that ended, and how many of them without a reply. */
void kw_client_count(kw_client *client, uint64_t commands_n, uint64_t failures_n);

/* Waits for a first map, where there is none. */
kw_err kw_client_need_snapshot(kw_client *client, kw_snapshot **snapshot, kw_error *error,
                               uint64_t deadline_ns);

#endif
