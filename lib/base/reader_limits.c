/* SPDX-License-Identifier: BSD-3-Clause */
/* How large a reply may be: to a caller's command, and to the library's own question. */
#include "base/reader_limits.h"

/* Limits of answers to the library's own questions (HELLO, CLUSTER SLOTS), where options allow
 * replies less than that. */
#define OWN_BYTES_MAX ((uint64_t)4 * 1024 * 1024)
#define OWN_ITEMS_MAX ((uint64_t)1000000)
#define OWN_DEPTH_MAX ((uint64_t)7)

static uint64_t at_least(uint64_t limit, uint64_t floor)
{
    return limit > floor ? limit : floor;
}

kw_reader_limits kw_reader_own_limits(const kw_reader *reader)
{
    kw_reader_limits limits = reader->limits;
    limits.bytes = at_least(limits.bytes, OWN_BYTES_MAX);
    limits.items = at_least(limits.items, OWN_ITEMS_MAX);
    limits.depth = at_least(limits.depth, OWN_DEPTH_MAX);
    return limits;
}
