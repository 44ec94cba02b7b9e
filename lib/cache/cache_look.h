/* SPDX-License-Identifier: BSD-3-Clause */
/* Look: what the server has of a key for somebody who would load it, and the lease where it is
 * free. */
#ifndef CACHE_CACHE_LOOK_H
#define CACHE_CACHE_LOOK_H

#include "cache/cache.h"

/* One key that is wanted, by one call. */
typedef struct kw_cache_look {
    kw_cache *cache;
    kw_bytes key;
    kw_buf name; /* of its lease */
    char space[256];
    kw_lease_token token; /* of this call */
    uint64_t deadline_ns;
    kw_blob *old;          /* what the server has, a reference; NULL: nothing */
    bool is_over;          /* its ttl is over */
    kw_lease_token holder; /* of KW_LOOK_TAKEN */
} kw_cache_look;

typedef enum kw_look_result {
    KW_LOOK_VALUE, /* old may be given */
    KW_LOOK_NONE,  /* there is none, and that is known */
    KW_LOOK_LEASE, /* the caller loads; old may be given where that fails */
    KW_LOOK_TAKEN, /* somebody else loads, and nothing may be given meanwhile */
    KW_LOOK_AWAY,  /* no server answers; error says why */
    KW_LOOK_WRONG  /* the call cannot go on; error says why */
} kw_look_result;

/* False where there is no memory. */
bool kw_cache_look_init(kw_cache_look *look, kw_cache *cache, kw_bytes key);
void kw_cache_look_fini(kw_cache_look *look);

/* Looks anew, and takes the lease where that is called for. */
kw_look_result kw_cache_look_run(kw_cache_look *look, kw_error *error);

/* Tells the lease of this call something: KW_LEASE_EXTEND, KW_LEASE_RELEASE. What comes of it is
 * not waited for twice. */
void kw_cache_look_tell(kw_cache_look *look, kw_lease_act act);

#endif
