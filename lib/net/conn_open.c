/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection from its first address to its end. */
#include "net/conn_private.h"

#include "base/moment.h"
#include "base/error.h"
#include "net/greeting.h"

#include <errno.h>
#include <string.h>

void kw_conn_note_trip(kw_conn *conn)
{
    uint64_t now_ns = kw_env_now(conn->env);
    if (now_ns >= conn->deadline_ns) {
        conn->was_left = true; /* how long is no round trip then, and what comes next begins now */
    } else if (!conn->is_unseen) {
        kw_env_on_trip(conn->env, now_ns > conn->begun_ns ? now_ns - conn->begun_ns : 0);
    }
    conn->is_unseen = false;
    conn->begun_ns = now_ns;
    if (kw_conn_has_own_time(conn) || conn->was_left) {
        uint64_t until_ns = now_ns + kw_conn_connect_ns(conn->env);
        conn->deadline_ns = until_ns > conn->deadline_ns ? until_ns : conn->deadline_ns;
    }
}

/* Between two looks whether a name has been looked up. */
#define LOOK_NS KW_NS_PER_MS

/* Between two looks at connects that go on beside, once all addresses have had their turn. */
#define RIVALS_NS (10 * KW_NS_PER_MS)

/* "Connection Attempt Delay", RFC 8305, section 5: what it recommends; less where time is short. */
#define PAUSE_MAX_NS ((uint64_t)250000000)

static void close_one(kw_conn *conn, int socket)
{
    if (kw_descriptors_remove(&conn->env->descriptors, socket)) {
        conn->env->transport->close_fn(conn->env->transport->arg, socket);
    }
}

static void close_socket(kw_conn *conn)
{
    if (conn->socket >= 0) {
        close_one(conn, conn->socket);
        conn->socket = -1;
    }
    kw_tls_free(conn->tls);
    conn->tls = NULL;
}

static void close_rival(kw_conn *conn, size_t at)
{
    close_one(conn, conn->rivals[at]);
    conn->rivals[at] = -1;
    conn->rivals_n--;
}

void kw_conn_close_rivals(kw_conn *conn)
{
    for (size_t i = 0; i < KW_ADDRESSES_MAX && conn->rivals_n > 0; i++) {
        if (conn->rivals[i] >= 0) {
            close_rival(conn, i);
        }
    }
}

kw_err kw_conn_die(kw_conn *conn, kw_err code)
{
    if (!conn->is_shared) {
        conn->state = KW_CONN_DEAD;
        conn->lost = code;
    }
    return code;
}

/* A hint for the error text: a server that wants TLS, or a certificate, hangs up on a greeting
 * without it. */
const char *kw_conn_loss_hint(const kw_conn *conn, ssize_t status)
{
    if (status == -ECONNREFUSED || status == -ENOENT) {
        return "; is a server running there?";
    }
    if (conn->state != KW_CONN_GREETING) {
        return "";
    }
    if (conn->tls == NULL) {
        return "; does it want TLS (rediss://)?";
    }
    return conn->env->options.tls_cert == NULL ? "; does it want a certificate (tls-cert, tls-key)?"
                                               : "";
}

/* True where an answer can be read although a send has failed: servers say why before they hang
 * up. */
static bool has_farewell(kw_conn *conn, ssize_t status)
{
    char byte;
    if (conn->tls == NULL || status == -EPROTO || conn->state != KW_CONN_GREETING) {
        return conn->tls != NULL && status == -EPROTO;
    }
    return kw_conn_recv(conn, &byte, 1, false) == -EPROTO;
}

/* The server, or a proxy that does not know the command, hangs up on HELLO. Once a connection is
 * shared it has greeted, and its reader and its writer may both find it lost. */
void kw_conn_note_hang_up(kw_conn *conn)
{
    if (conn->is_shared) {
        return;
    }
    bool is_greeting = conn->state == KW_CONN_GREETING && !kw_conn_is_shaking(conn);
    const kw_owner *next = is_greeting ? kw_fifo_peek(&conn->owners) : NULL;
    conn->was_hung_up = next != NULL && next->kind == KW_OWNER_HELLO;
}

kw_err kw_conn_die_of_errno(kw_conn *conn, kw_error *error, kw_err code, const char *what,
                            ssize_t status)
{
    bool is_connected = conn->state == KW_CONN_READY;
    kw_conn_note_hang_up(conn);
    kw_effect effect = is_connected ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
    const char *failure = has_farewell(conn, status) ? kw_tls_failure(conn->tls) : NULL;
    if (failure != NULL) {
        code = is_connected ? code : KW_ERR_HANDSHAKE;
        conn->is_incompatible = !is_connected;
        kw_error_set(error, code, effect, "%s", failure);
        return kw_conn_die(conn, code);
    }
    char reason[100];
    if (strerror_r((int)-status, reason, sizeof(reason)) != 0) {
        reason[0] = '\0';
    }
    kw_error_set(error, code, effect, "%s: %s%s", what, reason, kw_conn_loss_hint(conn, status));
    return kw_conn_die(conn, code);
}

kw_err kw_conn_die_of_memory(kw_conn *conn, kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a connection");
    return kw_conn_die(conn, KW_ERR_NOMEM);
}

/* True where the connection speaks TLS: sentinels have an option of their own for it. */
static bool is_sealed(const kw_conn *conn)
{
    const kw_options *options = &conn->env->options;
    bool is_sentinel = conn->role == KW_CONN_SENTINEL;
    return is_sentinel ? kw_options_has_sentinel_tls(options) : options->has_tls;
}

static kw_err begin_tls(kw_conn *conn, kw_error *error)
{
    conn->tls = kw_tls_new(conn->env->tls, conn->env->transport, conn->endpoint.host);
    return conn->tls != NULL ? KW_OK : kw_conn_die_of_memory(conn, error);
}

/* A connect to the next address that takes one: its socket, or why there is none. */
static int open_next(kw_conn *conn, int status)
{
    const kw_transport *transport = conn->env->transport;
    while (conn->begun_n < conn->addresses.n) {
        const kw_address *address = &conn->addresses.at[conn->begun_n++];
        int socket = transport->open_fn(transport->arg, address, &conn->env->options);
        if (socket < 0) {
            status = socket;
            continue;
        }
        if (!kw_descriptors_add(&conn->env->descriptors, &conn->env->mem, socket)) {
            transport->close_fn(transport->arg, socket);
            return -ENOMEM;
        }
        return socket;
    }
    return status;
}

/* Goes on with this socket, which is for that address. */
static kw_err use_socket(kw_conn *conn, kw_error *error, int socket, size_t address_at)
{
    conn->socket = socket;
    conn->address_at = address_at;
    return is_sealed(conn) ? begin_tls(conn, error) : KW_OK;
}

static kw_err use_rival(kw_conn *conn, kw_error *error, size_t at)
{
    int socket = conn->rivals[at];
    close_socket(conn);
    conn->rivals[at] = -1;
    conn->rivals_n--;
    return use_socket(conn, error, socket, at);
}

kw_err kw_conn_dial(kw_conn *conn, kw_error *error, int status)
{
    close_socket(conn);
    int socket = open_next(conn, status);
    if (socket >= 0) {
        return use_socket(conn, error, socket, conn->begun_n - 1);
    }
    for (size_t i = KW_ADDRESSES_MAX; i > 0 && conn->rivals_n > 0; i--) {
        if (conn->rivals[i - 1] >= 0) {
            return use_rival(conn, error, i - 1);
        }
    }
    if (socket == -ENOMEM) {
        return kw_conn_die_of_memory(conn, error);
    }
    conn->is_starved = socket == -EMFILE || socket == -ENFILE || socket == -ENOBUFS;
    return kw_conn_die_of_errno(conn, error, KW_ERR_CONNECT, "cannot connect", socket);
}

/* What became of the connects that go on beside. True where one has succeeded, which is used now:
 * code says whether there is memory for its TLS. */
static bool look_at_rivals(kw_conn *conn, kw_error *error, kw_err *code)
{
    const kw_transport *transport = conn->env->transport;
    for (size_t i = 0; i < conn->begun_n && conn->rivals_n > 0; i++) {
        struct pollfd entry = {conn->rivals[i], POLLOUT, 0};
        if (entry.fd < 0 || transport->poll_fn(transport->arg, &entry, 1, 0) <= 0) {
            continue;
        }
        if ((entry.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
            close_rival(conn, i);
        } else {
            *code = use_rival(conn, error, i);
            return true;
        }
    }
    return false;
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

/* Finds the addresses of the endpoint, or begins to look for them: conn->lookup. */
static kw_err find_addresses(kw_conn *conn, kw_error *error)
{
    kw_resolver *resolver = conn->env->resolver;
    if (resolver == NULL || !kw_address_is_name(&conn->endpoint)) {
        return kw_address_find(&conn->addresses, error, &conn->endpoint);
    }
    kw_error failure = kw_error_none();
    conn->lookup = kw_resolver_begin(resolver, &failure, &conn->endpoint);
    if (conn->lookup == NULL) {
        kw_error_copy(error, &failure);
        return failure.code;
    }
    return KW_OK;
}

/* The address that was good before is tried before the others. */
static void put_first(kw_addresses *addresses, const kw_address *good)
{
    for (size_t i = 1; i < addresses->n && good->len > 0; i++) {
        kw_address *at = &addresses->at[i];
        if (at->len == good->len && memcmp(&at->storage, &good->storage, good->len) == 0) {
            kw_address first = *at;
            memmove(&addresses->at[1], &addresses->at[0], i * sizeof(first));
            addresses->at[0] = first;
            return;
        }
    }
}

/* Each address gets its turn within the time there is for all of them. */
static void set_pace(kw_conn *conn, uint64_t now_ns)
{
    uint64_t share_ns = (conn->deadline_ns - now_ns) / (conn->addresses.n + 1);
    conn->pause_ns = share_ns < PAUSE_MAX_NS ? share_ns : PAUSE_MAX_NS;
    conn->next_ns = now_ns + conn->pause_ns;
}

/* The addresses are known: the first connect begins. */
static kw_err begin_connect(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    put_first(&conn->addresses, &conn->good);
    set_pace(conn, now_ns);
    return kw_conn_dial(conn, error, 0);
}

uint64_t kw_conn_connect_ns(kw_env *env)
{
    uint64_t wait_ns = kw_options_connect_timeout_ms(&env->options) * (uint64_t)1000000;
    return env->options.connect_timeout_ms > 0 ? wait_ns : kw_env_patience_ns(env, wait_ns);
}

/* Looks whether the name has been looked up. */
static kw_err take_lookup(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    kw_err code = kw_lookup_take(conn->lookup, &conn->addresses, error);
    if (code == KW_ERR_TIMEOUT) {
        conn->next_ns = now_ns + LOOK_NS;
        return KW_OK;
    }
    kw_lookup_unref(conn->lookup);
    conn->lookup = NULL;
    conn->deadline_ns = now_ns + (conn->deadline_ns - conn->begun_ns); /* as long as it was given */
    conn->begun_ns = now_ns;
    return code == KW_OK ? begin_connect(conn, error, now_ns) : kw_conn_die(conn, code);
}

/* "Happy Eyeballs Version 2", RFC 8305: a connect begins a while after the one before, which goes
 * on; the first that succeeds is used. */
kw_err kw_conn_race(kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    if (!kw_conn_is_racing(conn, now_ns)) {
        return KW_OK;
    }
    if (conn->lookup != NULL) {
        return take_lookup(conn, error, now_ns);
    }
    bool has_next = conn->begun_n < conn->addresses.n && now_ns >= conn->next_ns;
    kw_err code;
    if (look_at_rivals(conn, error, &code)) {
        conn->is_switched = true;
        return code;
    }
    if (!has_next) {
        if (conn->begun_n == conn->addresses.n) {
            conn->next_ns = now_ns + RIVALS_NS;
        }
        return KW_OK;
    }
    int socket = open_next(conn, 0);
    conn->next_ns = now_ns + conn->pause_ns;
    if (socket < 0) {
        return KW_OK;
    }
    /* Where nobody looked for long it has its turn all the same. */
    if (kw_conn_has_own_time(conn) && conn->deadline_ns < conn->next_ns) {
        conn->deadline_ns = conn->next_ns;
    }
    if (conn->begun_n == conn->addresses.n) {
        conn->next_ns = now_ns + RIVALS_NS;
    }
    conn->rivals[conn->address_at] = conn->socket;
    conn->rivals_n++;
    conn->socket = -1;
    conn->is_switched = true;
    close_socket(conn); /* its TLS: that is begun anew on the socket that is used */
    return use_socket(conn, error, socket, conn->begun_n - 1);
}

/* Somebody has named an address that the settings do not allow: it is not dialled. */
static kw_conn *refuse_address(kw_conn *conn, kw_error *error, const kw_endpoint *endpoint)
{
    char node[KW_ENDPOINT_TEXT];
    conn->is_incompatible = true;
    kw_error_set(error, KW_ERR_CONNECT, KW_EFFECT_NONE,
                 "%.300s is not dialled: the address was learnt from a server, and is outside of "
                 "nodes-allowed",
                 kw_endpoint_text(node, endpoint));
    kw_conn_die(conn, KW_ERR_CONNECT);
    return conn;
}

static void begin_time(kw_conn *conn, uint64_t now_ns)
{
    conn->begun_ns = now_ns;
    conn->deadline_ns = now_ns + kw_conn_connect_ns(conn->env);
}

kw_conn *kw_conn_new(kw_env *env, kw_error *error, const kw_dial *dial, uint64_t now_ns)
{
    kw_conn *conn = kw_mem_alloc(&env->mem, sizeof(*conn));
    if (conn == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a connection");
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    conn->env = env;
    conn->endpoint = *dial->endpoint;
    conn->role = dial->role;
    conn->is_old = dial->is_old;
    conn->login_doubt = dial->login_doubt;
    conn->expected = dial->identity;
    apply_address_map(&conn->endpoint, &env->options);
    conn->socket = -1;
    for (size_t i = 0; i < KW_ADDRESSES_MAX; i++) {
        conn->rivals[i] = -1;
    }
    conn->state = KW_CONN_CONNECTING;
    begin_time(conn, now_ns);
    kw_fifo_init(&conn->owners, &env->mem);
    kw_buf_init(&conn->out, &env->mem, NULL, 0);
    kw_reader_limits limits = {env->options.reply_bytes_max, env->options.reply_items_max,
                               env->options.reply_depth_max};
    kw_err code = kw_reader_init(&conn->reader, &env->mem, &limits);
    if (code != KW_OK || !kw_greeting_begin(conn)) {
        kw_conn_die_of_memory(conn, error);
        return conn;
    }
    if (dial->is_forbidden) {
        return refuse_address(conn, error, dial->endpoint);
    }
    code = find_addresses(conn, error);
    if (code != KW_OK) {
        kw_conn_die(conn, code);
        return conn;
    }
    conn->good = dial->good;
    if (conn->lookup == NULL && kw_address_is_name(&conn->endpoint)) {
        now_ns = kw_env_now(env); /* what the look-up has taken is no part of the connect */
        begin_time(conn, now_ns);
    }
    (void)(conn->lookup != NULL ? take_lookup(conn, error, now_ns)
                                : begin_connect(conn, error, now_ns));
    return conn;
}

void kw_conn_free(kw_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    close_socket(conn);
    kw_conn_close_rivals(conn);
    kw_lookup_unref(conn->lookup);
    kw_credentials_unref(conn->login);
    kw_reader_fini(&conn->reader);
    kw_fifo_fini(&conn->owners);
    kw_buf_fini(&conn->out);
    kw_mem_free(&conn->env->mem, conn);
}
