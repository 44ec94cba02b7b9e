/* SPDX-License-Identifier: BSD-3-Clause */
/* Copy request: what a quorum op asks of one copy, on its way there; or a request that leaves,
 * looks for, hands over or drops hints. */
#ifndef DRIVE_COPY_REQUEST_H
#define DRIVE_COPY_REQUEST_H

#include "drive/pipeline_private.h"
#include "engine/quorum.h"

typedef struct kw_copy_request kw_copy_request;

/* Memory of calls that have ended, for the next ones: a batch asks for hundreds of kilobytes, which
 * a heap would give back to the system, and get again, each time. Begins with its allocator alone.
 */
typedef struct kw_quorum_blocks {
    const kw_allocator *mem;
    struct kw_quorum_call *head;
    size_t n;
} kw_quorum_blocks;

/* No call of it is left. */
void kw_quorum_blocks_fini(kw_quorum_blocks *blocks);

/* One op of a call, and its copies; behind it its key, room for a request to each copy, and for
 * what is encoded of the first one, whose bytes the others send as well, so that a call that needs
 * one round asks for memory once. */
typedef struct kw_quorum_call {
    struct kw_quorum_call *next; /* in the exchange's list of those whose caller has gone, or in
                                    blocks */
    struct kw_quorum_call *before;
    kw_quorum_blocks *blocks; /* where its memory goes in the end */
    size_t block_len;
    size_t refs;           /* one for the call, and one for each request in its room */
    kw_copy_request *free; /* requests in the room that were not used yet */
    size_t free_n;
    char *room; /* for what is encoded, and its length; 0: it is in use */
    size_t room_len;
    kw_node *nodes[KW_QUORUM_COPIES_MAX + 1]; /* references; the copies', and, where there
                                                 is one, the next node's */
    kw_bytes key;
    kw_copy_request *requests; /* all of them, for their replies */
    size_t open_n;             /* requests under way */
    uint64_t start_ns;
    uint64_t deadline_ns;
    bool is_left; /* the caller has gone, and with it the op's own value */
    /* Of these two nothing is set before it is needed. */
    kw_error failure; /* why a copy did not answer, the last one; where code is KW_OK: nothing */
    kw_quorum_op op;  /* begins with kw_quorum_start */
} kw_quorum_call;

/* A call without nodes, whose op has not started, with room for requests_n requests that ask for
 * that and carry a value of value_len. NULL when there is no memory. */
kw_quorum_call *kw_quorum_call_new(kw_quorum_blocks *blocks, kw_bytes key, size_t requests_n,
                                   kw_quorum_ask_kind kind, size_t value_len);

/* NULL is allowed. Nothing of it is under way. */
void kw_quorum_call_free(kw_quorum_call *call, const kw_allocator *mem);

typedef enum kw_copy_request_way {
    KW_COPY_REQUEST_SCRIPT,
    KW_COPY_REQUEST_PLAIN /* a GET, without the script */
} kw_copy_request_way;

typedef enum kw_copy_request_aim {
    KW_COPY_REQUEST_OF_OP,
    KW_COPY_REQUEST_LEAVE, /* a hint */
    KW_COPY_REQUEST_LOOK,  /* for hints */
    KW_COPY_REQUEST_HAND,  /* a hint to whom it is for */
    KW_COPY_REQUEST_DROP   /* a hint that was handed over */
} kw_copy_request_aim;

/* A look for hints at one keeper, and what follows from it. */
#define KW_HINT_TARGETS_MAX 32u
typedef struct kw_hint_round {
    size_t refs;
    kw_node *keeper; /* a reference */
    bool has_failed; /* a hint could not be handed over */
    size_t targets_n;
    kw_node *targets[KW_HINT_TARGETS_MAX];     /* references: whom hints are looked for */
    size_t hint_key_ends[KW_HINT_TARGETS_MAX]; /* in hint_keys: where the name of each ends */
    kw_buf hint_keys;
} kw_hint_round;

struct kw_copy_request {
    kw_item item;         /* first: the pipeline's item is the request */
    kw_quorum_call *home; /* in whose room it is; NULL: a block of its own */
    kw_quorum_call *call; /* NULL: forgotten, and still on a connection; or of no op */
    kw_copy_request_aim aim;
    kw_hint_round *round; /* LOOK, HAND: a reference */
    size_t target;        /* HAND */
    kw_buf key;           /* HAND */
    kw_copy_request *next;
    kw_copy_request *next_ended;
    kw_quorum_ask ask;
    kw_buf encoded;
    kw_script_run_state run; /* SCRIPT: the plan's */
    kw_copy_request_way way;
    bool is_listed;  /* in the exchange's list of ended requests */
    bool is_dropped; /* and it has left its connection meanwhile */
    bool is_owed;    /* counted among the answers that its node owes */
};

/* A new request of the call. NULL when there is no memory. */
kw_copy_request *kw_copy_request_new(kw_topology *topology, kw_quorum_call *call,
                                     const kw_quorum_ask *ask, kw_copy_request_way way);

/* A new request of no op: to the node, with what is encoded, which it takes over. NULL when
 * there is no memory. */
kw_copy_request *kw_copy_request_new_hint(kw_topology *topology, kw_copy_request_aim aim,
                                          kw_node *node, kw_buf *encoded, uint64_t now_ns);

/* The request runs the quorum's script by its name. */
void kw_copy_request_use_script(kw_copy_request *request, const kw_allocator *mem);

/* Puts the request on its way, by the snapshot in use. */
void kw_copy_request_send(kw_copy_request *request, kw_pipeline *pipeline,
                          const kw_snapshot *snapshot);

/* NULL is allowed. */
void kw_hint_round_unref(kw_hint_round *round, const kw_allocator *mem);

/* Takes it from its call. */
void kw_copy_request_forget(kw_copy_request *request);

void kw_copy_request_free(kw_copy_request *request, const kw_allocator *mem);

#endif
