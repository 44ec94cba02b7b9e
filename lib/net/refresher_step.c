/* SPDX-License-Identifier: BSD-3-Clause */
/* One step of the fetch under way: a server is chosen, connected, asked, and answers. */
#include "net/refresher_private.h"

#include "base/error.h"

#include <string.h>

/* Between two looks at what servers say of their own accord. */
#define LISTEN_NS ((uint64_t)10000000)

/* Another server is asked as well where the one before has not answered for so long, or for some
 * round trips. */
#define HEDGE_NS ((uint64_t)50000000)

/* What servers are given is doubled so often at most. */
#define PATIENCE_MAX 4u

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

static void drop_nodes(kw_refresher *self)
{
    for (size_t i = 0; i < self->nodes_n; i++) {
        kw_node_unref(self->nodes[i]);
    }
    self->nodes_n = 0;
}

void kw_refresher_on_moved(kw_refresher *self)
{
    kw_monitor_lock(&self->monitor);
    (void)kw_refresh_want(&self->policy);
    kw_refresh_on_moved(&self->policy);
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
}

/* The driver begins a fetch: whom to ask, in which order. */
static void begin(kw_refresher *self, uint64_t now_ns)
{
    self->nodes_n = self->manner.way->begin_fn(self->manner.way_arg, self->nodes);
    self->node_at = 0;
    self->next_ask_ns = now_ns;
    self->were_late = true;
    self->is_any_late = false;
    self->is_any_other = false;
    self->has_told = false;
    memset(&self->told, 0, sizeof(self->told));
    self->told.size = sizeof(self->told);
    /* There is always somebody to ask, where there is the memory for it. */
    kw_error_set(&self->told, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to ask for a map");
    kw_monitor_lock(&self->monitor);
    self->is_running = true;
    self->cluster.asks_info = kw_refresh_is_stale(&self->policy, now_ns);
    self->manner.is_probe = self->policy.failed_n >= self->env->options.down_after;
    kw_refresh_on_start(&self->policy, now_ns);
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
}

/* True where each node that was asked refuses what the settings ask for. */
static bool are_incompatible(const kw_refresher *self)
{
    size_t incompatible_n = 0;
    for (size_t i = 0; i < self->nodes_n; i++) {
        incompatible_n += kw_node_is_incompatible(self->nodes[i]) ? 1 : 0;
    }
    return self->nodes_n > 0 && incompatible_n == self->nodes_n;
}

/* True where a node that was asked takes no more connections: it is well, and may take this one
 * soon. */
static bool is_any_full(const kw_refresher *self)
{
    for (size_t i = 0; i < self->nodes_n; i++) {
        if (kw_node_is_full(self->nodes[i])) {
            return true;
        }
    }
    return false;
}

/* What was too short for all is longer the next time; or for one, where only strangers answered. */
static unsigned next_patience(const kw_refresher *self)
{
    bool is_short = self->is_any_other ? self->is_any_late : self->were_late;
    return self->manner.patience + (is_short && self->manner.patience < PATIENCE_MAX ? 1 : 0);
}

/* The fetch is over: with a map, or with the reason why there is none. */
static void end(kw_refresher *self, uint64_t now_ns, kw_map *map, const kw_error *failure)
{
    bool has_news = false;
    kw_error no_room = kw_error_none();
    if (map != NULL && self->owner.publish_fn(self->owner.arg, &has_news, map) != KW_OK) {
        kw_error_set(&no_room, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a new map");
        failure = &no_room;
        map = NULL;
    }
    atomic_store_explicit(&self->is_incompatible, map == NULL && are_incompatible(self),
                          memory_order_relaxed);
    bool is_excused = map == NULL && (failure->code == KW_ERR_NOMEM || is_any_full(self));
    drop_nodes(self);
    self->manner.patience = map == NULL ? next_patience(self) : 0;
    kw_monitor_lock(&self->monitor);
    self->is_running = false;
    kw_refresh_on_end(&self->policy, now_ns, map != NULL, has_news);
    if (is_excused) {
        kw_refresh_on_excused(&self->policy);
    }
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
    bool is_told = self->sentinel != NULL && self->sentinel->news_n > 0;
    bool has_news = is_told || kw_fetch_groups_has_news(&self->groups);
    atomic_store_explicit(&self->has_news, has_news, memory_order_relaxed);
}

/* The server has led to no map; another one may take its place. True where that is so. */
static bool give_up(kw_refresher *self, kw_fetch_ask *ask, uint64_t now_ns, kw_error *failure)
{
    kw_error_set_node(failure, kw_fetch_ask_node(ask)->name);
    bool is_late = ask->conn != NULL && failure->code == KW_ERR_TOPOLOGY;
    self->were_late = self->were_late && is_late;
    self->is_any_late = self->is_any_late || is_late;
    self->is_any_other = self->is_any_other || failure->code == KW_ERR_IDENTITY;
    kw_fetch_ask_drop(ask, now_ns, failure);
    kw_node *other = self->manner.way->fail_fn(self->manner.way_arg, ask->server, failure);
    kw_node_unref(ask->led_to);
    ask->led_to = other;
    ask->server = other != NULL ? ask->server : NULL;
    if (self->told.code != KW_ERR_NOMEM || !self->has_told) {
        self->told = *failure;
        self->has_told = true;
    }
    if (failure->code == KW_ERR_NOMEM) {
        self->node_at = self->nodes_n; /* no other server is of help */
    }
    return other != NULL;
}

/* Maps of a cluster, which are large, are counted once their question has left: a server that
 * cannot be reached gives none. */
static void note_read(kw_refresher *self, kw_fetch_ask *ask, uint64_t now_ns)
{
    bool is_map = self->manner.way == &kw_fetch_cluster_way && !ask->questions.is_for_news;
    if (is_map && !ask->is_read && ask->conn != NULL && kw_fetch_ask_has_left(ask)) {
        ask->is_read = true;
        kw_monitor_lock(&self->monitor);
        kw_refresh_on_read(&self->policy, now_ns);
        kw_monitor_unlock(&self->monitor);
    }
}

/* Goes on with one server, and with those that it leads to. */
static void go_on(kw_refresher *self, kw_fetch_ask *ask, kw_fetch_step *step,
                  const kw_fetch_ask_event *event)
{
    kw_error failure = kw_error_none();
    kw_err code = KW_OK;
    if (ask->conn != NULL) {
        code = kw_fetch_ask_go_on(ask, &self->manner, step, &failure, event);
    } else {
        code = kw_fetch_ask_open(ask, &self->manner, &failure);
    }
    note_read(self, ask, event->now_ns);
    while (code != KW_OK && give_up(self, ask, event->now_ns, &failure)) {
        code = kw_fetch_ask_open(ask, &self->manner, &failure);
        note_read(self, ask, event->now_ns);
    }
}

static short revents_of(const kw_fetch_ask *ask, const struct pollfd *polled, size_t *at)
{
    if (polled == NULL || ask->conn == NULL || polled[*at].fd != ask->conn->socket) {
        return 0;
    }
    return polled[(*at)++].revents;
}

/* Goes on with all servers that are asked; their number. */
static size_t go_on_with_all(kw_refresher *self, kw_fetch_step *step, uint64_t now_ns,
                             const struct pollfd *polled)
{
    size_t asked_n = 0;
    size_t at = 0;
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX && step->map == NULL; i++) {
        kw_fetch_ask *ask = &self->asks[i];
        if (ask->server != NULL) {
            kw_fetch_ask_event event = {now_ns, revents_of(ask, polled, &at)};
            go_on(self, ask, step, &event);
            asked_n += ask->server != NULL ? 1 : 0;
        }
    }
    return asked_n;
}

static kw_fetch_ask *free_ask(kw_refresher *self)
{
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX; i++) {
        if (self->asks[i].server == NULL) {
            return &self->asks[i];
        }
    }
    return NULL;
}

/* True where a server may be asked now, beside so many. */
static bool may_ask(const kw_refresher *self, size_t asked_n, uint64_t now_ns)
{
    if (asked_n == 0) {
        return kw_refresh_may_go_on(&self->policy, now_ns);
    }
    return now_ns >= self->next_ask_ns && kw_refresh_may_hedge(&self->policy, now_ns);
}

/* Asks the next servers: one where none is asked, one more where those are late. */
static size_t ask_more(kw_refresher *self, size_t asked_n, uint64_t now_ns)
{
    while (self->node_at < self->nodes_n && asked_n < self->manner.way->asks_max &&
           may_ask(self, asked_n, now_ns)) {
        kw_fetch_ask *ask = free_ask(self);
        kw_fetch_ask_event event = {now_ns, 0};
        kw_fetch_step step = {.map = NULL};
        ask->server = self->nodes[self->node_at++];
        self->next_ask_ns = now_ns + kw_env_patience_ns(self->env, HEDGE_NS);
        go_on(self, ask, &step, &event);
        asked_n += ask->server != NULL ? 1 : 0;
    }
    return asked_n;
}

/* All servers that are asked yet are left alone. */
static void drop_asks(kw_refresher *self, uint64_t now_ns, const kw_error *failure)
{
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX; i++) {
        kw_fetch_ask *ask = &self->asks[i];
        if (ask->server != NULL) {
            kw_fetch_ask_drop(ask, now_ns, failure);
            kw_node_unref(ask->led_to);
            ask->led_to = NULL;
            ask->server = NULL;
        }
    }
}

size_t kw_refresher_sockets(const kw_refresher *self, struct pollfd *entries)
{
    size_t n = 0;
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX; i++) {
        const kw_fetch_ask *ask = &self->asks[i];
        if (ask->server != NULL && ask->conn != NULL) {
            entries[n].fd = ask->conn->socket;
            entries[n].events = kw_conn_events(ask->conn);
            entries[n++].revents = 0;
        }
    }
    return n;
}

bool kw_refresher_has_sockets(const kw_refresher *self)
{
    struct pollfd entries[KW_FETCH_ASKS_MAX];
    return kw_refresher_sockets(self, entries) > 0;
}

static void listen_to_servers(kw_refresher *self, uint64_t now_ns)
{
    if (self->manner.way->listen_fn(self->manner.way_arg, now_ns)) {
        (void)kw_refresher_want(self);
    }
    atomic_store_explicit(&self->listen_ns, now_ns + LISTEN_NS, memory_order_relaxed);
    kw_refresher_note_news(self);
}

/* A server has led to a map. */
static void end_with(kw_refresher *self, const kw_fetch_step *step, uint64_t now_ns)
{
    drop_asks(self, now_ns, NULL);
    end(self, now_ns, step->map, NULL);
    kw_refresher_note_news(self);
    if (step->is_brief) {
        (void)kw_refresher_want(self);
    }
}

/* A map that was doubtful, where it goes into use now. */
static kw_map *held_map(kw_refresher *self, uint64_t now_ns, bool is_over)
{
    const kw_fetch_way *way = self->manner.way;
    return way->held_fn != NULL ? way->held_fn(self->manner.way_arg, &self->told, now_ns, is_over)
                                : NULL;
}

static void drive_fetch(kw_refresher *self, uint64_t now_ns, const struct pollfd *polled)
{
    if (!self->is_running) {
        if (now_ns < atomic_load_explicit(&self->due_ns, memory_order_relaxed)) {
            return;
        }
        begin(self, now_ns);
    }
    kw_fetch_step step = {.map = NULL};
    size_t asked_n = go_on_with_all(self, &step, now_ns, polled);
    if (step.map == NULL) {
        step.map = held_map(self, now_ns, false);
    }
    if (step.map == NULL && ask_more(self, asked_n, now_ns) > 0) {
        return; /* wait for their sockets */
    }
    if (step.map == NULL) { /* nobody else is to be asked now, or nobody is left */
        step.map = held_map(self, now_ns, self->node_at == self->nodes_n);
    }
    if (step.map != NULL) {
        end_with(self, &step, now_ns);
        return;
    }
    kw_error told = self->told;
    bool is_urgent = self->manner.way->end_fn(self->manner.way_arg, &told);
    bool has_no_room = self->told.code == KW_ERR_NOMEM && told.code != KW_OK;
    end(self, now_ns, NULL, has_no_room ? &self->told : &told);
    if (is_urgent) {
        (void)kw_refresher_want(self);
    }
}

void kw_refresher_drive(kw_refresher *self, uint64_t now_ns, const struct pollfd *polled)
{
    bool listens = now_ns >= atomic_load_explicit(&self->listen_ns, memory_order_relaxed);
    if (listens && self->policy.failed_n == 0) {
        listen_to_servers(self, now_ns); /* what they say may want a fetch now */
    }
    drive_fetch(self, now_ns, polled);
    if (listens && self->policy.failed_n > 0) {
        listen_to_servers(self, now_ns); /* where servers fail, the fetch dials them first */
    }
}

void kw_refresher_abandon(kw_refresher *self)
{
    kw_error abandoned = kw_error_none();
    kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the handle was closed");
    drop_asks(self, kw_env_now(self->env), &abandoned);
    drop_nodes(self);
}
