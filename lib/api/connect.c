/* SPDX-License-Identifier: BSD-3-Clause */
#include <keyway/client.h>

#include "topology/sentinel_groups.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "route/slot.h"

#include <string.h>

static uint64_t deadline_of(const kw_client *client)
{
    return kw_env_now(&client->env) + client->env.options.timeout_ms * KW_NS_PER_MS;
}

static kw_err connect_node(kw_client *client, kw_node *node, kw_error *error, uint64_t deadline_ns)
{
    kw_conn *conn;
    uint64_t retry_ns;
    kw_acquire_options options = {.now_ns = kw_env_now(&client->env), .deadline_ns = deadline_ns};
    kw_err code = kw_node_acquire(node, &conn, error, &retry_ns, &options);
    if (code == KW_OK) {
        kw_node_release(node, conn, kw_env_now(&client->env), NULL);
    }
    return code;
}

/* Each primary in turn. */
static kw_err connect_all(kw_client *client, const kw_view *view, kw_error *error,
                          uint64_t deadline_ns)
{
    kw_err code = KW_OK;
    for (size_t i = 0; code == KW_OK && i < kw_map_shards_n(view->map); i++) {
        kw_node *node = view->nodes[kw_map_shard_at(view->map, i)->primary];
        code = connect_node(client, node, error, deadline_ns);
    }
    return code;
}

/* A view in which it is known where the nodes are, as far as anybody knows. */
static kw_err need_view(kw_client *client, kw_view **view, kw_error *error, uint64_t deadline_ns)
{
    kw_err code = kw_client_need_view(client, view, error, deadline_ns);
    if (code == KW_OK) {
        code = kw_sentinel_groups_need(client, view, error, deadline_ns);
        if (code != KW_OK) {
            kw_view_unref(*view);
        }
    }
    return code;
}

kw_err kw_connect(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_view *view;
    uint64_t deadline_ns = deadline_of(client);
    code = need_view(client, &view, error, deadline_ns);
    if (code == KW_OK) {
        if (!kw_map_is_cluster(view->map)) {
            code = connect_all(client, view, error, deadline_ns);
        }
        kw_view_unref(view);
    }
    kw_client_leave(client);
    return code;
}

static void write_name(char *out, size_t out_len, const kw_node *node)
{
    size_t len = strlen(node->name);
    len = len < out_len ? len : out_len - 1;
    memcpy(out, node->name, len);
    out[len] = '\0';
}

kw_err kw_client_slot_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                           unsigned slot)
{
    if (client == NULL || node == NULL || node_len == 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client or node is NULL, or node_len is 0");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    if (kw_plan_is_ring(client)) {
        kw_client_leave(client);
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "a ring has no slots; ask kw_client_key_node");
    }
    kw_view *view;
    code = kw_client_need_view(client, &view, error, deadline_of(client));
    if (code == KW_OK) {
        const kw_node *owner = kw_view_owner(view, slot);
        if (owner == NULL) {
            code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "no node serves slot %u",
                                slot);
        } else {
            write_name(node, node_len, owner);
        }
        kw_view_unref(view);
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
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_view *view;
    code = need_view(client, &view, error, deadline_of(client));
    if (code == KW_OK) {
        kw_bytes whole = {key, key_len};
        const kw_node *owner =
            kw_plan_is_ring(client)
                ? kw_view_at_position(view, kw_ring_position_of(client->placement, whole))
                : kw_view_owner(view, kw_slot_of(key, key_len));
        if (owner == NULL) {
            code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "no node has this key");
        } else {
            write_name(node, node_len, owner);
        }
        kw_view_unref(view);
    }
    kw_client_leave(client);
    return code;
}
