/* SPDX-License-Identifier: BSD-3-Clause */
/* A load under its guard, in turns of the loop. */
#include "cache/task_load.h"

/* The host has ended a load that its function did not; any thread. */
static void on_load_end(kw_cache_load *load)
{
    kw_cache_task *task = (kw_cache_task *)(void *)((char *)load - offsetof(kw_cache_task, load));
    kw_cache_loop *loop = task->loop;
    atomic_store(&task->is_loaded, true);
    kw_monitor_lock(&loop->monitor);
    if (!loop->is_closed) {
        kw_poller_wake(&loop->poller);
    }
    kw_monitor_unlock(&loop->monitor);
    kw_cache_task_unref(task);
}

static kw_fetch_act take_loaded(kw_cache_task *task)
{
    kw_blob *given = task->load.given;
    task->load.given = NULL;
    return kw_fetch_on_loaded(&task->fetch, task->load.how, given);
}

/* Calls the host; WAIT: it ends the load later. */
static kw_fetch_act load(kw_cache_task *task)
{
    kw_cache_load_init(&task->load, task->loop->cache, kw_cache_task_key(task));
    task->load.end_fn = on_load_end;
    task->state = KW_CACHE_TASK_LOADING;
    atomic_fetch_add(&task->refs, 1);
    kw_cache_loaded how = task->loader.fn(task->loader.arg, &task->load);
    if (how == KW_CACHE_LATER) {
        return KW_FETCH_WAIT;
    }
    task->load.how = how;
    kw_cache_task_unref(task);
    return kw_loop_is_over(task->loop->loop) ? KW_FETCH_WAIT : take_loaded(task);
}

/* What has come of opening the guard, or of storing by it; WAIT: nothing yet. */
static kw_fetch_act on_link(kw_cache_task *task)
{
    kw_load_link_state state = task->link.state;
    if (state == KW_LOAD_LINK_OPENING || state == KW_LOAD_LINK_WATCHING ||
        state == KW_LOAD_LINK_STORING) {
        kw_cache_task_serve_by(task, task->link.until_ns);
        return KW_FETCH_WAIT;
    }
    return task->state == KW_CACHE_TASK_GUARDING
               ? kw_fetch_on_guard(&task->fetch, state == KW_LOAD_LINK_OPEN)
               : kw_fetch_on_stored(&task->fetch, state == KW_LOAD_LINK_STORED);
}

static kw_fetch_act open_link(kw_cache_task *task)
{
    kw_cache *cache = task->loop->cache;
    task->state = KW_CACHE_TASK_GUARDING;
    task->loop->links_n++;
    kw_load_link_begin(&task->link, cache, &task->loop->poller, kw_cache_task_key(task),
                       kw_cache_deadline_ns(cache));
    return on_link(task);
}

static kw_fetch_act store(kw_cache_task *task)
{
    task->state = KW_CACHE_TASK_STORING;
    kw_load_link_store(&task->link, &task->fetch.ask, kw_cache_deadline_ns(task->loop->cache));
    return on_link(task);
}

kw_fetch_act kw_task_load_do(kw_cache_task *task, kw_fetch_act act)
{
    return act == KW_FETCH_GUARD  ? open_link(task)
           : act == KW_FETCH_LOAD ? load(task)
                                  : store(task);
}

kw_fetch_act kw_task_load_go_on(kw_cache_task *task)
{
    if (task->state != KW_CACHE_TASK_LOADING) {
        kw_load_link_go_on(&task->link);
        return on_link(task);
    }
    if (atomic_load(&task->is_loaded)) {
        return take_loaded(task);
    }
    if (task->link.state == KW_LOAD_LINK_OPEN) {
        kw_load_link_go_on(&task->link); /* one that is lost would wake the host all the time */
    }
    return KW_FETCH_WAIT;
}
