/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers who want a map: they wait for it, and one of them drives the fetch. */
#include "net/refresher.h"

#include "base/error.h"
#include "net/refresher_private.h"

#include <string.h>

/* No wait is longer, so that a closed handle, and that nobody drives, is noticed. */
#define SLICE_MS 20

/* Under Sentinel the map is asked for so often: no redirect tells that a primary was replaced. */
#define SENTINEL_POLL_MS ((uint64_t)1000)

/* Between two fetches that nobody asks for; 0: there are none. */
static uint64_t interval_ms(const kw_options *options)
{
    if (!kw_options_has_fetch(options) && options->scheme != KW_SCHEME_RING) {
        return 0;
    }
    bool is_polled =
        options->scheme != KW_SCHEME_CLUSTER && options->refresh_interval_ms > SENTINEL_POLL_MS;
    return is_polled ? SENTINEL_POLL_MS : options->refresh_interval_ms;
}

static kw_err choose_sentinel(kw_refresher *self)
{
    const kw_allocator *mem = &self->env->mem;
    const kw_options *options = &self->env->options;
    kw_sentinel_group group = {options->seeds, options->seeds_n, options->service};
    self->sentinel = kw_mem_calloc(mem, 1, sizeof(*self->sentinel));
    self->manner.way = &kw_fetch_sentinel_way;
    self->manner.way_arg = self->sentinel;
    kw_err code = KW_ERR_NOMEM;
    if (self->sentinel != NULL) {
        code = kw_fetch_sentinel_init(self->sentinel, self->env, &self->owner, &group);
    }
    if (code != KW_OK) {
        kw_mem_free(mem, self->sentinel);
        self->sentinel = NULL;
    }
    return code;
}

static kw_err choose_way(kw_refresher *self)
{
    if (self->env->options.scheme == KW_SCHEME_SENTINEL) {
        return choose_sentinel(self);
    }
    if (self->env->options.scheme == KW_SCHEME_RING) {
        self->manner.way = &kw_fetch_groups_way;
        self->manner.way_arg = &self->groups;
        kw_fetch_groups_init(&self->groups, self->env, &self->owner);
        return KW_OK;
    }
    kw_fetch_cluster_init(&self->cluster, self->env, &self->owner);
    self->manner.way = &kw_fetch_cluster_way;
    self->manner.way_arg = &self->cluster;
    return KW_OK;
}

kw_err kw_refresher_init(kw_refresher *self, kw_env *env, const kw_fetch_owner *owner)
{
    memset(self, 0, sizeof(*self));
    kw_err code = kw_monitor_init(&self->monitor);
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
        kw_monitor_fini(&self->monitor);
        return code;
    }
    self->manner.env = env;
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX; i++) {
        kw_fetch_ask_init(&self->asks[i], &env->mem);
    }
    atomic_init(&self->due_ns, UINT64_MAX);
    atomic_init(&self->changes_n, 0);
    atomic_init(&self->changed_ns, 0);
    atomic_init(&self->is_incompatible, false);
    atomic_init(&self->listen_ns, self->manner.way->listen_fn != NULL ? 0 : UINT64_MAX);
    atomic_init(&self->has_news, false);
    return KW_OK;
}

void kw_refresher_on_interval(kw_refresher *self)
{
    kw_monitor_lock(&self->monitor);
    kw_refresh_set_interval(&self->policy, interval_ms(&self->env->options) * KW_NS_PER_MS,
                            kw_env_now(self->env));
    kw_refresher_plan(self);
    kw_monitor_unlock(&self->monitor);
}

void kw_refresher_fini(kw_refresher *self)
{
    kw_refresher_abandon(self);
    kw_fetch_cluster_fini(&self->cluster);
    if (self->sentinel != NULL) {
        kw_fetch_sentinel_fini(self->sentinel);
        kw_mem_free(&self->env->mem, self->sentinel);
        self->sentinel = NULL;
    }
    kw_fetch_groups_fini(&self->groups);
    for (size_t i = 0; i < KW_FETCH_ASKS_MAX; i++) {
        kw_fetch_ask_fini(&self->asks[i]);
    }
    kw_monitor_fini(&self->monitor);
}

void kw_refresher_on_publish(kw_refresher *self)
{
    kw_monitor_lock(&self->monitor);
    kw_refresher_note_change(self);
    kw_monitor_unlock(&self->monitor);
    kw_refresher_wake_all(self);
}

uint64_t kw_refresher_changed_ns(kw_refresher *self)
{
    return atomic_load_explicit(&self->changed_ns, memory_order_relaxed);
}

/* The monitor is held. A fetch that is under way needs another driver, where somebody waits. */
static void hand_on(kw_refresher *self, kw_wake_list *wakes)
{
    if (self->is_running && !kw_leader_is_led(&self->driver)) {
        kw_leader_hand_on(&self->driver, wakes, &self->monitor);
    }
}

/* The caller drives no more. */
static void leave(kw_refresher *self)
{
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&self->monitor);
    kw_leader_leave(&self->driver);
    hand_on(self, &wakes);
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
}

void kw_refresher_go_on(kw_refresher *self, uint64_t now_ns)
{
    if (!kw_leader_try(&self->driver)) {
        return;
    }
    struct pollfd entries[KW_FETCH_ASKS_MAX];
    const kw_transport *transport = self->env->transport;
    size_t n = kw_refresher_sockets(self, entries);
    bool is_ready = n > 0 && transport->poll_fn(transport->arg, entries, n, 0) > 0;
    kw_refresher_drive(self, now_ns, is_ready ? entries : NULL);
    leave(self);
}

bool kw_refresher_news(kw_refresher *self, kw_sentinel_told *news, kw_member *group)
{
    if (!atomic_load_explicit(&self->has_news, memory_order_relaxed)) {
        return false;
    }
    if (!kw_leader_try(&self->driver)) {
        return false;
    }
    bool is_found = (self->sentinel != NULL && kw_fetch_sentinel_news(self->sentinel, news)) ||
                    kw_fetch_groups_news(&self->groups, news, group);
    kw_refresher_note_news(self);
    leave(self);
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
    struct pollfd own[KW_FETCH_ASKS_MAX];
    struct pollfd *entries = goal->sockets != NULL ? goal->sockets : own;
    size_t n = goal->sockets_n;
    for (size_t i = 0; i < n; i++) {
        entries[i].revents = 0;
    }
    size_t asks_n = is_driver ? kw_refresher_sockets(self, &entries[n]) : 0;
    int wait_ms = kw_clock_ms_until(now_ns, goal->until_ns, SLICE_MS);
    int ready =
        self->env->transport->poll_fn(self->env->transport->arg, entries, n + asks_n, wait_ms);
    for (size_t i = n; i < n + asks_n && ready > 0; i++) {
        ready -= entries[i].revents != 0 ? 1 : 0;
    }
    if (is_driver) {
        kw_refresher_drive(self, kw_env_now(self->env), asks_n > 0 ? &entries[n] : NULL);
    }
    return ready > 0;
}

/* How long a wait without a socket may be; what is due is looked at by a driver. */
static uint64_t sleep_ns(const kw_refresher *self, const kw_refresher_goal *goal, bool is_driver,
                         uint64_t now_ns)
{
    uint64_t wait_ns = (uint64_t)SLICE_MS * KW_NS_PER_MS;
    wait_ns = goal->until_ns - now_ns < wait_ns ? goal->until_ns - now_ns : wait_ns;
    uint64_t due_ns = kw_refresh_due_ns(&self->policy);
    if (is_driver && due_ns > now_ns && due_ns - now_ns < wait_ns) {
        wait_ns = due_ns - now_ns;
    }
    return wait_ns;
}

/* One step of the wait: drives, or waits while somebody else does. The monitor is held before and
 * after. True where a socket of the goal is ready. */
static bool wait_step(kw_refresher *self, const kw_refresher_goal *goal, uint64_t now_ns)
{
    bool is_driver = kw_leader_try(&self->driver);
    if (is_driver) {
        kw_monitor_unlock(&self->monitor);
        kw_refresher_drive(self, now_ns, NULL);
        kw_monitor_lock(&self->monitor);
    }
    bool has_sockets = goal->sockets_n > 0 || (is_driver && kw_refresher_has_sockets(self));
    bool is_ready = false;
    if (!is_reached(self, goal) && has_sockets) {
        kw_monitor_unlock(&self->monitor);
        is_ready = poll_both(self, goal, is_driver, now_ns);
        kw_monitor_lock(&self->monitor);
    } else if (!is_reached(self, goal)) {
        if (is_driver) {
            kw_leader_leave(&self->driver); /* nothing to drive now */
        }
        kw_leader_wait(&self->driver, &self->monitor, sleep_ns(self, goal, is_driver, now_ns));
        return false;
    }
    if (is_driver) {
        kw_leader_leave(&self->driver);
    }
    return is_ready;
}

uint64_t kw_refresher_ended_n(kw_refresher *self)
{
    kw_monitor_lock(&self->monitor);
    uint64_t ended_n = self->policy.ended_n;
    kw_monitor_unlock(&self->monitor);
    return ended_n;
}

bool kw_refresher_has_ended(kw_refresher *self, uint64_t fetch)
{
    kw_monitor_lock(&self->monitor);
    bool has_ended = self->policy.ended_n >= fetch;
    kw_monitor_unlock(&self->monitor);
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

kw_admission kw_refresher_admit(kw_refresher *self, kw_error *error, uint64_t now_ns)
{
    if (self->env->options.on_node_down == KW_NODE_DOWN_WAIT) {
        return KW_ADMITTED;
    }
    kw_monitor_lock(&self->monitor);
    kw_admission admission = kw_refresh_admit(&self->policy, now_ns, self->env->options.down_after);
    if (admission == KW_ADMITTED_NOT) {
        (void)copy_result(self, error);
    }
    kw_monitor_unlock(&self->monitor);
    return admission;
}

kw_err kw_refresher_result(kw_refresher *self, kw_error *error)
{
    kw_monitor_lock(&self->monitor);
    kw_err code = copy_result(self, error);
    kw_monitor_unlock(&self->monitor);
    return code;
}

kw_err kw_refresher_wait(kw_refresher *self, kw_error *error, const kw_refresher_goal *goal)
{
    kw_err code = KW_OK;
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&self->monitor);
    while (!is_reached(self, goal)) {
        uint64_t now_ns = kw_env_now(self->env);
        if (kw_env_is_closing(self->env, goal->closing)) {
            code = kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                                "the handle was closed during the call");
            break;
        }
        if (now_ns >= goal->until_ns) {
            code = KW_ERR_TIMEOUT;
            break;
        }
        if (wait_step(self, goal, now_ns)) {
            break;
        }
    }
    hand_on(self, &wakes); /* this thread may have driven, or have been woken to */
    if (code == KW_OK && goal->fetch > 0 && self->policy.ended_n >= goal->fetch) {
        code = copy_result(self, error);
    }
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
    return code;
}
