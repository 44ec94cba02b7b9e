/* SPDX-License-Identifier: BSD-3-Clause */
/* Node list: every node that a handle knows. */
#ifndef API_NODE_LIST_H
#define API_NODE_LIST_H

#include "api/client.h"

typedef struct kw_node_list {
    kw_node **nodes; /* a reference each */
    size_t n;
    const kw_allocator *mem;
} kw_node_list;

/* Every node of the handle once: those of the map in its order, seeds beyond it, and others that
 * redirects named. KW_ERR_NOMEM. */
kw_err kw_node_list_init(kw_node_list *self, kw_client *client);

/* Nothing is done of one whose init failed, but it may be called. */
void kw_node_list_fini(kw_node_list *self);

#endif
