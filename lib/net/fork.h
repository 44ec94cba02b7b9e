/* SPDX-License-Identifier: BSD-3-Clause */
/* Fork: knowing, without a system call, that this is a child of the process that
 * opened the handle. */
#ifndef NET_FORK_H
#define NET_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct kw_fork {
    volatile char *page; /* memory that the kernel zeroes in a child; NULL where it cannot */
    pid_t pid;           /* of the process that opened the handle */
} kw_fork;

void kw_fork_init(kw_fork *self);
void kw_fork_fini(kw_fork *self);

/* kw_fork_has_happened where the kernel cannot wipe a page. */
bool kw_fork_is_other_process(const kw_fork *self);

/* True in a child process. Any thread. */
static inline bool kw_fork_has_happened(const kw_fork *self)
{
    return self->page != NULL ? *self->page == 0 : kw_fork_is_other_process(self);
}

#endif
