/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a pipeline keeps its commands while they wait, by what they wait for, and by their
 * deadlines. Nothing is decided here. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "drive/item_keys.h"

bool kw_pipeline_look_at_clock(kw_pipeline *self, size_t n)
{
    self->is_late = self->is_late || kw_env_now(&self->topology->env) >= self->turn_end_ns;
    return !self->is_late || n < KW_PIPELINE_LEAST_N;
}

static kw_item *item_of_due(kw_heap_entry *entry)
{
    return (kw_item *)(void *)((char *)entry - offsetof(kw_item, due));
}

static kw_item *item_of_ordered(kw_ordered *ordered)
{
    return (kw_item *)(void *)((char *)ordered - offsetof(kw_item, ordered));
}

bool kw_pipeline_watch_deadline(kw_pipeline *self, kw_item *item)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    uint64_t at_ns = kw_item_deadline_ns(item);
    kw_item *tail = long_lived->due_tail;
    if (tail != NULL && tail->due_ns > at_ns) {
        kw_heap_entry_init(&item->due);
        item->is_in_heap = kw_heap_push(&long_lived->due, &item->due, at_ns);
        item->is_due = item->is_in_heap;
        return item->is_due;
    }
    item->due_ns = at_ns;
    item->due_next = NULL;
    item->due_before = tail;
    *(tail != NULL ? &tail->due_next : &long_lived->due_head) = item;
    long_lived->due_tail = item;
    item->is_due = true;
    return true;
}

void kw_pipeline_unwatch_deadline(kw_pipeline *self, kw_item *item)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    if (!item->is_due) {
        return;
    }
    item->is_due = false;
    if (item->is_in_heap) {
        item->is_in_heap = false;
        kw_heap_remove(&long_lived->due, &item->due);
        return;
    }
    *(item->due_before != NULL ? &item->due_before->due_next : &long_lived->due_head) =
        item->due_next;
    *(item->due_next != NULL ? &item->due_next->due_before : &long_lived->due_tail) =
        item->due_before;
}

void kw_pipeline_hurry(kw_pipeline *self, kw_item *item)
{
    if (!item->is_due) {
        return; /* it has ended */
    }
    kw_pipeline_unwatch_deadline(self, item);
    item->plan.deadline_ns = self->scan.now_ns;
    item->plan.block_ns = 0;
    if (item->retry_state != NULL) {
        item->retry_state->op.spec.deadline_ns = self->scan.now_ns;
    }
    if (!kw_pipeline_watch_deadline(self, item)) {
        self->has_no_memory = true; /* it ends later */
    }
}

/* The one whose deadline comes first; NULL: there is none. */
kw_item *kw_pipeline_first_due(const kw_pipeline_long_lived *long_lived)
{
    kw_item *item = long_lived->due_head;
    kw_heap_entry *entry = kw_heap_first(&long_lived->due);
    bool is_of_heap = entry != NULL && (item == NULL || entry->at_ns < item->due_ns);
    return is_of_heap ? item_of_due(entry) : item;
}

uint64_t kw_pipeline_due_ns(const kw_pipeline *self)
{
    const kw_item *item = self->long_lived != NULL ? kw_pipeline_first_due(self->long_lived) : NULL;
    return item != NULL ? item->due_ns : UINT64_MAX;
}

bool kw_pipeline_need_ordering(kw_pipeline *self)
{
    if (self->is_ordered || self->is_unordered) {
        return true;
    }
    self->is_ordered = true;
    self->scan.ordering = &self->ordering;
    for (size_t i = 0; i < self->items_n; i++) {
        kw_item *item = &self->items[i];
        if (item->state == KW_ITEM_NEW || item->state == KW_ITEM_ENDED) {
            continue;
        }
        if (!kw_item_keys_add(item, &self->ordering)) {
            self->has_no_memory = true;
            return false;
        }
        if (item->state == KW_ITEM_SENT) {
            kw_ordering_on_left(&self->ordering, &item->ordered, item->channel);
        }
    }
    return true;
}

void kw_pipeline_route_freed(kw_pipeline *self)
{
    kw_ordered *freed;
    while ((freed = kw_ordering_next_freed(&self->ordering)) != NULL) {
        kw_item *item = item_of_ordered(freed);
        kw_items_remove(&self->scan.held, item);
        item->state = KW_ITEM_ROUTING;
        kw_items_push(&self->routing, item);
    }
}

void kw_pipeline_note_fetch(kw_pipeline *self, const kw_item *item)
{
    uint64_t fetch = item->retry_state->op.fetch;
    if (item->state == KW_ITEM_REFRESHING && (self->fetch == 0 || fetch < self->fetch)) {
        self->fetch = fetch;
    }
}

bool kw_pipeline_put_to_sleep(kw_pipeline *self, kw_item *item, const kw_step *step)
{
    kw_retry_state *state = item->retry_state;
    item->state = step->kind == KW_STEP_SLEEP ? KW_ITEM_SLEEPING : KW_ITEM_REFRESHING;
    state->wakes_on_map = step->wakes_on_map;
    if (!kw_heap_push(&self->wakes, &state->wake, step->until_ns)) {
        item->state = KW_ITEM_ROUTING;
        return false;
    }
    kw_items_push(&self->asleep, item);
    bool is_map_there = state->wakes_on_map &&
                        state->changes_n != kw_refresher_changes_n(&self->topology->refresher);
    if (is_map_there && self->told == NULL) {
        self->told = item;
    }
    kw_pipeline_note_fetch(self, item);
    return true;
}

void kw_pipeline_remove_sleeper(kw_pipeline *self, kw_item *item)
{
    self->told = self->told == item ? item->next : self->told;
    kw_heap_remove(&self->wakes, &item->retry_state->wake);
    kw_items_remove(&self->asleep, item);
}

void kw_pipeline_unlist(kw_pipeline *self, kw_item *item)
{
    switch (item->state) {
    case KW_ITEM_ROUTING:
        kw_items_remove(&self->routing, item);
        break;
    case KW_ITEM_MAPLESS:
        kw_items_remove(&self->mapless, item);
        break;
    case KW_ITEM_QUEUED:
        kw_channel_dequeue(item->channel, item);
        break;
    case KW_ITEM_LOST:
        kw_items_remove(&self->lost, item);
        break;
    case KW_ITEM_SLEEPING:
    case KW_ITEM_REFRESHING:
        kw_pipeline_remove_sleeper(self, item);
        break;
    case KW_ITEM_HELD:
        kw_items_remove(&self->scan.held, item);
        break;
    case KW_ITEM_NEW:
    case KW_ITEM_SENT:
    case KW_ITEM_ENDED:
    case KW_ITEM_GONE:
        break;
    }
}

bool kw_pipeline_has_map_news(const kw_pipeline *self)
{
    kw_refresher *refresher = &self->topology->refresher;
    return self->changes_n != kw_refresher_changes_n(refresher) ||
           (self->fetch > 0 && kw_refresher_has_ended(refresher, self->fetch));
}
