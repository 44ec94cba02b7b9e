/* SPDX-License-Identifier: BSD-3-Clause */
/* Look-ups of host names in short-lived threads, which may outlive their callers. */
#include "net/resolver.h"

#include "base/error.h"
#include "net/clock.h"
#include "net/sync.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* An answer that nobody looked for is believed for this long: what name servers usually allow. */
#define KEEP_NS ((uint64_t)60000000000)

/* One look-up. Its thread has a reference, its resolver while it lists it, and each that looks. */
struct kw_lookup {
    atomic_size_t refs;
    kw_endpoint endpoint;
    atomic_bool is_done; /* what follows is written, and does not change any more */
    kw_err code;
    kw_error error;
    kw_addresses addresses;
    uint64_t done_ns;
    atomic_bool is_taken; /* somebody had the answer: the next one looks anew */
};

struct kw_resolver {
    kw_monitor monitor;                          /* guards the list */
    kw_lookup *lookups[KW_RESOLVER_LOOKUPS_MAX]; /* that run, or whose answer nobody had; or NULL */
};

kw_resolver *kw_resolver_new(void)
{
    kw_resolver *resolver = kw_mem_calloc(kw_mem_default(), 1, sizeof(*resolver));
    if (resolver != NULL && kw_monitor_init(&resolver->monitor) != KW_OK) {
        kw_mem_free(kw_mem_default(), resolver);
        return NULL;
    }
    return resolver;
}

void kw_lookup_unref(kw_lookup *lookup)
{
    if (lookup != NULL && atomic_fetch_sub(&lookup->refs, 1) == 1) {
        kw_mem_free(kw_mem_default(), lookup);
    }
}

void kw_resolver_free(kw_resolver *resolver)
{
    if (resolver == NULL) {
        return;
    }
    for (size_t i = 0; i < KW_RESOLVER_LOOKUPS_MAX; i++) {
        kw_lookup_unref(resolver->lookups[i]);
    }
    kw_monitor_fini(&resolver->monitor);
    kw_mem_free(kw_mem_default(), resolver);
}

static kw_lookup *lookup_new(const kw_endpoint *endpoint)
{
    kw_lookup *self = kw_mem_calloc(kw_mem_default(), 1, sizeof(*self));
    if (self != NULL) {
        atomic_init(&self->refs, 1);
        atomic_init(&self->is_done, false);
        atomic_init(&self->is_taken, false);
        self->endpoint = *endpoint;
        self->error.size = sizeof(self->error);
    }
    return self;
}

static uint64_t now(void)
{
    kw_clock clock = {NULL, NULL};
    return kw_clock_now(&clock);
}

static void *run(void *arg)
{
    kw_lookup *self = arg;
    self->code = kw_address_find(&self->addresses, &self->error, &self->endpoint);
    self->done_ns = now();
    atomic_store(&self->is_done, true);
    kw_lookup_unref(self);
    return NULL;
}

/* A detached thread that takes none of the process's signals. */
static bool start(kw_lookup *self)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    atomic_fetch_add(&self->refs, 1);
    bool is_started = pthread_create(&thread, &attr, run, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!is_started) {
        kw_lookup_unref(self);
    }
    return is_started;
}

/* True where whoever begins now may have its answer: it runs, or nobody had it. An old failure is
 * nobody's any more. */
static bool is_of_use(kw_lookup *self)
{
    if (!atomic_load(&self->is_done)) {
        return true;
    }
    return self->code == KW_OK && !atomic_load(&self->is_taken) && now() <= self->done_ns + KEEP_NS;
}

/* The endpoint's place in the list, with what is of no use taken out of it; NULL: there is none. */
static kw_lookup **find_place(kw_resolver *resolver, const kw_endpoint *endpoint)
{
    kw_lookup **place = NULL;
    for (size_t i = 0; i < KW_RESOLVER_LOOKUPS_MAX; i++) {
        kw_lookup **at = &resolver->lookups[i];
        if (*at != NULL && !is_of_use(*at)) {
            kw_lookup_unref(*at);
            *at = NULL;
        }
        if (*at != NULL && kw_endpoint_equal(&(*at)->endpoint, endpoint)) {
            return at;
        }
        place = place == NULL && *at == NULL ? at : place;
    }
    for (size_t i = 0; place == NULL && i < KW_RESOLVER_LOOKUPS_MAX; i++) {
        kw_lookup **at = &resolver->lookups[i];
        if (atomic_load(&(*at)->is_done)) { /* kept for later, perhaps for nothing */
            kw_lookup_unref(*at);
            *at = NULL;
            place = at;
        }
    }
    return place;
}

/* A new look-up in an empty place. The monitor is held. */
static kw_err fill(kw_lookup **place, kw_error *error, const kw_endpoint *endpoint)
{
    kw_lookup *fresh = lookup_new(endpoint);
    if (fresh == NULL) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a look-up");
    }
    if (!start(fresh)) {
        kw_lookup_unref(fresh);
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "no thread for the look-up of host name \"%s\"", endpoint->host);
    }
    *place = fresh;
    return KW_OK;
}

kw_lookup *kw_resolver_begin(kw_resolver *resolver, kw_error *error, const kw_endpoint *endpoint)
{
    kw_lookup *found = NULL;
    kw_err code = KW_OK;
    kw_monitor_lock(&resolver->monitor);
    kw_lookup **place = find_place(resolver, endpoint);
    if (place == NULL) {
        code = kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "%d look-ups of host names are waiting for an answer already",
                            KW_RESOLVER_LOOKUPS_MAX);
    } else if (*place == NULL) {
        code = fill(place, error, endpoint);
    }
    if (code == KW_OK) {
        found = *place;
        atomic_fetch_add(&found->refs, 1);
    }
    kw_monitor_unlock(&resolver->monitor);
    return found;
}

kw_err kw_lookup_take(kw_lookup *lookup, kw_addresses *addresses, kw_error *error)
{
    if (!atomic_load(&lookup->is_done)) {
        return KW_ERR_TIMEOUT;
    }
    atomic_store(&lookup->is_taken, true);
    if (lookup->code != KW_OK) {
        return kw_error_set(error, lookup->code, KW_EFFECT_NONE, "%s", lookup->error.text);
    }
    *addresses = lookup->addresses;
    return KW_OK;
}
