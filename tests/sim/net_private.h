/* SPDX-License-Identifier: BSD-3-Clause */
/* What descriptors ask of the streams behind them. */
#ifndef SIM_NET_PRIVATE_H
#define SIM_NET_PRIVATE_H

#include "sim/net.h"

sim_socket *sim_socket_new(void);
int sim_socket_dial(sim_socket *socket, uint32_t ip, uint16_t port);
short sim_socket_events(const sim_socket *socket, short wanted);
ssize_t sim_socket_send(sim_socket *socket, const char *data, size_t len);
ssize_t sim_socket_recv(sim_socket *socket, char *data, size_t len);
void sim_socket_shut(sim_socket *socket);
void sim_socket_close(sim_socket *socket);
void sim_socket_break(sim_socket *socket, int error);

/* Something has changed: whoever waits for the socket looks again. */
void sim_net_tell(sim_socket *socket);

/* The pollers that watch the socket. */
void sim_fds_tell(const sim_socket *socket);
void sim_fds_begin(void);

#endif
