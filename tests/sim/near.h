/* SPDX-License-Identifier: BSD-3-Clause */
/* Near: keys that a program keeps in its memory, and what their servers know of that. */
#ifndef SIM_NEAR_H
#define SIM_NEAR_H

#include "sim/world.h"

#define SIM_NEAR_KEYS     3
#define SIM_NEAR_VERSIONS 1024
#define SIM_NEAR_OWN      64
#define SIM_NEAR_NONE     100000u /* in the place of a version: there is no value */

/* The names by which servers tell of keys that were read are those of bits: near keys are the first
 * ones, behind them are others' (cached.h). */
#define SIM_NEAR_ALL ((1u << SIM_NEAR_KEYS) - 1)

void sim_near_begin_world(void);
void sim_near_name(char *text, size_t len, unsigned key);

/* Who has read the keys at the server, by one bit each, hears of it once. body: the keys of the
 * message, as a reply. */
void sim_near_tell(const sim_server *server, unsigned keys, const char *body);

void sim_near_tell_of(const sim_server *server, unsigned key);

/* The peer has read the keys. */
void sim_near_track(sim_peer *peer, unsigned keys);

/* The version that a write of the program's own has made, and where; 0: it has not run. */
typedef struct sim_near_written {
    unsigned version;
    unsigned server;
} sim_near_written;
sim_near_written sim_near_own(unsigned number);

bool sim_near_run(sim_peer *peer, const sim_word *argv, size_t argc); /* false: other commands */

/* In near_lines.c: what each server would have answered, and when. */
void sim_near_begin_lines(void);

/* The server has another version of the key from now on, or none; 0: there is no room for more. */
unsigned sim_near_put(const sim_server *server, unsigned key, bool is_gone);
unsigned sim_near_at(const sim_server *server, unsigned key); /* its version now */

/* True where the server would have answered so at from_ns, or later. */
bool sim_near_was(unsigned server, unsigned key, unsigned version, uint64_t from_ns);

/* Whose writes of the key count. */
sim_server *sim_near_home(unsigned key);

/* What the primary has of the key is its replicas' as well. */
void sim_near_replicate(const sim_server *primary, unsigned key);

/* A version was written where it does not count, or is not there any more. */
bool sim_near_is_lost(unsigned key, unsigned version);

/* One task for each that reads by a cache of its own. */
void sim_near_readers_begin(const sim_plan *plan);

#endif
