/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader limits: how large a reply may be. */
#ifndef BASE_READER_LIMITS_H
#define BASE_READER_LIMITS_H

#include "base/reader.h"

/* Of an answer to the library's own question. */
kw_reader_limits kw_reader_own_limits(const kw_reader *reader);

/* Of the reply that is being read. */
static inline kw_reader_limits kw_reader_limits_of(const kw_reader *reader)
{
    return reader->is_internal ? kw_reader_own_limits(reader) : reader->limits;
}

#endif
