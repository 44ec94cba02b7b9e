#include "api/call.h"

#include "base/error.h"
#include "route/combine.h"

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

static kw_reply *no_memory(kw_error *error, kw_effect effect)
{
    kw_error_set(error, KW_ERR_NOMEM, effect, "no memory for the replies of all nodes");
    return NULL;
}

/* Sends to each node in turn; the number of those that replied. */
static size_t run_each(kw_reply **replies, kw_client *client, kw_error *error, const kw_plan *plan,
                       kw_bytes encoded, kw_node *const *nodes, size_t nodes_n)
{
    for (size_t i = 0; i < nodes_n; i++) {
        kw_plan part = *plan;
        part.kind = KW_PLAN_NODE;
        part.node = nodes[i];
        part.start_ns = kw_env_now(&client->env);
        kw_error failure = KW_ERROR_INIT;
        replies[i] = kw_call_run(client, &failure, &part, encoded);
        if (replies[i] == NULL) {
            kw_effect effect = i > 0 && !plan->is_repeatable ? KW_EFFECT_MAYBE : failure.effect;
            kw_error_set(error, failure.code, effect, "node %zu of %zu (%zu have answered): %s",
                         i + 1, nodes_n, i, failure.text);
            kw_error_set_node(error, failure.node);
            return i;
        }
    }
    return nodes_n;
}

kw_reply *kw_call_run_all(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    kw_view *view;
    if (kw_client_need_view(client, &view, error, plan->deadline_ns) != KW_OK) {
        return NULL;
    }
    const kw_allocator *mem = &client->env.mem;
    kw_reply *combined = NULL;
    kw_node **nodes = kw_mem_calloc(mem, view->nodes_n, sizeof(nodes[0]));
    kw_reply **replies = kw_mem_calloc(mem, view->nodes_n, sizeof(replies[0]));
    if (nodes == NULL || replies == NULL) {
        no_memory(error, KW_EFFECT_NONE);
        goto done;
    }
    size_t nodes_n = choose_nodes(nodes, view, plan->kind);
    size_t replies_n = run_each(replies, client, error, plan, encoded, nodes, nodes_n);
    if (replies_n == nodes_n &&
        kw_combine(&combined, mem, plan->command, replies, replies_n) != KW_OK) {
        no_memory(error, KW_EFFECT_DONE);
    }
    for (size_t i = 0; i < replies_n; i++) {
        kw_reply_free(replies[i]);
    }
done:
    kw_mem_free(mem, nodes);
    kw_mem_free(mem, replies);
    kw_view_unref(view);
    return combined;
}
