/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/cache.h: calls that end in a callback. */
#include <keyway/cache.h>

#include "api/loop_calls.h"
#include "base/error.h"
#include "cache/cache_loop.h"

/* The handle was entered. */
static kw_err add(kw_cache *cache, kw_error *error, const kw_cache_task_wish *wish)
{
    kw_loop *loop = kw_client_need_loop(cache->client, error);
    if (loop == NULL) {
        return KW_ERR_NOMEM;
    }
    if (atomic_load_explicit(&cache->client->is_closing, memory_order_relaxed)) {
        return kw_error_refuse(error, KW_ERR_CANCELLED, "the handle is being closed");
    }
    kw_err code = kw_cache_loop_need(cache, error, loop);
    atomic_store(&cache->close_fn, kw_cache_loop_close);
    return code == KW_OK ? kw_cache_loop_add(cache, error, wish) : code;
}

static kw_err submit(kw_cache *cache, kw_error *error, const kw_cache_task_wish *wish)
{
    if (cache == NULL || wish->callback.fn == NULL || kw_cache_is_wrong(wish->key) ||
        kw_cache_is_wrong(wish->value)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "cache, callback.fn, the key or the value is NULL");
    }
    if (kw_fork_has_happened(&cache->fork)) {
        return kw_error_refuse(error, KW_ERR_FORKED,
                               "the cache belongs to the parent process; open one in the child");
    }
    kw_err code = kw_client_enter_new(cache->client, error);
    if (code == KW_OK) {
        code = add(cache, error, wish);
        kw_client_leave(cache->client);
    }
    return code;
}

kw_err kw_cache_get_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                          kw_cache_callback callback)
{
    kw_cache_task_wish wish = {
        .kind = KW_CACHE_TASK_GET, .key = kw_cache_bytes_of(key), .callback = callback};
    return submit(cache, error, &wish);
}

kw_err kw_cache_fetch_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                            kw_cache_loader loader, kw_cache_callback callback)
{
    kw_cache_task_wish wish = {
        .kind = KW_CACHE_TASK_FETCH, .key = kw_cache_bytes_of(key), .callback = callback};
    wish.loader = loader;
    if (loader.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "the loader's function is NULL");
    }
    return submit(cache, error, &wish);
}

kw_err kw_cache_put_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                          kw_cache_bytes value, kw_cache_callback callback)
{
    kw_cache_task_wish wish = {
        .kind = KW_CACHE_TASK_PUT, .key = kw_cache_bytes_of(key), .callback = callback};
    wish.value = kw_cache_bytes_of(value);
    return submit(cache, error, &wish);
}

kw_err kw_cache_forget_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                             kw_cache_callback callback)
{
    kw_cache_task_wish wish = {
        .kind = KW_CACHE_TASK_FORGET, .key = kw_cache_bytes_of(key), .callback = callback};
    return submit(cache, error, &wish);
}
