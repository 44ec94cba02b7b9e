/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/client.h"

#include "api/config.h"
#include "topology/replica_discovery.h"
#include "topology/sentinel_groups.h"
#include "topology/lag.h"
#include "topology/sentinel_events.h"
#include "drive/loop.h"
#include "topology/map_publish.h"
#include "settings/quorum_rule.h"
#include "topology/node_registry.h"
#include "base/error.h"

#include <string.h>
#include <time.h>

static kw_client *no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a handle");
    return NULL;
}

/* While other threads' calls leave a handle that is being closed. */
static void pause_ms(long ms)
{
    struct timespec span = {0, ms * 1000000L};
    nanosleep(&span, NULL);
}

/* The map of a ring is known at once. */
static kw_err publish_ring(kw_client *client, kw_error *error)
{
    kw_monitor_lock(&client->publishing);
    kw_err code = kw_ring_state_publish(client->members, client, error);
    kw_monitor_unlock(&client->publishing);
    if (code == KW_OK) {
        kw_map_publish_tell(client);
        kw_sentinel_groups_begin(client);
    }
    return code;
}

/* As is that of a single server. */
static kw_err publish_first(kw_client *client, kw_error *error)
{
    if (client->env.options.scheme == KW_SCHEME_RING) {
        return publish_ring(client, error);
    }
    if (client->env.options.scheme != KW_SCHEME_SINGLE) {
        return KW_OK;
    }
    kw_map *map = kw_map_new_single(&client->env.mem, &client->env.options.seeds[0]);
    bool has_news;
    kw_err code = map != NULL ? kw_map_publish(client, &has_news, map) : KW_ERR_NOMEM;
    if (code != KW_OK) {
        no_memory(error);
    }
    return code;
}

/* What a handle has besides its settings; what fails leaves nothing behind. */
static kw_err init_parts(kw_client *client)
{
    kw_fetch_owner owner = {client,
                            kw_node_registry_candidates,
                            kw_node_registry_node,
                            kw_map_publish_map,
                            kw_map_publish,
                            kw_sentinel_groups_list,
                            kw_sentinel_groups_found,
                            kw_sentinel_groups_lost};
    if (client->env.options.scheme == KW_SCHEME_RING) {
        owner.publish_fn = kw_sentinel_groups_publish;
    }
    kw_err code = kw_monitor_init(&client->env.nodes_monitor);
    if (code != KW_OK) {
        return code;
    }
    code = kw_monitor_init(&client->publishing);
    if (code != KW_OK) {
        goto no_publishing;
    }
    code = kw_monitor_init(&client->monitor);
    if (code != KW_OK) {
        goto no_monitor;
    }
    code = kw_command_cache_init(&client->command_cache, &client->env.mem);
    if (code != KW_OK) {
        goto no_command_cache;
    }
    code = kw_ticket_loop_init(&client->ticket_loop);
    if (code != KW_OK) {
        goto no_ticket_loop;
    }
    code = kw_refresher_init(&client->refresher, &client->env, &owner);
    if (code != KW_OK) {
        goto no_refresher;
    }
    return KW_OK;
no_refresher:
    kw_ticket_loop_fini(&client->ticket_loop);
no_ticket_loop:
    kw_command_cache_fini(&client->command_cache);
no_command_cache:
    kw_monitor_fini(&client->monitor);
no_monitor:
    kw_monitor_fini(&client->publishing);
no_publishing:
    kw_monitor_fini(&client->env.nodes_monitor);
    return code;
}

static void fini_parts(kw_client *client)
{
    kw_refresher_fini(&client->refresher);
    kw_ticket_loop_fini(&client->ticket_loop);
    kw_command_cache_fini(&client->command_cache);
    kw_snapshot_unref(client->snapshot);
    client->snapshot = NULL;
    for (size_t i = 0; client->seeds != NULL && i < client->env.options.seeds_n; i++) {
        kw_node_unref(client->seeds[i]);
    }
    kw_mem_free(&client->env.mem, client->seeds);
    client->seeds = NULL;
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        kw_node_unref(client->extras[i]);
        client->extras[i] = NULL;
    }
    kw_monitor_fini(&client->monitor);
    kw_monitor_fini(&client->publishing);
    kw_monitor_fini(&client->env.nodes_monitor);
}

static void free_client(kw_client *client)
{
    kw_allocator mem = client->env.mem;
    kw_resolver_unref(client->env.resolver);
    kw_tls_context_free(client->env.tls);
    kw_ring_state_free(client->members, &mem);
    kw_ring_unref(client->placement);
    kw_descriptors_fini(&client->env.descriptors, &mem);
    kw_fork_fini(&client->fork);
    kw_options_fini(&client->env.options, &mem);
    kw_mem_free(&mem, client);
}

static bool uses_tls(const kw_options *options)
{
    bool has_sentinels = options->scheme == KW_SCHEME_SENTINEL || options->scheme == KW_SCHEME_RING;
    return options->has_tls || (has_sentinels && kw_options_has_sentinel_tls(options));
}

/* KW_OK for settings that a handle can be made of. */
static kw_err check_config(const kw_config *config, kw_error *error)
{
    const kw_options *options = config != NULL ? &config->options : NULL;
    if (options == NULL || (options->seeds_n == 0 && options->scheme != KW_SCHEME_RING) ||
        (options->ring_members.n == 0 && options->scheme == KW_SCHEME_RING)) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "no server given: call kw_config_set_uri first");
    }
    if (options->scheme == KW_SCHEME_SENTINEL && options->service == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "the name that the sentinels know is missing, as in "
                            "redis-sentinel://host:26379/mymaster");
    }
    bool names_files = options->tls_ca != NULL || options->tls_ca_dir != NULL ||
                       options->tls_cert != NULL || options->tls_key != NULL;
    if (names_files && !uses_tls(options)) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "certificates are given, but the scheme has no TLS; with it the URI "
                            "begins with rediss");
    }
    return kw_quorum_check(options, error);
}

static kw_err init_ring(kw_client *client, kw_error *error)
{
    const kw_allocator *mem = &client->env.mem;
    kw_error failure = KW_ERROR_INIT;
    client->placement = kw_ring_state_placement(&client->env.options, mem, &failure);
    if (client->placement != NULL) {
        client->members = kw_ring_state_new(&client->env.options, client->placement, mem, &failure);
    }
    if (client->members == NULL) {
        kw_error_copy(error, &failure);
    }
    return client->members != NULL ? KW_OK : failure.code;
}

kw_client *kw_open_config(const kw_config *config, kw_error *error)
{
    if (check_config(config, error) != KW_OK) {
        return NULL;
    }
    kw_client *client = kw_mem_calloc(&config->mem, 1, sizeof(*client));
    if (client == NULL) {
        return no_memory(error);
    }
    client->env.mem = config->mem;
    if (!kw_options_copy(&client->env.options, &config->options, &client->env.mem)) {
        kw_allocator mem = client->env.mem;
        kw_mem_free(&mem, client);
        return no_memory(error);
    }
    client->env.clock.now_fn = config->clock;
    client->env.clock.arg = config->clock_arg;
    client->env.transport = kw_transport_sockets();
    client->env.log_level = config->log_level;
    client->env.log = config->log;
    client->env.log_arg = config->log_arg;
    client->env.event = config->event;
    client->env.event_arg = config->event_arg;
    atomic_init(&client->env.failure_watch_ns, kw_replica_discovery_is_on(client) ? 0 : UINT64_MAX);
    atomic_init(&client->env.lag_ns, UINT64_MAX);
    kw_random_init(&client->failure_watch.random, kw_env_now(&client->env));
    kw_descriptors_init(&client->env.descriptors);
    kw_fork_init(&client->fork);
    atomic_init(&client->env.is_closing, false);
    atomic_init(&client->env.is_suspect, false);
    atomic_init(&client->env.has_groups, false);
    atomic_init(&client->env.departed.connects, 0);
    atomic_init(&client->env.departed.connect_failures, 0);
    atomic_init(&client->env.departed.disconnects, 0);
    atomic_init(&client->env.pushes_n, 0);
    atomic_init(&client->env.seeds, kw_env_now(&client->env) ^ (uint64_t)client->fork.pid << 40);
    atomic_flag_clear(&client->is_reopening);
    atomic_flag_clear(&client->is_telling);
    bool wants_resolver = client->env.options.has_resolver_thread;
    client->env.resolver = wants_resolver ? kw_resolver_new() : NULL;
    if ((wants_resolver && client->env.resolver == NULL) || init_parts(client) != KW_OK) {
        free_client(client);
        return no_memory(error);
    }
    kw_err code = KW_OK;
    if (uses_tls(&client->env.options)) {
        code = kw_tls_context_new(&client->env.tls, error, &client->env.mem, &client->env.options);
    }
    if (code == KW_OK && client->env.options.scheme == KW_SCHEME_RING) {
        code = init_ring(client, error);
    }
    if (code != KW_OK || publish_first(client, error) != KW_OK) {
        fini_parts(client);
        free_client(client);
        return NULL;
    }
    return client;
}

kw_client *kw_open(const char *uri, kw_error *error)
{
    kw_config *config = kw_config_new(NULL);
    if (config == NULL) {
        return no_memory(error);
    }
    kw_client *client = NULL;
    if (kw_config_set_uri(config, error, uri) == KW_OK) {
        client = kw_open_config(config, error);
    }
    kw_config_free(config);
    return client;
}

static void close_in_child(kw_client *client)
{
    kw_descriptors_close_all(&client->env.descriptors, client->env.transport->close_fn,
                             client->env.transport->arg);
}

/* Lets everybody go who waits inside the handle. */
static void wake_all(kw_client *client)
{
    kw_refresher_wake_all(&client->refresher);
    kw_nodes_wake_all(&client->env);
    kw_ticket_loop_wake_all(&client->ticket_loop);
}

/* In a child: the commands under way are the parent's. */
static void abandon_loops(kw_client *client)
{
    kw_loop *loops[] = {atomic_exchange(&client->loop, NULL),
                        atomic_exchange(&client->ticket_loop.loop, NULL)};
    for (size_t i = 0; i < 2; i++) {
        if (loops[i] != NULL) {
            kw_loop_abandon(loops[i]);
        }
    }
}

/* Tells the callbacks that are left, and ends the tickets. */
static void end_loops(kw_client *client)
{
    kw_loop_place *places[] = {&client->loop, &client->ticket_loop.loop};
    for (size_t i = 0; i < 2; i++) {
        kw_loop *loop = kw_loop_at(places[i]);
        if (loop != NULL) {
            kw_loop_end(loop);
            atomic_store(places[i], NULL);
        }
    }
}

void kw_client_close(kw_client *client)
{
    atomic_store(&client->env.is_closing, true);
    while (atomic_load(&client->calls_n) > 0) {
        wake_all(client);
        pause_ms(1);
    }
    end_loops(client);
    fini_parts(client);
    free_client(client);
}

static void free_in_child(kw_client *client)
{
    close_in_child(client);
    if (atomic_load(&client->calls_n) > 0) {
        return; /* the parent's threads were inside: nothing here can be trusted */
    }
    if (!client->is_bare) {
        abandon_loops(client);
        fini_parts(client);
    }
    free_client(client);
}

void kw_close(kw_client *client)
{
    if (client == NULL) {
        return;
    }
    if (kw_fork_has_happened(&client->fork)) {
        free_in_child(client);
        return;
    }
    kw_loop *loop = kw_loop_at(&client->loop);
    if (loop != NULL && kw_loop_defers_close(loop)) {
        atomic_store(&client->env.is_closing, true); /* the rest when the callback is over */
        return;
    }
    kw_client_close(client);
}

/* A forked child starts anew. What the parent's threads may have held is left alone. */
static kw_err reopen(kw_client *client)
{
    close_in_child(client);
    if (client->is_bare) {
        client->is_bare = false; /* a try before this one had no memory */
    } else if (atomic_load(&client->calls_n) == 0) {
        abandon_loops(client);
        fini_parts(client);
    } else {
        client->snapshot = NULL;
        client->seeds = NULL;
        client->env.nodes = NULL;
        atomic_store(&client->loop, NULL);
        atomic_store(&client->ticket_loop.loop, NULL);
        memset(client->extras, 0, sizeof(client->extras));
        atomic_store(&client->calls_n, 0);
    }
    kw_fork_fini(&client->fork);
    client->generations_n++;
    atomic_store(&client->failure_watch.is_taken, false);
    atomic_store(&client->lag_is_taken, false);
    atomic_store(&client->env.failure_watch_ns,
                 0); /* nodes that are down are asked by this process */
    kw_err code = init_parts(client);
    if (code == KW_OK && (code = publish_first(client, NULL)) != KW_OK) {
        fini_parts(client);
    }
    client->is_bare = code != KW_OK;
    if (code == KW_OK) {
        kw_fork_init(&client->fork); /* else the next call tries again */
    }
    return code;
}

static kw_err enter_in_child(kw_client *client, kw_error *error)
{
    if (!client->env.options.is_reopened_after_fork) {
        return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                            "the handle belongs to the parent process; open one in the child, or "
                            "set after-fork=reopen");
    }
    kw_err code = KW_OK;
    while (atomic_flag_test_and_set(&client->is_reopening)) {
        pause_ms(1);
    }
    if (kw_fork_has_happened(&client->fork)) {
        code = reopen(client);
    }
    atomic_flag_clear(&client->is_reopening);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory to reopen the handle after fork");
    }
    return code;
}

kw_err kw_client_enter(kw_client *client, kw_error *error)
{
    if (kw_fork_has_happened(&client->fork)) {
        kw_err code = enter_in_child(client, error);
        if (code != KW_OK) {
            return code;
        }
    }
    atomic_fetch_add_explicit(&client->calls_n, 1, memory_order_acquire);
    return KW_OK;
}

void kw_client_leave(kw_client *client)
{
    atomic_fetch_sub_explicit(&client->calls_n, 1, memory_order_release);
}

kw_snapshot *kw_client_snapshot(kw_client *client)
{
    kw_monitor_lock(&client->monitor);
    kw_snapshot *snapshot = client->snapshot != NULL ? kw_snapshot_ref(client->snapshot) : NULL;
    kw_monitor_unlock(&client->monitor);
    return snapshot;
}

void kw_client_count(kw_client *client, uint64_t commands_n, uint64_t failures_n)
{
    atomic_fetch_add_explicit(&client->counters.commands, commands_n, memory_order_relaxed);
    if (failures_n > 0) {
        atomic_fetch_add_explicit(&client->counters.failures, failures_n, memory_order_relaxed);
    }
}

void kw_client_tend(kw_client *client, uint64_t now_ns)
{
    if (kw_env_has_fetch(&client->env)) {
        if (atomic_load_explicit(&client->env.is_suspect, memory_order_relaxed) &&
            atomic_exchange(&client->env.is_suspect, false)) {
            (void)kw_refresher_want(&client->refresher);
        }
        kw_refresher_poke(&client->refresher, now_ns);
        kw_sentinel_events_tend(client);
    }
    kw_failure_watch_tend(client, now_ns);
    kw_lag_tend(client, now_ns);
    kw_node_registry_sweep(client, now_ns);
}

/* True for a reason for which there is no map that may be over soon. */
static bool may_pass(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_TOPOLOGY || code == KW_ERR_HANDSHAKE ||
           code == KW_ERR_RESOLVE || code == KW_ERR_CLOSED || code == KW_ERR_NO_SENTINEL ||
           code == KW_ERR_ROLE;
}

/* failure: of the last fetch that ended, if one did. */
static kw_err no_map_in_time(const kw_client *client, kw_error *error, const kw_error *failure)
{
    bool is_sentinel = client->env.options.scheme == KW_SCHEME_SENTINEL;
    kw_err code = KW_ERR_TOPOLOGY;
    if (is_sentinel) {
        code = failure->code != KW_OK ? failure->code : KW_ERR_NO_SENTINEL;
    }
    kw_error_set(error, code, KW_EFFECT_NONE, "%s before the deadline%s%s",
                 is_sentinel ? "no sentinel led to the primary"
                             : "no node of the cluster gave a map",
                 failure->text[0] != '\0' ? ": " : "", failure->text);
    kw_error_set_node(error, failure->node);
    return code;
}

kw_err kw_client_need_snapshot(kw_client *client, kw_snapshot **snapshot, kw_error *error,
                               uint64_t deadline_ns)
{
    kw_error failure = KW_ERROR_INIT; /* of the last fetch that ended */
    for (;;) {
        uint64_t changes_n = kw_refresher_changes_n(&client->refresher);
        *snapshot = kw_client_snapshot(client);
        if (*snapshot != NULL) {
            return KW_OK;
        }
        kw_refresher_goal goal = {.until_ns = deadline_ns,
                                  .fetch = kw_refresher_want(&client->refresher)};
        goal.wakes_on_map = true; /* the map of a fetch under way will do as well */
        goal.changes_n = changes_n;
        kw_err code = kw_refresher_wait(&client->refresher, &failure, &goal);
        if (code == KW_OK) {
            continue;
        }
        if (code == KW_ERR_TIMEOUT) {
            return no_map_in_time(client, error, &failure);
        }
        if (may_pass(code)) {
            kw_refresher_goal pause = {.until_ns = deadline_ns, .fetch = 0};
            uint64_t soon_ns = kw_env_now(&client->env) + KW_REFRESH_FLOOR_NS;
            pause.until_ns = soon_ns < deadline_ns ? soon_ns : deadline_ns;
            if (kw_env_now(&client->env) < deadline_ns) {
                kw_err ended = kw_refresher_wait(&client->refresher, &failure, &pause);
                if (ended == KW_ERR_TIMEOUT) {
                    continue;
                }
                code = ended; /* the handle was closed */
            }
        }
        kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
        kw_error_set_node(error, failure.node);
        return code;
    }
}
