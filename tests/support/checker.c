/* SPDX-License-Identifier: BSD-3-Clause */
/* The checker's threads: begun, stopped, counted, and judged. */
#include "support/checker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/checker_parts.h"

/* Looks are the start, each take and each mark. */
enum { KEEN_MS = 500 };

/* A call may end this long after its deadline, besides what the machine adds. */
#define LATE_US 50000u

unsigned kw_checker_group(unsigned slot)
{
    return slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2;
}

void kw_checker_accuse(kw_checker *checker, kw_checker_sin sin, uint64_t n, const char *format, ...)
{
    char text[240];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    pthread_mutex_lock(&checker->lock);
    kw_checker_report *report = &checker->report;
    uint64_t *counts[] = {&report->wrong, &report->doubled, &report->lost, &report->late};
    static const char *const names[] = {"wrong", "doubled", "lost", "late"};
    size_t len = strlen(report->story);
    if (*counts[sin] == 0) {
        snprintf(report->story + len, sizeof(report->story) - len, "%s: %s; ", names[sin], text);
    }
    *counts[sin] += n;
    pthread_mutex_unlock(&checker->lock);
}

static unsigned bin_of(uint64_t us)
{
    unsigned power = 0;
    while (us >> power >= 16) {
        power++;
    }
    unsigned bin = power * 8 + (unsigned)(us >> power);
    return bin < KW_CHECKER_BINS ? bin : KW_CHECKER_BINS - 1;
}

/* The least latency that is not in the bin any more. */
static uint64_t bin_end_us(unsigned bin)
{
    unsigned power = bin < 16 ? 0 : bin / 8 - 1;
    return ((uint64_t)(bin - power * 8) + 1) << power;
}

static void count_answer(kw_checker *checker, unsigned group, uint64_t start_ns, uint64_t end_ns)
{
    uint64_t mark_ns = atomic_load(&checker->mark_ns);
    atomic_fetch_add(&checker->answered[group], 1);
    atomic_fetch_add(&checker->bins[group][bin_of((end_ns - start_ns) / 1000)], 1);
    if (mark_ns != 0 && start_ns >= mark_ns) {
        uint_fast64_t none = 0;
        atomic_compare_exchange_strong(&checker->first_ns[group], &none, end_ns);
    }
}

static void count_failure(kw_checker_thread *self, const kw_error *error)
{
    kw_checker *checker = self->checker;
    pthread_mutex_lock(&checker->lock);
    kw_checker_report *report = &checker->report;
    size_t len = strlen(report->story);
    if (report->failed_none + report->failed_maybe + report->failed_done == 0) {
        snprintf(report->story + len, sizeof(report->story) - len, "failed (%s): %.200s; ",
                 kw_effect_name(error->effect), error->text);
    }
    report->failed_none += error->effect == KW_EFFECT_NONE;
    report->failed_maybe += error->effect == KW_EFFECT_MAYBE;
    report->failed_done += error->effect == KW_EFFECT_DONE;
    if (self->is_long) {
        report->failed_long++;
        report->failed_long_certain += error->effect != KW_EFFECT_MAYBE;
    }
    pthread_mutex_unlock(&checker->lock);
}

static void judge_time(kw_checker *checker, uint64_t spent_us, uint64_t timeout_ms,
                       const char *command)
{
    if (spent_us <= timeout_ms * 1000) {
        return;
    }
    uint64_t over_us = spent_us - timeout_ms * 1000;
    pthread_mutex_lock(&checker->lock);
    if (over_us > checker->report.late_worst_us) {
        checker->report.late_worst_us = over_us;
    }
    pthread_mutex_unlock(&checker->lock);
    if (over_us > LATE_US + 2 * atomic_load(&checker->tardy_us)) {
        kw_checker_accuse(checker, KW_SIN_LATE, 1, "%s ended %lu us past its deadline of %lu ms",
                          command, (unsigned long)over_us, (unsigned long)timeout_ms);
    }
}

kw_reply *kw_checker_run(kw_checker_thread *self, kw_effect *effect, unsigned group, int argc,
                         const char **argv)
{
    kw_checker *checker = self->checker;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    kw_error error = KW_ERROR_INIT;
    size_t lens[8];
    for (int i = 0; i < argc; i++) {
        lens[i] = strlen(argv[i]);
    }
    options.timeout_ms = checker->setup.timeout_ms[self->is_long ? 1 : 0];
    uint64_t start_ns = kw_test_now_ns();
    kw_reply *reply = checker->setup.call != NULL
                          ? checker->setup.call(checker->setup.arg, self->number, checker->client,
                                                &error, &options, argc, argv, lens)
                          : kw_call(checker->client, &error, &options, (kw_argv){argc, argv, lens});
    uint64_t end_ns = kw_test_now_ns();
    judge_time(checker, (end_ns - start_ns) / 1000, options.timeout_ms, argv[0]);
    pthread_mutex_lock(&checker->lock);
    checker->report.calls++;
    pthread_mutex_unlock(&checker->lock);
    if (reply == NULL) {
        *effect = error.effect;
        count_failure(self, &error);
    } else {
        count_answer(checker, group, start_ns, end_ns);
    }
    return reply;
}

static void *watch(void *arg)
{
    kw_checker *checker = arg;
    while (!atomic_load(&checker->is_ending)) {
        uint64_t start_ns = kw_test_now_ns();
        kw_test_sleep_ms(5);
        uint64_t spent_us = (kw_test_now_ns() - start_ns) / 1000;
        uint64_t tardy_us = spent_us > 5000 ? spent_us - 5000 : 0;
        if (tardy_us > atomic_load(&checker->tardy_us)) {
            atomic_store(&checker->tardy_us, tardy_us);
        }
    }
    return NULL;
}

/* The test looks at what happens from now on. */
static void look(kw_checker *checker)
{
    atomic_store(&checker->keen_until_ms, kw_test_now_ms() + KEEN_MS);
}

/* Between two calls of a thread: little near what the test looks at, more while it waits for
 * servers to agree; many threads take little more of the machine than few. */
static unsigned pause_ms(kw_checker *checker)
{
    bool is_keen = kw_test_now_ms() < atomic_load(&checker->keen_until_ms);
    return is_keen ? 1 + checker->setup.threads_n / 16 : 10 + checker->setup.threads_n / 2;
}

static void *work(void *arg)
{
    kw_checker_thread *self = arg;
    while (!atomic_load(&self->checker->is_ending)) {
        unsigned sweeps_n = atomic_load(&self->checker->sweeps_n);
        if (atomic_load(&self->swept_n) != sweeps_n) {
            kw_checker_read_all(self);
            atomic_store(&self->swept_n, sweeps_n);
        }
        kw_checker_turn(self);
        kw_test_sleep_ms(pause_ms(self->checker));
    }
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    if (pthread_create(thread, NULL, run, arg) != 0) {
        kw_test_die("no thread");
    }
}

kw_checker *kw_checker_start(kw_client *client, const kw_checker_setup *setup)
{
    kw_checker *checker = calloc(1, sizeof(*checker));
    kw_checker_thread *threads = calloc(setup->threads_n, sizeof(*threads));
    if (checker == NULL || threads == NULL) {
        kw_test_die("no memory");
    }
    checker->client = client;
    checker->setup = *setup;
    checker->threads = threads;
    pthread_mutex_init(&checker->lock, NULL);
    uint64_t seed = kw_test_seed("checker");
    for (unsigned i = 0; i < setup->threads_n; i++) {
        threads[i].checker = checker;
        threads[i].number = i;
        threads[i].random = seed * 31 + i;
        threads[i].group = i % (KW_CHECKER_GROUPS + 1);
        threads[i].is_long = i / (KW_CHECKER_GROUPS + 1) % 2 == 1;
    }
    kw_checker_name_keys(checker);
    look(checker);
    start_thread(&checker->watcher, watch, checker);
    for (unsigned i = 0; i < setup->threads_n; i++) {
        start_thread(&threads[i].thread, work, &threads[i]);
    }
    return checker;
}

void kw_checker_take(kw_checker *checker, kw_checker_report *report)
{
    pthread_mutex_lock(&checker->lock);
    *report = checker->report;
    memset(&checker->report, 0, sizeof(checker->report));
    pthread_mutex_unlock(&checker->lock);
    report->tardy_us = atomic_exchange(&checker->tardy_us, 0);
    look(checker);
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        for (unsigned bin = 0; bin < KW_CHECKER_BINS; bin++) {
            atomic_store(&checker->bins[group][bin], 0);
        }
    }
}

void kw_checker_sweep(kw_checker *checker)
{
    unsigned sweep = atomic_fetch_add(&checker->sweeps_n, 1) + 1;
    for (unsigned i = 0; i < checker->setup.threads_n; i++) {
        KW_TEST_AWAIT(atomic_load(&checker->threads[i].swept_n) == sweep)
    }
}

void kw_checker_stop(kw_checker *checker, kw_checker_report *report)
{
    atomic_store(&checker->is_ending, true);
    for (unsigned i = 0; i < checker->setup.threads_n; i++) {
        kw_test_join(checker->threads[i].thread);
    }
    kw_test_join(checker->watcher);
    for (unsigned i = 0; i < checker->setup.threads_n; i++) {
        kw_checker_read_all(&checker->threads[i]);
    }
    kw_checker_read_shared(checker);
    kw_checker_take(checker, report);
    pthread_mutex_destroy(&checker->lock);
    free(checker->threads);
    free(checker);
}

void kw_checker_mark(kw_checker *checker)
{
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        atomic_store(&checker->first_ns[group], 0);
    }
    atomic_store(&checker->mark_ns, kw_test_now_ns());
    look(checker);
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        atomic_store(&checker->first_ns[group], 0);
    }
}

uint64_t kw_checker_first_ns(kw_checker *checker, unsigned group)
{
    return atomic_load(&checker->first_ns[group]);
}

uint64_t kw_checker_answered(kw_checker *checker, unsigned group)
{
    return atomic_load(&checker->answered[group]);
}

uint64_t kw_checker_p99_us(kw_checker *checker, unsigned group, uint64_t *calls)
{
    uint64_t total = 0;
    uint64_t above = 0;
    for (unsigned bin = 0; bin < KW_CHECKER_BINS; bin++) {
        total += atomic_load(&checker->bins[group][bin]);
    }
    if (calls != NULL) {
        *calls = total;
    }
    unsigned bin = KW_CHECKER_BINS;
    while (bin > 0 && above * 100 <= total) {
        above += atomic_load(&checker->bins[group][--bin]);
    }
    return bin_end_us(bin);
}

void kw_checker_print(const char *what, const kw_checker_report *report)
{
    fprintf(stderr,
            "%s: %lu calls; failed: %lu none, %lu maybe, %lu done; %lu wrong, %lu doubled, %lu "
            "lost, %lu late; latest %lu us past a deadline, machine late by %lu us. %s\n",
            what, (unsigned long)report->calls, (unsigned long)report->failed_none,
            (unsigned long)report->failed_maybe, (unsigned long)report->failed_done,
            (unsigned long)report->wrong, (unsigned long)report->doubled,
            (unsigned long)report->lost, (unsigned long)report->late,
            (unsigned long)report->late_worst_us, (unsigned long)report->tardy_us, report->story);
}
