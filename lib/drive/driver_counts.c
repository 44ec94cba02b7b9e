/* SPDX-License-Identifier: BSD-3-Clause */
/* What servers answered besides replies, counted for the handle and its nodes. */
#include "drive/driver.h"

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void kw_driver_count_verdict(kw_topology *topology, kw_node *node, kw_verdict_kind kind)
{
    switch (kind) {
    case KW_VERDICT_FINAL:
    case KW_VERDICT_NO_SCRIPT:
    case KW_VERDICT_AUTH:
        break;
    case KW_VERDICT_MOVED:
        count(&topology->counters.moved);
        kw_node_count(node, KW_NODE_MOVED);
        kw_refresher_on_moved(&topology->refresher);
        break;
    case KW_VERDICT_ASK:
        count(&topology->counters.ask);
        kw_node_count(node, KW_NODE_ASK);
        break;
    case KW_VERDICT_REDIRECT:
        count(&topology->counters.moved);
        kw_node_count(node, KW_NODE_MOVED);
        break;
    case KW_VERDICT_TRY_AGAIN:
    case KW_VERDICT_CLUSTER_DOWN:
    case KW_VERDICT_LOADING:
    case KW_VERDICT_MASTER_DOWN:
    case KW_VERDICT_READONLY:
    case KW_VERDICT_BUSY:
    case KW_VERDICT_UNBLOCKED:
    case KW_VERDICT_FULL:
        count(&topology->counters.waits);
        break;
    }
}
