/* SPDX-License-Identifier: BSD-3-Clause */
/* Switches between stacks: by a few instructions where the machine is x86-64, elsewhere by setjmp;
 * by ucontext, whose signal masks cost a system call each time, only where a fiber begins or
 * AddressSanitizer watches. */
#undef _FORTIFY_SOURCE /* a longjmp to another stack is what is wanted */
#include "sim/fiber.h"

#include "sim/arena.h"

#include <stdint.h>
#include <string.h>

#define STACK_LEN ((size_t)512 * 1024)

#if defined(SIM_HAS_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

static sim_fiber *starting;

#if defined(SIM_HAS_ASAN)

/* Who was left last: its stack is told to whoever runs next. */
static sim_fiber *left;

static void arrive(sim_fiber *self)
{
    const void *bottom;
    size_t len;
    __sanitizer_finish_switch_fiber(self->shadow, &bottom, &len);
    if (left->stack == NULL) { /* the program's own stack */
        left->stack = (char *)(uintptr_t)bottom;
        left->stack_len = len;
    }
}

static void enter(void)
{
    sim_fiber *self = starting;
    self->shadow = NULL;
    arrive(self);
    self->fn(self->arg);
}

void sim_fiber_switch(sim_fiber *from, sim_fiber *to, bool is_over)
{
    left = from;
    starting = to;
    __sanitizer_start_switch_fiber(is_over ? NULL : &from->shadow, to->stack, to->stack_len);
    swapcontext(&from->context, &to->context);
    arrive(from);
}

#elif defined(SIM_HAS_JUMP)

/* Leaves the registers that a call keeps on the stack that is left, whose end is *from then, and
 * takes those of the other one. */
void sim_fiber_jump(void **from, void *to);
__asm__(".text\n"
        ".globl sim_fiber_jump\n"
        ".type sim_fiber_jump, @function\n"
        "sim_fiber_jump:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size sim_fiber_jump, . - sim_fiber_jump\n");

/* What sim_fiber_jump takes from a stack, below which enter() begins as if it were called. */
#define KEPT_N 6

static void enter(void)
{
    sim_fiber *self = starting;
    self->fn(self->arg);
}

void sim_fiber_switch(sim_fiber *from, sim_fiber *to, bool is_over)
{
    (void)is_over;
    if (to->stack != NULL && !to->is_begun) {
        void **top = (void **)(void *)(to->stack + to->stack_len) - 3;
        top[0] = NULL; /* enter() returns to nobody */
        top[-1] = (void *)(uintptr_t)enter;
        memset(top - 1 - KEPT_N, 0, KEPT_N * sizeof(top[0]));
        to->top = top - 1 - KEPT_N;
        to->is_begun = true;
        starting = to;
    }
    sim_fiber_jump(&from->top, to->top);
}

#else

static void enter(void)
{
    sim_fiber *self = starting;
    self->fn(self->arg);
}

void sim_fiber_switch(sim_fiber *from, sim_fiber *to, bool is_over)
{
    (void)is_over;
    if (_setjmp(from->point) != 0) {
        return;
    }
    if (to->stack == NULL || to->is_begun) {
        _longjmp(to->point, 1);
    }
    to->is_begun = true;
    starting = to;
    setcontext(&to->context);
}

#endif

void sim_fiber_begin(sim_fiber *fiber, void (*fn)(void *arg), void *arg)
{
    if (fiber->stack == NULL) {
        static unsigned stacks_n;
        fiber->stack = sim_map_at(SIM_STACK_AT + 2 * STACK_LEN * stacks_n++, STACK_LEN);
        fiber->stack_len = STACK_LEN;
    }
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->is_begun = false;
#if !defined(SIM_HAS_JUMP)
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = fiber->stack_len;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, enter, 0);
#endif
}
