/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of a cache: their names, defaults and limits, read from one text. */
#ifndef CACHE_CACHE_OPTIONS_H
#define CACHE_CACHE_OPTIONS_H

#include <keyway/error.h>

#include "base/bytes.h"

typedef struct kw_cache_options {
    uint64_t ttl_ms;            /* of a value; 0: no end */
    uint64_t ttl_jitter;        /* per cent that a life may be shorter */
    uint64_t stale_ms;          /* behind ttl, in which a value is served while one loads anew */
    uint64_t stale_if_error_ms; /* behind ttl, in which a value is served where loading fails */
    uint64_t negative_ttl_ms;   /* of "there is none" */
    uint64_t lease_ms;          /* for which one caller has a key to load */
    uint64_t loads_max;         /* at a time, in this process */
    uint64_t near_bytes;        /* of values in this process' memory; 0: none */
    uint64_t near_ttl_ms;       /* life of one */
    uint64_t near_staleness_ms; /* how old it may be */
    uint64_t early;             /* beta of XFetch, in per cent; 0: never early */
} kw_cache_options;

/* The defaults, then "name=value&name=value" (NULL: none of them). KW_ERR_CONFIG names the option
 * and what is wrong with it. */
kw_err kw_cache_options_read(kw_cache_options *options, kw_error *error, const char *text);

/* What a value lives longer on the server than ttl says, to be served stale. */
static inline uint64_t kw_cache_options_extra_ms(const kw_cache_options *options)
{
    return options->stale_ms > options->stale_if_error_ms ? options->stale_ms
                                                          : options->stale_if_error_ms;
}

#endif
