#include "base/roster.h"

#include <string.h>

bool kw_member_add_replica(kw_member *member, const kw_endpoint *replica, const kw_allocator *mem)
{
    kw_endpoint *replicas =
        kw_mem_resize(mem, member->replicas, member->replicas_n + 1, sizeof(replicas[0]));
    if (replicas == NULL) {
        return false;
    }
    member->replicas = replicas;
    member->replicas[member->replicas_n++] = *replica;
    return true;
}

void kw_member_fini(kw_member *member, const kw_allocator *mem)
{
    kw_mem_free(mem, member->replicas);
    member->replicas = NULL;
    member->replicas_n = 0;
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
        kw_member member = roster->members[i];
        member.replicas = NULL;
        member.replicas_n = 0;
        bool is_whole = true;
        for (size_t k = 0; is_whole && k < roster->members[i].replicas_n; k++) {
            is_whole = kw_member_add_replica(&member, &roster->members[i].replicas[k], mem);
        }
        if (!is_whole || !kw_roster_add(&fresh, &member, mem)) {
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
