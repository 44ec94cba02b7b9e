/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection for a caller that waits: an idle one, a new one, or one that is given back. */
#include "net/node_private.h"

#include "base/moment.h"
#include "base/apart.h"
#include "base/error.h"

/* While one thread dials a failing node, the others wait for it this long before
 * they look elsewhere. */
#define PROBE_WAIT_NS ((uint64_t)50000000)

/* A node is crowded once so many callers meet there more often than one time in four: each such
 * meeting counts CROWDING_STEP, each other one takes one away. */
#define CROWDING_STEP 8u
#define CROWDING_MAX  32u

/* Waits for a connection to come back, or for the time to dial; the monitor is held. KW_OK: it has
 * waited, look again. */
static kw_err wait_for_conn(kw_node *node, kw_error *error, uint64_t *retry_ns,
                            const kw_acquire_options *options, uint64_t begin_ns)
{
    uint64_t now_ns = options->now_ns;
    uint64_t deadline_ns = options->deadline_ns;
    uint64_t probe_ns = begin_ns + PROBE_WAIT_NS;
    bool is_failing = node->health.is_failing;
    bool is_dialled = node->health.dialling_n > 0;
    /* At maxclients a server still serves the connections that are open. */
    bool is_served = node->conns_n > node->health.dialling_n;
    /* Where no connect succeeds, a caller whose time is over is told that, not that the pool is
     * full. */
    bool is_over = now_ns >= probe_ns || now_ns >= deadline_ns;
    if (is_failing && (is_over || (!is_dialled && !is_served))) {
        bool is_later = node->health.retry_ns > now_ns && !is_served;
        *retry_ns = is_later ? node->health.retry_ns : now_ns;
        return kw_pool_copy_failure(node, error);
    }
    if (now_ns >= deadline_ns) {
        *retry_ns = now_ns;
        kw_error_set(error, KW_ERR_POOL_FULL, KW_EFFECT_NONE,
                     "all %zu connections stayed busy (pool-max=%llu); raise pool-max or timeout",
                     node->conns_n, (unsigned long long)node->env->options.pool_max);
        kw_error_set_node(error, node->name);
        return KW_ERR_POOL_FULL;
    }
    uint64_t until_ns = is_failing ? kw_sooner(probe_ns, deadline_ns) : deadline_ns;
    if (is_failing && !is_dialled && node->health.retry_ns > now_ns &&
        node->health.retry_ns < until_ns) {
        until_ns = node->health.retry_ns; /* then this call may dial */
    }
    bool is_limited = !is_failing && node->health.dialling_n >= KW_HEALTH_DIALS_MAX;
    if (is_limited && node->health.dial_until_ns > now_ns) {
        until_ns = kw_sooner(node->health.dial_until_ns, until_ns); /* then these were left alone */
    }
    node->waiters_n++;
    kw_monitor_wait(&node->monitor, until_ns - now_ns);
    node->waiters_n--;
    return KW_OK;
}

/* True where so many have a connection each that one more shares, or would have to wait. The
 * lock is held. */
static bool becomes_crowded(kw_node *node)
{
    const kw_options *options = &node->env->options;
    size_t callers_n = node->in_use_n + node->health.dialling_n;
    /* A server that takes no more connections still serves the lane's. */
    bool is_refused = node->health.is_failing && node->shared_n > 0;
    bool is_full =
        node->idle == NULL && (is_refused || node->conns_n >= options->pool_max + node->shared_n);
    if (callers_n < options->share_above + node->shared_n && !is_full) {
        node->crowding -= node->crowding > 0 ? 1 : 0;
        return false;
    }
    node->crowding += CROWDING_STEP;
    if (node->crowding < CROWDING_MAX && !is_full) {
        return false; /* callers met, but not often enough */
    }
    node->crowding = 0;
    atomic_store_explicit(&node->is_crowded, true, memory_order_relaxed);
    return true;
}

/* Why there is nothing to be had: the handle is being closed, or nobody knows where the node is. */
KW_APART static kw_err refuse(const kw_node *node, kw_error *error, bool is_closing)
{
    return is_closing ? kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                                     "the handle was closed during the call")
                      : kw_pool_refuse_unknown(node, error);
}

/* An idle connection, or none yet: *conn is NULL, or not READY. The lock is held. */
static inline kw_err look(kw_node *node, kw_conn **conn, kw_error *error,
                          const kw_acquire_options *options)
{
    bool is_closing = kw_env_is_closing(node->env, options->closing);
    if (is_closing || kw_endpoint_is_unknown(&node->endpoint)) {
        return refuse(node, error, is_closing);
    }
    if (options->may_share && becomes_crowded(node)) {
        return KW_ERR_BUSY;
    }
    *conn = kw_pool_take_idle(node, options->now_ns);
    return KW_OK;
}

static inline bool is_ready(const kw_conn *conn)
{
    return conn != NULL && conn->state == KW_CONN_READY;
}

/* With a connection that is READY, or with why there is none. */
static inline kw_err leave(kw_node *node, kw_err code)
{
    node->stats.sends += code == KW_OK ? 1 : 0;
    kw_monitor_unlock(&node->monitor);
    return code;
}

/* Waits until there is a connection, or a place for one; the monitor is held, and left. */
KW_APART static kw_err acquire_later(kw_node *node, kw_conn **conn, kw_error *error,
                                     uint64_t *retry_ns, kw_acquire_options *options)
{
    uint64_t begin_ns = options->now_ns;
    kw_err code = KW_OK;
    while (*conn == NULL && !kw_pool_may_open(node, options->now_ns, false)) {
        code = wait_for_conn(node, error, retry_ns, options, begin_ns);
        if (code != KW_OK) {
            return leave(node, code);
        }
        options->now_ns = kw_env_now(node->env);
        code = look(node, conn, error, options);
        if (code != KW_OK || is_ready(*conn)) {
            return leave(node, code);
        }
    }
    if (*conn == NULL) {
        kw_pool_begin_open(node, options->now_ns);
    }
    kw_monitor_unlock(&node->monitor);
    return kw_pool_open_conn(node, conn, error, retry_ns, options);
}

kw_err kw_node_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                       kw_acquire_options *options)
{
    kw_monitor_lock(&node->monitor);
    kw_err code = look(node, conn, error, options);
    if (code == KW_OK && !is_ready(*conn)) {
        return acquire_later(node, conn, error, retry_ns, options);
    }
    return leave(node, code);
}
