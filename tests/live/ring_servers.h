/* SPDX-License-Identifier: BSD-3-Clause */
/* Plain servers for a ring: a, b, c, ... */
#ifndef LIVE_RING_SERVERS_H
#define LIVE_RING_SERVERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/server.h"

#ifndef RING_SERVERS
#define RING_SERVERS 3
#endif

typedef struct ring_servers {
    kw_test_server *servers[RING_SERVERS];
} ring_servers;

static inline int ring_start(void **state)
{
    ring_servers *servers = calloc(1, sizeof(*servers));
    for (size_t i = 0; i < RING_SERVERS; i++) {
        servers->servers[i] = kw_test_server_start("save \"\"\n");
    }
    *state = servers;
    return 0;
}

static inline int ring_stop(void **state)
{
    ring_servers *servers = *state;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_free(servers->servers[i]);
    }
    free(servers);
    return 0;
}

/* Empty servers that have counted nothing. */
static inline int ring_flush(void **state)
{
    ring_servers *servers = *state;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_ok(servers->servers[i], "FLUSHALL");
        kw_test_server_ok(servers->servers[i], "CONFIG RESETSTAT");
    }
    return 0;
}

/* "redis-ring://a=127.0.0.1:7001,b=...", of the first n servers, and then the tail. */
static inline char *ring_uri(char *uri, size_t uri_len, const ring_servers *servers, size_t n,
                             const char *tail)
{
    size_t len = (size_t)snprintf(uri, uri_len, "redis-ring://");
    for (size_t i = 0; i < n; i++) {
        len += (size_t)snprintf(uri + len, uri_len - len, "%s%c=%s", i > 0 ? "," : "",
                                (char)('a' + (int)i), kw_test_server_address(servers->servers[i]));
    }
    snprintf(uri + len, uri_len - len, "%s", tail);
    return uri;
}

static inline kw_client *ring_open(const ring_servers *servers, const char *tail)
{
    char uri[1000];
    return kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, RING_SERVERS, tail));
}

/* The server that the handle names for the key; counted in used[]. */
static inline kw_test_server *ring_owner(const ring_servers *servers, kw_client *client,
                                         const char *key, size_t key_len, size_t *used)
{
    char node[128];
    kw_error error = KW_ERROR_INIT;
    if (kw_client_key_node(client, &error, node, sizeof(node), key, key_len) != KW_OK) {
        kw_test_die("%s", error.text);
    }
    for (size_t i = 0; i < RING_SERVERS; i++) {
        if (strcmp(node, kw_test_server_address(servers->servers[i])) == 0) {
            used[i]++;
            return servers->servers[i];
        }
    }
    kw_test_die("%s is none of the servers", node);
}

#endif
