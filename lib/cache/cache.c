/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a cache, and its commands to servers. */
#include "cache/cache.h"

#include "base/error.h"
#include "base/resp.h"
#include "cache/own_writes.h"
#include "drive/call.h"

#include <string.h>

/* Encoded commands up to this size need no heap. */
#define ENCODED_INLINE 512

static kw_cache *no_memory(kw_cache *cache, kw_error *error)
{
    if (cache != NULL) {
        kw_allocator mem = cache->mem;
        kw_mem_free(&mem, cache->tags);
        kw_mem_free(&mem, cache);
    }
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a cache");
    return NULL;
}

/* Values in this process' memory, where they are wanted. */
static bool open_near(kw_cache *cache)
{
    const kw_cache_options *options = &cache->options;
    if (options->near_bytes == 0) {
        return true;
    }
    kw_write_stamps *stamps = kw_own_writes_watch(cache->topology);
    kw_near_limits limits = {options->near_bytes, options->near_ttl_ms * KW_NS_PER_MS,
                             options->near_staleness_ms * KW_NS_PER_MS};
    cache->near = stamps != NULL ? kw_near_new(&cache->mem, &limits, stamps) : NULL;
    if (cache->near == NULL) {
        return false;
    }
    cache->tracker = kw_tracker_new(cache->topology, cache->near, cache->closing);
    if (cache->tracker == NULL) {
        kw_near_close(cache->near);
        return false;
    }
    return true;
}

kw_cache *kw_cache_new(kw_topology *topology, kw_error *error, const kw_cache_options *options,
                       const atomic_bool *closing)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_cache *cache = kw_mem_calloc(mem, 1, sizeof(*cache));
    if (cache == NULL) {
        return no_memory(NULL, error);
    }
    cache->mem = *mem;
    cache->topology = topology;
    cache->closing = closing;
    cache->options = *options;
    cache->tags = kw_mem_alloc(mem, sizeof(*cache->tags));
    if (cache->tags == NULL || kw_flights_init(&cache->flights, mem, options->loads_max) != KW_OK) {
        return no_memory(cache, error);
    }
    if (!open_near(cache)) {
        kw_flights_fini(&cache->flights);
        return no_memory(cache, error);
    }
    kw_slot_tags_init(cache->tags);
    kw_fork_init(&cache->fork);
    cache->process = kw_env_unique(&cache->topology->env);
    return cache;
}

void kw_cache_free(kw_cache *cache)
{
    kw_allocator mem = cache->mem;
    if (cache->near != NULL) {
        kw_tracker_free(cache->tracker, kw_fork_has_happened(&cache->fork));
        kw_near_close(cache->near);
    }
    kw_flights_fini(&cache->flights);
    kw_fork_fini(&cache->fork);
    kw_mem_free(&mem, cache->tags);
    kw_mem_free(&mem, cache);
}

uint64_t kw_cache_random(kw_cache *cache)
{
    kw_random random;
    kw_random_init(&random, kw_env_seed(&cache->topology->env));
    return kw_random_next(&random);
}

uint64_t kw_cache_deadline_ns(const kw_cache *cache)
{
    const kw_env *env = &cache->topology->env;
    return kw_plan_deadline_ns(kw_env_now(env), env->options.timeout_ms);
}

static kw_reply *run(kw_cache *cache, kw_error *error, const kw_cache_command *command,
                     const kw_plan *plan)
{
    char space[ENCODED_INLINE];
    kw_buf encoded;
    kw_buf_init(&encoded, &cache->mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (kw_resp_append(&encoded, command->argv, command->argc)) {
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = kw_call_run(cache->topology, error, plan, bytes);
    } else {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to encode %s",
                     kw_plan_name(plan));
    }
    kw_buf_fini(&encoded);
    return reply;
}

kw_call_options kw_cache_read_options(const kw_cache *cache, kw_bytes key)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.idempotent = true;
    options.read = KW_READ_PRIMARY;
    options.acks = KW_ACKS_NONE;
    if (kw_topology_is_ring(cache->topology)) {
        options.route = KW_ROUTE_KEY; /* a lease lives where its key does */
        options.key = key.data;
        options.key_len = key.len;
    }
    return options;
}

kw_reply *kw_cache_send(kw_cache *cache, kw_error *error, const kw_cache_command *command)
{
    kw_call_options options = kw_cache_read_options(cache, command->key);
    options.idempotent = command->is_repeatable;
    kw_plan_task task = {
        .options = &options, .argv = command->argv, .argc = command->argc, .takes_acks = true};
    task.closing = cache->closing;
    kw_plan plan;
    kw_reply *reply = NULL;
    if (kw_plan_make(&plan, cache->topology, error, &task) == KW_OK) {
        plan.deadline_ns = command->deadline_ns;
        reply = run(cache, error, command, &plan);
        kw_plan_fini(&plan);
    }
    kw_topology_count(cache->topology, 1, reply == NULL ? 1 : 0);
    return reply;
}

bool kw_cache_is_repeatable(kw_lease_act act)
{
    return act != KW_LEASE_PUT && act != KW_LEASE_FILL;
}

kw_reply *kw_cache_ask(kw_cache *cache, kw_error *error, const kw_lease_ask *ask,
                       uint64_t deadline_ns)
{
    kw_bytes argv[KW_LEASE_ARGC];
    kw_lease_space space;
    kw_cache_command command = {ask->key, argv, KW_LEASE_ARGC, deadline_ns, false};
    command.is_repeatable = kw_cache_is_repeatable(ask->act);
    kw_lease_argv(argv, &space, ask, false);
    kw_reply *reply = kw_cache_send(cache, error, &command);
    if (reply != NULL && kw_lease_is_script_missing(reply)) {
        kw_reply_free(reply);
        kw_lease_argv(argv, &space, ask, true);
        reply = kw_cache_send(cache, error, &command);
    }
    return reply;
}

bool kw_cache_find_near(kw_cache *cache, kw_cache_value *value, kw_bytes key, uint64_t now_ns)
{
    kw_pins_guard pin;
    kw_near_entry *entry = kw_near_find(cache->near, &pin, key, now_ns);
    if (entry == NULL) {
        return false;
    }
    value->data = entry->bytes + entry->key_len;
    value->len = entry->value_len;
    value->source = KW_CACHE_FROM_NEAR;
    value->hold = pin.place;
    value->pin = pin.at + 1;
    return true;
}

void kw_cache_value_set(kw_cache_value *value, kw_blob *blob, kw_cache_source source)
{
    value->data = NULL;
    value->len = 0;
    value->source = KW_CACHE_FROM_NOWHERE;
    value->pin = 0;
    value->hold = kw_blob_ref(blob);
    if (blob != NULL) {
        value->data = blob->bytes.data != NULL ? blob->bytes.data : "";
        value->len = blob->bytes.len;
        value->source = source;
    }
}

void kw_cache_value_release(kw_cache_value *value)
{
    if (value != NULL && value->hold != NULL) {
        if (value->pin > 0) {
            kw_near_give_back((kw_pins_guard){value->hold, value->pin - 1});
        } else {
            kw_blob_unref(value->hold);
        }
        kw_cache_value_set(value, NULL, KW_CACHE_FROM_NOWHERE);
    }
}
