/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the nodes of a ring, and changing them while it is in use. */
#ifndef KEYWAY_MEMBERS_H
#define KEYWAY_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The nodes of a handle's ring are its members, in the URI and here written as
 *
 *   name=host:port*weight;zone=name;replica=host:port
 *
 * of which only the host must be there (replica may come again). The name is what is placed
 * on the ring, so that a server can move to another address without a key moving; without
 * one it is "host:port" (in twemproxy's placements what nutcracker hashes for such a
 * server). Names and zones may hold any bytes (zones no zero byte), written %HH. The weight
 * is 1 without *; a member of weight 0 gets no keys.
 *
 * A member may be a Sentinel group instead of a server:
 *
 *   name=host:port*weight;zone=name;service=mymaster;sentinel=host:port
 *
 * is one by its service, what the sentinels call the group; the host, and each sentinel behind
 * it, is a sentinel then, port 26379 without one. Without a name it is named as its service. The
 * primary and the replicas are found, and followed, as by redis-sentinel://, in the time of
 * callers: a failover is a new map in which the member has its name and its keys, and another
 * server. on-node-down does not count for it: calls wait inside their deadline for the new
 * primary, and no key moves. While no sentinel answers it keeps the primary that is known;
 * while none was ever found, its keys, and nobody else's, fail with KW_ERR_NO_SENTINEL,
 * KW_ERR_NO_SERVICE or what else stands in the way. */

/* A change of the members in the making. One thread per object. */
typedef struct kw_members kw_members;

/* The ring of all members, with their own weights, down or not: for its placement and
 * fingerprint, which two processes can compare, for look-ups without a call, and for
 * kw_ring_diff. Borrowed by nobody: the caller gives it back with kw_ring_unref. NULL, with
 * error set: KW_ERR_UNSUPPORTED for a handle that is no ring's. Any thread. */
KW_API kw_ring *kw_client_ring(kw_client *client, kw_error *error);

/* Begins a change, from the members as they are now. Nothing happens to the handle before
 * the commit; a change that is freed without one never does. NULL, with error set
 * (KW_ERR_UNSUPPORTED for a handle that is no ring's, KW_ERR_NOMEM). Freed with
 * kw_members_free, before kw_close of the handle. Any thread. */
KW_API kw_members *kw_members_begin(kw_client *client, kw_error *error);

/* Adds a member, written as above. KW_ERR_CONFIG for what cannot be read, KW_ERR_ARGUMENT
 * for a name that is there, KW_ERR_NOMEM; the change is then as before, here and below. One
 * thread per object. */
KW_API kw_err kw_members_add(kw_members *members, kw_error *error, const char *member);

/* Removes a member (any bytes, name_len of them); gives it another weight; puts it into
 * another zone, "" being none; moves its name, and with it its keys' place, to another
 * server, "host:port", such as a replica that was promoted. What else a member is made of is
 * changed by removing and adding it in one change: no key moves. KW_ERR_ARGUMENT for a name that is
 * not there, a zone that is too long, a server that cannot be read, and the server of a group,
 * which its sentinels name. One thread per object. */
KW_API kw_err kw_members_remove(kw_members *members, kw_error *error, const char *name,
                                size_t name_len);
KW_API kw_err kw_members_reweight(kw_members *members, kw_error *error, const char *name,
                                  size_t name_len, uint32_t weight);
KW_API kw_err kw_members_set_zone(kw_members *members, kw_error *error, const char *name,
                                  size_t name_len, const char *zone);
KW_API kw_err kw_members_set_server(kw_members *members, kw_error *error, const char *name,
                                    size_t name_len, const char *server);

/* The ring as the commit would make it, the caller's to kw_ring_unref: kw_ring_moved and
 * kw_ring_diff_new tell, against kw_client_ring, which part of the keys would move, and
 * which ranges. NULL, with error set. One thread per object. */
KW_API kw_ring *kw_members_ring(kw_members *members, kw_error *error);

/* Makes the change: one new map, which every call that is routed from now on goes by, while
 * calls under way finish where they were sent. (A command of a batch, or with a callback, whose
 * keys had one owner when it was given and have several now, ends with KW_ERR_CROSSSLOT and
 * effect none: give it again.) Nobody waits, and where it fails the members
 * are as they were: KW_ERR_TRY_AGAIN where another commit came between (begin again),
 * KW_ERR_CONFIG for a server that is there twice, KW_ERR_LIMIT for more than 2,000 servers,
 * KW_ERR_ARGUMENT for too many points, KW_ERR_NOMEM. What was committed can be changed on,
 * and committed again. One thread per object. */
KW_API kw_err kw_members_commit(kw_members *members, kw_error *error);

/* NULL is allowed. One thread per object. */
KW_API void kw_members_free(kw_members *members);

#ifdef __cplusplus
}
#endif

#endif
