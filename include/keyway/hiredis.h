/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the door to hiredis. Not included by <keyway.h>: hiredis changes its
 * structs between releases, so what uses this header must be compiled against
 * the hiredis that keyway was built with. */
#ifndef KEYWAY_HIREDIS_H
#define KEYWAY_HIREDIS_H

#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

struct redisReply;

/* The redisReply underneath, for code that already reads hiredis replies.
 * Borrowed: free it with kw_reply_free(reply), never with freeReplyObject. NULL
 * for NULL. Any thread. */
KW_API const struct redisReply *kw_reply_hiredis(const kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif
