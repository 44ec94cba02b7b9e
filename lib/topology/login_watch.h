/* SPDX-License-Identifier: BSD-3-Clause */
/* Login watch: a login of the servers that changes, and the nodes that do not take it. */
#ifndef TOPOLOGY_LOGIN_WATCH_H
#define TOPOLOGY_LOGIN_WATCH_H

#include <keyway/error.h>

#include <stdint.h>

struct kw_topology;

/* The login from now on; nodes that refused the one before are tried at once. KW_ERR_NOMEM. Any
 * thread. */
kw_err kw_login_watch_set(struct kw_topology *topology, const char *user, const char *password);

/* Asks the host where its login is to be renewed, and tells it of nodes that refuse it. Waits for
 * the host alone. Any thread. */
void kw_login_watch_tend(struct kw_topology *topology, uint64_t now_ns);

#endif
