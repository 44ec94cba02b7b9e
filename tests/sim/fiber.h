/* SPDX-License-Identifier: BSD-3-Clause */
/* Fiber: a stack of its own, and what is needed to go on there. */
#ifndef SIM_FIBER_H
#define SIM_FIBER_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_HAS_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SIM_HAS_ASAN
#endif

#if defined(__x86_64__) && defined(__ELF__) && !defined(SIM_HAS_ASAN)
#define SIM_HAS_JUMP
#endif

/* Zero at first; a stack is made once, and used again. */
typedef struct sim_fiber {
    ucontext_t context; /* where it begins; under a sanitizer, where it goes on, too */
    jmp_buf point;      /* where it goes on, .. */
    void *top;          /* .. or by a jump: the end of its stack, with its registers */
    bool is_begun;
    char *stack;
    size_t stack_len;
    void *shadow; /* AddressSanitizer's */
    void (*fn)(void *arg);
    void *arg;
} sim_fiber;

/* fn will run there, from its beginning; it does not return. */
void sim_fiber_begin(sim_fiber *fiber, void (*fn)(void *arg), void *arg);

/* Goes on at "to". is_over: "from" does not go on any more. */
void sim_fiber_switch(sim_fiber *from, sim_fiber *to, bool is_over);

#endif
