/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop, its parts: what accepting commands and carrying them share. */
#ifndef DRIVE_LOOP_PRIVATE_H
#define DRIVE_LOOP_PRIVATE_H

#include "drive/loop.h"

/* True for the thread that carries the commands now: no other one finds its own name there. Any
 * thread. */
static inline bool kw_loop_is_inside(kw_loop *self)
{
    return atomic_load_explicit(&self->is_processing, memory_order_acquire) &&
           pthread_equal(atomic_load_explicit(&self->processor, memory_order_relaxed),
                         pthread_self());
}

/* This thread carries the commands from now on. The monitor is held. */
static inline void kw_loop_begin(kw_loop *self)
{
    atomic_store_explicit(&self->processor, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&self->is_processing, true, memory_order_release);
}

/* A callback may have forked, in which this is the child, or closed the handle: nothing more is
 * done in its turn. Asked behind each callback, by the thread that processes. */
static inline bool kw_loop_is_over(const kw_loop *self)
{
    return self->wants_closing || kw_fork_has_happened(&self->topology->fork) ||
           kw_loop_at(self->place) != self;
}

/* In loop_inbox.c: gives the pipeline a command; snapshot: that of this moment, or NULL. */
void kw_loop_add_items(kw_loop *self, kw_async_command *command, const kw_snapshot *snapshot);

/* In loop_cancel.c: gives up the commands that cancelled says, and empties it. */
void kw_loop_give_up(kw_loop *self);

/* In loop_host.c: the next moment at which the host has to call, whatever its sockets do. */
uint64_t kw_loop_next_ns(const kw_loop *self);

/* So many commands and bytes are not under way any more. Any thread. */
static inline void kw_loop_discharge(kw_loop *self, size_t n, size_t len)
{
    atomic_fetch_sub_explicit(&self->open_n, n, memory_order_relaxed);
    atomic_fetch_sub_explicit(&self->open_len, len, memory_order_relaxed);
}

#endif
