/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the replicas of a ring's node from its answer to ROLE. */
#include "topology/replica_discovery.h"

#include "base/error.h"
#include "topology/map_publish.h"

#include <string.h>

/* Of the answer of a primary: its third element has a list for each replica. */
#define REPLICAS_AT 2

/* "master", offset, then ip, port and offset of each replica. False where there is no memory;
 * what is no address is passed over. */
static bool read_replicas(kw_member *found, const kw_reply *role, const kw_allocator *mem)
{
    const kw_reply *list = kw_reply_at(role, REPLICAS_AT);
    for (size_t i = 0; i < kw_reply_count(list); i++) {
        const kw_reply *entry = kw_reply_at(list, i);
        kw_endpoint replica;
        uint64_t port;
        if (found->replicas_n < KW_MEMBER_REPLICAS_MAX &&
            kw_bytes_to_uint(&port, kw_reply_bytes(kw_reply_at(entry, 1)), UINT16_MAX) &&
            kw_endpoint_set(&replica, kw_reply_bytes(kw_reply_at(entry, 0)), port) &&
            !kw_member_add_replica(found, &replica, mem)) {
            return false;
        }
    }
    return true;
}

static bool is_primary(const kw_reply *role)
{
    return kw_bytes_equal(kw_reply_bytes(kw_reply_at(role, 0)), kw_bytes_of("master")) &&
           kw_reply_type(kw_reply_at(role, REPLICAS_AT)) == KW_REPLY_ARRAY;
}

static void take(kw_topology *topology, const kw_node *node, kw_member *found)
{
    kw_error error = kw_error_none();
    bool has_news;
    kw_monitor_lock(&topology->publishing);
    kw_err code = kw_ring_state_set_replicas(topology, &error, found, &has_news);
    kw_monitor_unlock(&topology->publishing);
    if (has_news) {
        kw_map_publish_tell(topology);
        kw_refresher_on_publish(&topology->refresher);
    }
    if (code == KW_ERR_CONFIG) {
        kw_env_log(&topology->env, KW_LOG_WARNING, "replicas of %.200s: %s", node->name,
                   error.text);
    }
}

void kw_replica_discovery_take(kw_topology *topology, kw_node *node)
{
    kw_reply *role = node->probe.answer;
    kw_member found;
    memset(&found, 0, sizeof(found));
    found.server = node->endpoint;
    node->probe.answer = NULL;
    if (is_primary(role) && read_replicas(&found, role, &topology->env.mem)) {
        take(topology, node, &found);
    }
    kw_member_fini(&found, &topology->env.mem);
    kw_reply_free(role);
}
