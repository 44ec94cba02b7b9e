/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop send: a command for a loop, from whatever thread. */
#ifndef DRIVE_LOOP_SEND_H
#define DRIVE_LOOP_SEND_H

#include "drive/loop.h"

/* Plans the command, and hands it over; its callback is called in a kw_process. Never waits. Errors
 * are those of kw_loop_block and kw_async_command_init. Any thread. */
kw_err kw_loop_send(kw_loop *loop, kw_error *error, kw_callback callback, kw_plan_task *task);

/* The callback is called in a kw_process at that time, or before. Errors are those of
 * kw_loop_block. Any thread. */
kw_err kw_loop_pause(kw_loop *loop, kw_error *error, kw_callback callback, uint64_t until_ns);

#endif
