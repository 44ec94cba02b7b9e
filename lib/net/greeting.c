/* SPDX-License-Identifier: BSD-3-Clause */
/* The greeting in its two forms, HELLO and the older commands, and what its answers mean. */
#include "net/greeting.h"

#include <keyway/version.h>

#include "base/error.h"
#include "base/resp.h"
#include "engine/verdict.h"
#include "net/identity.h"
#include "route/role.h"

#include <string.h>

#define ARGS_MAX 7

/* One command of the greeting while it is put together. */
typedef struct words {
    kw_bytes argv[ARGS_MAX];
    size_t argc;
} words;

static void add(words *command, const char *word)
{
    command->argv[command->argc++] = kw_bytes_of(word);
}

static bool append(kw_conn *conn, const words *command, kw_owner_kind kind, const char *what)
{
    kw_owner owner = {kind, 0, {what}};
    size_t before = conn->out.len;
    if (!kw_resp_append(&conn->out, command->argv, command->argc)) {
        return false;
    }
    conn->queued += conn->out.len - before;
    return kw_fifo_push(&conn->owners, owner);
}

/* Sentinels have a login of their own. */
static const char *user_of(const kw_conn *conn)
{
    return conn->login == NULL ? conn->env->options.sentinel_user : conn->login->user;
}

static const char *password_of(const kw_conn *conn)
{
    return conn->login == NULL ? conn->env->options.sentinel_password : conn->login->password;
}

/* True where the server's own word for its role is asked for. */
static bool asks_role(const kw_conn *conn)
{
    if (conn->role == KW_CONN_GROUP_PRIMARY || conn->role == KW_CONN_GROUP_REPLICA) {
        return true;
    }
    return conn->env->options.scheme == KW_SCHEME_SENTINEL &&
           (conn->role == KW_CONN_PRIMARY || conn->role == KW_CONN_REPLICA);
}

/* Sentinels are spoken to in RESP2: what they publish is read as arrays. */
static bool is_resp3(const kw_conn *conn)
{
    return conn->env->options.protocol == 3 && conn->role != KW_CONN_SENTINEL;
}

/* Sent before the login: a server that answers it wants no login, and would take any password,
 * which is told to who gave one. Asked once a handle. */
static const char door_question[] = "PING";

static bool append_door(kw_conn *conn)
{
    const char *user = user_of(conn);
    bool is_default = user == NULL || strcmp(user, "default") == 0;
    if (password_of(conn) == NULL || !is_default ||
        atomic_exchange_explicit(&conn->env->is_door_known, true, memory_order_relaxed)) {
        return true;
    }
    words command = {.argc = 0};
    add(&command, door_question);
    return append(conn, &command, KW_OWNER_OPTIONAL, door_question);
}

static void on_door(const kw_conn *conn, const kw_owner *owner, const kw_reply *reply)
{
    if (owner->what == door_question && !kw_reply_is_error(reply)) {
        char node[KW_ENDPOINT_TEXT];
        kw_env_log(conn->env, KW_LOG_WARNING,
                   "%s wants no password: it takes any, and anybody; is requirepass, or its "
                   "default user, set?",
                   kw_endpoint_text(node, &conn->endpoint));
    }
}

static bool append_hello(kw_conn *conn)
{
    const kw_options *options = &conn->env->options;
    words command = {.argc = 0};
    conn->out.is_secret = password_of(conn) != NULL;
    add(&command, "HELLO");
    add(&command, is_resp3(conn) ? "3" : "2");
    if (password_of(conn) != NULL) {
        add(&command, "AUTH");
        add(&command, user_of(conn) != NULL ? user_of(conn) : "default");
        add(&command, password_of(conn));
    }
    if (options->client_name != NULL) {
        add(&command, "SETNAME");
        add(&command, options->client_name);
    }
    return append(conn, &command, KW_OWNER_HELLO, "HELLO");
}

static bool append_about(kw_conn *conn, const char *name, const char *value)
{
    words command = {.argc = 0};
    add(&command, "CLIENT");
    add(&command, "SETINFO");
    add(&command, name);
    add(&command, value);
    return append(conn, &command, KW_OWNER_OPTIONAL, "CLIENT SETINFO");
}

/* Since Valkey 8 a replica outside of a cluster names its primary instead of answering READONLY,
 * and reads go there as well, but where READONLY was said: a server that the host has named may be
 * a replica on purpose. */
static bool append_capabilities(kw_conn *conn)
{
    bool is_single = conn->env->options.scheme == KW_SCHEME_SINGLE;
    bool is_primary = conn->role == KW_CONN_PRIMARY || conn->role == KW_CONN_GROUP_PRIMARY;
    if (conn->env->options.scheme == KW_SCHEME_CLUSTER || !is_primary) {
        return true;
    }
    words command = {.argc = 0};
    words readonly = {.argc = 0};
    add(&command, "CLIENT");
    add(&command, "CAPA");
    add(&command, "redirect");
    add(&readonly, "READONLY");
    return append(conn, &command, KW_OWNER_OPTIONAL, "CLIENT CAPA") &&
           (!is_single || append(conn, &readonly, KW_OWNER_OPTIONAL, "READONLY"));
}

static bool append_select(kw_conn *conn)
{
    uint64_t database = conn->env->options.database;
    if (database == 0 || conn->role == KW_CONN_SENTINEL) {
        return true;
    }
    char number[21];
    number[kw_uint_to_text(number, database)] = '\0';
    words command = {.argc = 0};
    add(&command, "SELECT");
    add(&command, number);
    return append(conn, &command, KW_OWNER_OK, "SELECT");
}

static bool append_role(kw_conn *conn)
{
    words command = {.argc = 0};
    if (asks_role(conn)) {
        add(&command, "ROLE");
        return append(conn, &command, KW_OWNER_ROLE, "ROLE");
    }
    if (conn->env->options.scheme == KW_SCHEME_CLUSTER && conn->role == KW_CONN_REPLICA) {
        add(&command, "READONLY");
        return append(conn, &command, KW_OWNER_OK, "READONLY");
    }
    return true;
}

/* Who answers: asked each time, since an address may be somebody else's by now. */
static bool append_identity(kw_conn *conn)
{
    words command = {.argc = 0};
    words more = {.argc = 0};
    switch (kw_identity_question_of(conn)) {
    case KW_IDENTITY_UNASKED:
        return true;
    case KW_IDENTITY_OF_NODE:
        add(&command, "CLUSTER");
        add(&command, "MYID");
        return append(conn, &command, KW_OWNER_IDENTITY, "CLUSTER MYID");
    case KW_IDENTITY_OF_SENTINEL:
        add(&command, "SENTINEL");
        add(&command, "MYID");
        return append(conn, &command, KW_OWNER_IDENTITY, "SENTINEL MYID");
    case KW_IDENTITY_OF_DATA:
        add(&command, "INFO");
        add(&command, "server");
        add(&more, "INFO");
        add(&more, "replication");
        return append(conn, &command, KW_OWNER_IDENTITY, "INFO server") &&
               append(conn, &more, KW_OWNER_IDENTITY, "INFO replication");
    }
    return true;
}

/* The greeting of a server that does not know HELLO (before Redis 6). */
static bool begin_old(kw_conn *conn)
{
    const kw_options *options = &conn->env->options;
    if (password_of(conn) != NULL) {
        words command = {.argc = 0};
        conn->out.is_secret = true;
        add(&command, "AUTH");
        if (user_of(conn) != NULL) {
            add(&command, user_of(conn));
        }
        add(&command, password_of(conn));
        if (!append(conn, &command, KW_OWNER_OK, "AUTH")) {
            return false;
        }
    }
    if (options->client_name != NULL && !conn->is_old) { /* who hangs up at HELLO may at this */
        words command = {.argc = 0};
        add(&command, "CLIENT");
        add(&command, "SETNAME");
        add(&command, options->client_name);
        if (!append(conn, &command, KW_OWNER_OPTIONAL, "CLIENT SETNAME")) {
            return false;
        }
    }
    /* Without a login it was asked together with HELLO. */
    bool asks_again = password_of(conn) != NULL;
    return (!asks_again || append_identity(conn)) && append_select(conn) && append_role(conn);
}

/* The least that says that a server is there. */
static bool append_ping(kw_conn *conn)
{
    words command = {.argc = 0};
    add(&command, "PING");
    return append(conn, &command, KW_OWNER_OK, "PING");
}

static void take_login(kw_conn *conn, kw_credentials *login)
{
    kw_credentials_unref(conn->login);
    conn->login = login;
    conn->login_revision = login->revision;
}

/* The login in use, as the host says it now; or that of before, where this server is known not to
 * take it yet. */
static void choose_login(kw_conn *conn)
{
    kw_logins *logins = &conn->env->logins;
    uint64_t now_ns = kw_env_now(conn->env);
    if (!kw_logins_ask(logins, now_ns)) {
        kw_env_log(conn->env, KW_LOG_WARNING,
                   "the host gave no login for a greeting; that of before is used");
    }
    take_login(conn, kw_logins_current(logins));
    if (kw_logins_is_refused(logins, conn->login_doubt, now_ns)) {
        kw_credentials *other = kw_logins_other(logins, conn->login_revision, now_ns);
        if (other != NULL) {
            take_login(conn, other);
        }
    }
}

static bool append_all(kw_conn *conn)
{
    if (conn->is_old) {
        return begin_old(conn) && (conn->owners.count > 0 || append_ping(conn));
    }
    return append_hello(conn) && append_identity(conn) && append_capabilities(conn) &&
           append_about(conn, "LIB-NAME", "keyway") && append_about(conn, "LIB-VER", KW_VERSION) &&
           append_select(conn) && append_role(conn);
}

bool kw_greeting_begin(kw_conn *conn)
{
    const kw_options *options = &conn->env->options;
    if (conn->role != KW_CONN_SENTINEL) {
        choose_login(conn);
    }
    bool has_database = options->database != 0 && conn->role != KW_CONN_SENTINEL;
    conn->is_plain = password_of(conn) == NULL && options->client_name == NULL && !has_database &&
                     !asks_role(conn) && !is_resp3(conn);
    conn->reader.is_resp3 = is_resp3(conn);
    conn->database = options->database;
    return (conn->is_old || append_door(conn)) && append_all(conn);
}

static kw_err refuse(kw_error *error, kw_err code, const char *what, const kw_reply *reply,
                     const char *hint)
{
    char text[200];
    kw_bytes_show(text, sizeof(text), kw_reply_bytes(reply));
    return kw_error_set(error, code, KW_EFFECT_NONE, "the server refused %s: %s%s", what, text,
                        hint);
}

static const char *login_hint(const kw_conn *conn)
{
    bool has_password = password_of(conn) != NULL;
    if (conn->role == KW_CONN_SENTINEL) {
        return has_password ? "; check sentinel-user and sentinel-password"
                            : "; sentinels have a login of their own: give sentinel-password";
    }
    return has_password ? "; check user and password"
                        : "; give user and password, as in redis://user:password@host";
}

/* The one in use, the one before, and the one in use again: the server may change between two. */
#define LOGIN_TRIES 3u

/* The server has refused the login. True where there is another one, which was given in its place:
 * what the first one's greeting asked besides is asked anew. */
static bool try_other_login(kw_conn *conn)
{
    if (conn->login == NULL) {
        return false;
    }
    kw_logins *logins = &conn->env->logins;
    uint64_t now_ns = kw_env_now(conn->env);
    kw_logins_on_refused(logins, conn->login_doubt, conn->login_revision, now_ns);
    kw_credentials *other = kw_logins_other(logins, conn->login_revision, now_ns);
    if (other == NULL || ++conn->login_refusals_n == LOGIN_TRIES) {
        kw_credentials_unref(other);
        return false;
    }
    take_login(conn, other);
    kw_fifo_make_optional(&conn->owners);
    return append_all(conn);
}

/* Errors that end the greeting whatever was asked: no place for a client, a login that is
 * refused, unless there is another: then *is_again. */
static kw_err on_error(kw_conn *conn, kw_error *error, bool *is_again, const kw_owner *owner,
                       const kw_reply *reply)
{
    kw_verdict verdict = kw_verdict_of(kw_reply_bytes(reply), false);
    if (verdict.kind == KW_VERDICT_FULL) {
        conn->is_full = true;
        *is_again = false;
        return refuse(error, KW_ERR_CONNECT, "the connection", reply, "");
    }
    bool is_refused =
        verdict.kind == KW_VERDICT_AUTH && !kw_bytes_starts(kw_reply_bytes(reply), "NOPERM");
    /* Servers before Redis 6 answer AUTH with "ERR invalid password". */
    bool is_auth = owner->kind == KW_OWNER_OK && strcmp(owner->what, "AUTH") == 0;
    *is_again = (is_refused || is_auth) && try_other_login(conn);
    return is_refused && !*is_again
               ? refuse(error, KW_ERR_AUTH, kw_owner_what(owner), reply, login_hint(conn))
               : KW_OK;
}

/* What the settings ask for, such as a database that the server does not have. */
static kw_err refuse_setting(kw_conn *conn, kw_error *error, const kw_owner *owner,
                             const kw_reply *reply)
{
    bool is_select = strcmp(owner->what, "SELECT") == 0;
    if (kw_bytes_starts(kw_reply_bytes(reply), "NOPERM")) {
        return refuse(error, KW_ERR_AUTH, owner->what, reply, "; allow it to this user");
    }
    conn->is_incompatible = kw_verdict_of(kw_reply_bytes(reply), false).kind == KW_VERDICT_FINAL;
    const char *hint =
        conn->env->options.scheme == KW_SCHEME_CLUSTER
            ? "; a cluster has database 0 only, but for one of Valkey 9 or later with "
              "cluster-databases; use key prefixes (option db)"
            : "; check the database (option db)";
    return refuse(error, KW_ERR_HANDSHAKE, owner->what, reply, is_select ? hint : "");
}

static void warn_of_cluster(const kw_conn *conn, kw_bytes mode)
{
    if (conn->env->options.scheme != KW_SCHEME_CLUSTER &&
        kw_bytes_equal(mode, kw_bytes_of("cluster"))) {
        char node[KW_ENDPOINT_TEXT];
        kw_endpoint_text(node, &conn->endpoint);
        kw_env_log(conn->env, KW_LOG_WARNING,
                   "%s is a cluster's node and will answer MOVED: use redis-cluster://%s", node,
                   node);
    }
}

/* A cluster's node that is a primary by the map, and a replica by its own word, has been replaced:
 * the map is asked for. No redirect need ever tell so, as a replica runs SPUBLISH and commands
 * without keys itself. */
static void note_role(kw_conn *conn, kw_bytes role)
{
    conn->is_replica = kw_bytes_equal(role, kw_bytes_of("replica"));
    if (conn->is_replica && conn->env->options.scheme == KW_SCHEME_CLUSTER &&
        conn->role == KW_CONN_PRIMARY) {
        atomic_store_explicit(&conn->env->is_suspect, true, memory_order_relaxed);
    }
}

/* HELLO answers with names and values; "mode" is "standalone", "cluster" or
 * "sentinel", "role" is "master" or "replica". */
static kw_err on_description(kw_conn *conn, kw_error *error, const kw_reply *reply)
{
    kw_bytes first = kw_reply_bytes(kw_reply_at(reply, 0));
    size_t count = kw_reply_count(reply);
    if (count % 2 != 0 || !kw_bytes_equal(first, kw_bytes_of("server"))) {
        return kw_error_set(error, KW_ERR_HANDSHAKE, KW_EFFECT_NONE,
                            "the answer to HELLO is not a server's description of itself");
    }
    for (size_t i = 0; i + 1 < count; i += 2) {
        kw_bytes name = kw_reply_bytes(kw_reply_at(reply, i));
        kw_bytes value = kw_reply_bytes(kw_reply_at(reply, i + 1));
        if (kw_bytes_equal(name, kw_bytes_of("mode")) && conn->role != KW_CONN_SENTINEL &&
            kw_bytes_equal(value, kw_bytes_of("sentinel"))) {
            return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                                "it is a sentinel: use redis-sentinel://host:port/name");
        }
        if (kw_bytes_equal(name, kw_bytes_of("mode"))) {
            warn_of_cluster(conn, value);
        } else if (kw_bytes_equal(name, kw_bytes_of("role"))) {
            note_role(conn, value);
        } else if (kw_bytes_equal(name, kw_bytes_of("availability_zone")) && value.len > 0) {
            conn->zone = kw_zone_hash(value);
        }
    }
    return KW_OK;
}

static kw_err on_hello(kw_conn *conn, kw_error *error, const kw_reply *reply)
{
    if (!kw_reply_is_error(reply)) {
        return on_description(conn, error, reply);
    }
    if (is_resp3(conn)) {
        conn->is_incompatible = true;
        return refuse(error, KW_ERR_HANDSHAKE, "HELLO 3", reply,
                      "; RESP3 needs Redis 6 and a user that may say HELLO: set protocol=2");
    }
    /* Unknown, or not allowed to this user: the older commands may be. What is
     * already under way for SELECT does not count, it goes again behind AUTH. */
    kw_fifo_make_optional(&conn->owners);
    if (!begin_old(conn)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a greeting");
    }
    return KW_OK;
}

/* Sentinels may be behind: the server itself has the last word. */
static kw_err on_role(const kw_conn *conn, kw_error *error, const kw_reply *reply)
{
    kw_role role;
    if (kw_reply_is_error(reply)) {
        if (kw_verdict_code(kw_verdict_of(kw_reply_bytes(reply), false).kind) != KW_OK) {
            return refuse(error, KW_ERR_HANDSHAKE, "ROLE", reply, ""); /* a long script runs */
        }
        return refuse(error, KW_ERR_AUTH, "ROLE", reply,
                      "; it tells a primary from a replica: allow it to this user");
    }
    kw_err code = kw_role_read(&role, error, reply);
    if (code != KW_OK) {
        return kw_error_set(error, KW_ERR_HANDSHAKE, KW_EFFECT_NONE,
                            "the answer to ROLE is not a server's description of its role");
    }
    bool is_primary = conn->role == KW_CONN_PRIMARY || conn->role == KW_CONN_GROUP_PRIMARY;
    kw_role_kind wanted = is_primary ? KW_ROLE_PRIMARY : KW_ROLE_REPLICA;
    if (role.kind != wanted) {
        return kw_error_set(error, KW_ERR_ROLE, KW_EFFECT_NONE, "the server is a %s, not a %s",
                            kw_role_name(role.kind), kw_role_name(wanted));
    }
    if (wanted == KW_ROLE_REPLICA && !role.is_linked) {
        return kw_error_set(error, KW_ERR_ROLE, KW_EFFECT_NONE,
                            "the replica has no link to its primary");
    }
    return KW_OK;
}

kw_err kw_greeting_on_reply(kw_conn *conn, kw_error *error, const kw_owner *owner,
                            const kw_reply *reply)
{
    bool is_error = kw_reply_is_error(reply);
    if (is_error && owner->kind != KW_OWNER_OPTIONAL && owner->kind != KW_OWNER_IDENTITY) {
        bool is_again;
        kw_err code = on_error(conn, error, &is_again, owner, reply);
        if (code != KW_OK || is_again) {
            return code;
        }
    }
    switch (owner->kind) {
    case KW_OWNER_HELLO:
        return on_hello(conn, error, reply);
    case KW_OWNER_OK:
        return is_error ? refuse_setting(conn, error, owner, reply) : KW_OK;
    case KW_OWNER_ROLE:
        return on_role(conn, error, reply);
    case KW_OWNER_IDENTITY:
        return kw_identity_take(conn, error, owner, reply);
    case KW_OWNER_OPTIONAL:
        on_door(conn, owner, reply);
        return KW_OK;
    case KW_OWNER_LOGIN:
    case KW_OWNER_NOBODY:
    case KW_OWNER_REQUEST:
    case KW_OWNER_PARTS:
        return KW_OK;
    }
    return KW_OK;
}
