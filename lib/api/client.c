/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a handle: opened, entered and left by calls, anew in a forked child, closed. */
#include "api/client.h"

#include "drive/ticket_loop.h"
#include "api/config.h"
#include "base/error.h"
#include "settings/options_check.h"

#include <time.h>
#include <unistd.h>

static kw_client *no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a handle");
    return NULL;
}

void kw_client_nap(void)
{
    struct timespec span = {0, 1000000L};
    nanosleep(&span, NULL);
}

/* The handle around its topology, whose reference it takes over, also when there is no memory. */
static kw_client *make(kw_topology *topology, kw_error *error)
{
    kw_client *client = kw_mem_calloc(&topology->env.mem, 1, sizeof(*client));
    if (client == NULL || kw_ticket_loop_init(&client->ticket_loop, topology) != KW_OK) {
        kw_mem_free(&topology->env.mem, client);
        kw_topology_unref(topology);
        return no_memory(error);
    }
    client->mem = topology->env.mem;
    client->topology = topology;
    kw_fork_init(&client->fork);
    atomic_fetch_add(&topology->handles_n, 1);
    return client;
}

kw_client *kw_open_shared(kw_client *first, kw_error *error)
{
    if (first == NULL) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "first is NULL");
        return NULL;
    }
    if (kw_client_enter(first, error) != KW_OK) {
        return NULL;
    }
    kw_client *client = make(kw_topology_ref(first->topology), error);
    kw_client_leave(first);
    return client;
}

kw_client *kw_open_config(const kw_config *config, kw_error *error)
{
    if (config == NULL) {
        kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "config is NULL");
        return NULL;
    }
    if (kw_options_check(&config->options, error) != KW_OK) {
        return NULL;
    }
    kw_topology *topology = kw_topology_new(&config->options, &config->host, error);
    return topology != NULL ? make(topology, error) : NULL;
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

static void abandon_parts(kw_client *client)
{
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        if (part != NULL) {
            part->abandon_fn(client);
        }
    }
}

static void end_parts(kw_client *client)
{
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        if (part != NULL) {
            part->end_fn(client);
        }
    }
}

static void wake_parts(kw_client *client)
{
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        if (part != NULL) {
            part->wake_fn(client);
        }
    }
}

static bool defers_close(kw_client *client)
{
    const kw_client_part *part = kw_client_part_at(client, KW_CLIENT_CALLBACKS);
    return part != NULL && part->defers_close_fn(client);
}

static void free_client(kw_client *client)
{
    kw_allocator mem = client->mem;
    if (!client->is_bare) {
        kw_ticket_loop_fini(&client->ticket_loop);
    }
    kw_fork_fini(&client->fork);
    kw_topology_unref(client->topology);
    kw_mem_free(&mem, client);
}

/* Nobody waits in the handle any more; in its topology, once the last one is closed. */
static void begin_close(kw_client *client)
{
    atomic_store(&client->is_closing, true);
    atomic_store(&client->waits_end, true);
    atomic_store(&client->ticket_loop.is_closing, true);
    if (atomic_fetch_sub(&client->topology->handles_n, 1) == 1) {
        atomic_store(&client->topology->env.is_closing, true);
    }
}

void kw_client_close(kw_client *client)
{
    begin_close(client);
    while (atomic_load(&client->calls_n) > 1) { /* this thread is inside, for who forks now */
        kw_topology_wake_all(client->topology);
        wake_parts(client);
        kw_client_nap();
    }
    end_parts(client);
    free_client(client);
}

static void free_in_child(kw_client *client)
{
    kw_topology *topology = client->topology;
    bool is_shared = atomic_fetch_sub(&topology->handles_n, 1) > 1;
    bool is_first = kw_fork_has_happened(&topology->fork);
    if (is_first) {
        kw_topology_close_in_child(topology);
    }
    if (atomic_load(&client->calls_n) > 0 || is_shared || !is_first) {
        return; /* the parent's threads were inside, or may have been: nothing can be trusted */
    }
    if (!client->is_bare) {
        abandon_parts(client);
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
    kw_client_count_in(client);
    if (defers_close(client)) {
        atomic_store(&client->is_closing, true); /* the rest when the callback is over */
        kw_client_leave(client);
        return;
    }
    kw_client_close(client);
}

/* A forked child starts anew. What the parent's threads may have held is left alone; so is all,
 * where several handles share a topology, the first of which starts it anew for the others. */
static kw_err reopen(kw_client *client)
{
    kw_topology *topology = client->topology;
    bool is_first = kw_fork_has_happened(&topology->fork);
    bool is_trusted =
        is_first && atomic_load(&client->calls_n) == 0 && atomic_load(&topology->handles_n) == 1;
    if (!client->is_bare && is_trusted) {
        abandon_parts(client);
        kw_ticket_loop_fini(&client->ticket_loop);
    } else if (!client->is_bare) {
        atomic_store(&client->loop, NULL);
        atomic_store(&client->ticket_loop.loop, NULL);
        atomic_store(&client->subscribers, NULL);
        atomic_store(&client->calls_n, 0);
    }
    atomic_store(&client->is_draining, false);
    atomic_store(&client->sessions_n, 0); /* those that are open are the parent's */
    client->generations_n++;
    kw_err code = kw_ticket_loop_init(&client->ticket_loop, client->topology);
    if (code == KW_OK && is_first) {
        code = kw_topology_reopen(topology, is_trusted);
        if (code != KW_OK) {
            kw_ticket_loop_fini(&client->ticket_loop);
        }
    }
    client->is_bare = code != KW_OK;
    if (code == KW_OK) {
        kw_fork_fini(&client->fork);
        kw_fork_init(&client->fork); /* else the next call tries again */
    }
    return code;
}

static kw_err enter_in_child(kw_client *client, kw_error *error)
{
    if (!client->topology->env.options.is_reopened_after_fork) {
        return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                            "the handle belongs to the parent process; open one in the child, or "
                            "set after-fork=reopen");
    }
    kw_err code = KW_OK;
    pid_t none = 0;
    while (!atomic_compare_exchange_strong(&client->topology->reopener, &none, getpid())) {
        if (none != getpid()) {
            return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                                "the process forked while another thread reopened the handle; "
                                "open one in the child");
        }
        none = 0;
        kw_client_nap();
    }
    if (kw_fork_has_happened(&client->fork)) {
        code = reopen(client);
    }
    atomic_store(&client->topology->reopener, 0);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory to reopen the handle after fork");
    }
    return code;
}

kw_err kw_client_enter_child(kw_client *client, kw_error *error)
{
    kw_err code = enter_in_child(client, error);
    if (code == KW_OK) {
        kw_client_count_in(client);
    }
    return code;
}

kw_err kw_client_refuse_new(kw_client *client, kw_error *error)
{
    kw_client_leave(client);
    return kw_error_set(error, KW_ERR_DRAINING, KW_EFFECT_NONE,
                        "the handle takes nothing new since kw_drain was called");
}

bool kw_client_enter_at_home(kw_client *client)
{
    if (kw_fork_has_happened(&client->fork)) {
        return false;
    }
    kw_client_count_in(client);
    return true;
}

void kw_client_need_part(kw_client *client, kw_client_part_kind kind, const kw_client_part *part,
                         bool is_tended)
{
    atomic_store_explicit(&client->parts[kind], part, memory_order_release);
    if (is_tended) {
        atomic_store_explicit(&client->is_tended, true, memory_order_release);
    }
}

static void tend_parts(kw_client *client)
{
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        if (part != NULL) {
            part->tend_fn(client);
        }
    }
}

void kw_client_leave_calls(kw_client *client, uint64_t commands_n, uint64_t failures_n)
{
    kw_call_counts_add(&client->counts, commands_n, failures_n);
    if (atomic_load_explicit(&client->is_tended, memory_order_acquire)) {
        tend_parts(client);
    }
    kw_client_leave(client);
}
