/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans commands that the table does not know, by COMMAND INFO and COMMAND GETKEYS. */
#include "drive/plan_lookup.h"

#include "topology/first_map.h"
#include "drive/call.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "base/resp.h"
#include "route/slot.h"

#include <string.h>

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to look a command up");
}

static bool encode_question(kw_buf *encoded, kw_plan_need need, const kw_plan_task *task)
{
    size_t argc = need == KW_PLAN_NEEDS_KEYS ? task->argc : 1;
    kw_bytes *argv = kw_mem_calloc(encoded->mem, argc + 2, sizeof(*argv));
    if (argv == NULL) {
        return false;
    }
    argv[0] = kw_bytes_of("COMMAND");
    argv[1] = kw_bytes_of(need == KW_PLAN_NEEDS_KEYS ? "GETKEYS" : "INFO");
    memcpy(argv + 2, task->argv, argc * sizeof(*argv));
    bool is_done = kw_resp_append(encoded, argv, argc + 2);
    kw_mem_free(encoded->mem, argv);
    return is_done;
}

bool kw_plan_question(kw_plan *question, kw_buf *encoded, const kw_plan *plan,
                      const kw_plan_task *task)
{
    memset(question, 0, sizeof(*question));
    question->kind = KW_PLAN_ANY;
    question->name = "COMMAND";
    question->is_repeatable = true;
    question->is_internal = true;
    question->start_ns = plan->start_ns;
    question->deadline_ns = plan->deadline_ns;
    return encode_question(encoded, plan->need, task);
}

kw_err kw_plan_unanswered(kw_error *error, const kw_error *failure)
{
    kw_err code = kw_error_set(error, failure->code, KW_EFFECT_NONE,
                               "unknown command, and no server to ask about it: %s", failure->text);
    kw_error_set_node(error, failure->node);
    return code;
}

kw_err kw_plan_ask(kw_plan *plan, kw_topology *topology, kw_error *error, kw_plan_task *task)
{
    if (plan->need == KW_PLAN_NEEDS_MAP) {
        kw_snapshot *snapshot;
        kw_err code = kw_topology_need_snapshot(topology, &snapshot, error,
                                                (kw_map_wait){plan->deadline_ns, plan->closing});
        if (code == KW_OK) {
            kw_snapshot_unref(snapshot);
        }
        plan->has_asked = true;
        return code;
    }
    char space[512];
    kw_buf encoded;
    kw_plan question;
    kw_buf_init(&encoded, &topology->env.mem, space, sizeof(space));
    kw_err code = KW_OK;
    if (kw_plan_question(&question, &encoded, plan, task)) {
        kw_bytes bytes = {encoded.data, encoded.len};
        kw_error failure = kw_error_none();
        question.closing = plan->closing;
        question.start_ns = kw_env_now(&topology->env);
        task->reply = kw_call_run(topology, &failure, &question, bytes);
        plan->has_asked = true;
        code = task->reply != NULL ? KW_OK : kw_plan_unanswered(error, &failure);
    } else {
        code = no_memory(error);
    }
    kw_buf_fini(&encoded);
    return code;
}

static kw_err route_learnt(kw_plan *plan, kw_topology *topology, kw_error *error,
                           const kw_plan_task *task, const kw_learnt *learnt)
{
    size_t argc = task->argc;
    plan->is_repeatable = plan->is_repeatable || (learnt->is_read && !learnt->is_write);
    plan->is_blocking = learnt->is_blocking; /* by its own connection, within the call's deadline */
    plan->kind = KW_PLAN_ANY;
    if (learnt->is_movable || (learnt->first == 0 && argc > 1 && learnt->is_known &&
                               (learnt->is_read || learnt->is_write))) {
        plan->need = KW_PLAN_NEEDS_KEYS; /* they depend on the arguments: the server finds them */
        return KW_OK;
    }
    long long last = learnt->last >= 0 ? learnt->last : (long long)argc + learnt->last;
    long long step = learnt->step > 0 ? learnt->step : 1;
    if (learnt->first <= 0 || last >= (long long)argc || learnt->first >= (long long)argc) {
        return KW_OK; /* no keys, or too few arguments: a server says what is wrong */
    }
    kw_keys keys = {task->argv, 1, {{(size_t)learnt->first, 0, (size_t)step}}, argc};
    keys.ranges[0].count = last >= learnt->first ? (size_t)((last - learnt->first) / step + 1) : 1;
    if (kw_topology_is_ring(topology)) {
        return kw_plan_ring_keys(plan, topology, error, &keys, false);
    }
    uint16_t slot;
    kw_err code = kw_keys_slot(&slot, error, &keys);
    if (code == KW_OK) {
        kw_plan_take_slot(plan, slot);
    }
    return code;
}

kw_err kw_plan_look_up(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task)
{
    kw_learnt learnt;
    if (!kw_command_cache_find(&topology->command_cache, &learnt, task->argv[0])) {
        plan->need = KW_PLAN_NEEDS_INFO;
        return KW_OK;
    }
    return route_learnt(plan, topology, error, task, &learnt);
}

kw_err kw_plan_on_info(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task)
{
    kw_learnt learnt;
    if (!kw_command_cache_learn(&topology->command_cache, &learnt, task->argv[0], task->reply)) {
        memset(&learnt, 0, sizeof(learnt)); /* COMMAND is not allowed here: any node */
    }
    return route_learnt(plan, topology, error, task, &learnt);
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

static kw_err take_on_ring(kw_plan *plan, kw_topology *topology, kw_error *error,
                           const kw_reply *reply)
{
    size_t n = kw_reply_count(reply);
    kw_bytes *found = kw_mem_calloc(&topology->env.mem, n, sizeof(found[0]));
    if (found == NULL) {
        return no_memory(error);
    }
    for (size_t i = 0; i < n; i++) {
        found[i] = kw_reply_bytes(kw_reply_at(reply, i));
    }
    kw_keys keys = {found, 1, {{0, n, 1}}, n};
    kw_err code = kw_plan_ring_keys(plan, topology, error, &keys, false);
    kw_mem_free(&topology->env.mem, found);
    return code;
}

kw_err kw_plan_on_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task)
{
    if (kw_reply_count(task->reply) == 0) {
        return KW_OK;
    }
    if (kw_topology_is_ring(topology)) {
        return take_on_ring(plan, topology, error, task->reply);
    }
    uint16_t slot = 0;
    kw_err code = slot_of_all(&slot, error, task->reply);
    if (code == KW_OK) {
        kw_plan_take_slot(plan, slot);
    }
    return code;
}
