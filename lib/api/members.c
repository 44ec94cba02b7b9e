/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/members.h: a ring's members are changed in one step. */
#include <keyway/members.h>

#include "api/client.h"
#include "topology/sentinel_groups.h"
#include "drive/plan_ring.h"
#include "topology/map_publish.h"
#include "settings/quorum_check.h"
#include "settings/uri.h"
#include "base/error.h"
#include "route/ring_map.h"

#include <string.h>

struct kw_members {
    kw_client *client;
    kw_allocator mem;
    kw_ring_members ring_members;
    kw_ring_change *change; /* the same members */
    uint64_t commits_n;     /* of the handle, when this began */
};

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for the members of a ring");
}

static kw_err no_member(kw_error *error, kw_bytes name)
{
    char shown[80];
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "the ring has no member \"%s\"",
                        kw_bytes_show(shown, sizeof(shown), name));
}

/* KW_OK, and the handle entered, for one of a ring. */
static kw_err enter(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
    }
    if (!kw_topology_is_ring(client->topology)) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "the handle is no ring's: open it with redis-ring://");
    }
    return kw_client_enter(client, error);
}

kw_ring *kw_client_ring(kw_client *client, kw_error *error)
{
    if (enter(client, error) != KW_OK) {
        return NULL;
    }
    kw_monitor_lock(&client->topology->publishing);
    kw_ring *ring = kw_ring_ref(client->topology->ring_state->ring);
    kw_monitor_unlock(&client->topology->publishing);
    kw_client_leave(client);
    return ring;
}

/* Copies the members of the handle, which was entered. */
static kw_err begin(kw_members *members, kw_error *error)
{
    kw_client *client = members->client;
    kw_monitor_lock(&client->topology->publishing);
    const kw_ring_state *now = client->topology->ring_state;
    bool is_copied =
        kw_ring_members_copy(&members->ring_members, &now->ring_members, &members->mem);
    kw_ring *ring = kw_ring_ref(now->ring);
    members->commits_n = now->commits_n;
    kw_monitor_unlock(&client->topology->publishing);
    members->change = is_copied ? kw_ring_change_of(ring, error) : NULL;
    kw_ring_unref(ring);
    return members->change != NULL ? KW_OK : no_memory(error);
}

kw_members *kw_members_begin(kw_client *client, kw_error *error)
{
    if (enter(client, error) != KW_OK) {
        return NULL;
    }
    kw_members *members = kw_mem_calloc(&client->topology->env.mem, 1, sizeof(*members));
    if (members != NULL) {
        members->client = client;
        members->mem = client->topology->env.mem;
    }
    if (members == NULL || begin(members, error) != KW_OK) {
        no_memory(error);
        kw_members_free(members);
        members = NULL;
    }
    kw_client_leave(client);
    return members;
}

void kw_members_free(kw_members *members)
{
    if (members != NULL) {
        kw_allocator mem = members->mem;
        kw_ring_change_free(members->change);
        kw_ring_members_fini(&members->ring_members, &mem);
        kw_mem_free(&mem, members);
    }
}

static kw_err add(kw_members *members, kw_error *error, kw_member *member)
{
    kw_ring_map_name(member, members->client->topology->placement);
    if (!kw_ring_members_add(&members->ring_members, member, &members->mem)) {
        kw_member_fini(member, &members->mem);
        return no_memory(error);
    }
    kw_err code =
        kw_ring_change_add(members->change, error, member->name, member->name_len, member->weight);
    if (code == KW_OK) {
        code = kw_ring_change_set_zone(members->change, error, member->name, member->name_len,
                                       member->zone);
        if (code != KW_OK) {
            (void)kw_ring_change_remove(members->change, NULL, member->name, member->name_len);
        }
    }
    if (code != KW_OK) {
        kw_ring_members_remove(&members->ring_members,
                               &members->ring_members.members[members->ring_members.n - 1],
                               &members->mem);
    }
    return code;
}

static kw_err refuse_null(kw_error *error)
{
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "an argument is NULL");
}

kw_err kw_members_add(kw_members *members, kw_error *error, const char *member)
{
    if (members == NULL || member == NULL) {
        return refuse_null(error);
    }
    kw_member fresh;
    kw_err code = kw_uri_read_member(&fresh, error, &members->mem, member);
    if (code == KW_OK && kw_member_is_group(&fresh) &&
        members->client->topology->env.options.copies_n > 1) {
        code = kw_quorum_refuse_group(error, &fresh);
        kw_member_fini(&fresh, &members->mem);
    }
    return code == KW_OK ? add(members, error, &fresh) : code;
}

/* The member of that name; NULL, with an error, where there is none. */
static kw_member *find(kw_members *members, kw_error *error, const char *name, size_t name_len)
{
    if (members == NULL || (name == NULL && name_len > 0)) {
        refuse_null(error);
        return NULL;
    }
    kw_bytes bytes = {name, name_len};
    kw_member *member = kw_ring_members_find(&members->ring_members, bytes);
    if (member == NULL) {
        no_member(error, bytes);
    }
    return member;
}

kw_err kw_members_remove(kw_members *members, kw_error *error, const char *name, size_t name_len)
{
    kw_member *member = find(members, error, name, name_len);
    if (member == NULL) {
        return KW_ERR_ARGUMENT;
    }
    kw_err code = kw_ring_change_remove(members->change, error, name, name_len);
    if (code == KW_OK) {
        kw_ring_members_remove(&members->ring_members, member, &members->mem);
    }
    return code;
}

kw_err kw_members_reweight(kw_members *members, kw_error *error, const char *name, size_t name_len,
                           uint32_t weight)
{
    kw_member *member = find(members, error, name, name_len);
    if (member == NULL) {
        return KW_ERR_ARGUMENT;
    }
    kw_err code = kw_ring_change_reweight(members->change, error, name, name_len, weight);
    member->weight = code == KW_OK ? weight : member->weight;
    return code;
}

kw_err kw_members_set_zone(kw_members *members, kw_error *error, const char *name, size_t name_len,
                           const char *zone)
{
    kw_member *member = find(members, error, name, name_len);
    if (member == NULL || zone == NULL) {
        return member != NULL ? refuse_null(error) : KW_ERR_ARGUMENT;
    }
    kw_err code = kw_ring_change_set_zone(members->change, error, name, name_len, zone);
    if (code == KW_OK) {
        memcpy(member->zone, zone, strlen(zone) + 1); /* not too long: it was taken */
    }
    return code;
}

/* A replica that was promoted is none any more; of those that were found, the new server
 * will be asked again. */
static void drop_replica(kw_member *member, const kw_endpoint *server)
{
    size_t n = 0;
    for (size_t i = 0; member->lists_replicas && i < member->replicas_n; i++) {
        if (!kw_endpoint_equal(&member->replicas[i], server)) {
            member->replicas[n++] = member->replicas[i];
        }
    }
    member->replicas_n = n;
}

kw_err kw_members_set_server(kw_members *members, kw_error *error, const char *name,
                             size_t name_len, const char *server)
{
    kw_member *member = find(members, error, name, name_len);
    if (member == NULL || server == NULL) {
        return member != NULL ? refuse_null(error) : KW_ERR_ARGUMENT;
    }
    if (kw_member_is_group(member)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "the member is a Sentinel group: its sentinels say where its primary "
                            "is");
    }
    kw_endpoint endpoint;
    if (!kw_endpoint_parse(&endpoint, kw_bytes_of(server))) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "%.200s is not \"host:port\"",
                            server);
    }
    member->server = endpoint;
    drop_replica(member, &endpoint);
    return KW_OK;
}

kw_ring *kw_members_ring(kw_members *members, kw_error *error)
{
    if (members == NULL) {
        refuse_null(error);
        return NULL;
    }
    return kw_ring_change_commit(members->change, error);
}

/* Commits; topology->publishing is held. *fresh becomes the handle's, and *fresh then has the
 * members before it, the caller's to free. */
static kw_err commit_locked(kw_members *members, kw_error *error, kw_ring_state **fresh)
{
    kw_client *client = members->client;
    kw_ring_state *before = client->topology->ring_state;
    if (before->commits_n != members->commits_n) {
        return kw_error_set(error, KW_ERR_TRY_AGAIN, KW_EFFECT_NONE,
                            "the members were changed by another commit since this change began; "
                            "begin again");
    }
    (*fresh)->commits_n = members->commits_n + 1;
    kw_ring_state_take_down(*fresh, before);
    kw_err taken = kw_ring_state_take_groups(*fresh, before, &members->mem);
    if (taken != KW_OK) {
        return no_memory(error);
    }
    kw_err code = kw_ring_state_publish(*fresh, client->topology, error);
    if (code == KW_OK) {
        client->topology->ring_state = *fresh;
        *fresh = before;
        members->commits_n++;
    }
    return code;
}

static void tell(kw_client *client)
{
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.kind = KW_EVENT_MEMBERS_CHANGED;
    event.member = "";
    event.node = "";
    event.text = "ring: the members were changed";
    kw_topology_tell(client->topology, &event);
}

kw_err kw_members_commit(kw_members *members, kw_error *error)
{
    if (members == NULL) {
        return refuse_null(error);
    }
    kw_client *client = members->client;
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_error failure = kw_error_none();
    kw_ring_state *fresh = NULL;
    kw_ring *ring = kw_ring_change_commit(members->change, &failure);
    /* The next change of this one begins with the points that are there now. */
    kw_ring_change *change = ring != NULL ? kw_ring_change_of(ring, &failure) : NULL;
    code = change != NULL ? KW_OK : failure.code;
    if (code == KW_OK) {
        fresh = kw_ring_state_of(&members->ring_members, kw_ring_ref(ring), &members->mem);
        code = fresh != NULL ? KW_OK : no_memory(&failure);
    }
    kw_ring_unref(ring);
    if (code == KW_OK) {
        kw_monitor_lock(&client->topology->publishing);
        code = commit_locked(members, &failure, &fresh);
        kw_monitor_unlock(&client->topology->publishing);
    }
    if (code == KW_OK) {
        kw_ring_change_free(members->change);
        members->change = change;
        kw_map_publish_tell(client->topology);
        kw_refresher_on_publish(&client->topology->refresher);
        kw_sentinel_groups_begin(client->topology);
        tell(client);
    } else {
        kw_ring_change_free(change);
        kw_error_copy(error, &failure);
    }
    kw_ring_state_free(fresh, &members->mem);
    kw_client_leave(client);
    return code;
}
