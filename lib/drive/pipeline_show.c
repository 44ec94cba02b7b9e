/* SPDX-License-Identifier: BSD-3-Clause */
/* What is shown of a pipeline's commands to whoever watches; apart, so that others pay little. */
#include "drive/pipeline_private.h"

static kw_story **story_of(kw_pipeline *self, const kw_item *item)
{
    return item->retry_state != NULL ? &item->retry_state->story : &self->story;
}

void kw_pipeline_show_try(kw_pipeline *self, kw_item *item, kw_err code)
{
    kw_seen_try seen = {.plan = &item->plan, .node = item->node, .sent_ns = item->sent_ns};
    seen.now_ns = self->scan.now_ns;
    seen.reply = item->request.reply;
    seen.code = code;
    kw_observer_show_try(self->topology, story_of(self, item), &seen);
    item->sent_ns = 0;
}

void kw_pipeline_show_end(kw_pipeline *self, kw_item *item, kw_err code)
{
    const kw_reply *reply = item->request.reply;
    if (code == KW_OK && reply != NULL && !kw_reply_is(reply, KW_REPLY_ERROR)) {
        kw_pipeline_show_try(self, item, code); /* errors were shown before their verdict */
    }
    kw_seen_end seen = {&item->plan, self->scan.now_ns, code,
                        code != KW_OK ? item->effect : KW_EFFECT_NONE};
    kw_observer_show_end(self->topology, story_of(self, item), &seen);
}
