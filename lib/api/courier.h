/* Courier: carries what quorum ops ask to the copies and brings the answers back, for one
 * thread at a time. Connections, and answers that nobody waits for any more, stay with it
 * from call to call. */
#ifndef API_COURIER_H
#define API_COURIER_H

#include "api/run_parts.h"
#include "engine/quorum.h"

typedef struct kw_courier kw_courier;
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

/* NULL when there is no memory. */
kw_courier *kw_courier_new(kw_client *client);

/* NULL is allowed. Ends what is under way. */
void kw_courier_free(kw_courier *courier);

/* Runs the jobs, whose ops have started, until each has ended. */
void kw_courier_run(kw_courier *courier, kw_job *const *jobs, size_t jobs_n, uint64_t deadline_ns);

/* The call is over: frees the job, or keeps it until its last errand is back. */
void kw_courier_leave(kw_courier *courier, kw_job *job);

/* For a list of couriers that have nothing to do. */
kw_courier **kw_courier_next(kw_courier *courier);

#endif
