/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for a connection: until it is open, or a reply is there. */
#include "net/conn_private.h"

#include "base/moment.h"
#include "base/apart.h"
#include "base/error.h"
#include "net/identity.h"

/* A waiting recv may end so much later than it was asked to: the system rounds its time limit. */
#define TOLERANCE_NS KW_NS_PER_MS

/* One poll of at most a slice, and what it brings. */
static kw_err poll_once(kw_conn *conn, kw_error *error, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd entries[1 + KW_ADDRESSES_MAX] = {{conn->socket, kw_conn_events(conn), 0}};
    size_t n = 1;
    for (size_t i = 0; conn->rivals_n > 0 && i < conn->begun_n;
         i++) { /* a negative one is no socket */
        entries[n].fd = conn->rivals[i];
        entries[n++].events = POLLOUT;
    }
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, KW_SLICE_MS);
    conn->is_switched = false; /* what is polled now is of the socket in use */
    int status = conn->env->transport->poll_fn(conn->env->transport->arg, entries, n, wait_ms);
    if (status < 0) {
        return kw_conn_die_of_errno(conn, error, KW_ERR_CLOSED, "poll failed", status);
    }
    return entries[0].revents != 0 ? kw_conn_progress(conn, error, entries[0].revents) : KW_OK;
}

kw_err kw_conn_look(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    return poll_once(conn, error, now_ns, now_ns);
}

static kw_err die_of_time(kw_conn *conn, kw_error *error, kw_err code, const char *what)
{
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", what);
    return kw_conn_die(conn, code);
}

static bool is_closing(const kw_conn *conn)
{
    return kw_env_is_closing(conn->env, conn->closing);
}

kw_err kw_conn_tell_overdue(kw_conn *conn, kw_error *error)
{
    conn->is_overdue = true;
    if (conn->lookup != NULL) {
        kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                     "no answer in time about host name \"%s\"; is a name server down?",
                     conn->endpoint.host);
        return kw_conn_die(conn, KW_ERR_RESOLVE);
    }
    if (conn->state == KW_CONN_CONNECTING) {
        return kw_error_set(error, KW_ERR_CONNECT, KW_EFFECT_NONE, "connecting took too long");
    }
    bool is_shaking = kw_conn_is_shaking(conn);
    const kw_owner *next = kw_fifo_peek(&conn->owners);
    const char *what = next != NULL ? kw_owner_what(next) : NULL;
    const char *step = what != NULL ? what : "HELLO";
    return kw_error_set(error, KW_ERR_HANDSHAKE, KW_EFFECT_NONE,
                        "connected, but the server did not answer %s in time%s",
                        is_shaking ? "the TLS handshake" : step,
                        is_shaking ? "; does it speak TLS at this port?" : "");
}

static kw_err die_unready(kw_conn *conn, kw_error *error)
{
    return kw_conn_die(conn, kw_conn_tell_overdue(conn, error));
}

const char *kw_conn_lateness(const kw_env *env, bool is_greeting)
{
    if (!is_greeting) {
        return "while connecting";
    }
    return env->tls != NULL ? "before the TLS handshake and the greeting (HELLO) were answered"
                            : "before the greeting (HELLO) was answered";
}

bool kw_conn_takes_requests(const kw_conn *conn)
{
    bool is_early = conn->is_plain && !kw_identity_is_checked(conn);
    switch (conn->state) {
    case KW_CONN_CONNECTING:
        return is_early && conn->lookup == NULL && conn->rivals_n == 0 &&
               conn->begun_n == conn->addresses.n;
    case KW_CONN_GREETING:
        return is_early;
    case KW_CONN_READY:
        return true;
    case KW_CONN_DEAD:
        return false;
    }
    return false;
}

kw_err kw_conn_check_overdue(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    if (conn->state == KW_CONN_READY) {
        return KW_OK;
    }
    /* An answer about the name that came late is as good: the time to connect begins with it. So
     * does the turn of an address that has not had its own, since nobody looked. */
    bool has_more = conn->state == KW_CONN_CONNECTING && conn->begun_n < conn->addresses.n &&
                    kw_conn_has_own_time(conn);
    bool is_late = now_ns >= conn->deadline_ns && conn->lookup == NULL && !has_more;
    kw_err code = is_late ? KW_OK : kw_conn_race(conn, error, now_ns);
    return code != KW_OK || now_ns < conn->deadline_ns ? code : die_unready(conn, error);
}

static bool is_established(const kw_conn *conn, bool is_early)
{
    return is_early ? kw_conn_takes_requests(conn) : conn->state == KW_CONN_READY;
}

bool kw_conn_recv_ends_by(const kw_conn *conn, uint64_t now_ns, uint64_t until_ns)
{
    uint64_t wait_ns = kw_conn_recv_wait_ms(&conn->env->options) * (uint64_t)1000000;
    return now_ns + wait_ns <= until_ns + TOLERANCE_NS;
}

/* True where a recv that waits may be used in place of poll and recv: its time limit, which is set
 * on the socket, ends before until_ns does. */
static inline bool may_block(const kw_conn *conn, uint64_t now_ns, uint64_t until_ns)
{
    return conn->state != KW_CONN_CONNECTING && !kw_conn_has_bytes(conn) &&
           kw_conn_recv_ends_by(conn, now_ns, until_ns);
}

/* A connect to a server nearby is over at once, so that its greeting can be sent without a look;
 * elsewhere the system takes nothing yet. Not where there are other addresses to be tried. */
static kw_err greet_at_once(kw_conn *conn, kw_error *error)
{
    bool is_last =
        conn->lookup == NULL && conn->rivals_n == 0 && conn->begun_n == conn->addresses.n;
    bool may_send = conn->state == KW_CONN_CONNECTING && conn->tls == NULL && is_last;
    return may_send ? kw_conn_flush(conn, error) : KW_OK;
}

kw_err kw_conn_establish(kw_conn *conn, kw_error *error, uint64_t until_ns, bool is_early)
{
    kw_err sent = is_established(conn, is_early) ? KW_OK : greet_at_once(conn, error);
    if (sent != KW_OK) {
        return sent;
    }
    while (!is_established(conn, is_early)) {
        uint64_t now_ns = kw_env_now(conn->env);
        uint64_t due_ns = kw_conn_due_ns(conn);
        uint64_t wait_ns = kw_sooner(until_ns, due_ns);
        size_t got;
        bool may_recv = conn->tls == NULL && may_block(conn, now_ns, wait_ns);
        kw_err code = may_recv ? kw_conn_take_in(conn, error, &got, true)
                               : poll_once(conn, error, now_ns, wait_ns);
        code = may_recv ? kw_conn_end_of_dial(conn, error, code) : code;
        if (code != KW_OK || is_established(conn, is_early)) {
            return code;
        }
        if (atomic_load_explicit(&conn->env->is_closing, memory_order_relaxed)) {
            return die_of_time(conn, error, KW_ERR_CANCELLED, "the handle was closed");
        }
        if (is_closing(conn)) {
            return KW_ERR_TIMEOUT; /* other handles' callers may go on with it */
        }
        code = kw_conn_check_overdue(conn, error, now_ns);
        if (code != KW_OK) {
            return code;
        }
        if (now_ns >= until_ns) {
            return KW_ERR_TIMEOUT;
        }
    }
    return KW_OK;
}

/* One wait for what the socket has, or for the end of a step of the opening. */
KW_APART static kw_err wait_otherwise(kw_conn *conn, kw_error *error, uint64_t now_ns,
                                      uint64_t until_ns)
{
    kw_err code = kw_conn_check_overdue(conn, error, now_ns);
    if (code != KW_OK) {
        return code;
    }
    uint64_t wait_ns = until_ns;
    if (conn->state != KW_CONN_READY && conn->deadline_ns < until_ns) {
        wait_ns = conn->deadline_ns;
    }
    if (may_block(conn, now_ns, wait_ns)) {
        size_t got;
        return kw_conn_end_of_dial(conn, error, kw_conn_take_in(conn, error, &got, true));
    }
    return now_ns < until_ns ? poll_once(conn, error, now_ns, wait_ns) : KW_ERR_TIMEOUT;
}

const char *kw_conn_silence(const kw_conn *conn, const kw_request *request)
{
    const kw_owner *first = kw_fifo_peek(&conn->owners);
    if (first == NULL || !kw_reader_has_reply_rest(&conn->reader)) {
        return "no answer";
    }
    const kw_request *own = kw_owner_request(first);
    return own == request ? "no whole answer: a part of it has come"
                          : "no answer: a part of one before it has come";
}

kw_err kw_conn_wait(kw_conn *conn, kw_error *error, kw_request *request, uint64_t now_ns,
                    uint64_t until_ns)
{
    while (!request->is_done) {
        size_t got;
        bool is_plain = conn->state == KW_CONN_READY && may_block(conn, now_ns, until_ns);
        kw_err code = is_plain ? kw_conn_take_in(conn, error, &got, true)
                               : wait_otherwise(conn, error, now_ns, until_ns);
        if (code != KW_OK || request->is_done) {
            return kw_conn_end_of(request, code);
        }
        if (is_closing(conn)) {
            return die_of_time(conn, error, KW_ERR_CANCELLED, "the handle was closed");
        }
        now_ns = kw_env_now(conn->env);
    }
    return KW_OK;
}
