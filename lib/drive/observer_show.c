/* SPDX-License-Identifier: BSD-3-Clause */
/* Observer: the way to whoever watches, which every program carries. */
#include "drive/observer.h"

void kw_observer_show_try(kw_topology *topology, kw_story **story, const kw_seen_try *seen)
{
    const kw_observer *observer = kw_topology_observer(topology);
    if (observer != NULL) {
        observer->on_try(topology, story, seen);
    }
}

void kw_observer_show_end(kw_topology *topology, kw_story **story, const kw_seen_end *seen)
{
    const kw_observer *observer = kw_topology_observer(topology);
    if (observer != NULL) {
        observer->on_end(topology, *story, seen);
    }
    kw_mem_free(&topology->env.mem, *story);
    *story = NULL;
}
