/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases: keys that caches load, at the servers: their values, who may load them, and what is known
 * of each load. */
#ifndef SIM_LEASES_H
#define SIM_LEASES_H

#include "sim/near.h"

#define SIM_LOADED_KEYS SIM_NEAR_KEYS
#define SIM_VALUES      2048 /* loads and writes of a life, from 1 */

/* One load, or one value that somebody has written. */
typedef struct sim_value {
    unsigned key;
    unsigned cache;       /* that loads it; SIM_NOBODY: it was written */
    uint64_t begun_ns;    /* the load, or the write */
    uint64_t ended_ns;    /* the load; SIM_NEVER: it is under way */
    uint64_t done_ns;     /* the fetch that loads it; SIM_NEVER: it is under way */
    uint64_t stored_ns;   /* at a server, last; SIM_NEVER: never */
    uint64_t gone_ns;     /* when a server had it last that has it no more; 0: none */
    unsigned grant;       /* by which it is loaded; 0: by none */
    bool is_unsure;       /* nobody can say by which */
    bool has_others_life; /* replaced between a GET and its PTTL */
} sim_value;

extern sim_value sim_the_values[SIM_VALUES];

void sim_leases_begin(void);
void sim_loaded_name(char *text, size_t len, unsigned key);
bool sim_lease_run(sim_peer *peer, const sim_word *argv, size_t argc); /* false: other commands */

/* A number for a value of the key; 0: there is no room for more. */
unsigned sim_value_new(unsigned key, unsigned cache);

/* True where a server had the value at that time or later. */
bool sim_value_was(unsigned number, uint64_t from_ns);

/* Until when servers say, or have said, that there is no value. */
uint64_t sim_value_none_ns(unsigned key);

/* The lease of the token is the load's; 0: no server has given it. */
unsigned sim_grant_claim(const char *token, unsigned number);

/* Until when the lease is as it was set last; 0: it is over. */
uint64_t sim_grant_end_ns(unsigned number);

/* The key's data is another server's as well, or from now on. */
void sim_leases_copy(unsigned key, const sim_server *from, const sim_server *to);
void sim_leases_hand_over(unsigned key, const sim_server *from, const sim_server *to);
void sim_leases_drop(unsigned key, const sim_server *server);
bool sim_leases_were_handed(void); /* what was the one server's is another's */

/* Tasks that fetch, and caches. */
void sim_loads_begin(const sim_plan *plan);

#endif
