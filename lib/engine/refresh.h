/* SPDX-License-Identifier: BSD-3-Clause */
/* Refresh: when to fetch the cluster's map, and from whom. */
#ifndef ENGINE_REFRESH_H
#define ENGINE_REFRESH_H

#include "base/random.h"
#include "engine/backoff.h"
#include "engine/failure_detector.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maps that are read in any second, at most: a fetch may read several, as servers are late, or what
 * they say is doubtful. The last of them are kept for the servers behind the first of a fetch. */
#define KW_REFRESH_READS_MAX 10u

/* One fetch at a time; two never start within the floor; while fetches fail or the
 * map is asked for again and again, the pauses grow. */
typedef struct kw_refresh_policy {
    kw_random random;
    kw_backoff backoff;
    uint64_t interval_ns; /* slow periodic fetch; 0: none */
    uint64_t allowed_ns;  /* no fetch starts before this */
    uint64_t periodic_ns; /* a fetch is wanted from here on, whatever happens */
    uint64_t started_n;   /* fetches begun */
    uint64_t ended_n;     /* fetches ended, with or without a map */
    bool is_wanted;       /* a fetch begins as soon as it may */
    uint64_t started_ns;  /* the last one; 0: none yet */
    uint64_t failed_n;   /* in a row, without a map; what begins long after the last is a new row */
    uint64_t failed_ns;  /* when the last of them ended */
    uint64_t failing_ns; /* since when they fail */
    uint64_t stale_ns;   /* since when they are wanted, and bring nothing new; 0: they do */
    uint64_t
        read_ns[KW_REFRESH_READS_MAX]; /* when servers were asked for a map last, in a circle */
    uint64_t reads_n;
} kw_refresh_policy;

#define KW_REFRESH_FLOOR_NS (100 * KW_NS_PER_MS)

void kw_refresh_init(kw_refresh_policy *refresh, uint64_t interval_ns, uint64_t now_ns,
                     uint64_t seed);

/* Another rhythm from now on. */
void kw_refresh_set_interval(kw_refresh_policy *refresh, uint64_t interval_ns, uint64_t now_ns);

/* Somebody has reason to doubt the map. Returns the number of the fetch that will
 * answer the doubt: it has when ended_n has reached that number. */
uint64_t kw_refresh_want(kw_refresh_policy *refresh);

/* When the next fetch may start: UINT64_MAX while one runs and when none is
 * wanted. */
uint64_t kw_refresh_due_ns(const kw_refresh_policy *refresh);

void kw_refresh_on_start(kw_refresh_policy *refresh, uint64_t now_ns);

/* has_map: the fetch gave a map; has_news: one that differs from the one in use. */
void kw_refresh_on_end(kw_refresh_policy *refresh, uint64_t now_ns, bool has_map, bool has_news);

/* A server is asked for its map now. */
void kw_refresh_on_read(kw_refresh_policy *refresh, uint64_t now_ns);

/* True where one more server may be asked besides one that is late. */
bool kw_refresh_may_hedge(const kw_refresh_policy *refresh, uint64_t now_ns);

/* True where a fetch may ask another server in the place of one that led to no map; else it ends.
 */
bool kw_refresh_may_go_on(const kw_refresh_policy *refresh, uint64_t now_ns);

/* True in a long outage: fetches were wanted again and again and brought nothing new. Then it is
 * asked once a second whether there is anything new, before the map itself is. */
bool kw_refresh_is_stale(const kw_refresh_policy *refresh, uint64_t now_ns);

/* A server named another owner: the next fetch may begin as if none had been in vain. */
void kw_refresh_on_moved(kw_refresh_policy *refresh);

/* The fetch that has ended without a map says nothing against the servers: one is well, and full,
 * or this process had no memory to ask. */
void kw_refresh_on_excused(kw_refresh_policy *refresh);

/* What becomes of a call that needs a first map. Once fetches have failed down_after times in a
 * row over at least a second it is an error at once, but for the call that finds the last fetch a
 * second old, which waits for the next. */
kw_admission kw_refresh_admit(const kw_refresh_policy *refresh, uint64_t now_ns,
                              uint64_t down_after);

/* A node that could be asked for the map. */
typedef struct kw_refresh_candidate {
    size_t node;     /* the caller's number */
    bool is_suspect; /* failed last time, or is the reason for the doubt */
    bool is_seed;    /* given by the URI */
} kw_refresh_candidate;

/* Sorts the candidates into the order in which to ask: healthy nodes, then suspect ones, with a
 * seed behind each of the first; at random among equals, so that no node answers for all
 * clients. */
void kw_refresh_order(kw_refresh_candidate *candidates, size_t candidates_n, kw_random *random);

#endif
