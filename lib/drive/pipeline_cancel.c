/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that nobody wants any more: found among all that are under way, in one pass, and made
 * due at once. */
#include "drive/pipeline_private.h"

#include "base/error.h"

/* What a pass looks for, and what it has found. */
typedef struct search {
    kw_pipeline_match_fn match_fn;
    const void *arg;
    kw_item *first; /* by due_next */
    kw_item *last;
} search;

static void take(search *found, kw_item *item)
{
    item->plan.deadline_ns = 0;
    item->plan.block_ns = 0;
    item->is_in_heap = false;
    item->due_ns = 0;
    item->due_next = NULL;
    item->due_before = found->last;
    *(found->last != NULL ? &found->last->due_next : &found->first) = item;
    found->last = item;
}

static bool takes(void *arg, kw_heap_entry *entry)
{
    search *found = arg;
    kw_item *item = (kw_item *)(void *)((char *)entry - offsetof(kw_item, due));
    bool is_meant = found->match_fn(found->arg, item);
    if (is_meant) {
        take(found, item);
    }
    return is_meant;
}

/* Puts what was found before all others: it is due. */
static void put_first(kw_pipeline_long_lived *long_lived, const search *found)
{
    if (found->first == NULL) {
        return;
    }
    found->last->due_next = long_lived->due_head;
    *(long_lived->due_head != NULL ? &long_lived->due_head->due_before : &long_lived->due_tail) =
        found->last;
    long_lived->due_head = found->first;
}

void kw_pipeline_cancel(kw_pipeline *self, kw_pipeline_match_fn match_fn, const void *arg)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    search found = {match_fn, arg, NULL, NULL};
    for (kw_item *item = long_lived->due_head, *next; item != NULL; item = next) {
        next = item->due_next;
        if (match_fn(arg, item)) {
            kw_pipeline_unwatch_deadline(self, item);
            item->is_due = true;
            take(&found, item);
        }
    }
    kw_heap_take_out(&long_lived->due, takes, &found);
    put_first(long_lived, &found);
}

kw_loss *kw_pipeline_loss_of_cancelled(kw_pipeline *self, const kw_item *item, bool has_left)
{
    kw_try_end end = {.code = KW_ERR_CANCELLED, .has_left = has_left};
    const kw_node *node =
        item->channel != NULL && item->state == KW_ITEM_SENT ? item->channel->node : NULL;
    kw_error_set(&self->scan.failure, KW_ERR_CANCELLED, KW_EFFECT_NONE, "%s",
                 has_left ? "its answer was given up" : "it was given up");
    return kw_pipeline_new_loss(self, &end, node);
}
