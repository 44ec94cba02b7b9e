/* SPDX-License-Identifier: BSD-3-Clause */
/* Sends a question on an idle or new connection of a node, and reads the answer, never waiting. */
#include "net/probe.h"

#include "base/error.h"
#include "net/node.h"

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

/* The connection goes back to the node: to its pool where it owes nothing. */
static kw_probe_result end(kw_probe *probe, kw_node *node, uint64_t now_ns, const kw_error *failure)
{
    bool is_loading = kw_reply_is_error(probe->request.reply) &&
                      kw_bytes_starts(kw_reply_bytes(probe->request.reply), "LOADING");
    if (failure == NULL && probe->question != KW_PROBE_PING) {
        kw_reply_free(probe->answer);
        probe->answer = probe->request.reply;
    } else {
        kw_reply_free(probe->request.reply);
    }
    memset(&probe->request, 0, sizeof(probe->request));
    if (failure != NULL) {
        probe->conn->state = KW_CONN_DEAD;
    }
    kw_node_release(node, probe->conn, now_ns, probe->is_counted ? NULL : failure);
    probe->conn = NULL;
    if (failure != NULL) {
        return KW_PROBE_SILENT;
    }
    return is_loading ? KW_PROBE_LOADING : KW_PROBE_ANSWERED;
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

static kw_probe_result begin(kw_probe *probe, kw_node *node, uint64_t now_ns)
{
    kw_error failure = KW_ERROR_INIT;
    if (kw_node_retry_ns(node, now_ns) > now_ns) {
        return KW_PROBE_LATER;
    }
    kw_err code = kw_node_try_acquire(node, &probe->conn, &failure, now_ns, true);
    if (code == KW_ERR_POOL_FULL) {
        return KW_PROBE_LATER;
    }
    if (code != KW_OK) {
        probe->conn = NULL;
        return KW_PROBE_SILENT;
    }
    probe->deadline_ns = now_ns + ANSWER_NS;
    probe->is_counted = probe->conn->state == KW_CONN_READY;
    probe->is_sent = false;
    return KW_PROBE_UNDER_WAY;
}

static short ready_events(const kw_probe *probe, const kw_node *node)
{
    struct pollfd entry = {probe->conn->socket, kw_conn_events(probe->conn), 0};
    const kw_transport *transport = node->env->transport;
    return transport->poll_fn(transport->arg, &entry, 1, 0) > 0 ? entry.revents : 0;
}

kw_probe_result kw_probe_go_on(kw_probe *probe, kw_node *node, uint64_t now_ns)
{
    kw_error failure = KW_ERROR_INIT;
    kw_err code = KW_OK;
    kw_conn_state state = probe->conn != NULL ? probe->conn->state : KW_CONN_CONNECTING;
    bool was_sent = probe->conn != NULL && probe->is_sent;
    if (probe->conn == NULL) {
        kw_probe_result result = begin(probe, node, now_ns);
        if (result != KW_PROBE_UNDER_WAY) {
            return result;
        }
    } else {
        code = kw_conn_progress(probe->conn, &failure, ready_events(probe, node));
    }
    if (probe->conn->was_ready && !probe->is_counted) {
        kw_node_on_ready(node, probe->conn);
        probe->is_counted = true;
    }
    if (code == KW_OK && !probe->is_sent && probe->conn->state == KW_CONN_READY) {
        code = ask(probe, &failure, now_ns);
    }
    if (code != KW_OK) {
        return end(probe, node, now_ns, &failure);
    }
    if (probe->is_sent && probe->request.is_done) {
        return end(probe, node, now_ns, NULL);
    }
    if (probe->conn->state != state || probe->is_sent != was_sent) {
        probe->deadline_ns = now_ns + ANSWER_NS; /* callers may be rarer than answers */
    }
    if (now_ns >= probe->deadline_ns) {
        kw_error_set(&failure, KW_ERR_HANDSHAKE, KW_EFFECT_NONE, "no answer to %s in time",
                     questions[probe->question].name);
        return end(probe, node, now_ns, &failure);
    }
    return KW_PROBE_UNDER_WAY;
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
