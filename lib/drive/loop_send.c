/* SPDX-License-Identifier: BSD-3-Clause */
/* From a task to a command on its way, or to a pause. */
#include "drive/loop_send.h"

static void hand_over(kw_loop *loop, kw_async_command *command, kw_callback callback,
                      bool is_inside)
{
    command->fn = callback.fn;
    command->arg = callback.arg;
    if (is_inside) {
        kw_loop_give(loop, command);
    } else {
        kw_loop_submit(loop, command, true);
    }
}

kw_err kw_loop_send(kw_loop *loop, kw_error *error, kw_callback callback, kw_plan_task *task)
{
    bool is_inside = false;
    kw_async_command *command;
    kw_err code = kw_loop_block(loop, &command, error, task, &is_inside);
    if (code != KW_OK) {
        return code;
    }
    task->is_timed_later = is_inside; /* at once, by the loop's own look at the clock */
    task->like = atomic_load_explicit(&loop->latest, memory_order_relaxed);
    code = kw_async_command_init(command, loop->topology, error, task);
    if (code != KW_OK) {
        kw_loop_unblock(loop, command);
        return code;
    }
    if (command->item.plan.command != task->like) {
        atomic_store_explicit(&loop->latest, command->item.plan.command, memory_order_relaxed);
    }
    hand_over(loop, command, callback, is_inside);
    return KW_OK;
}

kw_err kw_loop_pause(kw_loop *loop, kw_error *error, kw_callback callback, uint64_t until_ns)
{
    bool is_inside = false;
    kw_async_command *command;
    kw_plan_task nothing = {.argc = 0};
    kw_err code = kw_loop_block(loop, &command, error, &nothing, &is_inside);
    if (code == KW_OK) {
        kw_async_command_init_pause(command, until_ns);
        hand_over(loop, command, callback, is_inside);
    }
    return code;
}
