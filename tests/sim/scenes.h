/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes: plans of one trouble each. */
#ifndef SIM_SCENES_H
#define SIM_SCENES_H

#include "sim/chance.h"
#include "sim/plan.h"

/* Makes one of the plan, by chance; false: the plan is as it was. */
bool sim_scene_make(sim_plan *plan, sim_chance *random);

/* In scenes_near.c. */
void sim_scene_slots_change_hands(sim_plan *plan, sim_chance *random);
void sim_scene_members_come_and_go(sim_plan *plan, sim_chance *random);
void sim_scene_primaries_change(sim_plan *plan, sim_chance *random);
void sim_scene_herd(sim_plan *plan, sim_chance *random);

#endif
