/* Plain replies, read without a detour: strings, statuses, errors, integers, nils and arrays
 * of these, whole in one piece of memory. */
#ifndef NET_READER_PLAIN_H
#define NET_READER_PLAIN_H

#include "net/reader.h"

/* The reply that begins at data, the caller's to free; *used: its bytes. NULL where it is not
 * whole, or not plain, or over the limits, or where there is no memory: hiredis reads it then,
 * and says what is wrong with it. */
kw_reply *kw_reader_plain(const kw_allocator *mem, size_t *used, const kw_reader_limits *limits,
                          const char *data, size_t len);

#endif
