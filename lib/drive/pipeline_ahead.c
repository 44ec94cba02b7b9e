/* SPDX-License-Identifier: BSD-3-Clause */
/* Where very many commands are under way, those whose answers come next are brought near ahead of
 * time: else each answer waits for memory several times. */
#include "drive/pipeline_private.h"

void kw_pipeline_look_ahead(const kw_channel *channel, size_t given_n)
{
    const kw_conn *conn = channel->conn;
    if (conn == NULL || conn->owners.count <= KW_CHANNEL_GIVES_MAX + given_n) {
        return;
    }
    const kw_owner *owner = kw_fifo_at(&conn->owners, KW_CHANNEL_GIVES_MAX + given_n);
    const kw_request *request = kw_owner_request(owner);
    if (request != NULL) {
        const char *item = (const char *)request - offsetof(kw_item, request);
        kw_item_bring_near((const kw_item *)(const void *)item);
    }
}
