/* SPDX-License-Identifier: BSD-3-Clause */
/* An endpoint: where a server listens. */
#ifndef BASE_ENDPOINT_H
#define BASE_ENDPOINT_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

#define KW_HOST_MAX 255

/* A host name or numeric address and a port; or the path of a Unix socket and
 * port 0. An IPv6 address is kept without brackets. */
typedef struct kw_endpoint {
    char host[KW_HOST_MAX + 1];
    uint16_t port;
} kw_endpoint;

/* Takes a host of 1 to 255 bytes without control bytes, spaces, quotes or '@', and
 * port 1 to 65535 (0 for a path that begins with '/'). False, with nothing
 * written, for anything else. */
bool kw_endpoint_set(kw_endpoint *endpoint, kw_bytes host, uint64_t port);

/* Reads "host:port", split at the last colon, and "[v6]:port". False, with
 * nothing written, for anything else. */
bool kw_endpoint_parse(kw_endpoint *endpoint, kw_bytes text);

/* Fills in for an endpoint that is not known yet: "name@whom", for people to read, cut where it is
 * too long. Nobody can dial it, since no endpoint has an '@'. */
void kw_endpoint_set_unknown(kw_endpoint *endpoint, const char *name, const char *whom);
bool kw_endpoint_has_no_place(const kw_endpoint *endpoint); /* of port 0 */
static inline bool kw_endpoint_is_unknown(const kw_endpoint *endpoint)
{
    return endpoint->port == 0 && kw_endpoint_has_no_place(endpoint);
}

bool kw_endpoint_equal(const kw_endpoint *a, const kw_endpoint *b);

/* "host:port", with brackets around an IPv6 address, or the path. Longest result:
 * KW_ENDPOINT_TEXT bytes with the zero byte. Returns out. */
#define KW_ENDPOINT_TEXT (4 * KW_HOST_MAX + 10)
char *kw_endpoint_text(char out[KW_ENDPOINT_TEXT], const kw_endpoint *endpoint);

#endif
