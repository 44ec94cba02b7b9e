/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads of a test that begin together, how late the machine wakes them meanwhile, and
 * the times that they measured. */
#ifndef SUPPORT_CREW_H
#define SUPPORT_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What each thread does; number is from 0. Must not use cmocka's assertions. */
typedef void (*kw_test_crew_fn)(void *arg, unsigned number);

typedef struct kw_test_crew kw_test_crew;

/* Starts the threads; none runs before all are there. */
kw_test_crew *kw_test_crew_start(unsigned threads_n, kw_test_crew_fn fn, void *arg);

/* Waits for their ends, and frees the crew. The most by which this machine woke a thread
 * too late since the start, and what so many threads may take from one another, in
 * microseconds. */
uint64_t kw_test_crew_join(kw_test_crew *crew);

/* Both. */
uint64_t kw_test_crew_run(unsigned threads_n, kw_test_crew_fn fn, void *arg);

/* Times in microseconds, written by many threads. */
typedef struct kw_test_times kw_test_times;

kw_test_times *kw_test_times_new(void);
void kw_test_times_free(kw_test_times *times);
void kw_test_times_add(kw_test_times *times, uint64_t us);
size_t kw_test_times_count(kw_test_times *times);

/* The time that so many of a thousand do not exceed (500: the median, 1000: the most); 0
 * where there is none. */
uint64_t kw_test_times_at(kw_test_times *times, unsigned permille);

/* By how much deadlines were missed: true where one was by more than 50 ms and what the
 * machine adds, which is then printed with the name. */
bool kw_test_times_are_late(kw_test_times *over, const char *name, uint64_t tardy_us);

#endif
