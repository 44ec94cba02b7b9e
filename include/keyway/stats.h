/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: figures of a handle and of its nodes.
 *
 *   kw_stats stats = {.size = sizeof(stats)};
 *   kw_client_stats(client, &stats);
 *   printf("%" PRIu64 " calls, %" PRIu64 " of them failed\n", stats.commands, stats.failures);
 *
 * The caller sets size, so that a program which was compiled against an older or a newer header
 * gets the members that both know. */
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

/* Figures of a handle: counts since kw_open, but for those that say "now". Where handles share what
 * is known of the servers (kw_open_shared), all but commands and failures are of all of them. */
typedef struct kw_stats {
    size_t size;               /* sizeof(kw_stats), set by the caller */
    uint64_t commands;         /* calls that ended, with a reply or not */
    uint64_t failures;         /* calls that ended without a reply */
    uint64_t moved;            /* MOVED and REDIRECT followed */
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
    uint64_t connections;      /* open now */
    uint64_t nodes;            /* known now */
    uint64_t downs;            /* servers that were found to be down */
    uint64_t ups;              /* servers that came back */
    uint64_t nodes_down;       /* primaries that are down now */
    uint64_t pushes;           /* messages that servers pushed (protocol=3), dropped */
    uint64_t versions_ahead;   /* copies: answers with versions too far ahead, not believed */
    uint64_t connections_used; /* open now, and in use */
    uint64_t waiting;          /* calls that wait for a connection now */
    uint64_t map_number;       /* of the map in use, counted by the handle from 1; 0: none yet */
    uint64_t map_age_ms;       /* milliseconds since that map was published */
} kw_stats;

/* Figures of one node: counts since it is known, but for those that say "now". */
typedef struct kw_node_stats {
    size_t size;               /* sizeof(kw_node_stats), set by the caller */
    char node[128];            /* "host:port", cut to fit */
    bool is_primary;           /* now */
    bool is_failing;           /* now: its last connect failed */
    uint64_t sends;            /* commands sent to it */
    uint64_t moved;            /* MOVED and REDIRECT that it answered, followed */
    uint64_t ask;              /* ASK that it answered, followed */
    uint64_t retries;          /* sends after a connection to it was lost */
    uint64_t timeouts;         /* calls that met their deadline after sending to it */
    uint64_t connects;         /* connections opened */
    uint64_t connect_failures; /* connections that could not be opened */
    uint64_t disconnects;      /* connections lost or closed after a failure */
    uint64_t connections;      /* open now */
    uint64_t slots;            /* owned now; 0 for a replica and without a cluster */
    char member[256];   /* name on the ring, with a zero byte behind it; "" without a ring and for a
                           replica */
    size_t member_len;  /* bytes of member */
    uint32_t weight;    /* of a ring's member: its weight */
    double share;       /* of a ring's member: part of all hashes that it owns while no node is
                           down, 0 to 1 */
    bool is_down;       /* the server is down now: see the option on-node-down */
    bool has_lag;       /* lag_bytes and lag_ms are known: of a replica, measured while its
                           replication link was up, where read-preference or max-staleness is set */
    uint64_t lag_bytes; /* bytes of the primary's replication stream that the replica had not
                           applied when it was asked last (master_repl_offset less
                           slave_repl_offset of INFO) */
    uint64_t lag_ms;    /* milliseconds since the latest moment of which it is certain that the
                           replica has everything that its primary had then; of an idle and
                           healthy replica the time since it was asked last */
    char primary[128];  /* of a replica: "host:port" of its primary, cut to fit; else "" */
    uint64_t connections_used; /* open now, and in use */
    uint64_t waiting;          /* calls that wait for a connection now */
    uint64_t down_ms;          /* milliseconds for which it has been down; 0: it is not */
    uint64_t down_total_ms;    /* milliseconds for which it was down in all, this time included */
} kw_node_stats;

/* Slots first to last, both included. */
typedef struct kw_slot_range {
    uint16_t first;
    uint16_t last;
} kw_slot_range;

/* How kw_stats_text writes. */
typedef enum kw_stats_format {
    KW_STATS_PROMETHEUS = 0, /* the text format of Prometheus, version 0.0.4 */
    KW_STATS_JSON = 1        /* one JSON object, on one line */
} kw_stats_format;

/* Writes the figures of the handle to *stats, as far as stats->size reaches.
 *
 * Errors: KW_ERR_ARGUMENT (NULL, or stats->size is not set), KW_ERR_FORKED, KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_err kw_client_stats(struct kw_client *client, kw_stats *stats);

/* Writes the figures of node number index, counted from 0, to *stats, as far as stats->size
 * reaches. The order of nodes holds no longer than the map does. Where the option read-preference
 * or max-staleness is set, this asks for the lag of replicas to be measured for the next ten
 * seconds, within calls: four times a second, or four times within max-staleness.
 *
 * Errors: KW_ERR_ARGUMENT (index is past the last node, NULL, or stats->size is not set),
 * KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_client_node_stats(struct kw_client *client, kw_node_stats *stats, size_t index);

/* Writes the ranges of slots that node number index, as kw_client_node_stats counts them, owns by
 * the map in use: the first ranges_max of them, ascending, to ranges (NULL only with 0), and how
 * many there are, which may be more, to *ranges_n; 0 for a replica and without a cluster. An index
 * past the last node has none.
 *
 * Errors: KW_ERR_ARGUMENT (NULL), KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_client_node_slots(struct kw_client *client, kw_slot_range *ranges,
                                   size_t ranges_max, size_t *ranges_n, size_t index);

/* Commands that ended without a reply, with this code and this effect, since kw_open; 0 for what is
 * no code or no effect, and in a forked child. Each part of a command that is split, and each copy
 * of a value that is asked, counts by itself, so that there may be more of them than failures of
 * kw_stats. Any thread. */
KW_API uint64_t kw_client_failures(struct kw_client *client, kw_err code, kw_effect effect);

/* Writes all figures of a handle and of its nodes, and what was measured (keyway/measure.h), as
 * text for a monitoring system into text, which has room for text_len bytes: cut to fit, with a
 * zero byte at the end where text_len is not 0 (text may be NULL only with 0). Returns the bytes of
 * the whole text, without the zero byte, as snprintf does: with a result below text_len it fitted.
 * 0 where it failed (NULL, no such format, a forked child, no memory). Texts differ from call to
 * call: leave some room. Any thread. */
KW_API size_t kw_stats_text(struct kw_client *client, char *text, size_t text_len,
                            kw_stats_format format);

#ifdef __cplusplus
}
#endif

#endif
