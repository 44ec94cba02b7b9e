/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel watch: which sentinels to ask, in which order, and what it means when none of
 * them led to the primary. */
#ifndef ENGINE_SENTINEL_WATCH_H
#define ENGINE_SENTINEL_WATCH_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

/* Sentinels beyond the configured ones. */
#define KW_SENTINELS_LEARNT_MAX ((size_t)32)

typedef struct kw_sentinel_entry {
    kw_endpoint endpoint;
    bool is_configured; /* never dropped */
} kw_sentinel_entry;

/* What the sentinels that were asked in one fetch came to. */
typedef struct kw_sentinel_tally {
    size_t asked_n;
    size_t answered_n; /* said whether they know the name */
    size_t unknown_n;  /* do not know it */
    bool is_refused;   /* one refused the credentials */
    kw_endpoint tried; /* the primary that one of them named, which was none; host is empty
                          where there was no such */
    bool has_named;    /* one named a primary */
} kw_sentinel_tally;

typedef struct kw_sentinel_watch {
    kw_allocator mem;
    kw_sentinel_entry *entries; /* in the order in which to ask; with room for all */
    size_t entries_n;
    size_t configured_n;
    kw_sentinel_tally tally;
    kw_endpoint suspect; /* named in the last fetch, and was no primary; host is empty: nobody */
    unsigned suspect_n;  /* in how many fetches in a row it was */
} kw_sentinel_watch;

/* configured_n is not 0. KW_ERR_NOMEM. */
kw_err kw_sentinel_watch_init(kw_sentinel_watch *watch, const kw_allocator *mem,
                              const kw_endpoint *configured, size_t configured_n);
void kw_sentinel_watch_fini(kw_sentinel_watch *watch);

/* A fetch begins. */
void kw_sentinel_watch_on_start(kw_sentinel_watch *watch);

/* The sentinel led to the primary: it is asked first from now on. An unknown endpoint
 * changes nothing. */
void kw_sentinel_watch_on_success(kw_sentinel_watch *watch, const kw_endpoint *sentinel);

/* The sentinel is to be asked first from now on. An unknown endpoint changes nothing. */
void kw_sentinel_watch_prefer(kw_sentinel_watch *watch, const kw_endpoint *sentinel);

/* What the group says of itself: replaces what was learnt before. */
void kw_sentinel_watch_learn(kw_sentinel_watch *watch, const kw_endpoint *peers, size_t peers_n);

/* The sentinel did not lead to the primary: code says why. has_answered: it has said
 * whether it knows the name. */
void kw_sentinel_watch_on_failure(kw_sentinel_watch *watch, kw_err code, bool has_answered);

/* What to do with the primary that a sentinel named: is_now says that it is not put off, as nobody
 * is left who may name another one, or somebody who did is about to be believed. */
typedef enum kw_sentinel_advice {
    KW_SENTINEL_GO,      /* ask it for its role */
    KW_SENTINEL_GO_FAST, /* ask it, with a short time-out: it did not answer the last time, and the
                            sentinels may be about to name another one */
    KW_SENTINEL_LATER    /* it is the suspect of the last fetch: ask the other sentinels first */
} kw_sentinel_advice;

kw_sentinel_advice kw_sentinel_watch_on_named(kw_sentinel_watch *watch, const kw_endpoint *primary,
                                              bool is_now);

/* True where this server was named before in this fetch, and turned out to be no primary. */
bool kw_sentinel_watch_has_tried(const kw_sentinel_watch *watch, const kw_endpoint *primary);

/* The server that was named is not the primary, or cannot be reached. */
void kw_sentinel_watch_on_tried(kw_sentinel_watch *watch, const kw_endpoint *primary);

/* Nobody led to the primary: the code that says why, last being the last failure's; and who
 * was asked last is asked last the next time. KW_ERR_NO_SENTINEL: none answered;
 * KW_ERR_AUTH: none answered, and one refused the credentials; KW_ERR_NO_SERVICE: most of
 * all do not know the name. */
kw_err kw_sentinel_watch_on_end(kw_sentinel_watch *watch, kw_err last);

#endif
