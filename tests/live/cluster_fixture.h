/* SPDX-License-Identifier: BSD-3-Clause */
/* A real cluster of three primaries and their replicas for all tests of a program: the state. */
#ifndef LIVE_CLUSTER_FIXTURE_H
#define LIVE_CLUSTER_FIXTURE_H

#include "support/cluster.h"

static inline kw_test_cluster *cluster_of(void **state)
{
    return *state;
}

static inline int start_cluster(void **state)
{
    *state = kw_test_cluster_start(3, 1, 1500, "save \"\"\n");
    return 0;
}

static inline int stop_cluster(void **state)
{
    kw_test_cluster_free(*state);
    return 0;
}

#endif
