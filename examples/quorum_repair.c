/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks every node of a ring and brings up copies that are missing or old, as after a node
 * came back empty, then marks all (quorum-guard=on). A later run goes on where it stopped.
 *   ./quorum_repair 'redis-ring://a=h1:6379,b=h2:6379,c=h3:6379?copies=3' repair.state
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long seen, repaired, failed;

static kw_reply *ask(kw_client *kw, kw_error *err, const char *node, int argc, const char **argv)
{
    kw_call_options options = {.size = sizeof(options), .route = KW_ROUTE_NODE, .node = node};
    kw_reply *reply = kw_call(kw, err, &options, (kw_argv){argc, argv, NULL});
    if (reply == NULL || kw_reply_is_error(reply)) {
        fprintf(stderr, "%s: %s\n", node, reply != NULL ? kw_reply_str(reply, NULL) : err->text);
        exit(EXIT_FAILURE);
    }
    return reply;
}

static void repair(kw_quorum *quorum, kw_error *err, const kw_reply *keys)
{
    size_t n = 0;
    static kw_quorum_request requests[10000]; /* a page is a little more than COUNT */
    for (size_t i = 0; i < kw_reply_count(keys) && i < 10000; i++) {
        kw_quorum_request request = {.size = sizeof(request), .act = KW_QUORUM_ACT_REPAIR};
        request.key = kw_reply_str(kw_reply_at(keys, i), &request.key_len);
        requests[n] = request;
        n += strncmp(request.key, "keyway:quorum:", 14) != 0 ? 1 : 0; /* no value */
    }
    kw_quorum_results *results = kw_quorum_run(quorum, err, requests, n, 0);
    for (size_t i = 0; i < n; i++) {
        repaired += kw_quorum_is_written(results, i) ? 1 : 0;
        failed += results == NULL || kw_quorum_result(results, err, i) != KW_OK ? 1 : 0;
    }
    seen += n;
    kw_quorum_results_free(results);
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = argc > 2 ? kw_open(argv[1], &err) : NULL;
    kw_quorum *quorum = kw != NULL ? kw_quorum_new(kw, &err) : NULL;
    kw_ring *ring = quorum != NULL ? kw_client_ring(kw, &err) : NULL;
    unsigned long at = 0;
    char cursor[32] = "0";
    FILE *state = ring != NULL ? fopen(argv[2], "a+") : NULL;
    if (state == NULL) {
        fprintf(stderr, "quorum_repair: %s\n", err.text[0] != '\0' ? err.text : "URI STATE-FILE");
        return EXIT_FAILURE;
    }
    for (rewind(state); fscanf(state, "%lu %31s", &at, cursor) == 2;) {
    }
    for (; at < kw_ring_nodes_n(ring) && failed == 0; at += strcmp(cursor, "0") == 0 ? 1 : 0) {
        const char *scan[] = {"SCAN", cursor, "COUNT", "200"};
        kw_reply *page = ask(kw, &err, kw_ring_node_name(ring, NULL, (uint32_t)at), 4, scan);
        repair(quorum, &err, kw_reply_at(page, 1));
        snprintf(cursor, sizeof(cursor), "%s", kw_reply_str(kw_reply_at(page, 0), NULL));
        kw_reply_free(page);
        if (failed == 0) {
            fprintf(state, "%lu %s\n", at + (strcmp(cursor, "0") == 0 ? 1 : 0), cursor);
        }
        printf("node %lu of %zu: %lu keys, %lu repaired, %lu failed\n", at + 1,
               kw_ring_nodes_n(ring), seen, repaired, failed);
    }
    for (at = 0; at < kw_ring_nodes_n(ring) && failed == 0; at++) {
        const char *mark[] = {"SET", KW_QUORUM_MARKER, "1"};
        kw_reply_free(ask(kw, &err, kw_ring_node_name(ring, NULL, (uint32_t)at), 3, mark));
    }
    fclose(state);
    kw_ring_unref(ring);
    kw_quorum_free(quorum);
    kw_close(kw);
    printf("%s\n", failed == 0 && remove(argv[2]) == 0 ? "all copies agree" : err.text);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
