/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that load nothing: get, put and forget. */
#include "cache/cache_fetch.h"

#include "base/error.h"
#include "cache/life.h"

/* A script is not undone where a command of it fails, as kw_reply_outcome tells: its first may
 * have been done. */
static kw_effect effect_of(const kw_lease_ask *asked, const kw_reply *reply)
{
    kw_error told = kw_error_none();
    bool is_write = asked != NULL && (asked->act == KW_LEASE_PUT || asked->act == KW_LEASE_FORGET);
    (void)kw_reply_outcome(reply, &told);
    return is_write ? told.effect : KW_EFFECT_NONE;
}

kw_err kw_cache_take_error(kw_error *error, const kw_lease_ask *asked, kw_reply *reply)
{
    char shown[200];
    kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply));
    kw_effect effect = effect_of(asked, reply);
    kw_reply_free(reply);
    return kw_error_set(error, KW_ERR_SERVER, effect, "%s", shown);
}

/* A part of a reply. */
typedef struct found_part {
    kw_bytes bytes;
    kw_life life; /* OVER: there is none */
} found_part;

/* What stands in the reply, by its life: a value, a stale one, or none. Takes the reply over. */
static kw_err give_part(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_reply *reply,
                        const found_part *found)
{
    if (found->life == KW_LIFE_OVER) {
        kw_reply_free(reply);
        kw_cache_count(&cache->counters.misses);
        kw_cache_value_set(value, NULL, KW_CACHE_FROM_NOWHERE);
        return KW_OK;
    }
    kw_blob *blob = kw_blob_of_reply(&cache->mem, reply, found->bytes);
    if (blob == NULL) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a value");
    }
    bool is_stale = found->life == KW_LIFE_STALE;
    kw_cache_count(&cache->counters.hits);
    if (is_stale) {
        kw_cache_count(&cache->counters.stale);
    }
    kw_cache_value_set(value, blob, is_stale ? KW_CACHE_FROM_STALE : KW_CACHE_FROM_SERVER);
    kw_blob_unref(blob);
    return KW_OK;
}

static kw_err get_plain(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                        uint64_t deadline_ns)
{
    kw_bytes argv[2] = {kw_bytes_of("GET"), key};
    kw_cache_command command = {key, argv, 2, deadline_ns, true};
    kw_error failure = kw_error_none();
    kw_tracked found = {kw_cache_send(cache, &failure, &command), -1};
    if (found.value == NULL) {
        kw_error_copy(error, &failure);
        return failure.code;
    }
    return kw_reply_is_error(found.value) ? kw_cache_take_error(error, NULL, found.value)
                                          : kw_cache_give_read(cache, error, value, &found);
}

/* Asks by the script; NULL, with *code, for a failure and for the server's error. */
static kw_reply *ask(kw_cache *cache, kw_err *code, kw_error *error, kw_lease_ask *ask,
                     uint64_t deadline_ns)
{
    char space[256];
    kw_buf name;
    kw_buf_init(&name, &cache->mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (kw_lease_name(&name, cache->tags, ask->key)) {
        kw_error failure = kw_error_none();
        ask->name.data = name.data;
        ask->name.len = name.len;
        reply = kw_cache_ask(cache, &failure, ask, deadline_ns);
        *code = failure.code;
        if (reply == NULL) {
            kw_error_copy(error, &failure);
        }
    } else {
        *code = kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a key");
    }
    kw_buf_fini(&name);
    if (reply != NULL && kw_reply_is_error(reply)) {
        *code = kw_cache_take_error(error, ask, reply);
        reply = NULL;
    }
    return reply;
}

kw_err kw_cache_give_answer(kw_cache *cache, kw_error *error, kw_cache_value *value,
                            kw_reply *reply)
{
    kw_lease_answer answer;
    if (!kw_lease_read(&answer, reply)) {
        kw_reply_free(reply);
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_NONE,
                            "an answer that no lease gives");
    }
    bool is_there = answer.value != NULL;
    kw_life life = is_there ? kw_life_of(&cache->options, answer.left_ms, 0, 0) : KW_LIFE_OVER;
    kw_bytes bytes = is_there ? kw_reply_bytes(answer.value) : (kw_bytes){NULL, 0};
    found_part found = {bytes, life};
    return give_part(cache, error, value, reply, &found);
}

/* With what is left of its life: behind its ttl a value is stale, or over. */
static kw_err get_with_life(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                            uint64_t deadline_ns)
{
    kw_err code;
    kw_lease_ask asked = {.act = KW_LEASE_READ, .key = key};
    kw_reply *reply = ask(cache, &code, error, &asked, deadline_ns);
    return reply != NULL ? kw_cache_give_answer(cache, error, value, reply) : code;
}

kw_err kw_cache_give_read(kw_cache *cache, kw_error *error, kw_cache_value *value,
                          kw_tracked *found)
{
    bool is_there = !kw_reply_is_nil(found->value);
    kw_life life = is_there ? kw_life_of(&cache->options, found->left_ms, 0, 0) : KW_LIFE_OVER;
    kw_reply *reply = found->value;
    found->value = NULL;
    found_part part = {kw_reply_bytes(reply), life};
    return give_part(cache, error, value, reply, &part);
}

/* Read at its owner, tracked, so that it may be near from now on; false: it was not. */
static bool get_tracked(kw_cache *cache, kw_tracked *found, kw_bytes key, uint64_t deadline_ns)
{
    uint64_t extra_ms = kw_cache_options_extra_ms(&cache->options);
    return kw_tracker_read(cache->tracker, found, key, deadline_ns, extra_ms);
}

kw_err kw_cache_do_get(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key)
{
    kw_tracked found;
    uint64_t deadline_ns = kw_cache_deadline_ns(cache); /* one for all that is tried */
    if (cache->near != NULL && get_tracked(cache, &found, key, deadline_ns)) {
        return kw_cache_give_read(cache, error, value, &found);
    }
    return kw_cache_options_extra_ms(&cache->options) > 0
               ? get_with_life(cache, error, value, key, deadline_ns)
               : get_plain(cache, error, value, key, deadline_ns);
}

bool kw_cache_is_fresh(kw_cache *cache, const kw_tracked *found)
{
    uint64_t cost_ms = atomic_load_explicit(&cache->cost_ms, memory_order_relaxed);
    return !kw_reply_is_nil(found->value) && kw_life_of(&cache->options, found->left_ms, cost_ms,
                                                        kw_cache_random(cache)) == KW_LIFE_FRESH;
}

bool kw_cache_get_fresh(kw_cache *cache, kw_cache_value *value, kw_bytes key, uint64_t deadline_ns)
{
    kw_tracked found;
    if (!get_tracked(cache, &found, key, deadline_ns)) {
        return false;
    }
    if (kw_cache_is_fresh(cache, &found)) {
        return kw_cache_give_read(cache, NULL, value, &found) == KW_OK;
    }
    kw_reply_free(found.value);
    return false;
}

kw_err kw_cache_do_put(kw_cache *cache, kw_error *error, kw_bytes key, kw_bytes value)
{
    kw_err code;
    kw_lease_ask asked = {.act = KW_LEASE_PUT, .key = key, .value = value};
    asked.ms = kw_life_draw_ms(&cache->options, kw_cache_random(cache));
    kw_reply *reply = ask(cache, &code, error, &asked, kw_cache_deadline_ns(cache));
    kw_reply_free(reply);
    return reply != NULL ? KW_OK : code;
}

kw_err kw_cache_do_forget(kw_cache *cache, kw_error *error, kw_bytes key)
{
    kw_err code;
    kw_lease_ask asked = {.act = KW_LEASE_FORGET, .key = key};
    kw_reply *reply = ask(cache, &code, error, &asked, kw_cache_deadline_ns(cache));
    kw_reply_free(reply);
    return reply != NULL ? KW_OK : code;
}
