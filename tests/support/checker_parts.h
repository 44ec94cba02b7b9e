/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the checker share. */
#ifndef SUPPORT_CHECKER_PARTS_H
#define SUPPORT_CHECKER_PARTS_H

#include "support/checker.h"

#include <pthread.h>
#include <stdatomic.h>

#define KW_CHECKER_ITEMS  24 /* keys of each kind a thread has */
#define KW_CHECKER_SHARED 6  /* counters of all threads */
#define KW_CHECKER_MAYBES 64
#define KW_CHECKER_BINS   (40 * 8) /* of the latencies: 8 for each doubling */

/* Numbers written to one place, by what is known of them. */
typedef struct kw_checker_item {
    char key[3][40];
    unsigned group;
    long long acked;                     /* last number known to be there; 0: none */
    long long issued;                    /* last number sent */
    long long maybes[KW_CHECKER_MAYBES]; /* sent, and perhaps there one day */
    size_t maybes_n;
    long long unseen; /* of a counter: maybes that no reply has shown */
} kw_checker_item;

typedef struct kw_checker_thread {
    kw_checker *checker;
    pthread_t thread;
    unsigned number;
    unsigned group; /* of all its keys; KW_CHECKER_GROUPS: any */
    bool is_long;   /* has the longer deadline */
    uint64_t random;
    atomic_uint swept_n; /* sweeps that it has done */
    kw_checker_item counters[KW_CHECKER_ITEMS];
    kw_checker_item values[KW_CHECKER_ITEMS];
    kw_checker_item triples[KW_CHECKER_ITEMS];
} kw_checker_thread;

typedef struct kw_checker_shared {
    char key[40];
    unsigned group;
    atomic_llong acked;
    atomic_llong maybe;
} kw_checker_shared;

struct kw_checker {
    kw_client *client;
    kw_checker_setup setup;
    atomic_bool is_ending;
    atomic_uint sweeps_n; /* that were asked for */
    pthread_t watcher;    /* measures how late the machine wakes a thread */
    kw_checker_thread *threads;
    kw_checker_shared shared[KW_CHECKER_SHARED];
    pthread_mutex_t lock; /* guards report */
    kw_checker_report report;
    atomic_uint_fast64_t tardy_us;
    atomic_uint_fast64_t mark_ns;
    atomic_uint_fast64_t keen_until_ms; /* how long threads pause little between their calls */
    atomic_uint_fast64_t first_ns[KW_CHECKER_GROUPS];
    atomic_uint_fast64_t answered[KW_CHECKER_GROUPS];
    atomic_uint_fast64_t bins[KW_CHECKER_GROUPS][KW_CHECKER_BINS];
};

/* What a report counts. */
typedef enum kw_checker_sin {
    KW_SIN_WRONG,
    KW_SIN_DOUBLED,
    KW_SIN_LOST,
    KW_SIN_LATE
} kw_checker_sin;

void kw_checker_accuse(kw_checker *checker, kw_checker_sin sin, uint64_t n, const char *format, ...)
    KW_FORMAT(4, 5);

/* One call of the thread on the group, measured and counted. NULL with *effect where there
 * is no reply. */
kw_reply *kw_checker_run(kw_checker_thread *self, kw_effect *effect, unsigned group, int argc,
                         const char **argv);

/* One round of the thread's work: the calls on one item, or its last reading. */
void kw_checker_turn(kw_checker_thread *self);
void kw_checker_read_all(kw_checker_thread *self);
void kw_checker_read_shared(kw_checker *checker);
void kw_checker_name_keys(kw_checker *checker);

#endif
