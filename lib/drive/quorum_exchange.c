/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs quorum ops: sends what they ask to the copies, and tells them what came back. */
#include "drive/quorum_exchange.h"

#include "base/moment.h"
#include "drive/hints.h"
#include "drive/owed_replies.h"
#include "drive/run_wait.h"
#include "base/error.h"
#include "engine/hint.h"
#include "engine/quorum_script.h"

#include <string.h>

/* Calls whose caller has gone that are kept for late answers, at most, for each of the groups that
 * share the exchange, beside as many as the largest batch had: else nobody would bring a copy up
 * that is late to all of it. */
#define LEFT_MAX 128u

/* A node that owes so many answers, for each of those groups, for which nobody waits any more, is
 * not asked until it has given some of them, or its connection ends. */
#define OWED_MAX 256u

/* The first call of an exchange waits so long for connections to slower copies to open, so that
 * they get its writes as well. */
#define WARM_NS (20 * KW_NS_PER_MS)

struct kw_quorum_exchange {
    kw_quorum_exchange *next;
    kw_topology *topology;
    kw_quorum_blocks blocks;
    kw_pipeline pipeline;
    kw_pipeline_long_lived long_lived;
    kw_snapshot *snapshot; /* by which requests are sent until the next advance; or NULL */
    kw_copy_request *ended;
    kw_copy_request **ended_link;
    bool has_lives; /* has seen values with a life of their own, of which GET is not enough */
    kw_hints hints;
    kw_quorum_call *left; /* calls whose caller has gone, the oldest first */
    kw_quorum_call *left_last;
    size_t left_n;
    size_t batch_max;        /* calls of one group, at most */
    kw_quorum_group *groups; /* of those who wait, in the order of their coming */
    size_t groups_max;       /* that there were at once: each has its share of late answers */
    uint64_t until_ns;       /* something is due, at the last advance */
    kw_owed_replies owed_replies;
    bool is_warm;     /* has made a call */
    uint64_t tidy_ns; /* connections are looked at next, by a call that is done */
    kw_run_wait wait;
};

kw_quorum_exchange **kw_quorum_exchange_next(kw_quorum_exchange *self)
{
    return &self->next;
}

kw_quorum_blocks *kw_quorum_exchange_blocks(kw_quorum_exchange *self)
{
    return &self->blocks;
}

static void on_ended(kw_pipeline *pipeline, kw_item *item)
{
    kw_quorum_exchange *self = pipeline->owner;
    kw_copy_request *request = (kw_copy_request *)(void *)item;
    request->is_listed = true;
    request->next_ended = NULL;
    *self->ended_link = request;
    self->ended_link = &request->next_ended;
}

static void count_owed(kw_quorum_exchange *self, kw_copy_request *request)
{
    request->is_owed = kw_owed_replies_add(&self->owed_replies, request->item.plan.node);
}

static void on_dropped(kw_pipeline *pipeline, kw_item *item)
{
    kw_copy_request *request = (kw_copy_request *)(void *)item;
    kw_quorum_exchange *self = pipeline->owner;
    if (request->is_owed) {
        kw_owed_replies_remove(&self->owed_replies, item->plan.node);
        request->is_owed = false;
    }
    request->is_dropped = true;
    if (!request->is_listed && request->call == NULL) {
        kw_copy_request_free(request, &pipeline->topology->env.mem);
    }
}

kw_quorum_exchange *kw_quorum_exchange_new(kw_topology *topology, atomic_uint_fast64_t *look_ns,
                                           const atomic_bool *closing)
{
    kw_quorum_exchange *self = kw_mem_calloc(&topology->env.mem, 1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    self->topology = topology;
    self->blocks.mem = &topology->env.mem;
    self->ended_link = &self->ended;
    kw_pipeline_init(&self->pipeline, topology);
    self->pipeline.owner = self;
    self->pipeline.closing = closing;
    kw_hints_init(&self->hints, &self->pipeline, &self->owed_replies, look_ns);
    self->long_lived.on_ended = on_ended;
    self->long_lived.on_dropped = on_dropped;
    kw_pipeline_live_long(&self->pipeline, &self->long_lived, true);
    kw_run_wait_init(&self->wait, &self->pipeline, false);
    self->long_lived.tidy_ns = UINT64_MAX; /* nobody waits for it */
    return self;
}

/* The copy has missed what was asked, or may have. What that is, once it is left as a hint:
 * the copy may hold it one day. */
static kw_effect leave_hint(kw_quorum_exchange *self, const kw_quorum_call *call,
                            const kw_quorum_ask *ask, const kw_copy_request *request,
                            kw_effect effect)
{
    bool is_due = self->topology->env.options.has_quorum_hints && kw_hint_is_due(&call->op, ask);
    return is_due && kw_hints_leave(&self->hints, call, ask, request, self->pipeline.scan.now_ns)
               ? KW_EFFECT_MAYBE
               : effect;
}

/* False when there is no memory. */
static bool send_ask(kw_quorum_exchange *self, kw_quorum_call *call, const kw_quorum_ask *ask)
{
    self->has_lives = self->has_lives || ask->record.is_mortal;
    bool is_plain = ask->kind == KW_QUORUM_GET && !self->has_lives;
    kw_copy_request_way way = is_plain ? KW_COPY_REQUEST_PLAIN : KW_COPY_REQUEST_SCRIPT;
    kw_copy_request *request = kw_copy_request_new(self->topology, call, ask, way);
    if (request == NULL) {
        return false;
    }
    if (self->snapshot == NULL) {
        self->snapshot = kw_topology_snapshot(self->topology);
    }
    kw_copy_request_send(request, &self->pipeline, self->snapshot);
    return true;
}

/* Sends what the op asks for now. */
static void pump(kw_quorum_exchange *self, kw_quorum_call *call)
{
    kw_quorum_ask ask;
    uint64_t now_ns = self->pipeline.scan.now_ns;
    while (kw_quorum_next(&call->op, &ask, now_ns)) {
        if (kw_owed_replies_count(&self->owed_replies, call->nodes[ask.copy]) >=
            OWED_MAX * self->groups_max) {
            kw_error_set(&call->failure, KW_ERR_TIMEOUT, KW_EFFECT_NONE,
                         "the node owes many answers, and is not asked for now");
            kw_error_set_node(&call->failure, call->nodes[ask.copy]->name);
            kw_effect effect = leave_hint(self, call, &ask, NULL, KW_EFFECT_NONE);
            kw_quorum_on_lost(&call->op, ask.copy, ask.round, effect, now_ns);
            continue;
        }
        if (!send_ask(self, call, &ask)) {
            kw_error_set(&call->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
            kw_quorum_on_lost(&call->op, ask.copy, ask.round, KW_EFFECT_NONE, now_ns);
        }
    }
}

/* What a request without a reply did at its copy. */
static kw_effect effect_of(kw_quorum_call *call, const kw_copy_request *request)
{
    const kw_item *item = &request->item;
    kw_item_tell(item, &call->failure);
    return call->failure.effect;
}

static void on_reply(kw_quorum_exchange *self, kw_quorum_call *call, kw_copy_request *request)
{
    const kw_quorum_ask *ask = &request->ask;
    uint64_t now_ns = self->pipeline.scan.now_ns;
    kw_reply *reply = request->item.request.reply;
    if (request->way == KW_COPY_REQUEST_PLAIN && kw_quorum_script_is_mortal(reply)) {
        self->has_lives = true;
        if (send_ask(self, call, ask)) {
            return;
        }
    }
    kw_quorum_answer answer;
    if (kw_quorum_script_read(&answer, &call->failure, ask->kind, reply) == KW_OK) {
        kw_quorum_on_answer(&call->op, ask->copy, ask->round, &answer, now_ns);
        return;
    }
    kw_error_set_node(&call->failure, call->nodes[ask->copy]->name);
    kw_effect effect = leave_hint(self, call, ask, request, call->failure.effect);
    kw_quorum_on_lost(&call->op, ask->copy, ask->round, effect, now_ns);
}

static void add_left(kw_quorum_exchange *self, kw_quorum_call *call)
{
    call->is_left = true;
    call->next = NULL;
    call->before = self->left_last;
    *(call->before != NULL ? &call->before->next : &self->left) = call;
    self->left_last = call;
    self->left_n++;
}

static void remove_left(kw_quorum_exchange *self, kw_quorum_call *call)
{
    *(call->before != NULL ? &call->before->next : &self->left) = call->next;
    *(call->next != NULL ? &call->next->before : &self->left_last) = call->before;
    self->left_n--;
    kw_quorum_call_free(call, &self->topology->env.mem);
}

/* Takes back a request of no op, for hints. */
static void take_hint_back(kw_quorum_exchange *self, kw_copy_request *request,
                           bool is_on_connection)
{
    kw_hints_take_back(&self->hints, request, self->pipeline.scan.now_ns);
    if (is_on_connection) {
        count_owed(self, request); /* and on_dropped frees it */
        return;
    }
    kw_copy_request_free(request, &self->topology->env.mem);
}

static void take_back(kw_quorum_exchange *self, kw_copy_request *request)
{
    kw_quorum_call *call = request->call;
    request->is_listed = false;
    bool is_on_connection = request->item.state == KW_ITEM_GONE && !request->is_dropped;
    if (request->aim != KW_COPY_REQUEST_OF_OP) {
        take_hint_back(self, request, is_on_connection);
        return;
    }
    call->open_n--;
    if (request->item.code == KW_OK && request->item.request.reply != NULL && !is_on_connection) {
        on_reply(self, call, request);
    } else {
        kw_effect effect = effect_of(call, request);
        effect = leave_hint(self, call, &request->ask, request, effect);
        kw_quorum_on_lost(&call->op, request->ask.copy, request->ask.round, effect,
                          self->pipeline.scan.now_ns);
    }
    if (is_on_connection) {
        kw_copy_request_forget(request);
        count_owed(self, request);
    }
    pump(self, call);
    if (call->is_left && call->open_n == 0) {
        remove_left(self, call);
    }
}

/* Takes all ended requests back to their ops; true where there were any. */
static bool take_all_back(kw_quorum_exchange *self)
{
    bool had_any = self->ended != NULL;
    while (self->ended != NULL) {
        kw_copy_request *request = self->ended;
        self->ended = request->next_ended;
        if (self->ended == NULL) {
            self->ended_link = &self->ended;
        }
        take_back(self, request);
    }
    return had_any;
}

/* Goes on until nothing more happens without a socket. */
static void advance(kw_quorum_exchange *self)
{
    do {
        kw_pipeline_advance(&self->pipeline);
    } while (take_all_back(self));
    kw_snapshot_unref(self->snapshot);
    self->snapshot = NULL;
}

static bool is_open(const kw_quorum_group *group)
{
    for (size_t i = 0; i < group->calls_n; i++) {
        if (group->calls[i]->op.state == KW_QUORUM_WAITING) {
            return true;
        }
    }
    return false;
}

/* The times that the ops of a group wait for; the earliest one to come, or the group's deadline. */
static uint64_t heed_times(kw_quorum_exchange *self, const kw_quorum_group *group)
{
    uint64_t next_ns = group->deadline_ns;
    for (size_t i = 0; i < group->calls_n; i++) {
        kw_quorum_op *op = &group->calls[i]->op;
        if (op->state == KW_QUORUM_WAITING && op->until_ns <= self->pipeline.scan.now_ns) {
            kw_quorum_on_time(op, self->pipeline.scan.now_ns);
            pump(self, group->calls[i]);
        }
        next_ns = op->until_ns < next_ns ? op->until_ns : next_ns;
    }
    return next_ns;
}

/* Ends the groups whose deadline has come; or all. */
static void end_groups(kw_quorum_exchange *self, bool is_all)
{
    for (kw_quorum_group *group = self->groups; group != NULL; group = group->next) {
        bool is_late = self->pipeline.scan.now_ns >= group->deadline_ns;
        for (size_t i = 0; i < group->calls_n && (is_all || is_late); i++) {
            kw_quorum_on_deadline(&group->calls[i]->op);
        }
    }
}

/* What is under way ends, and with it all groups. */
static void end_all(kw_quorum_exchange *self, kw_err code)
{
    kw_pipeline_end_all(&self->pipeline, code);
    (void)take_all_back(self);
    end_groups(self, true);
}

static bool has_open(const kw_quorum_exchange *self)
{
    const kw_quorum_group *group = self->groups;
    while (group != NULL && !is_open(group)) {
        group = group->next;
    }
    return group != NULL;
}

void kw_quorum_exchange_begin(kw_quorum_exchange *self)
{
    kw_pipeline_begin_turn(&self->pipeline);
}

uint64_t kw_quorum_exchange_now(const kw_quorum_exchange *self)
{
    return self->pipeline.scan.now_ns;
}

void kw_quorum_exchange_add(kw_quorum_exchange *self, kw_quorum_group *group)
{
    kw_quorum_group **link = &self->groups;
    size_t groups_n = 1;
    for (; *link != NULL; link = &(*link)->next) {
        groups_n++;
    }
    *link = group;
    group->next = NULL;
    self->groups_max = groups_n > self->groups_max ? groups_n : self->groups_max;
    self->batch_max = group->calls_n > self->batch_max ? group->calls_n : self->batch_max;
    for (size_t i = 0; i < group->calls_n; i++) {
        pump(self, group->calls[i]);
    }
}

void kw_quorum_exchange_advance(kw_quorum_exchange *self)
{
    self->until_ns = UINT64_MAX;
    for (kw_quorum_group *group = self->groups; group != NULL; group = group->next) {
        uint64_t next_ns = heed_times(self, group);
        self->until_ns = kw_sooner(next_ns, self->until_ns);
    }
    advance(self);
    bool is_closing = kw_env_is_closing(&self->topology->env, self->pipeline.closing);
    if ((is_closing || self->pipeline.has_no_memory) && has_open(self)) {
        end_all(self, is_closing ? KW_ERR_CANCELLED : KW_ERR_NOMEM);
    } else {
        end_groups(self, false);
    }
}

kw_quorum_group *kw_quorum_exchange_take_ended(kw_quorum_exchange *self)
{
    kw_quorum_group **link = &self->groups;
    while (*link != NULL && is_open(*link)) {
        link = &(*link)->next;
    }
    kw_quorum_group *group = *link;
    if (group == NULL) {
        return NULL;
    }
    *link = group->next;
    for (size_t i = 0; i < group->calls_n; i++) {
        pump(self, group->calls[i]); /* repair behind the answer */
    }
    return group;
}

void kw_quorum_exchange_wait(kw_quorum_exchange *self)
{
    self->wait.is_shared = self->groups != NULL && self->groups->next != NULL;
    if (!kw_run_wait_turn(&self->wait, self->until_ns)) {
        end_all(self, KW_ERR_NOMEM);
    }
    (void)take_all_back(self);
}

static bool has_unsent(const kw_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        if (pipeline->channels[i]->queue.head != NULL) {
            return true;
        }
    }
    return false;
}

static void warm_up(kw_quorum_exchange *self, uint64_t deadline_ns)
{
    uint64_t until_ns = self->pipeline.scan.now_ns + WARM_NS;
    until_ns = kw_sooner(until_ns, deadline_ns);
    while (!self->is_warm && has_unsent(&self->pipeline) && self->pipeline.scan.now_ns < until_ns &&
           kw_run_wait_turn(&self->wait, until_ns)) {
        (void)take_all_back(self);
        advance(self);
    }
    self->is_warm = true;
}

static void tidy(kw_quorum_exchange *self)
{
    uint64_t now_ns = self->pipeline.scan.now_ns;
    self->long_lived.tidy_ns = self->tidy_ns;
    kw_pipeline_tidy(&self->pipeline);
    self->tidy_ns = self->long_lived.tidy_ns > now_ns ? self->long_lived.tidy_ns : now_ns;
    self->long_lived.tidy_ns = UINT64_MAX;
}

void kw_quorum_exchange_rest(kw_quorum_exchange *self, uint64_t deadline_ns)
{
    advance(self);
    if (self->groups == NULL) {
        warm_up(self, deadline_ns);
    }
    if (self->topology->env.options.has_quorum_hints) {
        kw_hints_look(&self->hints, self->pipeline.scan.now_ns);
        advance(self);
    }
    tidy(self);
}

void kw_quorum_exchange_run(kw_quorum_exchange *self, kw_quorum_group *group)
{
    kw_quorum_exchange_add(self, group);
    do {
        kw_quorum_exchange_advance(self);
        if (!is_open(group)) {
            break;
        }
        kw_quorum_exchange_wait(self);
    } while (is_open(group));
    (void)kw_quorum_exchange_take_ended(self);
    kw_quorum_exchange_rest(self, group->deadline_ns);
}

/* Ends the requests of a call as if their deadline had come. */
static void hurry(kw_quorum_exchange *self, kw_quorum_call *call)
{
    for (kw_copy_request *request = call->requests; request != NULL; request = request->next) {
        kw_pipeline_hurry(&self->pipeline, &request->item);
    }
    advance(self);
}

void kw_quorum_exchange_leave(kw_quorum_exchange *self, kw_quorum_call *call)
{
    if (call->open_n == 0) {
        kw_quorum_call_free(call, &self->topology->env.mem);
        return;
    }
    add_left(self, call);
    if (self->left_n > LEFT_MAX * self->groups_max + self->batch_max) {
        hurry(self, self->left);
    }
}

void kw_quorum_exchange_free(kw_quorum_exchange *self)
{
    if (self == NULL) {
        return;
    }
    const kw_allocator *mem = &self->topology->env.mem;
    self->pipeline.scan.now_ns = kw_env_now(&self->topology->env);
    for (kw_quorum_call *call = self->left; call != NULL; call = call->next) {
        memset(call->op.copies, 0, sizeof(call->op.copies)); /* nothing is asked any more */
    }
    self->hints.is_over = true;
    kw_pipeline_end_all(&self->pipeline, KW_ERR_CANCELLED);
    (void)take_all_back(self);
    kw_snapshot_unref(self->snapshot);
    kw_pipeline_fini(&self->pipeline);
    kw_hints_fini(&self->hints);
    while (self->left != NULL) {
        remove_left(self, self->left);
    }
    kw_run_wait_fini(&self->wait);
    kw_quorum_blocks_fini(&self->blocks);
    kw_mem_free(mem, self);
}
