/* SPDX-License-Identifier: BSD-3-Clause */
/* A real Sentinel group for tests: one primary, its replicas, and three sentinels that watch
 * it under the name "mymaster". As in server.h, what cannot be done stops the program. One
 * thread at a time per group. */
#ifndef SUPPORT_GROUP_H
#define SUPPORT_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "support/server.h"

#define KW_TEST_SENTINELS 3u

typedef struct kw_test_group kw_test_group;

/* A group that is in step: every sentinel knows the others and the replicas. A primary that
 * is silent for half a second is down, and replaced 1 to 3 s later. config as in
 * kw_test_server_start, for every server; sentinel_config the same for every sentinel. Takes
 * 2 to 4 s. */
kw_test_group *kw_test_group_start(size_t replicas_n, const char *config,
                                   const char *sentinel_config);

/* Kills everybody and removes the folders. NULL is allowed. */
void kw_test_group_free(kw_test_group *group);

/* Its sentinels do within a second what they do every ten, or every two, until they are started
 * again; servers before 7.0 do not let themselves be told. A server that has another role than they
 * want is left alone for two seconds then, not for eight. */
void kw_test_group_hasten(kw_test_group *group);

/* "redis-sentinel://127.0.0.1:26001,127.0.0.1:26002,127.0.0.1:26003/mymaster". Borrowed. */
const char *kw_test_group_uri(const kw_test_group *group);

/* Servers by number: first the primary as it was at the start. */
size_t kw_test_group_count(const kw_test_group *group);
kw_test_server *kw_test_group_server(const kw_test_group *group, size_t index);
kw_test_server *kw_test_group_sentinel(const kw_test_group *group, size_t index);

/* The server that the living sentinels agree on and that says so itself; NULL while there is
 * none. */
kw_test_server *kw_test_group_primary(kw_test_group *group);

/* Until there is one, every living sentinel knows every living server as up, and every other
 * living server replicates from it. Stops the program after timeout_ms. */
void kw_test_group_wait(kw_test_group *group, unsigned timeout_ms);

/* SENTINEL FAILOVER; returns the new primary when it says that it is one, and when that was
 * seen (kw_test_now_ns). */
kw_test_server *kw_test_group_failover(kw_test_group *group, uint64_t *promoted_ns);

/* Until a server other than old says that it is the primary; when that was seen. */
kw_test_server *kw_test_group_wait_promotion(kw_test_group *group, const kw_test_server *old,
                                             uint64_t *promoted_ns);

#endif
