/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers of a subscriber: who adds and removes topics, takes messages, waits, passes by. */
#include "drive/receiver_private.h"

#include "base/error.h"
#include "drive/plan.h"
#include "route/ring_positions.h"
#include "route/slot.h"

/* Somebody who takes messages looks at the sockets so often, although messages are there. */
#define LOOK_NS (5 * KW_NS_PER_MS)

kw_err kw_receiver_init(kw_receiver *self, kw_error *error, kw_topology *topology,
                        const kw_receiver_rule *rule)
{
    const kw_allocator *mem = &topology->env.mem;
    self->topology = topology;
    self->silence_ns = rule->silence_ns;
    self->doubt_ns = UINT64_MAX;
    if (kw_monitor_init(&self->monitor) != KW_OK) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a subscriber");
    }
    kw_err code = kw_poller_init(&self->poller, error, &topology->env);
    if (code != KW_OK) {
        kw_monitor_fini(&self->monitor);
        return code;
    }
    kw_leader_init(&self->leader);
    atomic_init(&self->is_closed, false);
    atomic_init(&self->is_draining, false);
    atomic_init(&self->due_ns, UINT64_MAX);
    self->failure.size = sizeof(self->failure);
    kw_subscriptions_init(&self->subs, mem, &rule->subscriptions);
    return KW_OK;
}

void kw_receiver_fini(kw_receiver *self, bool has_forked)
{
    uint64_t now_ns = kw_env_now(&self->topology->env);
    kw_poller *poller = has_forked ? NULL : &self->poller;
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        kw_subscriptions_on_lost(&self->subs, &link->stream, KW_GAP_CLOSED, now_ns);
        kw_push_link_drop(link, NULL, poller, now_ns);
        kw_push_link_free(link);
    }
    kw_mem_free(&self->topology->env.mem, self->links);
    kw_poller_fini(&self->poller, has_forked);
    kw_subscriptions_fini(&self->subs);
    kw_monitor_fini(&self->monitor);
}

/* Slot, or position on the ring. */
static uint64_t place_of(const kw_receiver *self, kw_bytes name)
{
    const kw_topology *topology = self->topology;
    return kw_topology_is_ring(topology) ? kw_ring_position_of(topology->placement, name)
                                         : kw_slot_of(name.data, name.len);
}

static bool is_closing(const kw_receiver *self)
{
    return atomic_load_explicit(&self->is_closed, memory_order_relaxed) ||
           atomic_load_explicit(&self->topology->env.is_closing, memory_order_relaxed);
}

static bool is_draining(const kw_receiver *self)
{
    return atomic_load_explicit(&self->is_draining, memory_order_relaxed);
}

/* Why a wait has ended without what it was for. */
static kw_err tell_end(kw_error *error, kw_err code)
{
    const char *text = "no memory to tell of messages that are missing";
    if (code == KW_ERR_CANCELLED) {
        text = "the subscriber was closed";
    } else if (code == KW_ERR_DRAINING) {
        text = "kw_drain was called";
    } else if (code == KW_ERR_TIMEOUT) {
        text = "no message came in time";
    }
    return kw_error_set(error, code, KW_EFFECT_NONE, "%s", text);
}

static size_t missing_topics(const kw_receiver *self)
{
    return self->subs.topics.topics_n - self->subs.topics.ready_n;
}

/* That topics are not subscribed, and why: a connection was lost or refused, or there is no map;
 * the monitor is not held. */
static kw_err tell_unready(kw_receiver *self, kw_error *error, const char *what, size_t missing_n)
{
    kw_error failure = kw_error_none();
    kw_monitor_lock(&self->monitor);
    kw_error_copy(&failure, &self->failure);
    kw_monitor_unlock(&self->monitor);
    if (failure.text[0] == '\0') {
        (void)kw_refresher_result(&self->topology->refresher, &failure);
    }
    bool is_one = missing_n == 1;
    kw_error_set(error, KW_ERR_TIMEOUT, KW_EFFECT_NONE, "%s%zu topic%s not subscribed yet%s%s",
                 what, missing_n, is_one ? " is" : "s are", failure.text[0] != '\0' ? ": " : "",
                 failure.text);
    kw_error_set_node(error, failure.node);
    return KW_ERR_TIMEOUT;
}

/* There is something to be done: whoever waits for sockets is to see it. */
static void call_leader(kw_receiver *self)
{
    atomic_store_explicit(&self->due_ns, 0, memory_order_relaxed);
    (void)kw_leader_call(&self->leader);
    kw_poller_wake(&self->poller);
}

kw_err kw_receiver_add(kw_receiver *self, kw_error *error, kw_topic_kind kind, kw_bytes name,
                       kw_topic_scope scope)
{
    kw_err code = KW_OK;
    /* On a ring each channel has its own node: what matches may be at any. */
    bool is_ring_pattern = kind == KW_TOPIC_PATTERN && kw_topology_is_ring(self->topology);
    bool is_one = scope == KW_TOPIC_AT_ONE;
    scope = is_one && is_ring_pattern ? KW_TOPIC_AT_PRIMARIES : scope;
    uint64_t place = place_of(self, name);
    kw_monitor_lock(&self->monitor);
    kw_topic *topic = kw_topics_find(&self->subs.topics, kind, name);
    bool is_new = topic == NULL;
    if (is_new) {
        topic = kw_topics_add(&self->subs.topics, kind, name, scope);
    }
    if (topic == NULL) {
        code = KW_ERR_NOMEM;
    } else if (topic->scope != scope) {
        code = KW_ERR_ARGUMENT;
    } else {
        topic->place = place;
    }
    kw_monitor_unlock(&self->monitor);
    if (code == KW_OK && is_new) {
        call_leader(self);
    }
    return code == KW_OK
               ? KW_OK
               : kw_error_set(
                     error, code, KW_EFFECT_NONE, "%s",
                     code == KW_ERR_NOMEM
                         ? "no memory for a subscription"
                         : "the pattern is subscribed at other nodes: unsubscribe it first");
}

void kw_receiver_remove(kw_receiver *self, kw_topic_kind kind, kw_bytes name)
{
    kw_monitor_lock(&self->monitor);
    kw_topic *topic = kw_topics_find(&self->subs.topics, kind, name);
    if (topic != NULL) {
        kw_topics_remove(&self->subs.topics, topic);
    }
    kw_monitor_unlock(&self->monitor);
    if (topic != NULL) {
        call_leader(self);
    }
}

/* Lets another one lead, or look; the monitor is held, and left. */
static void hand_on(kw_receiver *self)
{
    if (self->leader.followers.first == NULL) {
        kw_monitor_unlock(&self->monitor);
        return;
    }
    kw_wake_list wakes = {.n = 0};
    kw_leader_hand_on(&self->leader, &wakes, &self->monitor);
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
}

/* The next message; the monitor is held. */
static kw_message *pop(kw_receiver *self)
{
    bool had_room = kw_message_queue_has_room(&self->subs.queue);
    kw_message *message = kw_message_queue_pop(&self->subs.queue);
    if (!had_room && kw_leader_is_led(&self->leader) &&
        kw_message_queue_has_room(&self->subs.queue)) {
        call_leader(self); /* it reads on */
    }
    return message;
}

/* Works, or sleeps while another one does; the monitor is held before and after. is_taker:
 * has_message follows. */
static void work_or_sleep(kw_receiver *self, uint64_t until_ns, uint64_t now_ns, bool is_taker)
{
    if (!kw_leader_try(&self->leader)) {
        kw_leader_wait(&self->leader, &self->monitor, until_ns - now_ns);
        return;
    }
    kw_monitor_unlock(&self->monitor);
    kw_receiver_work(self, until_ns, is_taker);
    kw_monitor_lock(&self->monitor);
    kw_leader_leave(&self->leader);
}

/* One look at the sockets without waiting, where nobody else is at it; the monitor is held before
 * and after. is_taker: has_message follows. */
static void look(kw_receiver *self, uint64_t now_ns, bool is_taker)
{
    if (kw_leader_try(&self->leader)) {
        kw_monitor_unlock(&self->monitor);
        kw_receiver_work(self, now_ns, is_taker);
        kw_monitor_lock(&self->monitor);
        kw_leader_leave(&self->leader);
    }
}

/* Whether a message is there; what was received is read where it is needed. The monitor is held. */
static bool has_message(kw_receiver *self)
{
    bool is_empty = kw_message_queue_is_empty(&self->subs.queue);
    if (is_empty && self->has_kept && kw_leader_try(&self->leader)) {
        kw_receiver_read_few(self);
        kw_leader_leave(&self->leader);
        is_empty = kw_message_queue_is_empty(&self->subs.queue);
    }
    return !is_empty;
}

/* Whether the wait is over, with what; the monitor is held. */
static bool is_over(kw_receiver *self, kw_message **message, kw_err *code)
{
    *code = KW_OK;
    if (is_closing(self)) {
        *code = KW_ERR_CANCELLED;
        return true;
    }
    if (!has_message(self)) {
        bool is_last = is_draining(self) && !self->has_kept;
        *code = is_last ? KW_ERR_DRAINING : KW_OK;
        return *code != KW_OK;
    }
    *message = pop(self);
    *code = *message != NULL ? KW_OK : KW_ERR_NOMEM;
    return true;
}

/* Who finds messages at once looks at the sockets all the same, now and then: a slow taker's queue
 * is kept full, or overflows. The monitor is held. */
static void look_beside(kw_receiver *self)
{
    bool is_waiting = self->has_kept || !kw_message_queue_is_empty(&self->subs.queue);
    uint64_t now_ns = is_waiting ? kw_clock_roughly(&self->topology->env.clock) : 0;
    if (is_waiting && now_ns >= self->look_ns) {
        self->look_ns = now_ns + LOOK_NS;
        look(self, now_ns, false);
    }
}

kw_err kw_receiver_take(kw_receiver *self, kw_message **message, kw_error *error,
                        uint64_t timeout_ms)
{
    kw_err code;
    uint64_t until_ns = 0; /* it is not known before it is needed */
    kw_monitor_lock(&self->monitor);
    look_beside(self);
    while (!is_over(self, message, &code)) {
        uint64_t now_ns = kw_env_now(&self->topology->env);
        bool has_looked = until_ns > 0;
        until_ns = has_looked ? until_ns : kw_plan_deadline_ns(now_ns, timeout_ms);
        if (now_ns >= until_ns && has_looked) {
            code = KW_ERR_TIMEOUT;
            break;
        }
        if (now_ns >= until_ns) {
            look(self, now_ns, true);
        } else {
            work_or_sleep(self, until_ns, now_ns, true);
            self->look_ns = now_ns + LOOK_NS;
        }
    }
    size_t missing_n = missing_topics(self);
    hand_on(self);
    if (code == KW_ERR_TIMEOUT && missing_n > 0 && error != NULL) {
        return tell_unready(self, error, "no message came in time: ", missing_n);
    }
    return code == KW_OK ? KW_OK : tell_end(error, code);
}

kw_err kw_receiver_wait(kw_receiver *self, kw_error *error, uint64_t until_ns)
{
    kw_err code = KW_OK;
    kw_monitor_lock(&self->monitor);
    kw_subscriptions *subs = &self->subs;
    while (subs->topics.ready_n < subs->topics.topics_n || subs->topics.todo != NULL) {
        uint64_t now_ns = kw_env_now(&self->topology->env);
        if (is_closing(self) || is_draining(self) || now_ns >= until_ns ||
            subs->refusals_n > self->refusals_told_n) {
            break;
        }
        work_or_sleep(self, until_ns, now_ns, false);
    }
    size_t missing_n = missing_topics(self);
    bool is_refused = subs->refusals_n > self->refusals_told_n;
    if (is_closing(self) || is_draining(self)) {
        code = is_closing(self) ? KW_ERR_CANCELLED : KW_ERR_DRAINING;
    } else if (is_refused) {
        self->refusals_told_n = subs->refusals_n;
        code = kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE, "the server refuses %s",
                            subs->refusal);
    } else if (missing_n > 0) {
        code = KW_ERR_TIMEOUT;
    }
    hand_on(self);
    if (code == KW_ERR_CANCELLED || code == KW_ERR_DRAINING) {
        return tell_end(error, code);
    }
    return code == KW_ERR_TIMEOUT ? tell_unready(self, error, "", missing_n) : code;
}

void kw_receiver_look(kw_receiver *self)
{
    kw_monitor_lock(&self->monitor);
    look(self, kw_env_now(&self->topology->env), false);
    hand_on(self);
}

void kw_receiver_look_for_taker(kw_receiver *self)
{
    kw_monitor_lock(&self->monitor);
    /* Who is behind with taking has the queue filled, as far as there is room. */
    bool is_behind = self->has_kept || !kw_message_queue_is_empty(&self->subs.queue);
    look(self, kw_env_now(&self->topology->env), !is_behind);
    hand_on(self);
}

kw_message *kw_receiver_pop(kw_receiver *self)
{
    kw_monitor_lock(&self->monitor);
    kw_message *message = has_message(self) ? pop(self) : NULL;
    if (message == NULL && !kw_message_queue_is_empty(&self->subs.queue)) {
        atomic_store_explicit(&self->due_ns, 0, memory_order_relaxed); /* no memory for a gap */
    }
    kw_monitor_unlock(&self->monitor);
    return message;
}

void kw_receiver_wake_all(kw_receiver *self)
{
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&self->monitor);
    kw_leader_wake_all(&self->leader, &wakes, &self->monitor);
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
    call_leader(self);
}
