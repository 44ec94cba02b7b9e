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
 * uses it must be compiled with headers of a release that has keyway's redisReply. The symbol's
 * name carries the layout, so that any other one is an error of the linker
 * (kw_reply_hiredis_0_14 or kw_reply_hiredis_1 is not found). */
#ifndef KEYWAY_HIREDIS_H
#define KEYWAY_HIREDIS_H

#include <keyway/export.h>
#include <keyway/reply.h>

/* The program's own hiredis, where it was included before; else what is on the include path. */
#ifndef HIREDIS_MAJOR
#if defined(__has_include)
#if __has_include(<hiredis.h>)
#include <hiredis.h>
#else
#include <hiredis/hiredis.h>
#endif
#else
#include <hiredis/hiredis.h>
#endif
#endif

#if HIREDIS_MAJOR >= 1
#define KW_HIREDIS_NAMED(major, minor) kw_reply_hiredis_##major
#else
#define KW_HIREDIS_NAMED(major, minor) kw_reply_hiredis_##major##_##minor
#endif
#define KW_HIREDIS_NAME(major, minor) KW_HIREDIS_NAMED(major, minor)
#define kw_reply_hiredis              KW_HIREDIS_NAME(HIREDIS_MAJOR, HIREDIS_MINOR)

#ifdef __cplusplus
extern "C" {
#endif

/* The redisReply inside a reply. It is borrowed: free it with kw_reply_free(reply), never with
 * freeReplyObject. NULL for NULL. Any thread. */
KW_API const struct redisReply *kw_reply_hiredis(const kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif
