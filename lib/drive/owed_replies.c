/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts answers that nodes owe and nobody waits for. */
#include "drive/owed_replies.h"

static size_t find(const kw_owed_replies *self, const kw_node *node)
{
    size_t i = 0;
    while (i < self->n && self->rows[i].node != node) {
        i++;
    }
    return i;
}

bool kw_owed_replies_add(kw_owed_replies *self, const kw_node *node)
{
    size_t at = find(self, node);
    if (at == self->n) {
        if (self->n == KW_OWED_REPLIES_MAX) {
            return false;
        }
        self->rows[self->n].node = node;
        self->rows[self->n++].answers_n = 0;
    }
    self->rows[at].answers_n++;
    return true;
}

void kw_owed_replies_remove(kw_owed_replies *self, const kw_node *node)
{
    size_t at = find(self, node);
    if (at < self->n && --self->rows[at].answers_n == 0) {
        self->rows[at] = self->rows[--self->n];
    }
}

unsigned kw_owed_replies_count(const kw_owed_replies *self, const kw_node *node)
{
    size_t at = find(self, node);
    return at < self->n ? self->rows[at].answers_n : 0;
}
