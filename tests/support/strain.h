/* SPDX-License-Identifier: BSD-3-Clause */
/* A transport under strain: the system's sockets, with delays around every call, writes of one
 * byte, sockets that take nothing, and connections that break; and a count of the calls. */
#ifndef SUPPORT_STRAIN_H
#define SUPPORT_STRAIN_H

#include "net/transport.h"

#include <stdatomic.h>

typedef enum kw_test_syscall {
    KW_TEST_OPEN,
    KW_TEST_SEND,
    KW_TEST_RECV,
    KW_TEST_POLL,
    KW_TEST_SHUTDOWN,
    KW_TEST_CLOSE,
    KW_TEST_SYSCALLS_N
} kw_test_syscall;

/* Called around every call, in the thread that makes it; may sleep. */
typedef void (*kw_test_strain_fn)(void *arg, kw_test_syscall what, bool is_after);

/* All numbers may be changed while it is used. */
typedef struct kw_test_strain {
    kw_transport transport;          /* for kw_env.transport */
    _Atomic(kw_test_strain_fn) hook; /* or NULL; set behind its argument */
    _Atomic(void *) hook_arg;
    /* Of a thousand calls, so many .. */
    atomic_uint delay_permille; /* are late, before or after what they do */
    atomic_uint short_permille; /* sends take one byte */
    atomic_uint full_permille;  /* sends take nothing */
    atomic_uint break_permille; /* opens, sends, recvs and polls find the connection lost */
    atomic_size_t room;         /* bytes that sends take from now on; SIZE_MAX: no limit */
    atomic_ulong break_at;      /* the nth open, send, recv or poll finds it lost; 0: none */
    atomic_ulong calls_n;       /* of those so far */
    atomic_ulong counts[KW_TEST_SYSCALLS_N];
    atomic_uint_fast64_t random;
} kw_test_strain;

void kw_test_strain_init(kw_test_strain *strain, uint64_t seed);

/* A number below bound, and perhaps a delay: for a thread of the test. */
unsigned kw_test_strain_below(kw_test_strain *strain, unsigned bound);
void kw_test_strain_delay(kw_test_strain *strain);

/* Calls of that kind so far. */
unsigned long kw_test_strain_count(kw_test_strain *strain, kw_test_syscall what);

#endif
