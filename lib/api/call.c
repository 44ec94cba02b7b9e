#include "api/call.h"

#include "api/drive.h"
#include "base/error.h"
#include "engine/op.h"

#include <string.h>

/* A blocking command may be silent for long; the map is looked at again at growing
 * intervals, at most this. */
#define BLOCKED_CHECK_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

/* One call on its way. */
typedef struct call {
    kw_client *client;
    const kw_plan *plan;
    kw_op op;
    kw_request request;
    kw_node *node; /* the last one sent to: a reference */
    uint64_t now_ns;
    kw_error failure;   /* what stood in the way last */
    uint64_t fetch;     /* the refresh that the op asked for; 0: none */
    uint64_t changes_n; /* maps published when the node was chosen */
} call;

static void set_node(call *self, kw_node *node)
{
    kw_node_unref(self->node);
    self->node = node;
}

/* The answer is late: waits on, asks for a new map now and then, and gives the
 * connection up once the map says that another node owns the slot. */
static kw_err wait_stalled(call *self, kw_conn *conn, uint64_t sent_ns)
{
    const kw_options *options = &self->client->env.options;
    uint64_t interval_ns = options->stall_ms * KW_NS_PER_MS;
    uint64_t lost_ns = 0; /* when the owner was first seen to be another */
    kw_refresher *refresher = &self->client->refresher;
    while (!self->request.is_done) {
        self->now_ns = kw_env_now(&self->client->env);
        if (self->now_ns >= self->plan->deadline_ns) {
            return KW_ERR_TIMEOUT;
        }
        kw_err code = kw_conn_check_overdue(conn, &self->failure, self->now_ns);
        if (code != KW_OK) {
            return code;
        }
        if (kw_drive_has_lost_owner(self->client, self->plan, &self->op, self->node)) {
            lost_ns = lost_ns != 0 ? lost_ns : self->now_ns;
            uint64_t age_ns = self->now_ns - sent_ns;
            uint64_t grace_ns = options->grace_ms * KW_NS_PER_MS;
            if (age_ns >= options->stall_ms * KW_NS_PER_MS + grace_ns ||
                self->now_ns - lost_ns >= grace_ns) {
                return kw_error_set(&self->failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                                    "no answer, and the slot belongs to another node now");
            }
        }
        struct pollfd sockets[2] = {{conn->socket, kw_conn_events(conn), 0}};
        kw_refresher_goal goal = {
            .until_ns = self->now_ns + interval_ns, .sockets = sockets, .sockets_n = 1};
        if (lost_ns != 0) {
            goal.until_ns = lost_ns + options->grace_ms * KW_NS_PER_MS;
        } else {
            goal.wakes_on_map = true;
            goal.changes_n = kw_refresher_changes_n(refresher);
            (void)kw_refresher_want(refresher);
        }
        if (self->plan->is_blocking) {
            interval_ns *= 2;
            interval_ns = interval_ns < BLOCKED_CHECK_MAX_NS ? interval_ns : BLOCKED_CHECK_MAX_NS;
        }
        if (goal.until_ns > self->plan->deadline_ns) {
            goal.until_ns = self->plan->deadline_ns;
        }
        code = kw_refresher_wait(refresher, &self->failure, &goal);
        if (code == KW_ERR_CANCELLED) {
            return code;
        }
        code = kw_conn_progress(conn, &self->failure, POLLIN);
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

static kw_err wait_for_reply(call *self, kw_conn *conn)
{
    uint64_t sent_ns = self->now_ns;
    uint64_t until_ns = self->plan->deadline_ns;
    if (kw_drive_has_map(self->client)) {
        uint64_t stall_ns = sent_ns + self->client->env.options.stall_ms * KW_NS_PER_MS;
        until_ns = stall_ns < until_ns ? stall_ns : until_ns;
    }
    kw_err code = kw_conn_wait(conn, &self->failure, &self->request, sent_ns, until_ns);
    if (code == KW_ERR_TIMEOUT && until_ns < self->plan->deadline_ns) {
        code = wait_stalled(self, conn, sent_ns);
    }
    return code;
}

static kw_step on_reply(call *self)
{
    kw_step step = kw_drive_on_reply(self->client, self->plan, &self->op, self->node, self->now_ns,
                                     self->request.reply, &self->failure);
    if (step.kind != KW_STEP_DONE) {
        kw_reply_free(self->request.reply);
        self->request.reply = NULL;
    }
    return step;
}

/* The call's own connection to node carries the command. */
static kw_step send_on(call *self, kw_conn *conn, bool is_asking)
{
    kw_client *client = self->client;
    bool was_ready = conn->was_ready;
    self->request.is_done = false;
    self->request.reply = NULL;
    kw_op_on_send(&self->op);
    kw_err code = kw_conn_queue(conn, &self->failure, &self->request, is_asking);
    if (code == KW_OK) {
        code = kw_conn_flush(conn, &self->failure);
    }
    if (code == KW_OK) {
        code = wait_for_reply(self, conn);
    }
    self->now_ns = kw_env_now(&client->env);
    bool has_left = kw_conn_has_sent(conn, &self->request);
    if (!was_ready && conn->was_ready) {
        kw_node_on_ready(self->node, conn);
    }
    if (code == KW_OK) {
        kw_node_release(self->node, conn, self->now_ns, NULL);
        return on_reply(self);
    }
    bool is_ready = conn->was_ready;
    conn->state = KW_CONN_DEAD;
    if (code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED) {
        /* The caller's time, not the node's fault. */
        kw_error_set(&self->failure, code, KW_EFFECT_NONE, "%s",
                     is_ready || has_left ? "no answer" : "the deadline came while connecting");
    }
    kw_node_release(self->node, conn, self->now_ns, is_ready ? NULL : &self->failure);
    kw_reply_free(self->request.reply); /* answered, and then the stream went wrong */
    self->request.reply = NULL;
    if (code == KW_ERR_TIMEOUT && !is_ready && !has_left) {
        return kw_op_on_unavailable(&self->op, self->now_ns, KW_ERR_CONNECT, self->now_ns);
    }
    if (!is_ready && code != KW_ERR_TIMEOUT && code != KW_ERR_CANCELLED) {
        /* Refused in its greeting; and only what may run twice goes with one. */
        return kw_op_on_unready(&self->op, self->now_ns, code, has_left);
    }
    return kw_drive_on_loss(client, &self->op, self->node, self->now_ns, code, has_left);
}

static kw_step do_send(call *self, const kw_step *step)
{
    bool is_asking = step->is_asking;
    self->changes_n = kw_refresher_changes_n(&self->client->refresher);
    kw_node *node = kw_drive_choose(self->client, self->plan, &self->op, step);
    if (node == NULL) {
        return kw_drive_on_unserved(self->client, &self->op, self->now_ns);
    }
    set_node(self, node);
    /* A pool that stays empty is not waited for until the deadline: the slot may have
     * a new owner by then. */
    uint64_t until_ns = self->plan->deadline_ns;
    uint64_t stall_ns = self->now_ns + self->client->env.options.stall_ms * KW_NS_PER_MS;
    if (kw_drive_has_map(self->client) && stall_ns < until_ns) {
        until_ns = stall_ns;
    }
    kw_conn *conn;
    uint64_t retry_ns = self->now_ns;
    kw_node_wish wish = {self->now_ns, until_ns, self->plan->is_repeatable};
    kw_err code = kw_node_acquire(node, &conn, &self->failure, &retry_ns, &wish);
    if (code != KW_OK) {
        self->now_ns = kw_env_now(&self->client->env);
        return kw_op_on_unavailable(&self->op, self->now_ns, code, retry_ns);
    }
    return send_on(self, conn, is_asking);
}

static kw_step do_refresh(call *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns, .fetch = self->fetch};
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->client->refresher, &failure, &goal);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        self->failure = failure;
    }
    self->now_ns = kw_env_now(&self->client->env);
    return kw_op_on_refreshed(&self->op, self->now_ns, code);
}

static kw_step do_sleep(call *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->client->refresher, &failure, &goal);
    self->now_ns = kw_env_now(&self->client->env);
    if (code == KW_ERR_CANCELLED) {
        self->failure = failure;
        return kw_op_on_unavailable(&self->op, self->now_ns, code, self->now_ns);
    }
    return kw_op_on_woke(&self->op, self->now_ns);
}

static void call_init(call *self, kw_client *client, const kw_plan *plan, kw_bytes encoded)
{
    self->client = client;
    self->plan = plan;
    self->request.bytes = encoded;
    self->request.reply = NULL;
    self->request.is_done = false;
    self->request.joins = false;
    self->node = NULL;
    self->now_ns = plan->start_ns;
    self->failure.size = sizeof(self->failure);
    self->failure.code = KW_OK;
    self->failure.text[0] = '\0';
    self->failure.node[0] = '\0';
    self->fetch = 0;
    self->changes_n = 0;
}

kw_reply *kw_call_run(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    call self;
    call_init(&self, client, plan, encoded);
    kw_op_spec spec = kw_drive_spec(client, plan);
    kw_step step = kw_op_start(&self.op, &spec, self.now_ns ^ (uint64_t)(uintptr_t)&self);
    while (step.kind != KW_STEP_DONE && step.kind != KW_STEP_FAIL) {
        uint64_t fetch = kw_drive_heed(client, &self.op, &step);
        self.fetch = fetch > 0 ? fetch : self.fetch;
        switch (step.kind) {
        case KW_STEP_SEND:
            step = do_send(&self, &step);
            break;
        case KW_STEP_REFRESH:
            step = do_refresh(&self, &step);
            break;
        case KW_STEP_SLEEP:
            step = do_sleep(&self, &step);
            break;
        case KW_STEP_DONE:
        case KW_STEP_FAIL:
            break;
        }
    }
    if (step.kind == KW_STEP_FAIL) {
        (void)kw_drive_heed(client, &self.op, &step);
        kw_drive_story story = {plan, &step, &self.failure, self.node, self.op.sends_n};
        kw_drive_explain(client, error, &story);
        self.request.reply = NULL;
    }
    kw_node_unref(self.node);
    kw_client_tend(client, self.now_ns);
    return self.request.reply;
}
