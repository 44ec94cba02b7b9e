/* SPDX-License-Identifier: BSD-3-Clause */
/* How a blocking call sends its command: on the node's lane, or on a connection of its own. */
#include "drive/call.h"

#include "topology/topology_tend.h"
#include "drive/blocking_wait.h"
#include "drive/driver.h"
#include "base/error.h"
#include "net/lane.h"

#include <string.h>

/* One command on its way: on a lane with those of other threads, or on a pooled connection of
 * its own. */
typedef struct call {
    kw_blocking_wait wait;
    kw_lane_waiter waiter; /* its request: the command; all else is of use on a lane only */
    kw_conn *conn;         /* its own; NULL: none */
    bool is_on_lane;
    bool was_ready; /* conn, when it was acquired */
} call;

static kw_step on_reply(call *self)
{
    return kw_blocking_wait_on_reply(&self->wait, &self->waiter.request);
}

/* How the command left the lane. */
static kw_step on_left_lane(call *self)
{
    const kw_lane_waiter *waiter = &self->waiter;
    self->wait.placed_ns = waiter->taken_ns;
    kw_try_end end = {waiter->code, false, false, false, waiter->retry_ns};
    switch (waiter->state) {
    case KW_LANE_WAITER_ANSWERED:
        return on_reply(self);
    case KW_LANE_WAITER_UNREADY:
    case KW_LANE_WAITER_BROKEN:
        end.was_opened = true;
        end.was_ready = waiter->state == KW_LANE_WAITER_BROKEN;
        end.has_left = waiter->has_left;
        break;
    case KW_LANE_WAITER_UNAVAILABLE:
    case KW_LANE_WAITER_NEW:
    case KW_LANE_WAITER_QUEUED:
    case KW_LANE_WAITER_TAKEN:
        break;
    }
    return kw_blocking_wait_on_failed(&self->wait, &end);
}

/* The wait on the lane has ended without a result: code says why. */
static kw_step give_up_lane(call *self, kw_err code)
{
    kw_lane_waiter *waiter = &self->waiter;
    if (kw_lane_abandon(&self->wait.node->lane, waiter, self->wait.now_ns)) {
        return on_left_lane(self);
    }
    if (code != KW_ERR_CANCELLED && !waiter->has_left) {
        waiter->retry_ns = self->wait.now_ns;
        return on_left_lane(self);
    }
    kw_error_set(&self->wait.failure, code, KW_EFFECT_NONE, "%s%s",
                 waiter->silence != NULL ? waiter->silence : "no answer",
                 code == KW_ERR_CLOSED ? ", and the slot belongs to another node now" : "");
    kw_try_end end = {code, true, true, waiter->has_left, 0};
    return kw_blocking_wait_on_failed(&self->wait, &end);
}

/* How the command left its own connection. */
static kw_step on_left_conn(call *self, kw_err code)
{
    kw_conn *conn = self->conn;
    kw_request *request = &self->waiter.request;
    kw_error *failure = &self->wait.failure;
    self->conn = NULL;
    code = kw_conn_end_of(request, code);
    if (!self->was_ready && conn->was_ready) {
        kw_node_on_ready(self->wait.node, conn);
    }
    if (code == KW_OK) {
        kw_node_release(self->wait.node, conn, self->wait.now_ns, NULL);
        return on_reply(self);
    }
    kw_try_end end = {code, true, conn->was_ready, kw_conn_has_sent(conn, request),
                      self->wait.now_ns};
    if (kw_conn_has_half(conn, request)) {
        kw_op_on_half_sent(&self->wait.op);
    }
    conn->state = KW_CONN_DEAD;
    if (code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED) {
        /* The caller's time is over: that is no fault of the node. */
        kw_error_set(failure, code, KW_EFFECT_NONE, "%s",
                     end.was_ready || end.has_left ? kw_conn_silence(conn, request)
                                                   : "the deadline came while connecting");
    }
    kw_node_release(self->wait.node, conn, self->wait.now_ns, end.was_ready ? NULL : failure);
    kw_reply_free(request->reply); /* it came, but bytes behind it make it suspect */
    request->reply = NULL;
    return kw_blocking_wait_on_failed(&self->wait, &end);
}

/* Sends the command on its own connection. */
static kw_step send_alone(call *self, bool is_asking)
{
    kw_blocking_wait *wait = &self->wait;
    kw_conn *conn = self->conn;
    self->was_ready = conn->was_ready;
    conn->is_internal = wait->plan->is_internal;
    self->waiter.request.is_shared = false; /* the lane may have had it before */
    kw_blocking_wait_on_send(wait);
    kw_err code = kw_conn_queue(conn, &wait->failure, &self->waiter.request, is_asking);
    code = code == KW_OK ? kw_conn_flush(conn, &wait->failure) : code;
    if (code == KW_OK) {
        code = kw_blocking_wait_reply(wait, conn, &self->waiter.request);
    }
    wait->now_ns = kw_env_now(&wait->topology->env);
    return on_left_conn(self, code);
}

/* Puts the command on the node's lane. KW_ERR_BUSY: it wants a connection of its own. */
static kw_err submit(call *self, bool is_asking)
{
    kw_blocking_wait *wait = &self->wait;
    kw_lane_waiter *waiter = &self->waiter;
    kw_request request = waiter->request;
    memset(waiter, 0, sizeof(*waiter));
    waiter->request = request;
    waiter->failure = &wait->failure;
    waiter->is_asking = is_asking;
    waiter->closing = wait->plan->closing;
    waiter->is_early = kw_op_is_early(&self->wait.op);
    kw_err code = kw_lane_submit(&self->wait.node->lane, waiter->failure, waiter, wait->now_ns,
                                 wait->plan->deadline_ns);
    self->is_on_lane = code == KW_OK;
    return code;
}

/* The command left the lane unsent, since a long reply is being read there. */
static kw_step go_alone(call *self)
{
    kw_blocking_wait *wait = &self->wait;
    kw_acquire_options options = {.is_early = kw_op_is_early(&wait->op), .may_share = false};
    uint64_t retry_ns = wait->now_ns;
    kw_op_on_unsent(&wait->op);
    self->is_on_lane = false;
    kw_err code = kw_blocking_wait_acquire(wait, &self->conn, &retry_ns, &options);
    if (code != KW_OK) {
        wait->now_ns = kw_env_now(&wait->topology->env);
        kw_try_end end = {code, false, false, false, retry_ns};
        return kw_blocking_wait_on_failed(wait, &end);
    }
    return send_alone(self, self->waiter.is_asking);
}

static kw_step wait_on_lane(call *self)
{
    kw_blocking_wait_on_send(&self->wait);
    kw_err code = kw_blocking_wait_lane(&self->wait, &self->waiter);
    if (code == KW_OK && self->waiter.state == KW_LANE_WAITER_UNAVAILABLE &&
        self->waiter.code == KW_ERR_BUSY) {
        return go_alone(self);
    }
    return code == KW_OK ? on_left_lane(self) : give_up_lane(self, code);
}

static bool fits_lane(const call *self)
{
    const kw_plan *plan = self->wait.plan;
    return !plan->is_blocking && !plan->is_internal &&
           self->waiter.request.bytes.len <= KW_LANE_REQUEST_MAX;
}

/* Finds the command a place at its node: on the lane, where it was put already, or on a
 * connection of its own. */
static kw_err find_place(call *self, uint64_t *retry_ns, bool is_asking)
{
    kw_blocking_wait *wait = &self->wait;
    bool fits = fits_lane(self);
    bool is_crowded = atomic_load_explicit(&self->wait.node->is_crowded, memory_order_relaxed);
    kw_acquire_options options = {.is_early = kw_op_is_early(&self->wait.op), .may_share = fits};
    kw_err code = KW_ERR_BUSY;
    *retry_ns = wait->now_ns;
    if (!fits || !is_crowded) {
        code = kw_blocking_wait_acquire(wait, &self->conn, retry_ns, &options);
    }
    if (code == KW_ERR_BUSY) {
        code = submit(self, is_asking);
    }
    if (code == KW_ERR_BUSY) {
        options.may_share = false;
        code = kw_blocking_wait_acquire(wait, &self->conn, retry_ns, &options);
    }
    return code;
}

static kw_step do_send(void *arg, const kw_step *step)
{
    call *self = arg;
    kw_blocking_wait *wait = &self->wait;
    kw_step next;
    if (!kw_blocking_wait_choose(wait, &next, step)) {
        return next;
    }
    if (wait->plan->script != NULL) {
        wait->plan->script->choose(wait->plan->script, wait->node, &self->waiter.request.bytes,
                                   NULL);
    }
    self->is_on_lane = false;
    self->waiter.request.is_done = false;
    self->waiter.request.reply = NULL;
    uint64_t retry_ns;
    kw_err code = find_place(self, &retry_ns, step->is_asking);
    if (code != KW_OK) {
        wait->now_ns = kw_env_now(&wait->topology->env);
        kw_try_end end = {code, false, false, false, retry_ns};
        return kw_blocking_wait_on_failed(wait, &end);
    }
    return self->is_on_lane ? wait_on_lane(self) : send_alone(self, step->is_asking);
}

kw_reply *kw_call_run(kw_topology *topology, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    call self;
    kw_blocking_wait_init(&self.wait, topology, plan, encoded.len);
    memset(&self.waiter.request, 0, sizeof(self.waiter.request));
    self.waiter.request.bytes = encoded;
    self.conn = NULL;
    kw_step step = kw_blocking_wait_run(&self.wait, do_send, &self, plan->is_repeatable);
    if (step.kind == KW_STEP_FAIL) {
        kw_blocking_wait_explain(&self.wait, error, &step);
    }
    kw_blocking_wait_fini(&self.wait);
    kw_topology_tend(topology, self.wait.now_ns);
    return step.kind == KW_STEP_DONE ? self.waiter.request.reply : NULL;
}
