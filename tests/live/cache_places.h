/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a cache may stand: one server, a cluster of three, a ring of three, a Sentinel group; with
 * "RESP3" in the name by that protocol, with "alone" no replica is there that may become primary.
 */
#ifndef LIVE_CACHE_PLACES_H
#define LIVE_CACHE_PLACES_H

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/server.h"

typedef struct cache_place {
    const char *name;
    char uri[400];
    kw_test_server *servers[3]; /* NULL: those of cluster or group */
    kw_test_cluster *cluster;
    kw_test_group *group;
} cache_place;

static inline void cache_place_start(cache_place *place, const char *name)
{
    memset(place, 0, sizeof(*place));
    place->name = name;
    if (strstr(name, "cluster") != NULL) {
        place->cluster = kw_test_cluster_start(3, 0, 0, NULL);
        snprintf(place->uri, sizeof(place->uri), "%s", kw_test_cluster_uri(place->cluster));
    } else if (strstr(name, "sentinel") != NULL) {
        size_t replicas_n = strstr(name, "alone") != NULL ? 0 : 1;
        place->group = kw_test_group_start(replicas_n, NULL, NULL);
        snprintf(place->uri, sizeof(place->uri), "%s", kw_test_group_uri(place->group));
    } else if (strcmp(name, "ring") == 0) {
        for (size_t i = 0; i < 3; i++) {
            place->servers[i] = kw_test_server_start("save \"\"\n");
        }
        snprintf(place->uri, sizeof(place->uri), "redis-ring://a=%s,b=%s,c=%s",
                 kw_test_server_address(place->servers[0]),
                 kw_test_server_address(place->servers[1]),
                 kw_test_server_address(place->servers[2]));
    } else {
        place->servers[0] = kw_test_server_start("save \"\"\n");
        snprintf(place->uri, sizeof(place->uri), "%s", kw_test_server_uri(place->servers[0]));
    }
    if (strstr(name, "RESP3") != NULL) {
        size_t len = strlen(place->uri);
        snprintf(place->uri + len, sizeof(place->uri) - len, "%cprotocol=3",
                 strchr(place->uri, '?') != NULL ? '&' : '?');
    }
}

/* False where hiredis cannot read RESP3. */
static inline bool cache_has_resp3(void)
{
    kw_config *config = kw_config_new(NULL);
    bool has_it = config != NULL && kw_config_set(config, NULL, "protocol", "3") == KW_OK;
    kw_config_free(config);
    return has_it;
}

static inline void cache_place_stop(cache_place *place)
{
    for (size_t i = 0; i < 3; i++) {
        kw_test_server_free(place->servers[i]);
    }
    kw_test_cluster_free(place->cluster);
    kw_test_group_free(place->group);
}

static inline kw_cache *cache_open(kw_client *client, const char *options)
{
    kw_error error = KW_ERROR_INIT;
    kw_cache *cache = kw_cache_open(client, &error, options);
    if (cache == NULL) {
        fprintf(stderr, "kw_cache_open: %s\n", error.text);
        abort();
    }
    return cache;
}

static inline kw_cache_figures cache_figures(kw_cache *cache)
{
    kw_cache_figures figures = {.size = sizeof(figures)};
    if (kw_cache_stats(cache, NULL, &figures) != KW_OK) {
        abort();
    }
    return figures;
}

/* The place of the tests that run; start and stop frame a group of them, whose state is its name.
 */
static cache_place here;

static inline int cache_here_start(void **state)
{
    cache_place_start(&here, *state);
    return 0;
}

static inline int cache_here_stop(void **state)
{
    (void)state;
    cache_place_stop(&here);
    return 0;
}

typedef struct stage {
    kw_client *client;
    kw_cache *cache;
    kw_client *other; /* another program's */
} stage;

static inline stage begin(const char *options)
{
    stage self;
    self.client = kw_test_open("%s", here.uri);
    self.other = kw_test_open("%s", here.uri);
    kw_reply_free(kw_test_ask(self.other, "FLUSHALL"));
    self.cache = cache_open(self.client, options);
    return self;
}

static inline void end(stage *self)
{
    kw_cache_close(self->cache);
    kw_close(self->client);
    kw_close(self->other);
}

#endif
