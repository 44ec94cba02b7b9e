/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/blocking_wait.h"

#include "drive/driver.h"
#include "base/error.h"

/* A blocking command may be silent for long; the map is looked at again at growing
 * intervals, at most this. */
#define BLOCKED_CHECK_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

/* A thread that waits for a late answer looks after the map this often. */
#define SLICE_NS (10 * KW_NS_PER_MS)

/* While one thread dials a failing node, the others wait for it this long before they look
 * elsewhere. */
#define PROBE_WAIT_NS (50 * KW_NS_PER_MS)

void kw_blocking_wait_init(kw_blocking_wait *self, kw_topology *topology, const kw_plan *plan,
                           kw_op *op)
{
    self->topology = topology;
    self->plan = plan;
    self->op = op;
    self->now_ns = plan->start_ns;
    self->failure.size = sizeof(self->failure);
    self->failure.code = KW_OK;
    self->failure.text[0] = '\0';
    self->failure.node[0] = '\0';
    self->sent_ns = plan->start_ns;
    self->fetch = 0;
    self->changes_n = 0;
}

/* Until when to wait without a look at the map. */
static uint64_t patient_until_ns(const kw_blocking_wait *self)
{
    uint64_t deadline_ns = self->plan->deadline_ns;
    uint64_t stall_ns = self->sent_ns + self->topology->env.options.stall_ms * KW_NS_PER_MS;
    return kw_driver_has_map(self->topology) && stall_ns < deadline_ns ? stall_ns : deadline_ns;
}

kw_err kw_blocking_wait_acquire(kw_blocking_wait *self, kw_node *node, kw_conn **conn,
                                uint64_t *retry_ns, kw_acquire_options *options)
{
    self->sent_ns = self->now_ns;
    options->now_ns = self->now_ns;
    options->deadline_ns = patient_until_ns(self);
    *retry_ns = self->now_ns;
    kw_err code = kw_node_acquire(node, conn, &self->failure, retry_ns, options);
    if (code != KW_OK) {
        self->now_ns = kw_env_now(&self->topology->env);
    }
    return code;
}

/* One answer that is late. */
typedef struct patience {
    uint64_t until_ns;    /* of the wait */
    uint64_t interval_ns; /* between two looks at the map */
    uint64_t lost_ns;     /* when the owner was first seen to be another; 0: it is not */
} patience;

static uint64_t sooner(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* True where waiting on is no use. */
static bool is_hopeless(kw_blocking_wait *self, patience *late, const kw_node *node)
{
    if (!kw_driver_has_lost_owner(self->topology, self->plan, self->op, node)) {
        return false;
    }
    const kw_options *options = &self->topology->env.options;
    uint64_t grace_ns = options->grace_ms * KW_NS_PER_MS;
    late->lost_ns = late->lost_ns != 0 ? late->lost_ns : self->now_ns;
    return self->now_ns - self->sent_ns >= options->stall_ms * KW_NS_PER_MS + grace_ns ||
           self->now_ns - late->lost_ns >= grace_ns;
}

static kw_err check_owner(kw_blocking_wait *self, patience *late, const kw_node *node)
{
    if (!is_hopeless(self, late, node)) {
        return KW_OK;
    }
    return kw_error_set(&self->failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                        "no answer, and the slot belongs to another node now");
}

/* Waits for bytes on the socket, or for news of the map. */
static kw_err wait_for_news(kw_blocking_wait *self, patience *late, const kw_conn *conn)
{
    kw_refresher *refresher = &self->topology->refresher;
    struct pollfd sockets[2] = {{conn->socket, kw_conn_events(conn), 0}};
    kw_refresher_goal goal = {
        .until_ns = self->now_ns + late->interval_ns, .sockets = sockets, .sockets_n = 1};
    if (late->lost_ns != 0) {
        goal.until_ns = late->lost_ns + self->topology->env.options.grace_ms * KW_NS_PER_MS;
    } else {
        goal.wakes_on_map = true;
        goal.changes_n = kw_refresher_changes_n(refresher);
        (void)kw_refresher_want(refresher);
    }
    if (self->plan->is_blocking) {
        late->interval_ns *= 2;
        if (late->interval_ns > BLOCKED_CHECK_MAX_NS) {
            late->interval_ns = BLOCKED_CHECK_MAX_NS;
        }
    }
    goal.until_ns = sooner(goal.until_ns, late->until_ns);
    kw_err code = kw_refresher_wait(refresher, &self->failure, &goal);
    return code == KW_ERR_CANCELLED ? code : KW_OK;
}

static kw_err wait_stalled(kw_blocking_wait *self, kw_conn *conn, const kw_node *node,
                           const kw_request *request, uint64_t until_ns)
{
    uint64_t stall_ns = self->topology->env.options.stall_ms * KW_NS_PER_MS;
    patience late = {until_ns, stall_ns, 0};
    while (!request->is_done) {
        self->now_ns = kw_env_now(&self->topology->env);
        if (self->now_ns >= until_ns) {
            return KW_ERR_TIMEOUT;
        }
        kw_err code = kw_conn_check_overdue(conn, &self->failure, self->now_ns);
        code = code == KW_OK ? check_owner(self, &late, node) : code;
        code = code == KW_OK ? wait_for_news(self, &late, conn) : code;
        code = code == KW_OK ? kw_conn_progress(conn, &self->failure, POLLIN) : code;
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

kw_err kw_blocking_wait_reply(kw_blocking_wait *self, kw_conn *conn, const kw_node *node,
                              kw_request *request)
{
    uint64_t until_ns = self->plan->deadline_ns;
    uint64_t patient_ns = sooner(until_ns, patient_until_ns(self));
    kw_err code = kw_conn_wait(conn, &self->failure, request, self->now_ns, patient_ns);
    if (code == KW_ERR_TIMEOUT && patient_ns < until_ns) {
        code = wait_stalled(self, conn, node, request, until_ns);
    }
    return code;
}

/* Waits on the lane in slices, and goes on with a fetch of the map in between. */
static kw_err wait_stalled_on_lane(kw_blocking_wait *self, kw_node *node, kw_lane_waiter *waiter,
                                   uint64_t until_ns)
{
    uint64_t stall_ns = self->topology->env.options.stall_ms * KW_NS_PER_MS;
    patience late = {until_ns, stall_ns, 0};
    uint64_t want_ns = self->now_ns;
    kw_err code = KW_ERR_TIMEOUT;
    while (code == KW_ERR_TIMEOUT && self->now_ns < until_ns) {
        if (is_hopeless(self, &late, node)) {
            return KW_ERR_CLOSED;
        }
        if (self->now_ns >= want_ns) {
            want_ns = self->now_ns + stall_ns;
            (void)kw_refresher_want(&self->topology->refresher);
        }
        kw_refresher_poke(&self->topology->refresher, self->now_ns);
        code = kw_lane_wait(&node->lane, waiter, &self->now_ns,
                            sooner(until_ns, self->now_ns + SLICE_NS));
    }
    return code;
}

kw_err kw_blocking_wait_lane(kw_blocking_wait *self, kw_node *node, kw_lane_waiter *waiter)
{
    uint64_t until_ns = self->plan->deadline_ns;
    uint64_t patient_ns = sooner(until_ns, patient_until_ns(self));
    if (waiter->is_opening && kw_node_is_failing(node)) {
        patient_ns = sooner(patient_ns, self->now_ns + PROBE_WAIT_NS);
        kw_err code = kw_lane_wait(&node->lane, waiter, &self->now_ns, patient_ns);
        return code == KW_ERR_TIMEOUT ? KW_ERR_CONNECT : code;
    }
    kw_err code = kw_lane_wait(&node->lane, waiter, &self->now_ns, patient_ns);
    if (code == KW_ERR_TIMEOUT && patient_ns < until_ns) {
        code = wait_stalled_on_lane(self, node, waiter, until_ns);
    }
    return code;
}

static kw_step do_refresh(kw_blocking_wait *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns, .fetch = self->fetch};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->topology->refresher, &failure, &goal);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        self->failure = failure;
    }
    self->now_ns = kw_env_now(&self->topology->env);
    return kw_op_on_refreshed(self->op, self->now_ns, code);
}

static kw_step do_sleep(kw_blocking_wait *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->topology->refresher, &failure, &goal);
    self->now_ns = kw_env_now(&self->topology->env);
    if (code == KW_ERR_CANCELLED) {
        self->failure = failure;
        kw_try_end end = {.code = code};
        return kw_op_on_failed(self->op, self->now_ns, &end);
    }
    return kw_op_on_woke(self->op, self->now_ns);
}

kw_step kw_blocking_wait_step(kw_blocking_wait *self, const kw_step *step)
{
    return step->kind == KW_STEP_REFRESH ? do_refresh(self, step) : do_sleep(self, step);
}
