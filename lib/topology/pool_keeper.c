/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that are made ahead, and kept awake, each by a PING that nobody waits for. */
#include "topology/pool_keeper.h"

#include "topology/topology.h"

/* So many are under way at once. */
#define PINGS_MAX 8

/* While one is under way it is looked at this often; when none is, whether one is missing. */
#define SOON_NS (2 * KW_NS_PER_MS)
#define LOOK_NS (1000 * KW_NS_PER_MS)

/* A node gets so many in one look, at most. */
#define OF_NODE_MAX 4

typedef struct ping {
    kw_node *node; /* a reference; NULL: free */
    kw_probe probe;
} ping;

struct kw_pool_keeper {
    ping pings[PINGS_MAX];
    uint64_t look_ns; /* when the nodes are looked at next */
};

/* What one look needs. */
typedef struct tick {
    kw_topology *topology;
    kw_pool_keeper *keeper;
    uint64_t now_ns;
    uint64_t rested_ns; /* connections that were used last before it are asked */
    size_t min_n;
    bool has_begun;
    bool is_short; /* there was no room for all */
} tick;

static ping *free_ping(kw_pool_keeper *keeper)
{
    for (size_t i = 0; i < PINGS_MAX; i++) {
        if (keeper->pings[i].node == NULL) {
            return &keeper->pings[i];
        }
    }
    return NULL;
}

/* False where the node needs nothing more, or nothing more can be done. */
static bool begin_one(tick *self, kw_node *node)
{
    ping *free = free_ping(self->keeper);
    if (free == NULL) {
        self->is_short = true;
        return false;
    }
    kw_conn *conn = kw_node_take_to_keep(node, self->min_n, self->now_ns, self->rested_ns);
    if (conn == NULL) {
        return false;
    }
    free->node = kw_node_ref(node);
    kw_probe_begin(&free->probe, conn, self->now_ns);
    self->has_begun = true;
    return true;
}

static void begin(tick *self, kw_node *node)
{
    for (size_t i = 0; i < OF_NODE_MAX && begin_one(self, node); i++) {
    }
}

/* Looks at all nodes that calls go to: the primaries, and replicas that are read from. */
static void look(tick *self)
{
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    bool has_replicas = self->topology->env.options.read != KW_READ_OF_PRIMARY;
    for (size_t i = 0; snapshot != NULL && i < kw_map_shards_n(snapshot->map); i++) {
        const kw_map_shard *shard = kw_map_shard_at(snapshot->map, i);
        begin(self, snapshot->nodes[shard->primary]);
        for (size_t k = 0; has_replicas && k < shard->replicas_n; k++) {
            begin(self, snapshot->nodes[kw_map_replica(snapshot->map, shard, k)]);
        }
    }
    kw_snapshot_unref(snapshot);
}

/* Goes on with all; true while one is under way. */
static bool go_on(kw_pool_keeper *keeper, uint64_t now_ns)
{
    bool is_any = false;
    for (size_t i = 0; i < PINGS_MAX; i++) {
        ping *self = &keeper->pings[i];
        if (self->node == NULL) {
            continue;
        }
        if (kw_node_probe(self->node, &self->probe, now_ns) == KW_PROBE_UNDER_WAY) {
            is_any = true;
            continue;
        }
        kw_node_unref(self->node);
        self->node = NULL;
    }
    return is_any;
}

/* This thread is the one that keeps (keeper_leader). */
static void keep(kw_topology *topology, uint64_t now_ns)
{
    kw_pool_keeper *keeper = topology->pool_keeper;
    if (keeper == NULL) {
        keeper = kw_mem_calloc(&topology->env.mem, 1, sizeof(*keeper));
        topology->pool_keeper = keeper;
    }
    if (keeper == NULL) {
        atomic_store(&topology->env.keep_ns, now_ns + LOOK_NS);
        return;
    }
    bool has_changed = atomic_load(&topology->env.keep_ns) == 0;
    atomic_store(&topology->env.keep_ns, UINT64_MAX);
    uint64_t idle_ns = topology->env.options.pool_idle_ms * KW_NS_PER_MS;
    tick self = {.topology = topology,
                 .keeper = keeper,
                 .now_ns = now_ns,
                 .rested_ns = now_ns > idle_ns / 2 ? now_ns - idle_ns / 2 : 0,
                 .min_n = (size_t)topology->env.options.pool_min};
    bool is_any = go_on(keeper, now_ns);
    if (self.min_n > 0 && (has_changed || now_ns >= keeper->look_ns)) {
        look(&self);
        is_any = is_any || self.has_begun;
        keeper->look_ns = self.is_short ? now_ns : now_ns + LOOK_NS;
    }
    uint64_t next_ns = is_any ? now_ns + SOON_NS : self.min_n > 0 ? keeper->look_ns : UINT64_MAX;
    /* A change that came meanwhile has set it to 0. */
    uint64_t never_ns = UINT64_MAX;
    (void)atomic_compare_exchange_strong(&topology->env.keep_ns, &never_ns, next_ns);
}

void kw_pool_keeper_tend(kw_topology *topology, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&topology->env.keep_ns, memory_order_acquire) ||
        !kw_leader_try(&topology->keeper_leader)) {
        return;
    }
    keep(topology, now_ns);
    kw_leader_leave(&topology->keeper_leader);
}

void kw_pool_keeper_on_change(kw_topology *topology)
{
    if (topology->env.options.pool_min > 0) {
        atomic_store_explicit(&topology->env.keep_ns, 0, memory_order_release);
    }
}

void kw_pool_keeper_end(kw_topology *topology)
{
    kw_pool_keeper *keeper = topology->pool_keeper;
    for (size_t i = 0; keeper != NULL && i < PINGS_MAX; i++) {
        if (keeper->pings[i].node != NULL) {
            kw_probe_fini(&keeper->pings[i].probe);
            kw_node_unref(keeper->pings[i].node);
        }
    }
    kw_mem_free(&topology->env.mem, keeper);
    topology->pool_keeper = NULL;
}
