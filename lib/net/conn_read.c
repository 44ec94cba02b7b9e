/* SPDX-License-Identifier: BSD-3-Clause */
/* What a connection receives: bytes, the replies in them, and whose they are. */
#include "net/conn_private.h"

#include "base/apart.h"
#include "base/error.h"
#include "engine/transaction.h"
#include "net/greeting.h"

#include <errno.h>

/* What a lost connection means: to a call, or to the greeting. */
kw_err kw_conn_code_of_loss(const kw_conn *conn)
{
    if (conn->state == KW_CONN_READY) {
        return KW_ERR_CLOSED;
    }
    return conn->tls != NULL && conn->state == KW_CONN_GREETING ? KW_ERR_HANDSHAKE : KW_ERR_CONNECT;
}

/* The greeting is over once no answer to it is awaited any more. */
static void end_greeting(kw_conn *conn)
{
    const kw_owner *next = kw_fifo_peek(&conn->owners);
    if (next == NULL || next->kind == KW_OWNER_REQUEST || next->kind == KW_OWNER_PARTS ||
        next->kind == KW_OWNER_NOBODY) {
        conn->state = KW_CONN_READY;
        conn->was_asked = next != NULL;
        kw_conn_end_login(conn);
        conn->was_ready = true;
        kw_conn_note_trip(conn);
    }
}

/* Takes a reply before the one that counts: the first error among them is kept, and joined with
 * that one when it comes. */
static void take_part(kw_conn *conn, kw_request *request, kw_reply *reply)
{
    if (request->reply == NULL && kw_reply_is(reply, KW_REPLY_ERROR)) {
        request->reply = reply;
    } else {
        kw_reply_free(reply);
    }
    kw_fifo_count_part(&conn->owners);
}

/* Takes a reply that no command waits for: of the greeting, or to be dropped. */
static kw_err take_reply(kw_conn *conn, kw_error *error, kw_reply *reply)
{
    kw_owner owner;
    if (!kw_fifo_pop(&conn->owners, &owner)) {
        kw_reply_free(reply);
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_MAYBE,
                            "the server sent a reply that nothing asked for");
    }
    kw_err code = KW_OK;
    if (owner.kind == KW_OWNER_LOGIN) {
        kw_conn_on_login(conn, reply);
    } else if (conn->state == KW_CONN_GREETING) {
        size_t asked_n = conn->owners.count;
        code = kw_greeting_on_reply(conn, error, &owner, reply);
        if (code == KW_OK) {
            end_greeting(conn);
        }
        if (conn->state == KW_CONN_GREETING && conn->owners.count > asked_n) {
            kw_conn_note_trip(conn); /* an older greeting, another login: a step of its own */
        }
    }
    kw_reply_free(reply);
    return code;
}

static void give(kw_conn *conn, kw_request *request, kw_reply *reply)
{
    request->reply = reply;
    request->is_done = true;
    kw_fifo_drop_first(&conn->owners);
}

/* A reply that is not simply that of a command. */
static kw_err take_other(kw_conn *conn, kw_error *error, kw_reply *reply)
{
    const kw_owner *next = kw_fifo_peek(&conn->owners);
    if (next == NULL || next->kind != KW_OWNER_PARTS) {
        return take_reply(conn, error, reply);
    }
    if (next->parts_n > 0) {
        take_part(conn, next->request, reply);
    } else {
        give(conn, next->request, kw_transaction_reply(next->request->reply, reply));
    }
    return KW_OK;
}

/* next: the owner of the next reply, or NULL. */
static inline kw_err give_to(kw_conn *conn, kw_error *error, const kw_owner *next, kw_reply *reply)
{
    if (next == NULL || next->kind != KW_OWNER_REQUEST) {
        return take_other(conn, error, reply);
    }
    give(conn, next->request, reply);
    return KW_OK;
}

kw_err kw_conn_give(kw_conn *conn, kw_error *error, kw_reply *reply)
{
    return give_to(conn, error, kw_fifo_peek(&conn->owners), reply);
}

static kw_err next_reply(kw_conn *conn, kw_reply **reply, kw_error *error)
{
    kw_err code = kw_reader_next(&conn->reader, reply, error);
    if (conn->reader.pushes_n > 0) {
        atomic_fetch_add_explicit(&conn->env->pushes_n, conn->reader.pushes_n,
                                  memory_order_relaxed);
        conn->reader.pushes_n = 0;
        conn->has_push = true;
    }
    return code;
}

/* Garbage in one piece with the greeting, before anything was asked, is the dial's failure. Whole
 * replies that nothing asked for say nothing against the next dial, which is made at once. */
static kw_err die(kw_conn *conn, kw_err code, bool was_greeting)
{
    bool is_of_dial = was_greeting && !conn->was_asked && code == KW_ERR_PROTOCOL;
    conn->was_ready = conn->was_ready && !is_of_dial;
    return kw_conn_die(conn, code);
}

/* Gives every whole reply to its owner. */
static kw_err parse(kw_conn *conn, kw_error *error)
{
    bool was_greeting = conn->state == KW_CONN_GREETING;
    kw_reply *reply = NULL;
    size_t given_n = 0;
    conn->is_cut = false;
    do {
        if (given_n++ == conn->gives_max && conn->gives_max > 0) {
            conn->is_cut = true;
            break;
        }
        const kw_owner *next = kw_fifo_peek(&conn->owners);
        bool is_callers = next != NULL &&
                          (next->kind == KW_OWNER_REQUEST || next->kind == KW_OWNER_PARTS) &&
                          !conn->is_internal;
        conn->reader.is_internal = !is_callers;
        conn->reader.pools = is_callers && next->request->pools;
        conn->reader.sink = is_callers ? next->request->sink : NULL;
        kw_err code = next_reply(conn, &reply, error);
        if (code == KW_OK && reply != NULL) {
            code = give_to(conn, error, next, reply);
        }
        if (code != KW_OK) {
            return die(conn, code, was_greeting);
        }
    } while (reply != NULL && kw_reader_has_rest(&conn->reader));
    if (conn->owners.count == 0 && kw_reader_has_rest(&conn->reader) &&
        kw_reader_has_reply_rest(&conn->reader)) {
        kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_MAYBE, "the server sent more than its reply");
        return die(conn, KW_ERR_DESYNC, was_greeting);
    }
    return KW_OK;
}

kw_err kw_conn_parse(kw_conn *conn, kw_error *error, kw_reply **replies, size_t max, size_t *n)
{
    conn->reader.is_internal = false;
    conn->reader.pools = false;
    conn->reader.sink = NULL;
    for (*n = 0; *n < max; (*n)++) {
        kw_err code = KW_OK;
        replies[*n] = NULL;
        if (*n == 0 || kw_reader_has_rest(&conn->reader)) {
            code = next_reply(conn, &replies[*n], error);
        }
        if (code != KW_OK || replies[*n] == NULL) {
            return code;
        }
    }
    return KW_OK;
}

static kw_err die_of_end(kw_conn *conn, kw_error *error)
{
    kw_err code = kw_conn_code_of_loss(conn);
    kw_conn_note_hang_up(conn);
    if (kw_conn_is_shaking(conn)) {
        kw_error_set(error, code, KW_EFFECT_NONE,
                     "the server closed the connection in the TLS handshake; does it speak TLS at "
                     "this port?");
    } else {
        kw_error_set(error, code, KW_EFFECT_MAYBE, "the server closed the connection%s",
                     kw_conn_loss_hint(conn, 0));
    }
    return kw_conn_die(conn, code);
}

/* How bytes are received. */
typedef struct recv_way {
    bool waits;
    bool lends; /* the reader copies nothing but what no reply has taken */
} recv_way;

/* Takes the bytes that TLS opened beyond what data had room for. An error among them is met again,
 * and reported, by the next recv. */
static kw_err receive_rest(kw_conn *conn, kw_error *error, size_t *got, char *data, size_t len)
{
    ssize_t status;
    kw_err code = KW_OK;
    while (code == KW_OK && (status = kw_tls_recv_rest(conn->tls, data, len)) > 0) {
        *got += (size_t)status;
        code = kw_reader_feed(&conn->reader, error, data, (size_t)status);
    }
    return code;
}

/* A recv that brought nothing; status: what it said. */
KW_APART static kw_err receive_nothing(kw_conn *conn, kw_error *error, ssize_t status)
{
    return status == -EAGAIN ? KW_OK
           : status < 0      ? kw_conn_die_of_errno(conn, error, kw_conn_code_of_loss(conn),
                                                    "connection lost", status)
                             : die_of_end(conn, error);
}

/* Bytes that TLS opened, which may have more for the same memory. */
KW_APART static kw_err take_opened(kw_conn *conn, kw_error *error, size_t *got, char *data)
{
    kw_err code = kw_reader_feed(&conn->reader, error, data, *got);
    return code == KW_OK ? receive_rest(conn, error, got, data, KW_CONN_RECV_LEN) : code;
}

/* One recv into data, of KW_CONN_RECV_LEN bytes, which the reader gets. */
static kw_err receive(kw_conn *conn, kw_error *error, size_t *got, char *data, recv_way way)
{
    ssize_t status = kw_conn_recv(conn, data, KW_CONN_RECV_LEN, way.waits);
    *got = status > 0 ? (size_t)status : 0;
    if (status <= 0) {
        return receive_nothing(conn, error, status);
    }
    kw_err code = conn->tls != NULL ? take_opened(conn, error, got, data)
                  : way.lends       ? kw_reader_lend(&conn->reader, error, data, *got)
                                    : kw_reader_feed(&conn->reader, error, data, *got);
    return code == KW_OK ? KW_OK : kw_conn_die(conn, code);
}

kw_err kw_conn_receive(kw_conn *conn, kw_error *error, size_t *got, bool waits)
{
    char data[KW_CONN_RECV_LEN];
    recv_way way = {.waits = waits, .lends = false};
    return receive(conn, error, got, data, way);
}

kw_err kw_conn_take_in(kw_conn *conn, kw_error *error, size_t *got, bool waits)
{
    char data[KW_CONN_RECV_LEN];
    recv_way way = {.waits = waits, .lends = true};
    kw_err code = receive(conn, error, got, data, way);
    if (code == KW_OK && *got > 0) {
        code = parse(conn, error);
        kw_err kept = kw_reader_end_loan(&conn->reader, code == KW_OK ? error : NULL);
        code = code != KW_OK || kept == KW_OK ? code : kw_conn_die(conn, kept);
    }
    return code;
}

bool kw_conn_is_quiet(kw_conn *conn, bool drops_pushes)
{
    char byte;
    if (!drops_pushes || !conn->reader.is_resp3) {
        return kw_conn_recv(conn, &byte, 1, false) == -EAGAIN;
    }
    kw_err code = KW_OK;
    size_t got = 1;
    while (code == KW_OK && got > 0) {
        code = kw_conn_take_in(conn, NULL, &got, false);
    }
    return code == KW_OK;
}

kw_err kw_conn_go_on(kw_conn *conn, kw_error *error)
{
    return parse(conn, error);
}
