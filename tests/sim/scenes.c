/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes: lives of one trouble each, of which chance alone would make too few. */
#include "sim/scenes.h"

#include "sim/scene_parts.h"
#include "sim/world.h"

#include "route/slot.h"

#include <stdio.h>
#include <string.h>

/* Calls to one server that they name, which leaves the cluster meanwhile. */
static void leave(sim_plan *plan, sim_chance *random)
{
    unsigned server = (unsigned)sim_chance_below(random, plan->primaries_n);
    uint64_t at_ns = between(random, 100, 1500) * SIM_MS;
    plan->waits_for_down = !one_in(random, 3);
    unsigned callers_n = (unsigned)between(random, 1, 2);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, SIM_CALL, 0);
        for (unsigned k = 0; k < 6; k++) {
            sim_command *command = add(plan, SIM_PINNED, 0);
            command->server = server + 1;
            command->timeout_ms = between(random, 3500, 9000);
            command->pause_ns = between(random, 0, 400) * SIM_MS;
        }
    }
    if (one_in(random, 2)) {
        add_fault(plan, SIM_KILL, at_ns, 20 * SIM_S)->target = server;
        plan->faults[0].value = 1; /* no election */
        at_ns += between(random, 0, 2000) * SIM_MS;
    }
    add_fault(plan, SIM_REPLACE, at_ns, SIM_MS)->target = server;
    plan->heal_ns = at_ns + 12 * SIM_S;
}

/* A whole installation that moves, and nothing else. */
static void move_away(sim_plan *plan, sim_chance *random)
{
    plan->has_names = true;
    plan->has_thread = true;
    plan->primaries_n = one_in(random, 3) ? plan->primaries_n : 4;
    plan->replicas_n = one_in(random, 3) ? (unsigned)sim_chance_below(random, 3) : 2;
    plan->latency_ns = one_in(random, 3) ? SIM_SCENE_NEAR_NS : plan->latency_ns;
    uint64_t at_ns = between(random, 50, 2000) * SIM_MS;
    unsigned callers_n = (unsigned)between(random, 1, 4);
    for (unsigned i = 0; i < callers_n; i++) {
        add_reader(plan, random, between(random, 0, 300) * SIM_MS, &(reads){10, 3000, 6000, 400});
    }
    add_fault(plan, SIM_REPLACE_ALL, at_ns, SIM_MS);
    plan->heal_ns = at_ns + SIM_MS;
}

/* Slots that move all the time, in a large cluster, of whose servers most are behind. */
static void want_maps(sim_plan *plan, sim_chance *random)
{
    plan->primaries_n = 4;
    plan->replicas_n = 2;
    for (unsigned i = 0; i < 6; i++) {
        add_reader(plan, random, between(random, 0, 200) * SIM_MS, &(reads){20, 1000, 4000, 150});
    }
    uint64_t at_ns = 200 * SIM_MS;
    while (plan->faults_n < SIM_FAULTS) {
        sim_fault *move = add_fault(plan, SIM_MOVE, at_ns, SIM_MS);
        move->target = (unsigned)sim_chance_below(random, SIM_KEYS);
        move->value = sim_chance_below(random, plan->primaries_n);
        at_ns += between(random, 60, 120) * SIM_MS;
    }
    plan->news_ns = between(random, 3000, 4500) * SIM_MS;
    plan->heal_ns = 4 * SIM_S;
}

/* No server is there for a moment, nobody calls for long, then none is there again. */
static void come_back(sim_plan *plan, sim_chance *random)
{
    plan->timeout_ms = between(random, 200, 500);
    plan->waits_for_down = false;
    uint64_t again_ns = between(random, 4000, 7000) * SIM_MS;
    sim_fault_kind kind = one_in(random, 2) ? SIM_KILL : SIM_STOP;
    add_caller(plan, SIM_CALL, 0);
    for (unsigned k = 0; k < 2; k++) {
        add(plan, SIM_READ, k)->timeout_ms = between(random, 50, 300);
    }
    for (unsigned i = 0; i < 2; i++) {
        add_caller(plan, SIM_CALL, again_ns + between(random, 1, 200) * SIM_MS);
        for (unsigned k = 0; k < 4; k++) {
            add(plan, SIM_READ, k)->timeout_ms = between(random, 1500, 4000);
        }
    }
    unsigned servers_n = plan->primaries_n * (1 + plan->replicas_n) + plan->sentinels_n;
    for (unsigned i = 0; i < servers_n && plan->faults_n + 2 <= SIM_FAULTS; i++) {
        add_fault(plan, kind, 0, between(random, 300, 900) * SIM_MS)->target = i;
        plan->faults[plan->faults_n - 1].value = 1; /* no election */
        add_fault(plan, one_in(random, 2) ? SIM_KILL : SIM_STOP, again_ns, 3 * SIM_S)->target = i;
        plan->faults[plan->faults_n - 1].value = 1;
    }
    plan->heal_ns = again_ns + 6 * SIM_S;
}

/* The server says nothing any more, to many who ask at once. */
static void fall_silent(sim_plan *plan, sim_chance *random)
{
    uint64_t at_ns = between(random, 0, 1000) * SIM_MS;
    plan->waits_for_down = one_in(random, 4);
    plan->share_above = 64;
    unsigned callers_n = (unsigned)between(random, 1, 8);
    for (unsigned i = 0; i < callers_n; i++) {
        uint64_t begin_ns = one_in(random, 2) ? at_ns : between(random, 0, 1500) * SIM_MS;
        add_reader(plan, random, begin_ns, &(reads){6, 4000, 9000, 300});
        plan->commands[plan->callers[i].first].pause_ns = 0;
    }
    add_fault(plan, SIM_SWALLOW, at_ns, 9 * SIM_S);
    plan->heal_ns = at_ns + 10 * SIM_S;
}

static unsigned slot_of(unsigned key)
{
    char name[8];
    int len = snprintf(name, sizeof(name), "k%u", key);
    return kw_slot_of(name, (size_t)len);
}

/* A server is silent, with commands on it and for it, until another one has its slots. */
static void lose_slots(sim_plan *plan, sim_chance *random)
{
    unsigned key = (unsigned)sim_chance_below(random, SIM_KEYS);
    unsigned server = sim_cluster_first_owner(plan, slot_of(key));
    uint64_t at_ns = between(random, 100, 600) * SIM_MS;
    plan->replicas_n = 1;
    plan->loses_owners = true;
    plan->waits_for_down = true;
    plan->news_ns = 100 * SIM_MS;
    plan->callers_n = 0;
    unsigned callers_n = (unsigned)between(random, 1, 3);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, one_in(random, 4) ? SIM_CALL : SIM_CALLBACK,
                   at_ns - between(random, 0, 80) * SIM_MS);
        plan->callers[i].group_n = (unsigned)between(random, 1, 3);
        for (unsigned k = 0; k < 4; k++) {
            sim_act act = one_in(random, 2) ? SIM_BLOCK : one_in(random, 2) ? SIM_READ : SIM_PUSH;
            sim_command *command = add(plan, act, key);
            command->timeout_ms = between(random, 7000, 9000);
            command->pause_ns = between(random, 0, 200) * SIM_MS;
        }
    }
    add_fault(plan, SIM_STOP, at_ns, 20 * SIM_S)->target = server;
    plan->faults[0].value = 1; /* no election */
    add_fault(plan, SIM_FAILOVER, at_ns + between(random, 0, 3000) * SIM_MS, SIM_MS)->target =
        server;
    plan->heal_ns = at_ns + 12 * SIM_S;
}

/* Connections go silent under commands that are not waited for; others come behind them. */
static void owe(sim_plan *plan, sim_chance *random)
{
    uint64_t at_ns = between(random, 300, 900) * SIM_MS;
    plan->owes = true;
    add_caller(plan, SIM_CALLBACK, 0); /* by whom the connection is there */
    add(plan, SIM_READ, 0)->timeout_ms = 2000;
    add_caller(plan, SIM_CALLBACK, at_ns + SIM_MS); /* who leaves */
    unsigned left_n = (unsigned)between(random, 1, 3);
    for (unsigned k = 0; k < left_n; k++) {
        add(plan, one_in(random, 2) ? SIM_READ : SIM_PUSH, k)->timeout_ms =
            between(random, 20, 100);
    }
    unsigned callers_n = (unsigned)between(random, 1, 3);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, SIM_CALLBACK, at_ns + between(random, 2, 900) * SIM_MS);
        plan->callers[2 + i].group_n = (unsigned)between(random, 1, 3);
        for (unsigned k = 0; k < 4; k++) {
            sim_command *command = add(plan, one_in(random, 2) ? SIM_READ : SIM_PUSH,
                                       (unsigned)sim_chance_below(random, SIM_KEYS));
            command->timeout_ms = between(random, 4000, 9000);
        }
    }
    add_fault(plan, SIM_SILENCE, at_ns, SIM_MS);
    plan->heal_ns = at_ns + 10 * SIM_S;
}

static void meet_by(sim_plan *plan, sim_chance *random)
{
    plan->meets = true;
    plan->share_above = 1;
    plan->latency_ns = between(random, 50, 400) * SIM_US;
    plan->jitter_ns = one_in(random, 2) ? 0 : plan->latency_ns / 2;
    plan->bandwidth = 0;
    plan->service_ns = 2 * SIM_US;
    plan->mix.blocks_n = 100;
}

/* Callers who meet on one connection for so long that ways of combining are compared. */
static void meet(sim_plan *plan, sim_chance *random)
{
    meet_by(plan, random);
    unsigned callers_n = (unsigned)between(random, 6, SIM_CALLERS);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, SIM_CALL, 0);
        sim_command *command = add(plan, SIM_READ, (unsigned)sim_chance_below(random, SIM_KEYS));
        command->timeout_ms = 2000;
        command->times_n = (unsigned)between(random, 150, 400);
        for (unsigned k = 0; k < 8; k++) { /* the others have ended, or do not come at once */
            command = add(plan, SIM_READ, (unsigned)sim_chance_below(random, SIM_KEYS));
            command->timeout_ms = 2000;
            command->pause_ns = between(random, 0, 2 * plan->latency_ns);
        }
    }
    plan->heal_ns = SIM_S;
}

/* Longer than any call may take where callers meet. */
#define PAUSE_NS (20 * SIM_MS)

/* A crowd that is there, and all at once is not: whoever is left has nobody to send for it, in
 * whichever way they wait for each other just then. Mostly it goes when so many are answered that
 * another way has its turn (combining.c, SPAN_N). */
static void thin_out(sim_plan *plan, sim_chance *random)
{
    enum { CALLERS = 6, TIMES = 26, EACH = 11 };
    meet_by(plan, random);
    unsigned times_n[TIMES];
    for (unsigned k = 0; k < TIMES; k++) {
        times_n[k] = one_in(random, 4) ? (unsigned)between(random, EACH - 1, EACH + 1) : EACH;
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        add_caller(plan, SIM_CALL, 0);
        for (unsigned k = 0; k < TIMES; k++) {
            sim_command *command =
                add(plan, SIM_READ, (unsigned)sim_chance_below(random, SIM_KEYS));
            command->timeout_ms = 2000;
            command->times_n = times_n[k];
            command->pause_ns = k == 0 ? 0 : PAUSE_NS;
        }
    }
    plan->heal_ns = SIM_S;
}

/* A server that was away is dialled by one of many, whose commands follow as soon as it is there.
 */
static void come_together(sim_plan *plan, sim_chance *random)
{
    plan->only_dies = true;
    plan->share_above = 1;
    plan->waits_for_down = true;
    plan->latency_ns = between(random, 5, 20) * SIM_MS;
    unsigned callers_n = (unsigned)between(random, 4, 8);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, SIM_CALL, between(random, 0, 100) * SIM_MS);
        for (unsigned k = 0; k < 12; k++) {
            sim_command *command =
                add(plan, SIM_PUSH, (unsigned)sim_chance_below(random, SIM_KEYS));
            command->timeout_ms = between(random, 4000, 6000);
            command->pause_ns = between(random, 0, 60) * SIM_MS;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        add_fault(plan, SIM_KILL, between(random, 200 + i * 500, 600 + i * 500) * SIM_MS,
                  between(random, 20, 200) * SIM_MS);
    }
    plan->heal_ns = 4 * SIM_S;
}

/* Calls on connections of their own, by steady ways. */
static void call_alone(sim_plan *plan, uint64_t latency_ns)
{
    plan->share_above = 64;
    plan->timeout_ms = 2000;
    plan->waits_for_down = false;
    plan->latency_ns = latency_ns;
    plan->jitter_ns = 0;
}

/* What came on a connection while nobody was there to wait for it any more is of then. */
static void leave_dial(sim_plan *plan, sim_chance *random)
{
    call_alone(plan, between(random, 4, 20) * SIM_MS);
    plan->well_ns = 1500 * SIM_MS;
    add_caller(plan, SIM_CALL, 0); /* of whom nothing leaves together with the greeting */
    add(plan, SIM_PUSH, 0)->timeout_ms =
        between(random, plan->latency_ns, 2 * plan->latency_ns) / SIM_MS;
    add(plan, SIM_PUSH, 1)->pause_ns = between(random, 1500, 4000) * SIM_MS;
    sim_fault *garbage =
        add_fault(plan, SIM_GARBAGE, between(random, 2 * plan->latency_ns, 300 * SIM_MS), SIM_MS);
    garbage->value = sim_chance_below(random, 6);
    plan->heal_ns = 8 * SIM_S;
}

/* A dial has lost its way; those behind it have not. When it ends, which is known of the server is
 * known from them. */
static void dial_behind(sim_plan *plan, sim_chance *random)
{
    call_alone(plan, between(random, 50, 400) * SIM_US);
    plan->bandwidth = 0;
    plan->service_ns = 2 * SIM_US;
    uint64_t silent_ns = 3 * plan->latency_ns;
    uint64_t lost_ns = between(random, 502, 510) * SIM_MS; /* the dial has ended just now */
    plan->well_ns = lost_ns + SIM_MS;
    plan->quick_ns = 5 * SIM_MS;
    add_caller(plan, SIM_CALL, 0);
    add(plan, SIM_READ, 0)->timeout_ms = 2000;
    add_fault(plan, SIM_SILENCE, silent_ns, SIM_MS);
    add_caller(plan, SIM_CALL, between(random, 20, 400) * SIM_MS);
    add(plan, SIM_READ, 1)->timeout_ms = 2000;
    add_fault(plan, SIM_RESETS, lost_ns, SIM_MS);
    add_caller(plan, SIM_CALL, plan->well_ns + between(random, 0, 3) * SIM_MS);
    add(plan, SIM_READ, 2)->timeout_ms = 2000;
    plan->heal_ns = SIM_S;
}

/* All keys of two servers are walked: the key whose slot is to move meanwhile. */
static unsigned begin_walks(sim_plan *plan, sim_chance *random, uint64_t least_us, uint64_t most_us)
{
    plan->primaries_n = 2;
    plan->replicas_n = 0;
    plan->latency_ns = between(random, least_us, most_us) * SIM_US;
    plan->jitter_ns = 0;
    plan->timeout_ms = 1000;
    plan->walks_n = 2;
    return (unsigned)sim_chance_below(random, 2);
}

/* Slots go and come back while all keys of their servers are walked. */
static void bring_back(sim_plan *plan, sim_chance *random)
{
    unsigned target = begin_walks(plan, random, 200, 2000);
    unsigned home = sim_cluster_first_owner(plan, slot_of(target));
    uint64_t at_ns = between(random, 0, 20) * plan->latency_ns;
    while (plan->faults_n < SIM_FAULTS) {
        uint64_t length_ns = between(random, 1, 4) * plan->latency_ns;
        sim_fault *move = add_fault(plan, SIM_MOVE, at_ns, length_ns);
        move->target = target;
        move->value = plan->faults_n % 2 == 1 ? 1 - home : home;
        at_ns += length_ns + between(random, 1, 10) * plan->latency_ns;
    }
    plan->heal_ns = at_ns + SIM_S;
}

/* A slot goes so slowly that walks meet its keys at two servers. */
static void split(sim_plan *plan, sim_chance *random)
{
    unsigned target = begin_walks(plan, random, 1000, 5000);
    unsigned home = sim_cluster_first_owner(plan, slot_of(target));
    sim_fault *move = add_fault(plan, SIM_MOVE, between(random, 8, 16) * plan->latency_ns,
                                between(random, 8, 20) * plan->latency_ns);
    move->target = target;
    move->value = 1 - home;
    plan->heal_ns = move->at_ns + move->length_ns + SIM_S;
}

/* A server that refuses some of what is given together for one key, and runs what comes behind. */
static void refuse_some(sim_plan *plan, sim_chance *random)
{
    enum { TRY_AGAIN = SIM_TRY_AGAIN - 1 };
    plan->latency_ns = between(random, 100, 2000) * SIM_US;
    plan->waits_for_down = true;
    plan->timeout_ms = 4000;
    plan->is_strict = false;
    unsigned callers_n = (unsigned)between(random, 1, 4);
    for (unsigned i = 0; i < callers_n; i++) {
        static const sim_way ways[] = {SIM_CALLBACK, SIM_TICKET, SIM_BATCH};
        add_caller(plan, ways[sim_chance_below(random, 3)], between(random, 0, 50) * SIM_MS);
        plan->callers[i].group_n = (unsigned)between(random, 2, 6);
        for (unsigned k = 0; k < 24; k++) {
            sim_act act = one_in(random, 3) ? SIM_READ : one_in(random, 3) ? SIM_STORE : SIM_PUSH;
            sim_command *command = add(plan, act, (unsigned)sim_chance_below(random, 2));
            command->timeout_ms = 4000;
            command->pause_ns = one_in(random, 4) ? between(random, 0, 40) * SIM_MS : 0;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        add_fault(plan, SIM_STATE, between(random, i * 100, i * 100 + 50) * SIM_MS,
                  between(random, 10, 40) * SIM_MS)
            ->value = TRY_AGAIN;
    }
    plan->heal_ns = SIM_S;
}

/* A server takes no login for a while, and all connections are new ones: who comes when that is
 * over finds out together with others. */
static void log_in_again(sim_plan *plan, sim_chance *random)
{
    enum { NO_AUTH = SIM_NO_AUTH - 1 + 64 }; /* for all commands */
    uint64_t at_ns = between(random, 100, 300) * SIM_MS;
    uint64_t length_ns = between(random, 50, 1500) * SIM_MS;
    call_alone(plan, between(random, 100, 4000) * SIM_US);
    plan->well_ns = at_ns + length_ns + between(random, 2000, 3000) * SIM_MS; /* dials are rare */
    add_fault(plan, SIM_STATE, at_ns, length_ns)->value = NO_AUTH;
    for (unsigned i = 0; i < 4; i++) {
        add_fault(plan, SIM_RESETS, at_ns + i * length_ns / 4 + SIM_US, SIM_US);
    }
    for (unsigned i = 0; i < 8; i++) {
        bool is_after = i >= 3;
        uint64_t begin_ns = is_after ? plan->well_ns + between(random, 0, 3) * plan->latency_ns
                                     : at_ns + between(random, 0, 9) * length_ns / 10;
        add_reader(plan, random, begin_ns, &(reads){is_after ? 2 : 8, 2000, 3000, 60});
        plan->commands[plan->callers[i].first].pause_ns = 0;
    }
    plan->heal_ns = plan->well_ns + SIM_S;
}

/* A name whose first address answers just when the second one, which is dead, has its turn. */
static void answer_late(sim_plan *plan, sim_chance *random)
{
    static const sim_way ways[] = {SIM_CALL, SIM_BATCH, SIM_BATCH, SIM_CALLBACK};
    plan->has_names = true;
    plan->latency_ns = between(random, 50, 400) * SIM_US;
    plan->jitter_ns = 0;
    plan->timeout_ms = 4000;
    plan->late_ns = 125 * SIM_MS + between(random, 0, 600) * SIM_US;
    plan->well_ns = 1;
    plan->quick_ns = 2000 * SIM_MS; /* name, connect, greeting, answer, and a look now and then */
    unsigned callers_n = (unsigned)between(random, 1, 3);
    for (unsigned i = 0; i < callers_n; i++) {
        add_caller(plan, ways[sim_chance_below(random, 4)], SIM_US);
        plan->callers[i].group_n = 2;
        for (unsigned k = 0; k < 6; k++) {
            add(plan, SIM_READ, k)->timeout_ms = 4000;
        }
    }
    plan->heal_ns = 2 * SIM_S;
}

typedef void (*scene_fn)(sim_plan *plan, sim_chance *random);

/* Those are there several times of which chance makes the trouble more rarely. */
static const scene_fn of_clusters[] = {leave,
                                       move_away,
                                       want_maps,
                                       want_maps,
                                       want_maps,
                                       move_away,
                                       lose_slots,
                                       come_back,
                                       bring_back,
                                       move_away,
                                       bring_back,
                                       split,
                                       split,
                                       split,
                                       split,
                                       sim_scene_slots_change_hands,
                                       sim_scene_slots_change_hands,
                                       sim_scene_herd};
static const scene_fn of_servers[] = {
    meet,          meet,          meet,        thin_out,       thin_out,      thin_out,
    thin_out,      owe,           owe,         fall_silent,    fall_silent,   fall_silent,
    come_together, come_together, leave_dial,  dial_behind,    refuse_some,   refuse_some,
    log_in_again,  log_in_again,  answer_late, sim_scene_herd, sim_scene_herd};
static const scene_fn of_rings[] = {sim_scene_members_come_and_go, sim_scene_herd};
static const scene_fn of_groups[] = {sim_scene_primaries_change, sim_scene_herd};

#define LEN(list) (sizeof(list) / sizeof((list)[0]))

typedef struct scene_list {
    const scene_fn *all;
    size_t n;
    unsigned one_in; /* so many lives */
} scene_list;

static const scene_list lists[SIM_KINDS_N] = {
    [SIM_PLAIN] = {of_servers, LEN(of_servers), 24},
    [SIM_CLUSTER] = {of_clusters, LEN(of_clusters), 24},
    [SIM_RING] = {of_rings, LEN(of_rings), 40},
    [SIM_SENTINEL] = {of_groups, LEN(of_groups), 40},
};

bool sim_scene_make(sim_plan *plan, sim_chance *random)
{
    const scene_list *list = &lists[plan->kind];
    if (!one_in(random, list->one_in)) {
        return false;
    }
    clear(plan);
    list->all[sim_chance_below(random, list->n)](plan, random);
    return true;
}
