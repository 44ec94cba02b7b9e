/* SPDX-License-Identifier: BSD-3-Clause */
/* A network without a network, so that counts are the same in each run: the linker leads the
 * library's system calls here (--wrap), where they are counted, and a socket is one end of a pair
 * whose other end is answered before send() returns, as a cluster of three primaries would. */
#ifndef COUNTS_NETWORK_H
#define COUNTS_NETWORK_H

/* System calls since counts_network_reset. */
typedef struct counts_calls {
    unsigned long sends;
    unsigned long receives;
    unsigned long polls; /* poll and epoll_wait */
    unsigned long others;
} counts_calls;

extern counts_calls counts_network;

void counts_network_reset(void);

/* Bytes of a value that GET and MGET answer. */
#define COUNTS_VALUE_LEN 32

#endif
