/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop cancels: callbacks whose commands are to be given up, collected until the next turn, which
 * looks for all of them at once. */
#ifndef DRIVE_LOOP_CANCELS_H
#define DRIVE_LOOP_CANCELS_H

#include "drive/async_command.h"

typedef struct kw_loop_cancel_entry {
    kw_callback callback;
    uint32_t stamp; /* commands with a later one are not meant */
} kw_loop_cancel_entry;

/* Starts as zero. */
typedef struct kw_loop_cancels {
    kw_loop_cancel_entry *entries;
    size_t n;
    size_t capacity;
} kw_loop_cancels;

/* False when there is no memory. */
bool kw_loop_cancels_add(kw_loop_cancels *cancels, const kw_allocator *mem,
                         const kw_loop_cancel_entry *entry);

/* Makes them ready for kw_loop_cancels_has. */
void kw_loop_cancels_sort(kw_loop_cancels *cancels);

/* True where the command is meant by any of them. */
bool kw_loop_cancels_has(const kw_loop_cancels *cancels, const kw_async_command *command);

void kw_loop_cancels_fini(kw_loop_cancels *cancels, const kw_allocator *mem);

#endif
