/* SPDX-License-Identifier: BSD-3-Clause */
/* Op: the life of one command, from its first send to its reply or failure. The
 * redirect and retry policy of the whole library, and nothing else: no I/O, no
 * clock, no memory. A driver does what the last step says, reports what happened
 * with one kw_op_on_... call, and gets the next step. */
#ifndef ENGINE_OP_H
#define ENGINE_OP_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/random.h"
#include "engine/backoff.h"
#include "engine/verdict.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum kw_step_kind {
    KW_STEP_SEND,    /* send the command; see is_redirected and is_asking */
    KW_STEP_REFRESH, /* wait for a map that is fetched from now on, then on_refreshed */
    KW_STEP_SLEEP,   /* wait until until_ns, then on_woke */
    KW_STEP_DONE,    /* the reply just reported is the caller's */
    KW_STEP_FAIL     /* no reply: code and effect */
} kw_step_kind;

typedef struct kw_step {
    kw_step_kind kind;
    bool is_redirected; /* SEND: to op->target, not to the owner by the map */
    bool is_asking;     /* SEND: ASKING goes first, in the same write */
    bool is_patch;      /* before anything else, FAIL too: op->target owns op->slot now */
    bool wants_refresh; /* the map is suspect: fetch it, without waiting for it */
    bool wakes_on_map;  /* SLEEP, REFRESH: ends early when another map is published */
    uint64_t until_ns;  /* SLEEP, REFRESH: not longer than this */
    kw_err code;        /* FAIL */
    kw_effect effect;   /* FAIL */
} kw_step;

/* What the driver knows of the command before it starts. */
typedef struct kw_op_spec {
    uint64_t deadline_ns;
    unsigned redirects_max; /* MOVED, ASK and REDIRECT in one try */
    bool has_map;           /* a map can be fetched, and name another node */
    bool has_redirects;     /* MOVED and ASK are followed; implies has_map */
    bool is_pinned;         /* the caller named the node: redirects are the caller's to read */
    bool has_slot;          /* slot is known */
    bool is_repeatable;     /* a second run does no harm: a read, or the caller says so */
    bool avoids_primary;    /* it reads, and from replicas only */
    bool has_bound;         /* it reads from replicas that are measured first */
    bool has_text;          /* it runs a script by its name, and has the text as well */
    bool is_script;         /* its error text may be an inner command's */
    bool fails_fast;        /* a server that cannot be reached is an error at once */
    uint16_t slot;
    uint64_t suspect_ns; /* no answer by then is the node's fault */
} kw_op_spec;

typedef struct kw_op {
    kw_op_spec spec;
    kw_random random;
    kw_backoff backoff;
    kw_endpoint *target;     /* of the last MOVED, ASK or REDIRECT; the driver's memory. NULL: there
                                is no place for it, and a map is fetched in its stead */
    bool is_asking;          /* target came from ASK */
    bool is_at_replica;      /* the driver's: where the command was last sent */
    bool has_left;           /* a replica failed it: to the primary, until the next pause */
    bool has_target;         /* the send after the pause goes to target */
    bool has_fetched;        /* a map was fetched, and nothing was tried since */
    bool has_asked;          /* for one, as its node is down */
    bool is_sent;            /* the last send is counted, and has not ended */
    unsigned redirects_n;    /* in this try */
    unsigned sends_n;        /* in all; one of which nothing left is not counted */
    unsigned losses_n;       /* of them, those whose reply was lost with the connection */
    unsigned halves_n;       /* sends that ended in the middle of the command */
    unsigned missed_n;       /* NOSCRIPT answered so often */
    unsigned incompatible_n; /* nodes that refuse what the settings ask for */
    bool is_incompatible;    /* the node of this try is one */
    kw_effect effect;        /* worst of what earlier sends may have done */
    kw_err obstacle;         /* what the call waits for; its code at the deadline */
    bool awaits_primary; /* the driver's: the server is a replica for now, or another one is at its
                            address: READONLY is no answer yet */
    bool is_down;        /* the driver's: its node is down, and not waited for */
    uint64_t soon_ns;    /* the driver's: its node will be known to be back, or not, by then; 0:
                            nothing is expected */
    uint64_t fetch; /* the driver's: the fetch that a REFRESH waits for, or the first one that was
                       asked for with a pause; 0: none */
} kw_op;

/* No command is sent more often than this, whatever the servers answer; and none is repeated
 * any more whose reply was lost so often. */
#define KW_OP_SENDS_MAX  40u
#define KW_OP_LOSSES_MAX 5u

/* Nor is a command sent again that the server hung up on so often before it had it whole: it does
 * not want it, and half a large command is much. */
#define KW_OP_HALVES_MAX 3u

/* A script that a server lacks even so often is none that it takes. */
#define KW_OP_MISSED_MAX 4u

/* So many nodes that refuse what the settings ask for are tried, where any will do. */
#define KW_OP_INCOMPATIBLE_MAX 3u

/* Starts the op, without a place for a target; the first step is a SEND. seed: any number, for the
 * jitter. */
kw_step kw_op_start(kw_op *op, const kw_op_spec *spec, uint64_t seed);

/* The driver is about to put the command on a connection. */
static inline void kw_op_on_send(kw_op *op)
{
    op->sends_n++;
    op->is_sent = true;
    op->has_fetched = false; /* the slot was served */
}

/* True where it may leave together with a greeting that is not answered yet. */
static inline bool kw_op_is_early(const kw_op *op)
{
    return op->spec.is_repeatable && op->losses_n == 0;
}

/* A whole reply came; verdict is kw_verdict_of its text, or FINAL for what is no
 * error. from is the node that answered. */
kw_step kw_op_on_reply(kw_op *op, uint64_t now_ns, const kw_verdict *verdict,
                       const kw_endpoint *from);

/* The map has no owner for the slot, which may get one until the deadline; or there is no map
 * at all. */
kw_step kw_op_on_unserved(kw_op *op, uint64_t now_ns);
kw_step kw_op_on_mapless(kw_op *op, uint64_t now_ns);

/* It reads from replicas only, and none is known to be far enough. */
kw_step kw_op_on_stale(kw_op *op, uint64_t now_ns);

/* The node is down, and may be known to be back at until_ns. */
kw_step kw_op_on_suspect(kw_op *op, uint64_t now_ns, uint64_t until_ns);

/* The node is down, and not waited for; code says why. A map is asked for once: another node may be
 * in its place by now, and who calls but once a second has nobody else who asks. */
kw_step kw_op_on_down(kw_op *op, uint64_t now_ns, kw_err code);

/* There is no node to try, and another map would not help: code says why. */
kw_step kw_op_on_refused(kw_op *op, kw_err code);

/* It was refused, or lost, and may not be sent again: a later command of its key has run meanwhile,
 * or may have. */
kw_step kw_op_on_overtaken(kw_op *op);

/* How a try ended without a whole reply. */
typedef struct kw_try_end {
    kw_err code;       /* why: CONNECT, RESOLVE, HANDSHAKE, ROLE, AUTH, POOL_FULL, QUEUE_TIMEOUT: no
                          connection could be had; TOPOLOGY, NO_SENTINEL, NO_SERVICE: nobody knows
                          where the node is; CLOSED, PROTOCOL, DESYNC, LIMIT: the connection was
                          lost; TIMEOUT: the deadline came; CANCELLED, NOMEM */
    bool was_opened;   /* it was on a connection, or on its way to one that was being opened */
    bool was_ready;    /* whose greeting had been answered */
    bool has_left;     /* all of the command may have reached the server */
    uint64_t retry_ns; /* before this it is no use to try that node again; 0: not known */
} kw_try_end;

/* The send that was announced did not happen: the driver finds the command another connection. */
void kw_op_on_unsent(kw_op *op);

/* The server was sent a part of the command, and not all of it, before the connection was lost;
 * kw_op_on_failed follows. */
void kw_op_on_half_sent(kw_op *op);

/* The node refuses what the settings ask for (a database, a certificate), so that only another one
 * can help; kw_op_on_failed follows. */
void kw_op_on_incompatible(kw_op *op);

/* The try ended so. Drivers say what happened; what it means is decided here. */
kw_step kw_op_on_failed(kw_op *op, uint64_t now_ns, const kw_try_end *end);

/* A REFRESH ended: with a map, or with none within its time. code: KW_OK, or why no
 * map was had. */
kw_step kw_op_on_refreshed(kw_op *op, uint64_t now_ns, kw_err code);

/* A SLEEP ended, by time or by a new map. */
kw_step kw_op_on_woke(kw_op *op, uint64_t now_ns);

#endif
