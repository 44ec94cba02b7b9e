/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/event.h: the host's callback for events. */
#include <keyway/event.h>

#include "api/config.h"
#include "topology/host_events.h"

void kw_config_set_event(kw_config *config, kw_event_fn event, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.event = event;
    config->host.event_arg = arg;
    config->host.event_part = &kw_host_events;
}
