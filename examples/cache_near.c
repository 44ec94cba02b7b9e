/* SPDX-License-Identifier: BSD-3-Clause */
/* Values in this process' memory under writes of another program: how many reads need no server,
 * and how old a value may be at most. The "other program" is a second handle.
 *
 *   ./cache_near redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WRITES = 20 };

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The price as it is read; -1 where it cannot be. */
static long read_price(kw_cache *cache, kw_error *err)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    if (kw_cache_get(cache, err, &value, kw_cache_text("price")) != KW_OK) {
        return -1;
    }
    char text[20];
    snprintf(text, sizeof(text), "%.*s", (int)value.len, value.data != NULL ? value.data : "0");
    kw_cache_release(&value);
    return strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    const char *server = argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000";
    kw_client *kw = kw_open(server, &err);
    kw_client *other = kw != NULL ? kw_open(server, &err) : NULL;
    kw_cache *cache =
        other != NULL ? kw_cache_open(kw, &err, "near-bytes=16mb&near-staleness=100ms") : NULL;
    bool ok = cache != NULL;
    unsigned long reads = 0;
    double oldest_ms = 0;
    for (long price = 1; ok && price <= WRITES; price++) {
        kw_reply *reply = kw_command(other, &err, "SET price %ld", price);
        ok = kw_reply_outcome(reply, &err) != KW_OUTCOME_ERROR;
        kw_reply_free(reply);
        double written_ms = now_ms();
        double seen_ms = 0;
        while (ok && now_ms() < written_ms + 50) {
            long read = read_price(cache, &err);
            ok = read >= 0;
            reads++;
            seen_ms = read == price && seen_ms == 0 ? now_ms() : seen_ms;
        }
        double age_ms = (seen_ms > 0 ? seen_ms : now_ms()) - written_ms;
        oldest_ms = age_ms > oldest_ms ? age_ms : oldest_ms;
    }
    kw_cache_figures figures = {.size = sizeof(figures)};
    if (ok && (ok = kw_cache_stats(cache, &err, &figures) == KW_OK)) {
        printf("%lu reads, %.1f %% from this process' memory; %d writes by others, the longest "
               "seen after %.1f ms (bound: 100 ms)\n",
               reads, 100.0 * (double)figures.near_hits / (double)reads, WRITES, oldest_ms);
    }
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
    }
    kw_cache_close(cache);
    kw_close(other);
    kw_close(kw);
    return ok ? 0 : 1;
}
