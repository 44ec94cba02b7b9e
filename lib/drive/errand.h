/* SPDX-License-Identifier: BSD-3-Clause */
/* Errand: one ask of a quorum op on its way to one copy; or one for the sake of hints. */
#ifndef DRIVE_ERRAND_H
#define DRIVE_ERRAND_H

#include "drive/run_parts.h"
#include "engine/quorum.h"

typedef struct kw_errand kw_errand;

/* One op of a call, and its copies. */
typedef struct kw_job {
    struct kw_job *next;
    kw_quorum_op op;
    kw_node *nodes[KW_QUORUM_COPIES_MAX + 1]; /* references; the copies', and, where there
                                                 is one, the next node's */
    kw_bytes key;                             /* behind this struct */
    kw_errand *errands;                       /* all of them, for their replies */
    size_t open_n;                            /* errands under way */
    uint64_t start_ns;
    uint64_t deadline_ns;
    bool is_left;     /* the call has gone: the op's own value is not there any more */
    kw_error failure; /* the last of a copy */
} kw_job;

/* A job without nodes; NULL when there is no memory. */
kw_job *kw_job_new(const kw_allocator *mem, kw_bytes key);

/* NULL is allowed. Nothing of it is under way. */
void kw_job_free(kw_job *job, const kw_allocator *mem);

typedef enum kw_errand_way {
    KW_ERRAND_SHORT, /* by the script's name */
    KW_ERRAND_FULL,  /* with the script's text */
    KW_ERRAND_PLAIN  /* a GET, without the script */
} kw_errand_way;

typedef enum kw_errand_aim {
    KW_ERRAND_OF_OP,
    KW_ERRAND_LEAVE, /* a hint */
    KW_ERRAND_LOOK,  /* for hints */
    KW_ERRAND_HAND,  /* a hint to whom it is for */
    KW_ERRAND_DROP   /* a hint that was handed over */
} kw_errand_aim;

/* A look for hints at one keeper, and what follows from it. */
#define KW_HINT_TARGETS_MAX 32u
typedef struct kw_hint_round {
    size_t refs;
    kw_node *keeper; /* a reference */
    bool has_failed; /* a hint could not be handed over */
    size_t targets_n;
    kw_node *targets[KW_HINT_TARGETS_MAX]; /* references: whom hints are looked for */
    size_t box_ends[KW_HINT_TARGETS_MAX];  /* in boxes: where the name of each ends */
    kw_buf boxes;
} kw_hint_round;

struct kw_errand {
    kw_item item; /* first */
    kw_job *job;  /* NULL: forgotten, and still on a connection; or of no op */
    kw_errand_aim aim;
    kw_hint_round *round; /* LOOK, HAND: a reference */
    size_t target;        /* HAND */
    kw_buf key;           /* HAND */
    kw_errand *next;
    kw_errand *next_ended;
    kw_quorum_ask ask;
    kw_buf encoded;
    kw_errand_way way;
    bool is_listed;  /* among the ended ones of a courier */
    bool is_dropped; /* and off its connection meanwhile */
    bool is_silent;  /* counted as one that its node owes an answer to */
};

/* A new errand of the job. NULL when there is no memory. */
kw_errand *kw_errand_new(kw_client *client, kw_job *job, const kw_quorum_ask *ask,
                         kw_errand_way way);

/* The same errand with the text of the script, for a server that lacks it. NULL when there
 * is no memory. */
kw_errand *kw_errand_expand(kw_client *client, const kw_errand *errand);

/* A new errand of no op: to the node, with what is encoded, which it takes over. NULL when
 * there is no memory. */
kw_errand *kw_errand_new_hint(kw_client *client, kw_errand_aim aim, kw_node *node, kw_buf *encoded,
                              uint64_t now_ns);

/* NULL is allowed. */
void kw_hint_round_unref(kw_hint_round *round, const kw_allocator *mem);

/* Takes it from its job. */
void kw_errand_forget(kw_errand *errand);

void kw_errand_free(kw_errand *errand, const kw_allocator *mem);

#endif
