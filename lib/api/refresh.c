/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/client.h: a map that is fetched now. */
#include <keyway/client.h>

#include "api/client.h"
#include "base/error.h"
#include "drive/plan.h"
#include "topology/topology_tend.h"

/* Waits for a fetch that begins from now on. */
static kw_err fetch(kw_client *client, kw_error *error, uint64_t until_ns)
{
    kw_topology *topology = client->topology;
    kw_error failure = kw_error_none();
    kw_refresher_goal goal = {.until_ns = until_ns,
                              .closing = &client->waits_end,
                              .fetch = kw_refresher_want(&topology->refresher)};
    kw_err code = kw_refresher_wait(&topology->refresher, &failure, &goal);
    if (code == KW_ERR_TIMEOUT) {
        code = kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                            "nobody gave a map before the deadline");
    } else if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
        kw_error_set_node(error, failure.node);
    }
    return code;
}

kw_err kw_refresh(kw_client *client, kw_error *error, uint64_t timeout_ms)
{
    if (client == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
    }
    kw_err code = kw_client_enter_new(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_topology *topology = client->topology;
    uint64_t now_ns = kw_env_now(&topology->env);
    timeout_ms = timeout_ms > 0 ? timeout_ms : topology->env.options.timeout_ms;
    if (kw_env_has_fetch(&topology->env)) {
        code = fetch(client, error, kw_plan_deadline_ns(now_ns, timeout_ms));
        kw_topology_tend(topology, kw_env_now(&topology->env));
    }
    kw_client_leave(client);
    return code;
}
