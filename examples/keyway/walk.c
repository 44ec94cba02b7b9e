/* SPDX-License-Identifier: BSD-3-Clause */
/* All keys, batch by batch, from where an earlier walk has stopped. */
#include "program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A server that stays away is asked so often. */
#define TRIES      10
#define TRY_PAUSE  200
#define UNIQUE_MAX ((size_t)64 << 20)

/* Keys of all primaries. */
static double count_keys(kw_client *client)
{
    kw_reply *size = kw_command(client, NULL, "DBSIZE");
    double n = kw_reply_type(size) == KW_REPLY_INTEGER ? (double)kw_reply_int(size) : 0;
    kw_reply_free(size);
    return n;
}

/* The cursor that a file has, which the caller frees; NULL: none. */
static char *read_cursor(const char *path)
{
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    if (file == NULL) {
        return NULL;
    }
    char *text = NULL;
    size_t room = 0;
    ssize_t len = getline(&text, &room, file);
    fclose(file);
    if (len <= 0) {
        free(text);
        return NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* Whether the place of a walk can be written down, as far as can be told before it begins. */
static bool can_save(const app *program, const char *path)
{
    FILE *file = path != NULL ? fopen(path, "a") : NULL;
    if (path != NULL && file == NULL) {
        fprintf(stderr, "keyway %s: --state %s: %s\n", program->command, path, strerror(errno));
    }
    if (file != NULL) {
        fclose(file);
    }
    return path == NULL || file != NULL;
}

bool walk_begin(walk *self, const app *program, kw_client *client, const walk_of *of)
{
    kw_error error = KW_ERROR_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    if (!can_save(program, of->state)) {
        return false;
    }
    catch_signals();
    char *cursor = read_cursor(of->state);
    options.match = of->match;
    options.match_len = of->match != NULL ? strlen(of->match) : 0;
    options.type = of->type;
    options.node = of->node;
    options.cursor = cursor;
    options.unique_bytes = UNIQUE_MAX;
    self->client = client;
    self->batch = batch;
    self->state = of->state;
    self->was_begun = cursor != NULL;
    self->total = count_keys(client);
    self->scan = kw_scan_open(client, &error, &options);
    free(cursor);
    if (self->scan == NULL) {
        if (of->state != NULL && !self->was_begun) {
            unlink(of->state);
        }
        fprintf(stderr, "keyway %s: %s\n", program->command, error.text);
    }
    return self->scan != NULL;
}

static void set_error(kw_error *error, kw_err code, const char *text, const char *because)
{
    memset(error, 0, sizeof(*error));
    error->size = sizeof(*error);
    error->code = code;
    snprintf(error->text, sizeof(error->text), "%s%s", text, because);
}

/* The next batch that has keys, or is the last one. */
static void ask_next(walk *self, kw_error *error)
{
    do {
        set_error(error, KW_OK, "", "");
        error->code = kw_scan_next(self->scan, error, &self->batch);
    } while (error->code == KW_OK && self->batch.count == 0 && !self->batch.is_end &&
             !is_interrupted());
}

const kw_scan_batch *walk_next(walk *self, kw_error *error)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (is_interrupted()) {
            set_error(error, KW_ERR_CANCELLED, "interrupted", "");
            return NULL;
        }
        ask_next(self, error);
        if (error->code == KW_OK && self->batch.count == 0 && !self->batch.is_end) {
            continue; /* interrupted */
        }
        if (error->code == KW_OK) {
            return self->batch.count > 0 ? &self->batch : NULL;
        }
        if (error->effect != KW_EFFECT_NONE || error->code == KW_ERR_SERVER) {
            break;
        }
        pause_ms(TRY_PAUSE);
    }
    return NULL;
}

/* Writes a file, and gives it its name when it is whole. */
static bool write_file(const char *path, const char *text)
{
    char fresh[4096];
    int len = snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = len > 0 && (size_t)len < sizeof(fresh) ? fopen(fresh, "w") : NULL;
    bool is_good = file != NULL && fprintf(file, "%s\n", text) > 0;
    is_good = file != NULL && fclose(file) == 0 && is_good;
    return is_good && rename(fresh, path) == 0;
}

bool walk_save(walk *self, kw_error *error)
{
    const char *cursor = self->state != NULL ? kw_scan_cursor(self->scan, NULL) : NULL;
    if (cursor == NULL || write_file(self->state, cursor)) {
        return true;
    }
    set_error(error, KW_ERR_REFUSED, "where it is could not be written: ", strerror(errno));
    return false;
}

double walk_done(const walk *self)
{
    kw_scan_progress so_far = {.size = sizeof(so_far)};
    return kw_scan_get_progress(self->scan, NULL, &so_far) == KW_OK ? so_far.part * self->total : 0;
}

void walk_end(walk *self, bool is_whole)
{
    if (is_whole && self->state != NULL) {
        unlink(self->state);
    }
    kw_scan_close(self->scan);
}
