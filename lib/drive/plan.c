/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides where a command goes: by the caller's route, its keys, or the policy of the table. */
#include "drive/plan.h"

#include "topology/node_registry.h"
#include "drive/plan_lookup.h"
#include "drive/plan_refuse.h"
#include "drive/plan_ring.h"
#include "base/apart.h"
#include "base/error.h"
#include "base/resp.h"
#include "engine/ordering.h"
#include "route/keys.h"
#include "route/slot.h"
#include "route/split.h"

#include <string.h>

const kw_call_options kw_plan_defaults = KW_CALL_OPTIONS_INIT;

/* A command that blocks without end has an end after all. */
#define BLOCK_MAX_MS ((uint64_t)10 * 365 * 24 * 3600 * 1000)

/* Without keys: as the servers advise. Where there are many nodes, what concerns one of them is
 * never sent to one of chance. */
static kw_err take_policy(kw_plan *plan, const kw_topology *topology, kw_error *error)
{
    const kw_command_info *command = plan->command;
    kw_request_policy request = kw_command_request(command);
    bool is_of_one = request == KW_REQUEST_ONE_NODE || request == KW_REQUEST_SPECIAL ||
                     kw_command_response(command) == KW_RESPONSE_SPECIAL;
    plan->kind = KW_PLAN_ANY;
    bool has_many = topology->env.options.scheme == KW_SCHEME_CLUSTER ||
                    topology->env.options.scheme == KW_SCHEME_RING;
    if (is_of_one && has_many) {
        bool is_scan = strcmp(kw_command_name(command), "SCAN") == 0;
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s concerns one node: %ssay which (kw_call with KW_ROUTE_NODE, for "
                            "instance), or KW_ROUTE_ALL_PRIMARIES, KW_ROUTE_ALL_NODES or "
                            "KW_ROUTE_ANY",
                            kw_command_name(command),
                            is_scan ? "walk the keys of all nodes by kw_scan_open; or " : "");
    }
    if (!is_of_one && request == KW_REQUEST_ALL_SHARDS) {
        plan->kind = KW_PLAN_ALL_PRIMARIES;
    } else if (!is_of_one && request == KW_REQUEST_ALL_NODES) {
        plan->kind = KW_PLAN_ALL_NODES;
    }
    return KW_OK;
}

/* Routes by keys on a ring, whose owners are nodes and not slots. */
static kw_err take_ring_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                             const kw_keys *keys, size_t argc)
{
    bool refuses_split = topology->env.options.refuses_split;
    bool may_split = !refuses_split && kw_split_can(plan->command, keys, argc);
    return kw_plan_ring_keys(plan, topology, error, keys, may_split);
}

/* Without keys. Messages of one channel go one way, which is that to its subscribers: on a ring to
 * the owner of its name, in a cluster to that of its slot, though any node takes them. */
static kw_err route_without_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                                 const kw_plan_task *task)
{
    kw_bytes channel = kw_keys_channel(plan->command, task->argv, task->argc);
    if (channel.data == NULL) {
        return take_policy(plan, topology, error);
    }
    if (task->is_ordered) {
        kw_plan_take_key(plan, kw_order_hash(channel, 0));
    }
    if (kw_topology_is_ring(topology)) {
        kw_plan_ring_key(plan, topology, channel);
        return KW_OK;
    }
    if (topology->env.options.scheme == KW_SCHEME_CLUSTER) {
        plan->kind = KW_PLAN_CHANNEL;
        plan->slot = kw_slot_of(channel.data, channel.len);
        return KW_OK;
    }
    return take_policy(plan, topology, error);
}

/* Keys that are several, or may be, or on a ring. */
KW_APART static kw_err route_by_all_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                                         const kw_plan_task *task)
{
    const kw_bytes *argv = task->argv;
    size_t argc = task->argc;
    bool refuses_split = topology->env.options.refuses_split;
    kw_keys keys;
    kw_err code = kw_keys_find(&keys, error, plan->command, argv, argc);
    if (code != KW_OK) {
        return code;
    }
    if (keys.ranges_n == 0) {
        return route_without_keys(plan, topology, error, task);
    }
    bool is_one = keys.ranges_n == 1 && keys.ranges[0].count == 1;
    if (is_one && task->is_ordered) {
        kw_plan_take_key(plan, kw_order_hash(argv[keys.ranges[0].at], 0));
    }
    if (kw_topology_is_ring(topology)) {
        return take_ring_keys(plan, topology, error, &keys, argc);
    }
    uint16_t slot;
    bool may_split = !refuses_split && kw_split_can(plan->command, &keys, argc);
    code = kw_keys_slot(&slot, may_split ? NULL : error, &keys);
    if (code == KW_OK) {
        kw_plan_take_slot(plan, slot);
    } else if (code == KW_ERR_CROSSSLOT && may_split) {
        plan->kind = KW_PLAN_SPLIT;
        code = KW_OK;
    }
    return code;
}

static kw_err route_by_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                            const kw_plan_task *task)
{
    size_t only = kw_keys_only(plan->command, task->argc);
    if (only == 0 || kw_topology_is_ring(topology)) {
        return route_by_all_keys(plan, topology, error, task);
    }
    const kw_bytes *key = &task->argv[only];
    kw_plan_take_slot(plan, kw_slot_of(key->data, key->len));
    if (task->is_ordered) {
        kw_plan_take_key(plan, kw_order_hash(*key, 0));
    }
    return KW_OK;
}

/* A member of a ring goes by its name as well. */
static kw_node *find_member(kw_topology *topology, const char *name)
{
    kw_snapshot *snapshot = kw_topology_is_ring(topology) ? kw_topology_snapshot(topology) : NULL;
    uint32_t shard;
    kw_node *node = NULL;
    if (snapshot != NULL &&
        kw_ring_find(kw_map_ring(snapshot->map), &shard, name, strlen(name)) == KW_OK) {
        node = kw_node_ref(snapshot->nodes[kw_map_shard_at(snapshot->map, shard)->primary]);
    }
    kw_snapshot_unref(snapshot);
    return node;
}

static kw_err route_to_node(kw_plan *plan, kw_topology *topology, kw_error *error, const char *name)
{
    kw_endpoint endpoint;
    plan->node = find_member(topology, name);
    if (plan->node != NULL) {
        plan->kind = KW_PLAN_NODE;
        return KW_OK;
    }
    if (!kw_endpoint_parse(&endpoint, kw_bytes_of(name)) &&
        !kw_endpoint_set(&endpoint, kw_bytes_of(name), 0)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "options.node is not \"host:port\"");
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    bool has_map = snapshot != NULL;
    kw_snapshot_unref(snapshot);
    if (!has_map) {
        plan->need = KW_PLAN_NEEDS_MAP;
        return KW_OK;
    }
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_topology_known_node(topology, &endpoint);
    if (plan->node == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "options.node %.128s is no node that the handle knows", name);
    }
    plan->is_outside = kw_node_is_retired(plan->node);
    return KW_OK;
}

/* The caller's own route; KW_ROUTE_AUTO is not for this. */
KW_APART static kw_err route_as_told(kw_plan *plan, kw_topology *topology, kw_error *error,
                                     const kw_call_options *options)
{
    switch (options->route) {
    case KW_ROUTE_KEY:
        if (options->key == NULL && options->key_len > 0) {
            break;
        }
        if (kw_topology_is_ring(topology)) {
            if (kw_plan_ring_check(topology, error) != KW_OK) {
                return KW_ERR_REFUSED;
            }
            kw_bytes key = {options->key, options->key_len};
            kw_plan_ring_key(plan, topology, key);
        } else {
            kw_plan_take_slot(plan, (uint16_t)kw_slot(options->key, options->key_len));
        }
        return KW_OK;
    case KW_ROUTE_SLOT:
        if (kw_topology_is_ring(topology)) {
            return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                                "a ring has no slots; route by key (KW_ROUTE_KEY)");
        }
        if (options->slot >= KW_SLOTS_N) {
            break;
        }
        kw_plan_take_slot(plan, (uint16_t)options->slot);
        return KW_OK;
    case KW_ROUTE_NODE:
        if (options->node == NULL) {
            break;
        }
        return route_to_node(plan, topology, error, options->node);
    case KW_ROUTE_ALL_PRIMARIES:
        plan->kind = KW_PLAN_ALL_PRIMARIES;
        return KW_OK;
    case KW_ROUTE_ALL_NODES:
        plan->kind = KW_PLAN_ALL_NODES;
        return KW_OK;
    case KW_ROUTE_AUTO:
    case KW_ROUTE_ANY:
        if (topology->env.options.scheme == KW_SCHEME_SENTINEL) {
            kw_plan_take_slot(plan, 0);
        } else {
            plan->kind = KW_PLAN_ANY;
        }
        if (kw_topology_is_ring(topology) && options->route == KW_ROUTE_ANY &&
            options->key != NULL) {
            kw_bytes key = {options->key, options->key_len};
            return kw_plan_ring_near(plan, topology, error, key);
        }
        return KW_OK;
    }
    return kw_plan_refuse_route(error, options->route);
}

uint64_t kw_plan_deadline_ns(uint64_t now_ns, uint64_t timeout_ms)
{
    timeout_ms = timeout_ms < 2 * BLOCK_MAX_MS ? timeout_ms : 2 * BLOCK_MAX_MS;
    return now_ns + timeout_ms * KW_NS_PER_MS;
}

/* The server may answer that late, and no earlier. */
KW_APART static uint64_t take_block_ms(kw_plan *plan, const kw_plan_task *task)
{
    uint64_t block_ms = kw_command_block_ms(plan->command, task->argv, task->argc);
    block_ms = block_ms < BLOCK_MAX_MS ? block_ms : BLOCK_MAX_MS;
    plan->block_ns = block_ms * KW_NS_PER_MS;
    return block_ms;
}

static void take_deadline(kw_plan *plan, const kw_topology *topology, const kw_plan_task *task)
{
    const kw_call_options *options = task->options;
    uint64_t timeout_ms = topology->env.options.timeout_ms;
    if (options->timeout_ms > 0) {
        timeout_ms = options->timeout_ms;
    } else if (plan->is_blocking) {
        timeout_ms += take_block_ms(plan, task);
    }
    bool is_now = !task->is_timed_later || plan->command == NULL;
    plan->start_ns = is_now ? kw_env_now(&topology->env) : 0;
    plan->deadline_ns = kw_plan_deadline_ns(plan->start_ns, timeout_ms);
}

/* Where the call's options want a read to go. */
static kw_err take_read(kw_plan *plan, kw_error *error, const kw_call_options *options,
                        bool may_go_to_replica)
{
    static const kw_read_preference preferences[] = {
        [KW_READ_PRIMARY] = KW_READ_OF_PRIMARY,
        [KW_READ_PREFER_REPLICA] = KW_READ_OF_PREFERRED_REPLICA,
        [KW_READ_REPLICA] = KW_READ_OF_REPLICA,
        [KW_READ_NEAREST] = KW_READ_OF_NEAREST,
        [KW_READ_ZONE] = KW_READ_OF_ZONE,
    };
    unsigned wanted = (unsigned)options->read;
    if (options->after != NULL && options->after->size != sizeof(*options->after)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "after->size is wrong: start with KW_TOKEN_INIT");
    }
    if (wanted > KW_READ_ZONE || (options->read == KW_READ_ZONE && options->zone == NULL)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "options.%s",
                            wanted > KW_READ_ZONE ? "read is none of kw_read" : "zone is NULL");
    }
    if (!may_go_to_replica) {
        return KW_OK;
    }
    if (options->after != NULL) {
        plan->has_after = true;
        plan->after_stream = options->after->stream;
        plan->after_offset = options->after->offset;
    }
    if (options->read != KW_READ_DEFAULT) {
        plan->read = preferences[wanted];
        plan->zone = options->zone != NULL ? kw_zone_hash(kw_bytes_of(options->zone)) : 0;
    }
    return KW_OK;
}

/* Each field by itself, which takes less than zeros for all of it, in every call, and the one bit
 * that many commands have with them. */
static inline void clear(kw_plan *plan, bool is_repeatable)
{
    plan->kind = KW_PLAN_ANY;
    plan->need = KW_PLAN_NEEDS_NOTHING;
    plan->read = KW_READ_OF_PRIMARY;
    plan->keys = KW_PLAN_KEYS_UNKNOWN;
    plan->slot = 0;
    plan->is_outside = false;
    plan->is_near = false;
    plan->is_repeatable = is_repeatable;
    plan->is_script = false;
    plan->is_transaction = false;
    plan->is_blocking = false;
    plan->fails_fast = false;
    plan->is_internal = false;
    plan->has_after = false;
    plan->has_asked = false;
    plan->closing = NULL;
    plan->position = 0;
    plan->node = NULL;
    plan->script = NULL;
    plan->write = NULL;
    plan->command = NULL;
    plan->name = NULL;
    plan->zone = 0;
    plan->start_ns = 0;
    plan->deadline_ns = 0;
    plan->block_ns = 0;
}

/* What options of the call's own, and acks of the handle, ask for. */
KW_APART static kw_err take_own(kw_plan *plan, kw_topology *topology, kw_error *error,
                                const kw_plan_task *task, bool may_go_to_replica)
{
    const char *writer = kw_plan_may_write(plan) ? kw_plan_name(plan) : NULL;
    const kw_call_options *options = task->options;
    kw_err code = kw_plan_check_acks(topology, error, task, writer);
    plan->is_repeatable = plan->is_repeatable || options->idempotent;
    plan->fails_fast = options->fail_fast;
    return code == KW_OK ? take_read(plan, error, options, may_go_to_replica) : code;
}

/* Where the command goes, but for a plan that lacks something. */
static kw_err route(kw_plan *plan, kw_topology *topology, kw_error *error, const kw_plan_task *task)
{
    if (task->options->route != KW_ROUTE_AUTO) {
        return route_as_told(plan, topology, error, task->options);
    }
    if (topology->env.options.scheme == KW_SCHEME_SINGLE) {
        plan->kind = KW_PLAN_ANY;
        return KW_OK;
    }
    if (topology->env.options.scheme == KW_SCHEME_SENTINEL) {
        kw_plan_take_slot(plan, 0); /* one primary has every key */
        return KW_OK;
    }
    return plan->command != NULL ? route_by_keys(plan, topology, error, task)
                                 : kw_plan_look_up(plan, topology, error, task);
}

static kw_err start(kw_plan *plan, kw_topology *topology, kw_error *error, const kw_plan_task *task)
{
    const kw_command_info *command = kw_command_find_like(task->like, task->argv, task->argc);
    unsigned flags = command != NULL ? kw_command_flags(command) : 0;
    clear(plan, (flags & KW_COMMAND_READ) != 0 && topology->env.options.repeats_reads);
    plan->command = command;
    if ((flags & (KW_COMMAND_SESSION | KW_COMMAND_REFUSED)) != 0) {
        return kw_plan_refuse(plan, error, false);
    }
    if ((flags & (KW_COMMAND_SCRIPT | KW_COMMAND_BLOCKING)) != 0) {
        plan->is_script = (flags & KW_COMMAND_SCRIPT) != 0;
        plan->is_blocking = (flags & KW_COMMAND_BLOCKING) != 0;
    }
    bool may_go_to_replica = (flags & (KW_COMMAND_READ | KW_COMMAND_WRITE | KW_COMMAND_BLOCKING)) ==
                             KW_COMMAND_READ; /* it only reads, and does not wait for anything */
    if (may_go_to_replica) {
        plan->read = topology->env.options.read;
        plan->zone = topology->env.options.read_zone;
    }
    if (task->options != &kw_plan_defaults || topology->env.options.acks > 0) {
        kw_err code = take_own(plan, topology, error, task, may_go_to_replica);
        if (code != KW_OK) {
            return code;
        }
    }
    take_deadline(plan, topology, task);
    return route(plan, topology, error, task);
}

kw_err kw_plan_start(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task)
{
    kw_err code = start(plan, topology, error, task);
    plan->closing = task->closing;
    if (code == KW_OK && task->script != NULL) {
        plan->script = *task->script;
        *task->script = NULL;
    }
    bool is_watched = atomic_load_explicit(&topology->write_stamps, memory_order_acquire) != NULL;
    if (code == KW_OK && is_watched && (code = kw_plan_begin_write(plan, topology, error, task))) {
        kw_plan_return_script(plan, task);
        kw_plan_fini(plan);
    }
    return code;
}

kw_err kw_plan_go_on(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task)
{
    kw_plan_need before = plan->need;
    plan->need = KW_PLAN_NEEDS_NOTHING;
    switch (before) {
    case KW_PLAN_NEEDS_NOTHING:
        break;
    case KW_PLAN_NEEDS_MAP:
        return route_to_node(plan, topology, error, task->options->node);
    case KW_PLAN_NEEDS_INFO:
        return kw_plan_on_info(plan, topology, error, task);
    case KW_PLAN_NEEDS_KEYS:
        return kw_plan_on_keys(plan, topology, error, task);
    }
    return KW_OK;
}

kw_err kw_plan_ask_on(kw_plan *plan, kw_topology *topology, kw_error *error, kw_plan_task *task)
{
    kw_err code = KW_OK;
    while (code == KW_OK && plan->need != KW_PLAN_NEEDS_NOTHING) {
        code = kw_plan_ask(plan, topology, error, task);
        code = code == KW_OK ? kw_plan_go_on(plan, topology, error, task) : code;
        kw_reply_free(task->reply);
        task->reply = NULL;
    }
    if (code != KW_OK) {
        kw_plan_return_script(plan, task);
        kw_plan_end_write(plan);
    }
    return code;
}

kw_err kw_plan_begin_write(kw_plan *plan, kw_topology *topology, kw_error *error,
                           const kw_plan_task *task)
{
    kw_write_stamps *stamps = atomic_load_explicit(&topology->write_stamps, memory_order_acquire);
    if (stamps == NULL || !kw_plan_may_write(plan)) {
        return KW_OK;
    }
    kw_own_command command = {plan->command, task->argv, task->argc};
    plan->write = stamps->begin_fn(stamps, &command);
    return plan->write != NULL
               ? KW_OK
               : kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a write");
}

void kw_plan_give_back(kw_plan *plan)
{
    if (plan->node != NULL && plan->is_near) {
        atomic_fetch_sub_explicit(&plan->node->near_n, 1, memory_order_relaxed);
    }
    kw_node_unref(plan->node);
    plan->node = NULL;
    if (plan->script != NULL) {
        plan->script->free(plan->script);
        plan->script = NULL;
    }
    kw_plan_end_write(plan);
    kw_ring_positions_free(kw_plan_positions(plan));
    kw_plan_hand_over(plan);
}
