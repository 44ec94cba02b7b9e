/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells the host of connections that were opened or lost, of values that may be near or not, and of
 * what another map has changed. */
#include "topology/host_events.h"

#include "topology/topology.h"

#include <stdio.h>
#include <string.h>

/* Nodes are named in a text up to this number. */
#define NAMED_MAX 4

static const char *what_is(kw_event_kind kind)
{
    return kind == KW_EVENT_CONNECTED      ? "a connection was opened"
           : kind == KW_EVENT_DISCONNECTED ? "a connection was lost: "
           : kind == KW_EVENT_NEAR_ON      ? "its values may be near"
                                           : "its values are not near: ";
}

static void tell_conns(kw_topology *topology)
{
    kw_conn_event noted;
    while (kw_conn_diary_next(&topology->env, &noted)) {
        char text[sizeof(noted.node) + sizeof(noted.why) + 40];
        snprintf(text, sizeof(text), "%s: %s%s", noted.node, what_is(noted.kind), noted.why);
        kw_event event = {.kind = noted.kind, .member = "", .node = noted.node, .text = text};
        kw_topology_tell(topology, &event);
    }
}

/* Names nodes of map that other lacks, behind what; how many there are. */
static size_t name_nodes(char *text, size_t room, const char *what, const kw_map *map,
                         const kw_map *other)
{
    size_t n = 0;
    size_t len = strlen(text);
    for (size_t i = 0; map != NULL && i < kw_map_nodes_n(map); i++) {
        size_t at;
        char name[KW_ENDPOINT_TEXT];
        if (other != NULL && kw_map_find_node(other, &at, kw_map_node(map, i))) {
            continue;
        }
        if (n++ < NAMED_MAX && len < room) {
            len += (size_t)snprintf(text + len, room - len, "%s%.100s", n == 1 ? what : ", ",
                                    kw_endpoint_text(name, kw_map_node(map, i)));
        }
    }
    if (n > NAMED_MAX && len < room) {
        snprintf(text + len, room - len, " and %zu more", n - NAMED_MAX);
    }
    return n;
}

static const kw_endpoint *owner_of(const kw_map *map, unsigned slot)
{
    size_t node;
    return map != NULL && kw_map_owner_of(map, &node, slot) ? kw_map_node(map, node) : NULL;
}

/* Slots whose primary is not the one that it was. */
static size_t count_moved(const kw_map *map, const kw_map *before)
{
    size_t n = 0;
    for (unsigned slot = 0; slot < 16384; slot++) {
        const kw_endpoint *now = owner_of(map, slot);
        const kw_endpoint *then = owner_of(before, slot);
        bool is_same = now != NULL && then != NULL ? kw_endpoint_equal(now, then) : now == then;
        n += is_same ? 0 : 1;
    }
    return n;
}

static void tell_map(kw_topology *topology)
{
    if (!kw_conn_diary_take_map(&topology->env)) {
        return;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_map *map = snapshot != NULL ? kw_map_ref(snapshot->map) : NULL;
    kw_snapshot_unref(snapshot);
    const kw_map *before = topology->told_map;
    if (map == NULL || (before != NULL && kw_map_equal(map, before))) {
        kw_map_unref(map);
        return;
    }
    char text[1400];
    kw_event event = {.kind = KW_EVENT_MAP_CHANGED, .member = "", .node = "", .text = text};
    event.slots_n = count_moved(map, before);
    snprintf(text, sizeof(text), "%s map: %zu slots have another primary",
             before != NULL ? "another" : "the first", event.slots_n);
    event.joined_n = name_nodes(text, sizeof(text), "; joined: ", map, before);
    event.left_n = name_nodes(text, sizeof(text), "; left: ", before, map);
    kw_topology_tell(topology, &event);
    kw_map_unref(topology->told_map);
    topology->told_map = map;
}

static void tend(kw_topology *topology)
{
    if (!kw_leader_try(&topology->teller)) {
        return;
    }
    tell_conns(topology);
    tell_map(topology);
    kw_leader_leave(&topology->teller);
}

const kw_event_part kw_host_events = {kw_conn_diary_note, kw_conn_diary_note_map, tend};
