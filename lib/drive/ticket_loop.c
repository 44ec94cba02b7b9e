/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that wait for tickets: one works for all, the others sleep until theirs has ended. */
#include "drive/ticket_loop.h"

#include "drive/loop.h"
#include "base/error.h"

#include <string.h>

/* A caller of something else looks at the tickets at most this often. */
#define TEND_NS (1 * KW_NS_PER_MS)

static bool is_for(const kw_ticket_waiter *waiter, const kw_ticket *ticket)
{
    size_t i = 0;
    while (i < waiter->tickets_n && waiter->tickets[i] != ticket) {
        i++;
    }
    return i < waiter->tickets_n;
}

/* True where one of those that are waited for has ended. */
static bool has_ended(const kw_ticket_waiter *waiter)
{
    size_t i = 0;
    while (i < waiter->tickets_n && !kw_ticket_has_ended(waiter->tickets[i])) {
        i++;
    }
    return i < waiter->tickets_n;
}

void kw_ticket_loop_end(kw_ticket *ticket, kw_reply *reply, const kw_error *error)
{
    kw_ticket_loop *ticket_loop = ticket->ticket_loop;
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&ticket_loop->monitor);
    atomic_fetch_sub_explicit(&ticket_loop->open_n, 1, memory_order_relaxed);
    atomic_store_explicit(&ticket->reply, reply, memory_order_relaxed);
    if (reply == NULL) {
        ticket->failure = *error;
    }
    for (kw_sleeper *sleeper = ticket_loop->worker.followers.first, *next; sleeper != NULL;
         sleeper = next) {
        next = sleeper->next;
        if (is_for((const kw_ticket_waiter *)sleeper, ticket)) {
            kw_wait_queue_wake(&ticket_loop->worker.followers, &wakes, &ticket_loop->monitor,
                               sleeper, true);
        }
    }
    bool is_abandoned = atomic_exchange_explicit(&ticket->state, KW_TICKET_ENDED,
                                                 memory_order_acq_rel) == KW_TICKET_ABANDONED;
    kw_monitor_unlock(&ticket_loop->monitor);
    kw_wake_list_send(&wakes, &ticket_loop->monitor);
    if (is_abandoned) {
        kw_allocator mem = ticket->mem;
        kw_reply_free(reply);
        kw_mem_free(&mem, ticket);
    }
}

/* Waits for the sockets at most until until_ns, then does what is to be done. The work is the
 * caller's. */
static void work(const kw_topology *topology, kw_loop *loop, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd entry = {loop->poller.fd, POLLIN, 0};
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, KW_SLICE_MS);
    int timeout_ms = kw_loop_timeout(loop);
    wait_ms = timeout_ms >= 0 && timeout_ms < wait_ms ? timeout_ms : wait_ms;
    if (wait_ms > 0) {
        (void)topology->env.transport->poll_fn(topology->env.transport->arg, &entry, 1, wait_ms);
    }
    (void)kw_loop_process(loop, NULL);
}

/* Stops working. There may be mail that whoever brought it has left to this thread: it goes on
 * until there is none, or until somebody else is here to take the work on, which the next one to
 * bring mail is. */
static void stop_work(kw_ticket_loop *ticket_loop, kw_loop *loop)
{
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&ticket_loop->monitor);
    ticket_loop->is_leaving = true;
    while (ticket_loop->worker.followers.first == NULL && kw_loop_has_mail(loop)) {
        kw_monitor_unlock(&ticket_loop->monitor);
        (void)kw_loop_process(loop, NULL);
        kw_monitor_lock(&ticket_loop->monitor);
    }
    ticket_loop->is_leaving = false;
    kw_leader_leave(&ticket_loop->worker);
    kw_leader_hand_on(&ticket_loop->worker, &wakes, &ticket_loop->monitor);
    kw_monitor_unlock(&ticket_loop->monitor);
    kw_wake_list_send(&wakes, &ticket_loop->monitor);
}

static bool is_closing(const kw_ticket_loop *ticket_loop)
{
    return atomic_load_explicit(&ticket_loop->is_closing, memory_order_relaxed);
}

/* True while a part of the command waits for its connection. */
static bool is_queued(kw_async_command *command)
{
    size_t n;
    const kw_item *items = kw_async_command_items(command, &n);
    for (size_t i = 0; i < n; i++) {
        bool is_on_its_way =
            items[i].state == KW_ITEM_NEW || items[i].state == KW_ITEM_ROUTING ||
            (items[i].state == KW_ITEM_QUEUED && items[i].channel->failure == KW_OK);
        if (is_on_its_way) {
            return true;
        }
    }
    return false;
}

/* Sleeps until the work is offered, or the ticket has ended; the monitor is held. */
static void sleep_until(kw_ticket_loop *ticket_loop, kw_ticket_waiter *waiter, uint64_t wait_ns)
{
    kw_leader_wait_as(&ticket_loop->worker, &ticket_loop->monitor, &waiter->sleeper, wait_ns);
}

/* Takes the work, for the mail that was brought, where nobody does it, or who does it wants to
 * leave. False: whoever works sees the mail. */
static bool take_work_on(kw_ticket_loop *ticket_loop, kw_ticket *ticket, uint64_t deadline_ns)
{
    kw_ticket_waiter waiter = {.tickets = &ticket, .tickets_n = 1};
    kw_monitor_lock(&ticket_loop->monitor);
    uint64_t now_ns = 0;
    if (kw_leader_is_led(&ticket_loop->worker) && ticket_loop->is_leaving &&
        !kw_ticket_has_ended(ticket) &&
        (now_ns = kw_env_now(&ticket_loop->topology->env)) < deadline_ns) {
        sleep_until(ticket_loop, &waiter, deadline_ns - now_ns);
    }
    kw_monitor_unlock(&ticket_loop->monitor);
    return kw_leader_try(&ticket_loop->worker);
}

void kw_ticket_loop_submit(kw_ticket *ticket, kw_async_command *command, uint64_t deadline_ns)
{
    kw_ticket_loop *ticket_loop = ticket->ticket_loop;
    kw_topology *topology = ticket_loop->topology;
    kw_loop *loop = kw_loop_at(&ticket_loop->loop);
    atomic_fetch_add_explicit(&ticket_loop->open_n, 1, memory_order_relaxed);
    kw_failure_watch_help(topology, deadline_ns);
    bool is_mine = kw_leader_try(&ticket_loop->worker);
    kw_loop_submit(loop, command, !is_mine);
    if (!is_mine && !take_work_on(ticket_loop, ticket, deadline_ns)) {
        return; /* whoever works has seen it, or looks once more */
    }
    kw_loop_hasten(loop);
    uint64_t now_ns;
    while (!kw_ticket_has_ended(ticket) && is_queued(command) && !is_closing(ticket_loop) &&
           (now_ns = kw_env_now(&topology->env)) < deadline_ns) {
        work(topology, loop, now_ns, deadline_ns);
    }
    stop_work(ticket_loop, loop);
}

/* Works, or sleeps while somebody else does. */
static void work_or_sleep(kw_ticket_loop *ticket_loop, kw_ticket_waiter *waiter, uint64_t now_ns,
                          uint64_t until_ns)
{
    const kw_topology *topology = ticket_loop->topology;
    kw_monitor_lock(&ticket_loop->monitor);
    if (has_ended(waiter)) {
        kw_monitor_unlock(&ticket_loop->monitor);
        return;
    }
    if (kw_leader_try(&ticket_loop->worker)) {
        kw_monitor_unlock(&ticket_loop->monitor);
        kw_loop *loop = kw_loop_at(&ticket_loop->loop);
        while (!has_ended(waiter) && now_ns < until_ns && !is_closing(ticket_loop)) {
            work(topology, loop, now_ns, until_ns);
            now_ns = kw_env_now(&topology->env);
        }
        stop_work(ticket_loop, loop);
        return;
    }
    kw_wake_list wakes = {.n = 0};
    sleep_until(ticket_loop, waiter, until_ns - now_ns);
    bool is_over =
        has_ended(waiter) || is_closing(ticket_loop) || kw_env_now(&topology->env) >= until_ns;
    if (is_over && !kw_leader_is_led(&ticket_loop->worker)) {
        kw_leader_hand_on(&ticket_loop->worker, &wakes,
                          &ticket_loop->monitor); /* the work was offered to this thread */
    }
    kw_monitor_unlock(&ticket_loop->monitor);
    kw_wake_list_send(&wakes, &ticket_loop->monitor);
}

kw_err kw_ticket_loop_wait(kw_ticket_loop *ticket_loop, kw_ticket *const *tickets, size_t tickets_n,
                           uint64_t until_ns)
{
    const kw_topology *topology = ticket_loop->topology;
    kw_ticket_waiter waiter = {.tickets = tickets, .tickets_n = tickets_n};
    uint64_t now_ns = kw_env_now(&topology->env);
    while (!has_ended(&waiter)) {
        if (is_closing(ticket_loop)) {
            return KW_ERR_CANCELLED;
        }
        if (now_ns >= until_ns) {
            return KW_ERR_TIMEOUT;
        }
        work_or_sleep(ticket_loop, &waiter, now_ns, until_ns);
        now_ns = kw_env_now(&topology->env);
    }
    return KW_OK;
}

void kw_ticket_loop_look(kw_ticket_loop *ticket_loop)
{
    kw_loop *loop = kw_loop_at(&ticket_loop->loop);
    if (loop != NULL && kw_leader_try(&ticket_loop->worker)) {
        (void)kw_loop_process(loop, NULL);
        stop_work(ticket_loop, loop);
    }
}

bool kw_ticket_loop_abandon(kw_ticket *ticket)
{
    return atomic_exchange_explicit(&ticket->state, KW_TICKET_ABANDONED, memory_order_acq_rel) ==
           KW_TICKET_OPEN;
}

void kw_ticket_loop_tend(kw_ticket_loop *ticket_loop)
{
    if (atomic_load_explicit(&ticket_loop->open_n, memory_order_relaxed) == 0) {
        return;
    }
    uint64_t now_ns = kw_env_now(&ticket_loop->topology->env);
    uint64_t due_ns = atomic_load_explicit(&ticket_loop->tend_ns, memory_order_relaxed);
    if (now_ns < due_ns ||
        !atomic_compare_exchange_strong(&ticket_loop->tend_ns, &due_ns, now_ns + TEND_NS)) {
        return;
    }
    kw_ticket_loop_look(ticket_loop);
}

void kw_ticket_loop_wake_all(kw_ticket_loop *ticket_loop)
{
    kw_wake_list wakes = {.n = 0};
    kw_monitor_lock(&ticket_loop->monitor);
    kw_leader_wake_all(&ticket_loop->worker, &wakes, &ticket_loop->monitor);
    kw_monitor_unlock(&ticket_loop->monitor);
    kw_wake_list_send(&wakes, &ticket_loop->monitor);
}
