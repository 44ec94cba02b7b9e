/* SPDX-License-Identifier: BSD-3-Clause */
/* A set of endpoints that keeps their numbers, with a sorted index to find them by. */
#include "route/node_set.h"

#include <string.h>

static int compare(const kw_endpoint *a, const kw_endpoint *b)
{
    if (a->port != b->port) {
        return a->port < b->port ? -1 : 1;
    }
    return strcmp(a->host, b->host);
}

/* *at is where endpoint is in set->sorted, or where it would go. */
static bool search(const kw_node_set *set, size_t *at, const kw_endpoint *endpoint)
{
    size_t low = 0;
    size_t high = set->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&set->nodes[set->sorted[middle]], endpoint);
        if (order == 0) {
            *at = middle;
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *at = low;
    return false;
}

bool kw_node_set_find(const kw_node_set *set, size_t *node, const kw_endpoint *endpoint)
{
    size_t at;
    if (!search(set, &at, endpoint)) {
        return false;
    }
    *node = set->sorted[at];
    return true;
}

size_t kw_node_set_add(kw_node_set *set, const kw_endpoint *endpoint)
{
    size_t at;
    if (search(set, &at, endpoint)) {
        return set->sorted[at];
    }
    size_t node = set->n;
    memmove(&set->sorted[at + 1], &set->sorted[at], (node - at) * sizeof(set->sorted[0]));
    set->sorted[at] = (uint16_t)node;
    set->nodes[node] = *endpoint;
    set->n++;
    return node;
}
