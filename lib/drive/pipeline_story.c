/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands of a pipeline are told of their failures: what stands in the way of many is
 * kept once for all of them, and becomes a text when one of them ends. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "drive/pin.h"

#include <string.h>

void kw_item_note(kw_item *item, kw_loss *loss, const kw_allocator *mem)
{
    kw_loss *before = item->loss;
    item->loss = loss != NULL ? kw_loss_ref(loss) : NULL;
    kw_loss_unref(before, mem);
}

void kw_item_fini_failed(kw_item *item, const kw_allocator *mem)
{
    kw_retry_state *state = item->retry_state;
    if (state != NULL) {
        kw_mem_free(mem, state->story);
        kw_mem_free(mem, state->op.target);
        if (state->pin != NULL) {
            atomic_fetch_sub(&state->pin->open_n, 1);
        }
    }
    kw_mem_free(mem, state);
    item->retry_state = NULL;
    kw_item_note(item, NULL, mem);
}

/* Of a command for whose story there was no memory. */
static void tell_code(const kw_item *item, kw_error *error)
{
    if (item->code == KW_ERR_NOMEM && item->retry_state != NULL) {
        kw_error_set(error, item->code, item->effect, "no memory to go on with %s",
                     kw_plan_name(&item->plan));
    } else {
        kw_error_set(error, item->code, item->effect, "%s", kw_err_text(item->code));
    }
}

void kw_item_tell(const kw_item *item, kw_error *error)
{
    const kw_loss *loss = item->loss;
    if (loss == NULL) {
        tell_code(item, error);
        return;
    }
    if (loss->is_whole) {
        kw_error_copy(error, &loss->failure);
        return;
    }
    kw_step step = {.kind = KW_STEP_FAIL, .code = item->code, .effect = item->effect};
    kw_driver_told told = {.plan = &item->plan, .step = &step};
    told.node = loss->failure.node;
    told.detail = loss->failure.text;
    told.has_slots = loss->has_slots;
    kw_driver_tell(error, &told);
    if (kw_error_has_room(error)) {
        error->attempts = item->sends_n;
        error->elapsed_ms = (unsigned)((item->due_ns - item->plan.start_ns) / KW_NS_PER_MS);
    }
}

static bool is_same(const kw_error *a, const kw_error *b)
{
    return a->code == b->code && a->effect == b->effect && strcmp(a->text, b->text) == 0 &&
           strcmp(a->node, b->node) == 0;
}

void kw_pipeline_note(kw_pipeline *self, kw_item *item, const kw_error *failure)
{
    const kw_allocator *mem = &self->topology->env.mem;
    if (failure->text[0] == '\0' && failure->node[0] == '\0') {
        kw_item_note(item, NULL, mem); /* nothing is known */
        return;
    }
    if (self->noted == NULL || !is_same(&self->noted->failure, failure)) {
        kw_loss_unref(self->noted, mem);
        self->noted = kw_loss_new(mem);
        if (self->noted != NULL) {
            self->noted->failure = *failure;
        }
    }
    kw_item_note(item, self->noted, mem);
}

void kw_pipeline_explain(kw_pipeline *self, kw_item *item, const kw_step *step)
{
    const kw_allocator *mem = &self->topology->env.mem;
    kw_error none = kw_error_none();
    kw_error story = kw_error_none();
    kw_step end = *step;
    end.effect = kw_pin_effect(item, step->effect);
    kw_driver_story told = {&item->plan, &end, item->loss != NULL ? &item->loss->failure : &none,
                            item->node, item->sends_n};
    kw_driver_explain(self->topology, &story, &told);
    kw_loss *loss = kw_loss_of(mem, &story);
    kw_item_note(item, loss, mem);
    kw_loss_unref(loss, mem);
    item->effect = end.effect;
}
