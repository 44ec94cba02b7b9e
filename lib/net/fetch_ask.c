/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks one server for the map: connects, sends the questions, takes the answers. */
#include "net/fetch_ask.h"

#include "base/error.h"
#include "engine/failure_detector.h"

#include <string.h>

void kw_fetch_ask_init(kw_fetch_ask *ask, const kw_allocator *mem)
{
    memset(ask, 0, sizeof(*ask));
    kw_buf_init(&ask->encoded, mem, NULL, 0);
}

void kw_fetch_ask_fini(kw_fetch_ask *ask)
{
    kw_buf_fini(&ask->encoded);
}

static void drop_replies(kw_fetch_ask *ask)
{
    for (size_t i = 0; i < ask->questions.n; i++) {
        kw_reply_free(ask->requests[i].reply);
        ask->requests[i].reply = NULL;
    }
    ask->is_sent = false;
}

static bool is_answered(const kw_fetch_ask *ask)
{
    return ask->is_sent && ask->requests[ask->questions.n - 1].is_done;
}

bool kw_fetch_ask_has_left(const kw_fetch_ask *ask)
{
    const kw_request *first = &ask->requests[0];
    return ask->is_sent && (first->is_done || kw_conn_has_sent(ask->conn, first));
}

void kw_fetch_ask_drop(kw_fetch_ask *ask, uint64_t now_ns, const kw_error *failure)
{
    kw_conn *conn = ask->conn;
    if (conn == NULL) {
        return;
    }
    bool is_late = failure == NULL || failure->code == KW_ERR_TOPOLOGY;
    bool is_on_its_way = conn->state == KW_CONN_CONNECTING || conn->state == KW_CONN_GREETING;
    if (ask->is_sent && !is_answered(ask)) {
        conn->state = KW_CONN_DEAD; /* it still owes an answer */
    }
    bool is_parked = is_late && is_on_its_way && !ask->is_sent && !conn->is_stranger;
    drop_replies(ask);
    kw_error unready = kw_error_none();
    if (!ask->is_counted && failure == NULL) {
        kw_error_set(&unready, KW_ERR_CANCELLED, KW_EFFECT_NONE, "another server has answered");
        failure = &unready;
    } else if (!ask->is_counted && is_late) {
        /* The node is told of a connection that did not come up in time, not of a fetch. */
        (void)kw_conn_tell_overdue(conn, &unready);
        conn->is_overdue = true;
        failure = &unready;
    }
    kw_node *node = kw_fetch_ask_node(ask);
    if (is_parked) {
        conn->is_overdue = false; /* it has more time with the next fetch */
        kw_node_park(node, conn, now_ns);
    } else {
        kw_node_release(node, conn, now_ns, ask->is_counted ? NULL : failure);
    }
    ask->conn = NULL;
    ask->is_counted = false;
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to ask for a map");
}

/* What is to be asked next, and by when it is to be answered. */
static kw_err prepare(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_error *error,
                      uint64_t now_ns)
{
    ask->encoded.len = 0;
    ask->is_sent = false;
    ask->is_read = false;
    if (!manner->way->ask_fn(manner->way_arg, &ask->questions, &ask->encoded)) {
        return no_memory(error);
    }
    ask->questions.wait_ns =
        kw_env_patience_ns(manner->env, ask->questions.wait_ns << manner->patience);
    ask->deadline_ns = now_ns + ask->questions.wait_ns;
    return KW_OK;
}

/* Writes the questions to the connection, which takes requests. */
static kw_err send_all(kw_fetch_ask *ask, kw_error *error)
{
    ask->is_sent = true;
    ask->sent_ns = kw_env_now(ask->conn->env);
    ask->conn->is_internal = true;
    size_t start = 0;
    for (size_t i = 0; i < ask->questions.n; i++) {
        kw_request *request = &ask->requests[i];
        memset(request, 0, sizeof(*request));
        request->bytes.data = ask->encoded.data + start;
        request->bytes.len = ask->questions.ends[i] - start;
        request->joins = ask->questions.n > 1;
        start = ask->questions.ends[i];
        kw_err code = kw_conn_queue(ask->conn, error, request, false);
        if (code != KW_OK) {
            ask->questions.n = i + 1; /* those behind hold no reply */
            return code;
        }
    }
    return kw_conn_flush(ask->conn, error);
}

/* Questions leave together with the greeting, but where all servers were too slow to connect the
 * last time: a connection that carries nothing yet can be kept for the next fetch. */
static bool may_send(const kw_fetch_ask *ask, const kw_fetch_manner *manner)
{
    bool is_early = manner->patience == 0 || ask->conn->state != KW_CONN_CONNECTING;
    return !ask->is_sent && is_early && kw_conn_takes_requests(ask->conn);
}

kw_err kw_fetch_ask_open(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_error *error)
{
    /* An ask before this one may have looked a name up. */
    uint64_t now_ns = kw_env_now(manner->env);
    memset(&ask->questions, 0, sizeof(ask->questions));
    kw_err code = prepare(ask, manner, error, now_ns);
    if (code != KW_OK) {
        return code;
    }
    kw_node *node = kw_fetch_ask_node(ask);
    kw_err refusal = kw_node_last_failure(node, NULL);
    if (manner->is_probe || refusal == KW_ERR_IDENTITY || refusal == KW_ERR_ROLE) {
        kw_node_hasten(node); /* whom nothing is sent to may be asked */
    }
    /* Of a cluster the other nodes tell who is at the address. */
    if (ask->questions.allows_strangers && manner->env->options.scheme != KW_SCHEME_CLUSTER) {
        kw_node_pass_refused(node);
    }
    /* Callers may keep the whole pool busy, and be in need of this very map. */
    if (ask->questions.is_for_primary) {
        bool is_ring = manner->env->options.scheme == KW_SCHEME_RING;
        code = kw_node_try_acquire_as(node, &ask->conn, error, now_ns,
                                      is_ring ? KW_CONN_GROUP_PRIMARY : KW_CONN_PRIMARY);
    } else {
        code = kw_node_try_acquire(node, &ask->conn, error, now_ns, true);
    }
    if (code != KW_OK) {
        ask->conn = NULL;
        return code;
    }
    ask->seen_ns = kw_env_now(manner->env); /* as this one may have done */
    ask->deadline_ns = ask->seen_ns + ask->questions.wait_ns;
    ask->is_counted = ask->conn->state == KW_CONN_READY;
    ask->conn->allows_strangers = ask->questions.allows_strangers && !ask->is_counted;
    return may_send(ask, manner) ? send_all(ask, error) : KW_OK;
}

/* All answers are there. KW_OK with step->map NULL: there is more to ask. */
static kw_err take_answers(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_fetch_step *step,
                           kw_error *error, uint64_t now_ns)
{
    kw_reply *replies[KW_FETCH_QUESTIONS_MAX];
    for (size_t i = 0; i < ask->questions.n; i++) {
        replies[i] = ask->requests[i].reply;
    }
    step->asked = &ask->questions;
    step->said = &ask->conn->said;
    step->now_ns = now_ns;
    kw_err code =
        manner->way->take_fn(manner->way_arg, step, error, kw_fetch_ask_node(ask), replies);
    if (code != KW_OK || step->map != NULL) {
        return code;
    }
    drop_replies(ask);
    if (step->node != NULL) {
        kw_fetch_ask_drop(ask, now_ns, NULL);
        kw_node_unref(ask->led_to);
        ask->led_to = step->node;
        return kw_fetch_ask_open(ask, manner, error);
    }
    if (!kw_conn_is_settled(ask->conn)) {
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_NONE,
                            "the server answered before it was asked");
    }
    code = prepare(ask, manner, error, now_ns);
    return code == KW_OK ? send_all(ask, error) : code;
}

/* Which step had no answer. */
static kw_err tell_late(const kw_fetch_ask *ask, kw_error *error)
{
    kw_error unready = kw_error_none();
    if (ask->conn->state == KW_CONN_READY) {
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "no answer to %s in time",
                            ask->questions.name);
    }
    (void)kw_conn_tell_overdue(ask->conn, &unready);
    return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "%s", unready.text);
}

/* No caller drove the fetch for so long that a refusal, or silence, says nothing of now. */
static kw_err ask_anew(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_error *error,
                       uint64_t now_ns)
{
    kw_error abandoned = kw_error_none();
    kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the fetch was left alone");
    kw_fetch_ask_drop(ask, now_ns, &abandoned);
    kw_node_hasten(kw_fetch_ask_node(ask));
    return kw_fetch_ask_open(ask, manner, error);
}

/* Who waits for a fetch looks more often than that. */
#define SEEN_NS (60 * KW_NS_PER_MS)

/* Goes on with the connection. What is late is looked at first: it may be that nobody did. */
static kw_err advance(kw_fetch_ask *ask, kw_error *error, const kw_fetch_ask_event *event)
{
    kw_conn *conn = ask->conn;
    bool is_overdue = conn->state != KW_CONN_READY && event->now_ns >= conn->deadline_ns;
    bool is_late = is_overdue || event->now_ns >= ask->deadline_ns;
    conn->is_unseen = conn->is_unseen || event->now_ns > ask->seen_ns + SEEN_NS;
    ask->seen_ns = event->now_ns;
    kw_err code = kw_conn_race(conn, error, event->now_ns);
    if (code == KW_OK && is_late && (event->revents == 0 || conn->is_switched)) {
        code = kw_conn_look(conn, error, event->now_ns);
    } else if (code == KW_OK) {
        code = kw_conn_progress(conn, error, event->revents);
    }
    if (conn->was_ready && !ask->is_counted) {
        kw_node_on_ready(kw_fetch_ask_node(ask), conn);
        ask->is_counted = true;
    }
    return code;
}

/* True where an answer that lay there, as nobody came for it, is a map of long ago: older than one
 * that is in use may be. */
static bool is_outdated(const kw_fetch_ask *ask, const kw_fetch_manner *manner, uint64_t now_ns)
{
    uint64_t interval_ms = manner->env->options.refresh_interval_ms;
    uint64_t age_ns = interval_ms > 0 ? interval_ms * KW_NS_PER_MS : KW_FAILURE_GAP_NS;
    return ask->is_sent && now_ns >= ask->sent_ns + age_ns;
}

kw_err kw_fetch_ask_go_on(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_fetch_step *step,
                          kw_error *error, const kw_fetch_ask_event *event)
{
    kw_conn *conn = ask->conn;
    uint64_t now_ns = event->now_ns;
    bool was_left = now_ns >= ask->deadline_ns + ask->questions.wait_ns;
    uint64_t begun_ns = conn->begun_ns;
    kw_err code = advance(ask, error, event);
    bool has_moved = conn->begun_ns != begun_ns; /* a step was answered: the server is there */
    bool has_come = code == KW_OK && (has_moved || is_answered(ask));
    if (was_left && (!has_come || is_outdated(ask, manner, now_ns))) {
        return ask_anew(ask, manner, error, now_ns);
    }
    if (has_moved) {
        ask->deadline_ns = now_ns + kw_env_patience_ns(manner->env, ask->questions.wait_ns);
    }
    if (code == KW_OK && may_send(ask, manner)) {
        code = send_all(ask, error);
    }
    /* Where HELLO is refused, some of the greeting is asked again behind the questions. */
    if (code == KW_OK && is_answered(ask) && conn->owners.count == 0) {
        return take_answers(ask, manner, step, error, now_ns);
    }
    code = code == KW_OK ? kw_conn_check_overdue(conn, error, now_ns) : code;
    return code == KW_OK && now_ns >= ask->deadline_ns ? tell_late(ask, error) : code;
}
