/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs one command on a session's connection, or pins one; with its follow-up in the same write. */
#include "topology/topology_tend.h"
#include "drive/session_private.h"

#include "drive/blocking_wait.h"
#include "drive/driver.h"
#include "base/error.h"
#include "base/resp.h"

/* One command on its way; or, without encoded, one connection. */
typedef struct exchange {
    kw_session *session;
    const kw_plan *plan;
    kw_session_effect effect;
    uint64_t database; /* of SELECT */
    bool is_free;      /* the session may change its connection for it */
    bool is_lost;      /* the session's connection was, with the command on it */
    kw_request request;
    kw_followup *followup; /* NULL: none */
    const char *silence;   /* of a try that was not answered: kw_conn_silence */
    kw_buf *encoded; /* with a followup: the command, and the followup of the last try behind it */
    kw_blocking_wait wait;
} exchange;

/* To the pool only where it is in the database of all others there. */
static void give_back(kw_topology *topology, kw_node *node, kw_conn *conn)
{
    if (conn->database != topology->env.options.database) {
        conn->state = KW_CONN_DEAD;
    }
    kw_node_release(node, conn, kw_env_now(&topology->env), NULL);
}

void kw_session_drop(kw_session *session)
{
    if (session->conn == NULL) {
        return;
    }
    if (!kw_session_is_clean(session)) {
        session->conn->state = KW_CONN_DEAD;
    }
    give_back(session->topology, session->node, session->conn);
    kw_session_forget(session);
}

/* What the session's connection is after the reply. */
static void take_reply(exchange *self, bool is_asked)
{
    kw_session *session = self->session;
    kw_session_answer answer = {self->effect, self->database, self->request.reply,
                                kw_session_writes(self->plan), is_asked};
    kw_session_state_on_answer(&session->state, &answer);
    if (session->conn != NULL && self->effect == KW_SESSION_EFFECT_SELECT &&
        !session->state.is_multi) {
        session->conn->database = session->state.database;
    }
}

static kw_step on_reply(exchange *self, bool is_asked)
{
    kw_step step = {.kind = KW_STEP_DONE};
    kw_reply *reply = self->request.reply;
    if (self->is_free && !kw_session_keeps_redirect(self->effect, reply)) {
        step = kw_blocking_wait_on_reply(&self->wait, &self->request);
    } else {
        kw_driver_heed_readonly(self->session->topology, self->wait.node, reply);
    }
    if (step.kind == KW_STEP_DONE) {
        take_reply(self, is_asked);
    }
    return step;
}

static kw_step on_failed(exchange *self, const kw_try_end *end)
{
    kw_err code = end->code;
    if (end->was_opened && (code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED)) {
        /* The caller's time is over: that is no fault of the node. */
        kw_error_set(&self->wait.failure, code, KW_EFFECT_NONE, "%s",
                     self->silence != NULL ? self->silence : "no answer");
    }
    if (self->is_free || end->has_left || code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED) {
        return kw_blocking_wait_on_failed(&self->wait, end);
    }
    /* Nothing was sent; but what the session stood for went with its connection. */
    kw_step step = {.kind = KW_STEP_FAIL, .code = code, .effect = KW_EFFECT_NONE};
    step.wants_refresh = true;
    return step;
}

/* Answered before it was sent whole: what stands in the connection's way now is half a
 * command. */
static void drop_unsent(exchange *self)
{
    kw_session_drop(self->session);
    if (!self->is_free) {
        self->session->broken = KW_ERR_DESYNC;
    }
}

static void forget_followup(kw_followup *followup)
{
    kw_reply_free(followup->request.reply);
    followup->request.reply = NULL;
    followup->request.is_done = false;
    followup->code = KW_OK;
}

/* The command, and its followup as it is now, in one write. */
static kw_err queue_both(exchange *self, kw_conn *conn, bool is_asked)
{
    kw_blocking_wait *wait = &self->wait;
    kw_followup *followup = self->followup;
    if (followup == NULL) {
        return kw_conn_queue(conn, &wait->failure, &self->request, is_asked);
    }
    size_t len = self->request.bytes.len;
    forget_followup(followup);
    self->encoded->len = len;
    if (!followup->encode(followup, self->encoded, wait->now_ns)) {
        return kw_error_set(&wait->failure, KW_ERR_NOMEM, KW_EFFECT_NONE,
                            "no memory to encode what follows %s", kw_plan_name(self->plan));
    }
    self->request.bytes.data = self->encoded->data;
    followup->request.bytes.data = self->encoded->data + len;
    followup->request.bytes.len = self->encoded->len - len;
    return kw_conn_queue_pair(conn, &wait->failure, &self->request, &followup->request, is_asked);
}

/* Inside a transaction an AUTH would be queued; and nothing comes between ASKING, or CLIENT
 * CACHING, and its command. */
static kw_err queue(exchange *self, kw_conn *conn, bool is_asked)
{
    conn->is_bound = !is_asked && kw_session_state_is_tight(&self->session->state);
    kw_err code = queue_both(self, conn, is_asked);
    conn->is_bound = false;
    return code;
}

/* The command was answered; code: what became of the connection since. Its followup may keep the
 * server for as long as it says: where nobody wants to know, the connection is given up. */
static kw_step finish_followed(exchange *self, kw_conn *conn, kw_err code, bool is_asked)
{
    kw_blocking_wait *wait = &self->wait;
    kw_followup *followup = self->followup;
    followup->failure = wait->failure;
    kw_step step = on_reply(self, is_asked);
    bool has_run = step.kind == KW_STEP_DONE && !kw_reply_is_error(self->request.reply);
    if (has_run && code == KW_OK) {
        code = kw_blocking_wait_reply(wait, conn, &followup->request);
        followup->failure = wait->failure;
        wait->now_ns = kw_env_now(&self->session->topology->env);
        conn->idle_since_ns = wait->now_ns;
    }
    if (!has_run) {
        kw_reply_free(followup->request.reply);
        followup->request.reply = NULL;
    }
    followup->code = followup->request.reply != NULL ? KW_OK : code;
    if (followup->code == KW_ERR_TIMEOUT) {
        kw_error_set(&followup->failure, followup->code, KW_EFFECT_DONE,
                     "no answer by the deadline");
    }
    kw_error_set_node(&followup->failure, self->wait.node->name);
    bool is_kept = code == KW_OK && kw_conn_is_settled(conn);
    if (!is_kept) {
        conn->state = KW_CONN_DEAD;
    }
    if (is_asked) {
        give_back(self->session->topology, self->wait.node, conn);
    } else if (!is_kept) {
        kw_session_drop(self->session);
    }
    return step;
}

/* A connection to the node carries the command: the session's own, or one for the asked
 * node. */
static kw_step carry(exchange *self, kw_conn *conn, bool is_asked)
{
    kw_session *session = self->session;
    kw_blocking_wait *wait = &self->wait;
    self->request.is_done = false;
    self->request.reply = NULL;
    self->request.end_at = UINT64_MAX;
    if (self->plan->script != NULL) {
        self->plan->script->choose(self->plan->script, wait->node, &self->request.bytes, NULL);
    }
    kw_blocking_wait_on_send(wait);
    wait->sent_ns = wait->now_ns;
    kw_err code = queue(self, conn, is_asked);
    code = code == KW_OK ? kw_conn_flush(conn, &wait->failure) : code;
    code = code == KW_OK ? kw_blocking_wait_reply(wait, conn, &self->request) : code;
    code = kw_conn_end_of(&self->request, code);
    wait->now_ns = kw_env_now(&session->topology->env);
    conn->idle_since_ns = wait->now_ns;
    kw_try_end end = {code, true, true, kw_conn_has_sent(conn, &self->request), 0};
    if (self->followup != NULL && self->request.is_done) {
        return finish_followed(self, conn, code, is_asked);
    }
    if (code == KW_OK && !is_asked && !kw_conn_is_settled(conn)) {
        drop_unsent(self);
    }
    if (code != KW_OK) {
        if (kw_conn_has_half(conn, &self->request)) {
            kw_op_on_half_sent(&self->wait.op);
        }
        self->silence = kw_conn_silence(conn, &self->request);
        conn->state = KW_CONN_DEAD;
        kw_reply_free(self->request.reply); /* answered, and then the stream went wrong */
        self->request.reply = NULL;
    }
    if (is_asked) {
        give_back(self->session->topology, self->wait.node, conn);
    } else if (code != KW_OK) {
        self->is_lost = true;
        kw_session_drop(session);
    }
    return code == KW_OK ? on_reply(self, is_asked) : on_failed(self, &end);
}

/* False where the server has ended the session's connection meanwhile: certainly before the
 * command. */
static bool is_alive(exchange *self)
{
    kw_conn *conn = self->session->conn;
    bool is_good = kw_session_may_use(self->session, self->session->node, conn);
    if (is_good && (kw_conn_is_fresh(conn, self->wait.now_ns) || kw_conn_is_quiet(conn, true))) {
        return true;
    }
    conn->state = KW_CONN_DEAD;
    kw_session_drop(self->session);
    return false;
}

static kw_step send_pinned(exchange *self)
{
    kw_node_unref(self->wait.node);
    self->wait.node = kw_node_ref(self->session->node);
    self->wait.is_asking = false;
    self->wait.changes_n = kw_refresher_changes_n(&self->session->topology->refresher);
    if (is_alive(self)) {
        return carry(self, self->session->conn, false);
    }
    self->is_lost = true;
    kw_error_set(&self->wait.failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                 "the connection was closed, brought bytes that nothing asked for, or led to a "
                 "server that is not the primary any more, before the command was sent");
    kw_try_end end = {KW_ERR_CLOSED, true, true, false, 0};
    return on_failed(self, &end);
}

/* The session's database, on a connection that is in another one. */
static kw_err select_database(exchange *self, kw_conn *conn)
{
    static const char name[] = "SELECT";
    char number[21];
    size_t len = kw_uint_to_text(number, self->session->state.database);
    kw_bytes argv[2] = {{name, sizeof(name) - 1}, {number, len}};
    kw_blocking_wait *wait = &self->wait;
    kw_request request = {.bytes = {NULL, 0}};
    char space[64];
    kw_buf encoded;
    kw_buf_init(&encoded, &self->session->mem, space, sizeof(space));
    if (!kw_resp_append(&encoded, argv, 2)) {
        return kw_error_set(&wait->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for SELECT");
    }
    request.bytes.data = encoded.data;
    request.bytes.len = encoded.len;
    kw_err code = kw_conn_queue(conn, &wait->failure, &request, false);
    code = code == KW_OK ? kw_conn_flush(conn, &wait->failure) : code;
    code = code == KW_OK ? kw_blocking_wait_reply(wait, conn, &request) : code;
    if (code == KW_OK && kw_reply_is_error(request.reply)) {
        char shown[200];
        kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(request.reply));
        code = kw_error_set(&wait->failure, KW_ERR_HANDSHAKE, KW_EFFECT_NONE,
                            "the server refused SELECT: %s", shown);
    }
    kw_reply_free(request.reply);
    kw_buf_fini(&encoded);
    if (code == KW_OK) {
        conn->database = self->session->state.database;
    } else {
        conn->state = KW_CONN_DEAD;
    }
    return code;
}

/* Where the connection is in another database, and cannot be brought into the session's, it is
 * given back: false, and *step. */
static bool is_in_database(exchange *self, kw_step *step, kw_conn *conn, bool is_asked)
{
    if (conn->database == self->session->state.database) {
        return true;
    }
    kw_err code = select_database(self, conn);
    self->wait.now_ns = kw_env_now(&self->session->topology->env);
    if (code == KW_OK) {
        return true;
    }
    if (is_asked) {
        give_back(self->session->topology, self->wait.node, conn);
    } else {
        kw_session_drop(self->session);
    }
    kw_try_end end = {code, true, true, false, 0};
    *step = on_failed(self, &end);
    return false;
}

static kw_step do_send(void *arg, const kw_step *step)
{
    exchange *self = arg;
    kw_session *session = self->session;
    kw_step next;
    if (!self->is_free) {
        return send_pinned(self);
    }
    if (!kw_blocking_wait_choose(&self->wait, &next, step)) {
        return next;
    }
    kw_node *node = self->wait.node;
    bool is_there = !step->is_asking && session->node == node && is_alive(self);
    kw_conn *conn = session->conn;
    if (!is_there) {
        if (!step->is_asking) {
            kw_session_drop(session);
        }
        uint64_t retry_ns;
        kw_acquire_options options = {.is_early = false};
        kw_err code = kw_blocking_wait_acquire(&self->wait, &conn, &retry_ns, &options);
        if (code != KW_OK) {
            kw_try_end end = {code, false, false, false, retry_ns};
            return on_failed(self, &end);
        }
        self->wait.now_ns = kw_env_now(&session->topology->env);
    }
    if (!is_there && !step->is_asking) {
        session->node = kw_node_ref(node);
        session->conn = conn;
        conn->idle_since_ns = self->wait.now_ns;
        self->is_lost = false;
    }
    if (!is_in_database(self, &next, conn, step->is_asking)) {
        return next;
    }
    if (self->request.bytes.data == NULL) {
        kw_step done = {.kind = KW_STEP_DONE}; /* the connection is all that was wanted */
        return done;
    }
    return carry(self, conn, step->is_asking);
}

static kw_err run(exchange *self, kw_error *error)
{
    kw_session *session = self->session;
    kw_blocking_wait *wait = &self->wait;
    kw_blocking_wait_init(wait, session->topology, self->plan, self->request.bytes.len);
    kw_step step =
        kw_blocking_wait_run(wait, do_send, self, self->plan->is_repeatable && self->is_free);
    if (step.kind == KW_STEP_FAIL) {
        bool is_harmless = kw_session_state_is_harmless(&session->state, self->effect);
        step.effect = is_harmless ? KW_EFFECT_NONE : step.effect;
        kw_blocking_wait_explain(wait, error, &step);
        if (self->is_lost) {
            session->broken = step.code;
        }
    }
    kw_blocking_wait_fini(wait);
    kw_topology_tend(session->topology, wait->now_ns);
    return step.kind == KW_STEP_FAIL ? step.code : KW_OK;
}

kw_err kw_session_pin(kw_session *session, kw_error *error, const kw_plan *plan)
{
    exchange self = {.session = session, .plan = plan, .is_free = true};
    return run(&self, error);
}

kw_reply *kw_session_run(kw_session *session, kw_error *error, const kw_session_request *request,
                         kw_bytes encoded)
{
    kw_session_effect effect = request->effect;
    exchange self = {.session = session, .plan = &request->plan, .effect = effect};
    self.database = request->database;
    self.request.bytes = encoded;
    self.is_free = kw_session_state_is_free(&session->state, effect, session->conn != NULL);
    return run(&self, error) == KW_OK ? self.request.reply : NULL;
}

kw_reply *kw_session_run_followed(kw_session *session, kw_error *error, const kw_plan *plan,
                                  kw_buf *encoded, kw_followup *followup)
{
    exchange self = {.session = session, .plan = plan, .is_free = true};
    self.request.bytes.data = encoded->data;
    self.request.bytes.len = encoded->len;
    self.followup = followup;
    self.encoded = encoded;
    kw_err code = run(&self, error);
    if (code != KW_OK) {
        forget_followup(followup);
    }
    return code == KW_OK ? self.request.reply : NULL;
}
