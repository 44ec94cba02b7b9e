/* SPDX-License-Identifier: BSD-3-Clause */
/* What a task does next, and how it ends. */
#include "cache/cache_task.h"

#include "base/error.h"
#include "cache/life.h"
#include "cache/task_load.h"
#include "drive/loop_send.h"

#include <string.h>

static kw_cache *cache_of(const kw_cache_task *task)
{
    return task->loop->cache;
}

static uint64_t now_of(const kw_cache_task *task)
{
    return kw_env_now(&cache_of(task)->topology->env);
}

kw_cache_task *kw_cache_task_new(kw_cache_loop *loop, const kw_cache_task_wish *wish)
{
    size_t len;
    kw_cache *cache = loop->cache;
    bool fits = kw_size_add(&len, wish->key.len, sizeof(kw_cache_task)) &&
                kw_size_add(&len, len, wish->value.len);
    kw_cache_task *task = fits ? kw_mem_alloc(&cache->mem, len) : NULL;
    if (task == NULL) {
        return NULL;
    }
    memset(task, 0, sizeof(*task));
    task->loop = loop;
    task->mem = cache->mem;
    atomic_init(&task->refs, 1);
    task->kind = wish->kind;
    task->loader = wish->loader;
    task->callback = wish->callback;
    task->key_len = wish->key.len;
    task->value_len = wish->value.len;
    if (wish->key.len > 0) {
        memcpy(task->bytes, wish->key.data, wish->key.len);
    }
    if (wish->value.len > 0) {
        memcpy(task->bytes + wish->key.len, wish->value.data, wish->value.len);
    }
    if (!kw_fetch_init(&task->fetch, cache, kw_cache_task_key(task))) {
        kw_fetch_fini(&task->fetch);
        kw_mem_free(&cache->mem, task);
        return NULL;
    }
    atomic_fetch_add(&loop->refs, 1);
    return task;
}

void kw_cache_task_link(kw_cache_loop *loop, kw_cache_task *task)
{
    task->before = NULL;
    task->next = loop->tasks;
    if (loop->tasks != NULL) {
        loop->tasks->before = task;
    }
    loop->tasks = task;
}

static void unlink_task(kw_cache_task *task)
{
    kw_cache_loop *loop = task->loop;
    if (loop->next == task) {
        loop->next = task->next;
    }
    if (task->next != NULL) {
        task->next->before = task->before;
    }
    if (task->before != NULL) {
        task->before->next = task->next;
    } else {
        loop->tasks = task->next;
    }
    atomic_fetch_sub(&loop->tasks_n, 1);
    task->has_ended = true;
}

static void close_link(kw_cache_task *task, bool has_forked)
{
    if (task->link.state != KW_LOAD_LINK_NONE) {
        kw_load_link_close(&task->link, has_forked);
        task->loop->links_n--;
    }
}

static void stop_tracking(kw_cache_task *task)
{
    if (task->tracking.read != NULL) {
        kw_tracker_forget(cache_of(task)->tracker, &task->tracking);
        task->loop->tracking_n--;
    }
}

/* Ends with the value, which is the callback's, or with a failure. What the task has goes first:
 * the callback may do anything. */
static void end(kw_cache_task *task, const kw_error *failure, kw_cache_value *value)
{
    kw_cache_callback callback = task->callback;
    stop_tracking(task);
    close_link(task, false);
    kw_fetch_fini(&task->fetch);
    unlink_task(task);
    kw_cache_task_unref(task);
    if (callback.fn != NULL) {
        callback.fn(callback.arg, failure, failure == NULL ? value : NULL);
    } else {
        kw_cache_value_release(value);
    }
}

static void end_with(kw_cache_task *task, kw_err code, const kw_error *failure,
                     kw_cache_value *value)
{
    end(task, code != KW_OK ? failure : NULL, value);
}

static void run(kw_cache_task *task, kw_fetch_act act);

static void on_reply(void *arg, kw_reply *reply, const kw_error *error);

/* Sends what asked says; false, with *failure: it cannot be sent. */
static bool send_asked(kw_cache_task *task, kw_error *failure, kw_callback callback,
                       uint64_t timeout_ms)
{
    kw_bytes argv[KW_LEASE_ARGC];
    kw_lease_space space;
    kw_cache *cache = cache_of(task);
    kw_call_options options = kw_cache_read_options(cache, kw_cache_task_key(task));
    options.timeout_ms = timeout_ms;
    kw_plan_task plan = {.options = &options, .argv = argv, .takes_acks = true};
    if (task->asked.key.data == NULL) {
        argv[0] = kw_bytes_of("GET");
        argv[1] = kw_cache_task_key(task);
        plan.argc = 2;
    } else {
        kw_lease_argv(argv, &space, &task->asked, task->is_whole);
        plan.argc = KW_LEASE_ARGC;
        options.idempotent = kw_cache_is_repeatable(task->asked.act);
    }
    return kw_loop_send(task->loop->loop, failure, callback, &plan) == KW_OK;
}

/* Asks, and hears the answer in on_reply. */
static bool ask(kw_cache_task *task, kw_error *failure, const kw_lease_ask *asked, bool is_whole)
{
    static const kw_lease_ask plain = {.act = KW_LEASE_READ};
    task->asked = asked != NULL ? *asked : plain;
    task->is_whole = is_whole;
    task->state = KW_CACHE_TASK_ASKING;
    atomic_fetch_add(&task->refs, 1);
    if (send_asked(task, failure, (kw_callback){on_reply, task},
                   kw_fetch_left_ms(&task->fetch, now_of(task)))) {
        return true;
    }
    kw_cache_task_unref(task);
    return false;
}

/* Reads the value with a command, to all who have no other way. */
static void read_plainly(kw_cache_task *task)
{
    kw_error failure = kw_error_none();
    kw_cache_value none = KW_CACHE_VALUE_INIT;
    bool needs_life = kw_cache_options_extra_ms(&cache_of(task)->options) > 0;
    kw_lease_ask asked = kw_fetch_ask_of(&task->fetch, KW_LEASE_READ);
    if (!ask(task, &failure, needs_life ? &asked : NULL, false)) {
        end(task, &failure, &none);
    }
}

static void on_untracked(kw_cache_task *task)
{
    if (task->kind == KW_CACHE_TASK_FETCH) {
        task->has_fetch = true;
        run(task, kw_fetch_begin(&task->fetch));
    } else {
        read_plainly(task);
    }
}

/* The tracked read has ended, or is not waited for any longer. */
static void on_tracked(kw_cache_task *task)
{
    kw_cache *cache = cache_of(task);
    kw_tracked found;
    kw_error failure = kw_error_none();
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    uint64_t extra_ms = kw_cache_options_extra_ms(&cache->options);
    task->loop->tracking_n--;
    bool is_read = kw_tracker_take(cache->tracker, &task->tracking, &found, extra_ms);
    bool is_wanted =
        is_read && (task->kind == KW_CACHE_TASK_GET || kw_cache_is_fresh(cache, &found));
    if (!is_wanted) {
        kw_reply_free(found.value);
        on_untracked(task);
        return;
    }
    kw_err code = kw_cache_give_read(cache, &failure, &value, &found);
    end_with(task, code, &failure, &value);
}

void kw_cache_task_begin(kw_cache_task *task)
{
    kw_cache *cache = cache_of(task);
    kw_error failure = kw_error_none();
    kw_cache_value none = KW_CACHE_VALUE_INIT; /* until one is near */
    if (task->kind == KW_CACHE_TASK_PUT || task->kind == KW_CACHE_TASK_FORGET) {
        bool is_put = task->kind == KW_CACHE_TASK_PUT;
        kw_lease_ask asked = kw_fetch_ask_of(&task->fetch, is_put ? KW_LEASE_PUT : KW_LEASE_FORGET);
        asked.value = (kw_bytes){task->bytes + task->key_len, task->value_len};
        asked.ms = kw_life_draw_ms(&cache->options, kw_cache_random(cache));
        if (!ask(task, &failure, &asked, false)) {
            end(task, &failure, &none);
        }
        return;
    }
    if (cache->near != NULL &&
        kw_cache_find_near(cache, &none, kw_cache_task_key(task), kw_tracker_now(cache->tracker))) {
        end(task, NULL, &none);
        return;
    }
    if (cache->near != NULL && kw_tracker_begin(cache->tracker, &task->tracking,
                                                kw_cache_task_key(task), kw_cache_task_key(task))) {
        uint64_t now_ns = now_of(task);
        uint64_t end_ns = now_ns + cache->topology->env.options.stall_ms * KW_NS_PER_MS;
        task->state = KW_CACHE_TASK_TRACKING;
        task->until_ns = end_ns < task->fetch.deadline_ns ? end_ns : task->fetch.deadline_ns;
        task->loop->tracking_n++;
        kw_cache_task_serve_by(task, now_ns);
        return;
    }
    on_untracked(task);
}

/* To what nobody's fetch has asked. */
static void on_own_reply(kw_cache_task *task, kw_reply *reply, const kw_error *error)
{
    kw_error failure = kw_error_none();
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_err code = KW_OK;
    if (reply == NULL) {
        code = error->code;
        kw_error_copy(&failure, error);
    } else if (kw_reply_is_error(reply)) {
        code = kw_cache_take_error(&failure, &task->asked, reply);
    } else if (task->kind != KW_CACHE_TASK_GET) {
        kw_reply_free(reply);
    } else if (task->asked.key.data == NULL) {
        kw_tracked found = {reply, -1};
        code = kw_cache_give_read(cache_of(task), &failure, &value, &found);
    } else {
        code = kw_cache_give_answer(cache_of(task), &failure, &value, reply);
    }
    end_with(task, code, &failure, &value);
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_cache_task *task = arg;
    if (task->has_ended) { /* cancelled meanwhile */
        kw_reply_free(reply);
        kw_cache_task_unref(task);
        return;
    }
    bool is_missing = reply != NULL && kw_lease_is_script_missing(reply) && !task->is_whole;
    kw_error failure = kw_error_none();
    if (is_missing) {
        kw_lease_ask asked = task->asked;
        kw_reply_free(reply);
        reply = NULL;
        error = &failure;
        if (ask(task, &failure, &asked, true)) {
            kw_cache_task_unref(task);
            return;
        }
    }
    if (task->has_fetch) {
        run(task, kw_fetch_on_reply(&task->fetch, reply, error));
    } else {
        on_own_reply(task, reply, error);
    }
    kw_cache_task_unref(task);
}

static void drop_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_reply_free(reply);
}

/* Tells the lease something, which may be another call's, by a task of its own: nobody waits for
 * the answer, and a server may have lost the script. */
static void tell(const kw_cache_task *task)
{
    kw_cache_task_wish wish = {.kind = KW_CACHE_TASK_TELL, .key = kw_cache_task_key(task)};
    kw_cache_task *own = kw_cache_task_new(task->loop, &wish);
    if (own == NULL) {
        return; /* the lease ends by itself */
    }
    memcpy(own->fetch.token.text, task->fetch.ask.token.data, sizeof(own->fetch.token.text));
    atomic_fetch_add(&own->loop->tasks_n, 1);
    kw_cache_task_link(own->loop, own);
    kw_error failure = kw_error_none();
    kw_cache_value none = KW_CACHE_VALUE_INIT;
    kw_lease_ask asked = kw_fetch_ask_of(&own->fetch, task->fetch.ask.act);
    if (!ask(own, &failure, &asked, false)) {
        end(own, &failure, &none);
    }
}

/* The cache is closed, and hears no answer: the script comes with it. */
static void release(kw_cache_task *task)
{
    task->asked = kw_fetch_ask_of(&task->fetch, KW_LEASE_RELEASE);
    task->is_whole = true;
    (void)send_asked(task, NULL, (kw_callback){drop_reply, NULL}, 0);
}

static void end_fetch(kw_cache_task *task)
{
    kw_error failure = task->fetch.failure;
    kw_err code = task->fetch.code;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    if (code == KW_OK) {
        kw_cache_value_set(&value, task->fetch.blob, task->fetch.source);
    }
    end_with(task, code, &failure, &value);
}

/* What the fetch says, until something is to be waited for. */
static void run(kw_cache_task *task, kw_fetch_act act)
{
    kw_error failure = kw_error_none();
    for (;;) {
        switch (act) {
        case KW_FETCH_ASK:
            if (ask(task, &failure, &task->fetch.ask, false)) {
                return;
            }
            act = kw_fetch_on_reply(&task->fetch, NULL, &failure);
            break;
        case KW_FETCH_TELL:
            tell(task);
            act = kw_fetch_go_on(&task->fetch);
            break;
        case KW_FETCH_WAIT:
            task->state = KW_CACHE_TASK_WAITING;
            kw_cache_task_serve_by(task, kw_fetch_until_ns(&task->fetch));
            return;
        case KW_FETCH_GUARD:
        case KW_FETCH_LOAD:
        case KW_FETCH_STORE:
            act = kw_task_load_do(task, act);
            if (act == KW_FETCH_WAIT) {
                return;
            }
            break;
        case KW_FETCH_END:
            end_fetch(task);
            return;
        }
    }
}

static void go_on_waiting(kw_cache_task *task)
{
    kw_fetch_act act = kw_fetch_go_on(&task->fetch);
    if (act != KW_FETCH_WAIT) {
        run(task, act);
        return;
    }
    kw_cache_task_serve_by(task, kw_fetch_until_ns(&task->fetch));
}

static void go_on_loading(kw_cache_task *task)
{
    kw_fetch_act act = kw_task_load_go_on(task);
    if (act != KW_FETCH_WAIT) {
        run(task, act);
    }
}

void kw_cache_task_go_on(kw_cache_task *task)
{
    switch (task->state) {
    case KW_CACHE_TASK_TRACKING:
        if (kw_tracker_is_done(&task->tracking) || now_of(task) >= task->until_ns) {
            on_tracked(task);
        }
        break;
    case KW_CACHE_TASK_WAITING:
        go_on_waiting(task);
        break;
    case KW_CACHE_TASK_GUARDING:
    case KW_CACHE_TASK_STORING:
    case KW_CACHE_TASK_LOADING:
        go_on_loading(task);
        break;
    case KW_CACHE_TASK_NEW:
    case KW_CACHE_TASK_ASKING:
        break;
    }
}

void kw_cache_task_cancel(kw_cache_task *task, bool has_forked)
{
    kw_error failure = kw_error_none();
    kw_cache_value none = KW_CACHE_VALUE_INIT;
    kw_error_set(&failure, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the cache was closed");
    if (has_forked) {
        task->callback.fn = NULL;
        task->tracking.read = NULL;
        close_link(task, true);
    } else if (task->fetch.has_lease) {
        release(task);
    }
    kw_fetch_cancel(&task->fetch);
    end(task, &failure, &none);
}
