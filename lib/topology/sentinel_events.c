/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns what was heard from sentinels into events for the host. */
#include "topology/sentinel_events.h"

#include "topology/topology.h"

#include <stdio.h>
#include <string.h>

typedef struct news_row {
    kw_sentinel_news news;
    kw_event_kind kind;
    const char *text; /* behind the server's name */
} news_row;

static const news_row rows[] = {
    {KW_SENTINEL_SWITCHED, KW_EVENT_PRIMARY_CHANGED, "is the primary now"},
    {KW_SENTINEL_PRIMARY_DOWN, KW_EVENT_PRIMARY_DOWN, "is down, as the sentinels agree"},
    {KW_SENTINEL_PRIMARY_UP, KW_EVENT_PRIMARY_UP, "is not down any more, as the sentinels agree"},
    {KW_SENTINEL_REPLICA_DOWN, KW_EVENT_REPLICA_DOWN, "is a replica, and down for a sentinel"},
    {KW_SENTINEL_REPLICA_UP, KW_EVENT_REPLICA_UP, "is a replica, and up again"},
};

static void tell(kw_topology *topology, const kw_sentinel_told *told, const kw_member *group)
{
    char node[KW_ENDPOINT_TEXT];
    char text[KW_ENDPOINT_TEXT + 100];
    kw_event event;
    memset(&event, 0, sizeof(event));
    event.member = group->name;
    event.member_len = group->name_len;
    event.node = kw_endpoint_text(node, &told->server);
    event.text = text;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].news == told->news) {
            event.kind = rows[i].kind;
            snprintf(text, sizeof(text), "%s %s", node, rows[i].text);
            kw_topology_tell(topology, &event);
        }
    }
}

void kw_sentinel_events_tend(kw_topology *topology)
{
    kw_sentinel_told told;
    if (!atomic_load_explicit(&topology->refresher.has_news, memory_order_relaxed) ||
        !kw_leader_try(&topology->teller)) {
        return;
    }
    kw_member group = {.name_len = 0};
    while (kw_refresher_news(&topology->refresher, &told, &group)) {
        tell(topology, &told, &group);
    }
    kw_leader_leave(&topology->teller);
}
