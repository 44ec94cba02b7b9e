/* Calls that become many commands: split over slots, or sent to many nodes. */
#include "api/call.h"

#include "api/plan_ring.h"
#include "api/run.h"
#include "base/error.h"
#include "route/combine.h"
#include "route/split.h"

#include <string.h>

static kw_reply *no_memory(kw_error *error, kw_effect effect)
{
    kw_error_set(error, KW_ERR_NOMEM, effect, "no memory for a command to many nodes");
    return NULL;
}

static kw_item *new_items(kw_client *client, size_t n)
{
    return kw_mem_calloc(&client->env.mem, n, sizeof(kw_item));
}

static void free_items(kw_client *client, kw_item *items, size_t n)
{
    for (size_t i = 0; items != NULL && i < n; i++) {
        kw_item_fini(&items[i], &client->env.mem);
    }
    kw_mem_free(&client->env.mem, items);
}

static const char *text_of(const kw_item *item)
{
    return item->trouble != NULL ? item->trouble->failure.text : kw_err_text(item->code);
}

static kw_effect effect_of(const kw_item *item)
{
    return item->trouble != NULL ? item->trouble->failure.effect : KW_EFFECT_MAYBE;
}

/* Tells of items[at], which has no reply, as part of the whole: what others did counts. */
static kw_reply *fail_of(kw_error *error, const kw_plan *plan, const kw_item *items, size_t n,
                         size_t at)
{
    kw_effect effect = KW_EFFECT_NONE;
    for (size_t i = 0; i < n; i++) {
        kw_effect part = items[i].code == KW_OK ? KW_EFFECT_MAYBE : effect_of(&items[i]);
        effect = part > effect && !plan->is_repeatable ? part : effect;
    }
    effect = effect_of(&items[at]) > effect ? effect_of(&items[at]) : effect;
    kw_error_set(error, items[at].code, effect, "part %zu of %zu: %s", at + 1, n,
                 text_of(&items[at]));
    if (items[at].trouble != NULL) {
        kw_error_set_node(error, items[at].trouble->failure.node);
    }
    return NULL;
}

/* Encoded commands of all parts, one behind the other. */
static bool encode_parts(kw_client *client, kw_split *split, kw_buf *encoded, kw_item *items,
                         const kw_plan *plan)
{
    for (size_t i = 0; i < split->parts_n; i++) {
        items[i].encoded.len = encoded->len; /* where it begins, until the buffer rests */
        if (!kw_split_encode(split, encoded, &split->parts[i])) {
            return false;
        }
        items[i].plan = *plan;
        if (kw_plan_is_ring(client)) {
            if (!kw_plan_ring_part(&items[i].plan, client, split, &split->parts[i])) {
                return false;
            }
            continue;
        }
        items[i].plan.kind = KW_PLAN_SLOT;
        items[i].plan.slot = split->parts[i].slot;
        items[i].request.pools = true;
    }
    for (size_t i = 0; i < split->parts_n; i++) {
        size_t start = items[i].encoded.len;
        size_t end = i + 1 < split->parts_n ? items[i + 1].encoded.len : encoded->len;
        kw_bytes bytes = {encoded->data + start, end - start};
        items[i].encoded = bytes;
    }
    return true;
}

static kw_reply *join_parts(kw_client *client, kw_error *error, const kw_plan *plan,
                            const kw_split *split, const kw_item *items)
{
    size_t n = split->parts_n;
    size_t failed_n = 0;
    kw_split_result *results = kw_mem_calloc(&client->env.mem, n, sizeof(results[0]));
    kw_reply *joined = NULL;
    for (size_t i = 0; results != NULL && i < n; i++) {
        results[i].reply = items[i].request.reply;
        results[i].text = text_of(&items[i]);
        failed_n += items[i].code != KW_OK ? 1 : 0;
    }
    if (failed_n == n) {
        kw_mem_free(&client->env.mem, results);
        return fail_of(error, plan, items, n, 0);
    }
    if (results == NULL || kw_split_join(&joined, split, plan->command, results) != KW_OK) {
        no_memory(error, KW_EFFECT_DONE);
    }
    kw_mem_free(&client->env.mem, results);
    return joined;
}

/* Parts that no node has seen, as the ring was changed and their keys have several owners
 * now, are split anew. */
static void redo_torn(kw_client *client, const kw_plan *plan, kw_split *split, kw_item *items)
{
    for (size_t i = 0; i < split->parts_n; i++) {
        if (items[i].code != KW_ERR_CROSSSLOT || !kw_plan_is_torn(&items[i].plan)) {
            continue;
        }
        kw_error failure = KW_ERROR_INIT;
        size_t argc = kw_split_gather(split, &split->parts[i]);
        items[i].request.reply = kw_call_run_split(client, &failure, plan, split->scratch, argc);
        items[i].code = items[i].request.reply != NULL ? KW_OK : failure.code;
        if (items[i].trouble != NULL) {
            items[i].trouble->failure = failure;
        }
    }
}

/* The keys by their owners. */
static kw_err init_split(kw_split *split, kw_client *client, const kw_keys *keys,
                         const kw_bytes *argv)
{
    if (!kw_plan_is_ring(client)) {
        return kw_split_init(split, &client->env.mem, keys, argv, NULL);
    }
    kw_view *view = kw_client_view(client);
    kw_split_groups groups = kw_plan_ring_groups(view);
    kw_err code = kw_split_init(split, &client->env.mem, keys, argv, &groups);
    kw_view_unref(view);
    return code;
}

kw_reply *kw_call_run_split(kw_client *client, kw_error *error, const kw_plan *plan,
                            const kw_bytes *argv, size_t argc)
{
    kw_keys keys;
    kw_split split;
    if (kw_keys_find(&keys, error, plan->command, argv, argc) != KW_OK) {
        return NULL;
    }
    if (init_split(&split, client, &keys, argv) != KW_OK) {
        return no_memory(error, KW_EFFECT_NONE);
    }
    kw_reply *reply = NULL;
    kw_buf encoded;
    kw_buf_init(&encoded, &client->env.mem, NULL, 0);
    kw_item *items = new_items(client, split.parts_n);
    if (items == NULL || !encode_parts(client, &split, &encoded, items, plan)) {
        no_memory(error, KW_EFFECT_NONE);
    } else {
        if (kw_run_all(client, items, split.parts_n, plan->deadline_ns) != KW_OK) {
            redo_torn(client, plan, &split, items);
        }
        reply = join_parts(client, error, plan, &split, items);
    }
    free_items(client, items, split.parts_n);
    kw_buf_fini(&encoded);
    kw_split_fini(&split);
    return reply;
}

/* The nodes that a plan means, borrowed from view. */
static size_t choose_nodes(kw_node **nodes, const kw_view *view, kw_plan_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < kw_map_shards_n(view->map); i++) {
        const kw_map_shard *shard = kw_map_shard_at(view->map, i);
        nodes[n++] = view->nodes[shard->primary];
        for (size_t k = 0; kind == KW_PLAN_ALL_NODES && k < shard->replicas_n; k++) {
            nodes[n++] = view->nodes[kw_map_replica(view->map, shard, k)];
        }
    }
    return n;
}

static kw_reply *combine(kw_client *client, kw_error *error, const kw_plan *plan,
                         const kw_item *items, size_t n)
{
    const kw_allocator *mem = &client->env.mem;
    kw_reply **replies = kw_mem_calloc(mem, n, sizeof(replies[0]));
    kw_reply *combined = NULL;
    for (size_t i = 0; replies != NULL && i < n; i++) {
        if (items[i].code != KW_OK) {
            kw_mem_free(mem, replies);
            return fail_of(error, plan, items, n, i);
        }
        replies[i] = items[i].request.reply;
    }
    if (replies == NULL || kw_combine(&combined, mem, plan->command, replies, n) != KW_OK) {
        no_memory(error, KW_EFFECT_DONE);
    }
    kw_mem_free(mem, replies);
    return combined;
}

kw_reply *kw_call_run_all(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    kw_view *view;
    if (kw_client_need_view(client, &view, error, plan->deadline_ns) != KW_OK) {
        return NULL;
    }
    kw_reply *reply = NULL;
    kw_node **nodes = kw_mem_calloc(&client->env.mem, view->nodes_n, sizeof(nodes[0]));
    kw_item *items = new_items(client, view->nodes_n);
    size_t n = nodes != NULL ? choose_nodes(nodes, view, plan->kind) : 0;
    if (nodes == NULL || items == NULL) {
        no_memory(error, KW_EFFECT_NONE);
    } else if (n == 0) {
        kw_error_set(error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE, "the ring has no node");
    } else {
        for (size_t i = 0; i < n; i++) {
            items[i].plan = *plan;
            items[i].plan.kind = KW_PLAN_NODE;
            items[i].plan.node = kw_node_ref(nodes[i]);
            items[i].encoded = encoded;
        }
        (void)kw_run_all(client, items, n, plan->deadline_ns);
        reply = combine(client, error, plan, items, n);
    }
    free_items(client, items, n);
    kw_mem_free(&client->env.mem, nodes);
    kw_view_unref(view);
    return reply;
}
