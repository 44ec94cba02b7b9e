/* SPDX-License-Identifier: BSD-3-Clause */
/* A write followed by INFO replication, whose offset becomes the token. */
#include "drive/token.h"

#include "drive/wait_acks.h"
#include "drive/session_private.h"
#include "base/resp.h"
#include "engine/lag.h"

/* The server runs it behind the write: what it says of itself has the write in it. */
static bool encode(const kw_followup *followup, kw_buf *encoded, uint64_t now_ns)
{
    const kw_bytes argv[] = {kw_bytes_of("INFO"), kw_bytes_of("replication")};
    (void)followup;
    (void)now_ns;
    return kw_resp_append(encoded, argv, 2);
}

kw_reply *kw_token_run(kw_topology *topology, kw_error *error, const kw_plan *plan,
                       const kw_call_options *options, kw_buf *encoded)
{
    kw_replication found;
    kw_followup followup = {.encode = encode};
    kw_reply *reply = kw_wait_acks_send(topology, error, plan, encoded, &followup);
    if (reply != NULL && !kw_reply_is_error(reply) &&
        kw_replication_parse(&found, kw_reply_bytes(followup.request.reply)) && found.is_primary) {
        options->token_out->stream = kw_replid_hash(found.replid);
        options->token_out->offset = found.offset;
    }
    kw_reply_free(followup.request.reply);
    return reply;
}
