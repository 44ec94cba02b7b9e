/* Probe: one PING, or ROLE, to a node, in the time of callers who pass by. */
#ifndef NET_PROBE_H
#define NET_PROBE_H

#include "net/conn.h"

struct kw_node;

/* One thread at a time. */
typedef struct kw_probe {
    kw_conn *conn; /* NULL: none under way */
    kw_request request;
    kw_reply *role; /* what ROLE was answered, until it is taken; else NULL */
    uint64_t deadline_ns;
    bool asks_role;  /* ROLE, not PING; set while none is under way */
    bool is_counted; /* the node knows that conn became ready */
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
