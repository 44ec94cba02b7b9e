/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of caches: what is near comes from servers that others follow; a herd wants what somebody
 * has to load. */
#include "sim/scenes.h"

#include "sim/scene_parts.h"

/* Two who read all the time, and one by whom the program hears of other maps. */
static void read_near(sim_plan *plan, sim_chance *random)
{
    plan->latency_ns = between(random, 100, 2000) * SIM_US;
    plan->jitter_ns = one_in(random, 2) ? 0 : plan->latency_ns / 2;
    plan->bandwidth = 0;
    plan->timeout_ms = 1000;
    plan->nears_n = 2;
    plan->reads_in_loop = one_in(random, 2);
    plan->staleness_ms = between(random, 20, 60) + 20 * plan->latency_ns / SIM_MS;
    add_reader(plan, random, 0, &(reads){60, 1000, 2000, 80});
}

/* One fault after the other, until there are no more; all is well some time later. */
static void trouble(sim_plan *plan, sim_chance *random, const sim_fault_kind kinds[4])
{
    uint64_t at_ns = between(random, 200, 500) * SIM_MS;
    while (plan->faults_n < SIM_FAULTS) {
        uint64_t length_ns = between(random, 1, 100) * SIM_MS;
        sim_fault *fault = add_fault(plan, kinds[sim_chance_below(random, 4)], at_ns, length_ns);
        fault->target = (unsigned)sim_chance_below(random, plan->primaries_n + plan->spares_n);
        fault->value = sim_chance_next(random) >> 16;
        at_ns += between(random, 50, 400) * SIM_MS;
    }
    plan->heal_ns = at_ns + SIM_S;
}

void sim_scene_slots_change_hands(sim_plan *plan, sim_chance *random)
{
    static const sim_fault_kind kinds[4] = {SIM_MOVE_ALL, SIM_MOVE_ALL, SIM_MOVE, SIM_FAILOVER};
    plan->primaries_n = (unsigned)between(random, 2, 3);
    plan->replicas_n = (unsigned)sim_chance_below(random, 2);
    plan->news_ns = 100 * SIM_MS;
    read_near(plan, random);
    trouble(plan, random, kinds);
    for (unsigned i = 0; i < plan->faults_n; i++) {
        if (plan->faults[i].kind == SIM_MOVE_ALL) { /* to one that has slots */
            plan->faults[i].value = sim_chance_below(random, plan->primaries_n);
        }
    }
}

void sim_scene_members_come_and_go(sim_plan *plan, sim_chance *random)
{
    static const sim_fault_kind kinds[4] = {SIM_MEMBERS, SIM_MEMBERS, SIM_MEMBERS, SIM_RESETS};
    read_near(plan, random);
    trouble(plan, random, kinds);
}

void sim_scene_primaries_change(sim_plan *plan, sim_chance *random)
{
    static const sim_fault_kind kinds[4] = {SIM_FAILOVER, SIM_APART, SIM_FAILOVER, SIM_STOP};
    read_near(plan, random);
    trouble(plan, random, kinds);
}

/* Six who want the same few keys, of two processes, whose loads take about as long as their leases
 * and whose values live for a moment. */
void sim_scene_herd(sim_plan *plan, sim_chance *random)
{
    static const sim_fault_kind kinds[4] = {SIM_RESETS, SIM_SWALLOW, SIM_STOP, SIM_CUTS};
    plan->latency_ns = between(random, 100, 3000) * SIM_US;
    plan->jitter_ns = one_in(random, 2) ? 0 : plan->latency_ns / 2;
    plan->bandwidth = 0;
    plan->timeout_ms = between(random, 200, one_in(random, 2) ? 600 : 2000);
    plan->loads_n = 6;
    plan->loads_in_loop = one_in(random, 2);
    sim_plan_draw_loads(plan, random);
    plan->lease_ms = between(random, 100, 900);
    plan->load_ms = between(random, plan->lease_ms / 2, 3 * plan->lease_ms);
    plan->heal_ns = between(random, 1000, 3000) * SIM_MS;
    if (one_in(random, 2)) {
        uint64_t heal_ns = plan->heal_ns;
        trouble(plan, random, kinds);
        plan->heal_ns = heal_ns > plan->heal_ns ? heal_ns : plan->heal_ns;
    }
}
