/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER SLOTS, or CLUSTER SHARDS, of one node after the other, until one gives a map. */
#include "net/fetch_cluster.h"

#include "net/fetch_ask.h"

#include "base/error.h"
#include "base/resp.h"
#include "engine/refresh.h"
#include "route/topology.h"

/* One node is given this long to say its map. */
#define ASK_NS ((uint64_t)300000000)

void kw_fetch_cluster_init(kw_fetch_cluster *self, kw_env *env, const kw_fetch_owner *owner)
{
    self->env = env;
    self->owner = owner;
    kw_random_init(&self->random, kw_env_seed(env));
}

static size_t begin(void *arg, kw_node **nodes)
{
    kw_fetch_cluster *self = arg;
    kw_node *known[KW_FETCH_NODES_MAX];
    bool is_seed[KW_FETCH_NODES_MAX];
    kw_refresh_candidate candidates[KW_FETCH_NODES_MAX];
    size_t n = self->owner->candidates_fn(self->owner->arg, known, is_seed, KW_FETCH_NODES_MAX);
    for (size_t i = 0; i < n; i++) {
        candidates[i].node = i;
        candidates[i].is_seed = is_seed[i];
        candidates[i].is_suspect = kw_node_is_failing(known[i]);
    }
    kw_refresh_order(candidates, n, &self->random);
    for (size_t i = 0; i < n; i++) {
        nodes[i] = known[candidates[i].node];
    }
    return n;
}

/* CLUSTER INFO: a few hundred bytes instead of the map. */
static bool ask_for_news(kw_fetch_questions *questions, kw_buf *encoded)
{
    kw_bytes argv[2] = {kw_bytes_of("CLUSTER"), kw_bytes_of("INFO")};
    questions->name = "CLUSTER INFO";
    questions->n = 1;
    questions->wait_ns = ASK_NS;
    questions->is_for_primary = false;
    questions->is_for_news = true;
    bool is_whole = kw_resp_append(encoded, argv, 2);
    questions->ends[0] = encoded->len;
    return is_whole;
}

static bool ask(void *arg, kw_fetch_questions *questions, kw_buf *encoded)
{
    const kw_fetch_cluster *self = arg;
    if (self->asks_info && !questions->has_news) {
        return ask_for_news(questions, encoded);
    }
    questions->is_for_news = false;
    kw_bytes argv[2] = {kw_bytes_of("CLUSTER"),
                        kw_bytes_of(questions->is_other_form ? "SHARDS" : "SLOTS")};
    if (!kw_resp_append(encoded, argv, 2)) {
        return false;
    }
    questions->name = "CLUSTER SLOTS";
    questions->n = 1;
    questions->ends[0] = encoded->len;
    if (atomic_load_explicit(&self->env->wants_timeout, memory_order_relaxed) &&
        !questions->is_other_form) {
        kw_bytes config[3] = {kw_bytes_of("CONFIG"), kw_bytes_of("GET"),
                              kw_bytes_of("cluster-node-timeout")};
        if (!kw_resp_append(encoded, config, 3)) {
            return false;
        }
        questions->ends[questions->n++] = encoded->len;
    }
    questions->wait_ns = ASK_NS;
    questions->is_for_primary = false;
    return true;
}

static kw_err refused(kw_error *error, kw_bytes text)
{
    char shown[160];
    kw_bytes_show(shown, sizeof(shown), text);
    bool is_standalone = kw_bytes_starts(text, "ERR This instance has cluster support disabled");
    return kw_error_set(error, is_standalone ? KW_ERR_UNSUPPORTED : KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                        "the server refused CLUSTER SLOTS: %s%s", shown,
                        is_standalone ? "; for a server that is not in a cluster use redis://"
                                      : "");
}

static kw_err read_map(kw_fetch_cluster *self, kw_fetch_step *step, kw_error *error,
                       const kw_node *from, const kw_reply *reply)
{
    if (kw_reply_is_error(reply)) {
        return refused(error, kw_reply_bytes(reply));
    }
    kw_map *previous = self->owner->map_fn(self->owner->arg);
    kw_topology_source source = {&self->env->mem, &from->endpoint, previous,
                                 self->env->options.has_tls};
    kw_err code = step->asked->is_other_form
                      ? kw_topology_from_shards(&step->map, error, &source, reply)
                      : kw_topology_from_slots(&step->map, error, &source, reply);
    kw_map_unref(previous);
    return code;
}

/* ["cluster-node-timeout", "15000"], or nothing where that may not be asked: asked once. */
static void take_timeout(const kw_fetch_cluster *self, const kw_reply *reply)
{
    uint64_t timeout_ms = 0;
    (void)kw_bytes_to_uint(&timeout_ms, kw_reply_bytes(kw_reply_at(reply, 1)), UINT32_MAX);
    atomic_store_explicit(&self->env->wants_timeout, false, memory_order_relaxed);
    self->owner->timeout_fn(self->owner->arg, timeout_ms);
}

/* The lines that change when slots have other owners. */
static bool is_telling(kw_bytes line)
{
    return kw_bytes_starts(line, "cluster_state:") || kw_bytes_starts(line, "cluster_slots_") ||
           kw_bytes_starts(line, "cluster_known_nodes:") ||
           kw_bytes_starts(line, "cluster_size:") ||
           kw_bytes_starts(line, "cluster_current_epoch:");
}

static uint64_t hash_of_info(kw_bytes text)
{
    uint64_t hash = 0;
    kw_bytes line;
    while (kw_bytes_split(&line, &text, text, '\n')) {
        if (is_telling(line)) {
            hash = hash * 31 + kw_zone_hash(line); /* any hash of bytes will do */
        }
    }
    return hash;
}

/* Where nothing has changed since the last time, the map in use is the answer. */
static kw_err take_info(kw_fetch_cluster *self, kw_fetch_step *step, const kw_reply *reply)
{
    uint64_t hash = kw_reply_is_error(reply) ? 0 : hash_of_info(kw_reply_bytes(reply));
    bool is_same = hash != 0 && hash == self->info_hash;
    self->info_hash = hash;
    step->asked->has_news = true;
    if (is_same) {
        step->map = self->owner->map_fn(self->owner->arg);
    }
    return KW_OK;
}

static kw_err take(void *arg, kw_fetch_step *step, kw_error *error, const kw_node *from,
                   kw_reply *const *replies)
{
    kw_fetch_cluster *self = arg;
    if (step->asked->is_for_news) {
        return take_info(self, step, replies[0]);
    }
    if (step->asked->n > 1) {
        take_timeout(self, replies[1]);
    }
    kw_err code = read_map(self, step, error, from, replies[0]);
    if (code == KW_OK || code == KW_ERR_UNSUPPORTED || code == KW_ERR_NOMEM ||
        step->asked->is_other_form) {
        return code;
    }
    step->asked->is_other_form = true;
    return KW_OK;
}

static kw_node *fail(void *arg, kw_node *node, const kw_error *failure)
{
    kw_fetch_cluster *self = arg;
    kw_env_log(self->env, KW_LOG_WARNING, "no map from %s: %s", node->name, failure->text);
    return NULL;
}

static bool end(void *arg, kw_error *failure)
{
    (void)arg;
    (void)failure;
    return false;
}

const kw_fetch_way kw_fetch_cluster_way = {KW_FETCH_ASKS_MAX, begin, ask, take, fail, end, NULL};
