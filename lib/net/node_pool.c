/* SPDX-License-Identifier: BSD-3-Clause */
/* A node's pool: connections that are idle or in use, and the wait for one. */
#include "net/node_private.h"

#include "base/error.h"

/* While one thread dials a failing node, the others wait for it this long before
 * they look elsewhere. */
#define PROBE_WAIT_NS ((uint64_t)50000000)

/* How a node becomes crowded: crowding grows by a step each time that too many callers meet,
 * shrinks by one each time that they do not, and at the maximum they share the lane. */
#define CROWDING_STEP 8u
#define CROWDING_MAX  32u

void kw_pool_free_list(kw_conn *list)
{
    while (list != NULL) {
        kw_conn *next = list->next;
        kw_conn_free(list);
        list = next;
    }
}

void kw_pool_link_in_use(kw_node *node, kw_conn *conn)
{
    conn->previous = NULL;
    conn->next = node->in_use;
    if (node->in_use != NULL) {
        node->in_use->previous = conn;
    }
    node->in_use = conn;
    node->in_use_n++;
}

static void unlink_in_use(kw_node *node, kw_conn *conn)
{
    if (conn->previous != NULL) {
        conn->previous->next = conn->next;
    } else if (node->in_use == conn) {
        node->in_use = conn->next;
    } else {
        return; /* never became ready */
    }
    if (conn->next != NULL) {
        conn->next->previous = conn->previous;
    }
    conn->previous = NULL;
    conn->next = NULL;
    node->in_use_n--;
}

/* One connection of the node less; the lock is held. */
static void count_out(kw_node *node, const kw_conn *conn)
{
    node->conns_n--;
    if (conn->state != KW_CONN_READY && conn->state != KW_CONN_DEAD) {
        kw_health_on_abandoned(&node->health); /* parked while it was being opened */
    }
}

/* Cuts the idle list off at *link; the lock is held. The caller frees what it gets. */
kw_conn *kw_pool_cut_idle(kw_node *node, kw_conn **link)
{
    kw_conn *cut = *link;
    *link = NULL;
    for (const kw_conn *conn = cut; conn != NULL; conn = conn->next) {
        count_out(node, conn);
    }
    return cut;
}

/* What has been idle for too long; the oldest are last. */
kw_conn *kw_pool_take_expired(kw_node *node, uint64_t now_ns)
{
    uint64_t idle_ns = node->env->options.pool_idle_ms * (uint64_t)1000000;
    kw_conn **link = &node->idle;
    /* Another thread's release may be later than this one's now. */
    while (*link != NULL && now_ns <= (*link)->idle_since_ns + idle_ns) {
        link = &(*link)->next;
    }
    return kw_pool_cut_idle(node, link);
}

void kw_pool_put_idle(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    conn->idle_since_ns = now_ns;
    conn->is_internal = false;
    conn->next = node->idle;
    node->idle = conn;
}

/* A connection was lost: another process may answer there now. Under Sentinel the map is asked for
 * again ("Re-resolve at every reconnect", Guidelines for Redis clients with support for
 * Sentinel). */
static void suspect(kw_node *node)
{
    atomic_store_explicit(&node->lag.known_ns, 0, memory_order_relaxed);
    bool is_watched = node->env->options.scheme == KW_SCHEME_SENTINEL || kw_node_is_of_group(node);
    if (is_watched && atomic_load(&node->role) != KW_CONN_SENTINEL) {
        atomic_store_explicit(&node->env->is_suspect, true, memory_order_relaxed);
    }
}

/* The newest idle connection that is still good, in use now unless it is yet to be
 * established; NULL when there is none. The lock is held, and left while a connection
 * is looked at. */
kw_conn *kw_pool_take_idle(kw_node *node, uint64_t now_ns)
{
    while (node->idle != NULL) {
        kw_conn *conn = node->idle;
        node->idle = conn->next;
        conn->next = NULL;
        if (conn->state != KW_CONN_READY) {
            return conn;
        }
        kw_pool_link_in_use(node, conn);
        if (kw_conn_is_fresh(conn, now_ns)) {
            return conn;
        }
        kw_monitor_unlock(&node->monitor);
        bool is_quiet = kw_conn_is_quiet(conn);
        kw_monitor_lock(&node->monitor);
        if (is_quiet) {
            return conn;
        }
        unlink_in_use(node, conn);
        node->conns_n--;
        node->stats.disconnects++;
        suspect(node);
        kw_monitor_unlock(&node->monitor);
        kw_conn_free(conn);
        kw_monitor_lock(&node->monitor);
    }
    return NULL;
}

bool kw_pool_may_open(const kw_node *node, uint64_t now_ns, bool is_spare)
{
    return (is_spare || node->conns_n < node->env->options.pool_max + node->shared_n) &&
           kw_health_may_dial(&node->health, now_ns);
}

/* The lock is held. */
bool kw_pool_is_current(const kw_node *node, const kw_conn *conn)
{
    return !node->is_retired && conn->generation == atomic_load(&node->generation) &&
           (int)conn->role == atomic_load(&node->role);
}

/* Waits for a connection to come back, or for the time to dial; the monitor is held. KW_OK: it has
 * waited, look again. */
static kw_err wait_for_conn(kw_node *node, kw_error *error, uint64_t *retry_ns, uint64_t now_ns,
                            uint64_t deadline_ns, uint64_t probe_ns)
{
    bool is_failing = node->health.is_failing;
    bool is_dialled = node->health.dialling_n > 0;
    /* At maxclients a server refuses new connections and still serves those that are open. */
    bool is_served = node->conns_n > node->health.dialling_n;
    /* Where no connection could be opened, the failure of the last dial says more at the deadline
     * than that the pool was full. */
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
    uint64_t until_ns = is_failing && probe_ns < deadline_ns ? probe_ns : deadline_ns;
    if (is_failing && !is_dialled && node->health.retry_ns > now_ns &&
        node->health.retry_ns < until_ns) {
        until_ns = node->health.retry_ns; /* then this call may dial */
    }
    node->waiters_n++;
    kw_monitor_wait(&node->monitor, until_ns - now_ns);
    node->waiters_n--;
    return KW_OK;
}

static kw_err cancelled(kw_error *error)
{
    return kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                        "the handle was closed during the call");
}

/* True where so many have a connection each that one more shares, or would have to wait. The
 * lock is held. */
static bool becomes_crowded(kw_node *node)
{
    const kw_options *options = &node->env->options;
    size_t callers_n = node->in_use_n + node->health.dialling_n;
    bool is_full = node->idle == NULL && node->conns_n >= options->pool_max + node->shared_n;
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

kw_err kw_node_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                       const kw_acquire_options *options)
{
    uint64_t now_ns = options->now_ns;
    uint64_t probe_ns = now_ns + PROBE_WAIT_NS;
    kw_monitor_lock(&node->monitor);
    for (;;) {
        if (atomic_load_explicit(&node->env->is_closing, memory_order_relaxed)) {
            kw_monitor_unlock(&node->monitor);
            return cancelled(error);
        }
        kw_err unknown = kw_pool_check_known(node, error);
        if (unknown != KW_OK) {
            kw_monitor_unlock(&node->monitor);
            return unknown;
        }
        if (options->may_share && becomes_crowded(node)) {
            kw_monitor_unlock(&node->monitor);
            return KW_ERR_BUSY;
        }
        *conn = kw_pool_take_idle(node, now_ns);
        if (*conn != NULL && (*conn)->state == KW_CONN_READY) {
            node->stats.sends++;
            kw_monitor_unlock(&node->monitor);
            return KW_OK;
        }
        if (*conn != NULL || kw_pool_may_open(node, now_ns, false)) {
            if (*conn == NULL) {
                kw_pool_begin_open(node);
            }
            kw_monitor_unlock(&node->monitor);
            return kw_pool_open_conn(node, conn, error, retry_ns, options);
        }
        kw_err code = wait_for_conn(node, error, retry_ns, now_ns, options->deadline_ns, probe_ns);
        if (code != KW_OK) {
            kw_monitor_unlock(&node->monitor);
            return code;
        }
        now_ns = kw_env_now(node->env);
    }
}

void kw_node_on_ready(kw_node *node, kw_conn *conn)
{
    kw_monitor_lock(&node->monitor);
    kw_pool_end_open(node, conn);
    if (conn->previous == NULL && node->in_use != conn) {
        kw_pool_link_in_use(node, conn);
    }
    if (node->waiters_n > 0) {
        kw_monitor_wake_all(&node->monitor); /* more connects are allowed now */
    }
    kw_monitor_unlock(&node->monitor);
}

void kw_node_release(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    bool is_good = kw_conn_is_settled(conn);
    kw_monitor_lock(&node->monitor);
    bool is_spare = node->conns_n > node->env->options.pool_max + node->shared_n;
    kw_conn *closed = kw_pool_take_expired(node, now_ns);
    unlink_in_use(node, conn);
    if (failure != NULL) {
        kw_pool_fail_open(node, now_ns, failure);
    } else {
        if (is_good && !is_spare && kw_pool_is_current(node, conn)) {
            kw_pool_put_idle(node, conn, now_ns);
            conn = NULL;
        } else {
            node->conns_n--;
            node->stats.disconnects += is_good ? 0 : 1;
            if (!is_good) {
                suspect(node);
            }
        }
    }
    if (node->waiters_n > 0) {
        kw_monitor_wake_one(&node->monitor);
    }
    kw_monitor_unlock(&node->monitor);
    kw_conn_free(conn);
    kw_pool_free_list(closed);
}
