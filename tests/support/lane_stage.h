/* SPDX-License-Identifier: BSD-3-Clause */
/* A lane to a scripted server, without the calls that usually drive it: commands that say
 * their number, and the server's log of those that it got. */
#ifndef SUPPORT_LANE_STAGE_H
#define SUPPORT_LANE_STAGE_H

#include <keyway/client.h>

#include "net/node.h"
#include "support/check.h"
#include "support/fake.h"
#include "support/strain.h"

typedef struct kw_test_stage {
    kw_fake *fake; /* answers ECHO; its responder is the stage's */
    kw_test_memory memory;
    kw_test_strain strain;
    kw_client *client;
    kw_node *node;
    kw_lane *lane;
    atomic_uint slow_permille;  /* answers that come late */
    atomic_bool is_mute;        /* gets commands, and answers none */
    atomic_uint close_permille; /* commands that the server closes the connection behind */
} kw_test_stage;

/* A new handle and node; options is the query of the URI. */
void kw_test_stage_open(kw_test_stage *stage, const char *options, uint64_t seed);

/* Frees the node, closes the handle, and checks that nothing is left of either. */
void kw_test_stage_close(kw_test_stage *stage);

/* How often the server got the command of each number below n; zero bytes beyond it. */
void kw_test_stage_count(kw_test_stage *stage, unsigned char *counts, size_t n);

/* Nobody is on the lane: is everything given back? NULL, or what is wrong. */
const char *kw_test_stage_find_leftover(kw_test_stage *stage);

/* One command; on the heap, so that a touch after its end is seen. */
typedef struct kw_test_rider {
    kw_lane_waiter waiter;
    kw_error failure;
    unsigned number;
    char bytes[64];
} kw_test_rider;

kw_test_rider *kw_test_rider_new(unsigned number);
void kw_test_rider_free(kw_test_rider *rider);

/* True where it was answered with its own number. */
bool kw_test_rider_is_right(const kw_test_rider *rider);

/* Submits and waits, until timeout_ms from now; then gives up. KW_OK where it has ended. */
kw_err kw_test_rider_run(kw_test_stage *stage, kw_test_rider *rider, unsigned timeout_ms);

#endif
