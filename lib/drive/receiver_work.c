/* SPDX-License-Identifier: BSD-3-Clause */
/* The leader's round: what is to be done about topics is decided with the monitor held, what takes
 * a system call is done without it. */
#include "drive/receiver_private.h"

#include "base/moment.h"
#include "topology/map_publish.h"
#include "topology/topology_tend.h"
#include "base/error.h"

/* A link that carries nothing is kept for so long: another topic may come. */
#define IDLE_NS (1000 * KW_NS_PER_MS)

/* Where nothing tells that a socket has something, it is looked for this often. */
#define CALLS_NS (1 * KW_NS_PER_MS)

/* Messages of a link that are read with the monitor held before others get it. */
#define ROUND_MAX 4096

/* Messages that are read at a time for who takes them at once: they are handed out while they are
 * in the processor's cache, and the memory of one that was freed serves for the next. */
#define FEW_MAX 4

/* Once something was lost the map is asked for so often, for so long: a server that comes back, and
 * does not know yet that it was replaced, takes subscriptions. */
#define DOUBT_PAUSE_NS (1000 * KW_NS_PER_MS)
#define DOUBT_NS       (15 * 1000 * KW_NS_PER_MS)

static kw_gap_reason reason_of(kw_err code)
{
    return code == KW_ERR_NOMEM ? KW_GAP_MEMORY : KW_GAP_CLOSED;
}

/* The map may be old, or is about to be. */
static void doubt_map(kw_receiver *self, uint64_t now_ns)
{
    if (kw_env_has_fetch(&self->topology->env)) {
        (void)kw_refresher_want(&self->topology->refresher);
        self->doubt_ns = now_ns + DOUBT_PAUSE_NS;
        self->doubt_end_ns = now_ns + DOUBT_NS;
    }
}

static void look_at_doubt(kw_receiver *self, uint64_t now_ns)
{
    if (now_ns >= self->doubt_ns) {
        bool goes_on = now_ns < self->doubt_end_ns;
        self->doubt_ns = goes_on ? now_ns + DOUBT_PAUSE_NS : UINT64_MAX;
        (void)kw_refresher_want(&self->topology->refresher);
    }
}

/* The link's connection is lost, or there is no way to it; the monitor is not held. */
static void lose(kw_receiver *self, kw_push_link *link, const kw_error *failure,
                 kw_gap_reason reason, uint64_t now_ns)
{
    bool was_open = link->stream.is_open;
    kw_monitor_lock(&self->monitor);
    kw_error_copy(&self->failure, failure);
    kw_error_set_node(&self->failure, link->node->name);
    kw_subscriptions_on_lost(&self->subs, &link->stream, reason, now_ns);
    kw_monitor_unlock(&self->monitor);
    kw_push_link_drop(link, failure, &self->poller, now_ns);
    if (was_open) {
        kw_env_log(&self->topology->env, KW_LOG_WARNING, "%s: subscriptions are lost: %s",
                   link->node->name, failure->text);
    }
    doubt_map(self, now_ns);
}

/* The first link from kept_at on with messages that were received and are still to be read; NULL:
 * none. */
static kw_push_link *find_kept(kw_receiver *self)
{
    for (size_t i = 0; i < self->links_n; i++) {
        size_t at = self->kept_at + i;
        at -= at >= self->links_n ? self->links_n : 0;
        const kw_push_link *link = self->links[at];
        if (link->has_pending && link->stream.is_open) {
            self->kept_at = at;
            return self->links[at];
        }
    }
    return NULL;
}

/* What there is to be done although no socket says so; the monitor is held. */
static void note_rest(kw_receiver *self)
{
    self->kept_at = self->kept_at < self->links_n ? self->kept_at : 0;
    self->has_kept = find_kept(self) != NULL;
    bool can_read = self->has_kept && kw_message_queue_has_room(&self->subs.queue);
    self->has_work = can_read || self->subs.topics.todos_n != self->todos_n;
}

/* A round needs a place for all topics, and commands for all that are wanted. */
static void decide(kw_receiver *self, const kw_snapshot *snapshot, uint64_t now_ns)
{
    kw_monitor_lock(&self->monitor);
    kw_receiver_place(self, snapshot, now_ns);
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        if (link->stream.is_open && !kw_push_stream_ask(&link->stream, now_ns)) {
            kw_subscriptions_on_lost(&self->subs, &link->stream, KW_GAP_MEMORY, now_ns);
            link->is_lost = true;
        }
    }
    note_rest(self);
    kw_monitor_unlock(&self->monitor);
}

/* Links without anything to do go after a while. */
static bool is_needless(kw_push_link *link, uint64_t now_ns)
{
    if (link->stream.feeds_n > 0 || link->stream.asks_n > 0) {
        link->idle_ns = 0;
        return false;
    }
    link->idle_ns = link->idle_ns == 0 ? now_ns : link->idle_ns;
    return now_ns >= link->idle_ns + IDLE_NS;
}

static void remove_link(kw_receiver *self, size_t at, uint64_t now_ns)
{
    kw_push_link *link = self->links[at];
    kw_push_link_drop(link, NULL, &self->poller, now_ns);
    kw_push_link_free(link);
    self->links[at] = self->links[--self->links_n];
}

static void advance(kw_receiver *self, uint64_t now_ns)
{
    for (size_t i = self->links_n; i > 0; i--) {
        kw_push_link *link = self->links[i - 1];
        if (link->is_lost && link->loss.code == KW_OK) {
            kw_push_link_drop(link, NULL, &self->poller, now_ns);
        }
        kw_error failure = kw_error_none();
        kw_err code = KW_OK;
        if (is_needless(link, now_ns)) {
            remove_link(self, i - 1, now_ns);
        } else if (!link->is_lost) { /* else it waits until all that it brought is read */
            code = kw_push_link_advance(link, &failure, &self->poller, now_ns);
        }
        if (code != KW_OK) {
            lose(self, link, &failure, reason_of(code), now_ns);
        }
    }
}

static void receive(kw_receiver *self, uint64_t now_ns)
{
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        kw_error failure = kw_error_none();
        kw_err code = kw_push_link_receive(link, &failure, &self->poller, now_ns);
        if (code != KW_OK) {
            link->is_lost = true; /* behind what has come before the end */
            link->loss = failure;
        }
    }
}

/* The server says that the slot is another one's: the map says so, too, from now on. */
static void patch(kw_receiver *self, const kw_push_link *link, const kw_verdict *verdict)
{
    kw_endpoint endpoint = link->node->endpoint; /* an empty host is that of who answers */
    bool is_named =
        verdict->host.len == 0 || kw_endpoint_set(&endpoint, verdict->host, verdict->port);
    endpoint.port = verdict->port;
    if (is_named && !verdict->is_unknown) {
        kw_topology_patch(self->topology, verdict->slot, &endpoint);
    }
    kw_refresher_on_moved(&self->topology->refresher);
}

/* What one message of a link asks for besides; the monitor is held, and left meanwhile where that
 * is something that takes time. False: the link is given up. */
static bool follow(kw_receiver *self, const kw_push_link *link, const kw_push_news *news,
                   uint64_t now_ns)
{
    switch (news->kind) {
    case KW_PUSH_BROKEN:
        return false;
    case KW_PUSH_MOVED:
        kw_monitor_unlock(&self->monitor);
        patch(self, link, &news->verdict);
        kw_monitor_lock(&self->monitor);
        doubt_map(self, now_ns);
        return true;
    case KW_PUSH_ENDED:
    case KW_PUSH_LATER:
        doubt_map(self, now_ns);
        return true;
    case KW_PUSH_NOTHING:
    case KW_PUSH_MESSAGE:
    case KW_PUSH_SUBSCRIBED:
    case KW_PUSH_REFUSED:
        return true;
    }
    return true;
}

static void break_off(kw_push_link *link, kw_bytes text)
{
    link->is_lost = true;
    link->has_pending = false; /* whatever follows is not to be trusted */
    link->reason = KW_GAP_PROTOCOL;
    kw_error_set(&link->loss, KW_ERR_PROTOCOL, KW_EFFECT_NONE, "%.*s", (int)text.len, text.data);
}

/* The messages that were received, n_max of them at most, and as far as there is room; the monitor
 * is held. */
static void read_messages(kw_receiver *self, kw_push_link *link, size_t n_max, uint64_t now_ns)
{
    kw_push push;
    kw_push_state state = KW_PUSH_WHOLE;
    kw_bytes node = kw_bytes_of(link->node->name);
    for (size_t n = 0; n < n_max && link->has_pending && link->stream.is_open; n++) {
        if (!kw_message_queue_has_room(&self->subs.queue)) {
            return;
        }
        state = kw_push_link_next(link, &push);
        if (state == KW_PUSH_BAD) {
            break_off(link,
                      kw_bytes_of("the server's bytes are no message, or over reply-bytes-max"));
            return;
        }
        if (state == KW_PUSH_WHOLE) {
            kw_push_news news =
                kw_subscriptions_on_push(&self->subs, &link->stream, &push, node, now_ns);
            if (!follow(self, link, &news, now_ns)) {
                break_off(link, news.text);
                return;
            }
        }
    }
}

static void check_silence(kw_push_link *link, uint64_t now_ns)
{
    if (link->is_paused || link->has_pending) {
        kw_push_stream_on_heard(&link->stream, now_ns);
    } else if (kw_push_stream_on_time(&link->stream, now_ns) == KW_PUSH_LOST && !link->is_lost) {
        link->is_lost = true;
        link->reason = KW_GAP_SILENT;
        kw_error_set(&link->loss, KW_ERR_CLOSED, KW_EFFECT_NONE,
                     "it has not answered for too long; is it stopped, or cut off?");
    }
}

/* What was received becomes messages, n_max of each link at most; where the queue has no room for
 * more, nothing more is received. The monitor is held. */
static void read_link(kw_receiver *self, kw_push_link *link, size_t n_max, uint64_t now_ns)
{
    read_messages(self, link, n_max, now_ns);
    kw_subscriptions_flush(&self->subs);
    bool is_left = link->is_paused || n_max == ROUND_MAX;
    link->is_paused = is_left && link->has_pending;
}

/* Everything that was received becomes messages; or nothing, where a taker calls
 * kw_receiver_read_few. */
static void digest(kw_receiver *self, bool is_taker, uint64_t now_ns)
{
    kw_monitor_lock(&self->monitor);
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        read_link(self, link, is_taker ? 0 : ROUND_MAX, now_ns);
        check_silence(link, now_ns);
    }
    kw_monitor_unlock(&self->monitor);
}

/* Links that were found lost while they were read. What they brought before is read first. */
static void drop_lost(kw_receiver *self, uint64_t now_ns)
{
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        bool has_more = link->has_pending && link->reason == 0;
        if (link->is_lost && link->loss.code != KW_OK && !has_more) {
            kw_gap_reason reason = link->reason != 0 ? link->reason : reason_of(link->loss.code);
            kw_error failure = link->loss;
            link->reason = 0;
            link->loss.code = KW_OK;
            lose(self, link, &failure, reason, now_ns);
        }
    }
}

/* When there is something to be done although no socket says so. */
static uint64_t due_ns(const kw_receiver *self, uint64_t now_ns)
{
    uint64_t at_ns = self->place_ns < self->doubt_ns ? self->place_ns : self->doubt_ns;
    for (size_t i = 0; i < self->links_n; i++) {
        const kw_push_link *link = self->links[i];
        uint64_t link_ns = kw_push_link_due_ns(link);
        bool is_more =
            link->is_lost ? !link->has_pending : link->stream.is_open && link->stream.wanted_n > 0;
        at_ns = kw_sooner(link_ns, at_ns);
        at_ns =
            link->idle_ns > 0 && link->idle_ns + IDLE_NS < at_ns ? link->idle_ns + IDLE_NS : at_ns;
        at_ns = is_more ? now_ns : at_ns;
    }
    if (self->poller.backend->needs_calls && self->links_n > 0 && now_ns + CALLS_NS < at_ns) {
        at_ns = now_ns + CALLS_NS;
    }
    return self->has_work ? now_ns : at_ns;
}

/* Says when somebody is to look; the monitor is held. */
static void note_due(kw_receiver *self, uint64_t now_ns)
{
    note_rest(self);
    bool is_called = atomic_load(&self->leader.is_called);
    uint64_t at_ns = is_called ? now_ns : due_ns(self, now_ns);
    atomic_store_explicit(&self->due_ns, at_ns, memory_order_relaxed);
}

void kw_receiver_read_few(kw_receiver *self)
{
    kw_push_link *link;
    while (kw_message_queue_is_empty(&self->subs.queue) && (link = find_kept(self)) != NULL) {
        read_link(self, link, FEW_MAX, self->round_ns);
    }
    if (find_kept(self) == NULL) {
        note_due(self, self->round_ns);
    }
}

static bool has_revents(const kw_receiver *self)
{
    for (size_t i = 0; i < self->links_n; i++) {
        if (self->links[i]->watch.revents != 0) {
            return true;
        }
    }
    return false;
}

/* Looks at the sockets; where they have nothing, waits until they have, or until until_ns. */
static uint64_t wait(kw_receiver *self, uint64_t until_ns, uint64_t now_ns)
{
    kw_poller_look(&self->poller);
    uint64_t at_ns = due_ns(self, now_ns);
    at_ns = kw_sooner(at_ns, until_ns);
    if (at_ns <= now_ns || has_revents(self) || atomic_load(&self->leader.is_called)) {
        return now_ns;
    }
    struct pollfd sockets[1 + KW_FETCH_ASKS_MAX] = {{self->poller.fd, POLLIN, 0}};
    kw_refresher_goal goal = {.until_ns = at_ns, .sockets = sockets, .sockets_n = 1};
    goal.wakes_on_map = true;
    goal.changes_n = self->changes_n;
    (void)kw_refresher_wait(&self->topology->refresher, NULL, &goal);
    kw_poller_look(&self->poller);
    return kw_env_now(&self->topology->env);
}

void kw_receiver_work(kw_receiver *self, uint64_t until_ns, bool is_taker)
{
    kw_topology *topology = self->topology;
    uint64_t now_ns = kw_env_now(&topology->env);
    kw_leader_heed(&self->leader);
    if (self->has_kept) {
        digest(self, false, now_ns); /* what is decided is decided by all that has come */
    }
    drop_lost(self, now_ns);
    look_at_doubt(self, now_ns);
    kw_topology_tend(topology, now_ns);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    if (snapshot == NULL) {
        (void)kw_refresher_want(&topology->refresher);
    }
    decide(self, snapshot, now_ns);
    kw_snapshot_unref(snapshot);
    advance(self, now_ns);
    now_ns = wait(self, until_ns, now_ns);
    self->round_ns = now_ns;
    receive(self, now_ns);
    digest(self, is_taker, now_ns);
    drop_lost(self, now_ns);
    kw_monitor_lock(&self->monitor);
    note_due(self, now_ns);
    bool has_messages = !kw_message_queue_is_empty(&self->subs.queue);
    kw_monitor_unlock(&self->monitor);
    if (self->host != NULL && has_messages) {
        kw_poller_wake(self->host); /* no socket tells it of them any more */
    }
}
