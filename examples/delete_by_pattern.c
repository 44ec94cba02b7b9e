/* SPDX-License-Identifier: BSD-3-Clause */
/* Deletes, or counts, all keys that match a pattern, on whatever servers they are, so many a second
 * at most, and says how far it is. Stopped, it goes on from the cursor that it named last.
 *
 *   ./delete_by_pattern redis-cluster://127.0.0.1:7000 'session:*' 1000
 *   ./delete_by_pattern redis-cluster://127.0.0.1:7000 'session:*' 0 [cursor]      (0: only counts)
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static kw_error error = {0};

/* UNLINK of all keys of the batch, each node's in one pipeline; how many there were, or -1. */
static long delete_all(kw_client *kw, const kw_scan_batch *batch)
{
    long deleted_n = 0;
    kw_batch *commands = kw_batch_new(kw, &error);
    bool ok = commands != NULL;
    for (size_t i = 0; ok && i < batch->count; i++) {
        ok = kw_batch_add(commands, &error, "UNLINK %b", batch->keys[i], batch->key_lens[i]) ==
             KW_OK;
    }
    ok = ok && (batch->count == 0 || kw_batch_run(commands, &error, 0) == KW_OK);
    for (size_t i = 0; ok && i < batch->count; i++) {
        const kw_reply *reply = kw_batch_reply(commands, &error, i);
        ok = kw_reply_outcome(reply, &error) != KW_OUTCOME_ERROR; /* it may not be allowed */
        deleted_n += (long)kw_reply_int(reply);
    }
    kw_batch_free(commands);
    return ok ? deleted_n : -1;
}

/* Sleeps as long as n keys may take at that rate. */
static void keep_rate(size_t n, unsigned long rate)
{
    double seconds = rate > 0 ? (double)n / (double)rate : 0;
    struct timespec span = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
}

int main(int argc, char **argv)
{
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_scan_progress progress = {.size = sizeof(progress)};
    unsigned long rate = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    unsigned long long found_n = 0;
    options.match = argc > 2 ? argv[2] : NULL;
    options.match_len = argc > 2 ? strlen(argv[2]) : 0;
    options.cursor = argc > 4 ? argv[4] : NULL;
    options.unique_bytes = 16 << 20; /* so that nothing is counted twice, as long as that lasts */
    kw_client *kw = argc > 3 ? kw_open(argv[1], &error) : NULL;
    kw_scan *scan = kw != NULL ? kw_scan_open(kw, &error, &options) : NULL;
    bool ok = scan != NULL;
    while (ok && !batch.is_end) {
        ok = kw_scan_next(scan, &error, &batch) == KW_OK;
        long n = !ok ? -1 : rate > 0 ? delete_all(kw, &batch) : (long)batch.count;
        ok = n >= 0;
        if (ok) {
            found_n += (unsigned long long)n;
            (void)kw_scan_get_progress(scan, NULL, &progress);
            printf("%3.0f %%, %llu keys\n", progress.part * 100, found_n);
            keep_rate(batch.count, rate);
        }
    }
    puts(ok ? "done" : error.code != KW_OK ? error.text : "URI PATTERN RATE [CURSOR]");
    if (!ok && scan != NULL) {
        printf("to go on: %s\n", kw_scan_cursor(scan, NULL));
    }
    kw_scan_close(scan);
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
