/* SPDX-License-Identifier: BSD-3-Clause */
/* A checker: threads that load a handle with calls whose right answers they know, while
 * the servers are disturbed. It notices a reply of another command, a command that ran
 * twice, an acknowledged write that is gone, and a call that ends too late.
 *
 * Of four threads three use one group of slots each and one uses all.
 * Each thread has keys of its own, so it knows what every reply must be:
 *   n:{T.I.S}           INCR: the last value + 1, or more by at most the INCRs whose effect
 *                      was reported as maybe and that no reply has shown yet
 *   v:{T.I.S}           SET and GET of "key T number": the last number acknowledged, or one
 *                      whose effect was reported as maybe
 *   m:{T.I.S}:a, :b, :c  MSET and MGET of one number: all three equal, checked likewise
 * Counters shared by all threads (s:{J.S}) must end between the INCRs acknowledged and
 * those plus the maybes. */
#ifndef SUPPORT_CHECKER_H
#define SUPPORT_CHECKER_H

#include <keyway/command.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kw_checker kw_checker;

#define KW_CHECKER_THREADS_MAX 64
#define KW_CHECKER_GROUPS      3 /* a third of the slots each, as a new cluster shares them */

/* As kw_call, with the thread's number; for tests of the checker itself. */
typedef kw_reply *(*kw_checker_call)(void *arg, unsigned thread, kw_client *client, kw_error *error,
                                     const kw_call_options *options, int argc, const char **argv,
                                     const size_t *argvlen);

typedef struct kw_checker_setup {
    unsigned threads_n;
    uint64_t timeout_ms[2]; /* of the first four threads, the next four, and so on */
    kw_checker_call call;   /* NULL: kw_call */
    void *arg;
} kw_checker_setup;

typedef struct kw_checker_report {
    uint64_t calls;
    uint64_t failed_none; /* calls without a reply, by effect */
    uint64_t failed_maybe;
    uint64_t failed_done;
    uint64_t failed_long;         /* of the threads with odd numbers, any effect */
    uint64_t failed_long_certain; /* of those, with another effect than maybe */
    uint64_t wrong;               /* replies that no order of events explains */
    uint64_t doubled;             /* runs beyond the calls made and the maybes */
    uint64_t lost;                /* acknowledged writes that are gone */
    uint64_t late;                /* calls that ended later than allowed past their deadline */
    uint64_t late_worst_us;       /* the latest end past a deadline */
    uint64_t tardy_us;            /* how late this machine wakes a thread, at worst */
    char story[600];              /* the first of each of these, for people */
} kw_checker_report;

/* Starts the threads. The handle stays the caller's. */
kw_checker *kw_checker_start(kw_client *client, const kw_checker_setup *setup);

/* What was noticed since the last call of this; the figures start anew. */
void kw_checker_take(kw_checker *checker, kw_checker_report *report);

/* Waits until each thread has read all that it wrote: what is lost by now is noticed. Where calls
 * are answered. */
void kw_checker_sweep(kw_checker *checker);

/* One line about the report, for people. */
void kw_checker_print(const char *what, const kw_checker_report *report);

/* Ends the threads, reads every key once more and compares, and writes the report.
 * Frees the checker. */
void kw_checker_stop(kw_checker *checker, kw_checker_report *report);

/* Group of the slot. */
unsigned kw_checker_group(unsigned slot);

/* When the first call of the group that began after kw_checker_mark was answered; 0: not
 * yet. */
void kw_checker_mark(kw_checker *checker);
uint64_t kw_checker_first_ns(kw_checker *checker, unsigned group);

/* Answered calls of the group since the start. */
uint64_t kw_checker_answered(kw_checker *checker, unsigned group);

/* Latency that a hundredth of the group's answered calls exceeded since the last
 * kw_checker_take, in microseconds (to an eighth); calls is their number or NULL. */
uint64_t kw_checker_p99_us(kw_checker *checker, unsigned group, uint64_t *calls);

#endif
