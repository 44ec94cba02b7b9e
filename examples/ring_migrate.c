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

/* The key at an index, where it is the node's, and belongs to another one now. */
static const char *moved(const char *node, const kw_reply *keys, size_t index, size_t *len)
{
    char from[128], to[128];
    const char *key = kw_reply_str(kw_reply_at(keys, index), len);
    bool is_placed = kw_client_key_node(before, &error, from, sizeof(from), key, *len) == KW_OK &&
                     kw_client_key_node(after, &error, to, sizeof(to), key, *len) == KW_OK;
    return is_placed && strcmp(from, node) == 0 && strcmp(from, to) != 0 ? key : NULL;
}

/* Copies those of the node's keys that moved; their number, or -1. */
static long copy(const char *node, const kw_reply *keys)
{
    size_t len, dump_len, at = 0, n = kw_reply_count(keys);
    kw_batch *reads = kw_batch_new(before, &error), *writes = kw_batch_new(after, &error);
    bool ok = reads != NULL && writes != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        const char *key = moved(node, keys, i, &len);
        ok = key == NULL || (kw_batch_add(reads, &error, "DUMP %b", key, len) == KW_OK &&
                             kw_batch_add(reads, &error, "PTTL %b", key, len) == KW_OK);
    }
    ok = ok && kw_batch_run(reads, &error, 0) == KW_OK;
    for (size_t i = 0; ok && i < n; i++) {
        const char *key = moved(node, keys, i, &len), *dump;
        if (key != NULL) {
            dump = kw_reply_str(kw_batch_reply(reads, &error, at++), &dump_len);
            long long ttl = kw_reply_int(kw_batch_reply(reads, &error, at++));
            ok = dump == NULL || ttl == -2 || /* gone meanwhile */
                 kw_batch_add(writes, &error, "RESTORE %b %lld %b", key, len, ttl > 0 ? ttl : 0LL,
                              dump, dump_len) == KW_OK;
        }
    }
    ok = ok && kw_batch_run(writes, &error, 0) == KW_OK;
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
    unsigned at = 0;
    char cursor[24] = "0";
    kw_node_stats node = {.size = sizeof(node)};
    bool ok = argc > 2 && (argc == 3 || sscanf(argv[3], "%u:%23s", &at, cursor) == 2) &&
              (before = kw_open(argv[1], &error)) && (after = kw_open(argv[2], &error));
    while (ok && kw_client_node_stats(before, &node, at) == KW_OK) {
        const char *scan[] = {"SCAN", cursor, "COUNT", "500"};
        kw_call_options to = {.size = sizeof(to), .route = KW_ROUTE_NODE, .node = node.node};
        kw_reply *page = kw_call(before, &error, &to, (kw_argv){4, scan, NULL});
        long copied_n = kw_reply_count(page) == 2 ? copy(node.node, kw_reply_at(page, 1)) : -1;
        if ((ok = copied_n >= 0)) {
            snprintf(cursor, sizeof(cursor), "%s", kw_reply_str(kw_reply_at(page, 0), NULL));
            at += strcmp(cursor, "0") == 0;
            printf("%s: %ld keys copied; the place is %u:%s\n", node.member, copied_n, at, cursor);
        }
        kw_reply_free(page);
    }
    puts(ok ? "done" : error.text);
    kw_close(before);
    kw_close(after);
    return !ok;
}
