/* SPDX-License-Identifier: BSD-3-Clause */
/* Meter: an allocator that knows how many bytes are held by it. For one thread. */
#ifndef SUPPORT_METER_H
#define SUPPORT_METER_H

#include <keyway.h>

#include <stddef.h>

typedef struct kw_test_meter {
    size_t len;      /* held now */
    size_t most_len; /* and at most */
} kw_test_meter;

/* Allocates by it; it stays where it is as long as the allocator is in use. */
kw_allocator kw_test_meter_allocator(kw_test_meter *meter);

#endif
