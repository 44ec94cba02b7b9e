/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection of a lane: what goes out on it, whose replies come, and its end. */
#include "net/lane_stream.h"

#include "base/error.h"

#include <string.h>

void kw_lane_stream_init(kw_lane_stream *stream)
{
    memset(stream, 0, sizeof(*stream));
    stream->death.size = sizeof(stream->death);
    stream->read_failure.size = sizeof(stream->read_failure);
    stream->write_failure.size = sizeof(stream->write_failure);
    atomic_init(&stream->is_dying, false);
    atomic_init(&stream->stuck_at, UINT64_MAX);
    atomic_init(&stream->answered_at, 0);
}

void kw_lane_stream_fini(kw_lane_stream *stream)
{
    kw_conn_free(stream->conn);
}

bool kw_lane_stream_owes_nobody(const kw_lane_stream *stream)
{
    const kw_fifo *fifo = &stream->conn->owners;
    for (size_t i = 0; i < fifo->count; i++) {
        if (kw_fifo_at(fifo, i)->kind == KW_OWNER_REQUEST) {
            return false;
        }
    }
    return true;
}

kw_err kw_lane_stream_put(kw_lane_stream *stream, size_t *n, kw_lane_waiter *waiter,
                          uint64_t now_ns)
{
    kw_conn *conn = stream->conn;
    size_t before_n = conn->owners.count;
    if (!kw_conn_make_room(conn, waiter->request.bytes.len)) {
        return KW_ERR_NOMEM;
    }
    if (before_n == 0) {
        stream->heard_ns = now_ns;
    }
    waiter->request.is_shared = true;
    (void)kw_conn_queue(conn, NULL, &waiter->request, waiter->is_asking); /* has its room */
    waiter->state = KW_LANE_WAITER_TAKEN;
    *n = conn->owners.count - before_n;
    return KW_OK;
}

bool kw_lane_stream_die(kw_lane_stream *stream, kw_err code, const kw_error *failure)
{
    if (kw_lane_stream_is_dying(stream)) {
        return false;
    }
    kw_error_copy(&stream->death, failure);
    stream->death.code = code;
    atomic_store(&stream->is_dying, true);
    return true;
}

void kw_lane_stream_attach(kw_lane_stream *stream, kw_conn *conn, uint64_t now_ns)
{
    stream->conn = conn;
    stream->is_ready = conn->state == KW_CONN_READY;
    stream->is_resolving = conn->lookup != NULL;
    conn->is_shared = stream->is_ready;
    stream->heard_ns = now_ns;
}

void kw_lane_stream_on_ready(kw_lane_stream *stream, uint64_t now_ns)
{
    kw_conn *conn = stream->conn;
    stream->is_ready = true;
    conn->is_shared = true;
    stream->has_rest = kw_conn_has_bytes(conn);
    if (stream->has_rest) {
        atomic_store(&stream->stuck_at, kw_conn_sent_at(conn));
    }
    stream->tombstones_n = 0;
    for (size_t i = 0; i < conn->owners.count; i++) {
        stream->tombstones_n += kw_fifo_at(&conn->owners, i)->kind == KW_OWNER_NOBODY ? 1 : 0;
    }
    stream->heard_ns = now_ns;
}

/* What was at at_ns, where the time from left_ns to now_ns does not count. */
static uint64_t without_pause(uint64_t at_ns, uint64_t left_ns, uint64_t now_ns)
{
    return at_ns < left_ns ? now_ns - (left_ns - at_ns) : now_ns;
}

void kw_lane_stream_skip(kw_lane_stream *stream, uint64_t left_ns, uint64_t now_ns)
{
    stream->heard_ns = without_pause(stream->heard_ns, left_ns, now_ns);
    stream->mark_ns = without_pause(stream->mark_ns, left_ns, now_ns);
}

void kw_lane_stream_detach(kw_lane_stream *stream, kw_lane_leaving *leaving)
{
    stream->conn->is_shared = false;
    leaving->conn = stream->conn;
    leaving->was_ready = stream->is_ready;
    if (!stream->is_ready) {
        leaving->failure = stream->death;
        leaving->failure.code = kw_lane_stream_is_dying(stream) ? stream->death.code : KW_OK;
    }
    stream->conn = NULL;
    stream->is_ready = false;
    stream->is_greeting = false;
    stream->is_outdated = false;
    stream->has_rest = false;
    stream->is_long = false;
    stream->mark_n = 0;
    stream->tombstones_n = 0;
    stream->is_owed = false;
    atomic_store(&stream->stuck_at, UINT64_MAX);
    atomic_store(&stream->answered_at, 0);
    atomic_store(&stream->is_dying, false);
}

kw_err kw_lane_stream_send(kw_lane_stream *stream)
{
    kw_conn *conn = stream->conn;
    if (atomic_load_explicit(&stream->stuck_at, memory_order_relaxed) != UINT64_MAX) {
        atomic_store(&stream->stuck_at, UINT64_MAX);
    }
    kw_err code = kw_conn_flush(conn, &stream->write_failure);
    if (code != KW_OK || !kw_conn_has_bytes(conn)) {
        return code;
    }
    uint64_t sent_at = kw_conn_sent_at(conn);
    atomic_store(&stream->stuck_at, sent_at);
    if (atomic_load(&stream->answered_at) > sent_at) {
        return kw_error_set(&stream->write_failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                            KW_LANE_EARLY_ANSWER);
    }
    return KW_OK;
}

/* True for what makes the replies that came with it doubtful: one too many, or garbage
 * behind them. */
static bool is_suspect(const kw_lane_stream *stream, size_t n, kw_err code)
{
    const kw_conn *conn = stream->conn;
    if (code == KW_ERR_PROTOCOL || n > conn->owners.count) {
        return true;
    }
    return code == KW_OK && n == conn->owners.count && kw_reader_has_reply_rest(&conn->reader);
}

kw_err kw_lane_stream_check(kw_lane_stream *stream, size_t n, kw_err code)
{
    if (!is_suspect(stream, n, code)) {
        return KW_OK;
    }
    if (code == KW_OK) {
        code = kw_error_set(&stream->read_failure, KW_ERR_DESYNC, KW_EFFECT_MAYBE,
                            "the server sent a reply that nothing asked for");
    }
    return code;
}

void kw_lane_stream_answer(kw_lane_stream *stream, size_t n)
{
    for (size_t i = n; i > 0; i--) {
        const kw_owner *owner = kw_fifo_at(&stream->conn->owners, i - 1);
        const kw_request *request = kw_owner_request(owner);
        uint64_t end_at = request != NULL                  ? request->end_at
                          : owner->kind == KW_OWNER_NOBODY ? owner->end_at
                                                           : 0;
        if (end_at > 0) {
            atomic_store(&stream->answered_at, end_at);
            return;
        }
    }
}

bool kw_lane_stream_give(kw_lane_stream *stream, kw_lane_waiter **waiter, kw_reply *reply,
                         uint64_t stuck_at)
{
    const kw_owner *owner = kw_fifo_peek(&stream->conn->owners);
    *waiter = (kw_lane_waiter *)kw_owner_request(owner);
    if (*waiter != NULL && (*waiter)->request.end_at - (*waiter)->request.bytes.len >= stuck_at) {
        return false;
    }
    stream->tombstones_n -= owner->kind == KW_OWNER_NOBODY ? 1 : 0;
    (void)kw_conn_give(stream->conn, NULL, reply); /* there is an owner */
    return true;
}
