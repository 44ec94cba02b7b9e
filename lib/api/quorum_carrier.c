/* SPDX-License-Identifier: BSD-3-Clause */
/* Who carries the calls of others, and how the exchange changes hands. */
#include "api/quorum_carrier.h"

#include "api/quorum_private.h"
#include "topology/topology_tend.h"

/* A caller waits so long at most to be taken along; then it has an exchange of its own. So it does
 * at once where the leader waits for so long, or mostly waits for half of it. */
#define QUEUE_NS (2 * KW_NS_PER_MS)

/* A caller with more requests, or longer ones, does not hold up others. */
#define REQUESTS_MAX 8u
#define LEN_MAX      ((size_t)64 * 1024)

/* A part of the difference by which a new wait changes what is usual. */
#define WAIT_PARTS 8u

static bool is_small(const kw_quorum_caller *caller)
{
    size_t len = 0;
    if (caller->group.calls_n > REQUESTS_MAX) {
        return false;
    }
    for (size_t i = 0; i < caller->group.calls_n; i++) {
        len += caller->requests[i].value_len;
    }
    return len <= LEN_MAX;
}

/* True where somebody carries, and will be back soon; or nobody does, and callers are many. Then
 * there is an exchange. */
static bool may_join(kw_quorum *self, uint64_t now_ns)
{
    kw_quorum_carrier *carrier = &self->carrier;
    if (kw_leader_is_led(&carrier->leader)) {
        bool is_stuck = carrier->waiting_ns != 0 && now_ns >= carrier->waiting_ns + QUEUE_NS;
        return !is_stuck && carrier->wait_ns < QUEUE_NS / 2;
    }
    if (carrier->exchange == NULL &&
        self->exchanges.callers_n >= self->client->topology->env.options.share_above) {
        carrier->exchange = kw_quorum_exchanges_take(&self->exchanges);
    }
    return carrier->exchange != NULL;
}

static void push(kw_quorum_carrier *carrier, kw_quorum_caller *caller)
{
    caller->state = KW_QUORUM_CALLER_QUEUED;
    caller->next = NULL;
    *(carrier->queue != NULL ? &carrier->last->next : &carrier->queue) = caller;
    carrier->last = caller;
}

static void take_out(kw_quorum_carrier *carrier, kw_quorum_caller *caller)
{
    kw_quorum_caller **link = &carrier->queue;
    kw_quorum_caller *before = NULL;
    for (; *link != caller; link = &(*link)->next) {
        before = *link;
    }
    *link = caller->next;
    if (carrier->last == caller) {
        carrier->last = before;
    }
    caller->state = KW_QUORUM_CALLER_NEW;
}

/* Begins what was queued, and goes on with all that is carried; those that have ended, of which
 * one is told after the other. */
static kw_quorum_caller *move_on(kw_quorum_exchange *exchange, kw_quorum_caller *taken)
{
    kw_quorum_caller *ended = NULL;
    while (taken != NULL) {
        kw_quorum_caller *next = taken->next;
        if (kw_quorum_caller_start(taken, exchange)) {
            kw_quorum_exchange_add(exchange, &taken->group);
        } else {
            kw_quorum_caller_end(taken, exchange);
            taken->next = ended;
            ended = taken;
        }
        taken = next;
    }
    kw_quorum_exchange_advance(exchange);
    kw_quorum_group *group;
    while ((group = kw_quorum_exchange_take_ended(exchange)) != NULL) {
        kw_quorum_caller *caller = (kw_quorum_caller *)(void *)group;
        kw_quorum_caller_end(caller, exchange);
        caller->next = ended;
        ended = caller;
    }
    return ended;
}

/* The monitor is held. */
static void wake_ended(kw_quorum *self, kw_wake_list *wakes, kw_quorum_caller *ended)
{
    kw_quorum_carrier *carrier = &self->carrier;
    while (ended != NULL) {
        kw_quorum_caller *next = ended->next;
        ended->state = KW_QUORUM_CALLER_ENDED;
        carrier->carried_n--;
        self->exchanges.callers_n--;
        kw_wait_queue_wake(&carrier->leader.followers, wakes, &self->exchanges.monitor,
                           &ended->sleeper, true);
        ended = next;
    }
}

static kw_quorum_caller *take_queue(kw_quorum_carrier *carrier)
{
    kw_quorum_caller *taken = carrier->queue;
    carrier->queue = NULL;
    for (kw_quorum_caller *caller = taken; caller != NULL; caller = caller->next) {
        caller->state = KW_QUORUM_CALLER_CARRIED;
        carrier->carried_n++;
    }
    return taken;
}

/* Carries until the caller's own calls have ended. */
static void carry_all(kw_quorum *self, kw_quorum_caller *me)
{
    kw_quorum_carrier *carrier = &self->carrier;
    kw_quorum_exchange *exchange = carrier->exchange;
    kw_wake_list wakes = {.n = 0};
    kw_quorum_caller *ended = NULL;
    kw_quorum_exchange_begin(exchange);
    uint64_t begin_ns = kw_quorum_exchange_now(exchange);
    bool waits = false;
    for (bool has_looked = false;; has_looked = true) { /* at what the last leader has left */
        uint64_t now_ns = kw_quorum_exchange_now(exchange);
        kw_monitor_lock(&self->exchanges.monitor);
        if (waits) {
            carrier->wait_ns += (now_ns - begin_ns) / WAIT_PARTS;
            carrier->wait_ns -= carrier->wait_ns / WAIT_PARTS;
        }
        wake_ended(self, &wakes, ended);
        bool is_over = me->state == KW_QUORUM_CALLER_ENDED;
        kw_quorum_caller *taken = is_over ? NULL : take_queue(carrier);
        waits = has_looked && !is_over && taken == NULL;
        carrier->waiting_ns = waits ? now_ns : 0;
        kw_monitor_unlock(&self->exchanges.monitor);
        kw_wake_list_send(&wakes, &self->exchanges.monitor);
        if (is_over) {
            return;
        }
        if (waits) {
            begin_ns = now_ns;
            kw_quorum_exchange_wait(exchange);
        }
        ended = move_on(exchange, taken);
    }
}

static void lead(kw_quorum *self, kw_quorum_caller *me)
{
    kw_quorum_carrier *carrier = &self->carrier;
    kw_wake_list wakes = {.n = 0};
    carry_all(self, me);
    kw_quorum_exchange_rest(carrier->exchange, me->group.deadline_ns);
    uint64_t now_ns = kw_quorum_exchange_now(carrier->exchange);
    kw_monitor_lock(&self->exchanges.monitor);
    if (carrier->carried_n == 0 && carrier->queue == NULL) {
        kw_quorum_exchanges_give(&self->exchanges, carrier->exchange);
        carrier->exchange = NULL;
    }
    kw_leader_leave(&carrier->leader);
    kw_leader_hand_on(&carrier->leader, &wakes, &self->exchanges.monitor);
    kw_monitor_unlock(&self->exchanges.monitor);
    kw_wake_list_send(&wakes, &self->exchanges.monitor);
    kw_topology_tend(self->client->topology, now_ns); /* may call the host: nobody waits for it */
}

/* Sleeps until it has ended, or may lead, or has waited for too long to be taken along. */
static void follow(kw_quorum *self, kw_quorum_caller *me, uint64_t now_ns, uint64_t until_ns)
{
    kw_quorum_carrier *carrier = &self->carrier;
    bool is_queued = me->state == KW_QUORUM_CALLER_QUEUED;
    if (is_queued && now_ns >= until_ns) {
        take_out(carrier, me);
        self->exchanges.callers_n--;
        return;
    }
    kw_leader_wait_as(&carrier->leader, &self->exchanges.monitor, &me->sleeper,
                      is_queued ? until_ns - now_ns : KW_SLICE_NS);
}

bool kw_quorum_carrier_carry(kw_quorum *self, kw_quorum_caller *me, kw_quorum_exchange **own,
                             uint64_t now_ns)
{
    kw_quorum_carrier *carrier = &self->carrier;
    uint64_t until_ns = kw_sooner(now_ns + QUEUE_NS, me->group.deadline_ns);
    kw_monitor_lock(&self->exchanges.monitor);
    if (is_small(me) && may_join(self, now_ns)) {
        self->exchanges.callers_n++;
        push(carrier, me);
    }
    while (me->state == KW_QUORUM_CALLER_QUEUED || me->state == KW_QUORUM_CALLER_CARRIED) {
        if (kw_leader_try(&carrier->leader)) {
            kw_monitor_unlock(&self->exchanges.monitor);
            lead(self, me);
            return true;
        }
        follow(self, me, now_ns, until_ns);
        now_ns = me->state == KW_QUORUM_CALLER_QUEUED ? kw_env_now(&self->client->topology->env)
                                                      : now_ns;
    }
    bool has_ended = me->state == KW_QUORUM_CALLER_ENDED;
    *own = has_ended ? NULL : kw_quorum_exchanges_take(&self->exchanges);
    self->exchanges.callers_n += *own != NULL ? 1 : 0;
    kw_monitor_unlock(&self->exchanges.monitor);
    return has_ended;
}
