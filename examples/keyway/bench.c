/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: threads that read and write through one handle, and percentiles of each node. */
#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 256

/* What all threads do. */
typedef struct load {
    kw_client *client;
    uint64_t requests;
    uint64_t threads;
    uint64_t size;
    uint64_t keys;
    uint64_t reads; /* per cent */
    char *value;
} load;

typedef struct worker {
    const load *task;
    uint64_t number;
    atomic_uint_fast64_t done; /* written by its thread alone */
    uint64_t failures;
    kw_error failure; /* the first one */
    pthread_t thread;
} worker;

/* The next number of a sequence (xorshift64*). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void *work(void *arg)
{
    worker *self = arg;
    const load *task = self->task;
    uint64_t random = self->number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    uint64_t n = task->requests / task->threads + (self->number < task->requests % task->threads);
    for (uint64_t i = 0; i < n && !is_interrupted(); i++) {
        kw_error error = KW_ERROR_INIT;
        unsigned key = (unsigned)(next_random(&random) % task->keys);
        bool is_read = next_random(&random) % 100 < task->reads;
        kw_reply *reply = is_read ? kw_command(task->client, &error, "GET keyway:bench:%u", key)
                                  : kw_command(task->client, &error, "SET keyway:bench:%u %b", key,
                                               task->value, (size_t)task->size);
        if (kw_reply_outcome(reply, &error) == KW_OUTCOME_ERROR && self->failures++ == 0) {
            self->failure = error;
        }
        kw_reply_free(reply);
        atomic_store_explicit(&self->done, i + 1, memory_order_relaxed);
    }
    return NULL;
}

static void clean_up(const load *task)
{
    kw_batch *batch = kw_batch_new(task->client, NULL);
    for (uint64_t i = 0; batch != NULL && i < task->keys; i++) {
        (void)kw_batch_add(batch, NULL, "DEL keyway:bench:%u", (unsigned)i);
        if (kw_batch_count(batch) == 1000 || i + 1 == task->keys) {
            (void)kw_batch_run(batch, NULL, 0);
            kw_batch_clear(batch);
        }
    }
    kw_batch_free(batch);
}

/* Both classes of one node, or of all. */
static kw_latency latency_of(kw_client *client, size_t number)
{
    kw_latency sum = {.size = sizeof(sum)};
    kw_latency part = {.size = sizeof(part)};
    for (int of = KW_COMMAND_CLASS_READ; of <= KW_COMMAND_CLASS_WRITE; of++) {
        if (kw_client_latency(client, &part, number, KW_LATENCY_SERVICE, (kw_command_class)of) ==
            KW_OK) {
            kw_latency_add(&sum, &part);
        }
    }
    return sum;
}

static void add_row(table *rows, const char *name, const kw_latency *latency, double seconds)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 0.999, 1};
    char text[UNIT_TEXT];
    double rate = seconds > 0 ? (double)latency->calls / seconds : 0;
    table_text(rows, BOLD, "%s", name);
    table_number(rows, PLAIN, (double)latency->calls, NULL);
    table_number(rows, PLAIN, rate, unit_count(text, rate));
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double ns = (double)kw_latency_quantile(latency, quantiles[i]);
        table_number(rows, PLAIN, ns, unit_time(text, ns));
    }
}

static void show(const app *self, const load *task, double seconds, uint64_t failures)
{
    static const column columns[] = {
        {"NODE", "node", false},    {"CALLS", "calls", true}, {"CALLS/s", "rate", true},
        {"P50", "p50_ns", true},    {"P90", "p90_ns", true},  {"P99", "p99_ns", true},
        {"P99.9", "p999_ns", true}, {"MAX", "max_ns", true},
    };
    fleet all;
    kw_latency sum = {.size = sizeof(sum)};
    table *rows = table_new(columns, sizeof(columns) / sizeof(columns[0]));
    if (fleet_load(&all, task->client)) {
        for (size_t i = 0; i < all.n; i++) {
            kw_latency one = latency_of(task->client, all.numbers[i]);
            kw_latency_add(&sum, &one);
            if (one.calls > 0) {
                add_row(rows, node_name(&all.nodes[i]), &one, seconds);
            }
        }
        fleet_free(&all);
    }
    add_row(rows, "all", &sum, seconds);
    json_open(self);
    json_number(self, "failures", (double)failures);
    json_number(self, "seconds", seconds);
    table_print(rows, self, "nodes");
    json_close(self);
}

static uint64_t done_of(worker *workers, uint64_t n)
{
    uint64_t done = 0;
    for (uint64_t i = 0; i < n; i++) {
        done += atomic_load_explicit(&workers[i].done, memory_order_relaxed);
    }
    return done;
}

static int run_load(const app *self, const load *task)
{
    static worker workers[THREADS_MAX];
    progress shown;
    uint64_t begun_ns = now_ns();
    uint64_t n = 0;
    progress_begin(&shown, self, "bench", (double)task->requests);
    for (; n < task->threads; n++) {
        workers[n].task = task;
        workers[n].number = n;
        atomic_init(&workers[n].done, 0);
        if (pthread_create(&workers[n].thread, NULL, work, &workers[n]) != 0) {
            break;
        }
    }
    for (uint64_t done = 0; n == task->threads && done < task->requests && !is_interrupted();) {
        done = done_of(workers, n);
        progress_to(&shown, (double)done);
        pause_ms(done < task->requests ? 20 : 0);
    }
    uint64_t failures = 0;
    for (uint64_t i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].failures > 0 && failures == 0) {
            fprintf(stderr, "keyway bench: %s\n", workers[i].failure.text);
        }
        failures += workers[i].failures;
    }
    progress_end(&shown);
    show(self, task, (double)(now_ns() - begun_ns) / 1e9, failures);
    if (is_interrupted()) {
        fprintf(stderr, "keyway bench: interrupted\n");
    }
    return failures > 0 || n < task->threads || is_interrupted() ? STATUS_FOUND : STATUS_GOOD;
}

int run_bench(app *self)
{
    load task = {.requests = args_number(self, "--requests", 100000),
                 .threads = args_number(self, "--threads", 8),
                 .size = args_number(self, "--size", 100),
                 .keys = args_number(self, "--keys", 10000),
                 .reads = args_number(self, "--reads", 80)};
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    if (task.threads < 1 || task.threads > THREADS_MAX || task.keys < 1 || task.requests < 1 ||
        task.size > (UINT64_C(1) << 29) || task.reads > 100) {
        return args_usage(self,
                          "1 to %d threads, 1 request or more, 1 key or more, values up to 512 "
                          "MiB, 0 to 100 per cent reads",
                          THREADS_MAX);
    }
    task.client = client_connect(self, self->uri);
    task.value = calloc(1, (size_t)task.size + 1);
    if (task.client == NULL || task.value == NULL) {
        free(task.value);
        kw_close(task.client);
        return STATUS_USAGE;
    }
    memset(task.value, 'x', (size_t)task.size);
    int status = STATUS_FOUND;
    catch_signals(); /* its keys are deleted all the same */
    if (kw_client_measure(task.client, NULL, KW_MEASURE_LATENCY) == KW_OK) {
        status = run_load(self, &task);
    }
    clean_up(&task);
    free(task.value);
    kw_close(task.client);
    return status;
}
