/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: figures of a handle and of its nodes. */
#ifndef KEYWAY_STATS_H
#define KEYWAY_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kw_client;

/* Counts since kw_open, but for those that say "now". */
typedef struct kw_stats {
    size_t size;               /* sizeof(kw_stats), set by the caller */
    uint64_t commands;         /* calls that ended, with a reply or not */
    uint64_t failures;         /* calls that ended without a reply */
    uint64_t moved;            /* MOVED followed */
    uint64_t ask;              /* ASK followed */
    uint64_t waits;            /* TRYAGAIN, CLUSTERDOWN, LOADING, BUSY, ... waited out */
    uint64_t retries;          /* sends after a lost connection */
    uint64_t timeouts;         /* calls that met their deadline after sending */
    uint64_t refreshes;        /* maps fetched */
    uint64_t refresh_failures; /* fetches that gave no map */
    uint64_t map_changes;      /* maps published that differ from the one before */
    uint64_t connects;         /* connections opened */
    uint64_t connect_failures; /* connections that could not be opened */
    uint64_t disconnects;      /* connections lost or closed after a failure */
    uint64_t connections;      /* now open */
    uint64_t nodes;            /* now known */
    uint64_t downs;            /* nodes of a ring that went down */
    uint64_t ups;              /* and that came back */
    uint64_t nodes_down;       /* of a ring, now down */
    uint64_t pushes;           /* messages that servers pushed (protocol=3), dropped */
} kw_stats;

/* The same for one node. */
typedef struct kw_node_stats {
    size_t size;    /* sizeof(kw_node_stats), set by the caller */
    char node[128]; /* "host:port", cut to fit */
    bool is_primary;
    bool is_failing; /* now: its last connect failed */
    uint64_t sends;  /* commands sent to it */
    uint64_t moved;
    uint64_t ask;
    uint64_t retries;
    uint64_t timeouts;
    uint64_t connects;
    uint64_t connect_failures;
    uint64_t disconnects;
    uint64_t connections; /* now open */
    uint64_t slots;       /* now owned; 0 for a replica and without a cluster */
    char member[256];     /* name on the ring (a zero byte behind it); "" without one, and for a
                             replica */
    size_t member_len;    /* bytes of it */
    uint32_t weight;      /* of a member */
    double share;         /* part of all hashes that it owns while no node is down, 0 to 1 */
    bool is_down;         /* a member that is down: see on-node-down */
    bool has_lag;         /* the next two are known: of a replica, measured while its replication
                             link was up, where read-preference or max-staleness is set */
    uint64_t lag_bytes;   /* of the primary's replication stream that it had not applied when it was
                             asked last (master_repl_offset less slave_repl_offset of INFO) */
    uint64_t lag_ms;      /* age of the latest moment of which it is sure that the replica has
                             everything that its primary had then; with an idle and healthy replica
                             the time since it was measured */
} kw_node_stats;

/* Writes the figures of the handle, as far as stats->size reaches. KW_ERR_ARGUMENT where
 * stats->size is not set. Any thread. */
KW_API kw_err kw_client_stats(struct kw_client *client, kw_stats *stats);

/* Writes the figures of node number index, in no particular order that holds longer
 * than the map does. Where read-preference or max-staleness is set the lag of replicas is
 * measured for ten seconds from then on, by calls that pass by: four times a second, or four times
 * within max-staleness. KW_ERR_ARGUMENT past the last node. Any thread. */
KW_API kw_err kw_client_node_stats(struct kw_client *client, kw_node_stats *stats, size_t index);

#ifdef __cplusplus
}
#endif

#endif
