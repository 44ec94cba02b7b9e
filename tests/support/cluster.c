/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a real cluster of servers, kills, stops and restarts its nodes, and waits for it to agree.
 */
#include "support/cluster.h"

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/cluster_heal.h"
#include "support/cluster_view.h"
#include "support/link.h"

enum { NODES_MAX = 64, POLL_MS = 10, FORM_MS = 30000, NODE_TIMEOUT_MS = 1500, VOTES_MIN_MS = 2000 };

struct kw_test_cluster {
    unsigned node_timeout_ms; /* the servers' */
    size_t nodes_n;
    kw_test_server *nodes[NODES_MAX];
    char ids[NODES_MAX][KW_TEST_ID_LEN + 1];
    bool is_forgotten[NODES_MAX];
    char *config;
    char uri[128];
};

static bool is_living(const kw_test_cluster *cluster, size_t index)
{
    return !cluster->is_forgotten[index] && !kw_test_server_is_dead(cluster->nodes[index]) &&
           !kw_test_server_is_paused(cluster->nodes[index]);
}

static size_t index_of(const kw_test_cluster *cluster, const kw_test_server *node)
{
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        if (cluster->nodes[i] == node) {
            return i;
        }
    }
    kw_test_die("the server is no node of this cluster");
}

static void pause_until(uint64_t end_ms, const char *what)
{
    if (kw_test_now_ms() > end_ms) {
        kw_test_die("the cluster is not in time: %s", what);
    }
    kw_test_sleep_ms(POLL_MS);
}

static size_t start_node(kw_test_cluster *cluster)
{
    size_t index = cluster->nodes_n;
    if (index == NODES_MAX) {
        kw_test_die("more than %d nodes", NODES_MAX);
    }
    kw_test_server *node = kw_test_server_start(cluster->config);
    char *id = kw_test_server_text(node, "CLUSTER MYID");
    snprintf(cluster->ids[index], sizeof(cluster->ids[index]), "%s", id);
    free(id);
    cluster->nodes[index] = node;
    cluster->nodes_n++;
    return index;
}

static char *make_config(unsigned node_timeout_ms, const char *config)
{
    static const char form[] = "cluster-enabled yes\n"
                               "cluster-node-timeout %u\n"
                               "cluster-config-file nodes.conf\n"
                               "cluster-allow-replica-migration no\n"
                               "repl-ping-replica-period 1\n"
                               "%s";
    const char *rest = config == NULL ? "" : config;
    size_t len = sizeof(form) + 16 + strlen(rest);
    char *text = malloc(len);
    if (text == NULL) {
        kw_test_die("no memory");
    }
    snprintf(text, len, form, node_timeout_ms, rest);
    return text;
}

/* ADDSLOTS rather than ADDSLOTSRANGE: older servers know it as well. */
static void give_slots(kw_test_server *node, unsigned first, unsigned last)
{
    int argc = 2;
    char(*numbers)[8] = malloc(sizeof(*numbers) * KW_TEST_SLOTS);
    const char **argv = malloc(sizeof(*argv) * (KW_TEST_SLOTS + 2));
    if (numbers == NULL || argv == NULL) {
        kw_test_die("no memory");
    }
    argv[0] = "CLUSTER";
    argv[1] = "ADDSLOTS";
    for (unsigned slot = first; slot <= last; slot++) {
        snprintf(numbers[slot], sizeof(numbers[slot]), "%u", slot % KW_TEST_SLOTS);
        argv[argc++] = numbers[slot];
    }
    kw_test_link *link = kw_test_server_link(node);
    redisReply *reply = kw_test_link_argv(link, argc, argv, NULL);
    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
        kw_test_die("CLUSTER ADDSLOTS fails");
    }
    freeReplyObject(reply);
    kw_test_link_close(link);
    free(argv);
    free(numbers);
}

/* True when every living node knows every living node. */
static bool all_met(const kw_test_cluster *cluster)
{
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        kw_test_view view;
        if (!is_living(cluster, i)) {
            continue;
        }
        kw_test_view_fetch(&view, cluster->nodes[i]);
        for (size_t j = 0; j < cluster->nodes_n; j++) {
            const kw_test_view_node *seen = kw_test_view_find(&view, cluster->ids[j]);
            if (is_living(cluster, j) && (seen == NULL || !seen->is_known)) {
                return false;
            }
        }
    }
    return true;
}

/* The port that the one of the cluster's bus goes by: with tls-cluster that of TLS. */
static unsigned bus_base(const kw_test_server *node)
{
    unsigned tls_port = kw_test_server_tls_port(node);
    return tls_port != 0 ? tls_port : kw_test_server_port(node);
}

static void meet_all(kw_test_cluster *cluster, size_t from)
{
    uint64_t end_ms = kw_test_now_ms() + FORM_MS;
    for (size_t j = from; j < cluster->nodes_n; j++) {
        for (size_t i = 0; i < j; i++) {
            if (is_living(cluster, i)) {
                kw_test_server_ok(cluster->nodes[i], "CLUSTER MEET 127.0.0.1 %u",
                                  bus_base(cluster->nodes[j]));
            }
        }
    }
    while (!all_met(cluster)) {
        pause_until(end_ms, "nodes do not meet");
    }
}

static void name_seeds(kw_test_cluster *cluster, size_t primaries_n)
{
    size_t len = (size_t)snprintf(cluster->uri, sizeof(cluster->uri), "redis-cluster://");
    for (size_t i = 0; i < primaries_n && i < 3; i++) {
        len += (size_t)snprintf(cluster->uri + len, sizeof(cluster->uri) - len, "%s%s",
                                i == 0 ? "" : ",", kw_test_server_address(cluster->nodes[i]));
    }
}

kw_test_cluster *kw_test_cluster_start(size_t primaries_n, size_t replicas_n,
                                       unsigned node_timeout_ms, const char *config)
{
    size_t total = primaries_n * (replicas_n + 1);
    kw_test_cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL) {
        kw_test_die("no memory");
    }
    kw_test_calm_start();
    cluster->node_timeout_ms =
        kw_test_stretch_ms(node_timeout_ms == 0 ? NODE_TIMEOUT_MS : node_timeout_ms);
    cluster->config = make_config(cluster->node_timeout_ms, config);
    for (size_t i = 0; i < total; i++) {
        start_node(cluster);
        kw_test_server_ok(cluster->nodes[i], "CLUSTER SET-CONFIG-EPOCH %d", (int)i + 1);
    }
    for (size_t i = 0; i < primaries_n; i++) {
        give_slots(cluster->nodes[i], (unsigned)(KW_TEST_SLOTS * i / primaries_n),
                   (unsigned)(KW_TEST_SLOTS * (i + 1) / primaries_n) - 1);
    }
    meet_all(cluster, 1);
    for (size_t i = primaries_n; i < total; i++) {
        kw_test_server_ok(cluster->nodes[i], "CLUSTER REPLICATE %s",
                          cluster->ids[(i - primaries_n) / replicas_n]);
    }
    name_seeds(cluster, primaries_n);
    kw_test_cluster_wait(cluster, FORM_MS);
    return cluster;
}

void kw_test_cluster_free(kw_test_cluster *cluster)
{
    if (cluster != NULL) {
        for (size_t i = 0; i < cluster->nodes_n; i++) {
            kw_test_server_free(cluster->nodes[i]);
        }
        free(cluster->config);
        free(cluster);
    }
}

const char *kw_test_cluster_uri(const kw_test_cluster *cluster)
{
    return cluster->uri;
}

size_t kw_test_cluster_count(const kw_test_cluster *cluster)
{
    return cluster->nodes_n;
}

kw_test_server *kw_test_cluster_node(const kw_test_cluster *cluster, size_t index)
{
    if (index >= cluster->nodes_n) {
        kw_test_die("the cluster has no node %lu", (unsigned long)index);
    }
    return cluster->nodes[index];
}

const char *kw_test_cluster_id(const kw_test_cluster *cluster, const kw_test_server *node)
{
    return cluster->ids[index_of(cluster, node)];
}

bool kw_test_cluster_is_living(const kw_test_cluster *cluster, size_t index)
{
    return is_living(cluster, index);
}

/* A node speaks for itself here; of two that claim a slot the later epoch counts. */
kw_test_server *kw_test_cluster_owner(kw_test_cluster *cluster, unsigned slot)
{
    kw_test_server *owner = NULL;
    unsigned long long epoch = 0;
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        kw_test_view view;
        if (!is_living(cluster, i)) {
            continue;
        }
        kw_test_view_fetch(&view, cluster->nodes[i]);
        const kw_test_view_node *self = kw_test_view_find(&view, cluster->ids[i]);
        if (self != NULL && self->is_primary && view.owner[slot] == (int)(self - view.nodes) &&
            view.is_ok && (owner == NULL || self->epoch > epoch)) {
            owner = cluster->nodes[i];
            epoch = self->epoch;
        }
    }
    return owner;
}

kw_test_server *kw_test_cluster_replica(kw_test_cluster *cluster, kw_test_server *primary)
{
    const char *id = kw_test_cluster_id(cluster, primary);
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        kw_test_view view;
        if (!is_living(cluster, i)) {
            continue;
        }
        kw_test_view_fetch(&view, cluster->nodes[i]);
        const kw_test_view_node *self = kw_test_view_find(&view, cluster->ids[i]);
        if (self != NULL && !self->is_primary && strcmp(self->primary_id, id) == 0) {
            return cluster->nodes[i];
        }
    }
    return NULL;
}

unsigned kw_test_cluster_slot(kw_test_cluster *cluster, const char *key)
{
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        if (is_living(cluster, i)) {
            return (unsigned)kw_test_server_integer(cluster->nodes[i], "CLUSTER KEYSLOT %s", key);
        }
    }
    kw_test_die("no node lives");
}

static const char slots_differ[] = "nodes do not agree on slots";

/* What is not yet right, or NULL. */
static const char *what_lacks(const kw_test_cluster *cluster)
{
    kw_test_view first;
    bool has_first = false;
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        kw_test_view view;
        if (!is_living(cluster, i)) {
            continue;
        }
        kw_test_view_fetch(&view, cluster->nodes[i]);
        const kw_test_view_node *self = kw_test_view_find(&view, cluster->ids[i]);
        if (!view.is_ok) {
            return "cluster_state is not ok";
        }
        if (self == NULL || (!self->is_primary && !view.is_linked)) {
            return "a replica is not connected to its primary";
        }
        for (size_t j = 0; j < cluster->nodes_n; j++) {
            const kw_test_view_node *seen = kw_test_view_find(&view, cluster->ids[j]);
            const kw_test_view_node *other =
                has_first ? kw_test_view_find(&first, cluster->ids[j]) : seen;
            if (is_living(cluster, j) && !kw_test_view_agree(seen, other)) {
                return "nodes do not agree on roles";
            }
        }
        if (has_first && !kw_test_view_same_slots(&first, &view)) {
            return slots_differ;
        }
        first = has_first ? first : view;
        has_first = true;
    }
    return has_first ? NULL : "no node lives";
}

void kw_test_cluster_tell(const kw_test_cluster *cluster)
{
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        if (is_living(cluster, i)) {
            char *text = kw_test_server_text(cluster->nodes[i], "CLUSTER NODES");
            fprintf(stderr, "%s says:\n%s", kw_test_server_address(cluster->nodes[i]), text);
            free(text);
        }
    }
}

void kw_test_cluster_wait(kw_test_cluster *cluster, unsigned timeout_ms)
{
    uint64_t end_ms = kw_test_now_ms() + timeout_ms;
    uint64_t since_ms = kw_test_now_ms();
    for (const char *lack; (lack = what_lacks(cluster)) != NULL;) {
        if (kw_test_now_ms() > end_ms) {
            kw_test_cluster_tell(cluster);
        }
        pause_until(end_ms, lack);
        kw_test_cluster_give_back(cluster);
        if (lack == slots_differ) {
            kw_test_cluster_heal_late(cluster, &since_ms);
        }
    }
}

kw_test_server *kw_test_cluster_wait_owner(kw_test_cluster *cluster, unsigned slot,
                                           const kw_test_server *old, unsigned timeout_ms)
{
    uint64_t end_ms = kw_test_now_ms() + timeout_ms;
    for (;;) {
        kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
        if (owner != NULL && owner != old) {
            return owner;
        }
        if (kw_test_now_ms() > end_ms) {
            return NULL;
        }
        kw_test_sleep_ms(2);
    }
}

void kw_test_cluster_failover(kw_test_cluster *cluster, kw_test_server *replica)
{
    uint64_t end_ms = kw_test_now_ms() + FORM_MS;
    index_of(cluster, replica);
    kw_test_server_ok(replica, "CLUSTER FAILOVER");
    while (!kw_test_server_is_info(replica, "role", "master")) {
        pause_until(end_ms, "the replica is not promoted");
    }
}

void kw_test_cluster_rest(const kw_test_cluster *cluster)
{
    unsigned votes_ms = 2 * cluster->node_timeout_ms;
    votes_ms = votes_ms > VOTES_MIN_MS ? votes_ms : VOTES_MIN_MS;
    uint64_t end_ms = kw_test_real_ms() + 3 * (uint64_t)votes_ms;
    while (kw_test_real_ms() < end_ms) {
        kw_test_sleep_ms(POLL_MS);
    }
}

/* True where the node has heard from the owners of all slots. A node that takes slots
 * before takes them with an epoch that is too early, and loses them again. */
static bool has_heard_all(const kw_test_cluster *cluster, size_t index)
{
    kw_test_view own;
    kw_test_view_fetch(&own, cluster->nodes[index]);
    for (size_t i = 0; i < index; i++) {
        if (is_living(cluster, i)) {
            kw_test_view other;
            kw_test_view_fetch(&other, cluster->nodes[i]);
            return kw_test_view_same_slots(&own, &other);
        }
    }
    return true;
}

kw_test_server *kw_test_cluster_add(kw_test_cluster *cluster)
{
    uint64_t end_ms = kw_test_now_ms() + FORM_MS;
    size_t index = start_node(cluster);
    meet_all(cluster, index);
    while (!has_heard_all(cluster, index)) {
        pause_until(end_ms, "the new node does not learn the slots");
    }
    return cluster->nodes[index];
}

void kw_test_cluster_forget(kw_test_cluster *cluster, kw_test_server *node)
{
    size_t index = index_of(cluster, node);
    cluster->is_forgotten[index] = true;
    kw_test_server_kill(node);
    for (size_t i = 0; i < cluster->nodes_n; i++) {
        if (is_living(cluster, i)) {
            kw_test_server_ok(cluster->nodes[i], "CLUSTER FORGET %s", cluster->ids[index]);
        }
    }
}
