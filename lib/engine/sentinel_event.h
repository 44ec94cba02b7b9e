/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel event: what a sentinel publishes of its own accord, and what follows from it. */
#ifndef ENGINE_SENTINEL_EVENT_H
#define ENGINE_SENTINEL_EVENT_H

#include "base/bytes.h"
#include "base/endpoint.h"

#include <stdbool.h>

typedef enum kw_sentinel_news {
    KW_SENTINEL_NOTHING,      /* no concern of ours */
    KW_SENTINEL_SUSPECT,      /* ask who is who */
    KW_SENTINEL_LEADS,        /* ask who is who, this sentinel first: it replaces the primary */
    KW_SENTINEL_PRIMARY_DOWN, /* as SUSPECT; the group agrees that the primary is down */
    KW_SENTINEL_PRIMARY_UP,   /* as SUSPECT; the primary is back */
    KW_SENTINEL_REPLICA_DOWN, /* as SUSPECT */
    KW_SENTINEL_REPLICA_UP,   /* as SUSPECT */
    KW_SENTINEL_SWITCHED      /* never read: another primary was found */
} kw_sentinel_news;

/* Reads one message ("+sdown", "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379") of
 * the group that service names. *server is written for the last four. Anything may be in it:
 * what cannot be read is NOTHING, or SUSPECT where it names the group. */
kw_sentinel_news kw_sentinel_event_read(kw_endpoint *server, kw_bytes channel, kw_bytes text,
                                        const char *service);

#endif
