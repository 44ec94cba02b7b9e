/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes that do not agree on slots by themselves: what an operator does then. */
#ifndef KW_TEST_CLUSTER_HEAL_H
#define KW_TEST_CLUSTER_HEAL_H

#include "support/cluster.h"
#include "support/cluster_view.h"

/* What each living node says. */
typedef struct kw_test_views {
    size_t views_n;
    size_t numbers[KW_TEST_VIEW_MAX]; /* of the nodes */
    kw_test_view views[KW_TEST_VIEW_MAX];
} kw_test_views;

/* Free with free. */
kw_test_views *kw_test_views_fetch(const kw_test_cluster *cluster);

/* Name of the node that all give the slot to; NULL where they differ, and where it is nobody's. */
const char *kw_test_views_owner(const kw_test_views *views, unsigned slot);

/* A slot that its owner alone takes for nobody's is the owner's again, at once. A replica of Redis
 * 7.0 that reads what its primary said on two connections in the wrong order may keep a mark that a
 * slot, moved there and back, is not claimed. Promoted, it gives that slot to the old primary when
 * that one comes back with its old claims, and then, as it becomes a replica, to nobody. */
void kw_test_cluster_give_back(const kw_test_cluster *cluster);

/* A node keeps a wrong owner for ever when it once saw that owner with a later epoch than the true
 * one has: the true one takes a new epoch. Of two that take each other for it the one that most
 * others name takes the slot as well. Once nodes have differed for so long that they do not agree
 * by themselves any more: *since_ms is when they began to, or were healed last. */
void kw_test_cluster_heal_late(const kw_test_cluster *cluster, uint64_t *since_ms);

#endif
