/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/subscriber.h: subscribers of a handle: opened, used, closed by either side. */
#include <keyway/subscriber.h>

#include "api/client.h"
#include "api/loop_calls.h"
#include "api/subscriber.h"
#include "base/error.h"
#include "drive/plan.h"

#define MESSAGES_MAX ((size_t)100 * 1000)
#define BYTES_MAX    ((size_t)64 * 1024 * 1024)
#define SILENCE_MS   ((uint64_t)10 * 1000)

static void leave(kw_subscriber *self, kw_client *client)
{
    kw_client_leave(client);
    atomic_fetch_sub_explicit(&self->users_n, 1, memory_order_release);
}

/* Counts the thread in, with the subscriber and its handle; NULL, with error set, where that is no
 * use. leave follows. */
static kw_client *enter(kw_subscriber *self, kw_error *error)
{
    if (kw_fork_has_happened(&self->fork)) {
        kw_error_refuse(error, KW_ERR_FORKED,
                        "the subscriber belongs to the parent process; open one in the child");
        return NULL;
    }
    atomic_fetch_add(&self->users_n, 1);
    kw_client *client = atomic_load(&self->client);
    if (client == NULL || !kw_client_enter_at_home(client)) {
        atomic_fetch_sub(&self->users_n, 1);
        kw_error_refuse(error, KW_ERR_CANCELLED, "the handle was closed");
        return NULL;
    }
    return client;
}

static kw_err check_options(kw_error *error, const kw_subscriber_options *options)
{
    if (options->size < sizeof(*options)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "options.size is not set; start with KW_SUBSCRIBER_OPTIONS_INIT");
    }
    if ((unsigned)options->overflow > KW_OVERFLOW_STOP_READING) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "options.overflow is none that there is");
    }
    if (options->silence_ms > UINT64_MAX / 4 / KW_NS_PER_MS) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "options.silence_ms is too long");
    }
    return KW_OK;
}

static kw_queue_policy policy_of(kw_overflow overflow)
{
    switch (overflow) {
    case KW_OVERFLOW_DROP_OLDEST:
        return KW_QUEUE_DROP_OLDEST;
    case KW_OVERFLOW_DROP_NEWEST:
        return KW_QUEUE_DROP_NEWEST;
    case KW_OVERFLOW_STOP_READING:
        return KW_QUEUE_STOP;
    }
    return KW_QUEUE_DROP_OLDEST;
}

static kw_receiver_rule rule_of(kw_client *client, const kw_subscriber_options *options)
{
    uint64_t silence_ms = options->silence_ms > 0 ? options->silence_ms : SILENCE_MS;
    kw_receiver_rule rule = {.silence_ns = silence_ms * KW_NS_PER_MS};
    kw_queue_rule *queue = &rule.subscriptions.queue;
    queue->messages_max = options->messages_max > 0 ? options->messages_max : MESSAGES_MAX;
    queue->bytes_max = options->bytes_max > 0 ? options->bytes_max : BYTES_MAX;
    queue->policy = policy_of(options->overflow);
    rule.subscriptions.tells_subscribed = options->tells_subscribed;
    rule.subscriptions.seed = kw_env_seed(&client->topology->env);
    return rule;
}

/* Hands out what has come; for the thread that processes the loop. */
static uint64_t process(kw_loop_guest *guest)
{
    return kw_subscriber_process((kw_subscriber *)(void *)guest);
}

static kw_subscriber *make(kw_client *client, kw_error *error, const kw_subscriber_options *options)
{
    const kw_allocator *mem = &client->topology->env.mem;
    kw_subscriber *self = kw_mem_calloc(mem, 1, sizeof(*self));
    if (self == NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a subscriber");
        return NULL;
    }
    kw_receiver_rule rule = rule_of(client, options);
    if (kw_receiver_init(&self->receiver, error, client->topology, &rule) != KW_OK) {
        kw_mem_free(mem, self);
        return NULL;
    }
    self->mem = *mem;
    self->fn = options->fn;
    self->arg = options->arg;
    self->guest.process_fn = process;
    self->guest.fd = self->receiver.poller.fd;
    atomic_init(&self->client, client);
    kw_fork_init(&self->fork);
    return self;
}

/* The handle was entered. */
static kw_subscriber *open_inside(kw_client *client, kw_error *error,
                                  const kw_subscriber_options *options)
{
    if (atomic_load_explicit(&client->is_closing, memory_order_relaxed)) {
        kw_error_refuse(error, KW_ERR_CANCELLED, "the handle is being closed");
        return NULL;
    }
    kw_loop *loop = options->fn != NULL ? kw_client_need_loop(client, error) : NULL;
    if (options->fn != NULL && loop == NULL) {
        return NULL;
    }
    kw_subscriber *self = make(client, error, options);
    if (self == NULL) {
        return NULL;
    }
    if (!kw_subscriber_set_add(client, self)) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a subscriber");
        kw_receiver_fini(&self->receiver, false);
        kw_fork_fini(&self->fork);
        kw_mem_free(&client->topology->env.mem, self);
        return NULL;
    }
    if (loop != NULL) {
        self->receiver.host = &loop->poller;
        kw_loop_guest_enter(loop, &self->guest);
    }
    return self;
}

kw_subscriber *kw_subscriber_open(kw_client *client, kw_error *error,
                                  const kw_subscriber_options *options)
{
    static const kw_subscriber_options defaults = KW_SUBSCRIBER_OPTIONS_INIT;
    options = options != NULL ? options : &defaults;
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    if (check_options(error, options) != KW_OK || kw_client_enter_new(client, error) != KW_OK) {
        return NULL;
    }
    kw_subscriber *self = open_inside(client, error, options);
    kw_client_leave(client);
    return self;
}

/* In a forked child only memory is freed, and even that only where no thread of the parent was
 * inside: else what it held cannot be trusted. */
static void close_in_child(kw_subscriber *self)
{
    kw_client *client = atomic_load(&self->client);
    if (client == NULL && atomic_load(&self->users_n) == 0) {
        kw_subscriber_free(self); /* the handle was closed, or started anew, before it */
        return;
    }
    bool is_untouched = client != NULL && kw_fork_has_happened(&client->topology->fork) &&
                        atomic_load(&client->topology->handles_n) == 1 &&
                        atomic_load(&client->calls_n) == 0;
    if (is_untouched && atomic_load(&self->users_n) == 0) {
        kw_subscriber_set_drop(client, self);
        kw_receiver_fini(&self->receiver, true);
        kw_subscriber_free(self);
    }
}

void kw_subscriber_close(kw_subscriber *subscriber)
{
    if (subscriber == NULL) {
        return;
    }
    if (kw_fork_has_happened(&subscriber->fork)) {
        close_in_child(subscriber);
        return;
    }
    atomic_store(&subscriber->receiver.is_closed, true);
    kw_client *client = atomic_load(&subscriber->client);
    if (client == NULL) {
        kw_subscriber_free(subscriber);
        return;
    }
    kw_client_count_in(client);
    kw_loop *loop = subscriber->fn != NULL ? kw_loop_at(&client->loop) : NULL;
    if (loop != NULL) {
        kw_loop_guest_leave(loop, &subscriber->guest);
    }
    kw_subscriber_set_drop(client, subscriber);
    if (loop != NULL && kw_subscriber_is_delivering(subscriber)) {
        subscriber->closes_later = true; /* kw_subscriber_process does the rest */
        kw_client_leave(client);
        return;
    }
    while (atomic_load(&subscriber->users_n) > 0) {
        kw_receiver_wake_all(&subscriber->receiver);
        kw_client_nap();
    }
    kw_receiver_fini(&subscriber->receiver, false);
    kw_client_leave(client);
    kw_subscriber_free(subscriber);
}

static kw_err add(kw_subscriber *self, kw_error *error, kw_topic_kind kind, kw_bytes name,
                  kw_topic_scope scope)
{
    kw_client *client = enter(self, error);
    if (client == NULL) {
        return kw_fork_has_happened(&self->fork) ? KW_ERR_FORKED : KW_ERR_CANCELLED;
    }
    kw_err code = kw_receiver_add(&self->receiver, error, kind, name, scope);
    if (code == KW_OK && self->fn == NULL) {
        kw_receiver_look(&self->receiver); /* it leaves at once */
    }
    leave(self, client);
    return code;
}

static bool is_kind(kw_topic_kind kind)
{
    return (unsigned)kind <= KW_TOPIC_SHARDED;
}

kw_err kw_subscribe(kw_subscriber *subscriber, kw_error *error, kw_topic_kind kind,
                    const char *name, size_t name_len)
{
    if (subscriber == NULL || (name == NULL && name_len > 0) || !is_kind(kind)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "subscriber or name is NULL, or kind is none that there is");
    }
    kw_bytes bytes = {name, name_len};
    return add(subscriber, error, kind, bytes, KW_TOPIC_AT_ONE);
}

kw_err kw_subscribe_nodes(kw_subscriber *subscriber, kw_error *error, kw_subscribe_at at,
                          const char *pattern, size_t pattern_len)
{
    if (subscriber == NULL || (pattern == NULL && pattern_len > 0) || (unsigned)at > KW_AT_NODES) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "subscriber or pattern is NULL, or at is none that there is");
    }
    kw_bytes bytes = {pattern, pattern_len};
    kw_topic_scope scope = at == KW_AT_NODES ? KW_TOPIC_AT_NODES : KW_TOPIC_AT_PRIMARIES;
    return add(subscriber, error, KW_TOPIC_PATTERN, bytes, scope);
}

kw_err kw_unsubscribe(kw_subscriber *subscriber, kw_error *error, kw_topic_kind kind,
                      const char *name, size_t name_len)
{
    if (subscriber == NULL || (name == NULL && name_len > 0) || !is_kind(kind)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "subscriber or name is NULL, or kind is none that there is");
    }
    kw_client *client = enter(subscriber, error);
    if (client == NULL) {
        return kw_fork_has_happened(&subscriber->fork) ? KW_ERR_FORKED : KW_ERR_CANCELLED;
    }
    kw_bytes bytes = {name, name_len};
    kw_receiver_remove(&subscriber->receiver, kind, bytes);
    if (subscriber->fn == NULL) {
        kw_receiver_look(&subscriber->receiver);
    }
    leave(subscriber, client);
    return KW_OK;
}

kw_err kw_subscriber_wait(kw_subscriber *subscriber, kw_error *error, uint64_t timeout_ms)
{
    if (subscriber == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "subscriber is NULL");
    }
    kw_client *client = enter(subscriber, error);
    if (client == NULL) {
        return kw_fork_has_happened(&subscriber->fork) ? KW_ERR_FORKED : KW_ERR_CANCELLED;
    }
    const kw_env *env = &client->topology->env;
    timeout_ms = timeout_ms > 0 ? timeout_ms : env->options.timeout_ms;
    uint64_t until_ns = kw_plan_deadline_ns(kw_env_now(env), timeout_ms);
    kw_err code =
        kw_subscriber_is_delivering(subscriber)
            ? kw_error_refuse(error, KW_ERR_REFUSED, "the call is in a callback of kw_process")
            : kw_receiver_wait(&subscriber->receiver, error, until_ns);
    leave(subscriber, client);
    return code;
}

kw_message *kw_subscriber_take(kw_subscriber *subscriber, kw_error *error, uint64_t timeout_ms)
{
    kw_message *message = NULL;
    if (subscriber == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "subscriber is NULL");
        return NULL;
    }
    if (subscriber->fn != NULL) {
        kw_error_refuse(error, KW_ERR_REFUSED, "kw_process hands this subscriber's messages out");
        return NULL;
    }
    kw_client *client = enter(subscriber, error);
    if (client != NULL) {
        (void)kw_receiver_take(&subscriber->receiver, &message, error, timeout_ms);
        leave(subscriber, client);
    }
    return message;
}
