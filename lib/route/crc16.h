/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC16: the checksum behind slots, CRC16-XMODEM (polynomial 0x1021, initial value 0,
 * bits not reflected), Redis Cluster specification. */
#ifndef ROUTE_CRC16_H
#define ROUTE_CRC16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Row k: the checksums of each byte followed by k zero bytes. */
extern const uint16_t kw_crc16_table[16][256];

/* Checksum of the routed part of key, its hash tag or the whole key, the fastest way
 * this processor has. */
uint16_t kw_crc16_routed(const char *key, size_t key_len);

/* By tables, on every processor: of any bytes, and of the routed part of a key. */
uint16_t kw_crc16_portable(const char *data, size_t len);
uint16_t kw_crc16_routed_portable(const char *key, size_t key_len);

/* By carry-less multiplication; only to be called where has_clmul is true. */
bool kw_crc16_has_clmul(void);
uint16_t kw_crc16_clmul(const char *data, size_t len);
uint16_t kw_crc16_routed_clmul(const char *key, size_t key_len);

#endif
