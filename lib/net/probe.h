/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe: one PING, ROLE or INFO on one connection, a step at each call; it never waits. Its steps
 * run inside the calls of the host's threads: the library has none. */
#ifndef NET_PROBE_H
#define NET_PROBE_H

#include "net/conn.h"

typedef enum kw_probe_question { KW_PROBE_PING, KW_PROBE_ROLE, KW_PROBE_INFO } kw_probe_question;

/* One thread at a time. */
typedef struct kw_probe {
    kw_conn *conn; /* NULL: none under way */
    kw_request request;
    kw_reply *answer; /* to all but PING, until it is taken; else NULL */
    uint64_t wait_ns; /* what each of its steps is given; 0: the usual */
    uint64_t deadline_ns;
    uint64_t sent_ns;           /* when it was sent, or shortly before */
    kw_probe_question question; /* set while none is under way */
    bool is_counted;            /* the node knows that conn became ready */
    bool is_sent;
    bool is_overdue; /* the last one ended for want of an answer in time */
} kw_probe;

/* Asks on the connection, which is READY or on its way. */
void kw_probe_begin(kw_probe *probe, kw_conn *conn, uint64_t now_ns);

/* Goes on as far as it can without waiting. Failure: there will be no answer. */
kw_err kw_probe_go_on(kw_probe *probe, kw_error *error, uint64_t now_ns);

static inline bool kw_probe_is_answered(const kw_probe *probe)
{
    return probe->is_sent && probe->request.is_done;
}

/* Ends it, and gives the connection back; DEAD where it was not answered. */
kw_conn *kw_probe_end(kw_probe *probe, bool *is_loading, bool is_answered);

/* Frees what is under way; the connection as well. */
void kw_probe_fini(kw_probe *probe);

#endif
