/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader limits: how large a reply may be. */
#ifndef BASE_READER_LIMITS_H
#define BASE_READER_LIMITS_H

#include "base/reader.h"

/* Of the reply that is being read. */
kw_reader_limits kw_reader_limits_of(const kw_reader *reader);

#endif
