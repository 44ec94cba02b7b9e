/* SPDX-License-Identifier: BSD-3-Clause */
/* A cache in an event loop: 100 requests for five pages at once. A "database" answers each question
 * 50 ms later, in the same loop, and is asked once a page.
 *   ./cache_loop redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <time.h>

enum { PAGES = 5, REQUESTS = 100 };

static int left = REQUESTS, failed, asked_n, answered_n;

/* Questions that the database has not answered yet, the oldest first. */
static struct {
    kw_cache_load *load;
    double due_ms;
} asked[REQUESTS];

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The question is on its way, and its answer comes later. */
static kw_cache_loaded ask_database(void *arg, kw_cache_load *load)
{
    (void)arg;
    kw_cache_bytes key = kw_cache_load_key(load);
    printf("asked for %.*s\n", (int)key.len, key.data);
    asked[asked_n].load = load;
    asked[asked_n++].due_ms = now_ms() + 50;
    return KW_CACHE_LATER;
}

static void answer(kw_cache_load *load)
{
    kw_err code = kw_cache_load_give(load, "a page", 6);
    kw_cache_load_end(load, code == KW_OK ? KW_CACHE_LOADED : KW_CACHE_FAILED);
}

static void on_page(void *arg, const kw_error *error, kw_cache_value *value)
{
    (void)arg;
    failed += error != NULL || value->data == NULL;
    left--;
    kw_cache_release(value);
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    kw_cache *cache = kw != NULL ? kw_cache_open(kw, &err, "ttl=2s&near-bytes=1mb") : NULL;
    struct pollfd entry = {cache != NULL ? kw_fd(kw, &err) : -1, POLLIN, 0};
    bool ok = entry.fd >= 0;
    for (int i = 0; ok && i < REQUESTS; i++) {
        char page[] = {'p', (char)('a' + i % PAGES), '\0'};
        ok = kw_cache_fetch_async(cache, &err, kw_cache_text(page),
                                  (kw_cache_loader){ask_database, NULL},
                                  (kw_cache_callback){on_page, NULL}) == KW_OK;
    }
    while (ok && left > 0) {
        for (; answered_n < asked_n && asked[answered_n].due_ms <= now_ms(); answered_n++) {
            answer(asked[answered_n].load);
        }
        int wait_ms = kw_timeout(kw);
        ok = poll(&entry, 1, wait_ms >= 0 && wait_ms < 10 ? wait_ms : 10) >= 0 &&
             kw_process(kw, &err) == KW_OK;
    }
    printf("%d requests, %d without a page, %d questions\n", REQUESTS - left, failed, asked_n);
    fprintf(stderr, "%s%s", ok ? "" : err.text, ok ? "" : "\n");
    kw_cache_close(cache);
    kw_close(kw);
    return ok && failed == 0 ? 0 : 1;
}
