/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch of a ring's Sentinel groups: in one fetch all of them are asked, one after the other,
 * each as a group alone would be. What one of them says is told at once, so that none waits for
 * another; the map of the ring is made elsewhere. */
#ifndef NET_FETCH_GROUPS_H
#define NET_FETCH_GROUPS_H

#include "net/fetch_sentinel.h"

/* One group. */
typedef struct kw_fetch_group {
    kw_member member; /* which, with memory of its own */
    kw_fetch_sentinel fetch;
    kw_node *sentinels[KW_FETCH_NODES_MAX]; /* to be asked in turn; a reference each */
    size_t sentinels_n;
    size_t sentinel_at;
    bool is_asked; /* in this fetch, or there is no need */
    bool is_lost;  /* the last time nobody led to its primary: it comes last */
} kw_fetch_group;

typedef struct kw_fetch_groups {
    kw_env *env;
    const kw_fetch_owner *owner;
    kw_fetch_group **groups;
    size_t groups_n;
    uint64_t version;   /* of the owner's groups */
    kw_fetch_group *at; /* whose turn it is; NULL: nobody's */
    /* Of the fetch under way: */
    bool is_urgent; /* a group is about to change */
    bool has_news;
} kw_fetch_groups;

/* owner must outlive it. */
void kw_fetch_groups_init(kw_fetch_groups *self, kw_env *env, const kw_fetch_owner *owner);
void kw_fetch_groups_fini(kw_fetch_groups *self);

/* kw_fetch_sentinel_news of any group; group gets the name of the one that it is about. */
bool kw_fetch_groups_news(kw_fetch_groups *self, kw_sentinel_told *news, kw_member *group);
bool kw_fetch_groups_has_news(const kw_fetch_groups *self);

/* With a kw_fetch_groups as its arg. The map of a fetch is that of the group that was asked
 * last, and was told already. */
extern const kw_fetch_way kw_fetch_groups_way;

#endif
