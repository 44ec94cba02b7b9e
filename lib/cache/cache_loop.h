/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache loop: gets and fetches of a cache that end in a callback, carried by the host's loop. */
#ifndef CACHE_CACHE_LOOP_H
#define CACHE_CACHE_LOOP_H

#include "cache/cache.h"
#include "drive/loop_guests.h"

typedef enum kw_cache_task_kind {
    KW_CACHE_TASK_GET,
    KW_CACHE_TASK_FETCH,
    KW_CACHE_TASK_PUT,
    KW_CACHE_TASK_FORGET,
    KW_CACHE_TASK_TELL /* a fetch's lease, without a callback */
} kw_cache_task_kind;

/* What is wanted. */
typedef struct kw_cache_task_wish {
    kw_cache_task_kind kind;
    kw_bytes key;
    kw_bytes value; /* of PUT */
    kw_cache_loader loader;
    kw_cache_callback callback;
} kw_cache_task_wish;

/* The cache's guest of the loop, made at first use. KW_ERR_NOMEM, or what a poller fails with. */
kw_err kw_cache_loop_need(kw_cache *cache, kw_error *error, kw_loop *loop);

/* Accepts a task, which ends in a callback of kw_process. Any thread. KW_ERR_NOMEM,
 * KW_ERR_QUEUE_FULL. */
kw_err kw_cache_loop_add(kw_cache *cache, kw_error *error, const kw_cache_task_wish *wish);

/* Ends all tasks with KW_ERR_CANCELLED; nobody is in the cache but those who process the loop.
 * loop: the handle's; NULL: it is not there any more, or the parent's. */
void kw_cache_loop_close(kw_cache *cache, kw_loop *loop, bool has_forked);

#endif
