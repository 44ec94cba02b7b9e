/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop, its parts: what accepting commands and carrying them share. */
#ifndef DRIVE_LOOP_PRIVATE_H
#define DRIVE_LOOP_PRIVATE_H

#include "drive/loop.h"

/* True for the thread that carries the commands now. The monitor is held. */
static inline bool kw_loop_is_inside(const kw_loop *self)
{
    return self->is_processing && pthread_equal(self->processor, pthread_self());
}

/* So many commands and bytes are not under way any more. The monitor is held. */
static inline void kw_loop_discharge(kw_loop *self, size_t n, size_t len)
{
    self->open_n -= n;
    self->open_len -= len;
}

#endif
