/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulation of clients, copies and messages in virtual time, by one seed. */
#include "support/quorum_sim.h"

#include "engine/backoff.h"
#include "support/quorum_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 8u
#define EVENTS_MAX  2048u
#define LETTERS_MAX 2048u /* messages of one run on their way, or kept for an op */
#define MS          KW_NS_PER_MS
#define BASE_MS     UINT64_C(1700000000000)
#define DEADLINE_NS (400 * MS)
#define LINGER_MS   3600000u
#define NOBODY      UINT32_MAX

typedef enum event_kind {
    EV_BEGIN,    /* a client's next op */
    EV_ARRIVE,   /* a request at a copy */
    EV_REPLY,    /* its answer at the client */
    EV_LOST,     /* no answer, at the client */
    EV_TIME,     /* until_ns of an op */
    EV_DEADLINE, /* of an op */
    EV_DOWN,     /* a copy stops, or is killed */
    EV_UP,
    EV_JUMP /* a clock */
} event_kind;

typedef struct event {
    uint64_t at_ns;
    uint64_t number;
    event_kind kind;
    unsigned who;    /* client or copy */
    unsigned letter; /* of ARRIVE, REPLY, LOST */
    unsigned turn;   /* of the client: events of ended ops mean nothing */
} event;

typedef struct letter {
    kw_quorum_ask ask;
    kw_test_copy_answer back;
    char value[sizeof(uint64_t)];
    unsigned client;
    unsigned turn;
    kw_effect effect;
} letter;

typedef struct client {
    kw_quorum_op op;
    kw_stamper stamper;
    int64_t skew_ms;
    unsigned turn; /* ops begun */
    size_t act;
    bool is_busy;
    uint64_t seen_value; /* last value read, and its version */
    kw_stamp seen;
    uint64_t own;
    char value[sizeof(uint64_t)];
} client;

typedef struct server {
    kw_test_copy copy;
    bool is_killed;
    uint64_t stopped_until_ns;
    unsigned generation; /* of its connections */
} server;

typedef struct sim {
    kw_random random;
    kw_test_sim_setup setup;
    kw_quorum_rule rule;
    kw_test_sim_result *result;
    uint64_t now_ns;
    uint64_t made_n;
    uint64_t values_n;
    event events[EVENTS_MAX];
    size_t events_n;
    letter letters[LETTERS_MAX];
    size_t letters_n;
    client clients[CLIENTS_MAX];
    server servers[KW_QUORUM_COPIES_MAX];
} sim;

static uint64_t below(sim *self, uint64_t bound)
{
    return kw_random_below(&self->random, bound);
}

static void push(sim *self, uint64_t at_ns, event what)
{
    if (self->events_n == EVENTS_MAX) {
        fputs("quorum_sim: too many events\n", stderr);
        exit(1);
    }
    what.at_ns = at_ns > self->now_ns ? at_ns : self->now_ns + 1;
    what.number = self->made_n++;
    self->events[self->events_n++] = what;
}

static event pop(sim *self)
{
    size_t first = 0;
    for (size_t i = 1; i < self->events_n; i++) {
        const event *a = &self->events[i];
        const event *b = &self->events[first];
        if (a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->number < b->number)) {
            first = i;
        }
    }
    event taken = self->events[first];
    self->events[first] = self->events[--self->events_n];
    return taken;
}

static uint64_t clock_ms(const sim *self, const client *who)
{
    return (uint64_t)((int64_t)(BASE_MS + self->now_ns / MS) + who->skew_ms);
}

typedef struct clock_arg {
    sim *self;
    client *who;
} clock_arg;

static kw_stamp next_stamp(void *arg, kw_stamp past)
{
    clock_arg *at = arg;
    return kw_stamper_next(&at->who->stamper, clock_ms(at->self, at->who), past);
}

static void learn_stamp(void *arg, kw_stamp seen)
{
    clock_arg *at = arg;
    kw_stamper_learn(&at->who->stamper, clock_ms(at->self, at->who), seen);
}

/* How long a message takes: mostly short, now and then long. */
static uint64_t delay_ns(sim *self)
{
    uint64_t kind = below(self, 40);
    if (kind == 0) {
        return below(self, 100 * MS);
    }
    return MS / 20 + below(self, kind < 10 ? 4 * MS : MS / 2);
}

static void send_asks(sim *self, unsigned index)
{
    client *who = &self->clients[index];
    kw_quorum_ask ask;
    while (kw_quorum_next(&who->op, &ask, self->now_ns)) {
        if (self->letters_n == LETTERS_MAX) {
            fputs("quorum_sim: too many letters\n", stderr);
            exit(1);
        }
        unsigned number = (unsigned)self->letters_n++;
        letter *sent = &self->letters[number];
        sent->ask = ask;
        sent->client = index;
        sent->turn = who->turn;
        if (ask.record.value.len > 0) { /* the bytes on the wire */
            memcpy(sent->value, ask.record.value.data, sizeof(sent->value));
            sent->ask.record.value.data = sent->value;
        }
        event next = {.who = index, .letter = number, .turn = who->turn, .kind = EV_ARRIVE};
        uint64_t at_ns = self->now_ns + delay_ns(self);
        bool is_lossy = !self->setup.is_calm;
        if (is_lossy && self->servers[ask.copy].is_killed) {
            next.kind = EV_LOST; /* no connection */
            sent->effect = KW_EFFECT_NONE;
        } else if (is_lossy && below(self, 60) == 0) {
            next.kind = EV_LOST; /* on its way there */
            sent->effect = KW_EFFECT_MAYBE;
        }
        push(self, at_ns, next);
    }
    if (who->op.state == KW_QUORUM_WAITING && who->op.until_ns != UINT64_MAX) {
        event wake = {.who = index, .kind = EV_TIME, .turn = who->turn};
        push(self, who->op.until_ns, wake);
    }
}

static uint64_t number_of(kw_bytes value)
{
    uint64_t number = 0;
    if (value.len == sizeof(number)) {
        memcpy(&number, value.data, sizeof(number));
    }
    return number;
}

static void end_act(sim *self, client *who)
{
    kw_quorum_op *op = &who->op;
    kw_test_act *act = &self->result->acts[who->act];
    const kw_record *found = kw_quorum_found(op);
    uint64_t there = found != NULL ? number_of(found->value) : 0;
    self->result->retries_n += op->tries_n > 1 ? op->tries_n - 1 : 0;
    who->is_busy = false;
    if (op->state == KW_QUORUM_FAILED) {
        bool is_maybe = op->effect != KW_EFFECT_NONE;
        self->result->maybe_n += is_maybe ? 1 : 0;
        self->result->none_n += is_maybe ? 0 : 1;
        if (!is_maybe) { /* says nothing: a read of nothing that never ended */
            act->kind = KW_TEST_READ;
            act->end = KW_TEST_NEVER;
        }
        return;
    }
    self->result->done_n++;
    act->end = self->now_ns;
    if (act->kind == KW_TEST_READ) {
        act->value = there;
        who->seen_value = there;
        memset(&who->seen, 0, sizeof(who->seen));
        who->seen = found != NULL ? found->origin : who->seen;
    } else if (op->has_mismatch) {
        act->kind = KW_TEST_MISMATCH;
        act->value = there;
    } else if (act->value != 0) {
        who->seen_value = act->value;
        who->seen = op->origin;
    }
}

/* Where the op is over, the client goes on a little later. */
static void look(sim *self, unsigned index)
{
    client *who = &self->clients[index];
    if (self->setup.planted == KW_TEST_BLIND_RETRY && who->op.phase == KW_QUORUM_SETTING) {
        for (unsigned i = 0; i < self->rule.copies_n; i++) {
            who->op.copies[i].is_clean = true;
        }
    }
    send_asks(self, index);
    if (!who->is_busy || who->op.state == KW_QUORUM_WAITING) {
        return;
    }
    end_act(self, who);
    event next = {.who = index, .kind = EV_BEGIN};
    push(self, self->now_ns + 1 + below(self, below(self, 3) == 0 ? 20 * MS : MS), next);
}

static void begin(sim *self, unsigned index)
{
    client *who = &self->clients[index];
    if (who->turn == self->setup.acts_n) {
        return;
    }
    kw_quorum_spec spec;
    memset(&spec, 0, sizeof(spec));
    spec.rule = self->rule;
    kw_test_act act = {.begin = self->now_ns, .end = KW_TEST_NEVER, .client = index};
    uint64_t dice = below(self, self->setup.has_checked ? 16 : 10);
    spec.kind = dice < 5 ? KW_QUORUM_READ : dice < 10 ? KW_QUORUM_WRITE : KW_QUORUM_CHECKED;
    act.kind = dice < 5 ? KW_TEST_READ : dice < 10 ? KW_TEST_WRITE : KW_TEST_SWAP;
    if (dice >= 5) {
        spec.is_tombstone = below(self, 8) == 0;
        act.value = spec.is_tombstone ? 0 : ++self->values_n;
        who->own = act.value;
        memcpy(who->value, &who->own, sizeof(who->own));
        spec.value.data = who->value;
        spec.value.len = sizeof(who->value);
    }
    if (dice >= 10) {
        spec.expects_none = kw_stamp_is_zero(who->seen) || who->seen_value == 0;
        spec.expected = who->seen;
        act.expected = spec.expects_none ? 0 : who->seen_value;
    }
    who->act = self->result->acts_n++;
    self->result->acts[who->act] = act;
    who->turn++;
    who->is_busy = true;
    static clock_arg args[CLIENTS_MAX];
    args[index].self = self;
    args[index].who = who;
    kw_quorum_clock clock = {next_stamp, learn_stamp, &args[index]};
    kw_quorum_start(&who->op, &spec, &clock, self->now_ns, kw_random_next(&self->random));
    if (self->setup.planted == KW_TEST_NO_WRITE_BACK) {
        who->op.spec.rule.agree_n = 1;
    }
    if (self->setup.planted == KW_TEST_ONE_WRITE) {
        who->op.spec.rule.write_n = 1;
    }
    event deadline = {.who = index, .kind = EV_DEADLINE, .turn = who->turn};
    push(self, self->now_ns + DEADLINE_NS, deadline);
    look(self, index);
}

static void arrive(sim *self, const event *now)
{
    letter *sent = &self->letters[now->letter];
    server *there = &self->servers[sent->ask.copy];
    event back = {.who = now->who, .letter = now->letter, .turn = now->turn, .kind = EV_REPLY};
    if (there->is_killed) {
        sent->effect = KW_EFFECT_MAYBE;
        back.kind = EV_LOST;
        push(self, self->now_ns + delay_ns(self), back);
        return;
    }
    if (there->stopped_until_ns > self->now_ns) {
        event later = *now;
        push(self, there->stopped_until_ns + below(self, MS), later);
        return;
    }
    if (self->setup.planted == KW_TEST_NO_VERSION_CHECK && sent->ask.kind == KW_QUORUM_PUT) {
        there->copy.has_key = false;
    }
    kw_test_copy_do(&there->copy, &sent->back, &sent->ask, BASE_MS + self->now_ns / MS);
    if (!self->setup.is_calm && below(self, 60) == 0) { /* run, and the answer is lost */
        sent->effect = KW_EFFECT_MAYBE;
        back.kind = EV_LOST;
    }
    push(self, self->now_ns + delay_ns(self), back);
}

/* One copy at a time fails. */
static void go_down(sim *self, unsigned index)
{
    server *there = &self->servers[index];
    uint64_t span_ns = below(self, 150 * MS);
    if (below(self, 2) == 0) {
        there->is_killed = true;
    } else {
        there->stopped_until_ns = self->now_ns + span_ns;
    }
    event up = {.who = index, .kind = EV_UP};
    push(self, self->now_ns + span_ns, up);
}

static bool is_any_busy(const sim *self)
{
    for (unsigned i = 0; i < self->setup.clients_n; i++) {
        if (self->clients[i].is_busy || self->clients[i].turn < self->setup.acts_n) {
            return true;
        }
    }
    return false;
}

static void on_event(sim *self, const event *now)
{
    client *who = &self->clients[now->who < CLIENTS_MAX ? now->who : 0];
    bool is_current = now->turn == who->turn;
    const letter *sent = &self->letters[now->letter];
    switch (now->kind) {
    case EV_BEGIN:
        begin(self, now->who);
        return;
    case EV_ARRIVE:
        arrive(self, now);
        return;
    case EV_REPLY:
        if (is_current) {
            kw_quorum_on_answer(&who->op, sent->ask.copy, sent->ask.round, &sent->back.answer,
                                self->now_ns);
            look(self, now->who);
        }
        return;
    case EV_LOST:
        if (is_current) {
            kw_quorum_on_lost(&who->op, sent->ask.copy, sent->ask.round, sent->effect,
                              self->now_ns);
            look(self, now->who);
        }
        return;
    case EV_TIME:
        if (is_current) {
            kw_quorum_on_time(&who->op, self->now_ns);
            look(self, now->who);
        }
        return;
    case EV_DEADLINE:
        if (is_current && who->is_busy) {
            kw_quorum_on_deadline(&who->op);
            look(self, now->who);
        }
        return;
    case EV_DOWN:
        go_down(self, now->who);
        return;
    case EV_UP: {
        self->servers[now->who].is_killed = false;
        event down = {.who = (unsigned)below(self, self->rule.copies_n), .kind = EV_DOWN};
        push(self, self->now_ns + below(self, 60 * MS), down);
        return;
    }
    case EV_JUMP: {
        who->skew_ms = (int64_t)below(self, 10001) - 5000;
        event jump = {.who = (unsigned)below(self, self->setup.clients_n), .kind = EV_JUMP};
        push(self, self->now_ns + below(self, 200 * MS), jump);
        return;
    }
    }
}

void kw_test_sim_run(kw_test_sim_result *result, const kw_test_sim_setup *setup, uint64_t seed)
{
    static sim room; /* too large for a stack */
    sim *self = &room;
    memset(self, 0, sizeof(*self));
    memset(result, 0, sizeof(*result));
    self->setup = *setup;
    self->result = result;
    kw_random_init(&self->random, seed);
    if (!kw_quorum_rule_set(&self->rule, setup->copies_n, setup->write_n, setup->read_n, false)) {
        fputs("quorum_sim: quorums do not meet\n", stderr);
        exit(1);
    }
    self->rule.settle_ns = below(self, 2) * 2 * MS;
    self->rule.linger_ms = LINGER_MS;
    for (unsigned i = 0; i < setup->clients_n; i++) {
        kw_stamper_init(&self->clients[i].stamper, kw_random_next(&self->random), LINGER_MS / 4);
        self->clients[i].skew_ms = (int64_t)below(self, 10001) - 5000;
        event first = {.who = i, .kind = EV_BEGIN};
        push(self, below(self, 5 * MS), first);
    }
    if (!setup->is_calm) {
        event down = {.who = (unsigned)below(self, setup->copies_n), .kind = EV_DOWN};
        push(self, below(self, 60 * MS), down);
    }
    event jump = {.who = 0, .kind = EV_JUMP};
    push(self, below(self, 200 * MS), jump);
    while (self->events_n > 0 && is_any_busy(self)) {
        event now = pop(self);
        self->now_ns = now.at_ns;
        on_event(self, &now);
    }
}
