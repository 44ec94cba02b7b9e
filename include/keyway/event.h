/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what happens to the servers of a handle, told to the host.
 *
 * A kw_event is a node that is down or back, a failover, another map, a connection that was opened
 * or lost, a cache whose values may be near, or a change of a ring's members:
 *
 *   static void on_event(void *arg, const kw_event *event) { puts(event->text); }
 *   ...
 *   kw_config_set_event(config, on_event, NULL);
 */
#ifndef KEYWAY_EVENT_H
#define KEYWAY_EVENT_H

#include <stddef.h>

#include <keyway/config.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What happened. More kinds may follow: pass over those that are unknown. */
typedef enum kw_event_kind {
    KW_EVENT_NODE_DOWN = 1,       /* a server is down (on-node-down=fail, wait, next) */
    KW_EVENT_NODE_EJECTED = 2,    /* a node of the ring is down, and its keys have other owners now
                                     (on-node-down=eject) */
    KW_EVENT_NODE_UP = 3,         /* a server is back, and has its keys again */
    KW_EVENT_MEMBERS_CHANGED = 4, /* a change of the members was committed */
    KW_EVENT_PRIMARY_CHANGED = 5, /* Sentinel: node is the primary now; on a ring, that of member */
    KW_EVENT_PRIMARY_DOWN = 6,    /* Sentinel: the group agrees that node, the primary, is down */
    KW_EVENT_PRIMARY_UP = 7,      /* Sentinel: the primary is not down any more */
    KW_EVENT_REPLICA_DOWN = 8,    /* Sentinel: a replica is down, says one of the sentinels */
    KW_EVENT_REPLICA_UP = 9,      /* Sentinel: a replica is up again, says one of the sentinels */
    KW_EVENT_VERSION_AHEAD = 10,  /* copies: node holds a version that is further ahead of this
                                     clock than version-ahead; once a second at most */
    KW_EVENT_LOGIN_REFUSED = 11,  /* node does not take a login that was changed
                                     (kw_client_set_login): the one before goes on there */
    KW_EVENT_CLUSTER_REPLACED = 12, /* node answers in the place of servers that were known, and has
                                      nothing in common with them: another cluster, group or
                                      server, or its data was lost; it is followed (identity) */
    KW_EVENT_MAP_CHANGED = 13,      /* a cluster: another map is in use, the first one too; text,
                                       slots_n, joined_n, left_n: what is new since it was told last */
    KW_EVENT_CONNECTED = 14,        /* a connection to node was opened, its greeting answered */
    KW_EVENT_DISCONNECTED = 15, /* one was lost that had been open, in use or idle; text says why;
                                  none for what is closed for good reason, as after pool-idle */
    KW_EVENT_NEAR_ON = 16,      /* a cache: values of node may come from this process' memory now */
    KW_EVENT_NEAR_OFF = 17      /* .. and do not any more, or cannot; text says why */
} kw_event_kind;

/* One event. All that it points to is borrowed until the callback returns. */
typedef struct kw_event {
    size_t size; /* sizeof(kw_event) */
    kw_event_kind kind;
    const char *member; /* name on the ring: any bytes, with a zero byte behind; "" where the event
                           is of no single node */
    size_t member_len;  /* bytes of member */
    const char *node;   /* "host:port", or "" */
    const char *text;   /* one line for people */
    size_t slots_n;     /* MAP_CHANGED: slots that have another primary, or none any more; else 0 */
    size_t joined_n;    /* .. nodes that were not in the map before */
    size_t left_n;      /* .. nodes that are not in it any more */
} kw_event;

/* The host's callback for events. Called from any thread that uses the handle, in the middle of
 * that thread's own call, with no lock held: it may use the handle, but not close it, and should be
 * quick. Events of one node come in their order, one at a time. Those of Sentinel are read by
 * calls, and by the event loop, as they come by: a handle that nobody uses tells them late. Those
 * of connections, maps and caches are told when the call that met them ends, or a later one; of
 * connections and caches the last 64. */
typedef void (*kw_event_fn)(void *arg, const kw_event *event);

/* Sets whom to tell of events: event is called with arg. Default, and NULL: nobody. arg must
 * outlive the handles opened from the settings. One thread per object. */
KW_API void kw_config_set_event(kw_config *config, kw_event_fn event, void *arg);

#ifdef __cplusplus
}
#endif

#endif
