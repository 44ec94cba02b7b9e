/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as answers of sentinels, and to ROLE: refused with a reason, or read whole. The
 * bytes are read by hiredis, as on the wire. */
#include "fuzz/reply_input.h"
#include "route/role.h"
#include "route/topology_sentinel.h"

static void check_result(kw_err err, const kw_error *error)
{
    expect(err == KW_OK || err == KW_ERR_TOPOLOGY || err == KW_ERR_NO_SERVICE);
    expect((err == KW_OK) == (error->text[0] == '\0'));
}

static void check_list(kw_err err, const kw_endpoints *list, const kw_error *error)
{
    kw_endpoint again;
    check_result(err, error);
    for (size_t i = 0; i < list->n; i++) {
        kw_bytes host = kw_bytes_of(list->items[i].host);
        expect(kw_endpoint_set(&again, host, list->items[i].port) && again.port != 0);
    }
}

static void check_reply(const kw_reply *reply)
{
    const kw_allocator *mem = kw_mem_default();
    kw_endpoint primary = {"primary", 1};
    kw_endpoints replicas = {NULL, 0};
    kw_endpoints peers = {NULL, 0};
    kw_endpoint heir = {"", 0};
    kw_role role;
    kw_error errors[4] = {KW_ERROR_INIT, KW_ERROR_INIT, KW_ERROR_INIT, KW_ERROR_INIT};
    check_result(kw_topology_sentinel_primary(&primary, &errors[0], reply), &errors[0]);
    check_list(kw_topology_sentinel_replicas(&replicas, &heir, &errors[1], mem, reply), &replicas,
               &errors[1]);
    check_list(kw_topology_sentinel_peers(&peers, &errors[2], mem, reply), &peers, &errors[2]);
    check_result(kw_role_read(&role, &errors[3], reply), &errors[3]);
    expect(replicas.n <= peers.n);
    kw_endpoint peer;
    uint64_t id;
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        expect(!kw_topology_sentinel_peer(&peer, &id, kw_reply_at(reply, i)) || peer.port != 0);
    }
    kw_map *map = kw_topology_sentinel_map(mem, &primary, &replicas);
    expect(map != NULL && kw_map_shards_n(map) == 1 && kw_map_nodes_n(map) <= KW_MAP_NODES_MAX);
    kw_map_unref(map);
    kw_mem_free(mem, replicas.items);
    kw_mem_free(mem, peers.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    return check_input(data, len, check_reply);
}
