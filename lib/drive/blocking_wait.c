/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop of a command that blocks its caller, and its waits: for a connection, a reply, a pause,
 * a map. Calls and sessions share it; they differ in how they send. */
#include "drive/blocking_wait.h"

#include "base/apart.h"
#include "base/error.h"
#include "base/moment.h"
#include "drive/driver.h"
#include "engine/patience.h"

/* A thread that waits for a late answer on a lane looks after the map this often. */
#define LATE_SLICE_NS (10 * KW_NS_PER_MS)

/* While one thread dials a failing node, the others wait for it this long before they look
 * elsewhere. */
#define PROBE_WAIT_NS (50 * KW_NS_PER_MS)

/* To encode a command that is longer takes time that its deadline is to know of. */
#define SHORT_LEN ((size_t)1 << 20)

void kw_blocking_wait_init(kw_blocking_wait *self, kw_topology *topology, const kw_plan *plan,
                           size_t encoded_len)
{
    bool is_later = plan->has_asked || encoded_len > SHORT_LEN;
    self->topology = topology;
    self->plan = plan;
    self->now_ns = is_later ? kw_env_now(&topology->env) : plan->start_ns;
    self->failure.size = sizeof(self->failure);
    self->failure.code = KW_OK;
    self->failure.text[0] = '\0';
    self->failure.node[0] = '\0';
    self->node = NULL;
    self->op.target = NULL;
    self->is_asking = false;
    self->sent_ns = plan->start_ns;
    self->placed_ns = 0;
    self->story = NULL;
    self->changes_n = 0;
}

void kw_blocking_wait_fini(kw_blocking_wait *self)
{
    kw_node_unref(self->node);
    self->node = NULL;
    if (self->op.target != NULL) {
        kw_mem_free(&self->topology->env.mem, self->op.target);
    }
}

bool kw_blocking_wait_choose(kw_blocking_wait *self, kw_step *next, const kw_step *step)
{
    self->changes_n = kw_refresher_changes_n(&self->topology->refresher);
    kw_node *node = kw_driver_choose(self->topology, self->plan, &self->op, step);
    if (node == NULL) {
        *next = kw_driver_on_unserved(self->topology, self->plan, &self->op, self->now_ns);
        return false;
    }
    kw_node_unref(self->node);
    self->node = node;
    self->is_asking = step->is_asking;
    self->sent_ns = self->now_ns;
    return true;
}

void kw_blocking_wait_on_send(kw_blocking_wait *self)
{
    kw_op_on_send(&self->op);
    self->op.spec.deadline_ns = self->plan->deadline_ns; /* it has a connection now */
    if (kw_topology_observer(self->topology) != NULL) {
        self->placed_ns = kw_env_now(&self->topology->env);
    }
}

kw_step kw_blocking_wait_on_reply(kw_blocking_wait *self, kw_request *request)
{
    if (kw_topology_observer(self->topology) != NULL) {
        return kw_blocking_wait_show_reply(self, request);
    }
    kw_driver_answer answer = {self->node, self->now_ns, request, &self->failure};
    return kw_driver_on_reply(self->topology, self->plan, &self->op, &answer);
}

kw_step kw_blocking_wait_on_failed(kw_blocking_wait *self, const kw_try_end *end)
{
    if (kw_topology_observer(self->topology) != NULL) {
        kw_blocking_wait_show_try(self, NULL, end->code);
    }
    kw_try_end told = *end;
    if (kw_env_is_closing(&self->topology->env, self->plan->closing)) {
        told.code = KW_ERR_CANCELLED; /* whatever else there was: nobody waits for another try */
    }
    return kw_driver_on_failed(self->topology, &self->op, self->node, self->now_ns, &told);
}

kw_err kw_blocking_wait_acquire(kw_blocking_wait *self, kw_conn **conn, uint64_t *retry_ns,
                                kw_acquire_options *options)
{
    uint64_t stall_ns = self->topology->env.options.stall_ms * KW_NS_PER_MS;
    uint64_t until_ns = self->op.spec.deadline_ns;
    if (kw_driver_has_map(self->topology)) {
        until_ns = kw_sooner(until_ns, self->now_ns + stall_ns);
    }
    options->now_ns = self->now_ns;
    options->deadline_ns = until_ns;
    options->closing = self->plan->closing;
    *retry_ns = self->now_ns;
    kw_err code = kw_node_acquire(self->node, conn, &self->failure, retry_ns, options);
    self->now_ns = code == KW_OK ? options->now_ns : kw_env_now(&self->topology->env);
    return code;
}

static void start_patience(const kw_blocking_wait *self, kw_patience *patience)
{
    const kw_options *options = &self->topology->env.options;
    kw_patience_rule rule = {.stall_ns = options->stall_ms * KW_NS_PER_MS,
                             .grace_ns = options->grace_ms * KW_NS_PER_MS,
                             .timeout_ns = self->plan->deadline_ns - self->plan->start_ns,
                             .has_others = self->op.is_at_replica,
                             .is_blocking = self->plan->is_blocking};
    kw_patience_init(patience, &rule, self->sent_ns);
}

/* What there is to do about an answer that is not there yet, and until when to wait on.
 * KW_ERR_CLOSED: it is not to be expected any more. */
static kw_err heed_patience(kw_blocking_wait *self, kw_patience *patience, uint64_t *until_ns)
{
    kw_refresher *refresher = &self->topology->refresher;
    bool is_old = kw_refresher_changes_n(refresher) != self->changes_n;
    uint64_t lost_ns =
        is_old ? kw_driver_lost_ns(self->topology, self->plan, self->node, self->is_asking) : 0;
    kw_patience_step step = kw_patience_on_time(patience, self->now_ns, lost_ns);
    *until_ns = kw_sooner(step.until_ns, self->plan->deadline_ns);
    if (step.kind == KW_PATIENCE_GIVE_UP) {
        return kw_error_set(&self->failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "no answer%s",
                            lost_ns != 0 ? ", and the slot belongs to another node now" : "");
    }
    if (step.kind == KW_PATIENCE_LOOK && kw_driver_has_map(self->topology)) {
        (void)kw_refresher_want(refresher);
    }
    return KW_OK;
}

/* Waits for bytes on the socket, or for news of the map, which it fetches meanwhile. *revents: what
 * poll has said of the socket. */
static kw_err wait_for_news(kw_blocking_wait *self, const kw_conn *conn, uint64_t until_ns,
                            short *revents)
{
    kw_refresher *refresher = &self->topology->refresher;
    struct pollfd sockets[1 + KW_FETCH_ASKS_MAX] = {{conn->socket, kw_conn_events(conn), 0}};
    kw_refresher_goal goal = {.until_ns = until_ns, .sockets = sockets, .sockets_n = 1};
    goal.wakes_on_map = true;
    goal.closing = self->plan->closing;
    goal.changes_n = kw_refresher_changes_n(refresher);
    kw_err code = kw_refresher_wait(refresher, &self->failure, &goal);
    *revents = sockets[0].revents;
    return code == KW_ERR_CANCELLED ? code : KW_OK;
}

static kw_err wait_stalled(kw_blocking_wait *self, kw_conn *conn, const kw_request *request,
                           kw_patience *patience)
{
    if (!self->plan->is_blocking) {
        kw_node_doubt(self->node, conn, kw_env_now(&self->topology->env));
    }
    while (!request->is_done) {
        uint64_t until_ns;
        short revents = 0;
        self->now_ns = kw_env_now(&self->topology->env);
        if (self->now_ns >= self->plan->deadline_ns) {
            return KW_ERR_TIMEOUT;
        }
        kw_err code = kw_conn_check_overdue(conn, &self->failure, self->now_ns);
        code = code == KW_OK ? heed_patience(self, patience, &until_ns) : code;
        code = code == KW_OK ? wait_for_news(self, conn, until_ns, &revents) : code;
        code = code == KW_OK ? kw_conn_progress(conn, &self->failure, revents) : code;
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

/* The first wait for an answer, in which nothing else is looked at: most answers come by then. */
static uint64_t first_slice_ns(const kw_blocking_wait *self)
{
    uint64_t part_ns = (self->plan->deadline_ns - self->plan->start_ns) / 8;
    return kw_sooner(self->plan->deadline_ns, self->now_ns + kw_sooner(part_ns, KW_SLICE_NS));
}

/* Waits in the system, in slices, until the answer is late or another map was published. */
static kw_err wait_calmly(kw_blocking_wait *self, kw_conn *conn, kw_request *request,
                          uint64_t until_ns)
{
    kw_err code = KW_ERR_TIMEOUT;
    until_ns = kw_sooner(until_ns, self->plan->deadline_ns);
    while (code == KW_ERR_TIMEOUT && self->now_ns < until_ns &&
           kw_refresher_changes_n(&self->topology->refresher) == self->changes_n) {
        code = kw_conn_wait(conn, &self->failure, request, self->now_ns,
                            kw_sooner(until_ns, self->now_ns + KW_SLICE_NS));
        self->now_ns = kw_env_now(&self->topology->env);
    }
    return code;
}

/* Its first slice is over. */
KW_APART static kw_err wait_longer(kw_blocking_wait *self, kw_conn *conn, kw_request *request)
{
    kw_patience patience;
    start_patience(self, &patience);
    self->now_ns = kw_env_now(&self->topology->env);
    kw_err code = wait_calmly(self, conn, request, kw_patience_next_ns(&patience));
    return code == KW_ERR_TIMEOUT ? wait_stalled(self, conn, request, &patience) : code;
}

kw_err kw_blocking_wait_reply(kw_blocking_wait *self, kw_conn *conn, kw_request *request)
{
    conn->closing = self->plan->closing;
    kw_err code = kw_conn_wait(conn, &self->failure, request, self->now_ns, first_slice_ns(self));
    code = code == KW_ERR_TIMEOUT ? wait_longer(self, conn, request) : code;
    conn->closing = NULL;
    return code;
}

/* Waits on the lane in slices, and goes on with a fetch of the map in between. */
static kw_err wait_in_slices(kw_blocking_wait *self, kw_lane_waiter *waiter)
{
    kw_patience patience;
    start_patience(self, &patience);
    kw_err code = KW_ERR_TIMEOUT;
    while (code == KW_ERR_TIMEOUT && self->now_ns < self->plan->deadline_ns) {
        uint64_t until_ns;
        bool is_late = self->now_ns >= self->sent_ns + patience.stall_ns;
        if (heed_patience(self, &patience, &until_ns) != KW_OK) {
            return KW_ERR_CLOSED;
        }
        if (is_late) {
            kw_refresher_poke(&self->topology->refresher, self->now_ns);
        }
        uint64_t slice_ns = self->now_ns + (is_late ? LATE_SLICE_NS : KW_SLICE_NS);
        code =
            kw_lane_wait(&self->node->lane, waiter, &self->now_ns, kw_sooner(until_ns, slice_ns));
    }
    return code;
}

kw_err kw_blocking_wait_lane(kw_blocking_wait *self, kw_lane_waiter *waiter)
{
    bool is_probing = waiter->is_opening && kw_node_is_failing(self->node);
    uint64_t until_ns = is_probing
                            ? kw_sooner(self->plan->deadline_ns, self->now_ns + PROBE_WAIT_NS)
                            : first_slice_ns(self);
    kw_err code = kw_lane_wait(&self->node->lane, waiter, &self->now_ns, until_ns);
    if (code != KW_ERR_TIMEOUT) {
        return code;
    }
    /* Else it was greeted, or is on a connection: one that was open already, though a dial failed.
     */
    bool is_in_vain = is_probing && kw_node_is_failing(self->node) &&
                      kw_lane_is_opening_for(&self->node->lane, waiter);
    return is_in_vain ? KW_ERR_CONNECT : wait_in_slices(self, waiter);
}

KW_APART static kw_step do_refresh(kw_blocking_wait *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns, .fetch = self->op.fetch};
    goal.closing = self->plan->closing;
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = kw_error_none();
    kw_err code = kw_refresher_wait(&self->topology->refresher, &failure, &goal);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        self->failure = failure;
    }
    self->now_ns = kw_env_now(&self->topology->env);
    return kw_driver_on_refreshed(self->topology, &self->op, self->now_ns, code);
}

KW_APART static kw_step do_sleep(kw_blocking_wait *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns, .closing = self->plan->closing};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = kw_error_none();
    kw_err code = kw_refresher_wait(&self->topology->refresher, &failure, &goal);
    self->now_ns = kw_env_now(&self->topology->env);
    if (code == KW_ERR_CANCELLED) {
        kw_try_end end = {.code = code};
        self->failure = failure;
        return kw_op_on_failed(&self->op, self->now_ns, &end);
    }
    return kw_op_on_woke(&self->op, self->now_ns);
}

kw_step kw_blocking_wait_run(kw_blocking_wait *self, kw_blocking_send_fn send, void *arg,
                             bool is_repeatable)
{
    if (kw_topology_is_watching(self->topology)) {
        kw_failure_watch_help(self->topology, self->plan->deadline_ns);
    }
    kw_op_spec *spec = &self->op.spec;
    kw_driver_spec(self->topology, spec, self->plan);
    spec->is_repeatable = is_repeatable;
    spec->deadline_ns = kw_plan_place_ns(self->plan);
    kw_step step = kw_op_start(&self->op, spec, self->now_ns ^ (uint64_t)(uintptr_t)self);
    if (self->now_ns >= spec->deadline_ns) { /* all of its time went before there was a try */
        kw_try_end end = {.code = KW_ERR_TIMEOUT};
        step = kw_driver_on_failed(self->topology, &self->op, NULL, self->now_ns, &end);
    }
    while (step.kind != KW_STEP_DONE) {
        if (step.kind == KW_STEP_SLEEP) {
            step = kw_driver_temper(self->topology, &self->op, self->node, step);
        }
        kw_driver_heed(self->topology, &self->op, &step);
        switch (step.kind) {
        case KW_STEP_SEND:
            step = send(arg, &step);
            break;
        case KW_STEP_REFRESH:
            step = do_refresh(self, &step);
            break;
        case KW_STEP_SLEEP:
            step = do_sleep(self, &step);
            break;
        case KW_STEP_FAIL:
        case KW_STEP_DONE:
            kw_blocking_wait_show_end(self, &step);
            return step;
        }
    }
    if (kw_topology_observer(self->topology) != NULL) {
        kw_blocking_wait_show_end(self, &step);
    }
    return step;
}

void kw_blocking_wait_explain(const kw_blocking_wait *self, kw_error *error, const kw_step *step)
{
    kw_driver_story story = {self->plan, step, &self->failure, self->node, self->op.sends_n};
    kw_driver_explain(self->topology, error, &story);
}
