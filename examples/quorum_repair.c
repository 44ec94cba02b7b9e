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

static kw_reply *ask(unsigned long node, kw_argv command)
{
    const char *name = kw_ring_node_name(ring, NULL, (uint32_t)node);
    kw_call_options options = {.size = sizeof(options), .route = KW_ROUTE_NODE, .node = name};
    kw_reply *reply = kw_call(kw, &failure, &options, command);
    if (kw_reply_outcome(reply, &failure) == KW_OUTCOME_ERROR) {
        errx(EXIT_FAILURE, "%s: %s", name, failure.text);
    }
    return reply;
}

static void repair(kw_quorum *quorum, const kw_reply *keys)
{
    size_t n = 0;
    static kw_quorum_request requests[10000]; /* a page is a little more than COUNT */
    for (size_t i = 0; i < kw_reply_count(keys) && i < 10000; i++) {
        requests[n] = (kw_quorum_request){sizeof(requests[n]), .act = KW_QUORUM_ACT_REPAIR};
        requests[n].key = kw_reply_str(kw_reply_at(keys, i), &requests[n].key_len);
        n += strncmp(requests[n].key, "keyway:quorum:", 14) != 0 ? 1 : 0; /* no value */
    }
    kw_quorum_results *results = kw_quorum_run(quorum, &failure, requests, n, 0);
    for (size_t i = 0; i < n; i++) {
        if (results == NULL || kw_quorum_result(results, &failure, i) != KW_OK) {
            errx(EXIT_FAILURE, "%s", failure.text);
        }
    }
    kw_quorum_results_free(results);
}

int main(int argc, char **argv)
{
    kw = argc > 2 ? kw_open(argv[1], &failure) : NULL;
    kw_quorum *quorum = kw != NULL ? kw_quorum_new(kw, &failure) : NULL;
    ring = quorum != NULL ? kw_client_ring(kw, &failure) : NULL;
    FILE *state = ring != NULL ? fopen(argv[2], "a+") : NULL;
    if (state == NULL) {
        errx(EXIT_FAILURE, "%s", failure.text[0] != '\0' ? failure.text : "URI STATE-FILE");
    }
    unsigned long at = 0, nodes_n = kw_ring_nodes_n(ring);
    char cursor[32] = "";
    for (rewind(state); fscanf(state, "%lu %31s", &at, cursor) == 2;) {
    }
    for (unsigned long i = 0; i < nodes_n && cursor[0] == '\0'; i++) {
        kw_reply_free(ask(i, (kw_argv){3, (const char *[]){"SET", BEGUN, "1"}, NULL}));
    }
    sleep(cursor[0] != '\0' ? 0 : argc > 3 ? (unsigned)atoi(argv[3]) : 2);
    for (; at < nodes_n; at += strcmp(cursor, "0") == 0 ? 1 : 0) {
        const char *scan[] = {"SCAN", cursor[0] != '\0' ? cursor : "0", "COUNT", "200"};
        kw_reply *page = ask(at, (kw_argv){4, scan, NULL});
        repair(quorum, kw_reply_at(page, 1));
        snprintf(cursor, sizeof(cursor), "%s", kw_reply_str(kw_reply_at(page, 0), NULL));
        kw_reply_free(page);
        fprintf(state, "%lu %s\n", at + (strcmp(cursor, "0") == 0), cursor);
        printf("node %lu of %lu, cursor %s\n", at + 1, nodes_n, cursor);
    }
    fclose(state);
    for (at = remove(argv[2]) == 0 ? 0 : nodes_n; at < nodes_n; at++) {
        const char *serve[] = {"RENAME", BEGUN, KW_QUORUM_MARKER};
        kw_reply_free(ask(at, (kw_argv){3, serve, NULL})); /* not there: begin anew */
    }
    kw_ring_unref(ring);
    kw_quorum_free(quorum);
    kw_close(kw);
    puts("all copies agree");
    return EXIT_SUCCESS;
}
