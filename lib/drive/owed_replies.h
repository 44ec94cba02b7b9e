/* SPDX-License-Identifier: BSD-3-Clause */
/* Owed replies: nodes that owe answers for which nobody waits any more. Of more than some at once,
 * no count is kept. Zeros: none. */
#ifndef DRIVE_OWED_REPLIES_H
#define DRIVE_OWED_REPLIES_H

#include "net/node.h"

#define KW_OWED_REPLIES_MAX 16u

typedef struct kw_owed_reply {
    const kw_node *node; /* only compared */
    unsigned answers_n;
} kw_owed_reply;

typedef struct kw_owed_replies {
    kw_owed_reply rows[KW_OWED_REPLIES_MAX];
    size_t n;
} kw_owed_replies;

/* One more answer; true where it is counted, and kw_owed_replies_remove has to follow. */
bool kw_owed_replies_add(kw_owed_replies *owed_replies, const kw_node *node);
void kw_owed_replies_remove(kw_owed_replies *self, const kw_node *node);

/* Answers that the node owes. */
unsigned kw_owed_replies_count(const kw_owed_replies *self, const kw_node *node);

#endif
