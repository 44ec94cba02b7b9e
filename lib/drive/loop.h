/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop: the commands with callbacks of one handle, and what carries them. */
#ifndef DRIVE_LOOP_H
#define DRIVE_LOOP_H

#include "drive/loop_blocks.h"
#include "drive/loop_cancels.h"
#include "drive/pipeline_private.h"

#include <pthread.h>

typedef struct kw_loop kw_loop;
typedef struct kw_loop_guest kw_loop_guest;

/* Where a handle keeps one: its event loop, or that of its tickets. */
typedef _Atomic(kw_loop *) kw_loop_place;

struct kw_loop {
    kw_topology *topology;
    kw_call_counts *counts; /* the handle's */
    kw_loop_place *place;
    kw_monitor monitor;           /* guards all of this block */
    kw_async_commands inbox;      /* accepted, and not seen by the pipeline */
    bool is_signalled;            /* the descriptor was made readable for the inbox */
    atomic_bool is_processing;    /* written with the monitor held, as is .. */
    _Atomic(pthread_t) processor; /* .. who is, before it; both are read by any thread */
    pthread_t sleeper;            /* who has asked kw_timeout last */
    uint64_t next_ns;             /* when kw_process wants to be called; UINT64_MAX: never */
    uint64_t told_ns;             /* what kw_timeout said of it */
    kw_loop_blocks blocks;        /* to be used again */
    _Atomic(const kw_command_info *) latest; /* of the command that was given last, or NULL */
    kw_loop_cancels cancels;                 /* asked for, and not done yet */
    atomic_uint stamp;             /* grows with each cancel: what is accepted later is not meant */
    kw_loop_guest *guests;         /* loop_guests.h; NULL: none */
    kw_loop_guest *next_guest;     /* the one that is served next */
    struct kw_async_session *pins; /* loop_pins.h; NULL: none */
    bool has_leaving;              /* some of them were closed */
    atomic_size_t open_n;   /* commands that were accepted and not told of yet; any thread's */
    atomic_size_t open_len; /* and their bytes */
    /* The processing thread's alone: */
    kw_poller poller;
    kw_pipeline pipeline;
    kw_pipeline_long_lived long_lived;
    kw_async_commands backlog; /* accepted, and not given to the pipeline yet */
    kw_loop_cancels cancelled; /* taken from cancels */
    bool has_cut;              /* replies were read that nobody has got yet */
    uint64_t looked_ns;        /* when the sockets were looked at last */
    kw_async_commands given;   /* accepted in callbacks */
    kw_async_commands done;    /* ended, and not told yet */
    kw_loop_blocks used;       /* blocks that nobody needs any more */
    size_t told_n;             /* commands that were told of, and still count as open */
    size_t told_len;
    size_t kept_n;      /* blocks of both kinds, as far as it knows */
    bool has_guests;    /* when this turn began */
    uint64_t guests_ns; /* when they are to be served again */
    bool wants_closing; /* a callback called kw_close */
};

/* The one at the place, made at first use; NULL, with error set, where it cannot be. Any
 * thread. */
kw_loop *kw_loop_need(kw_topology *topology, kw_error *error, kw_loop_place *place,
                      kw_call_counts *counts);

/* The one at the place, or NULL. */
static inline kw_loop *kw_loop_at(kw_loop_place *place)
{
    return atomic_load_explicit(place, memory_order_acquire);
}

/* A block for the command of the task. KW_ERR_NOMEM, or KW_ERR_QUEUE_FULL where as much is under
 * way as the options allow. *is_in_callback (NULL is allowed): the caller is in one. Any thread. */
kw_err kw_loop_block(kw_loop *self, kw_async_command **command, kw_error *error,
                     const kw_plan_task *task, bool *is_in_callback);

/* Takes a block back that is not handed over. Any thread. */
void kw_loop_unblock(kw_loop *self, kw_async_command *command);

/* Hands a command over. wakes: whoever processes next is to be told. Any thread. */
void kw_loop_submit(kw_loop *self, kw_async_command *command, bool wakes);

/* Gives up the commands that were handed over before with this callback: they end with
 * KW_ERR_CANCELLED, unless they have ended, in a later kw_loop_process. KW_ERR_NOMEM. Any
 * thread. */
kw_err kw_loop_cancel(kw_loop *self, kw_callback callback);

/* True where commands were handed over that no kw_loop_process has seen. Any thread. */
bool kw_loop_has_mail(kw_loop *loop);

/* kw_loop_submit of the thread that is in a callback: no lock is needed. */
void kw_loop_give(kw_loop *self, kw_async_command *command);

/* One kw_process; KW_ERR_CANCELLED: a callback wants the handle closed. */
kw_err kw_loop_process(kw_loop *self, kw_error *error);

/* As kw_loop_process, to send what was handed over: sockets that were looked at just now are left
 * alone. */
void kw_loop_hasten(kw_loop *self);

/* What kw_timeout says. Any thread. */
int kw_loop_timeout(kw_loop *self);

/* True in a callback: kw_close is to wait for its end, and comes then. */
bool kw_loop_defers_close(kw_loop *loop);

/* The handle is closed: every command that is left ends with KW_ERR_CANCELLED. */
void kw_loop_end(kw_loop *self);

/* In a forked child: frees the memory, and touches no descriptor. Those who gave commands hear
 * what is told, or where that is NULL nothing. */
void kw_loop_abandon(kw_loop *self, const kw_error *told);

#endif
