/* SPDX-License-Identifier: BSD-3-Clause */
/* Where very many commands are under way, those whose answers come next are brought near ahead of
 * time: else each answer waits for memory several times. */
#include "drive/pipeline_private.h"

/* So many commands on a connection are more than the processor has near by itself. */
#define MANY_N 512

/* What the owner of a command has before it, or less. */
#define HEAD_LEN ((size_t)48)

static void bring_near(const kw_request *request)
{
    size_t before_len = offsetof(kw_item, request) + HEAD_LEN;
    kw_mem_bring_near((const char *)request - before_len, HEAD_LEN + sizeof(kw_item));
}

void kw_pipeline_look_ahead(const kw_channel *channel)
{
    const kw_conn *conn = channel->conn;
    if (conn == NULL || conn->owners.count < MANY_N) {
        return;
    }
    for (size_t i = 0; i < KW_CHANNEL_GIVES_MAX; i++) {
        const kw_owner *owner = kw_fifo_at(&conn->owners, KW_CHANNEL_GIVES_MAX + i);
        const kw_request *request = kw_owner_request(owner);
        if (request != NULL) {
            bring_near(request);
        }
    }
}
