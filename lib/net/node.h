/* SPDX-License-Identifier: BSD-3-Clause */
/* Node: one server, its pool of connections, its health and its figures. */
#ifndef NET_NODE_H
#define NET_NODE_H

#include <keyway/stats.h>

#include "engine/health.h"
#include "engine/lag.h"
#include "engine/script.h"
#include "net/conn.h"
#include "net/node_faults.h"
#include "net/probe.h"
#include "net/lane.h"
#include "net/sync.h"

#include <stdatomic.h>
#include <string.h>

/* How far the node is in its primary's replication stream, or a primary in its own. Any thread
 * reads the atomics; the rest belongs to the one thread that measures. */
typedef struct kw_node_lag {
    atomic_uint_fast64_t wanted_ns; /* of a primary: when a replica that is near enough was looked
                                       for last; 0: never */
    atomic_uint_fast64_t read_ns;   /* of a primary: when any replica was; 0: never */
    atomic_bool is_cut;             /* of a replica: it has lost its primary, by its own word */
    atomic_bool is_refused;         /* the user has not the right to ask it */
    atomic_uint_fast64_t known_ns;  /* of a replica: kw_lag_known_ns */
    atomic_uint_fast64_t behind;    /* bytes of the stream */
    atomic_uint_fast64_t stream;    /* of a replica: kw_replid_hash; 0: not known */
    atomic_uint_fast64_t offset;    /* of that stream, once it was asked last */
    kw_probe probe;
    uint64_t due_ns; /* when it is asked next */
    kw_replication said;
    kw_lag_history history; /* of a primary */
} kw_node_lag;

struct kw_latencies;

/* What a connect is given is doubled so often at most. */
#define KW_NODE_OVERDUE_MAX 4u

/* Shared by threads and reference counted. */
typedef struct kw_node kw_node;
struct kw_node {
    kw_env *env;
    kw_node *after; /* in env->nodes */
    kw_node *before;
    atomic_size_t refs;
    kw_endpoint endpoint;
    const char *name;   /* "host:port", in one block with the node */
    atomic_uint near_n; /* calls under way that chose it for their key's sake, and
                           might have chosen another */
    kw_node_faults faults;
    kw_login_doubt login_doubt;
    kw_failure_detector detector; /* this and the next three: used only by the thread that watches
                                   over nodes just now */
    uint64_t role_ns;             /* when ROLE is asked next */
    kw_probe probe;               /* a question under way */
    bool takes_connects;          /* a probe was connected, whether answered or not */
    atomic_uint_fast64_t id;      /* who is to answer there (kw_identity); 0: not known */
    atomic_int role;              /* kw_conn_role of the connections that are opened */
    atomic_uint_fast64_t zone;    /* kw_zone_hash; 0: not known */
    atomic_uint_fast64_t unavailable_until_ns; /* of a replica: not to be read from before this */
    atomic_uint_fast64_t readonly_ns;          /* its first READONLY of a run; 0: none yet .. */
    atomic_uint_fast64_t readonly_last_ns;     /* .. and the last one .. */
    atomic_uint_fast64_t readonly_renewed_ns; /* .. and when its connections were given up for it */
    atomic_uint_fast64_t latency_ns;          /* of calls, a moving mean; 0: not measured */
    kw_node_lag lag;
    _Atomic(struct kw_latencies *) latencies; /* NULL: never measured */
    atomic_uint_fast64_t doubt_ns; /* connections that nobody has used since then may be dead */
    atomic_uint generation;        /* connections of an earlier one are not used again */
    kw_lane lane;       /* has a monitor of its own, never taken inside the node's or around it */
    kw_monitor monitor; /* guards all below */
    kw_conn *idle;      /* the last one released comes first */
    kw_conn *in_use;    /* ready, in the hands of a call */
    size_t conns_n;     /* idle, in use and being opened; the lane's is one of them */
    size_t shared_n;    /* of the lane, and of pipelines that live long: beyond pool-max */
    size_t in_use_n;    /* the lane's is one of them */
    unsigned crowding;  /* grows when too many callers meet, shrinks when few do */
    atomic_bool is_crowded;      /* callers share the lane */
    atomic_bool is_full;         /* it has refused a connection, having as many as it takes */
    atomic_bool is_incompatible; /* its last greeting was refused for good: database, certificate */
    size_t waiters_n;
    bool is_retired; /* left the map: no connection is kept */
    kw_health health;
    kw_random random;
    unsigned overdue_n; /* connects in a row that were not answered in time: the next has more */
    kw_error failure;   /* of the last connect that failed */
    bool is_old;        /* it hung up at HELLO, and the next greeting is to do without */
    kw_address good;    /* that took the last connect; len is 0: none yet */
    kw_lineage lineage; /* of the data that is there */
    bool is_configured; /* a sentinel that the settings name; written before it is shared */
    kw_script_memory *scripts; /* which it has; NULL: none was brought yet */
    kw_node_stats stats;
};

/* A run of a script whose bytes are chosen by what is known of the node that it leaves for. NULL
 * when there is no memory. */
kw_script_run_state *kw_node_new_script_run(const kw_allocator *mem, const kw_script *script);

/* The like in memory of its owner (kw_script_run_state_init). */
void kw_node_init_script_run(kw_script_run_state *run, const kw_allocator *mem,
                             const kw_script *script);

/* NULL when there is no memory. */
kw_node *kw_node_new(kw_env *env, const kw_endpoint *endpoint);

static inline kw_node *kw_node_ref(kw_node *node)
{
    atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
    return node;
}

/* For kw_node_unref alone: the last reference is gone. */
void kw_node_free(kw_node *node);

static inline void kw_node_unref(kw_node *node)
{
    if (node != NULL && atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
        kw_node_free(node);
    }
}

/* What kw_node_acquire is told. */
typedef struct kw_acquire_options {
    uint64_t now_ns;      /* kept up: where a connection was waited for, it is later afterwards */
    uint64_t deadline_ns; /* the connection is there by then, or not at all */
    bool is_early;        /* the request may go out together with the greeting */
    bool may_share;       /* it may as well go on the lane */
    const atomic_bool *closing; /* kw_env_is_closing */
} kw_acquire_options;

/* A connection for the caller alone, READY, or one that takes requests where the options
 * is early (then kw_node_on_ready follows as soon as it was_ready). KW_ERR_BUSY, without a
 * text, where it may share and the node has become crowded. On other failure
 * *retry_ns says before when it is no use to come again. */
kw_err kw_node_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                       kw_acquire_options *options);

/* An idle connection, or one that has begun to connect (kw_conn_progress takes it
 * on); never waits. is_spare: also beyond pool-max. */
kw_err kw_node_try_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                           bool is_spare);

/* A connection for a probe, of a node that is to have min_n at least: one that has begun to
 * connect, where it has fewer, or one that has rested since before rested_ns, where it has no more;
 * NULL where there is nothing to do. Never waits. */
kw_conn *kw_node_take_to_keep(kw_node *node, size_t min_n, uint64_t now_ns, uint64_t rested_ns);

/* As kw_node_try_acquire, beyond pool-max, of a server that is to have that role whatever the
 * node's is. A connection of another role than the node's is not kept when it comes back. */
kw_err kw_node_try_acquire_as(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                              kw_conn_role role);

/* As kw_node_try_acquire, for a connection that many commands share: it is beyond pool-max, which
 * it leaves to others. On failure *retry_ns says before when it is no use to come again. */
kw_err kw_node_open_shared(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                           uint64_t now_ns);

/* As kw_node_release, of such a one. */
void kw_node_release_shared(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure);

/* The connection that was acquired before its greeting was answered became READY. */
void kw_node_on_ready(kw_node *node, kw_conn *conn);

/* Gives a connection back; one that is not READY, or still owes a reply, is closed.
 * failure: why a connection never became READY, else NULL. */
void kw_node_release(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure);

/* Leaves a connection that is on its way to the node: whoever comes next goes on with it. */
void kw_node_park(kw_node *node, kw_conn *conn, uint64_t now_ns);

/* The node left the map: idle connections are closed, others when they come back. */
void kw_node_retire(kw_node *node);
void kw_node_unretire(kw_node *node);

/* Why the last connect failed; KW_OK where none did. error may be NULL. */
kw_err kw_node_last_failure(kw_node *node, kw_error *error);
/* True where it has left the map. */
bool kw_node_is_retired(kw_node *node);

/* What the node is to be from now on. Where it was something else, connections are closed as
 * those of a retired node are, and new ones opened. */
void kw_node_set_role(kw_node *node, kw_conn_role role);

/* Who is to answer at the node's address from now on: the id of a cluster's node, or of a sentinel;
 * 0: it is not known. Where it was somebody else, connections are closed as for another role. */
void kw_node_set_id(kw_node *node, uint64_t id);

/* Both, of a member of the map. Connections stay where they are those of a server whose role was
 * not known, and which has proved to be this member: the questions for the map came that way. */
void kw_node_set_member(kw_node *node, kw_conn_role role, uint64_t id);

/* By what the data there is known. */
void kw_node_set_lineage(kw_node *node, const kw_lineage *lineage);
void kw_node_learn_lineage(kw_node *node, const kw_lineage *lineage);
bool kw_node_is_kin(kw_node *node, const kw_lineage *lineage); /* known, and of the same data */

/* A connection is silent, or was lost, on which a command was sent after a long rest: a firewall
 * has forgotten it, perhaps. Its equals, which have rested for as long, are not used again. No lock
 * is held. */
void kw_node_doubt(kw_node *node, const kw_conn *conn, uint64_t now_ns);

/* True where a connection that was used last at heard_ns is one of those. */
static inline bool kw_node_is_doubted(const kw_node *node, uint64_t heard_ns)
{
    return heard_ns <= atomic_load_explicit(&node->doubt_ns, memory_order_relaxed);
}

/* A server that is to be a primary has answered READONLY, or REDIRECT: its connections are given
 * up, so that the next one finds who is there now; not by each such answer, as who goes on
 * answering so would be dialled for each command. True while it is worth to ask again, where nobody
 * replaces it: for a second. Any thread. */
bool kw_node_on_readonly(kw_node *node, uint64_t now_ns);

/* True where it is, or is to be, in a Sentinel group that is a ring's node. */
static inline bool kw_node_is_of_group(const kw_node *node)
{
    int role = atomic_load_explicit(&node->role, memory_order_relaxed);
    return role == KW_CONN_GROUP_PRIMARY || role == KW_CONN_GROUP_REPLICA;
}

/* True for a node whose address is not known yet, and nobody has asked for it (a Sentinel group
 * before its first fetch). */
bool kw_node_is_unasked(kw_node *node);

/* Sets the error that kw_node_acquire gives from now on for a node whose address is not known. */
void kw_node_set_refusal(kw_node *node, const kw_error *failure);

/* What the open connections stand for is in doubt: they are closed, and new ones opened, as for
 * another role. */
void kw_node_renew(kw_node *node);

/* True where what the connection stands for was not put in doubt since it was opened. Any thread.
 */
static inline bool kw_node_is_of_generation(kw_node *node, const kw_conn *conn)
{
    return conn->generation == atomic_load_explicit(&node->generation, memory_order_relaxed);
}

/* True where nothing has put the connection in doubt since it was opened, and the node is in
 * the map. */
bool kw_node_is_current(kw_node *node, const kw_conn *conn);

/* Closes what has been idle for too long. */
void kw_node_sweep(kw_node *node, uint64_t now_ns);

/* True where the last connect failed. */
bool kw_node_is_failing(kw_node *node);

/* True where its last greeting was refused for good. */
static inline bool kw_node_is_full(const kw_node *node)
{
    return atomic_load_explicit(&node->is_full, memory_order_relaxed);
}

static inline bool kw_node_is_incompatible(const kw_node *node)
{
    return atomic_load_explicit(&node->is_incompatible, memory_order_relaxed);
}

/* A call to the node failed in a way that is its fault; or it has answered. Any thread. */
static inline void kw_node_fault(kw_node *node, uint64_t now_ns, kw_fault_kind kind)
{
    kw_node_faults_add(&node->faults, node->env, now_ns, kind);
}
static inline void kw_node_well(kw_node *node)
{
    if (atomic_load_explicit(&node->faults.n, memory_order_relaxed) != 0) {
        kw_node_faults_clear(&node->faults, node->env);
    }
}

/* A greeting was answered: so is whatever was awaited, but for a server that answers greetings
 * and hangs up on commands. */
static inline void kw_node_on_greeted(kw_node *node)
{
    int kind = atomic_load_explicit(&node->faults.kind, memory_order_relaxed);
    if (kind != (int)KW_FAULT_LOST && !kw_options_moves_keys(&node->env->options)) {
        kw_node_well(node);
    }
}

/* The next connect need not wait for the end of the pause that the last one began. */
void kw_node_hasten(kw_node *node);

/* Where the last connect was refused as another server's, or for its role, the next one does not
 * wait for the end of those under way: they are refused too, and it may ask whoever answers. Any
 * thread. */
void kw_node_pass_refused(kw_node *node);

/* Before when it is no use to try to connect; 0: it is. */
uint64_t kw_node_retry_ns(kw_node *node, uint64_t now_ns);

/* The login has changed: a greeting that was refused is tried again at once. */
void kw_node_on_login(kw_node *node);

/* Its name, cut to out_len with a zero byte; out_len > 0. */
static inline void kw_node_write_name(char *out, size_t out_len, const kw_node *node)
{
    size_t len = strlen(node->name);
    len = len < out_len ? len : out_len - 1;
    memcpy(out, node->name, len);
    out[len] = '\0';
}

/* A replica turned a read away, or cannot be told to be one: reads go elsewhere for a while. */
void kw_node_avoid(kw_node *node, uint64_t now_ns);

/* True where reads may go there, as far as is known. */
bool kw_node_is_available(kw_node *node, uint64_t now_ns);

/* Asks for the lag of the primary's replicas to be measured from now on, for some seconds. */
void kw_node_want_lag(kw_node *primary, uint64_t now_ns);

/* Asks for the links of the primary's replicas to it to be looked at from now on, for some seconds.
 */
void kw_node_want_links(kw_node *primary, uint64_t now_ns);

/* True where the replica is known to have the stream of that name up to offset. */
bool kw_node_has(kw_node *node, uint64_t stream, uint64_t offset);

/* A call was answered after so long. */
void kw_node_on_latency(kw_node *node, uint64_t latency_ns);

/* Adds to the node's figures under its lock. */
typedef enum kw_node_event {
    KW_NODE_MOVED,
    KW_NODE_ASK,
    KW_NODE_RETRY,
    KW_NODE_TIMEOUT,
    KW_NODE_ERROR
} kw_node_event;
void kw_node_count(kw_node *node, kw_node_event event);

typedef enum kw_probe_result {
    KW_PROBE_UNDER_WAY,
    KW_PROBE_ANSWERED,
    KW_PROBE_LOADING, /* answered, by a server that reads its data yet */
    KW_PROBE_SILENT,  /* or refused, or lost */
    KW_PROBE_LATER    /* the node may not be dialled yet: not before its retry_ns */
} kw_probe_result;

/* Begins the node's probe (node->probe, node->lag.probe), or goes on with it, as far as it can
 * without waiting. One thread at a time. */
kw_probe_result kw_node_probe(kw_node *node, kw_probe *probe, uint64_t now_ns);

/* Wakes everybody who waits for a place at a node, or at its lane. Who waits on a connection of his
 * own looks up by himself, after a slice: a socket that is still being opened may be closed, and
 * its number somebody else's. */
void kw_nodes_wake_all(kw_env *env);

#endif
