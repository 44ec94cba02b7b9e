/* SPDX-License-Identifier: BSD-3-Clause */
/* Role: what a server says of itself in its answer to ROLE, checked. */
#ifndef ROUTE_ROLE_H
#define ROUTE_ROLE_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/reply.h"

typedef enum kw_role_kind { KW_ROLE_PRIMARY, KW_ROLE_REPLICA, KW_ROLE_SENTINEL } kw_role_kind;

typedef struct kw_role {
    kw_role_kind kind;
    bool is_linked;   /* of a replica: it receives what its primary does */
    long long offset; /* of replication; -1 where a replica never was linked */
} kw_role;

/* KW_ERR_TOPOLOGY where the answer is none that a server gives; then *role is not
 * written. */
kw_err kw_role_read(kw_role *role, kw_error *error, const kw_reply *reply);

/* "primary", "replica" or "sentinel". */
const char *kw_role_name(kw_role_kind kind);

#endif
