/* SPDX-License-Identifier: BSD-3-Clause */
/* A narrow way to a server: small socket buffers, and while bytes of the server wait to be
 * read by the client, nothing is read of what the client sends. A client that writes
 * without reading comes to a stand here. */
#ifndef SUPPORT_RELAY_H
#define SUPPORT_RELAY_H

#include <stdint.h>

typedef struct kw_test_relay kw_test_relay;

/* Listens on a free loopback port and passes each connection on to port, with a thread for
 * each. */
kw_test_relay *kw_test_relay_start(uint16_t port);

/* Ends all connections. NULL is allowed. */
void kw_test_relay_free(kw_test_relay *relay);

/* "127.0.0.1:40001". Borrowed. */
const char *kw_test_relay_address(const kw_test_relay *relay);

#endif
