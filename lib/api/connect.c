/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/client.h: connecting ahead of the first command, the login, and who owns a slot or a key.
 */
#include <keyway/client.h>

#include "drive/warm_up.h"
#include "topology/first_map.h"
#include "topology/login_watch.h"
#include "api/client.h"
#include "topology/sentinel_groups.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "route/slot.h"

static uint64_t deadline_of(const kw_client *client)
{
    return kw_env_now(&client->topology->env) +
           client->topology->env.options.timeout_ms * KW_NS_PER_MS;
}

/* A snapshot in which it is known where the nodes are, as far as anybody knows. */
static kw_err need_snapshot(kw_client *client, kw_error *error, kw_snapshot **snapshot,
                            uint64_t deadline_ns)
{
    kw_map_wait wait = {deadline_ns, &client->waits_end};
    kw_err code = kw_topology_need_snapshot(client->topology, snapshot, error, wait);
    if (code == KW_OK) {
        code = kw_sentinel_groups_need(client->topology, snapshot, error, wait);
        if (code != KW_OK) {
            kw_snapshot_unref(*snapshot);
        }
    }
    return code;
}

kw_err kw_connect(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
    }
    kw_err code = kw_client_enter_new(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_snapshot *snapshot;
    uint64_t deadline_ns = deadline_of(client);
    code = need_snapshot(client, error, &snapshot, deadline_ns);
    if (code == KW_OK) {
        kw_map_wait wait = {deadline_ns, &client->waits_end};
        code = kw_warm_up(client->topology, error, snapshot, wait);
        kw_snapshot_unref(snapshot);
    }
    kw_client_leave(client);
    return code;
}

kw_err kw_client_set_login(kw_client *client, kw_error *error, const char *user,
                           const char *password)
{
    if (client == NULL || (user != NULL && password == NULL)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client is NULL, or a user has no password");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    code = kw_login_watch_set(client->topology, user, password);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a login");
    }
    kw_client_leave(client);
    return code;
}

kw_err kw_client_slot_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                           unsigned slot)
{
    if (client == NULL || node == NULL || node_len == 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client or node is NULL, or node_len is 0");
    }
    kw_err code = kw_client_enter_new(client, error);
    if (code != KW_OK) {
        return code;
    }
    if (kw_topology_is_ring(client->topology)) {
        kw_client_leave(client);
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "a ring has no slots; ask kw_client_key_node");
    }
    kw_snapshot *snapshot;
    kw_map_wait wait = {deadline_of(client), &client->waits_end};
    code = kw_topology_need_snapshot(client->topology, &snapshot, error, wait);
    if (code == KW_OK) {
        const kw_node *owner = kw_snapshot_owner(snapshot, slot);
        if (owner == NULL) {
            code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "no node serves slot %u",
                                slot);
        } else {
            kw_node_write_name(node, node_len, owner);
        }
        kw_snapshot_unref(snapshot);
    }
    kw_client_leave(client);
    return code;
}

kw_err kw_client_key_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                          const char *key, size_t key_len)
{
    if (client == NULL || node == NULL || node_len == 0 || (key == NULL && key_len > 0)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client, node or key is NULL, or node_len is 0");
    }
    kw_err code = kw_client_enter_new(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_snapshot *snapshot;
    code = need_snapshot(client, error, &snapshot, deadline_of(client));
    if (code == KW_OK) {
        const kw_node *owner =
            kw_topology_owner_in(client->topology, snapshot, (kw_bytes){key, key_len});
        if (owner == NULL) {
            code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "no node has this key");
        } else {
            kw_node_write_name(node, node_len, owner);
        }
        kw_snapshot_unref(snapshot);
    }
    kw_client_leave(client);
    return code;
}
