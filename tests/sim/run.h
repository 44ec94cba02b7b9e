/* SPDX-License-Identifier: BSD-3-Clause */
/* Run: one life of a handle in its world, from opening to what is left behind. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim/plan.h"

/* Runs the plan; where something is wrong, sim_fail ends the process. */
void sim_run(const sim_plan *plan);

/* What all runs came to, so far. */
typedef struct sim_tally {
    unsigned long runs_n;
    unsigned long commands_n;
    unsigned long answered_n;
    unsigned long failed_n[3]; /* by effect */
    unsigned long connects_n;
    unsigned long virtual_s;
} sim_tally;

extern sim_tally sim_the_tally;

/* What goes wrong begins at its time. */
void sim_faults_begin(const sim_plan *plan);

/* Another member comes, one goes or gets another share, by a thread of its own. */
void sim_members_change(unsigned target, uint64_t value);

/* A subscriber hears the channels, where there are some. */
void sim_listener_begin(const sim_plan *plan);

/* Threads walk all keys, where the plan has such. */
void sim_walks_begin(const sim_plan *plan);

/* The program forks, by a thread of its own. */
void sim_fork(void);

/* All that is wrong ends now. */
void sim_faults_end(void);

/* After the run: every command against the servers' accounts. */
void sim_judge(const sim_plan *plan);

#endif
