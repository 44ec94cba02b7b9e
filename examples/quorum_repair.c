/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks a ring's nodes, brings up copies that are missing or old, puts all into service but one
 * that lost its data meanwhile; goes on where it stopped. SECONDS (2): the longest timeout there.
 *   ./quorum_repair 'redis-ring://a=h1:6379,b=h2:6379,c=h3:6379?copies=3' repair.state [SECONDS] */
#include <keyway.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define BEGUN "keyway:quorum:repair" /* a node that still has it at the end has lost nothing */
static kw_error failure;
static kw_client *kw;
static kw_ring *ring;

static void tell(unsigned long node, kw_argv command)
{
    const char *name = kw_ring_node_name(ring, NULL, (uint32_t)node);
    kw_call_options options = {.size = sizeof(options), .route = KW_ROUTE_NODE, .node = name};
    kw_reply *reply = kw_call(kw, &failure, &options, command);
    if (kw_reply_outcome(reply, &failure) == KW_OUTCOME_ERROR) {
        errx(EXIT_FAILURE, "%s: %s", name, failure.text);
    }
    kw_reply_free(reply);
}

static void repair(kw_quorum *quorum, const kw_scan_batch *keys)
{
    size_t n = 0;
    kw_quorum_request *requests = calloc(keys->count + 1, sizeof(*requests));
    for (size_t i = 0; requests != NULL && i < keys->count; i++) {
        requests[n] = (kw_quorum_request){sizeof(requests[n]), .act = KW_QUORUM_ACT_REPAIR};
        requests[n].key = keys->keys[i];
        requests[n].key_len = keys->key_lens[i];
        n += strncmp(requests[n].key, "keyway:quorum:", 14) != 0 ? 1 : 0; /* no value */
    }
    kw_quorum_results *results = kw_quorum_run(quorum, &failure, requests, n, 0);
    for (size_t i = 0; requests == NULL || i < n; i++) {
        if (results == NULL || kw_quorum_result(results, &failure, i) != KW_OK) {
            errx(EXIT_FAILURE, "%s", failure.text);
        }
    }
    kw_quorum_results_free(results);
    free(requests);
}

int main(int argc, char **argv)
{
    static char cursor[100000];
    kw_scan_options options = {.size = sizeof(options), .count = 200, .parallel = 1};
    kw_scan_batch keys = KW_SCAN_BATCH_INIT;
    kw = argc > 2 ? kw_open(argv[1], &failure) : NULL;
    kw_quorum *quorum = kw != NULL ? kw_quorum_new(kw, &failure) : NULL;
    ring = quorum != NULL ? kw_client_ring(kw, &failure) : NULL;
    FILE *state = ring != NULL ? fopen(argv[2], "a+") : NULL; /* read from its beginning */
    while (state != NULL && fscanf(state, "%99999s", cursor) == 1) {
        options.cursor = cursor;
    }
    kw_scan *scan = state != NULL ? kw_scan_open(kw, &failure, &options) : NULL;
    if (scan == NULL) {
        errx(EXIT_FAILURE, "%s", failure.text[0] != '\0' ? failure.text : "URI STATE-FILE");
    }
    for (unsigned long i = 0; i < kw_ring_nodes_n(ring) && options.cursor == NULL; i++) {
        tell(i, (kw_argv){3, (const char *[]){"SET", BEGUN, "1"}, NULL});
    }
    sleep(options.cursor != NULL ? 0 : argc > 3 ? (unsigned)atoi(argv[3]) : 2);
    for (; !keys.is_end; repair(quorum, &keys)) {
        fprintf(state, "%s\n", kw_scan_cursor(scan, &failure)); /* behind what was repaired */
        if (kw_scan_next(scan, &failure, &keys) != KW_OK) {
            errx(EXIT_FAILURE, "%s", failure.text);
        }
    }
    fclose(state);
    for (unsigned long i = remove(argv[2]) == 0 ? 0 : kw_ring_nodes_n(ring);
         i < kw_ring_nodes_n(ring); i++) {
        tell(i, (kw_argv){3, (const char *[]){"RENAME", BEGUN, KW_QUORUM_MARKER}, NULL});
    }
    return puts("all copies agree") < 0; /* one that has lost BEGUN has failed: begin anew */
}
