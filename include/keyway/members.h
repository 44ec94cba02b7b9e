/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the nodes of a ring, and changing them while it is in use.
 *
 * A kw_members is a change of the nodes of a handle's ring, which happens as a whole:
 *
 *   kw_members *members = kw_members_begin(client, &error);
 *   kw_members_add(members, &error, "d=h4:6379*2;zone=eu");
 *   kw_err code = kw_members_commit(members, &error);
 *
 * The nodes of a ring are its members, in the URI and here written as
 *
 *   name=host:port*weight;zone=name;replica=host:port
 *
 * of which only the host must be there (replica may come again). The name is what is placed on the
 * ring, so that a server can move to another address without a key moving; without one it is
 * "host:port" (in twemproxy's placements what nutcracker hashes for such a server). Names and zones
 * may hold any bytes (zones no zero byte), written %HH. The weight is 1 without *; a member of
 * weight 0 gets no keys.
 *
 * A member may be a Sentinel group instead of a server:
 *
 *   name=host:port*weight;zone=name;service=mymaster;sentinel=host:port
 *
 * The service, which is what the sentinels call the group, makes it one; the host, and each
 * sentinel behind it, is then a sentinel, at port 26379 without one. Without a name its name is
 * that of the service. Its primary and replicas are found, and followed, as by redis-sentinel://,
 * within calls: the library has no thread. A failover is a new map in which the member has its
 * name, its keys and another server. on-node-down does not count for it: calls wait inside their
 * deadline for the new primary, and no key moves. While no sentinel answers it keeps the primary
 * that is known; while none was ever found, its own keys fail with KW_ERR_NO_SENTINEL,
 * KW_ERR_NO_SERVICE or what else stands in the way, and all other keys work. */
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

/* A change of the members that is being made. One thread per object. */
typedef struct kw_members kw_members;

/* The ring of all members with their own weights, down or not: for its placement and fingerprint,
 * which two processes can compare, for look-ups without a call, and for kw_ring_diff_new. It is a
 * reference that the caller gives back with kw_ring_unref.
 *
 * NULL where it fails. Errors: KW_ERR_UNSUPPORTED (the handle is not of a ring), KW_ERR_ARGUMENT
 * (client is NULL), KW_ERR_FORKED. Any thread. */
KW_API kw_ring *kw_client_ring(kw_client *client, kw_error *error);

/* Begins a change, from the members as they are now. The handle stays as it is until the commit;
 * freed without one the change never happens. The caller frees it with kw_members_free, before
 * kw_close of the handle.
 *
 * NULL where it fails. Errors: KW_ERR_UNSUPPORTED (the handle is not of a ring), KW_ERR_ARGUMENT
 * (client is NULL), KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_members *kw_members_begin(kw_client *client, kw_error *error);

/* Adds a member, written as above. A failure leaves the change as it was.
 *
 * Errors: KW_ERR_CONFIG (it cannot be read; or a Sentinel group on a ring with copies),
 * KW_ERR_ARGUMENT (a member of that name is there, one too many, or NULL), KW_ERR_NOMEM. One thread
 * per object. */
KW_API kw_err kw_members_add(kw_members *members, kw_error *error, const char *member);

/* Removes the member of a name (any bytes, name_len of them).
 *
 * Errors: KW_ERR_ARGUMENT (no member of that name, or NULL). One thread per object. */
KW_API kw_err kw_members_remove(kw_members *members, kw_error *error, const char *name,
                                size_t name_len);

/* Gives the member of a name (any bytes, name_len of them) another weight, its share of the keys
 * against that of the others; 0: no keys.
 *
 * Errors: KW_ERR_ARGUMENT (no member of that name, or NULL). One thread per object. */
KW_API kw_err kw_members_reweight(kw_members *members, kw_error *error, const char *name,
                                  size_t name_len, uint32_t weight);

/* Puts the member of a name (any bytes, name_len of them) into another zone; "" is none.
 *
 * Errors: KW_ERR_ARGUMENT (no member of that name, a zone that is too long or one too many, or
 * NULL). One thread per object. */
KW_API kw_err kw_members_set_zone(kw_members *members, kw_error *error, const char *name,
                                  size_t name_len, const char *zone);

/* Moves the member of a name (any bytes, name_len of them) to another server, "host:port", such as
 * a replica that was promoted. Its place on the ring stays, and no key moves. What else a member is
 * made of is changed by removing and adding it in one change.
 *
 * Errors: KW_ERR_ARGUMENT (no member of that name, a server that cannot be read, a Sentinel group,
 * whose server its sentinels name, or NULL). One thread per object. */
KW_API kw_err kw_members_set_server(kw_members *members, kw_error *error, const char *name,
                                    size_t name_len, const char *server);

/* The ring as the commit would make it, a reference that the caller gives back with kw_ring_unref.
 * Compared with that of kw_client_ring, kw_ring_moved tells which part of the keys would move, and
 * kw_ring_diff_new which ranges.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (too many points on the ring, or NULL),
 * KW_ERR_NOMEM. One thread per object. */
KW_API kw_ring *kw_members_ring(kw_members *members, kw_error *error);

/* Makes the change: one new map, by which every call that is routed from now on goes, while calls
 * under way finish where they were sent. (A command of a batch, or with a callback, whose keys had
 * one owner when it was given and have several now, ends with KW_ERR_CROSSSLOT and effect none:
 * give it again.) It waits for no server. Where it fails the members are as they were. What was
 * committed can be changed further and committed again.
 *
 * Errors: KW_ERR_TRY_AGAIN (another commit came between: begin again), KW_ERR_CONFIG (a server is
 * there twice), KW_ERR_LIMIT (more than 2,000 servers), KW_ERR_ARGUMENT (too many points on the
 * ring, or NULL), KW_ERR_FORKED, KW_ERR_NOMEM. One thread per object. */
KW_API kw_err kw_members_commit(kw_members *members, kw_error *error);

/* Frees a change; what was committed stays. NULL is allowed. One thread per object. */
KW_API void kw_members_free(kw_members *members);

#ifdef __cplusplus
}
#endif

#endif
