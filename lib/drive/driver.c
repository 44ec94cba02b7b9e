/* SPDX-License-Identifier: BSD-3-Clause */
/* What all drivers of the op machine share: choosing a node, and telling the op what happened
 * there. */
#include "drive/driver.h"

#include "topology/node_registry.h"
#include "topology/map_publish.h"
#include "topology/lag.h"
#include "topology/server_handover.h"
#include "drive/plan_ring.h"
#include "base/apart.h"
#include "base/error.h"
#include "engine/transaction.h"

#include <stdio.h>

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* What few plans have. */
KW_APART static void note_rare(kw_op_spec *spec, const kw_plan *plan)
{
    spec->is_pinned = plan->kind == KW_PLAN_NODE;
    spec->avoids_primary = plan->read == KW_READ_OF_REPLICA;
    spec->has_bound = spec->has_bound || plan->has_after;
    spec->has_text = plan->script != NULL;
    spec->is_script = plan->is_script;
    spec->fails_fast = plan->fails_fast;
    spec->suspect_ns = plan->is_blocking ? UINT64_MAX : spec->suspect_ns;
}

void kw_driver_spec(const kw_topology *topology, kw_op_spec *spec, const kw_plan *plan)
{
    static const kw_op_spec none;
    const kw_options *options = &topology->env.options;
    *spec = none;
    spec->deadline_ns = plan->deadline_ns;
    spec->redirects_max = (unsigned)options->redirects_max;
    spec->has_map = kw_driver_has_map(topology);
    spec->has_redirects = kw_driver_has_slots(topology);
    spec->has_slot = plan->kind == KW_PLAN_SLOT;
    spec->is_repeatable = plan->is_repeatable;
    spec->has_bound = options->max_staleness_ms > 0;
    spec->slot = plan->slot;
    spec->suspect_ns = plan->start_ns + options->stall_ms * KW_NS_PER_MS;
    if (plan->kind == KW_PLAN_NODE || plan->read != KW_READ_OF_PRIMARY || plan->script != NULL ||
        plan->is_script || plan->fails_fast || plan->is_blocking || plan->has_after) {
        note_rare(spec, plan);
    }
}

/* On a ring only a group's node can be replaced while a call waits. */
static void note_group(kw_op *op, const kw_node *node)
{
    if (node != NULL && node->env->options.scheme == KW_SCHEME_RING) {
        op->spec.has_map = kw_node_is_of_group(node);
    }
}

void kw_driver_note_node(kw_op *op, const kw_plan *plan, const kw_node *node)
{
    op->is_at_replica = plan->read != KW_READ_OF_PRIMARY && plan->node == NULL && node != NULL &&
                        (atomic_load(&node->role) == KW_CONN_REPLICA ||
                         atomic_load(&node->role) == KW_CONN_GROUP_REPLICA);
    note_group(op, node);
}

/* Why there is no node on a ring, for kw_driver_on_unserved. */
static void tell_obstacle(const kw_snapshot *snapshot, const kw_plan *plan, kw_op *op)
{
    uint16_t shard = KW_MAP_NO_SHARD;
    if (plan->kind == KW_PLAN_POSITION) {
        shard = kw_map_shard_at_position(snapshot->map, plan->position);
    }
    op->obstacle = plan->kind == KW_PLAN_NODE ||
                           (shard != KW_MAP_NO_SHARD && kw_map_is_down(snapshot->map, shard))
                       ? KW_ERR_CONNECT
                       : KW_ERR_NOT_SERVED;
    if (kw_plan_is_of_other_snapshot(plan, snapshot)) {
        op->obstacle = KW_ERR_CROSSSLOT;
    }
    kw_ring_positions *positions = kw_plan_positions(plan);
    for (size_t i = 0; positions != NULL && i < positions->n; i++) {
        if (kw_map_shard_at_position(snapshot->map, positions->at[i]) != shard) {
            positions->is_stale_split = true;
            op->obstacle = KW_ERR_CROSSSLOT;
        }
    }
}

/* The code of a call that does not wait for a node that is down. */
static kw_err code_of_down(kw_node *node)
{
    kw_error failure = kw_error_none();
    kw_err code = kw_node_last_failure(node, &failure);
    bool is_refused = kw_node_faults_read(&node->faults).kind == KW_FAULT_REFUSED;
    return is_refused && code != KW_OK ? code : KW_ERR_CONNECT;
}

/* True where the command may go to the node, which may be down. */
static bool is_admitted(kw_topology *topology, const kw_plan *plan, kw_op *op, kw_node *node)
{
    bool is_told = plan->is_internal && plan->kind == KW_PLAN_NODE;
    if (!kw_node_faults_is_down(&node->faults) || is_told) {
        return true;
    }
    uint64_t until_ns;
    uint64_t now_ns = kw_env_now(&topology->env);
    kw_admission admission = kw_failure_watch_admit(topology, node, now_ns, &until_ns);
    op->is_down = admission == KW_ADMITTED_NOT;
    op->soon_ns = admission == KW_ADMITTED_SOON ? until_ns : 0;
    op->obstacle = op->is_down ? code_of_down(node) : op->obstacle;
    return admission == KW_ADMITTED || admission == KW_ADMITTED_AS_PROBE;
}

/* The node by the snapshot, or NULL. A replica that is down leaves the read to the primary. */
static kw_node *choose_by(const kw_snapshot *snapshot, kw_topology *topology, const kw_plan *plan,
                          kw_op *op)
{
    kw_node *node = op->has_left ? kw_driver_look_for_primary(snapshot, plan, &op->random)
                                 : kw_driver_look(snapshot, plan, &op->random);
    if (node == NULL) {
        if (kw_topology_is_ring(topology)) {
            tell_obstacle(snapshot, plan, op);
        }
        return NULL;
    }
    kw_driver_note_node(op, plan, node);
    if (is_admitted(topology, plan, op, node)) {
        return node;
    }
    if (!op->is_at_replica || op->spec.avoids_primary) {
        return NULL;
    }
    node = kw_driver_look_for_primary(snapshot, plan, &op->random);
    if (node != NULL) {
        kw_driver_note_node(op, plan, node);
    }
    return node != NULL && is_admitted(topology, plan, op, node) ? node : NULL;
}

kw_node *kw_driver_choose(kw_topology *topology, const kw_plan *plan, kw_op *op,
                          const kw_step *step)
{
    op->is_at_replica = false;
    op->is_down = false;
    op->soon_ns = 0;
    if (step->is_redirected) {
        return kw_topology_node(topology, op->target);
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    if (snapshot == NULL) {
        return plan->kind == KW_PLAN_NODE ? kw_node_ref(plan->node) : NULL;
    }
    kw_node *node = choose_by(snapshot, topology, plan, op);
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_snapshot_unref(snapshot);
    return node;
}

kw_step kw_driver_on_mapless(kw_topology *topology, kw_op *op, uint64_t now_ns)
{
    kw_error failure = kw_error_none();
    kw_admission admission = kw_refresher_admit(&topology->refresher, &failure, now_ns);
    return admission == KW_ADMITTED_NOT ? kw_op_on_refused(op, failure.code)
                                        : kw_op_on_mapless(op, now_ns);
}

/* Who is alone gives a map that may name another node no more than this part of its time. */
#define ALONE_PART 4u

/* The node is down. Who has tried it itself waits for the map that it asked for then, and for no
 * other one; so does who is alone. Later calls may find that the node was replaced after all. */
static kw_step on_down(kw_topology *topology, kw_op *op, uint64_t now_ns)
{
    bool has_map = op->spec.has_map;
    bool is_asking = op->fetch > 0 && !kw_refresher_has_ended(&topology->refresher, op->fetch);
    bool is_alone = has_map && kw_failure_watch_is_alone(topology, now_ns) && !is_asking;
    kw_step step = is_asking || is_alone ? kw_op_on_down(op, now_ns, op->obstacle)
                                         : kw_op_on_refused(op, op->obstacle);
    step.wants_refresh = has_map && (step.kind == KW_STEP_FAIL || is_alone);
    if (step.kind == KW_STEP_REFRESH && is_alone) {
        step.until_ns = now_ns + (step.until_ns - now_ns) / ALONE_PART;
        step.wakes_on_map = true;
    }
    return step;
}

/* The replicas that there are may be measured yet, unless that is not allowed. */
static kw_step wait_for_replica(kw_topology *topology, const kw_plan *plan, kw_op *op,
                                uint64_t now_ns)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_node *primary =
        snapshot != NULL ? kw_driver_look_for_primary(snapshot, plan, &op->random) : NULL;
    bool is_refused = primary != NULL && kw_snapshot_refusing(snapshot, primary) != NULL;
    kw_snapshot_unref(snapshot);
    return is_refused ? kw_op_on_refused(op, KW_ERR_AUTH) : kw_op_on_stale(op, now_ns);
}

kw_step kw_driver_on_unserved(kw_topology *topology, const kw_plan *plan, kw_op *op,
                              uint64_t now_ns)
{
    if (plan->kind == KW_PLAN_NODE && !kw_topology_is_ring(topology)) {
        return kw_op_on_refused(op, KW_ERR_CONNECT); /* it has left the map */
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    bool has_map = snapshot != NULL;
    kw_snapshot_unref(snapshot);
    if (op->is_down && kw_server_handover_end(topology, NULL)) {
        return kw_op_on_suspect(op, now_ns, now_ns); /* at the server that was named first */
    }
    if (op->is_down) {
        return on_down(topology, op, now_ns);
    }
    if (op->soon_ns > 0) {
        return kw_op_on_suspect(op, now_ns, op->soon_ns);
    }
    if (has_map && op->spec.avoids_primary && op->spec.has_bound) {
        return wait_for_replica(topology, plan, op, now_ns);
    }
    if (kw_topology_is_ring(topology)) {
        return kw_op_on_refused(op, op->obstacle);
    }
    if (has_map) {
        return kw_op_on_unserved(op, now_ns);
    }
    return kw_driver_on_mapless(topology, op, now_ns);
}

static bool is_of_reach(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_RESOLVE || code == KW_ERR_HANDSHAKE;
}

/* The node cannot be reached, and the command is about to wait for it. */
static kw_step wait_for_node(kw_topology *topology, kw_op *op, kw_node *node, kw_step step)
{
    uint64_t now_ns = kw_env_now(&topology->env);
    if (op->spec.fails_fast) {
        return kw_op_on_refused(op, op->obstacle);
    }
    if (kw_failure_watch_check(topology, node, now_ns, &step.until_ns) == KW_ADMITTED_NOT) {
        return kw_op_on_down(op, now_ns, code_of_down(node));
    }
    return step;
}

/* There is no map, and the command is about to wait for one. */
static kw_step wait_for_map(kw_topology *topology, kw_op *op, kw_step step)
{
    kw_error failure = kw_error_none();
    uint64_t now_ns = kw_env_now(&topology->env);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    bool is_hopeless = snapshot == NULL && kw_refresher_admit(&topology->refresher, &failure,
                                                              now_ns) == KW_ADMITTED_NOT;
    kw_snapshot_unref(snapshot);
    return is_hopeless ? kw_op_on_refused(op, failure.code) : step;
}

bool kw_driver_is_nameless(kw_topology *topology, kw_err obstacle)
{
    bool is_asked_for =
        obstacle == KW_ERR_ROLE || obstacle == KW_ERR_READONLY || is_of_reach(obstacle);
    kw_error failure = kw_error_none();
    return topology->env.options.scheme == KW_SCHEME_SENTINEL && is_asked_for &&
           kw_refresher_admit(&topology->refresher, &failure, kw_env_now(&topology->env)) ==
               KW_ADMITTED_NOT &&
           failure.code == KW_ERR_NO_SERVICE;
}

kw_step kw_driver_temper(kw_topology *topology, kw_op *op, kw_node *node, kw_step step)
{
    if (step.kind == KW_STEP_SLEEP && kw_driver_is_nameless(topology, op->obstacle)) {
        return kw_op_on_refused(op, KW_ERR_NO_SERVICE);
    }
    if (step.kind == KW_STEP_SLEEP && node == NULL && kw_env_has_fetch(&topology->env)) {
        return wait_for_map(topology, op, step);
    }
    bool is_told = op->soon_ns > 0; /* a probe is about to be answered: that is waited for */
    bool is_wait = step.kind == KW_STEP_SLEEP && is_of_reach(op->obstacle) && !is_told;
    bool has_place = node != NULL && !kw_node_is_retired(node); /* else it has left the map */
    return is_wait && has_place ? wait_for_node(topology, op, node, step) : step;
}

/* False where the settings do not let a redirect lead there: the map is not made to. */
static bool is_allowed(const kw_topology *topology, const kw_endpoint *target)
{
    const kw_options *options = &topology->env.options;
    return kw_node_rules_allow(options->nodes_allowed, options->nodes_allowed_n, target);
}

/* Asks for a map, and notes in the op what it may wait for: what comes of the first failure of its
 * own, and not of each that follows. */
static void want_map(kw_topology *topology, kw_op *op, const kw_step *step)
{
    uint64_t fetch = kw_refresher_want(&topology->refresher);
    bool is_first = step->kind == KW_STEP_SLEEP && op->fetch == 0;
    if (is_first || step->kind == KW_STEP_REFRESH) {
        op->fetch = fetch;
    }
}

void kw_driver_heed_more(kw_topology *topology, kw_op *op, const kw_step *step)
{
    /* Commands that end with their handle ask no server: in a forked child all that
     * there are are the parent's. */
    bool is_closing = atomic_load_explicit(&topology->env.is_closing, memory_order_relaxed);
    if (kw_topology_is_watching(topology) && !is_closing) {
        kw_failure_watch_tend(topology, kw_env_now(&topology->env));
    }
    if (atomic_load_explicit(&topology->env.lag_ns, memory_order_relaxed) != UINT64_MAX &&
        !is_closing) {
        kw_lag_tend(topology, kw_env_now(&topology->env));
    }
    if (step->is_patch && is_allowed(topology, op->target)) {
        kw_topology_patch(topology, op->spec.slot, op->target);
    }
    if (step->wants_refresh && kw_driver_has_map(topology)) {
        want_map(topology, op, step);
    }
}

void kw_driver_heed_readonly(kw_topology *topology, kw_node *node, const kw_reply *reply)
{
    bool is_watched =
        topology->env.options.scheme == KW_SCHEME_SENTINEL || kw_node_is_of_group(node);
    if (!is_watched || !kw_reply_is_error(reply)) {
        return;
    }
    kw_bytes text = kw_reply_bytes(reply);
    (void)kw_transaction_cause(&text);
    if (kw_bytes_starts(text, "READONLY ") || kw_bytes_starts(text, "REDIRECT ")) {
        (void)kw_node_on_readonly(node, kw_env_now(&topology->env));
        (void)kw_refresher_want(&topology->refresher);
    }
}

/* A MOVED that nobody follows is the caller's to read: it says what the server is. */
static void add_cluster_hint(kw_topology *topology, const kw_node *node, kw_reply *reply)
{
    char text[400];
    char place[KW_ENDPOINT_TEXT];
    kw_bytes said = kw_reply_bytes(reply);
    int len = snprintf(text, sizeof(text),
                       "%.*s (%s is a cluster's node%s; open the cluster with redis-cluster://%s)",
                       (int)(said.len < 120 ? said.len : 120), said.data, node->name,
                       kw_topology_is_ring(topology) ? ", and no member of a ring" : "",
                       kw_endpoint_text(place, &node->endpoint));
    kw_bytes hint = {text, len > 0 && (size_t)len < sizeof(text) ? (size_t)len : 0};
    if (hint.len > 0) {
        (void)kw_reply_make_error(reply, hint); /* without memory it stays as it was */
    }
}

/* The reply is not the caller's: the server's words are the failure. */
static void keep_words(const kw_driver_answer *answer)
{
    char shown[200];
    kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(answer->request->reply));
    kw_error_set(answer->failure, KW_OK, KW_EFFECT_NONE, "the server says: %s", shown);
    kw_reply_free(answer->request->reply);
    answer->request->reply = NULL;
}

/* A place for the node that a redirect names, which few commands need. */
static void need_target(kw_topology *topology, kw_op *op, kw_verdict_kind kind)
{
    if (kw_verdict_is_redirect(kind) && op->target == NULL) {
        op->target = kw_mem_calloc(&topology->env.mem, 1, sizeof(*op->target));
    }
}

kw_step kw_driver_on_reply(kw_topology *topology, const kw_plan *plan, kw_op *op,
                           const kw_driver_answer *answer)
{
    kw_node *node = answer->node;
    kw_reply *reply = answer->request->reply;
    uint64_t now_ns = answer->now_ns;
    kw_node_well(node);
    if (plan->read == KW_READ_OF_NEAREST && op->sends_n == 1) {
        kw_node_on_latency(node, now_ns - plan->start_ns);
    }
    if (!kw_reply_is(reply, KW_REPLY_ERROR)) {
        kw_step done = {.kind = KW_STEP_DONE}; /* as the op says of every FINAL verdict */
        return done;
    }
    bool is_at_replica = op->is_at_replica;
    kw_bytes said = kw_reply_bytes(reply);
    bool is_cause = plan->is_transaction && kw_transaction_cause(&said);
    kw_verdict verdict = kw_verdict_of(said, plan->is_script && !is_cause);
    note_group(op, node);
    op->awaits_primary = verdict.kind == KW_VERDICT_READONLY && !kw_env_has_fetch(&topology->env) &&
                         !op->is_at_replica && kw_node_on_readonly(node, now_ns);
    need_target(topology, op, verdict.kind);
    kw_step step = kw_op_on_reply(op, now_ns, &verdict, &node->endpoint);
    bool is_stray = verdict.kind == KW_VERDICT_MOVED && step.kind == KW_STEP_DONE;
    if (is_stray && plan->kind != KW_PLAN_NODE) {
        add_cluster_hint(topology, node, reply);
    }
    kw_driver_heed_readonly(topology, node, reply);
    if (step.kind == KW_STEP_DONE) {
        return step;
    }
    if (verdict.kind == KW_VERDICT_REDIRECT && !verdict.is_unknown && op->target != NULL) {
        kw_server_handover_follow(topology, op->target);
    }
    if (verdict.kind == KW_VERDICT_NO_SCRIPT) {
        kw_script_run_missed(plan->script);
    }
    if (verdict.kind == KW_VERDICT_UNBLOCKED) {
        kw_node_renew(node); /* its server closes the connection behind it */
    }
    keep_words(answer);
    kw_driver_count_verdict(topology, node, verdict.kind);
    if (is_at_replica && verdict.kind != KW_VERDICT_NO_SCRIPT) {
        kw_node_avoid(node, now_ns);
    }
    return step;
}

kw_step kw_driver_on_refreshed(kw_topology *topology, kw_op *op, uint64_t now_ns, kw_err code)
{
    if (code != KW_OK && code != KW_ERR_TIMEOUT &&
        kw_refresher_is_incompatible(&topology->refresher)) {
        return kw_op_on_refused(op, code);
    }
    return kw_op_on_refreshed(op, now_ns, code);
}

kw_step kw_driver_on_failed(kw_topology *topology, kw_op *op, kw_node *node, uint64_t now_ns,
                            const kw_try_end *end)
{
    kw_try_end told = *end;
    if (node != NULL && end->code == KW_ERR_HANDSHAKE && kw_node_is_incompatible(node)) {
        kw_op_on_incompatible(op);
    }
    bool is_late = end->code == KW_ERR_TIMEOUT && end->has_left;
    if (atomic_load_explicit(&topology->env.is_closing, memory_order_relaxed)) {
        told.code = KW_ERR_CANCELLED;
        return kw_op_on_failed(op, now_ns, &told);
    }
    if (node != NULL && (is_of_reach(end->code) || kw_node_faults_is_down(&node->faults))) {
        kw_server_handover_end(topology, node);
    }
    bool is_slow = is_late && op->spec.suspect_ns != UINT64_MAX;
    if (node != NULL && end->has_left && (end->code == KW_ERR_CLOSED || is_slow)) {
        kw_node_fault(node, now_ns, is_slow ? KW_FAULT_LATE : KW_FAULT_LOST);
    }
    if (is_late) {
        count(&topology->counters.timeouts);
        kw_node_count(node, KW_NODE_TIMEOUT);
    }
    bool is_lost = node != NULL && end->was_ready && end->code != KW_ERR_TIMEOUT;
    if (is_lost && op->is_at_replica) {
        kw_node_avoid(node, now_ns);
    }
    kw_step step = kw_op_on_failed(op, now_ns, &told);
    if (is_lost && step.kind != KW_STEP_FAIL) {
        count(&topology->counters.retries);
        kw_node_count(node, KW_NODE_RETRY);
    }
    return step;
}
