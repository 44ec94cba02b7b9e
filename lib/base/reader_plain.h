/* SPDX-License-Identifier: BSD-3-Clause */
/* Plain replies, read without a detour: strings, statuses, errors, integers, nils and arrays
 * of these, whole in one piece of memory. */
#ifndef BASE_READER_PLAIN_H
#define BASE_READER_PLAIN_H

#include "base/reader.h"

/* The reply that the input begins with, the caller's to free, taken out of the input. NULL
 * where it is not whole, or not plain, or over the limits, or where there is no memory: hiredis
 * reads it then, and says what is wrong with it. */
kw_reply *kw_reader_plain(kw_reader *reader);

#endif
