/* SPDX-License-Identifier: BSD-3-Clause */
/* A write followed by WAIT or WAITAOF, and what the answer says of its durability. */
#include "drive/wait_acks.h"

#include "drive/session_private.h"
#include "base/error.h"
#include "base/resp.h"

#include <limits.h>
#include <string.h>

/* The question behind a write. */
typedef struct acks_wait {
    kw_followup followup; /* first: it is what the session knows */
    const kw_topology *topology;
    const kw_plan *plan;
    const kw_call_options *options;
} acks_wait;

/* Who has the write. */
typedef struct acks {
    unsigned local; /* 1: the primary's disk; without acks_local 0 */
    unsigned replicas;
} acks;

bool kw_wait_acks_is_wanted(const kw_plan *plan, const kw_call_options *options)
{
    return (options->acks > 0 || options->acks_local > 0) && kw_plan_may_write(plan);
}

/* How long the replicas have: what the call or the handle says, and not past the deadline; never
 * 0, which would be without an end. */
static uint64_t wait_ms_of(const acks_wait *self, uint64_t now_ns)
{
    const kw_call_options *options = self->options;
    uint64_t deadline_ns = self->plan->deadline_ns;
    uint64_t left_ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / KW_NS_PER_MS : 0;
    uint64_t wanted_ms = options->acks_timeout_ms > 0 ? options->acks_timeout_ms
                                                      : self->topology->env.options.acks_timeout_ms;
    uint64_t wait_ms = wanted_ms < left_ms ? wanted_ms : left_ms;
    return wait_ms > 0 ? wait_ms : 1;
}

static kw_bytes number_text(char *out, uint64_t number)
{
    kw_bytes text = {out, kw_uint_to_text(out, number)};
    return text;
}

/* "WAIT acks ms", or "WAITAOF local acks ms". */
static bool encode(const kw_followup *followup, kw_buf *encoded, uint64_t now_ns)
{
    const acks_wait *self = (const acks_wait *)followup;
    const kw_call_options *options = self->options;
    char texts[3][20];
    kw_bytes argv[4];
    size_t argc = 0;
    argv[argc++] = kw_bytes_of(options->acks_local > 0 ? "WAITAOF" : "WAIT");
    if (options->acks_local > 0) {
        argv[argc++] = number_text(texts[0], options->acks_local);
    }
    argv[argc++] = number_text(texts[1], options->acks);
    argv[argc++] = number_text(texts[2], wait_ms_of(self, now_ns));
    return kw_resp_append(encoded, argv, argc);
}

static unsigned count_of(const kw_reply *reply)
{
    long long n = kw_reply_type(reply) == KW_REPLY_INTEGER ? kw_reply_int(reply) : 0;
    return n < 0 ? 0 : n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

static acks acks_of(const acks_wait *self)
{
    const kw_reply *reply = self->followup.request.reply;
    acks got = {0, 0};
    if (self->options->acks_local == 0) {
        got.replicas = count_of(reply);
    } else if (kw_reply_type(reply) == KW_REPLY_ARRAY && kw_reply_count(reply) == 2) {
        got.local = count_of(kw_reply_at(reply, 0));
        got.replicas = count_of(kw_reply_at(reply, 1));
    }
    return got;
}

/* The write stands; its durability is less than asked for, or not known. */
static void fall_short(const acks_wait *self, kw_error *error, acks got)
{
    const kw_call_options *options = self->options;
    const char *name = kw_plan_name(self->plan);
    const kw_reply *reply = self->followup.request.reply;
    char shown[200];
    const char *why = reply == NULL ? self->followup.failure.text : "";
    if (kw_reply_is_error(reply)) {
        why = kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply));
    }
    const char *colon = why[0] != '\0' ? ": " : "";
    if (options->acks_local == 0) {
        kw_error_set(error, KW_ERR_DURABILITY, KW_EFFECT_DONE,
                     "%s has run, and %u of %u replicas have acknowledged it in time%s%.200s", name,
                     got.replicas, options->acks, colon, why);
    } else if (kw_reply_is_error(reply) &&
               kw_bytes_starts(kw_reply_bytes(reply), "ERR unknown command")) {
        kw_error_set(
            error, KW_ERR_UNSUPPORTED, KW_EFFECT_DONE,
            "%s has run, and nothing is known of its durability: acks_local needs WAITAOF, "
            "which Redis 7.2 and Valkey have, and this server has not; use acks alone%s%.200s",
            name, colon, why);
    } else {
        kw_error_set(error, KW_ERR_DURABILITY, KW_EFFECT_DONE,
                     "%s has run, and is on the disk of %u of 1 primary and %u of %u replicas in "
                     "time%s%.200s",
                     name, got.local, got.replicas, options->acks, colon, why);
    }
    kw_error_set_node(error, self->followup.failure.node);
}

static void report(const acks_wait *self, kw_error *error)
{
    const kw_call_options *options = self->options;
    acks got = acks_of(self);
    if (options->acked != NULL) {
        *options->acked = got.replicas;
    }
    if (options->acked_local != NULL) {
        *options->acked_local = got.local;
    }
    if (got.local < options->acks_local || got.replicas < options->acks) {
        fall_short(self, error, got);
    } else {
        kw_error_set(error, KW_OK, KW_EFFECT_NONE, "%s", "");
    }
}

kw_reply *kw_wait_acks_send(kw_topology *topology, kw_error *error, const kw_plan *plan,
                            kw_buf *encoded, kw_followup *followup)
{
    struct kw_session session;
    followup->failure.size = sizeof(followup->failure);
    memset(&session, 0, sizeof(session));
    session.mem = topology->env.mem;
    session.topology = topology;
    session.pid = topology->fork.pid;
    session.slot = plan->slot;
    session.position = plan->position;
    session.state.database = topology->env.options.database;
    kw_reply *reply = kw_session_run_followed(&session, error, plan, encoded, followup);
    kw_session_drop(&session);
    return reply;
}

kw_reply *kw_wait_acks_run(kw_topology *topology, kw_error *error, const kw_plan *plan,
                           const kw_call_options *options, kw_buf *encoded)
{
    acks_wait self = {.topology = topology, .plan = plan, .options = options};
    self.followup.encode = encode;
    kw_reply *reply = kw_wait_acks_send(topology, error, plan, encoded, &self.followup);
    if (reply != NULL && !kw_reply_is_error(reply)) {
        report(&self, error);
    }
    kw_reply_free(self.followup.request.reply);
    return reply;
}
