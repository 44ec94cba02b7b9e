/* SPDX-License-Identifier: BSD-3-Clause */
/* Far: a relay to a server, through which everything takes its time, in both directions. Connects
 * to it succeed at once, as those to a proxy that is near do. */
#ifndef SUPPORT_FAR_H
#define SUPPORT_FAR_H

#include <stdint.h>

typedef struct kw_test_far kw_test_far;

/* Listens on a free loopback port, and passes each connection on to port; each byte arrives
 * trip_ms / 2 later. */
kw_test_far *kw_test_far_start(uint16_t port, unsigned trip_ms);

/* Ends all connections. NULL is allowed. */
void kw_test_far_free(kw_test_far *far);

/* "127.0.0.1:40001". Borrowed. */
const char *kw_test_far_address(const kw_test_far *far);

#endif
