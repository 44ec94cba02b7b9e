/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/quorum.h: values on several copies, and the exchanges that threads take turns with. */
#include <keyway/quorum.h>

#include "api/client.h"
#include "drive/quorum_exchange.h"
#include "drive/plan_ring.h"
#include "api/quorum_results.h"
#include "settings/quorum_check.h"
#include "drive/version_clock.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A caller that waits for an exchange looks this often whether the handle is closed. */
#define WAIT_MAX_NS (50 * KW_NS_PER_MS)

struct kw_quorum {
    kw_client *client;
    kw_quorum_rule rule;
    kw_fork fork;
    kw_version_clock clock;
    atomic_uint_fast64_t look_ns; /* when hints are looked for next */
    kw_monitor monitor;           /* guards what follows */
    uint64_t exchanges_n;         /* made so far */
    kw_quorum_exchange *idle;     /* exchanges without a caller, the last one used first */
};

static bool init(kw_quorum *self, kw_client *client)
{
    if (!kw_version_clock_init(&self->clock, &client->topology->env)) {
        return false;
    }
    if (kw_monitor_init(&self->monitor) != KW_OK) {
        kw_version_clock_fini(&self->clock);
        return false;
    }
    self->client = client;
    self->rule = kw_quorum_rule_of(&client->topology->env.options);
    kw_fork_init(&self->fork);
    return true;
}

kw_quorum *kw_quorum_new(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
        return NULL;
    }
    if (!kw_topology_is_ring(client->topology)) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "copies are kept on a ring of plain servers: open it with redis-ring://");
        return NULL;
    }
    kw_quorum *self = kw_mem_calloc(&client->topology->env.mem, 1, sizeof(*self));
    if (self == NULL || !init(self, client)) {
        kw_mem_free(&client->topology->env.mem, self);
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a quorum");
        return NULL;
    }
    return self;
}

void kw_quorum_set_clock(kw_quorum *quorum, kw_quorum_clock_fn clock, void *arg)
{
    if (quorum != NULL) {
        quorum->clock.clock = clock;
        quorum->clock.clock_arg = arg;
    }
}

void kw_quorum_free(kw_quorum *quorum)
{
    if (quorum == NULL) {
        return;
    }
    const kw_allocator mem = quorum->client->topology->env.mem;
    /* A child's connections are its parent's. */
    bool is_inside =
        !kw_fork_has_happened(&quorum->fork) && kw_client_enter_at_home(quorum->client);
    while (quorum->idle != NULL && is_inside) {
        kw_quorum_exchange *exchange = quorum->idle;
        quorum->idle = *kw_quorum_exchange_next(exchange);
        kw_quorum_exchange_free(exchange);
    }
    if (is_inside) {
        kw_client_leave(quorum->client);
    }
    kw_fork_fini(&quorum->fork);
    kw_monitor_fini(&quorum->monitor);
    kw_version_clock_fini(&quorum->clock);
    kw_mem_free(&mem, quorum);
}

/* Why there is no exchange for a caller that has waited for one. */
static void tell_no_room(const kw_client *client, kw_error *error)
{
    bool is_closing = kw_env_is_closing(&client->topology->env, &client->waits_end);
    kw_error_set(error, is_closing ? KW_ERR_CANCELLED : KW_ERR_POOL_FULL, KW_EFFECT_NONE, "%s",
                 is_closing
                     ? "the handle was closed during the call"
                     : "as many calls as pool-max allows stayed under way; raise pool-max or "
                       "timeout");
}

/* An idle exchange or a new one. Each has a connection to each node, so that there are at
 * most pool-max of them, and further callers wait. NULL, with error set: the deadline, or
 * no memory. */
static kw_quorum_exchange *acquire(kw_quorum *self, kw_error *error, uint64_t deadline_ns)
{
    kw_client *client = self->client;
    kw_monitor_lock(&self->monitor);
    uint64_t now_ns = kw_env_now(&client->topology->env);
    while (self->idle == NULL && self->exchanges_n >= client->topology->env.options.pool_max &&
           now_ns < deadline_ns && !kw_env_is_closing(&client->topology->env, &client->waits_end)) {
        uint64_t wait_ns = deadline_ns - now_ns;
        kw_monitor_wait(&self->monitor, wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS);
        now_ns = kw_env_now(&client->topology->env);
    }
    kw_quorum_exchange *exchange = self->idle;
    bool may_make = exchange == NULL && self->exchanges_n < client->topology->env.options.pool_max;
    if (exchange != NULL) {
        self->idle = *kw_quorum_exchange_next(exchange);
    }
    self->exchanges_n += may_make ? 1 : 0;
    kw_monitor_unlock(&self->monitor);
    if (exchange == NULL && !may_make) {
        tell_no_room(client, error);
        return NULL;
    }
    exchange = may_make
                   ? kw_quorum_exchange_new(client->topology, &self->look_ns, &client->waits_end)
                   : exchange;
    if (exchange == NULL) {
        kw_monitor_lock(&self->monitor);
        self->exchanges_n--;
        kw_monitor_unlock(&self->monitor);
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for requests");
    }
    return exchange;
}

static void release(kw_quorum *self, kw_quorum_exchange *exchange)
{
    kw_monitor_lock(&self->monitor);
    *kw_quorum_exchange_next(exchange) = self->idle;
    self->idle = exchange;
    kw_monitor_wake_one(&self->monitor);
    kw_monitor_unlock(&self->monitor);
}

static kw_err check_request(const kw_quorum *self, kw_error *error,
                            const kw_quorum_request *request, size_t index)
{
    const char *text = NULL;
    kw_err code = KW_ERR_ARGUMENT;
    if (request->size < sizeof(*request)) {
        text = "size is not set; start with KW_QUORUM_REQUEST_INIT";
    } else if ((unsigned)request->act > KW_QUORUM_ACT_REPAIR ||
               (unsigned)request->condition > KW_QUORUM_IF_VERSION) {
        text = "act or condition is none that there is";
    } else if (request->key == NULL && request->key_len > 0) {
        text = "key is NULL";
    } else if (request->value == NULL && request->value_len > 0) {
        text = "value is NULL";
    } else if (request->act != KW_QUORUM_ACT_SET && request->ttl_ms > 0) {
        text = "ttl_ms is of a set";
    } else if (request->ttl_ms > KW_RECORD_LINGER_MAX_MS / 2) {
        text = "ttl_ms is too long";
    } else if (request->condition != KW_QUORUM_ALWAYS && request->act != KW_QUORUM_ACT_SET &&
               request->act != KW_QUORUM_ACT_DELETE) {
        text = "a get and a repair have no condition";
    } else if (self->rule.is_weak && request->condition != KW_QUORUM_ALWAYS) {
        text = "conditions need quorums that meet (quorum=strict)";
        code = KW_ERR_UNSUPPORTED;
    }
    return text != NULL ? kw_error_set(error, code, KW_EFFECT_NONE, "request %zu: %s", index, text)
                        : KW_OK;
}

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

/* Tells the host of versions that were not believed. */
static void tell_ahead(kw_quorum *self, const kw_quorum_call *call)
{
    const kw_quorum_op *op = &call->op;
    kw_topology *topology = self->client->topology;
    if (op->ahead_n == 0) {
        return;
    }
    atomic_fetch_add_explicit(&topology->env.ahead_n, op->ahead_n, memory_order_relaxed);
    if (!kw_version_clock_may_tell(&self->clock)) {
        return;
    }
    char text[160];
    snprintf(text, sizeof(text),
             "copies: a version is %" PRIu64 " ms ahead of this clock, and was not believed",
             kw_version_clock_ahead_ms(&self->clock, op->ahead));
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.kind = KW_EVENT_VERSION_AHEAD;
    event.member = "";
    event.node = call->nodes[op->ahead_copy]->name;
    event.text = text;
    kw_topology_tell(topology, &event);
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

/* Requests under way, each with a call of the exchange. */
typedef struct quorum_run {
    kw_quorum *quorum;
    const kw_quorum_request *requests;
    size_t n;
    uint64_t deadline_ns;
    kw_quorum_exchange *exchange;
    kw_quorum_call **calls; /* n, NULL: none */
    kw_quorum_results *results;
} quorum_run;

/* False, with error set, where a request cannot have its copies. */
static bool make_calls(quorum_run *run, kw_error *error)
{
    unsigned wanted_n = run->quorum->rule.copies_n;
    kw_topology *topology = run->quorum->client->topology;
    kw_quorum_blocks *blocks = kw_quorum_exchange_blocks(run->exchange);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_err code = KW_OK;
    for (size_t i = 0; i < run->n && code == KW_OK; i++) {
        kw_bytes key = {run->requests[i].key, run->requests[i].key_len};
        kw_quorum_act act = run->requests[i].act;
        bool is_read = act == KW_QUORUM_ACT_GET || act == KW_QUORUM_ACT_REPAIR;
        size_t value_len = act == KW_QUORUM_ACT_SET ? run->requests[i].value_len : 0;
        run->calls[i] = kw_quorum_call_new(blocks, key, wanted_n,
                                           is_read ? KW_QUORUM_GET : KW_QUORUM_PUT, value_len);
        if (run->calls[i] == NULL) {
            code = kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a request");
            break;
        }
        bool has_next = topology->env.options.has_quorum_hints && !is_read;
        unsigned copies_n = choose_copies(run->calls[i], snapshot, wanted_n, has_next);
        if (copies_n < wanted_n) {
            code = kw_error_set(error, KW_ERR_QUORUM, KW_EFFECT_NONE,
                                "the ring has %u nodes with weight, and copies is %u", copies_n,
                                wanted_n);
        }
    }
    kw_snapshot_unref(snapshot);
    return code == KW_OK;
}

static void run_calls(quorum_run *run)
{
    kw_topology *topology = run->quorum->client->topology;
    uint64_t now_ns = kw_env_now(&topology->env);
    uint64_t latest = kw_version_clock_latest(&run->quorum->clock);
    for (size_t i = 0; i < run->n; i++) {
        run->calls[i]->start_ns = now_ns;
        run->calls[i]->deadline_ns = run->deadline_ns;
        start_call(run->quorum, run->calls[i], &run->requests[i], latest);
    }
    kw_quorum_exchange_run(run->exchange, run->calls, run->n, run->deadline_ns);
    size_t failures_n = 0;
    for (size_t i = 0; i < run->n; i++) {
        tell_ahead(run->quorum, run->calls[i]);
        take_result(run->quorum, &run->results->items[i], run->calls[i]);
    }
    kw_quorum_results_own(run->results);
    for (size_t i = 0; i < run->n; i++) {
        failures_n += run->results->items[i].code != KW_OK ? 1 : 0;
        kw_quorum_exchange_leave(run->exchange, run->calls[i]);
        run->calls[i] = NULL;
    }
    kw_call_counts_add(&run->quorum->client->counts, run->n, failures_n);
}

/* Has results in run, or NULL with error set. */
static void run_inside(quorum_run *run, kw_error *error)
{
    const kw_allocator *mem = &run->quorum->client->topology->env.mem;
    run->results = kw_quorum_results_new(mem, run->n);
    run->calls = kw_mem_calloc(mem, run->n + 1, sizeof(run->calls[0]));
    if (run->results == NULL || run->calls == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for requests");
    } else {
        run->exchange = acquire(run->quorum, error, run->deadline_ns);
    }
    bool is_ready = run->exchange != NULL && make_calls(run, error);
    if (is_ready) {
        run_calls(run);
        kw_quorum_results_tell(run->results, error);
    }
    for (size_t i = 0; run->calls != NULL && i < run->n; i++) {
        kw_quorum_call_free(run->calls[i], mem);
    }
    if (run->exchange != NULL) {
        release(run->quorum, run->exchange);
    }
    kw_mem_free(mem, run->calls);
    if (!is_ready) {
        kw_quorum_results_free(run->results);
        run->results = NULL;
    }
}

kw_quorum_results *kw_quorum_run(kw_quorum *quorum, kw_error *error,
                                 const kw_quorum_request *requests, size_t requests_n,
                                 uint64_t timeout_ms)
{
    if (quorum == NULL || (requests == NULL && requests_n > 0)) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "quorum or requests is NULL");
        return NULL;
    }
    if (kw_fork_has_happened(&quorum->fork)) {
        kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                     "the quorum belongs to the parent process; make one in the child");
        return NULL;
    }
    if (timeout_ms > quorum->rule.linger_ms / 4) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                     "timeout_ms may be a quarter of tombstone-ttl at most");
        return NULL;
    }
    for (size_t i = 0; i < requests_n; i++) {
        if (check_request(quorum, error, &requests[i], i) != KW_OK) {
            return NULL;
        }
    }
    if (kw_client_enter_new(quorum->client, error) != KW_OK) {
        return NULL;
    }
    const kw_env *env = &quorum->client->topology->env;
    quorum_run run = {.quorum = quorum, .requests = requests, .n = requests_n};
    run.deadline_ns =
        kw_plan_deadline_ns(kw_env_now(env), timeout_ms > 0 ? timeout_ms : env->options.timeout_ms);
    run_inside(&run, error);
    kw_client_leave(quorum->client);
    return run.results;
}

static kw_quorum_results *run_one(kw_quorum *self, kw_error *error,
                                  const kw_quorum_request *request)
{
    kw_quorum_results *results = kw_quorum_run(self, error, request, 1, 0);
    if (results != NULL && results->items[0].code != KW_OK) {
        kw_quorum_results_free(results);
        return NULL;
    }
    return results;
}

kw_quorum_results *kw_quorum_get(kw_quorum *quorum, kw_error *error, const char *key,
                                 size_t key_len)
{
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.key = key;
    request.key_len = key_len;
    return run_one(quorum, error, &request);
}

static kw_err write_one(kw_quorum *self, kw_error *error, const kw_quorum_request *request)
{
    kw_error failure = KW_ERROR_INIT;
    kw_quorum_results *results = run_one(self, &failure, request);
    if (results == NULL) {
        kw_error_copy(error, &failure);
        return failure.code;
    }
    kw_quorum_results_free(results);
    return KW_OK;
}

kw_err kw_quorum_set(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len,
                     const char *value, size_t value_len)
{
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.act = KW_QUORUM_ACT_SET;
    request.key = key;
    request.key_len = key_len;
    request.value = value;
    request.value_len = value_len;
    return write_one(quorum, error, &request);
}

kw_err kw_quorum_delete(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len)
{
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.act = KW_QUORUM_ACT_DELETE;
    request.key = key;
    request.key_len = key_len;
    return write_one(quorum, error, &request);
}
