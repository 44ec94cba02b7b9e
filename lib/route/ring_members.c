/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of members: added, found, copied and freed with all that they hold. */
#include "route/ring_members.h"

#include <string.h>

static bool append(kw_endpoint **list, size_t *n, const kw_endpoint *endpoint,
                   const kw_allocator *mem)
{
    kw_endpoint *longer = kw_mem_resize(mem, *list, *n + 1, sizeof(longer[0]));
    if (longer == NULL) {
        return false;
    }
    *list = longer;
    longer[(*n)++] = *endpoint;
    return true;
}

bool kw_member_add_replica(kw_member *member, const kw_endpoint *replica, const kw_allocator *mem)
{
    return append(&member->replicas, &member->replicas_n, replica, mem);
}

bool kw_member_add_sentinel(kw_member *member, const kw_endpoint *sentinel, const kw_allocator *mem)
{
    return append(&member->sentinels, &member->sentinels_n, sentinel, mem);
}

bool kw_member_is_same_group(const kw_member *a, const kw_member *b)
{
    bool is_same = kw_member_is_group(a) && strcmp(a->service, b->service) == 0 &&
                   a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0 &&
                   a->sentinels_n == b->sentinels_n;
    for (size_t i = 0; is_same && i < a->sentinels_n; i++) {
        is_same = kw_endpoint_equal(&a->sentinels[i], &b->sentinels[i]);
    }
    return is_same;
}

void kw_member_set_unknown(kw_member *member)
{
    char text[KW_ENDPOINT_TEXT];
    kw_endpoint_set_unknown(&member->server, member->service,
                            kw_endpoint_text(text, &member->sentinels[0]));
}

bool kw_member_copy(kw_member *copy, const kw_member *member, const kw_allocator *mem)
{
    kw_member fresh = *member;
    bool is_whole = true;
    fresh.replicas = NULL;
    fresh.replicas_n = 0;
    fresh.sentinels = NULL;
    fresh.sentinels_n = 0;
    for (size_t i = 0; is_whole && i < member->replicas_n; i++) {
        is_whole = kw_member_add_replica(&fresh, &member->replicas[i], mem);
    }
    for (size_t i = 0; is_whole && i < member->sentinels_n; i++) {
        is_whole = kw_member_add_sentinel(&fresh, &member->sentinels[i], mem);
    }
    if (!is_whole) {
        kw_member_fini(&fresh, mem);
        return false;
    }
    *copy = fresh;
    return true;
}

void kw_member_fini(kw_member *member, const kw_allocator *mem)
{
    kw_mem_free(mem, member->replicas);
    kw_mem_free(mem, member->sentinels);
    member->replicas = NULL;
    member->replicas_n = 0;
    member->sentinels = NULL;
    member->sentinels_n = 0;
}

bool kw_ring_members_add(kw_ring_members *ring_members, const kw_member *member,
                         const kw_allocator *mem)
{
    if (ring_members->n == ring_members->capacity) {
        size_t capacity = ring_members->capacity > 0 ? 2 * ring_members->capacity : 4;
        kw_member *members =
            kw_mem_resize(mem, ring_members->members, capacity, sizeof(members[0]));
        if (members == NULL) {
            return false;
        }
        ring_members->members = members;
        ring_members->capacity = capacity;
    }
    ring_members->members[ring_members->n++] = *member;
    return true;
}

kw_member *kw_ring_members_find(const kw_ring_members *ring_members, kw_bytes name)
{
    for (size_t i = 0; i < ring_members->n; i++) {
        kw_bytes known = {ring_members->members[i].name, ring_members->members[i].name_len};
        if (kw_bytes_equal(known, name)) {
            return &ring_members->members[i];
        }
    }
    return NULL;
}

void kw_ring_members_remove(kw_ring_members *ring_members, kw_member *member,
                            const kw_allocator *mem)
{
    size_t behind = ring_members->n - 1 - (size_t)(member - ring_members->members);
    kw_member_fini(member, mem);
    memmove(member, member + 1, behind * sizeof(*member));
    ring_members->n--;
}

bool kw_ring_members_copy(kw_ring_members *copy, const kw_ring_members *ring_members,
                          const kw_allocator *mem)
{
    kw_ring_members fresh = {NULL, 0, 0};
    for (size_t i = 0; i < ring_members->n; i++) {
        kw_member member;
        if (!kw_member_copy(&member, &ring_members->members[i], mem)) {
            kw_ring_members_fini(&fresh, mem);
            return false;
        }
        if (!kw_ring_members_add(&fresh, &member, mem)) {
            kw_member_fini(&member, mem);
            kw_ring_members_fini(&fresh, mem);
            return false;
        }
    }
    *copy = fresh;
    return true;
}

void kw_ring_members_fini(kw_ring_members *ring_members, const kw_allocator *mem)
{
    for (size_t i = 0; i < ring_members->n; i++) {
        kw_member_fini(&ring_members->members[i], mem);
    }
    kw_mem_free(mem, ring_members->members);
    memset(ring_members, 0, sizeof(*ring_members));
}
