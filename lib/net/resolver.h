/* SPDX-License-Identifier: BSD-3-Clause */
/* Resolver: the system's look-up of host names, with an end. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "net/address.h"

#include <stdint.h>

/* getaddrinfo cannot be told to give up. Where the host application allows threads
 * (option resolver=thread), each look-up runs in a short-lived one, which is left behind
 * when its time is over and ends by itself, perhaps after the handle. At most
 * KW_RESOLVER_JOBS_MAX of a handle run at once. */
#define KW_RESOLVER_JOBS_MAX 8

typedef struct kw_resolver kw_resolver;

/* Memory is the C library's, since a thread that was left behind may outlive the host's
 * allocator. NULL when there is none. */
kw_resolver *kw_resolver_new(void);
void kw_resolver_unref(kw_resolver *resolver);

/* As kw_address_find for a host name; KW_ERR_RESOLVE also where the system does not answer
 * within wait_ns. Any thread. */
kw_err kw_resolver_find(kw_resolver *resolver, kw_addresses *addresses, kw_error *error,
                        const kw_endpoint *endpoint, uint64_t wait_ns);

#endif
