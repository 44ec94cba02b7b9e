/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch: one way of asking servers who is who. The refresher connects, sends and waits; a
 * way says whom to ask what, and what the answers mean. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "net/node.h"
#include "route/map.h"

#define KW_FETCH_NODES_MAX     24
#define KW_FETCH_QUESTIONS_MAX 4

/* What fetches ask of the handle. Called by the driving thread, with no lock held. */
typedef struct kw_fetch_owner {
    void *arg;
    /* Nodes that know a cluster's map, with a reference each, at most max; returns their
     * number. */
    size_t (*candidates_fn)(void *arg, kw_node **nodes, bool *is_seed, size_t max);
    /* A reference to the node at the endpoint; NULL when there is no memory. */
    kw_node *(*node_fn)(void *arg, const kw_endpoint *endpoint);
    /* A reference to the node at the endpoint where there is one already; else NULL. */
    kw_node *(*known_fn)(void *arg, const kw_endpoint *endpoint);
    /* A reference to the map in use, or NULL. */
    kw_map *(*map_fn)(void *arg);
    /* Takes the new map (and its reference) into use; *has_news: it differs from the one
     * before. KW_ERR_NOMEM: the one before stays. */
    kw_err (*publish_fn)(void *arg, bool *has_news, kw_map *map);
    /* The next three are of a ring. The members that are Sentinel groups, copied into
     * an empty ring_members, and a number that changes with them; where *version is that number
     * already, nothing is written. KW_ERR_NOMEM. */
    kw_err (*groups_fn)(void *arg, kw_ring_members *groups, uint64_t *version);
    /* Tells who is in a group now: map has its one shard. */
    void (*found_fn)(void *arg, bool *has_news, const kw_member *group, const kw_map *map);
    /* Tells that the sentinels of a group led to no primary. */
    void (*lost_fn)(void *arg, const kw_member *group, const kw_error *failure);
    /* What the servers wait before they call a primary down (kw_failure_election_ns); 0: they do
     * not say. */
    void (*timeout_fn)(void *arg, uint64_t timeout_ms);
} kw_fetch_owner;

/* Commands that go to one server together. */
typedef struct kw_fetch_questions {
    const char *name; /* for an error text */
    size_t n;
    size_t ends[KW_FETCH_QUESTIONS_MAX]; /* of each, in the encoded bytes */
    uint64_t wait_ns;                    /* for all answers, the connect included */
    bool is_for_primary;                 /* the server is to be one, whatever the map says */
    bool allows_strangers;               /* whoever answers may be asked */
    bool is_other_form;                  /* the server has refused the first form */
    bool is_for_news;                    /* it is asked whether anything has changed, first */
    bool has_news;                       /* it has, or does not say */
    uint64_t news_hash;                  /* of what it said then; 0: nothing */
} kw_fetch_questions;

/* What follows from answers: a map, or another node to ask; with neither, more is asked of the same
 * server. */
typedef struct kw_fetch_step {
    kw_map *map;               /* a reference: the fetch is over */
    bool is_brief;             /* a failover is under way: the next fetch comes soon */
    kw_node *node;             /* a reference: this one is asked next */
    kw_fetch_questions *asked; /* what the answers are to */
    const kw_identity *said;   /* who gave them */
    uint64_t now_ns;
} kw_fetch_step;

/* Called by the driving thread only. */
typedef struct kw_fetch_way {
    size_t asks_max; /* servers that are asked at once, at most KW_FETCH_ASKS_MAX */
    /* A fetch begins: the servers to ask in step, with a reference each, until one leads to
     * a map. Returns their number, at most KW_FETCH_NODES_MAX. */
    size_t (*begin_fn)(void *arg, kw_node **nodes);
    /* Appends what is to be asked now, of the server named or where the last answer led. False
     * when there is no memory. */
    bool (*ask_fn)(void *arg, kw_fetch_questions *questions, kw_buf *encoded);
    /* Answers, one for each question. A failure goes on with the next server. */
    kw_err (*take_fn)(void *arg, kw_fetch_step *step, kw_error *error, const kw_node *from,
                      kw_reply *const *replies);
    /* The server that begin named has led to no map: asked itself, or where it led. Returns
     * a reference to another one to ask in its place, or NULL. */
    kw_node *(*fail_fn)(void *arg, kw_node *node, const kw_error *failure);
    /* Nobody has led to a map. failure says why the last one did not, and may be told
     * better. True where the servers are about to agree: the next fetch comes soon, whether
     * anybody asks for it or not. */
    bool (*end_fn)(void *arg, kw_error *failure);
    /* A map that answers gave and that was doubtful (their take_fn has failed), where it is to go
     * into use now: a reference. is_over: nobody is asked any more. NULL: there is none, or others
     * are waited for; failure is written where it is refused. The function may be NULL. */
    kw_map *(*held_fn)(void *arg, kw_error *failure, uint64_t now_ns, bool is_over);
    /* Between fetches, and while one waits: what servers say of their own accord. True where
     * a fetch is wanted. NULL: they do not. */
    bool (*listen_fn)(void *arg, uint64_t now_ns);
} kw_fetch_way;

#endif
