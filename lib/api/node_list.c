/* SPDX-License-Identifier: BSD-3-Clause */
/* Node list: every node that a handle knows, in the order in which its figures are asked for. */
#include "api/node_list.h"

#define NODES_MAX (KW_MAP_NODES_MAX + 1000 + KW_TOPOLOGY_EXTRAS_MAX)

/* Every node of the handle once, with a reference each; their number. */
static size_t list_nodes(kw_client *client, kw_node **nodes, size_t max)
{
    size_t n = 0;
    kw_monitor_lock(&client->topology->monitor);
    const kw_snapshot *snapshot = client->topology->snapshot;
    for (size_t i = 0; snapshot != NULL && i < snapshot->nodes_n && n < max; i++) {
        nodes[n++] = kw_node_ref(snapshot->nodes[i]);
    }
    for (size_t i = 0;
         client->topology->seeds != NULL && i < client->topology->env.options.seeds_n && n < max;
         i++) {
        kw_node *seed = client->topology->seeds[i];
        if (snapshot == NULL || kw_snapshot_find(snapshot, &seed->endpoint) != seed) {
            nodes[n++] = kw_node_ref(seed);
        }
    }
    for (size_t i = 0; i < KW_TOPOLOGY_EXTRAS_MAX && n < max; i++) {
        kw_node *extra = client->topology->extras[i];
        if (extra != NULL &&
            (snapshot == NULL || kw_snapshot_find(snapshot, &extra->endpoint) != extra)) {
            nodes[n++] = kw_node_ref(extra);
        }
    }
    kw_monitor_unlock(&client->topology->monitor);
    return n;
}

kw_err kw_node_list_init(kw_node_list *self, kw_client *client)
{
    kw_err code = kw_client_enter(client, NULL);
    if (code != KW_OK) {
        return code;
    }
    self->client = client;
    self->nodes = kw_mem_calloc(&client->topology->env.mem, NODES_MAX, sizeof(self->nodes[0]));
    if (self->nodes == NULL) {
        kw_client_leave(client);
        return KW_ERR_NOMEM;
    }
    self->n = list_nodes(client, self->nodes, NODES_MAX);
    return KW_OK;
}

void kw_node_list_fini(kw_node_list *self)
{
    for (size_t i = 0; i < self->n; i++) {
        kw_node_unref(self->nodes[i]);
    }
    kw_mem_free(&self->client->topology->env.mem, self->nodes);
    kw_client_leave(self->client);
}
