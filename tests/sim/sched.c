/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks on stacks of their own, the order in which they run, and events by virtual time. */
#include "sim/sched.h"

#include "sim/fiber.h"

#include "sim/chance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first moment of every run. */
#define BEGIN_NS (1000 * SIM_S)

/* A run is to end by then, and to get on: so many switches, and basic blocks, at one moment are
 * a circle. */
#define END_NS     (BEGIN_NS + 900 * SIM_S)
#define CIRCLE     2000000u
#define BLOCKS_MAX ((uint64_t)200000000)

typedef enum task_state { FREE, READY, RUNNING, PARKED } task_state;

typedef struct task {
    sim_fiber fiber;
    task_state state;
    const char *name;
    void (*fn)(void *arg);
    void *arg;
    uint64_t parks_n;
    bool is_woken;
    int error; /* errno */
    int locks_n;
    uint64_t blocks_n;
} task;

typedef struct event {
    uint64_t at_ns;
    uint32_t order; /* of events at one moment: by chance */
    sim_fn fn;
    void *arg;
    uint64_t value;
} event;

static struct {
    task tasks[SIM_TASKS];
    sim_fiber home;
    unsigned current;
    unsigned ready[SIM_TASKS];
    unsigned ready_n;
    unsigned live_n;
    event *events;
    size_t events_n;
    size_t events_max;
    uint64_t now_ns;
    uint64_t same_n;   /* switches since time went on */
    uint64_t blocks_n; /* since time went on */
    sim_mix mix;
    sim_chance order;
    sim_chance world;
    uint64_t mark;
    bool is_read;
    char *failure;
    size_t failure_len;
} sim = {.current = SIM_NOBODY};

/* Until the next switch between two basic blocks: counted down by each of them. */
static unsigned blocks_left;
static unsigned blocks_given;

uint64_t sim_now(void)
{
    return sim.now_ns;
}

unsigned sim_self(void)
{
    return sim.current;
}

unsigned sim_ready_n(void)
{
    return sim.ready_n;
}

uint64_t sim_random(uint64_t bound)
{
    return sim_chance_below(&sim.world, bound);
}

uint64_t sim_between(uint64_t least, uint64_t most)
{
    return least + sim_random(most - least + 1);
}

bool sim_one_in(unsigned n)
{
    return n > 0 && sim_random(n) == 0;
}

void sim_mix_in(uint64_t value)
{
    sim.mark = (sim.mark ^ value) * 0x9e3779b97f4a7c15u;
    sim.mark ^= sim.mark >> 29;
}

uint64_t sim_mark(void)
{
    return sim.mark;
}

void sim_say_to(bool is_read)
{
    sim.is_read = is_read;
}

void sim_fail_to(char *text, size_t len)
{
    sim.failure = text;
    sim.failure_len = len;
}

static void say_line(const char *format, va_list args)
{
    uint64_t us = (sim.now_ns - BEGIN_NS) / SIM_US;
    unsigned self = sim.current;
    fprintf(stderr, "%5lu.%06lu %-9s ", (unsigned long)(us / 1000000),
            (unsigned long)(us % 1000000), self < SIM_TASKS ? sim.tasks[self].name : "");
    if (self < SIM_TASKS) {
        fprintf(stderr, "%2u  ", self);
    } else {
        fputs("    ", stderr);
    }
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void sim_say(const char *format, ...)
{
    if (!sim.is_read) {
        return;
    }
    va_list args;
    va_start(args, format);
    say_line(format, args);
    va_end(args);
}

void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (sim.failure != NULL) {
        vsnprintf(sim.failure, sim.failure_len, format, args);
        sim_say("WRONG: %s", sim.failure);
    } else {
        say_line(format, args);
    }
    va_end(args);
    fflush(stderr);
    _exit(3);
}

/* Events: a heap, the first one at 0. */

static bool is_before(const event *a, const event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_at(uint64_t at_ns, sim_fn fn, void *arg, uint64_t value)
{
    if (sim.events_n == sim.events_max) {
        sim.events_max = sim.events_max > 0 ? 2 * sim.events_max : 1024;
        sim.events = realloc(sim.events, sim.events_max * sizeof(sim.events[0]));
        if (sim.events == NULL) {
            sim_fail("the simulator has no memory");
        }
    }
    at_ns = at_ns > sim.now_ns ? at_ns : sim.now_ns;
    event fresh = {at_ns, (uint32_t)sim_chance_next(&sim.order), fn, arg, value};
    size_t at = sim.events_n++;
    while (at > 0 && is_before(&fresh, &sim.events[(at - 1) / 2])) {
        sim.events[at] = sim.events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim.events[at] = fresh;
}

static event take_event(void)
{
    event first = sim.events[0];
    event last = sim.events[--sim.events_n];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < sim.events_n && is_before(&sim.events[child + 1], &sim.events[child])) {
            child++;
        }
        if (child >= sim.events_n || !is_before(&sim.events[child], &last)) {
            break;
        }
        sim.events[at] = sim.events[child];
        at = child;
    }
    if (sim.events_n > 0) {
        sim.events[at] = last;
    }
    return first;
}

/* Tasks. */

/* Where work takes time, the clock goes on after so many blocks. */
#define CHARGED 64u

static void charge(unsigned blocks_n)
{
    sim.tasks[sim.current].blocks_n += blocks_n;
    sim.now_ns += (uint64_t)blocks_n * sim.mix.block_ns;
}

static void set_pace(void)
{
    unsigned mean = sim.mix.blocks_n;
    blocks_given = mean == 0 ? 1u << 20 : 1 + (unsigned)sim_chance_below(&sim.order, 2 * mean);
    blocks_given = sim.mix.block_ns > 0 ? CHARGED : blocks_given;
    blocks_left = blocks_given;
}

static void make_ready(unsigned at)
{
    sim.tasks[at].state = READY;
    sim.ready[sim.ready_n++] = at;
}

static void run_event(void)
{
    event next = take_event();
    if (next.at_ns > sim.now_ns) {
        sim.now_ns = next.at_ns;
        sim.same_n = 0;
        sim.blocks_n = 0;
    }
    if (sim.now_ns > END_NS) {
        sim_fail("the run has no end: %u tasks are left", sim.live_n);
    }
    next.fn(next.arg, next.value);
}

/* The task that goes on, behind the events that come before it; SIM_NOBODY: all have ended. */
static unsigned next_task(void)
{
    while (sim.live_n > 0) {
        bool has_event = sim.events_n > 0;
        bool is_due = has_event && sim.events[0].at_ns <= sim.now_ns;
        if (sim.ready_n > 0 && !(is_due && sim_chance_below(&sim.order, 2) == 0)) {
            unsigned at = (unsigned)sim_chance_below(&sim.order, sim.ready_n);
            unsigned chosen = sim.ready[at];
            sim.ready[at] = sim.ready[--sim.ready_n];
            return chosen;
        }
        if (!has_event) {
            sim_fail("%u tasks wait for each other, for ever", sim.live_n);
        }
        run_event();
    }
    return SIM_NOBODY;
}

/* From that stack, which may be its own. */
static void switch_to(unsigned at, sim_fiber *from)
{
    task *next = &sim.tasks[at];
    sim.current = at;
    next->state = RUNNING;
    set_pace();
    sim_mix_in(at ^ next->blocks_n << 8);
    sim.same_n++;
    if (from != &next->fiber) {
        sim_fiber_switch(from, &next->fiber, false);
    }
}

/* To whoever is next, and in time here again. What happens meanwhile happens on this stack, but for
 * one that has ended, which may be another task's at any time. */
static void leave(void)
{
    task *self = &sim.tasks[sim.current];
    if (sim.same_n > CIRCLE) {
        sim_fail("nothing gets on: %u tasks are busy, and no time passes", sim.ready_n);
    }
    self->error = errno;
    charge(blocks_given - blocks_left);
    blocks_given = blocks_left;
    sim.current = SIM_NOBODY;
    if (self->state == FREE) {
        sim_fiber_switch(&self->fiber, &sim.home, true);
    }
    switch_to(next_task(), &self->fiber);
    errno = self->error;
}

static void run_task(void *arg)
{
    task *self = arg;
    self->fn(self->arg);
    if (self->locks_n != 0) {
        sim_fail("a thread ends with %d locks", self->locks_n);
    }
    self->state = FREE;
    sim.live_n--;
    leave();
}

unsigned sim_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
    for (unsigned i = 0; i < SIM_TASKS; i++) {
        task *fresh = &sim.tasks[i];
        if (fresh->state == FREE) {
            fresh->name = name;
            fresh->fn = fn;
            fresh->arg = arg;
            fresh->locks_n = 0;
            fresh->blocks_n = 0;
            fresh->error = 0;
            sim_fiber_begin(&fresh->fiber, run_task, fresh);
            sim.live_n++;
            make_ready(i);
            return i;
        }
    }
    return SIM_NOBODY;
}

void sim_sched_alone(void)
{
    for (unsigned i = 0; i < SIM_TASKS; i++) {
        sim.tasks[i].state = i == sim.current ? RUNNING : FREE;
    }
    sim.live_n = 1;
    sim.ready_n = 0;
}

void sim_sched_run(void)
{
    for (unsigned at = next_task(); at != SIM_NOBODY; at = next_task()) {
        switch_to(at, &sim.home);
    }
}

/* Nobody else could run, and nothing happens now. */
static bool is_alone(void)
{
    return sim.ready_n == 0 && (sim.events_n == 0 || sim.events[0].at_ns > sim.now_ns);
}

void sim_pass(void)
{
    if (sim.current < SIM_TASKS && !(is_alone() && sim.same_n++ < CIRCLE)) {
        make_ready(sim.current);
        leave();
    }
}

void sim_point(void)
{
    if (sim.current < SIM_TASKS && !is_alone() &&
        sim_chance_below(&sim.order, sim.mix.switch_in) == 0) {
        sim_pass();
    }
}

static void on_time(void *arg, uint64_t parks_n)
{
    task *self = arg;
    if (self->state == PARKED && self->parks_n == parks_n) {
        self->is_woken = false;
        make_ready((unsigned)(self - sim.tasks));
    }
}

bool sim_park(uint64_t until_ns)
{
    task *self = &sim.tasks[sim.current];
    if (until_ns <= sim.now_ns) {
        sim_pass();
        return false;
    }
    if (sim.mix.spurious > 0 && sim_chance_below(&sim.order, sim.mix.spurious) == 0) {
        sim_pass();
        return true;
    }
    self->state = PARKED;
    self->parks_n++;
    if (until_ns != SIM_NEVER) {
        sim_at(until_ns, on_time, self, self->parks_n);
    }
    leave();
    return self->is_woken;
}

sim_tasks sim_self_bit(void)
{
    return (sim_tasks)1 << sim.current;
}

void sim_wake(sim_tasks tasks)
{
    for (unsigned i = 0; tasks != 0; i++, tasks >>= 1) {
        if ((tasks & 1) != 0 && sim.tasks[i].state == PARKED) {
            sim.tasks[i].is_woken = true;
            make_ready(i);
        }
    }
}

void sim_wake_one(sim_tasks *tasks)
{
    unsigned n = (unsigned)__builtin_popcountll(*tasks);
    if (n == 0) {
        return;
    }
    unsigned skip = (unsigned)sim_chance_below(&sim.order, n);
    sim_tasks rest = *tasks;
    while (skip-- > 0) {
        rest &= rest - 1;
    }
    sim_tasks chosen = rest & (~rest + 1);
    *tasks &= ~chosen;
    sim_wake(chosen);
}

void sim_count_lock(int n)
{
    if (sim.current < SIM_TASKS) {
        sim.tasks[sim.current].locks_n += n;
    }
}

int sim_locks_n(void)
{
    return sim.current < SIM_TASKS ? sim.tasks[sim.current].locks_n : 0;
}

uint64_t sim_blocks(void)
{
    return sim.current < SIM_TASKS ? sim.tasks[sim.current].blocks_n + (blocks_given - blocks_left)
                                   : 0;
}

/* What the compiler puts before each basic block of the library (-fsanitize-coverage=trace-pc). */
void __sanitizer_cov_trace_pc(void);

/* Far from all the others: this is what runs between two switches. */
static __attribute__((noinline, cold)) void on_blocks(void)
{
    if (sim.current == SIM_NOBODY) {
        set_pace();
        return;
    }
    charge(blocks_given);
    sim.blocks_n += blocks_given;
    if (sim.blocks_n > BLOCKS_MAX) {
        sim_fail("work without an end: %lu basic blocks, and no time passes",
                 (unsigned long)sim.blocks_n);
    }
    set_pace();
    if (sim.mix.blocks_n > 0) {
        sim_pass();
    }
}

void __sanitizer_cov_trace_pc(void)
{
    if (__builtin_expect(--blocks_left == 0, 0)) {
        on_blocks();
    }
}

void sim_sched_begin(const sim_mix *mix)
{
    sim.mix = *mix;
    sim.mix.switch_in = mix->switch_in > 0 ? mix->switch_in : 1;
    sim.now_ns = BEGIN_NS;
    sim.same_n = 0;
    sim.blocks_n = 0;
    sim.events_n = 0;
    sim.mark = mix->seed;
    sim.order.state = mix->seed ^ 0x5ced;
    sim.world.state = mix->seed;
    set_pace();
}

void sim_sched_end(void)
{
    sim.events_n = 0;
}
