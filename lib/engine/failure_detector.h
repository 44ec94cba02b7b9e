/* SPDX-License-Identifier: BSD-3-Clause */
/* Failure detector: whether a node of a ring is down, and when it is asked again. */
#ifndef ENGINE_FAILURE_DETECTOR_H
#define ENGINE_FAILURE_DETECTOR_H

#include "base/random.h"
#include "engine/backoff.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct kw_failure_detector_rule {
    uint64_t down_after; /* failures in a row, at least 1 */
    uint64_t up_after;   /* answered probes in a row, at least 1 */
} kw_failure_detector_rule;

/* Down after some failures in a row, of callers or of probes; up again after some answered
 * probes in a row. One that goes down soon after it came up needs twice as many the next
 * time, up to 16 times as many: a node that comes and goes stays away. */
typedef struct kw_failure_detector {
    kw_backoff backoff; /* between probes that are not answered */
    uint64_t probe_ns;  /* when the next probe is due */
    uint64_t up_ns;     /* when it came up; 0: it has not been down */
    uint64_t answers_n; /* of probes, in a row, while down */
    uint64_t patience;  /* up_after is multiplied by this: 1 to 16 */
    uint64_t downs_n;   /* how often it went down */
    bool is_down;
} kw_failure_detector;

void kw_failure_detector_init(kw_failure_detector *outage);

/* The node has failed failures_n times in a row. True where it is down from now on. */
bool kw_failure_detector_on_failures(kw_failure_detector *outage,
                                     const kw_failure_detector_rule *rule, uint64_t now_ns,
                                     uint64_t failures_n);

/* A probe was answered, or was not. True where the node is up from now on. */
bool kw_failure_detector_on_answer(kw_failure_detector *outage,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns);
void kw_failure_detector_on_silence(kw_failure_detector *outage, uint64_t now_ns,
                                    kw_random *random);

#endif
