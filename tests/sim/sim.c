/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs seed after seed in a child process; a seed that fails is made smaller, and shown. Settings
 * by the environment: SEED, RUNS, SECONDS, WORLD; JOBS children at once. */
#include "sim/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t clock, struct timespec *now);

/* What a run may take of real time: no run is that long. */
#define RUN_SECONDS 60u

/* Seeds that one child runs before the next one begins. */
#define BLOCK 2000u

/* What a child says. */
typedef struct report {
    uint64_t seed;
    bool is_over;
    char failure[512];
    sim_tally tally;
} report;

static report *shared;

static double now_s(void)
{
    struct timespec now;
    __real_clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A number from the environment. */
static uint64_t setting(const char *name, uint64_t other)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : other;
}

static sim_kind wanted_kind(void)
{
    const char *text = getenv("WORLD");
    for (int i = 0; text != NULL && i < SIM_KINDS_N; i++) {
        if (strcmp(text, sim_kind_name((sim_kind)i)) == 0) {
            return (sim_kind)i;
        }
    }
    return SIM_KINDS_N;
}

/* True where the plan is right. What is wrong is in shared->failure. */
static bool try_plan(const sim_plan *plan, bool shows)
{
    memset(shared, 0, sizeof(*shared));
    shared->seed = plan->seed;
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        alarm(RUN_SECONDS);
        sim_fail_to(shared->failure, sizeof(shared->failure));
        sim_say_to(shows);
        sim_run(plan);
        shared->is_over = true;
        fflush(stderr);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        snprintf(shared->failure, sizeof(shared->failure), "ended by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (!shared->is_over && shared->failure[0] == '\0') {
        snprintf(shared->failure, sizeof(shared->failure), "ended with status %d",
                 WEXITSTATUS(status));
    }
    return shared->is_over;
}

/* Schedules of a smaller plan that are tried for the failure. */
#define TRIES 6u

/* True where the plan fails by one of some schedules, which it then has. */
static bool still_fails(sim_plan *plan)
{
    uint64_t seed = plan->mix.seed;
    for (unsigned i = 0; i < TRIES; i++) {
        plan->mix.seed = seed + i;
        if (!try_plan(plan, false)) {
            return true;
        }
    }
    plan->mix.seed = seed;
    return false;
}

static bool leave_out(sim_plan *plan, bool *part)
{
    if (*part) {
        return false;
    }
    *part = true;
    if (still_fails(plan)) {
        return true;
    }
    *part = false;
    return false;
}

/* Fewer callers, faults and commands, as long as something is wrong. */
static void shrink(sim_plan *plan)
{
    bool is_smaller = true;
    double end_s = now_s() + (double)setting("SHRINK_SECONDS", 30);
    while (is_smaller) {
        is_smaller = false;
        for (unsigned i = 0; i < plan->callers_n && now_s() < end_s; i++) {
            is_smaller = leave_out(plan, &plan->callers[i].is_off) || is_smaller;
        }
        for (unsigned i = 0; i < plan->faults_n && now_s() < end_s; i++) {
            is_smaller = leave_out(plan, &plan->faults[i].is_off) || is_smaller;
        }
        for (unsigned i = 0; i < plan->callers_n; i++) {
            const sim_caller *caller = &plan->callers[i];
            for (unsigned k = 0; k < caller->commands_n && !caller->is_off && now_s() < end_s;
                 k++) {
                bool *part = &plan->commands[caller->first + k].is_off;
                is_smaller = leave_out(plan, part) || is_smaller;
            }
        }
    }
}

static void show_failure(uint64_t seed, sim_kind kind)
{
    sim_plan plan;
    sim_plan_make(&plan, seed, kind);
    fprintf(stderr, "sim: seed %lu fails: %s\n", (unsigned long)seed, shared->failure);
    if (try_plan(&plan, false)) {
        fprintf(stderr, "sim: not alone: what went before it matters\n");
        return;
    }
    if (setting("SHRINK", 1) != 0) {
        shrink(&plan);
    }
    fprintf(stderr, "the least that fails:\n");
    sim_plan_show(&plan);
    (void)try_plan(&plan, true);
    fprintf(stderr, "sim: seed %lu: %s\n", (unsigned long)seed, shared->failure);
    fprintf(stderr, "again: make sim SEED=%lu RUNS=1%s%s\n", (unsigned long)seed,
            getenv("WORLD") != NULL ? " WORLD=" : "",
            getenv("WORLD") != NULL ? getenv("WORLD") : "");
}

/* A child that runs seeds, until the time is over or one is wrong. */
static void run_seeds(uint64_t first, uint64_t n, sim_kind kind, double end_s)
{
    sim_plan plan;
    sim_fail_to(shared->failure, sizeof(shared->failure));
    for (uint64_t seed = first; seed < first + n && now_s() < end_s; seed++) {
        shared->seed = seed;
        alarm(RUN_SECONDS);
        sim_plan_make(&plan, seed, kind);
        sim_run(&plan);
        shared->tally = sim_the_tally;
    }
    shared->is_over = true;
    _exit(0);
}

static void add(sim_tally *sum, const sim_tally *more)
{
    sum->runs_n += more->runs_n;
    sum->commands_n += more->commands_n;
    sum->answered_n += more->answered_n;
    sum->connects_n += more->connects_n;
    sum->virtual_s += more->virtual_s;
    for (int i = 0; i < 3; i++) {
        sum->failed_n[i] += more->failed_n[i];
    }
}

/* What the children have had of processors. */
static double worked_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void tell(const sim_tally *sum, double took_s)
{
    printf("sim: %lu runs (%.0f a second, %.0f a second of a processor), %lu commands, %lu "
           "answered, %lu failed with none, "
           "%lu maybe, %lu done; %lu connections, %lu hours\n",
           sum->runs_n, (double)sum->runs_n / took_s, (double)sum->runs_n / worked_s(),
           sum->commands_n, sum->answered_n, sum->failed_n[0], sum->failed_n[1], sum->failed_n[2],
           sum->connects_n, sum->virtual_s / 3600);
}

int main(void)
{
    sim_kind kind = wanted_kind();
    uint64_t first = setting("SEED", (uint64_t)time(NULL) * 1000);
    uint64_t runs_n = setting("RUNS", UINT64_MAX);
    double begin_s = now_s();
    double end_s = begin_s + (double)setting("SECONDS", runs_n == UINT64_MAX ? 20 : 86400);
    sim_tally sum = {0};
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("sim");
        return EXIT_FAILURE;
    }
    if (setting("HERE", 0) != 0) { /* for a debugger: in this process, and seen */
        sim_plan plan;
        sim_plan_make(&plan, first, kind);
        sim_say_to(true);
        sim_run(&plan);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "sim: seeds from %lu on\n", (unsigned long)first);
    while (runs_n > 0 && now_s() < end_s) {
        uint64_t n = runs_n < BLOCK ? runs_n : BLOCK;
        memset(shared, 0, sizeof(*shared));
        pid_t child = fork();
        if (child == 0) {
            run_seeds(first, n, kind, end_s);
        }
        int status = 0;
        (void)waitpid(child, &status, 0);
        add(&sum, &shared->tally);
        if (!shared->is_over) {
            if (shared->failure[0] == '\0') {
                snprintf(shared->failure, sizeof(shared->failure), "ended with status %d", status);
            }
            show_failure(shared->seed, kind);
            return EXIT_FAILURE;
        }
        first += n;
        runs_n -= n;
    }
    tell(&sum, now_s() - begin_s);
    return EXIT_SUCCESS;
}
