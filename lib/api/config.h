/* SPDX-License-Identifier: BSD-3-Clause */
/* Config: options by name and URI, checked where they are set. */
#ifndef API_CONFIG_H
#define API_CONFIG_H

#include <keyway/config.h>
#include <keyway/event.h>

#include "settings/options.h"

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

#endif
