/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs seed after seed in child processes; a seed that fails is made smaller, and shown. Settings
 * by the environment: SEED, RUNS, WORLD; SECONDS, or PROCESSOR_SECONDS of all children together;
 * JOBS children at once, else as many as there are processors. */
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
#define BLOCK 10000u

#define JOBS_MAX 16u

/* What a child says. */
typedef struct report {
    uint64_t seed;
    bool is_over;
    char failure[512];
    sim_tally tally;
} report;

static report *shared;

static double now_s(clockid_t clock)
{
    struct timespec now;
    __real_clock_gettime(clock, &now);
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
    double end_s = now_s(CLOCK_MONOTONIC) + (double)setting("SHRINK_SECONDS", 30);
    while (is_smaller) {
        is_smaller = false;
        for (unsigned i = 0; i < plan->callers_n && now_s(CLOCK_MONOTONIC) < end_s; i++) {
            is_smaller = leave_out(plan, &plan->callers[i].is_off) || is_smaller;
        }
        for (unsigned i = 0; i < plan->faults_n && now_s(CLOCK_MONOTONIC) < end_s; i++) {
            is_smaller = leave_out(plan, &plan->faults[i].is_off) || is_smaller;
        }
        for (unsigned i = 0; i < plan->callers_n; i++) {
            const sim_caller *caller = &plan->callers[i];
            for (unsigned k = 0;
                 k < caller->commands_n && !caller->is_off && now_s(CLOCK_MONOTONIC) < end_s; k++) {
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

/* One child, and what it is to do. */
typedef struct worker {
    pid_t pid; /* 0: none is there */
    report *report;
    double work_s; /* what is left of its part of PROCESSOR_SECONDS */
} worker;

/* What is to be done yet. */
typedef struct search {
    sim_kind kind;
    uint64_t first;
    uint64_t runs_n;
    double begin_s;
    double end_s;
    double worked_s; /* what children have had of processors */
    sim_tally sum;
    worker workers[JOBS_MAX];
    unsigned workers_n;
} search;

/* A child that runs seeds, until the time is over or one is wrong. */
static _Noreturn void run_seeds(const search *self, uint64_t n, double work_s)
{
    static sim_plan plan;
    sim_fail_to(shared->failure, sizeof(shared->failure));
    for (uint64_t seed = self->first;
         seed < self->first + n && now_s(CLOCK_MONOTONIC) < self->end_s &&
         now_s(CLOCK_PROCESS_CPUTIME_ID) < work_s;
         seed++) {
        shared->seed = seed;
        alarm(RUN_SECONDS);
        sim_plan_make(&plan, seed, self->kind);
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

static void begin(search *self, worker *one)
{
    uint64_t n = self->runs_n < BLOCK ? self->runs_n : BLOCK;
    memset(one->report, 0, sizeof(*one->report));
    one->pid = fork();
    if (one->pid == 0) {
        shared = one->report;
        run_seeds(self, n, one->work_s);
    }
    if (one->pid < 0) {
        perror("sim");
        exit(EXIT_FAILURE);
    }
    self->first += n;
    self->runs_n -= n;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* The child that ends next, of those that are there. */
static worker *await(search *self, int *status)
{
    struct rusage usage;
    pid_t pid = wait4(-1, status, 0, &usage);
    for (unsigned i = 0; i < self->workers_n; i++) {
        worker *one = &self->workers[i];
        if (one->pid == pid) {
            double worked_s = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
            one->pid = 0;
            one->work_s -= worked_s;
            self->worked_s += worked_s;
            add(&self->sum, &one->report->tally);
            return one;
        }
    }
    perror("sim");
    exit(EXIT_FAILURE);
}

static unsigned begin_all(search *self)
{
    unsigned n = 0;
    for (unsigned i = 0; i < self->workers_n; i++) {
        worker *one = &self->workers[i];
        if (one->pid == 0 && self->runs_n > 0 && one->work_s > 0 &&
            now_s(CLOCK_MONOTONIC) < self->end_s) {
            begin(self, one);
        }
        n += one->pid != 0 ? 1 : 0;
    }
    return n;
}

static void end_all(search *self)
{
    unsigned left_n = 0;
    for (unsigned i = 0; i < self->workers_n; i++) {
        if (self->workers[i].pid != 0) {
            (void)kill(self->workers[i].pid, SIGKILL);
            left_n++;
        }
    }
    for (int status; left_n > 0; left_n--) {
        (void)await(self, &status);
    }
}

/* True where all lives were right; else shared is the report of the one that was not. */
static bool run_all(search *self)
{
    while (begin_all(self) > 0) {
        int status = 0;
        report *done = await(self, &status)->report;
        if (!done->is_over) {
            end_all(self);
            shared = done;
            if (done->failure[0] == '\0') {
                snprintf(done->failure, sizeof(done->failure), "ended with status %d", status);
            }
            return false;
        }
    }
    return true;
}

static void tell(const search *self)
{
    const sim_tally *sum = &self->sum;
    double took_s = now_s(CLOCK_MONOTONIC) - self->begin_s;
    printf("sim: %lu runs (%.0f a second, %.0f a second of a processor), %lu commands, %lu "
           "answered, %lu failed with none, "
           "%lu maybe, %lu done; %lu connections, %lu hours\n",
           sum->runs_n, (double)sum->runs_n / took_s, (double)sum->runs_n / self->worked_s,
           sum->commands_n, sum->answered_n, sum->failed_n[0], sum->failed_n[1], sum->failed_n[2],
           sum->connects_n, sum->virtual_s / 3600);
}

/* Reports, which children write. */
static void make_workers(search *self)
{
    long processors_n = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t jobs_n = setting("JOBS", processors_n > 0 ? (uint64_t)processors_n : 1);
    jobs_n = jobs_n < JOBS_MAX ? jobs_n : JOBS_MAX;
    report *reports = mmap(NULL, JOBS_MAX * sizeof(reports[0]), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reports == MAP_FAILED) {
        perror("sim");
        exit(EXIT_FAILURE);
    }
    shared = &reports[0];
    self->workers_n = (unsigned)jobs_n;
    double work_s = (double)setting("PROCESSOR_SECONDS", 1000000) / (double)jobs_n;
    for (unsigned i = 0; i < self->workers_n; i++) {
        self->workers[i] = (worker){0, &reports[i], work_s};
    }
}

int main(void)
{
    static search self;
    self.kind = wanted_kind();
    self.first = setting("SEED", (uint64_t)time(NULL) * 1000);
    self.runs_n = setting("RUNS", UINT64_MAX);
    self.begin_s = now_s(CLOCK_MONOTONIC);
    bool has_end = self.runs_n != UINT64_MAX || setting("PROCESSOR_SECONDS", 0) > 0;
    self.end_s = self.begin_s + (double)setting("SECONDS", has_end ? 86400 : 20);
    make_workers(&self);
    if (setting("HERE", 0) != 0) { /* for a debugger: in this process, and seen */
        sim_plan plan;
        sim_plan_make(&plan, self.first, self.kind);
        sim_say_to(true);
        sim_run(&plan);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "sim: seeds from %lu on\n", (unsigned long)self.first);
    bool is_right = run_all(&self);
    if (!is_right) {
        printf("sim: found after %.1f seconds of a processor\n", self.worked_s);
        fflush(stdout);
        show_failure(shared->seed, self.kind);
        return EXIT_FAILURE;
    }
    tell(&self);
    return EXIT_SUCCESS;
}
