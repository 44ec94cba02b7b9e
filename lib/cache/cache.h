/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache: what one cache on a handle has, and how it asks servers. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <keyway/cache.h>

#include "base/random.h"
#include "cache/cache_options.h"
#include "cache/flights.h"
#include "cache/tracker.h"
#include "topology/topology.h"

#include <stdatomic.h>

static inline kw_bytes kw_cache_bytes_of(kw_cache_bytes bytes)
{
    return (kw_bytes){bytes.data, bytes.len};
}

/* No bytes that a caller may give. */
static inline bool kw_cache_is_wrong(kw_bytes bytes)
{
    return bytes.data == NULL && bytes.len > 0;
}

typedef struct kw_cache_counters {
    atomic_uint_fast64_t hits;
    atomic_uint_fast64_t misses;
    atomic_uint_fast64_t loads;
    atomic_uint_fast64_t load_failures;
    atomic_uint_fast64_t waits;
    atomic_uint_fast64_t stale;
    atomic_uint_fast64_t fills;
    atomic_uint_fast64_t fills_refused;
    atomic_uint_fast64_t alone;
} kw_cache_counters;

struct kw_loop;
typedef struct kw_cache_loop kw_cache_loop;

/* Ends the calls that end in callbacks: who uses none does not carry it. */
typedef void (*kw_cache_close_fn)(kw_cache *cache, struct kw_loop *loop, bool has_forked);

struct kw_cache {
    kw_allocator mem;
    kw_client *client;          /* for api */
    const atomic_bool *closing; /* kw_env_is_closing: of its handle */
    kw_topology *topology;
    kw_fork fork;
    kw_cache_options options;
    kw_slot_tags *tags;
    kw_flights flights;
    kw_near *near;       /* NULL: no values in memory */
    kw_tracker *tracker; /* with near */
    kw_cache_counters counters;
    uint64_t process;                    /* begins its tokens */
    atomic_uint_fast64_t tokens_n;       /* and ends them */
    atomic_uint_fast64_t cost_ms;        /* of loads, a moving mean; 0: none was made yet */
    _Atomic(kw_cache_loop *) loop;       /* of calls that end in callbacks; NULL: none was made */
    _Atomic(kw_cache_close_fn) close_fn; /* of the loop */
};

/* NULL, with error set. The topology stays with its handle, which outlives the cache; closing is
 * the handle's flag (kw_env_is_closing). */
kw_cache *kw_cache_new(kw_topology *topology, kw_error *error, const kw_cache_options *options,
                       const atomic_bool *closing);
void kw_cache_free(kw_cache *cache);

static inline void kw_cache_count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* 64 bits of chance. Any thread. */
uint64_t kw_cache_random(kw_cache *cache);

/* The end of a wait that begins now, and lasts as long as the handle's timeout. */
uint64_t kw_cache_deadline_ns(const kw_cache *cache);

/* What one command to the key's primary needs. */
typedef struct kw_cache_command {
    kw_bytes key; /* that it is routed by */
    const kw_bytes *argv;
    size_t argc;
    uint64_t deadline_ns;
    bool is_repeatable;
} kw_cache_command;

/* True for what may run twice. */
bool kw_cache_is_repeatable(kw_lease_act act);

/* How a command that is repeatable goes to the primary of the key, which it borrows. */
kw_call_options kw_cache_read_options(const kw_cache *cache, kw_bytes key);

/* Sends it and waits for the reply, the caller's to free; NULL with error set. */
kw_reply *kw_cache_send(kw_cache *cache, kw_error *error, const kw_cache_command *command);

/* Asks by the script of leases, whose text follows where the server lacks it. As kw_cache_send. */
kw_reply *kw_cache_ask(kw_cache *cache, kw_error *error, const kw_lease_ask *ask,
                       uint64_t deadline_ns);

/* Gives the value that is near, if it may be given now; a pin keeps it. now_ns was read
 * when the call began. Only where there is near. */
bool kw_cache_find_near(kw_cache *cache, kw_cache_value *value, kw_bytes key, uint64_t now_ns);

/* Lets go of a value, which is empty then, as one without a hold is. */
void kw_cache_value_release(kw_cache_value *value);

/* Gives the caller a reference to the blob, or "there is none". */
void kw_cache_value_set(kw_cache_value *value, kw_blob *blob, kw_cache_source source);

#endif
