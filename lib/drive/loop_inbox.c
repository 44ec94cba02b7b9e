/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on their way into a loop: admitted within its limits, in blocks that are used again,
 * from any thread. */
#include "drive/loop_private.h"

#include "base/error.h"

/* Counts a command of so many bytes among what is under way; the monitor is held. */
static bool admit(kw_loop *self, size_t len)
{
    const kw_options *options = &self->topology->env.options;
    bool is_own =
        kw_loop_is_inside(self); /* then what was told of, and not counted yet, is at hand */
    size_t open_n = self->open_n - (is_own ? self->told_n : 0);
    size_t open_len = self->open_len - (is_own ? self->told_len : 0);
    if (open_n >= options->queue_max || open_len + len > options->queue_bytes_max) {
        return false;
    }
    self->open_n++;
    self->open_len += len;
    return true;
}

static kw_async_command *take_block(kw_loop *self, size_t room)
{
    if (room > KW_ASYNC_COMMAND_ROOM) {
        return NULL;
    }
    if (kw_loop_is_inside(self) && self->used_n > 0) { /* just used, and still at hand */
        self->used_n--;
        return kw_async_commands_pop(&self->used);
    }
    self->blocks_n -= self->blocks_n > 0 ? 1 : 0;
    return kw_async_commands_pop(&self->blocks);
}

kw_async_command *kw_loop_block(kw_loop *self, kw_error *error, const kw_plan_task *task,
                                bool *is_in_callback)
{
    size_t room;
    if (!kw_async_command_room(&room, task)) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
        return NULL;
    }
    kw_monitor_lock(&self->monitor);
    bool is_own = kw_loop_is_inside(self);
    bool is_admitted = admit(self, room);
    kw_async_command *command = is_admitted ? take_block(self, room) : NULL;
    kw_monitor_unlock(&self->monitor);
    if (is_in_callback != NULL) {
        *is_in_callback = is_own;
    }
    if (!is_admitted) {
        kw_error_set(error, KW_ERR_QUEUE_FULL, KW_EFFECT_NONE,
                     "as many commands, or bytes, are under way as queue-max (%llu) and "
                     "queue-bytes-max (%llu) allow; take answers first, or raise them",
                     (unsigned long long)self->topology->env.options.queue_max,
                     (unsigned long long)self->topology->env.options.queue_bytes_max);
        return NULL;
    }
    command = command != NULL ? command : kw_async_command_new(&self->topology->env.mem, room);
    if (command == NULL) {
        kw_monitor_lock(&self->monitor);
        kw_loop_discharge(self, 1, room);
        kw_monitor_unlock(&self->monitor);
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
        return NULL;
    }
    command->charged_len = room;
    return command;
}

void kw_loop_unblock(kw_loop *self, kw_async_command *command)
{
    kw_monitor_lock(&self->monitor);
    kw_loop_discharge(self, 1, command->charged_len);
    kw_monitor_unlock(&self->monitor);
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
