#include "net/refresher.h"

#include "base/error.h"

#include <string.h>

/* No wait is longer, so that a closed handle and a vacant driver's seat are noticed. */
#define SLICE_MS 20

/* Between two looks at what servers say of their own accord. */
#define LISTEN_NS ((uint64_t)10000000)

/* No redirect says that a primary under Sentinel is none any more: it is asked for. */
#define SENTINEL_POLL_MS ((uint64_t)1000)

/* Between two fetches that nobody asks for; 0: there are none. */
static uint64_t interval_ms(const kw_options *options)
{
    if (!kw_options_has_fetch(options)) {
        return 0;
    }
    bool is_polled =
        options->scheme == KW_SCHEME_SENTINEL && options->refresh_interval_ms > SENTINEL_POLL_MS;
    return is_polled ? SENTINEL_POLL_MS : options->refresh_interval_ms;
}

static kw_err choose_way(kw_refresher *self)
{
    if (self->env->options.scheme == KW_SCHEME_SENTINEL) {
        self->way = &kw_fetch_sentinel_way;
        self->way_arg = &self->sentinel;
        return kw_fetch_sentinel_init(&self->sentinel, self->env, &self->owner);
    }
    kw_fetch_cluster_init(&self->cluster, self->env, &self->owner);
    self->way = &kw_fetch_cluster_way;
    self->way_arg = &self->cluster;
    return KW_OK;
}

kw_err kw_refresher_init(kw_refresher *self, kw_env *env, const kw_fetch_owner *owner)
{
    memset(self, 0, sizeof(*self));
    kw_err code = kw_gate_init(&self->gate);
    if (code != KW_OK) {
        return code;
    }
    self->env = env;
    self->owner = *owner;
    self->failure.size = sizeof(self->failure);
    kw_refresh_init(&self->policy, interval_ms(&env->options) * KW_NS_PER_MS, kw_env_now(env),
                    kw_env_seed(env));
    code = choose_way(self);
    if (code != KW_OK) {
        kw_gate_fini(&self->gate);
        return code;
    }
    kw_buf_init(&self->encoded, &env->mem, NULL, 0);
    atomic_init(&self->due_ns, UINT64_MAX);
    atomic_init(&self->changes_n, 0);
    atomic_init(&self->listen_ns, self->way->listen_fn != NULL ? 0 : UINT64_MAX);
    atomic_init(&self->has_news, false);
    return KW_OK;
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
        kw_error_set(&unready, KW_ERR_HANDSHAKE, KW_EFFECT_NONE, "no answer to HELLO in time");
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

void kw_refresher_fini(kw_refresher *self)
{
    kw_error abandoned = KW_ERROR_INIT;
    kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the handle was closed");
    drop_conn(self, kw_env_now(self->env), &abandoned);
    drop_nodes(self);
    kw_fetch_sentinel_fini(&self->sentinel);
    kw_buf_fini(&self->encoded);
    kw_gate_fini(&self->gate);
}

/* The lock is held. */
static void plan(kw_refresher *self)
{
    uint64_t due_ns = self->is_running ? 0 : kw_refresh_due_ns(&self->policy);
    atomic_store_explicit(&self->due_ns, due_ns, memory_order_relaxed);
}

uint64_t kw_refresher_want(kw_refresher *self)
{
    kw_gate_lock(&self->gate);
    uint64_t number = kw_refresh_want(&self->policy);
    plan(self);
    kw_gate_unlock(&self->gate);
    return number;
}

void kw_refresher_on_publish(kw_refresher *self)
{
    kw_gate_lock(&self->gate);
    atomic_fetch_add_explicit(&self->changes_n, 1, memory_order_relaxed);
    kw_gate_wake_all(&self->gate);
    kw_gate_unlock(&self->gate);
}

uint64_t kw_refresher_changes_n(kw_refresher *self)
{
    return atomic_load_explicit(&self->changes_n, memory_order_relaxed);
}

void kw_refresher_wake_all(kw_refresher *self)
{
    kw_gate_lock(&self->gate);
    kw_gate_wake_all(&self->gate);
    kw_gate_unlock(&self->gate);
}

/* The driver begins a fetch: whom to ask, in which order. */
static void begin(kw_refresher *self, uint64_t now_ns)
{
    self->nodes_n = self->way->begin_fn(self->way_arg, self->nodes);
    self->node_at = 0;
    kw_gate_lock(&self->gate);
    self->is_running = true;
    kw_refresh_on_start(&self->policy, now_ns);
    plan(self);
    kw_gate_unlock(&self->gate);
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
    drop_nodes(self);
    kw_gate_lock(&self->gate);
    self->is_running = false;
    kw_refresh_on_end(&self->policy, now_ns, has_news);
    self->fetches_n += map != NULL ? 1 : 0;
    self->failures_n += map != NULL ? 0 : 1;
    if (has_news) {
        atomic_fetch_add_explicit(&self->changes_n, 1, memory_order_relaxed);
    }
    if (map != NULL) {
        self->failure.code = KW_OK;
    } else {
        self->failure = *failure;
    }
    plan(self);
    kw_gate_wake_all(&self->gate);
    kw_gate_unlock(&self->gate);
}

static void note_news(kw_refresher *self)
{
    atomic_store_explicit(&self->has_news, self->sentinel.news_n > 0, memory_order_relaxed);
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
    self->conn->is_ours = true;
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
        code = kw_node_try_acquire_as(asked(self), &self->conn, error, now_ns, KW_CONN_PRIMARY);
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
    kw_fetch_turn turn = {NULL, false, NULL};
    kw_err code = self->way->take_fn(self->way_arg, &turn, error, asked(self), replies);
    *map = turn.map;
    self->is_brief = turn.is_brief;
    if (code != KW_OK || turn.map != NULL) {
        return code;
    }
    drop_replies(self);
    if (turn.node != NULL) {
        drop_conn(self, now_ns, NULL);
        drop_led_to(self);
        self->led_to = turn.node;
        return open_conn(self, error, now_ns);
    }
    if (!kw_conn_is_settled(self->conn)) {
        return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_NONE,
                            "the server answered before it was asked");
    }
    code = prepare(self, error);
    return code == KW_OK ? ask(self, error) : code;
}

/* Goes on with the connection. KW_OK with *map NULL: not there yet. */
static kw_err go_on(kw_refresher *self, kw_map **map, kw_error *error, uint64_t now_ns,
                    short revents)
{
    kw_conn *conn = self->conn;
    if (now_ns >= self->step_deadline_ns + self->questions.wait_ns) {
        /* Nobody came by for so long that an answer would be history. */
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "the fetch was left alone");
    }
    kw_err code = kw_conn_progress(conn, error, revents);
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
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "no answer to %s in time",
                            self->questions.name);
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
    note_news(self);
}

/* Does what can be done without waiting. Only the driver calls it. revents: of the
 * connection under way. */
static void drive(kw_refresher *self, uint64_t now_ns, short revents)
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
            note_news(self);
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

/* The lock is held in both. */
static bool take_seat(kw_refresher *self)
{
    bool is_free = !self->is_driven;
    self->is_driven = true;
    return is_free;
}

/* A fetch that is under way needs somebody else now. */
static void leave_seat(kw_refresher *self)
{
    self->is_driven = false;
    if (self->is_running && self->waiters_n > 0) {
        kw_gate_wake_one(&self->gate);
    }
}

void kw_refresher_poke(kw_refresher *self, uint64_t now_ns)
{
    if (now_ns < atomic_load_explicit(&self->due_ns, memory_order_relaxed) &&
        now_ns < atomic_load_explicit(&self->listen_ns, memory_order_relaxed)) {
        return;
    }
    kw_gate_lock(&self->gate);
    bool is_driver = take_seat(self);
    kw_gate_unlock(&self->gate);
    if (!is_driver) {
        return;
    }
    short revents = 0;
    if (self->conn != NULL) {
        struct pollfd entry = {self->conn->socket, kw_conn_events(self->conn), 0};
        if (self->env->transport->poll_fn(self->env->transport->arg, &entry, 1, 0) > 0) {
            revents = entry.revents;
        }
    }
    drive(self, now_ns, revents);
    kw_gate_lock(&self->gate);
    leave_seat(self);
    kw_gate_unlock(&self->gate);
}

bool kw_refresher_news(kw_refresher *self, kw_sentinel_told *news)
{
    if (!atomic_load_explicit(&self->has_news, memory_order_relaxed)) {
        return false;
    }
    kw_gate_lock(&self->gate);
    bool is_driver = take_seat(self);
    kw_gate_unlock(&self->gate);
    if (!is_driver) {
        return false;
    }
    bool is_found = kw_fetch_sentinel_news(&self->sentinel, news);
    note_news(self);
    kw_gate_lock(&self->gate);
    leave_seat(self);
    kw_gate_unlock(&self->gate);
    return is_found;
}

/* True where the goal is reached; the lock is held. */
static bool is_reached(kw_refresher *self, const kw_refresher_goal *goal)
{
    return (goal->fetch > 0 && self->policy.ended_n >= goal->fetch) ||
           (goal->wakes_on_map && kw_refresher_changes_n(self) != goal->changes_n);
}

/* Polls the sockets of the goal and, as the driver, of the fetch. True where one of the
 * goal's has something. */
static bool poll_both(kw_refresher *self, const kw_refresher_goal *goal, bool is_driver,
                      uint64_t now_ns)
{
    struct pollfd single;
    struct pollfd *entries = goal->sockets != NULL ? goal->sockets : &single;
    size_t n = goal->sockets_n;
    for (size_t i = 0; i < n; i++) {
        entries[i].revents = 0;
    }
    bool has_fetch = is_driver && self->conn != NULL;
    if (has_fetch) {
        entries[n].fd = self->conn->socket;
        entries[n].events = kw_conn_events(self->conn);
        entries[n].revents = 0;
    }
    int wait_ms = kw_clock_ms_until(now_ns, goal->until_ns, SLICE_MS);
    int ready = self->env->transport->poll_fn(self->env->transport->arg, entries,
                                              n + (has_fetch ? 1 : 0), wait_ms);
    short fetch_revents = has_fetch && ready > 0 ? entries[n].revents : 0;
    if (is_driver) {
        drive(self, kw_env_now(self->env), fetch_revents);
    }
    return ready > (fetch_revents != 0 ? 1 : 0);
}

/* One turn of the wait, with the lock held before and after. True where a socket of the
 * goal is ready. */
static bool wait_turn(kw_refresher *self, const kw_refresher_goal *goal, uint64_t now_ns)
{
    bool is_driver = take_seat(self);
    if (is_driver) {
        kw_gate_unlock(&self->gate);
        drive(self, now_ns, 0);
        kw_gate_lock(&self->gate);
    }
    bool has_sockets = goal->sockets_n > 0 || (is_driver && self->conn != NULL);
    bool is_ready = false;
    if (is_reached(self, goal)) {
        is_ready = false;
    } else if (has_sockets) {
        kw_gate_unlock(&self->gate);
        is_ready = poll_both(self, goal, is_driver, now_ns);
        kw_gate_lock(&self->gate);
    } else {
        uint64_t wait_ns = (uint64_t)SLICE_MS * KW_NS_PER_MS;
        wait_ns = goal->until_ns - now_ns < wait_ns ? goal->until_ns - now_ns : wait_ns;
        if (is_driver) {
            leave_seat(self); /* nothing to drive now */
            uint64_t due_ns = kw_refresh_due_ns(&self->policy);
            if (due_ns > now_ns && due_ns - now_ns < wait_ns) {
                wait_ns = due_ns - now_ns;
            }
        }
        self->waiters_n++;
        kw_gate_wait(&self->gate, wait_ns);
        self->waiters_n--;
        return false;
    }
    if (is_driver) {
        leave_seat(self);
    }
    return is_ready;
}

uint64_t kw_refresher_ended_n(kw_refresher *self)
{
    kw_gate_lock(&self->gate);
    uint64_t ended_n = self->policy.ended_n;
    kw_gate_unlock(&self->gate);
    return ended_n;
}

bool kw_refresher_has_ended(kw_refresher *self, uint64_t fetch)
{
    kw_gate_lock(&self->gate);
    bool has_ended = self->policy.ended_n >= fetch;
    kw_gate_unlock(&self->gate);
    return has_ended;
}

/* The lock is held. */
static kw_err copy_result(const kw_refresher *self, kw_error *error)
{
    if (self->failure.code != KW_OK) {
        kw_error_set(error, self->failure.code, KW_EFFECT_NONE, "%s", self->failure.text);
        kw_error_set_node(error, self->failure.node);
    }
    return self->failure.code;
}

kw_err kw_refresher_result(kw_refresher *self, kw_error *error)
{
    kw_gate_lock(&self->gate);
    kw_err code = copy_result(self, error);
    kw_gate_unlock(&self->gate);
    return code;
}

kw_err kw_refresher_wait(kw_refresher *self, kw_error *error, const kw_refresher_goal *goal)
{
    kw_err code = KW_OK;
    kw_gate_lock(&self->gate);
    while (!is_reached(self, goal)) {
        uint64_t now_ns = kw_env_now(self->env);
        if (atomic_load_explicit(&self->env->is_closing, memory_order_relaxed)) {
            code = kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                                "the handle was closed during the call");
            break;
        }
        if (now_ns >= goal->until_ns) {
            code = KW_ERR_TIMEOUT;
            break;
        }
        if (wait_turn(self, goal, now_ns)) {
            break;
        }
    }
    if (!self->is_driven && self->is_running && self->waiters_n > 0) {
        kw_gate_wake_one(&self->gate); /* this thread may have taken another's wake */
    }
    if (code == KW_OK && goal->fetch > 0 && self->policy.ended_n >= goal->fetch) {
        code = copy_result(self, error);
    }
    kw_gate_unlock(&self->gate);
    return code;
}
