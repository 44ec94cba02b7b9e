/* SPDX-License-Identifier: BSD-3-Clause */
/* Client: the handle. It counts who is inside, and has what carries callbacks and tickets. */
#ifndef API_CLIENT_H
#define API_CLIENT_H

#include <keyway/client.h>

#include "drive/ticket_loop.h"
#include "topology/topology.h"

#include <stdatomic.h>
#include <sys/types.h>

/* What a handle has only once it is used, reached through its own entry points alone: a program
 * that uses neither callbacks nor tickets does not carry them. */
typedef struct kw_client_part {
    void (*end_fn)(kw_client *client);     /* the handle is closed, and nobody is inside */
    void (*abandon_fn)(kw_client *client); /* in a forked child: what is there is the parent's */
    void (*wake_fn)(kw_client *client);    /* lets those go who wait */
    void (*tend_fn)(kw_client *client);    /* does what is due, without waiting */
    /* Goes on with what is under way, without waiting; writes how much has not ended. Failure is
     * that of kw_loop_process. */
    kw_err (*work_fn)(kw_client *client, kw_error *error, size_t *open_n);
    struct kw_loop *(*loop_fn)(kw_client *client); /* NULL: not there yet */
    /* True in a callback: kw_close is to wait for its end, and comes then. NULL: never. */
    bool (*defers_close_fn)(kw_client *client);
} kw_client_part;

typedef enum kw_client_part_kind {
    KW_CLIENT_CALLBACKS,
    KW_CLIENT_TICKETS,
    KW_CLIENT_SUBSCRIBERS,
    KW_CLIENT_PARTS_N
} kw_client_part_kind;

struct kw_client {
    kw_allocator mem;
    kw_topology *topology; /* a reference; other handles may have one, too */
    kw_fork fork;          /* of this handle: what it has of its own is a process's */
    kw_call_counts counts;
    /* The command of the last single call, which the next one is mostly, too. It lies beside what
     * every call changes, so that it costs no line of the processor's cache besides. */
    _Atomic(const kw_command_info *) latest;
    atomic_size_t calls_n;          /* threads inside a call, any that may hold a lock */
    atomic_size_t sessions_n;       /* that are open */
    atomic_bool is_closing;         /* kw_close has begun */
    atomic_bool waits_end;          /* nobody waits any more in its calls */
    atomic_bool is_draining;        /* nothing new begins */
    bool is_bare;                   /* in a child that had no memory to start anew */
    _Atomic(struct kw_loop *) loop; /* of the callbacks; NULL until it is used */
    kw_ticket_loop ticket_loop;
    _Atomic(const kw_client_part *) parts[KW_CLIENT_PARTS_N]; /* NULL: not used yet */
    atomic_bool is_tended; /* a part is there whose tend_fn has something to do */
    _Atomic(struct kw_subscriber_set *) subscribers; /* NULL until one is opened */
    unsigned generations_n;                          /* how often a forked child has started anew */
};

/* NULL: not used yet. */
static inline const kw_client_part *kw_client_part_at(kw_client *client, size_t kind)
{
    return atomic_load_explicit(&client->parts[kind], memory_order_acquire);
}

/* Before any lock is taken: a child whose count is 0 finds no lock held. */
static inline void kw_client_count_in(kw_client *client)
{
    atomic_fetch_add(&client->calls_n, 1);
}

/* kw_client_enter in a forked child. */
kw_err kw_client_enter_child(kw_client *client, kw_error *error);

/* Every public call begins with enter (KW_ERR_FORKED in a child, unless the child may
 * open its own) and ends with leave, its last touch of the handle. */
static inline kw_err kw_client_enter(kw_client *client, kw_error *error)
{
    if (kw_fork_has_happened(&client->fork)) {
        return kw_client_enter_child(client, error);
    }
    kw_client_count_in(client);
    return KW_OK;
}

/* For kw_client_enter_new alone: leaves, with KW_ERR_DRAINING. */
kw_err kw_client_refuse_new(kw_client *client, kw_error *error);

/* As kw_client_enter, of what begins something new: refused once kw_drain was called. */
static inline kw_err kw_client_enter_new(kw_client *client, kw_error *error)
{
    kw_err code = kw_client_enter(client, error);
    if (code == KW_OK && atomic_load(&client->is_draining)) {
        return kw_client_refuse_new(client, error);
    }
    return code;
}

static inline void kw_client_leave(kw_client *client)
{
    atomic_fetch_sub_explicit(&client->calls_n, 1, memory_order_release);
}

/* As kw_client_enter, of what has nothing to do in a forked child: false there. */
bool kw_client_enter_at_home(kw_client *client);

/* The handle has the part from now on. is_tended: callers who pass by do what is due. */
void kw_client_need_part(kw_client *client, kw_client_part_kind kind, const kw_client_part *part,
                         bool is_tended);

/* kw_client_leave behind commands of which failures_n ended without a reply; goes on with tickets
 * that nobody waits for, and with subscribers, first. */
void kw_client_leave_calls(kw_client *client, uint64_t commands_n, uint64_t failures_n);

/* A millisecond, while other threads leave what is being closed. */
void kw_client_nap(void);

/* kw_close of a handle that is in no callback. The handle was entered. */
void kw_client_close(kw_client *client);

#endif
