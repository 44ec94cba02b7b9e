/* SPDX-License-Identifier: BSD-3-Clause */
/* Config: options by name and URI, checked where they are set. */
#ifndef API_CONFIG_H
#define API_CONFIG_H

#include <keyway/config.h>

#include "settings/host.h"
#include "settings/options.h"

struct kw_config {
    kw_host host;
    kw_options options;
};

#endif
