/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold of loads, and of what those who fetch get. */
#include "sim/loads.h"

#include "cache/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C sim_the_crew

/* Of a lease that others wait for so much is left when it is renewed at the latest: they look in
 * each 50 ms. */
#define LATE_NS (150 * SIM_MS)

/* Round trips in which all this is short. */
#define NEAR_NS (20 * SIM_MS)

/* Once all is well the first calls may learn what was wrong. */
#define TRIES 3

/* Lives are given in milliseconds, and rounded to both sides. */
#define ROUND_NS (2 * SIM_MS)

static struct {
    kw_cache *caches[SIM_CACHES];
    unsigned users_n[SIM_CACHES];
    unsigned loads_n[SIM_CACHES]; /* under way */
    unsigned values_n;            /* the last one that is loaded */
    uint64_t changed_ns[SIM_LOADED_KEYS];
    uint64_t none_ns[SIM_LOADED_KEYS]; /* when a load found none */
    sim_fetcher fetchers[SIM_FETCHERS];
} all;

sim_fetcher *sim_fetcher_at(unsigned number)
{
    return &all.fetchers[number];
}

kw_cache *sim_cache_of(const sim_fetcher *self)
{
    return all.caches[self->cache];
}

void sim_caches_open(void)
{
    char options[240];
    char near[80] = "";
    kw_error error = KW_ERROR_INIT;
    const sim_plan *plan = C.plan;
    memset(&all, 0, sizeof(all));
    if (plan->loads_are_near) {
        snprintf(near, sizeof(near), "&near-bytes=1mb&near-staleness=%lums",
                 (unsigned long)plan->staleness_ms);
    }
    snprintf(options, sizeof(options),
             "ttl=%lums&stale=%lums&stale-if-error=%lums&negative-ttl=%lums&lease=%lums&"
             "loads-max=%u%s",
             (unsigned long)plan->ttl_ms, (unsigned long)plan->stale_ms,
             (unsigned long)plan->stale_if_error_ms, (unsigned long)plan->negative_ms,
             (unsigned long)plan->lease_ms, plan->loads_max, near);
    for (unsigned i = 0; i < plan->caches_n && i < plan->loads_n; i++) {
        all.caches[i] = kw_cache_open(C.client, &error, options);
        if (all.caches[i] == NULL && error.code != KW_ERR_NOMEM) {
            sim_fail("no cache: %s", error.text);
        }
    }
    for (unsigned i = 0; i < plan->loads_n; i++) {
        all.fetchers[i].number = i;
        all.fetchers[i].cache = i % plan->caches_n;
        all.users_n[i % plan->caches_n]++;
    }
}

void sim_cache_leave(const sim_fetcher *self)
{
    kw_error error = KW_ERROR_INIT;
    kw_cache_figures figures = {.size = sizeof(figures)};
    kw_cache *cache = all.caches[self->cache];
    if (--all.users_n[self->cache] > 0 || cache == NULL) {
        return;
    }
    if (kw_cache_stats(cache, &error, &figures) == KW_OK && figures.loading > 0) {
        sim_fail("all fetches have ended, and %lu loads are counted",
                 (unsigned long)figures.loading);
    }
    all.caches[self->cache] = NULL;
    kw_cache_close(cache);
}

/* Nothing is wrong, or was: servers answer in time. */
static bool is_calm(void)
{
    return C.fault_ns == SIM_NEVER && !sim_plan_has(C.plan, SIM_MEMORY) &&
           C.plan->latency_ns <= NEAR_NS &&
           C.plan->timeout_ms * SIM_MS > 2 * SIM_TRIPS * C.plan->latency_ns;
}

/* Data may be elsewhere than the program thinks. */
static bool may_be_elsewhere(void)
{
    bool is_foreign = sim_the_world.foreign != SIM_NO_SERVER && !sim_strangers_have_a_witness();
    bool is_ring = C.plan->kind == SIM_RING && (C.plan->moves_keys || C.maps_n > 1);
    return sim_leases_were_handed() || is_foreign || is_ring;
}

/* Loads. */

/* Somebody of the other load's cache waits for it all the time, who is to renew its lease. */
static bool is_waited_for(const sim_value *other, uint64_t end_ns)
{
    uint64_t margin_ns = LATE_NS + 10 * C.plan->latency_ns + C.plan->lease_ms * SIM_MS / 3;
    for (unsigned i = 0; i < C.plan->loads_n; i++) {
        const sim_fetcher *one = &all.fetchers[i];
        bool waits = one->is_inside && !one->is_get && !one->is_loading && !one->has_loaded &&
                     one->cache == other->cache && one->key == other->key;
        if (waits && one->begin_ns > other->begun_ns && one->begin_ns + margin_ns < end_ns &&
            one->begin_ns + C.plan->timeout_ms * SIM_MS > end_ns) {
            return true;
        }
    }
    return false;
}

static void check_both(unsigned number, unsigned other_number)
{
    const sim_value *value = &sim_the_values[number];
    const sim_value *other = &sim_the_values[other_number];
    if (value->is_unsure || other->is_unsure) {
        return;
    }
    bool is_alone = value->grant == 0 || other->grant == 0;
    bool is_late = sim_grant_end_ns(value->grant) <= sim_now(); /* its lease is over already */
    if (value->grant == 0 && other->grant == 0 && value->cache == other->cache) {
        sim_fail("loads %u and %u of c%u are under way at once in one process, without a lease",
                 other_number, number, value->key);
    }
    if (is_alone || is_late || may_be_elsewhere()) {
        return;
    }
    uint64_t end_ns = sim_grant_end_ns(other->grant);
    if (end_ns > sim_now()) {
        sim_fail("load %u of c%u begins while load %u has the lease for %lu us", number, value->key,
                 other_number, (unsigned long)((end_ns - sim_now()) / SIM_US));
    }
    if (is_calm() && end_ns > 0 && is_waited_for(other, end_ns)) {
        sim_fail("load %u of c%u begins, as the lease of load %u has ended, which others wait for",
                 number, value->key, other_number);
    }
}

/* The lease is that of the one flight of the key, or another process', which is waited for. Where
 * there are several, one without a lease for instance, nobody can say which is the load's. */
static void claim(unsigned number)
{
    sim_value *value = &sim_the_values[number];
    const kw_cache *cache = all.caches[value->cache];
    const kw_flight *found = NULL;
    char name[16];
    char process[20];
    sim_loaded_name(name, sizeof(name), value->key);
    for (unsigned i = 0; i < KW_FLIGHTS_BUCKETS; i++) {
        for (const kw_flight *one = cache->flights.buckets[i]; one != NULL; one = one->next) {
            bool is_of = one->key_len == strlen(name) && memcmp(one->key, name, one->key_len) == 0;
            value->is_unsure = value->is_unsure || (is_of && found != NULL);
            found = is_of ? one : found;
        }
    }
    if (found == NULL) {
        sim_fail("load %u of c%u is of no flight", number, value->key);
    }
    snprintf(process, sizeof(process), "%016lx", (unsigned long)cache->process);
    bool is_own = memcmp(found->token.text, process, strlen(process)) == 0;
    value->grant = is_own && !value->is_unsure ? sim_grant_claim(found->token.text, number) : 0;
}

void sim_load_begin(sim_fetcher *self)
{
    if (++all.loads_n[self->cache] > C.plan->loads_max) {
        sim_fail("%u loads are under way at once; loads-max is %u", all.loads_n[self->cache],
                 C.plan->loads_max);
    }
    self->is_loading = true;
    self->has_loaded = true;
    self->loading_ns = sim_now();
    self->value = sim_value_new(self->key, self->cache);
    if (self->value == 0) {
        return;
    }
    sim_value *value = &sim_the_values[self->value];
    claim(self->value);
    sim_say("load %u of c%u begins, by %s", self->value, self->key,
            value->grant != 0 ? "its lease" : "no lease");
    if (value->grant == 0 && !value->is_unsure && is_calm()) {
        sim_fail("load %u of c%u begins without a lease, and nothing is wrong", self->value,
                 self->key);
    }
    for (unsigned i = 1; i < self->value; i++) {
        const sim_value *other = &sim_the_values[i];
        if (other->key == self->key && other->cache != SIM_NOBODY && other->ended_ns == SIM_NEVER) {
            check_both(self->value, i);
        }
    }
}

void sim_load_end(sim_fetcher *self)
{
    all.loads_n[self->cache]--;
    self->is_loading = false;
    self->loading_ns = sim_now() - self->loading_ns;
    sim_the_values[self->value].ended_ns = sim_now();
    sim_say("load %u of c%u ends", self->value, self->key);
}

void sim_load_none(sim_fetcher *self)
{
    self->found_none = true;
}

/* Calls. */

static void begin(sim_fetcher *self)
{
    self->begin_ns = sim_now();
    self->loading_ns = 0;
    self->has_loaded = false;
    self->found_none = false;
    self->value = 0;
    self->ends_n = 0;
    self->code = KW_OK;
    self->error = (kw_error)KW_ERROR_INIT;
    self->given = (kw_cache_value)KW_CACHE_VALUE_INIT;
    self->changed_ns = all.changed_ns[self->key];
}

static void check_time(const sim_fetcher *self, const char *what)
{
    if (sim_now() > self->begin_ns + sim_fetch_limit_ns(self)) {
        sim_fail("%s of c%u%s took %lu us, %lu of them a load; the timeout is %lu ms", what,
                 self->key, self->is_in_loop ? " in the loop" : "",
                 (unsigned long)((sim_now() - self->begin_ns) / SIM_US),
                 (unsigned long)(self->loading_ns / SIM_US), (unsigned long)C.plan->timeout_ms);
    }
}

void sim_fetch_begin(sim_fetcher *self)
{
    begin(self);
    self->is_inside = true;
    sim_say("fetcher %u: %s of c%u", self->number, self->is_get ? "get" : "fetch", self->key);
}

/* When the value could be given last, by the options. */
static uint64_t end_of(const sim_value *value, kw_cache_source source, bool is_get)
{
    const sim_plan *plan = C.plan;
    uint64_t extra_ms = plan->stale_ms;
    if (!is_get && plan->stale_if_error_ms > extra_ms) {
        extra_ms = plan->stale_if_error_ms;
    }
    if (plan->ttl_ms == 0 || value->cache == SIM_NOBODY) {
        return SIM_NEVER;
    }
    extra_ms = source == KW_CACHE_FROM_STALE ? extra_ms : 0;
    return value->stored_ns + (plan->ttl_ms + extra_ms) * SIM_MS + ROUND_NS;
}

/* By a load of this process, or one of another that was waited for, until a server had it. */
static void check_loaded(const sim_fetcher *self, unsigned number)
{
    const sim_value *value = &sim_the_values[number];
    bool is_own = value->cache == self->cache && value->done_ns >= self->begin_ns;
    if (!is_own && !sim_value_was(number, self->begin_ns)) {
        sim_fail("c%u has value %u, from a load that this fetch has not waited for", self->key,
                 number);
    }
}

/* An old value that is given where a load fails is what a server had when who loads looked, who may
 * have waited for a place and for the guard since. */
static uint64_t since_looked_ns(const sim_fetcher *self)
{
    uint64_t first_ns = self->begin_ns;
    for (unsigned i = 1; i < SIM_VALUES; i++) {
        const sim_value *value = &sim_the_values[i];
        bool is_one = value->key == self->key && value->cache == self->cache &&
                      value->done_ns >= self->begin_ns;
        first_ns = is_one && value->begun_ns < first_ns ? value->begun_ns : first_ns;
    }
    return self->begin_ns - first_ns + 2 * C.plan->timeout_ms * SIM_MS;
}

static void check_kept(const sim_fetcher *self, unsigned number)
{
    const sim_value *value = &sim_the_values[number];
    kw_cache_source source = self->given.source;
    uint64_t granted_ns = source == KW_CACHE_FROM_NEAR ? C.plan->staleness_ms * SIM_MS : 0;
    granted_ns =
        source == KW_CACHE_FROM_STALE && !self->is_get ? since_looked_ns(self) : granted_ns;
    uint64_t from_ns = self->begin_ns > granted_ns ? self->begin_ns - granted_ns : 0;
    if (!sim_value_was(number, from_ns)) {
        sim_fail("c%u has value %u, from %s, which no server had %lu us before the call, or later",
                 self->key, number, source == KW_CACHE_FROM_NEAR ? "memory" : "the server",
                 (unsigned long)(granted_ns / SIM_US));
    }
    /* What has another one's life is given while it would be without an end. */
    uint64_t end_ns = value->has_others_life ? SIM_NEVER : end_of(value, source, self->is_get);
    if (self->begin_ns > end_ns) {
        sim_fail("c%u has value %u %lu us after its end", self->key, number,
                 (unsigned long)((self->begin_ns - end_ns) / SIM_US));
    }
}

/* What is left of a life is counted from its answer, and a host's loop looks now and then. */
#define GIVEN_NS (100 * SIM_MS)

/* An old value that is given where a load fails is given while its life lasts, however long that
 * took. */
static void check_given(const sim_fetcher *self, unsigned number)
{
    uint64_t end_ns = end_of(&sim_the_values[number], KW_CACHE_FROM_STALE, self->is_get);
    uint64_t slack_ns = GIVEN_NS + 4 * C.plan->latency_ns;
    if (is_calm() && C.plan->bandwidth == 0 && end_ns != SIM_NEVER &&
        sim_now() > end_ns + slack_ns) {
        sim_fail("c%u is given value %u %lu us after its end, at the end of a call that has waited",
                 self->key, number, (unsigned long)((sim_now() - end_ns) / SIM_US));
    }
}

static void check_value(const sim_fetcher *self)
{
    char text[16] = "";
    const kw_cache_value *given = &self->given;
    memcpy(text, given->data, given->len < sizeof(text) ? given->len : sizeof(text) - 1);
    unsigned number = (unsigned)strtoul(text, NULL, 10);
    sim_say("fetcher %u: c%u has value %u, source %d", self->number, self->key, number,
            (int)given->source);
    if (number == 0 || number >= SIM_VALUES || sim_the_values[number].key != self->key) {
        sim_fail("c%u has the value \"%s\", which is another's", self->key, text);
    }
    bool is_loaded = given->source == KW_CACHE_FROM_LOAD;
    if (is_loaded) {
        check_loaded(self, number);
    } else {
        check_kept(self, number);
        check_given(self, number);
    }
    const sim_value *value = &sim_the_values[number];
    bool is_old = value->cache != SIM_NOBODY && value->begun_ns < self->changed_ns;
    if (is_old && (is_loaded ? is_calm() : !may_be_elsewhere())) {
        sim_fail("c%u has value %u, whose load began before the key was forgotten or put",
                 self->key, number);
    }
}

static void check_none(const sim_fetcher *self)
{
    uint64_t said_ns = sim_value_none_ns(self->key);
    said_ns = said_ns > all.none_ns[self->key] ? said_ns : all.none_ns[self->key];
    for (unsigned i = 0; i < C.plan->loads_n; i++) {
        const sim_fetcher *other = &all.fetchers[i];
        bool says = other->is_inside && other->found_none && other->key == self->key;
        said_ns = says ? sim_now() : said_ns;
    }
    sim_say("fetcher %u: c%u has no value", self->number, self->key);
    if (!self->is_get && said_ns + ROUND_NS < self->begin_ns) {
        sim_fail("a fetch of c%u has no value, and no load has said so", self->key);
    }
}

/* Since when each call must succeed; what a dead try has left of a lease ends. */
static uint64_t well_ns(void)
{
    return C.heal_ns + SIM_RECOVERY_NS + 2 * SIM_TRIPS * C.plan->latency_ns +
           (C.plan->lease_ms + C.plan->load_ms + C.plan->negative_ms) * SIM_MS;
}

static void check_failure(sim_fetcher *self)
{
    sim_say("fetcher %u: c%u: %s", self->number, self->key, self->error.text);
    bool is_well = C.heal_ns != SIM_NEVER && self->begin_ns > well_ns();
    if (is_well && ++self->tries_n > TRIES && C.plan->latency_ns <= NEAR_NS) {
        sim_fail("all is well for %lu ms, and a %s of c%u fails: %s",
                 (unsigned long)((sim_now() - C.heal_ns) / SIM_MS), self->is_get ? "get" : "fetch",
                 self->key, self->error.text);
    }
}

void sim_fetch_end(sim_fetcher *self)
{
    self->is_inside = false;
    all.none_ns[self->key] = self->found_none ? sim_now() : all.none_ns[self->key];
    sim_the_values[self->value].done_ns = sim_now();
    check_time(self, self->is_get ? "a get" : "a fetch");
    if (self->code != KW_OK) {
        check_failure(self);
    } else if (self->given.data != NULL) {
        check_value(self);
        self->is_served = self->is_served ||
                          (!self->is_get && C.heal_ns != SIM_NEVER && self->begin_ns > well_ns());
    } else {
        check_none(self);
    }
    kw_cache_release(&self->given);
    self->is_get = false;
}

void sim_change_begin(sim_fetcher *self)
{
    begin(self);
    sim_say("fetcher %u changes c%u", self->number, self->key);
}

void sim_change_end(sim_fetcher *self)
{
    check_time(self, "a change");
    if (self->code == KW_OK && self->begin_ns > all.changed_ns[self->key]) {
        all.changed_ns[self->key] = self->begin_ns;
    }
}

bool sim_fetches_are_over(const sim_fetcher *self)
{
    if (C.heal_ns == SIM_NEVER || sim_now() < well_ns()) {
        return C.is_closing;
    }
    return self->is_served || C.is_closing || C.plan->latency_ns > NEAR_NS;
}
