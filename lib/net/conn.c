/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes and replies of a connection: what is queued, sent, received, and given to whom. */
#include "net/conn_private.h"

#include "base/apart.h"
#include "base/error.h"
#include "net/greeting.h"

#include <errno.h>
#include <string.h>

/* Bytes that one call receives, or hands to the system, before its caller looks at the clock again.
 */
#define RECV_ROUND_LEN ((size_t)256 * 1024)
#define SEND_ROUND_LEN ((size_t)1024 * 1024)

/* A request up to this size is copied, so that many leave in one send. */
#define JOIN_MAX_LEN ((size_t)16 * 1024)

static const char asking[] = "*1\r\n$6\r\nASKING\r\n";

static size_t waiting_len(const kw_conn *conn)
{
    return conn->out.len - conn->out_at + conn->rest.len;
}

uint64_t kw_conn_sent_at(const kw_conn *conn)
{
    return conn->queued - waiting_len(conn);
}

bool kw_conn_has_sent(const kw_conn *conn, const kw_request *request)
{
    return !conn->is_full && kw_conn_sent_at(conn) >= request->end_at;
}

bool kw_conn_has_half(const kw_conn *conn, const kw_request *request)
{
    uint64_t sent_at = kw_conn_sent_at(conn);
    return request->end_at != UINT64_MAX && sent_at < request->end_at &&
           sent_at > request->end_at - request->bytes.len;
}

short kw_conn_events(const kw_conn *conn)
{
    if (conn->state == KW_CONN_CONNECTING) {
        return POLLOUT;
    }
    if (kw_conn_is_shaking(conn)) {
        return kw_tls_has_sealed(conn->tls) ? POLLIN | POLLOUT : POLLIN;
    }
    return kw_conn_has_bytes(conn) ? POLLIN | POLLOUT : POLLIN;
}

KW_APART static kw_err on_connected(kw_conn *conn, kw_error *error)
{
    int status = conn->env->transport->opened_fn(conn->env->transport->arg, conn->socket,
                                                 kw_conn_recv_wait_ms(&conn->env->options));
    if (status != 0) {
        return kw_conn_die_of_errno(conn, error, KW_ERR_CONNECT, "cannot connect", status);
    }
    kw_conn_close_rivals(conn);
    conn->state = KW_CONN_GREETING;
    kw_conn_note_trip(conn);
    return KW_OK;
}

/* A send has failed. What the server said before it hung up is there to be read all the same: why
 * it does not take a large command. Its replies go to their owners. */
KW_APART static kw_err die_of_send(kw_conn *conn, kw_error *error, ssize_t status)
{
    kw_err code = kw_conn_code_of_loss(conn);
    if (conn->state == KW_CONN_CONNECTING) {
        return kw_conn_die_of_errno(conn, error, code, "cannot connect", status);
    }
    bool is_heard = !conn->is_shared && conn->tls == NULL; /* a lane has a reader, who hears it */
    size_t got = is_heard ? KW_CONN_RECV_LEN : 0;
    size_t taken_len = 0;
    kw_err heard = KW_OK;
    while (heard == KW_OK && got > 0 && taken_len < RECV_ROUND_LEN) {
        heard = kw_conn_take_in(conn, error, &got, false);
        taken_len += got;
    }
    if (heard != KW_OK) {
        /* the server's word, or its end, says more than the send's failure */
        return kw_conn_end_of_dial(conn, error, heard);
    }
    return kw_conn_die_of_errno(conn, error, code, "connection lost while sending", status);
}

/* Sends of the bytes what the system takes, as many as are sent at a time; the others are left. A
 * socket that takes a part is full: it says when it takes more (TLS takes a record at a time). */
static kw_err send_some(kw_conn *conn, kw_error *error, kw_bytes *bytes)
{
    size_t left_len = bytes->len > SEND_ROUND_LEN ? bytes->len - SEND_ROUND_LEN : 0;
    while (bytes->len > left_len) {
        ssize_t status = kw_conn_send(conn, bytes->data, bytes->len - left_len);
        if (status < 0) {
            return status == -EAGAIN ? KW_OK : die_of_send(conn, error, status);
        }
        bytes->data += status;
        bytes->len -= (size_t)status;
        kw_err code = conn->state == KW_CONN_CONNECTING ? on_connected(conn, error) : KW_OK;
        if (code != KW_OK || conn->tls == NULL) {
            return code;
        }
    }
    return KW_OK;
}

/* Sends what TLS has sealed and the socket did not take yet. */
KW_APART static kw_err flush_sealed(kw_conn *conn, kw_error *error)
{
    int status = conn->tls != NULL ? kw_tls_flush(conn->tls, conn->socket) : 0;
    if (status == 0 || status == -EAGAIN) {
        return KW_OK;
    }
    return kw_conn_die_of_errno(conn, error, kw_conn_code_of_loss(conn),
                                "connection lost while sending", status);
}

/* The library's own bytes first, and what did not fit. */
static kw_err flush_out(kw_conn *conn, kw_error *error)
{
    size_t len = conn->out.len - conn->out_at;
    kw_bytes waiting = {conn->out.data + conn->out_at, len};
    kw_err code = send_some(conn, error, &waiting);
    conn->out_at += len - waiting.len;
    if (code == KW_OK && waiting.len == 0) {
        if (conn->out.is_secret) {
            kw_buf_forget(&conn->out);
        }
        conn->out.len = 0;
        conn->out_at = 0;
    }
    return code;
}

static kw_err flush(kw_conn *conn, kw_error *error)
{
    if (conn->out_at < conn->out.len) {
        kw_err code = flush_out(conn, error);
        if (code != KW_OK || conn->out_at < conn->out.len) {
            return code;
        }
    }
    return conn->rest.len > 0 ? send_some(conn, error, &conn->rest) : flush_sealed(conn, error);
}

/* poll has said something of a connect under way. */
static kw_err on_connect_polled(kw_conn *conn, kw_error *error, short revents)
{
    if ((revents & (POLLERR | POLLHUP | POLLNVAL)) == 0) {
        return on_connected(conn, error);
    }
    const kw_transport *transport = conn->env->transport;
    return kw_conn_dial(conn, error, transport->error_fn(transport->arg, conn->socket));
}

/* Why it could not be opened. What the server said when the time for it was long over, as nobody
 * looked, is not what it says now (it may have been loading its users then): no call ends by it,
 * and the next dial hears more. */
kw_err kw_conn_end_of_dial(kw_conn *conn, kw_error *error, kw_err code)
{
    if (code == KW_OK || conn->was_ready || code == KW_ERR_NOMEM || code == KW_ERR_CANCELLED ||
        (kw_env_now(conn->env) < conn->deadline_ns && !conn->was_left)) {
        return code;
    }
    conn->lost = KW_ERR_HANDSHAKE;
    conn->is_incompatible = false;
    if (error != NULL) {
        error->code = KW_ERR_HANDSHAKE;
        error->effect = KW_EFFECT_NONE;
    }
    return KW_ERR_HANDSHAKE;
}

kw_err kw_conn_progress(kw_conn *conn, kw_error *error, short revents)
{
    kw_err code = KW_OK;
    if (conn->state == KW_CONN_CONNECTING) {
        bool is_told = (revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL)) != 0;
        bool is_of_other = conn->is_switched; /* the next poll is of this one */
        conn->is_switched = false;
        if (!is_told || is_of_other || conn->socket < 0) {
            return KW_OK; /* what is readable says nothing of a connect */
        }
        code = on_connect_polled(conn, error, revents);
        if (code != KW_OK || conn->state == KW_CONN_CONNECTING) {
            return code;
        }
    }
    bool was_shaking = kw_conn_is_shaking(conn);
    if (conn->state != KW_CONN_READY || (revents & POLLOUT) != 0) {
        code = flush(conn, error); /* else it leaves in one piece, when nobody queues more */
    }
    size_t got = (revents & (POLLIN | POLLHUP | POLLERR)) != 0 ? KW_CONN_RECV_LEN : 0;
    size_t taken_len = 0;
    while (code == KW_OK && got >= KW_CONN_RECV_LEN && taken_len < RECV_ROUND_LEN &&
           !conn->is_cut) {
        code = kw_conn_take_in(conn, error, &got, false);
        taken_len += got;
    }
    if (was_shaking && !kw_conn_is_shaking(conn)) {
        kw_conn_note_trip(conn);
    }
    if (code == KW_OK && conn->state == KW_CONN_GREETING) {
        code = flush(conn, error); /* an answer may have asked for more */
    }
    return kw_conn_end_of_dial(conn, error, code);
}

/* What was sent makes room for what waits behind it. */
static void make_room(kw_conn *conn)
{
    conn->out.len -= conn->out_at;
    memmove(conn->out.data, conn->out.data + conn->out_at, conn->out.len);
    if (conn->out.is_secret) {
        kw_mem_wipe(conn->out.data + conn->out.len, conn->out_at);
    }
    conn->out_at = 0;
}

/* Appends to the bytes that wait to be sent. */
static inline bool append(kw_conn *conn, const char *data, size_t len)
{
    if (conn->out_at >= KW_CONN_ROOM_LEN) {
        make_room(conn);
    }
    if (!kw_buf_reserve(&conn->out, len)) {
        return false;
    }
    memcpy(conn->out.data + conn->out.len, data, len);
    conn->out.len += len;
    return true;
}

/* Puts ASKING before the request that follows at once, so that nothing comes between. */
static kw_err queue_asking(kw_conn *conn, kw_error *error)
{
    kw_owner owner = {KW_OWNER_OPTIONAL, 0, {"ASKING"}};
    if (!append(conn, asking, sizeof(asking) - 1) || !kw_fifo_push(&conn->owners, owner)) {
        return kw_conn_die_of_memory(conn, error);
    }
    conn->queued += sizeof(asking) - 1;
    return KW_OK;
}

kw_err kw_conn_queue(kw_conn *conn, kw_error *error, kw_request *request, bool is_asking)
{
    kw_owner owner = {KW_OWNER_REQUEST, 0, {.request = request}};
    if (request->parts_n > 0) {
        owner.kind = KW_OWNER_PARTS;
        owner.parts_n = request->parts_n;
    }
    request->end_at = UINT64_MAX; /* not sent, where there is no memory for it */
    if (kw_conn_has_old_login(conn)) {
        kw_conn_renew_login(conn, 0);
    }
    if (is_asking && queue_asking(conn, error) != KW_OK) {
        return KW_ERR_NOMEM;
    }
    if (!kw_fifo_push(&conn->owners, owner)) {
        return kw_conn_die_of_memory(conn, error);
    }
    bool is_small = request->bytes.len <= JOIN_MAX_LEN;
    if (request->is_shared || (is_small && (request->joins || conn->out.len > 0)) ||
        conn->state != KW_CONN_READY) { /* a greeting that goes on is said behind it */
        if (!append(conn, request->bytes.data, request->bytes.len)) {
            return kw_conn_die_of_memory(conn, error);
        }
    } else {
        conn->rest = request->bytes;
    }
    conn->queued += request->bytes.len;
    request->end_at = conn->queued;
    return KW_OK;
}

kw_err kw_conn_queue_pair(kw_conn *conn, kw_error *error, kw_request *first, kw_request *second,
                          bool is_asking)
{
    kw_owner owner = {KW_OWNER_REQUEST, 0, {.request = second}};
    size_t len = second->bytes.len;
    second->end_at = UINT64_MAX;
    first->bytes.len += len;
    kw_err code = kw_conn_queue(conn, error, first, is_asking);
    first->bytes.len -= len;
    if (code != KW_OK) {
        return code;
    }
    second->end_at = first->end_at;
    first->end_at -= len;
    return kw_fifo_push(&conn->owners, owner) ? KW_OK : kw_conn_die_of_memory(conn, error);
}

bool kw_conn_unqueue(kw_conn *conn, const kw_request *request, bool is_asking)
{
    size_t len = request->bytes.len + (is_asking ? sizeof(asking) - 1 : 0);
    size_t n = is_asking ? 2 : 1;
    if (request->end_at != conn->queued || conn->rest.len > 0 ||
        conn->out.len - conn->out_at < len || !kw_fifo_drop_last(&conn->owners, request, n)) {
        return false;
    }
    conn->out.len -= len;
    conn->queued -= len;
    return true;
}

kw_err kw_conn_flush(kw_conn *conn, kw_error *error)
{
    return flush(conn, error);
}

bool kw_conn_make_room(kw_conn *conn, size_t len)
{
    if (!kw_fifo_reserve(&conn->owners, 2) || !kw_buf_reserve(&conn->out, sizeof(asking) + len)) {
        return false;
    }
    if (kw_conn_has_old_login(conn)) {
        kw_conn_renew_login(conn, sizeof(asking) + len);
    }
    return true;
}

void kw_conn_shutdown(kw_conn *conn)
{
    if (conn->socket >= 0) {
        conn->env->transport->shutdown_fn(conn->env->transport->arg, conn->socket);
    }
}
