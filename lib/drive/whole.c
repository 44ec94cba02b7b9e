/* SPDX-License-Identifier: BSD-3-Clause */
/* A whole transaction: its commands are planned one by one as they are added, and all of them must
 * belong to one place; a run has a plan of its own for all. */
#include "drive/whole.h"

#include "base/error.h"
#include "base/resp.h"
#include "drive/driver.h"
#include "drive/encoded_args.h"
#include "drive/plan_refuse.h"
#include "drive/plan_ring.h"

#include <string.h>

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n";
static const char exec[] = "*1\r\n$4\r\nEXEC\r\n";

#define MULTI_LEN (sizeof(multi) - 1)
#define EXEC_LEN  (sizeof(exec) - 1)

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a transaction");
}

void kw_whole_init(kw_whole *self, const kw_allocator *mem)
{
    memset(self, 0, sizeof(*self));
    self->mem = *mem;
    kw_buf_init(&self->encoded, &self->mem, NULL, 0);
    kw_whole_clear(self);
}

void kw_whole_fini(kw_whole *self)
{
    kw_buf_fini(&self->encoded);
    kw_mem_free(&self->mem, self->positions);
}

void kw_whole_clear(kw_whole *self)
{
    self->encoded.len = 0;
    self->commands_n = 0;
    self->has_slot = false;
    self->positions_n = 0;
    self->is_repeatable = true;
    self->may_write = false;
}

static kw_err check_slot(const kw_whole *self, kw_error *error, const kw_plan *plan)
{
    if (!self->has_slot || self->slot == plan->slot) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                        "%s has its key in slot %u, and the transaction so far is in slot %u; give "
                        "all its keys the same {hash tag}",
                        kw_plan_name(plan), plan->slot, self->slot);
}

/* Positions of the plan's keys, n of them. */
static const uint64_t *positions_of(const kw_plan *plan, size_t *n)
{
    const kw_ring_positions *positions = kw_plan_positions(plan);
    *n = positions != NULL ? positions->n : 1;
    return positions != NULL ? positions->at : &plan->position;
}

/* By the ring of this moment all keys have one owner. */
static kw_err check_positions(const kw_whole *self, kw_topology *topology, kw_error *error,
                              const kw_plan *plan)
{
    size_t n;
    const uint64_t *at = positions_of(plan, &n);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    const kw_node *here =
        kw_snapshot_at_position(snapshot, self->positions_n > 0 ? self->positions[0] : at[0]);
    const kw_node *there = here;
    for (size_t i = 0; i < n && there == here; i++) {
        there = kw_snapshot_at_position(snapshot, at[i]);
    }
    kw_err code = KW_OK;
    if (here != there) {
        code = kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                            "keys of %s live at %.128s, and those of the transaction so far at "
                            "%.128s; give all its keys the same {hash tag}",
                            kw_plan_name(plan), there != NULL ? there->name : "no node",
                            here != NULL ? here->name : "no node");
    }
    kw_snapshot_unref(snapshot);
    return code;
}

static kw_err check_place(const kw_whole *self, kw_topology *topology, kw_error *error,
                          const kw_plan *plan)
{
    switch (plan->kind) {
    case KW_PLAN_SLOT:
        return check_slot(self, error, plan);
    case KW_PLAN_POSITION:
        return check_positions(self, topology, error, plan);
    case KW_PLAN_SPLIT:
        return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                            "%s has keys of several owners, and a transaction runs at one; give "
                            "all its keys the same {hash tag}",
                            kw_plan_name(plan));
    case KW_PLAN_ALL_PRIMARIES:
    case KW_PLAN_ALL_NODES:
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s goes to many nodes, and a transaction to one; send it by "
                            "kw_command",
                            kw_plan_name(plan));
    case KW_PLAN_ANY:
    case KW_PLAN_CHANNEL: /* with the keys of the others */
    case KW_PLAN_NODE:
        break;
    }
    return KW_OK;
}

/* Room for the plan's positions. */
static bool reserve_positions(kw_whole *self, size_t n)
{
    if (self->positions_capacity - self->positions_n >= n) {
        return true;
    }
    size_t capacity = 2 * (self->positions_n + n);
    uint64_t *positions =
        kw_mem_resize(&self->mem, self->positions, capacity, sizeof(positions[0]));
    if (positions == NULL) {
        return false;
    }
    self->positions = positions;
    self->positions_capacity = capacity;
    return true;
}

/* The command in front of EXEC; false, and nothing has changed, when there is no memory. */
static bool encode(kw_whole *self, const kw_plan_task *task)
{
    kw_buf *encoded = &self->encoded;
    size_t len;
    size_t needed;
    if (!kw_resp_len(&len, task->argv, task->argc) ||
        !kw_size_add(&needed, len, MULTI_LEN + EXEC_LEN) || !kw_buf_reserve(encoded, needed)) {
        return false;
    }
    char *at = encoded->data + (encoded->len > 0 ? encoded->len - EXEC_LEN : 0);
    if (encoded->len == 0) {
        memcpy(at, multi, MULTI_LEN);
        at += MULTI_LEN;
    }
    at = kw_resp_write(at, task->argv, task->argc);
    memcpy(at, exec, EXEC_LEN);
    encoded->len = (size_t)(at - encoded->data) + EXEC_LEN;
    return true;
}

static kw_err take(kw_whole *self, kw_error *error, const kw_plan_task *task, const kw_plan *plan)
{
    size_t n = 0;
    const uint64_t *at = plan->kind == KW_PLAN_POSITION ? positions_of(plan, &n) : NULL;
    if (!reserve_positions(self, n) || !encode(self, task)) {
        return no_memory(error);
    }
    for (size_t i = 0; i < n; i++) {
        self->positions[self->positions_n++] = at[i];
    }
    if (plan->kind == KW_PLAN_SLOT) {
        self->has_slot = true;
        self->slot = plan->slot;
    }
    self->is_repeatable = self->is_repeatable && plan->is_repeatable;
    self->may_write = self->may_write || kw_plan_may_write(plan);
    self->commands_n++;
    return KW_OK;
}

kw_err kw_whole_add(kw_whole *self, kw_topology *topology, kw_error *error, kw_plan_task *task)
{
    kw_plan plan;
    task->takes_acks = true; /* a run says whether it wants any */
    kw_err code = kw_plan_make(&plan, topology, error, task);
    if (code != KW_OK) {
        return code;
    }
    code = check_place(self, topology, error, &plan);
    code = code == KW_OK ? take(self, error, task, &plan) : code;
    kw_plan_fini(&plan);
    return code;
}

/* To where all keys are. */
static bool take_place(kw_plan *plan, const kw_whole *whole)
{
    if (whole->has_slot) {
        kw_plan_take_slot(plan, whole->slot);
    } else if (whole->positions_n > 0) {
        plan->kind = KW_PLAN_POSITION;
        plan->position = whole->positions[0];
        kw_ring_positions *positions = kw_ring_positions_new(&whole->mem, whole->positions_n);
        for (size_t i = 0; positions != NULL && i < whole->positions_n; i++) {
            positions->at[i] = whole->positions[i];
        }
        return kw_plan_take_positions(plan, positions);
    }
    return true;
}

/* Values near are told of each of its writes. */
static kw_err begin_writes(kw_plan *plan, kw_topology *topology, kw_error *error,
                           const kw_whole *whole)
{
    if (atomic_load_explicit(&topology->write_stamps, memory_order_acquire) == NULL) {
        return KW_OK;
    }
    kw_bytes rest = {whole->encoded.data + MULTI_LEN, whole->encoded.len - MULTI_LEN - EXEC_LEN};
    kw_err code = KW_OK;
    while (code == KW_OK && rest.len > 0) {
        kw_encoded_args args;
        if (!kw_encoded_args_take(&args, &whole->mem, &rest)) {
            return no_memory(error);
        }
        kw_plan one = {.command = kw_command_find(args.argv, args.argc)};
        kw_plan_task task = {.argv = args.argv, .argc = args.argc};
        code = kw_plan_begin_write(&one, topology, error, &task);
        if (one.write != NULL) {
            one.write->next = plan->write;
            plan->write = one.write;
        }
        kw_encoded_args_fini(&args);
    }
    return code;
}

kw_err kw_whole_plan(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task)
{
    const kw_whole *whole = task->whole;
    const kw_call_options *options = task->options;
    memset(plan, 0, sizeof(*plan));
    plan->kind = KW_PLAN_ANY;
    plan->name = "transaction";
    plan->is_transaction = true;
    plan->is_script = true;
    plan->is_repeatable = whole->is_repeatable || options->idempotent;
    plan->fails_fast = options->fail_fast;
    plan->closing = task->closing;
    if (whole->commands_n == 0 || options->route != KW_ROUTE_AUTO) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "%s",
                            whole->commands_n == 0
                                ? "the transaction has no commands"
                                : "a transaction goes to where its keys are: no route is taken");
    }
    kw_err code =
        kw_plan_check_acks(topology, error, task, whole->may_write ? kw_plan_name(plan) : NULL);
    if (code != KW_OK) {
        return code;
    }
    uint64_t timeout_ms = topology->env.options.timeout_ms;
    timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : timeout_ms;
    plan->start_ns = task->is_timed_later ? 0 : kw_env_now(&topology->env);
    plan->deadline_ns = kw_plan_deadline_ns(plan->start_ns, timeout_ms);
    code = take_place(plan, whole) ? begin_writes(plan, topology, error, whole) : no_memory(error);
    if (code != KW_OK) {
        kw_plan_fini(plan);
    }
    return code;
}
