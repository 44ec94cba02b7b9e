/* SPDX-License-Identifier: BSD-3-Clause */
/* Run wait: waits for the sockets of a pipeline whose caller waits for it. */
#ifndef DRIVE_RUN_WAIT_H
#define DRIVE_RUN_WAIT_H

#include "drive/pipeline_private.h"

/* A pipeline to no more nodes than this needs no heap for their sockets. */
#define KW_RUN_WAIT_INLINE 32

typedef struct kw_run_wait {
    kw_pipeline *pipeline;
    struct pollfd *sockets; /* of the channels, and of a fetch */
    size_t sockets_n;
    struct pollfd space[KW_RUN_WAIT_INLINE];
    bool is_shared;     /* others wait for some of what a node is still to answer */
    bool reads_in_turn; /* each node is waited for by a receive: none has been slow yet */
} kw_run_wait;

/* is_for_all: the caller waits for each reply, and not for some of them. */
void kw_run_wait_init(kw_run_wait *self, kw_pipeline *pipeline, bool is_for_all);
void kw_run_wait_fini(kw_run_wait *self);

/* Waits until a socket has something, or until_ns, or something else is to be done, and reads
 * what there is; a turn of the pipeline follows. False when there is no memory. */
bool kw_run_wait_turn(kw_run_wait *self, uint64_t until_ns);

#endif
