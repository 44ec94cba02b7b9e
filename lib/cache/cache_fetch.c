/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that wants a value, and waits for it: carries out what its fetch says. */
#include "cache/cache_fetch.h"

#include "base/error.h"
#include "cache/load_guard.h"
#include "topology/topology_tend.h"

/* While the end of another process' lease is heard of, its connections are looked at so often. */
#define HEAR_MS 1

typedef struct call {
    kw_cache *cache;
    kw_fetch fetch;
    const kw_cache_loader *loader;
    kw_load_guard guard;
    kw_tracking lease; /* of another process, whose end is heard of */
    bool has_forked;   /* in the host's function, and this is the child */
} call;

static kw_fetch_act ask(call *self)
{
    kw_error failure = kw_error_none();
    kw_fetch *fetch = &self->fetch;
    kw_reply *reply = kw_cache_ask(self->cache, &failure, &fetch->ask, fetch->deadline_ns);
    return kw_fetch_on_reply(fetch, reply, &failure);
}

/* A lease is renewed within the time of the call that waits, and given back whatever is left of it.
 */
static kw_fetch_act tell(call *self)
{
    kw_fetch *fetch = &self->fetch;
    bool is_waiting = fetch->ask.act == KW_LEASE_EXTEND;
    uint64_t deadline_ns = is_waiting ? fetch->deadline_ns : kw_cache_deadline_ns(self->cache);
    kw_reply_free(kw_cache_ask(self->cache, NULL, &fetch->ask, deadline_ns));
    return kw_fetch_go_on(fetch);
}

/* Where keys are tracked, the end of the lease is told by its server. */
static void watch(call *self)
{
    kw_fetch *fetch = &self->fetch;
    kw_cache *cache = self->cache;
    if (cache->near == NULL || fetch->is_watched) {
        return;
    }
    kw_bytes name = {fetch->name.data, fetch->name.len};
    kw_tracker_forget(cache->tracker, &self->lease);
    if (kw_tracker_watch(cache->tracker, &self->lease, name, fetch->key, fetch->deadline_ns)) {
        fetch->is_watched = true;
    }
}

static void hear(call *self)
{
    kw_tracker *tracker = self->cache->tracker;
    if (!kw_tracker_hears(tracker, &self->lease, HEAR_MS)) {
        kw_fetch_on_told(&self->fetch);
    }
}

static kw_fetch_act wait(call *self)
{
    kw_fetch *fetch = &self->fetch;
    if (fetch->phase == KW_FETCH_POLLING) {
        watch(self);
    }
    if (fetch->phase == KW_FETCH_POLLING && fetch->is_watched) {
        hear(self);
    } else {
        uint64_t now_ns = kw_env_now(&self->cache->topology->env);
        uint64_t until_ns = kw_fetch_until_ns(fetch);
        kw_flights_wait(&self->cache->flights, fetch->flight,
                        until_ns > now_ns ? until_ns - now_ns : 1,
                        fetch->phase == KW_FETCH_PLACING);
    }
    return kw_fetch_go_on(fetch);
}

static kw_fetch_act open_guard(call *self)
{
    (void)kw_load_guard_open(&self->guard, self->cache, NULL, self->fetch.key,
                             kw_cache_deadline_ns(self->cache));
    return kw_fetch_on_guard(&self->fetch, self->guard.is_open);
}

/* What the call has under way is the parent's: nothing is sent, and no lock is taken. */
static kw_fetch_act end_in_child(call *self, kw_cache_load *load)
{
    kw_fetch *fetch = &self->fetch;
    kw_blob_unref(load->given);
    self->has_forked = true;
    fetch->flight = NULL;
    fetch->is_entered = false;
    fetch->code = kw_error_set(&fetch->failure, KW_ERR_FORKED, KW_EFFECT_NONE,
                               "the loader has forked, and the load is the parent process' own");
    return KW_FETCH_END;
}

static kw_fetch_act load(call *self)
{
    kw_cache_load load;
    kw_cache_load_init(&load, self->cache, self->fetch.key);
    kw_cache_loaded how = self->loader->fn(self->loader->arg, &load);
    if (kw_fork_has_happened(&self->cache->fork)) {
        return end_in_child(self, &load);
    }
    how = how == KW_CACHE_LATER ? kw_cache_load_await(&load) : how;
    return kw_fetch_on_loaded(&self->fetch, how, load.given);
}

static kw_fetch_act store(call *self)
{
    bool is_stored;
    kw_err code = kw_load_guard_fill(&self->guard, &is_stored, NULL, &self->fetch.ask);
    return kw_fetch_on_stored(&self->fetch, code == KW_OK && is_stored);
}

static kw_fetch_act carry_out(call *self, kw_fetch_act act)
{
    switch (act) {
    case KW_FETCH_ASK:
        return ask(self);
    case KW_FETCH_TELL:
        return tell(self);
    case KW_FETCH_WAIT:
        return wait(self);
    case KW_FETCH_GUARD:
        return open_guard(self);
    case KW_FETCH_LOAD:
        return load(self);
    case KW_FETCH_STORE:
        return store(self);
    case KW_FETCH_END:
        break;
    }
    return KW_FETCH_END;
}

kw_err kw_cache_do_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value, kw_bytes key,
                         const kw_cache_loader *loader)
{
    uint64_t deadline_ns = kw_cache_deadline_ns(cache); /* one for all that is tried */
    if (cache->near != NULL && kw_cache_get_fresh(cache, value, key, deadline_ns)) {
        return KW_OK;
    }
    call self = {.cache = cache, .loader = loader};
    kw_err code = KW_ERR_NOMEM;
    if (kw_fetch_init(&self.fetch, cache, key)) {
        self.fetch.deadline_ns = deadline_ns;
        kw_fetch_act act = kw_fetch_begin(&self.fetch);
        while (act != KW_FETCH_END) {
            act = carry_out(&self, act);
        }
        code = self.fetch.code;
        kw_cache_value_set(value, self.fetch.blob, self.fetch.source);
    } else {
        kw_error_set(&self.fetch.failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a key");
    }
    if (!self.has_forked) {
        kw_load_guard_close(&self.guard);
        if (cache->near != NULL) {
            kw_tracker_forget(cache->tracker, &self.lease);
        }
    }
    if (code != KW_OK) {
        kw_error_copy(error, &self.fetch.failure);
    }
    kw_fetch_fini(&self.fetch);
    if (!self.has_forked) {
        kw_topology_tend(cache->topology, kw_env_now(&cache->topology->env));
    }
    return code;
}
