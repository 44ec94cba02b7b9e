/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum: what its sources share. */
#ifndef API_QUORUM_PRIVATE_H
#define API_QUORUM_PRIVATE_H

#include <keyway/quorum.h>

#include "api/client.h"
#include "api/quorum_carrier.h"
#include "api/quorum_exchanges.h"
#include "drive/version_clock.h"

struct kw_quorum {
    kw_client *client;
    kw_quorum_rule rule;
    kw_fork fork;
    kw_version_clock clock;
    kw_quorum_exchanges exchanges;
    kw_quorum_carrier carrier;
};

#endif
