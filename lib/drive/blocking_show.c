/* SPDX-License-Identifier: BSD-3-Clause */
/* What is shown of a blocking command to whoever watches; apart, so that others pay little. */
#include "drive/blocking_wait.h"

#include "drive/driver.h"

void kw_blocking_wait_show_try(kw_blocking_wait *self, const kw_reply *reply, kw_err code)
{
    kw_seen_try seen = {.plan = self->plan, .node = self->node, .sent_ns = self->placed_ns};
    seen.now_ns = self->now_ns;
    seen.reply = reply;
    seen.code = code;
    kw_observer_show_try(self->topology, &self->story, &seen);
    self->placed_ns = 0;
}

kw_step kw_blocking_wait_show_reply(kw_blocking_wait *self, kw_request *request)
{
    kw_blocking_wait_show_try(self, request->reply, KW_OK);
    kw_driver_answer answer = {self->node, self->now_ns, request, &self->failure};
    return kw_driver_on_reply(self->topology, self->plan, &self->op, &answer);
}

void kw_blocking_wait_show_end(kw_blocking_wait *self, const kw_step *step)
{
    bool has_failed = step->kind == KW_STEP_FAIL;
    if (has_failed && !self->plan->is_internal) {
        kw_topology_count_failure(self->topology, step->code, step->effect);
    }
    kw_seen_end seen = {self->plan, self->now_ns, has_failed ? step->code : KW_OK,
                        has_failed ? step->effect : KW_EFFECT_NONE};
    kw_observer_show_end(self->topology, &self->story, &seen);
}
