/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss: what stood in the way of commands, told once for all that it stood in the way of. */
#ifndef DRIVE_LOSS_H
#define DRIVE_LOSS_H

#include "base/memory.h"
#include "engine/op.h"

/* Of one thread; counted by those that it is the story of. */
typedef struct kw_loss {
    size_t refs;
    kw_try_end end;   /* has_left: each command's own */
    uint64_t seed;    /* for the pauses of those that it lost, which are the same for all */
    bool has_slots;   /* keys live in slots, which the story names */
    bool is_whole;    /* failure is all that a command's caller is told */
    kw_error failure; /* in words, and the node */
} kw_loss;

/* With one reference; NULL when there is no memory. */
kw_loss *kw_loss_new(const kw_allocator *mem);
kw_loss *kw_loss_ref(kw_loss *loss);

/* The whole story of a failure; NULL when there is no memory. */
kw_loss *kw_loss_of(const kw_allocator *mem, const kw_error *failure);

void kw_loss_unref(kw_loss *loss, const kw_allocator *mem);

#endif
