/* SPDX-License-Identifier: BSD-3-Clause */
/* What scenes are made of: callers, their commands, faults. */
#ifndef SIM_SCENE_PARTS_H
#define SIM_SCENE_PARTS_H

#include "sim/plan.h"

#include "sim/chance.h"

#include <string.h>

/* Round trips in which a second is long. */
#define SIM_SCENE_NEAR_NS (20 * SIM_MS)

static inline uint64_t between(sim_chance *random, uint64_t least, uint64_t most)
{
    return least + sim_chance_below(random, most - least + 1);
}

static inline bool one_in(sim_chance *random, unsigned n)
{
    return sim_chance_below(random, n) == 0;
}

/* Nobody calls yet, and nothing goes wrong. */
static inline void clear(sim_plan *plan)
{
    plan->callers_n = 0;
    plan->commands_n = 0;
    plan->ids_n = 0;
    plan->faults_n = 0;
    plan->walks_n = 0;
    plan->channels_n = 0;
    plan->memory_at = 0;
    plan->mix.block_ns = 0;
    plan->is_long = false;
    plan->size = SIM_SMALL;
    plan->has_shared = false;
    plan->pool_max = 0;
    plan->has_names = false;
    plan->has_thread = false;
    plan->has_dead_address = false;
    plan->latency_ns = plan->latency_ns < SIM_SCENE_NEAR_NS ? plan->latency_ns : SIM_SCENE_NEAR_NS;
    plan->jitter_ns = plan->jitter_ns < plan->latency_ns ? plan->jitter_ns : 0;
}

static inline void add_caller(sim_plan *plan, sim_way way, uint64_t begin_ns)
{
    sim_caller *caller = &plan->callers[plan->callers_n++];
    *caller = (sim_caller){way, plan->commands_n, 0, 1, begin_ns, false, false};
}

/* One more command of the last caller. */
static inline sim_command *add(sim_plan *plan, sim_act act, unsigned key)
{
    sim_caller *caller = &plan->callers[plan->callers_n - 1];
    sim_command *command = &plan->commands[plan->commands_n++];
    memset(command, 0, sizeof(*command));
    command->way = caller->way;
    command->act = act;
    command->key = key;
    command->parts_n = 1;
    command->id = ++plan->ids_n;
    caller->commands_n++;
    return command;
}

static inline sim_fault *add_fault(sim_plan *plan, sim_fault_kind kind, uint64_t at_ns,
                                   uint64_t length_ns)
{
    sim_fault *fault = &plan->faults[plan->faults_n++];
    *fault = (sim_fault){kind, at_ns, length_ns, 0, 0, false};
    return fault;
}

/* Reads that one caller gives, one after the other. */
typedef struct reads {
    unsigned n;
    uint64_t least_ms; /* their deadlines */
    uint64_t most_ms;
    uint64_t pause_ms; /* at most, before each */
} reads;

static inline void add_reader(sim_plan *plan, sim_chance *random, uint64_t begin_ns,
                              const reads *all)
{
    add_caller(plan, SIM_CALL, begin_ns);
    for (unsigned k = 0; k < all->n; k++) {
        sim_command *command = add(plan, SIM_READ, (unsigned)sim_chance_below(random, SIM_KEYS));
        command->timeout_ms = between(random, all->least_ms, all->most_ms);
        command->pause_ns = between(random, 0, all->pause_ms) * SIM_MS;
    }
}

#endif
