/* SPDX-License-Identifier: BSD-3-Clause */
/* Conn parts: what the files of a connection share: opening it (conn_open.c), what it sends and
 * receives (conn.c), waiting for it (conn_wait.c). */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "net/conn.h"

/* Declares it dead, with error set already; gives code back. One of many threads is declared
 * dead by its lane. */
kw_err kw_conn_die(kw_conn *conn, kw_err code);

/* The same, of what the transport or TLS said. */
kw_err kw_conn_die_of_errno(kw_conn *conn, kw_error *error, kw_err code, const char *what,
                            ssize_t status);
kw_err kw_conn_die_of_memory(kw_conn *conn, kw_error *error);

/* What may be behind a loss; "" for nothing special. status: the negative errno, or 0. */
const char *kw_conn_loss_hint(const kw_conn *conn, ssize_t status);

/* Tries the next address that takes a connect. status: why the one before did not. */
kw_err kw_conn_dial(kw_conn *conn, kw_error *error, int status);

/* One recv, and what it brings. *got: bytes, 0 when none came. */
kw_err kw_conn_take_in(kw_conn *conn, kw_error *error, size_t *got, bool waits);

/* How long the socket itself lets a recv wait. */
static inline uint64_t kw_conn_recv_wait_ms(const kw_options *options)
{
    return options->stall_ms < options->timeout_ms ? options->stall_ms : options->timeout_ms;
}

#endif
