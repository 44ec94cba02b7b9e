/* SPDX-License-Identifier: BSD-3-Clause */
/* Thread pool: workers take jobs and share one handle. There is nothing to lock and
 * nothing to hand out: any thread may use the handle at any time.
 *
 *   cc thread_pool.c -pthread $(pkg-config --cflags --libs keyway) -o thread_pool
 *   ./thread_pool redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 16, JOBS = 4000 };

typedef struct pool {
    kw_client *kw;
    atomic_int next; /* the job to be taken next */
    atomic_int done;
    atomic_int failed;
} pool;

/* A job counts one visit of one of 100 users; false where it got no number. */
static bool do_job(kw_client *kw, int job)
{
    kw_error error = {0}; /* the caller's own, never shared */
    kw_reply *reply = kw_command(kw, &error, "INCR pool:user:{%d}:visits", job % 100);
    bool is_done = kw_reply_type(reply) == KW_REPLY_INTEGER;
    if (!is_done) {
        fprintf(stderr, "job %d: %s\n", job, reply != NULL ? "not an integer" : error.text);
    }
    kw_reply_free(reply);
    return is_done;
}

static void *work(void *arg)
{
    pool *self = arg;
    for (int job; (job = atomic_fetch_add(&self->next, 1)) < JOBS;) {
        atomic_fetch_add(do_job(self->kw, job) ? &self->done : &self->failed, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    pthread_t workers[WORKERS];
    int workers_n = 0;
    pool it;
    it.kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (it.kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    atomic_init(&it.next, 0);
    atomic_init(&it.done, 0);
    atomic_init(&it.failed, 0);
    while (workers_n < WORKERS && pthread_create(&workers[workers_n], NULL, work, &it) == 0) {
        workers_n++;
    }
    for (int i = 0; i < workers_n; i++) {
        pthread_join(workers[i], NULL);
    }
    int done = atomic_load(&it.done);
    printf("%d threads did %d jobs, %d failed\n", workers_n, done, atomic_load(&it.failed));
    kw_close(it.kw); /* when no thread is in a call any more */
    return done == JOBS ? EXIT_SUCCESS : EXIT_FAILURE;
}
