/* SPDX-License-Identifier: BSD-3-Clause */
/* Splits a call into commands for several nodes, and makes one reply of theirs. */
#include "drive/fanout.h"

#include "topology/first_map.h"
#include "drive/call.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "route/combine.h"
#include "route/split.h"

#include <string.h>

static kw_reply *no_memory(kw_error *error, kw_effect effect)
{
    kw_error_set(error, KW_ERR_NOMEM, effect, "no memory for a command to many nodes");
    return NULL;
}

void kw_fanout_init(kw_fanout *self, kw_topology *topology, const kw_plan *plan,
                    const kw_allocator *mem)
{
    memset(self, 0, sizeof(*self));
    self->mem = mem;
    self->topology = topology;
    self->plan = plan;
    kw_buf_init(&self->encoded, mem, NULL, 0);
}

void kw_fanout_fini(kw_fanout *self)
{
    const kw_allocator *mem = self->mem;
    for (size_t i = 0; self->items != NULL && i < self->items_n; i++) {
        kw_item_fini(&self->items[i], mem);
    }
    kw_mem_free(mem, self->items);
    self->items = NULL;
    kw_buf_fini(&self->encoded);
    if (self->is_split) {
        kw_split_fini(&self->split);
    }
}

static kw_effect effect_of(const kw_item *item)
{
    kw_error story = kw_error_none();
    kw_item_tell(item, &story);
    return story.effect;
}

/* Tells of items[at], which has no reply, as part of the whole: what others did counts. */
static kw_reply *fail_of(kw_fanout *self, kw_error *error, size_t at)
{
    const kw_item *items = self->items;
    kw_effect effect = KW_EFFECT_NONE;
    for (size_t i = 0; i < self->items_n; i++) {
        kw_effect part = items[i].code == KW_OK ? KW_EFFECT_MAYBE : effect_of(&items[i]);
        effect = part > effect && !self->plan->is_repeatable ? part : effect;
    }
    kw_error story = kw_error_none();
    kw_item_tell(&items[at], &story);
    effect = story.effect > effect ? story.effect : effect;
    kw_error_set(error, items[at].code, effect, "part %zu of %zu: %s", at + 1, self->items_n,
                 story.text);
    kw_error_set_node(error, story.node);
    if (kw_error_has_room(error)) {
        uint64_t end_ns = kw_env_now(&self->topology->env);
        error->attempts = story.attempts; /* of the part; the time is the call's */
        error->elapsed_ms = (unsigned)((end_ns - self->plan->start_ns) / KW_NS_PER_MS);
    }
    return NULL;
}

/* Encoded commands of all parts, one behind the other. */
static bool encode_parts(kw_fanout *self)
{
    kw_split *split = &self->split;
    for (size_t i = 0; i < split->parts_n; i++) {
        kw_item *item = &self->items[self->items_n++];
        kw_item_init(item);
        item->plan = *self->plan;
        item->plan.write = NULL;                     /* it is the whole command's */
        item->request.bytes.len = self->encoded.len; /* where it begins, until the buffer rests */
        if (!kw_split_encode(split, &self->encoded, &split->parts[i])) {
            return false;
        }
        item->request.pools = true;
        item->request.sink = kw_split_sink(split, i);
        if (kw_topology_is_ring(self->topology)) {
            kw_plan_ring_part(&item->plan, self->topology, self->snapshot_n, split,
                              &split->parts[i]);
            continue;
        }
        item->plan.kind = KW_PLAN_SLOT;
        item->plan.slot = split->parts[i].slot;
    }
    for (size_t i = 0; i < split->parts_n; i++) {
        size_t start = self->items[i].request.bytes.len;
        size_t end =
            i + 1 < split->parts_n ? self->items[i + 1].request.bytes.len : self->encoded.len;
        kw_bytes bytes = {self->encoded.data + start, end - start};
        self->items[i].request.bytes = bytes;
    }
    return true;
}

/* What each part brought; stories: of those that brought nothing, failed_n of them. */
static void take_results(kw_fanout *self, kw_split_result *results, kw_error *stories)
{
    size_t k = 0;
    for (size_t i = 0; i < self->items_n; i++) {
        results[i].reply = self->items[i].request.reply;
        if (self->items[i].code != KW_OK) {
            stories[k].size = sizeof(stories[k]);
            kw_item_tell(&self->items[i], &stories[k]);
            results[i].text = stories[k++].text;
        }
    }
}

static kw_reply *join_parts(kw_fanout *self, kw_error *error)
{
    const kw_allocator *mem = self->mem;
    size_t n = self->items_n;
    size_t failed_n = 0;
    kw_reply *joined = NULL;
    for (size_t i = 0; i < n; i++) {
        failed_n += self->items[i].code != KW_OK ? 1 : 0;
    }
    if (failed_n == n) {
        return fail_of(self, error, 0);
    }
    kw_split_result *results = kw_mem_calloc(mem, n, sizeof(results[0]));
    kw_error *stories = failed_n > 0 ? kw_mem_calloc(mem, failed_n, sizeof(stories[0])) : NULL;
    bool has_room = results != NULL && (failed_n == 0 || stories != NULL);
    if (has_room) {
        take_results(self, results, stories);
    }
    if (!has_room || kw_split_join(&joined, &self->split, self->plan->command, results) != KW_OK) {
        no_memory(error, KW_EFFECT_DONE);
    }
    kw_mem_free(mem, results);
    kw_mem_free(mem, stories);
    return joined;
}

/* Parts that no node has seen, as the ring was changed and their keys may have several
 * owners now, are split anew. */
static void redo_stale_split(kw_fanout *self)
{
    for (size_t i = 0; i < self->items_n; i++) {
        kw_item *item = &self->items[i];
        if (item->code != KW_ERR_CROSSSLOT) {
            continue;
        }
        kw_error failure = kw_error_none();
        size_t argc = kw_split_gather(&self->split, &self->split.parts[i]);
        item->request.reply =
            kw_call_run_split(self->topology, &failure, self->plan, self->split.scratch, argc);
        kw_err code = item->request.reply != NULL ? KW_OK : failure.code;
        item->code = code;
        kw_loss *loss = kw_loss_of(self->mem, &failure);
        kw_item_note(item, loss, self->mem);
        item->effect = failure.effect;
        kw_loss_unref(loss, self->mem);
    }
}

/* The keys by their owners. */
static kw_err init_split(kw_fanout *self, const kw_keys *keys)
{
    const kw_allocator *mem = self->mem;
    if (!kw_topology_is_ring(self->topology)) {
        return kw_split_init(&self->split, mem, keys, NULL);
    }
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    kw_split_groups groups = kw_plan_ring_groups(snapshot);
    kw_err code = kw_split_init(&self->split, mem, keys, &groups);
    self->snapshot_n = snapshot->number;
    kw_snapshot_unref(snapshot);
    return code;
}

kw_err kw_fanout_split(kw_fanout *self, kw_error *error, const kw_bytes *argv, size_t argc)
{
    const kw_command_info *command = self->plan->command;
    kw_keys keys;
    kw_err code = kw_keys_find(&keys, error, command, argv, argc);
    if (code != KW_OK) {
        return code;
    }
    self->is_split = init_split(self, &keys) == KW_OK;
    if (self->is_split) {
        self->items = kw_mem_resize(self->mem, NULL, self->split.parts_n, sizeof(self->items[0]));
    }
    if (self->items == NULL || !kw_split_open(&self->split, command) || !encode_parts(self)) {
        no_memory(error, KW_EFFECT_NONE);
        kw_fanout_fini(self);
        return KW_ERR_NOMEM;
    }
    return KW_OK;
}

/* The nodes that a plan means, borrowed from snapshot. */
static size_t choose_nodes(kw_node **nodes, const kw_snapshot *snapshot, kw_plan_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < kw_map_shards_n(snapshot->map); i++) {
        const kw_map_shard *shard = kw_map_shard_at(snapshot->map, i);
        nodes[n++] = snapshot->nodes[shard->primary];
        for (size_t k = 0; kind == KW_PLAN_ALL_NODES && k < shard->replicas_n; k++) {
            nodes[n++] = snapshot->nodes[kw_map_replica(snapshot->map, shard, k)];
        }
    }
    return n;
}

static void add_visit(kw_fanout *self, kw_node *node, kw_bytes encoded)
{
    kw_item *item = &self->items[self->items_n++];
    kw_item_init(item);
    item->plan = *self->plan;
    item->plan.write = NULL; /* it is the whole command's */
    item->plan.kind = KW_PLAN_NODE;
    item->plan.node = kw_node_ref(node);
    item->request.bytes = encoded;
}

kw_err kw_fanout_visit(kw_fanout *self, kw_error *error, kw_bytes encoded)
{
    kw_topology *topology = self->topology;
    const kw_plan *plan = self->plan;
    const kw_allocator *mem = self->mem;
    kw_snapshot *snapshot;
    kw_err code = kw_topology_need_snapshot(topology, &snapshot, error,
                                            (kw_map_wait){plan->deadline_ns, plan->closing});
    if (code != KW_OK) {
        return code;
    }
    kw_node **nodes = kw_mem_calloc(mem, snapshot->nodes_n, sizeof(nodes[0]));
    self->items = kw_mem_resize(mem, NULL, snapshot->nodes_n, sizeof(self->items[0]));
    size_t n = nodes != NULL ? choose_nodes(nodes, snapshot, plan->kind) : 0;
    if (nodes == NULL || self->items == NULL) {
        no_memory(error, KW_EFFECT_NONE);
        code = KW_ERR_NOMEM;
    } else if (n == 0) {
        code = kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "the ring has no node");
    }
    for (size_t i = 0; code == KW_OK && i < n; i++) {
        add_visit(self, nodes[i], encoded);
    }
    kw_mem_free(mem, nodes);
    kw_snapshot_unref(snapshot);
    if (code != KW_OK) {
        kw_fanout_fini(self);
    }
    return code;
}

static kw_reply *combine(kw_fanout *self, kw_error *error)
{
    const kw_allocator *mem = self->mem;
    size_t n = self->items_n;
    kw_reply **replies = kw_mem_calloc(mem, n, sizeof(replies[0]));
    kw_reply *combined = NULL;
    for (size_t i = 0; replies != NULL && i < n; i++) {
        if (self->items[i].code != KW_OK) {
            kw_mem_free(mem, replies);
            return fail_of(self, error, i);
        }
        replies[i] = self->items[i].request.reply;
    }
    for (size_t i = n; replies != NULL && i > 0; i--) {
        if (kw_reply_is_error(replies[i - 1])) { /* whose error it is, which the reply cannot say */
            kw_error_set_node(error, self->items[i - 1].plan.node->name);
        }
    }
    if (replies == NULL || kw_combine(&combined, mem, self->plan->command, replies, n) != KW_OK) {
        no_memory(error, KW_EFFECT_DONE);
    }
    kw_mem_free(mem, replies);
    return combined;
}

kw_reply *kw_fanout_finish(kw_fanout *self, kw_error *error)
{
    return self->is_split ? join_parts(self, error) : combine(self, error);
}

kw_reply *kw_call_run_split(kw_topology *topology, kw_error *error, const kw_plan *plan,
                            const kw_bytes *argv, size_t argc)
{
    kw_fanout self;
    kw_fanout_init(&self, topology, plan, &topology->env.mem);
    if (kw_fanout_split(&self, error, argv, argc) != KW_OK) {
        return NULL;
    }
    kw_commands commands = {self.items, self.items_n, 0, plan->deadline_ns, NULL};
    if (kw_pipeline_all(topology, &commands) != KW_OK) {
        redo_stale_split(&self);
    }
    kw_reply *reply = kw_fanout_finish(&self, error);
    kw_fanout_fini(&self);
    return reply;
}

kw_reply *kw_call_run_all(kw_topology *topology, kw_error *error, const kw_plan *plan,
                          kw_bytes encoded)
{
    kw_fanout self;
    kw_fanout_init(&self, topology, plan, &topology->env.mem);
    if (kw_fanout_visit(&self, error, encoded) != KW_OK) {
        return NULL;
    }
    self.items[0].plan.closing = plan->closing;
    kw_commands commands = {self.items, self.items_n, 0, plan->deadline_ns, NULL};
    (void)kw_pipeline_all(topology, &commands);
    kw_reply *reply = kw_fanout_finish(&self, error);
    kw_fanout_fini(&self);
    return reply;
}
