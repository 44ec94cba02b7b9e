/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader layout: is the hiredis in this process the one that keyway was compiled for? A program
 * may carry another copy, whose functions then take the place of the library's. */
#ifndef BASE_READER_LAYOUT_H
#define BASE_READER_LAYOUT_H

#include <keyway/error.h>

/* Parses two small replies and looks at what hiredis does with its structs. KW_ERR_UNSUPPORTED
 * where they are others than those of the headers; KW_ERR_NOMEM. Any thread. */
kw_err kw_reader_layout_check(kw_error *error);

#endif
