/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares who answers with who is to answer at an address that was learnt. */
#include "net/identity.h"

#include "base/error.h"
#include "net/conn.h"

#include <string.h>

bool kw_identity_is_of_settings(const kw_conn *conn)
{
    return conn->role != KW_CONN_GROUP_PRIMARY && conn->role != KW_CONN_GROUP_REPLICA &&
           (conn->env->options.scheme == KW_SCHEME_SINGLE ||
            conn->env->options.scheme == KW_SCHEME_RING);
}

kw_identity_question kw_identity_question_of(const kw_conn *conn)
{
    if (conn->env->options.identity == KW_IDENTITY_OFF || conn->is_old) {
        return KW_IDENTITY_UNASKED;
    }
    if (conn->role == KW_CONN_SENTINEL) {
        return KW_IDENTITY_OF_SENTINEL;
    }
    return conn->env->options.scheme == KW_SCHEME_CLUSTER ? KW_IDENTITY_OF_NODE
                                                          : KW_IDENTITY_OF_DATA;
}

bool kw_identity_is_checked(const kw_conn *conn)
{
    if (conn->allows_strangers) {
        return false;
    }
    switch (kw_identity_question_of(conn)) {
    case KW_IDENTITY_UNASKED:
        return false;
    case KW_IDENTITY_OF_NODE:
    case KW_IDENTITY_OF_SENTINEL:
        return conn->expected.id != 0;
    case KW_IDENTITY_OF_DATA:
        /* The address of a server that the settings name is theirs to say. */
        return conn->expected.lineage.n > 0 && (!kw_identity_is_of_settings(conn) ||
                                                conn->env->options.identity == KW_IDENTITY_STRICT);
    }
    return false;
}

/* A server that cannot answer just now: LOADING and its like. */
static bool is_busy(kw_bytes text)
{
    return kw_bytes_starts(text, "LOADING") || kw_bytes_starts(text, "BUSY") ||
           kw_bytes_starts(text, "MASTERDOWN");
}

/* A server that is in no cluster is no node of one. */
static bool is_in_no_cluster(const kw_owner *owner, kw_bytes text)
{
    return strcmp(owner->what, "CLUSTER MYID") == 0 &&
           kw_bytes_starts(text, "ERR This instance has cluster support disabled");
}

static kw_err refuse(const kw_conn *conn, kw_error *error, const kw_owner *owner,
                     const kw_reply *reply)
{
    char text[100];
    kw_bytes_show(text, sizeof(text), kw_reply_bytes(reply));
    if (conn->env->options.scheme == KW_SCHEME_CLUSTER || conn->role == KW_CONN_SENTINEL) {
        return kw_error_set(error, KW_ERR_IDENTITY, KW_EFFECT_NONE,
                            "another server answers at this address than the one that was known "
                            "there; to %s it says: %s",
                            owner->what, text);
    }
    return kw_error_set(
        error, KW_ERR_IDENTITY, KW_EFFECT_NONE,
        "another server answers at this address than the one that was known there, "
        "or it has lost its data: neither its run_id nor a replication id is known");
}

kw_err kw_identity_take(kw_conn *conn, kw_error *error, const kw_owner *owner,
                        const kw_reply *reply)
{
    kw_bytes text = kw_reply_bytes(reply);
    bool is_info = strcmp(owner->what, "INFO server") == 0;
    if (kw_reply_is_error(reply)) {
        conn->is_unproved = conn->is_unproved || is_busy(text);
        conn->is_stranger = conn->expected.id != 0 && is_in_no_cluster(owner, text);
    } else if (kw_identity_question_of(conn) == KW_IDENTITY_OF_DATA) {
        kw_lineage_read(&conn->said.lineage, text);
        conn->is_stranger = !is_info && kw_lineage_kinship(&conn->expected.lineage,
                                                           &conn->said.lineage) == KW_KINSHIP_NONE;
    } else if (text.len > 0) {
        conn->said.id = kw_bytes_id(text);
        conn->is_stranger = conn->expected.id != 0 && conn->said.id != conn->expected.id;
    }
    return conn->is_stranger && kw_identity_is_checked(conn) ? refuse(conn, error, owner, reply)
                                                             : KW_OK;
}

static void drop_first(kw_identity_news *news)
{
    news->n--;
    memmove(&news->told[0], &news->told[1], news->n * sizeof(news->told[0]));
}

void kw_identity_tell(kw_env *env, const kw_endpoint *server, const char *why)
{
    kw_monitor_lock(&env->told_monitor);
    if (env->identity_news == NULL) {
        env->identity_news = kw_mem_calloc(&env->mem, 1, sizeof(*env->identity_news));
    }
    kw_identity_news *news = env->identity_news;
    if (news != NULL) {
        if (news->n == KW_IDENTITY_TOLD_MAX) {
            drop_first(news);
        }
        news->told[news->n].server = *server;
        news->told[news->n++].why = why;
        atomic_store_explicit(&env->has_told, true, memory_order_release);
    }
    kw_monitor_unlock(&env->told_monitor);
}

bool kw_identity_next_told(kw_env *env, kw_identity_told *told)
{
    kw_monitor_lock(&env->told_monitor);
    kw_identity_news *news = env->identity_news;
    bool is_found = news != NULL && news->n > 0;
    if (is_found) {
        *told = news->told[0];
        drop_first(news);
    }
    atomic_store_explicit(&env->has_told, is_found && news->n > 0, memory_order_release);
    kw_monitor_unlock(&env->told_monitor);
    return is_found;
}
