/* SPDX-License-Identifier: BSD-3-Clause */
/* Config: options by name and URI, checked where they are set. */
#ifndef API_CONFIG_H
#define API_CONFIG_H

#include <keyway/config.h>
#include <keyway/event.h>

#include "base/options.h"

struct kw_config {
    kw_allocator mem;
    kw_options options;
    kw_log_level log_level;
    kw_log_fn log;
    void *log_arg;
    kw_event_fn event; /* NULL: none */
    void *event_arg;
    kw_clock_fn clock; /* NULL: the system's */
    void *clock_arg;
};

/* Copies all of options with memory of mem; false (and nothing written) when there
 * is none. kw_options_fini frees what a copy or a config holds. */
bool kw_options_copy(kw_options *copy, const kw_options *options, const kw_allocator *mem);
void kw_options_fini(kw_options *options, const kw_allocator *mem);

#endif
