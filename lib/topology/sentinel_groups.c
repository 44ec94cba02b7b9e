/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology/sentinel_groups.h"

#include "topology/map_publish.h"
#include "base/error.h"

void kw_sentinel_groups_begin(kw_client *client)
{
    bool has_groups = false;
    kw_monitor_lock(&client->publishing);
    for (size_t i = 0; i < client->members->ring_members.n; i++) {
        has_groups = has_groups || kw_member_is_group(&client->members->ring_members.members[i]);
    }
    kw_monitor_unlock(&client->publishing);
    if (has_groups) {
        /* Stays, so that those that leave are forgotten by the next fetch. */
        atomic_store_explicit(&client->env.has_groups, true, memory_order_relaxed);
        (void)kw_refresher_want(&client->refresher);
    }
}

static bool has_unasked(const kw_snapshot *snapshot)
{
    bool is_found = false;
    for (size_t i = 0; !is_found && i < kw_map_shards_n(snapshot->map); i++) {
        is_found = kw_node_is_unasked(snapshot->nodes[kw_map_shard_at(snapshot->map, i)->primary]);
    }
    return is_found;
}

kw_err kw_sentinel_groups_need(kw_client *client, kw_snapshot **snapshot, kw_error *error,
                               uint64_t deadline_ns)
{
    bool has_groups = atomic_load_explicit(&client->env.has_groups, memory_order_relaxed);
    while (has_groups && has_unasked(*snapshot)) {
        kw_refresher_goal goal = {.until_ns = deadline_ns,
                                  .fetch = kw_refresher_want(&client->refresher)};
        kw_err code = kw_refresher_wait(&client->refresher, error, &goal);
        if (code == KW_ERR_TIMEOUT) {
            return kw_error_set(error, KW_ERR_NO_SENTINEL, KW_EFFECT_NONE,
                                "the sentinels of a group did not answer before the deadline");
        }
        if (code == KW_ERR_CANCELLED) {
            return code;
        }
        kw_snapshot_unref(*snapshot);
        *snapshot = kw_client_snapshot(client);
    }
    return KW_OK;
}

kw_err kw_sentinel_groups_list(void *arg, kw_ring_members *groups, uint64_t *version)
{
    kw_client *client = arg;
    kw_ring_members found = {NULL, 0, 0};
    kw_err code = KW_OK;
    kw_monitor_lock(&client->publishing);
    const kw_ring_state *members = client->members;
    if (members->commits_n == *version) {
        kw_monitor_unlock(&client->publishing);
        return KW_OK;
    }
    for (size_t i = 0; code == KW_OK && i < members->ring_members.n; i++) {
        kw_member copy;
        if (!kw_member_is_group(&members->ring_members.members[i])) {
            continue;
        }
        bool is_copied = kw_member_copy(&copy, &members->ring_members.members[i], &client->env.mem);
        if (is_copied && !kw_ring_members_add(&found, &copy, &client->env.mem)) {
            kw_member_fini(&copy, &client->env.mem);
            is_copied = false;
        }
        code = is_copied ? KW_OK : KW_ERR_NOMEM;
    }
    uint64_t commits_n = members->commits_n;
    kw_monitor_unlock(&client->publishing);
    if (code != KW_OK) {
        kw_ring_members_fini(&found, &client->env.mem);
        return code;
    }
    *groups = found;
    *version = commits_n;
    return KW_OK;
}

void kw_sentinel_groups_found(void *arg, bool *has_news, const kw_member *group, const kw_map *map)
{
    kw_client *client = arg;
    kw_error error = KW_ERROR_INIT;
    kw_monitor_lock(&client->publishing);
    kw_err code = kw_ring_state_set_group(client->members, client, &error, group, map, has_news);
    kw_monitor_unlock(&client->publishing);
    if (*has_news) {
        kw_map_publish_tell(client);
        kw_refresher_on_publish(&client->refresher);
    }
    if (code != KW_OK && code != KW_ERR_ARGUMENT) {
        kw_env_log(&client->env, KW_LOG_WARNING, "ring: group %s: %s", group->service, error.text);
        kw_sentinel_groups_lost(client, group, &error);
    }
}

/* A group that was known keeps its primary. */
void kw_sentinel_groups_lost(void *arg, const kw_member *group, const kw_error *failure)
{
    kw_client *client = arg;
    kw_member unknown = *group;
    kw_member_set_unknown(&unknown);
    kw_node *node = kw_client_known_node(client, &unknown.server);
    if (node != NULL) {
        kw_node_set_refusal(node, failure);
        kw_node_unref(node);
    }
}

kw_err kw_sentinel_groups_publish(void *arg, bool *has_news, kw_map *map)
{
    kw_client *client = arg;
    *has_news = client->refresher.groups.has_news;
    kw_map_unref(map);
    return KW_OK;
}
