/* SPDX-License-Identifier: BSD-3-Clause */
/* Share out: tasks that need nothing of each other, done by a few processes at a time. */
#ifndef SUPPORT_SHARE_OUT_H
#define SUPPORT_SHARE_OUT_H

#include <stdbool.h>
#include <stddef.h>

/* Does task(0) .. task(tasks_n - 1), in this order, each by whichever of jobs_n processes is free;
 * true where all were true. After one that was not, none is begun. */
bool kw_test_share_out(size_t tasks_n, bool (*task)(size_t number), unsigned jobs_n);

#endif
