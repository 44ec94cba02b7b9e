/* SPDX-License-Identifier: BSD-3-Clause */
/* Thousands of small lives of a cluster and of a client: whatever goes wrong, no write
 * runs twice, no failure lies about its effect, and nothing outlives its deadline. A run
 * that breaks a rule is repeated with the KW_TEST_SEED that its message names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/check.h"
#include "support/sim_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS KW_SIM_MS

/* Ops that begin while there is trouble; the others, one a slot, begin after it. */
#define EARLY_OPS (KW_SIM_OPS - KW_SIM_SLOTS)
#define WILD_RUNS 4000u
#define MILD_RUNS 500u
#define CALM_NS   (2500 * MS)
#define QUIET_NS  (CALM_NS + 200 * MS) /* everybody knows the truth */
#define PATIENCE  (1000 * MS)          /* what a success may take after that */
#define END_NS    (CALM_NS + 3000 * MS)
#define REDIRECTS 5u

/* What one run, or many, came to. */
typedef struct tally {
    unsigned long ops_n;
    unsigned long done_n;
    unsigned long by_effect[3];
    unsigned long sends_n;
    unsigned long events_n;
    unsigned long by_code[64]; /* failures, at minus the code */
    uint64_t slowest_ns;       /* of the late ops */
} tally;

typedef struct world {
    kw_sim sim;
    kw_sim_client client;
    kw_sim_mood mood;
} world;

static void plan_ops(world *self)
{
    uint64_t least_ns = self->mood == KW_SIM_WILD ? 5 * MS : PATIENCE;
    for (unsigned i = 0; i < KW_SIM_OPS; i++) {
        bool is_early = i < EARLY_OPS;
        uint64_t begin_ns = is_early ? kw_sim_between(&self->sim, 0, CALM_NS) : QUIET_NS;
        uint64_t limit_ns = is_early ? kw_sim_between(&self->sim, least_ns, 1500 * MS) : PATIENCE;
        uint64_t slot = is_early ? kw_sim_between(&self->sim, 0, KW_SIM_SLOTS - 1) : i - EARLY_OPS;
        kw_op_spec spec = {
            .deadline_ns = begin_ns + limit_ns,
            .redirects_max = REDIRECTS,
            .has_map = true,
            .has_redirects = true,
            .has_slot = true,
            .slot = (uint16_t)slot,
            .is_repeatable = is_early && kw_sim_between(&self->sim, 0, 2) == 0,
        };
        kw_sim_client_plan(&self->client, i, begin_ns, &spec);
    }
}

/* The rule that an op broke, or NULL. */
static const char *judge(const kw_sim_op *op, bool must_do)
{
    bool is_done = op->step.kind == KW_STEP_DONE;
    kw_effect effect = op->step.effect;
    if (op->phase != KW_SIM_ENDED) {
        return "never ended";
    }
    if (!op->spec.is_repeatable && op->runs_n > 1) {
        return "a write ran twice";
    }
    if (is_done && op->runs_n == 0) {
        return "done, and never ran";
    }
    if (!is_done && effect == KW_EFFECT_NONE && op->runs_n > 0) {
        return "failed with effect none, and ran";
    }
    if (!is_done && effect == KW_EFFECT_DONE && op->runs_n == 0) {
        return "failed with effect done, and never ran";
    }
    if (must_do && !is_done) {
        return "failed although there was no trouble";
    }
    return NULL;
}

static void count(tally *sum, const kw_sim_op *op, bool is_late)
{
    sum->ops_n++;
    sum->sends_n += op->sends_n;
    if (op->step.kind == KW_STEP_DONE) {
        sum->done_n++;
    } else {
        sum->by_effect[op->step.effect]++;
        sum->by_code[-op->step.code % 64]++;
    }
    if (is_late && op->end_ns - op->begin_ns > sum->slowest_ns) {
        sum->slowest_ns = op->end_ns - op->begin_ns;
    }
}

/* One life from a seed. Returns the rule that was broken, or NULL. */
static const char *live(world *self, tally *sum, uint64_t seed, kw_sim_mistake mistake)
{
    kw_sim_event event = {.kind = KW_SIM_PEACE};
    kw_sim_init(&self->sim, seed, self->mood);
    kw_sim_push(&self->sim.queue, CALM_NS, event);
    kw_sim_client_init(&self->client, &self->sim, mistake);
    plan_ops(self);
    while (self->client.fault == NULL && kw_sim_pop(&self->sim.queue, &event) &&
           event.at_ns < END_NS) {
        sum->events_n++;
        if (!kw_sim_on_event(&self->sim, &event)) {
            kw_sim_client_on_event(&self->client, &event);
        }
    }
    for (unsigned i = 0; i < KW_SIM_OPS && self->client.fault == NULL; i++) {
        bool must_do = i >= EARLY_OPS || self->mood != KW_SIM_WILD;
        self->client.fault = judge(&self->client.ops[i], must_do);
        count(sum, &self->client.ops[i], i >= EARLY_OPS);
    }
    return self->client.fault;
}

/* Many lives; stops at the first fault. */
static tally live_many(world *self, const char *name, kw_sim_mood mood, unsigned runs_n)
{
    tally sum = {0};
    uint64_t seed = kw_test_seed(name);
    uint64_t before_ns = kw_test_now_ns();
    self->mood = mood;
    for (unsigned run = 0; run < runs_n; run++) {
        const char *fault = live(self, &sum, seed + run, KW_SIM_SOUND);
        if (fault != NULL) {
            fail_msg("%s, KW_TEST_SEED=%llu: %s", name, (unsigned long long)(seed + run), fault);
        }
    }
    uint64_t spent_ns = kw_test_now_ns() - before_ns;
    fprintf(stderr, "%s: %.0f runs a second; of %lu ops %lu done, %lu none, %lu maybe, %lu lost; ",
            name, runs_n * 1e9 / (double)spent_ns, sum.ops_n, sum.done_n, sum.by_effect[0],
            sum.by_effect[1], sum.by_effect[2]);
    fprintf(stderr, "%.2f sends an op, at most %.0f ms after the trouble\n",
            (double)sum.sends_n / (double)sum.ops_n, (double)sum.slowest_ns / 1e6);
    return sum;
}

static void test_simulation_whatever_happens_no_rule_is_broken(void **state)
{
    tally sum = live_many(*state, "wild", KW_SIM_WILD, WILD_RUNS);
    /* The trouble was worth the name: every kind of end occurred. */
    static const kw_err codes[] = {
        KW_ERR_CONNECT,   KW_ERR_TIMEOUT, KW_ERR_CLOSED,     KW_ERR_PROTOCOL,
        KW_ERR_DESYNC,    KW_ERR_LIMIT,   KW_ERR_NOT_SERVED, KW_ERR_CLUSTER_DOWN,
        KW_ERR_TRY_AGAIN, KW_ERR_LOADING, KW_ERR_REDIRECT,   KW_ERR_QUEUE_TIMEOUT,
    };
    assert_true(sum.done_n > sum.ops_n / 2);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (sum.by_code[-codes[i]] == 0) {
            fail_msg("nothing ended with %s", kw_err_name(codes[i]));
        }
    }
}

static void test_simulation_slots_that_move_cost_no_op(void **state)
{
    tally sum = live_many(*state, "moves", KW_SIM_MOVES, MILD_RUNS);
    assert_int_equal(sum.done_n, sum.ops_n);
    assert_true(sum.sends_n > sum.ops_n + sum.ops_n / 20);
}

static void test_simulation_in_peace_each_op_is_sent_once(void **state)
{
    tally sum = live_many(*state, "calm", KW_SIM_CALM, MILD_RUNS);
    assert_int_equal(sum.done_n, sum.ops_n);
    assert_int_equal(sum.sends_n, sum.ops_n);
}

/* An idle client knows nothing of a failover; the old primary is back, and busy. */
static void test_simulation_node_that_loads_and_was_replaced_is_left(void **state)
{
    world *self = *state;
    kw_sim *sim = &self->sim;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        kw_op_spec spec = {
            .redirects_max = REDIRECTS, .has_map = true, .has_redirects = true, .has_slot = true};
        bool is_replaced = false;
        kw_sim_event event;
        kw_sim_init(sim, seed, KW_SIM_CALM);
        kw_sim_client_init(&self->client, sim, KW_SIM_SOUND);
        for (unsigned i = 0; i < 2; i++) {
            spec.deadline_ns = i * 200 * MS + 400 * MS; /* before the periodic fetch */
            kw_sim_client_plan(&self->client, i, i * 200 * MS, &spec);
        }
        while (kw_sim_pop(&sim->queue, &event) && event.at_ns < 700 * MS) {
            if (!is_replaced && event.at_ns >= 100 * MS) {
                is_replaced = true;
                sim->owners[0] = 3;
                sim->nodes[0].loading_ns = END_NS;
                for (unsigned node = 1; node < KW_SIM_NODES; node++) {
                    sim->nodes[node].view[0] = 3;
                }
            }
            if (!kw_sim_on_event(sim, &event)) {
                kw_sim_client_on_event(&self->client, &event);
            }
        }
        assert_null(judge(&self->client.ops[0], true));
        assert_null(judge(&self->client.ops[1], true));
    }
}

static void test_simulation_same_seed_gives_the_same_life(void **state)
{
    world *self = *state;
    self->mood = KW_SIM_WILD;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        tally first = {0};
        tally second = {0};
        (void)live(self, &first, seed, KW_SIM_SOUND);
        (void)live(self, &second, seed, KW_SIM_SOUND);
        assert_memory_equal(&first, &second, sizeof(first));
    }
}

static void test_simulation_each_mistake_of_a_driver_is_found(void **state)
{
    world *self = *state;
    uint64_t seed = kw_test_seed("mistakes");
    self->mood = KW_SIM_WILD;
    static const struct {
        kw_sim_mistake mistake;
        const char *rule;
    } rows[] = {
        {KW_SIM_DENIES_SENDING, "failed with effect none, and ran"},
        {KW_SIM_DENIES_SENDING, "a write ran twice"},
        {KW_SIM_DENIES_LATENESS, "failed with effect none, and ran"},
        {KW_SIM_SENDS_AGAIN, "a write ran twice"},
        {KW_SIM_OVERSLEEPS, "ended after its deadline"},
        {KW_SIM_FETCHES_AT_ONCE, "two fetches within the floor"},
        {KW_SIM_DIALS_AT_ONCE, "two dials to a failing node"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tally sum = {0};
        bool is_found = false;
        for (unsigned run = 0; run < 400 && !is_found; run++) {
            const char *fault = live(self, &sum, seed + run, rows[i].mistake);
            is_found = fault != NULL && strcmp(fault, rows[i].rule) == 0;
        }
        if (!is_found) {
            fail_msg("mistake %d: \"%s\" is not found", (int)rows[i].mistake, rows[i].rule);
        }
    }
}

static int make_world(void **state)
{
    *state = calloc(1, sizeof(world));
    return *state == NULL;
}

static int free_world(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulation_whatever_happens_no_rule_is_broken),
        cmocka_unit_test(test_simulation_slots_that_move_cost_no_op),
        cmocka_unit_test(test_simulation_in_peace_each_op_is_sent_once),
        cmocka_unit_test(test_simulation_node_that_loads_and_was_replaced_is_left),
        cmocka_unit_test(test_simulation_same_seed_gives_the_same_life),
        cmocka_unit_test(test_simulation_each_mistake_of_a_driver_is_found),
    };
    return cmocka_run_group_tests(tests, make_world, free_world);
}
