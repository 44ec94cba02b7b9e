/* SPDX-License-Identifier: BSD-3-Clause */
/* URI: what its two sources share, uri.c and uri_member.c, which reads the members of a ring. */
#ifndef SETTINGS_URI_PRIVATE_H
#define SETTINGS_URI_PRIVATE_H

#include <keyway/error.h>

#include "settings/option_table.h"
#include "settings/options.h"

/* Where in the URI an error is. */
typedef struct kw_uri_reader {
    kw_options *options;
    kw_error *error;
    const kw_allocator *mem;
    const char *what; /* "URI" or "member", for error texts */
    const char *uri;
    bool has_seen[KW_OPTIONS_MAX]; /* options that the URI has had, by rows of the table */
} kw_uri_reader;

kw_err kw_uri_wrong(const kw_uri_reader *self, const char *at, const char *what);

/* Undoes %HH into new memory (*text, the caller's). */
kw_err kw_uri_decode(const kw_uri_reader *self, kw_bytes *text, kw_bytes part);

/* "host", "host:port", "[v6]", "[v6]:port". */
kw_err kw_uri_read_server(const kw_uri_reader *self, kw_endpoint *server, kw_bytes text);

/* The members of a ring, separated by commas, in place of those that the options have. */
kw_err kw_uri_read_members(const kw_uri_reader *self, kw_bytes members);

#endif
