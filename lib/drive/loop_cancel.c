/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of a loop that nobody wants any more: all that were named since the last turn are looked
 * for in one pass, and end in that turn. */
#include "drive/loop_private.h"

#include <string.h>

static bool is_meant(const void *arg, const kw_item *item)
{
    return kw_loop_cancels_has(arg, item->owner);
}

/* What the pipeline has not seen goes through it, too: it ends there as everything else. */
static void add_meant(kw_loop *self)
{
    kw_async_commands rest = {NULL, NULL};
    kw_async_command *command;
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    while ((command = kw_async_commands_pop(&self->backlog)) != NULL) {
        if (kw_loop_cancels_has(&self->cancelled, command)) {
            kw_loop_add_items(self, command, snapshot);
        } else {
            kw_async_commands_push(&rest, command);
        }
    }
    kw_snapshot_unref(snapshot);
    self->backlog = rest;
}

void kw_loop_give_up(kw_loop *self)
{
    kw_loop_cancels_sort(&self->cancelled);
    add_meant(self);
    kw_pipeline_cancel(&self->pipeline, is_meant, &self->cancelled);
    kw_pipeline_expire(&self->pipeline);
    kw_loop_cancels_fini(&self->cancelled, &self->topology->env.mem);
}
