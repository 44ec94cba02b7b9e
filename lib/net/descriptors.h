/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors: the open sockets of a handle, in memory that a forked child can read
 * whatever its parent's other threads were doing. */
#ifndef NET_DESCRIPTORS_H
#define NET_DESCRIPTORS_H

#include "base/memory.h"

#include <stdatomic.h>
#include <stdbool.h>

#define KW_DESCRIPTORS_BLOCK 64

typedef struct kw_descriptors_block kw_descriptors_block;
struct kw_descriptors_block {
    _Atomic(kw_descriptors_block *) next;     /* set once, never freed before fini */
    atomic_int sockets[KW_DESCRIPTORS_BLOCK]; /* socket + 1; 0 is free */
};

typedef struct kw_descriptors {
    kw_descriptors_block first;
} kw_descriptors;

void kw_descriptors_init(kw_descriptors *self);
void kw_descriptors_fini(kw_descriptors *self, const kw_allocator *mem);

/* False when there is no memory to remember the socket. Any thread. */
bool kw_descriptors_add(kw_descriptors *self, const kw_allocator *mem, int socket);

/* Remembers what a system call that opens a descriptor gave. The descriptor, closed where there is
 * no memory; or the negative errno. Any thread. */
int kw_descriptors_keep(kw_descriptors *self, const kw_allocator *mem, int fd);

/* False where the socket is not there: it is closed already. Any thread. */
bool kw_descriptors_remove(kw_descriptors *self, int socket);

/* Calls close_fn for every socket and forgets it. For a forked child. */
void kw_descriptors_close_all(kw_descriptors *self, void (*close_fn)(void *arg, int socket),
                              void *arg);

#endif
