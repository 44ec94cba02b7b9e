/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/slow.h: whom to tell of slow calls; here, so that only programs that ask carry it. */
#include <keyway/slow.h>

#include "api/config.h"
#include "drive/observer.h"

void kw_config_set_slow_call(kw_config *config, kw_slow_call_fn slow, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.slow = slow;
    config->host.slow_arg = arg;
    config->host.observer = slow != NULL ? kw_observer_get() : NULL;
}
