/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands driven through the engine's machines against the simulated cluster. */
#include "support/sim_client.h"

#include <stdio.h>
#include <string.h>

#define DIAL_LIMIT_NS (100 * KW_SIM_MS)
#define ASK_LIMIT_NS  (300 * KW_SIM_MS)
#define HELD_NS       (10 * KW_SIM_MS)

static void advance(kw_sim_client *client, kw_sim_op *op, kw_step step);

static void blame(kw_sim_client *client, bool is_broken, const char *rule)
{
    if (is_broken && client->fault == NULL) {
        client->fault = rule;
    }
}

static uint64_t now_of(const kw_sim_client *client)
{
    return client->sim->queue.now_ns;
}

/* Pushes an event after the time that a message takes, or after pause_ns. */
static void push(kw_sim_client *client, uint64_t pause_ns, kw_sim_event event)
{
    if (pause_ns == 0) {
        pause_ns = kw_sim_between(client->sim, KW_SIM_MS / 10, 2 * KW_SIM_MS);
    }
    kw_sim_push(&client->sim->queue, now_of(client) + pause_ns, event);
}

static unsigned index_of(const kw_sim_client *client, const kw_sim_op *op)
{
    return (unsigned)(op - client->ops);
}

void kw_sim_client_init(kw_sim_client *client, kw_sim *sim, kw_sim_mistake mistake)
{
    memset(client, 0, sizeof(*client));
    client->sim = sim;
    client->mistake = mistake;
    kw_refresh_init(&client->refresh, 1000 * KW_SIM_MS, now_of(client),
                    kw_random_next(&sim->random));
    for (unsigned node = 0; node < KW_SIM_NODES; node++) {
        kw_health_init(&client->healths[node]);
    }
    memset(client->view, KW_SIM_NOBODY, sizeof(client->view));
}

void kw_sim_client_plan(kw_sim_client *client, unsigned index, uint64_t begin_ns,
                        const kw_op_spec *spec)
{
    client->ops[index].spec = *spec;
    client->ops[index].begin_ns = begin_ns;
    kw_sim_event event = {.kind = KW_SIM_BEGIN, .a = index};
    kw_sim_push(&client->sim->queue, begin_ns, event);
    event.kind = KW_SIM_DEADLINE;
    kw_sim_push(&client->sim->queue, spec->deadline_ns, event);
}

/* The map */

static void plan_fetch(kw_sim_client *client)
{
    uint64_t due_ns = kw_refresh_due_ns(&client->refresh);
    bool is_running = client->refresh.started_n != client->refresh.ended_n;
    if (client->mistake == KW_SIM_FETCHES_AT_ONCE && client->refresh.is_wanted && !is_running) {
        due_ns = 0;
    }
    if (due_ns != UINT64_MAX) {
        kw_sim_push(&client->sim->queue, due_ns, (kw_sim_event){.kind = KW_SIM_FETCH});
    }
}

static uint64_t want_fetch(kw_sim_client *client)
{
    uint64_t number = kw_refresh_want(&client->refresh);
    plan_fetch(client);
    return number;
}

static void wake_sleepers(kw_sim_client *client)
{
    for (unsigned i = 0; i < KW_SIM_OPS; i++) {
        kw_sim_op *op = &client->ops[i];
        if (op->phase == KW_SIM_SLEEPING && op->step.wakes_on_map) {
            push(client, 1, (kw_sim_event){.kind = KW_SIM_WAKE, .a = i, .b = op->turn_n});
        }
    }
}

static void on_fetch_due(kw_sim_client *client)
{
    uint64_t now_ns = now_of(client);
    bool is_early = kw_refresh_due_ns(&client->refresh) > now_ns;
    bool is_running = client->refresh.started_n != client->refresh.ended_n;
    if (is_running ||
        (is_early && !(client->mistake == KW_SIM_FETCHES_AT_ONCE && client->refresh.is_wanted))) {
        return;
    }
    blame(client, client->fetches_n > 0 && now_ns - client->fetched_ns < KW_REFRESH_FLOOR_NS,
          "two fetches within the floor");
    client->fetched_ns = now_ns;
    client->fetches_n++;
    for (unsigned node = 0; node < KW_SIM_NODES; node++) {
        client->order[node].node = node;
        client->order[node].is_seed = node == 0;
        client->order[node].is_suspect = client->healths[node].is_failing;
    }
    kw_refresh_order(client->order, KW_SIM_NODES, &client->refresh.random);
    kw_refresh_on_start(&client->refresh, now_ns);
    push(client, 0, (kw_sim_event){.kind = KW_SIM_ASKED, .a = 0});
}

static void end_fetch(kw_sim_client *client, kw_err code, const uint8_t *view)
{
    bool has_news = view != NULL && memcmp(view, client->view, sizeof(client->view)) != 0;
    client->has_map = client->has_map || view != NULL;
    if (has_news) {
        memcpy(client->view, view, sizeof(client->view));
    }
    kw_refresh_on_end(&client->refresh, now_of(client), view != NULL, has_news);
    for (unsigned i = 0; i < KW_SIM_OPS; i++) {
        kw_sim_op *op = &client->ops[i];
        if (op->phase == KW_SIM_FETCHING && op->fetch_n <= client->refresh.ended_n) {
            advance(client, op, kw_op_on_refreshed(&op->op, now_of(client), code));
        }
    }
    if (has_news) {
        wake_sleepers(client);
    }
    plan_fetch(client);
}

static void on_asked(kw_sim_client *client, unsigned place)
{
    if (place == KW_SIM_NODES) {
        end_fetch(client, KW_ERR_TOPOLOGY, NULL);
        return;
    }
    const kw_sim_node *node = &client->sim->nodes[client->order[place].node];
    if (node->state != KW_SIM_UP || now_of(client) < node->loading_ns) {
        uint64_t pause_ns = node->state == KW_SIM_HUNG ? ASK_LIMIT_NS : 0;
        push(client, pause_ns, (kw_sim_event){.kind = KW_SIM_ASKED, .a = place + 1});
        return;
    }
    uint8_t view[KW_SIM_SLOTS];
    memcpy(view, node->view, sizeof(view));
    if (kw_sim_chance(client->sim, 16)) {
        view[kw_sim_between(client->sim, 0, KW_SIM_SLOTS - 1)] = KW_SIM_NOBODY;
    }
    end_fetch(client, KW_OK, view);
}

/* Connections and sends */

static void break_op(kw_sim_client *client, kw_sim_op *op, kw_err code, bool has_left)
{
    has_left = has_left && client->mistake != KW_SIM_DENIES_SENDING;
    kw_try_end end = {code, true, true, has_left, 0};
    advance(client, op, kw_op_on_failed(&op->op, now_of(client), &end));
}

/* The command is about to leave; false where that breaks a rule. */
static bool count_send(kw_sim_client *client, kw_sim_op *op)
{
    kw_op_on_send(&op->op);
    blame(client, op->sends_n == KW_OP_SENDS_MAX, "sent too often");
    blame(client, op->redirects_n > op->spec.redirects_max, "redirected too often");
    op->sends_n++;
    return client->fault == NULL;
}

static void put_packet(kw_sim_client *client, kw_sim_op *op, unsigned node, unsigned generation)
{
    kw_sim_packet packet = {node, generation, op->step.is_asking, {KW_VERDICT_FINAL, 0}};
    op->packets[op->sends_n - 1] = packet;
    kw_sim_event event = {.kind = KW_SIM_ARRIVES, .a = index_of(client, op), .b = op->sends_n};
    push(client, 0, event);
}

/* Puts the command on a connection of that generation. */
static void send_on(kw_sim_client *client, kw_sim_op *op, unsigned node, unsigned generation)
{
    if (!count_send(client, op)) {
        return;
    }
    if (kw_sim_chance(client->sim, 48)) {
        break_op(client, op, KW_ERR_CLOSED, false);
        return;
    }
    op->phase = KW_SIM_IN_FLIGHT;
    put_packet(client, op, node, generation);
}

static void send_to(kw_sim_client *client, kw_sim_op *op, unsigned node)
{
    kw_health *health = &client->healths[node];
    bool is_stale = client->generation[node] != client->sim->nodes[node].generation;
    if (is_stale && !kw_sim_chance(client->sim, 3)) {
        client->idle_n[node] = 0; /* seen before it is used; now and then too late */
    }
    if (client->idle_n[node] > 0) {
        client->idle_n[node]--;
        send_on(client, op, node, client->generation[node]);
        return;
    }
    if (!kw_health_may_dial(health, now_of(client)) && client->mistake != KW_SIM_DIALS_AT_ONCE) {
        kw_err code = health->is_failing ? KW_ERR_CONNECT : KW_ERR_POOL_FULL;
        kw_try_end end = {code, false, false, false, health->retry_ns};
        advance(client, op, kw_op_on_failed(&op->op, now_of(client), &end));
        return;
    }
    bool is_late = now_of(client) >= health->dial_until_ns;
    blame(client, health->is_failing && client->dials_n[node] > 0 && !is_late,
          "two dials to a failing node");
    kw_health_on_dial(health, now_of(client) + DIAL_LIMIT_NS);
    client->dials_n[node]++;
    op->phase = KW_SIM_DIALLING;
    bool is_hung = client->sim->nodes[node].state == KW_SIM_HUNG;
    kw_sim_event event = {.kind = KW_SIM_DIALLED, .a = index_of(client, op), .b = op->turn_n};
    event.node = node;
    push(client, is_hung ? DIAL_LIMIT_NS : 0, event);
}

static void on_dialled(kw_sim_client *client, kw_sim_op *op, const kw_sim_event *event)
{
    const kw_sim_node *node = &client->sim->nodes[event->node];
    kw_health *health = &client->healths[event->node];
    bool is_awaited = op->phase == KW_SIM_DIALLING && op->turn_n == event->b;
    bool is_up = node->state == KW_SIM_UP;
    client->dials_n[event->node]--;
    if (is_up) {
        kw_health_on_connected(health, 0);
    } else {
        (void)kw_health_on_failed(health, 0, now_of(client), &client->sim->random);
    }
    if (is_awaited && is_up) {
        send_on(client, op, event->node, node->generation);
    } else if (is_awaited && node->state == KW_SIM_HUNG && kw_op_is_early(&op->op)) {
        if (count_send(client, op)) { /* it went with the greeting */
            put_packet(client, op, event->node, node->generation);
            bool has_left = client->mistake != KW_SIM_DENIES_SENDING;
            kw_try_end end = {KW_ERR_HANDSHAKE, true, false, has_left, 0};
            advance(client, op, kw_op_on_failed(&op->op, now_of(client), &end));
        }
    } else if (is_awaited) {
        kw_try_end end = {KW_ERR_CONNECT, false, false, false, health->retry_ns};
        advance(client, op, kw_op_on_failed(&op->op, now_of(client), &end));
    }
}

static void on_arrives(kw_sim_client *client, kw_sim_op *op, const kw_sim_event *event)
{
    kw_sim_packet *packet = &op->packets[event->b - 1];
    kw_sim_node *node = &client->sim->nodes[packet->node];
    kw_sim_event reply = *event;
    reply.kind = KW_SIM_REPLY;
    if (node->generation == packet->generation && kw_sim_chance(client->sim, 64)) {
        node->generation++;
    }
    if (node->generation == packet->generation) {
        if (node->state == KW_SIM_HUNG) {
            push(client, HELD_NS, *event);
            return;
        }
        packet->answer = kw_sim_run(client->sim, packet->node, op->spec.slot, packet->is_asking);
        op->runs_n += packet->answer.kind == KW_VERDICT_FINAL;
    }
    push(client, 0, reply);
}

/* Nonsense instead of a reply, now and then. */
static kw_err garble(kw_sim_client *client)
{
    static const kw_err codes[] = {KW_ERR_PROTOCOL, KW_ERR_DESYNC, KW_ERR_CLOSED};
    return kw_sim_chance(client->sim, 64) ? codes[kw_sim_between(client->sim, 0, 2)] : KW_OK;
}

static void on_reply(kw_sim_client *client, kw_sim_op *op, const kw_sim_event *event)
{
    const kw_sim_packet *packet = &op->packets[event->b - 1];
    if (op->phase != KW_SIM_IN_FLIGHT || op->sends_n != event->b) {
        return; /* too late: nobody reads it */
    }
    kw_err code = garble(client);
    if (client->sim->nodes[packet->node].generation != packet->generation) {
        code = KW_ERR_CLOSED;
    }
    if (code == KW_OK && packet->answer.kind == KW_VERDICT_FINAL &&
        kw_sim_chance(client->sim, 64)) {
        code = KW_ERR_LIMIT;
    }
    if (code != KW_OK) {
        break_op(client, op, code, true);
        return;
    }
    if (client->generation[packet->node] != packet->generation) {
        client->generation[packet->node] = packet->generation;
        client->idle_n[packet->node] = 0;
    }
    client->idle_n[packet->node]++;
    kw_verdict verdict = {.kind = packet->answer.kind, .slot = op->spec.slot};
    char host[8];
    snprintf(host, sizeof(host), "%u", packet->answer.target);
    verdict.is_unknown = packet->answer.target == KW_SIM_NOBODY;
    verdict.host = kw_bytes_of(host);
    verdict.port = (uint16_t)(7000 + packet->answer.target);
    kw_endpoint from = {"from", (uint16_t)(7000 + packet->node)};
    advance(client, op, kw_op_on_reply(&op->op, now_of(client), &verdict, &from));
}

/* Steps */

static void begin(kw_sim_client *client, kw_sim_op *op, uint64_t seed)
{
    kw_step step = kw_op_start(&op->op, &op->spec, seed);
    op->op.target = &op->target;
    advance(client, op, step);
}

static void end_op(kw_sim_client *client, kw_sim_op *op)
{
    bool is_unknown = op->step.kind == KW_STEP_FAIL && op->step.effect == KW_EFFECT_MAYBE;
    if (client->mistake == KW_SIM_SENDS_AGAIN && is_unknown && op->sends_n < 3 &&
        now_of(client) < op->spec.deadline_ns) {
        begin(client, op, 1);
        return;
    }
    op->phase = KW_SIM_ENDED;
    op->end_ns = now_of(client);
    blame(client, op->end_ns > op->spec.deadline_ns, "ended after its deadline");
}

static void begin_send(kw_sim_client *client, kw_sim_op *op)
{
    unsigned node = client->view[op->spec.slot];
    op->redirects_n = op->step.is_redirected ? op->redirects_n + 1 : 0;
    if (op->step.is_redirected) {
        node = op->op.target->port - 7000u;
    }
    if (!client->has_map) {
        advance(client, op, kw_op_on_mapless(&op->op, now_of(client)));
    } else if (node == KW_SIM_NOBODY) {
        advance(client, op, kw_op_on_unserved(&op->op, now_of(client)));
    } else {
        send_to(client, op, node);
    }
}

static void advance(kw_sim_client *client, kw_sim_op *op, kw_step step)
{
    op->step = step;
    op->turn_n++;
    kw_sim_event wake = {.kind = KW_SIM_WAKE, .a = index_of(client, op), .b = op->turn_n};
    if (step.is_patch) {
        client->view[op->spec.slot] = (uint8_t)(op->op.target->port - 7000);
        wake_sleepers(client);
    }
    op->fetch_n = step.wants_refresh ? want_fetch(client) : 0;
    switch (step.kind) {
    case KW_STEP_SEND:
        begin_send(client, op);
        break;
    case KW_STEP_REFRESH:
    case KW_STEP_SLEEP:
        op->phase = step.kind == KW_STEP_SLEEP ? KW_SIM_SLEEPING : KW_SIM_FETCHING;
        kw_sim_push(&client->sim->queue, step.until_ns, wake);
        break;
    case KW_STEP_DONE:
    case KW_STEP_FAIL:
        end_op(client, op);
        break;
    }
}

static void on_wake(kw_sim_client *client, kw_sim_op *op, unsigned turn_n)
{
    if (op->turn_n != turn_n) {
        return;
    }
    if (op->phase == KW_SIM_SLEEPING) {
        advance(client, op, kw_op_on_woke(&op->op, now_of(client)));
    } else if (op->phase == KW_SIM_FETCHING) {
        advance(client, op, kw_op_on_refreshed(&op->op, now_of(client), KW_ERR_TOPOLOGY));
    }
}

static void on_deadline(kw_sim_client *client, kw_sim_op *op)
{
    bool has_left = op->phase == KW_SIM_IN_FLIGHT;
    if (client->mistake == KW_SIM_OVERSLEEPS || (!has_left && op->phase != KW_SIM_DIALLING)) {
        return;
    }
    has_left = has_left && client->mistake != KW_SIM_DENIES_LATENESS;
    kw_try_end end = {KW_ERR_TIMEOUT, has_left, has_left, has_left, 0};
    advance(client, op, kw_op_on_failed(&op->op, now_of(client), &end));
}

void kw_sim_client_on_event(kw_sim_client *client, const kw_sim_event *event)
{
    kw_sim_op *op = &client->ops[event->a % KW_SIM_OPS];
    switch ((int)event->kind) {
    case KW_SIM_BEGIN:
        begin(client, op, kw_random_next(&client->sim->random));
        break;
    case KW_SIM_DEADLINE:
        on_deadline(client, op);
        break;
    case KW_SIM_WAKE:
        on_wake(client, op, event->b);
        break;
    case KW_SIM_DIALLED:
        on_dialled(client, op, event);
        break;
    case KW_SIM_ARRIVES:
        on_arrives(client, op, event);
        break;
    case KW_SIM_REPLY:
        on_reply(client, op, event);
        break;
    case KW_SIM_FETCH:
        on_fetch_due(client);
        break;
    case KW_SIM_ASKED:
        on_asked(client, event->a);
        break;
    }
}
