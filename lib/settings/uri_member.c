/* SPDX-License-Identifier: BSD-3-Clause */
/* The members of a ring: "name=host:port*weight;zone=z;replica=host:port", of which the host
 * alone must be there; and with ";service=name" a Sentinel group, of which the host, and every
 * ";sentinel=host:port", is a sentinel. */
#include "settings/uri_private.h"

#include "base/error.h"

#include <string.h>

#define MEMBERS_MAX ((size_t)2000) /* as many as a map has nodes */

static kw_err no_memory(const kw_uri_reader *self)
{
    return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
}

/* Undoes %HH into out, which has room for len_max bytes and a zero byte. */
static kw_err read_name(const kw_uri_reader *self, char *out, size_t *len, size_t len_max,
                        kw_bytes part)
{
    const char *complaint = len_max == KW_MEMBER_NAME_MAX   ? "a node's name has 1 to 255 bytes"
                            : len_max == KW_MEMBER_ZONE_MAX ? "a zone's name has 1 to 63 bytes"
                                                            : "a service has 1 to 100 bytes";
    kw_bytes text;
    kw_err code = kw_uri_decode(self, &text, part);
    if (code != KW_OK) {
        return code;
    }
    if (text.len < 1 || text.len > len_max) {
        code = kw_uri_wrong(self, part.data, complaint);
    } else {
        memcpy(out, text.data, text.len);
        out[text.len] = '\0';
        *len = text.len;
    }
    kw_mem_free(self->mem, (void *)(uintptr_t)text.data);
    return code;
}

/* A server, or, of a group, a sentinel. */
static kw_err read_host(const kw_uri_reader *self, kw_endpoint *server, kw_bytes text,
                        bool is_sentinel)
{
    kw_options options = {.scheme = is_sentinel ? KW_SCHEME_SENTINEL : KW_SCHEME_RING};
    kw_uri_reader reader = *self; /* the scheme decides the port that is left out */
    reader.options = &options;
    return kw_uri_read_server(&reader, server, text);
}

static kw_err read_sentinel(const kw_uri_reader *self, kw_member *member, kw_bytes text)
{
    kw_endpoint sentinel;
    kw_err code = read_host(self, &sentinel, text, true);
    for (size_t i = 0; code == KW_OK && i < member->sentinels_n; i++) {
        if (kw_endpoint_equal(&member->sentinels[i], &sentinel)) {
            return KW_OK;
        }
    }
    if (code == KW_OK && member->sentinels_n == KW_MEMBER_SENTINELS_MAX) {
        return kw_uri_wrong(self, text.data, "more than 16 sentinels of one group");
    }
    if (code == KW_OK && !kw_member_add_sentinel(member, &sentinel, self->mem)) {
        return no_memory(self);
    }
    return code;
}

static kw_err read_replica(const kw_uri_reader *self, kw_member *member, kw_bytes text)
{
    kw_endpoint replica;
    kw_err code = kw_uri_read_server(self, &replica, text);
    if (code != KW_OK) {
        return code;
    }
    if (member->replicas_n == KW_MEMBER_REPLICAS_MAX) {
        return kw_uri_wrong(self, text.data, "more than 16 replicas of one node");
    }
    member->lists_replicas = true;
    return kw_member_add_replica(member, &replica, self->mem) ? KW_OK : no_memory(self);
}

/* What stands behind a ';'. */
static kw_err read_property(const kw_uri_reader *self, kw_member *member, kw_bytes text)
{
    kw_bytes name;
    kw_bytes value;
    bool is_pair = kw_bytes_split(&name, &value, text, '=');
    if (is_pair && kw_bytes_equal(name, kw_bytes_of("replica"))) {
        return kw_member_is_group(member)
                   ? kw_uri_wrong(self, text.data,
                                  "the replicas of a group are its sentinels' to name")
                   : read_replica(self, member, value);
    }
    if (is_pair && kw_bytes_equal(name, kw_bytes_of("sentinel"))) {
        return kw_member_is_group(member)
                   ? read_sentinel(self, member, value)
                   : kw_uri_wrong(self, text.data, "sentinels of a group need its service=name");
    }
    if (is_pair && kw_bytes_equal(name, kw_bytes_of("service"))) {
        return KW_OK; /* by find_service, already */
    }
    if (!is_pair || !kw_bytes_equal(name, kw_bytes_of("zone"))) {
        return kw_uri_wrong(self, text.data,
                            "behind ; of a node stands zone=name, replica=host:port, "
                            "service=name or sentinel=host:port");
    }
    if (member->zone[0] != '\0') {
        return kw_uri_wrong(self, text.data, "a node has one zone");
    }
    size_t len;
    kw_err code = read_name(self, member->zone, &len, KW_MEMBER_ZONE_MAX, value);
    if (code == KW_OK && strlen(member->zone) != len) {
        code = kw_uri_wrong(self, value.data, "a zone's name has no zero byte");
    }
    return code;
}

/* What makes the member a group, wherever it stands; there may be none. */
static kw_err find_service(const kw_uri_reader *self, kw_member *member, kw_bytes rest)
{
    bool has_more = rest.len > 0;
    while (has_more) {
        kw_bytes property = rest;
        kw_bytes name;
        kw_bytes value;
        size_t len;
        has_more = kw_bytes_split(&property, &rest, rest, ';');
        if (!kw_bytes_split(&name, &value, property, '=') ||
            !kw_bytes_equal(name, kw_bytes_of("service"))) {
            continue;
        }
        if (kw_member_is_group(member)) {
            return kw_uri_wrong(self, property.data, "a group has one service");
        }
        kw_err code = read_name(self, member->service, &len, KW_MEMBER_SERVICE_MAX, value);
        if (code == KW_OK && strlen(member->service) != len) {
            code = kw_uri_wrong(self, value.data, "a service has no zero byte");
        }
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

/* "name=host:port*weight" */
static kw_err read_place(const kw_uri_reader *self, kw_member *member, kw_bytes text)
{
    kw_bytes name;
    kw_bytes weight;
    if (kw_bytes_split(&name, &text, text, '=')) {
        kw_err code = read_name(self, member->name, &member->name_len, KW_MEMBER_NAME_MAX, name);
        if (code != KW_OK) {
            return code;
        }
    }
    if (kw_bytes_split_last(&text, &weight, text, '*')) {
        uint64_t number;
        if (!kw_bytes_to_uint(&number, weight, UINT32_MAX)) {
            return kw_uri_wrong(self, weight.data, "the weight behind * is not a whole number");
        }
        member->weight = (uint32_t)number;
    }
    if (!kw_member_is_group(member)) {
        return kw_uri_read_server(self, &member->server, text);
    }
    kw_err code = read_sentinel(self, member, text);
    if (code == KW_OK) {
        member->lists_replicas = true; /* ROLE is not asked for more */
        kw_member_set_unknown(member);
    }
    return code;
}

static kw_err read_member(const kw_uri_reader *self, kw_member *member, kw_bytes text)
{
    memset(member, 0, sizeof(*member));
    member->weight = 1;
    kw_bytes rest = {text.data + text.len, 0};
    kw_bytes place = text;
    bool has_more = kw_bytes_split(&place, &rest, text, ';');
    kw_err code = find_service(self, member, rest);
    code = code == KW_OK ? read_place(self, member, place) : code;
    while (code == KW_OK && has_more) {
        kw_bytes property = rest;
        has_more = kw_bytes_split(&property, &rest, rest, ';');
        code = read_property(self, member, property);
    }
    if (code != KW_OK) {
        kw_member_fini(member, self->mem);
    }
    return code;
}

static kw_err add_member(const kw_uri_reader *self, kw_ring_members *ring_members, kw_bytes text)
{
    kw_member member;
    if (ring_members->n == MEMBERS_MAX) {
        return kw_uri_wrong(self, text.data, "more than 2000 nodes");
    }
    kw_err code = read_member(self, &member, text);
    if (code != KW_OK) {
        return code;
    }
    kw_bytes name = {member.name, member.name_len};
    if (name.len > 0 && kw_ring_members_find(ring_members, name) != NULL) {
        code = kw_uri_wrong(self, text.data, "a node of this name is there already");
    } else if (!kw_ring_members_add(ring_members, &member, self->mem)) {
        code = no_memory(self);
    }
    if (code != KW_OK) {
        kw_member_fini(&member, self->mem);
    }
    return code;
}

kw_err kw_uri_read_members(const kw_uri_reader *self, kw_bytes members)
{
    kw_ring_members ring_members = {NULL, 0, 0};
    kw_err code = KW_OK;
    bool has_more = true;
    while (code == KW_OK && has_more) {
        kw_bytes member = members;
        has_more = kw_bytes_split(&member, &members, members, ',');
        code = add_member(self, &ring_members, member);
    }
    if (code != KW_OK) {
        kw_ring_members_fini(&ring_members, self->mem);
        return code;
    }
    kw_ring_members_fini(&self->options->ring_members, self->mem);
    self->options->ring_members = ring_members;
    return KW_OK;
}

kw_err kw_uri_read_member(kw_member *member, kw_error *error, const kw_allocator *mem,
                          const char *text)
{
    kw_options ring = {.scheme = KW_SCHEME_RING}; /* for default ports; nothing goes into it */
    kw_uri_reader self = {&ring, error, mem, "member", text, {false}};
    return read_member(&self, member, kw_bytes_of(text));
}
