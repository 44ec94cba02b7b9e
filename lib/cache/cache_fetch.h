/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch: a value from its server, or loaded by this call or another. */
#ifndef CACHE_CACHE_FETCH_H
#define CACHE_CACHE_FETCH_H

#include "cache/cache.h"

struct kw_cache_load {
    kw_cache *cache;
    kw_bytes key;
    kw_blob *given; /* NULL: nothing yet */
};

/* As kw_cache_get, kw_cache_fetch, kw_cache_put and kw_cache_forget, of arguments that were
 * checked. */
kw_err kw_cache_do_get(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key);
/* Reads the key so that it may be near from now on; true where there is a value that is simply to
 * be given. Only where there is near. */
bool kw_cache_get_fresh(kw_cache *cache, kw_cache_value *value, kw_bytes key);

kw_err kw_cache_do_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                         const kw_cache_loader *loader);
kw_err kw_cache_do_put(kw_cache *cache, kw_error *error, kw_bytes key, kw_bytes value);
kw_err kw_cache_do_forget(kw_cache *cache, kw_error *error, kw_bytes key);

#endif
