/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/channel.h"

#include "base/error.h"

/* A pool without a free connection is looked at again after this. */
#define POOL_RETRY_NS (1 * KW_NS_PER_MS)

/* So many replies of a long-lived pipeline go to their callbacks before the next ones are read: few
 * enough for what they touch to stay in the processor's first cache. */
#define GIVES_MAX 16

void kw_items_push(kw_items *list, kw_item *item)
{
    item->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = item;
    } else {
        list->head = item;
    }
    list->tail = item;
}

kw_item *kw_items_pop(kw_items *list)
{
    kw_item *item = list->head;
    if (item != NULL) {
        list->head = item->next;
        list->tail = list->head != NULL ? list->tail : NULL;
        item->next = NULL;
    }
    return item;
}

static kw_err acquire(kw_channel *channel, kw_channel_scan *scan)
{
    /* Callers that wait may keep the whole pool busy; a long-lived pipeline must go on. */
    bool is_spare = scan->poller != NULL && !channel->is_exclusive;
    kw_err code =
        kw_node_try_acquire(channel->node, &channel->conn, &scan->failure, scan->now_ns, is_spare);
    if (code == KW_OK) {
        channel->is_counted = channel->conn->was_ready;
        channel->heard_ns = scan->now_ns;
        channel->has_unsent = false;
        channel->conn->gives_max = scan->poller != NULL ? GIVES_MAX : 0;
    } else {
        channel->conn = NULL;
    }
    if (code == KW_ERR_POOL_FULL) {
        channel->retry_ns = scan->now_ns + POOL_RETRY_NS;
        return KW_OK; /* the commands stay here until the deadline */
    }
    return code;
}

/* A greeting that was not answered yet takes only what may run twice, and nothing of a
 * long-lived pipeline, whose commands may end while nothing has left. */
static bool may_queue(const kw_channel *channel, const kw_channel_scan *scan)
{
    const kw_conn *conn = channel->conn;
    const kw_item *item = channel->queue.head;
    return item != NULL && kw_conn_has_room(conn) &&
           (conn->state == KW_CONN_READY ||
            (scan->poller == NULL && item->plan.is_repeatable && kw_conn_takes_requests(conn)));
}

static kw_err queue_some(kw_channel *channel, kw_channel_scan *scan)
{
    while (may_queue(channel, scan)) {
        kw_item *item = kw_items_pop(&channel->queue);
        item->request.bytes = item->encoded;
        item->request.is_done = false;
        item->request.joins = true;
        item->state = KW_ITEM_SENT;
        item->node = channel->node;
        item->sends_n++;
        if (item->retry_state != NULL) {
            kw_op_on_send(&item->retry_state->op);
        }
        if (channel->flight.head == NULL) {
            channel->heard_ns = scan->now_ns;
            channel->look_ns = 0;
        }
        channel->has_unsent = true;
        kw_items_push(&channel->flight, item);
        kw_err code = kw_conn_queue(channel->conn, &scan->failure, &item->request, item->is_asking);
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

static kw_err flush(kw_channel *channel, kw_channel_scan *scan)
{
    channel->has_unsent = false;
    return kw_conn_flush(channel->conn, &scan->failure);
}

/* Connects where there is something to send and no connection yet. */
static kw_err connect_channel(kw_channel *channel, kw_channel_scan *scan)
{
    bool is_due = channel->queue.head != NULL && scan->now_ns >= channel->retry_ns;
    return channel->conn == NULL && is_due ? acquire(channel, scan) : KW_OK;
}

kw_err kw_channel_pump(kw_channel *channel, kw_channel_scan *scan)
{
    kw_err code = connect_channel(channel, scan);
    if (code != KW_OK || channel->conn == NULL) {
        return code;
    }
    code = kw_conn_check_overdue(channel->conn, &scan->failure, scan->now_ns);
    while (code == KW_OK && (channel->has_unsent || may_queue(channel, scan))) {
        code = queue_some(channel, scan);
        code = code == KW_OK ? flush(channel, scan) : code;
    }
    return code;
}

kw_err kw_channel_fill(kw_channel *channel, kw_channel_scan *scan)
{
    bool has_room = channel->conn != NULL && may_queue(channel, scan);
    return has_room ? queue_some(channel, scan) : KW_OK;
}

kw_err kw_channel_progress(kw_channel *channel, kw_channel_scan *scan, short revents)
{
    if (scan->poller != NULL && channel->conn->state == KW_CONN_CONNECTING) {
        kw_poller_remove(scan->poller, &channel->watch); /* the next address is another socket */
    }
    kw_err code = kw_conn_progress(channel->conn, &scan->failure, revents);
    if (channel->conn->was_ready && !channel->is_counted) {
        kw_node_on_ready(channel->node, channel->conn);
        channel->is_counted = true;
    }
    return code;
}

kw_item *kw_channel_answered(kw_channel *channel, uint64_t now_ns)
{
    if (channel->flight.head == NULL || !channel->flight.head->request.is_done) {
        return NULL;
    }
    channel->heard_ns = now_ns;
    channel->look_ns = 0;
    return kw_items_pop(&channel->flight);
}

bool kw_channel_is_waiting(const kw_channel *channel)
{
    return channel->conn != NULL &&
           (channel->flight.head != NULL || channel->conn->state != KW_CONN_READY);
}

bool kw_channel_is_reading(const kw_channel *channel)
{
    return channel->flight.head != NULL && channel->queue.head == NULL &&
           channel->conn->state == KW_CONN_READY &&
           kw_conn_has_sent(channel->conn, &channel->flight.tail->request);
}

kw_err kw_channel_watch(kw_channel *channel, kw_channel_scan *scan)
{
    if (scan->poller == NULL || channel->conn == NULL) {
        return KW_OK;
    }
    return kw_poller_set(scan->poller, &scan->failure, &channel->watch, channel->conn->socket,
                         kw_conn_events(channel->conn));
}

void kw_channel_release(kw_channel *channel, kw_channel_scan *scan, const kw_error *failure)
{
    if (channel->conn == NULL) {
        return;
    }
    if (scan->poller != NULL) {
        kw_poller_remove(scan->poller, &channel->watch);
    }
    channel->conn->gives_max = 0;
    kw_error unready = KW_ERROR_INIT;
    if (failure == NULL && !channel->is_counted) {
        kw_error_set(&unready, KW_ERR_TIMEOUT, KW_EFFECT_NONE, "given up before it was ready");
        failure = &unready;
    }
    kw_node_release(channel->node, channel->conn, scan->now_ns,
                    channel->is_counted ? NULL : failure);
    channel->conn = NULL;
}
