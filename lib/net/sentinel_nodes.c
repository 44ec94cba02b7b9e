/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes of a Sentinel group: those of its sentinels, and who answers at them and at its servers. */
#include "net/sentinel_nodes.h"

#include "base/error.h"
#include "net/identity.h"

static bool is_configured(const kw_fetch_sentinel *self, const kw_endpoint *sentinel)
{
    for (size_t i = 0; i < self->watch.entries_n; i++) {
        if (kw_endpoint_equal(&self->watch.entries[i].endpoint, sentinel)) {
            return self->watch.entries[i].is_configured;
        }
    }
    return false;
}

static bool is_watched(const kw_fetch_sentinel *self, const kw_node *node)
{
    for (size_t i = 0; i < self->watch.entries_n; i++) {
        if (kw_endpoint_equal(&self->watch.entries[i].endpoint, &node->endpoint)) {
            return true;
        }
    }
    return false;
}

/* Drops the nodes of sentinels that left the group. */
void kw_sentinel_nodes_drop_left(kw_fetch_sentinel *self)
{
    size_t kept_n = 0;
    for (size_t i = 0; i < self->nodes_n; i++) {
        if (is_watched(self, self->nodes[i])) {
            self->nodes[kept_n++] = self->nodes[i];
        } else {
            kw_node_unref(self->nodes[i]);
        }
    }
    self->nodes_n = kept_n;
}

/* The node of a sentinel, borrowed; NULL when there is no memory. */
kw_node *kw_sentinel_nodes_need(kw_fetch_sentinel *self, const kw_endpoint *endpoint)
{
    for (size_t i = 0; i < self->nodes_n; i++) {
        if (kw_endpoint_equal(&self->nodes[i]->endpoint, endpoint)) {
            return self->nodes[i];
        }
    }
    kw_node *node =
        self->nodes_n < KW_SENTINEL_NODES_MAX(self) ? kw_node_new(self->env, endpoint) : NULL;
    if (node != NULL) {
        kw_node_set_role(node, KW_CONN_SENTINEL);
        node->is_configured = is_configured(self, endpoint);
        self->nodes[self->nodes_n++] = node;
    }
    return node;
}

/* Who is at the addresses of the other sentinels. The settings vouch for those that they name. */
void kw_sentinel_nodes_note_ids(kw_fetch_sentinel *self, const kw_reply *reply)
{
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        kw_endpoint peer;
        uint64_t id;
        if (!kw_topology_sentinel_peer(&peer, &id, kw_reply_at(reply, i)) ||
            is_configured(self, &peer)) {
            continue;
        }
        kw_node *node = kw_sentinel_nodes_need(self, &peer);
        if (node != NULL) {
            kw_node_set_id(node, id);
        }
    }
}

/* What is known of the group's data is known of the servers that have it. */
static void share_lineage(const kw_fetch_sentinel *self, const kw_node *primary, bool is_replaced)
{
    const kw_lineage none = {.n = 0};
    for (size_t i = 0; i <= self->replicas.n; i++) {
        const kw_endpoint *at = i == 0 ? &primary->endpoint : &self->replicas.items[i - 1];
        kw_node *node = self->owner->known_fn(self->owner->arg, at);
        if (node != NULL && is_replaced) {
            kw_node_set_lineage(node, &none);
        }
        if (node != NULL) {
            kw_node_learn_lineage(node, &self->trust.lineage);
        }
        kw_node_unref(node);
    }
}

/* The server that a sentinel named is a primary: with the data that was known? */
kw_err kw_sentinel_nodes_check(kw_fetch_sentinel *self, const kw_fetch_step *step, kw_error *error,
                               const kw_node *from, const kw_reply *info)
{
    kw_lineage said = step->said->lineage;
    if (info != NULL && !kw_reply_is_error(info)) {
        kw_lineage_read(&said, kw_reply_bytes(info));
    }
    switch (kw_sentinel_trust_weigh(&self->trust, &said)) {
    case KW_SENTINEL_DOUBTED:
        return kw_error_set(error, KW_ERR_IDENTITY, KW_EFFECT_NONE,
                            "named as the primary, but its data has nothing in common with what "
                            "was known");
    case KW_SENTINEL_REPLACED:
        kw_identity_tell(self->env, &from->endpoint, "the sentinels name it as the primary");
        share_lineage(self, from, true);
        break;
    case KW_SENTINEL_BELIEVED:
        share_lineage(self, from, false);
        break;
    }
    return KW_OK;
}

static void note_kin(kw_fetch_sentinel *self)
{
    kw_node *node = self->owner->known_fn(self->owner->arg, &self->primary);
    if (node != NULL) {
        bool is_kin = kw_node_is_kin(node, &self->trust.lineage);
        self->trust.has_kin = self->trust.has_kin || is_kin;
        kw_node_unref(node);
    }
}

/* The server that a sentinel named is no primary, or has other data. */
void kw_sentinel_nodes_on_failure(kw_fetch_sentinel *self, kw_err code)
{
    if (code == KW_ERR_POOL_FULL) {
        return; /* it was not asked: its connections here are all busy */
    }
    if (code == KW_ERR_ROLE) {
        note_kin(self);
    }
    if (code != KW_ERR_IDENTITY) {
        kw_sentinel_watch_on_tried(&self->watch, &self->primary);
    }
    kw_sentinel_trust_on_failure(&self->trust, code == KW_ERR_IDENTITY,
                                 kw_endpoint_equal(&self->primary, &self->watch.suspect));
}
