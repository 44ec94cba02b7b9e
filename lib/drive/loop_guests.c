/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop's guests: entered and left from any thread, served by the one who processes. */
#include "drive/loop_guests.h"

/* Another thread processes: it is looked again whether it is done after this. */
#define LOOK_NS (1 * KW_NS_PER_MS)

void kw_loop_guest_enter(kw_loop *loop, kw_loop_guest *guest)
{
    guest->watch.socket = -1;
    kw_monitor_lock(&loop->monitor);
    guest->next = loop->guests;
    loop->guests = guest;
    kw_monitor_unlock(&loop->monitor);
    kw_poller_wake(&loop->poller);
}

static void unlink_guest(kw_loop *loop, const kw_loop_guest *guest)
{
    kw_loop_guest **link = &loop->guests;
    while (*link != NULL && *link != guest) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = guest->next;
    }
    if (loop->next_guest == guest) {
        loop->next_guest = guest->next;
    }
}

void kw_loop_guest_leave(kw_loop *loop, kw_loop_guest *guest)
{
    bool is_inside = kw_loop_is_inside(loop);
    kw_monitor_lock(&loop->monitor);
    while (!is_inside && loop->is_processing) {
        kw_monitor_wait(&loop->monitor, LOOK_NS);
    }
    if (!is_inside) {
        kw_loop_begin(loop); /* the poller is the processing thread's */
    }
    unlink_guest(loop, guest);
    kw_monitor_unlock(&loop->monitor);
    kw_poller_remove(&loop->poller, &guest->watch);
    if (!is_inside) {
        kw_monitor_lock(&loop->monitor);
        atomic_store(&loop->is_processing, false);
        kw_monitor_unlock(&loop->monitor);
        kw_poller_wake(&loop->poller); /* whoever came meanwhile was sent away */
    }
}

/* The next one to be served; they may leave, and others come, in between. */
static kw_loop_guest *take_next(kw_loop *loop)
{
    kw_monitor_lock(&loop->monitor);
    kw_loop_guest *guest = loop->next_guest;
    loop->next_guest = guest != NULL ? guest->next : NULL;
    kw_monitor_unlock(&loop->monitor);
    return guest;
}

void kw_loop_guests_serve_by(kw_loop *loop, uint64_t until_ns)
{
    loop->guests_ns = until_ns < loop->guests_ns ? until_ns : loop->guests_ns;
}

void kw_loop_guests_process(kw_loop *loop)
{
    loop->guests_ns = UINT64_MAX;
    kw_monitor_lock(&loop->monitor);
    loop->next_guest = loop->guests;
    kw_monitor_unlock(&loop->monitor);
    kw_loop_guest *guest;
    while (!kw_loop_is_over(loop) && (guest = take_next(loop)) != NULL) {
        if (guest->watch.socket < 0 &&
            kw_poller_set(&loop->poller, NULL, &guest->watch, guest->fd, POLLIN) != KW_OK) {
            kw_loop_guests_serve_by(
                loop, 0); /* without memory for a watch the host calls again and again */
        }
        guest->watch.revents = 0;
        kw_loop_guests_serve_by(loop, guest->process_fn(guest));
    }
}
