/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/quorum.h: values on several copies. */
#include <keyway/quorum.h>

#include "api/quorum_private.h"
#include "api/quorum_results.h"
#include "drive/plan_ring.h"
#include "settings/quorum_check.h"
#include "topology/topology_tend.h"
#include "base/error.h"

static bool init(kw_quorum *self, kw_client *client)
{
    if (!kw_version_clock_init(&self->clock, &client->topology->env)) {
        return false;
    }
    if (kw_quorum_exchanges_init(&self->exchanges, client) != KW_OK) {
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
    kw_quorum_exchanges_fini(&quorum->exchanges, is_inside);
    if (is_inside) {
        kw_client_leave(quorum->client);
    }
    kw_fork_fini(&quorum->fork);
    kw_version_clock_fini(&quorum->clock);
    kw_mem_free(&mem, quorum);
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

/* own: NULL, none is there yet. */
static void run_alone(kw_quorum *self, kw_quorum_caller *caller, kw_quorum_exchange *own)
{
    kw_quorum_exchange *exchange =
        own != NULL ? own
                    : kw_quorum_exchanges_acquire(&self->exchanges, caller->error,
                                                  caller->group.deadline_ns);
    if (exchange == NULL) {
        return;
    }
    kw_quorum_exchange_begin(exchange);
    if (kw_quorum_caller_start(caller, exchange)) {
        kw_quorum_exchange_run(exchange, &caller->group);
    }
    kw_quorum_caller_end(caller, exchange);
    uint64_t now_ns = kw_quorum_exchange_now(exchange);
    kw_quorum_exchanges_release(&self->exchanges, exchange);
    kw_topology_tend(self->client->topology, now_ns);
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
    uint64_t now_ns = kw_env_now(env);
    kw_quorum_caller caller = {.quorum = quorum, .requests = requests, .error = error};
    caller.group.calls_n = requests_n;
    caller.group.deadline_ns =
        kw_plan_deadline_ns(now_ns, timeout_ms > 0 ? timeout_ms : env->options.timeout_ms);
    kw_quorum_exchange *own = NULL;
    bool has_memory = kw_quorum_caller_init(&caller);
    if (has_memory && !kw_quorum_carrier_carry(quorum, &caller, &own, now_ns)) {
        run_alone(quorum, &caller, own);
    }
    kw_quorum_results *results = kw_quorum_caller_fini(&caller);
    kw_client_leave(quorum->client);
    return results;
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
    kw_error failure = kw_error_none();
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
