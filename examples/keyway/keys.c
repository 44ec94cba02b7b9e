/* SPDX-License-Identifier: BSD-3-Clause */
/* scan, bigkeys, del: what is done with all keys, or those of a pattern. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* Opens a handle and a walk on it; false, and said, where there is nobody to ask. */
static bool begin(walk *all, const app *self, const char *match, const char *type)
{
    kw_client *client = client_connect(self, self->uri);
    if (client == NULL) {
        return false;
    }
    walk_of of = {.match = match, .type = type};
    if (!walk_begin(all, self, client, &of)) {
        kw_close(client);
        return false;
    }
    return true;
}

static int finish(walk *all, const app *self, const kw_error *error)
{
    int status = STATUS_GOOD;
    if (error->code != KW_OK) {
        fprintf(stderr, "keyway %s: %s\n", self->command, error->text);
        status = STATUS_FOUND;
    }
    walk_end(all, status == STATUS_GOOD);
    kw_close(all->client);
    return status;
}

int run_scan(app *self)
{
    const char *type = args_value(self, "--type", NULL);
    uint64_t limit = args_number(self, "--limit", UINT64_MAX);
    walk all;
    kw_error error = KW_ERROR_INIT;
    if (!args_end(self, 0, 1) || !begin(&all, self, self->argc > 0 ? self->argv[0] : NULL, type)) {
        return STATUS_USAGE;
    }
    uint64_t n = 0;
    progress shown;
    progress_begin(&shown, self, "scan", all.total);
    shown.is_shown = shown.is_shown && !self->is_terminal; /* keys are there to be seen */
    json_open(self);
    printf("%s", self->is_json ? ",\"keys\":[" : "");
    const kw_scan_batch *page;
    while (n < limit && (page = walk_next(&all, &error)) != NULL) {
        for (size_t i = 0; i < page->count && n < limit; i++) {
            const char *key = page->keys[i];
            size_t len = page->key_lens[i];
            if (self->is_json) {
                printf("%s", n > 0 ? "," : "");
                json_string(stdout, key, len);
            } else {
                put_shown(stdout, key, len);
                putchar('\n');
            }
            n++;
        }
        progress_to(&shown, walk_done(&all));
    }
    progress_end(&shown);
    printf("%s", self->is_json ? "]" : "");
    json_close(self);
    return finish(&all, self, &error);
}

/* The largest keys so far, largest first. */
typedef struct big {
    char *key;
    size_t key_len;
    char type[16];
    char node[128];
    double bytes;
} big;

typedef struct hall {
    big *keys;
    size_t n;
    size_t max;
    double bytes; /* of all keys */
    double seen;
} hall;

static void enter(hall *self, const kw_scan_batch *page, size_t index, const char *type,
                  double bytes)
{
    size_t at = self->n;
    self->bytes += bytes;
    self->seen++;
    while (at > 0 && self->keys[at - 1].bytes < bytes) {
        at--;
    }
    if (at >= self->max) {
        return;
    }
    big fresh = {.bytes = bytes, .key_len = page->key_lens[index]};
    if ((fresh.key = malloc(fresh.key_len + 1)) == NULL) {
        return;
    }
    memcpy(fresh.key, page->keys[index], fresh.key_len + 1);
    snprintf(fresh.type, sizeof(fresh.type), "%s", type);
    snprintf(fresh.node, sizeof(fresh.node), "%.127s", page->node != NULL ? page->node : "");
    if (self->n == self->max) {
        free(self->keys[--self->n].key);
    }
    memmove(&self->keys[at + 1], &self->keys[at], (self->n - at) * sizeof(self->keys[0]));
    self->keys[at] = fresh;
    self->n++;
}

static bool weigh(hall *self, const walk *all, const kw_scan_batch *page, kw_error *error)
{
    kw_batch *batch = kw_batch_new(all->client, error);
    bool is_good = batch != NULL;
    for (size_t i = 0; is_good && i < page->count; i++) {
        const char *key = page->keys[i];
        size_t len = page->key_lens[i];
        is_good = kw_batch_add(batch, error, "MEMORY USAGE %b", key, len) == KW_OK &&
                  kw_batch_add(batch, error, "TYPE %b", key, len) == KW_OK;
    }
    is_good = is_good && kw_batch_run(batch, error, 0) == KW_OK;
    for (size_t i = 0; is_good && i < page->count; i++) {
        const kw_reply *bytes = kw_batch_reply(batch, NULL, i * 2);
        const kw_reply *type = kw_batch_reply(batch, NULL, i * 2 + 1);
        is_good = kw_reply_outcome(bytes, error) != KW_OUTCOME_ERROR;
        if (kw_reply_type(bytes) == KW_REPLY_INTEGER) {
            enter(self, page, i, kw_reply_text(type, "?"), (double)kw_reply_int(bytes));
        }
    }
    kw_batch_free(batch);
    return is_good;
}

static void show_hall(const app *self, const hall *best)
{
    static const column columns[] = {{"BYTES", "bytes", true},
                                     {"TYPE", "type", false},
                                     {"NODE", "node", false},
                                     {"KEY", "key", false}};
    char text[UNIT_TEXT];
    char count[UNIT_TEXT];
    table *rows = table_new(columns, 4);
    for (size_t i = 0; i < best->n; i++) {
        const big *at = &best->keys[i];
        table_number(rows, BOLD, at->bytes, unit_bytes(text, at->bytes));
        table_text(rows, PLAIN, "%s", at->type);
        table_text(rows, FAINT, "%s", at->node);
        table_bytes(rows, PLAIN, at->key, at->key_len);
    }
    json_open(self);
    json_number(self, "seen", best->seen);
    json_number(self, "bytes", best->bytes);
    table_print(rows, self, "keys");
    json_close(self);
    say(self, "\n%s keys take %s\n", unit_count(count, best->seen), unit_bytes(text, best->bytes));
}

int run_bigkeys(app *self)
{
    uint64_t max = args_number(self, "--top", 10);
    walk all;
    kw_error error = KW_ERROR_INIT;
    if (!args_end(self, 0, 1)) {
        return STATUS_USAGE;
    }
    if (max < 1 || max > 100000) {
        return args_usage(self, "--top is 1 to 100000");
    }
    hall best = {.max = (size_t)max, .keys = calloc((size_t)max + 1, sizeof(big))};
    if (best.keys == NULL || !begin(&all, self, self->argc > 0 ? self->argv[0] : NULL, NULL)) {
        free(best.keys);
        return STATUS_USAGE;
    }
    progress shown;
    progress_begin(&shown, self, "bigkeys", all.total);
    const kw_scan_batch *page;
    while ((page = walk_next(&all, &error)) != NULL && weigh(&best, &all, page, &error)) {
        progress_to(&shown, walk_done(&all));
    }
    progress_end(&shown);
    show_hall(self, &best);
    for (size_t i = 0; i < best.n; i++) {
        free(best.keys[i].key);
    }
    free(best.keys);
    return finish(&all, self, &error);
}

/* Deletes the keys of a page; how many were there, or -1. */
static double drop(const walk *all, const kw_scan_batch *page, kw_error *error)
{
    kw_batch *batch = kw_batch_new(all->client, error);
    bool is_good = batch != NULL;
    double n = 0;
    for (size_t i = 0; is_good && i < page->count; i++) {
        const char *key = page->keys[i];
        size_t len = page->key_lens[i];
        is_good = kw_batch_add(batch, error, "UNLINK %b", key, len) == KW_OK;
    }
    is_good = is_good && kw_batch_run(batch, error, 0) == KW_OK;
    for (size_t i = 0; is_good && i < page->count; i++) {
        const kw_reply *reply = kw_batch_reply(batch, error, i);
        is_good = kw_reply_outcome(reply, error) != KW_OUTCOME_ERROR;
        n += is_good ? (double)kw_reply_int(reply) : 0;
    }
    kw_batch_free(batch);
    return is_good ? n : -1;
}

/* Waits until so many are no more than the rate allows. */
static void keep_rate(double n, uint64_t rate, uint64_t begun_ns)
{
    double due_ns = rate > 0 ? n / (double)rate * 1e9 : 0;
    double now = (double)(now_ns() - begun_ns);
    if (due_ns > now) {
        pause_ms((uint64_t)((due_ns - now) / 1e6));
    }
}

int run_del(app *self)
{
    bool is_dry = args_flag(self, "--dry-run");
    uint64_t rate = args_number(self, "--rate", 0);
    walk all;
    kw_error error = KW_ERROR_INIT;
    if (!args_end(self, 1, 1) || !begin(&all, self, self->argv[0], NULL)) {
        return STATUS_USAGE;
    }
    double n = 0;
    double matched = 0;
    progress shown;
    uint64_t begun_ns = now_ns();
    progress_begin(&shown, self, is_dry ? "del (dry run)" : "del", all.total);
    const kw_scan_batch *page;
    while ((page = walk_next(&all, &error)) != NULL) {
        matched += (double)page->count;
        double gone = is_dry || page->count == 0 ? 0 : drop(&all, page, &error);
        if (gone < 0) {
            break;
        }
        n += gone;
        progress_to(&shown, walk_done(&all));
        keep_rate(matched, is_dry ? 0 : rate, begun_ns);
    }
    progress_end(&shown);
    json_open(self);
    json_number(self, "matched", matched);
    json_number(self, "deleted", n);
    json_close(self);
    const char *ending = matched == 1 ? "" : "s";
    if (is_dry) {
        say(self, "%.0f key%s match%s; none was deleted\n", matched, ending,
            matched == 1 ? "es" : "");
    } else {
        say(self, "%.0f key%s matched, %.0f deleted\n", matched, ending, n);
    }
    return finish(&all, self, &error);
}
