/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares what the nodes of a test's cluster say of slots, and makes them agree. */
#include "support/cluster_heal.h"

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

enum { HEAL_AFTER_MS = 3000 };

kw_test_views *kw_test_views_fetch(const kw_test_cluster *cluster)
{
    kw_test_views *it = malloc(sizeof(*it));
    if (it == NULL) {
        kw_test_die("no memory");
    }
    it->views_n = 0;
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        if (kw_test_cluster_is_living(cluster, i)) {
            it->numbers[it->views_n] = i;
            kw_test_view_fetch(&it->views[it->views_n], kw_test_cluster_node(cluster, i));
            it->views_n++;
        }
    }
    return it;
}

/* "" where it is nobody's. */
static const char *owner_of(const kw_test_view *view, unsigned slot)
{
    return view->owner[slot] < 0 ? "" : view->nodes[view->owner[slot]].id;
}

const char *kw_test_views_owner(const kw_test_views *views, unsigned slot)
{
    const char *owner = views->views_n > 0 ? owner_of(&views->views[0], slot) : "";
    for (size_t i = 1; i < views->views_n; i++) {
        if (strcmp(owner_of(&views->views[i], slot), owner) != 0) {
            return NULL;
        }
    }
    return owner[0] == '\0' ? NULL : owner;
}

static const char *id_of(const kw_test_cluster *cluster, const kw_test_views *views, size_t index)
{
    return kw_test_cluster_id(cluster, kw_test_cluster_node(cluster, views->numbers[index]));
}

/* How many of the views give the slot to that node. */
static size_t votes_for(const kw_test_views *views, unsigned slot, const char *id)
{
    size_t votes = 0;
    for (size_t i = 0; i < views->views_n; i++) {
        votes += strcmp(owner_of(&views->views[i], slot), id) == 0 ? 1 : 0;
    }
    return votes;
}

void kw_test_cluster_give_back(const kw_test_cluster *cluster)
{
    kw_test_views *views = kw_test_views_fetch(cluster);
    for (size_t i = 0; i < views->views_n && views->views_n > 1; i++) {
        const char *id = id_of(cluster, views, i);
        kw_test_server *node = kw_test_cluster_node(cluster, views->numbers[i]);
        for (unsigned slot = 0; slot < KW_TEST_SLOTS; slot++) {
            if (views->views[i].owner[slot] < 0 &&
                votes_for(views, slot, id) == views->views_n - 1) {
                freeReplyObject(kw_test_server_command(node, "CLUSTER ADDSLOTS %u", slot));
            }
        }
    }
    free(views);
}

/* The view of the node that claims the slot by its own word, or that most others name where nobody
 * does; -1 where several claim it, or nobody is named. */
static int claimant_of(const kw_test_cluster *cluster, const kw_test_views *views, unsigned slot,
                       bool *is_claimed)
{
    size_t most = 0;
    int named = -1;
    int claimant = -1;
    for (size_t i = 0; i < views->views_n; i++) {
        const char *id = id_of(cluster, views, i);
        size_t votes = votes_for(views, slot, id);
        if (strcmp(owner_of(&views->views[i], slot), id) == 0) {
            if (claimant >= 0) {
                return -1;
            }
            claimant = (int)i;
        }
        if (votes > most) {
            most = votes;
            named = (int)i;
        }
    }
    *is_claimed = claimant >= 0;
    return claimant >= 0 ? claimant : named;
}

static void heal(const kw_test_cluster *cluster)
{
    bool is_doubted[KW_TEST_VIEW_MAX] = {false};
    kw_test_views *views = kw_test_views_fetch(cluster);
    for (unsigned slot = 0; slot < KW_TEST_SLOTS; slot++) {
        bool is_claimed = true;
        int i = kw_test_views_owner(views, slot) != NULL
                    ? -1
                    : claimant_of(cluster, views, slot, &is_claimed);
        if (i >= 0 && !is_claimed) {
            freeReplyObject(kw_test_server_command(kw_test_cluster_node(cluster, views->numbers[i]),
                                                   "CLUSTER SETSLOT %u NODE %s", slot,
                                                   id_of(cluster, views, (size_t)i)));
        }
        if (i >= 0) {
            is_doubted[i] = true;
        }
    }
    for (size_t i = 0; i < views->views_n; i++) {
        if (is_doubted[i]) {
            freeReplyObject(kw_test_server_command(kw_test_cluster_node(cluster, views->numbers[i]),
                                                   "CLUSTER BUMPEPOCH"));
        }
    }
    free(views);
}

void kw_test_cluster_heal_late(const kw_test_cluster *cluster, uint64_t *since_ms)
{
    if (kw_test_now_ms() >= *since_ms + HEAL_AFTER_MS) {
        heal(cluster);
        *since_ms = kw_test_now_ms();
    }
}
