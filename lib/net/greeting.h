/* SPDX-License-Identifier: BSD-3-Clause */
/* Greeting: the commands that open a connection, and what their answers mean. */
#ifndef NET_GREETING_H
#define NET_GREETING_H

#include "net/conn.h"

/* Appends the greeting to conn->out and its owners: HELLO with user, password and
 * name, the library's name and version, the database, and ROLE or READONLY where the
 * connection's role needs them. False when there is no memory. */
bool kw_greeting_begin(kw_conn *conn);

/* One answer of the greeting. Failure is the end of the connection. */
kw_err kw_greeting_on_reply(kw_conn *conn, kw_error *error, const kw_owner *owner,
                            const kw_reply *reply);

#endif
