/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold of every run: what the callers were told against what the servers have run. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/world.h"

static bool is_read(const sim_command *command)
{
    return command->act == SIM_READ || command->act == SIM_MANY || command->act == SIM_PINNED;
}

/* Effects are true. */
static void judge_part(const sim_command *command, unsigned part)
{
    unsigned id = command->id + part;
    const sim_result *result = &sim_the_crew.results[id];
    unsigned runs_n = sim_the_world.accounts[id].runs_n;
    if (result->end == SIM_UNDER_WAY) {
        sim_fail("command %u has never ended", id);
    }
    if (is_read(command)) {
        if (result->end == SIM_ANSWERED && runs_n == 0) {
            sim_fail("read %u is answered, and was not run", id);
        }
        return;
    }
    if (command->act == SIM_WHOLE && runs_n != sim_the_world.accounts[command->id].runs_n) {
        sim_fail("of the transaction %u some has run, and some has not", command->id);
    }
    if (runs_n > 1) {
        sim_fail("command %u has run %u times", id, runs_n);
    }
    if (result->end == SIM_ANSWERED && runs_n != 1) {
        sim_fail("command %u is answered, and has not run", id);
    }
    bool is_none = result->end == SIM_NOT_GIVEN || result->end == SIM_REFUSED ||
                   (result->end == SIM_FAILED && result->effect == KW_EFFECT_NONE);
    /* MSET in parts: one that failed says nothing of the others. */
    bool is_split = command->act == SIM_STORES && result->end == SIM_REFUSED;
    if (is_none && runs_n > 0 && !is_split) {
        sim_fail("command %u failed with the effect none (%s), and has run", id,
                 result->end == SIM_FAILED ? kw_err_name(result->code) : "the server's error");
    }
    /* A header over the limits says that a command has run; garbage may look like one. */
    bool is_done = result->effect == KW_EFFECT_DONE &&
                   (result->code != KW_ERR_LIMIT || !sim_plan_has(sim_the_crew.plan, SIM_GARBAGE));
    bool is_of_all = command->act == SIM_STORES; /* one effect for all parts: some have run */
    if (result->end == SIM_FAILED && is_done && !is_of_all && runs_n == 0) {
        sim_fail("command %u failed with the effect done, and has not run", id);
    }
}

static unsigned run_of(const sim_command *command)
{
    const sim_result *result = &sim_the_crew.results[command->id];
    bool is_spread = command->parts_n > 1 && command->act != SIM_WHOLE;
    if (result->end != SIM_ANSWERED || is_spread || command->act == SIM_BLOCK ||
        command->act == SIM_PINNED) {
        return 0;
    }
    return is_read(command) ? result->run : sim_the_world.accounts[command->id].last_run;
}

/* Commands of one thread on one key run in the order in which they were given. */
static void judge_order(const sim_plan *plan, const sim_caller *caller)
{
    const sim_command *all = &plan->commands[caller->first];
    for (unsigned i = 0; i < caller->commands_n; i++) {
        unsigned run = all[i].is_off ? 0 : run_of(&all[i]);
        for (unsigned k = i + 1; run > 0 && k < caller->commands_n; k++) {
            unsigned later = all[k].is_off || all[k].key != all[i].key ? 0 : run_of(&all[k]);
            if (later > 0 && later < run && !(is_read(&all[i]) && is_read(&all[k]))) {
                sim_fail("command %u (run %u) was given before %u (run %u), on the key k%u",
                         all[i].id, run, all[k].id, later, all[i].key);
            }
        }
    }
}

static void tally(const sim_command *command)
{
    const sim_result *result = &sim_the_crew.results[command->id];
    sim_the_tally.commands_n += result->end != SIM_NOT_GIVEN ? 1 : 0;
    sim_the_tally.answered_n += result->end == SIM_ANSWERED ? 1 : 0;
    if (result->end == SIM_FAILED) {
        sim_the_tally.failed_n[result->effect]++;
    }
}

void sim_judge(const sim_plan *plan)
{
    for (unsigned i = 0; i < plan->callers_n; i++) {
        const sim_caller *caller = &plan->callers[i];
        for (unsigned k = 0; k < caller->commands_n && !caller->is_off; k++) {
            const sim_command *command = &plan->commands[caller->first + k];
            for (unsigned part = 0; part < command->parts_n && !command->is_off; part++) {
                judge_part(command, part);
            }
            tally(command);
        }
        if (!caller->is_off) {
            judge_order(plan, caller);
        }
    }
    sim_the_tally.runs_n++;
    sim_the_tally.connects_n += sim_the_world.connects_n;
}
