/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that wants a value: given, waited for, or loaded; one load for all who wait. */
#include "cache/cache_fetch.h"

#include "base/error.h"
#include "cache/cache_look.h"
#include "cache/life.h"
#include "cache/load_guard.h"
#include "topology/topology_tend.h"

/* How often the server is asked whether another process has loaded. */
#define POLL_FIRST_NS ((uint64_t)4000000)
#define POLL_MAX_NS   ((uint64_t)16000000)

/* Between two looks at the clock, and at whether the handle is being closed. */
#define SLICE_NS ((uint64_t)50000000)

typedef struct fetch {
    kw_cache *cache;
    kw_error *error;
    kw_cache_value *value;
    kw_cache_look look;
    const kw_cache_loader *loader;
    kw_flight *flight; /* NULL: none yet */
} fetch;

static kw_err give(fetch *self, kw_blob *blob, kw_cache_source source)
{
    kw_cache_value_set(self->value, blob, source);
    if (self->value->source == KW_CACHE_FROM_STALE) {
        kw_cache_count(&self->cache->counters.stale);
    }
    return KW_OK;
}

/* What the server has. */
static kw_err give_old(fetch *self)
{
    kw_cache_count(&self->cache->counters.hits);
    return give(self, self->look.old,
                self->look.is_over ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_SERVER);
}

static uint64_t now_of(const fetch *self)
{
    return kw_env_now(&self->cache->topology->env);
}

static bool is_closing(const fetch *self)
{
    return atomic_load_explicit(&self->cache->topology->env.is_closing, memory_order_relaxed);
}

/* Time is over, or the handle is being closed; KW_OK where neither is. */
static kw_err check_end(const fetch *self, uint64_t now_ns, kw_err code, const char *text)
{
    if (is_closing(self)) {
        return kw_error_set(self->error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                            "the handle was closed during the call");
    }
    if (now_ns >= self->look.deadline_ns) {
        return kw_error_set(self->error, code, KW_EFFECT_NONE, "%s", text);
    }
    return KW_OK;
}

static uint64_t slice_of(const fetch *self, uint64_t now_ns, uint64_t most_ns)
{
    uint64_t left_ns =
        self->look.deadline_ns > now_ns ? self->look.deadline_ns - now_ns : (uint64_t)1;
    return left_ns < most_ns ? left_ns : most_ns;
}

/* The end of the flight that this call leads. */
static void end_flight(fetch *self, const kw_flight_end *end)
{
    kw_flights_end(&self->cache->flights, self->flight, end);
}

static kw_err fail_flight(fetch *self, const kw_error *failure)
{
    kw_flight_end end = {.state = KW_FLIGHT_FAILED, .failure = failure};
    end_flight(self, &end);
    kw_error_copy(self->error, failure);
    return failure->code;
}

static void leave_flight(fetch *self)
{
    kw_flight_end end = {.state = KW_FLIGHT_LEFT};
    end_flight(self, &end);
}

/* To all who wait, and to this caller. */
static kw_err give_all(fetch *self, kw_blob *blob, kw_cache_source source)
{
    kw_flight_end end = {.state = KW_FLIGHT_DONE, .blob = blob};
    end.is_stale = source == KW_CACHE_FROM_STALE;
    end_flight(self, &end);
    return give(self, blob, source);
}

static kw_err give_old_to_all(fetch *self)
{
    return give_all(self, self->look.old,
                    self->look.is_over ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_SERVER);
}

/* A third of the lease from now. */
static uint64_t renewal_ns(const fetch *self, uint64_t now_ns)
{
    return now_ns + self->cache->options.lease_ms * KW_NS_PER_MS / 3;
}

/* A place among the loads of this process. Old values that may be given do not wait for one. */
static kw_err wait_for_place(fetch *self, bool has_lease)
{
    kw_flights *flights = &self->cache->flights;
    bool may_give = self->look.old != NULL;
    while (!kw_flights_begin_load(flights, may_give ? 0 : SLICE_NS / 5)) {
        uint64_t now_ns = now_of(self);
        kw_err code = may_give ? KW_ERR_QUEUE_TIMEOUT
                               : check_end(self, now_ns, KW_ERR_QUEUE_TIMEOUT,
                                           "as many loads as loads-max allows were under way all "
                                           "the time; raise loads-max or timeout");
        if (code != KW_OK) {
            return code;
        }
        if (has_lease &&
            kw_flights_claim_renewal(flights, self->flight, now_ns, renewal_ns(self, now_ns))) {
            kw_cache_look_tell(&self->look, KW_LEASE_EXTEND);
        }
    }
    return KW_OK;
}

/* Stores what was loaded, under the guard. */
static void store(fetch *self, kw_load_guard *guard, kw_cache_loaded loaded, kw_bytes value)
{
    kw_cache *cache = self->cache;
    kw_lease_ask ask = {.act = KW_LEASE_FILL, .key = self->look.key, .value = value};
    ask.name.data = self->look.name.data;
    ask.name.len = self->look.name.len;
    ask.token = kw_lease_token_bytes(&self->look.token);
    ask.ms = kw_life_draw_ms(&cache->options, kw_cache_random(cache));
    if (loaded == KW_CACHE_NONE) {
        ask.act = KW_LEASE_NONE;
        ask.ms = cache->options.negative_ttl_ms;
    }
    bool is_stored;
    kw_err code = kw_load_guard_fill(guard, &is_stored, NULL, &ask);
    kw_cache_count(code == KW_OK && is_stored ? &cache->counters.fills
                                              : &cache->counters.fills_refused);
    if (code != KW_OK || !is_stored) {
        kw_cache_look_tell(&self->look, KW_LEASE_RELEASE);
    }
}

/* Calls the host, and notes what it cost. */
static kw_cache_loaded call_loader(fetch *self, kw_cache_load *load)
{
    kw_cache *cache = self->cache;
    uint64_t start_ns = now_of(self);
    kw_cache_count(&cache->counters.loads);
    kw_cache_loaded loaded = self->loader->fn(self->loader->arg, load);
    uint64_t mean_ms = atomic_load_explicit(&cache->cost_ms, memory_order_relaxed);
    uint64_t took_ms = (now_of(self) - start_ns) / KW_NS_PER_MS;
    atomic_store_explicit(&cache->cost_ms, kw_life_mean_ms(mean_ms, took_ms), memory_order_relaxed);
    bool is_good = loaded == KW_CACHE_NONE || (loaded == KW_CACHE_LOADED && load->given != NULL);
    if (!is_good) {
        kw_cache_count(&cache->counters.load_failures);
    }
    return is_good ? loaded : KW_CACHE_FAILED;
}

static kw_err fail_load(fetch *self)
{
    if (self->look.old != NULL) {
        return give_old_to_all(self);
    }
    kw_error failure = KW_ERROR_INIT;
    kw_error_set(&failure, KW_ERR_LOAD, KW_EFFECT_NONE,
                 "the loader failed, or gave no value, and there is no old value to be given");
    return fail_flight(self, &failure);
}

/* The value under a place among the loads; with a lease it is stored. */
static kw_err load_value(fetch *self, bool has_lease)
{
    kw_cache *cache = self->cache;
    kw_load_guard guard = {.is_open = false};
    if (has_lease) {
        (void)kw_load_guard_open(&guard, cache, NULL, self->look.key, kw_cache_deadline_ns(cache));
    } else {
        kw_cache_count(&cache->counters.alone);
    }
    kw_cache_load load = {cache, self->look.key, NULL};
    kw_cache_loaded loaded = call_loader(self, &load);
    kw_bytes none = {NULL, 0};
    if (guard.is_open && loaded != KW_CACHE_FAILED) {
        store(self, &guard, loaded, load.given != NULL ? load.given->bytes : none);
    } else if (has_lease) {
        kw_cache_look_tell(&self->look, KW_LEASE_RELEASE);
    }
    kw_load_guard_close(&guard);
    kw_flights_end_load(&cache->flights);
    kw_err code = loaded == KW_CACHE_FAILED ? fail_load(self)
                  : loaded == KW_CACHE_NONE ? give_all(self, NULL, KW_CACHE_FROM_NOWHERE)
                                            : give_all(self, load.given, KW_CACHE_FROM_LOAD);
    kw_blob_unref(load.given);
    return code;
}

/* This call leads its flight, and loads. */
static kw_err lead(fetch *self, bool has_lease)
{
    kw_flights *flights = &self->cache->flights;
    if (has_lease) {
        kw_flights_take(flights, self->flight, &self->look.token, renewal_ns(self, now_of(self)));
    }
    kw_err code = wait_for_place(self, has_lease);
    if (code == KW_OK) {
        kw_cache_count(&self->cache->counters.misses);
        return load_value(self, has_lease);
    }
    if (has_lease) {
        kw_cache_look_tell(&self->look, KW_LEASE_RELEASE);
    }
    if (self->look.old != NULL) {
        kw_cache_count(&self->cache->counters.hits);
        return give_old_to_all(self);
    }
    leave_flight(self);
    return code;
}

/* The lease is that of another process: its value, or its end, is waited for. */
static kw_err poll_server(fetch *self)
{
    uint64_t pause_ns = POLL_FIRST_NS;
    for (;;) {
        uint64_t now_ns = now_of(self);
        kw_err code = check_end(self, now_ns, KW_ERR_TIMEOUT,
                                "another process loads the value, and was not done in time");
        if (code != KW_OK) {
            leave_flight(self);
            return code;
        }
        uint64_t until_ns = now_ns + slice_of(self, now_ns, pause_ns);
        while (now_ns < until_ns) {
            (void)kw_flights_wait(&self->cache->flights, self->flight, until_ns - now_ns);
            now_ns = now_of(self);
        }
        pause_ns = pause_ns < POLL_MAX_NS ? pause_ns * 2 : POLL_MAX_NS;
        kw_error failure = KW_ERROR_INIT;
        switch (kw_cache_look_run(&self->look, &failure)) {
        case KW_LOOK_VALUE:
            kw_cache_count(&self->cache->counters.hits);
            return give_old_to_all(self);
        case KW_LOOK_NONE:
            return give_all(self, NULL, KW_CACHE_FROM_NOWHERE);
        case KW_LOOK_LEASE:
            return lead(self, true);
        case KW_LOOK_AWAY:
            return lead(self, false);
        case KW_LOOK_WRONG:
            return fail_flight(self, &failure);
        case KW_LOOK_TAKEN:
            break;
        }
    }
}

/* Another call of this process leads. *goes_on: it has left, and the value is to be looked for
 * again. */
static kw_err wait_for_leader(fetch *self, bool *goes_on)
{
    kw_flights *flights = &self->cache->flights;
    kw_flight *flight = self->flight;
    *goes_on = false;
    for (;;) {
        uint64_t now_ns = now_of(self);
        kw_flight_state state = kw_flights_wait(flights, flight, slice_of(self, now_ns, SLICE_NS));
        switch (state) {
        case KW_FLIGHT_DONE:
            return give(self, flight->blob,
                        flight->is_stale ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_LOAD);
        case KW_FLIGHT_FAILED:
            kw_error_copy(self->error, &flight->failure);
            return flight->failure.code;
        case KW_FLIGHT_LEFT:
        case KW_FLIGHT_OPEN:
            break;
        }
        now_ns = now_of(self);
        kw_err code = check_end(self, now_ns, KW_ERR_TIMEOUT,
                                "the value is being loaded, and was not there in time");
        if (code != KW_OK || state == KW_FLIGHT_LEFT) {
            *goes_on = code == KW_OK;
            return code;
        }
        if (kw_flights_claim_renewal(flights, flight, now_ns, renewal_ns(self, now_ns))) {
            kw_lease_token own = self->look.token;
            self->look.token = flight->token;
            kw_cache_look_tell(&self->look, KW_LEASE_EXTEND);
            self->look.token = own;
        }
    }
}

/* Somebody else has the lease, or no server answers. *goes_on as in wait_for_leader. */
static kw_err join(fetch *self, bool *goes_on, kw_look_result result)
{
    static const kw_lease_token nobody = {{0}};
    const kw_lease_token *token = result == KW_LOOK_TAKEN ? &self->look.holder : &nobody;
    bool leads;
    self->flight = kw_flights_join(&self->cache->flights, &leads, self->look.key, token);
    if (self->flight == NULL) {
        return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a load");
    }
    if (leads && result == KW_LOOK_AWAY) {
        return lead(self, false);
    }
    kw_cache_count(&self->cache->counters.waits);
    return leads ? poll_server(self) : wait_for_leader(self, goes_on);
}

/* The lease is this call's. */
static kw_err begin(fetch *self)
{
    self->flight = kw_flights_begin(&self->cache->flights, self->look.key, &self->look.token);
    if (self->flight == NULL) {
        kw_cache_look_tell(&self->look, KW_LEASE_RELEASE);
        return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a load");
    }
    return lead(self, true);
}

/* One of those who load or wait. *goes_on: the value is to be looked for again. */
static kw_err enter_flight(fetch *self, bool *goes_on, kw_look_result result)
{
    kw_flights *flights = &self->cache->flights;
    *goes_on = false;
    if (kw_flights_enter(flights) != KW_OK) {
        if (result == KW_LOOK_LEASE) {
            kw_cache_look_tell(&self->look, KW_LEASE_RELEASE);
        }
        return kw_error_set(self->error, KW_ERR_QUEUE_FULL, KW_EFFECT_NONE,
                            "%d calls wait for loads already", KW_FLIGHTS_WAITERS_MAX);
    }
    kw_err code = result == KW_LOOK_LEASE ? begin(self) : join(self, goes_on, result);
    if (self->flight != NULL) {
        kw_flights_unref(flights, self->flight);
        self->flight = NULL;
    }
    kw_flights_leave(flights);
    return code;
}

static kw_err run(fetch *self)
{
    for (;;) {
        bool goes_on;
        kw_look_result result = kw_cache_look_run(&self->look, self->error);
        switch (result) {
        case KW_LOOK_VALUE:
            return give_old(self);
        case KW_LOOK_NONE:
            kw_cache_count(&self->cache->counters.hits);
            return give(self, NULL, KW_CACHE_FROM_NOWHERE);
        case KW_LOOK_WRONG:
            return self->error->code;
        case KW_LOOK_LEASE:
        case KW_LOOK_TAKEN:
        case KW_LOOK_AWAY:
            break;
        }
        kw_err code = enter_flight(self, &goes_on, result);
        if (!goes_on) {
            return code;
        }
    }
}

kw_err kw_cache_do_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                         const kw_cache_loader *loader)
{
    if (cache->near != NULL && kw_cache_get_fresh(cache, value, key)) {
        return KW_OK;
    }
    kw_error failure = KW_ERROR_INIT;
    fetch self = {.cache = cache, .error = &failure, .value = value, .loader = loader};
    kw_err code = KW_OK;
    if (kw_cache_look_init(&self.look, cache, key)) {
        code = run(&self);
    } else {
        code = kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a key");
    }
    kw_cache_look_fini(&self.look);
    if (code != KW_OK) {
        kw_error_copy(error, &failure);
    }
    kw_topology_tend(cache->topology, kw_env_now(&cache->topology->env));
    return code;
}
