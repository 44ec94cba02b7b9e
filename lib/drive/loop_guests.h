/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop guests: what else the host's loop works for besides commands: subscribers with a callback.
 */
#ifndef DRIVE_LOOP_GUESTS_H
#define DRIVE_LOOP_GUESTS_H

#include "drive/loop_private.h"

/* Who comes is served by every kw_loop_process until it leaves. */
struct kw_loop_guest {
    /* Does what can be done without waiting, and calls callbacks. Returns when it is to be called
     * at the latest. The guest may leave in it. */
    uint64_t (*process_fn)(kw_loop_guest *guest);
    int fd;         /* readable when it has something to do */
    kw_watch watch; /* the loop's */
    kw_loop_guest *next;
};

/* guest->process_fn and fd are set. Any thread. */
void kw_loop_guest_enter(kw_loop *loop, kw_loop_guest *guest);

/* Nobody is in process_fn any more, but for this thread. Any thread. */
void kw_loop_guest_leave(kw_loop *loop, kw_loop_guest *guest);

/* Serves all of them; guests_ns says when they are to be served again. For who processes. */
void kw_loop_guests_process(kw_loop *loop);

/* A guest has something to do by then, as it knows while it is served or learns in a callback. For
 * who processes. */
void kw_loop_guests_serve_by(kw_loop *loop, uint64_t until_ns);

#endif
