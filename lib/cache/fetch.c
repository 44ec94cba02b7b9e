/* SPDX-License-Identifier: BSD-3-Clause */
/* One load for all who wait: who loads, who waits for whom, what is given to whom in the end. */
#include "cache/fetch.h"

#include "base/error.h"
#include "cache/life.h"

#include <string.h>

/* How often the server is asked whether another process has loaded; where the end of its lease is
 * heard of, more seldom, as a message may be lost. */
#define POLL_FIRST_NS ((uint64_t)4000000)
#define POLL_MAX_NS   ((uint64_t)16000000)
#define WATCHED_NS    ((uint64_t)100000000)

#define NOT_IN_TIME "another process loads the value, and was not done in time"

static uint64_t now_of(const kw_fetch *fetch)
{
    return kw_env_now(&fetch->cache->topology->env);
}

bool kw_fetch_init(kw_fetch *fetch, kw_cache *cache, kw_bytes key)
{
    memset(fetch, 0, offsetof(kw_fetch, name));
    memset((char *)fetch + offsetof(kw_fetch, token), 0,
           sizeof(*fetch) - offsetof(kw_fetch, token));
    fetch->failure.size = sizeof(fetch->failure);
    fetch->cache = cache;
    fetch->key = key;
    uint64_t number = atomic_fetch_add_explicit(&cache->tokens_n, 1, memory_order_relaxed);
    fetch->token = kw_lease_token_make(cache->process, number);
    fetch->deadline_ns = kw_cache_deadline_ns(cache);
    kw_buf_init(&fetch->name, &cache->mem, fetch->space, sizeof(fetch->space));
    return kw_lease_name(&fetch->name, cache->tags, key);
}

static void leave_flight(kw_fetch *fetch)
{
    kw_flights *flights = &fetch->cache->flights;
    if (fetch->flight != NULL) {
        kw_flights_unref(flights, fetch->flight);
        fetch->flight = NULL;
    }
    if (fetch->is_entered) {
        kw_flights_leave(flights);
        fetch->is_entered = false;
    }
}

void kw_fetch_fini(kw_fetch *fetch)
{
    leave_flight(fetch);
    kw_blob_unref(fetch->old);
    kw_blob_unref(fetch->given);
    kw_blob_unref(fetch->blob);
    kw_buf_fini(&fetch->name);
}

/* Tells the lease something, and goes on with the phase behind it. */
static kw_fetch_act tell(kw_fetch *fetch, kw_lease_act act, kw_fetch_phase after)
{
    fetch->ask = kw_fetch_ask_of(fetch, act);
    fetch->phase = after;
    return KW_FETCH_TELL;
}

/* Looks at what the server has. */
static kw_fetch_act look(kw_fetch *fetch)
{
    fetch->ask = kw_fetch_ask_of(fetch, KW_LEASE_ACQUIRE);
    fetch->asked_ns = now_of(fetch);
    fetch->phase = KW_FETCH_LOOKING;
    return KW_FETCH_ASK;
}

kw_fetch_act kw_fetch_begin(kw_fetch *fetch)
{
    return look(fetch);
}

static kw_fetch_act give(kw_fetch *fetch, kw_blob *blob, kw_cache_source source)
{
    if (blob != NULL && source == KW_CACHE_FROM_STALE) {
        kw_cache_count(&fetch->cache->counters.stale);
    }
    fetch->blob = kw_blob_ref(blob);
    fetch->source = source;
    fetch->code = KW_OK;
    leave_flight(fetch);
    return KW_FETCH_END;
}

/* failure says why. */
static kw_fetch_act refuse(kw_fetch *fetch)
{
    fetch->code = fetch->failure.code;
    leave_flight(fetch);
    return KW_FETCH_END;
}

static kw_cache_source source_of_old(const kw_fetch *fetch)
{
    return now_of(fetch) >= fetch->ttl_end_ns ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_SERVER;
}

/* Nobody has a new value. What the call itself has seen is given, while its life lasts: others may
 * have begun when that was deleted already. */
static kw_fetch_act fail(kw_fetch *fetch)
{
    kw_fetch_drop_over(fetch);
    return fetch->old != NULL ? give(fetch, fetch->old, source_of_old(fetch)) : refuse(fetch);
}

/* To all who wait, and to this caller, who leads. */
static kw_fetch_act give_all(kw_fetch *fetch, kw_blob *blob, kw_cache_source source)
{
    kw_flight_end end = {.state = KW_FLIGHT_DONE, .blob = blob};
    end.is_stale = source == KW_CACHE_FROM_STALE;
    kw_flights_end(&fetch->cache->flights, fetch->flight, &end);
    return give(fetch, blob, source);
}

static kw_fetch_act refuse_all(kw_fetch *fetch)
{
    kw_flight_end end = {.state = KW_FLIGHT_FAILED, .failure = &fetch->failure};
    kw_flights_end(&fetch->cache->flights, fetch->flight, &end);
    return refuse(fetch);
}

/* Who leads goes, and others may do it. */
static kw_fetch_act leave_to_others(kw_fetch *fetch)
{
    kw_flight_end end = {.state = KW_FLIGHT_LEFT};
    kw_flights_end(&fetch->cache->flights, fetch->flight, &end);
    return refuse(fetch);
}

/* Time is over, or the handle is being closed; KW_OK where neither is. */
static kw_err check_end(kw_fetch *fetch, uint64_t now_ns, kw_err code, const char *text)
{
    const kw_env *env = &fetch->cache->topology->env;
    if (kw_env_is_closing(env, fetch->cache->closing)) {
        return kw_error_set(&fetch->failure, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                            "the handle was closed during the call");
    }
    return now_ns < fetch->deadline_ns
               ? KW_OK
               : kw_error_set(&fetch->failure, code, KW_EFFECT_NONE, "%s", text);
}

static kw_fetch_act wait(kw_fetch *fetch, kw_fetch_phase phase, uint64_t until_ns)
{
    fetch->phase = phase;
    fetch->wait_ns = until_ns < fetch->deadline_ns ? until_ns : fetch->deadline_ns;
    return KW_FETCH_WAIT;
}

/* A third of the lease from now. */
static uint64_t renewal_ns(const kw_fetch *fetch, uint64_t now_ns)
{
    return now_ns + fetch->cache->options.lease_ms * KW_NS_PER_MS / 3;
}

static bool claims_renewal(const kw_fetch *fetch, uint64_t now_ns)
{
    return kw_flights_claim_renewal(&fetch->cache->flights, fetch->flight, now_ns,
                                    renewal_ns(fetch, now_ns));
}

static kw_fetch_act load(kw_fetch *fetch)
{
    kw_cache_count(&fetch->cache->counters.loads);
    fetch->begun_ns = now_of(fetch);
    fetch->phase = KW_FETCH_LOADING;
    return KW_FETCH_LOAD;
}

static kw_fetch_act give_up(kw_fetch *fetch)
{
    if (fetch->old == NULL) {
        return leave_to_others(fetch);
    }
    kw_cache_count(&fetch->cache->counters.hits);
    kw_flight_end end = {.state = KW_FLIGHT_LEFT};
    kw_flights_end(&fetch->cache->flights, fetch->flight, &end);
    return give(fetch, fetch->old, source_of_old(fetch));
}

/* A place among the loads of this process. Old values that may be given do not wait for one. */
static kw_fetch_act place(kw_fetch *fetch)
{
    uint64_t now_ns = now_of(fetch);
    if (kw_flights_begin_load(&fetch->cache->flights)) {
        fetch->has_place = true;
        kw_cache_count(&fetch->cache->counters.misses);
        if (fetch->has_lease) {
            return KW_FETCH_GUARD;
        }
        kw_cache_count(&fetch->cache->counters.alone);
        return load(fetch);
    }
    kw_fetch_drop_over(fetch);
    bool is_end = fetch->old != NULL ||
                  check_end(fetch, now_ns, KW_ERR_QUEUE_TIMEOUT,
                            "as many loads as loads-max allows were under way all the time; raise "
                            "loads-max or timeout") != KW_OK;
    if (is_end) {
        return fetch->has_lease ? tell(fetch, KW_LEASE_RELEASE, KW_FETCH_GIVING_UP)
                                : give_up(fetch);
    }
    if (fetch->has_lease && claims_renewal(fetch, now_ns)) {
        return tell(fetch, KW_LEASE_EXTEND, KW_FETCH_PLACING);
    }
    return wait(fetch, KW_FETCH_PLACING, now_ns + KW_SLICE_NS / 5);
}

/* This call leads its flight, and loads. */
static kw_fetch_act lead(kw_fetch *fetch, bool has_lease)
{
    fetch->has_lease = has_lease;
    if (has_lease) {
        kw_flights_take(&fetch->cache->flights, fetch->flight, &fetch->token,
                        renewal_ns(fetch, now_of(fetch)));
    }
    return place(fetch);
}

/* The lease is that of another process: its value, or its end, is waited for. */
static kw_fetch_act poll_later(kw_fetch *fetch)
{
    uint64_t now_ns = now_of(fetch);
    fetch->pause_ns = fetch->pause_ns == 0            ? POLL_FIRST_NS
                      : fetch->pause_ns < POLL_MAX_NS ? fetch->pause_ns * 2
                                                      : POLL_MAX_NS;
    fetch->watched_ns = now_ns + WATCHED_NS;
    fetch->watched_ns =
        fetch->watched_ns < fetch->deadline_ns ? fetch->watched_ns : fetch->deadline_ns;
    return wait(fetch, KW_FETCH_POLLING, now_ns + fetch->pause_ns);
}

static kw_fetch_act go_on_polling(kw_fetch *fetch)
{
    uint64_t now_ns = now_of(fetch);
    if (check_end(fetch, now_ns, KW_ERR_TIMEOUT, NOT_IN_TIME) != KW_OK) {
        return leave_to_others(fetch);
    }
    if (now_ns < kw_fetch_until_ns(fetch)) {
        return KW_FETCH_WAIT;
    }
    fetch->is_watched = false;
    return look(fetch);
}

static kw_fetch_act renew_of_leader(kw_fetch *fetch)
{
    kw_fetch_act act = tell(fetch, KW_LEASE_EXTEND, KW_FETCH_FOLLOWING);
    fetch->ask.token = kw_lease_token_bytes(&fetch->flight->token);
    return act;
}

/* Another call of this process leads. */
static kw_fetch_act follow(kw_fetch *fetch)
{
    kw_flight *flight = fetch->flight;
    uint64_t now_ns = now_of(fetch);
    bool is_end = now_ns >= fetch->deadline_ns; /* later is never */
    kw_flight_state state =
        kw_flights_state(&fetch->cache->flights, flight, is_end ? UINT64_MAX : now_ns);
    if (state == KW_FLIGHT_DONE) {
        return give(fetch, flight->blob,
                    flight->is_stale ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_LOAD);
    }
    if (state == KW_FLIGHT_FAILED) {
        kw_error_copy(&fetch->failure, &flight->failure);
        return fail(fetch);
    }
    if (check_end(fetch, now_ns, KW_ERR_TIMEOUT,
                  "the value is being loaded, and was not there in time") != KW_OK) {
        return refuse(fetch);
    }
    if (state == KW_FLIGHT_LEFT) {
        leave_flight(fetch);
        return look(fetch);
    }
    return claims_renewal(fetch, now_ns) ? renew_of_leader(fetch)
                                         : wait(fetch, KW_FETCH_FOLLOWING, now_ns + KW_SLICE_NS);
}

static kw_fetch_act no_memory(kw_fetch *fetch, bool has_lease)
{
    kw_error_set(&fetch->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a load");
    return has_lease ? tell(fetch, KW_LEASE_RELEASE, KW_FETCH_REFUSED) : refuse(fetch);
}

/* Somebody else has the lease, or no server answers. */
static kw_fetch_act join(kw_fetch *fetch, kw_look_result result)
{
    static const kw_lease_token nobody = {{0}};
    const kw_lease_token *token = result == KW_LOOK_TAKEN ? &fetch->holder : &nobody;
    bool leads;
    fetch->flight = kw_flights_join(&fetch->cache->flights, &leads, fetch->key, token);
    if (fetch->flight == NULL) {
        return no_memory(fetch, false);
    }
    if (leads && result == KW_LOOK_AWAY) {
        return lead(fetch, false);
    }
    kw_cache_count(&fetch->cache->counters.waits);
    return leads ? poll_later(fetch) : follow(fetch);
}

/* One of those who load or wait from here on. */
static kw_fetch_act enter_flight(kw_fetch *fetch, kw_look_result result)
{
    kw_flights *flights = &fetch->cache->flights;
    bool has_lease = result == KW_LOOK_LEASE;
    if (kw_flights_enter(flights) != KW_OK) {
        kw_error_set(&fetch->failure, KW_ERR_QUEUE_FULL, KW_EFFECT_NONE,
                     "%d calls wait for loads already", KW_FLIGHTS_WAITERS_MAX);
        return has_lease ? tell(fetch, KW_LEASE_RELEASE, KW_FETCH_REFUSED) : refuse(fetch);
    }
    fetch->is_entered = true;
    if (!has_lease) {
        return join(fetch, result);
    }
    fetch->flight = kw_flights_begin(flights, fetch->key, &fetch->token);
    return fetch->flight != NULL ? lead(fetch, true) : no_memory(fetch, true);
}

/* A server that has said who loads did not answer again, as the call's end came. Where it was asked
 * shortly before it is not away: the other one loads still. */
static bool is_cut_off(kw_fetch *fetch)
{
    uint64_t now_ns = now_of(fetch);
    uint64_t stall_ns = fetch->cache->topology->env.options.stall_ms * KW_NS_PER_MS;
    bool is_end = now_ns + KW_NS_PER_MS >= fetch->deadline_ns; /* commands go by milliseconds */
    bool is_cut = fetch->has_heard && is_end && now_ns < fetch->asked_ns + stall_ns;
    if (is_cut) {
        kw_error_set(&fetch->failure, KW_ERR_TIMEOUT, KW_EFFECT_NONE, NOT_IN_TIME);
    }
    return is_cut;
}

static kw_fetch_act on_first_look(kw_fetch *fetch, kw_look_result result)
{
    if (result == KW_LOOK_VALUE) {
        kw_cache_count(&fetch->cache->counters.hits);
        return give(fetch, fetch->old, source_of_old(fetch));
    }
    if (result == KW_LOOK_NONE) {
        kw_cache_count(&fetch->cache->counters.hits);
        return give(fetch, NULL, KW_CACHE_FROM_NOWHERE);
    }
    bool is_over = result == KW_LOOK_WRONG || (result == KW_LOOK_AWAY && is_cut_off(fetch));
    return is_over ? refuse(fetch) : enter_flight(fetch, result);
}

/* While others of this process wait for what this call sees. */
static kw_fetch_act on_poll(kw_fetch *fetch, kw_look_result result)
{
    switch (result) {
    case KW_LOOK_VALUE:
        kw_cache_count(&fetch->cache->counters.hits);
        return give_all(fetch, fetch->old, source_of_old(fetch));
    case KW_LOOK_NONE:
        return give_all(fetch, NULL, KW_CACHE_FROM_NOWHERE);
    case KW_LOOK_LEASE:
        return lead(fetch, true);
    case KW_LOOK_AWAY:
        return is_cut_off(fetch) ? leave_to_others(fetch) : lead(fetch, false);
    case KW_LOOK_WRONG:
        return refuse_all(fetch);
    case KW_LOOK_TAKEN:
    case KW_LOOK_REFRESH:
        break;
    }
    return poll_later(fetch);
}

kw_fetch_act kw_fetch_on_reply(kw_fetch *fetch, kw_reply *reply, const kw_error *failure)
{
    kw_look_result result = kw_fetch_digest(fetch, reply, failure);
    if (result == KW_LOOK_REFRESH) {
        fetch->ask = kw_fetch_ask_of(fetch, KW_LEASE_REFRESH);
        return KW_FETCH_ASK;
    }
    return fetch->flight != NULL ? on_poll(fetch, result) : on_first_look(fetch, result);
}

kw_fetch_act kw_fetch_on_guard(kw_fetch *fetch, bool is_open)
{
    fetch->is_guarded = is_open;
    return load(fetch);
}

static kw_fetch_act fail_load(kw_fetch *fetch)
{
    kw_error_set(&fetch->failure, KW_ERR_LOAD, KW_EFFECT_NONE,
                 "the loader failed, or gave no value, and there is no old value to be given");
    kw_flight_end end = {.state = KW_FLIGHT_FAILED, .failure = &fetch->failure};
    kw_flights_end(&fetch->cache->flights, fetch->flight, &end);
    return fail(fetch);
}

static kw_fetch_act finish(kw_fetch *fetch)
{
    kw_flights_end_load(&fetch->cache->flights);
    fetch->has_place = false;
    return fetch->how == KW_CACHE_FAILED ? fail_load(fetch)
           : fetch->how == KW_CACHE_NONE ? give_all(fetch, NULL, KW_CACHE_FROM_NOWHERE)
                                         : give_all(fetch, fetch->given, KW_CACHE_FROM_LOAD);
}

/* Stores what was loaded, under the guard. */
static kw_fetch_act store(kw_fetch *fetch)
{
    kw_cache *cache = fetch->cache;
    fetch->ask = kw_fetch_ask_of(fetch, KW_LEASE_FILL);
    fetch->ask.ms = kw_life_draw_ms(&cache->options, kw_cache_random(cache));
    if (fetch->how == KW_CACHE_NONE) {
        fetch->ask.act = KW_LEASE_NONE;
        fetch->ask.ms = cache->options.negative_ttl_ms;
    } else {
        fetch->ask.value = fetch->given->bytes;
    }
    uint64_t stall_ns = cache->topology->env.options.stall_ms * KW_NS_PER_MS;
    kw_blob *given = fetch->how == KW_CACHE_NONE ? NULL : fetch->given;
    kw_flights_offer(&cache->flights, fetch->flight, given, now_of(fetch) + stall_ns);
    return KW_FETCH_STORE;
}

kw_fetch_act kw_fetch_on_loaded(kw_fetch *fetch, kw_cache_loaded how, kw_blob *given)
{
    kw_cache *cache = fetch->cache;
    uint64_t mean_ms = atomic_load_explicit(&cache->cost_ms, memory_order_relaxed);
    uint64_t took_ms = (now_of(fetch) - fetch->begun_ns) / KW_NS_PER_MS;
    atomic_store_explicit(&cache->cost_ms, kw_life_mean_ms(mean_ms, took_ms), memory_order_relaxed);
    bool is_good = how == KW_CACHE_NONE || (how == KW_CACHE_LOADED && given != NULL);
    if (!is_good) {
        kw_cache_count(&cache->counters.load_failures);
    }
    fetch->given = given;
    fetch->how = is_good ? how : KW_CACHE_FAILED;
    if (is_good && fetch->is_guarded) {
        return store(fetch);
    }
    return fetch->has_lease ? tell(fetch, KW_LEASE_RELEASE, KW_FETCH_FINISHING) : finish(fetch);
}

kw_fetch_act kw_fetch_on_stored(kw_fetch *fetch, bool is_stored)
{
    kw_cache_counters *counters = &fetch->cache->counters;
    kw_cache_count(is_stored ? &counters->fills : &counters->fills_refused);
    return is_stored ? finish(fetch) : tell(fetch, KW_LEASE_RELEASE, KW_FETCH_FINISHING);
}

void kw_fetch_cancel(kw_fetch *fetch)
{
    kw_flights *flights = &fetch->cache->flights;
    if (fetch->has_place) {
        kw_flights_end_load(flights);
        fetch->has_place = false;
    }
    if (fetch->flight != NULL && fetch->phase != KW_FETCH_FOLLOWING) {
        kw_flight_end end = {.state = KW_FLIGHT_LEFT};
        kw_flights_end(flights, fetch->flight, &end);
    }
    leave_flight(fetch);
}

kw_fetch_act kw_fetch_go_on(kw_fetch *fetch)
{
    switch (fetch->phase) {
    case KW_FETCH_POLLING:
        return go_on_polling(fetch);
    case KW_FETCH_FOLLOWING:
        return follow(fetch);
    case KW_FETCH_PLACING:
        return place(fetch);
    case KW_FETCH_GIVING_UP:
        return give_up(fetch);
    case KW_FETCH_FINISHING:
        return finish(fetch);
    case KW_FETCH_LOOKING:
    case KW_FETCH_LOADING:
    case KW_FETCH_REFUSED:
        break;
    }
    return refuse(fetch);
}
