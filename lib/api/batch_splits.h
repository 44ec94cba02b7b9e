/* SPDX-License-Identifier: BSD-3-Clause */
/* Batch splits: the commands of a batch whose keys have several owners. Each is sent as one item
 * a slot, and its replies are joined when the batch has run. */
#ifndef API_BATCH_SPLITS_H
#define API_BATCH_SPLITS_H

#include "drive/fanout.h"

typedef struct kw_batch_split {
    size_t number;    /* of the command, among those of the batch */
    size_t first;     /* its first part, among the batch's items */
    kw_plan plan;     /* of the command as a whole */
    kw_fanout fanout; /* its items are the batch's */
    kw_reply *reply;  /* once the batch has run; NULL: see failure, or it was taken */
    kw_error failure;
    size_t argc;
    kw_bytes argv[]; /* pointing behind themselves */
} kw_batch_split;

/* In the order of their numbers. */
typedef struct kw_batch_splits {
    const kw_allocator *mem;
    kw_batch_split **list;
    size_t n;
    size_t capacity;
} kw_batch_splits;

static inline void kw_batch_splits_init(kw_batch_splits *splits, const kw_allocator *mem)
{
    splits->mem = mem;
    splits->list = NULL;
    splits->n = 0;
    splits->capacity = 0;
}

/* The command of the task, by its plan of kind SPLIT, whose arguments are copied; its parts are in
 * fanout.items. NULL, with error set. */
kw_batch_split *kw_batch_split_new(const kw_batch_splits *splits, kw_error *error,
                                   kw_topology *topology, const kw_plan *plan,
                                   const kw_plan_task *task);
void kw_batch_split_free(kw_batch_split *split, const kw_allocator *mem);

/* Adds a split that is behind all others. False when there is no memory. */
bool kw_batch_splits_add(kw_batch_splits *splits, kw_batch_split *split);

/* Its parts become items of the batch. */
void kw_batch_split_move_parts(kw_batch_split *split, kw_item *items, const kw_allocator *mem);

/* For kw_batch_splits_find alone: there are splits. */
kw_batch_split *kw_batch_splits_search(const kw_batch_splits *splits, size_t number, size_t *at);

/* The split that is the command of that number, or NULL: its item is *at then. Most batches have
 * none. */
static inline kw_batch_split *kw_batch_splits_find(const kw_batch_splits *splits, size_t number,
                                                   size_t *at)
{
    *at = number;
    return splits->n > 0 ? kw_batch_splits_search(splits, number, at) : NULL;
}

/* The batch, of these items, has run, from start_ns on: makes the replies. */
void kw_batch_splits_join(kw_batch_splits *splits, kw_item *items, uint64_t start_ns);

/* Forgets all; the memory of the list is kept. */
void kw_batch_splits_clear(kw_batch_splits *splits);
void kw_batch_splits_fini(kw_batch_splits *splits);

#endif
