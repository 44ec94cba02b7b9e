/* SPDX-License-Identifier: BSD-3-Clause */
/* Moves the commands of one node from a queue onto a connection, and takes their replies off it. */
#include "drive/channel.h"

#include "base/error.h"
#include "drive/pin.h"

/* A pool without a free connection is looked at again after this. */
#define POOL_RETRY_NS (1 * KW_NS_PER_MS)

/* A connection that was silent for longer than this is looked at before it is used. */
#define FRESH_NS (1 * KW_NS_PER_MS)

/* One pump fills the connection's buffer at most so often. */
#define FILLS_MAX 4

bool kw_channel_keeps(const kw_channel_scan *scan, const kw_item *item)
{
    bool is_any = item->plan.kind == KW_PLAN_ANY || item->plan.kind == KW_PLAN_CHANNEL;
    bool has_choice = is_any && scan->topology->env.options.scheme != KW_SCHEME_SINGLE;
    bool is_pinned = item->retry_state != NULL && item->retry_state->pin != NULL;
    return !is_pinned && !item->is_redirected && !has_choice && !item->plan.fails_fast &&
           item->plan.read == KW_READ_OF_PRIMARY;
}

/* A long-lived pipeline goes on whatever callers keep busy, and takes nothing from them: its
 * connection is beyond pool-max. That of a command which may block is not. */
static kw_err open_or_take(kw_channel *channel, kw_channel_scan *scan)
{
    uint64_t now_ns = scan->now_ns;
    channel->is_spare = scan->poller != NULL && !channel->is_exclusive;
    channel->retry_ns = now_ns;
    if (channel->is_spare) {
        return kw_node_open_shared(channel->node, &channel->conn, &scan->failure,
                                   &channel->retry_ns, now_ns);
    }
    kw_err code = kw_node_try_acquire(channel->node, &channel->conn, &scan->failure, now_ns, false);
    if (code != KW_OK) {
        channel->retry_ns = kw_node_retry_ns(channel->node, now_ns);
    }
    return code;
}

static kw_err acquire(kw_channel *channel, kw_channel_scan *scan)
{
    kw_err code = open_or_take(channel, scan);
    if (code != KW_OK || channel->conn->state != KW_CONN_READY) {
        scan->now_ns = kw_env_now(&scan->topology->env); /* the look-up of a name may have waited */
    }
    if (code == KW_OK) {
        channel->is_counted = channel->conn->was_ready;
        channel->heard_ns = scan->now_ns;
        channel->has_unsent = false;
        channel->conn->gives_max = scan->poller != NULL ? KW_CHANNEL_GIVES_MAX : 0;
        return KW_OK;
    }
    channel->conn = NULL;
    channel->failure = code;
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
    if (item == NULL || !kw_conn_has_room(conn)) {
        return false;
    }
    bool is_early = item->retry_state != NULL ? kw_op_is_early(&item->retry_state->op)
                                              : item->plan.is_repeatable;
    return conn->state == KW_CONN_READY ||
           (scan->poller == NULL && is_early && kw_conn_takes_requests(conn));
}

/* The next command that may leave now; NULL: there is none. */
static kw_item *take_next(kw_channel *channel, kw_channel_scan *scan)
{
    while (may_queue(channel, scan)) {
        kw_item *item = channel->queue.head;
        if (item->ahead != NULL) {
            kw_item_bring_near(item->ahead);
        }
        kw_channel_dequeue(channel, item);
        kw_order_answer answer = KW_ORDER_GO;
        if (scan->ordering != NULL && !kw_ordered_is_alone(&item->ordered)) {
            answer = kw_ordering_ask(scan->ordering, &item->ordered, channel);
        }
        switch (answer) {
        case KW_ORDER_GO:
            return item;
        case KW_ORDER_WAIT:
            item->state = KW_ITEM_HELD;
            kw_items_push(&scan->held, item);
            break;
        case KW_ORDER_OVERTAKEN:
            kw_items_push(&scan->overtaken, item);
            break;
        }
    }
    return NULL;
}

static kw_patience_rule rule_of(const kw_channel *channel, const kw_channel_scan *scan,
                                const kw_item *item)
{
    const kw_options *options = &scan->topology->env.options;
    kw_patience_rule rule = {.stall_ns = options->stall_ms * KW_NS_PER_MS,
                             .grace_ns = options->grace_ms * KW_NS_PER_MS,
                             .timeout_ns = item->plan.deadline_ns - item->plan.start_ns,
                             .has_others = item->plan.read != KW_READ_OF_PRIMARY &&
                                           kw_driver_is_replica(channel->node),
                             .is_blocking = channel->is_exclusive && item->plan.is_blocking};
    return rule;
}

/* Puts the command on the connection, behind those that are there. */
static inline kw_err follow(kw_channel *channel, kw_channel_scan *scan, kw_item *item)
{
    item->request.is_done = false;
    item->request.joins = true;
    item->state = KW_ITEM_SENT;
    item->sends_n++;
    item->sent_ns = scan->now_ns;
    item->node = channel->node;
    if (scan->ordering != NULL) {
        kw_ordering_on_left(scan->ordering, &item->ordered, channel);
    }
    channel->has_unsent = true;
    kw_items_push(&channel->flight, item);
    return kw_conn_queue(channel->conn, &scan->failure, &item->request, item->is_asking);
}

/* Puts a pin's command on the connection, which is the pin's from now on. Inside a transaction an
 * AUTH would be queued; and nothing comes between ASKING and its command. */
static kw_err follow_pinned(kw_channel *channel, kw_channel_scan *scan, kw_item *item)
{
    kw_session *session = &channel->pin->session;
    channel->pin->is_lost = false;
    if (session->node == NULL) {
        session->node = kw_node_ref(channel->node);
    }
    session->conn = channel->conn;
    channel->conn->is_bound = kw_session_state_is_tight(&session->state);
    kw_err code = follow(channel, scan, item);
    channel->conn->is_bound = false;
    return code;
}

/* Puts a command from the queue on the connection. */
static kw_err on_taken(kw_channel *channel, kw_channel_scan *scan, kw_item *item)
{
    if (item->plan.script != NULL) {
        item->plan.script->choose(item->plan.script, channel->node, &item->request.bytes,
                                  channel->conn);
    }
    if (item->retry_state != NULL) {
        kw_op_on_send(&item->retry_state->op);
        item->retry_state->op.spec.deadline_ns = item->plan.deadline_ns;
        kw_node_unref(item->node);
        (void)kw_node_ref(channel->node);
    }
    if (channel->flight.head == NULL) {
        kw_patience_rule rule = rule_of(channel, scan, item);
        channel->heard_ns = scan->now_ns;
        kw_patience_init(&channel->patience, &rule, scan->now_ns);
    }
    return channel->pin != NULL ? follow_pinned(channel, scan, item) : follow(channel, scan, item);
}

static kw_err queue_some(kw_channel *channel, kw_channel_scan *scan)
{
    kw_item *item;
    while ((item = take_next(channel, scan)) != NULL) {
        kw_err code = on_taken(channel, scan, item);
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

/* Connects where there is something to send and no connection yet. */
static kw_err connect_channel(kw_channel *channel, kw_channel_scan *scan)
{
    bool is_due = channel->queue.head != NULL && scan->now_ns >= channel->retry_ns;
    return channel->conn == NULL && is_due ? acquire(channel, scan) : KW_OK;
}

/* True for a command that may follow those on the connection at once. */
static inline bool may_follow(const kw_channel *channel, const kw_channel_scan *scan,
                              const kw_item *item)
{
    return channel->flight.head != NULL && channel->queue.head == NULL &&
           channel->conn->state == KW_CONN_READY && kw_conn_has_room(channel->conn) &&
           item->retry_state == NULL && item->plan.script == NULL &&
           scan->now_ns < item->plan.deadline_ns &&
           (scan->ordering == NULL || kw_ordered_is_alone(&item->ordered));
}

void kw_channel_put(kw_channel *channel, kw_channel_scan *scan, kw_item *item)
{
    item->channel = channel;
    if (may_follow(channel, scan, item)) {
        (void)follow(channel, scan, item);
        return;
    }
    bool connects = scan->poller == NULL && channel->conn == NULL && channel->queue.head == NULL;
    item->is_choosy = !kw_channel_keeps(scan, item);
    kw_channel_enqueue(channel, item);
    channel->choosy_n += item->is_choosy ? 1 : 0;
    if (connects && connect_channel(channel, scan) != KW_OK) {
        channel->retry_ns = scan->now_ns; /* the node says the same again */
    } else if (connects && channel->conn != NULL) {
        (void)queue_some(channel, scan); /* the others of a batch follow */
    }
}

/* A command was put on the connection, and there was no memory for it. */
static kw_err check_put(const kw_channel *channel, kw_channel_scan *scan)
{
    bool is_lost = channel->conn != NULL && channel->conn->state == KW_CONN_DEAD;
    return is_lost ? kw_error_set(&scan->failure, KW_ERR_NOMEM, KW_EFFECT_NONE,
                                  "no memory for a command on its connection")
                   : KW_OK;
}

static kw_err flush(kw_channel *channel, kw_channel_scan *scan)
{
    channel->has_unsent = false;
    return kw_conn_flush(channel->conn, &scan->failure);
}

/* True where nothing is known against the connection. */
static bool may_use(const kw_channel *channel)
{
    return channel->pin != NULL
               ? kw_session_may_use(&channel->pin->session, channel->node, channel->conn)
               : kw_node_is_of_generation(channel->node, channel->conn);
}

/* True where commands are on the connection, of which nothing was sent. */
static bool has_all_unsent(const kw_channel *channel)
{
    const kw_request *first = &channel->flight.head->request;
    return channel->has_unsent && channel->pin == NULL && !kw_conn_has_sent(channel->conn, first) &&
           !kw_conn_has_half(channel->conn, first);
}

/* True where commands wait for a connection, or are to be sent on one, that nobody has listened to
 * lately: other nodes' names may have been looked up meanwhile. */
static bool is_to_be_looked_at(const kw_channel *channel, const kw_channel_scan *scan)
{
    const kw_conn *conn = channel->conn;
    bool may_be =
        conn != NULL && conn->state == KW_CONN_READY &&
        (channel->flight.head == NULL ? channel->queue.head != NULL : has_all_unsent(channel));
    return may_be && (scan->now_ns > channel->heard_ns + FRESH_NS || !may_use(channel));
}

/* The connection is not to be used any more, and the next command is bound to it. */
static kw_err lose_bound(kw_channel *channel, kw_channel_scan *scan)
{
    channel->pin->is_lost = true;
    return kw_error_set(&scan->failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                        "the connection was closed, brought bytes that nothing asked for, or led "
                        "to a server that is not the primary any more, before the command was "
                        "sent");
}

/* A pin may use no connection to a node that has left the map, and would open one after the other:
 * its command chooses its node again. */
static kw_err check_place(const kw_channel *channel, kw_channel_scan *scan)
{
    return kw_node_is_retired(channel->node)
               ? kw_error_set(&scan->failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                              "the server is not the primary any more")
               : KW_OK;
}

/* Looks whether the server has ended a connection on which nothing is awaited, or has sent what
 * would be taken for an answer: what is sent on it would be lost. */
static kw_err look(kw_channel *channel, kw_channel_scan *scan)
{
    kw_conn *conn = channel->conn;
    if (!is_to_be_looked_at(channel, scan)) {
        return KW_OK;
    }
    bool is_queued = channel->flight.head == NULL;
    bool is_bound = is_queued && kw_pin_binds(channel->queue.head);
    bool is_doubted = !is_bound && kw_node_is_doubted(channel->node, channel->heard_ns);
    if (may_use(channel) && !is_doubted && kw_conn_is_quiet(conn, channel->pin != NULL)) {
        kw_conn_note_rest(conn, channel->heard_ns, scan->now_ns);
        channel->heard_ns = scan->now_ns;
        return KW_OK;
    }
    if (!is_queued) {
        return kw_error_set(&scan->failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "the connection was closed, or brought bytes that nothing asked for, "
                            "before the command was sent");
    }
    conn->state = KW_CONN_DEAD;
    kw_channel_release(channel, scan, NULL);
    if (is_bound) {
        return lose_bound(channel, scan);
    }
    return channel->pin != NULL ? check_place(channel, scan) : KW_OK;
}

bool kw_channel_has_more(const kw_channel *channel, const kw_channel_scan *scan)
{
    return channel->conn != NULL && (channel->has_unsent || may_queue(channel, scan));
}

kw_err kw_channel_pump(kw_channel *channel, kw_channel_scan *scan)
{
    kw_err code = look(channel, scan);
    code = code == KW_OK ? check_put(channel, scan) : code;
    code = code == KW_OK ? connect_channel(channel, scan) : code;
    if (code != KW_OK || channel->conn == NULL) {
        return code;
    }
    if (scan->poller != NULL && kw_conn_is_racing(channel->conn, scan->now_ns)) {
        kw_poller_remove(scan->poller, &channel->watch); /* it may go on with another socket */
    }
    code = kw_conn_check_overdue(channel->conn, &scan->failure, scan->now_ns);
    for (unsigned n = 0; code == KW_OK && n < FILLS_MAX && kw_channel_has_more(channel, scan);
         n++) {
        code = queue_some(channel, scan);
        code = code == KW_OK ? flush(channel, scan) : code;
    }
    return code;
}

kw_err kw_channel_fill(kw_channel *channel, kw_channel_scan *scan)
{
    kw_err code = check_put(channel, scan);
    if (code != KW_OK) {
        return code;
    }
    /* A look, and what one caller has to itself, are kw_channel_pump's. */
    bool has_room = channel->conn != NULL && channel->pin == NULL && may_queue(channel, scan) &&
                    !is_to_be_looked_at(channel, scan);
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
        channel->failure = KW_OK;
    }
    return code;
}

void kw_channel_on_heard(kw_channel *channel, uint64_t now_ns)
{
    channel->heard_ns = now_ns;
    kw_backoff_reset(&channel->backoff);
    kw_patience_on_heard(&channel->patience, now_ns);
    if (channel->flight.head != NULL && channel->flight.head->state == KW_ITEM_GONE) {
        kw_patience_on_left(&channel->patience, now_ns);
    }
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
    if (scan->poller == NULL || channel->conn == NULL || channel->conn->socket < 0) {
        return KW_OK; /* without a socket: its name is looked up */
    }
    return kw_poller_set(scan->poller, &scan->failure, &channel->watch, channel->conn->socket,
                         kw_conn_events(channel->conn));
}

/* failure: why it has not become ready; NULL: it has. */
static void give_back(kw_channel *channel, kw_channel_scan *scan, const kw_error *failure)
{
    if (channel->is_spare) {
        kw_node_release_shared(channel->node, channel->conn, scan->now_ns, failure);
    } else {
        kw_node_release(channel->node, channel->conn, scan->now_ns, failure);
    }
}

/* The pool takes a connection for one that was listened to just now, which it was not while other
 * nodes were waited for. Nobody uses it again where the handle is being closed, and in a forked
 * child its descriptor may be closed already. */
static void look_once_more(const kw_channel *channel, const kw_channel_scan *scan)
{
    kw_conn *conn = channel->conn;
    bool is_stale = conn->state == KW_CONN_READY && conn->owners.count == 0 &&
                    scan->now_ns > channel->heard_ns + FRESH_NS &&
                    !kw_env_is_closing(&scan->topology->env, NULL);
    if (is_stale && !kw_conn_is_quiet(conn, false)) {
        conn->state = KW_CONN_DEAD;
    }
}

/* Nothing has failed, and the connection is not wanted any more. */
static void give_up(kw_channel *channel, kw_channel_scan *scan)
{
    kw_error unready = kw_error_none();
    kw_error_set(&unready, KW_ERR_TIMEOUT, KW_EFFECT_NONE, "given up before it was ready");
    give_back(channel, scan, &unready);
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
    if (channel->pin != NULL) {
        bool is_clean = kw_session_is_clean(&channel->pin->session);
        channel->conn->state = is_clean ? channel->conn->state : KW_CONN_DEAD;
        kw_session_forget(&channel->pin->session);
    }
    look_once_more(channel, scan);
    if (channel->is_counted || failure != NULL) {
        give_back(channel, scan, channel->is_counted ? NULL : failure);
    } else {
        give_up(channel, scan);
    }
    channel->conn = NULL;
    channel->is_counted = false;
}
