/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/desk.h"

#include "drive/loop.h"
#include "base/error.h"

#include <string.h>

/* A caller of something else looks at the tickets at most this often. */
#define TEND_NS (1 * KW_NS_PER_MS)

/* No wait is longer, so that a closed handle is noticed. */
#define SLICE_MS 50

kw_err kw_desk_init(kw_desk *desk)
{
    desk->is_worked = false;
    memset(&desk->seats, 0, sizeof(desk->seats));
    atomic_init(&desk->open_n, 0);
    atomic_init(&desk->tend_ns, 0);
    return kw_gate_init(&desk->gate);
}

void kw_desk_fini(kw_desk *desk)
{
    kw_gate_fini(&desk->gate);
}

/* Wakes who has slept longest, to take the work on. The gate is held. */
static void wake_first(kw_desk *desk, kw_wakes *wakes)
{
    if (desk->seats.first != NULL) {
        kw_parks_wake(&desk->seats, wakes, &desk->gate, desk->seats.first, false);
    }
}

static bool has_ended(const kw_ticket *ticket)
{
    return atomic_load_explicit(&ticket->has_ended, memory_order_acquire);
}

void kw_desk_end(kw_ticket *ticket, kw_reply *reply, const kw_error *error)
{
    kw_desk *desk = &ticket->client->desk;
    kw_wakes wakes = {.n = 0};
    kw_gate_lock(&desk->gate);
    atomic_fetch_sub_explicit(&desk->open_n, 1, memory_order_relaxed);
    atomic_store_explicit(&ticket->reply, reply, memory_order_relaxed);
    if (reply == NULL) {
        ticket->failure = *error;
    }
    for (kw_park *park = desk->seats.first, *next; park != NULL; park = next) {
        next = park->next;
        if (((const kw_desk_seat *)park)->ticket == ticket) {
            kw_parks_wake(&desk->seats, &wakes, &desk->gate, park, true);
        }
    }
    bool is_abandoned = ticket->is_abandoned;
    if (!is_abandoned) {
        atomic_store_explicit(&ticket->has_ended, true, memory_order_release);
    }
    kw_gate_unlock(&desk->gate);
    kw_wakes_send(&wakes, &desk->gate);
    if (is_abandoned) {
        kw_allocator mem = ticket->mem;
        kw_reply_free(reply);
        kw_mem_free(&mem, ticket);
    }
}

/* Takes the work where nobody does it. */
static bool take_work(kw_desk *desk)
{
    kw_gate_lock(&desk->gate);
    bool is_mine = !desk->is_worked;
    desk->is_worked = true;
    kw_gate_unlock(&desk->gate);
    return is_mine;
}

/* Gives the work back; somebody who sleeps takes it on. The gate is held. */
static void leave_work(kw_desk *desk, kw_wakes *wakes)
{
    desk->is_worked = false;
    wake_first(desk, wakes);
}

/* Waits for the sockets at most until until_ns, then does what is to be done. The work is the
 * caller's. */
static void work(kw_client *client, kw_loop *loop, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd entry = {loop->poller.fd, POLLIN, 0};
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, SLICE_MS);
    int timeout_ms = kw_loop_timeout(loop);
    wait_ms = timeout_ms >= 0 && timeout_ms < wait_ms ? timeout_ms : wait_ms;
    if (wait_ms > 0) {
        (void)client->env.transport->poll_fn(client->env.transport->arg, &entry, 1, wait_ms);
    }
    (void)kw_loop_process(loop, NULL);
}

/* Stops working, unless there is mail that whoever brought it left to this thread. */
static void stop_work(kw_client *client, kw_loop *loop)
{
    kw_desk *desk = &client->desk;
    kw_wakes wakes = {.n = 0};
    kw_gate_lock(&desk->gate);
    while (kw_loop_has_mail(loop)) {
        kw_gate_unlock(&desk->gate);
        (void)kw_loop_process(loop, NULL);
        kw_gate_lock(&desk->gate);
    }
    leave_work(desk, &wakes);
    kw_gate_unlock(&desk->gate);
    kw_wakes_send(&wakes, &desk->gate);
}

static bool is_closing(const kw_client *client)
{
    return atomic_load_explicit(&client->env.is_closing, memory_order_relaxed);
}

/* True while a part of the command waits for its connection. */
static bool is_queued(kw_async *async)
{
    size_t n;
    const kw_item *items = kw_async_items(async, &n);
    for (size_t i = 0; i < n; i++) {
        if (items[i].state == KW_ITEM_QUEUED) {
            return true;
        }
    }
    return false;
}

void kw_desk_submit(kw_client *client, kw_ticket *ticket, kw_async *async, uint64_t deadline_ns)
{
    kw_desk *desk = &client->desk;
    kw_loop *loop = kw_loop_at(&desk->loop);
    atomic_fetch_add_explicit(&desk->open_n, 1, memory_order_relaxed);
    bool is_mine = take_work(desk);
    kw_loop_submit(loop, async, !is_mine);
    if (!is_mine && !take_work(desk)) {
        return; /* whoever works has seen it, or looks once more */
    }
    (void)kw_loop_process(loop, NULL);
    uint64_t now_ns = kw_env_now(&client->env);
    while (!has_ended(ticket) && is_queued(async) && now_ns < deadline_ns && !is_closing(client)) {
        work(client, loop, now_ns, deadline_ns);
        now_ns = kw_env_now(&client->env);
    }
    stop_work(client, loop);
}

/* One turn: works, or sleeps while somebody else does. */
static void wait_turn(kw_client *client, kw_desk_seat *seat, uint64_t now_ns, uint64_t until_ns)
{
    kw_desk *desk = &client->desk;
    kw_gate_lock(&desk->gate);
    if (has_ended(seat->ticket)) {
        kw_gate_unlock(&desk->gate);
        return;
    }
    if (!desk->is_worked) {
        desk->is_worked = true;
        kw_gate_unlock(&desk->gate);
        kw_loop *loop = kw_loop_at(&desk->loop);
        while (!has_ended(seat->ticket) && now_ns < until_ns && !is_closing(client)) {
            work(client, loop, now_ns, until_ns);
            now_ns = kw_env_now(&client->env);
        }
        stop_work(client, loop);
        return;
    }
    kw_parks_add(&desk->seats, &seat->park);
    kw_gate_unlock(&desk->gate);
    (void)kw_park_wait(&seat->park, &desk->gate, until_ns - now_ns);
    kw_wakes wakes = {.n = 0};
    kw_gate_lock(&desk->gate);
    kw_parks_remove(&desk->seats, &seat->park);
    bool is_over =
        has_ended(seat->ticket) || is_closing(client) || kw_env_now(&client->env) >= until_ns;
    if (is_over && !desk->is_worked) {
        wake_first(desk, &wakes); /* the work was offered to this thread */
    }
    kw_gate_unlock(&desk->gate);
    kw_wakes_send(&wakes, &desk->gate);
}

kw_err kw_desk_wait(kw_client *client, const kw_ticket *ticket, uint64_t until_ns)
{
    kw_desk_seat seat = {.ticket = ticket};
    uint64_t now_ns = kw_env_now(&client->env);
    while (!has_ended(ticket)) {
        if (is_closing(client)) {
            return KW_ERR_CANCELLED;
        }
        if (now_ns >= until_ns) {
            return KW_ERR_TIMEOUT;
        }
        wait_turn(client, &seat, now_ns, until_ns);
        now_ns = kw_env_now(&client->env);
    }
    return KW_OK;
}

void kw_desk_look(kw_client *client)
{
    kw_loop *loop = kw_loop_at(&client->desk.loop);
    if (loop != NULL && take_work(&client->desk)) {
        (void)kw_loop_process(loop, NULL);
        stop_work(client, loop);
    }
}

bool kw_desk_abandon(kw_ticket *ticket)
{
    kw_desk *desk = &ticket->client->desk;
    kw_gate_lock(&desk->gate);
    bool is_open = !has_ended(ticket);
    ticket->is_abandoned = is_open;
    kw_gate_unlock(&desk->gate);
    return is_open;
}

void kw_desk_tend(kw_client *client, uint64_t now_ns)
{
    kw_desk *desk = &client->desk;
    if (atomic_load_explicit(&desk->open_n, memory_order_relaxed) == 0) {
        return;
    }
    uint64_t due_ns = atomic_load_explicit(&desk->tend_ns, memory_order_relaxed);
    if (now_ns < due_ns ||
        !atomic_compare_exchange_strong(&desk->tend_ns, &due_ns, now_ns + TEND_NS)) {
        return;
    }
    kw_desk_look(client);
}

void kw_desk_wake_all(kw_desk *desk)
{
    kw_wakes wakes = {.n = 0};
    kw_gate_lock(&desk->gate);
    while (desk->seats.first != NULL) {
        wake_first(desk, &wakes);
    }
    kw_gate_unlock(&desk->gate);
    kw_wakes_send(&wakes, &desk->gate);
}
