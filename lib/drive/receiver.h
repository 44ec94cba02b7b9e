/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiver: the connections of one subscriber, and who works on them: whoever takes messages, one
 * thread at a time for all, or the host's loop, or a caller who passes by. What is decided is in
 * engine/subscriptions.h. */
#ifndef DRIVE_RECEIVER_H
#define DRIVE_RECEIVER_H

#include "engine/subscriptions.h"
#include "net/leader.h"
#include "net/push_link.h"
#include "topology/topology.h"

typedef struct kw_receiver_rule {
    kw_subscriptions_rule subscriptions;
    uint64_t silence_ns;
} kw_receiver_rule;

typedef struct kw_receiver {
    kw_topology *topology;
    kw_monitor monitor;    /* guards subs, and who sleeps */
    kw_subscriptions subs; /* its streams, and feeds on them, are the leader's */
    kw_error failure;      /* of the last connection that was lost or not had */
    uint64_t look_ns;      /* when who finds messages looks at the sockets all the same */
    uint64_t refusals_told_n;
    kw_poller *host;             /* of the loop that hands its messages out; NULL: none does */
    kw_leader leader;            /* works on the connections */
    atomic_bool is_draining;     /* nobody waits for more than there is */
    atomic_bool is_closed;       /* nobody waits any more */
    atomic_uint_fast64_t due_ns; /* when somebody is to look */
    /* The leader's: */
    uint64_t silence_ns;
    kw_poller poller;
    kw_push_link **links; /* one a node */
    size_t links_n;
    size_t links_capacity;
    uint64_t changes_n;    /* maps published when all topics were looked at last */
    uint64_t snapshot_n;   /* number of the snapshot then */
    uint64_t todos_n;      /* topics.todos_n when those that need it were looked at last */
    uint64_t doubt_ns;     /* when the map is to be asked for, as it may be old */
    uint64_t doubt_end_ns; /* the last time */
    uint64_t place_ns;     /* when they need another look */
    uint64_t round_ns;     /* when the last round received */
    size_t kept_at;        /* the link to be read next */
    /* Changed with the monitor held, too, so that others may look: */
    bool has_kept; /* messages were received that are still to be read */
    bool has_work; /* there is more to be done at once, though no socket says so */
} kw_receiver;

/* Failure: KW_ERR_NOMEM, with error set. */
kw_err kw_receiver_init(kw_receiver *self, kw_error *error, kw_topology *topology,
                        const kw_receiver_rule *rule);

/* Closes its connections. Nobody is inside. has_forked: they are the parent's, and only memory is
 * freed. */
void kw_receiver_fini(kw_receiver *self, bool has_forked);

/* Adds a topic; one that is there already stays as it is. KW_ERR_ARGUMENT where that is subscribed
 * at other nodes, KW_ERR_NOMEM. Any thread. */
kw_err kw_receiver_add(kw_receiver *self, kw_error *error, kw_topic_kind kind, kw_bytes name,
                       kw_topic_scope scope);

/* Removes a topic; nothing where it is not there. Any thread. */
void kw_receiver_remove(kw_receiver *self, kw_topic_kind kind, kw_bytes name);

/* The next message, waited for for timeout_ms. KW_ERR_TIMEOUT, KW_ERR_CANCELLED, KW_ERR_DRAINING,
 * KW_ERR_NOMEM. Any thread. */
kw_err kw_receiver_take(kw_receiver *self, kw_message **message, kw_error *error,
                        uint64_t timeout_ms);

/* Waits until every topic is subscribed. KW_ERR_TIMEOUT with what is known of the reason,
 * KW_ERR_REFUSED where a server has refused one since refusals_n, KW_ERR_CANCELLED. Any thread. */
kw_err kw_receiver_wait(kw_receiver *self, kw_error *error, uint64_t until_ns);

/* Does what can be done without waiting, unless another thread does. Any thread. */
void kw_receiver_look(kw_receiver *self);

/* As kw_receiver_look, for who calls kw_receiver_pop from here on until there is nothing more. */
void kw_receiver_look_for_taker(kw_receiver *self);

/* The next message, if there is one: for who looks by itself. */
kw_message *kw_receiver_pop(kw_receiver *self);

/* Wakes all who wait; with is_closed they return KW_ERR_CANCELLED. Any thread. */
void kw_receiver_wake_all(kw_receiver *self);

/* When kw_receiver_look is to be called at the latest. Any thread. */
static inline uint64_t kw_receiver_due_ns(const kw_receiver *self)
{
    return atomic_load_explicit(&self->due_ns, memory_order_relaxed);
}

#endif
