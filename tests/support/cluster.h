/* SPDX-License-Identifier: BSD-3-Clause */
/* A real cluster for tests, and what operators do to one. As in server.h, what
 * cannot be done stops the program. One thread at a time per cluster. */
#ifndef SUPPORT_CLUSTER_H
#define SUPPORT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/server.h"

#define KW_TEST_SLOTS 16384u

typedef struct kw_test_cluster kw_test_cluster;

/* A cluster that serves every slot: primaries, each with replicas that are in step.
 * node_timeout_ms is cluster-node-timeout (1000 to 2000; 0 is 1500): a dead primary
 * is replaced after about twice that. config as in kw_test_server_start, for every
 * node. Takes 2 to 4 s. */
kw_test_cluster *kw_test_cluster_start(size_t primaries_n, size_t replicas_n,
                                       unsigned node_timeout_ms, const char *config);

/* Kills every node and removes the folders. NULL is allowed. */
void kw_test_cluster_free(kw_test_cluster *cluster);

/* "redis-cluster://127.0.0.1:7001,127.0.0.1:7002": the first primaries. Borrowed. */
const char *kw_test_cluster_uri(const kw_test_cluster *cluster);

/* Nodes by number: first the primaries (as they were at the start), then the
 * replicas (primary 0's, primary 1's, ...), then nodes added later. */
size_t kw_test_cluster_count(const kw_test_cluster *cluster);
kw_test_server *kw_test_cluster_node(const kw_test_cluster *cluster, size_t index);

/* Who serves the slot now, by what the living nodes say; NULL while nobody does. */
kw_test_server *kw_test_cluster_owner(kw_test_cluster *cluster, unsigned slot);

/* A living replica of the primary; NULL where it has none. */
kw_test_server *kw_test_cluster_replica(kw_test_cluster *cluster, kw_test_server *primary);

/* Name of the node in the cluster, 40 letters. Borrowed. */
const char *kw_test_cluster_id(const kw_test_cluster *cluster, const kw_test_server *node);

/* Slot of a key by the server's own CLUSTER KEYSLOT. */
unsigned kw_test_cluster_slot(kw_test_cluster *cluster, const char *key);

/* Until every living node says cluster_state:ok, all agree on the slots, and every
 * replica of a living primary is connected to it. Stops the program after timeout_ms. */
void kw_test_cluster_wait(kw_test_cluster *cluster, unsigned timeout_ms);

/* Until a living node other than old serves the slot, by its own word; that node.
 * NULL after timeout_ms. */
kw_test_server *kw_test_cluster_wait_owner(kw_test_cluster *cluster, unsigned slot,
                                           const kw_test_server *old, unsigned timeout_ms);

/* CLUSTER FAILOVER on the replica; returns when it is the primary. A node that won an
 * election less than twice max(2 * node timeout, 2 s) ago may not be used: Redis 7.0
 * counts the old votes again, and promotes it without the others' knowledge. */
void kw_test_cluster_failover(kw_test_cluster *cluster, kw_test_server *replica);

/* After an election: until any node may be used so, by the servers' time, which is real. */
void kw_test_cluster_rest(const kw_test_cluster *cluster);

/* Slots first .. last to another primary, with their keys, while clients go on:
 * MIGRATING and IMPORTING, MIGRATE, SETSLOT NODE, slot by slot. */
void kw_test_cluster_move(kw_test_cluster *cluster, unsigned first, unsigned last,
                          kw_test_server *to);

/* Moves slots first to last, all of one primary's, to the node as a whole, with all their keys at
 * once: Valkey 9.0 and Redis 8.4 can. False where the servers cannot. */
bool kw_test_cluster_move_whole(kw_test_cluster *cluster, unsigned first, unsigned last,
                                kw_test_server *to);

/* Moving a slot in steps. After begin the slot is migrating and importing (new keys answer
 * ASK); keys moves at most keys_max keys and returns how many; end gives the slot to
 * the importing node; cancel makes it stable where it is. */
void kw_test_cluster_move_begin(kw_test_cluster *cluster, unsigned slot, kw_test_server *to);
size_t kw_test_cluster_move_keys(kw_test_cluster *cluster, unsigned slot, kw_test_server *to,
                                 size_t keys_max);
void kw_test_cluster_move_end(kw_test_cluster *cluster, unsigned slot, kw_test_server *to);
void kw_test_cluster_move_cancel(kw_test_cluster *cluster, unsigned slot, kw_test_server *to);

/* A new, empty primary that all living nodes know. */
kw_test_server *kw_test_cluster_add(kw_test_cluster *cluster);

/* Takes a node without slots out of the cluster, on every living node, and kills
 * it. Its number stays; the node is freed with the cluster. */
void kw_test_cluster_forget(kw_test_cluster *cluster, kw_test_server *node);

#endif
