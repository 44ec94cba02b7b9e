/* SPDX-License-Identifier: BSD-3-Clause */
/* What one node thinks of its cluster: CLUSTER NODES, read. */
#ifndef SUPPORT_CLUSTER_VIEW_H
#define SUPPORT_CLUSTER_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/cluster.h"

#define KW_TEST_ID_LEN   40
#define KW_TEST_VIEW_MAX 80

typedef struct kw_test_view_node {
    char id[KW_TEST_ID_LEN + 1];
    char primary_id[KW_TEST_ID_LEN + 1]; /* of a replica, else "" */
    bool is_primary;
    bool is_known; /* met, and not marked as failing */
    unsigned long long epoch;
} kw_test_view_node;

typedef struct kw_test_view {
    size_t nodes_n;
    kw_test_view_node nodes[KW_TEST_VIEW_MAX];
    int16_t owner[KW_TEST_SLOTS]; /* index of a node, or -1 */
    bool is_ok;                   /* cluster_state:ok */
    bool is_linked;               /* master_link_status:up, for replicas */
} kw_test_view;

void kw_test_view_fetch(kw_test_view *view, kw_test_server *node);

/* NULL where the node is not known. */
const kw_test_view_node *kw_test_view_find(const kw_test_view *view, const char *id);

/* True where both are there with one role and one primary. */
bool kw_test_view_agree(const kw_test_view_node *a, const kw_test_view_node *b);

/* True where every slot has the same owner, or none, in both. */
bool kw_test_view_same_slots(const kw_test_view *a, const kw_test_view *b);

/* For cluster_move.c. */
bool kw_test_cluster_is_living(const kw_test_cluster *cluster, size_t index);

/* Prints what each living node says of all. */
void kw_test_cluster_tell(const kw_test_cluster *cluster);

#endif
