#include "net/conn.h"

#include "base/error.h"
#include "net/greeting.h"

#include <errno.h>
#include <string.h>

/* One recv takes at most this much; a large reply takes several. */
#define RECV_LEN ((size_t)16 * 1024)

/* While something else may want the thread's attention (the handle is closed), no
 * wait is longer than this. */
#define SLICE_MS 50

/* Rounding of the socket's own time limit. */
#define TOLERANCE_NS ((uint64_t)1000000)

/* A request up to this size is copied, so that many leave in one send. */
#define JOIN_MAX_LEN ((size_t)16 * 1024)

/* More than this is not copied to wait for a socket that takes nothing. */
#define ROOM_LEN ((size_t)64 * 1024)

/* A connection that was idle for longer than this is looked at before it is used. */
#define FRESH_NS ((uint64_t)1000000)

static const char asking[] = "*1\r\n$6\r\nASKING\r\n";

static void close_socket(kw_conn *conn)
{
    if (conn->socket >= 0) {
        if (kw_descriptors_remove(&conn->env->descriptors, conn->socket)) {
            conn->env->transport->close_fn(conn->env->transport->arg, conn->socket);
        }
        conn->socket = -1;
    }
    kw_tls_free(conn->tls);
    conn->tls = NULL;
}

ssize_t kw_conn_send(kw_conn *conn, const char *data, size_t len)
{
    if (conn->tls != NULL) {
        return kw_tls_send(conn->tls, conn->socket, data, len);
    }
    return conn->env->transport->send_fn(conn->env->transport->arg, conn->socket, data, len);
}

ssize_t kw_conn_recv(kw_conn *conn, char *data, size_t len, bool waits)
{
    if (conn->tls != NULL) {
        return kw_tls_recv(conn->tls, conn->socket, data, len, waits);
    }
    return conn->env->transport->recv_fn(conn->env->transport->arg, conn->socket, data, len, waits);
}

/* A connection of many threads is declared dead by its lane. */
static kw_err die(kw_conn *conn, kw_err code)
{
    if (!conn->is_shared) {
        conn->state = KW_CONN_DEAD;
    }
    return code;
}

/* A server that wants TLS hangs up on a greeting without it. */
static const char *hint_of(const kw_conn *conn, ssize_t status)
{
    if (status == -ECONNREFUSED) {
        return "; is a server running there?";
    }
    return conn->state == KW_CONN_GREETING && conn->tls == NULL ? "; does it want TLS (rediss://)?"
                                                                : "";
}

static kw_err die_of_errno(kw_conn *conn, kw_error *error, kw_err code, const char *what,
                           ssize_t status)
{
    bool is_connected = conn->state == KW_CONN_READY;
    kw_effect effect = is_connected ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
    const char *failure = conn->tls != NULL && status == -EPROTO ? kw_tls_failure(conn->tls) : NULL;
    if (failure != NULL) {
        code = is_connected ? code : KW_ERR_HANDSHAKE;
        kw_error_set(error, code, effect, "%s", failure);
        return die(conn, code);
    }
    char reason[100];
    if (strerror_r((int)-status, reason, sizeof(reason)) != 0) {
        reason[0] = '\0';
    }
    kw_error_set(error, code, effect, "%s: %s%s", what, reason, hint_of(conn, status));
    return die(conn, code);
}

static kw_err die_of_memory(kw_conn *conn, kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a connection");
    return die(conn, KW_ERR_NOMEM);
}

/* Sentinels may be left out of it, or have it alone. */
static bool is_sealed(const kw_conn *conn)
{
    const kw_options *options = &conn->env->options;
    bool is_sentinel = conn->role == KW_CONN_SENTINEL;
    return is_sentinel ? kw_options_has_sentinel_tls(options) : options->has_tls;
}

static kw_err begin_tls(kw_conn *conn, kw_error *error)
{
    conn->tls = kw_tls_new(conn->env->tls, conn->env->transport, conn->endpoint.host);
    return conn->tls != NULL ? KW_OK : die_of_memory(conn, error);
}

/* Tries the next address that takes a connect. */
static kw_err dial(kw_conn *conn, kw_error *error, int status)
{
    const kw_transport *transport = conn->env->transport;
    close_socket(conn);
    while (conn->address_at < conn->addresses_n) {
        const kw_address *address = &conn->addresses[conn->address_at];
        int socket = transport->open_fn(transport->arg, address, &conn->env->options);
        if (socket < 0) {
            status = socket;
            conn->address_at++;
            continue;
        }
        if (!kw_descriptors_add(&conn->env->descriptors, &conn->env->mem, socket)) {
            transport->close_fn(transport->arg, socket);
            return die_of_memory(conn, error);
        }
        conn->socket = socket;
        return is_sealed(conn) ? begin_tls(conn, error) : KW_OK;
    }
    return die_of_errno(conn, error, KW_ERR_CONNECT, "cannot connect", status);
}

static void apply_address_map(kw_endpoint *endpoint, const kw_options *options)
{
    for (size_t i = 0; i < options->address_map_n; i++) {
        if (kw_endpoint_equal(endpoint, &options->address_map[i].from)) {
            *endpoint = options->address_map[i].to;
            return;
        }
    }
}

static kw_err find_addresses(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    kw_resolver *resolver = conn->env->resolver;
    if (resolver != NULL && kw_address_is_name(&conn->endpoint)) {
        return kw_resolver_find(resolver, conn->addresses, &conn->addresses_n, error,
                                &conn->endpoint, conn->deadline_ns - now_ns);
    }
    return kw_address_find(conn->addresses, &conn->addresses_n, error, &conn->endpoint);
}

kw_conn *kw_conn_new(kw_env *env, kw_error *error, const kw_endpoint *endpoint, kw_conn_role role,
                     uint64_t now_ns)
{
    kw_conn *conn = kw_mem_alloc(&env->mem, sizeof(*conn));
    if (conn == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a connection");
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    conn->env = env;
    conn->endpoint = *endpoint;
    conn->role = role;
    apply_address_map(&conn->endpoint, &env->options);
    conn->socket = -1;
    conn->state = KW_CONN_CONNECTING;
    conn->deadline_ns = now_ns + kw_options_connect_timeout_ms(&env->options) * (uint64_t)1000000;
    kw_fifo_init(&conn->owners, &env->mem);
    kw_buf_init(&conn->out, &env->mem, NULL, 0);
    kw_err code = kw_reader_init(&conn->reader, &env->mem, &env->options);
    if (code != KW_OK || !kw_greeting_begin(conn)) {
        die_of_memory(conn, error);
        return conn;
    }
    code = find_addresses(conn, error, now_ns);
    if (code != KW_OK) {
        die(conn, code);
        return conn;
    }
    (void)dial(conn, error, 0);
    return conn;
}

void kw_conn_free(kw_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    close_socket(conn);
    kw_reader_fini(&conn->reader);
    kw_fifo_fini(&conn->owners);
    kw_buf_fini(&conn->out);
    kw_mem_free(&conn->env->mem, conn);
}

bool kw_conn_has_bytes(const kw_conn *conn)
{
    return conn->out_at < conn->out.len || conn->rest.len > 0 ||
           (conn->tls != NULL && kw_tls_has_sealed(conn->tls));
}

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
    return kw_conn_sent_at(conn) >= request->end_at;
}

bool kw_conn_has_room(const kw_conn *conn)
{
    return conn->rest.len == 0 && waiting_len(conn) < ROOM_LEN;
}

short kw_conn_events(const kw_conn *conn)
{
    if (conn->state == KW_CONN_CONNECTING) {
        return POLLOUT;
    }
    if (conn->tls != NULL && kw_tls_is_shaking(conn->tls)) {
        return kw_tls_has_sealed(conn->tls) ? POLLIN | POLLOUT : POLLIN;
    }
    return kw_conn_has_bytes(conn) ? POLLIN | POLLOUT : POLLIN;
}

/* What a lost connection means: to a call, or to the greeting. */
static kw_err code_of_loss(const kw_conn *conn)
{
    return conn->state == KW_CONN_READY ? KW_ERR_CLOSED : KW_ERR_CONNECT;
}

/* How long the socket itself lets a recv wait. */
static uint64_t recv_wait_ms(const kw_options *options)
{
    return options->stall_ms < options->timeout_ms ? options->stall_ms : options->timeout_ms;
}

static kw_err on_connected(kw_conn *conn, kw_error *error)
{
    int status = conn->env->transport->opened_fn(conn->env->transport->arg, conn->socket,
                                                 recv_wait_ms(&conn->env->options));
    if (status != 0) {
        return die_of_errno(conn, error, KW_ERR_CONNECT, "cannot connect", status);
    }
    conn->state = KW_CONN_GREETING;
    return KW_OK;
}

/* Sends up to len bytes: *sent says how many the system took. */
static kw_err send_some(kw_conn *conn, kw_error *error, size_t *sent, const char *data, size_t len)
{
    *sent = 0;
    while (*sent < len) {
        ssize_t status = kw_conn_send(conn, data + *sent, len - *sent);
        if (status == -EAGAIN) {
            return KW_OK;
        }
        if (status < 0) {
            bool is_connecting = conn->state == KW_CONN_CONNECTING;
            return die_of_errno(conn, error, code_of_loss(conn),
                                is_connecting ? "cannot connect" : "connection lost while sending",
                                status);
        }
        *sent += (size_t)status;
        kw_err code = conn->state == KW_CONN_CONNECTING ? on_connected(conn, error) : KW_OK;
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

/* What was taken for sending and waits behind its seal. */
static kw_err flush_sealed(kw_conn *conn, kw_error *error)
{
    int status = conn->tls != NULL ? kw_tls_flush(conn->tls, conn->socket) : 0;
    if (status == 0 || status == -EAGAIN) {
        return KW_OK;
    }
    return die_of_errno(conn, error, code_of_loss(conn), "connection lost while sending", status);
}

static kw_err flush(kw_conn *conn, kw_error *error)
{
    size_t sent;
    if (conn->out_at < conn->out.len) {
        kw_err code = send_some(conn, error, &sent, conn->out.data + conn->out_at,
                                conn->out.len - conn->out_at);
        conn->out_at += sent;
        if (code != KW_OK || conn->out_at < conn->out.len) {
            return code;
        }
        conn->out.len = 0;
        conn->out_at = 0;
    }
    if (conn->rest.len > 0) {
        kw_err code = send_some(conn, error, &sent, conn->rest.data, conn->rest.len);
        conn->rest.data += sent;
        conn->rest.len -= sent;
        return code;
    }
    return flush_sealed(conn, error);
}

/* The greeting is over once no answer to it is awaited any more. */
static void end_greeting(kw_conn *conn)
{
    const kw_owner *next = kw_fifo_peek(&conn->owners);
    if (next == NULL || next->kind == KW_OWNER_REQUEST || next->kind == KW_OWNER_NOBODY) {
        conn->state = KW_CONN_READY;
        conn->was_ready = true;
    }
}

kw_err kw_conn_give(kw_conn *conn, kw_error *error, kw_reply *reply)
{
    kw_owner owner;
    if (!kw_fifo_pop(&conn->owners, &owner)) {
        kw_reply_free(reply);
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_MAYBE,
                            "the server sent a reply that nothing asked for");
    }
    if (owner.kind == KW_OWNER_REQUEST) {
        owner.request->reply = reply;
        owner.request->is_done = true;
        return KW_OK;
    }
    kw_err code = KW_OK;
    if (conn->state == KW_CONN_GREETING) {
        code = kw_greeting_on_reply(conn, error, &owner, reply);
        end_greeting(conn);
    }
    kw_reply_free(reply);
    return code;
}

static kw_err next_reply(kw_conn *conn, kw_reply **reply, kw_error *error)
{
    kw_err code = kw_reader_next(&conn->reader, reply, error);
    if (conn->reader.pushes_n > 0) {
        atomic_fetch_add_explicit(&conn->env->pushes_n, conn->reader.pushes_n,
                                  memory_order_relaxed);
        conn->reader.pushes_n = 0;
    }
    return code;
}

/* Gives every whole reply to its owner. */
static kw_err parse(kw_conn *conn, kw_error *error)
{
    kw_reply *reply = NULL;
    size_t given_n = 0;
    conn->is_cut = false;
    do {
        if (given_n++ == conn->gives_max && conn->gives_max > 0) {
            conn->is_cut = true;
            break;
        }
        const kw_owner *next = kw_fifo_peek(&conn->owners);
        bool is_callers = next != NULL && next->kind == KW_OWNER_REQUEST && !conn->is_ours;
        conn->reader.is_ours = !is_callers;
        conn->reader.pools = is_callers && next->request->pools;
        conn->reader.sink = is_callers ? next->request->sink : NULL;
        kw_err code = next_reply(conn, &reply, error);
        if (code == KW_OK && reply != NULL) {
            code = kw_conn_give(conn, error, reply);
        }
        if (code != KW_OK) {
            return die(conn, code);
        }
    } while (reply != NULL && kw_reader_has_rest(&conn->reader));
    if (conn->owners.count == 0 && kw_reader_has_reply_rest(&conn->reader)) {
        kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_MAYBE, "the server sent more than its reply");
        return die(conn, KW_ERR_DESYNC);
    }
    return KW_OK;
}

kw_err kw_conn_parse(kw_conn *conn, kw_error *error, kw_reply **replies, size_t max, size_t *n)
{
    conn->reader.is_ours = false;
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
    kw_err code = code_of_loss(conn);
    if (conn->tls != NULL && kw_tls_is_shaking(conn->tls)) {
        code = KW_ERR_HANDSHAKE;
        kw_error_set(error, code, KW_EFFECT_NONE,
                     "the server closed the connection in the TLS handshake; does it speak TLS at "
                     "this port?");
    } else {
        kw_error_set(error, code, KW_EFFECT_MAYBE, "the server closed the connection%s",
                     hint_of(conn, 0));
    }
    return die(conn, code);
}

/* What one recv brought and data had no room for. What is wrong with it comes with the next
 * recv. */
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

kw_err kw_conn_receive(kw_conn *conn, kw_error *error, size_t *got, bool waits)
{
    char data[RECV_LEN];
    *got = 0;
    ssize_t status = kw_conn_recv(conn, data, sizeof(data), waits);
    if (status == -EAGAIN) {
        return KW_OK;
    }
    if (status <= 0) {
        return status < 0 ? die_of_errno(conn, error, code_of_loss(conn), "connection lost", status)
                          : die_of_end(conn, error);
    }
    *got = (size_t)status;
    kw_err code = kw_reader_feed(&conn->reader, error, data, *got);
    if (code == KW_OK && conn->tls != NULL) {
        code = receive_rest(conn, error, got, data, sizeof(data));
    }
    return code == KW_OK ? KW_OK : die(conn, code);
}

/* One recv, and what it brings. *got: bytes, 0 when none came. */
static kw_err receive(kw_conn *conn, kw_error *error, size_t *got, bool waits)
{
    kw_err code = kw_conn_receive(conn, error, got, waits);
    return code == KW_OK && *got > 0 ? parse(conn, error) : code;
}

/* poll has said something of a connect under way. */
static kw_err on_connect_polled(kw_conn *conn, kw_error *error, short revents)
{
    if ((revents & (POLLERR | POLLHUP | POLLNVAL)) == 0) {
        return on_connected(conn, error);
    }
    const kw_transport *transport = conn->env->transport;
    int status = transport->error_fn(transport->arg, conn->socket);
    if (conn->address_at + 1 == conn->addresses_n) {
        return die_of_errno(conn, error, KW_ERR_CONNECT, "cannot connect", status);
    }
    conn->address_at++;
    return dial(conn, error, status);
}

kw_err kw_conn_progress(kw_conn *conn, kw_error *error, short revents)
{
    kw_err code = KW_OK;
    if (conn->state == KW_CONN_CONNECTING) {
        if (revents == 0) {
            return KW_OK;
        }
        code = on_connect_polled(conn, error, revents);
        if (code != KW_OK || conn->state == KW_CONN_CONNECTING) {
            return code;
        }
    }
    code = flush(conn, error);
    size_t got = (revents & (POLLIN | POLLHUP | POLLERR)) != 0 ? RECV_LEN : 0;
    while (code == KW_OK && got == RECV_LEN && !conn->is_cut) {
        code = receive(conn, error, &got, false);
    }
    if (code == KW_OK && conn->state == KW_CONN_GREETING) {
        code = flush(conn, error); /* an answer may have asked for more */
    }
    return code;
}

kw_err kw_conn_go_on(kw_conn *conn, kw_error *error)
{
    return parse(conn, error);
}

/* One poll of at most a slice, and what it brings. */
static kw_err poll_once(kw_conn *conn, kw_error *error, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd entry = {conn->socket, kw_conn_events(conn), 0};
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, SLICE_MS);
    int status = conn->env->transport->poll_fn(conn->env->transport->arg, &entry, 1, wait_ms);
    if (status < 0) {
        return die_of_errno(conn, error, KW_ERR_CLOSED, "poll failed", status);
    }
    return status > 0 ? kw_conn_progress(conn, error, entry.revents) : KW_OK;
}

static kw_err die_of_time(kw_conn *conn, kw_error *error, kw_err code, const char *what)
{
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", what);
    return die(conn, code);
}

static bool is_closing(const kw_conn *conn)
{
    return atomic_load_explicit(&conn->env->is_closing, memory_order_relaxed);
}

static kw_err die_unready(kw_conn *conn, kw_error *error)
{
    if (conn->state == KW_CONN_CONNECTING) {
        return die_of_time(conn, error, KW_ERR_CONNECT, "connecting took too long");
    }
    if (conn->tls != NULL && kw_tls_is_shaking(conn->tls)) {
        return die_of_time(conn, error, KW_ERR_HANDSHAKE,
                           "connected, but the server did not answer the TLS handshake in time; "
                           "does it speak TLS at this port?");
    }
    return die_of_time(conn, error, KW_ERR_HANDSHAKE,
                       "connected, but the server did not answer HELLO in time");
}

const char *kw_conn_lateness(const kw_env *env, bool is_greeting)
{
    if (!is_greeting) {
        return "while connecting";
    }
    return env->tls != NULL ? "before the TLS handshake and HELLO were answered"
                            : "before the answer to HELLO";
}

bool kw_conn_takes_requests(const kw_conn *conn)
{
    switch (conn->state) {
    case KW_CONN_CONNECTING:
        return conn->is_plain && conn->address_at + 1 == conn->addresses_n;
    case KW_CONN_GREETING:
        return conn->is_plain;
    case KW_CONN_READY:
        return true;
    case KW_CONN_DEAD:
        return false;
    }
    return false;
}

kw_err kw_conn_check_overdue(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    if (conn->state == KW_CONN_READY || now_ns < conn->deadline_ns) {
        return KW_OK;
    }
    return die_unready(conn, error);
}

static bool is_established(const kw_conn *conn, bool is_early)
{
    return is_early ? kw_conn_takes_requests(conn) : conn->state == KW_CONN_READY;
}

kw_err kw_conn_establish(kw_conn *conn, kw_error *error, uint64_t until_ns, bool is_early)
{
    while (!is_established(conn, is_early)) {
        uint64_t now_ns = kw_env_now(conn->env);
        uint64_t wait_ns = until_ns < conn->deadline_ns ? until_ns : conn->deadline_ns;
        kw_err code = poll_once(conn, error, now_ns, wait_ns);
        if (code != KW_OK || is_established(conn, is_early)) {
            return code;
        }
        if (is_closing(conn)) {
            return die_of_time(conn, error, KW_ERR_CANCELLED, "the handle was closed");
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

/* Appends to what waits; what was sent of it makes room first. */
static bool append(kw_conn *conn, const char *data, size_t len)
{
    if (conn->out_at >= ROOM_LEN) {
        conn->out.len -= conn->out_at;
        memmove(conn->out.data, conn->out.data + conn->out_at, conn->out.len);
        conn->out_at = 0;
    }
    return kw_buf_append(&conn->out, data, len);
}

kw_err kw_conn_queue(kw_conn *conn, kw_error *error, kw_request *request, bool is_asking)
{
    kw_owner owner = {KW_OWNER_REQUEST, NULL, request, 0};
    kw_owner before = {KW_OWNER_OPTIONAL, "ASKING", NULL, 0};
    request->end_at = UINT64_MAX; /* not sent, where there is no memory for it */
    if (is_asking) {
        /* One append for both, so that nothing comes between. */
        if (!append(conn, asking, sizeof(asking) - 1) || !kw_fifo_push(&conn->owners, before)) {
            return die_of_memory(conn, error);
        }
        conn->queued += sizeof(asking) - 1;
    }
    if (!kw_fifo_push(&conn->owners, owner)) {
        return die_of_memory(conn, error);
    }
    bool is_small = request->bytes.len <= JOIN_MAX_LEN;
    if (request->is_shared || (is_small && (request->joins || conn->out.len > 0))) {
        if (!append(conn, request->bytes.data, request->bytes.len)) {
            return die_of_memory(conn, error);
        }
    } else {
        conn->rest = request->bytes;
    }
    conn->queued += request->bytes.len;
    request->end_at = conn->queued;
    return KW_OK;
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
    return kw_fifo_reserve(&conn->owners, 2) && kw_buf_reserve(&conn->out, sizeof(asking) + len);
}

bool kw_conn_recv_ends_by(const kw_conn *conn, uint64_t now_ns, uint64_t until_ns)
{
    uint64_t wait_ns = recv_wait_ms(&conn->env->options) * (uint64_t)1000000;
    return now_ns + wait_ns <= until_ns + TOLERANCE_NS;
}

/* True where a waiting recv may be used. */
static bool may_block(const kw_conn *conn, uint64_t now_ns, uint64_t until_ns)
{
    return conn->state != KW_CONN_CONNECTING && !kw_conn_has_bytes(conn) &&
           kw_conn_recv_ends_by(conn, now_ns, until_ns);
}

kw_err kw_conn_wait(kw_conn *conn, kw_error *error, kw_request *request, uint64_t now_ns,
                    uint64_t until_ns)
{
    while (!request->is_done) {
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
            code = receive(conn, error, &got, true);
        } else if (now_ns < until_ns) {
            code = poll_once(conn, error, now_ns, wait_ns);
        } else {
            return KW_ERR_TIMEOUT;
        }
        if (code != KW_OK || request->is_done) {
            return code;
        }
        if (is_closing(conn)) {
            return die_of_time(conn, error, KW_ERR_CANCELLED, "the handle was closed");
        }
        now_ns = kw_env_now(conn->env);
    }
    return KW_OK;
}

bool kw_conn_is_settled(const kw_conn *conn)
{
    return conn->state == KW_CONN_READY && conn->owners.count == 0 && !kw_conn_has_bytes(conn);
}

bool kw_conn_is_fresh(const kw_conn *conn, uint64_t now_ns)
{
    return now_ns <= conn->idle_since_ns + FRESH_NS;
}

bool kw_conn_is_quiet(kw_conn *conn)
{
    char byte;
    return kw_conn_recv(conn, &byte, 1, false) == -EAGAIN;
}

void kw_conn_shutdown(kw_conn *conn)
{
    if (conn->socket >= 0) {
        conn->env->transport->shutdown_fn(conn->env->transport->arg, conn->socket);
    }
}
