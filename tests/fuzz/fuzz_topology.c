/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as an answer to CLUSTER SLOTS and CLUSTER SHARDS: refused with a reason, or
 * a map where every owner exists. The bytes are read by hiredis, as on the wire. */
#include "fuzz/reply_input.h"
#include "route/topology.h"

static void check_map(kw_map *map)
{
    expect(kw_map_nodes_n(map) <= KW_MAP_NODES_MAX);
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        uint16_t shard = kw_map_shard_of(map, slot);
        expect(shard == KW_MAP_NO_SHARD || shard < kw_map_shards_n(map));
    }
    for (size_t i = 0; i < kw_map_shards_n(map); i++) {
        const kw_map_shard *shard = kw_map_shard_at(map, i);
        expect(kw_map_member_at(map, shard->primary)->shard == i);
        for (size_t k = 0; k < shard->replicas_n; k++) {
            expect(!kw_map_member_at(map, kw_map_replica(map, shard, k))->is_primary);
        }
    }
    expect(kw_map_equal(map, map));
}

static void check_result(kw_err err, kw_map *map, const kw_error *error)
{
    expect(err == KW_OK || err == KW_ERR_TOPOLOGY);
    expect((err == KW_OK) == (map != NULL));
    expect((err == KW_OK) == (error->text[0] == '\0'));
    if (map != NULL) {
        check_map(map);
    }
}

static void check_reply(const kw_reply *reply)
{
    static const kw_endpoint from = {"seed", 7000};
    kw_topology_source source = {kw_mem_default(), &from, NULL, false};
    kw_map *slots = NULL;
    kw_error error = KW_ERROR_INIT;
    kw_err err = kw_topology_from_slots(&slots, &error, &source, reply);
    check_result(err, slots, &error);
    for (int use_tls = 0; use_tls <= 1; use_tls++) {
        kw_map *shards = NULL;
        kw_error fresh = KW_ERROR_INIT;
        source.previous = slots;
        source.use_tls = use_tls != 0;
        err = kw_topology_from_shards(&shards, &fresh, &source, reply);
        check_result(err, shards, &fresh);
        kw_map_unref(shards);
    }
    kw_map_unref(slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    return check_input(data, len, check_reply);
}
