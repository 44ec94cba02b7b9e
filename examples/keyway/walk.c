/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of all primaries, page by page, from where an earlier walk has stopped. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* Keys that a server looks at for one page. */
#define PAGE "500"

bool walk_begin(walk *self, kw_client *client, const char *match, const char *type)
{
    static const char *const words[] = {"DBSIZE", NULL};
    memset(self, 0, sizeof(*self));
    self->client = client;
    self->match = match;
    self->type = type;
    strcpy(self->cursor, "0");
    if (!fleet_load(&self->nodes, client)) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < self->nodes.n; i++) {
        if (self->nodes.nodes[i].is_primary) {
            kw_reply *size = client_ask(client, NULL, node_name(&self->nodes.nodes[i]), words);
            self->total += kw_reply_type(size) == KW_REPLY_INTEGER ? (double)kw_reply_int(size) : 0;
            kw_reply_free(size);
            self->nodes.nodes[n++] = self->nodes.nodes[i];
        }
    }
    self->nodes.n = n;
    return true;
}

const kw_reply *walk_next(walk *self, kw_error *error)
{
    kw_reply_free(self->page);
    self->page = NULL;
    memset(error, 0, sizeof(*error));
    if (self->at >= self->nodes.n) {
        return NULL;
    }
    const char *words[10] = {"SCAN", self->cursor, "COUNT", PAGE};
    size_t n = 4;
    if (self->match != NULL) {
        words[n++] = "MATCH";
        words[n++] = self->match;
    }
    if (self->type != NULL) {
        words[n++] = "TYPE";
        words[n++] = self->type;
    }
    self->node = node_name(&self->nodes.nodes[self->at]);
    self->page = client_ask(self->client, error, self->node, words);
    if (kw_reply_outcome(self->page, error) == KW_OUTCOME_ERROR) {
        return NULL;
    }
    const char *cursor = kw_reply_text(kw_reply_at(self->page, 0), "0");
    snprintf(self->cursor, sizeof(self->cursor), "%s", cursor);
    self->at += strcmp(cursor, "0") == 0 ? 1 : 0;
    self->done += strtod(PAGE, NULL);
    self->done = self->done < self->total ? self->done : self->total;
    error->code = KW_OK;
    return kw_reply_at(self->page, 1);
}

void walk_end(walk *self)
{
    kw_reply_free(self->page);
    fleet_free(&self->nodes);
}

void walk_resume(walk *self, const char *path)
{
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    unsigned long long at;
    char cursor[32];
    if (file == NULL) {
        return;
    }
    if (fscanf(file, "%llu %31s", &at, cursor) == 2 && at <= self->nodes.n) {
        self->at = (size_t)at;
        strcpy(self->cursor, cursor);
    }
    fclose(file);
}

void walk_save(const walk *self, const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL) {
        return;
    }
    fprintf(file, "%llu %s\n", (unsigned long long)self->at, self->cursor);
    fclose(file);
}
