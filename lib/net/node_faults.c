/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts the failures of a server, and admits calls to one that is down. */
#include "net/node_faults.h"

static void set(atomic_uint_fast64_t *place, uint64_t value)
{
    atomic_store_explicit(place, value, memory_order_relaxed);
}

static uint64_t get(atomic_uint_fast64_t *place)
{
    return atomic_load_explicit(place, memory_order_relaxed);
}

void kw_node_faults_init(kw_node_faults *faults)
{
    atomic_init(&faults->n, 0);
    atomic_init(&faults->since_ns, 0);
    atomic_init(&faults->last_ns, 0);
    atomic_init(&faults->kind, KW_FAULT_LATE);
    atomic_init(&faults->is_proven, false);
    atomic_init(&faults->is_probed, false);
    atomic_init(&faults->probe_ns, 0);
    atomic_init(&faults->is_down, false);
    atomic_init(&faults->down_since_ns, 0);
    atomic_init(&faults->down_total_ns, 0);
    atomic_init(&faults->due_ns, 0);
    atomic_init(&faults->hopeless_ns, 0);
    atomic_init(&faults->sign_ns, 0);
}

void kw_node_faults_add(kw_node_faults *faults, kw_env *env, uint64_t now_ns, kw_fault_kind kind)
{
    uint64_t wait_ns = env->options.timeout_ms * KW_NS_PER_MS;
    if (kw_failure_detector_is_apart(now_ns, get(&faults->last_ns), wait_ns, kind) &&
        !kw_node_faults_is_down(faults)) {
        set(&faults->n, 0);
    }
    if (atomic_fetch_add_explicit(&faults->n, 1, memory_order_relaxed) == 0) {
        set(&faults->since_ns, now_ns);
        atomic_store_explicit(&faults->is_proven, false, memory_order_relaxed);
    }
    set(&faults->last_ns, now_ns);
    atomic_store_explicit(&faults->kind, (int)kind, memory_order_relaxed);
    if (kind != KW_FAULT_LATE) {
        atomic_store_explicit(&faults->is_proven, true, memory_order_relaxed);
        set(&faults->probe_ns, now_ns);
    }
    atomic_store_explicit(&faults->is_probed, false, memory_order_relaxed);
    atomic_store_explicit(&env->failure_watch_ns, 0, memory_order_release);
}

bool kw_node_faults_set_down(kw_node_faults *faults, const kw_env *env, bool is_down)
{
    if (atomic_exchange_explicit(&faults->is_down, is_down, memory_order_relaxed) == is_down) {
        return false;
    }
    uint64_t now_ns = kw_env_now(env);
    uint64_t since_ns = atomic_exchange_explicit(&faults->down_since_ns, is_down ? now_ns : 0,
                                                 memory_order_relaxed);
    if (!is_down && since_ns > 0 && now_ns > since_ns) {
        atomic_fetch_add_explicit(&faults->down_total_ns, now_ns - since_ns, memory_order_relaxed);
    }
    return true;
}

void kw_node_faults_clear(kw_node_faults *faults, kw_env *env)
{
    set(&faults->n, 0);
    atomic_store_explicit(&faults->is_probed, false, memory_order_relaxed);
    if (kw_options_moves_keys(&env->options)) {
        return;
    }
    if (kw_node_faults_is_down(faults) && kw_node_faults_set_down(faults, env, false)) {
        atomic_store_explicit(&env->failure_watch_ns, 0, memory_order_release);
    }
}

void kw_node_faults_on_abandoned(kw_node_faults *faults, kw_env *env)
{
    if (kw_node_faults_is_down(faults)) {
        atomic_store_explicit(&env->failure_watch_ns, 0, memory_order_release);
    }
}

kw_faults kw_node_faults_read(kw_node_faults *faults)
{
    kw_faults read = {
        .n = get(&faults->n),
        .since_ns = get(&faults->since_ns),
        .last_ns = get(&faults->last_ns),
        .kind = (kw_fault_kind)atomic_load_explicit(&faults->kind, memory_order_relaxed),
        .is_proven = atomic_load_explicit(&faults->is_proven, memory_order_relaxed),
    };
    return read;
}

kw_admission kw_node_faults_admit(kw_node_faults *faults, uint64_t now_ns)
{
    uint64_t probe_ns = get(&faults->probe_ns);
    kw_failure_sight sight = {
        .kind = (kw_fault_kind)atomic_load_explicit(&faults->kind, memory_order_relaxed),
        .hopeless_ns = get(&faults->hopeless_ns),
        .probe_ns = probe_ns,
        .sign_ns = get(&faults->sign_ns),
        .is_probed = atomic_load_explicit(&faults->is_probed, memory_order_relaxed),
    };
    kw_admission admission = kw_failure_detector_admit(&sight, now_ns);
    if (admission != KW_ADMITTED_AS_PROBE) {
        return admission;
    }
    if (!atomic_compare_exchange_strong(&faults->probe_ns, &probe_ns, now_ns)) {
        return KW_ADMITTED_SOON; /* another thread's call is the probe */
    }
    atomic_store_explicit(&faults->is_probed, true, memory_order_relaxed);
    return admission;
}
