/* SPDX-License-Identifier: BSD-3-Clause */
/* Conn: what its sources share: conn_open.c opens, conn_read.c receives, conn.c
 * sends and goes on, conn_wait.c waits, conn_login.c logs in anew. */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "net/conn.h"

/* One recv takes at most this much; a large reply takes several. */
#define KW_CONN_RECV_LEN ((size_t)16 * 1024)

/* What a connection that is not open yet has failed of: no word of now where it was left alone for
 * longer than it had. */
kw_err kw_conn_end_of_dial(kw_conn *conn, kw_error *error, kw_err code);

/* Makes the connection DEAD, and gives code back; error is set already. The state of a shared
 * connection is its lane's to change. */
kw_err kw_conn_die(kw_conn *conn, kw_err code);

/* Declares it dead of what the transport or TLS said. */
kw_err kw_conn_die_of_errno(kw_conn *conn, kw_error *error, kw_err code, const char *what,
                            ssize_t status);
kw_err kw_conn_die_of_memory(kw_conn *conn, kw_error *error);

/* TLS is being agreed on. */
static inline bool kw_conn_is_shaking(const kw_conn *conn)
{
    return conn->tls != NULL && kw_tls_is_shaking(conn->tls);
}

/* False where connect-timeout is set, which is for all steps together. */
static inline bool kw_conn_has_own_time(const kw_conn *conn)
{
    return conn->env->options.connect_timeout_ms == 0;
}

/* A step of opening the connection was answered: the connect, TLS, or the greeting. The next one
 * has as long as servers that are so far away need. */
void kw_conn_note_trip(kw_conn *conn);

/* What may be behind a loss; "" for nothing special. status: the negative errno, or 0. */
const char *kw_conn_loss_hint(const kw_conn *conn, ssize_t status);

/* Gives up the connects that go on beside. */
void kw_conn_close_rivals(kw_conn *conn);

/* Tries the next address that takes a connect. status: why the one before did not. */
kw_err kw_conn_dial(kw_conn *conn, kw_error *error, int status);

/* The connection is lost: did the server hang up on HELLO? */
void kw_conn_note_hang_up(kw_conn *conn);

/* What a lost connection means: to a call, or to the greeting. */
kw_err kw_conn_code_of_loss(const kw_conn *conn);

/* One recv, and the replies that it brings to their owners. *got: bytes, 0 when none came. */
kw_err kw_conn_take_in(kw_conn *conn, kw_error *error, size_t *got, bool waits);

/* In conn_login.c: the greeting's login was taken; and the answer to an AUTH behind it. */
void kw_conn_end_login(kw_conn *conn);
void kw_conn_on_login(kw_conn *conn, const kw_reply *reply);

/* How long the socket itself lets a recv wait. */
static inline uint64_t kw_conn_recv_wait_ms(const kw_options *options)
{
    uint64_t wait_ms =
        options->stall_ms < options->timeout_ms ? options->stall_ms : options->timeout_ms;
    return wait_ms < KW_SLICE_MS ? wait_ms : KW_SLICE_MS;
}

#endif
