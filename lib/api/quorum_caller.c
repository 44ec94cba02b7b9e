/* SPDX-License-Identifier: BSD-3-Clause */
/* One caller's requests: their calls begin, and what has become of them is told. */
#include "api/quorum_caller.h"

#include "api/quorum_private.h"
#include "api/quorum_results.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The copies of the call's key: the first nodes of its preference list; and, for hints, the one
 * behind. */
static unsigned choose_copies(kw_quorum_call *call, const kw_snapshot *snapshot, unsigned copies_n,
                              bool has_next)
{
    uint32_t numbers[KW_QUORUM_COPIES_MAX + 1];
    size_t wanted_n = copies_n + (has_next ? 1 : 0);
    size_t n = kw_ring_preference(kw_map_ring(snapshot->map), numbers, wanted_n, call->key.data,
                                  call->key.len);
    for (size_t i = 0; i < n; i++) {
        call->nodes[i] =
            kw_node_ref(snapshot->nodes[kw_map_shard_at(snapshot->map, numbers[i])->primary]);
    }
    return (unsigned)(n < copies_n ? n : copies_n);
}

static void start_call(kw_quorum *self, kw_quorum_call *call, const kw_quorum_request *request,
                       uint64_t latest)
{
    kw_quorum_spec spec;
    memset(&spec, 0, sizeof(spec));
    spec.rule = self->rule;
    bool is_read = request->act == KW_QUORUM_ACT_GET || request->act == KW_QUORUM_ACT_REPAIR;
    spec.is_repair = request->act == KW_QUORUM_ACT_REPAIR;
    spec.kind = is_read                                  ? KW_QUORUM_READ
                : request->condition == KW_QUORUM_ALWAYS ? KW_QUORUM_WRITE
                                                         : KW_QUORUM_CHECKED;
    spec.expects_none = request->condition == KW_QUORUM_IF_ABSENT;
    spec.expected.time = request->expected.time;
    spec.expected.writer = request->expected.writer;
    if (request->condition == KW_QUORUM_IF_VERSION && kw_stamp_is_zero(spec.expected)) {
        spec.expects_none = true; /* the version of what is not there */
    }
    spec.is_tombstone = request->act == KW_QUORUM_ACT_DELETE;
    spec.life_ms = request->ttl_ms;
    spec.latest = latest;
    spec.value.data = request->value;
    spec.value.len = request->act == KW_QUORUM_ACT_SET ? request->value_len : 0;
    kw_quorum_clock clock = kw_version_clock_face(&self->clock);
    kw_quorum_start(&call->op, &spec, &clock, call->start_ns,
                    kw_env_seed(&self->client->topology->env));
}

static void tell_failure(const kw_quorum *self, kw_quorum_result_row *out,
                         const kw_quorum_call *call)
{
    const kw_quorum_op *op = &call->op;
    const kw_client *client = self->client;
    bool is_cancelled = kw_env_is_closing(&client->topology->env, &client->waits_end);
    kw_err code = is_cancelled ? KW_ERR_CANCELLED : KW_ERR_QUORUM;
    kw_error *error = kw_quorum_result_fail(out, code);
    bool is_read = op->spec.kind == KW_QUORUM_READ;
    char why[300] = "";
    if (call->failure.code != KW_OK) {
        snprintf(why, sizeof(why), "; %s: %.150s", call->failure.node, call->failure.text);
    }
    if (op->is_unclear) {
        kw_error_set(error, code, op->effect,
                     "quorum write: only some of the %u copies took it, and a later write has "
                     "replaced it; it may have been seen in between",
                     op->spec.rule.copies_n);
        return;
    }
    if (op->ahead_n > 0 || op->is_beyond) {
        kw_error_set(error, code, op->effect,
                     "quorum: a version is %" PRIu64 " ms ahead of this clock, and version-ahead "
                     "allows %" PRIu64 "; a clock is wrong, here or where it was written",
                     kw_version_clock_ahead_ms(&self->clock, op->ahead), self->clock.ahead_ms);
        return;
    }
    kw_error_set(
        error, code, op->effect, "%s: %u of the %u copies needed (of %u, %u without answer)%s%s",
        is_read ? "quorum read" : "quorum write", op->got_n, op->needed_n, op->spec.rule.copies_n,
        op->lost_n, op->effect == KW_EFFECT_MAYBE ? "; the write may become visible" : "", why);
    kw_error_set_node(error, call->failure.node);
    uint64_t passed_ns = kw_env_now(&self->client->topology->env) - call->start_ns;
    error->elapsed_ms = (unsigned)(passed_ns / KW_NS_PER_MS);
    error->attempts = op->tries_n;
}

/* Keeps what is to be told of versions that were not believed: the host is told by the thread whose
 * call it was, while no other caller waits for it. */
static void keep_ahead(kw_quorum_caller *self, const kw_quorum_call *call)
{
    const kw_quorum_op *op = &call->op;
    if (op->ahead_n > 0 && self->ahead_node == NULL) {
        self->ahead = op->ahead;
        self->ahead_node = kw_node_ref(call->nodes[op->ahead_copy]);
    }
    self->ahead_n += op->ahead_n;
}

static void tell_ahead(kw_quorum_caller *self)
{
    kw_quorum *quorum = self->quorum;
    kw_topology *topology = quorum->client->topology;
    if (self->ahead_n == 0) {
        return;
    }
    atomic_fetch_add_explicit(&topology->env.ahead_n, self->ahead_n, memory_order_relaxed);
    if (!kw_version_clock_may_tell(&quorum->clock)) {
        kw_node_unref(self->ahead_node);
        return;
    }
    char text[160];
    snprintf(text, sizeof(text),
             "copies: a version is %" PRIu64 " ms ahead of this clock, and was not believed",
             kw_version_clock_ahead_ms(&quorum->clock, self->ahead));
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.kind = KW_EVENT_VERSION_AHEAD;
    event.member = "";
    event.node = self->ahead_node->name;
    event.text = text;
    kw_topology_tell(topology, &event);
    kw_node_unref(self->ahead_node);
}

static void take_result(const kw_quorum *self, kw_quorum_result_row *out,
                        const kw_quorum_call *call)
{
    const kw_quorum_op *op = &call->op;
    if (op->state != KW_QUORUM_DONE) {
        tell_failure(self, out, call);
        return;
    }
    bool is_read = op->spec.kind == KW_QUORUM_READ;
    out->is_written = is_read ? op->repaired_n > 0 : !op->has_mismatch;
    if (out->is_written && !is_read) {
        out->version = op->origin;
        return;
    }
    const kw_record *found = kw_quorum_found(op);
    if (found == NULL) {
        return;
    }
    out->value = found->value.data; /* until kw_quorum_results_own */
    out->value_len = found->value.len;
    out->version = found->origin;
    if (found->is_mortal) {
        out->left_ms = kw_quorum_left_ms(op, kw_env_now(&self->client->topology->env));
    }
}

/* False, with error set, where a request cannot have its copies. */
static bool make_calls(kw_quorum_caller *self, kw_quorum_blocks *blocks)
{
    unsigned wanted_n = self->quorum->rule.copies_n;
    kw_topology *topology = self->quorum->client->topology;
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_err code = KW_OK;
    for (size_t i = 0; i < self->group.calls_n && code == KW_OK; i++) {
        kw_bytes key = {self->requests[i].key, self->requests[i].key_len};
        kw_quorum_act act = self->requests[i].act;
        bool is_read = act == KW_QUORUM_ACT_GET || act == KW_QUORUM_ACT_REPAIR;
        size_t value_len = act == KW_QUORUM_ACT_SET ? self->requests[i].value_len : 0;
        self->group.calls[i] = kw_quorum_call_new(
            blocks, key, wanted_n, is_read ? KW_QUORUM_GET : KW_QUORUM_PUT, value_len);
        if (self->group.calls[i] == NULL) {
            code =
                kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a request");
            break;
        }
        bool has_next = topology->env.options.has_quorum_hints && !is_read;
        unsigned copies_n = choose_copies(self->group.calls[i], snapshot, wanted_n, has_next);
        if (copies_n < wanted_n) {
            code = kw_error_set(self->error, KW_ERR_QUORUM, KW_EFFECT_NONE,
                                "the ring has %u nodes with weight, and copies is %u", copies_n,
                                wanted_n);
        }
    }
    kw_snapshot_unref(snapshot);
    return code == KW_OK;
}

bool kw_quorum_caller_init(kw_quorum_caller *self)
{
    const kw_allocator *mem = &self->quorum->client->topology->env.mem;
    self->results = kw_quorum_results_new(mem, self->group.calls_n);
    self->group.calls = self->group.calls_n == 1 ? &self->one
                                                 : kw_mem_calloc(mem, self->group.calls_n + 1,
                                                                 sizeof(self->group.calls[0]));
    if (self->results == NULL || self->group.calls == NULL) {
        kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for requests");
        return false;
    }
    return true;
}

bool kw_quorum_caller_start(kw_quorum_caller *self, kw_quorum_exchange *exchange)
{
    if (!make_calls(self, kw_quorum_exchange_blocks(exchange))) {
        return false;
    }
    uint64_t now_ns = kw_quorum_exchange_now(exchange);
    uint64_t latest = kw_version_clock_latest(&self->quorum->clock);
    for (size_t i = 0; i < self->group.calls_n; i++) {
        self->group.calls[i]->start_ns = now_ns;
        self->group.calls[i]->deadline_ns = self->group.deadline_ns;
        start_call(self->quorum, self->group.calls[i], &self->requests[i], latest);
    }
    self->is_started = true;
    return true;
}

void kw_quorum_caller_end(kw_quorum_caller *self, kw_quorum_exchange *exchange)
{
    size_t failures_n = 0;
    kw_quorum_call **calls = self->group.calls;
    for (size_t i = 0; i < self->group.calls_n && self->is_started; i++) {
        keep_ahead(self, calls[i]);
        take_result(self->quorum, &self->results->items[i], calls[i]);
    }
    if (self->is_started) {
        kw_quorum_results_own(self->results);
        for (size_t i = 0; i < self->group.calls_n; i++) {
            failures_n += self->results->items[i].code != KW_OK ? 1 : 0;
            kw_quorum_exchange_leave(exchange, calls[i]);
        }
        kw_call_counts_add(&self->quorum->client->counts, self->group.calls_n, failures_n);
        return;
    }
    for (size_t i = 0; i < self->group.calls_n; i++) {
        kw_quorum_call_free(calls[i], &self->quorum->client->topology->env.mem);
    }
}

kw_quorum_results *kw_quorum_caller_fini(kw_quorum_caller *self)
{
    const kw_allocator *mem = &self->quorum->client->topology->env.mem;
    if (self->group.calls != &self->one) {
        kw_mem_free(mem, self->group.calls);
    }
    if (!self->is_started) {
        kw_quorum_results_free(self->results);
        return NULL;
    }
    tell_ahead(self);
    kw_quorum_results_tell(self->results, self->error);
    return self->results;
}
