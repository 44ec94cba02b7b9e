/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that should be a primary says READONLY: its name may lead to another one by now. */
#include "net/node.h"

/* READONLY of a server that should be a primary: a command is sent again for so long, and its
 * connections are given up so often meanwhile. A run of such answers is over after a pause. */
#define READONLY_WAIT_NS  ((uint64_t)1000000000)
#define READONLY_PAUSE_NS ((uint64_t)50000000)
#define READONLY_RUN_NS   ((uint64_t)10000000000)

bool kw_node_on_readonly(kw_node *node, uint64_t now_ns)
{
    uint64_t first_ns = atomic_load_explicit(&node->readonly_ns, memory_order_relaxed);
    uint64_t last_ns = atomic_load_explicit(&node->readonly_last_ns, memory_order_relaxed);
    uint64_t renewed_ns = atomic_load_explicit(&node->readonly_renewed_ns, memory_order_relaxed);
    if (first_ns == 0 || now_ns > last_ns + READONLY_RUN_NS) {
        first_ns = now_ns;
        atomic_store_explicit(&node->readonly_ns, now_ns, memory_order_relaxed);
    }
    atomic_store_explicit(&node->readonly_last_ns, now_ns, memory_order_relaxed);
    bool is_new = now_ns < first_ns + READONLY_WAIT_NS;
    uint64_t pause_ns = is_new ? READONLY_PAUSE_NS : READONLY_WAIT_NS;
    if ((renewed_ns == 0 || now_ns >= renewed_ns + pause_ns) &&
        atomic_compare_exchange_strong(&node->readonly_renewed_ns, &renewed_ns, now_ns)) {
        kw_node_renew(node);
    }
    return is_new;
}
