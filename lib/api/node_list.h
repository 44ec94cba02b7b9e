/* SPDX-License-Identifier: BSD-3-Clause */
/* Node list: every node that a handle knows. */
#ifndef API_NODE_LIST_H
#define API_NODE_LIST_H

#include "api/client.h"

typedef struct kw_node_list {
    kw_client *client;
    kw_node **nodes; /* a reference each */
    size_t n;
} kw_node_list;

/* Enters the handle and lists every node of it once: those of the map in its order, seeds beyond
 * it, and others that redirects named. KW_ERR_NOMEM, and what kw_client_enter says. */
kw_err kw_node_list_init(kw_node_list *self, kw_client *client);

/* Leaves the handle. After success of init only. */
void kw_node_list_fini(kw_node_list *self);

#endif
