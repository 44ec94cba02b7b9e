/* SPDX-License-Identifier: BSD-3-Clause */
/* The pairs of a cache, the maps that they go by, and whose turn it is to look. */
#include "cache/tracker.h"

#include "base/moment.h"
#include "cache/life.h"
#include "base/error.h"
#include "base/resp.h"
#include "cache/track_pair.h"
#include "route/slot.h"

#include <string.h>

/* How often connections are looked at in passing, at most: parts of near-staleness, but not more
 * seldom than: */
#define LOOKS_A_BOUND 16
#define LOOK_MAX_NS   ((uint64_t)20000000)

struct kw_tracker {
    kw_topology *topology;
    kw_near *near;
    const atomic_bool *closing;   /* of the handle */
    atomic_uint_fast64_t look_ns; /* the next look */
    kw_leader looker;
    uint64_t snapshot_n;         /* the looker's: the snapshot that it saw last */
    uint64_t patches_n;          /* and how often slots of maps had been patched */
    kw_node *owners[KW_SLOTS_N]; /* of slots by that map; only compared. All but clusters: of 0 */
    kw_monitor monitor;          /* guards nodes of pairs, and pairs_n */
    size_t pairs_n;
    kw_track_pair pairs[KW_NEAR_PAIRS_MAX];
};

uint64_t kw_tracker_now(const kw_tracker *tracker)
{
    return kw_track_now(&tracker->topology->env);
}

kw_tracker *kw_tracker_new(kw_topology *topology, kw_near *near, const atomic_bool *closing)
{
    kw_tracker *tracker = kw_mem_calloc(&topology->env.mem, 1, sizeof(*tracker));
    if (tracker == NULL) {
        return NULL;
    }
    tracker->topology = topology;
    tracker->near = near;
    tracker->closing = closing;
    kw_leader_init(&tracker->looker);
    if (kw_monitor_init(&tracker->monitor) != KW_OK) {
        kw_mem_free(&topology->env.mem, tracker);
        return NULL;
    }
    return tracker;
}

void kw_tracker_free(kw_tracker *tracker, bool is_forked)
{
    for (size_t i = 0; i < tracker->pairs_n; i++) {
        kw_track_pair *pair = &tracker->pairs[i];
        if (pair->node != NULL && !is_forked) {
            kw_track_pair_close(pair);
            kw_node_unref(pair->node);
        }
        kw_track_pair_fini(pair);
    }
    kw_monitor_fini(&tracker->monitor);
    kw_mem_free(&tracker->topology->env.mem, tracker);
}

/* A place for one more; NULL: there is none. The monitor is held. */
static kw_track_pair *new_pair(kw_tracker *tracker)
{
    size_t at = 0;
    while (at < tracker->pairs_n && tracker->pairs[at].node != NULL) {
        at++;
    }
    if (at == tracker->pairs_n) {
        if (at == KW_NEAR_PAIRS_MAX ||
            kw_track_pair_init(&tracker->pairs[at], tracker->near, tracker->closing,
                               (uint16_t)at) != KW_OK) {
            return NULL;
        }
        tracker->pairs_n++;
    }
    return &tracker->pairs[at];
}

/* The pair of the node, a new one where there is none, with one more user; NULL: there are too
 * many. */
static kw_track_pair *pair_of(kw_tracker *tracker, kw_node *node)
{
    kw_track_pair *pair = NULL;
    kw_monitor_lock(&tracker->monitor);
    for (size_t i = 0; i < tracker->pairs_n && pair == NULL; i++) {
        pair = tracker->pairs[i].node == node ? &tracker->pairs[i] : NULL;
    }
    if (pair == NULL && (pair = new_pair(tracker)) != NULL) {
        pair->node = kw_node_ref(node);
    }
    pair = pair != NULL && !pair->is_leaving ? pair : NULL;
    if (pair != NULL) {
        atomic_fetch_add_explicit(&pair->users_n, 1, memory_order_relaxed);
    }
    kw_monitor_unlock(&tracker->monitor);
    return pair;
}

static void leave_pair(kw_track_pair *pair)
{
    atomic_fetch_sub_explicit(&pair->users_n, 1, memory_order_release);
}

static size_t pairs_n_of(kw_tracker *tracker)
{
    kw_monitor_lock(&tracker->monitor);
    size_t n = tracker->pairs_n;
    kw_monitor_unlock(&tracker->monitor);
    return n;
}

/* Nodes of all pairs, which stay theirs until the looker gives them up; their number. */
static size_t nodes_of(kw_tracker *tracker, kw_node **nodes)
{
    kw_monitor_lock(&tracker->monitor);
    size_t n = tracker->pairs_n;
    for (size_t i = 0; i < n; i++) {
        nodes[i] = tracker->pairs[i].node;
    }
    kw_monitor_unlock(&tracker->monitor);
    return n;
}

/* Gives up a pair whose node has left the map, and that nobody is at. */
static void give_up_gone(kw_tracker *tracker, kw_track_pair *pair, kw_node *node)
{
    if (!kw_node_is_retired(node)) {
        return;
    }
    kw_monitor_lock(&tracker->monitor);
    pair->is_leaving = atomic_load_explicit(&pair->users_n, memory_order_acquire) == 0;
    bool is_leaving = pair->is_leaving;
    kw_monitor_unlock(&tracker->monitor);
    if (!is_leaving) {
        return;
    }
    kw_track_pair_close(pair);
    for (size_t slot = 0; slot < KW_SLOTS_N; slot++) {
        tracker->owners[slot] = tracker->owners[slot] == node ? NULL : tracker->owners[slot];
    }
    kw_monitor_lock(&tracker->monitor);
    pair->node = NULL;
    pair->is_leaving = false;
    kw_monitor_unlock(&tracker->monitor);
    kw_node_unref(node);
}

bool kw_tracker_is_due(const kw_tracker *tracker, uint64_t now_ns)
{
    return now_ns >= atomic_load_explicit(&tracker->look_ns, memory_order_relaxed);
}

/* The pairs of nodes that have lost something by the map in use. */
static void find_losers(kw_tracker *tracker, bool *losers, const kw_snapshot *snapshot)
{
    kw_node *nodes[KW_NEAR_PAIRS_MAX];
    size_t pairs_n = nodes_of(tracker, nodes);
    bool has_slots = tracker->topology->env.options.scheme == KW_SCHEME_CLUSTER;
    bool is_ring = kw_topology_is_ring(tracker->topology);
    for (unsigned slot = 0; slot < (has_slots ? KW_SLOTS_N : 1u); slot++) {
        kw_node *owner = snapshot != NULL && !is_ring ? kw_snapshot_owner(snapshot, slot) : NULL;
        if (owner == tracker->owners[slot] && !is_ring) {
            continue;
        }
        for (size_t i = 0; i < pairs_n; i++) {
            /* On a ring any change may move keys of anybody. */
            losers[i] = losers[i] || is_ring || nodes[i] == tracker->owners[slot];
        }
        tracker->owners[slot] = owner;
    }
}

/* Another map, or a slot of it, is in use: what has changed hands ends. Who publishes meanwhile is
 * waited for: a map that is in use is heeded by each proof that is asked for later. */
static void heed_map(kw_tracker *tracker)
{
    kw_topology *topology = tracker->topology;
    kw_monitor_lock(&topology->publishing);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    uint64_t patches_n = topology->patches_n;
    kw_monitor_unlock(&topology->publishing);
    uint64_t snapshot_n = snapshot != NULL ? snapshot->number : 0;
    if (snapshot_n != tracker->snapshot_n || patches_n != tracker->patches_n) {
        bool losers[KW_NEAR_PAIRS_MAX] = {false};
        find_losers(tracker, losers, snapshot);
        kw_near_on_map(tracker->near, losers, KW_NEAR_PAIRS_MAX);
        tracker->snapshot_n = snapshot_n;
        tracker->patches_n = patches_n;
    }
    kw_snapshot_unref(snapshot);
}

void kw_tracker_tend(kw_tracker *tracker, uint64_t now_ns)
{
    if (!kw_leader_try(&tracker->looker)) {
        return;
    }
    uint64_t pause_ns = tracker->near->limits.staleness_ns / LOOKS_A_BOUND;
    pause_ns = pause_ns < LOOK_MAX_NS ? pause_ns : LOOK_MAX_NS;
    atomic_store_explicit(&tracker->look_ns, now_ns + pause_ns, memory_order_relaxed);
    heed_map(tracker); /* before any ping is sent whose time is now_ns */
    kw_node *nodes[KW_NEAR_PAIRS_MAX];
    size_t pairs_n = nodes_of(tracker, nodes);
    for (size_t i = 0; i < pairs_n; i++) {
        kw_track_pair *pair = &tracker->pairs[i];
        if (nodes[i] != NULL) {
            atomic_store(&pair->asked_ns, now_ns);
            (void)kw_track_pair_turn(pair, 0);
            give_up_gone(tracker, pair, nodes[i]);
        }
    }
    kw_leader_leave(&tracker->looker);
}

static kw_track_read *new_read(kw_tracker *tracker, kw_bytes key)
{
    const kw_allocator *mem = &tracker->near->mem;
    kw_track_read *read = kw_mem_calloc(mem, 1, sizeof(*read));
    if (read == NULL) {
        return NULL;
    }
    kw_bytes get[2] = {kw_bytes_of("GET"), key};
    kw_bytes pttl[2] = {kw_bytes_of("PTTL"), key};
    read->refs = 1;
    kw_buf_init(&read->encoded, mem, read->space, sizeof(read->space));
    bool is_whole = kw_resp_append(&read->encoded, get, 2);
    size_t len = read->encoded.len;
    is_whole = is_whole && kw_resp_append(&read->encoded, pttl, 2);
    if (!is_whole) {
        kw_buf_fini(&read->encoded);
        kw_mem_free(mem, read);
        return NULL;
    }
    kw_request_init(&read->get);
    kw_request_init(&read->pttl);
    read->get.bytes.data = read->encoded.data;
    read->get.bytes.len = len;
    read->pttl.bytes.data = read->encoded.data + len;
    read->pttl.bytes.len = read->encoded.len - len;
    read->get.is_shared = read->pttl.is_shared = true;
    read->place.hash = kw_near_hash(key);
    return read;
}

/* When the answer may not be given any more; 0: it is not kept. */
static uint64_t end_of(const kw_track_read *read, uint64_t extra_ms)
{
    const kw_reply *value = read->get.reply;
    const kw_reply *left = read->pttl.reply;
    if (kw_reply_type(value) != KW_REPLY_STRING || kw_reply_type(left) != KW_REPLY_INTEGER) {
        return 0;
    }
    long long left_ms = kw_reply_int(left);
    if (left_ms == -1) {
        return UINT64_MAX;
    }
    bool is_over = left_ms <= 0 || (uint64_t)left_ms <= extra_ms;
    return is_over ? 0 : kw_life_end_ns(read->place.sent_ns, (uint64_t)left_ms - extra_ms);
}

/* The answer as the caller's. False where it is no answer to be given. */
static bool take_answer(kw_tracked *found, kw_track_read *read)
{
    kw_reply_kind kind = kw_reply_type(read->get.reply);
    if ((kind != KW_REPLY_STRING && kind != KW_REPLY_NIL) ||
        kw_reply_type(read->pttl.reply) != KW_REPLY_INTEGER) {
        return false;
    }
    found->value = read->get.reply;
    found->left_ms = kw_reply_int(read->pttl.reply);
    read->get.reply = NULL;
    return kind == KW_REPLY_NIL || found->left_ms != -2;
}

/* A pair that is ready, of the key's owner, with one more user; NULL: there is none. */
static kw_track_pair *ready_pair(kw_tracker *tracker, kw_bytes key)
{
    kw_node *node = kw_topology_owner_of(tracker->topology, key);
    kw_track_pair *pair = node != NULL ? pair_of(tracker, node) : NULL;
    kw_node_unref(node);
    if (pair != NULL && !atomic_load(&pair->is_ready)) {
        leave_pair(pair);
        pair = NULL;
    }
    return pair;
}

bool kw_tracker_begin(kw_tracker *tracker, kw_tracking *tracking, kw_bytes key, kw_bytes route)
{
    unsigned map_n = atomic_load(&tracker->near->map_n);
    kw_track_pair *pair = ready_pair(tracker, route);
    kw_track_read *read = pair != NULL ? new_read(tracker, key) : NULL;
    tracking->pair = pair;
    tracking->read = read;
    tracking->key = key;
    if (read == NULL) {
        if (pair != NULL) {
            leave_pair(pair);
        }
        return false;
    }
    read->place.sent_ns = kw_tracker_now(tracker);
    bool has_place = kw_near_place_take(tracker->near, &read->place, pair->at, map_n);
    if (has_place && kw_track_pair_submit(pair, read)) {
        return true;
    }
    if (has_place) {
        kw_near_place_end(tracker->near, &read->place, key, (kw_bytes){NULL, 0}, 0);
    }
    kw_track_read_unref(pair, read);
    leave_pair(pair);
    tracking->read = NULL;
    return false;
}

void kw_tracker_send(const kw_tracking *tracking)
{
    kw_track_pair_send(tracking->pair);
}

/* The answer, where is_read; else the place is given up. */
static bool take_read(kw_tracker *tracker, kw_tracking *tracking, kw_tracked *found, bool is_read,
                      uint64_t extra_ms)
{
    kw_track_read *read = tracking->read;
    kw_bytes value = {NULL, 0};
    uint64_t end_ns = 0;
    found->value = NULL;
    if (is_read) {
        value = kw_reply_bytes(read->get.reply);
        end_ns = end_of(read, extra_ms);
    }
    kw_near_place_end(tracker->near, &read->place, tracking->key, value, end_ns);
    is_read = is_read && take_answer(found, read);
    if (!is_read) {
        kw_reply_free(found->value);
        found->value = NULL;
    }
    kw_track_read_unref(tracking->pair, read);
    leave_pair(tracking->pair);
    tracking->read = NULL;
    return is_read;
}

/* An answer that is late is not waited for here: the key is read as any other then. */
static uint64_t until_of(const kw_tracker *tracker, uint64_t deadline_ns)
{
    const kw_env *env = &tracker->topology->env;
    uint64_t until_ns = kw_env_now(env) + env->options.stall_ms * KW_NS_PER_MS;
    return kw_sooner(until_ns, deadline_ns);
}

void kw_tracker_forget(kw_tracker *tracker, kw_tracking *tracking)
{
    kw_tracked none;
    if (tracking->read != NULL) {
        kw_track_pair_give_up(tracking->pair, tracking->read);
        (void)take_read(tracker, tracking, &none, false, 0);
    }
}

bool kw_tracker_is_done(const kw_tracking *tracking)
{
    return kw_track_pair_has_ended(tracking->pair, tracking->read) != KW_TRACK_READ_OPEN;
}

bool kw_tracker_take(kw_tracker *tracker, kw_tracking *tracking, kw_tracked *found,
                     uint64_t extra_ms)
{
    kw_track_pair_give_up(tracking->pair, tracking->read);
    bool is_read =
        kw_track_pair_has_ended(tracking->pair, tracking->read) == KW_TRACK_READ_ANSWERED;
    return take_read(tracker, tracking, found, is_read, extra_ms);
}

bool kw_tracker_watch(kw_tracker *tracker, kw_tracking *tracking, kw_bytes key, kw_bytes route,
                      uint64_t deadline_ns)
{
    if (!kw_tracker_begin(tracker, tracking, key, route)) {
        return false;
    }
    kw_track_read *read = tracking->read;
    bool is_there = kw_track_pair_await(tracking->pair, read, until_of(tracker, deadline_ns)) &&
                    kw_reply_type(read->get.reply) == KW_REPLY_STRING;
    if (!is_there) {
        kw_tracker_forget(tracker, tracking);
    }
    return is_there;
}

bool kw_tracker_hears(kw_tracker *tracker, kw_tracking *tracking, int wait_ms)
{
    if (!kw_track_pair_turn(tracking->pair, wait_ms)) {
        kw_track_pair_pass(tracking->pair, wait_ms); /* another thread looks */
    }
    return kw_near_place_is_alive(tracker->near, &tracking->read->place);
}

bool kw_tracker_end(kw_tracker *tracker, kw_tracking *tracking, kw_tracked *found,
                    uint64_t deadline_ns, uint64_t extra_ms)
{
    bool is_read =
        kw_track_pair_await(tracking->pair, tracking->read, until_of(tracker, deadline_ns));
    return take_read(tracker, tracking, found, is_read, extra_ms);
}

bool kw_tracker_read(kw_tracker *tracker, kw_tracked *found, kw_bytes key, uint64_t deadline_ns,
                     uint64_t extra_ms)
{
    kw_tracking tracking;
    found->value = NULL;
    return kw_tracker_begin(tracker, &tracking, key, key) &&
           kw_tracker_end(tracker, &tracking, found, deadline_ns, extra_ms);
}

kw_tracker_figures kw_tracker_look(kw_tracker *tracker, uint64_t now_ns)
{
    kw_tracker_figures figures = {0, 0};
    size_t pairs_n = pairs_n_of(tracker);
    for (size_t i = 0; i < pairs_n; i++) {
        if (!atomic_load(&tracker->pairs[i].is_ready) || !atomic_load(&tracker->pairs[i].is_on)) {
            continue;
        }
        uint64_t proof_ns = atomic_load(&tracker->near->pairs[i].proof_ns);
        uint64_t age_ms = (now_ns - proof_ns) / KW_NS_PER_MS;
        figures.pairs_n++;
        if (proof_ns > 0 && proof_ns < now_ns && age_ms > figures.proof_age_ms) {
            figures.proof_age_ms = age_ms;
        }
    }
    return figures;
}
