/* SPDX-License-Identifier: BSD-3-Clause */
/* Who fetches by a cache that loads: of a key one load at a time, as far as its lease is there; no
 * value that is older than its ttl says, or was loaded before what the program has done since;
 * every wait has its end, and once all is well each fetch has a value. */
#include "sim/loads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C sim_the_crew

#define GRAIN_NS (4 * SIM_MS)

/* Of who loads: it asks, takes a connection, watches, stores by three commands, gives the lease
 * back and watches no more, each within the handle's timeout. Who has found no place to load gives
 * its lease back as well. */
#define WAITS_N 8

static void pause_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
}

static void name_of(char *text, size_t len, unsigned key)
{
    sim_loaded_name(text, len, key);
}

/* Loads. */

static kw_cache_loaded end_of(sim_fetcher *self, kw_cache_load *load)
{
    char text[16];
    bool is_well = C.heal_ns != SIM_NEVER;
    snprintf(text, sizeof(text), "%u", self->value);
    sim_load_end(self);
    if (self->value == 0 || (!is_well && sim_one_in(C.plan->fails_in))) {
        return KW_CACHE_FAILED;
    }
    if (!is_well && sim_one_in(8)) {
        sim_load_none(self);
        return KW_CACHE_NONE;
    }
    return kw_cache_load_give(load, text, strlen(text)) == KW_OK ? KW_CACHE_LOADED
                                                                 : KW_CACHE_FAILED;
}

typedef struct later {
    sim_fetcher *fetcher;
    kw_cache_load *load;
} later;

static later laters[SIM_FETCHERS];

static uint64_t span_of(void)
{
    return sim_random(C.heal_ns != SIM_NEVER ? 10 * SIM_MS : C.plan->load_ms * SIM_MS);
}

static void run_later(void *arg)
{
    later *self = arg;
    pause_for(span_of());
    kw_cache_load_end(self->load, end_of(self->fetcher, self->load));
    C.callers_left--;
    sim_wake(C.keeper);
}

/* The host's function. In the loop's thread it never waits. */
static kw_cache_loaded load_value(void *arg, kw_cache_load *load)
{
    sim_fetcher *self = arg;
    kw_cache_bytes key = kw_cache_load_key(load);
    char name[16];
    name_of(name, sizeof(name), self->key);
    if (key.len != strlen(name) || memcmp(key.data, name, key.len) != 0) {
        sim_fail("a load of c%u is given the key \"%.*s\"", self->key, (int)key.len, key.data);
    }
    sim_load_begin(self);
    if (self->is_in_loop || sim_one_in(4)) {
        laters[self->number] = (later){self, load};
        C.callers_left++;
        sim_spawn("load", run_later, &laters[self->number]);
        return KW_CACHE_LATER;
    }
    pause_for(span_of());
    return end_of(self, load);
}

/* Calls. */

static void on_end(void *arg, const kw_error *error, kw_cache_value *value)
{
    sim_fetcher *self = arg;
    if (self->ends_n++ > 0) {
        sim_fail("a fetch in the loop ends twice");
    }
    self->code = error != NULL ? error->code : KW_OK;
    if (error != NULL) {
        self->error = *error;
    }
    if (value != NULL) {
        self->given = *value;
    }
    sim_wake(self->task);
}

/* In the loop; true: it was given, and has ended. */
static void await_end(sim_fetcher *self, kw_err code)
{
    while (code == KW_OK && self->ends_n == 0) {
        sim_park(SIM_NEVER);
    }
    self->code = code == KW_OK ? self->code : code;
}

static void fetch(sim_fetcher *self, kw_cache_bytes key)
{
    kw_cache *cache = sim_cache_of(self);
    kw_cache_loader loader = {load_value, self};
    self->is_in_loop = C.plan->loads_in_loop && sim_one_in(2);
    sim_fetch_begin(self);
    if (self->is_in_loop) {
        await_end(self, kw_cache_fetch_async(cache, &self->error, key, loader,
                                             (kw_cache_callback){on_end, self}));
    } else {
        self->code = kw_cache_fetch(cache, &self->error, &self->given, key, loader);
    }
    sim_fetch_end(self);
}

static void get(sim_fetcher *self, kw_cache_bytes key)
{
    kw_cache *cache = sim_cache_of(self);
    self->is_in_loop = C.plan->loads_in_loop && sim_one_in(2);
    self->is_get = true;
    sim_fetch_begin(self);
    if (self->is_in_loop) {
        await_end(self,
                  kw_cache_get_async(cache, &self->error, key, (kw_cache_callback){on_end, self}));
    } else {
        self->code = kw_cache_get(cache, &self->error, &self->given, key);
    }
    sim_fetch_end(self);
}

/* By a put, or a forget. */
static void change(sim_fetcher *self, kw_cache_bytes key)
{
    char text[16];
    kw_cache *cache = sim_cache_of(self);
    bool is_put = sim_one_in(2);
    unsigned number = is_put ? sim_value_new(self->key, SIM_NOBODY) : 0;
    snprintf(text, sizeof(text), "%u", number);
    self->is_in_loop = C.plan->loads_in_loop && sim_one_in(2);
    sim_change_begin(self);
    kw_cache_callback callback = {on_end, self};
    if (number != 0 && self->is_in_loop) {
        await_end(self,
                  kw_cache_put_async(cache, &self->error, key, kw_cache_text(text), callback));
    } else if (number != 0) {
        self->code = kw_cache_put(cache, &self->error, key, kw_cache_text(text));
    } else if (self->is_in_loop) {
        await_end(self, kw_cache_forget_async(cache, &self->error, key, callback));
    } else {
        self->code = kw_cache_forget(cache, &self->error, key);
    }
    sim_change_end(self);
}

static void run_fetcher(void *arg)
{
    sim_fetcher *self = arg;
    self->task = sim_self_bit();
    while (sim_cache_of(self) != NULL && !sim_fetches_are_over(self)) {
        char name[16];
        self->key = (unsigned)sim_random(sim_one_in(2) ? 1 : SIM_LOADED_KEYS);
        name_of(name, sizeof(name), self->key);
        if (sim_one_in(C.plan->changes_in)) {
            change(self, kw_cache_text(name));
        } else if (sim_one_in(8)) {
            get(self, kw_cache_text(name));
        } else {
            fetch(self, kw_cache_text(name));
        }
        bool is_slow = sim_one_in(4) || C.heal_ns != SIM_NEVER;
        pause_for(sim_random(is_slow ? 300 * SIM_MS : 30 * SIM_MS));
    }
    sim_cache_leave(self);
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_loads_begin(const sim_plan *plan)
{
    if (plan->loads_n == 0) {
        return;
    }
    sim_caches_open();
    for (unsigned i = 0; i < plan->loads_n; i++) {
        C.callers_left++;
        sim_spawn("fetcher", run_fetcher, sim_fetcher_at(i));
    }
}

uint64_t sim_fetch_limit_ns(const sim_fetcher *self)
{
    uint64_t waits_n = self->has_loaded ? WAITS_N : C.plan->loads_max < C.plan->loads_n ? 2 : 1;
    return waits_n * C.plan->timeout_ms * SIM_MS + self->loading_ns + GRAIN_NS;
}
