/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of flights, and who sleeps for them. */
#include "cache/flights.h"

#include "base/error.h"

#include <string.h>

kw_err kw_flights_init(kw_flights *flights, const kw_allocator *mem, uint64_t loads_max)
{
    memset(flights, 0, sizeof(*flights));
    flights->mem = *mem;
    flights->loads_max = loads_max;
    return kw_monitor_init(&flights->monitor);
}

void kw_flights_fini(kw_flights *flights)
{
    kw_monitor_fini(&flights->monitor);
}

static kw_flight **bucket_of(kw_flights *flights, uint64_t hash)
{
    return &flights->buckets[hash % KW_FLIGHTS_BUCKETS];
}

static bool is_of(const kw_flight *flight, kw_bytes key, uint64_t hash, const kw_lease_token *token)
{
    kw_bytes own = {flight->key, flight->key_len};
    return flight->hash == hash && memcmp(&flight->token, token, sizeof(*token)) == 0 &&
           kw_bytes_equal(own, key);
}

static kw_flight *make(const kw_flights *flights, kw_bytes key, uint64_t hash)
{
    size_t len;
    if (!kw_size_add(&len, key.len, sizeof(kw_flight))) {
        return NULL;
    }
    kw_flight *flight = kw_mem_alloc(&flights->mem, len);
    if (flight != NULL) {
        memset(flight, 0, sizeof(*flight));
        flight->failure.size = sizeof(flight->failure);
        flight->renew_ns = UINT64_MAX;
        flight->hash = hash;
        flight->key_len = key.len;
        if (key.len > 0) {
            memcpy(flight->key, key.data, key.len);
        }
    }
    return flight;
}

/* A new one, in the table; the monitor is held. */
static kw_flight *add(kw_flights *flights, kw_bytes key, uint64_t hash, const kw_lease_token *token)
{
    kw_flight *flight = make(flights, key, hash);
    if (flight != NULL) {
        kw_flight **bucket = bucket_of(flights, hash);
        flight->token = *token;
        flight->next = *bucket;
        *bucket = flight;
    }
    return flight;
}

static kw_flight *find(kw_flights *flights, kw_bytes key, uint64_t hash,
                       const kw_lease_token *token)
{
    kw_flight *flight = *bucket_of(flights, hash);
    while (flight != NULL && !is_of(flight, key, hash, token)) {
        flight = flight->next;
    }
    return flight;
}

kw_flight *kw_flights_join(kw_flights *flights, bool *leads, kw_bytes key,
                           const kw_lease_token *token)
{
    uint64_t hash = kw_bytes_hash(key);
    kw_monitor_lock(&flights->monitor);
    kw_flight *flight = find(flights, key, hash, token);
    *leads = flight == NULL;
    if (flight == NULL) {
        flight = add(flights, key, hash, token);
    }
    if (flight != NULL) {
        flight->refs++;
    }
    kw_monitor_unlock(&flights->monitor);
    return flight;
}

kw_flight *kw_flights_begin(kw_flights *flights, kw_bytes key, const kw_lease_token *token)
{
    uint64_t hash = kw_bytes_hash(key);
    kw_monitor_lock(&flights->monitor);
    kw_flight *flight = add(flights, key, hash, token);
    if (flight != NULL) {
        flight->refs++;
    }
    kw_monitor_unlock(&flights->monitor);
    return flight;
}

void kw_flights_take(kw_flights *flights, kw_flight *flight, const kw_lease_token *token,
                     uint64_t renew_ns)
{
    kw_monitor_lock(&flights->monitor);
    flight->token = *token;
    flight->renew_ns = renew_ns;
    kw_monitor_unlock(&flights->monitor);
}

kw_err kw_flights_enter(kw_flights *flights)
{
    kw_monitor_lock(&flights->monitor);
    bool is_full = flights->waiters_n >= KW_FLIGHTS_WAITERS_MAX;
    flights->waiters_n += is_full ? 0 : 1;
    kw_monitor_unlock(&flights->monitor);
    return is_full ? KW_ERR_QUEUE_FULL : KW_OK;
}

void kw_flights_leave(kw_flights *flights)
{
    kw_monitor_lock(&flights->monitor);
    flights->waiters_n--;
    kw_monitor_unlock(&flights->monitor);
}

void kw_flights_wait(kw_flights *flights, kw_flight *flight, uint64_t wait_ns, bool wants_place)
{
    kw_monitor_lock(&flights->monitor);
    bool has_place = wants_place && flights->loads_n < flights->loads_max;
    if (flight->state == KW_FLIGHT_OPEN && !has_place) {
        kw_monitor_wait(&flights->monitor, wait_ns);
    }
    kw_monitor_unlock(&flights->monitor);
}

/* Something has changed; the monitor is held. */
static void wake_all(kw_flights *flights)
{
    kw_monitor_wake_all(&flights->monitor);
    if (flights->loop != NULL) {
        kw_poller_wake(flights->loop);
    }
}

void kw_flights_set_loop(kw_flights *flights, kw_poller *loop)
{
    kw_monitor_lock(&flights->monitor);
    flights->loop = loop;
    kw_monitor_unlock(&flights->monitor);
}

bool kw_flights_claim_renewal(kw_flights *flights, kw_flight *flight, uint64_t now_ns,
                              uint64_t next_ns)
{
    kw_monitor_lock(&flights->monitor);
    bool is_due = flight->state == KW_FLIGHT_OPEN && now_ns >= flight->renew_ns;
    flight->renew_ns = is_due ? next_ns : flight->renew_ns;
    kw_monitor_unlock(&flights->monitor);
    return is_due;
}

/* The monitor is held. */
static void end_flight(kw_flights *flights, kw_flight *flight, const kw_flight_end *end)
{
    kw_flight **at = bucket_of(flights, flight->hash);
    while (*at != flight) {
        at = &(*at)->next;
    }
    *at = flight->next;
    flight->blob = kw_blob_ref(end->blob);
    flight->is_stale = end->is_stale;
    if (end->failure != NULL) {
        flight->failure = *end->failure;
    }
    flight->state = end->state;
    wake_all(flights);
}

void kw_flights_end(kw_flights *flights, kw_flight *flight, const kw_flight_end *end)
{
    kw_monitor_lock(&flights->monitor);
    if (flight->state == KW_FLIGHT_OPEN) {
        end_flight(flights, flight, end);
    }
    kw_monitor_unlock(&flights->monitor);
}

void kw_flights_offer(kw_flights *flights, kw_flight *flight, kw_blob *blob, uint64_t offer_ns)
{
    kw_monitor_lock(&flights->monitor);
    flight->is_offered = true;
    flight->offered = kw_blob_ref(blob);
    flight->offer_ns = offer_ns;
    kw_monitor_unlock(&flights->monitor);
}

kw_flight_state kw_flights_state(kw_flights *flights, kw_flight *flight, uint64_t now_ns)
{
    kw_monitor_lock(&flights->monitor);
    if (flight->state == KW_FLIGHT_OPEN && flight->is_offered && now_ns >= flight->offer_ns) {
        kw_flight_end end = {.state = KW_FLIGHT_DONE, .blob = flight->offered};
        end_flight(flights, flight, &end);
    }
    kw_flight_state state = flight->state;
    kw_monitor_unlock(&flights->monitor);
    return state;
}

void kw_flights_unref(kw_flights *flights, kw_flight *flight)
{
    kw_monitor_lock(&flights->monitor);
    bool is_last = --flight->refs == 0;
    kw_monitor_unlock(&flights->monitor);
    if (is_last) {
        kw_blob_unref(flight->blob);
        kw_blob_unref(flight->offered);
        kw_mem_free(&flights->mem, flight);
    }
}

bool kw_flights_begin_load(kw_flights *flights)
{
    kw_monitor_lock(&flights->monitor);
    bool has_place = flights->loads_n < flights->loads_max;
    flights->loads_n += has_place ? 1 : 0;
    kw_monitor_unlock(&flights->monitor);
    return has_place;
}

void kw_flights_end_load(kw_flights *flights)
{
    kw_monitor_lock(&flights->monitor);
    flights->loads_n--;
    wake_all(flights);
    kw_monitor_unlock(&flights->monitor);
}

uint64_t kw_flights_loading(kw_flights *flights)
{
    kw_monitor_lock(&flights->monitor);
    uint64_t n = flights->loads_n;
    kw_monitor_unlock(&flights->monitor);
    return n;
}
