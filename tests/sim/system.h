/* SPDX-License-Identifier: BSD-3-Clause */
/* System: what the library asks of the operating system, given by the simulator: the linker puts
 * __wrap_NAME in the place of NAME (--wrap), for the library as it is built for everybody. */
#ifndef SIM_SYSTEM_H
#define SIM_SYSTEM_H

#include "sim/sched.h"

#define SIM_NAMES    16
#define SIM_NAME_IPS 4
#define SIM_EPOCH_MS ((uint64_t)1700000000000) /* the wall clock when a run begins */

/* What the name servers know. */
typedef struct sim_name {
    char name[40];
    uint32_t ips[SIM_NAME_IPS];
    unsigned ips_n;
    uint64_t wait_ns; /* until an answer comes */
    bool is_unknown;  /* no name server knows it, or answers */
} sim_name;

void sim_system_begin(void);

/* The process is a child of the one before. */
void sim_system_be_child(void);
bool sim_system_is_child(void);

/* What is wrong with what is left: a lock that is held, a thread that looks up a name for ever. */
void sim_system_end(void);

sim_name *sim_name_add(const char *name);

/* The name, where there is one, leads to this address alone from now on. */
void sim_name_set(const char *name, uint32_t ip);

/* From now on the name servers take so long to answer. */
void sim_names_wait(uint64_t wait_ns);

/* From now on they know nothing, or do again. */
void sim_names_forget(bool does);

/* What all look-ups together have taken. */
uint64_t sim_names_waited_ns(void);

/* The clock that people set goes so much forward, or back. */
void sim_wall_step(int64_t ms);

/* Receives and sends take at most so many bytes at a time; 0: what there is. */
void sim_system_shorten(size_t bytes);
bool sim_system_is_short(void);

#endif
