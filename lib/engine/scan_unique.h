/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan unique: keys that were given, so that they are not given twice, in bounded memory. It is
 * exact: a key that it calls known was added, whatever hashes say. */
#ifndef ENGINE_SCAN_UNIQUE_H
#define ENGINE_SCAN_UNIQUE_H

#include "base/bytes.h"

typedef struct kw_scan_unique {
    const kw_allocator *mem;
    size_t bytes_max; /* memory at most; 0: it knows nothing */
    uint64_t seed;    /* so that nobody can choose keys that collide */
    kw_buf keys;      /* of each its length, 4 bytes, and itself */
    size_t *slots;    /* open addressing: where a key is in keys, and one; 0: free */
    size_t slots_n;   /* a power of two, or 0 */
    size_t n;
} kw_scan_unique;

void kw_scan_unique_init(kw_scan_unique *self, const kw_allocator *mem, size_t bytes_max,
                         uint64_t seed);
void kw_scan_unique_fini(kw_scan_unique *self);

/* True for a key that was not added before. It is added now, while there is room, or memory; what
 * does not fit is new each time. */
bool kw_scan_unique_is_new(kw_scan_unique *self, kw_bytes key);

#endif
