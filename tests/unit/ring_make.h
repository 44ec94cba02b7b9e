/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings for tests, from a line of text. */
#ifndef UNIT_RING_MAKE_H
#define UNIT_RING_MAKE_H

#include <keyway/ring.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

/* Adds what a list such as "a b*2 c*0" names. */
static inline void ring_add_all(kw_ring_change *change, const char *list)
{
    char name[300];
    kw_error error = KW_ERROR_INIT;
    for (int used = 0; sscanf(list, " %299s%n", name, &used) == 1; list += used) {
        char *star = strrchr(name, '*');
        uint32_t weight = star != NULL ? (uint32_t)strtoul(star + 1, NULL, 10) : 1;
        size_t len = star != NULL ? (size_t)(star - name) : strlen(name);
        if (kw_ring_change_add(change, &error, name, len, weight) != KW_OK) {
            kw_test_die("%s", error.text);
        }
    }
}

static inline kw_ring *ring_commit(kw_ring_change *change)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *ring = kw_ring_change_commit(change, &error);
    if (ring == NULL) {
        kw_test_die("%s", error.text);
    }
    return ring;
}

static inline kw_ring_change *ring_change(const char *placement)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_new(placement, &error, NULL);
    if (change == NULL) {
        kw_test_die("%s", error.text);
    }
    return change;
}

static inline kw_ring *ring_of(const char *placement, const char *list)
{
    kw_ring_change *change = ring_change(placement);
    ring_add_all(change, list);
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    return ring;
}

/* "n1 n2 ... nN" */
static inline kw_ring *ring_of_count(const char *placement, unsigned count)
{
    kw_ring_change *change = ring_change(placement);
    for (unsigned i = 1; i <= count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        ring_add_all(change, name);
    }
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    return ring;
}

/* Name of a key's owner, "-" where there is none. */
static inline const char *ring_owner(const kw_ring *ring, const char *key, size_t key_len)
{
    uint32_t node;
    return kw_ring_lookup(ring, &node, key, key_len) == KW_OK ? kw_ring_node_name(ring, NULL, node)
                                                              : "-";
}

#endif
