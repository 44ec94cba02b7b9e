/* SPDX-License-Identifier: BSD-3-Clause */
/* Conn: one connection to one server, and the queue of who gets its replies. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <keyway/error.h>

#include "base/moment.h"
#include "base/reader.h"
#include "engine/lineage.h"
#include "net/env.h"
#include "net/fifo.h"
#include "net/tls.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum kw_conn_state {
    KW_CONN_CONNECTING,
    KW_CONN_GREETING, /* connected; the greeting is being answered */
    KW_CONN_READY,
    KW_CONN_DEAD /* lost: only kw_conn_free is left to be called */
} kw_conn_state;

/* What the server is to be; decides the greeting. */
typedef enum kw_conn_role {
    KW_CONN_ANY,     /* whatever it is */
    KW_CONN_PRIMARY, /* under Sentinel only where ROLE agrees */
    KW_CONN_REPLICA, /* under Sentinel only where ROLE agrees; in a cluster READONLY is asked for */
    KW_CONN_SENTINEL,      /* with credentials of its own */
    KW_CONN_GROUP_PRIMARY, /* of a group in a ring: only where ROLE agrees */
    KW_CONN_GROUP_REPLICA  /* of a group in a ring: only where ROLE agrees */
} kw_conn_role;

/* Who answers, or is to answer, at an address. Zeros: nothing is known. */
typedef struct kw_identity {
    uint64_t id; /* hash of the own id of a cluster's node, or of a sentinel */
    kw_lineage lineage;
} kw_identity;

/* Whom to dial and how, as its node knows it. */
typedef struct kw_dial {
    const kw_endpoint *endpoint;
    kw_conn_role role;
    bool is_old;                 /* it hangs up at HELLO: greeted with the older commands */
    kw_login_doubt *login_doubt; /* the node's; outlives the connection */
    kw_address good; /* the address that took a connect last, tried first; len is 0: none */
    kw_identity identity;
    bool is_forbidden; /* nodes-allowed: the address was learnt, and is outside of it */
} kw_dial;

/* Used by one thread at a time. */
typedef struct kw_conn kw_conn;
struct kw_conn {
    kw_env *env;
    /* Of the handle whose thread waits on it (kw_env_is_closing); NULL: of none. */
    const atomic_bool *closing;
    kw_endpoint endpoint; /* to dial, after the address map */
    kw_conn_role role;
    unsigned generation; /* the node's when it was opened: of an earlier one it is not used again */
    uint64_t zone;       /* kw_zone_hash, as the server says it; 0: it does not */
    int socket;          /* -1: none */
    kw_tls *tls;         /* NULL: bytes go to the socket as they are */
    kw_conn_state state;
    kw_err lost;       /* why it is DEAD, where it broke by itself; else KW_OK */
    kw_lookup *lookup; /* of the endpoint's name, while that is looked up; else NULL */
    kw_address good;   /* tried before the others, once they are known; len is 0: none */
    kw_addresses addresses;
    size_t address_at;            /* the one that socket is for */
    size_t begun_n;               /* addresses that a connect was begun to */
    int rivals[KW_ADDRESSES_MAX]; /* sockets of connects that go on beside, by address; -1: none */
    size_t rivals_n;
    kw_login_doubt *login_doubt; /* its node's */
    kw_credentials *login;       /* a reference, while the greeting is under way; else NULL */
    uint64_t login_revision;     /* of the login that the server has taken, or was given */
    uint64_t login_asked;        /* of the one that AUTH is under way for; 0: none */
    unsigned login_refusals_n;   /* in the greeting */
    uint64_t database;           /* that is selected on it */
    bool is_bound;               /* the next command belongs to the last one: no AUTH before it */
    uint64_t pause_ns;           /* between the beginnings of two connects */
    uint64_t next_ns;            /* when the next address is begun, or rivals are looked at */
    uint64_t begun_ns;           /* when the step under way began: name, connect, TLS, greeting */
    uint64_t deadline_ns;        /* ready by then, or dead */
    kw_reader reader;
    kw_fifo owners;           /* whom the next replies belong to */
    kw_buf out;               /* the library's own bytes, and what did not fit */
    size_t out_at;            /* first byte of out that was not sent */
    kw_bytes rest;            /* of a large request, borrowed: what is not sent yet, after out */
    uint64_t queued;          /* bytes to be sent since the start, sent ones included */
    uint64_t idle_since_ns;   /* of a pooled connection */
    uint64_t rested_since_ns; /* of one in use: idle for long since then, before; 0: it was not */
    bool is_plain;            /* no command depends on the greeting: no password, no
                                 database, no name, no role */
    bool is_old;              /* greeted without HELLO */
    bool was_hung_up;         /* on HELLO: lost before any answer to it */
    bool was_ready;           /* its greeting was answered, whatever came after */
    bool was_asked;           /* requests were behind its greeting, before that was answered */
    bool is_unseen;           /* nobody looked for a while: how long the step took is not known */
    bool was_left;            /* nobody looked while it was opened, for longer than it had */
    bool is_switched;         /* to another socket: what was polled before is not of it */
    bool is_overdue;          /* it was not answered in time, which is why it ended */
    unsigned overdue_n;       /* its node's, when it was dialled: its time was doubled so often */
    kw_identity expected;     /* who is to answer */
    kw_identity said;         /* who does, once the greeting was answered */
    bool allows_strangers;    /* it carries a question for the map, which anybody may be asked */
    bool is_stranger;         /* another one answers than is expected */
    bool is_unproved;         /* who answers could not be asked just now: it is not used again */
    bool is_replica;          /* by its own word, where it was greeted by HELLO */
    bool is_full;             /* the server takes no more connections: it serves those it has */
    bool is_starved;          /* this system has no descriptor for it: the server was not asked */
    bool is_incompatible;     /* the settings were refused: waiting is no help */
    bool is_shared;           /* several threads use it at once: a lane's, READY */
    bool is_internal;         /* carries a question of the library's own */
    size_t gives_max;         /* replies that one kw_conn_progress gives at most; 0: all */
    bool is_cut;              /* kw_conn_progress left replies for kw_conn_go_on */
    bool has_push;            /* the server has pushed something (RESP3), which was dropped */
    struct kw_conn *next;     /* in its pool's list */
    struct kw_conn *previous; /* in its pool's list of connections in use */
};

/* What one connection is given until it is there: the option, or a part of a call's timeout that
 * grows with the round trips of the handle. */
uint64_t kw_conn_connect_ns(kw_env *env);

/* Begins to connect; the result is CONNECTING or DEAD, with error set. Never waits,
 * but for the look-up of a host name. NULL when there is no memory. */
kw_conn *kw_conn_new(kw_env *env, kw_error *error, const kw_dial *dial, uint64_t now_ns);
void kw_conn_free(kw_conn *conn);

/* What to poll the socket for. */
short kw_conn_events(const kw_conn *conn);

/* Goes on as far as it can without waiting, after poll said revents; bytes are left for the next
 * call where very many are there, so that the caller looks at its clock. Failure makes it DEAD. */
kw_err kw_conn_progress(kw_conn *conn, kw_error *error, short revents);

/* Gives the next replies that kw_conn_progress left, at most gives_max. */
kw_err kw_conn_go_on(kw_conn *conn, kw_error *error);

/* Waits until the greeting is over: READY, or DEAD with an error. is_early: a connection
 * that takes requests is enough.
 * KW_ERR_TIMEOUT, with the connection still on its way, where until_ns comes before its
 * own deadline. */
kw_err kw_conn_establish(kw_conn *conn, kw_error *error, uint64_t until_ns, bool is_early);

/* True where a request may be sent: READY, or plain and on its way to the last address
 * there is. */
bool kw_conn_takes_requests(const kw_conn *conn);

/* When a deadline came that was before the connection's own, in words. */
const char *kw_conn_lateness(const kw_env *env, bool is_greeting);

/* Notes that a connection that is not READY took too long, and says which step had no answer. The
 * code is what that is to its node: KW_ERR_CONNECT or KW_ERR_HANDSHAKE. */
kw_err kw_conn_tell_overdue(kw_conn *conn, kw_error *error);

/* Begins to connect once the name is looked up; begins the connect to the next address where it is
 * time, beside those under way, and goes on with that which was the first to succeed. The socket
 * may be another one then: where a poller watches it, it is to be taken off before, if
 * kw_conn_is_racing. */
kw_err kw_conn_race(kw_conn *conn, kw_error *error, uint64_t now_ns);

static inline bool kw_conn_is_racing(const kw_conn *conn, uint64_t now_ns)
{
    return conn->state == KW_CONN_CONNECTING &&
           (conn->lookup != NULL || conn->rivals_n > 0 ||
            (conn->begun_n < conn->addresses.n && now_ns >= conn->next_ns));
}

/* When a connection that is not READY is to be looked at, whether its socket has something or not.
 */
static inline uint64_t kw_conn_due_ns(const kw_conn *conn)
{
    bool has_next = conn->state == KW_CONN_CONNECTING &&
                    (conn->lookup != NULL || conn->begun_n < conn->addresses.n ||
                     conn->rivals_n > 0); /* whose sockets nobody watches */
    return has_next && conn->next_ns < conn->deadline_ns ? conn->next_ns : conn->deadline_ns;
}

/* Ends a connection that is not READY by its deadline; KW_OK while it may go on. Races, where it is
 * time. */
kw_err kw_conn_check_overdue(kw_conn *conn, kw_error *error, uint64_t now_ns);

/* Queues AUTH, where the login has changed since the connection had its own, nothing is on its way
 * there (see conn_login.c) and nothing stands in the way: the next command's send takes it along.
 * spare: room that is left for that command. Without memory for it the next command sees to it. Not
 * while is_bound. */
void kw_conn_renew_login(kw_conn *conn, size_t spare);

static inline bool kw_conn_has_old_login(const kw_conn *conn)
{
    return conn->login_revision != kw_logins_revision(&conn->env->logins);
}

/* The login is an old one, and AUTH is due once all that is on its way was answered: nothing goes
 * behind it until then. */
bool kw_conn_has_login_due(const kw_conn *conn);
static inline bool kw_conn_awaits_login(const kw_conn *conn)
{
    return kw_conn_has_old_login(conn) && kw_conn_has_login_due(conn);
}

/* Once so many bytes wait for a socket that takes nothing, no further request is queued. */
#define KW_CONN_ROOM_LEN ((size_t)64 * 1024)

/* So many replies are awaited on a connection at most: however much the system's buffers take, who
 * owns them takes 512 KB. */
#define KW_CONN_OWNERS_MAX ((size_t)32 * 1024)

/* True where another request may be queued: little waits to be sent. */
static inline bool kw_conn_has_room(const kw_conn *conn)
{
    bool has_room = conn->rest.len == 0 && conn->out.len - conn->out_at < KW_CONN_ROOM_LEN &&
                    conn->owners.count < KW_CONN_OWNERS_MAX;
    return has_room && !kw_conn_awaits_login(conn);
}

/* Puts the request behind what waits to be sent, behind ASKING if asked to. The connection
 * takes requests and has room. request and its bytes stay until
 * it is done or the connection is freed. */
kw_err kw_conn_queue(kw_conn *conn, kw_error *error, kw_request *request, bool is_asking);

/* Queues two requests whose bytes lie one behind the other in memory: they leave in one write. */
kw_err kw_conn_queue_pair(kw_conn *conn, kw_error *error, kw_request *first, kw_request *second,
                          bool is_asking);

/* Takes back a request that was queued last, where no byte of it was sent; its bytes were
 * copied. False: it stays. */
bool kw_conn_unqueue(kw_conn *conn, const kw_request *request, bool is_asking);

/* Sends what the socket takes of what waits, the greeting first. */
kw_err kw_conn_flush(kw_conn *conn, kw_error *error);

/* Bytes handed to the system since the start. */
uint64_t kw_conn_sent_at(const kw_conn *conn);

/* True once the last byte of the request was handed to the system, where the server may have read
 * it: one that has no place for the connection reads nothing. */
bool kw_conn_has_sent(const kw_conn *conn, const kw_request *request);

/* True where a part of the request was handed to the system, and not all of it. */
bool kw_conn_has_half(const kw_conn *conn, const kw_request *request);

/* How a request ended on a connection that ended with code: one that was answered before the
 * connection was lost has its answer. Where the stream itself is wrong, no reply is trusted. */
static inline kw_err kw_conn_end_of(const kw_request *request, kw_err code)
{
    bool is_loss = code == KW_ERR_CLOSED || code == KW_ERR_CONNECT || code == KW_ERR_HANDSHAKE;
    return request->is_done && is_loss ? KW_OK : code;
}

/* Waits for the request's reply. KW_OK when it is done, KW_ERR_TIMEOUT (conn alive)
 * when until_ns has come; anything else made the connection DEAD. */
kw_err kw_conn_wait(kw_conn *conn, kw_error *error, kw_request *request, uint64_t now_ns,
                    uint64_t until_ns);

/* What to say of a request that was sent and has no answer: whether a part of one has come, its own
 * or one before it. Its bytes are looked at: for whoever may read the connection. */
const char *kw_conn_silence(const kw_conn *conn, const kw_request *request);

/* One look at the socket, without a wait, and what it brings. */
kw_err kw_conn_look(kw_conn *conn, kw_error *error, uint64_t now_ns);

/* The functions below let several threads share a READY connection (a lane): receive and parse
 * are for the lane's reader, flush is for its writer, and what touches the queue of owners is for
 * whoever holds the lane's monitor. */

/* Makes sure that kw_conn_queue of a request of that many bytes has the memory. */
bool kw_conn_make_room(kw_conn *conn, size_t len);

/* For bytes that the queue of owners knows nothing of: as those of the transport. */
static inline ssize_t kw_conn_send(kw_conn *conn, const char *data, size_t len)
{
    if (conn->tls != NULL) {
        return kw_tls_send(conn->tls, conn->socket, data, len);
    }
    return conn->env->transport->send_fn(conn->env->transport->arg, conn->socket, data, len);
}

static inline ssize_t kw_conn_recv(kw_conn *conn, char *data, size_t len, bool waits)
{
    if (conn->tls != NULL) {
        return kw_tls_recv(conn->tls, conn->socket, data, len, waits);
    }
    return conn->env->transport->recv_fn(conn->env->transport->arg, conn->socket, data, len, waits);
}

/* True where bytes wait to be sent. */
static inline bool kw_conn_has_bytes(const kw_conn *conn)
{
    return conn->out_at < conn->out.len || conn->rest.len > 0 ||
           (conn->tls != NULL && kw_tls_has_sealed(conn->tls));
}

/* True where the time limit of a waiting recv does not reach past until_ns. */
bool kw_conn_recv_ends_by(const kw_conn *conn, uint64_t now_ns, uint64_t until_ns);

/* One recv. *got: bytes that came, 0 for none. */
kw_err kw_conn_receive(kw_conn *conn, kw_error *error, size_t *got, bool waits);

/* At most max whole replies of what was received; those before a failure are counted. */
kw_err kw_conn_parse(kw_conn *conn, kw_error *error, kw_reply **replies, size_t max, size_t *n);

/* Gives one reply to its owner. KW_ERR_DESYNC where there is none. */
kw_err kw_conn_give(kw_conn *conn, kw_error *error, kw_reply *reply);

/* True where the connection is READY and neither side owes anything: no reply is awaited,
 * and no part of a command that was answered early is still to be sent. */
static inline bool kw_conn_is_settled(const kw_conn *conn)
{
    return conn->state == KW_CONN_READY && conn->owners.count == 0 && !kw_conn_has_bytes(conn);
}

/* A connection that was idle for less is no reason to doubt others. */
#define KW_CONN_REST_NS ((uint64_t)1000000000)

/* It is used again, for the first time since then. */
static inline void kw_conn_note_rest(kw_conn *conn, uint64_t since_ns, uint64_t now_ns)
{
    conn->rested_since_ns = now_ns >= since_ns + KW_CONN_REST_NS ? since_ns : 0;
}

/* A connection that was idle for longer than this is looked at before it is used. */
#define KW_CONN_FRESH_NS KW_NS_PER_MS

/* True where it was used so lately that it is taken without a look. */
static inline bool kw_conn_is_fresh(const kw_conn *conn, uint64_t now_ns)
{
    return now_ns <= conn->idle_since_ns + KW_CONN_FRESH_NS;
}

/* True where an idle connection is still good: nothing has come on it. drops_pushes: but messages
 * that its server pushed to a session (RESP3, CLIENT TRACKING), which are read and dropped. Looks
 * without waiting. */
bool kw_conn_is_quiet(kw_conn *conn, bool drops_pushes);

/* Wakes whoever waits for the connection. Any thread, while conn lives. */
void kw_conn_shutdown(kw_conn *conn);

#endif
