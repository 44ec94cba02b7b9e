/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/courier.h"

#include "drive/hints.h"
#include "drive/silents.h"
#include "base/error.h"
#include "engine/hint.h"
#include "engine/quorum_script.h"

#include <string.h>

/* A silent copy keeps at most so many ended ops of a courier alive. */
#define LEFT_MAX 128u

/* A node that owes so many answers, for which nobody waits any more, is not asked until it
 * has given some of them, or its connection ends. */
#define SILENT_MAX 256u

/* The first call of a courier leaves connections to slower copies this time to open, so that
 * they get its writes as well. */
#define WARM_NS (20 * KW_NS_PER_MS)

struct kw_courier {
    kw_courier *next;
    kw_client *client;
    kw_run run;
    kw_run_lasting lasting;
    kw_errand *ended;
    kw_errand **ended_link;
    bool has_lives; /* has seen values with a life of their own, of which GET is not enough */
    kw_hints hints;
    kw_job *left; /* jobs whose call is over, the oldest last */
    size_t left_n;
    kw_silents silents;
    bool is_warm;           /* has made a call */
    uint64_t tidy_ns;       /* connections are looked at next, by a call that is done */
    struct pollfd *sockets; /* one more than there are channels */
    size_t sockets_n;
};

kw_courier **kw_courier_next(kw_courier *self)
{
    return &self->next;
}

static void on_ended(kw_run *run, kw_item *item)
{
    kw_courier *self = item->owner;
    kw_errand *errand = (kw_errand *)(void *)item;
    (void)run;
    errand->is_listed = true;
    errand->next_ended = NULL;
    *self->ended_link = errand;
    self->ended_link = &errand->next_ended;
}

static void count_silent(kw_courier *self, kw_errand *errand)
{
    errand->is_silent = kw_silents_add(&self->silents, errand->item.plan.node);
}

static void on_dropped(kw_run *run, kw_item *item)
{
    kw_errand *errand = (kw_errand *)(void *)item;
    kw_courier *self = item->owner;
    if (errand->is_silent) {
        kw_silents_remove(&self->silents, item->plan.node);
        errand->is_silent = false;
    }
    errand->is_dropped = true;
    if (!errand->is_listed && errand->job == NULL) {
        kw_errand_free(errand, &run->client->env.mem);
    }
}

kw_courier *kw_courier_new(kw_client *client, atomic_uint_fast64_t *look_ns)
{
    kw_courier *self = kw_mem_calloc(&client->env.mem, 1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    self->client = client;
    kw_hints_init(&self->hints, client, self, look_ns);
    self->ended_link = &self->ended;
    kw_run_init(&self->run, client);
    self->run.lasting = &self->lasting;
    self->lasting.on_ended = on_ended;
    self->lasting.on_dropped = on_dropped;
    self->lasting.due_ns = UINT64_MAX;
    self->lasting.tidy_ns = UINT64_MAX; /* nobody waits for it */
    self->lasting.fence_changes_n = self->run.changes_n;
    return self;
}

bool kw_courier_send(kw_courier *self, kw_errand *errand)
{
    if (errand == NULL) {
        return false;
    }
    errand->item.owner = self;
    errand->item.plan.start_ns = self->run.turn.now_ns;
    kw_view *view = kw_client_view(self->client);
    kw_run_add(&self->run, &errand->item, view);
    kw_view_unref(view);
    return true;
}

bool kw_courier_is_up(kw_courier *self, const kw_node *node)
{
    if (kw_silents_count(&self->silents, node) > 0) {
        return false;
    }
    for (size_t i = 0; i < self->run.channels_n; i++) {
        const kw_channel *channel = self->run.channels[i];
        if (channel->node == node && !channel->is_exclusive) {
            return channel->conn != NULL && channel->conn->state == KW_CONN_READY;
        }
    }
    return false;
}

/* The copy has missed what was asked, or may have. What that is, once it is left as a hint:
 * the copy may hold it one day. */
static kw_effect leave_hint(kw_courier *self, const kw_job *job, const kw_quorum_ask *ask,
                            const kw_errand *errand, kw_effect effect)
{
    bool is_due = self->client->env.options.has_quorum_hints && kw_hint_is_due(&job->op, ask);
    return is_due && kw_hints_leave(&self->hints, job, ask, errand, self->run.turn.now_ns)
               ? KW_EFFECT_MAYBE
               : effect;
}

static bool send_ask(kw_courier *self, kw_job *job, const kw_quorum_ask *ask)
{
    self->has_lives = self->has_lives || ask->record.is_mortal;
    bool is_plain = ask->kind == KW_QUORUM_GET && !self->has_lives;
    kw_errand_way way = is_plain ? KW_ERRAND_PLAIN : KW_ERRAND_SHORT;
    return kw_courier_send(self, kw_errand_new(self->client, job, ask, way));
}

/* Sends what the op asks for now. */
static void pump(kw_courier *self, kw_job *job)
{
    kw_quorum_ask ask;
    uint64_t now_ns = self->run.turn.now_ns;
    while (kw_quorum_next(&job->op, &ask, now_ns)) {
        if (kw_silents_count(&self->silents, job->nodes[ask.copy]) >= SILENT_MAX) {
            kw_error_set(&job->failure, KW_ERR_TIMEOUT, KW_EFFECT_NONE,
                         "the node owes many answers, and is not asked for now");
            kw_error_set_node(&job->failure, job->nodes[ask.copy]->name);
            kw_effect effect = leave_hint(self, job, &ask, NULL, KW_EFFECT_NONE);
            kw_quorum_on_lost(&job->op, ask.copy, ask.round, effect, now_ns);
            continue;
        }
        if (!send_ask(self, job, &ask)) {
            kw_error_set(&job->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
            kw_quorum_on_lost(&job->op, ask.copy, ask.round, KW_EFFECT_NONE, now_ns);
        }
    }
}

/* What an errand without a reply did at its copy. */
static kw_effect effect_of(kw_job *job, const kw_errand *errand)
{
    const kw_item *item = &errand->item;
    if (item->trouble == NULL) {
        kw_error_set(&job->failure, item->code, KW_EFFECT_NONE, "%s", kw_err_text(item->code));
        return item->sends_n > 0 ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
    }
    job->failure = item->trouble->failure;
    return job->failure.effect;
}

static void on_reply(kw_courier *self, kw_job *job, kw_errand *errand)
{
    const kw_quorum_ask *ask = &errand->ask;
    uint64_t now_ns = self->run.turn.now_ns;
    kw_reply *reply = errand->item.request.reply;
    if (kw_quorum_script_is_missing(reply) && errand->way == KW_ERRAND_SHORT &&
        kw_courier_send(self, kw_errand_expand(self->client, errand))) {
        return;
    }
    if (errand->way == KW_ERRAND_PLAIN && kw_quorum_script_is_mortal(reply)) {
        self->has_lives = true;
        if (send_ask(self, job, ask)) {
            return;
        }
    }
    kw_quorum_answer answer;
    kw_error failure = KW_ERROR_INIT;
    if (kw_quorum_script_read(&answer, &failure, ask->kind, reply) == KW_OK) {
        kw_quorum_on_answer(&job->op, ask->copy, ask->round, &answer, now_ns);
        return;
    }
    kw_effect effect = leave_hint(self, job, ask, errand, failure.effect);
    job->failure = failure;
    kw_error_set_node(&job->failure, job->nodes[ask->copy]->name);
    kw_quorum_on_lost(&job->op, ask->copy, ask->round, effect, now_ns);
}

static void remove_left(kw_courier *self, kw_job *job)
{
    kw_job **link = &self->left;
    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    self->left_n--;
    kw_job_free(job, &self->client->env.mem);
}

/* One of no op. */
static void take_hint_back(kw_courier *self, kw_errand *errand, bool is_on_connection)
{
    kw_hints_take_back(&self->hints, errand, self->run.turn.now_ns);
    if (is_on_connection) {
        count_silent(self, errand); /* and on_dropped frees it */
        return;
    }
    kw_errand_free(errand, &self->client->env.mem);
}

static void take_back(kw_courier *self, kw_errand *errand)
{
    kw_job *job = errand->job;
    errand->is_listed = false;
    bool is_on_connection = errand->item.state == KW_ITEM_GONE && !errand->is_dropped;
    if (errand->aim != KW_ERRAND_OF_OP) {
        take_hint_back(self, errand, is_on_connection);
        return;
    }
    job->open_n--;
    if (errand->item.code == KW_OK && errand->item.request.reply != NULL && !is_on_connection) {
        on_reply(self, job, errand);
    } else {
        kw_effect effect = effect_of(job, errand);
        effect = leave_hint(self, job, &errand->ask, errand, effect);
        kw_quorum_on_lost(&job->op, errand->ask.copy, errand->ask.round, effect,
                          self->run.turn.now_ns);
    }
    if (is_on_connection) {
        kw_errand_forget(errand);
        count_silent(self, errand);
    }
    pump(self, job);
    if (job->is_left && job->open_n == 0) {
        remove_left(self, job);
    }
}

/* True where anything was there. */
static bool take_all_back(kw_courier *self)
{
    bool had_any = self->ended != NULL;
    while (self->ended != NULL) {
        kw_errand *errand = self->ended;
        self->ended = errand->next_ended;
        if (self->ended == NULL) {
            self->ended_link = &self->ended;
        }
        take_back(self, errand);
    }
    return had_any;
}

/* Until nothing more happens without a socket. */
static void advance(kw_courier *self)
{
    do {
        kw_run_advance(&self->run);
    } while (take_all_back(self));
}

/* Room for every channel's socket and the one behind; false when there is no memory. */
static bool reserve(kw_courier *self)
{
    size_t wanted_n = self->run.channels_n + 1;
    if (wanted_n <= self->sockets_n) {
        return true;
    }
    struct pollfd *sockets =
        kw_mem_resize(&self->client->env.mem, self->sockets, 2 * wanted_n, sizeof(sockets[0]));
    if (sockets == NULL) {
        return false;
    }
    self->sockets = sockets;
    self->sockets_n = 2 * wanted_n;
    return true;
}

/* Waits for sockets, until until_ns, and reads what they have. */
static void read_sockets(kw_courier *self, uint64_t until_ns)
{
    kw_run *run = &self->run;
    size_t n = 0;
    for (size_t i = 0; i < run->channels_n; i++) {
        const kw_channel *channel = run->channels[i];
        if (kw_channel_is_waiting(channel)) {
            self->sockets[n].fd = channel->conn->socket;
            self->sockets[n++].events = kw_conn_events(channel->conn);
        }
    }
    kw_refresher_goal goal = {.until_ns = until_ns};
    goal.sockets = self->sockets;
    goal.sockets_n = n;
    goal.wakes_on_map = run->sleepers.head != NULL;
    goal.changes_n = kw_refresher_changes_n(&self->client->refresher);
    (void)kw_refresher_wait(&self->client->refresher, &run->turn.failure, &goal);
    run->turn.now_ns = kw_env_now(&self->client->env);
    size_t k = 0;
    for (size_t i = 0; i < run->channels_n && k < n; i++) {
        kw_channel *channel = run->channels[i];
        if (channel->conn == NULL || channel->conn->socket != self->sockets[k].fd) {
            continue;
        }
        short revents = self->sockets[k++].revents;
        if (revents != 0) {
            kw_run_on_ready(run, channel, revents);
        }
    }
}

static size_t count_open(kw_job *const *jobs, size_t jobs_n)
{
    size_t n = 0;
    for (size_t i = 0; i < jobs_n; i++) {
        n += jobs[i]->op.state == KW_QUORUM_WAITING ? 1 : 0;
    }
    return n;
}

/* The times that ops wait for; the earliest one to come. */
static uint64_t heed_times(kw_courier *self, kw_job *const *jobs, size_t jobs_n)
{
    uint64_t next_ns = UINT64_MAX;
    for (size_t i = 0; i < jobs_n; i++) {
        kw_quorum_op *op = &jobs[i]->op;
        if (op->state == KW_QUORUM_WAITING && op->until_ns <= self->run.turn.now_ns) {
            kw_quorum_on_time(op, self->run.turn.now_ns);
            pump(self, jobs[i]);
        }
        next_ns = op->until_ns < next_ns ? op->until_ns : next_ns;
    }
    return next_ns;
}

static void end_jobs(kw_courier *self, kw_job *const *jobs, size_t jobs_n, kw_err code)
{
    if (code != KW_ERR_TIMEOUT) {
        kw_run_end_all(&self->run, code);
        (void)take_all_back(self);
    }
    for (size_t i = 0; i < jobs_n; i++) {
        kw_quorum_on_deadline(&jobs[i]->op);
    }
}

static bool has_unsent(const kw_run *run)
{
    for (size_t i = 0; i < run->channels_n; i++) {
        if (run->channels[i]->queue.head != NULL) {
            return true;
        }
    }
    return false;
}

static void warm_up(kw_courier *self, uint64_t deadline_ns)
{
    uint64_t until_ns = self->run.turn.now_ns + WARM_NS;
    until_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
    while (!self->is_warm && has_unsent(&self->run) && self->run.turn.now_ns < until_ns &&
           reserve(self)) {
        uint64_t next_ns = kw_run_next_ns(&self->run);
        read_sockets(self, next_ns < until_ns ? next_ns : until_ns);
        (void)take_all_back(self);
        advance(self);
    }
    self->is_warm = true;
}

static void tidy(kw_courier *self)
{
    uint64_t now_ns = self->run.turn.now_ns;
    self->lasting.tidy_ns = self->tidy_ns;
    kw_run_tidy(&self->run);
    self->tidy_ns = self->lasting.tidy_ns > now_ns ? self->lasting.tidy_ns : now_ns;
    self->lasting.tidy_ns = UINT64_MAX;
}

void kw_courier_run(kw_courier *self, kw_job *const *jobs, size_t jobs_n, uint64_t deadline_ns)
{
    kw_run *run = &self->run;
    run->turn.now_ns = kw_env_now(&self->client->env);
    for (size_t i = 0; i < jobs_n; i++) {
        pump(self, jobs[i]);
    }
    while (count_open(jobs, jobs_n) > 0) {
        uint64_t until_ns = heed_times(self, jobs, jobs_n);
        advance(self);
        bool is_closing = atomic_load_explicit(&self->client->env.is_closing, memory_order_relaxed);
        if (count_open(jobs, jobs_n) == 0) {
            break;
        }
        if (is_closing || run->turn.now_ns >= deadline_ns || !reserve(self)) {
            end_jobs(self, jobs, jobs_n,
                     is_closing                        ? KW_ERR_CANCELLED
                     : run->turn.now_ns >= deadline_ns ? KW_ERR_TIMEOUT
                                                       : KW_ERR_NOMEM);
            break;
        }
        uint64_t next_ns = kw_run_next_ns(run);
        next_ns = next_ns < until_ns ? next_ns : until_ns;
        read_sockets(self, next_ns < deadline_ns ? next_ns : deadline_ns);
        (void)take_all_back(self);
    }
    for (size_t i = 0; i < jobs_n; i++) {
        pump(self, jobs[i]); /* repair behind the answer */
    }
    advance(self);
    warm_up(self, deadline_ns);
    if (self->client->env.options.has_quorum_hints) {
        kw_hints_look(&self->hints, run->turn.now_ns);
        advance(self);
    }
    tidy(self);
    kw_client_tend(self->client, run->turn.now_ns);
}

/* Ends the errands of a job as if their deadline had come. */
static void hurry(kw_courier *self, kw_job *job)
{
    uint64_t now_ns = self->run.turn.now_ns;
    for (kw_errand *errand = job->errands; errand != NULL; errand = errand->next) {
        kw_item *item = &errand->item;
        item->plan.deadline_ns = now_ns;
        item->wake_ns = item->wake_ns < now_ns ? item->wake_ns : now_ns;
    }
    self->run.wake_ns = now_ns;
    self->lasting.due_ns = now_ns;
    advance(self);
}

void kw_courier_leave(kw_courier *self, kw_job *job)
{
    if (job->open_n == 0) {
        kw_job_free(job, &self->client->env.mem);
        return;
    }
    job->is_left = true;
    job->next = self->left;
    self->left = job;
    if (++self->left_n > LEFT_MAX) {
        kw_job *oldest = self->left;
        while (oldest->next != NULL) {
            oldest = oldest->next;
        }
        hurry(self, oldest);
    }
}

void kw_courier_free(kw_courier *self)
{
    if (self == NULL) {
        return;
    }
    const kw_allocator *mem = &self->client->env.mem;
    self->run.turn.now_ns = kw_env_now(&self->client->env);
    for (kw_job *job = self->left; job != NULL; job = job->next) {
        memset(job->op.copies, 0, sizeof(job->op.copies)); /* nothing is asked any more */
    }
    self->hints.is_over = true;
    kw_run_end_all(&self->run, KW_ERR_CANCELLED);
    (void)take_all_back(self);
    kw_run_fini(&self->run);
    kw_hints_fini(&self->hints);
    while (self->left != NULL) {
        remove_left(self, self->left);
    }
    kw_mem_free(mem, self->sockets);
    kw_mem_free(mem, self);
}
