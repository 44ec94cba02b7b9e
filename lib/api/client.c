#include "api/client.h"

#include "api/config.h"
#include "base/error.h"

#include <string.h>
#include <time.h>

static size_t give_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max);
static kw_map *give_map(void *arg);
static kw_err publish(void *arg, bool *has_news, kw_map *map);

/* While other threads' calls leave a handle that is being closed. */
static void pause_ms(long ms)
{
    struct timespec span = {0, ms * 1000000L};
    nanosleep(&span, NULL);
}

/* A single server's map is known at once. */
static kw_err publish_single(kw_client *client)
{
    if (client->env.options.scheme != KW_SCHEME_SINGLE) {
        return KW_OK;
    }
    kw_map *map = kw_map_new_single(&client->env.mem, &client->env.options.seeds[0]);
    if (map == NULL) {
        return KW_ERR_NOMEM;
    }
    bool has_news;
    return publish(client, &has_news, map);
}

/* What a handle has besides its settings; what fails leaves nothing behind. */
static kw_err init_parts(kw_client *client)
{
    kw_refresher_owner owner = {client, give_candidates, give_map, publish};
    kw_err code = kw_gate_init(&client->env.nodes_gate);
    if (code != KW_OK) {
        return code;
    }
    code = kw_gate_init(&client->publishing);
    if (code != KW_OK) {
        goto no_publishing;
    }
    code = kw_gate_init(&client->gate);
    if (code != KW_OK) {
        goto no_gate;
    }
    code = kw_lookup_init(&client->lookup, &client->env.mem);
    if (code != KW_OK) {
        goto no_lookup;
    }
    code = kw_refresher_init(&client->refresher, &client->env, &owner);
    if (code != KW_OK) {
        goto no_refresher;
    }
    return KW_OK;
no_refresher:
    kw_lookup_fini(&client->lookup);
no_lookup:
    kw_gate_fini(&client->gate);
no_gate:
    kw_gate_fini(&client->publishing);
no_publishing:
    kw_gate_fini(&client->env.nodes_gate);
    return code;
}

static void fini_parts(kw_client *client)
{
    kw_refresher_fini(&client->refresher);
    kw_lookup_fini(&client->lookup);
    kw_view_unref(client->view);
    client->view = NULL;
    for (size_t i = 0; client->seeds != NULL && i < client->env.options.seeds_n; i++) {
        kw_node_unref(client->seeds[i]);
    }
    kw_mem_free(&client->env.mem, client->seeds);
    client->seeds = NULL;
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        kw_node_unref(client->extras[i]);
        client->extras[i] = NULL;
    }
    kw_gate_fini(&client->gate);
    kw_gate_fini(&client->publishing);
    kw_gate_fini(&client->env.nodes_gate);
}

static void free_client(kw_client *client)
{
    kw_allocator mem = client->env.mem;
    kw_resolver_unref(client->env.resolver);
    kw_descriptors_fini(&client->env.descriptors, &mem);
    kw_fork_fini(&client->fork);
    kw_options_fini(&client->env.options, &mem);
    kw_mem_free(&mem, client);
}

static kw_client *no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a handle");
    return NULL;
}

kw_client *kw_open_config(const kw_config *config, kw_error *error)
{
    if (config == NULL || config->options.seeds_n == 0) {
        kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                     "no server given: call kw_config_set_uri first");
        return NULL;
    }
    if (config->options.scheme != KW_SCHEME_SINGLE && config->options.scheme != KW_SCHEME_CLUSTER) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "only redis:// and redis-cluster:// are supported by this version");
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
    kw_descriptors_init(&client->env.descriptors);
    kw_fork_init(&client->fork);
    atomic_init(&client->env.is_closing, false);
    atomic_init(&client->env.departed.connects, 0);
    atomic_init(&client->env.departed.connect_failures, 0);
    atomic_init(&client->env.departed.disconnects, 0);
    atomic_init(&client->env.seeds, kw_env_now(&client->env) ^ (uint64_t)client->fork.pid << 40);
    atomic_flag_clear(&client->is_reopening);
    bool wants_resolver = client->env.options.has_resolver_thread;
    client->env.resolver = wants_resolver ? kw_resolver_new() : NULL;
    if ((wants_resolver && client->env.resolver == NULL) || init_parts(client) != KW_OK) {
        free_client(client);
        return no_memory(error);
    }
    if (publish_single(client) != KW_OK) {
        fini_parts(client);
        free_client(client);
        return no_memory(error);
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
    if (kw_config_set_uri(config, uri, error) == KW_OK) {
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
}

void kw_close(kw_client *client)
{
    if (client == NULL) {
        return;
    }
    if (kw_fork_has_happened(&client->fork)) {
        close_in_child(client);
        if (atomic_load(&client->calls_n) > 0) {
            return; /* the parent's threads were inside: nothing here can be trusted */
        }
    } else {
        atomic_store(&client->env.is_closing, true);
        while (atomic_load(&client->calls_n) > 0) {
            wake_all(client);
            pause_ms(1);
        }
    }
    fini_parts(client);
    free_client(client);
}

/* A forked child starts anew. What the parent's threads may have held is left alone. */
static kw_err reopen(kw_client *client)
{
    close_in_child(client);
    if (atomic_load(&client->calls_n) == 0) {
        fini_parts(client);
    } else {
        client->view = NULL;
        client->seeds = NULL;
        client->env.nodes = NULL;
        memset(client->extras, 0, sizeof(client->extras));
        atomic_store(&client->calls_n, 0);
    }
    kw_fork_fini(&client->fork);
    kw_err code = init_parts(client);
    if (code == KW_OK) {
        code = publish_single(client);
    }
    kw_fork_init(&client->fork);
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

kw_view *kw_client_view(kw_client *client)
{
    kw_gate_lock(&client->gate);
    kw_view *view = client->view != NULL ? kw_view_ref(client->view) : NULL;
    kw_gate_unlock(&client->gate);
    return view;
}

static kw_map *give_map(void *arg)
{
    kw_client *client = arg;
    kw_view *view = kw_client_view(client);
    kw_map *map = view != NULL ? kw_map_ref(view->map) : NULL;
    kw_view_unref(view);
    return map;
}

/* The seeds' nodes, made at first use; the gate is held. */
static bool need_seeds(kw_client *client)
{
    if (client->seeds != NULL) {
        return true;
    }
    size_t n = client->env.options.seeds_n;
    kw_node **seeds = kw_mem_calloc(&client->env.mem, n, sizeof(seeds[0]));
    bool is_whole = seeds != NULL;
    for (size_t i = 0; is_whole && i < n; i++) {
        seeds[i] = kw_node_new(&client->env, &client->env.options.seeds[i]);
        is_whole = seeds[i] != NULL;
    }
    if (!is_whole) {
        for (size_t i = 0; seeds != NULL && i < n; i++) {
            kw_node_unref(seeds[i]);
        }
        kw_mem_free(&client->env.mem, seeds);
        return false;
    }
    client->seeds = seeds;
    return true;
}

/* A known node without a new reference; the gate is held. */
static kw_node *find_node(const kw_client *client, const kw_endpoint *endpoint)
{
    kw_node *node = client->view != NULL ? kw_view_find(client->view, endpoint) : NULL;
    for (size_t i = 0; node == NULL && client->seeds != NULL && i < client->env.options.seeds_n;
         i++) {
        if (kw_endpoint_equal(&client->seeds[i]->endpoint, endpoint)) {
            node = client->seeds[i];
        }
    }
    for (size_t i = 0; node == NULL && i < KW_CLIENT_EXTRAS_MAX; i++) {
        if (client->extras[i] != NULL &&
            kw_endpoint_equal(&client->extras[i]->endpoint, endpoint)) {
            node = client->extras[i];
        }
    }
    return node;
}

kw_node *kw_client_known_node(kw_client *client, const kw_endpoint *endpoint)
{
    kw_gate_lock(&client->gate);
    kw_node *node = find_node(client, endpoint);
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_gate_unlock(&client->gate);
    return node;
}

kw_node *kw_client_node(kw_client *client, const kw_endpoint *endpoint)
{
    kw_node *replaced = NULL;
    bool is_in_map = false; /* a slot has moved to it meanwhile */
    kw_gate_lock(&client->gate);
    kw_node *node = find_node(client, endpoint);
    if (node != NULL) {
        node = kw_node_ref(node);
    } else {
        node = kw_node_new(&client->env, endpoint);
        if (node != NULL) {
            replaced = client->extras[client->extra_at];
            is_in_map = replaced != NULL && client->view != NULL &&
                        kw_view_find(client->view, &replaced->endpoint) == replaced;
            client->extras[client->extra_at] = kw_node_ref(node);
            client->extra_at = (client->extra_at + 1) % KW_CLIENT_EXTRAS_MAX;
        }
    }
    kw_gate_unlock(&client->gate);
    if (replaced != NULL && !is_in_map) {
        kw_node_retire(replaced);
    }
    kw_node_unref(replaced);
    return node;
}

static size_t give_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max)
{
    kw_client *client = arg;
    size_t n = 0;
    kw_gate_lock(&client->gate);
    bool has_seeds = need_seeds(client);
    size_t seeds_n = has_seeds ? client->env.options.seeds_n : 0;
    size_t seeds_room = seeds_n < max / 2 ? seeds_n : max / 2;
    size_t known_n = client->view != NULL ? client->view->nodes_n : 0;
    uint64_t start = kw_env_seed(&client->env) >> 32;
    for (size_t i = 0; i < known_n && n < max - seeds_room; i++) {
        nodes[n] = kw_node_ref(client->view->nodes[(start + i) % known_n]);
        is_seed[n++] = false;
    }
    for (size_t i = 0; i < seeds_n && n < max; i++) {
        nodes[n] = kw_node_ref(client->seeds[(start + i) % seeds_n]);
        is_seed[n++] = true;
    }
    kw_gate_unlock(&client->gate);
    return n;
}

/* A reference to each of the map's nodes, known ones where there are any; the gate is
 * held. False, with none kept, when there is no memory. */
static bool make_nodes(kw_client *client, kw_node **nodes, const kw_map *map)
{
    size_t n = kw_map_nodes_n(map);
    for (size_t i = 0; i < n; i++) {
        const kw_endpoint *endpoint = kw_map_node(map, i);
        kw_node *node = find_node(client, endpoint);
        nodes[i] = node != NULL ? kw_node_ref(node) : kw_node_new(&client->env, endpoint);
        if (nodes[i] == NULL) {
            while (i > 0) {
                kw_node_unref(nodes[--i]);
            }
            return false;
        }
    }
    return true;
}

/* Nodes of the old view that the new one lacks keep no connections. */
static void retire_left(const kw_view *old, const kw_view *view)
{
    for (size_t i = 0; i < view->nodes_n; i++) {
        kw_node_unretire(view->nodes[i]);
    }
    for (size_t i = 0; old != NULL && i < old->nodes_n; i++) {
        if (kw_view_find(view, &old->nodes[i]->endpoint) != old->nodes[i]) {
            kw_node_retire(old->nodes[i]);
        }
    }
}

/* Both gates: publishing is held by the caller. */
static kw_err publish_locked(kw_client *client, bool *has_news, kw_map *map)
{
    *has_news = false;
    kw_view *old = kw_client_view(client);
    if (old != NULL && kw_map_equal(old->map, map)) {
        kw_view_unref(old);
        kw_map_unref(map);
        return KW_OK;
    }
    size_t n = kw_map_nodes_n(map);
    kw_node **nodes = kw_mem_calloc(&client->env.mem, n, sizeof(nodes[0]));
    kw_gate_lock(&client->gate);
    bool is_whole = nodes != NULL && make_nodes(client, nodes, map);
    kw_view *view = is_whole ? kw_view_new(&client->env.mem, map, nodes, n) : NULL;
    if (view != NULL) {
        kw_view_unref(client->view); /* not the last reference: old has one, or it is NULL */
        client->view = kw_view_ref(view);
    }
    kw_gate_unlock(&client->gate);
    kw_mem_free(&client->env.mem, nodes);
    if (!is_whole) {
        kw_map_unref(map);
    }
    if (view != NULL) {
        retire_left(old, view);
        atomic_fetch_add_explicit(&client->counters.map_changes, 1, memory_order_relaxed);
        kw_env_log(&client->env, KW_LOG_INFO, "new map: %zu primaries, %zu nodes",
                   kw_map_shards_n(map), n);
    }
    kw_view_unref(old);
    kw_view_unref(view);
    *has_news = view != NULL;
    return view != NULL ? KW_OK : KW_ERR_NOMEM;
}

static kw_err publish(void *arg, bool *has_news, kw_map *map)
{
    kw_client *client = arg;
    kw_gate_lock(&client->publishing);
    kw_err code = publish_locked(client, has_news, map);
    kw_gate_unlock(&client->publishing);
    return code;
}

void kw_client_patch(kw_client *client, unsigned slot, const kw_endpoint *endpoint)
{
    kw_gate_lock(&client->publishing);
    kw_view *view = kw_client_view(client);
    kw_map *patched = NULL;
    bool is_done = view != NULL && kw_map_patch(view->map, &patched, slot, endpoint) == KW_OK;
    if (is_done && patched != NULL) {
        bool has_news;
        is_done = publish_locked(client, &has_news, patched) == KW_OK;
    }
    kw_gate_unlock(&client->publishing);
    kw_view_unref(view);
    if (is_done) {
        kw_refresher_on_publish(&client->refresher);
    }
}

void kw_client_count(kw_client *client, uint64_t commands_n, uint64_t failures_n)
{
    atomic_fetch_add_explicit(&client->counters.commands, commands_n, memory_order_relaxed);
    if (failures_n > 0) {
        atomic_fetch_add_explicit(&client->counters.failures, failures_n, memory_order_relaxed);
    }
}

/* Idle connections of nodes that nobody calls any more are found here. */
static void sweep(kw_client *client, uint64_t now_ns)
{
    uint64_t due_ns = atomic_load_explicit(&client->sweep_ns, memory_order_relaxed);
    uint64_t next_ns = now_ns + client->env.options.pool_idle_ms * KW_NS_PER_MS / 2;
    if (now_ns < due_ns || !atomic_compare_exchange_strong(&client->sweep_ns, &due_ns, next_ns)) {
        return;
    }
    kw_view *view = kw_client_view(client);
    for (size_t i = 0; view != NULL && i < view->nodes_n; i++) {
        kw_node_sweep(view->nodes[i], now_ns);
    }
    kw_view_unref(view);
    kw_node *extras[KW_CLIENT_EXTRAS_MAX];
    kw_gate_lock(&client->gate);
    kw_node **seeds = client->seeds; /* once made, they stay */
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        extras[i] = client->extras[i] != NULL ? kw_node_ref(client->extras[i]) : NULL;
    }
    kw_gate_unlock(&client->gate);
    for (size_t i = 0; seeds != NULL && i < client->env.options.seeds_n; i++) {
        kw_node_sweep(seeds[i], now_ns);
    }
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        if (extras[i] != NULL) {
            kw_node_sweep(extras[i], now_ns);
            kw_node_unref(extras[i]);
        }
    }
}

void kw_client_tend(kw_client *client, uint64_t now_ns)
{
    if (client->env.options.scheme != KW_SCHEME_SINGLE) {
        kw_refresher_poke(&client->refresher, now_ns);
    }
    sweep(client, now_ns);
}

kw_err kw_client_need_view(kw_client *client, kw_view **view, kw_error *error, uint64_t deadline_ns)
{
    kw_error failure = KW_ERROR_INIT; /* of the last fetch that ended */
    for (;;) {
        uint64_t changes_n = kw_refresher_changes_n(&client->refresher);
        *view = kw_client_view(client);
        if (*view != NULL) {
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
            kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                         "no node of the cluster gave a map before the deadline%s%s",
                         failure.text[0] != '\0' ? ": " : "", failure.text);
            kw_error_set_node(error, failure.node);
            return KW_ERR_TOPOLOGY;
        }
        if (code == KW_ERR_CONNECT || code == KW_ERR_TOPOLOGY || code == KW_ERR_HANDSHAKE ||
            code == KW_ERR_RESOLVE) {
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
