/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what happens to the servers of a handle, told to the host. */
#ifndef KEYWAY_EVENT_H
#define KEYWAY_EVENT_H

#include <stddef.h>

#include <keyway/config.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* More kinds may follow: pass over those that are unknown. */
typedef enum kw_event_kind {
    KW_EVENT_NODE_DOWN = 1,       /* a node of the ring is down (on-node-down=fail, next) */
    KW_EVENT_NODE_EJECTED = 2,    /* the same, and its keys have other owners now (eject) */
    KW_EVENT_NODE_UP = 3,         /* it is back, and has its keys again */
    KW_EVENT_MEMBERS_CHANGED = 4, /* a change of the members was committed */
    KW_EVENT_PRIMARY_CHANGED = 5, /* Sentinel: node is the primary now, on a ring of member */
    KW_EVENT_PRIMARY_DOWN = 6,    /* Sentinel: the group agrees that node, the primary, is down */
    KW_EVENT_PRIMARY_UP = 7,      /* Sentinel: and that it is not any more */
    KW_EVENT_REPLICA_DOWN = 8,    /* Sentinel: a replica is down for one of them */
    KW_EVENT_REPLICA_UP = 9       /* Sentinel: and up again */
} kw_event_kind;

/* One event; everything is borrowed until the callback returns. */
typedef struct kw_event {
    size_t size; /* sizeof(kw_event) */
    kw_event_kind kind;
    const char *member; /* name on the ring: any bytes, member_len of them, and a zero byte
                           behind; "" where the event is of no one node */
    size_t member_len;
    const char *node; /* "host:port", or "" */
    const char *text; /* one line for people */
} kw_event;

/* The host's callback. Called from any thread that uses the handle, in the middle of that
 * thread's own call, with no lock held: it may use the handle, but not close it, and should be
 * quick. Events of one node come in their order, one at a time. Those of Sentinel are heard by
 * calls, and by the event loop, as they come by: a handle that nobody uses tells them late. */
typedef void (*kw_event_fn)(void *arg, const kw_event *event);

/* Where to tell of events; default is nowhere. One thread per object. */
KW_API void kw_config_set_event(kw_config *config, kw_event_fn event, void *arg);

#ifdef __cplusplus
}
#endif

#endif
