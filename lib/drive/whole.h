/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole: a transaction of which all commands are known: MULTI, the commands and EXEC are one
 * request with several replies, and travel as one command does, by one plan. */
#ifndef DRIVE_WHOLE_H
#define DRIVE_WHOLE_H

#include "drive/plan.h"

typedef struct kw_whole {
    kw_allocator mem;
    kw_buf encoded; /* MULTI, the commands, EXEC; empty without commands */
    size_t commands_n;
    bool has_slot;
    uint16_t slot;       /* of all keys */
    uint64_t *positions; /* on a ring: those of all keys; several may be one */
    size_t positions_n;
    size_t positions_capacity;
    bool is_repeatable; /* each of them is */
    bool may_write;     /* any of them may */
} kw_whole;

void kw_whole_init(kw_whole *self, const kw_allocator *mem);
void kw_whole_fini(kw_whole *self);

/* Without commands; the memory is kept. */
void kw_whole_clear(kw_whole *self);

/* Adds one command; its bytes are copied. Failure, which leaves the transaction as it was:
 * KW_ERR_CROSSSLOT, KW_ERR_REFUSED, KW_ERR_KEYS, KW_ERR_NOMEM, or what a look-up of an unknown
 * command at a server failed with. */
kw_err kw_whole_add(kw_whole *self, kw_topology *topology, kw_error *error, kw_plan_task *task);

/* What is sent. */
static inline kw_bytes kw_whole_bytes(const kw_whole *self)
{
    kw_bytes bytes = {self->encoded.data, self->encoded.len};
    return bytes;
}

/* Replies before EXEC's: the request's parts_n. */
static inline size_t kw_whole_parts_n(const kw_whole *self)
{
    return self->commands_n + 1;
}

/* The plan of a run: task has the options. KW_ERR_ARGUMENT, KW_ERR_UNSUPPORTED, KW_ERR_NOMEM. After
 * success kw_plan_fini. */
kw_err kw_whole_plan(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task);

#endif
