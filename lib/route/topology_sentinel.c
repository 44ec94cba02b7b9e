/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads what a sentinel says of a group: its primary, replicas and other sentinels. */
#include "route/topology_sentinel.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_LEN 80

/* Where in which answer the reader is. */
typedef struct place {
    kw_error *error;
    const char *answer;
    size_t entry;
} place;

KW_FORMAT(2, 3)
static kw_err refuse(const place *at, const char *format, ...)
{
    char reason[256];
    va_list args;
    va_start(args, format);
    if (vsnprintf(reason, sizeof(reason), format, args) < 0) {
        reason[0] = '\0';
    }
    va_end(args);
    return kw_error_set(at->error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "%s entry %zu: %s", at->answer,
                        at->entry, reason);
}

static kw_err refuse_error(const place *at, const kw_reply *reply)
{
    char shown[SHOWN_LEN];
    return kw_error_set(at->error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "%s: %s", at->answer,
                        kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply)));
}

/* Host and port, both as text. *is_known is false for an address that nobody can dial: an
 * empty host, "?", port 0. */
static kw_err read_address(const place *at, kw_endpoint *endpoint, bool *is_known,
                           const kw_reply *host, const kw_reply *port)
{
    kw_bytes name = kw_reply_bytes(host);
    uint64_t number;
    char shown[SHOWN_LEN];
    if (kw_reply_type(host) != KW_REPLY_STRING || kw_reply_type(port) != KW_REPLY_STRING) {
        return refuse(at, "host or port is no string");
    }
    if (!kw_bytes_to_uint(&number, kw_reply_bytes(port), UINT16_MAX)) {
        return refuse(at, "port \"%s\" is not within 0 to 65535",
                      kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(port)));
    }
    *is_known = number != 0 && name.len > 0 && !kw_bytes_equal(name, kw_bytes_of("?"));
    if (*is_known && !kw_endpoint_set(endpoint, name, number)) {
        return refuse(at, "\"%s\" (%zu bytes) is no host name or address",
                      kw_bytes_show(shown, sizeof(shown), name), name.len);
    }
    return KW_OK;
}

kw_err kw_topology_sentinel_primary(kw_endpoint *primary, kw_error *error, const kw_reply *reply)
{
    place at = {error, "SENTINEL GET-MASTER-ADDR-BY-NAME", 0};
    if (kw_reply_is_error(reply)) {
        return refuse_error(&at, reply);
    }
    if (kw_reply_is_nil(reply)) {
        return kw_error_set(error, KW_ERR_NO_SERVICE, KW_EFFECT_NONE,
                            "the sentinel does not know the name");
    }
    if (kw_reply_type(reply) != KW_REPLY_ARRAY || kw_reply_count(reply) != 2) {
        return refuse(&at, "no array of host and port");
    }
    kw_endpoint endpoint;
    bool is_known;
    kw_err code =
        read_address(&at, &endpoint, &is_known, kw_reply_at(reply, 0), kw_reply_at(reply, 1));
    if (code == KW_OK && !is_known) {
        code = refuse(&at, "the address of the primary is not known");
    }
    if (code == KW_OK) {
        *primary = endpoint;
    }
    return code;
}

/* Fields of one entry that count here; NULL where it has no such field. */
typedef struct fields {
    const kw_reply *host;
    const kw_reply *port;
    const kw_reply *flags;
    const kw_reply *id;
} fields;

static kw_err read_fields(const place *at, fields *found, const kw_reply *entry)
{
    kw_reply_kind kind = kw_reply_type(entry);
    if ((kind != KW_REPLY_ARRAY && kind != KW_REPLY_MAP) || kw_reply_count(entry) % 2 != 0) {
        return refuse(at, "no map of fields and values");
    }
    memset(found, 0, sizeof(*found));
    for (size_t i = 0; i < kw_reply_count(entry); i += 2) {
        kw_bytes name = kw_reply_bytes(kw_reply_at(entry, i));
        const kw_reply *value = kw_reply_at(entry, i + 1);
        if (kw_bytes_equal(name, kw_bytes_of("ip"))) {
            found->host = value;
        } else if (kw_bytes_equal(name, kw_bytes_of("port"))) {
            found->port = value;
        } else if (kw_bytes_equal(name, kw_bytes_of("flags"))) {
            found->flags = value;
        } else if (kw_bytes_equal(name, kw_bytes_of("runid"))) {
            found->id = value;
        }
    }
    return found->host != NULL && found->port != NULL ? KW_OK : refuse(at, "no ip or no port");
}

/* True where one of the flags, words with commas between, is one of those words. */
static bool has_flag(const kw_reply *flags, const char *const *words, size_t words_n)
{
    kw_bytes rest = kw_reply_bytes(flags);
    bool has_more = rest.len > 0;
    while (has_more) {
        kw_bytes word = rest;
        has_more = kw_bytes_split(&word, &rest, rest, ',');
        for (size_t i = 0; i < words_n; i++) {
            if (kw_bytes_equal(word, kw_bytes_of(words[i]))) {
                return true;
            }
        }
    }
    return false;
}

/* The sentinel cannot reach the server. */
static bool is_down(const kw_reply *flags)
{
    static const char *const words[] = {"s_down", "o_down", "disconnected"};
    return has_flag(flags, words, sizeof(words) / sizeof(words[0]));
}

static bool is_heir(const kw_reply *flags)
{
    static const char *const words[] = {"promoted"};
    return has_flag(flags, words, 1);
}

/* Reads a list of replicas, or with heir NULL one of sentinels, of which those that are down count
 * as well. */
static kw_err read_list(place *at, kw_endpoints *list, kw_endpoint *heir, const kw_allocator *mem,
                        const kw_reply *reply)
{
    size_t count = kw_reply_count(reply);
    kw_endpoints read = {NULL, 0};
    if (kw_reply_is_error(reply)) {
        return refuse_error(at, reply);
    }
    if (kw_reply_type(reply) != KW_REPLY_ARRAY || count > KW_MAP_NODES_MAX) {
        return refuse(at, "no array of at most %zu servers", KW_MAP_NODES_MAX);
    }
    if (count > 0) {
        read.items = kw_mem_calloc(mem, count, sizeof(read.items[0]));
        if (read.items == NULL) {
            return kw_error_set(at->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %s",
                                at->answer);
        }
    }
    kw_err code = KW_OK;
    for (at->entry = 0; at->entry < count && code == KW_OK; at->entry++) {
        fields found;
        bool is_known = false;
        code = read_fields(at, &found, kw_reply_at(reply, at->entry));
        if (code == KW_OK) {
            code = read_address(at, &read.items[read.n], &is_known, found.host, found.port);
        }
        if (code == KW_OK && is_known && heir != NULL && is_heir(found.flags)) {
            /* Its connections, the sentinel's too, are cut when it takes over. */
            *heir = read.items[read.n];
        }
        if (code == KW_OK && is_known && (heir == NULL || !is_down(found.flags))) {
            read.n++;
        }
    }
    if (code != KW_OK) {
        kw_mem_free(mem, read.items);
        return code;
    }
    *list = read;
    return KW_OK;
}

kw_err kw_topology_sentinel_replicas(kw_endpoints *replicas, kw_endpoint *heir, kw_error *error,
                                     const kw_allocator *mem, const kw_reply *reply)
{
    place at = {error, "SENTINEL REPLICAS", 0};
    kw_endpoint found = {"", 0};
    kw_err code = read_list(&at, replicas, &found, mem, reply);
    if (code == KW_OK) {
        *heir = found;
    }
    return code;
}

/* A number of an entry, which is names and values; 0 where it is not there. */
static uint64_t number_of(const kw_reply *entry, const char *field, uint64_t max)
{
    uint64_t number = 0;
    for (size_t i = 0; i + 1 < kw_reply_count(entry); i += 2) {
        if (kw_bytes_equal(kw_reply_bytes(kw_reply_at(entry, i)), kw_bytes_of(field))) {
            (void)kw_bytes_to_uint(&number, kw_reply_bytes(kw_reply_at(entry, i + 1)), max);
        }
    }
    return number;
}

uint64_t kw_topology_sentinel_timeout_ms(const kw_reply *reply)
{
    return number_of(kw_reply_at(reply, 0), "down-after-milliseconds", UINT32_MAX);
}

uint64_t kw_topology_sentinel_epoch(const kw_reply *reply)
{
    return number_of(reply, "config-epoch", UINT64_MAX / 2);
}

kw_err kw_topology_sentinel_peers(kw_endpoints *peers, kw_error *error, const kw_allocator *mem,
                                  const kw_reply *reply)
{
    place at = {error, "SENTINEL SENTINELS", 0};
    return read_list(&at, peers, NULL, mem, reply);
}

bool kw_topology_sentinel_peer(kw_endpoint *peer, uint64_t *id, const kw_reply *entry)
{
    kw_error unread = kw_error_none();
    place at = {&unread, "SENTINEL SENTINELS", 0};
    fields found;
    bool is_known = false;
    if (read_fields(&at, &found, entry) != KW_OK ||
        read_address(&at, peer, &is_known, found.host, found.port) != KW_OK || !is_known) {
        return false;
    }
    kw_bytes text = kw_reply_bytes(found.id);
    *id = text.len > 0 ? kw_bytes_id(text) : 0;
    return true;
}

kw_map *kw_topology_sentinel_map(const kw_allocator *mem, const kw_endpoint *primary,
                                 const kw_endpoints *replicas)
{
    size_t n = replicas->n + 1;
    kw_map_member *members = kw_mem_calloc(mem, n, sizeof(members[0]));
    kw_node_set set = {
        kw_mem_calloc(mem, n, sizeof(set.nodes[0])),
        kw_mem_calloc(mem, n, sizeof(set.sorted[0])),
        0,
    };
    kw_map *map = NULL;
    if (members != NULL && set.nodes != NULL && set.sorted != NULL) {
        size_t other;
        members[kw_node_set_add(&set, primary)].is_primary = true;
        for (size_t i = 0; i < replicas->n && set.n < KW_MAP_NODES_MAX; i++) {
            if (!kw_node_set_find(&set, &other, &replicas->items[i])) {
                (void)kw_node_set_add(&set, &replicas->items[i]);
            }
        }
        kw_map_parts parts = {.set = &set, .members = members, .shards_n = 1};
        if (kw_map_new(&map, mem, &parts) != KW_OK) {
            map = NULL;
        }
    }
    kw_mem_free(mem, members);
    kw_mem_free(mem, set.nodes);
    kw_mem_free(mem, set.sorted);
    return map;
}
