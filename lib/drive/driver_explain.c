/* SPDX-License-Identifier: BSD-3-Clause */
/* The text of a command that failed: where, why, and what may be done. */
#include "drive/driver.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* What to say of a ring where no server has said anything. */
static const char *detail_of(const kw_step *step)
{
    switch ((int)step->code) {
    case KW_ERR_CROSSSLOT:
        return "the ring was changed, and the keys have different owners now; send it again";
    case KW_ERR_NOT_SERVED:
        return "no node of the ring has weight";
    case KW_ERR_CONNECT:
        return "every node of the ring is down";
    default:
        return "";
    }
}

static const char *hint_of(const kw_step *step, const kw_plan *plan, bool is_ring)
{
    if (step->effect == KW_EFFECT_MAYBE && !plan->is_internal) {
        return "; the command may have run";
    }
    if (step->code == KW_ERR_NOT_SERVED && plan->read == KW_READ_OF_REPLICA) {
        return "; no replica of its owner is known that has its primary, and is as far as "
               "max-staleness or the token wants (read-preference=replica)";
    }
    if (step->code == KW_ERR_NOT_SERVED && !is_ring) {
        return "; assign them to a node";
    }
    return "";
}

/* The node that the command was for, where it was not sent to any: a reference. */
static kw_node *find_owner(kw_topology *topology, const kw_plan *plan)
{
    kw_node *node = plan->node;
    kw_snapshot *snapshot = node == NULL ? kw_topology_snapshot(topology) : NULL;
    if (snapshot != NULL && plan->kind == KW_PLAN_POSITION) {
        node = kw_snapshot_at_position(snapshot, plan->position);
    } else if (snapshot != NULL && plan->kind == KW_PLAN_SLOT) {
        node = kw_snapshot_owner(snapshot, plan->slot);
    } else if (snapshot != NULL && topology->env.options.scheme == KW_SCHEME_SINGLE) {
        node = kw_snapshot_any(snapshot, 0);
    }
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_snapshot_unref(snapshot);
    return node;
}

/* Why the owner, which is down, is not waited for. */
static const char *detail_of_down(char *text, size_t text_len, kw_node *owner)
{
    kw_error failure = kw_error_none();
    (void)kw_node_last_failure(owner, &failure);
    /* Where others would have its keys, there is none left. */
    const char *what = kw_options_moves_keys(&owner->env->options)
                           ? "every node of the ring is down, and none is waited for until it"
                           : "it is down, and not waited for until it";
    snprintf(text, text_len, "%s answers again%s%.150s", what, failure.text[0] != '\0' ? ": " : "",
             failure.text);
    return text;
}

/* Which right the user lacks, without which no replica can be measured. */
static const char *detail_of_right(char *text, size_t text_len, kw_topology *topology,
                                   kw_node *owner)
{
    kw_error failure = kw_error_none();
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_node *node = snapshot != NULL ? kw_snapshot_refusing(snapshot, owner) : NULL;
    text[0] = '\0';
    if (node != NULL) {
        bool is_asked = atomic_load_explicit(&node->lag.is_refused, memory_order_relaxed);
        (void)kw_node_last_failure(node, &failure);
        snprintf(text, text_len, "%.100s: %.200s", node->name,
                 is_asked ? "it refuses INFO to this user, and so does not tell how far it is: "
                            "allow it (max-staleness, tokens)"
                          : failure.text);
    }
    kw_snapshot_unref(snapshot);
    return text;
}

/* Why there is no map, where there is none. */
static const char *detail_of_mapless(char *text, size_t text_len, kw_topology *topology)
{
    kw_error failure = kw_error_none();
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    bool is_mapless = snapshot == NULL;
    kw_snapshot_unref(snapshot);
    text[0] = '\0';
    if (is_mapless && kw_refresher_result(&topology->refresher, &failure) != KW_OK) {
        snprintf(text, text_len,
                 "there is no map, and none is waited for until a server answers: %.90s%s%.120s",
                 failure.node, failure.node[0] != '\0' ? ": " : "", failure.text);
    }
    return text;
}

/* Which slots the cluster has given to nobody, behind what a server has said of it. */
static const char *detail_of_hole(char *text, size_t text_len, kw_topology *topology,
                                  const char *said, unsigned slot)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_map_hole hole = {0, 0, 0};
    if (snapshot != NULL && kw_map_is_cluster(snapshot->map)) {
        hole = kw_map_hole_at(snapshot->map, slot);
    }
    kw_snapshot_unref(snapshot);
    if (hole.slots_n == 0) {
        return said;
    }
    unsigned others_n = hole.slots_n - (hole.last - hole.first + 1);
    char others[40] = "";
    if (others_n > 0) {
        snprintf(others, sizeof(others), " and %u others", others_n);
    }
    snprintf(text, text_len, "%.200s%sthe map has no owner of slots %u-%u%s", said,
             said[0] != '\0' ? "; " : "", hole.first, hole.last, others);
    return text;
}

/* What sentinels say of the name, behind what the server has said that was the primary. */
static const char *detail_of_name(char *text, size_t text_len, kw_topology *topology,
                                  const char *said)
{
    kw_error failure = kw_error_none();
    if (kw_refresher_result(&topology->refresher, &failure) != KW_ERR_NO_SERVICE ||
        strcmp(failure.text, said) == 0) {
        return said;
    }
    snprintf(text, text_len, "%.150s%s%.150s", failure.text, said[0] != '\0' ? "; and " : "", said);
    return text;
}

static bool is_of_slots(const kw_step *step, const kw_plan *plan)
{
    return plan->kind == KW_PLAN_SLOT && plan->read != KW_READ_OF_REPLICA &&
           (step->code == KW_ERR_NOT_SERVED || step->code == KW_ERR_CLUSTER_DOWN);
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* A code's text in front of a detail that says the same: only one of them is said. */
static const char *said_once(kw_err code, const char **detail)
{
    static const char lost[] = "connection lost: ";
    if (code == KW_ERR_QUEUE_TIMEOUT && strcmp(*detail, "no answer") == 0) {
        *detail = ""; /* nothing was asked */
    }
    if ((code == KW_ERR_CONNECT && begins_with(*detail, "cannot connect")) ||
        (code == KW_ERR_RESOLVE && begins_with(*detail, "no address for host name")) ||
        (code == KW_ERR_ORDER && begins_with(*detail, KW_DRIVER_GIVEN_BEHIND))) {
        return "";
    }
    if ((code == KW_ERR_CLOSED || code == KW_ERR_CONNECT) && begins_with(*detail, lost)) {
        *detail += strlen(lost);
    }
    return kw_err_text(code);
}

void kw_driver_tell(kw_error *error, const kw_driver_told *told)
{
    char slot[24] = "";
    const kw_step *step = told->step;
    if (told->plan->kind == KW_PLAN_SLOT && told->has_slots) {
        snprintf(slot, sizeof(slot), " in slot %u", (unsigned)told->plan->slot);
    }
    const char *detail = told->detail;
    const char *said = said_once(step->code, &detail);
    kw_error_set(error, step->code, step->effect, "%s%s%s%.140s: %s%s%s%s",
                 kw_plan_name(told->plan), slot, told->node[0] != '\0' ? " at " : "", told->node,
                 said, said[0] != '\0' && detail[0] != '\0' ? ": " : "", detail,
                 hint_of(step, told->plan, told->is_ring));
    kw_error_set_node(error, told->node);
}

void kw_driver_explain(kw_topology *topology, kw_error *error, const kw_driver_story *story)
{
    const kw_step *step = story->step;
    const char *node = story->node != NULL ? story->node->name : story->failure->node;
    bool is_ring = kw_topology_is_ring(topology);
    kw_node *owner = node[0] == '\0' ? find_owner(topology, story->plan) : NULL;
    node = owner != NULL ? owner->name : node;
    char down[320];
    const char *detail = story->failure->text;
    bool is_hinted = step->code == KW_ERR_NOT_SERVED && story->plan->read == KW_READ_OF_REPLICA;
    if (detail[0] == '\0' && owner != NULL && kw_node_faults_is_down(&owner->faults)) {
        detail = detail_of_down(down, sizeof(down), owner);
    } else if (detail[0] == '\0' && step->code == KW_ERR_AUTH && owner != NULL) {
        detail = detail_of_right(down, sizeof(down), topology, owner);
    } else if (detail[0] == '\0' && story->node == NULL && owner == NULL && !is_ring) {
        detail = detail_of_mapless(down, sizeof(down), topology);
    } else if (detail[0] == '\0' && is_ring && !is_hinted) {
        detail = detail_of(step);
    }
    char hole[320];
    if (!is_ring && is_of_slots(step, story->plan)) {
        detail = detail_of_hole(hole, sizeof(hole), topology, detail, story->plan->slot);
    }
    char name[320];
    if (step->code == KW_ERR_NO_SERVICE) {
        detail = detail_of_name(name, sizeof(name), topology, detail);
    }
    kw_driver_told told = {.plan = story->plan, .step = step, .is_ring = is_ring};
    told.node = node;
    told.detail = detail;
    told.has_slots = kw_driver_has_slots(topology);
    kw_driver_tell(error, &told);
    if (kw_error_has_room(error)) {
        uint64_t end_ns = kw_env_now(&topology->env);
        error->attempts = story->sends_n;
        error->elapsed_ms = (unsigned)((end_ns - story->plan->start_ns) / KW_NS_PER_MS);
    }
    kw_node_unref(owner);
}
