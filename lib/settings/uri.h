/* SPDX-License-Identifier: BSD-3-Clause */
/* URI: which servers, which topology, and options in the query. */
#ifndef SETTINGS_URI_H
#define SETTINGS_URI_H

#include <keyway/error.h>

#include "settings/options.h"

/* Reads uri over options: servers are replaced, options of the query set. On failure
 * options may be half changed (the caller works on a copy); error names what is wrong and
 * where, never with the user or password. */
kw_err kw_uri_read(kw_options *options, kw_error *error, const kw_allocator *mem, const char *uri);

/* Reads one member of a ring, written as in a URI. On success kw_member_fini. */
kw_err kw_uri_read_member(kw_member *member, kw_error *error, const kw_allocator *mem,
                          const char *text);

#endif
