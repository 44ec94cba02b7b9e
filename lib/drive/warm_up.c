/* SPDX-License-Identifier: BSD-3-Clause */
/* A PING to every server that calls will go to, in one pipeline: it opens the connections, which
 * are left in the pools. */
#include "drive/warm_up.h"

#include "base/error.h"
#include "drive/pipeline.h"

#include <stdio.h>
#include <string.h>

static const char ping[] = "*1\r\n$4\r\nPING\r\n";

/* Servers named in one error. */
#define NAMED_MAX 4

/* The PINGs: those of the primaries come first. */
typedef struct pings {
    kw_item *items;
    size_t primaries_n;
    size_t n;
} pings;

static void add(pings *self, kw_node *node, uint64_t now_ns, const atomic_bool *closing)
{
    kw_item *item = &self->items[self->n++];
    kw_item_init(item);
    memset(&item->plan, 0, sizeof(item->plan));
    item->plan.kind = KW_PLAN_NODE;
    item->plan.node = kw_node_ref(node);
    item->plan.name = "PING";
    item->plan.is_repeatable = true;
    item->plan.is_internal = true;
    item->plan.fails_fast = true;
    item->plan.start_ns = now_ns;
    item->plan.closing = closing;
    item->request.bytes = (kw_bytes){ping, sizeof(ping) - 1};
}

/* False when there is no memory. */
static bool choose(pings *self, const kw_topology *topology, const kw_snapshot *snapshot,
                   const atomic_bool *closing)
{
    uint64_t now_ns = kw_env_now(&topology->env);
    const kw_map *map = snapshot->map;
    size_t shards_n = kw_map_shards_n(map);
    bool has_replicas = topology->env.options.read != KW_READ_OF_PRIMARY;
    self->items =
        kw_mem_resize(&topology->env.mem, NULL, snapshot->nodes_n + 1, sizeof(self->items[0]));
    if (self->items == NULL) {
        return false;
    }
    for (size_t i = 0; i < shards_n; i++) {
        add(self, snapshot->nodes[kw_map_shard_at(map, i)->primary], now_ns, closing);
    }
    self->primaries_n = self->n;
    for (size_t i = 0; has_replicas && i < shards_n; i++) {
        const kw_map_shard *shard = kw_map_shard_at(map, i);
        for (size_t k = 0; k < shard->replicas_n; k++) {
            add(self, snapshot->nodes[kw_map_replica(map, shard, k)], now_ns, closing);
        }
    }
    return true;
}

/* One failure is told as it is; of several all nodes are named. KW_OK: it was but replicas. */
static kw_err tell(const pings *self, kw_error *error)
{
    kw_error first = kw_error_none();
    char names[320] = "";
    size_t failed_n = 0;
    size_t len = 0;
    for (size_t i = 0; i < self->primaries_n; i++) {
        if (self->items[i].code == KW_OK) {
            continue;
        }
        kw_error story = kw_error_none();
        kw_item_tell(&self->items[i], &story);
        if (failed_n++ == 0) {
            first = story;
        }
        if (failed_n <= NAMED_MAX) {
            int n = snprintf(names + len, sizeof(names) - len, "%s%.60s (%s)",
                             failed_n > 1 ? ", " : "", story.node, kw_err_name(story.code));
            len += n > 0 && (size_t)n < sizeof(names) - len ? (size_t)n : 0;
        }
    }
    if (failed_n == 0) {
        return KW_OK;
    }
    first.effect = KW_EFFECT_NONE; /* whether a PING has run is nobody's question */
    if (failed_n == 1) {
        kw_error_copy(error, &first);
        return first.code;
    }
    kw_error_set(error, first.code, KW_EFFECT_NONE, "%zu of %zu primaries: %s%s", failed_n,
                 self->primaries_n, names, failed_n > NAMED_MAX ? ", ..." : "");
    kw_error_set_node(error, first.node);
    return first.code;
}

kw_err kw_warm_up(kw_topology *topology, kw_error *error, const kw_snapshot *snapshot,
                  kw_map_wait wait)
{
    pings self = {NULL, 0, 0};
    if (!choose(&self, topology, snapshot, wait.closing)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to connect");
    }
    kw_commands commands = {self.items, self.n, 0, wait.deadline_ns, NULL};
    kw_err code = kw_pipeline_all(topology, &commands);
    if (code != KW_OK) {
        code = tell(&self, error);
    }
    for (size_t i = 0; i < self.n; i++) {
        kw_item_fini(&self.items[i], &topology->env.mem);
    }
    kw_mem_free(&topology->env.mem, self.items);
    return code;
}
