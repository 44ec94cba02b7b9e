/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections of a node that are on their way. */
#include "net/node_private.h"

#include "base/error.h"

/* True where the settings name the server themselves: one of the URI, or a ring's member. */
static bool is_of_settings(const kw_node *node, kw_conn_role role)
{
    const kw_options *options = &node->env->options;
    if (options->scheme == KW_SCHEME_RING) {
        return role == KW_CONN_ANY || role == KW_CONN_PRIMARY || node->is_configured;
    }
    for (size_t i = 0; i < options->seeds_n; i++) {
        if (kw_endpoint_equal(&options->seeds[i], &node->endpoint)) {
            return true;
        }
    }
    return false;
}

static bool is_forbidden(const kw_node *node, kw_conn_role role)
{
    const kw_options *options = &node->env->options;
    return options->nodes_allowed_n > 0 && !is_of_settings(node, role) &&
           !kw_node_rules_allow(options->nodes_allowed, options->nodes_allowed_n, &node->endpoint);
}

/* A connection on its way; NULL when there is no memory. */
static kw_conn *dial(kw_node *node, kw_error *error, kw_conn_role role, uint64_t now_ns)
{
    unsigned generation = atomic_load(&node->generation);
    kw_dial dialled = {
        .endpoint = &node->endpoint, .role = role, .login_doubt = &node->login_doubt};
    kw_monitor_lock(&node->monitor);
    dialled.is_old = node->is_old;
    dialled.good = node->good;
    dialled.is_forbidden = is_forbidden(node, role);
    dialled.identity.id = atomic_load(&node->id);
    dialled.identity.lineage = node->lineage;
    unsigned overdue_n = node->env->options.connect_timeout_ms > 0 ? 0 : node->overdue_n;
    kw_monitor_unlock(&node->monitor);
    kw_conn *conn = kw_conn_new(node->env, error, &dialled, now_ns);
    if (conn != NULL) {
        conn->generation = generation;
        conn->overdue_n = overdue_n;
        conn->deadline_ns = conn->begun_ns + ((conn->deadline_ns - conn->begun_ns) << overdue_n);
    }
    return conn;
}

/* Leaves a connection in the pool that is not open when the caller's time is over: whoever comes
 * next goes on with it. */
static kw_err park(kw_node *node, kw_conn *conn, kw_error *error, const kw_acquire_options *options)
{
    bool is_greeting = conn->state == KW_CONN_GREETING;
    kw_err unready = conn->lookup != NULL ? KW_ERR_RESOLVE : KW_ERR_CONNECT;
    kw_monitor_lock(&node->monitor);
    kw_pool_put_idle(node, conn, options->now_ns);
    kw_monitor_unlock(&node->monitor);
    kw_err code = is_greeting ? KW_ERR_HANDSHAKE : unready;
    if (kw_env_is_closing(node->env, options->closing)) {
        kw_error_set(error, code, KW_EFFECT_NONE, "the handle was closed during the call");
    } else {
        kw_error_set(error, code, KW_EFFECT_NONE, "the deadline came %s; raise timeout",
                     kw_conn_lateness(node->env, is_greeting));
    }
    kw_error_set_node(error, node->name);
    return code;
}

kw_err kw_pool_open_conn(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                         kw_acquire_options *options)
{
    kw_error failure = kw_error_none();
    kw_conn *fresh = *conn;
    *conn = NULL;
    if (fresh == NULL) {
        fresh = dial(node, &failure, kw_pool_role_of(node), options->now_ns);
    }
    if (fresh != NULL && fresh->state != KW_CONN_DEAD) {
        fresh->closing = options->closing;
        kw_err code = kw_conn_establish(fresh, &failure, options->deadline_ns, options->is_early);
        fresh->closing = NULL;
        if (code == KW_ERR_TIMEOUT) {
            *retry_ns = options->deadline_ns;
            return park(node, fresh, error, options);
        }
    }
    bool is_good = fresh != NULL && fresh->state != KW_CONN_DEAD;
    uint64_t now_ns = kw_env_now(node->env);
    options->now_ns = now_ns;
    kw_monitor_lock(&node->monitor);
    kw_err code = KW_OK;
    if (is_good) {
        if (fresh->state == KW_CONN_READY) {
            kw_pool_end_open(node, fresh);
        }
        kw_pool_link_in_use(node, fresh);
        node->stats.sends++;
    } else {
        kw_pool_fail_open(node, now_ns, &failure, fresh);
        code = failure.code;
        *retry_ns = node->health.is_failing ? node->health.retry_ns : now_ns;
    }
    if (node->waiters_n > 0) {
        kw_monitor_wake_all(&node->monitor);
    }
    kw_monitor_unlock(&node->monitor);
    if (is_good) {
        *conn = fresh;
        return KW_OK;
    }
    kw_conn_free(fresh);
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
    kw_error_set_node(error, node->name);
    kw_env_log(node->env, KW_LOG_WARNING, "%s: %s", node->name, failure.text);
    return code;
}

/* A connection that has begun to be opened; the lock is held, and left. */
static kw_err open_unready(kw_node *node, kw_conn **conn, kw_error *error, kw_conn_role role,
                           uint64_t now_ns)
{
    kw_pool_begin_open(node, now_ns);
    kw_monitor_unlock(&node->monitor);
    kw_error failure = kw_error_none();
    kw_conn *fresh = dial(node, &failure, role, now_ns);
    if (fresh != NULL && fresh->state != KW_CONN_DEAD) {
        *conn = fresh;
        return KW_OK;
    }
    kw_monitor_lock(&node->monitor);
    kw_pool_fail_open(node, now_ns, &failure, fresh);
    kw_monitor_unlock(&node->monitor);
    kw_conn_free(fresh);
    kw_error_set(error, failure.code, KW_EFFECT_NONE, "%s", failure.text);
    kw_error_set_node(error, node->name);
    return failure.code;
}

/* What a caller that does not wait wants. */
typedef struct attempt {
    uint64_t now_ns;
    kw_conn_role role;
    bool is_spare; /* also beyond pool-max */
} attempt;

static kw_err try_acquire(kw_node *node, kw_conn **conn, kw_error *error, const attempt *options)
{
    kw_monitor_lock(&node->monitor);
    kw_err unknown = kw_pool_check_known(node, error);
    if (unknown != KW_OK) {
        kw_monitor_unlock(&node->monitor);
        return unknown;
    }
    kw_conn *fresh =
        options->role == kw_pool_role_of(node) ? kw_pool_take_idle(node, options->now_ns) : NULL;
    if (fresh != NULL) {
        kw_monitor_unlock(&node->monitor);
        *conn = fresh;
        return KW_OK;
    }
    if (!kw_pool_may_open(node, options->now_ns, options->is_spare)) {
        kw_err code =
            node->health.is_failing ? kw_pool_copy_failure(node, error) : KW_ERR_POOL_FULL;
        kw_monitor_unlock(&node->monitor);
        if (code == KW_ERR_POOL_FULL) {
            kw_error_set(error, code, KW_EFFECT_NONE, "all connections are busy");
        }
        return code;
    }
    return open_unready(node, conn, error, options->role, options->now_ns);
}

kw_err kw_node_try_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                           bool is_spare)
{
    attempt options = {now_ns, kw_pool_role_of(node), is_spare};
    return try_acquire(node, conn, error, &options);
}

kw_err kw_node_try_acquire_as(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                              kw_conn_role role)
{
    attempt options = {now_ns, role, true};
    return try_acquire(node, conn, error, &options);
}

/* The idle connection that was used longest ago, in use now, where that was before rested_ns; NULL:
 * there is none. The lock is held. */
static kw_conn *take_rested(kw_node *node, uint64_t rested_ns)
{
    kw_conn **link = &node->idle;
    while (*link != NULL && (*link)->next != NULL) {
        link = &(*link)->next;
    }
    kw_conn *conn = *link;
    if (conn == NULL || conn->state != KW_CONN_READY || conn->idle_since_ns >= rested_ns) {
        return NULL;
    }
    *link = NULL;
    kw_pool_link_in_use(node, conn);
    return conn;
}

kw_conn *kw_node_take_to_keep(kw_node *node, size_t min_n, uint64_t now_ns, uint64_t rested_ns)
{
    kw_monitor_lock(&node->monitor);
    size_t n = node->conns_n > node->shared_n ? node->conns_n - node->shared_n : 0;
    bool is_known = kw_pool_check_known(node, NULL) == KW_OK && !node->is_retired;
    kw_conn *conn = is_known && n <= min_n ? take_rested(node, rested_ns) : NULL;
    bool is_short = conn == NULL && is_known && n < min_n && kw_pool_may_open(node, now_ns, false);
    if (!is_short) {
        kw_monitor_unlock(&node->monitor);
        return conn;
    }
    (void)open_unready(node, &conn, NULL, kw_pool_role_of(node), now_ns);
    return conn;
}
