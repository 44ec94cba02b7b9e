/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel nodes: the sentinels that a fetch asks, as nodes, and what is known of who they are and
 * of the data of the servers that they name. Used by the thread that drives the fetch. */
#ifndef NET_SENTINEL_NODES_H
#define NET_SENTINEL_NODES_H

#include "net/fetch_sentinel.h"

#define KW_SENTINEL_NODES_MAX(self) ((self)->watch.configured_n + KW_SENTINELS_LEARNT_MAX)

/* Drops the nodes of sentinels that left the group. */
void kw_sentinel_nodes_drop_left(kw_fetch_sentinel *self);

/* The node of a sentinel, borrowed; NULL when there is no memory. */
kw_node *kw_sentinel_nodes_need(kw_fetch_sentinel *self, const kw_endpoint *endpoint);

/* Learns from an answer to SENTINEL SENTINELS who is at the addresses of the group's peers. */
void kw_sentinel_nodes_note_ids(kw_fetch_sentinel *self, const kw_reply *reply);

/* The server that a sentinel named is a primary: has it the data that was known? info: its answer
 * to INFO replication, or NULL. KW_ERR_IDENTITY: not believed yet, others are to be asked. */
kw_err kw_sentinel_nodes_check(kw_fetch_sentinel *self, const kw_fetch_step *step, kw_error *error,
                               const kw_node *from, const kw_reply *info);

/* The primary that the sentinel named has failed so: weighs that, and notes a replica that has the
 * data which is known. */
void kw_sentinel_nodes_on_failure(kw_fetch_sentinel *self, kw_err code);

#endif
