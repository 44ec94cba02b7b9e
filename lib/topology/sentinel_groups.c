/* SPDX-License-Identifier: BSD-3-Clause */
/* Gives the refresher the groups on a ring, and takes what their sentinels answered. */
#include "topology/sentinel_groups.h"

#include "topology/node_registry.h"
#include "topology/map_publish.h"
#include "base/error.h"

void kw_sentinel_groups_begin(kw_topology *topology)
{
    bool has_groups = false;
    kw_monitor_lock(&topology->publishing);
    for (size_t i = 0; i < topology->ring_state->ring_members.n; i++) {
        has_groups =
            has_groups || kw_member_is_group(&topology->ring_state->ring_members.members[i]);
    }
    kw_monitor_unlock(&topology->publishing);
    if (has_groups) {
        /* Stays true, so that the next fetch also forgets groups that have left. */
        atomic_store_explicit(&topology->env.has_groups, true, memory_order_relaxed);
        (void)kw_refresher_want(&topology->refresher);
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

kw_err kw_sentinel_groups_need(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                               kw_map_wait wait)
{
    bool has_groups = atomic_load_explicit(&topology->env.has_groups, memory_order_relaxed);
    while (has_groups && has_unasked(*snapshot)) {
        kw_refresher_goal goal = {.until_ns = wait.deadline_ns,
                                  .closing = wait.closing,
                                  .fetch = kw_refresher_want(&topology->refresher)};
        kw_err code = kw_refresher_wait(&topology->refresher, error, &goal);
        if (code == KW_ERR_TIMEOUT) {
            return kw_error_set(error, KW_ERR_NO_SENTINEL, KW_EFFECT_NONE,
                                "the sentinels of a group did not answer before the deadline");
        }
        if (code == KW_ERR_CANCELLED) {
            return code;
        }
        kw_snapshot_unref(*snapshot);
        *snapshot = kw_topology_snapshot(topology);
    }
    return KW_OK;
}

kw_err kw_sentinel_groups_list(void *arg, kw_ring_members *groups, uint64_t *version)
{
    kw_topology *topology = arg;
    kw_ring_members found = {NULL, 0, 0};
    kw_err code = KW_OK;
    kw_monitor_lock(&topology->publishing);
    const kw_ring_state *members = topology->ring_state;
    if (members->commits_n == *version) {
        kw_monitor_unlock(&topology->publishing);
        return KW_OK;
    }
    for (size_t i = 0; code == KW_OK && i < members->ring_members.n; i++) {
        kw_member copy;
        if (!kw_member_is_group(&members->ring_members.members[i])) {
            continue;
        }
        bool is_copied =
            kw_member_copy(&copy, &members->ring_members.members[i], &topology->env.mem);
        if (is_copied && !kw_ring_members_add(&found, &copy, &topology->env.mem)) {
            kw_member_fini(&copy, &topology->env.mem);
            is_copied = false;
        }
        code = is_copied ? KW_OK : KW_ERR_NOMEM;
    }
    uint64_t commits_n = members->commits_n;
    kw_monitor_unlock(&topology->publishing);
    if (code != KW_OK) {
        kw_ring_members_fini(&found, &topology->env.mem);
        return code;
    }
    *groups = found;
    *version = commits_n;
    return KW_OK;
}

void kw_sentinel_groups_found(void *arg, bool *has_news, const kw_member *group, const kw_map *map)
{
    kw_topology *topology = arg;
    kw_error error = kw_error_none();
    kw_monitor_lock(&topology->publishing);
    kw_err code = kw_ring_state_set_group(topology, &error, group, map, has_news);
    kw_monitor_unlock(&topology->publishing);
    if (*has_news) {
        kw_map_publish_tell(topology);
        kw_refresher_on_publish(&topology->refresher);
    }
    if (code != KW_OK && code != KW_ERR_ARGUMENT) {
        kw_env_log(&topology->env, KW_LOG_WARNING, "ring: group %s: %s", group->service,
                   error.text);
        kw_sentinel_groups_lost(topology, group, &error);
    }
}

/* A group that was known keeps its primary. */
void kw_sentinel_groups_lost(void *arg, const kw_member *group, const kw_error *failure)
{
    kw_topology *topology = arg;
    kw_member unknown = *group;
    kw_member_set_unknown(&unknown);
    kw_node *node = kw_topology_known_node(topology, &unknown.server);
    if (node != NULL) {
        kw_node_set_refusal(node, failure);
        kw_node_unref(node);
    }
}

kw_err kw_sentinel_groups_publish(void *arg, bool *has_news, kw_map *map)
{
    kw_topology *topology = arg;
    *has_news = topology->refresher.groups.has_news;
    kw_map_unref(map);
    return KW_OK;
}
