/* SPDX-License-Identifier: BSD-3-Clause */
/* Refresher: fetches the map. It runs inside callers' calls, for the library has no thread: one
 * caller at a time drives the fetch, and all the others go on with their commands. */
#ifndef NET_REFRESHER_H
#define NET_REFRESHER_H

#include "engine/refresh.h"
#include "net/fetch_ask.h"
#include "net/fetch_cluster.h"
#include "net/fetch_groups.h"
#include "net/fetch_sentinel.h"
#include "net/leader.h"

typedef struct kw_refresher {
    kw_env *env;
    kw_fetch_owner owner;
    kw_monitor monitor; /* guards policy, who sleeps, is_running, failure, counts */
    kw_refresh_policy policy;
    kw_leader driver; /* drives the fetch; its followers wait for what it brings */
    uint64_t fetches_n;
    uint64_t failures_n;
    kw_error failure;                /* why the last fetch gave no map; KW_OK where it did */
    atomic_bool is_incompatible;     /* it failed, as all who were asked refuse the settings */
    atomic_uint_fast64_t changes_n;  /* maps published, patches included */
    atomic_uint_fast64_t changed_ns; /* when the last of them was */
    atomic_uint_fast64_t due_ns;     /* when a call has something to do here */
    atomic_uint_fast64_t listen_ns;  /* when to listen to servers; UINT64_MAX: never */
    atomic_bool has_news;            /* for kw_refresher_news */
    kw_fetch_cluster cluster;
    kw_fetch_sentinel *sentinel; /* large, and NULL where no sentinels are asked for one group */
    kw_fetch_groups groups;      /* of a ring */
    /* The fetch under way; only the driver touches it. */
    kw_node *nodes[KW_FETCH_NODES_MAX]; /* to be asked in turn */
    size_t nodes_n;
    size_t node_at;
    kw_fetch_ask asks[KW_FETCH_ASKS_MAX];
    kw_fetch_manner manner;
    uint64_t next_ask_ns; /* when another server is asked besides those that are */
    kw_error told;        /* why the last server that was given up gave no map, or that there was
                             no memory */
    bool has_told;        /* one was given up */
    bool were_late;       /* none of those that were given up had answered in time */
    bool is_any_late;     /* one of them had not .. */
    bool is_any_other; /* .. and another was somebody else's, who is believed if nobody answers */
    bool is_running;   /* written by the driver alone, with the lock held */
} kw_refresher;

/* owner is copied. */
kw_err kw_refresher_init(kw_refresher *self, kw_env *env, const kw_fetch_owner *owner);
void kw_refresher_fini(kw_refresher *self);

/* The option refresh-interval has changed. Any thread. */
void kw_refresher_on_interval(kw_refresher *self);

/* Asks for a new map; returns the number for kw_refresher_wait. Any thread. */
uint64_t kw_refresher_want(kw_refresher *self);

/* A server named another owner: asks for a new map, whatever was asked for in vain before. Any
 * thread. */
void kw_refresher_on_moved(kw_refresher *self);

/* A map was published by somebody else: wakes those who wait for one. Any thread. */
void kw_refresher_on_publish(kw_refresher *self);

/* Number of maps published so far. Any thread. */
static inline uint64_t kw_refresher_changes_n(kw_refresher *self)
{
    return atomic_load_explicit(&self->changes_n, memory_order_relaxed);
}

/* When the last map was published; 0: none was. Any thread. */
uint64_t kw_refresher_changed_ns(kw_refresher *self);

/* Goes on with a fetch as far as it can without waiting: poke where something is due. Any thread.
 */
void kw_refresher_go_on(kw_refresher *self, uint64_t now_ns);

static inline void kw_refresher_poke(kw_refresher *self, uint64_t now_ns)
{
    if (now_ns >= atomic_load_explicit(&self->due_ns, memory_order_relaxed) ||
        now_ns >= atomic_load_explicit(&self->listen_ns, memory_order_relaxed)) {
        kw_refresher_go_on(self, now_ns);
    }
}

/* The oldest news of servers that was not taken yet; false where there is none, or somebody
 * drives just now. Of a ring, group gets the name of the node that it is about. Any thread. */
bool kw_refresher_news(kw_refresher *self, kw_sentinel_told *news, kw_member *group);

/* What to wait for; the first that comes ends the wait. */
typedef struct kw_refresher_goal {
    uint64_t until_ns;
    uint64_t fetch;             /* number of kw_refresher_want, or 0 */
    const atomic_bool *closing; /* kw_env_is_closing */
    bool wakes_on_map;          /* changes_n is no longer .. */
    uint64_t changes_n;         /* .. this */
    struct pollfd *sockets;     /* ready for what they are to be polled for, or NULL;
                                   KW_FETCH_ASKS_MAX more elements are there behind them */
    size_t sockets_n;
} kw_refresher_goal;

/* Waits, and drives the fetch meanwhile if nobody else does. With a fetch in the goal:
 * KW_OK, or why it gave no map, with error set; KW_ERR_TIMEOUT when the time came
 * first. Any thread. */
kw_err kw_refresher_wait(kw_refresher *self, kw_error *error, const kw_refresher_goal *goal);

/* True where the fetch of that number (kw_refresher_want) has ended. Any thread. */
uint64_t kw_refresher_ended_n(kw_refresher *self); /* how many have */
bool kw_refresher_has_ended(kw_refresher *self, uint64_t fetch);

/* True where the last fetch failed because all who were asked refuse what the settings ask for (a
 * certificate): the next one will fail as well. */
static inline bool kw_refresher_is_incompatible(const kw_refresher *self)
{
    return atomic_load_explicit(&self->is_incompatible, memory_order_relaxed);
}

/* How the last fetch ended: KW_OK, or why it gave no map, with error set. Any thread. */
kw_err kw_refresher_result(kw_refresher *self, kw_error *error);

/* What becomes of a call that needs a first map (kw_refresh_admit); KW_ADMITTED_NOT: why the last
 * fetch gave none is in error. Any thread. */
kw_admission kw_refresher_admit(kw_refresher *self, kw_error *error, uint64_t now_ns);

/* Wakes everybody who waits here. */
void kw_refresher_wake_all(kw_refresher *self);

#endif
