/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a node: made, retired, renewed, swept, freed. */
#include "net/node_private.h"

#include "base/moment.h"
#include "base/error.h"

#include <string.h>

static void link_node(kw_node *node)
{
    kw_env *env = node->env;
    kw_monitor_lock(&env->nodes_monitor);
    node->after = env->nodes;
    if (node->after != NULL) {
        node->after->before = node;
    }
    env->nodes = node;
    kw_monitor_unlock(&env->nodes_monitor);
}

static void unlink_node(kw_node *node)
{
    kw_env *env = node->env;
    kw_monitor_lock(&env->nodes_monitor);
    if (node->before != NULL) {
        node->before->after = node->after;
    } else if (env->nodes == node) { /* else: from before a fork */
        env->nodes = node->after;
    }
    if (node->after != NULL) {
        node->after->before = node->before;
    }
    kw_monitor_unlock(&env->nodes_monitor);
}

/* As settings say it; 0: they do not. */
static uint64_t zone_of(const kw_env *env, const kw_endpoint *endpoint)
{
    for (size_t i = 0; i < env->options.zones_n; i++) {
        if (kw_endpoint_equal(&env->options.zones[i].server, endpoint)) {
            return env->options.zones[i].zone;
        }
    }
    return 0;
}

kw_node *kw_node_new(kw_env *env, const kw_endpoint *endpoint)
{
    char text[KW_ENDPOINT_TEXT];
    size_t name_size = strlen(kw_endpoint_text(text, endpoint)) + 1;
    kw_node *node = kw_mem_calloc(&env->mem, 1, sizeof(*node) + name_size);
    if (node == NULL) {
        return NULL;
    }
    if (kw_monitor_init(&node->monitor) != KW_OK) {
        kw_mem_free(&env->mem, node);
        return NULL;
    }
    kw_lane_pool pool = kw_node_lane_pool(node);
    if (kw_lane_init(&node->lane, env, &pool) != KW_OK) {
        kw_monitor_fini(&node->monitor);
        kw_mem_free(&env->mem, node);
        return NULL;
    }
    node->env = env;
    atomic_init(&node->refs, 1);
    atomic_init(&node->id, 0);
    atomic_init(&node->doubt_ns, 0);
    atomic_init(&node->role, KW_CONN_ANY);
    atomic_init(&node->generation, 0);
    atomic_init(&node->is_incompatible, false);
    atomic_init(&node->is_full, false);
    atomic_init(&node->is_crowded, env->options.share_above == 0);
    atomic_init(&node->zone, zone_of(env, endpoint));
    atomic_init(&node->unavailable_until_ns, 0);
    atomic_init(&node->readonly_ns, 0);
    atomic_init(&node->readonly_last_ns, 0);
    atomic_init(&node->readonly_renewed_ns, 0);
    atomic_init(&node->latency_ns, 0);
    atomic_init(&node->latencies, NULL);
    atomic_init(&node->lag.wanted_ns, 0);
    atomic_init(&node->lag.read_ns, 0);
    atomic_init(&node->lag.is_cut, false);
    atomic_init(&node->lag.known_ns, 0);
    atomic_init(&node->lag.behind, 0);
    atomic_init(&node->lag.stream, 0);
    atomic_init(&node->lag.offset, 0);
    node->endpoint = *endpoint;
    node->name = memcpy(node + 1, text, name_size);
    kw_health_init(&node->health);
    kw_failure_detector_init(&node->detector);
    kw_node_faults_init(&node->faults);
    atomic_init(&node->login_doubt.revision, 0);
    atomic_init(&node->login_doubt.retry_ns, 0);
    atomic_init(&node->login_doubt.refusals_n, 0);
    atomic_init(&node->login_doubt.is_news, false);
    atomic_init(&node->near_n, 0);
    kw_random_init(&node->random, kw_env_seed(env));
    node->failure.size = sizeof(node->failure);
    link_node(node);
    return node;
}

void kw_node_free(kw_node *node)
{
    unlink_node(node);
    kw_departed *departed = &node->env->departed;
    atomic_fetch_add_explicit(&departed->connects, node->stats.connects, memory_order_relaxed);
    atomic_fetch_add_explicit(&departed->connect_failures, node->stats.connect_failures,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&departed->disconnects, node->stats.disconnects,
                              memory_order_relaxed);
    kw_pool_free_list(node->idle);
    kw_probe_fini(&node->probe);
    kw_probe_fini(&node->lag.probe);
    kw_lane_fini(&node->lane);
    kw_monitor_fini(&node->monitor);
    kw_mem_free(&node->env->mem, atomic_load(&node->latencies));
    kw_mem_free(&node->env->mem, node->scripts);
    kw_mem_free(&node->env->mem, node);
}

bool kw_node_is_unasked(kw_node *node)
{
    if (!kw_endpoint_is_unknown(&node->endpoint)) {
        return false;
    }
    kw_monitor_lock(&node->monitor);
    bool is_unasked = node->failure.code == KW_OK;
    kw_monitor_unlock(&node->monitor);
    return is_unasked;
}

void kw_node_set_refusal(kw_node *node, const kw_error *failure)
{
    kw_monitor_lock(&node->monitor);
    node->failure = *failure;
    kw_monitor_unlock(&node->monitor);
}

void kw_node_retire(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    node->is_retired = true;
    kw_conn *closed = kw_pool_cut_idle(node, &node->idle);
    kw_monitor_unlock(&node->monitor);
    kw_pool_free_list(closed);
    kw_lane_retire(&node->lane, true);
}

void kw_node_unretire(kw_node *node)
{
    kw_lane_retire(&node->lane, false);
    kw_monitor_lock(&node->monitor);
    node->is_retired = false;
    kw_monitor_unlock(&node->monitor);
}

void kw_node_renew(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    atomic_fetch_add(&node->generation, 1);
    kw_conn *closed = kw_pool_cut_idle(node, &node->idle);
    kw_monitor_unlock(&node->monitor);
    kw_pool_free_list(closed);
    kw_lane_renew(&node->lane);
}

void kw_node_set_role(kw_node *node, kw_conn_role role)
{
    if (atomic_exchange(&node->role, (int)role) != (int)role) {
        kw_node_renew(node);
        kw_node_hasten(node); /* it may have been refused as what it was to be before */
    }
}

void kw_node_set_id(kw_node *node, uint64_t id)
{
    uint64_t before = atomic_exchange(&node->id, id);
    if (before != id && before != 0 && id != 0) {
        kw_node_renew(node);
        kw_node_hasten(node);
        kw_node_well(node);
    }
}

/* True where all connections are idle ones, on which a server that was asked as whoever it is has
 * proved to be the cluster's primary of that id: no other greeting would have been needed. The lock
 * is held. */
static bool has_proved_itself(kw_node *node, kw_conn_role role, uint64_t id)
{
    if (node->env->options.scheme != KW_SCHEME_CLUSTER || role != KW_CONN_PRIMARY || id == 0 ||
        atomic_load(&node->role) != KW_CONN_ANY || atomic_load(&node->id) != 0) {
        return false;
    }
    size_t n = 0;
    for (const kw_conn *conn = node->idle; conn != NULL; conn = conn->next) {
        if (conn->state != KW_CONN_READY || conn->said.id != id || conn->is_replica) {
            return false;
        }
        n++;
    }
    return n == node->conns_n;
}

void kw_node_set_member(kw_node *node, kw_conn_role role, uint64_t id)
{
    kw_monitor_lock(&node->monitor);
    bool is_proved = has_proved_itself(node, role, id);
    for (kw_conn *conn = is_proved ? node->idle : NULL; conn != NULL; conn = conn->next) {
        conn->role = role;
    }
    if (is_proved) {
        atomic_store(&node->id, id);
        atomic_store(&node->role, (int)role);
    }
    kw_monitor_unlock(&node->monitor);
    if (!is_proved) {
        kw_node_set_role(node, role);
        kw_node_set_id(node, id);
    }
}

void kw_node_set_lineage(kw_node *node, const kw_lineage *lineage)
{
    kw_monitor_lock(&node->monitor);
    node->lineage = *lineage;
    kw_monitor_unlock(&node->monitor);
}

void kw_node_learn_lineage(kw_node *node, const kw_lineage *lineage)
{
    kw_monitor_lock(&node->monitor);
    kw_lineage_learn(&node->lineage, lineage);
    kw_monitor_unlock(&node->monitor);
}

bool kw_node_is_kin(kw_node *node, const kw_lineage *lineage)
{
    kw_monitor_lock(&node->monitor);
    bool is_kin = kw_lineage_kinship(lineage, &node->lineage) == KW_KINSHIP_COMMON;
    kw_monitor_unlock(&node->monitor);
    return is_kin;
}

bool kw_node_is_current(kw_node *node, const kw_conn *conn)
{
    kw_monitor_lock(&node->monitor);
    bool result = kw_pool_is_current(node, conn);
    kw_monitor_unlock(&node->monitor);
    return result;
}

void kw_node_sweep(kw_node *node, uint64_t now_ns)
{
    kw_monitor_lock(&node->monitor);
    kw_conn *expired = kw_pool_take_expired(node, now_ns);
    kw_monitor_unlock(&node->monitor);
    kw_pool_free_list(expired);
    kw_lane_sweep(&node->lane, now_ns, node->env->options.pool_idle_ms * KW_NS_PER_MS);
}

static void wake_all(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    kw_monitor_wake_all(&node->monitor);
    kw_monitor_unlock(&node->monitor);
    kw_lane_wake_all(&node->lane);
}

void kw_nodes_wake_all(kw_env *env)
{
    kw_monitor_lock(&env->nodes_monitor);
    for (kw_node *node = env->nodes; node != NULL; node = node->after) {
        wake_all(node);
    }
    kw_monitor_unlock(&env->nodes_monitor);
}
