/* Errand: one ask of a quorum op on its way to one copy. */
#ifndef API_ERRAND_H
#define API_ERRAND_H

#include "api/run_parts.h"
#include "engine/quorum.h"

typedef struct kw_errand kw_errand;

/* One op of a call, and its copies. */
typedef struct kw_job {
    struct kw_job *next;
    kw_quorum_op op;
    kw_node *nodes[KW_QUORUM_COPIES_MAX]; /* references */
    kw_bytes key;                         /* behind this struct */
    kw_errand *errands;                   /* all of them, for their replies */
    size_t open_n;                        /* errands under way */
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

struct kw_errand {
    kw_item item; /* first */
    kw_job *job;  /* NULL: forgotten, and still on a connection */
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

/* Takes it from its job. */
void kw_errand_forget(kw_errand *errand);

void kw_errand_free(kw_errand *errand, const kw_allocator *mem);

#endif
