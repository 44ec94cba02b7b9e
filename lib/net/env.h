/* SPDX-License-Identifier: BSD-3-Clause */
/* Env: what every part of one handle shares. */
#ifndef NET_ENV_H
#define NET_ENV_H

#include <keyway/config.h>
#include <keyway/event.h>

#include "settings/options.h"
#include "net/clock.h"
#include "net/descriptors.h"
#include "net/identity.h"
#include "net/logins.h"
#include "net/resolver.h"
#include "net/sync.h"
#include "net/tls.h"
#include "net/transport.h"

#include <stdatomic.h>

/* Figures of nodes that were freed: added to those of the others, so that a handle's counts never
 * go back. */
typedef struct kw_departed {
    atomic_uint_fast64_t connects;
    atomic_uint_fast64_t connect_failures;
    atomic_uint_fast64_t disconnects;
} kw_departed;

struct kw_node;
struct kw_conn_diary;
struct kw_event_part;
struct kw_poller_backend;

/* Written once, before the first thread uses the handle; afterwards only the atomics, the logins
 * and the list of nodes change. */
typedef struct kw_env kw_env;
struct kw_env {
    kw_allocator mem;
    kw_options options;
    kw_clock clock;
    kw_logins logins; /* of the servers */
    const kw_transport *transport;
    kw_tls_context *tls;                    /* NULL: nothing of this handle is sealed */
    const struct kw_poller_backend *poller; /* of an event loop; NULL: the system's best */
    kw_resolver *resolver;                  /* NULL: names are looked up in the caller's thread */
    kw_log_level log_level;
    kw_log_fn log; /* NULL: nowhere */
    void *log_arg;
    kw_descriptors descriptors; /* open sockets, for a forked child to close */
    atomic_bool is_closing;     /* kw_close of the last handle has begun */
    atomic_bool is_door_known; /* a server was asked, in this handle, whether it wants a password */
    atomic_bool is_suspect; /* the map is to be asked for: under Sentinel a connection was lost, or
                               a cluster's primary calls itself a replica */
    atomic_bool wants_timeout;     /* a cluster: its cluster-node-timeout is to be asked for */
    atomic_uint_fast64_t trip_ns;  /* what connects have taken lately; 0: none was made */
    atomic_uint_fast64_t seeds;    /* gives every user of random numbers its own */
    atomic_uint_fast64_t pushes_n; /* messages that servers pushed, dropped */
    atomic_uint_fast64_t ahead_n;  /* versions of copies that were not believed */
    atomic_uint_fast64_t failure_watch_ns; /* when the nodes of a ring are to be looked at next */
    atomic_uint_fast64_t keep_ns;          /* when connections are made ahead of need next */
    atomic_uint_fast64_t lag_ns;           /* when the lag of replicas is to be measured next */
    atomic_bool has_groups;                /* Sentinel groups are, or were, nodes of the ring */
    kw_event_fn event;                     /* the host's; NULL: none */
    void *event_arg;
    kw_monitor told_monitor;          /* guards the next three; may be taken under any other lock */
    struct kw_conn_diary *conn_diary; /* connections opened and lost; NULL: none yet */
    bool has_new_map;                 /* a map was published */
    kw_identity_news *identity_news;  /* servers that were replaced; NULL: none yet */
    atomic_bool has_told;
    atomic_bool has_noted;              /* connections, or a map */
    const struct kw_event_part *events; /* that notes them; NULL: the host does not listen */
    kw_departed departed;
    kw_monitor nodes_monitor; /* guards nodes; a node's own monitor may be taken behind it */
    struct kw_node *nodes;    /* all there are, those that left the map included */
};

/* True where servers are asked for the map, again and again. */
static inline bool kw_env_has_fetch(const kw_env *env)
{
    return kw_options_has_fetch(&env->options) ||
           atomic_load_explicit(&env->has_groups, memory_order_relaxed);
}

/* True where nobody is to wait any more: all handles are being closed, or the one whose flag this
 * is (NULL: of none that others share the env with). */
static inline bool kw_env_is_closing(const kw_env *env, const atomic_bool *closing)
{
    return atomic_load_explicit(&env->is_closing, memory_order_relaxed) ||
           (closing != NULL && atomic_load_explicit(closing, memory_order_relaxed));
}

static inline uint64_t kw_env_now(const kw_env *env)
{
    return kw_clock_now(&env->clock);
}

/* A connect took so long: a round trip to a server, or less. Any thread. */
void kw_env_on_trip(kw_env *env, uint64_t trip_ns);

/* How long to wait for a server: base_ns, or as long as a few round trips take where servers are
 * far away. Any thread. */
uint64_t kw_env_patience_ns(kw_env *env, uint64_t base_ns);

/* A seed that no other part got. Other handles may, that were opened at the same time: for jitter
 * alone. Any thread. */
uint64_t kw_env_seed(kw_env *env);

/* A number that no other process or handle draws, of the entropy of the system: for names. Any
 * thread. */
uint64_t kw_env_unique(kw_env *env);

/* Formats one line for the host's log. Never with keys, values or secrets. Call it
 * with no lock held. */
KW_FORMAT(3, 4)
void kw_env_log(const kw_env *env, kw_log_level level, const char *format, ...);

#endif
