/* SPDX-License-Identifier: BSD-3-Clause */
/* AUTH anew on a connection that is open, once the login has changed: in front of the next command,
 * in its send. A refusal leaves the connection as it is.
 * It waits until nothing is on its way there: Redis 8.0 and Valkey 8.1 give no answer at all to an
 * AUTH that they refuse and that came behind another command, and each later answer would go to the
 * command before its own. */
#include "net/conn_private.h"

#include "base/resp.h"

#include <string.h>

/* Room for AUTH, its lengths and line ends. */
#define FRAME_LEN ((size_t)64)

void kw_conn_end_login(kw_conn *conn)
{
    if (conn->login != NULL) {
        kw_logins_on_taken(conn->login_doubt, conn->login->revision);
        kw_credentials_unref(conn->login);
        conn->login = NULL;
    }
}

void kw_conn_on_login(kw_conn *conn, const kw_reply *reply)
{
    uint64_t revision = conn->login_asked;
    conn->login_asked = 0;
    if (!kw_reply_is_error(reply)) {
        conn->login_revision = revision;
        kw_logins_on_taken(conn->login_doubt, revision);
        return;
    }
    kw_logins_on_refused(&conn->env->logins, conn->login_doubt, revision, kw_env_now(conn->env));
}

static void append_auth(kw_conn *conn, const kw_credentials *login, size_t spare)
{
    kw_bytes argv[3] = {kw_bytes_of("AUTH"), kw_bytes_of(login->user),
                        kw_bytes_of(login->password)};
    kw_owner owner = {KW_OWNER_LOGIN, 0, {"AUTH"}};
    size_t argc = 3;
    size_t len = FRAME_LEN + argv[1].len + argv[2].len;
    if (login->user == NULL) {
        argv[1] = argv[2];
        argc = 2;
    }
    if (!kw_fifo_reserve(&conn->owners, 3) || !kw_buf_reserve(&conn->out, len + spare)) {
        return;
    }
    size_t before = conn->out.len;
    conn->out.is_secret = true;
    (void)kw_resp_append(&conn->out, argv, argc); /* has its room */
    conn->queued += conn->out.len - before;
    (void)kw_fifo_push(&conn->owners, owner);
    conn->login_asked = login->revision;
}

/* True where an AUTH is due. */
static bool is_due(const kw_conn *conn)
{
    return conn->state == KW_CONN_READY && conn->role != KW_CONN_SENTINEL && !conn->is_bound &&
           conn->login_asked == 0 &&
           !kw_logins_is_refused(&conn->env->logins, conn->login_doubt, kw_env_now(conn->env));
}

bool kw_conn_has_login_due(const kw_conn *conn)
{
    return conn->owners.count > 0 && is_due(conn);
}

void kw_conn_renew_login(kw_conn *conn, size_t spare)
{
    if (conn->owners.count > 0 || kw_conn_has_bytes(conn) || !is_due(conn)) {
        return;
    }
    kw_credentials *login = kw_logins_current(&conn->env->logins);
    if (login->password != NULL) {
        append_auth(conn, login, spare);
    } else {
        conn->login_revision = login->revision; /* nothing takes a login away */
    }
    kw_credentials_unref(login);
}
