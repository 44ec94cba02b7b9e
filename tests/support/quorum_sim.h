/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum sim: several clients, each with a clock of its own, read and write one key of a
 * few copies, by one seed, in virtual time; messages are late or lost, copies are killed,
 * stopped and restarted with their data, clocks jump. What the clients saw is a history. */
#ifndef SUPPORT_QUORUM_SIM_H
#define SUPPORT_QUORUM_SIM_H

#include "engine/quorum.h"
#include "support/history.h"

#define KW_TEST_SIM_ACTS_MAX 256u

/* Faults planted in the client, for the checker to find. */
typedef enum kw_test_planted {
    KW_TEST_SOUND,
    KW_TEST_NO_WRITE_BACK,    /* a read is done at read_n answers */
    KW_TEST_NO_VERSION_CHECK, /* a copy takes every write */
    KW_TEST_ONE_WRITE,        /* a write is done at one copy */
    KW_TEST_BLIND_RETRY       /* a refused write is tried again whatever may be */
} kw_test_planted;

typedef struct kw_test_sim_setup {
    unsigned copies_n;
    unsigned write_n;
    unsigned read_n;
    unsigned clients_n;
    unsigned acts_n;  /* of each client */
    bool has_checked; /* writes on a condition as well */
    bool is_calm;     /* no copy fails, no message is lost */
    kw_test_planted planted;
} kw_test_sim_setup;

typedef struct kw_test_sim_result {
    kw_test_act acts[KW_TEST_SIM_ACTS_MAX];
    size_t acts_n;
    size_t done_n;
    size_t none_n;  /* failed, with no effect */
    size_t maybe_n; /* failed, perhaps with one */
    size_t retries_n;
} kw_test_sim_result;

void kw_test_sim_run(kw_test_sim_result *result, const kw_test_sim_setup *setup, uint64_t seed);

#endif
