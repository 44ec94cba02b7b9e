/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology/failure_watch.h"

#include "topology/topology.h"
#include "topology/replica_discovery.h"
#include "topology/map_publish.h"

#include <stdio.h>
#include <string.h>

/* While a probe is under way, or a change could not be published for want of memory. */
#define SOON_NS KW_NS_PER_MS

/* Callers that come less often than this are asked to wait for a probe, so long at most. */
#define RARE_NS (100 * KW_NS_PER_MS)
#define HELP_NS (30 * KW_NS_PER_MS)

#define SOCKETS_MAX 16

/* Before a node that did not answer is asked for its replicas again. */
#define ROLE_PAUSE_NS (1000 * KW_NS_PER_MS)

/* One look at all nodes. */
typedef struct turn {
    kw_topology *topology;
    const kw_snapshot *snapshot;
    uint64_t now_ns;
    uint64_t next_ns;                   /* when the next look is due */
    struct pollfd sockets[SOCKETS_MAX]; /* of probes under way */
    size_t sockets_n;
} turn;

static void look_again(turn *self, uint64_t at_ns)
{
    uint64_t soon_ns = self->now_ns + SOON_NS; /* an event loop must not spin */
    at_ns = at_ns > soon_ns ? at_ns : soon_ns;
    self->next_ns = at_ns < self->next_ns ? at_ns : self->next_ns;
}

static const char *effect_of(const kw_topology *topology)
{
    switch (topology->env.options.on_node_down) {
    case KW_NODE_DOWN_FAIL:
        break;
    case KW_NODE_DOWN_NEXT:
        return "the next nodes have its keys";
    case KW_NODE_DOWN_EJECT:
        return "the ring is built without it";
    }
    return "its keys fail at once";
}

/* Tells the host what the node has become. */
static void tell(const turn *self, size_t shard, bool is_down)
{
    kw_topology *topology = self->topology;
    const kw_node *node =
        self->snapshot->nodes[kw_map_shard_at(self->snapshot->map, shard)->primary];
    char shown[80];
    char text[400];
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.member =
        kw_ring_node_name(kw_map_ring(self->snapshot->map), &event.member_len, (uint32_t)shard);
    event.node = node->name;
    event.text = text;
    kw_bytes name = {event.member, event.member_len};
    kw_bytes_show(shown, sizeof(shown), name);
    event.kind = KW_EVENT_NODE_UP;
    if (is_down) {
        bool is_ejected = topology->env.options.on_node_down == KW_NODE_DOWN_EJECT;
        event.kind = is_ejected ? KW_EVENT_NODE_EJECTED : KW_EVENT_NODE_DOWN;
        snprintf(text, sizeof(text), "ring: node %s at %.200s is down: %s until it answers again",
                 shown, node->name, effect_of(topology));
    } else {
        snprintf(text, sizeof(text), "ring: node %s at %.200s is back", shown, node->name);
    }
    kw_topology_tell(topology, &event);
}

/* Makes the change, as a new map. False where it has to be tried again. */
static bool change(turn *self, size_t shard, bool is_down)
{
    kw_topology *topology = self->topology;
    const kw_node *node =
        self->snapshot->nodes[kw_map_shard_at(self->snapshot->map, shard)->primary];
    kw_monitor_lock(&topology->publishing);
    kw_err code = kw_ring_state_set_down(topology->ring_state, topology, &node->endpoint, is_down);
    kw_monitor_unlock(&topology->publishing);
    if (code == KW_ERR_ARGUMENT) {
        return true; /* it has left the ring meanwhile */
    }
    if (code != KW_OK) {
        look_again(self, self->now_ns + SOON_NS);
        return false;
    }
    atomic_fetch_add_explicit(is_down ? &topology->failure_watch.downs_n
                                      : &topology->failure_watch.ups_n,
                              1, memory_order_relaxed);
    kw_refresher_on_publish(&topology->refresher);
    tell(self, shard, is_down);
    return true;
}

static void on_answer(turn *self, kw_node *node, size_t shard)
{
    kw_failure_detector before = node->outage;
    kw_failure_detector_rule rule = {self->topology->env.options.down_after,
                                     self->topology->env.options.up_after};
    kw_node_well(node);
    if (kw_failure_detector_on_answer(&node->outage, &rule, self->now_ns) &&
        !change(self, shard, false)) {
        node->outage = before;
    }
}

/* Never again where nothing is asked for now and then. */
static void on_role(turn *self, kw_node *node)
{
    uint64_t interval_ms = self->topology->env.options.refresh_interval_ms;
    node->role_ns = interval_ms > 0 ? self->now_ns + interval_ms * KW_NS_PER_MS : UINT64_MAX;
    kw_replica_discovery_take(self->topology, node);
}

/* True where a node that is well is to be asked for its replicas. */
static bool wants_role(turn *self, kw_node *node, bool is_well)
{
    if (!kw_replica_discovery_is_on(self->topology) || !is_well) {
        return false;
    }
    look_again(self, node->role_ns);
    return self->now_ns >= node->role_ns;
}

/* The probe of a node that is down, or that may be, or that is asked for its replicas. */
static void probe(turn *self, kw_node *node, size_t shard)
{
    switch (kw_node_probe(node, &node->probe, self->now_ns)) {
    case KW_PROBE_UNDER_WAY:
        look_again(self, self->now_ns + SOON_NS);
        if (self->sockets_n < SOCKETS_MAX) {
            self->sockets[self->sockets_n].fd = node->probe.conn->socket;
            self->sockets[self->sockets_n++].events = kw_conn_events(node->probe.conn);
        }
        return;
    case KW_PROBE_ANSWERED:
        on_answer(self, node, shard);
        if (node->probe.question == KW_PROBE_ROLE) {
            on_role(self, node);
        }
        break;
    case KW_PROBE_LOADING:
        kw_node_well(node);
        node->outage.probe_ns = self->now_ns + 20 * SOON_NS;
        break;
    case KW_PROBE_SILENT:
        kw_node_fault(node);
        kw_failure_detector_on_silence(&node->outage, self->now_ns,
                                       &self->topology->failure_watch.random);
        break;
    case KW_PROBE_LATER:
        node->outage.probe_ns = kw_node_retry_ns(node, self->now_ns);
        break;
    }
}

static void look_at(turn *self, kw_node *node, size_t shard)
{
    if (kw_node_is_of_group(node)) {
        return; /* its sentinels replace it; until then its keys wait */
    }
    uint64_t faults_n = atomic_load_explicit(&node->faults_n, memory_order_relaxed);
    kw_failure_detector *outage = &node->outage;
    bool is_marked = kw_map_is_down(self->snapshot->map, shard);
    if (outage->is_down != is_marked) { /* a node that was made anew, or was a replica */
        outage->is_down = is_marked;
        outage->answers_n = 0;
    }
    bool is_well = faults_n == 0 && !outage->is_down;
    if (node->probe.conn == NULL) {
        bool asks_role = wants_role(self, node, is_well);
        node->probe.question = asks_role ? KW_PROBE_ROLE : KW_PROBE_PING;
        if (is_well && !asks_role) {
            return;
        }
        node->role_ns = asks_role ? self->now_ns + ROLE_PAUSE_NS : node->role_ns;
    }
    kw_failure_detector_rule rule = {self->topology->env.options.down_after,
                                     self->topology->env.options.up_after};
    kw_failure_detector before = *outage;
    if (kw_failure_detector_on_failures(outage, &rule, self->now_ns, faults_n) &&
        !change(self, shard, true)) {
        *outage = before;
    }
    if (node->probe.conn != NULL || self->now_ns >= outage->probe_ns) {
        probe(self, node, shard);
    }
    faults_n = atomic_load_explicit(&node->faults_n, memory_order_relaxed);
    if (kw_replica_discovery_is_on(self->topology) && !outage->is_down && faults_n == 0) {
        look_again(self, node->role_ns);
    }
    if (outage->is_down || faults_n > 0) {
        look_again(self, outage->probe_ns);
    }
}

/* The seat is taken. */
static void look(turn *self, kw_topology *topology, uint64_t now_ns)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    self->topology = topology;
    self->snapshot = snapshot;
    self->now_ns = now_ns;
    self->next_ns = UINT64_MAX;
    self->sockets_n = 0;
    atomic_store_explicit(&topology->failure_watch.looked_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&topology->env.failure_watch_ns, UINT64_MAX, memory_order_relaxed);
    for (size_t i = 0; i < kw_map_shards_n(snapshot->map); i++) {
        look_at(self, snapshot->nodes[kw_map_shard_at(snapshot->map, i)->primary], i);
    }
    /* Who has found a fault meanwhile has set it to 0. */
    uint64_t never_ns = UINT64_MAX;
    (void)atomic_compare_exchange_strong(&topology->env.failure_watch_ns, &never_ns, self->next_ns);
    kw_snapshot_unref(snapshot);
}

void kw_failure_watch_tend(kw_topology *topology, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&topology->env.failure_watch_ns, memory_order_acquire) ||
        topology->env.options.scheme != KW_SCHEME_RING ||
        atomic_exchange(&topology->failure_watch.is_taken, true)) {
        return;
    }
    turn self;
    look(&self, topology, now_ns);
    atomic_store(&topology->failure_watch.is_taken, false);
}

void kw_failure_watch_help(kw_topology *topology)
{
    uint64_t due_ns = atomic_load_explicit(&topology->env.failure_watch_ns, memory_order_acquire);
    if (due_ns == UINT64_MAX || topology->env.options.scheme != KW_SCHEME_RING) {
        return;
    }
    uint64_t now_ns = kw_env_now(&topology->env);
    uint64_t looked_ns =
        atomic_load_explicit(&topology->failure_watch.looked_ns, memory_order_relaxed);
    if (now_ns < due_ns || now_ns < looked_ns + RARE_NS ||
        atomic_exchange(&topology->failure_watch.is_taken, true)) {
        return;
    }
    turn self;
    const kw_transport *transport = topology->env.transport;
    uint64_t until_ns = now_ns + HELP_NS;
    look(&self, topology, now_ns);
    while (self.next_ns < until_ns && now_ns < until_ns) {
        uint64_t next_ns = self.sockets_n > 0 ? until_ns : self.next_ns;
        (void)transport->poll_fn(transport->arg, self.sockets, self.sockets_n,
                                 kw_clock_ms_until(now_ns, next_ns, (int)(HELP_NS / SOON_NS)));
        now_ns = kw_env_now(&topology->env);
        look(&self, topology, now_ns);
    }
    atomic_store(&topology->failure_watch.is_taken, false);
}
