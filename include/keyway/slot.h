/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: from a key to its slot, without a connection.
 *
 *   unsigned slot = kw_slot("user:{123}:profile", 18);
 *   size_t tag_len;
 *   const char *tag = kw_hash_tag("user:{123}:profile", 18, &tag_len);
 *
 * The slot is 5970, that of "123", the tag. */
#ifndef KEYWAY_SLOT_H
#define KEYWAY_SLOT_H

#include <stddef.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Number of a cluster's slots, which are counted from 0. */
#define KW_SLOTS_N 16384

/* Slot of a key of key_len bytes, any (NULL only with 0): CRC16-XMODEM of the part between its
 * hash tag's braces, or of the whole key without a tag, modulo KW_SLOTS_N, as the Redis Cluster
 * specification says. The empty key has slot 0. Any thread. */
KW_API unsigned kw_slot(const char *key, size_t key_len);

/* Part of a key that is hashed, by the hash tag rule of the Redis Cluster specification: the bytes
 * between the first '{' and the first '}' behind it where there is at least one byte between, else
 * the whole key. Keys with equal tags share a slot. The result points into key and has *tag_len
 * bytes. Any thread. */
KW_API const char *kw_hash_tag(const char *key, size_t key_len, size_t *tag_len);

#ifdef __cplusplus
}
#endif

#endif
