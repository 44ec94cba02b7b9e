/* SPDX-License-Identifier: BSD-3-Clause */
/* Transport: the few things that keyway asks of a socket, behind one interface, so
 * that a test can put itself in the place of the network. */
#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include "settings/options.h"
#include "net/address.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Every function gets arg first. Sockets are small numbers, 0 and up. What fails
 * gives the negative errno; a signal is no failure. */
typedef struct kw_transport {
    void *arg;
    /* A socket whose connect is under way, or done. */
    int (*open_fn)(void *arg, const kw_address *address, const kw_options *options);
    /* Why the connect failed, once poll has said so: the negative errno, never 0. */
    int (*error_fn)(void *arg, int socket);
    /* The connect has succeeded: from here on a recv that waits takes at most wait_ms. 0
     * or the negative errno. */
    int (*opened_fn)(void *arg, int socket, uint64_t wait_ms);
    /* Never waits: -EAGAIN when nothing fits, or while the connect is under way. Never
     * raises SIGPIPE. */
    ssize_t (*send_fn)(void *arg, int socket, const char *data, size_t len);
    /* 0 at the end of the stream; -EAGAIN when nothing came (within wait_ms, where it
     * waits). */
    ssize_t (*recv_fn)(void *arg, int socket, char *data, size_t len, bool waits);
    /* As poll; 0 also after a signal. */
    int (*poll_fn)(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms);
    /* Ends both directions: whoever waits for the socket wakes. */
    void (*shutdown_fn)(void *arg, int socket);
    /* Gives the number back; sends nothing. */
    void (*close_fn)(void *arg, int socket);
} kw_transport;

/* TCP and Unix sockets of the system. */
const kw_transport *kw_transport_sockets(void);

#endif
