/* SPDX-License-Identifier: BSD-3-Clause */
/* Node rules: which addresses of servers are believed when somebody else than the settings names
 * them. */
#ifndef ROUTE_NODE_RULES_H
#define ROUTE_NODE_RULES_H

#include "base/bytes.h"
#include "base/endpoint.h"

#include <stdbool.h>
#include <stddef.h>

/* One entry: a network, or the end of a host name. */
typedef struct kw_node_rule {
    bool is_network;
    unsigned bits;              /* of a network, in the form of IPv6 */
    unsigned char network[16];  /* an IPv4 address is ::ffff:a.b.c.d */
    char name[KW_HOST_MAX + 1]; /* ".example.com": names that end so; "example.com": that one */
} kw_node_rule;

/* Reads "10.0.0.0/8", "fd00::/8", "10.1.2.3", ".example.com" or "db1.example.com". False, with
 * nothing written, for anything else, and for a network with bits behind its prefix. */
bool kw_node_rule_parse(kw_node_rule *rule, kw_bytes text);

/* True where a rule has the host, or there are none. A name is not looked up: networks have
 * numeric addresses alone. */
bool kw_node_rules_allow(const kw_node_rule *rules, size_t rules_n, const kw_endpoint *endpoint);

#endif
