/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that many commands share, those of a lane and of a pipeline that lives long: from the
 * node's pool, beyond its bound, and back to it. */
#include "net/node_private.h"

#include "base/error.h"

/* While another thread dials a failing node, one that does not wait for it looks again so often: a
 * loop sleeps in its host's poll, where the end of somebody else's dial wakes nobody. */
#define DIAL_LOOK_NS ((uint64_t)5000000)

kw_err kw_node_open_shared(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                           uint64_t now_ns)
{
    kw_monitor_lock(&node->monitor);
    node->shared_n++; /* at no moment does it count against pool-max */
    kw_monitor_unlock(&node->monitor);
    kw_err code = kw_node_try_acquire(node, conn, error, now_ns, true);
    if (code == KW_OK) {
        return KW_OK;
    }
    kw_monitor_lock(&node->monitor);
    node->shared_n--;
    *retry_ns = now_ns;
    if (node->health.is_failing && node->health.retry_ns > now_ns) {
        *retry_ns = node->health.retry_ns;
    } else if (node->health.is_failing && node->health.dialling_n > 0) {
        *retry_ns = now_ns + DIAL_LOOK_NS;
    }
    kw_monitor_unlock(&node->monitor);
    return code;
}

void kw_node_release_shared(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    kw_monitor_lock(&node->monitor);
    node->shared_n--;
    kw_monitor_unlock(&node->monitor);
    if (failure != NULL && failure->code != KW_ERR_CANCELLED) {
        kw_env_log(node->env, KW_LOG_WARNING, "%s: %s", node->name, failure->text);
    }
    kw_node_release(node, conn, now_ns, failure);
}

void kw_node_park(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    kw_monitor_lock(&node->monitor);
    bool is_spare = node->conns_n > node->env->options.pool_max + node->shared_n;
    bool is_kept = !is_spare && kw_pool_is_current(node, conn);
    if (is_kept) {
        kw_pool_put_idle(node, conn, now_ns);
        if (node->waiters_n > 0) {
            kw_monitor_wake_one(&node->monitor);
        }
    }
    kw_monitor_unlock(&node->monitor);
    if (!is_kept) {
        kw_error failure = kw_error_none();
        failure.code = KW_ERR_CANCELLED;
        kw_node_release(node, conn, now_ns, &failure);
    }
}

/* Keeps a connection that is not READY yet, for whoever comes next. */
static void park_shared(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    kw_monitor_lock(&node->monitor);
    node->shared_n--;
    kw_monitor_unlock(&node->monitor);
    kw_node_park(node, conn, now_ns);
}

static void take_back(void *arg, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    if (failure == NULL || failure->code != KW_OK) {
        kw_node_release_shared(arg, conn, now_ns, failure);
    } else {
        park_shared(arg, conn, now_ns);
    }
}

static kw_err open_for_lane(void *arg, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                            uint64_t now_ns)
{
    return kw_node_open_shared(arg, conn, error, retry_ns, now_ns);
}

static void on_ready(void *arg, kw_conn *conn)
{
    kw_node_on_ready(arg, conn);
}

kw_lane_pool kw_node_lane_pool(kw_node *node)
{
    kw_lane_pool pool = {node, open_for_lane, on_ready, take_back, &node->is_crowded};
    return pool;
}
