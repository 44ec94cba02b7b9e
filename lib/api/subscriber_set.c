/* SPDX-License-Identifier: BSD-3-Clause */
/* The subscribers of a handle: tended by callers who pass by, served by its loop, ended with it. */
#include "api/subscriber.h"

/* Callers who pass by look so often. */
#define TEND_NS (5 * KW_NS_PER_MS)

/* Messages that are handed out before the host gets its turn. */
#define DELIVER_MAX 1024

typedef struct kw_subscriber_set {
    kw_monitor monitor; /* guards the list */
    kw_subscriber *first;
    atomic_uint_fast64_t tend_ns;
} kw_subscriber_set;

void kw_subscriber_free(kw_subscriber *subscriber)
{
    const kw_allocator mem = subscriber->mem;
    kw_fork_fini(&subscriber->fork);
    kw_mem_free(&mem, subscriber);
}

static kw_subscriber_set *set_of(kw_client *client)
{
    return atomic_load_explicit(&client->subscribers, memory_order_acquire);
}

/* The handle is closed, or started anew in a child: nobody is inside. */
static void detach_all(kw_client *client, bool has_forked)
{
    kw_subscriber_set *set = set_of(client);
    if (set == NULL) {
        return;
    }
    while (set->first != NULL) {
        kw_subscriber *subscriber = set->first;
        set->first = subscriber->next;
        kw_receiver_fini(&subscriber->receiver, has_forked);
        atomic_store(&subscriber->client, NULL);
    }
    atomic_store(&client->subscribers, NULL);
    kw_monitor_fini(&set->monitor);
    kw_mem_free(&client->topology->env.mem, set);
}

static void end(kw_client *client)
{
    detach_all(client, false);
}

static void abandon(kw_client *client)
{
    detach_all(client, true);
}

/* The handle is closed: nobody waits any more. */
static void wake(kw_client *client)
{
    kw_subscriber_set *set = set_of(client);
    if (set == NULL) {
        return;
    }
    kw_monitor_lock(&set->monitor);
    for (kw_subscriber *at = set->first; at != NULL; at = at->next) {
        atomic_store(&at->receiver.is_closed, true);
        kw_receiver_wake_all(&at->receiver);
    }
    kw_monitor_unlock(&set->monitor);
}

/* A subscriber that nobody has looked at now, counted in; NULL: none. The loop looks at its own. */
static kw_subscriber *take_next(kw_subscriber_set *set, uint64_t now_ns)
{
    kw_monitor_lock(&set->monitor);
    kw_subscriber *at = set->first;
    while (at != NULL && (at->fn != NULL || at->tended_ns == now_ns)) {
        at = at->next;
    }
    if (at != NULL) {
        atomic_fetch_add(&at->users_n, 1);
        at->tended_ns = now_ns;
    }
    kw_monitor_unlock(&set->monitor);
    return at;
}

static void tend(kw_client *client)
{
    kw_subscriber_set *set = set_of(client);
    uint64_t now_ns = kw_env_now(&client->topology->env);
    if (set == NULL || now_ns < atomic_load_explicit(&set->tend_ns, memory_order_relaxed)) {
        return;
    }
    atomic_store_explicit(&set->tend_ns, now_ns + TEND_NS, memory_order_relaxed);
    kw_subscriber *next;
    while ((next = take_next(set, now_ns)) != NULL) {
        kw_receiver_look(&next->receiver);
        atomic_fetch_sub(&next->users_n, 1);
    }
}

/* The handle is drained: who takes gets what is there, and waits for nothing more. */
static kw_err work(kw_client *client, kw_error *error, size_t *open_n)
{
    kw_subscriber_set *set = set_of(client);
    (void)error;
    *open_n = 0;
    if (set == NULL) {
        return KW_OK;
    }
    kw_monitor_lock(&set->monitor);
    for (kw_subscriber *at = set->first; at != NULL; at = at->next) {
        atomic_store(&at->receiver.is_draining, true);
        kw_receiver_wake_all(&at->receiver);
    }
    kw_monitor_unlock(&set->monitor);
    return KW_OK;
}

/* A subscriber with a callback is served by the loop of the handle's callbacks. */
static kw_loop *loop_of(kw_client *client)
{
    (void)client;
    return NULL;
}

static const kw_client_part subscribers = {end, abandon, wake, tend, work, loop_of, NULL};

/* The handle's set, made at first use; NULL when there is no memory. */
static kw_subscriber_set *need_set(kw_client *client)
{
    kw_subscriber_set *set = set_of(client);
    if (set != NULL) {
        return set;
    }
    const kw_allocator *mem = &client->topology->env.mem;
    kw_subscriber_set *fresh = kw_mem_calloc(mem, 1, sizeof(*fresh));
    if (fresh == NULL || kw_monitor_init(&fresh->monitor) != KW_OK) {
        kw_mem_free(mem, fresh);
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&client->subscribers, &set, fresh)) {
        kw_monitor_fini(&fresh->monitor); /* another thread was first */
        kw_mem_free(mem, fresh);
        return set;
    }
    kw_client_need_part(client, KW_CLIENT_SUBSCRIBERS, &subscribers, true);
    return fresh;
}

bool kw_subscriber_set_add(kw_client *client, kw_subscriber *subscriber)
{
    kw_subscriber_set *set = need_set(client);
    if (set == NULL) {
        return false;
    }
    kw_monitor_lock(&set->monitor);
    subscriber->next = set->first;
    set->first = subscriber;
    kw_monitor_unlock(&set->monitor);
    return true;
}

void kw_subscriber_set_drop(kw_client *client, kw_subscriber *subscriber)
{
    kw_subscriber_set *set = set_of(client);
    kw_monitor_lock(&set->monitor);
    kw_subscriber **link = &set->first;
    while (*link != NULL && *link != subscriber) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = subscriber->next;
    }
    kw_monitor_unlock(&set->monitor);
}

/* False where fn has closed the subscriber or the handle, or this is a child that it has forked. */
static bool goes_on(kw_subscriber *self)
{
    if (self->closes_later || kw_fork_has_happened(&self->fork)) {
        return false;
    }
    const kw_client *client = atomic_load(&self->client);
    return !atomic_load_explicit(&client->is_closing, memory_order_relaxed);
}

/* Hands messages out. True where there are more. */
static bool deliver(kw_subscriber *self)
{
    kw_message *message = NULL;
    size_t n = 0;
    atomic_store_explicit(&self->deliverer, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&self->is_delivering, true, memory_order_release);
    while (n < DELIVER_MAX && goes_on(self) &&
           (message = kw_receiver_pop(&self->receiver)) != NULL) {
        self->fn(self->arg, message);
        n++;
    }
    atomic_store_explicit(&self->is_delivering, false, memory_order_release);
    return n == DELIVER_MAX;
}

uint64_t kw_subscriber_process(kw_subscriber *self)
{
    kw_receiver_look_for_taker(&self->receiver);
    bool is_more = deliver(self);
    if (kw_fork_has_happened(&self->fork)) {
        return UINT64_MAX;
    }
    if (self->closes_later) {
        kw_receiver_fini(&self->receiver, false);
        kw_subscriber_free(self);
        return UINT64_MAX;
    }
    return is_more ? 0 : kw_receiver_due_ns(&self->receiver);
}
