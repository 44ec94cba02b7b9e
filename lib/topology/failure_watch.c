/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks after the servers of a handle: which are down, which are back, and what calls are to know
 * of them. */
#include "topology/failure_watch.h"

#include "topology/topology.h"
#include "topology/replica_discovery.h"
#include "topology/map_publish.h"
#include "base/moment.h"

#include <stdio.h>
#include <string.h>

/* The next look comes so soon while a probe is under way, or while a change waits for memory. */
#define SOON_NS KW_NS_PER_MS

/* Where calls come less often than RARE_NS, one waits for a probe that is about to be answered,
 * HELP_NS at most, and for no more than its HELP_PART of the time that it has. */
#define RARE_NS   (100 * KW_NS_PER_MS)
#define HELP_NS   (30 * KW_NS_PER_MS)
#define HELP_PART 4u

#define SOCKETS_MAX 16

/* The pause before a node that did not answer ROLE is asked again. */
#define ROLE_PAUSE_NS (1000 * KW_NS_PER_MS)

/* One look at all nodes. */
typedef struct tick {
    kw_topology *topology;
    const kw_snapshot *snapshot;
    kw_failure_detector_rule rule;
    uint64_t now_ns;
    uint64_t next_ns;                   /* when the next look is due */
    bool is_hopeful;                    /* a node may be found back soon */
    struct pollfd sockets[SOCKETS_MAX]; /* of probes that are about to be answered */
    size_t sockets_n;
} tick;

/* A server, and what it is in the map. */
typedef struct place {
    kw_node *node;
    size_t shard;
    bool is_primary;
    bool is_marked_in_map; /* of a ring: what it is, down or not, is a part of the map */
    uint64_t election_ns;  /* how long after its first failure another may take its place */
} place;

static void look_again(tick *self, uint64_t at_ns)
{
    uint64_t soon_ns = self->now_ns + SOON_NS; /* never now: an event loop would spin */
    at_ns = at_ns > soon_ns ? at_ns : soon_ns;
    self->next_ns = at_ns < self->next_ns ? at_ns : self->next_ns;
}

static const char *effect_of(const kw_topology *topology, const place *at)
{
    switch (topology->env.options.on_node_down) {
    case KW_NODE_DOWN_FAIL:
        break;
    case KW_NODE_DOWN_NEXT:
        return "the next nodes have its keys";
    case KW_NODE_DOWN_EJECT:
        return "the ring is built without it";
    case KW_NODE_DOWN_WAIT:
        return "calls wait for it";
    }
    return at->election_ns > 0 ? "calls wait while another may take its place, then fail at once"
                               : "its keys fail at once";
}

/* Tells the host what the server has become. */
static void tell(const tick *self, const place *at, bool is_down)
{
    kw_topology *topology = self->topology;
    const kw_ring *ring = kw_map_ring(self->snapshot->map);
    char shown[100] = "";
    char text[400];
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.member = "";
    event.node = at->node->name;
    event.text = text;
    if (ring != NULL && at->is_primary) {
        event.member = kw_ring_node_name(ring, &event.member_len, (uint32_t)at->shard);
        kw_bytes name = {event.member, event.member_len};
        char member[80];
        kw_bytes_show(member, sizeof(member), name);
        snprintf(shown, sizeof(shown), "ring: node %s at ", member);
    }
    event.kind = KW_EVENT_NODE_UP;
    if (is_down) {
        bool is_ejected = topology->env.options.on_node_down == KW_NODE_DOWN_EJECT;
        event.kind = is_ejected ? KW_EVENT_NODE_EJECTED : KW_EVENT_NODE_DOWN;
        snprintf(text, sizeof(text), "%s%.200s is down: %s until it answers again", shown,
                 at->node->name, effect_of(topology, at));
    } else {
        snprintf(text, sizeof(text), "%s%.200s is back", shown, at->node->name);
    }
    kw_topology_tell(topology, &event);
}

/* Makes the change; on a ring it is a new map. False where it has to be tried again. */
static bool change(tick *self, const place *at, bool is_down)
{
    kw_topology *topology = self->topology;
    kw_err code = KW_OK;
    if (at->is_marked_in_map) {
        kw_monitor_lock(&topology->publishing);
        code = kw_ring_state_set_down(topology, &at->node->endpoint, is_down);
        kw_monitor_unlock(&topology->publishing);
    }
    if (code == KW_ERR_ARGUMENT) {
        return true; /* it has left the ring meanwhile */
    }
    if (code != KW_OK) {
        look_again(self, self->now_ns + SOON_NS);
        return false;
    }
    (void)kw_node_faults_set_down(&at->node->faults, &topology->env, is_down);
    atomic_store_explicit(&topology->failure_watch.refused_ns, self->now_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(is_down ? &topology->failure_watch.downs_n
                                      : &topology->failure_watch.ups_n,
                              1, memory_order_relaxed);
    if (at->is_marked_in_map) {
        kw_refresher_on_publish(&topology->refresher);
    }
    tell(self, at, is_down);
    return true;
}

static void on_answer(tick *self, const place *at)
{
    kw_failure_detector before = at->node->detector;
    kw_node_well(at->node);
    if (kw_failure_detector_on_answer(&at->node->detector, &self->rule, self->now_ns) &&
        !change(self, at, false)) {
        at->node->detector = before;
    }
}

/* Takes an answer to ROLE, and sets when it is asked next: with refresh-interval=0 never again. */
static void on_role(tick *self, kw_node *node)
{
    uint64_t interval_ms = self->topology->env.options.refresh_interval_ms;
    node->role_ns = interval_ms > 0 ? self->now_ns + interval_ms * KW_NS_PER_MS : UINT64_MAX;
    kw_replica_discovery_take(self->topology, node);
}

/* True where a node that is well is to be asked for its replicas. */
static bool wants_role(tick *self, const place *at, bool is_well)
{
    if (!kw_replica_discovery_is_on(self->topology) || !is_well || !at->is_marked_in_map) {
        return false;
    }
    look_again(self, at->node->role_ns);
    return self->now_ns >= at->node->role_ns;
}

/* How long one step of a probe may take. The probe of a silent server stays open until the next one
 * is due: an answer that comes late is an answer, too. */
static uint64_t probe_wait_ns(const tick *self, const kw_node *node)
{
    kw_env *env = &self->topology->env;
    uint64_t wait_ns = env->options.stall_ms * KW_NS_PER_MS;
    if (node->detector.is_down && wait_ns < KW_FAILURE_RETRY_NS) {
        wait_ns = KW_FAILURE_RETRY_NS;
    }
    return kw_env_patience_ns(env, wait_ns);
}

/* The state of a probe before it went on. */
typedef struct probe_state {
    bool was_open;
    bool was_connecting;
    bool was_sent;
} probe_state;

static probe_state state_of(const kw_probe *probe)
{
    probe_state state = {probe->conn != NULL, false, false};
    state.was_connecting = state.was_open && probe->conn->state == KW_CONN_CONNECTING;
    state.was_sent = state.was_open && probe->is_sent;
    return state;
}

/* A probe that went on may be about to be answered: it was greeted; or it was connected by a
 * server that took no connects before, as a stopped process goes on to do. */
static void note_sign(const tick *self, kw_node *node, const probe_state *before)
{
    const kw_probe *probe = &node->probe;
    bool is_connected = probe->conn->state != KW_CONN_CONNECTING;
    bool is_greeted = probe->is_sent && !before->was_sent;
    bool is_new = before->was_connecting && is_connected && !node->takes_connects;
    if (is_greeted || is_new) {
        uint64_t until_ns = self->now_ns + kw_env_patience_ns(node->env, HELP_NS);
        atomic_store_explicit(&node->faults.sign_ns, until_ns, memory_order_relaxed);
    }
}

/* True where the probe that is under way ends soon: there is a sign of it, or the one before had
 * its end at once. That of a silent server does not, and is looked at by each call that comes. */
static bool ends_soon(const tick *self, kw_node *node)
{
    kw_fault_kind kind = kw_node_faults_read(&node->faults).kind;
    return kind == KW_FAULT_REFUSED || kind == KW_FAULT_LOST ||
           self->now_ns < atomic_load_explicit(&node->faults.sign_ns, memory_order_relaxed);
}

static void on_under_way(tick *self, kw_node *node, const probe_state *before)
{
    note_sign(self, node, before);
    if (!before->was_open) {
        kw_node_faults_on_probe(&node->faults, self->now_ns);
    }
    look_again(self, self->now_ns + SOON_NS);
    if (ends_soon(self, node) && self->sockets_n < SOCKETS_MAX) {
        self->is_hopeful = true;
        self->sockets[self->sockets_n].fd = node->probe.conn->socket;
        self->sockets[self->sockets_n++].events = kw_conn_events(node->probe.conn);
    }
}

/* A probe has failed. Where its connection could not be opened, that was counted as a fault
 * already. */
static void on_silence(tick *self, const place *at, const probe_state *before)
{
    kw_node *node = at->node;
    node->takes_connects = before->was_open && !before->was_connecting;
    if (before->was_sent) {
        kw_node_fault(node, self->now_ns,
                      node->probe.is_overdue ? KW_FAULT_UNANSWERED : KW_FAULT_LOST);
    }
    kw_failure_detector_on_silence(&node->detector, self->now_ns,
                                   &self->topology->failure_watch.random);
    if (node->probe.is_overdue && node->detector.is_down && !self->rule.is_wary) {
        node->detector.probe_ns = self->now_ns; /* the next one at once: one is always under way */
        kw_node_hasten(node);
    }
}

/* The probe of a node that is down, or that may be, or that is asked for its replicas. */
static void probe(tick *self, const place *at)
{
    kw_node *node = at->node;
    probe_state before = state_of(&node->probe);
    node->probe.wait_ns = probe_wait_ns(self, node);
    switch (kw_node_probe(node, &node->probe, self->now_ns)) {
    case KW_PROBE_UNDER_WAY:
        on_under_way(self, node, &before);
        return;
    case KW_PROBE_ANSWERED:
        on_answer(self, at);
        if (node->probe.question == KW_PROBE_ROLE) {
            on_role(self, node);
        }
        break;
    case KW_PROBE_LOADING:
        kw_node_well(node);
        node->detector.probe_ns = self->now_ns + 20 * SOON_NS;
        break;
    case KW_PROBE_SILENT:
        on_silence(self, at, &before);
        break;
    case KW_PROBE_LATER:
        node->detector.probe_ns = kw_node_retry_ns(node, self->now_ns);
        break;
    }
}

/* A server that is late, and a silent one that is down, is probed at once. Others are dialled by
 * their callers, and probed where none comes or their failures are too few. */
static uint64_t probe_due_ns(const tick *self, kw_node *node, const kw_faults *faults)
{
    const kw_failure_detector *detector = &node->detector;
    bool is_silent =
        faults->kind == KW_FAULT_LATE || (detector->is_down && faults->kind != KW_FAULT_REFUSED);
    if (self->rule.is_wary || is_silent) {
        return detector->probe_ns;
    }
    uint64_t due_ns = faults->since_ns + self->rule.span_ns;
    if (detector->is_down) {
        due_ns = kw_node_faults_probe_ns(&node->faults) + KW_FAILURE_RETRY_NS * 3 / 2;
    }
    return due_ns > detector->probe_ns ? due_ns : detector->probe_ns;
}

/* What the node is may have been told by another: its mark in the map, or an answer to a call. */
static void heed_others(tick *self, const place *at)
{
    kw_failure_detector *detector = &at->node->detector;
    bool is_marked = at->is_marked_in_map && kw_map_is_down(self->snapshot->map, at->shard);
    if (at->is_marked_in_map && detector->is_down != is_marked) {
        detector->is_down = is_marked; /* the node was made anew, or was a replica before */
        detector->answers_n = 0;
        (void)kw_node_faults_set_down(&at->node->faults, at->node->env, is_marked);
        return;
    }
    kw_failure_detector before = *detector;
    if (detector->is_down && !kw_node_faults_is_down(&at->node->faults) &&
        kw_failure_detector_on_well(detector, &self->rule, self->now_ns) &&
        !change(self, at, false)) {
        *detector = before;
    }
}

/* Weighs the failures of a server so far: it may go down by them. */
static void weigh(tick *self, const place *at, const kw_faults *faults)
{
    kw_failure_detector *detector = &at->node->detector;
    kw_failure_detector before = *detector;
    atomic_store_explicit(&at->node->faults.hopeless_ns, faults->since_ns + at->election_ns,
                          memory_order_relaxed);
    if (kw_failure_detector_on_faults(detector, &self->rule, self->now_ns, faults)) {
        if (!change(self, at, true)) {
            *detector = before;
        } else if (!self->rule.is_wary) {
            detector->probe_ns = self->now_ns; /* a probe is under way from now on */
            kw_node_hasten(at->node);
        }
    }
    if (!detector->is_down) {
        uint64_t due_ns = kw_failure_detector_due_ns(&self->rule, self->now_ns, faults);
        atomic_store_explicit(&at->node->faults.due_ns, due_ns, memory_order_relaxed);
        look_again(self, due_ns);
    }
}

/* How long an election may take is asked for once, when it is of use. */
static void ask_timeout(kw_topology *topology, const place *at)
{
    if (at->election_ns > 0 && topology->env.options.scheme == KW_SCHEME_CLUSTER &&
        !atomic_load_explicit(&topology->failure_watch.has_asked, memory_order_relaxed)) {
        atomic_store_explicit(&topology->env.wants_timeout, true, memory_order_relaxed);
    }
}

static void look_at(tick *self, const place *at)
{
    kw_node *node = at->node;
    kw_failure_detector *detector = &node->detector;
    heed_others(self, at);
    kw_faults faults = kw_node_faults_read(&node->faults);
    bool is_well = faults.n == 0 && !detector->is_down;
    if (node->probe.conn == NULL) {
        bool asks_role = wants_role(self, at, is_well);
        node->probe.question = asks_role ? KW_PROBE_ROLE : KW_PROBE_PING;
        if (is_well && !asks_role) {
            return;
        }
        node->role_ns = asks_role ? self->now_ns + ROLE_PAUSE_NS : node->role_ns;
    }
    if (faults.n > 0) {
        ask_timeout(self->topology, at);
        weigh(self, at, &faults);
    }
    bool is_asking = node->probe.conn != NULL || node->probe.question == KW_PROBE_ROLE;
    if (is_asking || self->now_ns >= probe_due_ns(self, node, &faults)) {
        probe(self, at);
    }
    faults = kw_node_faults_read(&node->faults);
    if (detector->is_down || faults.n > 0) {
        look_again(self, probe_due_ns(self, node, &faults));
        self->is_hopeful = self->is_hopeful || (detector->is_down && detector->answers_n > 0);
    } else if (kw_replica_discovery_is_on(self->topology) && at->is_marked_in_map) {
        look_again(self, node->role_ns);
    }
}

/* How long after its first failure a primary may be replaced by another; 0: it will not be. */
static uint64_t election_of(const tick *self, const kw_map_shard *shard)
{
    const kw_snapshot *snapshot = self->snapshot;
    kw_scheme scheme = self->topology->env.options.scheme;
    if (scheme != KW_SCHEME_CLUSTER && scheme != KW_SCHEME_SENTINEL &&
        !kw_node_is_of_group(snapshot->nodes[shard->primary])) {
        return 0;
    }
    for (size_t i = 0; i < shard->replicas_n; i++) {
        kw_node *replica = snapshot->nodes[kw_map_replica(snapshot->map, shard, i)];
        if (!kw_node_faults_is_down(&replica->faults)) {
            return atomic_load_explicit(&self->topology->failure_watch.election_ns,
                                        memory_order_relaxed);
        }
    }
    return 0;
}

static void look_at_shard(tick *self, size_t number)
{
    const kw_topology *topology = self->topology;
    const kw_map_shard *shard = kw_map_shard_at(self->snapshot->map, number);
    place at = {.node = self->snapshot->nodes[shard->primary], .shard = number};
    at.is_primary = true;
    at.is_marked_in_map = kw_topology_is_ring(topology) && !kw_node_is_of_group(at.node) &&
                          topology->env.options.on_node_down != KW_NODE_DOWN_WAIT;
    at.election_ns = election_of(self, shard);
    look_at(self, &at);
    for (size_t i = 0; i < shard->replicas_n; i++) {
        place replica = {.node = NULL, .shard = number};
        replica.node = self->snapshot->nodes[kw_map_replica(self->snapshot->map, shard, i)];
        look_at(self, &replica);
    }
}

static kw_failure_detector_rule rule_of(const kw_options *options)
{
    uint64_t stall_ns = options->stall_ms * KW_NS_PER_MS;
    kw_failure_detector_rule rule = {
        .down_after = options->down_after,
        .span_ns = stall_ns > KW_FAILURE_SPAN_NS ? stall_ns : KW_FAILURE_SPAN_NS,
        .up_after = kw_options_moves_keys(options) ? options->up_after : 1,
        .is_wary = kw_options_moves_keys(options),
    };
    return rule;
}

/* Looks at all nodes; this thread is the one that does (watcher). */
static void look(tick *self, kw_topology *topology, uint64_t now_ns)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    self->topology = topology;
    self->snapshot = snapshot;
    self->rule = rule_of(&topology->env.options);
    self->now_ns = now_ns;
    self->next_ns = UINT64_MAX;
    self->is_hopeful = false;
    self->sockets_n = 0;
    atomic_store_explicit(&topology->failure_watch.looked_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&topology->env.failure_watch_ns, UINT64_MAX, memory_order_relaxed);
    for (size_t i = 0; snapshot != NULL && i < kw_map_shards_n(snapshot->map); i++) {
        look_at_shard(self, i);
    }
    /* A thread that met a fault meanwhile has set it to 0: then the next look is due at once. */
    uint64_t never_ns = UINT64_MAX;
    (void)atomic_compare_exchange_strong(&topology->env.failure_watch_ns, &never_ns, self->next_ns);
    kw_snapshot_unref(snapshot);
}

void kw_failure_watch_tend(kw_topology *topology, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&topology->env.failure_watch_ns, memory_order_acquire) ||
        !kw_leader_try(&topology->failure_watch.watcher)) {
        return;
    }
    /* Where something has failed meanwhile the caller's time is before what is noted of that. */
    uint64_t noted_ns = kw_env_now(&topology->env);
    tick self;
    look(&self, topology, noted_ns > now_ns ? noted_ns : now_ns);
    kw_leader_leave(&topology->failure_watch.watcher);
}

void kw_failure_watch_help(kw_topology *topology, uint64_t deadline_ns)
{
    uint64_t due_ns = atomic_load_explicit(&topology->env.failure_watch_ns, memory_order_acquire);
    if (due_ns == UINT64_MAX || !kw_options_moves_keys(&topology->env.options)) {
        return;
    }
    uint64_t now_ns = kw_env_now(&topology->env);
    uint64_t looked_ns =
        atomic_load_explicit(&topology->failure_watch.looked_ns, memory_order_relaxed);
    if (now_ns < due_ns || now_ns < looked_ns + RARE_NS ||
        !kw_leader_try(&topology->failure_watch.watcher)) {
        return;
    }
    tick self;
    const kw_transport *transport = topology->env.transport;
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    uint64_t until_ns = kw_sooner(now_ns + HELP_NS, now_ns + left_ns / HELP_PART);
    look(&self, topology, now_ns);
    while (self.is_hopeful && now_ns < until_ns) {
        uint64_t next_ns = self.sockets_n > 0 ? until_ns : kw_sooner(self.next_ns, until_ns);
        (void)transport->poll_fn(transport->arg, self.sockets, self.sockets_n,
                                 kw_clock_ms_until(now_ns, next_ns, (int)(HELP_NS / SOON_NS)));
        now_ns = kw_env_now(&topology->env);
        look(&self, topology, now_ns);
    }
    kw_leader_leave(&topology->failure_watch.watcher);
}
