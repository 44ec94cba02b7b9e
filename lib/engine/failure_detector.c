/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts failures and answered probes of a ring's node, and decides when it is down and up. */
#include "engine/failure_detector.h"

/* Between probes that are not answered; the longest bounds how late a node's return is
 * seen. */
#define PAUSE_FIRST_NS (50 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (800 * KW_NS_PER_MS)

/* Between probes that are answered. */
#define GAP_NS (5 * KW_NS_PER_MS)

/* A node that has stayed up for so long is trusted again: its patience goes back to 1. */
#define STEADY_NS (10000 * KW_NS_PER_MS)

#define PATIENCE_MAX 16

void kw_failure_detector_init(kw_failure_detector *outage)
{
    kw_backoff_init(&outage->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
    outage->probe_ns = 0;
    outage->up_ns = 0;
    outage->answers_n = 0;
    outage->patience = 1;
    outage->downs_n = 0;
    outage->is_down = false;
}

bool kw_failure_detector_on_failures(kw_failure_detector *outage,
                                     const kw_failure_detector_rule *rule, uint64_t now_ns,
                                     uint64_t failures_n)
{
    if (outage->is_down || failures_n < rule->down_after) {
        return false;
    }
    bool is_relapse = outage->up_ns != 0 && now_ns - outage->up_ns < STEADY_NS;
    outage->patience = !is_relapse                       ? 1
                       : outage->patience < PATIENCE_MAX ? 2 * outage->patience
                                                         : outage->patience;
    outage->is_down = true;
    outage->downs_n++;
    outage->answers_n = 0;
    kw_backoff_reset(&outage->backoff);
    outage->probe_ns = now_ns + PAUSE_FIRST_NS;
    return true;
}

bool kw_failure_detector_on_answer(kw_failure_detector *outage,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns)
{
    outage->probe_ns = now_ns + GAP_NS;
    kw_backoff_reset(&outage->backoff);
    if (!outage->is_down || ++outage->answers_n < rule->up_after * outage->patience) {
        return false;
    }
    outage->is_down = false;
    outage->up_ns = now_ns;
    return true;
}

void kw_failure_detector_on_silence(kw_failure_detector *outage, uint64_t now_ns, kw_random *random)
{
    outage->answers_n = 0;
    outage->probe_ns = now_ns + kw_backoff_next(&outage->backoff, random);
}
