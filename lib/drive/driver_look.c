/* SPDX-License-Identifier: BSD-3-Clause */
/* Which node the map has for a plan, and whether it has another one by now. */
#include "drive/driver.h"

/* The one owner of all the positions, which may be down. */
static kw_node *look_for_owner(const kw_snapshot *snapshot, const kw_plan *plan)
{
    uint16_t shard = kw_map_shard_at_position(snapshot->map, plan->position);
    if (kw_plan_is_of_other_snapshot(plan, snapshot)) {
        return NULL;
    }
    const kw_ring_positions *positions = kw_plan_positions(plan);
    for (size_t i = 0; positions != NULL && i < positions->n; i++) {
        if (kw_map_shard_at_position(snapshot->map, positions->at[i]) != shard) {
            return NULL;
        }
    }
    return shard != KW_MAP_NO_SHARD
               ? snapshot->nodes[kw_map_shard_at(snapshot->map, shard)->primary]
               : NULL;
}

/* NULL for a node that is down and whose keys others have; where they stay, kw_driver_choose
 * decides. */
static kw_node *unless_down(const kw_snapshot *snapshot, kw_node *node)
{
    bool is_left = node != NULL && kw_options_moves_keys(&node->env->options) &&
                   kw_snapshot_is_down(snapshot, node);
    return is_left ? NULL : node;
}

static bool is_usable(const kw_snapshot *snapshot, kw_node *node)
{
    return kw_snapshot_find(snapshot, &node->endpoint) == node &&
           !kw_snapshot_is_down(snapshot, node) && !kw_node_is_failing(node);
}

/* The node that the caller named has left the map meanwhile. */
static bool has_left(const kw_plan *plan)
{
    return !plan->is_outside && kw_node_is_retired(plan->node);
}

/* While the owner is not well, one other primary takes all messages of the channel. */
static kw_node *look_for_channel(const kw_snapshot *snapshot, const kw_plan *plan)
{
    kw_node *node = kw_snapshot_owner(snapshot, plan->slot);
    return node != NULL && is_usable(snapshot, node) ? node : kw_snapshot_any(snapshot, plan->slot);
}

kw_node *kw_driver_look_for_primary(const kw_snapshot *snapshot, const kw_plan *plan,
                                    kw_random *random)
{
    switch (plan->kind) {
    case KW_PLAN_SLOT:
        return kw_snapshot_owner(snapshot, plan->slot);
    case KW_PLAN_POSITION:
        return unless_down(snapshot, look_for_owner(snapshot, plan));
    case KW_PLAN_NODE:
        return plan->is_internal ? plan->node
               : has_left(plan)  ? NULL
                                 : unless_down(snapshot, plan->node);
    case KW_PLAN_CHANNEL:
        return look_for_channel(snapshot, plan);
    case KW_PLAN_SPLIT:
    case KW_PLAN_ANY:
    case KW_PLAN_ALL_PRIMARIES:
    case KW_PLAN_ALL_NODES:
        break;
    }
    if (plan->node != NULL && is_usable(snapshot, plan->node)) {
        return plan->node;
    }
    return kw_snapshot_any(snapshot, kw_random_next(random) >> 32);
}

kw_node *kw_driver_look_further(const kw_snapshot *snapshot, const kw_plan *plan, kw_random *random)
{
    kw_node *node = kw_driver_look_for_primary(snapshot, plan, random);
    if (node == NULL && plan->kind == KW_PLAN_POSITION && plan->read != KW_READ_OF_PRIMARY &&
        (node = look_for_owner(snapshot, plan)) != NULL) {
        /* The replicas of a node that is down still answer. */
        node = kw_snapshot_reader(snapshot, node, kw_plan_read(plan), random);
        return unless_down(snapshot, node);
    }
    if (node == NULL || plan->read == KW_READ_OF_PRIMARY || plan->node != NULL) {
        return node;
    }
    return kw_snapshot_reader(snapshot, node, kw_plan_read(plan), random);
}

/* Of a ring only a group's primary is replaced; from a server, calls finish where they were
 * sent. */
static bool was_replaced(const kw_snapshot *snapshot, const kw_plan *plan, const kw_node *node)
{
    size_t number;
    bool is_primary = kw_map_find_node(snapshot->map, &number, &node->endpoint) &&
                      kw_map_member_at(snapshot->map, number)->is_primary;
    const kw_node *owner = is_primary ? NULL : look_for_owner(snapshot, plan);
    return owner != NULL && owner != node && kw_node_is_of_group(owner);
}

static bool has_other_owner(const kw_snapshot *snapshot, const kw_plan *plan, kw_node *node)
{
    if (plan->kind == KW_PLAN_NODE) {
        return !plan->is_outside && kw_node_is_retired(node);
    }
    if (plan->kind == KW_PLAN_POSITION) {
        return was_replaced(snapshot, plan, node);
    }
    const kw_node *owner = kw_snapshot_owner(snapshot, plan->slot);
    return owner != NULL && owner != node;
}

uint64_t kw_driver_lost_ns(kw_topology *topology, const kw_plan *plan, kw_node *node,
                           bool is_asking)
{
    bool may_move = plan->kind == KW_PLAN_SLOT || plan->kind == KW_PLAN_NODE ||
                    (plan->kind == KW_PLAN_POSITION && kw_node_is_of_group(node));
    if (!may_move || is_asking) {
        return 0;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    bool is_lost = snapshot != NULL && has_other_owner(snapshot, plan, node);
    kw_snapshot_unref(snapshot);
    return is_lost ? kw_refresher_changed_ns(&topology->refresher) : 0;
}
