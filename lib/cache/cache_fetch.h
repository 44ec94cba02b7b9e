/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch: a value from its server, or loaded by this call or another. */
#ifndef CACHE_CACHE_FETCH_H
#define CACHE_CACHE_FETCH_H

#include "cache/cache_load.h"
#include "cache/fetch.h"

/* As kw_cache_get, kw_cache_fetch, kw_cache_put and kw_cache_forget, of arguments that were
 * checked. */
kw_err kw_cache_do_get(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key);

/* Of kw_cache_get_many what is not near: the values whose source is KW_CACHE_UNKNOWN. */
kw_err kw_cache_do_get_many(kw_cache *cache, kw_error *error, kw_cache_value *values,
                            const kw_cache_bytes *keys, size_t n);

/* Gives what a GET and a PTTL behind it have found (left_ms: -1 where nobody asked): the value, a
 * stale one, or none. Takes the reply over. */
kw_err kw_cache_give_read(kw_cache *cache, kw_error *error, kw_cache_value *value,
                          kw_tracked *found);

/* As kw_cache_give_read, of the answer to KW_LEASE_READ. */
kw_err kw_cache_give_answer(kw_cache *cache, kw_error *error, kw_cache_value *value,
                            kw_reply *reply);

/* True where what was found is simply to be given to a fetch. */
bool kw_cache_is_fresh(kw_cache *cache, const kw_tracked *found);

/* KW_ERR_SERVER, with the text of the reply, which it frees, and the effect that what was asked may
 * have had; NULL: a plain read. */
kw_err kw_cache_take_error(kw_error *error, const kw_lease_ask *asked, kw_reply *reply);

/* Reads the key so that it may be near from now on; true where there is a value that is simply to
 * be given. Only where there is near. */
bool kw_cache_get_fresh(kw_cache *cache, kw_cache_value *value, kw_bytes key, uint64_t deadline_ns);

kw_err kw_cache_do_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                         const kw_cache_loader *loader);
kw_err kw_cache_do_put(kw_cache *cache, kw_error *error, kw_bytes key, kw_bytes value);
kw_err kw_cache_do_forget(kw_cache *cache, kw_error *error, kw_bytes key);

#endif
