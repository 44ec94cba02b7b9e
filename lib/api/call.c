#include "api/call.h"

#include "base/error.h"
#include "engine/op.h"
#include "route/combine.h"

#include <stdio.h>
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
    uint64_t start_ns;
    uint64_t now_ns;
    kw_error failure;   /* what stood in the way last */
    kw_error *error;    /* the caller's */
    uint64_t fetch;     /* the refresh that the op asked for; 0: none */
    uint64_t changes_n; /* maps published when the node was chosen */
} call;

static bool has_map(const call *self)
{
    return self->client->env.options.scheme != KW_SCHEME_SINGLE;
}

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void set_node(call *self, kw_node *node)
{
    kw_node_unref(self->node);
    self->node = node;
}

/* A reference to the node that this send goes to; NULL where the map has none. */
static kw_node *choose_node(call *self, const kw_step *step)
{
    if (step->is_redirected) {
        return kw_client_node(self->client, &self->op.target);
    }
    if (self->plan->kind == KW_PLAN_NODE) {
        return kw_node_ref(self->plan->node);
    }
    kw_view *view = kw_client_view(self->client);
    if (view == NULL) {
        return NULL;
    }
    kw_node *node = self->plan->kind == KW_PLAN_SLOT
                        ? kw_view_owner(view, self->plan->slot)
                        : kw_view_any(view, kw_random_next(&self->op.random) >> 32);
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_view_unref(view);
    return node;
}

/* True where the map now names another owner than the node that the command is at. */
static bool has_lost_owner(const call *self)
{
    if (self->plan->kind != KW_PLAN_SLOT || self->op.is_asking) {
        return false;
    }
    kw_view *view = kw_client_view(self->client);
    kw_node *owner = view != NULL ? kw_view_owner(view, self->plan->slot) : NULL;
    bool is_other = owner != NULL && owner != self->node;
    kw_view_unref(view);
    return is_other;
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
        if (has_lost_owner(self)) {
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
    if (has_map(self)) {
        uint64_t stall_ns = sent_ns + self->client->env.options.stall_ms * KW_NS_PER_MS;
        until_ns = stall_ns < until_ns ? stall_ns : until_ns;
    }
    kw_err code = kw_conn_wait(conn, &self->failure, &self->request, sent_ns, until_ns);
    if (code == KW_ERR_TIMEOUT && until_ns < self->plan->deadline_ns) {
        code = wait_stalled(self, conn, sent_ns);
    }
    return code;
}

static void count_verdict(call *self, kw_verdict_kind kind)
{
    switch (kind) {
    case KW_VERDICT_FINAL:
    case KW_VERDICT_AUTH:
        break;
    case KW_VERDICT_MOVED:
        count(&self->client->counters.moved);
        kw_node_count(self->node, KW_NODE_MOVED);
        break;
    case KW_VERDICT_ASK:
        count(&self->client->counters.ask);
        kw_node_count(self->node, KW_NODE_ASK);
        break;
    case KW_VERDICT_TRY_AGAIN:
    case KW_VERDICT_CLUSTER_DOWN:
    case KW_VERDICT_LOADING:
    case KW_VERDICT_MASTER_DOWN:
    case KW_VERDICT_READONLY:
    case KW_VERDICT_BUSY:
    case KW_VERDICT_UNBLOCKED:
    case KW_VERDICT_FULL:
        count(&self->client->counters.waits);
        break;
    }
}

static kw_step on_reply(call *self)
{
    kw_verdict verdict = {.kind = KW_VERDICT_FINAL};
    kw_bytes text = {NULL, 0};
    if (kw_reply_is_error(self->request.reply)) {
        text = kw_reply_bytes(self->request.reply);
        verdict = kw_verdict_of(text, self->plan->is_script);
    }
    kw_step step = kw_op_on_reply(&self->op, self->now_ns, &verdict, &self->node->endpoint);
    if (step.kind == KW_STEP_DONE) {
        return step;
    }
    count_verdict(self, verdict.kind);
    char shown[200];
    kw_bytes_show(shown, sizeof(shown), text);
    kw_error_set(&self->failure, KW_OK, KW_EFFECT_NONE, "the server says: %s", shown);
    kw_reply_free(self->request.reply);
    self->request.reply = NULL;
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
        kw_error_set(&self->failure, code, KW_EFFECT_NONE, "no answer");
    }
    kw_node_release(self->node, conn, self->now_ns, is_ready ? NULL : &self->failure);
    kw_reply_free(self->request.reply); /* answered, and then the stream went wrong */
    self->request.reply = NULL;
    if (atomic_load_explicit(&client->env.is_closing, memory_order_relaxed)) {
        kw_step step = {.kind = KW_STEP_FAIL, .code = KW_ERR_CANCELLED};
        step.effect = has_left ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
        return step;
    }
    if (code == KW_ERR_TIMEOUT) {
        count(&client->counters.timeouts);
        kw_node_count(self->node, KW_NODE_TIMEOUT);
        return kw_op_on_deadline(&self->op, has_left);
    }
    if (!is_ready) {
        /* Refused in its greeting; and only what may run twice goes with one. */
        return kw_op_on_unavailable(&self->op, self->now_ns, code, self->now_ns);
    }
    kw_step step = kw_op_on_broken(&self->op, self->now_ns, code, has_left);
    if (step.kind != KW_STEP_FAIL) {
        count(&client->counters.retries);
        kw_node_count(self->node, KW_NODE_RETRY);
    }
    return step;
}

static kw_step do_send(call *self, const kw_step *step)
{
    bool is_asking = step->is_asking;
    self->changes_n = kw_refresher_changes_n(&self->client->refresher);
    kw_node *node = choose_node(self, step);
    if (node == NULL) {
        return kw_op_on_unserved(&self->op, self->now_ns);
    }
    set_node(self, node);
    /* A pool that stays empty is not waited for until the deadline: the slot may have
     * a new owner by then. */
    uint64_t until_ns = self->plan->deadline_ns;
    uint64_t stall_ns = self->now_ns + self->client->env.options.stall_ms * KW_NS_PER_MS;
    if (has_map(self) && stall_ns < until_ns) {
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

/* What a step asks for on the side. */
static void heed(call *self, const kw_step *step)
{
    if (step->is_patch) {
        kw_client_patch(self->client, self->op.spec.slot, &self->op.target);
    }
    if (step->wants_refresh && has_map(self)) {
        self->fetch = kw_refresher_want(&self->client->refresher);
    }
}

static const char *hint_of(const kw_step *step)
{
    if (step->effect == KW_EFFECT_MAYBE) {
        return "; the command may have run";
    }
    if (step->code == KW_ERR_NOT_SERVED) {
        return "; assign the slot to a node";
    }
    return "";
}

static void explain(call *self, const kw_step *step)
{
    char slot[24] = "";
    if (self->plan->kind == KW_PLAN_SLOT && has_map(self)) {
        snprintf(slot, sizeof(slot), " in slot %u", (unsigned)self->plan->slot);
    }
    const char *node = self->node != NULL ? self->node->name : self->failure.node;
    const char *detail = self->failure.text;
    kw_error_set(self->error, step->code, step->effect, "%s%s%s%.140s: %s%s%s%s", self->plan->name,
                 slot, node[0] != '\0' ? " at " : "", node, kw_err_text(step->code),
                 detail[0] != '\0' ? ": " : "", detail, hint_of(step));
    if (self->error != NULL && self->error->size >= sizeof(kw_error)) {
        uint64_t end_ns = kw_env_now(&self->client->env);
        self->error->attempts = self->op.sends_n;
        self->error->elapsed_ms = (unsigned)((end_ns - self->start_ns) / KW_NS_PER_MS);
        kw_error_set_node(self->error, node);
    }
}

static void call_init(call *self, kw_client *client, kw_error *error, const kw_plan *plan,
                      kw_bytes encoded)
{
    self->client = client;
    self->plan = plan;
    self->request.bytes = encoded;
    self->request.reply = NULL;
    self->request.is_done = false;
    self->request.joins = false;
    self->node = NULL;
    self->now_ns = kw_env_now(&client->env);
    self->start_ns = self->now_ns;
    self->failure.size = sizeof(self->failure);
    self->failure.code = KW_OK;
    self->failure.text[0] = '\0';
    self->failure.node[0] = '\0';
    self->error = error;
    self->fetch = 0;
    self->changes_n = 0;
}

kw_reply *kw_call_run(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    call self;
    call_init(&self, client, error, plan, encoded);
    kw_op_spec spec = {
        .deadline_ns = plan->deadline_ns,
        .redirects_max = (unsigned)client->env.options.redirects_max,
        .is_cluster = has_map(&self),
        .is_pinned = plan->kind == KW_PLAN_NODE,
        .has_slot = plan->kind == KW_PLAN_SLOT,
        .is_repeatable = plan->is_repeatable,
        .is_script = plan->is_script,
        .slot = plan->slot,
    };
    kw_step step = kw_op_start(&self.op, &spec, self.now_ns ^ (uint64_t)(uintptr_t)&self);
    while (step.kind != KW_STEP_DONE && step.kind != KW_STEP_FAIL) {
        heed(&self, &step);
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
        heed(&self, &step);
        explain(&self, &step);
        self.request.reply = NULL;
    }
    kw_node_unref(self.node);
    kw_client_tend(client, self.now_ns);
    return self.request.reply;
}
