/* SPDX-License-Identifier: BSD-3-Clause */
/* Session: what its sources share: session_plan.c and session_run.c, and api's session.c. */
#ifndef DRIVE_SESSION_PRIVATE_H
#define DRIVE_SESSION_PRIVATE_H

#include <keyway/session.h>

#include "topology/topology.h"
#include "drive/plan.h"
#include "engine/session_state.h"

struct kw_session {
    kw_allocator mem;  /* the handle's, for the time after it */
    kw_client *client; /* for api; NULL: it is being closed, or gone */
    kw_topology *topology;
    pid_t pid;         /* of the process that opened the session */
    uint16_t slot;     /* of a cluster */
    uint64_t position; /* of a ring */
    kw_node *node;     /* where conn is: a reference; NULL with conn */
    kw_conn *conn;     /* acquired from node; NULL: none now */
    kw_session_state state;
    const atomic_bool *closing; /* kw_env_is_closing */
    kw_err broken;              /* why no command can be sent any more; KW_OK: one can */
    kw_own_write *writes;       /* that MULTI has queued */
    bool is_cut; /* a command of the open MULTI was refused here, and is not queued: EXEC would run
                    the others without it */
    bool is_async; /* its commands come with callbacks: no server is asked about one that the table
                      lacks, and SELECT binds the connection */
};

/* One command, as its session sees it. */
typedef struct kw_session_request {
    kw_plan plan;
    kw_session_effect effect;
    uint64_t database; /* of SELECT */
} kw_session_request;

/* A request that follows a command in the same write and asks about it, whatever becomes of
 * the command; its answer is waited for where the command has run. */
typedef struct kw_followup kw_followup;
struct kw_followup {
    /* Appends the request as it is at that time; false: no memory. */
    bool (*encode)(const kw_followup *self, kw_buf *encoded, uint64_t now_ns);
    kw_request request; /* its reply is the caller's, of a command that has run */
    kw_err code;        /* why it was not answered; KW_OK where it was */
    kw_error failure;   /* the same in words, and the node that it went to */
};

/* A session for the key, without a connection yet. */
void kw_session_init(kw_session *session, kw_topology *topology, kw_bytes key);

static inline bool kw_session_is_clean(const kw_session *session)
{
    return kw_session_state_is_clean(&session->state);
}

/* Forgets the connection, which is another's now. */
static inline void kw_session_forget(kw_session *session)
{
    kw_node_unref(session->node);
    kw_session_state_on_left(&session->state);
    session->conn = NULL;
    session->node = NULL;
}

/* False where it is known that the connection does not lead to the primary any more: what a server
 * takes that is none, whatever it says, will be lost. */
static inline bool kw_session_may_use(const kw_session *session, kw_node *node, const kw_conn *conn)
{
    const kw_env *env = &session->topology->env;
    if (env->options.scheme == KW_SCHEME_SENTINEL || kw_node_is_of_group(node)) {
        return kw_node_is_current(node, conn);
    }
    return kw_env_has_fetch(env) || kw_node_is_of_generation(node, conn);
}

/* Gives the connection back, if there is one: to the pool where the session is clean. */
void kw_session_drop(kw_session *session);

/* The plan of pinning the connection. */
void kw_session_plan_open(kw_plan *plan, const kw_session *session);

/* Plans one command, the task's argv by its options; KW_ERR_ARGUMENT for options that are none of a
 * session's, KW_ERR_CROSSSLOT, KW_ERR_KEYS, KW_ERR_REFUSED, or what a look-up of an unknown command
 * at a server failed with. */
kw_err kw_session_plan(kw_session_request *request, const kw_session *session, kw_error *error,
                       const kw_plan_task *task);

/* What stands against a command now, which was planned before the session was what it is: of a
 * request as it was sent, plan and effect. KW_ERR_REFUSED, KW_ERR_CROSSSLOT, KW_ERR_NOMEM. */
typedef struct kw_session_turn {
    const kw_plan *plan;
    kw_session_effect effect;
    kw_bytes encoded; /* the command */
} kw_session_turn;
kw_err kw_session_check_turn(const kw_session *session, kw_error *error,
                             const kw_session_turn *turn);

/* The command's turn, by the state. KW_ERR_ORDER, with its plan freed, where it counts on a MULTI
 * that has failed. */
kw_err kw_session_check_opened(kw_session_state *state, kw_error *error,
                               kw_session_request *request);

/* A command was refused that may not have been planned; text begins with its name, as far as its
 * caller has said it. What a MULTI was to queue is not to run by itself. */
void kw_session_on_refused(kw_session_state *state, kw_bytes text);

/* True where the command may write, as far as anybody knows. */
bool kw_session_writes(const kw_plan *plan);

/* The plan of a command that the server has taken, or not: what MULTI queues is a write until its
 * transaction has ended. */
void kw_session_keep_write(kw_session *session, kw_plan *plan);

/* No transaction is open any more. */
void kw_session_end_writes(kw_session *session);

/* Acquires the connection. */
kw_err kw_session_pin(kw_session *session, kw_error *error, const kw_plan *plan);

/* Sends one encoded command and waits for its reply; NULL with error set. */
kw_reply *kw_session_run(kw_session *session, kw_error *error, const kw_session_request *request,
                         kw_bytes encoded);

/* kw_session_run of a command on a clean session, with its followup, which is appended to encoded.
 * NULL or a server's error: the followup has no reply. */
kw_reply *kw_session_run_followed(kw_session *session, kw_error *error, const kw_plan *plan,
                                  kw_buf *encoded, kw_followup *followup);

#endif
