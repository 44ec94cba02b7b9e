/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader limits: how large a reply may be. */
#ifndef NET_READER_LIMITS_H
#define NET_READER_LIMITS_H

#include "net/reader.h"

/* What one reply may be. */
typedef struct kw_reader_limits {
    uint64_t bytes;
    uint64_t items;
    uint64_t depth;
} kw_reader_limits;

/* Of the reply that is being read. */
kw_reader_limits kw_reader_limits_of(const kw_reader *reader);

#endif
