/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports for real servers: free ones, which no other test takes while the server is down either. */
#ifndef SUPPORT_PORT_H
#define SUPPORT_PORT_H

#include <stdint.h>

/* The bus of a cluster's node is so far above its port. */
enum { KW_TEST_BUS_OFFSET = 10000 };

/* A port and its bus port. Zeros: none. */
typedef struct kw_test_port {
    uint16_t number;
    int guards[2]; /* sockets of another protocol, bound to the two: who looks for a port sees them
                    */
} kw_test_port;

/* A port that is free, together with its bus port. Stops the program where there is none. */
void kw_test_port_take(kw_test_port *port);

/* Others may have it; none is left alone. */
void kw_test_port_give(kw_test_port *port);

/* Descriptors that ports keep open. */
int kw_test_port_fds(void);

#endif
