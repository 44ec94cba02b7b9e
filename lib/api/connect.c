#include <keyway/client.h>

#include "api/client.h"
#include "base/error.h"

#include <string.h>

static uint64_t deadline_of(const kw_client *client)
{
    return kw_env_now(&client->env) + client->env.options.timeout_ms * KW_NS_PER_MS;
}

static kw_err connect_node(kw_client *client, kw_node *node, kw_error *error, uint64_t deadline_ns)
{
    kw_conn *conn;
    uint64_t retry_ns;
    kw_node_wish wish = {kw_env_now(&client->env), deadline_ns, false};
    kw_err code = kw_node_acquire(node, &conn, error, &retry_ns, &wish);
    if (code == KW_OK) {
        kw_node_release(node, conn, kw_env_now(&client->env), NULL);
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
    code = kw_client_need_view(client, &view, error, deadline_ns);
    if (code == KW_OK) {
        if (!kw_map_is_cluster(view->map)) {
            code = connect_node(client, view->nodes[0], error, deadline_ns);
        }
        kw_view_unref(view);
    }
    kw_client_leave(client);
    return code;
}

kw_err kw_client_slot_node(kw_client *client, char *node, size_t node_len, unsigned slot,
                           kw_error *error)
{
    if (client == NULL || node == NULL || node_len == 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client or node is NULL, or node_len is 0");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_view *view;
    code = kw_client_need_view(client, &view, error, deadline_of(client));
    if (code == KW_OK) {
        const kw_node *owner = kw_view_owner(view, slot);
        if (owner == NULL) {
            code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "no node serves slot %u",
                                slot);
        } else {
            size_t len = strlen(owner->name);
            len = len < node_len ? len : node_len - 1;
            memcpy(node, owner->name, len);
            node[len] = '\0';
        }
        kw_view_unref(view);
    }
    kw_client_leave(client);
    return code;
}
