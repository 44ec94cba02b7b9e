/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache task: one call on a cache that ends in a callback. */
#ifndef CACHE_CACHE_TASK_H
#define CACHE_CACHE_TASK_H

#include "cache/cache_fetch.h"
#include "cache/cache_loop.h"
#include "cache/load_link.h"

typedef struct kw_cache_task kw_cache_task;

struct kw_cache_loop {
    kw_loop_guest guest; /* first */
    kw_allocator mem;
    atomic_size_t refs; /* of the cache, and of its tasks */
    kw_cache *cache;
    kw_loop *loop;
    kw_poller poller;      /* of load links; woken by whoever has news */
    atomic_size_t tasks_n; /* accepted, and not ended */
    kw_monitor monitor;    /* guards what follows */
    bool is_closed;        /* nobody is woken any more */
    kw_cache_task *inbox;
    kw_cache_task *inbox_last;
    kw_cache_task *tasks; /* the processing thread's, as all below */
    kw_cache_task *next;  /* the one that is looked at next */
    size_t tracking_n;    /* reads on connections that track */
    size_t links_n;
};

typedef enum kw_cache_task_state {
    KW_CACHE_TASK_NEW,
    KW_CACHE_TASK_TRACKING, /* a tracked read is under way */
    KW_CACHE_TASK_ASKING,   /* a command is under way */
    KW_CACHE_TASK_WAITING,  /* as its fetch says */
    KW_CACHE_TASK_GUARDING, /* its link is being opened */
    KW_CACHE_TASK_LOADING,  /* the host ends it later */
    KW_CACHE_TASK_STORING
} kw_cache_task_state;

struct kw_cache_task {
    kw_cache_task *next;
    kw_cache_task *before;
    kw_cache_loop *loop;
    kw_allocator mem;
    atomic_uint refs; /* of the list, a command under way, a load under way */
    kw_cache_task_kind kind;
    kw_cache_task_state state;
    kw_cache_loader loader;
    kw_cache_callback callback;
    bool has_ended; /* it is in no list any more; others may still know it */
    bool has_fetch;
    kw_fetch fetch; /* the name of the lease, and more where it is a fetch */
    kw_tracking tracking;
    uint64_t until_ns;  /* of the tracked read */
    kw_lease_ask asked; /* by the command under way; NULL key: a plain GET */
    bool is_whole;      /* with the script's text */
    kw_load_link link;
    kw_cache_load load;
    atomic_bool is_loaded; /* by any thread, behind load.how */
    size_t key_len;
    size_t value_len;
    char bytes[]; /* key, value */
};

/* Tasks are gone over by then, whether this is said while they are or in a command's callback. For
 * who processes the loop. */
static inline void kw_cache_task_serve_by(kw_cache_task *task, uint64_t until_ns)
{
    kw_loop_guests_serve_by(task->loop->loop, until_ns);
}

static inline kw_bytes kw_cache_task_key(const kw_cache_task *task)
{
    return (kw_bytes){task->bytes, task->key_len};
}

static inline void kw_cache_loop_unref(kw_cache_loop *loop)
{
    if (atomic_fetch_sub(&loop->refs, 1) == 1) {
        kw_allocator mem = loop->mem;
        kw_monitor_fini(&loop->monitor);
        kw_mem_free(&mem, loop);
    }
}

static inline void kw_cache_task_unref(kw_cache_task *task)
{
    if (atomic_fetch_sub(&task->refs, 1) == 1) {
        kw_allocator mem = task->mem;
        kw_blob_unref(task->load.given);
        kw_cache_loop_unref(task->loop);
        kw_mem_free(&mem, task);
    }
}

kw_cache_task *kw_cache_task_new(kw_cache_loop *loop, const kw_cache_task_wish *wish);

/* The processing thread's from here on. */
void kw_cache_task_link(kw_cache_loop *loop, kw_cache_task *task);
void kw_cache_task_begin(kw_cache_task *task);

/* Looks whether what it waits for has come. */
void kw_cache_task_go_on(kw_cache_task *task);

/* Ends it; has_forked: what it has is the parent's, and nobody is told. */
void kw_cache_task_cancel(kw_cache_task *task, bool has_forked);

#endif
