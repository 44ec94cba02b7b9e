/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinels asked for the primary of their group, and that server asked for its role. */
#include "net/fetch_sentinel.h"

#include "base/error.h"
#include "base/resp.h"
#include "net/sentinel_nodes.h"
#include "route/role.h"

#include <string.h>

/* A sentinel, and then the primary, are given this long each ("a few hundred
 * milliseconds", Guidelines for Redis clients with support for Sentinel). */
#define ASK_NS ((uint64_t)300000000)

/* The time-out of a primary that did not answer the last time. */
#define SUSPECT_NS ((uint64_t)100000000)

kw_err kw_fetch_sentinel_init(kw_fetch_sentinel *self, kw_env *env, const kw_fetch_owner *owner,
                              const kw_sentinel_group *group)
{
    memset(self, 0, sizeof(*self));
    self->env = env;
    self->owner = owner;
    self->service = group->service;
    kw_listener_init(&self->listener, env);
    kw_err code =
        kw_sentinel_watch_init(&self->watch, &env->mem, group->sentinels, group->sentinels_n);
    if (code != KW_OK) {
        return code;
    }
    self->nodes = kw_mem_calloc(&env->mem, KW_SENTINEL_NODES_MAX(self), sizeof(self->nodes[0]));
    if (self->nodes == NULL) {
        kw_sentinel_watch_fini(&self->watch);
        return KW_ERR_NOMEM;
    }
    return KW_OK;
}

/* Forgets what the sentinel whose turn it was has said. */
static void forget(kw_fetch_sentinel *self)
{
    kw_mem_free(&self->env->mem, self->replicas.items);
    kw_mem_free(&self->env->mem, self->peers.items);
    memset(&self->replicas, 0, sizeof(self->replicas));
    memset(&self->peers, 0, sizeof(self->peers));
    self->heir.host[0] = '\0';
    self->said_epoch = 0;
    self->step = KW_SENTINEL_ASKS_GROUP;
    self->has_answered = false;
    self->is_fast = false;
}

void kw_fetch_sentinel_fini(kw_fetch_sentinel *self)
{
    if (self->env == NULL) {
        return; /* never begun: the handle has another way of fetching */
    }
    forget(self);
    kw_listener_fini(&self->listener);
    for (size_t i = 0; i < self->nodes_n; i++) {
        kw_node_unref(self->nodes[i]);
    }
    kw_mem_free(&self->env->mem, self->nodes);
    kw_sentinel_watch_fini(&self->watch);
}

static size_t begin(void *arg, kw_node **nodes)
{
    kw_fetch_sentinel *self = arg;
    size_t n = 0;
    forget(self);
    kw_sentinel_nodes_drop_left(self);
    kw_sentinel_watch_on_start(&self->watch);
    kw_sentinel_trust_begin(&self->trust);
    self->told_rank = 0;
    self->asked_n = 0;
    self->later.host[0] = '\0';
    self->is_again = false;
    for (size_t i = 0; i < self->watch.entries_n && n < KW_FETCH_NODES_MAX; i++) {
        kw_node *node = kw_sentinel_nodes_need(self, &self->watch.entries[i].endpoint);
        if (node != NULL) {
            nodes[n++] = kw_node_ref(node);
        }
    }
    self->asked_n = n;
    return n;
}

/* "SENTINEL <what> <name>". */
static bool append(kw_fetch_sentinel *self, kw_fetch_questions *questions, kw_buf *encoded,
                   const char *what)
{
    kw_bytes argv[3] = {kw_bytes_of("SENTINEL"), kw_bytes_of(what), kw_bytes_of(self->service)};
    bool is_whole = kw_resp_append(encoded, argv, 3);
    questions->ends[questions->n++] = encoded->len;
    return is_whole;
}

static bool ask(void *arg, kw_fetch_questions *questions, kw_buf *encoded)
{
    kw_fetch_sentinel *self = arg;
    kw_bytes role[1] = {kw_bytes_of("ROLE")};
    kw_bytes info[2] = {kw_bytes_of("INFO"), kw_bytes_of("replication")};
    bool is_whole = false;
    questions->n = 0;
    questions->wait_ns = self->is_fast ? SUSPECT_NS : ASK_NS;
    questions->is_for_primary = self->step >= KW_SENTINEL_ASKS_HEIR;
    questions->allows_strangers = questions->is_for_primary || self->trust.follows_stranger;
    questions->name = "SENTINEL";
    switch (self->step) {
    case KW_SENTINEL_ASKS_GROUP:
        is_whole = append(self, questions, encoded, "GET-MASTER-ADDR-BY-NAME") &&
                   append(self, questions, encoded, "REPLICAS") &&
                   append(self, questions, encoded, "SENTINELS") &&
                   append(self, questions, encoded, "MASTER");
        break;
    case KW_SENTINEL_ASKS_REPLICAS:
        is_whole = append(self, questions, encoded, "SLAVES");
        break;
    case KW_SENTINEL_ASKS_HEIR:
    case KW_SENTINEL_ASKS_ROLE:
        questions->name = "ROLE";
        is_whole = kw_resp_append(encoded, role, 1);
        questions->ends[questions->n++] = encoded->len;
        if (self->env->options.identity != KW_IDENTITY_OFF) {
            is_whole = is_whole && kw_resp_append(encoded, info, 2);
            questions->ends[questions->n++] = encoded->len;
        }
        break;
    }
    return is_whole;
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a map");
}

/* True where the sentinel names another primary by an older configuration of the group than that
 * which the one in use is from: it was away, and has not heard of the failover yet. */
static bool is_behind(kw_fetch_sentinel *self)
{
    if (self->said_epoch == 0 || self->said_epoch >= self->epoch ||
        kw_endpoint_equal(&self->primary, &self->last)) {
        return false;
    }
    uint64_t now_ns = kw_env_now(self->env);
    self->behind_ns = self->behind_ns != 0 ? self->behind_ns : now_ns;
    return now_ns < self->behind_ns + KW_SENTINEL_RELENT_NS;
}

/* Whoever may be the primary is asked next: first the heir, which a sentinel that replaces a
 * primary has chosen and names up to a second after it took over, when it looks the next time;
 * then the one that the sentinel names, unless another sentinel did, and it was none. */
static kw_err go_to_primary(kw_fetch_sentinel *self, kw_fetch_step *step, kw_error *error)
{
    if (self->heir.host[0] != '\0' && self->step != KW_SENTINEL_ASKS_HEIR) {
        self->step = KW_SENTINEL_ASKS_HEIR;
        step->node = self->owner->node_fn(self->owner->arg, &self->heir);
        return step->node != NULL ? KW_OK : no_memory(error);
    }
    if (is_behind(self)) {
        return kw_error_set(error, KW_ERR_CONNECT, KW_EFFECT_NONE,
                            "it is behind: its configuration of the group is older than the one "
                            "that another sentinel has told");
    }
    if (kw_sentinel_watch_has_tried(&self->watch, &self->primary)) {
        self->trust.vain_n++;
        kw_error_copy(error, &self->told);
        return self->told.code;
    }
    bool is_now = self->trust.follows_other || self->watch.tally.asked_n + 1 >= self->asked_n;
    kw_sentinel_advice advice = kw_sentinel_watch_on_named(&self->watch, &self->primary, is_now);
    if (advice == KW_SENTINEL_LATER) {
        self->trust.put_off_n++;
        self->later = self->later.host[0] != '\0' ? self->later : self->sentinel;
        return kw_error_set(error, KW_ERR_CONNECT, KW_EFFECT_NONE,
                            "it still names a primary that did not answer");
    }
    if (kw_endpoint_equal(&self->primary, &self->watch.suspect)) {
        self->later.host[0] = '\0';
    }
    self->is_fast = advice == KW_SENTINEL_GO_FAST;
    self->step = KW_SENTINEL_ASKS_ROLE;
    step->node = self->owner->node_fn(self->owner->arg, &self->primary);
    return step->node != NULL ? KW_OK : no_memory(error);
}

static void push(kw_fetch_sentinel *self, kw_sentinel_news news, const kw_endpoint *server)
{
    if (self->news_n < KW_SENTINEL_TOLD_MAX) {
        self->news[self->news_n].news = news;
        self->news[self->news_n++].server = *server;
    }
}

/* Notes the primary that was found, and tells of it where it is another one. */
static void note_primary(kw_fetch_sentinel *self)
{
    const kw_endpoint *primary = self->step == KW_SENTINEL_ASKS_HEIR ? &self->heir : &self->primary;
    if (self->last.host[0] != '\0' && !kw_endpoint_equal(&self->last, primary)) {
        push(self, KW_SENTINEL_SWITCHED, primary);
    }
    self->last = *primary;
    bool is_heir = self->step == KW_SENTINEL_ASKS_HEIR;
    if (self->said_epoch != 0) { /* the configuration that names the heir is a later one */
        uint64_t epoch = self->said_epoch + (is_heir ? 1 : 0);
        self->epoch = is_heir && epoch < self->epoch ? self->epoch : epoch;
    }
    self->behind_ns = 0;
}

static kw_err take_group(kw_fetch_sentinel *self, kw_fetch_step *step, kw_error *error,
                         const kw_node *from, kw_reply *const *replies)
{
    const kw_allocator *mem = &self->env->mem;
    self->sentinel = from->endpoint;
    self->said_epoch = kw_topology_sentinel_epoch(replies[3]);
    if (kw_reply_is_error(replies[0]) &&
        kw_bytes_starts(kw_reply_bytes(replies[0]), "ERR unknown command")) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "it is no sentinel: a server is redis://, a node of a cluster "
                            "redis-cluster://");
    }
    kw_err code = kw_topology_sentinel_primary(&self->primary, error, replies[0]);
    self->has_answered = code == KW_OK || code == KW_ERR_NO_SERVICE;
    if (code == KW_OK && !kw_reply_is_error(replies[2])) {
        code = kw_topology_sentinel_peers(&self->peers, error, mem, replies[2]);
    }
    if (code != KW_OK) {
        return code;
    }
    kw_sentinel_nodes_note_ids(self, replies[2]);
    if (kw_reply_is_error(replies[1])) {
        self->step = KW_SENTINEL_ASKS_REPLICAS;
        return KW_OK;
    }
    code = kw_topology_sentinel_replicas(&self->replicas, &self->heir, error, mem, replies[1]);
    if (code == KW_OK) {
        self->owner->timeout_fn(self->owner->arg, kw_topology_sentinel_timeout_ms(replies[1]));
    }
    return code == KW_OK ? go_to_primary(self, step, error) : code;
}

/* Takes the list of replicas. A sentinel that refuses the question costs reads from replicas, and
 * nothing else. */
static kw_err take_replicas(kw_fetch_sentinel *self, kw_fetch_step *step, kw_error *error,
                            const kw_reply *reply)
{
    kw_err code = KW_OK;
    if (!kw_reply_is_error(reply)) {
        code = kw_topology_sentinel_replicas(&self->replicas, &self->heir, error, &self->env->mem,
                                             reply);
    }
    return code == KW_OK ? go_to_primary(self, step, error) : code;
}

static kw_err take_role(kw_fetch_sentinel *self, kw_fetch_step *step, kw_error *error,
                        const kw_node *from, kw_reply *const *replies)
{
    kw_role role;
    kw_err code = kw_role_read(&role, error, replies[0]);
    if (code != KW_OK) {
        return code;
    }
    if (role.kind != KW_ROLE_PRIMARY) {
        return kw_error_set(error, KW_ERR_ROLE, KW_EFFECT_NONE,
                            "named as the primary, but it says that it is a %s",
                            kw_role_name(role.kind));
    }
    code = kw_sentinel_nodes_check(self, step, error, from, step->asked->n > 1 ? replies[1] : NULL);
    if (code != KW_OK) {
        return code;
    }
    bool is_heir = self->step == KW_SENTINEL_ASKS_HEIR;
    step->map = kw_topology_sentinel_map(&self->env->mem, is_heir ? &self->heir : &self->primary,
                                         &self->replicas);
    return step->map != NULL ? KW_OK : no_memory(error);
}

static kw_err take(void *arg, kw_fetch_step *step, kw_error *error, const kw_node *from,
                   kw_reply *const *replies)
{
    kw_fetch_sentinel *self = arg;
    kw_err code = KW_OK;
    switch (self->step) {
    case KW_SENTINEL_ASKS_GROUP:
        code = take_group(self, step, error, from, replies);
        break;
    case KW_SENTINEL_ASKS_REPLICAS:
        code = take_replicas(self, step, error, replies[0]);
        break;
    case KW_SENTINEL_ASKS_HEIR:
    case KW_SENTINEL_ASKS_ROLE:
        code = take_role(self, step, error, from, replies);
        break;
    }
    if (code == KW_OK && step->map != NULL) {
        step->is_brief = self->step == KW_SENTINEL_ASKS_ROLE && self->heir.host[0] != '\0';
        kw_sentinel_watch_on_success(&self->watch, &self->sentinel);
        kw_sentinel_trust_on_success(&self->trust);
        kw_sentinel_watch_learn(&self->watch, self->peers.items, self->peers.n);
        note_primary(self);
        forget(self);
    }
    return code;
}

/* How much a failure tells of what is wrong. */
static unsigned rank_of(const kw_fetch_sentinel *self, const kw_error *failure)
{
    if (self->step == KW_SENTINEL_ASKS_ROLE) {
        return 4;
    }
    if (self->has_answered) {
        return 3;
    }
    return failure->code == KW_ERR_AUTH ? 2 : 1;
}

/* The sentinel has led to no primary. */
static void give_up(kw_fetch_sentinel *self, const kw_node *node, const kw_error *failure)
{
    unsigned rank = rank_of(self, failure);
    if (rank > self->told_rank) {
        self->told = *failure;
        self->told_rank = rank;
    }
    if (self->step == KW_SENTINEL_ASKS_ROLE) {
        kw_sentinel_nodes_on_failure(self, failure->code);
    }
    if (!self->is_again) { /* else it was counted before */
        kw_sentinel_watch_on_failure(&self->watch, failure->code, self->has_answered);
    }
    bool is_stranger = failure->code == KW_ERR_IDENTITY && !self->has_answered;
    self->trust.has_stranger = self->trust.has_stranger || is_stranger;
    if (self->step == KW_SENTINEL_ASKS_ROLE) {
        kw_env_log(self->env, KW_LOG_WARNING, "sentinel %s names %s: %s", node->name, failure->node,
                   failure->text);
    } else {
        kw_env_log(self->env, KW_LOG_WARNING, "sentinel %s: %s", node->name, failure->text);
    }
    forget(self);
}

/* Nobody is left. A primary that was put off, since it had not answered the last time, is asked all
 * the same before what others say is weighed: by the sentinel that named it, which is returned. */
static kw_node *ask_again(kw_fetch_sentinel *self)
{
    if (self->watch.tally.asked_n < self->asked_n || self->later.host[0] == '\0') {
        return NULL;
    }
    kw_node *node = kw_sentinel_nodes_need(self, &self->later);
    self->later.host[0] = '\0';
    self->is_again = true;
    self->trust.put_off_n--;
    return node != NULL ? kw_node_ref(node) : NULL;
}

static kw_node *fail(void *arg, kw_node *node, const kw_error *failure)
{
    kw_fetch_sentinel *self = arg;
    kw_fetch_step step = {.map = NULL};
    kw_error again = kw_error_none();
    kw_error_copy(&again, failure);
    if (self->step == KW_SENTINEL_ASKS_HEIR && go_to_primary(self, &step, &again) == KW_OK) {
        return step.node; /* not the primary yet */
    }
    give_up(self, node, &again);
    return ask_again(self);
}

static bool end(void *arg, kw_error *failure)
{
    kw_fetch_sentinel *self = arg;
    kw_error told = self->told;
    if (self->asked_n == 0) { /* there is always somebody to ask */
        (void)no_memory(failure);
        return false;
    }
    if (self->told_rank == 0) {
        told = *failure;
    }
    if (told.code == KW_ERR_UNSUPPORTED) {
        *failure = told;
        return false;
    }
    kw_err code = kw_sentinel_watch_on_end(&self->watch, told.code);
    switch ((int)code) {
    case KW_ERR_NO_SENTINEL:
        kw_error_set(failure, code, KW_EFFECT_NONE, "no sentinel led to \"%.60s\"; %.80s: %.180s",
                     self->service, told.node, told.text);
        break;
    case KW_ERR_NO_SERVICE:
        kw_error_set(failure, code, KW_EFFECT_NONE,
                     "the sentinels do not know the name \"%.60s\"; SENTINEL MASTERS lists those "
                     "that they know",
                     self->service);
        break;
    default:
        kw_error_set(failure, code, KW_EFFECT_NONE, "%s%s", told.text,
                     self->told_rank == 4 ? "; the sentinels name it as the primary" : "");
        break;
    }
    kw_error_set_node(failure, told.node);
    bool is_strict = self->env->options.identity == KW_IDENTITY_STRICT;
    bool believes =
        kw_sentinel_trust_on_end(&self->trust, self->asked_n, self->watch.tally.answered_n,
                                 is_strict, kw_env_now(self->env));
    /* They are about to name another one. */
    return self->watch.tally.has_named || believes;
}

/* Each sentinel tells the same: the host hears of a server when something else is said of
 * it. */
static void note(kw_fetch_sentinel *self, kw_sentinel_news news, const kw_endpoint *server)
{
    kw_sentinel_told *known = NULL;
    for (size_t i = 0; i < KW_SENTINEL_TOLD_MAX && known == NULL; i++) {
        known = kw_endpoint_equal(&self->known[i].server, server) ? &self->known[i] : NULL;
    }
    if (known == NULL) {
        known = &self->known[self->known_at];
        self->known_at = (self->known_at + 1) % KW_SENTINEL_TOLD_MAX;
        known->server = *server;
        known->news = KW_SENTINEL_NOTHING;
    }
    if (known->news != news) {
        known->news = news;
        push(self, news, server);
    }
}

static void on_message(kw_fetch_sentinel *self, const kw_listener_message *message)
{
    kw_endpoint server;
    kw_sentinel_news news =
        kw_sentinel_event_read(&server, message->channel, message->text, self->service);
    self->has_news = self->has_news || news != KW_SENTINEL_NOTHING;
    switch (news) {
    case KW_SENTINEL_NOTHING:
    case KW_SENTINEL_SUSPECT:
        break;
    case KW_SENTINEL_LEADS:
        kw_sentinel_watch_prefer(&self->watch, &message->node->endpoint);
        break;
    case KW_SENTINEL_PRIMARY_DOWN:
    case KW_SENTINEL_PRIMARY_UP:
    case KW_SENTINEL_REPLICA_DOWN:
    case KW_SENTINEL_REPLICA_UP:
        note(self, news, &server);
        break;
    case KW_SENTINEL_SWITCHED:
        break;
    }
}

/* Hears what the sentinels publish. Subscriptions begin with the first fetch, since a handle that
 * nobody uses is to open nothing. */
static bool hear_out(void *arg, uint64_t now_ns)
{
    kw_fetch_sentinel *self = arg;
    kw_node *nodes[KW_LISTENER_SUBSCRIPTIONS_MAX];
    size_t n = 0;
    if (self->nodes_n == 0 || !kw_listener_is_due(&self->listener, now_ns)) {
        return false;
    }
    for (size_t i = 0; i < self->watch.entries_n && n < KW_LISTENER_SUBSCRIPTIONS_MAX; i++) {
        kw_node *node = kw_sentinel_nodes_need(self, &self->watch.entries[i].endpoint);
        if (node != NULL) {
            nodes[n++] = node;
        }
    }
    self->has_news = false;
    kw_listener_look(&self->listener, nodes, n, now_ns);
    kw_listener_message message;
    while (kw_listener_next(&self->listener, &message, now_ns)) {
        on_message(self, &message);
    }
    return self->has_news;
}

bool kw_fetch_sentinel_news(kw_fetch_sentinel *self, kw_sentinel_told *news)
{
    if (self->news_n == 0) {
        return false;
    }
    *news = self->news[0];
    self->news_n--;
    memmove(&self->news[0], &self->news[1], self->news_n * sizeof(self->news[0]));
    return true;
}

const kw_fetch_way kw_fetch_sentinel_way = {1, begin, ask, take, fail, end, NULL, hear_out};
