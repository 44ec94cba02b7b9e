/* SPDX-License-Identifier: BSD-3-Clause */
/* Read preference: which servers reads go to, and the names of zones. */
#ifndef ENGINE_READ_PREFERENCE_H
#define ENGINE_READ_PREFERENCE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* Which servers reads go to. */
typedef enum kw_read_preference {
    KW_READ_OF_PRIMARY,
    KW_READ_OF_PREFERRED_REPLICA, /* a replica; the primary where none will do */
    KW_READ_OF_REPLICA,           /* a replica, and nobody else */
    KW_READ_OF_NEAREST,           /* whoever answers soonest */
    KW_READ_OF_ZONE               /* one of that zone; else as PREFERRED_REPLICA */
} kw_read_preference;

/* A zone's name, short enough to be compared at every read; never 0. */
uint64_t kw_zone_hash(kw_bytes name);

/* Reads "primary", "prefer-replica", "replica", "nearest" or "zone:name"; false, with nothing
 * written, for anything else. */
bool kw_read_preference_parse(kw_read_preference *read, uint64_t *zone, kw_bytes text);

#endif
