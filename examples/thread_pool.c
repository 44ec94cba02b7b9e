/* SPDX-License-Identifier: BSD-3-Clause */
/* Eight threads share one handle. There is nothing to lock and nothing to hand out: any thread may
 * use it at any time.
 *
 *   cc thread_pool.c -pthread $(pkg-config --cflags --libs keyway) -o thread_pool
 *   ./thread_pool redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, JOBS = 4000 };

static atomic_int done;

/* Each job counts one visit of one of 100 users. */
static void *work(void *kw)
{
    for (int job = 0; job < JOBS / THREADS; job++) {
        kw_error error = {0}; /* the caller's own, never shared */
        long long visits;
        kw_reply *reply = kw_command(kw, &error, "INCR pool:user:{%d}:visits", job % 100);
        if (kw_reply_to_int(reply, &error, &visits) == KW_OK) {
            atomic_fetch_add(&done, 1);
        } else {
            fprintf(stderr, "job %d: %s\n", job, error.text);
        }
        kw_reply_free(reply);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    pthread_t threads[THREADS];
    int threads_n = 0;
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    while (threads_n < THREADS && pthread_create(&threads[threads_n], NULL, work, kw) == 0) {
        threads_n++;
    }
    for (int i = 0; i < threads_n; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%d threads did %d of %d jobs\n", threads_n, atomic_load(&done), JOBS);
    kw_close(kw); /* when no thread is in a call any more */
    return atomic_load(&done) == JOBS ? EXIT_SUCCESS : EXIT_FAILURE;
}
