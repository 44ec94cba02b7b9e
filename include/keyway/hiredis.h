/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the door to hiredis.
 *
 * For code that reads hiredis replies already:
 *
 *   const struct redisReply *inner = kw_reply_hiredis(reply);
 *   printf("%d elements\n", (int)inner->elements);
 *   kw_reply_free(reply);
 *
 * <keyway.h> does not include this header: hiredis changes its structs between releases, so what
 * uses it must be compiled against the hiredis that keyway was built with. */
#ifndef KEYWAY_HIREDIS_H
#define KEYWAY_HIREDIS_H

#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

struct redisReply;

/* The redisReply inside a reply. It is borrowed: free it with kw_reply_free(reply), never with
 * freeReplyObject. NULL for NULL. Any thread. */
KW_API const struct redisReply *kw_reply_hiredis(const kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif
