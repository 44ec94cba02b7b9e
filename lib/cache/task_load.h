/* SPDX-License-Identifier: BSD-3-Clause */
/* What a task does to load: its guard, the host's function, and what stores it. */
#ifndef CACHE_TASK_LOAD_H
#define CACHE_TASK_LOAD_H

#include "cache/cache_task.h"

/* Does what its fetch says: GUARD, LOAD or STORE. What is next; WAIT: something is waited for. */
kw_fetch_act kw_task_load_do(kw_cache_task *task, kw_fetch_act act);

/* Goes on with that, in the states GUARDING, LOADING and STORING. */
kw_fetch_act kw_task_load_go_on(kw_cache_task *task);

#endif
