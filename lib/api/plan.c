#include "api/plan.h"

#include "api/call.h"
#include "api/plan_ring.h"
#include "base/error.h"
#include "base/resp.h"
#include "route/keys.h"
#include "route/slot.h"
#include "route/split.h"

#include <string.h>

/* A command that blocks without end has an end after all. */
#define BLOCK_MAX_MS ((uint64_t)10 * 365 * 24 * 3600 * 1000)

/* Where the command's keys, or a server's advice, send it. */
static void take_slot(kw_plan *plan, uint16_t slot)
{
    plan->kind = KW_PLAN_SLOT;
    plan->slot = slot;
}

static void take_policy(kw_plan *plan)
{
    plan->kind = KW_PLAN_ANY;
    if (kw_command_response(plan->command) == KW_RESPONSE_SPECIAL) {
        return; /* no rule makes one reply of several (INFO): one node's it is */
    }
    switch (kw_command_request(plan->command)) {
    case KW_REQUEST_ALL_SHARDS:
        plan->kind = KW_PLAN_ALL_PRIMARIES;
        break;
    case KW_REQUEST_ALL_NODES:
        plan->kind = KW_PLAN_ALL_NODES;
        break;
    case KW_REQUEST_KEYED:
    case KW_REQUEST_ANY:
    case KW_REQUEST_MULTI_SHARD:
    case KW_REQUEST_SPECIAL:
        break;
    }
}

/* The same for keys of which servers and the ring have their own opinion. */
static kw_err take_ring_keys(kw_plan *plan, kw_client *client, kw_error *error, const kw_keys *keys,
                             const kw_bytes *argv, size_t argc)
{
    bool refuses_split = client->env.options.refuses_split;
    bool is_multi = kw_command_request(plan->command) == KW_REQUEST_MULTI_SHARD && !refuses_split;
    bool may_split = is_multi && kw_split_can(plan->command, keys, argc);
    if (is_multi && !may_split) {
        /* MSET with a key that lacks its value: a server has the words for it. */
        kw_plan_ring_key(plan, client, kw_keys_at(keys, argv, 0));
        return KW_OK;
    }
    return kw_plan_ring_keys(plan, client, error, keys, argv, may_split);
}

static kw_err route_by_keys(kw_plan *plan, kw_client *client, kw_error *error, const kw_bytes *argv,
                            size_t argc)
{
    bool refuses_split = client->env.options.refuses_split;
    kw_keys keys;
    kw_err code = kw_keys_find(&keys, error, plan->command, argv, argc);
    if (code != KW_OK) {
        return code;
    }
    if (keys.ranges_n == 0) {
        take_policy(plan);
        return KW_OK;
    }
    if (kw_plan_is_ring(client)) {
        return take_ring_keys(plan, client, error, &keys, argv, argc);
    }
    uint16_t slot;
    bool may_split = !refuses_split && kw_split_can(plan->command, &keys, argc);
    bool is_multi = kw_command_request(plan->command) == KW_REQUEST_MULTI_SHARD;
    code = kw_keys_slot(&slot, is_multi && !refuses_split ? NULL : error, &keys, argv);
    if (code == KW_ERR_CROSSSLOT && is_multi && !refuses_split && !may_split) {
        /* MSET with a key that lacks its value: a server has the words for it. */
        slot = kw_slot_of(argv[1].data, argv[1].len);
        code = KW_OK;
    }
    if (code == KW_OK) {
        take_slot(plan, slot);
    } else if (code == KW_ERR_CROSSSLOT && may_split) {
        plan->kind = KW_PLAN_SPLIT;
        code = KW_OK;
    }
    return code;
}

/* A question of ours to any node, within the call's deadline. */
static kw_reply *ask_any(kw_client *client, kw_error *error, const kw_plan *plan,
                         const kw_bytes *argv, size_t argc)
{
    char space[512];
    kw_buf encoded;
    kw_buf_init(&encoded, &client->env.mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (kw_resp_append(&encoded, argv, argc)) {
        kw_plan question;
        memset(&question, 0, sizeof(question));
        question.kind = KW_PLAN_ANY;
        question.name = "COMMAND";
        question.is_repeatable = true;
        question.is_ours = true;
        question.start_ns = kw_env_now(&client->env);
        question.deadline_ns = plan->deadline_ns;
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = kw_call_run(client, error, &question, bytes);
    } else {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to look a command up");
    }
    kw_buf_fini(&encoded);
    return reply;
}

static kw_err no_server(kw_error *error, const kw_error *failure)
{
    kw_err code = kw_error_set(error, failure->code, KW_EFFECT_NONE,
                               "unknown command, and no server to ask about it: %s", failure->text);
    kw_error_set_node(error, failure->node);
    return code;
}

static kw_err learn(kw_learnt *learnt, kw_client *client, kw_error *error, const kw_plan *plan,
                    kw_bytes name)
{
    if (kw_lookup_find(&client->lookup, learnt, name)) {
        return KW_OK;
    }
    kw_bytes argv[3] = {kw_bytes_of("COMMAND"), kw_bytes_of("INFO"), name};
    kw_error failure = KW_ERROR_INIT;
    kw_reply *reply = ask_any(client, &failure, plan, argv, 3);
    if (reply == NULL) {
        return no_server(error, &failure);
    }
    if (!kw_lookup_learn(&client->lookup, learnt, name, reply)) {
        memset(learnt, 0, sizeof(*learnt)); /* COMMAND is not allowed here: any node */
    }
    kw_reply_free(reply);
    return KW_OK;
}

/* Slot of the first and of every other key that a server found. */
static kw_err slot_of_all(uint16_t *slot, kw_error *error, const kw_reply *keys)
{
    for (size_t i = 0; i < kw_reply_count(keys); i++) {
        kw_bytes key = kw_reply_bytes(kw_reply_at(keys, i));
        uint16_t other = (uint16_t)kw_slot(key.data, key.len);
        if (i > 0 && other != *slot) {
            return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                                "keys number 1 and %zu of the command live in different slots, "
                                "%u and %u; give them one {hash tag}",
                                i + 1, (unsigned)*slot, (unsigned)other);
        }
        *slot = other;
    }
    return KW_OK;
}

static kw_err take_found(kw_plan *plan, kw_client *client, kw_error *error, const kw_reply *reply)
{
    uint16_t slot = 0;
    size_t n = kw_reply_count(reply);
    if (!kw_plan_is_ring(client)) {
        kw_err code = slot_of_all(&slot, error, reply);
        if (code == KW_OK) {
            take_slot(plan, slot);
        }
        return code;
    }
    kw_bytes *found = kw_mem_calloc(&client->env.mem, n, sizeof(found[0]));
    if (found == NULL) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to look a command up");
    }
    for (size_t i = 0; i < n; i++) {
        found[i] = kw_reply_bytes(kw_reply_at(reply, i));
    }
    kw_keys keys = {1, {{0, n, 1}}};
    kw_err code = kw_plan_ring_keys(plan, client, error, &keys, found, false);
    kw_mem_free(&client->env.mem, found);
    return code;
}

/* Keys that depend on the arguments: the server finds them. */
static kw_err route_by_server(kw_plan *plan, kw_client *client, kw_error *error,
                              const kw_bytes *argv, size_t argc)
{
    kw_bytes *question = kw_mem_calloc(&client->env.mem, argc + 2, sizeof(*question));
    if (question == NULL) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to look a command up");
    }
    question[0] = kw_bytes_of("COMMAND");
    question[1] = kw_bytes_of("GETKEYS");
    memcpy(question + 2, argv, argc * sizeof(*argv));
    kw_error failure = KW_ERROR_INIT;
    kw_reply *reply = ask_any(client, &failure, plan, question, argc + 2);
    kw_mem_free(&client->env.mem, question);
    if (reply == NULL) {
        return no_server(error, &failure);
    }
    kw_err code = KW_OK;
    if (kw_reply_count(reply) > 0) {
        code = take_found(plan, client, error, reply);
    }
    kw_reply_free(reply);
    return code;
}

static kw_err route_learnt(kw_plan *plan, kw_client *client, kw_error *error, const kw_bytes *argv,
                           size_t argc)
{
    kw_learnt learnt;
    kw_err code = learn(&learnt, client, error, plan, argv[0]);
    if (code != KW_OK) {
        return code;
    }
    plan->is_repeatable = plan->is_repeatable || (learnt.is_read && !learnt.is_write);
    plan->kind = KW_PLAN_ANY;
    if (learnt.is_movable ||
        (learnt.first == 0 && argc > 1 && learnt.is_known && (learnt.is_read || learnt.is_write))) {
        return route_by_server(plan, client, error, argv, argc);
    }
    long long last = learnt.last >= 0 ? learnt.last : (long long)argc + learnt.last;
    long long step = learnt.step > 0 ? learnt.step : 1;
    if (learnt.first <= 0 || last >= (long long)argc || learnt.first >= (long long)argc) {
        return KW_OK; /* no keys, or too few arguments: a server says what is wrong */
    }
    kw_keys keys = {1, {{(size_t)learnt.first, 0, (size_t)step}}};
    keys.ranges[0].count = last >= learnt.first ? (size_t)((last - learnt.first) / step + 1) : 1;
    if (kw_plan_is_ring(client)) {
        return kw_plan_ring_keys(plan, client, error, &keys, argv, false);
    }
    uint16_t slot;
    code = kw_keys_slot(&slot, error, &keys, argv);
    if (code == KW_OK) {
        take_slot(plan, slot);
    }
    return code;
}

/* A member of a ring goes by its name as well. */
static kw_node *find_member(kw_client *client, const char *name)
{
    kw_view *view = kw_plan_is_ring(client) ? kw_client_view(client) : NULL;
    uint32_t shard;
    kw_node *node = NULL;
    if (view != NULL && kw_ring_find(kw_map_ring(view->map), &shard, name, strlen(name)) == KW_OK) {
        node = kw_node_ref(view->nodes[kw_map_shard_at(view->map, shard)->primary]);
    }
    kw_view_unref(view);
    return node;
}

static kw_err route_to_node(kw_plan *plan, kw_client *client, kw_error *error, const char *name)
{
    kw_endpoint endpoint;
    plan->node = find_member(client, name);
    if (plan->node != NULL) {
        plan->kind = KW_PLAN_NODE;
        return KW_OK;
    }
    if (!kw_endpoint_parse(&endpoint, kw_bytes_of(name)) &&
        !kw_endpoint_set(&endpoint, kw_bytes_of(name), 0)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "options.node is not \"host:port\"");
    }
    kw_view *view;
    kw_err code = kw_client_need_view(client, &view, error, plan->deadline_ns);
    if (code != KW_OK) {
        return code;
    }
    kw_view_unref(view);
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_client_known_node(client, &endpoint);
    if (plan->node == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "options.node %.128s is no node that the handle knows", name);
    }
    return KW_OK;
}

/* The caller's own route; KW_ROUTE_AUTO is not for this. */
static kw_err route_as_told(kw_plan *plan, kw_client *client, kw_error *error,
                            const kw_call_options *options)
{
    switch (options->route) {
    case KW_ROUTE_KEY:
        if (options->key == NULL && options->key_len > 0) {
            break;
        }
        if (kw_plan_is_ring(client)) {
            kw_bytes key = {options->key, options->key_len};
            kw_plan_ring_key(plan, client, key);
        } else {
            take_slot(plan, (uint16_t)kw_slot(options->key, options->key_len));
        }
        return KW_OK;
    case KW_ROUTE_SLOT:
        if (kw_plan_is_ring(client)) {
            return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                                "a ring has no slots; route by key (KW_ROUTE_KEY)");
        }
        if (options->slot >= KW_SLOTS_N) {
            break;
        }
        take_slot(plan, (uint16_t)options->slot);
        return KW_OK;
    case KW_ROUTE_NODE:
        if (options->node == NULL) {
            break;
        }
        return route_to_node(plan, client, error, options->node);
    case KW_ROUTE_ALL_PRIMARIES:
        plan->kind = KW_PLAN_ALL_PRIMARIES;
        return KW_OK;
    case KW_ROUTE_ALL_NODES:
        plan->kind = KW_PLAN_ALL_NODES;
        return KW_OK;
    case KW_ROUTE_AUTO:
    case KW_ROUTE_ANY:
        plan->kind = KW_PLAN_ANY;
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                        "the call options' route %d lacks its key, slot or node",
                        (int)options->route);
}

static kw_err refuse(const kw_plan *plan, kw_error *error, unsigned flags)
{
    if ((flags & KW_COMMAND_SESSION) != 0) {
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s changes or binds its connection, and the handle's connections "
                            "are shared between calls; transactions and the like need a session "
                            "(kw_session_open)",
                            plan->name);
    }
    return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                        "%s cannot be sent through a shared handle", plan->name);
}

uint64_t kw_plan_deadline_ns(uint64_t now_ns, uint64_t timeout_ms)
{
    timeout_ms = timeout_ms < 2 * BLOCK_MAX_MS ? timeout_ms : 2 * BLOCK_MAX_MS;
    return now_ns + timeout_ms * KW_NS_PER_MS;
}

static void take_deadline(kw_plan *plan, kw_client *client, const kw_call_options *options,
                          const kw_bytes *argv, size_t argc)
{
    uint64_t timeout_ms = client->env.options.timeout_ms;
    if (options->timeout_ms > 0) {
        timeout_ms = options->timeout_ms;
    } else if (plan->is_blocking) {
        /* The server may answer that late, and no earlier. */
        uint64_t block_ms = kw_command_block_ms(plan->command, argv, argc);
        timeout_ms += block_ms < BLOCK_MAX_MS ? block_ms : BLOCK_MAX_MS;
    }
    plan->start_ns = kw_env_now(&client->env);
    plan->deadline_ns = kw_plan_deadline_ns(plan->start_ns, timeout_ms);
}

kw_err kw_plan_init(kw_plan *plan, kw_client *client, kw_error *error,
                    const kw_call_options *options, const kw_bytes *argv, size_t argc)
{
    memset(plan, 0, sizeof(*plan));
    plan->command = kw_command_find(argv, argc);
    plan->name = plan->command != NULL ? kw_command_name(plan->command) : "command";
    unsigned flags = plan->command != NULL ? kw_command_flags(plan->command) : 0;
    if ((flags & (KW_COMMAND_SESSION | KW_COMMAND_REFUSED)) != 0) {
        return refuse(plan, error, flags);
    }
    plan->is_repeatable = options->idempotent || (flags & KW_COMMAND_READ) != 0;
    plan->is_script = (flags & KW_COMMAND_SCRIPT) != 0;
    plan->is_blocking = (flags & KW_COMMAND_BLOCKING) != 0;
    take_deadline(plan, client, options, argv, argc);
    if (options->route != KW_ROUTE_AUTO) {
        return route_as_told(plan, client, error, options);
    }
    if (client->env.options.scheme == KW_SCHEME_SINGLE) {
        plan->kind = KW_PLAN_ANY;
        return KW_OK;
    }
    return plan->command != NULL ? route_by_keys(plan, client, error, argv, argc)
                                 : route_learnt(plan, client, error, argv, argc);
}

void kw_plan_fini(kw_plan *plan)
{
    kw_node_unref(plan->node);
    plan->node = NULL;
    kw_places_free(plan->places);
    plan->places = NULL;
}

bool kw_plan_is_ordered(const kw_plan *a, const kw_plan *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == KW_PLAN_PLACE) {
        return a->place == b->place || a->places != NULL || b->places != NULL;
    }
    return a->kind == KW_PLAN_SLOT && a->slot == b->slot;
}
