/* SPDX-License-Identifier: BSD-3-Clause */
/* Node set: distinct endpoints, numbered in the order they came, found by name. */
#ifndef ROUTE_NODE_SET_H
#define ROUTE_NODE_SET_H

#include "base/endpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The memory belongs to whoever holds the set: both arrays have room for as many
 * nodes as are ever added, at most 65535. */
typedef struct kw_node_set {
    kw_endpoint *nodes;
    uint16_t *sorted; /* node numbers in the order of their endpoints: names come from
                         servers, and no name can make a binary search slow */
    size_t n;
} kw_node_set;

bool kw_node_set_find(const kw_node_set *set, size_t *node, const kw_endpoint *endpoint);

/* The number of endpoint, added behind the others where it is new. */
size_t kw_node_set_add(kw_node_set *set, const kw_endpoint *endpoint);

#endif
