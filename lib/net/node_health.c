/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known of a node beside its connections: failures, lag, latency and figures. */
#include "net/node.h"

#include "base/error.h"

/* A replica that turned a read away is left alone for so long. */
#define AVOID_NS ((uint64_t)500000000)

/* That somebody wants to know the lag, or the links, is noted at most this often. */
#define WANT_NS ((uint64_t)1000000000)

bool kw_node_is_failing(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    bool is_failing = node->health.is_failing;
    kw_monitor_unlock(&node->monitor);
    return is_failing;
}

kw_err kw_node_last_failure(kw_node *node, kw_error *error)
{
    kw_monitor_lock(&node->monitor);
    kw_err code = node->failure.code;
    kw_error_copy(error, &node->failure);
    kw_monitor_unlock(&node->monitor);
    return code;
}

void kw_node_hasten(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    node->health.retry_ns = 0;
    kw_monitor_unlock(&node->monitor);
}

void kw_node_pass_refused(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    if (node->failure.code == KW_ERR_IDENTITY || node->failure.code == KW_ERR_ROLE) {
        node->health.dial_until_ns = 0;
    }
    kw_monitor_unlock(&node->monitor);
}

void kw_node_on_login(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    bool is_refused = node->failure.code == KW_ERR_AUTH;
    if (is_refused) {
        node->health.retry_ns = 0;
        kw_monitor_wake_all(&node->monitor);
    }
    kw_monitor_unlock(&node->monitor);
    if (is_refused) {
        kw_node_well(node);
    }
}

void kw_node_avoid(kw_node *node, uint64_t now_ns)
{
    atomic_store_explicit(&node->unavailable_until_ns, now_ns + AVOID_NS, memory_order_relaxed);
}

bool kw_node_is_available(kw_node *node, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&node->unavailable_until_ns, memory_order_relaxed)) {
        return false;
    }
    kw_monitor_lock(&node->monitor);
    /* Nobody probes a server for its role: once it may be dialled again, a read does. */
    bool is_for_role = node->failure.code == KW_ERR_ROLE && now_ns >= node->health.retry_ns;
    bool is_failing = node->health.is_failing && !is_for_role;
    kw_monitor_unlock(&node->monitor);
    return !is_failing;
}

static void want(atomic_uint_fast64_t *at_ns, kw_env *env, uint64_t now_ns)
{
    uint64_t before_ns = atomic_load_explicit(at_ns, memory_order_relaxed);
    if (before_ns == 0 || now_ns > before_ns + WANT_NS) {
        atomic_store_explicit(at_ns, now_ns, memory_order_relaxed);
        atomic_store_explicit(&env->lag_ns, 0, memory_order_release);
    }
}

void kw_node_want_lag(kw_node *primary, uint64_t now_ns)
{
    want(&primary->lag.wanted_ns, primary->env, now_ns);
}

void kw_node_want_links(kw_node *primary, uint64_t now_ns)
{
    want(&primary->lag.read_ns, primary->env, now_ns);
}

bool kw_node_has(kw_node *node, uint64_t stream, uint64_t offset)
{
    /* The stream is looked at before and after the offset: then both belong together. */
    return stream != 0 && atomic_load(&node->lag.stream) == stream &&
           atomic_load(&node->lag.offset) >= offset && atomic_load(&node->lag.stream) == stream &&
           atomic_load(&node->lag.known_ns) != 0;
}

void kw_node_on_latency(kw_node *node, uint64_t latency_ns)
{
    uint64_t mean_ns = atomic_load_explicit(&node->latency_ns, memory_order_relaxed);
    mean_ns = mean_ns == 0 ? latency_ns : mean_ns - mean_ns / 8 + latency_ns / 8;
    atomic_store_explicit(&node->latency_ns, mean_ns > 0 ? mean_ns : 1, memory_order_relaxed);
}

void kw_node_count(kw_node *node, kw_node_event event)
{
    kw_monitor_lock(&node->monitor);
    switch (event) {
    case KW_NODE_MOVED:
        node->stats.moved++;
        break;
    case KW_NODE_ASK:
        node->stats.ask++;
        break;
    case KW_NODE_RETRY:
        node->stats.retries++;
        break;
    case KW_NODE_TIMEOUT:
        node->stats.timeouts++;
        break;
    case KW_NODE_ERROR:
        break;
    }
    kw_monitor_unlock(&node->monitor);
}
