/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom a scan walks: the primaries that the map names now, or the one that was asked for. */
#include "api/scan_private.h"

#include "base/error.h"
#include "topology/snapshot.h"

#include <string.h>

/* A placement where members that join take keys, and nobody else gets any: points, or weights, of
 * the others do not change with them. */
static bool keeps_keys(const kw_ring *ring)
{
    return strncmp(kw_ring_placement(ring), "kw1", 3) == 0;
}

/* An address as text. */
typedef struct address {
    char text[KW_ENDPOINT_TEXT];
} address;

/* The name of a ring's member, where it is a text; else, and elsewhere, the address. */
static void name_place(kw_scan_place *place, address *space, const kw_snapshot *snapshot,
                       size_t shard)
{
    const kw_map_shard *at = kw_map_shard_at(snapshot->map, shard);
    const kw_ring *ring = kw_map_ring(snapshot->map);
    place->name = kw_endpoint_text(space->text, &snapshot->nodes[at->primary]->endpoint);
    place->salt = 0;
    if (ring != NULL) {
        size_t len;
        const char *name = kw_ring_node_name(ring, &len, (uint32_t)shard);
        bool is_text = memchr(name, '\0', len) == NULL;
        place->name = is_text ? name : place->name;
        place->salt =
            kw_bytes_id((kw_bytes){name, len}) + kw_ring_node_weight(ring, (uint32_t)shard);
    }
}

/* places: NULL where there was no memory for them. */
static bool hand_over(kw_scan *scan, const kw_scan_place *places, size_t n, const kw_ring *ring)
{
    uint64_t print = ring != NULL ? kw_ring_fingerprint(ring) | 1 : 0;
    bool is_taken = places != NULL && kw_scan_walk_on_roster(&scan->walk, places, n, print,
                                                             ring != NULL && keeps_keys(ring));
    if (!is_taken) {
        kw_error_set(&scan->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a scan");
    }
    return is_taken;
}

static bool take_primaries(kw_scan *scan, const kw_snapshot *snapshot)
{
    size_t n = kw_map_shards_n(snapshot->map);
    kw_scan_place *places = kw_mem_calloc(&scan->mem, n + 1, sizeof(places[0]));
    address *spaces = kw_mem_calloc(&scan->mem, n + 1, sizeof(spaces[0]));
    bool is_taken = places != NULL && spaces != NULL;
    for (size_t i = 0; is_taken && i < n; i++) {
        name_place(&places[i], &spaces[i], snapshot, i);
    }
    is_taken = hand_over(scan, is_taken ? places : NULL, n, kw_map_ring(snapshot->map));
    kw_mem_free(&scan->mem, places);
    kw_mem_free(&scan->mem, spaces);
    return is_taken;
}

bool kw_scan_find_places(kw_scan *scan)
{
    const kw_scan_wish *wish = &scan->wish;
    if (wish->node.data != NULL || wish->of != KW_SCAN_KEYS) {
        kw_scan_place place = {wish->node.data != NULL ? wish->node.data : "", 0};
        return hand_over(scan, &place, 1, NULL);
    }
    kw_snapshot *snapshot = kw_topology_snapshot(scan->client->topology);
    bool is_taken = snapshot != NULL && take_primaries(scan, snapshot);
    kw_snapshot_unref(snapshot);
    return is_taken;
}
