/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of a batch that are sent as several: kept, found by their numbers, and joined. */
#include "api/batch_splits.h"

#include "base/error.h"

#include <string.h>

static kw_batch_split *no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command of a batch");
    return NULL;
}

/* A split with its arguments; NULL when there is no memory. */
static kw_batch_split *copy_args(const kw_allocator *mem, const kw_plan_task *task)
{
    size_t args_len;
    size_t total = sizeof(kw_batch_split);
    bool fits = kw_size_mul(&args_len, task->argc, sizeof(kw_bytes)) &&
                kw_size_add(&total, total, args_len);
    for (size_t i = 0; fits && i < task->argc; i++) {
        fits = kw_size_add(&total, total, task->argv[i].len);
    }
    kw_batch_split *split = fits ? kw_mem_alloc(mem, total) : NULL;
    if (split == NULL) {
        return NULL;
    }
    char *end = (char *)&split->argv[task->argc];
    for (size_t i = 0; i < task->argc; i++) {
        size_t len = task->argv[i].len;
        if (len > 0) {
            memcpy(end, task->argv[i].data, len);
        }
        split->argv[i].data = end;
        split->argv[i].len = len;
        end += len;
    }
    split->argc = task->argc;
    return split;
}

kw_batch_split *kw_batch_split_new(const kw_batch_splits *splits, kw_error *error,
                                   kw_topology *topology, const kw_plan *plan,
                                   const kw_plan_task *task)
{
    kw_batch_split *split = copy_args(splits->mem, task);
    if (split == NULL) {
        return no_memory(error);
    }
    split->plan = *plan;
    split->reply = NULL;
    memset(&split->failure, 0, sizeof(split->failure));
    split->failure.size = sizeof(split->failure);
    kw_fanout_init(&split->fanout, topology, &split->plan, splits->mem);
    if (kw_fanout_split(&split->fanout, error, split->argv, split->argc) != KW_OK) {
        kw_mem_free(splits->mem, split);
        return NULL;
    }
    return split;
}

void kw_batch_split_free(kw_batch_split *split, const kw_allocator *mem)
{
    kw_fanout_fini(&split->fanout);
    kw_plan_fini(&split->plan);
    kw_reply_free(split->reply);
    kw_mem_free(mem, split);
}

bool kw_batch_splits_add(kw_batch_splits *splits, kw_batch_split *split)
{
    if (splits->n == splits->capacity) {
        size_t capacity = splits->capacity > 0 ? 2 * splits->capacity : 4;
        kw_batch_split **list = kw_mem_resize(splits->mem, splits->list, capacity, sizeof(list[0]));
        if (list == NULL) {
            return false;
        }
        splits->list = list;
        splits->capacity = capacity;
    }
    splits->list[splits->n++] = split;
    return true;
}

void kw_batch_split_move_parts(kw_batch_split *split, kw_item *items, const kw_allocator *mem)
{
    memcpy(items, split->fanout.items, split->fanout.items_n * sizeof(items[0]));
    kw_mem_free(mem, split->fanout.items);
    split->fanout.items = NULL;
}

kw_batch_split *kw_batch_splits_search(const kw_batch_splits *splits, size_t number, size_t *at)
{
    size_t low = 0; /* those before it have lower numbers */
    size_t high = splits->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (splits->list[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < splits->n && splits->list[low]->number == number) {
        *at = splits->list[low]->first;
        return splits->list[low];
    }
    if (low > 0) {
        const kw_batch_split *before = splits->list[low - 1];
        *at = before->first + before->fanout.items_n + (number - before->number - 1);
    }
    return NULL;
}

void kw_batch_splits_join(kw_batch_splits *splits, kw_item *items, uint64_t start_ns)
{
    for (size_t i = 0; i < splits->n; i++) {
        kw_batch_split *split = splits->list[i];
        split->plan.start_ns = start_ns;
        split->fanout.items = &items[split->first];
        split->reply = kw_fanout_finish(&split->fanout, &split->failure);
        split->fanout.items = NULL; /* the batch frees them */
    }
}

void kw_batch_splits_clear(kw_batch_splits *splits)
{
    for (size_t i = 0; i < splits->n; i++) {
        kw_batch_split_free(splits->list[i], splits->mem);
    }
    splits->n = 0;
}

void kw_batch_splits_fini(kw_batch_splits *splits)
{
    kw_batch_splits_clear(splits);
    kw_mem_free(splits->mem, splits->list);
}
