/* SPDX-License-Identifier: BSD-3-Clause */
/* Warms up a node that has joined a ring: keys that moved are copied from their old owners,
 * with what is left of their lives. Run it once the new ring is in use: what was written
 * there meanwhile is never replaced. Stopped, it goes on from the last place that it named:
 *   ./ring_migrate redis-ring://a=h1,b=h2 redis-ring://a=h1,b=h2,c=h3 [place]
 */
#include <keyway.h>

#include <stdio.h>
#include <string.h>

static kw_client *before, *after; /* handles on the old ring and on the new one */
static kw_error error = {0};

/* True for a key that belongs to another node now. */
static bool has_moved(const char *key, size_t len)
{
    char from[128], to[128];
    return kw_client_key_node(before, &error, from, sizeof(from), key, len) == KW_OK &&
           kw_client_key_node(after, &error, to, sizeof(to), key, len) == KW_OK &&
           strcmp(from, to) != 0;
}

/* Copies those of the keys that moved; their number, or -1. */
static long copy(const kw_scan_batch *keys)
{
    size_t dump_len, at = 0;
    kw_batch *reads = kw_batch_new(before, &error), *writes = kw_batch_new(after, &error);
    bool ok = reads != NULL && writes != NULL;
    for (size_t i = 0; ok && i < keys->count; i++) {
        const char *key = keys->keys[i];
        ok = !has_moved(key, keys->key_lens[i]) ||
             (kw_batch_add(reads, &error, "DUMP %b", key, keys->key_lens[i]) == KW_OK &&
              kw_batch_add(reads, &error, "PTTL %b", key, keys->key_lens[i]) == KW_OK);
    }
    ok = ok && (kw_batch_count(reads) == 0 || kw_batch_run(reads, &error, 0) == KW_OK);
    for (size_t i = 0; ok && i < keys->count; i++) {
        if (has_moved(keys->keys[i], keys->key_lens[i])) {
            const char *dump = kw_reply_str(kw_batch_reply(reads, &error, at++), &dump_len);
            long long ttl = kw_reply_int(kw_batch_reply(reads, &error, at++));
            ok = dump == NULL || ttl == -2 || ttl == 0 || /* gone; RESTORE's 0 is without end */
                 kw_batch_add(writes, &error, "RESTORE %b %lld %b", keys->keys[i],
                              keys->key_lens[i], ttl > 0 ? ttl : 0LL, dump, dump_len) == KW_OK;
        }
    }
    ok = ok && (kw_batch_count(writes) == 0 || kw_batch_run(writes, &error, 0) == KW_OK);
    for (size_t i = 0; ok && i < kw_batch_count(writes); i++) {
        const char *text = kw_reply_str(kw_batch_reply(writes, &error, i), NULL);
        ok = strcmp(text, "OK") == 0 || strncmp(text, "BUSYKEY", 7) == 0; /* it is there */
        snprintf(error.text, sizeof(error.text), "%s", ok ? "" : text);
    }
    kw_batch_free(reads);
    kw_batch_free(writes);
    return ok ? (long)at / 2 : -1;
}

int main(int argc, char **argv)
{
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch keys = KW_SCAN_BATCH_INIT;
    if (argc < 3) {
        fprintf(stderr, "usage: %s OLD-RING NEW-RING [PLACE]\n", argv[0]);
        return 2;
    }
    options.cursor = argc > 3 ? argv[3] : NULL;
    bool ok = (before = kw_open(argv[1], &error)) && (after = kw_open(argv[2], &error));
    kw_scan *scan = ok ? kw_scan_open(before, &error, &options) : NULL;
    ok = scan != NULL;
    while (ok && !keys.is_end) {
        ok = kw_scan_next(scan, &error, &keys) == KW_OK;
        long copied_n = ok ? copy(&keys) : -1;
        if ((ok = copied_n >= 0)) {
            printf("%ld keys copied; the place is %s\n", copied_n, kw_scan_cursor(scan, NULL));
        }
    }
    puts(ok ? "done" : error.text);
    kw_scan_close(scan);
    kw_close(before);
    kw_close(after);
    return !ok;
}
