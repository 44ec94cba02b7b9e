/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader functions: how hiredis makes the objects of a reply. The functions' types
 * differ between hiredis versions; the differences end here. */
#ifndef BASE_READER_FUNCTIONS_H
#define BASE_READER_FUNCTIONS_H

#include "base/reader.h"

/* Constant; hiredis takes it as not const, and never writes it. privdata of the
 * redisReader must be the kw_reader. */
redisReplyObjectFunctions *kw_reader_functions(void);

/* True where hiredis reads RESP3: 1.0 and later. */
bool kw_reader_knows_resp3(void);

#endif
