/* SPDX-License-Identifier: BSD-3-Clause */
/* Failure detector: whether a server is down, and when it is asked again. Servers of every
 * topology have one. */
#ifndef ENGINE_FAILURE_DETECTOR_H
#define ENGINE_FAILURE_DETECTOR_H

#include "base/random.h"
#include "engine/backoff.h"

#include <stdbool.h>
#include <stdint.h>

/* How a try failed. */
typedef enum kw_fault_kind {
    KW_FAULT_LATE,       /* a command had no answer in time: no proof, it may only be a slow one */
    KW_FAULT_UNANSWERED, /* a connect, a greeting or a probe had none */
    KW_FAULT_LOST,       /* a connection was lost with a command on it */
    KW_FAULT_REFUSED     /* a connect was refused, or its address cannot be reached or found */
} kw_fault_kind;

/* Failures in a row, with no answer on any connection between them. */
typedef struct kw_faults {
    uint64_t n;         /* 0: it answers */
    uint64_t since_ns;  /* of the first */
    uint64_t last_ns;   /* of the last: what came at once, and was not tried again, is no outage */
    kw_fault_kind kind; /* of the last */
    bool is_proven;     /* one of them is more than a late command */
} kw_faults;

typedef struct kw_failure_detector_rule {
    uint64_t down_after; /* failures in a row, at least 1 .. */
    uint64_t span_ns;    /* .. over at least so long */
    uint64_t up_after;   /* answered probes in a row, at least 1 */
    bool is_wary; /* a server that comes and goes stays away longer: its keys move each time */
} kw_failure_detector_rule;

/* A server that failed for a moment is not down. */
#define KW_FAILURE_SPAN_NS (1000 * KW_NS_PER_MS)

/* Failures further apart than this and the wait of a call are no row: nobody has tried meanwhile.
 */
#define KW_FAILURE_GAP_NS (2000 * KW_NS_PER_MS)

/* A server that is down is tried again after so long: by the call that comes then where it
 * refuses, by a probe that nobody waits for where it is silent. */
#define KW_FAILURE_RETRY_NS (1000 * KW_NS_PER_MS)

/* Down after some failures in a row, of callers or of probes; up again after some answered
 * probes in a row. With is_wary one that goes down soon after it came up needs twice as many the
 * next time, up to 16 times as many. */
typedef struct kw_failure_detector {
    kw_backoff backoff; /* between probes that are not answered */
    uint64_t probe_ns;  /* when the next probe is due */
    uint64_t up_ns;     /* when it came up; 0: it has not been down */
    uint64_t answers_n; /* of probes, in a row, while down */
    uint64_t patience;  /* up_after is multiplied by this: 1 to 16 */
    uint64_t downs_n;   /* how often it went down */
    bool is_down;
} kw_failure_detector;

void kw_failure_detector_init(kw_failure_detector *detector);

/* True where a failure begins a row of its own, so long after the last one; wait_ns: for how long a
 * call may wait before it fails. A refusal comes at once: the try began when it was told. */
bool kw_failure_detector_is_apart(uint64_t now_ns, uint64_t last_ns, uint64_t wait_ns,
                                  kw_fault_kind kind);

/* What has failed so far, looked at now. True where the server is down from now on. */
bool kw_failure_detector_on_faults(kw_failure_detector *detector,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns,
                                   const kw_faults *faults);

/* When a server that has failed, and is not down, is to be looked at again. */
uint64_t kw_failure_detector_due_ns(const kw_failure_detector_rule *rule, uint64_t now_ns,
                                    const kw_faults *faults);

/* A probe was answered, or was not. True where the server is up from now on. */
bool kw_failure_detector_on_answer(kw_failure_detector *detector,
                                   const kw_failure_detector_rule *rule, uint64_t now_ns);
void kw_failure_detector_on_silence(kw_failure_detector *detector, uint64_t now_ns,
                                    kw_random *random);

/* The server has answered a caller: where the rule is not wary, that is enough. True where it is up
 * from now on. */
bool kw_failure_detector_on_well(kw_failure_detector *detector,
                                 const kw_failure_detector_rule *rule, uint64_t now_ns);

/* How long after its first failure a primary with replicas may be replaced yet. timeout_ms: what
 * the servers are told to wait before they call it down (cluster-node-timeout, or
 * down-after-milliseconds of sentinels); 0: not known. */
uint64_t kw_failure_election_ns(bool is_cluster, uint64_t timeout_ms);

/* What calls are to know of a server that is down. */
typedef struct kw_failure_sight {
    kw_fault_kind kind;
    uint64_t hopeless_ns; /* until then another server may take its place: calls wait */
    uint64_t probe_ns;    /* when it was tried last */
    uint64_t sign_ns;     /* a probe gives hope: its answer is expected by then; 0: none does */
    bool is_probed;       /* by a connect that is under way */
} kw_failure_sight;

typedef enum kw_admission {
    KW_ADMITTED,          /* the call goes on as to any server */
    KW_ADMITTED_AS_PROBE, /* the call goes on, and what becomes of it tells all others */
    KW_ADMITTED_SOON,     /* ask again in a moment: a probe is about to be answered */
    KW_ADMITTED_NOT       /* an error at once */
} kw_admission;

/* What becomes of a call to a server that is down. */
kw_admission kw_failure_detector_admit(const kw_failure_sight *sight, uint64_t now_ns);

#endif
