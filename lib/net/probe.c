/* SPDX-License-Identifier: BSD-3-Clause */
/* A probe's question and its answer, on the connection that it was given. */
#include "net/probe.h"

#include "base/error.h"

#include <string.h>

/* Time for an answer; a healthy node needs a fraction of it. */
#define ANSWER_NS ((uint64_t)300000000)

typedef struct question_row {
    const char *name;
    const char *bytes;
} question_row;

static const question_row questions[] = {
    [KW_PROBE_PING] = {"PING", "*1\r\n$4\r\nPING\r\n"},
    [KW_PROBE_ROLE] = {"ROLE", "*1\r\n$4\r\nROLE\r\n"},
    [KW_PROBE_INFO] = {"INFO", "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"},
};

/* What each step is given: the connect, the greeting, the answer. */
static uint64_t wait_of(const kw_probe *probe)
{
    return probe->wait_ns > 0 ? probe->wait_ns : kw_env_patience_ns(probe->conn->env, ANSWER_NS);
}

void kw_probe_begin(kw_probe *probe, kw_conn *conn, uint64_t now_ns)
{
    probe->conn = conn;
    probe->deadline_ns = now_ns + wait_of(probe);
    probe->is_counted = conn->state == KW_CONN_READY;
    probe->is_sent = false;
    probe->is_overdue = false;
}

static kw_err ask(kw_probe *probe, kw_error *error, uint64_t now_ns)
{
    memset(&probe->request, 0, sizeof(probe->request));
    probe->request.bytes = kw_bytes_of(questions[probe->question].bytes);
    probe->sent_ns = now_ns;
    probe->conn->is_internal = true;
    probe->is_sent = true;
    kw_err code = kw_conn_queue(probe->conn, error, &probe->request, false);
    return code == KW_OK ? kw_conn_flush(probe->conn, error) : code;
}

static short ready_events(const kw_probe *probe)
{
    struct pollfd entry = {probe->conn->socket, kw_conn_events(probe->conn), 0};
    const kw_transport *transport = probe->conn->env->transport;
    return transport->poll_fn(transport->arg, &entry, 1, 0) > 0 ? entry.revents : 0;
}

kw_err kw_probe_go_on(kw_probe *probe, kw_error *error, uint64_t now_ns)
{
    kw_conn *conn = probe->conn;
    kw_conn_state state = conn->state;
    uint64_t queued = conn->queued; /* the question, or what a greeting asks behind an answer */
    bool had_name = conn->lookup == NULL;
    size_t begun_n = conn->begun_n;
    kw_err code = kw_conn_race(conn, error, now_ns);
    conn->is_switched = false; /* what is polled now is of the socket in use */
    code = code != KW_OK ? code : kw_conn_progress(conn, error, ready_events(probe));
    if (code == KW_OK && !probe->is_sent && conn->state == KW_CONN_READY) {
        code = ask(probe, error, now_ns);
    }
    if (code != KW_OK || kw_probe_is_answered(probe)) {
        return code;
    }
    bool has_name = conn->lookup == NULL;
    if (conn->state != state || conn->queued != queued || has_name != had_name ||
        conn->begun_n != begun_n) {
        probe->deadline_ns = now_ns + wait_of(probe); /* callers may be rarer than answers */
    }
    if (now_ns >= probe->deadline_ns) {
        conn->is_overdue = true;
        probe->is_overdue = true;
        return kw_error_set(error, KW_ERR_HANDSHAKE, KW_EFFECT_NONE, "no answer to %s in time",
                            questions[probe->question].name);
    }
    return KW_OK;
}

kw_conn *kw_probe_end(kw_probe *probe, bool *is_loading, bool is_answered)
{
    kw_conn *conn = probe->conn;
    kw_reply *reply = probe->request.reply;
    *is_loading = kw_reply_is_error(reply) && kw_bytes_starts(kw_reply_bytes(reply), "LOADING");
    if (is_answered && probe->question != KW_PROBE_PING) {
        kw_reply_free(probe->answer);
        probe->answer = reply;
    } else {
        kw_reply_free(reply);
    }
    memset(&probe->request, 0, sizeof(probe->request));
    if (!is_answered) {
        conn->state = KW_CONN_DEAD;
    }
    probe->conn = NULL;
    return conn;
}

void kw_probe_fini(kw_probe *probe)
{
    kw_reply_free(probe->answer);
    probe->answer = NULL;
    if (probe->conn != NULL) {
        kw_conn_free(probe->conn);
        kw_reply_free(probe->request.reply);
        probe->conn = NULL;
    }
}
