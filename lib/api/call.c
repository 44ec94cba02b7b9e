#include "api/call.h"

#include "api/await.h"
#include "api/drive.h"
#include "base/error.h"
#include "engine/op.h"

/* One call on its way. */
typedef struct call {
    kw_await await;
    kw_op op;
    kw_request request;
    kw_node *node; /* the last one sent to: a reference */
} call;

static void set_node(call *self, kw_node *node)
{
    kw_node_unref(self->node);
    self->node = node;
}

static kw_step on_reply(call *self)
{
    kw_step step = kw_drive_on_reply(self->await.client, self->await.plan, &self->op, self->node,
                                     self->await.now_ns, self->request.reply, &self->await.failure);
    if (step.kind != KW_STEP_DONE) {
        kw_reply_free(self->request.reply);
        self->request.reply = NULL;
    }
    return step;
}

/* The call's own connection to node carries the command. */
static kw_step send_on(call *self, kw_conn *conn, bool is_asking)
{
    kw_client *client = self->await.client;
    bool was_ready = conn->was_ready;
    self->request.is_done = false;
    self->request.reply = NULL;
    conn->is_ours = self->await.plan->is_ours;
    kw_op_on_send(&self->op);
    kw_err code = kw_conn_queue(conn, &self->await.failure, &self->request, is_asking);
    if (code == KW_OK) {
        code = kw_conn_flush(conn, &self->await.failure);
    }
    if (code == KW_OK) {
        code = kw_await_reply(&self->await, conn, self->node, &self->request);
    }
    self->await.now_ns = kw_env_now(&client->env);
    bool has_left = kw_conn_has_sent(conn, &self->request);
    if (!was_ready && conn->was_ready) {
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
        kw_error_set(&self->await.failure, code, KW_EFFECT_NONE, "%s",
                     is_ready || has_left ? "no answer" : "the deadline came while connecting");
    }
    kw_node_release(self->node, conn, self->await.now_ns, is_ready ? NULL : &self->await.failure);
    kw_reply_free(self->request.reply); /* answered, and then the stream went wrong */
    self->request.reply = NULL;
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
    return kw_drive_on_loss(client, &self->op, self->node, self->await.now_ns, code, has_left);
}

static kw_step do_send(call *self, const kw_step *step)
{
    bool is_asking = step->is_asking;
    self->await.changes_n = kw_refresher_changes_n(&self->await.client->refresher);
    kw_node *node = kw_drive_choose(self->await.client, self->await.plan, &self->op, step);
    if (node == NULL) {
        return kw_drive_on_unserved(self->await.client, &self->op, self->await.now_ns);
    }
    set_node(self, node);
    kw_conn *conn;
    uint64_t retry_ns;
    bool is_early = self->await.plan->is_repeatable;
    kw_err code = kw_await_acquire(&self->await, node, &conn, &retry_ns, is_early);
    if (code != KW_OK) {
        return kw_op_on_unavailable(&self->op, self->await.now_ns, code, retry_ns);
    }
    return send_on(self, conn, is_asking);
}

kw_reply *kw_call_run(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    call self;
    kw_await_init(&self.await, client, plan, &self.op);
    kw_request request = {.bytes = encoded};
    self.request = request;
    self.node = NULL;
    kw_guard_help(client);
    kw_op_spec spec = kw_drive_spec(client, plan);
    kw_step step = kw_op_start(&self.op, &spec, self.await.now_ns ^ (uint64_t)(uintptr_t)&self);
    while (step.kind != KW_STEP_DONE && step.kind != KW_STEP_FAIL) {
        uint64_t fetch = kw_drive_heed(client, &self.op, &step);
        self.await.fetch = fetch > 0 ? fetch : self.await.fetch;
        step =
            step.kind == KW_STEP_SEND ? do_send(&self, &step) : kw_await_step(&self.await, &step);
    }
    if (step.kind == KW_STEP_FAIL) {
        (void)kw_drive_heed(client, &self.op, &step);
        kw_drive_story story = {plan, &step, &self.await.failure, self.node, self.op.sends_n};
        kw_drive_explain(client, error, &story);
        self.request.reply = NULL;
    }
    kw_node_unref(self.node);
    kw_client_tend(client, self.await.now_ns);
    return self.request.reply;
}
