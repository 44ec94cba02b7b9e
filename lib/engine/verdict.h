/* SPDX-License-Identifier: BSD-3-Clause */
/* Verdict: what a server's error reply means for the command that got it. */
#ifndef ENGINE_VERDICT_H
#define ENGINE_VERDICT_H

#include <keyway/error.h>

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum kw_verdict_kind {
    KW_VERDICT_FINAL,        /* the caller's to read, as the server sent it */
    KW_VERDICT_MOVED,        /* slot now lives at host:port */
    KW_VERDICT_ASK,          /* this one command: at host:port, behind ASKING */
    KW_VERDICT_REDIRECT,     /* server without a cluster is a replica of host:port: there */
    KW_VERDICT_TRY_AGAIN,    /* keys are between two nodes: wait */
    KW_VERDICT_CLUSTER_DOWN, /* slot or cluster not served now: wait, fetch the map */
    KW_VERDICT_LOADING,      /* node reads its data set: wait, fetch the map */
    KW_VERDICT_MASTER_DOWN,  /* replica without its primary: elsewhere, or wait */
    KW_VERDICT_READONLY,     /* node is a replica: fetch the map */
    KW_VERDICT_BUSY,         /* node runs a long script: wait */
    KW_VERDICT_UNBLOCKED,    /* blocking command thrown out by a role change: again */
    KW_VERDICT_NO_SCRIPT,    /* the server does not have the script of that SHA1: with its text */
    KW_VERDICT_AUTH,         /* NOAUTH, WRONGPASS, NOPERM, DENIED: final, as FINAL */
    KW_VERDICT_FULL          /* "max number of clients reached": the connection is refused */
} kw_verdict_kind;

typedef struct kw_verdict {
    kw_verdict_kind kind;
    uint16_t slot;   /* MOVED and ASK: 0 .. 16383 */
    uint16_t port;   /* MOVED, ASK and REDIRECT: 1 .. 65535 */
    kw_bytes host;   /* MOVED, ASK and REDIRECT: borrowed from text; empty: the node that
                        answered; never longer than KW_HOST_MAX */
    bool is_unknown; /* MOVED and ASK: host is "?": nobody to dial, fetch the map */
} kw_verdict;

/* True for what names another node: MOVED, ASK and REDIRECT. */
static inline bool kw_verdict_is_redirect(kw_verdict_kind kind)
{
    return kind == KW_VERDICT_MOVED || kind == KW_VERDICT_ASK || kind == KW_VERDICT_REDIRECT;
}

/* Reads an error reply's text ("MOVED 3999 127.0.0.1:6381"). Malformed redirects
 * (slot, port, host, missing or further words) are FINAL. is_script: the command was
 * EVAL, FCALL, EXEC or the like, whose text may be an inner command's error: then
 * only what the server checks before running (MOVED, ASK, REDIRECT, TRYAGAIN, CLUSTERDOWN,
 * LOADING, MASTERDOWN) is a verdict, BUSY, READONLY and the like are FINAL. The
 * table of prefixes is in verdict.c. */
kw_verdict kw_verdict_of(kw_bytes text, bool is_script);

/* The code that a call fails with when this kind lasted until its deadline;
 * KW_OK for kinds that are never waited for. */
kw_err kw_verdict_code(kw_verdict_kind kind);

#endif
