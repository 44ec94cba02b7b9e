/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on their way into a loop: admitted within its limits, in blocks that are used again,
 * from any thread. */
#include "drive/loop_private.h"

#include "base/error.h"
#include "base/resp.h"

/* Counts a command of so many bytes among what is under way. is_own: what was told of, and is not
 * counted yet, is at hand. The monitor is held. */
static bool admit(kw_loop *self, size_t len, bool is_own)
{
    const kw_options *options = &self->topology->env.options;
    size_t open_n = self->open_n - (is_own ? self->told_n : 0);
    size_t open_len = self->open_len - (is_own ? self->told_len : 0);
    if (open_n >= options->queue_max || open_len + len > options->queue_bytes_max) {
        return false;
    }
    self->open_n++;
    self->open_len += len;
    return true;
}

/* is_own: of the thread that carries the commands. The monitor is held. */
static kw_async_command *take_block(kw_loop *self, size_t len, bool is_own)
{
    kw_async_command *used = is_own ? kw_loop_blocks_take(&self->used, len) : NULL;
    return used != NULL ? used : kw_loop_blocks_take(&self->blocks, len);
}

/* A command that was admitted is given up. */
static void discharge(kw_loop *self, size_t len)
{
    kw_monitor_lock(&self->monitor);
    kw_loop_discharge(self, 1, len);
    kw_monitor_unlock(&self->monitor);
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
    if (!kw_resp_len(&len, task->argv, task->argc)) {
        return no_memory(error);
    }
    kw_monitor_lock(&self->monitor);
    bool is_own = kw_loop_is_inside(self);
    bool is_admitted = admit(self, len, is_own);
    kw_async_command *block = is_admitted ? take_block(self, len, is_own) : NULL;
    kw_monitor_unlock(&self->monitor);
    if (is_in_callback != NULL) {
        *is_in_callback = is_own;
    }
    if (!is_admitted) {
        return refuse(self, error);
    }
    block = block != NULL ? block : kw_async_command_new(&self->topology->env.mem, len);
    if (block == NULL) {
        discharge(self, len);
        return no_memory(error);
    }
    block->len = len;
    *command = block;
    return KW_OK;
}

void kw_loop_unblock(kw_loop *self, kw_async_command *command)
{
    discharge(self, command->len);
    kw_mem_free(&self->topology->env.mem, command);
}

void kw_loop_submit(kw_loop *self, kw_async_command *command, bool wakes)
{
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
    kw_async_commands_push(&self->given, command); /* this thread's own: no lock */
}

bool kw_loop_has_mail(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    bool has_mail = self->inbox.head != NULL;
    kw_monitor_unlock(&self->monitor);
    return has_mail;
}
