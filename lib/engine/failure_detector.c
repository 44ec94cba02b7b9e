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

void kw_failure_detector_init(kw_failure_detector *detector)
{
    kw_backoff_init(&detector->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
    detector->probe_ns = 0;
    detector->up_ns = 0;
    detector->answers_n = 0;
    detector->patience = 1;
    detector->downs_n = 0;
    detector->is_down = false;
}

bool kw_failure_detector_is_apart(uint64_t now_ns, uint64_t last_ns, uint64_t wait_ns,
                                  kw_fault_kind kind)
{
    wait_ns = kind == KW_FAULT_REFUSED ? 0 : wait_ns;
    return now_ns > last_ns && now_ns - last_ns > KW_FAILURE_GAP_NS + wait_ns;
}

bool kw_failure_detector_on_faults(kw_failure_detector *detector,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns,
                                   const kw_faults *faults)
{
    if (detector->is_down || faults->n < rule->down_after || !faults->is_proven ||
        faults->last_ns < faults->since_ns + rule->span_ns) {
        return false;
    }
    bool is_relapse = detector->up_ns != 0 && now_ns - detector->up_ns < STEADY_NS;
    if (!is_relapse || !rule->is_wary) {
        detector->patience = 1;
    } else if (detector->patience < PATIENCE_MAX) {
        detector->patience *= 2;
    }
    detector->is_down = true;
    detector->downs_n++;
    detector->answers_n = 0;
    kw_backoff_reset(&detector->backoff);
    detector->probe_ns = now_ns + PAUSE_FIRST_NS;
    return true;
}

uint64_t kw_failure_detector_due_ns(const kw_failure_detector_rule *rule, uint64_t now_ns,
                                    const kw_faults *faults)
{
    uint64_t due_ns = faults->since_ns + rule->span_ns;
    return due_ns > now_ns ? due_ns : now_ns + LOOK_NS;
}

/* It is up from now on. */
static bool come_up(kw_failure_detector *detector, uint64_t now_ns)
{
    detector->is_down = false;
    detector->up_ns = now_ns;
    return true;
}

bool kw_failure_detector_on_answer(kw_failure_detector *detector,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns)
{
    detector->probe_ns = now_ns + GAP_NS;
    kw_backoff_reset(&detector->backoff);
    if (!detector->is_down || ++detector->answers_n < rule->up_after * detector->patience) {
        return false;
    }
    return come_up(detector, now_ns);
}

void kw_failure_detector_on_silence(kw_failure_detector *detector, uint64_t now_ns,
                                    kw_random *random)
{
    detector->answers_n = 0;
    detector->probe_ns = now_ns + kw_backoff_next(&detector->backoff, random);
}

bool kw_failure_detector_on_well(kw_failure_detector *detector,
                                 const kw_failure_detector_rule *rule, uint64_t now_ns)
{
    return detector->is_down && !rule->is_wary && come_up(detector, now_ns);
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

kw_admission kw_failure_detector_admit(const kw_failure_sight *sight, uint64_t now_ns)
{
    if (now_ns < sight->hopeless_ns) {
        return KW_ADMITTED;
    }
    if (sight->kind != KW_FAULT_REFUSED) {
        return now_ns < sight->sign_ns ? KW_ADMITTED_SOON : KW_ADMITTED_NOT;
    }
    /* A refusal comes at once: it costs a call nothing to be the one that finds out, and those
     * that come meanwhile nothing to wait for it. */
    if (now_ns >= sight->probe_ns + KW_FAILURE_RETRY_NS) {
        return KW_ADMITTED_AS_PROBE;
    }
    return sight->is_probed ? KW_ADMITTED_SOON : KW_ADMITTED_NOT;
}
