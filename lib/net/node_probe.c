/* SPDX-License-Identifier: BSD-3-Clause */
/* Probes of a node: a connection of its pool for the question, and back with it. */
#include "net/node.h"

#include "base/error.h"

static kw_probe_result begin(kw_node *node, kw_probe *probe, uint64_t now_ns)
{
    kw_error failure = kw_error_none();
    kw_conn *conn = NULL;
    if (kw_node_retry_ns(node, now_ns) > now_ns) {
        return KW_PROBE_LATER;
    }
    kw_err code = kw_node_try_acquire(node, &conn, &failure, now_ns, true);
    if (code == KW_ERR_POOL_FULL) {
        return KW_PROBE_LATER;
    }
    if (code != KW_OK) {
        return KW_PROBE_SILENT;
    }
    kw_probe_begin(probe, conn, now_ns);
    return KW_PROBE_UNDER_WAY;
}

/* The connection goes back to the pool, where it owes nothing. */
static kw_probe_result end(kw_node *node, kw_probe *probe, uint64_t now_ns, const kw_error *failure)
{
    bool is_loading;
    bool is_counted = probe->is_counted;
    kw_conn *conn = kw_probe_end(probe, &is_loading, failure == NULL);
    kw_node_release(node, conn, now_ns, is_counted ? NULL : failure);
    if (failure != NULL) {
        return KW_PROBE_SILENT;
    }
    return is_loading ? KW_PROBE_LOADING : KW_PROBE_ANSWERED;
}

kw_probe_result kw_node_probe(kw_node *node, kw_probe *probe, uint64_t now_ns)
{
    kw_error failure = kw_error_none();
    if (probe->conn == NULL) {
        kw_probe_result result = begin(node, probe, now_ns);
        if (result != KW_PROBE_UNDER_WAY) {
            return result;
        }
    }
    kw_err code = kw_probe_go_on(probe, &failure, now_ns);
    if (probe->conn->was_ready && !probe->is_counted) {
        kw_node_on_ready(node, probe->conn);
        probe->is_counted = true;
    }
    if (code != KW_OK) {
        return end(node, probe, now_ns, &failure);
    }
    return kw_probe_is_answered(probe) ? end(node, probe, now_ns, NULL) : KW_PROBE_UNDER_WAY;
}
