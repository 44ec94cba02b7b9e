/* SPDX-License-Identifier: BSD-3-Clause */
/* Node: what its sources share, from the lowest to the highest: its pool of connections
 * (node_pool.c), connections on their way (node_open.c), callers that wait for one
 * (node_acquire.c), the lane's (node_shared.c), its life (node.c). The node's monitor is held in
 * all but kw_pool_free_list and kw_pool_open_conn. */
#ifndef NET_NODE_PRIVATE_H
#define NET_NODE_PRIVATE_H

#include "net/node.h"

/* In node_pool.c. */

/* Frees a list that was cut off. */
void kw_pool_free_list(kw_conn *list);

void kw_pool_link_in_use(kw_node *node, kw_conn *conn);

/* Cuts the idle list off at *link; the caller frees what it gets, with the monitor left. */
kw_conn *kw_pool_cut_idle(kw_node *node, kw_conn **link);

/* Cuts connections off that have been idle for too long; the caller frees them. */
kw_conn *kw_pool_take_expired(kw_node *node, uint64_t now_ns);

void kw_pool_put_idle(kw_node *node, kw_conn *conn, uint64_t now_ns);

/* The newest idle connection that is still good, in use now unless it is yet to be
 * established; NULL when there is none. The monitor is left while a connection is looked at. */
kw_conn *kw_pool_take_idle(kw_node *node, uint64_t now_ns);

/* True where a connection more may be opened; is_spare: also beyond pool-max. */
bool kw_pool_may_open(const kw_node *node, uint64_t now_ns, bool is_spare);

/* True where nothing has put the connection in doubt since it was opened. */
bool kw_pool_is_current(const kw_node *node, const kw_conn *conn);

/* A connect begins; and ends, one way or the other. */
void kw_pool_begin_open(kw_node *node, uint64_t now_ns);
void kw_pool_end_open(kw_node *node, const kw_conn *conn);
void kw_pool_fail_open(kw_node *node, uint64_t now_ns, const kw_error *failure,
                       const kw_conn *conn);

/* Why the last connect failed. */
kw_err kw_pool_copy_failure(const kw_node *node, kw_error *error);

kw_conn_role kw_pool_role_of(kw_node *node);

/* Why nobody knows where the node is: KW_ERR_TOPOLOGY, while nobody has asked. */
kw_err kw_pool_refuse_unknown(const kw_node *node, kw_error *error);

/* KW_OK where the node can be dialled; else why it cannot. */
static inline kw_err kw_pool_check_known(const kw_node *node, kw_error *error)
{
    return kw_endpoint_is_unknown(&node->endpoint) ? kw_pool_refuse_unknown(node, error) : KW_OK;
}

/* In node_open.c. */

/* Opens a connection for the caller, or goes on with one that was parked (*conn). */
kw_err kw_pool_open_conn(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                         kw_acquire_options *options);

/* In node_shared.c. */

/* How the node's lane gets its connection, and gives it back. */
kw_lane_pool kw_node_lane_pool(kw_node *node);

#endif
