/* SPDX-License-Identifier: BSD-3-Clause */
/* 100 threads of two processes want one value of a slow "database" (a file, read behind a pause of
 * 200 ms) at once, and the database is asked once. Then the value changes.
 *
 *   ./cache_herd redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 50 };

/* What is slow, and not to be asked by all at once. */
static kw_cache_loaded load(void *database, kw_cache_load *load)
{
    char text[80];
    size_t len = fread(text, 1, sizeof(text), database);
    printf("  process %d asks the database\n", (int)getpid());
    rewind(database);
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    return kw_cache_load_give(load, text, len) == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED;
}

typedef struct shop {
    kw_cache *cache;
    FILE *database;
} shop;

static void *want(void *arg)
{
    const shop *self = arg;
    kw_error err = {0};
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_cache_loader loader = {load, self->database};
    if (kw_cache_fetch(self->cache, &err, &value, kw_cache_text("news"), loader) != KW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    kw_cache_release(&value);
    return NULL;
}

/* All threads at once. */
static void want_all(shop *self)
{
    pthread_t threads[THREADS];
    int n = 0;
    for (; n < THREADS && pthread_create(&threads[n], NULL, want, self) == 0; n++) {
    }
    for (; n > 0; n--) {
        pthread_join(threads[n - 1], NULL);
    }
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    bool is_child = fork() == 0; /* before the handle is opened */
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    shop self = {kw != NULL ? kw_cache_open(kw, &err, "ttl=10m&stale=1m") : NULL, tmpfile()};
    bool ok = self.cache != NULL && self.database != NULL && fputs("rain", self.database) >= 0;
    if (ok) {
        rewind(self.database);
        want_all(&self);
    }
    if (ok && !is_child) {
        printf("process %d: all threads have the value; the database changes\n", (int)getpid());
        ok = wait(NULL) > 0 &&
             kw_cache_forget(self.cache, &err, kw_cache_text("news")) == KW_OK; /* each time */
        want_all(&self);
    }
    fprintf(stderr, "%s%s", ok ? "" : err.text, ok ? "" : "\n");
    kw_cache_close(self.cache);
    kw_close(kw);
    return ok && fclose(self.database) == 0 && fflush(stdout) == 0 ? 0 : 1;
}
