/* SPDX-License-Identifier: BSD-3-Clause */
/* Silents: nodes that owe answers for which nobody waits any more. Of more than some at once,
 * no count is kept. Zeros: none. */
#ifndef DRIVE_SILENTS_H
#define DRIVE_SILENTS_H

#include "net/node.h"

#define KW_SILENTS_MAX 16u

typedef struct kw_silent {
    const kw_node *node; /* only compared */
    unsigned answers_n;
} kw_silent;

typedef struct kw_silents {
    kw_silent rows[KW_SILENTS_MAX];
    size_t n;
} kw_silents;

/* One more answer; true where it is counted, and kw_silents_remove has to follow. */
bool kw_silents_add(kw_silents *silents, const kw_node *node);
void kw_silents_remove(kw_silents *silents, const kw_node *node);

/* Answers that the node owes. */
unsigned kw_silents_count(const kw_silents *silents, const kw_node *node);

#endif
