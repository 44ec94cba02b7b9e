/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and matches networks and ends of host names. */
#include "route/node_rules.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define ADDRESS_BITS 128u
#define V4_BITS      96u /* before an IPv4 address in the form of IPv6 */

/* A numeric address in the form of IPv6. *is_v4: it was written as IPv4. */
static bool read_address(unsigned char address[16], bool *is_v4, const char *text)
{
    static const unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    unsigned char v4[4];
    *is_v4 = inet_pton(AF_INET, text, v4) == 1;
    if (*is_v4) {
        memcpy(address, v4_prefix, sizeof(v4_prefix));
        memcpy(address + sizeof(v4_prefix), v4, sizeof(v4));
        return true;
    }
    return inet_pton(AF_INET6, text, address) == 1;
}

static bool has_prefix(const unsigned char *address, const unsigned char *network, unsigned bits)
{
    size_t whole = bits / 8;
    unsigned rest = bits % 8;
    unsigned mask = (0xff00u >> rest) & 0xffu;
    return memcmp(address, network, whole) == 0 &&
           (rest == 0 || ((address[whole] ^ network[whole]) & mask) == 0);
}

/* True where no bit behind the prefix is set. */
static bool is_plain_network(const kw_node_rule *rule)
{
    unsigned char plain[16] = {0};
    memcpy(plain, rule->network, rule->bits / 8);
    if (rule->bits % 8 != 0) {
        unsigned mask = (0xff00u >> (rule->bits % 8)) & 0xffu;
        plain[rule->bits / 8] = (unsigned char)(rule->network[rule->bits / 8] & mask);
    }
    return memcmp(plain, rule->network, sizeof(plain)) == 0;
}

bool kw_node_rule_parse(kw_node_rule *rule, kw_bytes text)
{
    kw_node_rule read;
    kw_bytes host = text;
    kw_bytes prefix = {NULL, 0};
    bool is_v4 = false;
    uint64_t bits = 0;
    memset(&read, 0, sizeof(read));
    bool has_prefix_len = kw_bytes_split(&host, &prefix, text, '/');
    if (host.len == 0 || host.len > KW_HOST_MAX || memchr(host.data, 0, host.len) != NULL) {
        return false;
    }
    memcpy(read.name, host.data, host.len);
    read.is_network = read_address(read.network, &is_v4, read.name);
    unsigned most = is_v4 ? ADDRESS_BITS - V4_BITS : ADDRESS_BITS;
    if (has_prefix_len && (!read.is_network || !kw_bytes_to_uint(&bits, prefix, most))) {
        return false;
    }
    read.bits = (has_prefix_len ? (unsigned)bits : most) + (is_v4 ? V4_BITS : 0);
    kw_endpoint endpoint;
    bool is_name = !read.is_network && host.data[0] != '/' && kw_endpoint_set(&endpoint, host, 1);
    if (read.is_network ? !is_plain_network(&read) : !is_name) {
        return false;
    }
    *rule = read;
    return true;
}

static bool has_name(const kw_node_rule *rule, const char *host)
{
    size_t len = strlen(host);
    size_t end_len = strlen(rule->name);
    if (rule->name[0] != '.') {
        return strcasecmp(host, rule->name) == 0;
    }
    return len > end_len && strcasecmp(host + len - end_len, rule->name) == 0;
}

bool kw_node_rules_allow(const kw_node_rule *rules, size_t rules_n, const kw_endpoint *endpoint)
{
    unsigned char address[16];
    bool is_v4;
    bool is_numeric = read_address(address, &is_v4, endpoint->host);
    for (size_t i = 0; i < rules_n; i++) {
        const kw_node_rule *rule = &rules[i];
        if (rule->is_network ? is_numeric && has_prefix(address, rule->network, rule->bits)
                             : !is_numeric && has_name(rule, endpoint->host)) {
            return true;
        }
    }
    return rules_n == 0;
}
