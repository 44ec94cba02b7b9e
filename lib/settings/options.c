/* SPDX-License-Identifier: BSD-3-Clause */
/* Options copied, freed and asked for what follows from several of them. */
#include "settings/options.h"

#include <string.h>

/* A dead address leaves time for another one. */
#define CONNECT_SHARE  4u
#define CONNECT_MAX_MS 1000u

uint64_t kw_options_connect_timeout_ms(const kw_options *options)
{
    if (options->connect_timeout_ms > 0) {
        return options->connect_timeout_ms;
    }
    uint64_t share_ms = options->timeout_ms / CONNECT_SHARE;
    if (share_ms == 0) {
        return 1;
    }
    return share_ms < CONNECT_MAX_MS ? share_ms : CONNECT_MAX_MS;
}

void kw_options_free_text(char *text, size_t len, const kw_allocator *mem)
{
    volatile char *bytes = text; /* so that the compiler keeps the stores */
    for (size_t i = 0; i < len; i++) {
        bytes[i] = '\0';
    }
    kw_mem_free(mem, text);
}

static bool copy_text(char **copy, const char *text, const kw_allocator *mem)
{
    *copy = text != NULL ? kw_mem_strndup(mem, text, strlen(text)) : NULL;
    return text == NULL || *copy != NULL;
}

static bool copy_array(void **copy, const void *array, size_t count, size_t len,
                       const kw_allocator *mem)
{
    *copy = NULL;
    if (count == 0) {
        return true;
    }
    *copy = kw_mem_calloc(mem, count, len);
    if (*copy != NULL) {
        memcpy(*copy, array, count * len);
    }
    return *copy != NULL;
}

bool kw_options_copy(kw_options *copy, const kw_options *options, const kw_allocator *mem)
{
    kw_options fresh = *options;
    void *seeds = NULL;
    void *pairs = NULL;
    void *zones = NULL;
    void *rules = NULL;
    bool is_whole = copy_text(&fresh.user, options->user, mem);
    is_whole = copy_text(&fresh.password, options->password, mem) && is_whole;
    is_whole = copy_text(&fresh.client_name, options->client_name, mem) && is_whole;
    is_whole = copy_text(&fresh.service, options->service, mem) && is_whole;
    is_whole = copy_text(&fresh.sentinel_user, options->sentinel_user, mem) && is_whole;
    is_whole = copy_text(&fresh.sentinel_password, options->sentinel_password, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_ca, options->tls_ca, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_ca_dir, options->tls_ca_dir, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_cert, options->tls_cert, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_key, options->tls_key, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_server_name, options->tls_server_name, mem) && is_whole;
    is_whole = copy_text(&fresh.placement, options->placement, mem) && is_whole;
    kw_ring_members none = {NULL, 0, 0};
    fresh.ring_members = none;
    is_whole = kw_ring_members_copy(&fresh.ring_members, &options->ring_members, mem) && is_whole;
    is_whole =
        copy_array(&seeds, options->seeds, options->seeds_n, sizeof(options->seeds[0]), mem) &&
        is_whole;
    is_whole = copy_array(&pairs, options->address_map, options->address_map_n,
                          sizeof(options->address_map[0]), mem) &&
               is_whole;
    is_whole =
        copy_array(&zones, options->zones, options->zones_n, sizeof(options->zones[0]), mem) &&
        is_whole;
    is_whole = copy_array(&rules, options->nodes_allowed, options->nodes_allowed_n,
                          sizeof(options->nodes_allowed[0]), mem) &&
               is_whole;
    fresh.seeds = seeds;
    fresh.nodes_allowed = rules;
    fresh.zones = zones;
    fresh.address_map = pairs;
    if (!is_whole) {
        kw_options_fini(&fresh, mem);
        return false;
    }
    *copy = fresh;
    return true;
}

static void free_secret(char *text, const kw_allocator *mem)
{
    if (text != NULL) {
        kw_options_free_text(text, strlen(text), mem);
    }
}

void kw_options_forget_servers(kw_options *options, const kw_allocator *mem)
{
    kw_mem_free(mem, options->seeds);
    options->seeds = NULL;
    options->seeds_n = 0;
    kw_ring_members_fini(&options->ring_members, mem);
    memset(&options->ring_members, 0, sizeof(options->ring_members));
}

void kw_options_fini(kw_options *options, const kw_allocator *mem)
{
    kw_mem_free(mem, options->seeds);
    kw_mem_free(mem, options->user);
    free_secret(options->password, mem);
    kw_mem_free(mem, options->client_name);
    kw_mem_free(mem, options->service);
    kw_mem_free(mem, options->sentinel_user);
    free_secret(options->sentinel_password, mem);
    kw_mem_free(mem, options->tls_ca);
    kw_mem_free(mem, options->tls_ca_dir);
    kw_mem_free(mem, options->tls_cert);
    kw_mem_free(mem, options->tls_key);
    kw_mem_free(mem, options->tls_server_name);
    kw_mem_free(mem, options->placement);
    kw_ring_members_fini(&options->ring_members, mem);
    kw_mem_free(mem, options->zones);
    kw_mem_free(mem, options->address_map);
    kw_mem_free(mem, options->nodes_allowed);
    memset(options, 0, sizeof(*options));
}
