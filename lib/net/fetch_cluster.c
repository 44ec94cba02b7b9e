/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER SLOTS, or CLUSTER SHARDS, of one node after the other, until one gives a map. */
#include "net/fetch_cluster.h"

#include "net/fetch_ask.h"
#include "net/identity.h"

#include "base/error.h"
#include "base/resp.h"
#include "engine/refresh.h"
#include "route/topology.h"

#include <string.h>

/* One node is given this long to say its map. */
#define ASK_NS ((uint64_t)300000000)

void kw_fetch_cluster_init(kw_fetch_cluster *self, kw_env *env, const kw_fetch_owner *owner)
{
    self->env = env;
    self->owner = owner;
    kw_random_init(&self->random, kw_env_seed(env));
}

static void drop_held(kw_fetch_cluster *self)
{
    kw_map_unref(self->held);
    self->held = NULL;
}

void kw_fetch_cluster_fini(kw_fetch_cluster *self)
{
    drop_held(self);
}

static size_t begin(void *arg, kw_node **nodes)
{
    kw_fetch_cluster *self = arg;
    drop_held(self);
    kw_map_trust_begin(&self->trust);
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
    questions->allows_strangers = true;
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
    kw_bytes info[2] = {kw_bytes_of("CLUSTER"), kw_bytes_of("INFO")};
    questions->name = "CLUSTER SLOTS";
    questions->n = 2;
    questions->ends[0] = encoded->len;
    if (!kw_resp_append(encoded, info, 2)) {
        return false;
    }
    questions->ends[1] = encoded->len;
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
    questions->allows_strangers = true; /* what they say is weighed */
    return true;
}

static kw_err refused(kw_error *error, const char *question, kw_bytes text)
{
    char shown[160];
    kw_bytes_show(shown, sizeof(shown), text);
    kw_err code = KW_ERR_TOPOLOGY;
    const char *hint = "";
    if (kw_bytes_starts(text, "ERR This instance has cluster support disabled")) {
        code = KW_ERR_UNSUPPORTED;
        hint = "; for a server that is not in a cluster use redis://";
    } else if (kw_bytes_starts(text, "NOPERM")) {
        code = KW_ERR_AUTH;
        hint = "; give the user +cluster|slots";
    }
    return kw_error_set(error, code, KW_EFFECT_NONE, "the server refused %s: %s%s", question, shown,
                        hint);
}

static bool is_seed(const kw_fetch_cluster *self, const kw_node *node)
{
    const kw_options *options = &self->env->options;
    for (size_t i = 0; i < options->seeds_n; i++) {
        if (kw_endpoint_equal(&options->seeds[i], &node->endpoint)) {
            return true;
        }
    }
    return false;
}

/* Where a node says that it has another id than its own map gives it, as one behind a proxy does,
 * ids tell nothing of who answers. */
static void check_ids(const kw_fetch_step *step, kw_map *map, const kw_node *from)
{
    size_t node;
    if (step->said->id != 0 && kw_map_find_node(map, &node, &from->endpoint) &&
        kw_map_member_at(map, node)->id != step->said->id) {
        kw_map_forget_ids(map);
    }
}

/* Whose map it is. A node of the cluster that is known may have a map without any other one that
 * is. */
static kw_kinship kinship_of(const kw_fetch_step *step, const kw_map *previous, const kw_map *map)
{
    if (previous == NULL) {
        return KW_KINSHIP_UNKNOWN;
    }
    kw_kinship kinship = kw_map_kinship(previous, map);
    bool is_known = kinship == KW_KINSHIP_NONE && kw_map_has_id(previous, step->said->id);
    return is_known ? KW_KINSHIP_COMMON : kinship;
}

/* A map was read: into use with it, or it is held, or dropped. */
static kw_err weigh(kw_fetch_cluster *self, kw_fetch_step *step, kw_error *error,
                    const kw_node *from, kw_map *map)
{
    kw_map_said said = self->answered;
    kw_map *previous = self->owner->map_fn(self->owner->arg);
    said.kinship = kinship_of(step, previous, map);
    said.is_seed = is_seed(self, from);
    said.witness = step->said->id != 0 ? step->said->id : kw_zone_hash(kw_bytes_of(from->name));
    kw_map_unref(previous);
    uint64_t wait_ns = kw_env_patience_ns(self->env, ASK_NS);
    switch (kw_map_trust_weigh(&self->trust, &said, step->now_ns, wait_ns)) {
    case KW_MAP_BELIEVED:
        kw_map_trust_take(&self->trust, &said);
        self->info_hash = step->asked->news_hash;
        step->map = map;
        return KW_OK;
    case KW_MAP_HELD:
        drop_held(self);
        self->held = map;
        self->held_of = from->endpoint;
        break;
    case KW_MAP_PASSED:
        kw_map_unref(map);
        break;
    }
    bool is_other = said.kinship == KW_KINSHIP_NONE;
    return kw_error_set(error, is_other ? KW_ERR_IDENTITY : KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                        is_other ? "it is a node of another cluster than the one that was known"
                                 : "its map is older than the one in use, or it sees too few of "
                                   "the other nodes (cluster_state, cluster_current_epoch)");
}

static kw_err read_map(kw_fetch_cluster *self, kw_fetch_step *step, kw_error *error,
                       const kw_node *from, const kw_reply *reply)
{
    kw_map *map = NULL;
    if (kw_reply_is_error(reply)) {
        const char *question = step->asked->is_other_form ? "CLUSTER SHARDS" : "CLUSTER SLOTS";
        return refused(error, question, kw_reply_bytes(reply));
    }
    kw_map *previous = self->owner->map_fn(self->owner->arg);
    kw_topology_source source = {&self->env->mem, &from->endpoint, previous,
                                 self->env->options.has_tls};
    kw_err code = step->asked->is_other_form ? kw_topology_from_shards(&map, error, &source, reply)
                                             : kw_topology_from_slots(&map, error, &source, reply);
    kw_map_unref(previous);
    if (code == KW_OK) {
        self->was_weighed = true;
        check_ids(step, map, from);
        code = weigh(self, step, error, from, map);
    }
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

/* Where nothing has changed since the map in use was given, that is the answer. What is said now
 * counts from the map on that goes into use behind it: that may come late, or not at all. */
static kw_err take_info(kw_fetch_cluster *self, kw_fetch_step *step, const kw_reply *reply)
{
    uint64_t hash = kw_reply_is_error(reply) ? 0 : hash_of_info(kw_reply_bytes(reply));
    bool is_same = hash != 0 && hash == self->info_hash;
    step->asked->news_hash = hash;
    step->asked->has_news = true;
    if (is_same) {
        kw_map_trust_on_known(&self->trust);
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
    if (step->asked->n > 2) {
        take_timeout(self, replies[2]);
    }
    memset(&self->answered, 0, sizeof(self->answered));
    if (!kw_reply_is_error(replies[1])) {
        kw_map_said_info(&self->answered, kw_reply_bytes(replies[1]));
    }
    self->was_weighed = false;
    kw_err code = read_map(self, step, error, from, replies[0]);
    bool was_read = code == KW_OK || self->was_weighed;
    if (was_read || code == KW_ERR_UNSUPPORTED || code == KW_ERR_NOMEM ||
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
    if (failure->code != KW_ERR_IDENTITY) {
        kw_map_trust_on_silence(&self->trust);
    }
    return NULL;
}

/* Strangers are about to be believed, unless who was silent answers. */
static bool end(void *arg, kw_error *failure)
{
    const kw_fetch_cluster *self = arg;
    (void)failure;
    return self->trust.rounds_n > 0;
}

/* What becomes of the map that is held. */
static kw_map *held(void *arg, kw_error *failure, uint64_t now_ns, bool is_over)
{
    kw_fetch_cluster *self = arg;
    if (self->held == NULL) {
        return NULL;
    }
    kw_map *previous = self->owner->map_fn(self->owner->arg);
    bool is_strict = self->env->options.identity == KW_IDENTITY_STRICT;
    size_t nodes_n = previous != NULL ? kw_map_nodes_n(previous) : 0;
    kw_map *map = NULL;
    switch (kw_map_trust_end(&self->trust, now_ns, is_over, is_strict, nodes_n)) {
    case KW_MAP_END_NONE:
    case KW_MAP_END_WAITS:
        break;
    case KW_MAP_END_REPLACED:
        kw_identity_tell(self->env, &self->held_of,
                         self->trust.held.is_seed ? "the settings name it" : "nobody else answers");
        kw_map_trust_take(&self->trust, &self->trust.held);
        self->info_hash = 0; /* others have spoken since */
        map = kw_map_ref(self->held);
        break;
    case KW_MAP_END_BELIEVED:
        kw_map_trust_take(&self->trust, &self->trust.held);
        self->info_hash = 0; /* others have spoken since */
        map = kw_map_ref(self->held);
        break;
    case KW_MAP_END_KEPT:
        map = previous != NULL ? kw_map_ref(previous) : NULL;
        break;
    case KW_MAP_END_REFUSED:
        kw_error_set(failure, KW_ERR_IDENTITY, KW_EFFECT_NONE,
                     "other servers answer at the addresses of the cluster, and none that the "
                     "settings name vouches for them; refused by identity=strict");
        break;
    }
    kw_map_unref(previous);
    if (map != NULL || is_over) {
        drop_held(self);
    }
    return map;
}

const kw_fetch_way kw_fetch_cluster_way = {
    KW_FETCH_ASKS_MAX, begin, ask, take, fail, end, held, NULL};
