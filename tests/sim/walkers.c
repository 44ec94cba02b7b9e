/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that walk all keys: each key, as all are there from beginning to end, is given at least
 * once, also where the walk goes on by its cursor in another object, or by another handle. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define C sim_the_crew

/* Once all is well a walk comes to its end so soon, and some ways there or back: sixteen slots of a
 * server are asked for in one round trip, and those of a whole cluster may have to be. */
#define WALK_NS    (20 * SIM_S)
#define WALK_TRIPS 3000

/* Farther away that takes longer than a life. */
#define FAR_NS (8 * SIM_MS)

typedef struct walk {
    unsigned number;
    uint64_t given; /* one bit a key */
    uint64_t again; /* that were given twice by one object */
    unsigned errors_n;
    bool is_unique;
    kw_scan_options options;
    char cursor[4096];
} walk;

/* What the walk is of. */
static bool is_walked(const walk *self, unsigned key)
{
    unsigned slot = sim_keyspace_slot_of(key);
    return !self->options.has_slots ||
           (slot >= self->options.first_slot && slot <= self->options.last_slot);
}

static void take_key(walk *self, const char *name, size_t len)
{
    char wanted[24];
    const char *colon = strrchr(name, ':');
    unsigned key = SIM_WALKED;
    if (colon == NULL || sscanf(colon + 1, "%u", &key) != 1 || key >= SIM_WALKED) {
        sim_fail("a walk gives the key \"%s\", which nobody has", name);
    }
    sim_keyspace_name(wanted, sizeof(wanted), key);
    if (strlen(wanted) != len || strcmp(wanted, name) != 0) {
        sim_fail("a walk gives the key \"%s\" in the place of \"%s\"", name, wanted);
    }
    if (!is_walked(self, key)) {
        sim_fail("a walk of slots %u to %u gives \"%s\"", self->options.first_slot,
                 self->options.last_slot, name);
    }
    uint64_t bit = (uint64_t)1 << key;
    if (self->is_unique && (self->again & bit) != 0) {
        sim_fail("a walk gives \"%s\" twice, though it has room to know better", name);
    }
    self->again |= bit;
    self->given |= bit;
}

static void check_time(uint64_t begin_ns)
{
    const sim_plan *plan = C.plan;
    bool is_bound = plan->mix.block_ns == 0 && (!plan->has_names || plan->has_thread);
    if (is_bound && sim_now() > begin_ns + (plan->timeout_ms + 2) * SIM_MS) {
        sim_fail("kw_scan_next took %lu us; its deadline was %lu ms",
                 (unsigned long)((sim_now() - begin_ns) / SIM_US), (unsigned long)plan->timeout_ms);
    }
}

/* Goes on by what the cursor says, in another object. */
static kw_scan *resume(walk *self, kw_scan *scan)
{
    kw_error error = KW_ERROR_INIT;
    const char *text = kw_scan_cursor(scan, &error);
    if (text == NULL || C.is_closing) {
        return scan;
    }
    sim_say("walk %u goes on elsewhere: %.60s", self->number, text);
    snprintf(self->cursor, sizeof(self->cursor), "%s", text);
    kw_scan_close(scan);
    self->options.cursor = self->cursor;
    self->again = 0;
    scan = kw_scan_open(C.clients[sim_random(2)], &error, &self->options);
    if (scan == NULL && error.code != KW_ERR_NOMEM && !C.is_closing) {
        sim_fail("a walk does not go on: %s", error.text);
    }
    return scan;
}

static void check_end(const walk *self)
{
    for (unsigned key = 0; key < SIM_WALKED; key++) {
        if (is_walked(self, key) && (self->given & (uint64_t)1 << key) == 0) {
            char name[24];
            sim_keyspace_name(name, sizeof(name), key);
            sim_fail("walk %u is at its end, and \"%s\" was never given", self->number, name);
        }
    }
    sim_say("walk %u is at its end", self->number);
}

/* Members that change take keys with them, which nobody moves here. */
static bool is_told_all(void)
{
    return !sim_plan_has(C.plan, SIM_MEMBERS);
}

/* True where it is given up. */
static bool check_progress(const walk *self, uint64_t begin_ns)
{
    uint64_t from_ns = begin_ns > C.heal_ns ? begin_ns : C.heal_ns;
    bool is_far = C.plan->latency_ns > FAR_NS;
    bool is_slow = C.plan->has_names || C.plan->mix.block_ns > 0 || C.plan->pool_max > 0;
    uint64_t trips_ns = is_far ? 0 : WALK_TRIPS * C.plan->latency_ns;
    bool is_late = C.heal_ns != SIM_NEVER && sim_now() > from_ns + WALK_NS + trips_ns;
    if (is_late && !is_slow && !is_far) {
        sim_fail("all is well for %lu ms, and walk %u is not at its end",
                 (unsigned long)((sim_now() - from_ns) / SIM_MS), self->number);
    }
    return is_late;
}

static void pause_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns && !C.is_closing) {
        sim_park(until_ns);
    }
}

/* True where the walk is over. */
static bool take_batch(walk *self, kw_scan *scan)
{
    kw_error error = KW_ERROR_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    uint64_t begin_ns = sim_now();
    kw_err code = kw_scan_next(scan, &error, &batch);
    check_time(begin_ns);
    if (code != KW_OK) {
        self->errors_n++;
        sim_say("walk %u: %s", self->number, error.text);
        pause_for(SIM_MS);
        return code == KW_ERR_CANCELLED || code == KW_ERR_DRAINING;
    }
    for (size_t i = 0; i < batch.count; i++) {
        take_key(self, batch.keys[i], batch.key_lens[i]);
    }
    if (batch.is_end && is_told_all()) {
        check_end(self);
    }
    return batch.is_end;
}

/* Mostly of some slots around those that move alone: of a whole cluster it takes very long. */
static void choose(walk *self)
{
    kw_scan_options *options = &self->options;
    options->count = 1 + (unsigned)sim_random(12);
    options->parallel = 1 + (unsigned)sim_random(4);
    self->is_unique = sim_one_in(3);
    options->unique_bytes = self->is_unique ? 65536 : 0;
    unsigned slot = sim_the_world.key_slots[sim_random(2)];
    unsigned around = (unsigned)(sim_one_in(3) ? sim_random(40) : sim_between(150, 250));
    options->has_slots = C.plan->kind != SIM_RING && !sim_one_in(48);
    options->first_slot = slot > around ? slot - around : 0;
    options->last_slot = slot + around < 16383 ? slot + around : 16383;
}

static void run_walk(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    walk self = {.number = (unsigned)(uintptr_t)arg, .options = KW_SCAN_OPTIONS_INIT};
    choose(&self);
    bool resumes = sim_one_in(2);
    pause_for(sim_random(40 * C.plan->latency_ns));
    uint64_t begin_ns = sim_now();
    kw_scan *scan = C.is_closing ? NULL : kw_scan_open(C.client, &error, &self.options);
    while (scan != NULL && !C.is_closing && !take_batch(&self, scan) &&
           !check_progress(&self, begin_ns)) {
        if (sim_one_in(4)) { /* what is given takes time */
            pause_for(sim_random(50 * SIM_MS));
        }
        scan = resumes && sim_one_in(4) ? resume(&self, scan) : scan;
    }
    kw_scan_close(scan);
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_walks_begin(const sim_plan *plan)
{
    for (unsigned i = 0; i < plan->walks_n; i++) {
        C.callers_left++;
        sim_spawn("walk", run_walk, (void *)(uintptr_t)i);
    }
}
