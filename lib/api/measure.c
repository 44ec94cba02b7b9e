/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/measure.h: begins and ends to measure, and hands out what was measured. */
#include <keyway/measure.h>

#include "api/client.h"
#include "api/node_list.h"
#include "base/error.h"
#include "drive/observer.h"
#include "net/latencies.h"

#include <string.h>

_Static_assert(KW_LATENCY_BUCKETS_N == KW_HISTOGRAM_BUCKETS_N,
               "the header says how many there are");

static uint64_t load(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Counts for slots, if there are none yet. */
static kw_err need_heat(kw_topology *topology)
{
    kw_heat *none = NULL;
    if (atomic_load_explicit(&topology->heat, memory_order_acquire) != NULL) {
        return KW_OK;
    }
    kw_heat *fresh = kw_mem_calloc(&topology->env.mem, 1, sizeof(*fresh));
    if (fresh != NULL && !atomic_compare_exchange_strong(&topology->heat, &none, fresh)) {
        kw_mem_free(&topology->env.mem, fresh);
    }
    return fresh != NULL ? KW_OK : KW_ERR_NOMEM;
}

kw_err kw_client_measure(kw_client *client, kw_error *error, unsigned what)
{
    if (client == NULL || (what & ~(KW_MEASURE_LATENCY | KW_MEASURE_HEAT)) != 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client is NULL, or what has a bit that means nothing");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_topology *topology = client->topology;
    if ((what & KW_MEASURE_HEAT) != 0) {
        code = need_heat(topology);
    }
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for the heat of slots");
    } else {
        bool is_told = topology->slow != NULL;
        atomic_store_explicit(&topology->measures, what, memory_order_relaxed);
        atomic_store_explicit(&topology->observer, what != 0 || is_told ? kw_observer_get() : NULL,
                              memory_order_release);
    }
    kw_client_leave(client);
    return code;
}

static void read_histogram(kw_latency *latency, kw_histogram *histogram)
{
    latency->sum_ns = load(&histogram->sum_ns);
    for (size_t i = 0; i < KW_LATENCY_BUCKETS_N; i++) {
        latency->counts[i] = load(&histogram->counts[i]);
        latency->calls += latency->counts[i];
    }
}

kw_err kw_client_latency(kw_client *client, kw_latency *latency, size_t index, kw_latency_part part,
                         kw_command_class of)
{
    if (client == NULL || latency == NULL || latency->size != sizeof(*latency) ||
        (size_t)part >= KW_LATENCY_PARTS_N || (size_t)of >= KW_COMMAND_CLASSES_N) {
        return KW_ERR_ARGUMENT;
    }
    kw_node_list list;
    kw_err code = kw_node_list_init(&list, client);
    if (code != KW_OK) {
        return code;
    }
    code = index < list.n ? KW_OK : KW_ERR_ARGUMENT;
    if (code == KW_OK) {
        memset(latency, 0, sizeof(*latency));
        latency->size = sizeof(*latency);
        kw_latencies *latencies =
            atomic_load_explicit(&list.nodes[index]->latencies, memory_order_acquire);
        if (latencies != NULL) {
            read_histogram(latency, &latencies->of[part][of]);
        }
    }
    kw_node_list_fini(&list);
    return code;
}

void kw_latency_add(kw_latency *sum, const kw_latency *more)
{
    if (sum == NULL || more == NULL) {
        return;
    }
    sum->calls += more->calls;
    sum->sum_ns += more->sum_ns;
    for (size_t i = 0; i < KW_LATENCY_BUCKETS_N; i++) {
        sum->counts[i] += more->counts[i];
    }
}

void kw_latency_subtract(kw_latency *later, const kw_latency *earlier)
{
    if (later == NULL || earlier == NULL) {
        return;
    }
    later->calls -= earlier->calls;
    later->sum_ns -= earlier->sum_ns;
    for (size_t i = 0; i < KW_LATENCY_BUCKETS_N; i++) {
        later->counts[i] -= earlier->counts[i];
    }
}

/* How many of them a quantile must have below or at it: one at least, all at most. */
static uint64_t rank_of(uint64_t calls, double quantile)
{
    double part = quantile > 0 ? quantile : 0;
    double exact = (part < 1 ? part : 1) * (double)calls;
    uint64_t whole = (uint64_t)exact;
    uint64_t rank = (double)whole < exact ? whole + 1 : whole;
    rank = rank > 0 ? rank : 1;
    return rank < calls ? rank : calls;
}

uint64_t kw_latency_quantile(const kw_latency *latency, double quantile)
{
    if (latency == NULL || latency->calls == 0) {
        return 0;
    }
    uint64_t rank = rank_of(latency->calls, quantile);
    uint64_t n = 0;
    size_t bucket = 0;
    while (bucket + 1 < KW_LATENCY_BUCKETS_N && n + latency->counts[bucket] < rank) {
        n += latency->counts[bucket++];
    }
    /* The last bucket has no end: it is told by its beginning. */
    return kw_histogram_bound_ns(bucket + 1 < KW_LATENCY_BUCKETS_N ? bucket : bucket - 1);
}

uint64_t kw_latency_bound(size_t bucket)
{
    return kw_histogram_bound_ns(bucket);
}

const char *kw_command_class_name(kw_command_class of)
{
    static const char *const names[KW_COMMAND_CLASSES_N] = {"read", "write", "multi", "script",
                                                            "other"};
    return (size_t)of < KW_COMMAND_CLASSES_N ? names[of] : "?";
}

kw_err kw_client_heat(kw_client *client, kw_error *error, uint64_t *counts, size_t counts_n)
{
    if (client == NULL || (counts == NULL && counts_n > 0)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client or counts is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_heat *heat = atomic_load_explicit(&client->topology->heat, memory_order_acquire);
    for (size_t i = 0; i < counts_n; i++) {
        counts[i] = heat != NULL && i < KW_SLOTS_N ? load(&heat->slots[i]) : 0;
    }
    kw_client_leave(client);
    return KW_OK;
}
