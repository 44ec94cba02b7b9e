/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated cluster: what its nodes know, do and answer. */
#include "support/sim.h"

#include "support/check.h"

#include <string.h>

#define PRIMARIES 3u

static bool is_before(const kw_sim_event *a, const kw_sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

void kw_sim_push(kw_sim_queue *queue, uint64_t at_ns, kw_sim_event event)
{
    if (queue->events_n == KW_SIM_EVENTS_MAX) {
        kw_test_die("more than %u events at once", KW_SIM_EVENTS_MAX);
    }
    event.at_ns = at_ns > queue->now_ns ? at_ns : queue->now_ns;
    event.number = queue->made_n++;
    size_t i = queue->events_n++;
    while (i > 0 && is_before(&event, &queue->events[(i - 1) / 2])) {
        queue->events[i] = queue->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    queue->events[i] = event;
}

bool kw_sim_pop(kw_sim_queue *queue, kw_sim_event *event)
{
    if (queue->events_n == 0) {
        return false;
    }
    *event = queue->events[0];
    queue->now_ns = event->at_ns;
    kw_sim_event last = queue->events[--queue->events_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < queue->events_n; i = child) {
        if (child + 1 < queue->events_n &&
            is_before(&queue->events[child + 1], &queue->events[child])) {
            child++;
        }
        if (!is_before(&queue->events[child], &last)) {
            break;
        }
        queue->events[i] = queue->events[child];
    }
    queue->events[i] = last;
    return true;
}

bool kw_sim_chance(kw_sim *sim, unsigned n)
{
    return kw_random_next(&sim->random) % n == 0 && sim->mood == KW_SIM_WILD;
}

uint64_t kw_sim_between(kw_sim *sim, uint64_t low, uint64_t high)
{
    return low + kw_random_next(&sim->random) % (high - low + 1);
}

static void push_in(kw_sim *sim, uint64_t low_ms, uint64_t high_ms, kw_sim_event event)
{
    uint64_t pause_ns = kw_sim_between(sim, low_ms * KW_SIM_MS, high_ms * KW_SIM_MS);
    kw_sim_push(&sim->queue, sim->queue.now_ns + pause_ns, event);
}

void kw_sim_init(kw_sim *sim, uint64_t seed, kw_sim_mood mood)
{
    memset(sim, 0, offsetof(kw_sim, queue.events));
    memset(sim->nodes, 0, sizeof(*sim) - offsetof(kw_sim, nodes));
    kw_random_init(&sim->random, seed);
    sim->mood = mood;
    for (unsigned slot = 0; slot < KW_SIM_SLOTS; slot++) {
        sim->owners[slot] = (uint8_t)(slot % PRIMARIES);
        sim->targets[slot] = KW_SIM_NOBODY;
    }
    for (unsigned node = 0; node < KW_SIM_NODES; node++) {
        memcpy(sim->nodes[node].view, sim->owners, sizeof(sim->owners));
    }
    static const uint64_t paces_ms[] = {20, 60, 300};
    sim->pace_ms = paces_ms[kw_sim_between(sim, 0, 2)];
    push_in(sim, 0, sim->pace_ms, (kw_sim_event){.kind = KW_SIM_TROUBLE});
}

/* Word of a change goes round. */
static void tell_all(kw_sim *sim)
{
    for (unsigned node = 0; node < KW_SIM_NODES; node++) {
        push_in(sim, 0, 150, (kw_sim_event){.kind = KW_SIM_LEARN, .a = node});
    }
}

static void hand_over(kw_sim *sim, unsigned slot)
{
    unsigned target = sim->targets[slot];
    if (target == KW_SIM_NOBODY) {
        return;
    }
    sim->targets[slot] = KW_SIM_NOBODY;
    if (sim->nodes[target].state == KW_SIM_UP && sim->nodes[sim->owners[slot]].state == KW_SIM_UP) {
        sim->nodes[sim->owners[slot]].view[slot] = (uint8_t)target;
        sim->nodes[target].view[slot] = (uint8_t)target;
        sim->owners[slot] = (uint8_t)target;
        tell_all(sim);
    }
}

static void come_back(kw_sim *sim, unsigned node)
{
    kw_sim_node *self = &sim->nodes[node];
    if (self->state == KW_SIM_DEAD && sim->mood == KW_SIM_WILD) {
        uint64_t most_ms = kw_sim_chance(sim, 4) ? 1000 : 100;
        self->loading_ns = sim->queue.now_ns + kw_sim_between(sim, 0, most_ms * KW_SIM_MS);
    }
    /* One that hung still believes what it believed; it hears the truth soon. */
    self->state = KW_SIM_UP;
    push_in(sim, 0, 150, (kw_sim_event){.kind = KW_SIM_LEARN, .a = node});
}

/* The replica takes over where the node is still down since then. */
static void promote(kw_sim *sim, unsigned node, unsigned generation)
{
    unsigned heir = (node + PRIMARIES) % KW_SIM_NODES;
    if (sim->nodes[node].state == KW_SIM_UP || sim->nodes[node].generation != generation ||
        sim->nodes[heir].state != KW_SIM_UP) {
        return;
    }
    for (unsigned slot = 0; slot < KW_SIM_SLOTS; slot++) {
        if (sim->owners[slot] == node) {
            sim->owners[slot] = (uint8_t)heir;
            sim->nodes[heir].view[slot] = (uint8_t)heir;
        }
    }
    tell_all(sim);
}

static void fell(kw_sim *sim, unsigned node, kw_sim_state state)
{
    kw_sim_node *self = &sim->nodes[node];
    self->generation += state == KW_SIM_DEAD;
    self->state = state;
    kw_sim_event event = {.kind = KW_SIM_PROMOTE, .a = node, .b = self->generation};
    push_in(sim, 200, 500, event);
    push_in(sim, 50, 1200, (kw_sim_event){.kind = KW_SIM_BACK, .a = node});
}

static void make_trouble(kw_sim *sim)
{
    unsigned node = (unsigned)kw_sim_between(sim, 0, KW_SIM_NODES - 1);
    unsigned slot = (unsigned)kw_sim_between(sim, 0, KW_SIM_SLOTS - 1);
    switch (sim->mood == KW_SIM_WILD ? kw_sim_between(sim, 0, 5) : 5) {
    case 0:
        fell(sim, node, KW_SIM_DEAD);
        break;
    case 1:
        if (sim->nodes[node].state == KW_SIM_UP) {
            fell(sim, node, KW_SIM_HUNG);
        }
        break;
    case 2: /* its connections are cut */
        sim->nodes[node].generation++;
        break;
    case 3: /* it believes nonsense for a while */
        sim->nodes[node].view[slot] = (uint8_t)kw_sim_between(sim, 0, KW_SIM_NODES - 1);
        push_in(sim, 0, 400, (kw_sim_event){.kind = KW_SIM_LEARN, .a = node});
        break;
    default:
        if (sim->nodes[node].state == KW_SIM_UP && sim->targets[slot] == KW_SIM_NOBODY &&
            sim->owners[slot] != node) {
            sim->targets[slot] = (uint8_t)node;
            push_in(sim, 20, 400, (kw_sim_event){.kind = KW_SIM_HANDED, .a = slot});
        }
        break;
    }
    push_in(sim, 0, sim->pace_ms, (kw_sim_event){.kind = KW_SIM_TROUBLE});
}

static void make_peace(kw_sim *sim)
{
    sim->mood = KW_SIM_CALM;
    for (unsigned slot = 0; slot < KW_SIM_SLOTS; slot++) {
        hand_over(sim, slot);
    }
    for (unsigned node = 0; node < KW_SIM_NODES; node++) {
        uint64_t soon_ns = sim->queue.now_ns + kw_sim_between(sim, 0, 100 * KW_SIM_MS);
        if (sim->nodes[node].loading_ns > soon_ns) {
            sim->nodes[node].loading_ns = soon_ns;
        }
        come_back(sim, node);
    }
    tell_all(sim);
}

bool kw_sim_on_event(kw_sim *sim, const kw_sim_event *event)
{
    switch ((int)event->kind) {
    case KW_SIM_LEARN:
        if (sim->nodes[event->a].state == KW_SIM_UP) {
            memcpy(sim->nodes[event->a].view, sim->owners, sizeof(sim->owners));
        }
        return true;
    case KW_SIM_PROMOTE:
        promote(sim, event->a, event->b);
        return true;
    case KW_SIM_BACK:
        come_back(sim, event->a);
        return true;
    case KW_SIM_HANDED:
        hand_over(sim, event->a);
        return true;
    case KW_SIM_TROUBLE:
        if (sim->mood != KW_SIM_CALM) {
            make_trouble(sim);
        }
        return true;
    case KW_SIM_PEACE:
        make_peace(sim);
        return true;
    default:
        return false;
    }
}

/* Now and then a server has other reasons not to run a command. */
static kw_verdict_kind whim(kw_sim *sim)
{
    static const kw_verdict_kind kinds[] = {
        KW_VERDICT_TRY_AGAIN, KW_VERDICT_BUSY,        KW_VERDICT_READONLY, KW_VERDICT_UNBLOCKED,
        KW_VERDICT_FULL,      KW_VERDICT_MASTER_DOWN, KW_VERDICT_LOADING,  KW_VERDICT_CLUSTER_DOWN,
    };
    size_t count = sizeof(kinds) / sizeof(kinds[0]);
    return kw_sim_chance(sim, 24) ? kinds[kw_sim_between(sim, 0, count - 1)] : KW_VERDICT_FINAL;
}

kw_sim_answer kw_sim_run(kw_sim *sim, unsigned node, unsigned slot, bool is_asking)
{
    const kw_sim_node *self = &sim->nodes[node];
    kw_sim_answer answer = {whim(sim), 0};
    unsigned owner = self->view[slot];
    unsigned target = sim->targets[slot];
    if (answer.kind != KW_VERDICT_FINAL) {
        return answer;
    }
    if (sim->queue.now_ns < self->loading_ns) {
        answer.kind = KW_VERDICT_LOADING;
    } else if (target == node && is_asking) {
        answer.kind = kw_sim_between(sim, 0, 3) == 0 ? KW_VERDICT_TRY_AGAIN : KW_VERDICT_FINAL;
    } else if (owner != node) {
        answer.kind = KW_VERDICT_MOVED;
        answer.target = kw_sim_chance(sim, 16) ? KW_SIM_NOBODY : owner;
        if (sim->nodes[owner].state != KW_SIM_UP && kw_sim_chance(sim, 4)) {
            answer.kind = KW_VERDICT_CLUSTER_DOWN;
        }
    } else if (target != KW_SIM_NOBODY && target != node && kw_sim_between(sim, 0, 1) == 0) {
        answer.kind = KW_VERDICT_ASK;
        answer.target = target;
    }
    return answer;
}
