/* SPDX-License-Identifier: BSD-3-Clause */
/* Ticket loop: works on the tickets of one handle. The library has no thread for them: one of the
 * threads that wait for a ticket works for all, and hands the work on when it leaves. */
#ifndef DRIVE_TICKET_LOOP_H
#define DRIVE_TICKET_LOOP_H

#include "net/leader.h"
#include "topology/topology.h"

#include "base/memory.h"

#include <keyway/submit.h>

#include <stdatomic.h>

struct kw_async_command;
struct kw_loop;

/* A thread that waits for one of several tickets, in its own memory. */
typedef struct kw_ticket_waiter kw_ticket_waiter;
struct kw_ticket_waiter {
    kw_sleeper sleeper; /* first: the list of those who sleep is one of sleepers */
    kw_ticket *const *tickets;
    size_t tickets_n;
};

typedef struct kw_ticket_loop {
    kw_topology *topology;        /* the handle's */
    kw_monitor monitor;           /* guards all below, and what tickets say of themselves */
    kw_leader worker;             /* works for all; its followers are kw_ticket_waiters */
    atomic_bool is_closing;       /* the handle is: nobody waits any more */
    bool is_leaving;              /* it has nothing of its own to wait for any more */
    atomic_size_t open_n;         /* tickets that have not ended */
    atomic_uint_fast64_t tend_ns; /* other calls look after tickets then, not before */
    _Atomic(struct kw_loop *) loop;
} kw_ticket_loop;

typedef enum kw_ticket_state {
    KW_TICKET_OPEN,
    KW_TICKET_ENDED,    /* the ticket is its holder's alone */
    KW_TICKET_ABANDONED /* it is the ticket loop's alone */
} kw_ticket_state;

struct kw_ticket {
    kw_allocator mem;
    kw_ticket_loop *ticket_loop;    /* the handle's */
    kw_client *client;              /* for api */
    unsigned generation;            /* of the handle, when the ticket was made */
    _Atomic(kw_ticket_state) state; /* the last thing that the ticket_loop writes */
    _Atomic(kw_reply *) reply;      /* who takes it first has it */
    kw_error failure;               /* where there is none */
};

/* In the header, so that a handle that has no tickets does not bring their loop along. ticket_loop
 * is zero. */
static inline kw_err kw_ticket_loop_init(kw_ticket_loop *ticket_loop, kw_topology *topology)
{
    ticket_loop->topology = topology;
    kw_leader_init(&ticket_loop->worker);
    atomic_init(&ticket_loop->is_closing, false);
    ticket_loop->is_leaving = false;
    atomic_init(&ticket_loop->open_n, 0);
    atomic_init(&ticket_loop->tend_ns, 0);
    return kw_monitor_init(&ticket_loop->monitor);
}

static inline void kw_ticket_loop_fini(kw_ticket_loop *ticket_loop)
{
    kw_monitor_fini(&ticket_loop->monitor);
}

static inline bool kw_ticket_has_ended(const kw_ticket *ticket)
{
    return atomic_load_explicit(&ticket->state, memory_order_acquire) == KW_TICKET_ENDED;
}

/* Hands the ticket's command over and sees it sent, until the deadline; with 0 it does not wait. */
void kw_ticket_loop_submit(kw_ticket *ticket, struct kw_async_command *command,
                           uint64_t deadline_ns);

/* Waits for one of the tickets, of none until until_ns: KW_OK when one has ended, KW_ERR_TIMEOUT,
 * KW_ERR_CANCELLED. */
kw_err kw_ticket_loop_wait(kw_ticket_loop *ticket_loop, kw_ticket *const *tickets, size_t tickets_n,
                           uint64_t until_ns);

/* Works on what tickets need, without waiting. */
void kw_ticket_loop_look(kw_ticket_loop *ticket_loop);

/* Looks now and then, where there are tickets at all: cheap for whoever passes by. */
void kw_ticket_loop_tend(kw_ticket_loop *ticket_loop);

/* Nobody waits for the ticket any more: it is freed when it ends. False where it has ended.
 * Touches nothing but the ticket: the handle may be closed meanwhile. */
bool kw_ticket_loop_abandon(kw_ticket *ticket);

/* The command of the ticket has ended: takes the reply, or the reason why there is none. Frees
 * a ticket that was abandoned. */
void kw_ticket_loop_end(kw_ticket *ticket, kw_reply *reply, const kw_error *error);

/* Wakes everybody who waits here. */
void kw_ticket_loop_wake_all(kw_ticket_loop *ticket_loop);

#endif
