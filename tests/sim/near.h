/* SPDX-License-Identifier: BSD-3-Clause */
/* Near: keys that a program keeps in its memory, and what their server knows of that. */
#ifndef SIM_NEAR_H
#define SIM_NEAR_H

#include "sim/world.h"

#define SIM_NEAR_KEYS     3
#define SIM_NEAR_VERSIONS 1024
#define SIM_NEAR_OWN      64
#define SIM_NEAR_NONE     100000u /* in the place of a version: there was no value */

void sim_near_begin_world(void);
void sim_near_name(char *text, size_t len, unsigned key);

/* True where the version was the key's at from_ns, or later. */
bool sim_near_was(unsigned key, unsigned version, uint64_t from_ns);

/* The version that a write of the program's own has made; 0: it has not run. */
unsigned sim_near_own(unsigned number);

bool sim_near_run(sim_peer *peer, const sim_word *argv, size_t argc); /* false: other commands */

/* One task for each that reads by a cache of its own. */
void sim_near_readers_begin(const sim_plan *plan);

#endif
