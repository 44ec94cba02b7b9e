/* SPDX-License-Identifier: BSD-3-Clause */
/* A control connection to a test server, over hiredis. */
#ifndef SUPPORT_LINK_H
#define SUPPORT_LINK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct redisReply;

typedef struct kw_test_link kw_test_link;

/* NULL where no connection or login can be had within 5 s; password may be NULL. */
kw_test_link *kw_test_link_open(uint16_t port, const char *password);

/* NULL is allowed. */
void kw_test_link_close(kw_test_link *link);

/* One command; NULL where the connection broke or nothing came in time (it is to be
 * closed then). Free with freeReplyObject. No SIGPIPE.
 * lens may be NULL for arguments without zero bytes. */
struct redisReply *kw_test_link_ask(kw_test_link *link, const char *format, ...);
struct redisReply *kw_test_link_vask(kw_test_link *link, const char *format, va_list args);
struct redisReply *kw_test_link_argv(kw_test_link *link, int argc, const char **argv,
                                     const size_t *lens);

#endif
