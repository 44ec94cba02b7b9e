/* SPDX-License-Identifier: BSD-3-Clause */
/* Address: a host name or number becomes socket addresses. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/memory.h"

#include <sys/socket.h>

typedef struct kw_address {
    struct sockaddr_storage storage;
    socklen_t len;
} kw_address;

/* Addresses of one name that are tried at most. */
#define KW_ADDRESSES_MAX 8

/* In the order to try them. */
typedef struct kw_addresses {
    size_t n;
    kw_address at[KW_ADDRESSES_MAX];
} kw_addresses;

/* True for a host name, which only the system's resolver can turn into addresses. */
bool kw_address_is_name(const kw_endpoint *endpoint);

/* The address of an endpoint whose host is a number, an IPv6 one perhaps with a zone. False for a
 * name, and for a path. */
bool kw_address_parse(kw_address *address, const kw_endpoint *endpoint);

/* All addresses of the endpoint. Numbers and paths never leave the process; names go through
 * getaddrinfo, which takes as long as the system lets it. KW_ERR_RESOLVE, with an error that names
 * the host. */
kw_err kw_address_find(kw_addresses *addresses, kw_error *error, const kw_endpoint *endpoint);

#endif
