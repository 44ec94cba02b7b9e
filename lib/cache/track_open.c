/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens a pair: the connection for messages first, whose number the other one is told. */
#include "cache/track_open.h"

#include "base/error.h"

#include <stdio.h>

static const char subscribe[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$20\r\n__redis__:invalidate\r\n";
static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n";
static const char ask_id[] = "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";

/* Goes on with a connection until it is ready. *is_ready: it is. */
static kw_err go_on(kw_track_pair *pair, kw_conn *conn, bool *is_known, kw_error *error,
                    short revents)
{
    kw_err code = KW_OK;
    conn->is_switched = false; /* what was polled is of the socket in use */
    if (revents != 0 || conn->state != KW_CONN_READY) {
        code = kw_conn_progress(conn, error, revents);
    }
    /* Calls may be rarer than answers: what has come is looked at before it is late. */
    code = code == KW_OK ? kw_conn_check_overdue(conn, error, kw_env_now(conn->env)) : code;
    if (conn->was_ready && !*is_known) {
        kw_node_on_ready(pair->node, conn);
        *is_known = true;
    }
    return code;
}

static kw_err acquire(kw_track_pair *pair, kw_conn **conn, bool *is_known, kw_error *error)
{
    uint64_t retry_ns;
    kw_err code =
        kw_node_open_shared(pair->node, conn, error, &retry_ns, kw_env_now(pair->node->env));
    if (code != KW_OK) {
        *conn = NULL;
        return code;
    }
    *is_known = (*conn)->state == KW_CONN_READY;
    return KW_OK;
}

kw_err kw_track_ask(kw_track_pair *pair, kw_conn *conn, kw_error *error, const char *text)
{
    kw_request_init(&pair->request);
    pair->request.bytes = kw_bytes_of(text);
    pair->request.is_shared = true;
    kw_err code = kw_conn_queue(conn, error, &pair->request, false);
    return code == KW_OK ? kw_conn_flush(conn, error) : code;
}

static kw_err refused(kw_track_pair *pair, kw_error *error)
{
    char shown[160];
    kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(pair->request.reply));
    pair->is_refused = true;
    return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE, "%s", shown);
}

/* The connection for messages is there. Its messages are read as arrays, in one way for all. */
static kw_err begin_asking(kw_track_pair *pair, kw_error *error)
{
    bool is_resp3 = pair->node->env->options.protocol == 3;
    if (pair->step == KW_TRACK_PLAIN && kw_reply_is_error(pair->request.reply)) {
        return refused(pair, error);
    }
    bool is_plain = !is_resp3 || pair->step == KW_TRACK_PLAIN;
    kw_reply_free(pair->request.reply);
    pair->step = is_plain ? KW_TRACK_ASKING : KW_TRACK_PLAIN;
    return kw_track_ask(pair, pair->inval, error, is_plain ? ask_id : hello);
}

/* The number is known: listen from now on, and open the other one. */
static kw_err listen_from_now(kw_track_pair *pair, kw_error *error)
{
    const kw_reply *reply = pair->request.reply;
    if (kw_reply_type(reply) != KW_REPLY_INTEGER) {
        return refused(pair, error);
    }
    char number[24];
    int len = snprintf(number, sizeof(number), "%lld", kw_reply_int(reply));
    snprintf(pair->text, sizeof(pair->text),
             "*5\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$8\r\nREDIRECT\r\n$%d\r\n%s\r\n",
             len, number);
    kw_reply_free(pair->request.reply);
    pair->request.reply = NULL;
    /* From here on the connection's own queue knows nothing of what comes. */
    ssize_t sent = kw_conn_send(pair->inval, subscribe, sizeof(subscribe) - 1);
    if (sent != (ssize_t)sizeof(subscribe) - 1 || kw_conn_has_bytes(pair->inval)) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE, "SUBSCRIBE could not be sent");
    }
    pair->step = KW_TRACK_READING;
    return acquire(pair, &pair->data, &pair->is_data_known, error);
}

/* The connection for messages may have been lost meanwhile: that is no refusal. Where it is so
 * again, the two have come to different servers, by a proxy. */
static bool is_lost(kw_track_pair *pair)
{
    static const char text[] = "ERR The client ID you want redirect to does not exist";
    bool was_lone = pair->is_lone;
    pair->is_lone = kw_bytes_equal(kw_reply_bytes(pair->request.reply), kw_bytes_of(text));
    return pair->is_lone && !was_lone;
}

static kw_err turn_on(kw_track_pair *pair, kw_error *error)
{
    if (kw_reply_is_error(pair->request.reply)) {
        return is_lost(pair) ? kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                                            "the connection for messages about keys is gone")
                             : refused(pair, error);
    }
    kw_reply_free(pair->request.reply);
    kw_request_init(&pair->request);
    pair->step = KW_TRACK_READY;
    pair->is_refused = pair->is_lone = false;
    kw_near_end_epoch(pair->near, pair->at); /* a new one begins */
    atomic_store(&pair->near->pairs[pair->at].is_wanted, true);
    atomic_store(&pair->is_ready, true);
    return KW_OK;
}

kw_err kw_track_open_on(kw_track_pair *pair, kw_error *error, short on_inval, short on_data)
{
    kw_err code = KW_OK;
    switch (pair->step) {
    case KW_TRACK_DOWN:
        pair->step = KW_TRACK_HEARING;
        pair->begun_ns = kw_env_now(pair->node->env);
        code = acquire(pair, &pair->inval, &pair->is_inval_known, error);
        break;
    case KW_TRACK_HEARING:
        code = go_on(pair, pair->inval, &pair->is_inval_known, error, on_inval);
        if (code == KW_OK && kw_conn_is_settled(pair->inval)) {
            code = begin_asking(pair, error);
        }
        break;
    case KW_TRACK_PLAIN:
        code = go_on(pair, pair->inval, &pair->is_inval_known, error, on_inval);
        if (code == KW_OK && pair->request.is_done) {
            code = begin_asking(pair, error);
        }
        break;
    case KW_TRACK_ASKING:
        code = go_on(pair, pair->inval, &pair->is_inval_known, error, on_inval);
        if (code == KW_OK && pair->request.is_done) {
            code = listen_from_now(pair, error);
        }
        break;
    case KW_TRACK_READING:
        code = go_on(pair, pair->data, &pair->is_data_known, error, on_data);
        if (code == KW_OK && pair->is_subscribed && kw_conn_is_settled(pair->data)) {
            pair->step = KW_TRACK_TURNING;
            code = kw_track_ask(pair, pair->data, error, pair->text);
        }
        break;
    case KW_TRACK_TURNING:
        code = go_on(pair, pair->data, &pair->is_data_known, error, on_data);
        if (code == KW_OK && pair->request.is_done) {
            code = turn_on(pair, error);
        }
        break;
    case KW_TRACK_READY:
        break;
    }
    return code;
}
