/* SPDX-License-Identifier: BSD-3-Clause */
/* Sched: virtual time, and the tasks of one run, of which one runs at a time. Where a task can be
 * left for another is the seed's to say: at each lock, wait and system call of the library, and
 * between any two of its basic blocks. */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H

#include <keyway/export.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_US     ((uint64_t)1000)
#define SIM_MS     ((uint64_t)1000000)
#define SIM_S      ((uint64_t)1000000000)
#define SIM_NEVER  UINT64_MAX
#define SIM_TASKS  64 /* one bit each in a sim_tasks */
#define SIM_NOBODY SIM_TASKS

/* A set of tasks that wait for one thing. */
typedef uint64_t sim_tasks;

typedef void (*sim_fn)(void *arg, uint64_t value);

/* How the tasks of a run are mixed. */
typedef struct sim_mix {
    uint64_t seed;
    unsigned switch_in; /* one in so many schedule points lets another task run */
    unsigned blocks_n;  /* basic blocks of the library between two switches, about; 0: none */
    unsigned spurious;  /* one in so many waits ends for no reason; 0: none */
    unsigned block_ns;  /* what a basic block takes; 0: work takes no time */
} sim_mix;

/* Nothing is left of the run before. */
void sim_sched_begin(const sim_mix *mix);

/* Runs tasks and events until all tasks have ended. */
void sim_sched_run(void);

/* What is left of events is forgotten. */
void sim_sched_end(void);

uint64_t sim_now(void);

/* A number below bound, for what happens in the world; for the schedule there is a row of numbers
 * of its own. */
uint64_t sim_random(uint64_t bound);
uint64_t sim_between(uint64_t least, uint64_t most);
bool sim_one_in(unsigned n);

/* Calls fn at that time, in nobody's task. */
void sim_at(uint64_t at_ns, sim_fn fn, void *arg, uint64_t value);

/* A new task, which runs some time. name is a literal. */
unsigned sim_spawn(const char *name, void (*fn)(void *arg), void *arg);

/* All other tasks are no more: this is another process. What happens in the world goes on. */
void sim_sched_alone(void);

/* SIM_NOBODY outside of tasks. */
unsigned sim_self(void);

/* How many tasks could run now. */
unsigned sim_ready_n(void);

/* The task may be left for another one. */
void sim_point(void);

/* Lets others run first. */
void sim_pass(void);

/* Waits to be woken. False where the time has come first. */
bool sim_park(uint64_t until_ns);

/* The task as a set, to be kept where it waits. */
sim_tasks sim_self_bit(void);

/* Wakes all of them. */
void sim_wake(sim_tasks tasks);

/* Wakes one of them, by chance, and takes it out. */
void sim_wake_one(sim_tasks *tasks);

/* One more or one less lock is held by the task. */
void sim_count_lock(int n);
int sim_locks_n(void);

/* Basic blocks of the library that the task has run. */
uint64_t sim_blocks(void);

/* The run is wrong: says so, and ends the process. */
_Noreturn void sim_fail(const char *format, ...) KW_FORMAT(1, 2);

/* One line of the trace, where somebody reads it. */
void sim_say(const char *format, ...) KW_FORMAT(1, 2);
void sim_say_to(bool is_read);

/* Where sim_fail writes, of that many bytes. */
void sim_fail_to(char *text, size_t len);

/* All that has happened so far, as one number: equal for equal seeds. */
uint64_t sim_mark(void);
void sim_mix_in(uint64_t value);

#endif
