/* SPDX-License-Identifier: BSD-3-Clause */
/* Slot: from a key to its slot, inside the library. */
#ifndef ROUTE_SLOT_H
#define ROUTE_SLOT_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/slot.h>

#include "route/crc16.h"

/* Slot of the key, as kw_slot gives it. */
static inline uint16_t kw_slot_of(const char *key, size_t key_len)
{
    return kw_crc16_routed(key, key_len) % KW_SLOTS_N;
}

#endif
