/* SPDX-License-Identifier: BSD-3-Clause */
/* Which thread has which exchange. */
#include "api/quorum_exchanges.h"

#include "base/error.h"

kw_err kw_quorum_exchanges_init(kw_quorum_exchanges *self, kw_client *client)
{
    self->client = client;
    return kw_monitor_init(&self->monitor);
}

void kw_quorum_exchanges_fini(kw_quorum_exchanges *self, bool is_inside)
{
    while (self->idle != NULL && is_inside) {
        kw_quorum_exchange *exchange = self->idle;
        self->idle = *kw_quorum_exchange_next(exchange);
        kw_quorum_exchange_free(exchange);
    }
    kw_monitor_fini(&self->monitor);
}

/* Why there is no exchange for a caller that has waited for one. */
static kw_err tell_no_room(const kw_client *client, kw_error *error, bool has_room)
{
    if (has_room) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for requests");
    }
    bool is_closing = kw_env_is_closing(&client->topology->env, &client->waits_end);
    return kw_error_set(
        error, is_closing ? KW_ERR_CANCELLED : KW_ERR_POOL_FULL, KW_EFFECT_NONE, "%s",
        is_closing ? "the handle was closed during the call"
                   : "as many calls as pool-max allows stayed under way; raise pool-max or "
                     "timeout");
}

static bool has_room(const kw_quorum_exchanges *self)
{
    return self->idle != NULL || self->n < self->client->topology->env.options.pool_max;
}

kw_quorum_exchange *kw_quorum_exchanges_take(kw_quorum_exchanges *self)
{
    kw_quorum_exchange *exchange = self->idle;
    if (exchange != NULL) {
        self->idle = *kw_quorum_exchange_next(exchange);
    } else if (has_room(self)) {
        kw_client *client = self->client;
        exchange = kw_quorum_exchange_new(client->topology, &self->look_ns, &client->waits_end);
        self->n += exchange != NULL ? 1 : 0;
    }
    return exchange;
}

void kw_quorum_exchanges_give(kw_quorum_exchanges *self, kw_quorum_exchange *exchange)
{
    *kw_quorum_exchange_next(exchange) = self->idle;
    self->idle = exchange;
    kw_monitor_wake_one(&self->monitor);
}

kw_quorum_exchange *kw_quorum_exchanges_acquire(kw_quorum_exchanges *self, kw_error *error,
                                                uint64_t deadline_ns)
{
    kw_env *env = &self->client->topology->env;
    kw_monitor_lock(&self->monitor);
    self->callers_n++;
    uint64_t now_ns;
    while (!has_room(self) && (now_ns = kw_env_now(env)) < deadline_ns &&
           !kw_env_is_closing(env, &self->client->waits_end)) {
        kw_monitor_wait(&self->monitor, kw_sooner(deadline_ns - now_ns, KW_SLICE_NS));
    }
    bool had_room = has_room(self);
    kw_quorum_exchange *exchange = kw_quorum_exchanges_take(self);
    self->callers_n -= exchange == NULL ? 1 : 0;
    kw_monitor_unlock(&self->monitor);
    if (exchange == NULL) {
        (void)tell_no_room(self->client, error, had_room);
    }
    return exchange;
}

void kw_quorum_exchanges_release(kw_quorum_exchanges *self, kw_quorum_exchange *exchange)
{
    kw_monitor_lock(&self->monitor);
    self->callers_n--;
    kw_quorum_exchanges_give(self, exchange);
    kw_monitor_unlock(&self->monitor);
}
