/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks copies and quorums against the ring's nodes, and makes the rule that engine works by. */
#include "settings/quorum_check.h"

#include "base/error.h"
#include "engine/backoff.h"

#include <string.h>

/* Copies that differ are given this long to agree by themselves before they are written to:
 * mostly a write is just on its way to one of them. */
#define SETTLE_NS (2 * KW_NS_PER_MS)

static unsigned number_of(uint64_t option, uint64_t copies_n)
{
    return (unsigned)(option > 0 ? option : copies_n / 2 + 1);
}

kw_err kw_quorum_refuse_group(kw_error *error, const kw_member *member)
{
    return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                        "copies need plain servers, and member %.*s is a Sentinel group: its "
                        "failover may lose what a copy has acknowledged",
                        (int)(member->name_len < 80 ? member->name_len : 80), member->name);
}

/* What copies remember has to outlast every call and what is late of it, and clocks that differ as
 * far as is allowed. */
static kw_err check_times(const kw_options *options, kw_error *error)
{
    if (options->copies_n > 1 && options->timeout_ms > options->tombstone_ms / 4) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "tombstone-ttl has to be at least four times timeout, so that copies "
                            "remember for longer than a call and what is late of it");
    }
    if (options->copies_n > 1 && options->version_ahead_ms > options->tombstone_ms / 4) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "version-ahead may be a quarter of tombstone-ttl at most, so that what "
                            "has ended is older than what is written then");
    }
    return KW_OK;
}

kw_err kw_quorum_check(const kw_options *options, kw_error *error)
{
    bool has_quorums = options->write_quorum > 0 || options->read_quorum > 0 ||
                       options->has_quorum_hints || options->has_quorum_guard;
    if (options->scheme != KW_SCHEME_RING) {
        return options->copies_n > 1 || has_quorums
                   ? kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                                  "options copies, write-quorum, read-quorum, quorum-hints and "
                                  "quorum-guard are for a ring of plain servers: redis-ring://")
                   : KW_OK;
    }
    if (options->copies_n > 1 && options->acks > 0) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "acks wait for replicas of one server, and with copies the quorums say "
                            "when a write is done; set one of the two");
    }
    for (size_t i = 0; i < options->ring_members.n && options->copies_n > 1; i++) {
        if (kw_member_is_group(&options->ring_members.members[i])) {
            return kw_quorum_refuse_group(error, &options->ring_members.members[i]);
        }
    }
    kw_err timed = check_times(options, error);
    if (timed != KW_OK) {
        return timed;
    }
    unsigned write_n = number_of(options->write_quorum, options->copies_n);
    unsigned read_n = number_of(options->read_quorum, options->copies_n);
    unsigned copies_n = (unsigned)options->copies_n;
    kw_quorum_rule rule;
    if (write_n > copies_n || read_n > copies_n) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "write-quorum %u and read-quorum %u need as many copies; copies is %u",
                            write_n, read_n, copies_n);
    }
    if (!kw_quorum_rule_set(&rule, copies_n, write_n, read_n, options->is_weak_quorum)) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "write-quorum %u and read-quorum %u do not meet in %u copies: "
                            "write + read, and twice write, have to be more than copies; "
                            "quorum=weak allows it, and reads may be old then",
                            write_n, read_n, copies_n);
    }
    if (options->ring_members.n > 0 && options->ring_members.n < options->copies_n) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "the ring has %zu nodes, which is too few for copies=%u",
                            options->ring_members.n, copies_n);
    }
    if (options->has_quorum_hints && options->ring_members.n > 0 &&
        options->ring_members.n <= options->copies_n) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "quorum-hints=on needs a node beyond the copies; the ring has %zu, and "
                            "copies is %u",
                            options->ring_members.n, copies_n);
    }
    return KW_OK;
}

kw_quorum_rule kw_quorum_rule_of(const kw_options *options)
{
    kw_quorum_rule rule;
    memset(&rule, 0, sizeof(rule));
    (void)kw_quorum_rule_set(
        &rule, (unsigned)options->copies_n, number_of(options->write_quorum, options->copies_n),
        number_of(options->read_quorum, options->copies_n), options->is_weak_quorum);
    rule.settle_ns = SETTLE_NS;
    rule.linger_ms = options->tombstone_ms;
    return rule;
}
