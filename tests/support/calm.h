/* SPDX-License-Identifier: BSD-3-Clause */
/* The calm clock: real time without the moments in which this machine let the test wait. A thread
 * sleeps two milliseconds at a time; however late it is woken, the clock goes on by three at the
 * most, and by less where more threads want to run than there are processors. On an idle machine it
 * is the system's clock; beside busy programs it is slower, as the threads of the test and of the
 * library are, so that what they do within so many milliseconds stays the same.
 *
 * Once started it is the time of kw_test_now_ns, kw_test_now_ms and kw_test_sleep_ms, of fakes, and
 * of handles opened by kw_test_open and kw_test_try_open, or from settings of kw_test_config_new
 * (ask.h). */
#ifndef SUPPORT_CALM_H
#define SUPPORT_CALM_H

#include <keyway/config.h>

#include <stdbool.h>
#include <stdint.h>

/* Starts the clock, once for the program; before threads that look at it. The first fake does, and
 * the first server. A forked child goes on by the system's clock. */
void kw_test_calm_start(void);

bool kw_test_calm_is_on(void);

/* Descriptors that it keeps open. */
int kw_test_calm_fds(void);

/* The time: a kw_clock_fn. Only while it is on. */
uint64_t kw_test_calm_ns(void *arg);

/* So many milliseconds, or more where more programs are busy now than the other tests that run: for
 * the times of real servers, which go by the system's clock. */
unsigned kw_test_stretch_ms(unsigned ms);

/* For programs that measure: it is never started. */
void kw_test_calm_forbid(void);

#endif
