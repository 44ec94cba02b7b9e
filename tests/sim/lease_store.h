/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server has of a key that caches load. */
#ifndef SIM_LEASE_STORE_H
#define SIM_LEASE_STORE_H

#include "sim/leases.h"

#define SIM_TOKEN_LEN 32

typedef struct sim_store {
    unsigned value; /* 0: none */
    uint64_t end_ns;
    char lease; /* 'L': somebody loads, 'N': there is no value, 0: none */
    char token[SIM_TOKEN_LEN];
    unsigned before;   /* the value that was there when the lease was taken */
    uint64_t lease_ns; /* its end */
    uint64_t written_ns;
    unsigned changes_n;
} sim_store;

void sim_stores_begin(void);
sim_store *sim_store_of(const sim_server *server, unsigned key);

/* The key, also of a lease; SIM_LOADED_KEYS: another one. */
unsigned sim_loaded_key(const sim_word *word, bool *is_lease);

/* The lease is named so. */
void sim_store_name(unsigned key, const sim_word *name);

/* Who has read it, or its lease, hears of the next change. */
void sim_store_track(sim_peer *peer, unsigned key, bool is_lease);

/* What is over is gone, and told. */
void sim_store_expire(const sim_server *server, unsigned key);

/* kind 0: it is given up. */
void sim_store_lease(const sim_server *server, unsigned key, char kind, uint64_t ms);

/* It is the token's. */
void sim_store_grant(const sim_server *server, unsigned key, const char *token);
void sim_store_extend(const sim_server *server, unsigned key, uint64_t ms);

/* value 0: it is deleted; ms 0: it has no end. */
void sim_store_set(const sim_server *server, unsigned key, unsigned value, uint64_t ms);

/* Who gives a lease back, or stores by it, has loaded. */
void sim_store_check_loaded(const char *token, const char *op);

/* What is to be stored was loaded after the key was written last. */
void sim_store_check_fill(const sim_store *self, unsigned number);

#endif
