/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/cache.h: arguments checked, the handle entered and left. */
#include <keyway/cache.h>

#include "api/client.h"
#include "base/error.h"
#include "cache/cache_fetch.h"
#include "drive/loop.h"
#include "topology/topology_tend.h"

#include <string.h>

kw_cache *kw_cache_open(kw_client *client, kw_error *error, const char *options)
{
    kw_cache_options own;
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    if (kw_cache_options_read(&own, error, options) != KW_OK) {
        return NULL;
    }
    if (client->topology->env.options.copies_n > 1) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "a cache keeps one copy of a value, and the handle has copies: use kw_quorum, "
                     "or a handle without copies");
        return NULL;
    }
    if (kw_client_enter_new(client, error) != KW_OK) {
        return NULL;
    }
    kw_cache *cache = kw_cache_new(client->topology, error, &own, &client->waits_end);
    if (cache != NULL) {
        cache->client = client;
    }
    kw_client_leave(client);
    return cache;
}

void kw_cache_close(kw_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    /* A child's connections are its parent's. */
    kw_client *client = cache->client;
    bool has_forked = kw_fork_has_happened(&cache->fork);
    bool is_inside = !has_forked && kw_client_enter_at_home(client);
    kw_cache_close_fn end_calls = atomic_load(&cache->close_fn);
    if (end_calls != NULL) {
        end_calls(cache, is_inside ? kw_loop_at(&client->loop) : NULL, has_forked);
    }
    kw_cache_free(cache);
    if (is_inside) {
        kw_client_leave(client);
    }
}

/* Every call begins with it: KW_ERR_ARGUMENT, KW_ERR_FORKED, KW_ERR_DRAINING. After success
 * kw_client_leave. */
static kw_err enter(kw_cache *cache, kw_error *error, kw_cache_bytes key)
{
    if (cache == NULL || kw_cache_is_wrong(kw_cache_bytes_of(key))) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "cache or key is NULL");
    }
    if (kw_fork_has_happened(&cache->fork)) {
        return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                            "the cache belongs to the parent process; open one in the child");
    }
    return kw_client_enter_new(cache->client, error);
}

/* A value to be set; what it may hold is the caller's fault. */
static kw_err clear(kw_cache_value *value, kw_error *error)
{
    if (value == NULL || value->size < sizeof(*value)) {
        return kw_error_refuse(
            error, KW_ERR_ARGUMENT,
            "value is NULL, or its size is not set; start with KW_CACHE_VALUE_INIT");
    }
    kw_cache_value_set(value, NULL, KW_CACHE_FROM_NOWHERE);
    return KW_OK;
}

/* A value from memory, given without entering the handle; who finds it due looks after connections
 * as well, and after what else there is to be done: there may be no other calls. */
static bool is_near(kw_cache *cache, kw_cache_value *value, kw_cache_bytes key)
{
    bool may_be = cache != NULL && cache->near != NULL &&
                  !kw_cache_is_wrong(kw_cache_bytes_of(key)) && !kw_fork_has_happened(&cache->fork);
    if (!may_be) {
        return false;
    }
    uint64_t now_ns = kw_tracker_now(cache->tracker);
    if (kw_tracker_is_due(cache->tracker, now_ns) && !atomic_load(&cache->client->is_draining) &&
        kw_client_enter_at_home(cache->client)) {
        kw_topology_tend(cache->topology, kw_env_now(&cache->topology->env));
        kw_tracker_tend(cache->tracker, now_ns);
        kw_client_leave(cache->client);
    }
    return kw_cache_find_near(cache, value, kw_cache_bytes_of(key), now_ns);
}

kw_err kw_cache_get(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_cache_bytes key)
{
    kw_err code = clear(value, error);
    if (code == KW_OK && is_near(cache, value, key)) {
        return KW_OK;
    }
    code = code == KW_OK ? enter(cache, error, key) : code;
    if (code == KW_OK) {
        code = kw_cache_do_get(cache, error, value, kw_cache_bytes_of(key));
        kw_client_leave(cache->client);
    }
    return code;
}

/* What may be near is looked for; how many were not. */
static size_t get_near_ones(kw_cache *cache, kw_cache_value *values, const kw_cache_bytes *keys,
                            size_t n)
{
    size_t open_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_near(cache, &values[i], keys[i])) {
            values[i].source = KW_CACHE_UNKNOWN;
            open_n++;
        }
    }
    return open_n;
}

kw_err kw_cache_get_many(kw_cache *cache, kw_error *error, kw_cache_value *values,
                         const kw_cache_bytes *keys, size_t n)
{
    if (n > 0 && (values == NULL || keys == NULL)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "values or keys is NULL");
    }
    kw_err code = KW_OK;
    for (size_t i = 0; i < n && code == KW_OK; i++) {
        code = kw_cache_is_wrong(kw_cache_bytes_of(keys[i]))
                   ? kw_error_refuse(error, KW_ERR_ARGUMENT, "a key is NULL")
                   : clear(&values[i], error);
    }
    if (code != KW_OK || get_near_ones(cache, values, keys, n) == 0) {
        return code;
    }
    code = enter(cache, error, keys[0]);
    if (code == KW_OK) {
        code = kw_cache_do_get_many(cache, error, values, keys, n);
        kw_client_leave(cache->client);
    }
    return code;
}

/* A child that the loader has forked may have reopened the handle, which the call is not in then.
 */
static void leave_behind_loader(kw_cache *cache)
{
    if (!kw_fork_has_happened(&cache->fork) || kw_fork_has_happened(&cache->client->fork)) {
        kw_client_leave(cache->client);
    }
}

kw_err kw_cache_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_cache_bytes key,
                      kw_cache_loader loader)
{
    kw_err code = clear(value, error);
    if (code == KW_OK && loader.fn == NULL) {
        code = kw_error_refuse(error, KW_ERR_ARGUMENT, "the loader's function is NULL");
    }
    if (code == KW_OK && is_near(cache, value, key)) {
        return KW_OK;
    }
    code = code == KW_OK ? enter(cache, error, key) : code;
    if (code == KW_OK) {
        code = kw_cache_do_fetch(cache, error, value, kw_cache_bytes_of(key), &loader);
        leave_behind_loader(cache);
    }
    return code;
}

kw_err kw_cache_put(kw_cache *cache, kw_error *error, kw_cache_bytes key, kw_cache_bytes value)
{
    kw_err code = kw_cache_is_wrong(kw_cache_bytes_of(value))
                      ? kw_error_refuse(error, KW_ERR_ARGUMENT, "value is NULL")
                      : enter(cache, error, key);
    if (code == KW_OK) {
        code = kw_cache_do_put(cache, error, kw_cache_bytes_of(key), kw_cache_bytes_of(value));
        kw_client_leave(cache->client);
    }
    return code;
}

kw_err kw_cache_forget(kw_cache *cache, kw_error *error, kw_cache_bytes key)
{
    kw_err code = enter(cache, error, key);
    if (code == KW_OK) {
        code = kw_cache_do_forget(cache, error, kw_cache_bytes_of(key));
        kw_client_leave(cache->client);
    }
    return code;
}

void kw_cache_release(kw_cache_value *value)
{
    kw_cache_value_release(value);
}

kw_cache_bytes kw_cache_load_key(const kw_cache_load *load)
{
    return load != NULL ? (kw_cache_bytes){load->key.data, load->key.len}
                        : (kw_cache_bytes){NULL, 0};
}

kw_err kw_cache_load_give(kw_cache_load *load, const char *data, size_t len)
{
    if (load == NULL || (data == NULL && len > 0)) {
        return KW_ERR_ARGUMENT;
    }
    kw_bytes bytes = {data, len};
    kw_blob *blob = kw_blob_copy(&load->mem, bytes);
    if (blob == NULL) {
        return KW_ERR_NOMEM;
    }
    kw_blob_unref(load->given);
    load->given = blob;
    return KW_OK;
}

void kw_cache_load_end(kw_cache_load *load, kw_cache_loaded how)
{
    if (load != NULL) {
        kw_cache_load_set(load, how);
    }
}

bool kw_cache_peek(kw_cache *cache, kw_cache_value *value, kw_cache_bytes key)
{
    return clear(value, NULL) == KW_OK && is_near(cache, value, key);
}

static uint64_t read_counter(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

kw_err kw_cache_stats(kw_cache *cache, kw_error *error, kw_cache_figures *figures)
{
    if (cache == NULL || figures == NULL || figures->size < sizeof(*figures)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "cache or figures is NULL, or its size is not set");
    }
    kw_cache_counters *counters = &cache->counters;
    figures->hits = read_counter(&counters->hits);
    figures->misses = read_counter(&counters->misses);
    figures->loads = read_counter(&counters->loads);
    figures->load_failures = read_counter(&counters->load_failures);
    figures->waits = read_counter(&counters->waits);
    figures->stale = read_counter(&counters->stale);
    figures->fills = read_counter(&counters->fills);
    figures->fills_refused = read_counter(&counters->fills_refused);
    figures->alone = read_counter(&counters->alone);
    figures->loading = kw_flights_loading(&cache->flights);
    kw_near *near = cache->near;
    kw_tracker_figures tracked = {0, 0};
    if (near != NULL) {
        tracked = kw_tracker_look(cache->tracker, kw_tracker_now(cache->tracker));
    }
    figures->near_hits = near != NULL ? kw_near_hits(near) : 0;
    figures->invalidations = near != NULL ? read_counter(&near->invalidations) : 0;
    figures->evictions = near != NULL ? read_counter(&near->evictions) : 0;
    figures->near_bytes = near != NULL ? kw_near_bytes(near) : 0;
    figures->near_servers = tracked.pairs_n;
    figures->proof_age_ms = tracked.proof_age_ms;
    return KW_OK;
}
