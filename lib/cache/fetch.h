/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch: what a call that wants a value does next. It is told what happened, and says what is to be
 * done; who carries that out may wait for it (cache_fetch.c) or have a loop (cache_loop.c). It does
 * no input and output, and asks for no lock but that of the flights. */
#ifndef CACHE_FETCH_H
#define CACHE_FETCH_H

#include "cache/cache.h"

typedef enum kw_fetch_act {
    KW_FETCH_ASK,   /* ask the lease what fetch.ask says; kw_fetch_on_reply follows */
    KW_FETCH_TELL,  /* the same, and nobody needs the answer; kw_fetch_go_on follows */
    KW_FETCH_WAIT,  /* until kw_fetch_until_ns, or something changes among the flights;
                       kw_fetch_go_on follows */
    KW_FETCH_GUARD, /* open a load guard; kw_fetch_on_guard follows */
    KW_FETCH_LOAD,  /* call the host's function; kw_fetch_on_loaded follows */
    KW_FETCH_STORE, /* have fetch.ask done under the guard; kw_fetch_on_stored follows */
    KW_FETCH_END    /* it is over: code, failure, blob, source */
} kw_fetch_act;

typedef enum kw_fetch_phase {
    KW_FETCH_LOOKING,
    KW_FETCH_POLLING,   /* another process has the lease */
    KW_FETCH_FOLLOWING, /* another call of this process leads */
    KW_FETCH_PLACING,   /* a place among the loads is waited for */
    KW_FETCH_GIVING_UP, /* there was none in time */
    KW_FETCH_LOADING,
    KW_FETCH_FINISHING, /* the load is over */
    KW_FETCH_REFUSED    /* failure says why */
} kw_fetch_phase;

typedef struct kw_fetch {
    kw_cache *cache;
    kw_bytes key; /* borrowed */
    kw_buf name;  /* of its lease */
    char space[256];
    kw_lease_token token; /* of this call */
    uint64_t deadline_ns;
    kw_fetch_phase phase;
    kw_lease_ask ask;
    bool may_give;         /* REFRESH was asked, and old may be given meanwhile */
    kw_blob *old;          /* what the server has, a reference; NULL: nothing */
    uint64_t ttl_end_ns;   /* from here on it is stale */
    uint64_t old_end_ns;   /* and from here on given no more */
    uint64_t asked_ns;     /* when the server was looked at last */
    bool has_heard;        /* it has answered once */
    kw_lease_token holder; /* of a lease that is taken */
    kw_flight *flight;     /* NULL: none yet */
    bool is_entered;       /* it counts among those who wait */
    bool has_lease;
    bool has_place; /* among the loads */
    bool is_guarded;
    bool is_watched;     /* whoever carries it out hears of the end of the other's lease */
    uint64_t pause_ns;   /* between two polls */
    uint64_t wait_ns;    /* until when */
    uint64_t watched_ns; /* until when where is_watched */
    uint64_t begun_ns;   /* the load */
    kw_cache_loaded how;
    kw_blob *given; /* by the load */
    kw_err code;    /* from here on: of KW_FETCH_END */
    kw_error failure;
    kw_blob *blob; /* a reference; NULL: there is no value */
    kw_cache_source source;
} kw_fetch;

/* key stays until kw_fetch_fini. False where there is no memory. */
bool kw_fetch_init(kw_fetch *fetch, kw_cache *cache, kw_bytes key);
void kw_fetch_fini(kw_fetch *fetch);

/* The first thing to be done. */
kw_fetch_act kw_fetch_begin(kw_fetch *fetch);

/* The answer to ASK, which it takes over; NULL: failure says why there is none. */
kw_fetch_act kw_fetch_on_reply(kw_fetch *fetch, kw_reply *reply, const kw_error *failure);

kw_fetch_act kw_fetch_on_guard(kw_fetch *fetch, bool is_open);

/* The host's function has ended; takes given over. */
kw_fetch_act kw_fetch_on_loaded(kw_fetch *fetch, kw_cache_loaded how, kw_blob *given);

kw_fetch_act kw_fetch_on_stored(kw_fetch *fetch, bool is_stored);

kw_fetch_act kw_fetch_go_on(kw_fetch *fetch);

/* It is given up at any point: others may load. */
void kw_fetch_cancel(kw_fetch *fetch);

/* What would be asked of the lease. */
kw_lease_ask kw_fetch_ask_of(const kw_fetch *fetch, kw_lease_act act);

/* What is left of the call's time, in milliseconds, and at least one: 0 would be the handle's. */
static inline uint64_t kw_fetch_left_ms(const kw_fetch *fetch, uint64_t now_ns)
{
    bool is_over = fetch->deadline_ns < now_ns + KW_NS_PER_MS;
    return is_over ? 1 : (fetch->deadline_ns - now_ns) / KW_NS_PER_MS;
}

/* When WAIT ends at the latest. */
static inline uint64_t kw_fetch_until_ns(const kw_fetch *fetch)
{
    return fetch->is_watched ? fetch->watched_ns : fetch->wait_ns;
}

/* The other's lease has ended, or may have. */
static inline void kw_fetch_on_told(kw_fetch *fetch)
{
    fetch->is_watched = false;
    fetch->wait_ns = 0;
}

/* In fetch_look.c: what an answer of the lease means. */
typedef enum kw_look_result {
    KW_LOOK_VALUE,   /* old may be given */
    KW_LOOK_NONE,    /* there is none, and that is known */
    KW_LOOK_LEASE,   /* the caller loads; old may be given where that fails */
    KW_LOOK_TAKEN,   /* somebody else loads, and nothing may be given meanwhile */
    KW_LOOK_REFRESH, /* a value is there that is to be loaded anew: the lease is asked for */
    KW_LOOK_AWAY,    /* no server answers; failure says why */
    KW_LOOK_WRONG    /* the call cannot go on; failure says why */
} kw_look_result;

kw_look_result kw_fetch_digest(kw_fetch *fetch, kw_reply *reply, const kw_error *failure);

/* An old value whose life has ended since is given no more: loads, and waits for a place, take
 * long.
 */
void kw_fetch_drop_over(kw_fetch *fetch);

#endif
