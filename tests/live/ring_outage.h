/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings whose nodes go down: what the host is told, and calls until something has happened. */
#ifndef LIVE_RING_OUTAGE_H
#define LIVE_RING_OUTAGE_H

#include <keyway.h>

#include <stdatomic.h>

#include "live/ring_servers.h"

/* How late the machine may be at most, in milliseconds; what is tested is seconds away. */
#define SLACK_MS 5000

/* What the host was told. */
typedef struct diary {
    atomic_uint downs;
    atomic_uint ejections;
    atomic_uint ups;
    atomic_uint others;
    kw_client *client; /* asked in the middle of an event, or NULL */
} diary;

static inline void write_diary(void *arg, const kw_event *event)
{
    diary *self = arg;
    if (event->size < sizeof(*event) || event->text[0] == '\0' ||
        strlen(event->member) != event->member_len) {
        kw_test_die("a wrong event");
    }
    if (self->client != NULL) {
        kw_reply_free(kw_command(self->client, NULL, "GET %s", event->member));
    }
    atomic_uint *counts[] = {[KW_EVENT_NODE_DOWN] = &self->downs,
                             [KW_EVENT_NODE_EJECTED] = &self->ejections,
                             [KW_EVENT_NODE_UP] = &self->ups,
                             [KW_EVENT_MEMBERS_CHANGED] = &self->others};
    if ((size_t)event->kind < sizeof(counts) / sizeof(counts[0]) && counts[event->kind] != NULL) {
        atomic_fetch_add(counts[event->kind], 1);
    }
}

static inline kw_client *open_with(const ring_servers *servers, diary *events, const char *tail)
{
    char uri[1000];
    kw_error error = KW_ERROR_INIT;
    memset(events, 0, sizeof(*events));
    kw_config *config = kw_test_config_new(NULL);
    ring_uri(uri, sizeof(uri), servers, RING_SERVERS, tail);
    if (kw_config_set_uri(config, &error, uri) != KW_OK) {
        kw_test_die("%s", error.text);
    }
    kw_config_set_event(config, write_diary, events);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    if (client == NULL) {
        kw_test_die("%s", error.text);
    }
    return client;
}

static inline bool is_down(kw_client *client, const char *member)
{
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(client, &stats, i) == KW_OK; i++) {
        if (strcmp(stats.member, member) == 0) {
            return stats.is_down;
        }
    }
    kw_test_die("no member %s", member);
}

/* Calls until the member is as wanted; any result will do. */
static inline void call_until(kw_client *client, const char *member, bool wants_down)
{
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    for (int i = 0; is_down(client, member) != wants_down; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply_free(kw_command(client, &error, "GET %d:any:key", i % 50));
        if (kw_test_now_ms() > until_ms) {
            kw_test_die("%s is %s after %d ms: %s", member, wants_down ? "up" : "down", SLACK_MS,
                        error.text);
        }
        kw_test_sleep_ms(1);
    }
}

/* A key of the member, by the ring alone. */
static inline const char *key_of(kw_client *client, char key[32], const char *member)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *ring = kw_client_ring(client, &error);
    uint32_t node = KW_RING_NO_NODE;
    for (int i = 0;
         node == KW_RING_NO_NODE || strcmp(kw_ring_node_name(ring, NULL, node), member) != 0; i++) {
        snprintf(key, 32, "%d:of:%s", i, member);
        if (kw_ring_lookup(ring, &node, key, strlen(key)) != KW_OK) {
            kw_test_die("nobody owns %s", key);
        }
    }
    kw_ring_unref(ring);
    return key;
}

#endif
