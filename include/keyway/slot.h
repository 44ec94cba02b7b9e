/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: from a key to its slot, without a connection. */
#ifndef KEYWAY_SLOT_H
#define KEYWAY_SLOT_H

#include <stddef.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Slots of a cluster, numbered from 0. */
#define KW_SLOTS_N 16384

/* Slot of key (key_len bytes, any values; NULL only with 0): CRC16-XMODEM of the
 * routed part of the key modulo KW_SLOTS_N, as in the Redis Cluster specification.
 * The empty key has slot 0. Any thread. */
KW_API unsigned kw_slot(const char *key, size_t key_len);

/* The routed part of key, by the hash tag rule of the Redis Cluster specification:
 * the bytes between the first '{' and the first '}' behind it when there is at least
 * one, else the whole key. Keys with equal tags share a slot. Points into key, *tag_len
 * bytes. Any thread. */
KW_API const char *kw_hash_tag(const char *key, size_t key_len, size_t *tag_len);

#ifdef __cplusplus
}
#endif

#endif
