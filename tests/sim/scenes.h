/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes: plans of one trouble each. */
#ifndef SIM_SCENES_H
#define SIM_SCENES_H

#include "sim/chance.h"
#include "sim/plan.h"

/* Makes one of the plan, where its world has some. */
void sim_scene_make(sim_plan *plan, sim_chance *random);

#endif
