/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch of a Sentinel group's map: one sentinel after the other is asked who the primary is,
 * and then the primary itself. */
#ifndef NET_FETCH_SENTINEL_H
#define NET_FETCH_SENTINEL_H

#include "engine/sentinel_watch.h"
#include "engine/sentinel_event.h"
#include "engine/sentinel_trust.h"
#include "net/fetch.h"
#include "net/listener.h"
#include "route/topology_sentinel.h"

/* What is asked next. */
typedef enum kw_sentinel_step {
    KW_SENTINEL_ASKS_GROUP,    /* primary, replicas and sentinels, of a sentinel */
    KW_SENTINEL_ASKS_REPLICAS, /* SENTINEL SLAVES, of one that does not know SENTINEL REPLICAS */
    KW_SENTINEL_ASKS_HEIR,     /* ROLE, of the replica that it has chosen to be the next */
    KW_SENTINEL_ASKS_ROLE      /* of the primary that it named */
} kw_sentinel_step;

/* Something for the host to know, and the server that it is about. */
typedef struct kw_sentinel_told {
    kw_sentinel_news news;
    kw_endpoint server;
} kw_sentinel_told;

#define KW_SENTINEL_TOLD_MAX 16

/* Who is asked, and for whom. */
typedef struct kw_sentinel_group {
    const kw_endpoint *sentinels; /* at least one */
    size_t sentinels_n;
    const char *service; /* what they call the group */
} kw_sentinel_group;

typedef struct kw_fetch_sentinel {
    kw_env *env;
    const kw_fetch_owner *owner;
    const char *service;
    kw_sentinel_watch watch;
    kw_node **nodes; /* of the sentinels of the watch, in no order; a reference each */
    size_t nodes_n;
    kw_sentinel_trust trust;
    kw_endpoint last;   /* the primary that was found last; host is empty: none yet */
    uint64_t epoch;     /* of the group's configuration that last is from; 0: not known */
    uint64_t behind_ns; /* since when nobody has said anything but older ones; 0: not so */
    kw_listener listener;
    bool has_news;                                /* this look heard a reason to ask anew */
    kw_sentinel_told known[KW_SENTINEL_TOLD_MAX]; /* the last news of each server */
    size_t known_at;                              /* the entry to be replaced next */
    kw_sentinel_told news[KW_SENTINEL_TOLD_MAX];  /* not handed on yet */
    size_t news_n;
    /* Of the sentinel whose turn it is: */
    kw_endpoint sentinel; /* once it answered */
    kw_sentinel_step step;
    bool has_answered;   /* it has said whether it knows the name */
    uint64_t said_epoch; /* of the configuration in its answer; 0: it did not say */
    kw_endpoint primary;
    kw_endpoint heir; /* host is empty: none */
    kw_endpoints replicas;
    kw_endpoints peers;
    /* Of the fetch: */
    kw_error told;      /* the failure that tells most of what is wrong */
    unsigned told_rank; /* its rank; 0: there was none yet */
    size_t asked_n;     /* sentinels of this fetch */
    kw_endpoint
        later;     /* the first that named the suspect, which was put off; host is empty: none */
    bool is_again; /* it is asked once more, behind all others */
    bool is_fast;  /* the next question has a short time-out */
} kw_fetch_sentinel;

/* owner and the group's service must outlive it. KW_ERR_NOMEM. */
kw_err kw_fetch_sentinel_init(kw_fetch_sentinel *self, kw_env *env, const kw_fetch_owner *owner,
                              const kw_sentinel_group *group);
void kw_fetch_sentinel_fini(kw_fetch_sentinel *self);

/* The oldest news that was not handed on; false where there is none. By the driving thread. */
bool kw_fetch_sentinel_news(kw_fetch_sentinel *self, kw_sentinel_told *news);

/* With a kw_fetch_sentinel as its arg. */
extern const kw_fetch_way kw_fetch_sentinel_way;

#endif
