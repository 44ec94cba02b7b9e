/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum harm: what happens to the servers of a crowd, one piece at a time. */
#ifndef SUPPORT_QUORUM_HARM_H
#define SUPPORT_QUORUM_HARM_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/random.h"
#include "support/door.h"
#include "support/quorum_crowd.h"
#include "support/server.h"

#define SERVERS_N KW_TEST_CROWD_SERVERS
#define CLIENTS_N 4u
#define KEYS_N    5u    /* at a time */
#define EPOCH_MS  1000u /* of the calm clock: then there are others .. */
#define LONG_N    500u /* .. or after so many acts on one, so that no history is too long to judge */
#define ACTS_MAX  1000000u /* of a client */

typedef struct kw_test_note {
    uint32_t key;
    kw_test_act act;
} kw_test_note;

/* What all processes see. */
typedef struct kw_test_board {
    atomic_bool ends;
    atomic_uint_fast64_t done_n;
    atomic_uint_fast64_t none_n;
    atomic_uint_fast64_t maybe_n;
    uint64_t begin_ns; /* by the system's clock, as all acts are */
    uint64_t epoch_ns;
    atomic_size_t notes_n[CLIENTS_N + 1];    /* the last: of whoever does the harm */
    atomic_uint_fast64_t acts_n[2 * KEYS_N]; /* by key; its number in the upper 32 bits */
    kw_test_note notes[CLIENTS_N + 1][ACTS_MAX];
} kw_test_board;

typedef struct kw_test_crowd {
    const kw_test_crowd_plan *plan;
    kw_test_board *board;
    kw_test_server *servers[SERVERS_N];
    kw_test_door *doors[SERVERS_N];
    pid_t clients[CLIENTS_N];
    char uri[600];
    kw_random random;
    uint64_t faults_n;
} kw_test_crowd;

/* Keys are numbered: each epoch has KEYS_N of its own. */
uint32_t kw_test_crowd_epoch(const kw_test_board *shared);

/* True where one more act on the key is to be. */
bool kw_test_crowd_has_room(kw_test_board *shared, uint32_t key);

/* Adds what the act's client saw of the key. */
void kw_test_crowd_note(kw_test_board *shared, uint32_t key, const kw_test_act *act);

/* The server has all that it should. */
void kw_test_crowd_mark(kw_test_server *server);

/* The next piece of harm that the plan has. */
void kw_test_crowd_harm(kw_test_crowd *self);

#endif
