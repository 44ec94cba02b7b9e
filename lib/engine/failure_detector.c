/* SPDX-License-Identifier: BSD-3-Clause */
/* Weighs the failures and answered probes of a server, and decides when it is down and up. */
#include "engine/failure_detector.h"

/* Between probes that are not answered; the longest bounds how late a server's return is
 * seen. */
#define PAUSE_FIRST_NS (50 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (800 * KW_NS_PER_MS)

/* Between probes that are answered. */
#define GAP_NS (5 * KW_NS_PER_MS)

/* Between two looks at a server whose failures prove nothing yet. */
#define LOOK_NS (100 * KW_NS_PER_MS)

/* A server that has stayed up for so long is trusted again: its patience goes back to 1. */
#define STEADY_NS (10000 * KW_NS_PER_MS)

#define PATIENCE_MAX 16

/* What servers wait before they call another one down, where nobody may ask: a cluster's default,
 * and what leaves 30 s in all under Sentinel. */
#define CLUSTER_TIMEOUT_MS  15000
#define SENTINEL_TIMEOUT_MS 20000

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

bool kw_failure_detector_on_faults(kw_failure_detector *outage,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns,
                                   const kw_faults *faults)
{
    if (outage->is_down || faults->n < rule->down_after || !faults->is_proven ||
        now_ns < faults->since_ns + rule->span_ns) {
        return false;
    }
    bool is_relapse = outage->up_ns != 0 && now_ns - outage->up_ns < STEADY_NS;
    if (!is_relapse || !rule->is_wary) {
        outage->patience = 1;
    } else if (outage->patience < PATIENCE_MAX) {
        outage->patience *= 2;
    }
    outage->is_down = true;
    outage->downs_n++;
    outage->answers_n = 0;
    kw_backoff_reset(&outage->backoff);
    outage->probe_ns = now_ns + PAUSE_FIRST_NS;
    return true;
}

uint64_t kw_failure_detector_due_ns(const kw_failure_detector_rule *rule, uint64_t now_ns,
                                    const kw_faults *faults)
{
    uint64_t due_ns = faults->since_ns + rule->span_ns;
    return due_ns > now_ns ? due_ns : now_ns + LOOK_NS;
}

/* It is up from now on. */
static bool come_up(kw_failure_detector *outage, uint64_t now_ns)
{
    outage->is_down = false;
    outage->up_ns = now_ns;
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
    return come_up(outage, now_ns);
}

void kw_failure_detector_on_silence(kw_failure_detector *outage, uint64_t now_ns, kw_random *random)
{
    outage->answers_n = 0;
    outage->probe_ns = now_ns + kw_backoff_next(&outage->backoff, random);
}

bool kw_failure_detector_on_well(kw_failure_detector *outage, const kw_failure_detector_rule *rule,
                                 uint64_t now_ns)
{
    return outage->is_down && !rule->is_wary && come_up(outage, now_ns);
}

uint64_t kw_failure_election_ns(bool is_cluster, uint64_t timeout_ms)
{
    if (is_cluster) {
        timeout_ms = timeout_ms > 0 ? timeout_ms : CLUSTER_TIMEOUT_MS;
        return (2 * timeout_ms + 2000) * KW_NS_PER_MS;
    }
    timeout_ms = timeout_ms > 0 ? timeout_ms : SENTINEL_TIMEOUT_MS;
    return (timeout_ms + 10000) * KW_NS_PER_MS;
}

kw_admission kw_failure_detector_admit(const kw_outage_view *outage, uint64_t now_ns)
{
    if (now_ns < outage->hopeless_ns) {
        return KW_ADMITTED;
    }
    if (outage->kind != KW_FAULT_REFUSED) {
        return now_ns < outage->sign_ns ? KW_ADMITTED_SOON : KW_ADMITTED_NOT;
    }
    /* A refusal comes at once: it costs a call nothing to be the one that finds out, and those
     * that come meanwhile nothing to wait for it. */
    if (now_ns >= outage->probe_ns + KW_FAILURE_RETRY_NS) {
        return KW_ADMITTED_AS_PROBE;
    }
    return outage->is_probed ? KW_ADMITTED_SOON : KW_ADMITTED_NOT;
}
