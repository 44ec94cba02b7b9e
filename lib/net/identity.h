/* SPDX-License-Identifier: BSD-3-Clause */
/* Identity: who answers a greeting, beside who is to answer; and what there is to tell of it. */
#ifndef NET_IDENTITY_H
#define NET_IDENTITY_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "net/fifo.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kw_conn;
struct kw_env;

/* What a greeting asks for it. */
typedef enum kw_identity_question {
    KW_IDENTITY_UNASKED,
    KW_IDENTITY_OF_NODE,     /* CLUSTER MYID */
    KW_IDENTITY_OF_SENTINEL, /* SENTINEL MYID */
    KW_IDENTITY_OF_DATA      /* INFO server, INFO replication */
} kw_identity_question;
kw_identity_question kw_identity_question_of(const struct kw_conn *conn);

/* True where the settings themselves name the server: nobody else says who it is. */
bool kw_identity_is_of_settings(const struct kw_conn *conn);

/* True where nothing is sent before it is known who answers. */
bool kw_identity_is_checked(const struct kw_conn *conn);

/* Takes an answer. KW_ERR_IDENTITY where another one answers than is expected, but for a
 * connection that allows strangers. An answer that tells nothing is no failure. */
kw_err kw_identity_take(struct kw_conn *conn, kw_error *error, const kw_owner *owner,
                        const kw_reply *reply);

/* Who answers was replaced by another one, who is followed; told to the host by its next call. */
typedef struct kw_identity_told {
    kw_endpoint server;
    const char *why; /* constant: who vouches for it */
} kw_identity_told;

#define KW_IDENTITY_TOLD_MAX 16

/* What the host was not told of yet, the oldest first. */
typedef struct kw_identity_news {
    size_t n;
    kw_identity_told told[KW_IDENTITY_TOLD_MAX];
} kw_identity_news;

/* Puts it into the env's list; the oldest makes room. Without memory for a list nobody is told. Any
 * thread. */
void kw_identity_tell(struct kw_env *env, const kw_endpoint *server, const char *why);

/* The oldest that was not taken yet; false where there is none. Any thread. */
bool kw_identity_next_told(struct kw_env *env, kw_identity_told *told);

#endif
