/* SPDX-License-Identifier: BSD-3-Clause */
#include "route/roster.h"

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

bool kw_roster_add(kw_roster *roster, const kw_member *member, const kw_allocator *mem)
{
    if (roster->n == roster->capacity) {
        size_t capacity = roster->capacity > 0 ? 2 * roster->capacity : 4;
        kw_member *members = kw_mem_resize(mem, roster->members, capacity, sizeof(members[0]));
        if (members == NULL) {
            return false;
        }
        roster->members = members;
        roster->capacity = capacity;
    }
    roster->members[roster->n++] = *member;
    return true;
}

kw_member *kw_roster_find(const kw_roster *roster, kw_bytes name)
{
    for (size_t i = 0; i < roster->n; i++) {
        kw_bytes known = {roster->members[i].name, roster->members[i].name_len};
        if (kw_bytes_equal(known, name)) {
            return &roster->members[i];
        }
    }
    return NULL;
}

void kw_roster_remove(kw_roster *roster, kw_member *member, const kw_allocator *mem)
{
    size_t behind = roster->n - 1 - (size_t)(member - roster->members);
    kw_member_fini(member, mem);
    memmove(member, member + 1, behind * sizeof(*member));
    roster->n--;
}

bool kw_roster_copy(kw_roster *copy, const kw_roster *roster, const kw_allocator *mem)
{
    kw_roster fresh = {NULL, 0, 0};
    for (size_t i = 0; i < roster->n; i++) {
        kw_member member;
        if (!kw_member_copy(&member, &roster->members[i], mem)) {
            kw_roster_fini(&fresh, mem);
            return false;
        }
        if (!kw_roster_add(&fresh, &member, mem)) {
            kw_member_fini(&member, mem);
            kw_roster_fini(&fresh, mem);
            return false;
        }
    }
    *copy = fresh;
    return true;
}

void kw_roster_fini(kw_roster *roster, const kw_allocator *mem)
{
    for (size_t i = 0; i < roster->n; i++) {
        kw_member_fini(&roster->members[i], mem);
    }
    kw_mem_free(mem, roster->members);
    memset(roster, 0, sizeof(*roster));
}
