/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a topology: made of settings, started anew in a forked child, freed. */
#include "topology/topology.h"

#include "topology/map_publish.h"
#include "topology/node_registry.h"
#include "topology/replica_discovery.h"
#include "topology/sentinel_groups.h"
#include "base/error.h"
#include "base/reader_layout.h"
#include "settings/options_check.h"

#include <string.h>

static kw_topology *no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a handle");
    return NULL;
}

/* The map of a ring is known at once. */
static kw_err publish_ring(kw_topology *topology, kw_error *error)
{
    kw_monitor_lock(&topology->publishing);
    kw_err code = kw_ring_state_publish(topology->ring_state, topology, error);
    kw_monitor_unlock(&topology->publishing);
    if (code == KW_OK) {
        kw_map_publish_tell(topology);
        kw_sentinel_groups_begin(topology);
    }
    return code;
}

/* The map of one server is known at once, too. */
static kw_err publish_first(kw_topology *topology, kw_error *error)
{
    if (topology->env.options.scheme == KW_SCHEME_RING) {
        return publish_ring(topology, error);
    }
    if (topology->env.options.scheme != KW_SCHEME_SINGLE) {
        return KW_OK;
    }
    kw_map *map = kw_map_new_single(&topology->env.mem, &topology->env.options.seeds[0]);
    bool has_news;
    kw_err code = map != NULL ? kw_map_publish(topology, &has_news, map) : KW_ERR_NOMEM;
    if (code != KW_OK) {
        no_memory(error);
    }
    return code;
}

/* What a topology has besides its settings; where it fails nothing is left behind. */
static kw_err init_parts(kw_topology *topology)
{
    kw_fetch_owner owner = {topology,
                            kw_node_registry_candidates,
                            kw_node_registry_node,
                            kw_node_registry_known,
                            kw_map_publish_map,
                            kw_map_publish,
                            kw_sentinel_groups_list,
                            kw_sentinel_groups_found,
                            kw_sentinel_groups_lost,
                            kw_failure_watch_take_timeout};
    if (topology->env.options.scheme == KW_SCHEME_RING) {
        owner.publish_fn = kw_sentinel_groups_publish;
    }
    kw_err code = kw_monitor_init(&topology->env.nodes_monitor);
    if (code != KW_OK) {
        return code;
    }
    code = kw_monitor_init(&topology->env.told_monitor);
    if (code != KW_OK) {
        goto no_told;
    }
    topology->env.identity_news = NULL;
    topology->env.conn_diary = NULL;
    topology->env.has_new_map = false;
    code = kw_monitor_init(&topology->publishing);
    if (code != KW_OK) {
        goto no_publishing;
    }
    code = kw_monitor_init(&topology->monitor);
    if (code != KW_OK) {
        goto no_monitor;
    }
    code = kw_command_cache_init(&topology->command_cache, &topology->env.mem);
    if (code != KW_OK) {
        goto no_command_cache;
    }
    code = kw_refresher_init(&topology->refresher, &topology->env, &owner);
    if (code != KW_OK) {
        goto no_refresher;
    }
    return KW_OK;
no_refresher:
    kw_command_cache_fini(&topology->command_cache);
no_command_cache:
    kw_monitor_fini(&topology->monitor);
no_monitor:
    kw_monitor_fini(&topology->publishing);
no_publishing:
    kw_monitor_fini(&topology->env.told_monitor);
no_told:
    kw_monitor_fini(&topology->env.nodes_monitor);
    return code;
}

static void fini_parts(kw_topology *topology)
{
    kw_pool_keeper_end(topology);
    kw_refresher_fini(&topology->refresher);
    kw_command_cache_fini(&topology->command_cache);
    kw_snapshot_unref(topology->snapshot);
    topology->snapshot = NULL;
    for (size_t i = 0; topology->seeds != NULL && i < topology->env.options.seeds_n; i++) {
        kw_node_unref(topology->seeds[i]);
    }
    kw_mem_free(&topology->env.mem, topology->seeds);
    topology->seeds = NULL;
    for (size_t i = 0; i < KW_TOPOLOGY_EXTRAS_MAX; i++) {
        kw_node_unref(topology->extras[i]);
        topology->extras[i] = NULL;
    }
    kw_mem_free(&topology->env.mem, topology->env.conn_diary);
    kw_mem_free(&topology->env.mem, topology->env.identity_news);
    kw_monitor_fini(&topology->monitor);
    kw_monitor_fini(&topology->publishing);
    kw_monitor_fini(&topology->env.told_monitor);
    kw_monitor_fini(&topology->env.nodes_monitor);
}

static kw_err init_ring(kw_topology *topology, kw_error *error)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_error failure = kw_error_none();
    topology->placement = kw_ring_state_placement(&topology->env.options, mem, &failure);
    if (topology->placement != NULL) {
        topology->ring_state =
            kw_ring_state_new(&topology->env.options, topology->placement, mem, &failure);
    }
    if (topology->ring_state == NULL) {
        kw_error_copy(error, &failure);
    }
    return topology->ring_state != NULL ? KW_OK : failure.code;
}

static void set_env(kw_env *env, const kw_host *host)
{
    env->clock.now_fn = host->clock;
    env->clock.arg = host->clock_arg;
    env->transport = kw_transport_sockets();
    env->log_level = host->log_level;
    env->log = host->log;
    env->log_arg = host->log_arg;
    env->event = host->event;
    env->event_arg = host->event_arg;
    env->events = host->event != NULL ? host->event_part : NULL;
    env->logins.ask = host->login;
    env->logins.ask_arg = host->login_arg;
    atomic_init(&env->keep_ns, UINT64_MAX);
    atomic_init(&env->lag_ns, UINT64_MAX);
    kw_descriptors_init(&env->descriptors);
    atomic_init(&env->is_closing, false);
    atomic_init(&env->is_suspect, false);
    atomic_init(&env->is_door_known, false);
    atomic_init(&env->wants_timeout, false);
    atomic_init(&env->has_told, false);
    atomic_init(&env->has_noted, false);
    atomic_init(&env->trip_ns, 0);
    atomic_init(&env->has_groups, false);
    atomic_init(&env->departed.connects, 0);
    atomic_init(&env->departed.connect_failures, 0);
    atomic_init(&env->departed.disconnects, 0);
    atomic_init(&env->pushes_n, 0);
    atomic_init(&env->ahead_n, 0);
}

/* The options' login becomes the first one of the handle; no copy of the password is left. */
static kw_err take_login(kw_env *env)
{
    kw_options *options = &env->options;
    kw_err code = kw_logins_init(&env->logins, &env->mem, options->user, options->password);
    env->logins.overlap_ms = options->login_overlap_ms;
    if (options->password != NULL) {
        kw_options_free_text(options->password, strlen(options->password), &env->mem);
    }
    kw_mem_free(&env->mem, options->user);
    options->user = NULL;
    options->password = NULL;
    return code;
}

static void free_topology(kw_topology *topology)
{
    kw_allocator mem = topology->env.mem;
    kw_resolver_free(topology->env.resolver);
    kw_tls_context_free(topology->env.tls);
    kw_ring_state_free(topology->ring_state, &mem);
    kw_ring_unref(topology->placement);
    kw_descriptors_fini(&topology->env.descriptors, &mem);
    kw_fork_fini(&topology->fork);
    kw_write_stamps_unref(atomic_load(&topology->write_stamps));
    kw_mem_free(&mem, atomic_load(&topology->heat));
    kw_map_unref(topology->told_map);
    kw_options_fini(&topology->env.options, &mem);
    kw_logins_fini(&topology->env.logins);
    kw_mem_free(&mem, topology);
}

/* The settings alone; NULL when there is no memory. */
static kw_topology *make(const kw_options *options, const kw_host *host)
{
    kw_topology *topology = kw_mem_calloc(&host->mem, 1, sizeof(*topology));
    if (topology == NULL) {
        return NULL;
    }
    kw_env *env = &topology->env;
    env->mem = host->mem;
    if (!kw_options_copy(&env->options, options, &host->mem)) {
        kw_mem_free(&host->mem, topology);
        return NULL;
    }
    if (take_login(env) != KW_OK) {
        kw_options_fini(&env->options, &host->mem);
        kw_mem_free(&host->mem, topology);
        return NULL;
    }
    atomic_init(&topology->refs, 1);
    atomic_init(&topology->handles_n, 0);
    atomic_init(&topology->reopener, 0);
    set_env(env, host);
    topology->slow = host->slow;
    topology->slow_arg = host->slow_arg;
    atomic_init(&topology->observer, host->observer);
    atomic_init(&env->failure_watch_ns, kw_replica_discovery_is_on(topology) ? 0 : UINT64_MAX);
    atomic_init(&topology->failure_watch.election_ns,
                kw_failure_election_ns(options->scheme == KW_SCHEME_CLUSTER, 0));
    kw_random_init(&topology->failure_watch.random, kw_env_now(env));
    kw_fork_init(&topology->fork);
    atomic_init(&env->seeds, kw_env_now(env) ^ (uint64_t)topology->fork.pid << 40);
    kw_leader_init(&topology->teller);
    return topology;
}

kw_topology *kw_topology_new(const kw_options *options, const kw_host *host, kw_error *error)
{
    if (kw_reader_layout_check(error) != KW_OK) {
        return NULL;
    }
    kw_topology *topology = make(options, host);
    if (topology == NULL) {
        return no_memory(error);
    }
    kw_env *env = &topology->env;
    bool has_resolver = host->resolve != NULL || options->has_resolver_thread;
    env->resolver = has_resolver ? kw_resolver_new(host->resolve, host->resolve_arg) : NULL;
    if ((has_resolver && env->resolver == NULL) || init_parts(topology) != KW_OK) {
        free_topology(topology);
        return no_memory(error);
    }
    kw_err code = KW_OK;
    if (kw_options_uses_tls(options)) {
        code = kw_tls_context_new(&env->tls, error, &env->mem, &env->options);
    }
    if (code == KW_OK && kw_topology_is_ring(topology)) {
        code = init_ring(topology, error);
    }
    if (code != KW_OK || publish_first(topology, error) != KW_OK) {
        fini_parts(topology);
        free_topology(topology);
        return NULL;
    }
    return topology;
}

void kw_topology_unref(kw_topology *topology)
{
    if (topology == NULL ||
        atomic_fetch_sub_explicit(&topology->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (!topology->is_bare) {
        fini_parts(topology);
    }
    free_topology(topology);
}

void kw_topology_close_in_child(kw_topology *topology)
{
    kw_env *env = &topology->env;
    kw_descriptors_close_all(&env->descriptors, env->transport->close_fn, env->transport->arg);
}

kw_err kw_topology_reopen(kw_topology *topology, bool is_trusted)
{
    kw_topology_close_in_child(topology);
    if (topology->is_bare) {
        topology->is_bare = false; /* a try before this one had no memory */
    } else if (is_trusted) {
        fini_parts(topology);
    } else {
        topology->snapshot = NULL;
        topology->pool_keeper = NULL;
        topology->seeds = NULL;
        topology->env.nodes = NULL;
        memset(topology->extras, 0, sizeof(topology->extras));
    }
    kw_fork_fini(&topology->fork);
    kw_leader_init(&topology->failure_watch.watcher);
    kw_leader_init(&topology->lag_leader);
    kw_leader_init(&topology->keeper_leader);
    kw_leader_init(&topology->teller);
    atomic_store(&topology->env.failure_watch_ns, 0); /* this process asks what is down */
    kw_err code = kw_logins_reopen(&topology->env.logins);
    code = code == KW_OK ? init_parts(topology) : code;
    if (code == KW_OK && (code = publish_first(topology, NULL)) != KW_OK) {
        fini_parts(topology);
    }
    topology->is_bare = code != KW_OK;
    if (code == KW_OK) {
        kw_fork_init(&topology->fork); /* else the next call tries again */
    }
    return code;
}

void kw_topology_wake_all(kw_topology *topology)
{
    kw_refresher_wake_all(&topology->refresher);
    kw_nodes_wake_all(&topology->env);
}
