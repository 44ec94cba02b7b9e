/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss: why commands of one connection ended together, told once for all of them. */
#ifndef DRIVE_LOSS_H
#define DRIVE_LOSS_H

#include "base/memory.h"
#include "engine/op.h"

/* Of one thread; counted by those that it is the story of. */
typedef struct kw_loss {
    size_t refs;
    kw_try_end end;   /* has_left: each command's own */
    uint64_t at_ns;   /* when it was */
    bool has_slots;   /* keys live in slots, which the story names */
    kw_error failure; /* in words, and the node */
} kw_loss;

/* With one reference; NULL when there is no memory. */
kw_loss *kw_loss_new(const kw_allocator *mem);
kw_loss *kw_loss_ref(kw_loss *loss);
void kw_loss_unref(kw_loss *loss, const kw_allocator *mem);

#endif
