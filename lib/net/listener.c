/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscriptions to what sentinels publish: opened, read a little at a time, opened anew. */
#include "net/listener.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* Between two looks. */
#define LOOK_NS ((uint64_t)10000000)

/* Between the loss of a connection and the next. */
#define RETRY_NS ((uint64_t)500000000)

/* Bytes and messages that one look takes from one sentinel at most, so that none holds the caller
 * up. */
#define READ_LEN     ((size_t)4096)
#define MESSAGES_MAX 64

/* Asks for everything that a sentinel publishes: it is little, and comes only when something fails.
 */
static const char subscribe[] = "*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n";

void kw_listener_init(kw_listener *listener, kw_env *env)
{
    memset(listener, 0, sizeof(*listener));
    listener->env = env;
}

static void drop_conn(kw_subscription *subscription, uint64_t now_ns, const kw_error *failure)
{
    if (subscription->conn == NULL) {
        return;
    }
    kw_error abandoned = kw_error_none();
    if (failure == NULL) {
        kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "not listened to any more");
        failure = &abandoned;
    }
    subscription->conn->state = KW_CONN_DEAD; /* what comes on it is nobody's reply */
    kw_node_release(subscription->node, subscription->conn, now_ns,
                    subscription->is_ready ? NULL : failure);
    subscription->retry_ns = now_ns + RETRY_NS;
    subscription->conn = NULL;
    subscription->is_ready = false;
    subscription->is_subscribed = false;
}

static void drop_subscription(kw_subscription *subscription, uint64_t now_ns)
{
    drop_conn(subscription, now_ns, NULL);
    kw_node_unref(subscription->node);
    subscription->node = NULL;
    subscription->retry_ns = 0;
}

void kw_listener_fini(kw_listener *listener)
{
    kw_reply_free(listener->reply);
    for (size_t i = 0; i < KW_LISTENER_SUBSCRIPTIONS_MAX; i++) {
        drop_subscription(&listener->subscriptions[i], kw_env_now(listener->env));
    }
}

/* Sentinels that left lose their subscription, new ones get one. */
static void take_nodes(kw_listener *listener, kw_node *const *nodes, size_t nodes_n,
                       uint64_t now_ns)
{
    bool has_ear[KW_LISTENER_SUBSCRIPTIONS_MAX] = {false};
    nodes_n = nodes_n < KW_LISTENER_SUBSCRIPTIONS_MAX ? nodes_n : KW_LISTENER_SUBSCRIPTIONS_MAX;
    for (size_t i = 0; i < KW_LISTENER_SUBSCRIPTIONS_MAX; i++) {
        kw_subscription *subscription = &listener->subscriptions[i];
        bool is_wanted = false;
        for (size_t k = 0; k < nodes_n; k++) {
            bool is_same = subscription->node != NULL && nodes[k] == subscription->node;
            has_ear[k] = has_ear[k] || is_same;
            is_wanted = is_wanted || is_same;
        }
        if (subscription->node != NULL && !is_wanted) {
            drop_subscription(subscription, now_ns);
        }
    }
    size_t at = 0;
    for (size_t k = 0; k < nodes_n; k++) {
        while (!has_ear[k] && listener->subscriptions[at].node != NULL) {
            at++;
        }
        if (!has_ear[k]) {
            listener->subscriptions[at].node = kw_node_ref(nodes[k]);
        }
    }
}

/* Goes on with the connection until it is subscribed. */
static kw_err open_subscription(kw_subscription *subscription, kw_error *error, uint64_t now_ns)
{
    if (subscription->conn == NULL) {
        kw_err code =
            kw_node_try_acquire(subscription->node, &subscription->conn, error, now_ns, true);
        if (code != KW_OK) {
            subscription->conn = NULL;
            return KW_OK; /* the next look goes on */
        }
        subscription->conn->is_internal = true;
        subscription->is_ready = subscription->conn->state == KW_CONN_READY;
    }
    kw_conn *conn = subscription->conn;
    const kw_transport *transport = conn->env->transport;
    struct pollfd entry = {conn->socket, kw_conn_events(conn), 0};
    short revents = 0;
    if (conn->state != KW_CONN_READY && transport->poll_fn(transport->arg, &entry, 1, 0) > 0) {
        revents = entry.revents;
    }
    kw_err code = kw_conn_check_overdue(conn, error, now_ns);
    if (code == KW_OK && conn->state != KW_CONN_READY) {
        code = kw_conn_progress(conn, error, revents);
    }
    if (conn->was_ready && !subscription->is_ready) {
        kw_node_on_ready(subscription->node, conn);
        subscription->is_ready = true;
    }
    if (code != KW_OK || !kw_conn_is_settled(conn)) {
        return code;
    }
    /* From here on the connection's own queue knows nothing of what comes. */
    ssize_t sent = kw_conn_send(conn, subscribe, sizeof(subscribe) - 1);
    subscription->is_subscribed =
        sent == (ssize_t)sizeof(subscribe) - 1 && !kw_conn_has_bytes(conn);
    return subscription->is_subscribed ? KW_OK
                                       : kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                                                      "the subscription could not be sent");
}

/* What the sentinel has sent since the last look. */
static kw_err hear(kw_subscription *subscription, kw_error *error)
{
    char data[READ_LEN];
    kw_conn *conn = subscription->conn;
    subscription->heard_n = 0;
    ssize_t got = kw_conn_recv(conn, data, sizeof(data), false);
    if (got == -EAGAIN) {
        return KW_OK;
    }
    if (got <= 0) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE, "the sentinel has left");
    }
    return kw_reader_feed(&conn->reader, error, data, (size_t)got);
}

/* ["pmessage", "*", channel, text], or the answer to the subscription. *is_message: the first. */
static kw_err read_message(kw_listener_message *message, bool *is_message, kw_error *error,
                           const kw_reply *reply)
{
    kw_bytes kind = kw_reply_bytes(kw_reply_at(reply, 0));
    *is_message = kw_bytes_equal(kind, kw_bytes_of("pmessage")) && kw_reply_count(reply) == 4;
    if (*is_message) {
        message->channel = kw_reply_bytes(kw_reply_at(reply, 2));
        message->text = kw_reply_bytes(kw_reply_at(reply, 3));
        return KW_OK;
    }
    if (kw_bytes_equal(kind, kw_bytes_of("psubscribe"))) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_NONE, "no message of a subscription");
}

/* The next message of one sentinel. *is_message: there is one. */
static kw_err next_message(kw_listener *listener, kw_subscription *subscription,
                           kw_listener_message *message, bool *is_message, kw_error *error)
{
    kw_reader *reader = &subscription->conn->reader;
    kw_err code = KW_OK;
    *is_message = false;
    while (code == KW_OK && !*is_message && kw_reader_has_rest(reader)) {
        kw_reply_free(listener->reply);
        reader->is_internal = true;
        code = kw_reader_next(reader, &listener->reply, error);
        if (code != KW_OK || listener->reply == NULL) {
            listener->reply = NULL;
            break;
        }
        code = read_message(message, is_message, error, listener->reply);
        *is_message = *is_message && ++subscription->heard_n <= MESSAGES_MAX;
    }
    message->node = subscription->node;
    return code;
}

bool kw_listener_next(kw_listener *listener, kw_listener_message *message, uint64_t now_ns)
{
    for (size_t i = 0; i < KW_LISTENER_SUBSCRIPTIONS_MAX; i++) {
        kw_subscription *subscription = &listener->subscriptions[i];
        if (!subscription->is_subscribed) {
            continue;
        }
        kw_error failure = kw_error_none();
        bool is_message;
        if (next_message(listener, subscription, message, &is_message, &failure) != KW_OK) {
            drop_conn(subscription, now_ns, &failure);
        } else if (is_message) {
            return true;
        }
    }
    kw_reply_free(listener->reply);
    listener->reply = NULL;
    return false;
}

void kw_listener_look(kw_listener *listener, kw_node *const *nodes, size_t nodes_n, uint64_t now_ns)
{
    listener->look_ns = now_ns + LOOK_NS;
    take_nodes(listener, nodes, nodes_n, now_ns);
    for (size_t i = 0; i < KW_LISTENER_SUBSCRIPTIONS_MAX; i++) {
        kw_subscription *subscription = &listener->subscriptions[i];
        kw_error failure = kw_error_none();
        kw_err code = KW_OK;
        if (subscription->node != NULL && !subscription->is_subscribed &&
            now_ns >= subscription->retry_ns) {
            code = open_subscription(subscription, &failure, now_ns);
        } else if (subscription->node != NULL && subscription->is_subscribed) {
            code = hear(subscription, &failure);
        }
        if (code != KW_OK) {
            drop_conn(subscription, now_ns, &failure);
        }
    }
}
