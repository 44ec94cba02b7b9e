/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans are made of a seed alone. */
#include "sim/plan.h"

#include "sim/scenes.h"

#include <limits.h>
#include <string.h>

static const char *const kinds[SIM_KINDS_N] = {"plain", "cluster", "ring", "sentinel"};
static const char *const ways[SIM_WAYS_N] = {"call", "batch", "ticket", "callback", "session"};
static const char *const acts[SIM_ACTS_N] = {"read",   "push",  "store",  "many",
                                             "stores", "block", "pinned", "whole"};
static const char *const faults[SIM_FAULTS_N] = {
    [SIM_NO_FAULT] = "none",
    [SIM_RESETS] = "reset",
    [SIM_CUTS] = "cut",
    [SIM_SILENCE] = "half-open",
    [SIM_SWALLOW] = "loss",
    [SIM_SLOWNESS] = "slow",
    [SIM_KILL] = "kill",
    [SIM_STOP] = "stop",
    [SIM_STATE] = "state",
    [SIM_GARBAGE] = "garbage",
    [SIM_UNASKED] = "unasked",
    [SIM_TRICKLE] = "trickle",
    [SIM_CLOCK] = "clock",
    [SIM_MEMORY] = "memory",
    [SIM_NUMBERS] = "descriptors",
    [SIM_NAMES_AWAY] = "names",
    [SIM_MOVE] = "move",
    [SIM_MOVE_ALL] = "move-all",
    [SIM_FAILOVER] = "failover",
    [SIM_REPLACE] = "replace",
    [SIM_CLOSE] = "close",
    [SIM_UNSERVED] = "unserved",
    [SIM_DRAIN] = "drain",
    [SIM_APART] = "apart",
    [SIM_REBORN] = "reborn",
    [SIM_FORGET] = "forget",
    [SIM_MEMBERS] = "members",
    [SIM_FORK] = "fork",
    [SIM_REPLACE_ALL] = "replace-all",
    [SIM_STRANGER] = "stranger",
};

const char *sim_kind_name(sim_kind kind)
{
    return kind < SIM_KINDS_N ? kinds[kind] : "any";
}

const char *sim_way_name(sim_way way)
{
    return ways[way];
}

const char *sim_act_name(sim_act act)
{
    return acts[act];
}

const char *sim_fault_name(sim_fault_kind kind)
{
    return faults[kind];
}

bool sim_plan_has(const sim_plan *plan, sim_fault_kind kind)
{
    bool has_it = false;
    for (unsigned i = 0; i < plan->faults_n; i++) {
        has_it = has_it || (plan->faults[i].kind == kind && !plan->faults[i].is_off);
    }
    return has_it;
}

static uint64_t below(sim_chance *random, uint64_t bound)
{
    return sim_chance_below(random, bound);
}

static uint64_t between(sim_chance *random, uint64_t least, uint64_t most)
{
    return least + below(random, most - least + 1);
}

static bool one_in(sim_chance *random, unsigned n)
{
    return below(random, n) == 0;
}

/* Numbers of all sizes alike, between the two. */
static uint64_t of_any_size(sim_chance *random, uint64_t least, uint64_t most)
{
    uint64_t most_here = least;
    while (most_here < most && !one_in(random, 4)) {
        most_here *= 2;
    }
    return between(random, least, most_here < most ? most_here : most);
}

/* What is drawn of each size. Of 32 lives 28 are tiny: of what one trouble does to one command
 * those find most in a second. The others take most of the time: they are there for troubles that
 * meet, last, and come in a row. */
typedef struct size_row {
    unsigned of_32;
    unsigned callers_n;  /* at most, as those below */
    unsigned commands_n; /* of each caller */
    unsigned faults_n;
    uint64_t begin_ns; /* of a caller, and pauses of a quarter of it */
    uint64_t end_ns;   /* until when something goes wrong, .. */
    uint64_t fault_ns; /* .. and how long */
    uint64_t rest_ns;  /* from then on until all is well */
    unsigned readers;  /* one in so many reads by a cache with values near, .. */
    unsigned loads;    /* .. loads by caches, .. */
    unsigned walks;    /* .. or walks all keys */
} size_row;

/* Failures that are no further from each other than two seconds are a row (ROW_NS in faults.c): who
 * calls first when all is well is no part of one. */
#define REST_NS (1600 * SIM_MS)

static const size_row rows[SIM_SIZES_N] = {
    [SIM_TINY] = {28, 2, 3, 2, 200 * SIM_MS, 400 * SIM_MS, 600 * SIM_MS, REST_NS, 14, 20, 32},
    [SIM_SMALL] = {2, 3, 5, 3, 2 * SIM_S, 3 * SIM_S, 3 * SIM_S, 3 * SIM_S, 8, 8, 16},
    [SIM_LARGE] = {2, SIM_CALLERS, SIM_COMMANDS / SIM_CALLERS, SIM_FAULTS, 2 * SIM_S, 6 * SIM_S,
                   3 * SIM_S, 3 * SIM_S, 8, 8, 16},
};

static sim_size size_of(sim_chance *random)
{
    uint64_t number = below(random, 32);
    sim_size size = SIM_TINY;
    for (; size < SIM_LARGE && number >= rows[size].of_32; size++) {
        number -= rows[size].of_32;
    }
    return size;
}

static void make_world(sim_plan *plan, sim_chance *random, sim_kind kind)
{
    static const unsigned switches[] = {1, 2, 8, 64};
    static const unsigned blocks[] = {0, 0, 20, 100, 1000};
    plan->size = size_of(random);
    plan->mix.seed = sim_chance_next(random);
    plan->mix.switch_in = switches[below(random, 4)];
    plan->mix.blocks_n = blocks[below(random, 5)];
    plan->mix.spurious = one_in(random, 4) ? 10 : 0;
    plan->kind = kind < SIM_KINDS_N ? kind : (sim_kind)below(random, SIM_KINDS_N);
    bool is_one = plan->kind == SIM_PLAIN || plan->kind == SIM_SENTINEL;
    plan->primaries_n = is_one ? 1 : (unsigned)between(random, 2, 4);
    plan->replicas_n = plan->kind == SIM_CLUSTER ? (unsigned)below(random, 3) : 0;
    plan->replicas_n =
        plan->kind == SIM_SENTINEL ? (unsigned)between(random, 1, 2) : plan->replicas_n;
    plan->sentinels_n = plan->kind == SIM_SENTINEL ? (unsigned)between(random, 2, 4) : 0;
    plan->spares_n = plan->kind == SIM_RING ? 1 : 0;
    plan->latency_ns = of_any_size(random, 100 * SIM_US, 100 * SIM_MS);
    plan->latency_ns = one_in(random, 16) ? between(random, 100, 400) * SIM_MS : plan->latency_ns;
    plan->jitter_ns = one_in(random, 2) ? 0 : plan->latency_ns / 2;
    plan->bandwidth = one_in(random, 4) ? between(random, 50000, 5000000) : 0;
    plan->service_ns = of_any_size(random, 2 * SIM_US, 500 * SIM_US);
    plan->news_ns = 300 * SIM_MS;
    plan->has_names = one_in(random, 4) && plan->latency_ns <= 100 * SIM_MS;
    plan->has_thread = plan->has_names && one_in(random, 2);
    plan->has_dead_address = plan->has_names && one_in(random, 3);
    plan->waits_for_down = one_in(random, 4);
    plan->moves_keys = plan->kind == SIM_RING && !plan->waits_for_down && one_in(random, 2);
    plan->ejects = plan->moves_keys && one_in(random, 2);
    plan->protocol = one_in(random, 4) ? 3 : 2;
    plan->is_old = plan->protocol == 2 && one_in(random, 10);
    plan->is_strict = one_in(random, 6);
    plan->has_shared = one_in(random, 6);
    bool hears = plan->kind != SIM_RING && one_in(random, 8);
    plan->channels_n = hears ? (unsigned)between(random, 1, SIM_CHANNELS) : 0;
    plan->share_above = one_in(random, 2) ? 1 : 0;
    plan->pool_max = one_in(random, 4) ? (unsigned)between(random, 1, 3) : 0;
    plan->is_long = plan->size == SIM_LARGE && one_in(random, 12);
    plan->waits_for_down = plan->waits_for_down || (plan->is_long && one_in(random, 2));
    plan->moves_keys = plan->moves_keys && !plan->waits_for_down;
    /* Calls that come seconds apart take a dial on by one address each. */
    plan->has_dead_address = plan->has_dead_address && !plan->is_long;
    plan->timeout_ms = of_any_size(random, 100, 4000) + plan->latency_ns / SIM_MS * 10;
    plan->timeout_ms = plan->is_long ? 30000 : plan->timeout_ms;
}

static void make_command(sim_plan *plan, sim_chance *random, sim_way way)
{
    static const sim_act by_way[SIM_WAYS_N][6] = {
        [SIM_CALL] = {SIM_READ, SIM_PUSH, SIM_STORE, SIM_MANY, SIM_STORES, SIM_BLOCK},
        [SIM_BATCH] = {SIM_READ, SIM_PUSH, SIM_PUSH, SIM_STORE, SIM_PUSH, SIM_READ},
        [SIM_TICKET] = {SIM_READ, SIM_PUSH, SIM_PUSH, SIM_STORE, SIM_PUSH, SIM_BLOCK},
        [SIM_CALLBACK] = {SIM_READ, SIM_PUSH, SIM_PUSH, SIM_STORE, SIM_PUSH, SIM_BLOCK},
        [SIM_SESSION] = {SIM_PUSH, SIM_PUSH, SIM_PUSH, SIM_READ, SIM_PUSH, SIM_READ},
    };
    sim_command *command = &plan->commands[plan->commands_n++];
    command->way = way;
    command->act = by_way[way][below(random, 6)];
    if (way == SIM_CALL && plan->kind == SIM_CLUSTER && one_in(random, 8)) {
        command->act = SIM_PINNED;
    }
    if (way != SIM_SESSION && command->act == SIM_PUSH && one_in(random, 6)) {
        command->act = SIM_WHOLE;
    }
    command->key = (unsigned)below(random, one_in(random, 2) ? 2 : SIM_KEYS);
    bool has_parts =
        command->act == SIM_MANY || command->act == SIM_STORES || command->act == SIM_WHOLE;
    command->parts_n = has_parts ? (unsigned)between(random, 2, SIM_PARTS) : 1;
    command->id = plan->ids_n + 1;
    plan->ids_n += command->parts_n;
    uint64_t pause_ns = rows[plan->size].begin_ns / 4;
    command->pause_ns = one_in(random, 2) ? 0 : of_any_size(random, SIM_US, pause_ns);
    command->timeout_ms = one_in(random, 4) ? of_any_size(random, 20, 5000) : 0;
    if (one_in(random, 12)) { /* in the middle of a connect, a greeting, an answer */
        command->timeout_ms = 1 + between(random, 0, 8 * plan->latency_ns) / SIM_MS;
    }
    command->is_given_up = way == SIM_TICKET && one_in(random, 8);
    command->is_cancelled =
        (way == SIM_TICKET || way == SIM_CALLBACK) && !command->is_given_up && one_in(random, 8);
    command->cancel_ns = one_in(random, 2) ? 0 : of_any_size(random, SIM_US, 300 * SIM_MS);
}

static void make_callers(sim_plan *plan, sim_chance *random)
{
    const size_row *row = &rows[plan->size];
    plan->callers_n = (unsigned)of_any_size(random, 1, row->callers_n);
    sim_way favourite = (sim_way)below(random, SIM_WAYS_N);
    bool has_one = one_in(random, 2);
    for (unsigned i = 0; i < plan->callers_n; i++) {
        sim_caller *caller = &plan->callers[i];
        caller->way = has_one ? favourite : (sim_way)below(random, SIM_WAYS_N);
        caller->first = plan->commands_n;
        caller->commands_n = (unsigned)between(random, 1, row->commands_n);
        caller->group_n = (unsigned)between(random, 1, 8);
        caller->begin_ns = one_in(random, 2) ? 0 : of_any_size(random, SIM_US, row->begin_ns);
        for (unsigned k = 0; k < caller->commands_n; k++) {
            make_command(plan, random, caller->way);
            plan->commands[plan->commands_n - 1].handle = plan->has_shared ? i % 2 : 0;
        }
    }
}

/* One caller who gives very many commands at once, while work takes time. */
static void make_crowd(sim_plan *plan, sim_chance *random)
{
    plan->mix.blocks_n = 0;
    plan->mix.block_ns = 20;
    plan->callers_n = 1;
    plan->commands_n = 0;
    plan->ids_n = 0;
    plan->callers[0] = (sim_caller){SIM_CALLBACK, 0, 1, 1, 0, false, false};
    make_command(plan, random, SIM_CALLBACK);
    plan->commands[0].act = SIM_READ;
    plan->commands[0].times_n = (unsigned)between(random, 1500, 4000);
}

/* Worlds in which a fault can be, one bit each; 0: in all. */
#define IN(kind) (1u << (kind))

static const unsigned worlds[SIM_FAULTS_N] = {
    [SIM_MOVE] = IN(SIM_CLUSTER),
    [SIM_MOVE_ALL] = IN(SIM_CLUSTER),
    [SIM_FAILOVER] = IN(SIM_CLUSTER) | IN(SIM_SENTINEL),
    [SIM_UNSERVED] = IN(SIM_CLUSTER),
    [SIM_REPLACE] = IN(SIM_CLUSTER),
    [SIM_REPLACE_ALL] = IN(SIM_CLUSTER),
    [SIM_APART] = IN(SIM_CLUSTER) | IN(SIM_SENTINEL),
    [SIM_FORGET] = IN(SIM_SENTINEL),
    [SIM_MEMBERS] = IN(SIM_RING),
};

static sim_fault_kind fault_of(const sim_plan *plan, sim_chance *random)
{
    sim_fault_kind kind = (sim_fault_kind)between(random, 1, SIM_DRAIN);
    for (unsigned i = 0; worlds[kind] != 0 && (worlds[kind] & IN(plan->kind)) == 0 && i < 3; i++) {
        kind = (sim_fault_kind)between(random, 1, SIM_DRAIN);
    }
    bool is_elsewhere = worlds[kind] != 0 && (worlds[kind] & IN(plan->kind)) == 0;
    bool is_rare = (kind == SIM_CLOSE || kind == SIM_DRAIN) && !one_in(random, 3);
    is_rare =
        is_rare || (kind == SIM_FORK && !one_in(random, 16)); /* it takes as long as 20 lives */
    return is_rare || is_elsewhere ? SIM_RESETS : kind;
}

/* From the last fault's begin on until all is well. */
static uint64_t rest_ns(const sim_plan *plan)
{
    return plan->is_long ? 31 * SIM_S : rows[plan->size].rest_ns;
}

static void make_faults(sim_plan *plan, sim_chance *random)
{
    const size_row *row = &rows[plan->size];
    uint64_t end_ns = of_any_size(random, row->end_ns / 60, row->end_ns);
    plan->faults_n = one_in(random, 8) ? 0 : (unsigned)of_any_size(random, 1, row->faults_n);
    for (unsigned i = 0; i < plan->faults_n; i++) {
        sim_fault *fault = &plan->faults[i];
        fault->kind = fault_of(plan, random);
        fault->kind = plan->is_long && i == 0 ? SIM_KILL : fault->kind;
        fault->at_ns = below(random, end_ns);
        fault->length_ns = of_any_size(random, SIM_MS, row->fault_ns);
        fault->length_ns += plan->is_long && fault->kind == SIM_KILL ? 27 * SIM_S : 0;
        fault->target = (unsigned)below(random, 1000);
        fault->value = sim_chance_next(random) >> 16;
        if (fault->kind == SIM_MEMORY) {
            plan->memory_at = (unsigned)of_any_size(random, 1, 4000);
        }
    }
    plan->heal_ns = end_ns + rest_ns(plan);
}

#define FOR_EVER_NS  (1000 * SIM_S)
#define STRANGERS_NS (100 * SIM_MS)

/* Addresses of sentinels that are somebody else's; one of the group is left. */
static void make_strangers(sim_plan *plan, sim_chance *random)
{
    /* Calls that come seconds apart, and fail at once as their server has gone, take the fetch on
     * by one step each: behind a dead address, or very far away, that is not enough. */
    bool may_come =
        plan->kind == SIM_SENTINEL && !plan->has_dead_address && plan->latency_ns <= STRANGERS_NS;
    unsigned n = may_come && one_in(random, 3) ? 1 : 0;
    n += n > 0 && plan->sentinels_n > 2 && one_in(random, 2) ? 1 : 0;
    uint64_t end_ns = plan->heal_ns - rest_ns(plan);
    unsigned target = (unsigned)below(random, 1000);
    for (; n > 0 && plan->faults_n < SIM_FAULTS; n--) {
        sim_fault *fault = &plan->faults[plan->faults_n++];
        fault->kind = SIM_STRANGER;
        fault->at_ns = below(random, end_ns);
        fault->length_ns = one_in(random, 2) ? FOR_EVER_NS : of_any_size(random, SIM_MS, 3 * SIM_S);
        fault->target = target++;
        fault->value = sim_chance_next(random) >> 16;
    }
}

/* A cache ends before its handle, and stays with the parent of a fork. */
static void make_readers(sim_plan *plan, sim_chance *random)
{
    bool has_end = sim_plan_has(plan, SIM_CLOSE) || sim_plan_has(plan, SIM_DRAIN) ||
                   sim_plan_has(plan, SIM_FORK);
    bool is_bound = !plan->has_names && plan->mix.block_ns == 0 && !plan->is_long;
    unsigned rare = rows[plan->size].readers;
    bool reads = !has_end && is_bound && one_in(random, plan->kind == SIM_PLAIN ? rare / 2 : rare);
    plan->nears_n = reads ? (unsigned)between(random, 1, 2) : 0;
    /* A loop that has no descriptor yet ends nothing. */
    plan->reads_in_loop = reads && !sim_plan_has(plan, SIM_NUMBERS) && one_in(random, 2);
    plan->staleness_ms = of_any_size(random, 10, 1000);
    plan->staleness_ms += one_in(random, 4) ? 0 : 20 * plan->latency_ns / SIM_MS;
}

/* Slots of what is near, and of what is loaded, move. */
static void aim_moves(sim_plan *plan)
{
    for (unsigned i = 0; plan->nears_n + plan->loads_n > 0 && i < plan->faults_n; i++) {
        sim_fault *fault = &plan->faults[i];
        fault->target %= fault->kind == SIM_MOVE || fault->kind == SIM_UNSERVED ? 3 : UINT_MAX;
    }
}

/* Caches whose values are loaded; of two caches each is as another process. */
static void make_loads(sim_plan *plan, sim_chance *random)
{
    bool has_end = sim_plan_has(plan, SIM_CLOSE) || sim_plan_has(plan, SIM_DRAIN) ||
                   sim_plan_has(plan, SIM_FORK);
    bool is_bound = !plan->has_names && plan->mix.block_ns == 0 && !plan->is_long;
    if (has_end || !is_bound || !one_in(random, rows[plan->size].loads)) {
        return;
    }
    plan->loads_n = (unsigned)between(random, 1, plan->size == SIM_TINY ? 3 : 6);
    plan->loads_in_loop = !sim_plan_has(plan, SIM_NUMBERS) && one_in(random, 2);
    plan->pool_max += plan->pool_max > 0 ? plan->loads_n : 0; /* each load has one of them */
    sim_plan_draw_loads(plan, random);
}

void sim_plan_draw_loads(sim_plan *plan, sim_chance *random)
{
    plan->caches_n = (unsigned)between(random, 1, 2);
    plan->loads_are_near = one_in(random, 2);
    plan->loads_max = one_in(random, 3) ? 1 : one_in(random, 2) ? 2 : 32;
    plan->lease_ms = of_any_size(random, 50, 1000);
    plan->ttl_ms = one_in(random, 6) ? 0 : of_any_size(random, 20, 2000);
    plan->stale_ms = plan->ttl_ms == 0 || one_in(random, 2) ? 0 : of_any_size(random, 10, 1000);
    plan->stale_if_error_ms =
        plan->ttl_ms == 0 || one_in(random, 2) ? 0 : of_any_size(random, 10, 2000);
    plan->negative_ms = one_in(random, 4) ? 0 : of_any_size(random, 10, 500);
    plan->load_ms = of_any_size(random, 1, one_in(random, 4) ? 2 * plan->lease_ms : 100);
    plan->staleness_ms = plan->staleness_ms > 0 ? plan->staleness_ms : 200;
    plan->fails_in = one_in(random, 3) ? 2 : 8;
    plan->changes_in = one_in(random, 3) ? 3 : 12;
    plan->writes_ms = one_in(random, 3) ? 60 : 800;
}

/* Who walks all keys meets slots that move, forth and back, within a walk of some round trips. */
static void make_walks(sim_plan *plan, sim_chance *random)
{
    bool walks = one_in(random, rows[plan->size].walks);
    plan->walks_n = walks ? (unsigned)between(random, 1, 2) : 0;
    bool moves = plan->walks_n > 0 && plan->kind == SIM_CLUSTER;
    uint64_t at_ns = below(random, 60 * plan->latency_ns);
    unsigned target = (unsigned)below(random, 2);
    for (unsigned i = 0; i < plan->faults_n && moves; i++) {
        sim_fault *fault = &plan->faults[i];
        if (one_in(random, 4) || fault->kind == SIM_MEMORY) {
            continue;
        }
        fault->kind = one_in(random, 6) ? SIM_MOVE_ALL : SIM_MOVE;
        fault->target = target;
        fault->value = i % 2;
        fault->at_ns = at_ns;
        fault->length_ns = plan->latency_ns * between(random, 1, 20);
        at_ns += fault->length_ns + plan->latency_ns * below(random, 20);
    }
}

/* Sharded channels are in slots that move; those of a ring belong to members. */
static void make_channels(sim_plan *plan, sim_chance *random)
{
    bool hears = plan->kind == SIM_RING && one_in(random, 4);
    plan->channels_n = hears ? (unsigned)between(random, 1, SIM_CHANNELS) : plan->channels_n;
    plan->is_sharded = plan->kind == SIM_CLUSTER && plan->channels_n > 0 && one_in(random, 2);
}

/* Who has sessions, by calls or by callbacks. */
static void make_pins(sim_plan *plan, sim_chance *random)
{
    for (unsigned i = 0; i < plan->callers_n; i++) {
        sim_caller *caller = &plan->callers[i];
        caller->is_in_loop = caller->way == SIM_SESSION && one_in(random, 2);
    }
}

void sim_plan_make(sim_plan *plan, uint64_t seed, sim_kind kind)
{
    sim_chance random;
    random.state = seed;
    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    make_world(plan, &random, kind);
    make_callers(plan, &random);
    if (plan->size == SIM_LARGE && one_in(&random, 14)) {
        make_crowd(plan, &random);
    }
    make_faults(plan, &random);
    make_walks(plan, &random);
    plan->reopens = one_in(&random, 2);
    make_channels(plan, &random);
    if (!sim_scene_make(plan, &random)) {
        make_strangers(plan, &random);
        make_readers(plan, &random);
        make_loads(plan, &random);
        aim_moves(plan);
        bool may_hang_up = plan->kind == SIM_PLAIN || plan->kind == SIM_RING;
        may_hang_up = may_hang_up && plan->protocol == 2 && !plan->is_old;
        plan->hangs_up = may_hang_up && one_in(&random, 16);
    }
    make_pins(plan, &random);
}
