/* SPDX-License-Identifier: BSD-3-Clause */
/* Publishes the primary that a plain server has named as the map, and takes it back. */
#include "topology/server_handover.h"

#include "topology/map_publish.h"

static bool publish(kw_topology *topology, const kw_endpoint *server)
{
    bool has_news = false;
    kw_map *map = kw_map_new_single(&topology->env.mem, server);
    kw_err code = map != NULL ? kw_map_publish(topology, &has_news, map) : KW_ERR_NOMEM;
    if (has_news) {
        kw_refresher_on_publish(&topology->refresher); /* who waits for another map looks */
    }
    return code == KW_OK;
}

void kw_server_handover_follow(kw_topology *topology, const kw_endpoint *primary)
{
    if (topology->env.options.scheme != KW_SCHEME_SINGLE) {
        return;
    }
    if (publish(topology, primary)) {
        bool is_other = !kw_endpoint_equal(primary, &topology->env.options.seeds[0]);
        atomic_store_explicit(&topology->is_handed_over, is_other, memory_order_relaxed);
    }
}

bool kw_server_handover_end(kw_topology *topology, const kw_node *node)
{
    if (!atomic_load_explicit(&topology->is_handed_over, memory_order_relaxed)) {
        return false;
    }
    const kw_endpoint *first = &topology->env.options.seeds[0];
    if ((node != NULL && kw_endpoint_equal(&node->endpoint, first)) || !publish(topology, first)) {
        return false;
    }
    atomic_store_explicit(&topology->is_handed_over, false, memory_order_relaxed);
    return true;
}
