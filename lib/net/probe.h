/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe: one PING, ROLE or INFO to a node, that runs inside callers' calls and never makes them
 * wait. */
#ifndef NET_PROBE_H
#define NET_PROBE_H

#include "net/conn.h"

struct kw_node;

typedef enum kw_probe_question { KW_PROBE_PING, KW_PROBE_ROLE, KW_PROBE_INFO } kw_probe_question;

/* One thread at a time. */
typedef struct kw_probe {
    kw_conn *conn; /* NULL: none under way */
    kw_request request;
    kw_reply *answer; /* to all but PING, until it is taken; else NULL */
    uint64_t deadline_ns;
    uint64_t sent_ns;           /* when it was sent, or shortly before */
    kw_probe_question question; /* set while none is under way */
    bool is_counted;            /* the node knows that conn became ready */
    bool is_sent;
} kw_probe;

typedef enum kw_probe_result {
    KW_PROBE_UNDER_WAY,
    KW_PROBE_ANSWERED,
    KW_PROBE_LOADING, /* answered, by a server that reads its data yet */
    KW_PROBE_SILENT,  /* or refused, or lost */
    KW_PROBE_LATER    /* the node may not be dialled yet: not before its retry_ns */
} kw_probe_result;

/* Begins, or goes on, as far as it can without waiting. */
kw_probe_result kw_probe_go_on(kw_probe *probe, struct kw_node *node, uint64_t now_ns);

/* The node is going away. */
void kw_probe_fini(kw_probe *probe);

#endif
