/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens the connection of a push stream, sends its commands, receives its messages. */
#include "net/push_link.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* Room that one recv has at least, and the most that stays when nothing is there. */
#define RECV_LEN ((size_t)16 * 1024)
#define KEEP_LEN ((size_t)256 * 1024)

/* Bytes that one look receives before its caller goes on with others. */
#define ROUND_LEN ((size_t)32 * 1024)

/* A node that cannot be had just now is asked again after this. */
#define RETRY_NS ((uint64_t)5000000)

kw_push_link *kw_push_link_new(kw_node *node, uint64_t silence_ns)
{
    const kw_allocator *mem = &node->env->mem;
    kw_push_link *link = kw_mem_calloc(mem, 1, sizeof(*link));
    if (link != NULL) {
        kw_push_stream_init(&link->stream, mem, silence_ns);
        kw_buf_init(&link->in, mem, NULL, 0);
        link->watch.socket = -1;
        link->node = kw_node_ref(node);
        link->is_in_map = true;
    }
    return link;
}

void kw_push_link_free(kw_push_link *link)
{
    if (link != NULL) {
        const kw_allocator *mem = &link->node->env->mem;
        kw_node *node = link->node;
        kw_push_stream_fini(&link->stream);
        kw_buf_fini(&link->in);
        kw_mem_free(mem, link);
        kw_node_unref(node);
    }
}

static kw_err watch(kw_push_link *link, kw_error *error, kw_poller *poller)
{
    kw_conn *conn = link->conn;
    if (link->is_paused || conn->socket < 0) {
        kw_poller_remove(poller, &link->watch);
        return KW_OK;
    }
    short events = kw_conn_events(conn);
    if (link->stream.out.len > 0) {
        events |= POLLOUT;
    }
    if (link->watch.socket == conn->socket && link->watch.events == events) {
        return KW_OK;
    }
    return kw_poller_set(poller, error, &link->watch, conn->socket, events);
}

/* The greeting is over, and nothing else has come: from here on the bytes are the stream's. */
static kw_err begin_stream(kw_push_link *link, kw_error *error, uint64_t now_ns)
{
    kw_conn *conn = link->conn;
    if (conn->was_ready && !link->is_counted) {
        kw_node_on_ready(link->node, conn);
        link->is_counted = true;
    }
    if (link->stream.is_open || !kw_conn_is_settled(conn)) {
        return KW_OK;
    }
    if (kw_reader_has_rest(&conn->reader)) {
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_NONE,
                            "the server sent more than its greeting");
    }
    kw_push_stream_on_open(&link->stream, now_ns, conn->reader.is_resp3);
    return KW_OK;
}

static kw_err begin_open(kw_push_link *link, kw_error *error, uint64_t now_ns)
{
    uint64_t retry_ns = now_ns;
    kw_err code = kw_node_open_shared(link->node, &link->conn, error, &retry_ns, now_ns);
    if (code == KW_OK) {
        link->conn->is_internal = true;
        link->is_counted = link->conn->was_ready;
        return KW_OK;
    }
    link->conn = NULL;
    link->stream.retry_ns = retry_ns > now_ns ? retry_ns : now_ns + RETRY_NS;
    return code;
}

/* Sends what waits, as far as the socket takes it. */
static kw_err send_out(kw_push_link *link, kw_error *error)
{
    kw_buf *out = &link->stream.out;
    size_t sent_len = 0;
    kw_err code = KW_OK;
    while (sent_len < out->len && code == KW_OK) {
        ssize_t status = kw_conn_send(link->conn, out->data + sent_len, out->len - sent_len);
        if (status == -EAGAIN) {
            break;
        }
        if (status < 0) {
            code = kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                                "the connection was lost while sending");
        } else {
            sent_len += (size_t)status;
        }
    }
    if (sent_len > 0) {
        memmove(out->data, out->data + sent_len, out->len - sent_len);
        out->len -= sent_len;
    }
    if (out->len == 0 && out->capacity > KEEP_LEN) {
        kw_buf_fini(out);
    }
    /* What TLS has sealed, and the socket did not take. */
    return code == KW_OK ? kw_conn_flush(link->conn, error) : code;
}

/* False where the server at the node's address is another one than that of the connection, as far
 * as is known, or is to be another. */
static bool is_current(kw_push_link *link)
{
    kw_conn *conn = link->conn;
    if (kw_node_is_of_generation(link->node, conn)) {
        return true;
    }
    /* In a cluster the role alone may have changed, which does not concern who listens. */
    uint64_t id = atomic_load_explicit(&link->node->id, memory_order_relaxed);
    bool is_cluster = link->node->env->options.scheme == KW_SCHEME_CLUSTER;
    return is_cluster && id != 0 && id == conn->said.id;
}

kw_err kw_push_link_advance(kw_push_link *link, kw_error *error, kw_poller *poller, uint64_t now_ns)
{
    kw_err code = KW_OK;
    if (link->conn == NULL) {
        bool is_due = link->stream.feeds_n > 0 && now_ns >= link->stream.retry_ns;
        code = is_due ? begin_open(link, error, now_ns) : KW_OK;
        if (link->conn == NULL) {
            return code;
        }
    }
    if (!link->stream.is_open) {
        if (kw_conn_is_racing(link->conn, now_ns)) {
            kw_poller_remove(poller, &link->watch); /* it may go on with another socket */
        }
        code = kw_conn_check_overdue(link->conn, error, now_ns);
        code = code == KW_OK ? begin_stream(link, error, now_ns) : code;
    } else if (!is_current(link)) {
        code = kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "another server is to answer at the node's address");
    } else {
        code = send_out(link, error);
    }
    return code == KW_OK ? watch(link, error, poller) : code;
}

static void shed(kw_push_link *link)
{
    kw_buf *in = &link->in;
    in->len -= link->in_at;
    if (in->len > 0 && link->in_at > 0) {
        memmove(in->data, in->data + link->in_at, in->len);
    }
    link->in_at = 0;
    if (in->len == 0 && in->capacity > KEEP_LEN) {
        kw_buf_fini(in);
    }
}

/* What TLS has opened beyond the room that a recv had. */
static kw_err receive_rest(kw_push_link *link, kw_error *error)
{
    kw_buf *in = &link->in;
    ssize_t status = 1;
    while (link->conn->tls != NULL && status > 0) {
        if (!kw_buf_reserve(in, RECV_LEN)) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for messages");
        }
        status = kw_tls_recv_rest(link->conn->tls, in->data + in->len, in->capacity - in->len);
        in->len += status > 0 ? (size_t)status : 0;
    }
    return KW_OK;
}

static kw_err receive_all(kw_push_link *link, kw_error *error, uint64_t now_ns)
{
    kw_buf *in = &link->in;
    shed(link);
    for (size_t taken_len = 0; taken_len < ROUND_LEN;) {
        size_t missing_len = link->wanted_len > in->len ? link->wanted_len - in->len : 0;
        if (!kw_buf_reserve(in, missing_len > RECV_LEN ? missing_len : RECV_LEN)) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for messages");
        }
        size_t room_len = in->capacity - in->len;
        ssize_t status = kw_conn_recv(link->conn, in->data + in->len, room_len, false);
        if (status == -EAGAIN) {
            return KW_OK;
        }
        if (status <= 0) {
            return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                                "the server closed the connection");
        }
        in->len += (size_t)status;
        taken_len += (size_t)status;
        link->has_pending = true;
        kw_push_stream_on_heard(&link->stream, now_ns);
        kw_err code = receive_rest(link, error);
        if (code != KW_OK || (size_t)status < room_len) {
            return code; /* what has come meanwhile makes the socket readable again */
        }
    }
    return KW_OK;
}

kw_err kw_push_link_receive(kw_push_link *link, kw_error *error, kw_poller *poller, uint64_t now_ns)
{
    short revents = link->watch.revents;
    link->watch.revents = 0;
    if (link->conn == NULL || revents == 0 || link->is_paused) {
        return KW_OK;
    }
    if (link->stream.is_open) {
        bool is_readable = (revents & (POLLIN | POLLHUP | POLLERR)) != 0;
        return is_readable ? receive_all(link, error, now_ns) : KW_OK;
    }
    if (link->conn->state == KW_CONN_CONNECTING) {
        kw_poller_remove(poller, &link->watch); /* the next address is another socket */
    }
    kw_err code = kw_conn_progress(link->conn, error, revents);
    code = code == KW_OK ? begin_stream(link, error, now_ns) : code;
    return code == KW_OK ? watch(link, error, poller) : code;
}

kw_push_state kw_push_link_next(kw_push_link *link, kw_push *push)
{
    kw_bytes rest = {link->in.data + link->in_at, link->in.len - link->in_at};
    uint64_t max = link->node->env->options.reply_bytes_max;
    size_t len_max = max < SIZE_MAX ? (size_t)max : SIZE_MAX;
    kw_push_state state = rest.len > 0 ? kw_push_read(push, rest, len_max) : KW_PUSH_MORE;
    link->in_at += state == KW_PUSH_WHOLE ? push->len : 0;
    link->wanted_len = state == KW_PUSH_MORE && rest.len > 0 ? push->wanted_len : 0;
    link->has_pending = state == KW_PUSH_WHOLE;
    return state;
}

void kw_push_link_drop(kw_push_link *link, const kw_error *failure, kw_poller *poller,
                       uint64_t now_ns)
{
    link->in.len = 0;
    link->in_at = 0;
    link->wanted_len = 0;
    link->has_pending = false;
    link->is_paused = false;
    link->is_lost = false;
    shed(link);
    if (link->conn == NULL) {
        return;
    }
    if (poller != NULL) {
        kw_poller_remove(poller, &link->watch);
    }
    kw_error given_up = kw_error_none();
    if (failure == NULL || failure->code == KW_OK) {
        kw_error_set(&given_up, KW_ERR_TIMEOUT, KW_EFFECT_NONE, "given up before it was ready");
        failure = &given_up;
    }
    link->conn->state = KW_CONN_DEAD; /* what comes on it is nobody's reply */
    kw_node_release_shared(link->node, link->conn, now_ns, link->is_counted ? NULL : failure);
    link->conn = NULL;
    link->is_counted = false;
}

uint64_t kw_push_link_due_ns(const kw_push_link *link)
{
    if (link->conn == NULL) {
        return link->stream.feeds_n > 0 ? link->stream.retry_ns : UINT64_MAX;
    }
    if (link->stream.is_open) {
        return link->is_paused ? UINT64_MAX : kw_push_stream_due_ns(&link->stream);
    }
    return kw_conn_due_ns(link->conn);
}
