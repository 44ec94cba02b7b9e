/* SPDX-License-Identifier: BSD-3-Clause */
/* MD5, RFC 1321: for compatible placements, never for security. */
#ifndef ROUTE_HASH_MD5_H
#define ROUTE_HASH_MD5_H

#include <stddef.h>
#include <stdint.h>

/* The digest of len bytes as its four words; written little-endian, one after the
 * other, they are the 16 bytes of the digest. */
void kw_md5(uint32_t digest[4], const char *data, size_t len);

#endif
