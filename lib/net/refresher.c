#include "net/refresher.h"

#include "base/error.h"
#include "base/resp.h"
#include "route/topology.h"

#include <string.h>

/* One node is given this long to say its map. */
#define ASK_NS ((uint64_t)300000000)

/* No wait is longer, so that a closed handle and a vacant driver's seat are noticed. */
#define SLICE_MS 20

kw_err kw_refresher_init(kw_refresher *self, kw_env *env, const kw_refresher_owner *owner)
{
    memset(self, 0, sizeof(*self));
    kw_err code = kw_gate_init(&self->gate);
    if (code != KW_OK) {
        return code;
    }
    self->env = env;
    self->owner = *owner;
    self->failure.size = sizeof(self->failure);
    bool has_fetch = kw_options_has_fetch(&env->options);
    uint64_t interval_ms = has_fetch ? env->options.refresh_interval_ms : 0;
    kw_refresh_init(&self->policy, interval_ms * KW_NS_PER_MS, kw_env_now(env), kw_env_seed(env));
    kw_buf_init(&self->command, &env->mem, NULL, 0);
    atomic_init(&self->due_ns, UINT64_MAX);
    atomic_init(&self->changes_n, 0);
    return KW_OK;
}

static void drop_conn(kw_refresher *self, uint64_t now_ns, const kw_error *failure)
{
    if (self->conn == NULL) {
        return;
    }
    kw_node *node = self->nodes[self->candidates[self->candidate_at].node];
    bool was_ready = self->is_counted;
    kw_reply_free(self->request.reply);
    memset(&self->request, 0, sizeof(self->request));
    kw_error unready = KW_ERROR_INIT;
    if (!was_ready && failure->code == KW_ERR_TOPOLOGY) {
        /* To the node it was no fetch, but a connection that did not come up in time. */
        kw_error_set(&unready, KW_ERR_HANDSHAKE, KW_EFFECT_NONE, "no answer to HELLO in time");
        failure = &unready;
    }
    kw_node_release(node, self->conn, now_ns, was_ready ? NULL : failure);
    self->conn = NULL;
    self->is_sent = false;
    self->is_counted = false;
}

static void drop_candidates(kw_refresher *self)
{
    for (size_t i = 0; i < self->candidates_n; i++) {
        kw_node_unref(self->nodes[i]);
    }
    self->candidates_n = 0;
}

void kw_refresher_fini(kw_refresher *self)
{
    kw_error abandoned = KW_ERROR_INIT;
    kw_error_set(&abandoned, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the handle was closed");
    drop_conn(self, kw_env_now(self->env), &abandoned);
    drop_candidates(self);
    kw_buf_fini(&self->command);
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
    bool is_seed[KW_REFRESHER_CANDIDATES_MAX];
    size_t n = self->owner.candidates_fn(self->owner.arg, self->nodes, is_seed,
                                         KW_REFRESHER_CANDIDATES_MAX);
    for (size_t i = 0; i < n; i++) {
        self->candidates[i].node = i;
        self->candidates[i].is_seed = is_seed[i];
        self->candidates[i].is_suspect = kw_node_is_failing(self->nodes[i]);
    }
    self->candidates_n = n;
    self->candidate_at = 0;
    kw_gate_lock(&self->gate);
    self->is_running = true;
    kw_refresh_order(self->candidates, n, &self->policy.random);
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
    drop_candidates(self);
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

/* Writes CLUSTER SLOTS (or SHARDS) to the connection, which is READY. */
static kw_err ask(kw_refresher *self, kw_error *error)
{
    kw_bytes argv[2] = {kw_bytes_of("CLUSTER"),
                        kw_bytes_of(self->asks_shards ? "SHARDS" : "SLOTS")};
    self->command.len = 0;
    if (!kw_resp_append(&self->command, argv, 2)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to ask for a map");
    }
    memset(&self->request, 0, sizeof(self->request));
    self->request.bytes.data = self->command.data;
    self->request.bytes.len = self->command.len;
    self->is_sent = true;
    self->conn->is_ours = true;
    kw_err code = kw_conn_queue(self->conn, error, &self->request, false);
    return code == KW_OK ? kw_conn_flush(self->conn, error) : code;
}

static kw_err refused(kw_error *error, kw_bytes text)
{
    char shown[160];
    kw_bytes_show(shown, sizeof(shown), text);
    bool is_standalone = kw_bytes_starts(text, "ERR This instance has cluster support disabled");
    return kw_error_set(error, is_standalone ? KW_ERR_UNSUPPORTED : KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                        "the server refused CLUSTER SLOTS: %s%s", shown,
                        is_standalone ? "; for a server that is not in a cluster use redis://"
                                      : "");
}

/* The answer is there: a map, or why not. */
static kw_err take_answer(kw_refresher *self, kw_map **map, kw_error *error)
{
    const kw_endpoint *from = &self->nodes[self->candidates[self->candidate_at].node]->endpoint;
    const kw_reply *reply = self->request.reply;
    if (kw_reply_is_error(reply)) {
        return refused(error, kw_reply_bytes(reply));
    }
    kw_map *previous = self->owner.map_fn(self->owner.arg);
    kw_err code =
        self->asks_shards
            ? kw_topology_from_shards(map, error, &self->env->mem, reply, from, previous, false)
            : kw_topology_from_slots(map, error, &self->env->mem, reply, from, previous);
    kw_map_unref(previous);
    return code;
}

static kw_err open_candidate(kw_refresher *self, kw_error *error, uint64_t now_ns)
{
    kw_node *node = self->nodes[self->candidates[self->candidate_at].node];
    self->step_deadline_ns = now_ns + ASK_NS;
    self->is_sent = false;
    self->asks_shards = false;
    /* Callers may keep the whole pool busy, and be in need of this very map. */
    kw_err code = kw_node_try_acquire(node, &self->conn, error, now_ns, true);
    if (code != KW_OK) {
        return code;
    }
    self->is_counted = self->conn->state == KW_CONN_READY;
    return kw_conn_takes_requests(self->conn) ? ask(self, error) : KW_OK;
}

/* Goes on with the candidate's connection. KW_OK with *map NULL: not there yet. */
static kw_err go_on(kw_refresher *self, kw_map **map, kw_error *error, uint64_t now_ns,
                    short revents)
{
    kw_conn *conn = self->conn;
    if (now_ns >= self->step_deadline_ns + ASK_NS) {
        /* Nobody came by for so long that an answer would be history. */
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "the fetch was left alone");
    }
    kw_err code = kw_conn_progress(conn, error, revents);
    if (conn->was_ready && !self->is_counted) {
        kw_node_on_ready(self->nodes[self->candidates[self->candidate_at].node], conn);
        self->is_counted = true;
    }
    if (code == KW_OK && kw_conn_takes_requests(conn) && !self->is_sent) {
        code = ask(self, error);
    }
    if (code != KW_OK) {
        return code;
    }
    if (self->is_sent && self->request.is_done) {
        code = take_answer(self, map, error);
        if (code == KW_OK || code == KW_ERR_UNSUPPORTED || self->asks_shards) {
            return code;
        }
        self->asks_shards = true;
        kw_reply_free(self->request.reply);
        return ask(self, error);
    }
    if (now_ns >= self->step_deadline_ns) {
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                            "no answer to CLUSTER SLOTS in time");
    }
    return KW_OK;
}

/* Does what can be done without waiting. Only the driver calls it. revents: of the
 * connection under way. */
static void drive(kw_refresher *self, uint64_t now_ns, short revents)
{
    if (!self->is_running) {
        if (now_ns < atomic_load_explicit(&self->due_ns, memory_order_relaxed)) {
            return;
        }
        begin(self, now_ns);
    }
    kw_error failure = KW_ERROR_INIT;
    kw_error_set(&failure, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "no node to ask for a map");
    while (self->candidate_at < self->candidates_n) {
        kw_map *map = NULL;
        kw_err code = KW_OK;
        kw_node *node = self->nodes[self->candidates[self->candidate_at].node];
        if (self->conn == NULL) {
            code = open_candidate(self, &failure, now_ns);
        } else {
            code = go_on(self, &map, &failure, now_ns, revents);
        }
        revents = 0;
        if (code == KW_OK && map == NULL) {
            return; /* wait for the socket */
        }
        if (code != KW_OK) {
            kw_error_set_node(&failure, node->name);
            if (self->conn != NULL && self->is_sent && !self->request.is_done) {
                self->conn->state = KW_CONN_DEAD; /* it still owes an answer */
            }
        }
        drop_conn(self, now_ns, &failure);
        if (map != NULL) {
            end(self, now_ns, map, NULL);
            return;
        }
        kw_env_log(self->env, KW_LOG_WARNING, "no map from %s: %s", node->name, failure.text);
        self->candidate_at++;
    }
    end(self, now_ns, NULL, &failure);
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
    if (now_ns < atomic_load_explicit(&self->due_ns, memory_order_relaxed)) {
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
