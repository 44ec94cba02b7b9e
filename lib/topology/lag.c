/* SPDX-License-Identifier: BSD-3-Clause */
/* Measures how far replicas are behind: asks primaries and replicas in turn, and compares. Where no
 * read wants to know that, replicas that are read from are asked whether their primary's stream
 * still arrives. */
#include "topology/lag.h"

#include "topology/topology.h"

#include <string.h>

/* The next look comes so soon while a question is under way. */
#define SOON_NS KW_NS_PER_MS

/* Replicas that nobody wanted to read from for so long are not measured any more. */
#define KEEP_NS (10000 * KW_NS_PER_MS)

/* Between questions: a part of the bound, or so long where there is none. */
#define PARTS     4u
#define FLOOR_NS  (50 * KW_NS_PER_MS)
#define FIGURE_NS (250 * KW_NS_PER_MS)
#define LINK_NS   (1000 * KW_NS_PER_MS)

/* Questions under way at one time. */
#define ASKED_MAX 32u

/* One look at all nodes. */
typedef struct tick {
    const kw_snapshot *snapshot;
    uint64_t now_ns;
    uint64_t next_ns;    /* when the next look is due */
    uint64_t measure_ns; /* between questions, where lag is measured */
    uint64_t period_ns;  /* the same, of the shard that is looked at */
    size_t asked_n;
} tick;

static void look_again(tick *self, uint64_t at_ns)
{
    uint64_t soon_ns = self->now_ns + SOON_NS;
    at_ns = at_ns > soon_ns ? at_ns : soon_ns;
    self->next_ns = at_ns < self->next_ns ? at_ns : self->next_ns;
}

static bool is_not_allowed(const kw_reply *answer)
{
    return kw_reply_is_error(answer) && kw_bytes_starts(kw_reply_bytes(answer), "NOPERM");
}

/* Asks the node, and goes on with the question; true once its answer is in *found. */
static bool ask(tick *self, kw_node *node, kw_replication *found)
{
    kw_node_lag *lag = &node->lag;
    if (lag->probe.conn == NULL && (self->now_ns < lag->due_ns || self->asked_n >= ASKED_MAX)) {
        look_again(self, lag->due_ns);
        return false;
    }
    self->asked_n++;
    lag->probe.question = KW_PROBE_INFO;
    bool is_read = false;
    uint64_t due_ns = self->now_ns + self->period_ns;
    switch (kw_node_probe(node, &lag->probe, self->now_ns)) {
    case KW_PROBE_UNDER_WAY:
        look_again(self, self->now_ns + SOON_NS);
        return false;
    case KW_PROBE_ANSWERED:
        is_read = kw_replication_parse(found, kw_reply_bytes(lag->probe.answer));
        atomic_store_explicit(&lag->is_refused, is_not_allowed(lag->probe.answer),
                              memory_order_relaxed);
        break;
    case KW_PROBE_LOADING:
    case KW_PROBE_SILENT:
        break;
    case KW_PROBE_LATER:
        due_ns = kw_node_retry_ns(node, self->now_ns);
        due_ns = due_ns > self->now_ns + SOON_NS ? due_ns : self->now_ns + SOON_NS;
        break;
    }
    kw_reply_free(lag->probe.answer);
    lag->probe.answer = NULL;
    lag->due_ns = due_ns;
    look_again(self, due_ns);
    return is_read;
}

/* Makes stream and offset known to kw_node_has, which reads them without a lock. */
static void publish(kw_node_lag *lag)
{
    uint64_t stream = lag->said.is_linked ? kw_replid_hash(lag->said.replid) : 0;
    if (atomic_load(&lag->stream) != stream) {
        atomic_store(&lag->stream, 0);
    }
    atomic_store(&lag->offset, lag->said.offset);
    atomic_store(&lag->stream, stream);
}

/* Works out since when the replica is up to date at least. That stays true while the stream is the
 * same. */
static void conclude(const kw_node *primary, kw_node *replica)
{
    kw_node_lag *lag = &replica->lag;
    const kw_node_lag *ahead = &primary->lag;
    uint64_t known_ns = kw_lag_known_ns(&ahead->history, &lag->said);
    uint64_t before_ns = atomic_load_explicit(&lag->known_ns, memory_order_relaxed);
    bool is_same = lag->said.is_linked && strcmp(ahead->history.replid, lag->said.replid) == 0;
    uint64_t behind = ahead->said.offset > lag->said.offset && is_same
                          ? ahead->said.offset - lag->said.offset
                          : 0;
    if (is_same && known_ns < before_ns) {
        known_ns = before_ns; /* it is behind by more than the history is long */
    }
    atomic_store_explicit(&lag->behind, behind, memory_order_relaxed);
    publish(lag);
    /* Where a connection was lost meanwhile it is 0 by now, and stays so until the next answer. */
    (void)atomic_compare_exchange_strong(&lag->known_ns, &before_ns, known_ns);
}

static bool is_wanted(const atomic_uint_fast64_t *at_ns, uint64_t now_ns)
{
    uint64_t wanted_ns = atomic_load_explicit(at_ns, memory_order_relaxed);
    return wanted_ns != 0 && now_ns <= wanted_ns + KEEP_NS;
}

/* A replica says whether it has its primary; one that was promoted has none to lose. */
static void note_link(kw_node *replica, const kw_replication *said)
{
    atomic_store_explicit(&replica->lag.is_cut, !said->is_primary && !said->is_linked,
                          memory_order_relaxed);
}

/* Asks the shard's primary; true where it has said how far it is. */
static bool measure_primary(tick *self, kw_node *primary)
{
    kw_replication said;
    if (!ask(self, primary, &said) || !said.is_primary) {
        return false;
    }
    primary->lag.said = said;
    kw_lag_history_add(&primary->lag.history, &said, primary->lag.probe.sent_ns);
    primary->lag.due_ns = primary->lag.probe.sent_ns + self->period_ns;
    atomic_store_explicit(&primary->lag.known_ns, 0, memory_order_relaxed);
    return true;
}

static void look_at(tick *self, const kw_map_shard *shard)
{
    kw_node *primary = self->snapshot->nodes[shard->primary];
    bool is_measured = is_wanted(&primary->lag.wanted_ns, self->now_ns);
    if (shard->replicas_n == 0 ||
        (!is_measured && !is_wanted(&primary->lag.read_ns, self->now_ns))) {
        return;
    }
    self->period_ns = is_measured ? self->measure_ns : LINK_NS;
    bool has_news = is_measured && measure_primary(self, primary);
    for (size_t i = 0; i < shard->replicas_n; i++) {
        kw_node *replica = self->snapshot->nodes[kw_map_replica(self->snapshot->map, shard, i)];
        kw_replication said;
        if (has_news) {
            replica->lag.due_ns = 0; /* asked after its primary, it can have all that that had */
        }
        if (ask(self, replica, &said)) {
            replica->lag.said = said;
            replica->lag.due_ns = self->now_ns + self->period_ns;
            note_link(replica, &said);
            if (is_measured) {
                conclude(primary, replica);
            }
        }
    }
}

static uint64_t period_of(const kw_options *options)
{
    uint64_t part_ns = options->max_staleness_ms * KW_NS_PER_MS / PARTS;
    if (part_ns == 0) {
        return FIGURE_NS;
    }
    return part_ns > FLOOR_NS ? part_ns : FLOOR_NS;
}

/* Looks at all nodes; this thread is the one that does (lag_leader). */
static void look(kw_topology *topology)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    if (snapshot == NULL) {
        return;
    }
    tick self = {.snapshot = snapshot, .now_ns = kw_env_now(&topology->env)};
    self.next_ns = UINT64_MAX;
    self.measure_ns = period_of(&topology->env.options);
    atomic_store(&topology->env.lag_ns, UINT64_MAX);
    for (size_t i = 0; i < kw_map_shards_n(snapshot->map); i++) {
        look_at(&self, kw_map_shard_at(snapshot->map, i));
    }
    /* A thread that began to read meanwhile has set it to 0: then the next look is due at once. */
    uint64_t never_ns = UINT64_MAX;
    (void)atomic_compare_exchange_strong(&topology->env.lag_ns, &never_ns, self.next_ns);
    kw_snapshot_unref(snapshot);
}

void kw_lag_tend(kw_topology *topology, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&topology->env.lag_ns, memory_order_acquire) ||
        !kw_leader_try(&topology->lag_leader)) {
        return;
    }
    look(topology);
    kw_leader_leave(&topology->lag_leader);
}

void kw_lag_want_all(kw_topology *topology, uint64_t now_ns)
{
    const kw_options *options = &topology->env.options;
    bool is_on = options->max_staleness_ms > 0 || options->read != KW_READ_OF_PRIMARY;
    kw_snapshot *snapshot = is_on ? kw_topology_snapshot(topology) : NULL;
    for (size_t i = 0; snapshot != NULL && i < kw_map_shards_n(snapshot->map); i++) {
        const kw_map_shard *shard = kw_map_shard_at(snapshot->map, i);
        if (shard->replicas_n > 0) {
            kw_node_want_lag(snapshot->nodes[shard->primary], now_ns);
        }
    }
    kw_snapshot_unref(snapshot);
    kw_lag_tend(topology, now_ns);
}
