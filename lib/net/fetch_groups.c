/* SPDX-License-Identifier: BSD-3-Clause */
/* The Sentinel groups of a ring, each asked as a group alone would be. */
#include "net/fetch_groups.h"

#include "base/error.h"

#include <string.h>

void kw_fetch_groups_init(kw_fetch_groups *self, kw_env *env, const kw_fetch_owner *owner)
{
    memset(self, 0, sizeof(*self));
    self->env = env;
    self->owner = owner;
    self->version = UINT64_MAX;
}

static void drop_sentinels(kw_fetch_group *group)
{
    for (size_t i = 0; i < group->sentinels_n; i++) {
        kw_node_unref(group->sentinels[i]);
    }
    group->sentinels_n = 0;
    group->sentinel_at = 0;
}

static void free_group(kw_fetch_group *group, const kw_allocator *mem)
{
    if (group != NULL) {
        drop_sentinels(group);
        kw_fetch_sentinel_fini(&group->fetch);
        kw_member_fini(&group->member, mem);
        kw_mem_free(mem, group);
    }
}

void kw_fetch_groups_fini(kw_fetch_groups *self)
{
    if (self->env == NULL) {
        return; /* never begun: the handle has another way of fetching */
    }
    for (size_t i = 0; i < self->groups_n; i++) {
        free_group(self->groups[i], &self->env->mem);
    }
    kw_mem_free(&self->env->mem, self->groups);
    self->groups = NULL;
    self->groups_n = 0;
}

static kw_fetch_group *new_group(kw_fetch_groups *self, const kw_member *member)
{
    const kw_allocator *mem = &self->env->mem;
    kw_fetch_group *group = kw_mem_calloc(mem, 1, sizeof(*group));
    if (group == NULL || !kw_member_copy(&group->member, member, mem)) {
        kw_mem_free(mem, group);
        return NULL;
    }
    kw_sentinel_group asked = {group->member.sentinels, group->member.sentinels_n,
                               group->member.service};
    if (kw_fetch_sentinel_init(&group->fetch, self->env, self->owner, &asked) != KW_OK) {
        kw_member_fini(&group->member, mem);
        kw_mem_free(mem, group);
        return NULL;
    }
    return group;
}

/* The group as it is watched already, which is then the caller's; NULL: it is new. */
static kw_fetch_group *take_known(kw_fetch_groups *self, const kw_member *member)
{
    for (size_t i = 0; i < self->groups_n; i++) {
        kw_fetch_group *group = self->groups[i];
        if (group != NULL && kw_member_is_same_group(&group->member, member)) {
            self->groups[i] = NULL;
            return group;
        }
    }
    return NULL;
}

/* The groups that are in the ring now. Those that there is no memory for come with the next
 * fetch. */
static void follow(kw_fetch_groups *self)
{
    const kw_allocator *mem = &self->env->mem;
    kw_ring_members ring_members = {NULL, 0, 0};
    uint64_t version = self->version;
    if (self->owner->groups_fn(self->owner->arg, &ring_members, &version) != KW_OK ||
        version == self->version) {
        return;
    }
    kw_fetch_group **groups = kw_mem_calloc(mem, ring_members.n + 1, sizeof(groups[0]));
    size_t n = 0;
    bool is_whole = groups != NULL;
    for (size_t i = 0; groups != NULL && i < ring_members.n; i++) {
        kw_fetch_group *group = take_known(self, &ring_members.members[i]);
        group = group != NULL ? group : new_group(self, &ring_members.members[i]);
        is_whole = is_whole && group != NULL;
        if (group != NULL) {
            groups[n++] = group;
        }
    }
    if (groups != NULL) {
        kw_fetch_groups_fini(self); /* those that left */
        self->groups = groups;
        self->groups_n = n;
    }
    self->version = is_whole ? version : UINT64_MAX;
    kw_ring_members_fini(&ring_members, mem);
}

static kw_fetch_group *next_group(const kw_fetch_groups *self)
{
    kw_fetch_group *lost = NULL;
    for (size_t i = 0; i < self->groups_n; i++) {
        kw_fetch_group *group = self->groups[i];
        if (!group->is_asked && !group->is_lost) {
            return group;
        }
        lost = lost == NULL && !group->is_asked ? group : lost;
    }
    return lost;
}

/* A reference to the next sentinel of the group whose turn it is; NULL: that was the last. */
static kw_node *next_sentinel(kw_fetch_group *group)
{
    return group->sentinel_at < group->sentinels_n
               ? kw_node_ref(group->sentinels[group->sentinel_at])
               : NULL;
}

static void tell_lost(kw_fetch_groups *self, kw_error *failure)
{
    kw_fetch_group *group = self->at;
    self->is_urgent = kw_fetch_sentinel_way.end_fn(&group->fetch, failure) || self->is_urgent;
    group->is_lost = true;
    self->owner->lost_fn(self->owner->arg, &group->member, failure);
}

/* The first sentinel of the next group, as a reference; NULL: all were asked. */
static kw_node *go_to_next_group(kw_fetch_groups *self)
{
    if (self->at != NULL) {
        drop_sentinels(self->at);
    }
    while ((self->at = next_group(self)) != NULL) {
        kw_fetch_group *group = self->at;
        group->is_asked = true;
        group->sentinels_n = kw_fetch_sentinel_way.begin_fn(&group->fetch, group->sentinels);
        if (group->sentinels_n > 0) {
            return next_sentinel(group);
        }
        kw_error failure = kw_error_none();
        kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to ask sentinels");
        tell_lost(self, &failure);
    }
    return NULL;
}

static size_t begin(void *arg, kw_node **nodes)
{
    kw_fetch_groups *self = arg;
    self->is_urgent = false;
    self->has_news = false;
    self->at = NULL;
    follow(self);
    for (size_t i = 0; i < self->groups_n; i++) {
        drop_sentinels(self->groups[i]);
        self->groups[i]->is_asked = false;
    }
    nodes[0] = go_to_next_group(self);
    return nodes[0] != NULL ? 1 : 0;
}

static bool ask(void *arg, kw_fetch_questions *questions, kw_buf *encoded)
{
    kw_fetch_groups *self = arg;
    return kw_fetch_sentinel_way.ask_fn(&self->at->fetch, questions, encoded);
}

/* The group whose turn it is has led to a map. */
static void tell_found(kw_fetch_groups *self, const kw_fetch_step *step)
{
    bool has_news = false;
    self->at->is_lost = false;
    self->is_urgent = step->is_brief || self->is_urgent;
    self->owner->found_fn(self->owner->arg, &has_news, &self->at->member, step->map);
    self->has_news = has_news || self->has_news;
}

static kw_err take(void *arg, kw_fetch_step *step, kw_error *error, const kw_node *from,
                   kw_reply *const *replies)
{
    kw_fetch_groups *self = arg;
    kw_err code = kw_fetch_sentinel_way.take_fn(&self->at->fetch, step, error, from, replies);
    if (code != KW_OK || step->map == NULL) {
        return code;
    }
    tell_found(self, step);
    step->node = go_to_next_group(self);
    step->is_brief = self->is_urgent;
    if (step->node != NULL) {
        kw_map_unref(step->map);
        step->map = NULL;
    }
    return KW_OK;
}

static kw_node *fail(void *arg, kw_node *node, const kw_error *failure)
{
    kw_fetch_groups *self = arg;
    kw_fetch_group *group = self->at;
    if (group == NULL) {
        return NULL;
    }
    if (group->sentinel_at < group->sentinels_n) {
        node = group->sentinels[group->sentinel_at]; /* the sentinel, whatever server it led to */
    }
    kw_node *other = kw_fetch_sentinel_way.fail_fn(&group->fetch, node, failure);
    if (other != NULL) {
        return other;
    }
    group->sentinel_at++;
    other = next_sentinel(group);
    if (other != NULL) {
        return other;
    }
    kw_error told = kw_error_none();
    kw_error_copy(&told, failure);
    tell_lost(self, &told);
    return go_to_next_group(self);
}

/* The fetch has no failure of its own: what is wrong with a group was told to its member alone. */
static bool end(void *arg, kw_error *failure)
{
    kw_fetch_groups *self = arg;
    failure->code = KW_OK;
    return self->is_urgent;
}

static bool hear_out(void *arg, uint64_t now_ns)
{
    kw_fetch_groups *self = arg;
    bool is_wanted = false;
    for (size_t i = 0; i < self->groups_n; i++) {
        is_wanted = kw_fetch_sentinel_way.listen_fn(&self->groups[i]->fetch, now_ns) || is_wanted;
    }
    return is_wanted;
}

bool kw_fetch_groups_has_news(const kw_fetch_groups *self)
{
    bool has_news = false;
    for (size_t i = 0; i < self->groups_n; i++) {
        has_news = has_news || self->groups[i]->fetch.news_n > 0;
    }
    return has_news;
}

bool kw_fetch_groups_news(kw_fetch_groups *self, kw_sentinel_told *news, kw_member *group)
{
    for (size_t i = 0; i < self->groups_n; i++) {
        if (kw_fetch_sentinel_news(&self->groups[i]->fetch, news)) {
            const kw_member *from = &self->groups[i]->member;
            memcpy(group->name, from->name, sizeof(group->name));
            group->name_len = from->name_len;
            return true;
        }
    }
    return false;
}

const kw_fetch_way kw_fetch_groups_way = {1, begin, ask, take, fail, end, NULL, hear_out};
