#include "api/flight.h"

#include "api/drive.h"
#include "base/error.h"

void kw_flight_init(kw_flight *self, kw_client *client, const kw_plan *plan, kw_bytes encoded)
{
    kw_waiter waiter = {.request.bytes = encoded, .failure = &self->await.failure};
    kw_await_init(&self->await, client, plan, &self->op);
    self->waiter = waiter;
    self->node = NULL;
    self->conn = NULL;
    self->is_on_lane = false;
    self->was_ready = false;
    self->is_patient = false;
    kw_op_spec spec = kw_drive_spec(client, plan);
    self->step = kw_op_start(&self->op, &spec, plan->start_ns ^ (uint64_t)(uintptr_t)self);
}

static kw_step on_reply(kw_flight *self)
{
    kw_reply *reply = self->waiter.request.reply;
    kw_step step = kw_drive_on_reply(self->await.client, self->await.plan, &self->op, self->node,
                                     self->await.now_ns, reply, &self->await.failure);
    if (step.kind != KW_STEP_DONE) {
        kw_reply_free(reply);
        self->waiter.request.reply = NULL;
    }
    return step;
}

/* How the command left the lane. */
static kw_step on_left_lane(kw_flight *self)
{
    kw_waiter *waiter = &self->waiter;
    uint64_t now_ns = self->await.now_ns;
    switch (waiter->state) {
    case KW_WAITER_ANSWERED:
        return on_reply(self);
    case KW_WAITER_UNREADY:
        if (!waiter->has_left) {
            kw_op_on_unsent(&self->op);
        }
        return kw_op_on_unready(&self->op, now_ns, waiter->code, waiter->has_left);
    case KW_WAITER_BROKEN:
        return kw_drive_on_loss(self->await.client, &self->op, self->node, now_ns, waiter->code,
                                waiter->has_left);
    case KW_WAITER_UNAVAILABLE:
    case KW_WAITER_NEW:
    case KW_WAITER_QUEUED:
    case KW_WAITER_TAKEN:
        break;
    }
    kw_op_on_unsent(&self->op);
    return kw_op_on_unavailable(&self->op, now_ns, waiter->code, waiter->retry_ns);
}

/* The wait on the lane has ended without a result: code says why. */
static kw_step give_up_lane(kw_flight *self, kw_err code)
{
    kw_waiter *waiter = &self->waiter;
    if (kw_lane_abandon(&self->node->lane, waiter, self->await.now_ns)) {
        return on_left_lane(self);
    }
    if (code != KW_ERR_CANCELLED && !waiter->has_left) {
        waiter->retry_ns = self->await.now_ns;
        return on_left_lane(self);
    }
    kw_error_set(&self->await.failure, code, KW_EFFECT_NONE, "no answer%s",
                 code == KW_ERR_CLOSED ? ", and the slot belongs to another node now" : "");
    return kw_drive_on_loss(self->await.client, &self->op, self->node, self->await.now_ns, code,
                            waiter->has_left);
}

/* How the command left its own connection. */
static kw_step on_left_conn(kw_flight *self, kw_err code)
{
    kw_conn *conn = self->conn;
    kw_request *request = &self->waiter.request;
    kw_error *failure = &self->await.failure;
    bool has_left = kw_conn_has_sent(conn, request);
    self->conn = NULL;
    if (!self->was_ready && conn->was_ready) {
        kw_node_on_ready(self->node, conn);
    }
    if (code == KW_OK) {
        kw_node_release(self->node, conn, self->await.now_ns, NULL);
        return on_reply(self);
    }
    bool is_ready = conn->was_ready;
    conn->state = KW_CONN_DEAD;
    if (code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED) {
        /* The caller's time, not the node's fault. */
        kw_error_set(failure, code, KW_EFFECT_NONE, "%s",
                     is_ready || has_left ? "no answer" : "the deadline came while connecting");
    }
    kw_node_release(self->node, conn, self->await.now_ns, is_ready ? NULL : failure);
    kw_reply_free(request->reply); /* answered, and then the stream went wrong */
    request->reply = NULL;
    if (!is_ready && !has_left) {
        kw_op_on_unsent(&self->op);
    }
    if (code == KW_ERR_TIMEOUT && !is_ready && !has_left) {
        return kw_op_on_unavailable(&self->op, self->await.now_ns, KW_ERR_CONNECT,
                                    self->await.now_ns);
    }
    if (!is_ready && code != KW_ERR_TIMEOUT && code != KW_ERR_CANCELLED) {
        /* Refused in its greeting; and only what may run twice goes with one. */
        return kw_op_on_unready(&self->op, self->await.now_ns, code, has_left);
    }
    return kw_drive_on_loss(self->await.client, &self->op, self->node, self->await.now_ns, code,
                            has_left);
}

/* Sends the command on its own connection. */
static kw_step send_alone(kw_flight *self, bool is_asking)
{
    kw_await *await = &self->await;
    kw_conn *conn = self->conn;
    self->was_ready = conn->was_ready;
    conn->is_ours = await->plan->is_ours;
    self->waiter.request.is_shared = false;
    kw_op_on_send(&self->op);
    kw_err code = kw_conn_queue(conn, &await->failure, &self->waiter.request, is_asking);
    code = code == KW_OK ? kw_conn_flush(conn, &await->failure) : code;
    if (code != KW_OK) {
        await->now_ns = kw_env_now(&await->client->env);
        return on_left_conn(self, code);
    }
    return self->step;
}

/* Puts the command on the node's lane. KW_ERR_BUSY: it wants a connection of its own. */
static kw_err send_on_lane(kw_flight *self, bool is_asking, uint64_t until_ns)
{
    kw_await *await = &self->await;
    kw_waiter *waiter = &self->waiter;
    waiter->state = KW_WAITER_NEW;
    waiter->is_asking = is_asking;
    waiter->is_early = await->plan->is_repeatable && !self->is_patient;
    kw_lane *lane = &self->node->lane;
    kw_err code =
        kw_lane_submit(lane, waiter->failure, waiter, await->now_ns, until_ns, !self->is_patient);
    if (code != KW_OK) {
        return code;
    }
    kw_op_on_send(&self->op);
    self->is_on_lane = true;
    if (self->is_patient) {
        (void)kw_lane_wait_sent(lane, waiter, &await->now_ns, until_ns);
    }
    return KW_OK;
}

static bool fits_lane(const kw_flight *self)
{
    const kw_plan *plan = self->await.plan;
    return !plan->is_blocking && !plan->is_ours &&
           self->waiter.request.bytes.len <= KW_LANE_REQUEST_MAX;
}

/* Finds the command a place at its node: on the lane, where it was put already, or on a
 * connection of its own. */
static kw_err find_place(kw_flight *self, uint64_t *retry_ns, bool is_asking, uint64_t until_ns)
{
    kw_await *await = &self->await;
    bool fits = fits_lane(self);
    bool is_crowded = atomic_load_explicit(&self->node->is_crowded, memory_order_relaxed);
    kw_node_wish wish = {.is_early = await->plan->is_repeatable, .may_share = fits};
    kw_err code = KW_ERR_BUSY;
    *retry_ns = await->now_ns;
    if (!fits || (!is_crowded && !self->is_patient)) {
        code = kw_await_acquire(await, self->node, &self->conn, retry_ns, &wish);
    }
    if (code == KW_ERR_BUSY) {
        code = send_on_lane(self, is_asking, until_ns);
    }
    if (code == KW_ERR_BUSY) {
        wish.may_share = false;
        code = kw_await_acquire(await, self->node, &self->conn, retry_ns, &wish);
    }
    return code;
}

/* Does a SEND step. What it returns is of interest where the command is not under way. */
static kw_step send_out(kw_flight *self, uint64_t until_ns)
{
    kw_await *await = &self->await;
    bool is_asking = self->step.is_asking;
    await->changes_n = kw_refresher_changes_n(&await->client->refresher);
    kw_node *node = kw_drive_choose(await->client, await->plan, &self->op, &self->step);
    if (node == NULL) {
        return kw_drive_on_unserved(await->client, &self->op, await->now_ns);
    }
    kw_node_unref(self->node);
    self->node = node;
    await->sent_ns = await->now_ns;
    self->waiter.request.is_done = false;
    self->waiter.request.reply = NULL;
    uint64_t retry_ns;
    kw_err code = find_place(self, &retry_ns, is_asking, until_ns);
    if (code != KW_OK) {
        self->conn = NULL;
        await->now_ns = kw_env_now(&await->client->env);
        return kw_op_on_unavailable(&self->op, await->now_ns, code, retry_ns);
    }
    return self->is_on_lane ? self->step : send_alone(self, is_asking);
}

static bool is_under_way(const kw_flight *self)
{
    return self->is_on_lane || self->conn != NULL;
}

/* Waits for the reply; false: until_ns has come first. */
static bool wait_for_reply(kw_flight *self, uint64_t until_ns)
{
    kw_await *await = &self->await;
    kw_err code;
    if (self->is_on_lane) {
        code = kw_await_lane(await, self->node, &self->waiter, until_ns);
    } else {
        code = kw_await_reply(await, self->conn, self->node, &self->waiter.request, until_ns);
    }
    if (code == KW_ERR_TIMEOUT && await->now_ns < await->plan->deadline_ns) {
        return false;
    }
    if (self->is_on_lane) {
        self->is_on_lane = false;
        self->step = code == KW_OK ? on_left_lane(self) : give_up_lane(self, code);
    } else {
        self->step = on_left_conn(self, code);
    }
    return true;
}

/* What a step asks for on the side, once. */
static void heed(kw_flight *self)
{
    uint64_t fetch = kw_drive_heed(self->await.client, &self->op, &self->step);
    self->await.fetch = fetch > 0 ? fetch : self->await.fetch;
}

void kw_flight_launch(kw_flight *self, uint64_t until_ns)
{
    while (self->step.kind == KW_STEP_SEND && !is_under_way(self)) {
        kw_step step = send_out(self, until_ns);
        if (is_under_way(self)) {
            return;
        }
        self->step = step;
        heed(self);
    }
}

bool kw_flight_wait(kw_flight *self, uint64_t until_ns)
{
    while (!kw_flight_has_ended(self)) {
        if (self->step.kind != KW_STEP_SEND) {
            if (!kw_await_step(&self->await, &self->step, until_ns)) {
                return false;
            }
            heed(self);
        } else if (!is_under_way(self)) {
            kw_flight_launch(self, until_ns);
        } else if (wait_for_reply(self, until_ns)) {
            heed(self);
        } else {
            return false;
        }
    }
    return true;
}

kw_reply *kw_flight_take(kw_flight *self, kw_error *error)
{
    if (self->step.kind == KW_STEP_FAIL) {
        kw_drive_story story = {self->await.plan, &self->step, &self->await.failure, self->node,
                                self->op.sends_n};
        kw_drive_explain(self->await.client, error, &story);
        return NULL;
    }
    kw_reply *reply = self->waiter.request.reply;
    self->waiter.request.reply = NULL;
    return reply;
}

void kw_flight_fini(kw_flight *self)
{
    if (self->is_on_lane) {
        (void)kw_lane_abandon(&self->node->lane, &self->waiter, self->await.now_ns);
        self->is_on_lane = false;
    } else if (self->conn != NULL) {
        self->conn->state = KW_CONN_DEAD;
        kw_error given_up = KW_ERROR_INIT;
        kw_error_set(&given_up, KW_ERR_CANCELLED, KW_EFFECT_NONE, "given up");
        bool is_ready = self->conn->was_ready;
        if (is_ready && !self->was_ready) {
            kw_node_on_ready(self->node, self->conn);
        }
        kw_node_release(self->node, self->conn, self->await.now_ns, is_ready ? NULL : &given_up);
        self->conn = NULL;
    }
    kw_reply_free(self->waiter.request.reply);
    self->waiter.request.reply = NULL;
    kw_node_unref(self->node);
    self->node = NULL;
}
