/* SPDX-License-Identifier: BSD-3-Clause */
/* repair: walks the keys of a ring's nodes, brings up copies that are missing or old, and puts all
 * nodes into service but one that lost its data meanwhile. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* A node that still has this key at the end has lost nothing meanwhile. */
#define BEGUN "keyway:quorum:repair"
#define OWN   "keyway:quorum:"

typedef struct repair {
    app *program;
    kw_client *client;
    kw_quorum *quorum;
    double looked_n;
} repair;

/* Sends one command to each node. */
static bool ask_all(const repair *self, const char *const *words, kw_error *error)
{
    fleet nodes;
    bool is_good = fleet_load(&nodes, self->client);
    for (size_t i = 0; is_good && i < nodes.n; i++) {
        kw_reply *reply = client_ask(self->client, error, nodes.nodes[i].node, words);
        is_good = kw_reply_outcome(reply, error) != KW_OUTCOME_ERROR;
        kw_reply_free(reply);
    }
    fleet_free(&nodes);
    return is_good;
}

static bool repair_page(repair *self, const kw_scan_batch *page, kw_error *error)
{
    size_t n = 0;
    bool is_good = true;
    kw_quorum_request *requests = calloc(page->count + 1, sizeof(requests[0]));
    for (size_t i = 0; requests != NULL && i < page->count; i++) {
        requests[n].size = sizeof(requests[n]);
        requests[n].act = KW_QUORUM_ACT_REPAIR;
        requests[n].key = page->keys[i];
        requests[n].key_len = page->key_lens[i];
        n += strncmp(requests[n].key, OWN, strlen(OWN)) != 0 ? 1 : 0; /* no value */
    }
    kw_quorum_results *results = n > 0 ? kw_quorum_run(self->quorum, error, requests, n, 0) : NULL;
    for (size_t i = 0; is_good && i < n; i++) {
        is_good = results != NULL && kw_quorum_result(results, error, i) == KW_OK;
    }
    self->looked_n += (double)n;
    kw_quorum_results_free(results);
    free(requests);
    return is_good && requests != NULL;
}

/* The keys of all nodes, each once; the walk was begun. */
static bool walk_all(repair *self, walk *all, kw_error *error)
{
    static const char *const begin[] = {"SET", BEGUN, "1", NULL};
    static const char *const serve[] = {"RENAME", BEGUN, KW_QUORUM_MARKER, NULL};
    progress shown;
    const kw_scan_batch *page;
    bool is_new = !all->was_begun;
    if (is_new && !ask_all(self, begin, error)) {
        return false;
    }
    pause_ms(is_new ? 2000 : 0); /* calls of others that began before are over then */
    progress_begin(&shown, self->program, "repair", all->total);
    while ((page = walk_next(all, error)) != NULL && repair_page(self, page, error) &&
           walk_save(all, error)) {
        progress_to(&shown, walk_done(all));
    }
    progress_end(&shown);
    bool is_good = page == NULL && error->code == KW_OK;
    return is_good && ask_all(self, serve, error); /* not there: begin anew */
}

int run_repair(app *self)
{
    repair all = {.program = self};
    kw_error error = KW_ERROR_INIT;
    walk_of of = {.state = args_value(self, "--state", NULL)};
    walk keys;
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    all.client = client_connect(self, self->uri);
    all.quorum = all.client != NULL ? kw_quorum_new(all.client, &error) : NULL;
    if (all.client != NULL && all.quorum == NULL) {
        fprintf(stderr, "keyway repair: %s\n", error.text);
    }
    if (all.quorum == NULL || !walk_begin(&keys, self, all.client, &of)) {
        kw_quorum_free(all.quorum);
        kw_close(all.client);
        return STATUS_USAGE;
    }
    bool is_good = walk_all(&all, &keys, &error);
    json_open(self);
    json_number(self, "looked_at", all.looked_n);
    json_text(self, "result", is_good ? "agree" : "failed");
    json_close(self);
    if (is_good) {
        say_painted(self, GREEN, "%.0f copies looked at; all agree\n", all.looked_n);
    } else {
        fprintf(stderr, "keyway repair: %s\n", error.text);
    }
    walk_end(&keys, is_good);
    kw_quorum_free(all.quorum);
    kw_close(all.client);
    return is_good ? STATUS_GOOD : STATUS_FOUND;
}
