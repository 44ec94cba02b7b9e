/* SPDX-License-Identifier: BSD-3-Clause */
/* Load guard: a connection that watches a key (WATCH) while its value is loaded, so that what was
 * loaded is stored only where nobody has written the key meanwhile, not even there and back. */
#ifndef CACHE_LOAD_GUARD_H
#define CACHE_LOAD_GUARD_H

#include "cache/cache.h"
#include "drive/session_private.h"

typedef struct kw_load_guard {
    kw_session session;
    bool is_open;
} kw_load_guard;

/* Takes a connection to the key's primary, and watches the key from now on. Failure: is_open is
 * false, and error says why. */
kw_err kw_load_guard_open(kw_load_guard *guard, kw_cache *cache, kw_error *error, kw_bytes key,
                          uint64_t deadline_ns);

/* Does what ask says (FILL or NONE) where the key is as it was. *is_stored: it did. */
kw_err kw_load_guard_fill(kw_load_guard *guard, bool *is_stored, kw_error *error,
                          const kw_lease_ask *ask);

/* Gives the connection back. */
void kw_load_guard_close(kw_load_guard *guard);

#endif
