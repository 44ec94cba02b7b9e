/* SPDX-License-Identifier: BSD-3-Clause */
/* Refresher: what its sources share, refresher.c (waits) and refresher_step.c (the fetch). */
#ifndef NET_REFRESHER_PRIVATE_H
#define NET_REFRESHER_PRIVATE_H

#include "net/refresher.h"

/* Says when the next caller that passes by has something to do. The lock is held. */
void kw_refresher_plan(kw_refresher *self);

/* Does what can be done without waiting. Only the driver calls it. polled: what
 * kw_refresher_sockets gave, polled since; NULL: nothing has happened. */
void kw_refresher_drive(kw_refresher *self, uint64_t now_ns, const struct pollfd *polled);

/* The sockets of the fetch under way, at most KW_FETCH_ASKS_MAX; their number. Only the driver
 * calls it. */
size_t kw_refresher_sockets(const kw_refresher *self, struct pollfd *entries);
bool kw_refresher_has_sockets(const kw_refresher *self);

/* Says whether there is news. Only the driver calls it. */
void kw_refresher_note_news(kw_refresher *self);

/* Drops the fetch under way. */
void kw_refresher_abandon(kw_refresher *self);

/* A map was published. */
static inline void kw_refresher_note_change(kw_refresher *self)
{
    atomic_store_explicit(&self->changed_ns, kw_env_now(self->env), memory_order_relaxed);
    atomic_fetch_add_explicit(&self->changes_n, 1, memory_order_release);
}

#endif
