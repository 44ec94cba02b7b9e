/* SPDX-License-Identifier: BSD-3-Clause */
/* Loads: those who fetch by caches, and what must hold of what they get. */
#ifndef SIM_LOADS_H
#define SIM_LOADS_H

#include "sim/callers.h"
#include "sim/leases.h"

#define SIM_FETCHERS 8
#define SIM_CACHES   2

/* One thread that fetches, and its call. */
typedef struct sim_fetcher {
    unsigned number;
    unsigned cache;
    sim_tasks task;
    unsigned key;
    bool is_inside; /* a fetch */
    bool is_in_loop;
    bool is_get;
    bool is_loading;
    bool has_loaded;
    bool found_none;
    unsigned value; /* that it loads; 0: none */
    uint64_t begin_ns;
    uint64_t loading_ns; /* what its load has taken */
    uint64_t changed_ns; /* when the last change had begun that had ended before */
    unsigned ends_n;
    kw_err code;
    kw_error error;
    kw_cache_value given;
    unsigned tries_n; /* that failed though all is well */
    bool is_served;   /* it has had a value since */
} sim_fetcher;

sim_fetcher *sim_fetcher_at(unsigned number);

void sim_caches_open(void);
kw_cache *sim_cache_of(const sim_fetcher *self); /* NULL: it could not be opened */
void sim_cache_leave(const sim_fetcher *self);

void sim_fetch_begin(sim_fetcher *self);
void sim_fetch_end(sim_fetcher *self);
void sim_change_begin(sim_fetcher *self);
void sim_change_end(sim_fetcher *self);
void sim_load_begin(sim_fetcher *self);
void sim_load_end(sim_fetcher *self);
void sim_load_none(sim_fetcher *self); /* it has found that there is none */

/* True where it has seen all that it is to see. */
bool sim_fetches_are_over(const sim_fetcher *self);

/* How long the call may have taken. */
uint64_t sim_fetch_limit_ns(const sim_fetcher *self);

#endif
