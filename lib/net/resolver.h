/* SPDX-License-Identifier: BSD-3-Clause */
/* Resolver: the system's look-up of host names, which nobody waits for. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <keyway/config.h>

#include "net/address.h"

#include <stdint.h>

/* getaddrinfo cannot be told to give up. Where the host application allows threads
 * (option resolver=thread), each look-up runs in a short-lived one, which ends by itself, perhaps
 * after the handle; or the host looks names up by itself (kw_config_set_resolver). Who wants the
 * answer looks for it now and then; an answer that comes when nobody looks any more is the next
 * one's. At most KW_RESOLVER_LOOKUPS_MAX of a handle run at once, one for each name and port. */
#define KW_RESOLVER_LOOKUPS_MAX 8

typedef struct kw_resolver kw_resolver;

/* hosts: who looks names up; NULL: threads do. Memory is the C library's, since what was left
 * behind may outlive the host's allocator. NULL when there is none. */
kw_resolver *kw_resolver_new(kw_resolve_fn hosts, void *arg);

/* The handle is gone; look-ups that run end by themselves. Takes no lock: a forked child may do it.
 */
void kw_resolver_free(kw_resolver *resolver);

/* A look-up of the endpoint's host name: one that runs already, or that has ended since somebody
 * looked last, or a new one. The caller's until kw_lookup_unref. NULL, with KW_ERR_NOMEM or
 * KW_ERR_RESOLVE in error, where there can be none. Never waits. Any thread. */
kw_lookup *kw_resolver_begin(kw_resolver *resolver, kw_error *error, const kw_endpoint *endpoint);

/* Its answer: KW_OK, KW_ERR_RESOLVE with what is wrong, KW_ERR_TIMEOUT (without a text) while there
 * is none. Any thread. */
kw_err kw_lookup_take(kw_lookup *lookup, kw_addresses *addresses, kw_error *error);

void kw_lookup_unref(kw_lookup *lookup);

#endif
