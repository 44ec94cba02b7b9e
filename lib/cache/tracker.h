/* SPDX-License-Identifier: BSD-3-Clause */
/* Tracker: reads keys so that their servers tell who writes them. To each server go two
 * connections, a pair: one reads (CLIENT TRACKING ON REDIRECT), the other hears the messages
 * (SUBSCRIBE __redis__:invalidate). Both are pinged where somebody wants the proof: once both have
 * answered, no message for a write before the pings were sent is on its way, and the tracking was
 * there until then. The library has no thread: whoever calls looks at the connections in passing,
 * and of those who wait for an answer one reads for all. */
#ifndef CACHE_TRACKER_H
#define CACHE_TRACKER_H

#include "cache/near.h"
#include "topology/topology.h"

typedef struct kw_tracker kw_tracker;

/* near stays the caller's, and outlives the tracker, as the handle's flag does (kw_env_is_closing).
 * NULL where there is no memory. */
kw_tracker *kw_tracker_new(kw_topology *topology, kw_near *near, const atomic_bool *closing);

/* Nobody is inside any more. In a forked child is_forked: the connections are the parent's. */
void kw_tracker_free(kw_tracker *tracker, bool is_forked);

/* Time for proofs and lives: goes on while the machine sleeps. */
uint64_t kw_tracker_now(const kw_tracker *tracker);

/* True where kw_tracker_tend has something to do. */
bool kw_tracker_is_due(const kw_tracker *tracker, uint64_t now_ns);

/* Heeds a new map, hears messages, asks for proofs, goes on opening; never waits. One thread does,
 * others pass by. */
void kw_tracker_tend(kw_tracker *tracker, uint64_t now_ns);

/* What a read found. */
typedef struct kw_tracked {
    kw_reply *value; /* the caller's to free; a string, or nil */
    int64_t left_ms; /* of its life; -1: it has no end */
} kw_tracked;

/* Reads the key at its owner, tracked, within deadline_ns of the handle's clock, and keeps the
 * answer near; extra_ms: what of a life is not to be given any more. False: it was not read, or not
 * so that it counts, and is to be read as any other key. */
bool kw_tracker_read(kw_tracker *tracker, kw_tracked *found, kw_bytes key, uint64_t deadline_ns,
                     uint64_t extra_ms);

/* A read in two steps, so that many may be under way at once. */
typedef struct kw_tracking {
    struct kw_track_pair *pair;
    struct kw_track_read *read; /* NULL: none is under way */
    kw_bytes key;               /* borrowed until its end */
} kw_tracking;

/* Gives a read over; false: it cannot be, and is to be read as any other key. The key lives where
 * route does. */
bool kw_tracker_begin(kw_tracker *tracker, kw_tracking *tracking, kw_bytes key, kw_bytes route);

/* Sends it, and all others for its server. */
void kw_tracker_send(const kw_tracking *tracking);

/* Waits for a read that was begun; as kw_tracker_read. */
bool kw_tracker_end(kw_tracker *tracker, kw_tracking *tracking, kw_tracked *found,
                    uint64_t deadline_ns, uint64_t extra_ms);

/* True where kw_tracker_take has not to be waited for: the read has ended. */
bool kw_tracker_is_done(const kw_tracking *tracking);

/* What a read that was begun has found; as kw_tracker_end, without a wait. */
bool kw_tracker_take(kw_tracker *tracker, kw_tracking *tracking, kw_tracked *found,
                     uint64_t extra_ms);

/* Reads the key, which lives where route does, and goes on to hear of it until kw_tracker_forget:
 * true where it is there and its next write, or its end, will be told. Waits for the answer. */
bool kw_tracker_watch(kw_tracker *tracker, kw_tracking *tracking, kw_bytes key, kw_bytes route,
                      uint64_t deadline_ns);

/* Looks for messages, for wait_ms at the most; false: the key was written, or nobody would tell. */
bool kw_tracker_hears(kw_tracker *tracker, kw_tracking *tracking, int wait_ms);

/* Ends a read or a watch; nothing where there is none. */
void kw_tracker_forget(kw_tracker *tracker, kw_tracking *tracking);

typedef struct kw_tracker_figures {
    uint64_t pairs_n;      /* whose last proof came in time */
    uint64_t proof_age_ms; /* of the oldest proof of a ready pair */
} kw_tracker_figures;

kw_tracker_figures kw_tracker_look(kw_tracker *tracker, uint64_t now_ns);

#endif
