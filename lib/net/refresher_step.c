/* SPDX-License-Identifier: BSD-3-Clause */
/* One step of the fetch under way: a server is chosen, connected, asked, and answers. */
#include "net/refresher_private.h"

#include "base/error.h"

#include <string.h>

/* Between two looks at what servers say of their own accord. */
#define LISTEN_NS ((uint64_t)10000000)

void kw_refresher_plan(kw_refresher *self)
{
    uint64_t due_ns = self->is_running ? 0 : kw_refresh_due_ns(&self->policy);
    atomic_store_explicit(&self->due_ns, due_ns, memory_order_relaxed);
}

void kw_refresher_wake_all(kw_refresher *self)
{
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&self->monitor);
    kw_leader_wake_all(&self->driver, &wakes, &self->monitor);
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
}

uint64_t kw_refresher_want(kw_refresher *self)
{
    kw_monitor_lock(&self->monitor);
    uint64_t number = kw_refresh_want(&self->policy);
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
    return number;
}

/* The server that is asked now. */
static kw_node *asked(const kw_refresher *self)
{
    return self->led_to != NULL ? self->led_to : self->nodes[self->node_at];
}

static void drop_replies(kw_refresher *self)
{
    for (size_t i = 0; i < self->questions.n; i++) {
        kw_reply_free(self->requests[i].reply);
        self->requests[i].reply = NULL;
    }
    self->is_sent = false;
}

static void drop_conn(kw_refresher *self, uint64_t now_ns, const kw_error *failure)
{
    if (self->conn == NULL) {
        return;
    }
    bool was_ready = self->is_counted;
    drop_replies(self);
    kw_error unready = KW_ERROR_INIT;
    if (!was_ready && failure != NULL && failure->code == KW_ERR_TOPOLOGY) {
        /* To the node it was no fetch, but a connection that did not come up in time. */
        (void)kw_conn_tell_overdue(self->conn, &unready);
        failure = &unready;
    }
    kw_node_release(asked(self), self->conn, now_ns, was_ready ? NULL : failure);
    self->conn = NULL;
    self->is_counted = false;
}

static void drop_led_to(kw_refresher *self)
{
    kw_node_unref(self->led_to);
    self->led_to = NULL;
}

static void drop_nodes(kw_refresher *self)
{
    drop_led_to(self);
    for (size_t i = 0; i < self->nodes_n; i++) {
        kw_node_unref(self->nodes[i]);
    }
    self->nodes_n = 0;
}

/* The driver begins a fetch: whom to ask, in which order. */
static void begin(kw_refresher *self, uint64_t now_ns)
{
    self->nodes_n = self->way->begin_fn(self->way_arg, self->nodes);
    self->node_at = 0;
    kw_monitor_lock(&self->monitor);
    self->is_running = true;
    kw_refresh_on_start(&self->policy, now_ns);
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
}

/* True where each node that was asked refuses what the settings ask for. */
static bool are_unfit(const kw_refresher *self)
{
    size_t unfit_n = 0;
    for (size_t i = 0; i < self->nodes_n; i++) {
        unfit_n += kw_node_is_unfit(self->nodes[i]) ? 1 : 0;
    }
    return self->nodes_n > 0 && unfit_n == self->nodes_n;
}

/* The fetch is over: with a map, or with the reason why there is none. */
static void end(kw_refresher *self, uint64_t now_ns, kw_map *map, const kw_error *failure)
{
    bool has_news = false;
    kw_error no_room = KW_ERROR_INIT;
    if (map != NULL && self->owner.publish_fn(self->owner.arg, &has_news, map) != KW_OK) {
        kw_error_set(&no_room, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a new map");
        failure = &no_room;
        map = NULL;
    }
    atomic_store_explicit(&self->is_unfit, map == NULL && are_unfit(self), memory_order_relaxed);
    drop_nodes(self);
    kw_monitor_lock(&self->monitor);
    self->is_running = false;
    kw_refresh_on_end(&self->policy, now_ns, map != NULL, has_news);
    self->fetches_n += map != NULL ? 1 : 0;
    self->failures_n += map != NULL ? 0 : 1;
    if (has_news) {
        kw_refresher_note_change(self);
    }
    if (map != NULL) {
        self->failure.code = KW_OK;
    } else {
        self->failure = *failure;
    }
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
    kw_refresher_wake_all(self);
}

void kw_refresher_note_news(kw_refresher *self)
{
    bool has_news = self->sentinel.news_n > 0 || kw_fetch_groups_has_news(&self->groups);
    atomic_store_explicit(&self->has_news, has_news, memory_order_relaxed);
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to ask for a map");
}

/* What is to be asked next. */
static kw_err prepare(kw_refresher *self, kw_error *error)
{
    self->encoded.len = 0;
    self->is_sent = false;
    bool is_ready = self->way->ask_fn(self->way_arg, &self->questions, &self->encoded);
    return is_ready ? KW_OK : no_memory(error);
}

/* Writes the questions to the connection, which takes requests. */
static kw_err ask(kw_refresher *self, kw_error *error)
{
    self->is_sent = true;
    self->conn->is_internal = true;
    size_t start = 0;
    for (size_t i = 0; i < self->questions.n; i++) {
        kw_request *request = &self->requests[i];
        memset(request, 0, sizeof(*request));
        request->bytes.data = self->encoded.data + start;
        request->bytes.len = self->questions.ends[i] - start;
        request->joins = self->questions.n > 1;
        start = self->questions.ends[i];
        kw_err code = kw_conn_queue(self->conn, error, request, false);
        if (code != KW_OK) {
            self->questions.n = i + 1; /* those behind hold no reply */
            return code;
        }
    }
    return kw_conn_flush(self->conn, error);
}

static bool is_answered(const kw_refresher *self)
{
    return self->is_sent && self->requests[self->questions.n - 1].is_done;
}

static kw_err open_conn(kw_refresher *self, kw_error *error, uint64_t now_ns)
{
    self->questions.n = 0;
    kw_err code = prepare(self, error);
    if (code != KW_OK) {
        return code;
    }
    self->step_deadline_ns = now_ns + self->questions.wait_ns;
    /* Callers may keep the whole pool busy, and be in need of this very map. */
    if (self->questions.is_for_primary) {
        bool is_ring = self->env->options.scheme == KW_SCHEME_RING;
        code = kw_node_try_acquire_as(asked(self), &self->conn, error, now_ns,
                                      is_ring ? KW_CONN_GROUP_PRIMARY : KW_CONN_PRIMARY);
    } else {
        code = kw_node_try_acquire(asked(self), &self->conn, error, now_ns, true);
    }
    if (code != KW_OK) {
        return code;
    }
    self->is_counted = self->conn->state == KW_CONN_READY;
    return kw_conn_takes_requests(self->conn) ? ask(self, error) : KW_OK;
}

/* All answers are there. KW_OK with *map NULL: there is more to ask. */
static kw_err take_answers(kw_refresher *self, kw_map **map, kw_error *error, uint64_t now_ns)
{
    kw_reply *replies[KW_FETCH_QUESTIONS_MAX];
    for (size_t i = 0; i < self->questions.n; i++) {
        replies[i] = self->requests[i].reply;
    }
    kw_fetch_step step = {NULL, false, NULL};
    kw_err code = self->way->take_fn(self->way_arg, &step, error, asked(self), replies);
    *map = step.map;
    self->is_brief = step.is_brief;
    if (code != KW_OK || step.map != NULL) {
        return code;
    }
    drop_replies(self);
    if (step.node != NULL) {
        drop_conn(self, now_ns, NULL);
        drop_led_to(self);
        self->led_to = step.node;
        return open_conn(self, error, now_ns);
    }
    if (!kw_conn_is_settled(self->conn)) {
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_NONE,
                            "the server answered before it was asked");
    }
    code = prepare(self, error);
    return code == KW_OK ? ask(self, error) : code;
}

/* Which step had no answer in time. */
static kw_err tell_late(const kw_refresher *self, kw_error *error)
{
    kw_error unready = KW_ERROR_INIT;
    if (self->conn->state == KW_CONN_READY) {
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "no answer to %s in time",
                            self->questions.name);
    }
    (void)kw_conn_tell_overdue(self->conn, &unready);
    return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "%s", unready.text);
}

/* Goes on with the connection. KW_OK with *map NULL: not there yet. */
static kw_err go_on(kw_refresher *self, kw_map **map, kw_error *error, uint64_t now_ns,
                    short revents)
{
    kw_conn *conn = self->conn;
    if (now_ns >= self->step_deadline_ns + self->questions.wait_ns) {
        /* No caller drove the fetch for so long that an answer would be out of date. */
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "the fetch was left alone");
    }
    kw_err code = kw_conn_race(conn, error, now_ns);
    code = code != KW_OK ? code : kw_conn_progress(conn, error, revents);
    if (conn->was_ready && !self->is_counted) {
        kw_node_on_ready(asked(self), conn);
        self->is_counted = true;
    }
    if (code == KW_OK && kw_conn_takes_requests(conn) && !self->is_sent) {
        code = ask(self, error);
    }
    if (code == KW_OK && is_answered(self)) {
        return take_answers(self, map, error, now_ns);
    }
    if (code == KW_OK && now_ns >= self->step_deadline_ns) {
        return tell_late(self, error);
    }
    return code;
}

/* The server whose turn it is has led to no map. */
static void give_up(kw_refresher *self, uint64_t now_ns, kw_error *failure)
{
    kw_error_set_node(failure, asked(self)->name);
    if (self->conn != NULL && self->is_sent && !is_answered(self)) {
        self->conn->state = KW_CONN_DEAD; /* it still owes an answer */
    }
    drop_conn(self, now_ns, failure);
    kw_node *other = self->way->fail_fn(self->way_arg, self->nodes[self->node_at], failure);
    drop_led_to(self);
    self->led_to = other;
    self->node_at += other == NULL ? 1 : 0;
}

static void listen_to_servers(kw_refresher *self, uint64_t now_ns)
{
    if (self->way->listen_fn(self->way_arg, now_ns)) {
        (void)kw_refresher_want(self);
    }
    atomic_store_explicit(&self->listen_ns, now_ns + LISTEN_NS, memory_order_relaxed);
    kw_refresher_note_news(self);
}

void kw_refresher_drive(kw_refresher *self, uint64_t now_ns, short revents)
{
    if (now_ns >= atomic_load_explicit(&self->listen_ns, memory_order_relaxed)) {
        listen_to_servers(self, now_ns);
    }
    if (!self->is_running) {
        if (now_ns < atomic_load_explicit(&self->due_ns, memory_order_relaxed)) {
            return;
        }
        begin(self, now_ns);
    }
    kw_error failure = KW_ERROR_INIT;
    kw_error_set(&failure, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "no node to ask for a map");
    while (self->node_at < self->nodes_n) {
        kw_map *map = NULL;
        kw_err code = self->conn == NULL ? open_conn(self, &failure, now_ns)
                                         : go_on(self, &map, &failure, now_ns, revents);
        revents = 0;
        if (code == KW_OK && map == NULL) {
            return; /* wait for the socket */
        }
        if (code == KW_OK) {
            drop_conn(self, now_ns, NULL);
            end(self, now_ns, map, NULL);
            kw_refresher_note_news(self);
            if (self->is_brief) {
                (void)kw_refresher_want(self);
            }
            return;
        }
        give_up(self, now_ns, &failure);
    }
    bool is_urgent = self->way->end_fn(self->way_arg, &failure);
    end(self, now_ns, NULL, &failure);
    if (is_urgent) {
        (void)kw_refresher_want(self);
    }
}

void kw_refresher_abandon(kw_refresher *self)
{
    kw_error abandoned = KW_ERROR_INIT;
    kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the handle was closed");
    drop_conn(self, kw_env_now(self->env), &abandoned);
    drop_nodes(self);
}
