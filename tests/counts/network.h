/* SPDX-License-Identifier: BSD-3-Clause */
/* A network without a network, so that counts are the same in each run: the linker leads the
 * library's system calls here (--wrap), where they are counted, and a socket is one end of a pair
 * whose other end is answered before send() returns, as a cluster of primaries would. */
#ifndef COUNTS_NETWORK_H
#define COUNTS_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* System calls since counts_network_reset. */
typedef struct counts_calls {
    unsigned long sends;
    unsigned long receives;
    unsigned long polls; /* poll and epoll_wait */
    unsigned long others;
} counts_calls;

extern counts_calls counts_network;

void counts_network_reset(void);

/* Nothing waits: what would have waited so long in vain is added to the time (counts_open). */
extern uint64_t counts_network_slept_ns;

/* What the servers are: so many primaries with even shares of the slots, whose GET and MGET answer
 * values of value_len bytes. */
typedef struct counts_servers {
    unsigned nodes_n;
    size_t value_len;
    bool has_copies; /* values are records, as those on several copies are */
} counts_servers;

/* Three, with 32 bytes, to begin with. */
extern counts_servers counts_network_servers;

/* The third of them is gone: its connections end, and it refuses new ones. And it is back. */
void counts_network_kill(void);
void counts_network_revive(void);

#endif
