/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on their way into a loop: admitted within its limits, in blocks that are used again,
 * from any thread. */
#include "drive/loop_private.h"

#include "base/error.h"
#include "base/resp.h"
#include "drive/whole.h"

/* Counts a command of so many bytes among what is under way. is_own: of the thread that carries the
 * commands: what it told of, and has not counted yet, is at hand. */
static bool admit(kw_loop *self, size_t len, bool is_own)
{
    const kw_options *options = &self->topology->env.options;
    size_t open_n = atomic_fetch_add_explicit(&self->open_n, 1, memory_order_relaxed);
    size_t open_len = atomic_fetch_add_explicit(&self->open_len, len, memory_order_relaxed);
    open_n -= is_own ? self->told_n : 0;
    open_len -= is_own ? self->told_len : 0;
    bool is_admitted = open_n < options->queue_max && open_len + len <= options->queue_bytes_max;
    if (!is_admitted) {
        kw_loop_discharge(self, 1, len);
    }
    return is_admitted;
}

/* Admits a command of the thread that carries them; *block is one to be used again, or NULL. */
static bool admit_own(kw_loop *self, kw_async_command **block, size_t len)
{
    bool is_admitted = admit(self, len, true);
    *block = is_admitted ? kw_loop_blocks_take(&self->used, len) : NULL;
    if (is_admitted && *block == NULL) {
        kw_monitor_lock(&self->monitor);
        *block = kw_loop_blocks_take(&self->blocks, len);
        kw_monitor_unlock(&self->monitor);
    }
    return is_admitted;
}

/* Admits any other's, one at a time: who is refused for ever waits for the lock, and burns nothing.
 */
static bool admit_other(kw_loop *self, kw_async_command **block, size_t len)
{
    kw_monitor_lock(&self->monitor);
    bool is_admitted = admit(self, len, false);
    *block = is_admitted ? kw_loop_blocks_take(&self->blocks, len) : NULL;
    kw_monitor_unlock(&self->monitor);
    return is_admitted;
}

/* A block that is none to be used again; those that come with it are for the next commands. */
static kw_async_command *new_block(kw_loop *self, size_t len, bool is_own)
{
    kw_loop_blocks rest = {.n = 0};
    size_t open_n = atomic_load_explicit(&self->open_n, memory_order_relaxed);
    kw_async_command *block = kw_loop_blocks_new(&rest, &self->topology->env.mem, len, open_n);
    if (is_own) {
        kw_loop_blocks_move(&self->used, &rest);
    } else if (rest.n > 0) {
        kw_monitor_lock(&self->monitor);
        kw_loop_blocks_move(&self->blocks, &rest);
        kw_monitor_unlock(&self->monitor);
    }
    return block;
}

static kw_err refuse(const kw_loop *self, kw_error *error)
{
    const kw_options *options = &self->topology->env.options;
    return kw_error_set(error, KW_ERR_QUEUE_FULL, KW_EFFECT_NONE,
                        "as many commands, or bytes, are under way as queue-max (%llu) and "
                        "queue-bytes-max (%llu) allow; take answers first, or raise them",
                        (unsigned long long)options->queue_max,
                        (unsigned long long)options->queue_bytes_max);
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
}

kw_err kw_loop_block(kw_loop *self, kw_async_command **command, kw_error *error,
                     const kw_plan_task *task, bool *is_in_callback)
{
    size_t len;
    if (task->whole != NULL) {
        len = kw_whole_bytes(task->whole).len;
    } else if (!kw_resp_len(&len, task->argv, task->argc)) {
        return no_memory(error);
    }
    bool is_own = kw_loop_is_inside(self);
    if (is_in_callback != NULL) {
        *is_in_callback = is_own;
    }
    kw_async_command *block;
    if (is_own ? !admit_own(self, &block, len) : !admit_other(self, &block, len)) {
        return refuse(self, error);
    }
    block = block != NULL ? block : new_block(self, len, is_own);
    if (block == NULL) {
        kw_loop_discharge(self, 1, len);
        return no_memory(error);
    }
    block->len = len;
    *command = block;
    return KW_OK;
}

void kw_loop_unblock(kw_loop *self, kw_async_command *command)
{
    kw_loop_discharge(self, 1, command->len);
    kw_loop_blocks_free(command, &self->topology->env.mem);
}

void kw_loop_submit(kw_loop *self, kw_async_command *command, bool wakes)
{
    command->stamp = atomic_load_explicit(&self->stamp, memory_order_relaxed);
    kw_monitor_lock(&self->monitor);
    kw_async_commands_push(&self->inbox, command);
    /* Whoever processes looks into the inbox again before it leaves. */
    wakes = wakes && !self->is_processing && !self->is_signalled;
    self->is_signalled = self->is_signalled || wakes;
    kw_monitor_unlock(&self->monitor);
    if (wakes) {
        kw_poller_wake(&self->poller);
    }
}

void kw_loop_give(kw_loop *self, kw_async_command *command)
{
    command->stamp = atomic_load_explicit(&self->stamp, memory_order_relaxed);
    kw_async_commands_push(&self->given, command); /* this thread's own: no lock */
}

kw_err kw_loop_cancel(kw_loop *self, kw_callback callback)
{
    kw_monitor_lock(&self->monitor);
    uint32_t stamp = atomic_fetch_add_explicit(&self->stamp, 1, memory_order_relaxed);
    kw_loop_cancel_entry entry = {callback, stamp};
    bool is_added = kw_loop_cancels_add(&self->cancels, &self->topology->env.mem, &entry);
    /* Whoever processes looks for them before it leaves. */
    bool wakes = is_added && !self->is_processing && !self->is_signalled;
    self->is_signalled = self->is_signalled || wakes;
    kw_monitor_unlock(&self->monitor);
    if (wakes) {
        kw_poller_wake(&self->poller);
    }
    return is_added ? KW_OK : KW_ERR_NOMEM;
}

bool kw_loop_has_mail(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    bool has_mail = self->inbox.head != NULL;
    kw_monitor_unlock(&self->monitor);
    return has_mail;
}

void kw_loop_add_items(kw_loop *self, kw_async_command *command, const kw_snapshot *snapshot)
{
    size_t n;
    if (command->more == NULL) { /* as most are: it is simply sent */
        command->open_n = 1;
        kw_plan_set_time(&command->item.plan, self->pipeline.scan.now_ns);
        kw_pipeline_add(&self->pipeline, &command->item, snapshot);
        return;
    }
    kw_item *items = kw_async_command_items(command, &n);
    command->open_n = (uint16_t)n;
    kw_async_command_set_time(command, self->pipeline.scan.now_ns);
    for (size_t i = 0; i < n; i++) {
        kw_pipeline_add(&self->pipeline, &items[i], snapshot);
    }
}
