/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring members: the members of a ring as settings name them: servers, or Sentinel groups, with
 * names, weights, zones and replicas. */
#ifndef ROUTE_RING_MEMBERS_H
#define ROUTE_RING_MEMBERS_H

#include "base/endpoint.h"
#include "base/memory.h"

#define KW_MEMBER_NAME_MAX      255 /* as KW_RING_NAME_MAX */
#define KW_MEMBER_ZONE_MAX      63  /* as KW_RING_ZONE_MAX */
#define KW_MEMBER_REPLICAS_MAX  16
#define KW_MEMBER_SENTINELS_MAX 16
#define KW_MEMBER_SERVICE_MAX   100

typedef struct kw_member {
    char name[KW_MEMBER_NAME_MAX + 1]; /* any bytes, with a zero byte behind */
    size_t name_len;                   /* 0: none given, the address names it */
    uint32_t weight;
    char zone[KW_MEMBER_ZONE_MAX + 1]; /* "": none */
    kw_endpoint server;                /* of a group whose primary is not known: unknown */
    kw_endpoint *replicas;
    size_t replicas_n;
    bool lists_replicas;                     /* they were given; else they may be found by ROLE */
    char service[KW_MEMBER_SERVICE_MAX + 1]; /* what sentinels call the group; "": a server */
    kw_endpoint *sentinels;                  /* of the group */
    size_t sentinels_n;
} kw_member;

static inline bool kw_member_is_group(const kw_member *member)
{
    return member->service[0] != '\0';
}

/* In the order in which they were given. Zero is an empty one. */
typedef struct kw_ring_members {
    kw_member *members;
    size_t n;
    size_t capacity;
} kw_ring_members;

/* One more replica of member; false when there is no memory. */
bool kw_member_add_replica(kw_member *member, const kw_endpoint *replica, const kw_allocator *mem);

/* One more sentinel of a group; false when there is no memory. */
bool kw_member_add_sentinel(kw_member *member, const kw_endpoint *sentinel,
                            const kw_allocator *mem);

/* True for two groups with one name on the ring, one service, and the same sentinels. */
bool kw_member_is_same_group(const kw_member *a, const kw_member *b);

/* Forgets which servers are in the group: its primary is not known, and it has no replicas. */
void kw_member_set_unknown(kw_member *member);

/* A copy with memory of its own; false, and nothing written, when there is none. */
bool kw_member_copy(kw_member *copy, const kw_member *member, const kw_allocator *mem);
void kw_member_fini(kw_member *member, const kw_allocator *mem);

/* Adds the member, with what it holds; false, and it stays the caller's, when there is no
 * memory. */
bool kw_ring_members_add(kw_ring_members *ring_members, const kw_member *member,
                         const kw_allocator *mem);

/* The member of that name; NULL: none. */
kw_member *kw_ring_members_find(const kw_ring_members *ring_members, kw_bytes name);
void kw_ring_members_remove(kw_ring_members *ring_members, kw_member *member,
                            const kw_allocator *mem);

/* False, and nothing written, when there is no memory. */
bool kw_ring_members_copy(kw_ring_members *copy, const kw_ring_members *ring_members,
                          const kw_allocator *mem);
void kw_ring_members_fini(kw_ring_members *ring_members, const kw_allocator *mem);

#endif
