/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks for value and lease in one step, and once more where a value is there that is to be loaded
 * anew. */
#include "cache/cache_look.h"

#include "base/error.h"
#include "cache/life.h"

bool kw_cache_look_init(kw_cache_look *look, kw_cache *cache, kw_bytes key)
{
    look->cache = cache;
    look->key = key;
    look->old = NULL;
    look->is_over = false;
    uint64_t number = atomic_fetch_add_explicit(&cache->tokens_n, 1, memory_order_relaxed);
    look->token = kw_lease_token_make(cache->process, number);
    look->deadline_ns = kw_cache_deadline_ns(cache);
    kw_buf_init(&look->name, &cache->mem, look->space, sizeof(look->space));
    return kw_lease_name(&look->name, cache->tags, key);
}

void kw_cache_look_fini(kw_cache_look *look)
{
    kw_blob_unref(look->old);
    look->old = NULL;
    kw_buf_fini(&look->name);
}

static kw_lease_ask ask_of(const kw_cache_look *look, kw_lease_act act)
{
    kw_lease_ask ask = {.act = act, .key = look->key, .ms = look->cache->options.lease_ms};
    ask.name.data = look->name.data;
    ask.name.len = look->name.len;
    ask.token = kw_lease_token_bytes(&look->token);
    return ask;
}

void kw_cache_look_tell(kw_cache_look *look, kw_lease_act act)
{
    kw_lease_ask ask = ask_of(look, act);
    kw_reply_free(kw_cache_ask(look->cache, NULL, &ask, kw_cache_deadline_ns(look->cache)));
}

/* An error of the server: the key is of another kind for good, or the server cannot do it now. */
static kw_look_result take_error(kw_error *error, kw_reply *reply)
{
    char shown[200];
    kw_bytes text = kw_reply_bytes(reply);
    kw_bytes_show(shown, sizeof(shown), text);
    kw_error_set(error, KW_ERR_SERVER, KW_EFFECT_NONE, "%s", shown);
    /* Valkey and Redis from 7 on put the name of the script's error behind "ERR" at times. */
    bool is_kind = kw_bytes_starts(text, "WRONGTYPE") || kw_bytes_starts(text, "ERR WRONGTYPE") ||
                   kw_bytes_starts(text, "-WRONGTYPE");
    kw_reply_free(reply);
    return is_kind ? KW_LOOK_WRONG : KW_LOOK_AWAY;
}

static kw_look_result failed(const kw_error *failure)
{
    bool is_away = failure->code != KW_ERR_CANCELLED && failure->code != KW_ERR_NOMEM &&
                   failure->code != KW_ERR_FORKED && failure->code != KW_ERR_ARGUMENT;
    return is_away ? KW_LOOK_AWAY : KW_LOOK_WRONG;
}

/* One question; the answer, borrowed from *reply, where that is not NULL. */
static kw_look_result ask(kw_cache_look *look, kw_lease_answer *answer, kw_reply **reply,
                          kw_error *error, kw_lease_act act)
{
    kw_error failure = KW_ERROR_INIT;
    kw_lease_ask asked = ask_of(look, act);
    *reply = kw_cache_ask(look->cache, &failure, &asked, look->deadline_ns);
    if (*reply == NULL) {
        kw_error_copy(error, &failure);
        return failed(&failure);
    }
    if (kw_reply_is_error(*reply)) {
        kw_look_result result = take_error(error, *reply);
        *reply = NULL;
        return result;
    }
    if (!kw_lease_read(answer, *reply)) {
        kw_reply_free(*reply);
        *reply = NULL;
        kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_NONE, "an answer that no lease gives");
        return KW_LOOK_WRONG;
    }
    /* The answer to an earlier try was lost: the lease is this call's. */
    bool is_own = answer->state == KW_LEASE_IS_TAKEN &&
                  kw_bytes_equal(kw_lease_token_bytes(&answer->holder), asked.token);
    answer->state = is_own ? KW_LEASE_IS_YOURS : answer->state;
    look->holder = answer->holder;
    return KW_LOOK_VALUE;
}

/* Keeps the value of the answer, whose reply it takes over. False where there is no memory. */
static bool keep(kw_cache_look *look, const kw_lease_answer *answer, kw_reply *reply)
{
    kw_blob_unref(look->old);
    look->old = NULL;
    if (answer->value == NULL) {
        kw_reply_free(reply);
        return true;
    }
    uint64_t extra_ms = kw_cache_options_extra_ms(&look->cache->options);
    look->is_over = answer->left_ms >= 0 && (uint64_t)answer->left_ms <= extra_ms && extra_ms > 0;
    look->old = kw_blob_of_reply(&look->cache->mem, reply, kw_reply_bytes(answer->value));
    return look->old != NULL;
}

static kw_look_result no_memory(kw_error *error)
{
    kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a value");
    return KW_LOOK_WRONG;
}

static kw_life life_of(kw_cache *cache, const kw_lease_answer *answer)
{
    uint64_t cost_ms = atomic_load_explicit(&cache->cost_ms, memory_order_relaxed);
    return kw_life_of(&cache->options, answer->left_ms, cost_ms, kw_cache_random(cache));
}

/* There is a value that somebody is to load anew. */
static kw_look_result refresh(kw_cache_look *look, kw_error *error, bool may_give)
{
    kw_lease_answer answer;
    kw_reply *reply;
    kw_look_result result = ask(look, &answer, &reply, error, KW_LEASE_REFRESH);
    if (reply == NULL) {
        return may_give ? KW_LOOK_VALUE : result;
    }
    if (answer.state == KW_LEASE_IS_TAKEN && !may_give && answer.value != NULL &&
        life_of(look->cache, &answer) != KW_LIFE_OVER) {
        may_give = true; /* it was loaded meanwhile, and is loaded again */
    }
    switch (answer.state) {
    case KW_LEASE_IS_YOURS:
        return keep(look, &answer, reply) ? KW_LOOK_LEASE : no_memory(error);
    case KW_LEASE_IS_TAKEN:
        if (may_give && answer.value == NULL) {
            may_give = false; /* it was forgotten meanwhile */
        }
        return !keep(look, &answer, reply) ? no_memory(error)
               : may_give                  ? KW_LOOK_VALUE
                                           : KW_LOOK_TAKEN;
    case KW_LEASE_HAS_VALUE:
    case KW_LEASE_HAS_NONE:
        break;
    }
    kw_reply_free(reply);
    return KW_LOOK_NONE;
}

kw_look_result kw_cache_look_run(kw_cache_look *look, kw_error *error)
{
    kw_lease_answer answer;
    kw_reply *reply;
    kw_look_result result = ask(look, &answer, &reply, error, KW_LEASE_ACQUIRE);
    if (reply == NULL) {
        return result;
    }
    if (!keep(look, &answer, reply)) {
        return no_memory(error);
    }
    switch (answer.state) {
    case KW_LEASE_IS_YOURS:
        return KW_LOOK_LEASE;
    case KW_LEASE_HAS_NONE:
        return KW_LOOK_NONE;
    case KW_LEASE_IS_TAKEN:
        return KW_LOOK_TAKEN;
    case KW_LEASE_HAS_VALUE:
        break;
    }
    kw_life life = life_of(look->cache, &answer);
    return life == KW_LIFE_FRESH ? KW_LOOK_VALUE : refresh(look, error, life != KW_LIFE_OVER);
}
