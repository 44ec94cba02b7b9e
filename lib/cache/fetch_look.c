/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers of the lease: value and lease come in one step, and one more where a value is there that
 * is to be loaded anew. */
#include "cache/fetch.h"

#include "base/error.h"
#include "cache/life.h"
#include "engine/script.h"

kw_lease_ask kw_fetch_ask_of(const kw_fetch *fetch, kw_lease_act act)
{
    kw_lease_ask ask = {.act = act, .key = fetch->key, .ms = fetch->cache->options.lease_ms};
    ask.name.data = fetch->name.data;
    ask.name.len = fetch->name.len;
    ask.token = kw_lease_token_bytes(&fetch->token);
    return ask;
}

/* An error of the server: the key is of another kind for good, or the server cannot do it now. */
static kw_look_result take_error(kw_error *error, kw_reply *reply)
{
    char shown[200];
    kw_bytes text = kw_reply_bytes(reply);
    kw_bytes_show(shown, sizeof(shown), text);
    kw_error_set(error, KW_ERR_SERVER, KW_EFFECT_NONE, "%s", shown);
    bool is_kind = kw_script_error_is(text, "WRONGTYPE");
    kw_reply_free(reply);
    return is_kind ? KW_LOOK_WRONG : KW_LOOK_AWAY;
}

static kw_look_result failed(kw_error *error, const kw_error *failure)
{
    bool is_away = failure->code != KW_ERR_CANCELLED && failure->code != KW_ERR_NOMEM &&
                   failure->code != KW_ERR_FORKED && failure->code != KW_ERR_ARGUMENT;
    kw_error_copy(error, failure);
    return is_away ? KW_LOOK_AWAY : KW_LOOK_WRONG;
}

static kw_look_result no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a value");
    return KW_LOOK_WRONG;
}

/* Keeps the value of the answer, whose reply it takes over; the result, where there is memory. */
static kw_look_result keep(kw_fetch *fetch, const kw_lease_answer *answer, kw_reply *reply,
                           kw_look_result result)
{
    kw_blob_unref(fetch->old);
    fetch->old = NULL;
    if (answer->value == NULL) {
        kw_reply_free(reply);
        return result;
    }
    uint64_t now_ns = kw_env_now(&fetch->cache->topology->env);
    uint64_t extra_ms = kw_cache_options_extra_ms(&fetch->cache->options);
    uint64_t left_ms = answer->left_ms > 0 ? (uint64_t)answer->left_ms : 0;
    uint64_t fresh_ms = left_ms > extra_ms ? left_ms - extra_ms : 0;
    bool has_end = answer->left_ms >= 0;
    fetch->old_end_ns = has_end ? kw_life_end_ns(now_ns, left_ms) : UINT64_MAX;
    fetch->ttl_end_ns = has_end && extra_ms > 0 ? kw_life_end_ns(now_ns, fresh_ms) : UINT64_MAX;
    fetch->old = kw_blob_of_reply(&fetch->cache->mem, reply, kw_reply_bytes(answer->value));
    return fetch->old != NULL ? result : no_memory(&fetch->failure);
}

static kw_life life_of(kw_cache *cache, const kw_lease_answer *answer)
{
    uint64_t cost_ms = atomic_load_explicit(&cache->cost_ms, memory_order_relaxed);
    return kw_life_of(&cache->options, answer->left_ms, cost_ms, kw_cache_random(cache));
}

/* To ACQUIRE. */
static kw_look_result on_acquire(kw_fetch *fetch, const kw_lease_answer *answer, kw_reply *reply)
{
    kw_life life = KW_LIFE_FRESH;
    switch (answer->state) {
    case KW_LEASE_IS_YOURS:
        return keep(fetch, answer, reply, KW_LOOK_LEASE);
    case KW_LEASE_HAS_NONE:
        return keep(fetch, answer, reply, KW_LOOK_NONE);
    case KW_LEASE_IS_TAKEN:
        return keep(fetch, answer, reply, KW_LOOK_TAKEN);
    case KW_LEASE_HAS_VALUE:
        life = life_of(fetch->cache, answer);
        break;
    }
    fetch->may_give = life != KW_LIFE_OVER;
    return keep(fetch, answer, reply, life == KW_LIFE_FRESH ? KW_LOOK_VALUE : KW_LOOK_REFRESH);
}

/* To REFRESH: there was a value that somebody is to load anew. */
static kw_look_result on_refresh(kw_fetch *fetch, const kw_lease_answer *answer, kw_reply *reply)
{
    bool may_give = fetch->may_give;
    if (answer->state == KW_LEASE_IS_TAKEN && !may_give && answer->value != NULL &&
        life_of(fetch->cache, answer) != KW_LIFE_OVER) {
        may_give = true; /* it was loaded meanwhile, and is loaded again */
    }
    switch (answer->state) {
    case KW_LEASE_IS_YOURS:
        return keep(fetch, answer, reply, KW_LOOK_LEASE);
    case KW_LEASE_IS_TAKEN:
        may_give = may_give && answer->value != NULL; /* it may have been forgotten meanwhile */
        return keep(fetch, answer, reply, may_give ? KW_LOOK_VALUE : KW_LOOK_TAKEN);
    case KW_LEASE_HAS_VALUE:
    case KW_LEASE_HAS_NONE:
        break;
    }
    kw_reply_free(reply);
    return KW_LOOK_NONE;
}

static kw_look_result digest(kw_fetch *fetch, kw_reply *reply, const kw_error *failure)
{
    kw_lease_answer answer;
    if (reply == NULL) {
        return failed(&fetch->failure, failure);
    }
    if (kw_reply_is_error(reply)) {
        return take_error(&fetch->failure, reply);
    }
    if (!kw_lease_read(&answer, reply)) {
        kw_reply_free(reply);
        kw_error_set(&fetch->failure, KW_ERR_PROTOCOL, KW_EFFECT_NONE,
                     "an answer that no lease gives");
        return KW_LOOK_WRONG;
    }
    /* The answer to an earlier try was lost: the lease is this call's. */
    bool is_own = answer.state == KW_LEASE_IS_TAKEN &&
                  kw_bytes_equal(kw_lease_token_bytes(&answer.holder), fetch->ask.token);
    answer.state = is_own ? KW_LEASE_IS_YOURS : answer.state;
    fetch->holder = answer.holder;
    return fetch->ask.act == KW_LEASE_ACQUIRE ? on_acquire(fetch, &answer, reply)
                                              : on_refresh(fetch, &answer, reply);
}

kw_look_result kw_fetch_digest(kw_fetch *fetch, kw_reply *reply, const kw_error *failure)
{
    bool was_there = reply != NULL && !kw_reply_is_error(reply);
    fetch->has_heard = fetch->has_heard || was_there;
    bool is_refresh = fetch->ask.act == KW_LEASE_REFRESH;
    kw_look_result result = digest(fetch, reply, failure);
    /* What may be given is, where nobody can say who loads it anew. */
    return is_refresh && !was_there && fetch->may_give ? KW_LOOK_VALUE : result;
}

void kw_fetch_drop_over(kw_fetch *fetch)
{
    if (fetch->old != NULL && kw_env_now(&fetch->cache->topology->env) >= fetch->old_end_ns) {
        kw_blob_unref(fetch->old);
        fetch->old = NULL;
    }
}
