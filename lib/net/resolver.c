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
    kw_resolve_fn hosts; /* NULL: threads look names up */
    void *arg;
    kw_monitor monitor;                          /* guards the list */
    kw_lookup *lookups[KW_RESOLVER_LOOKUPS_MAX]; /* that run, or whose answer nobody had; or NULL */
};

kw_resolver *kw_resolver_new(kw_resolve_fn hosts, void *arg)
{
    kw_resolver *resolver = kw_mem_calloc(kw_mem_default(), 1, sizeof(*resolver));
    if (resolver != NULL) {
        resolver->hosts = hosts;
        resolver->arg = arg;
    }
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

/* The look-up's answer is there. */
static void finish(kw_lookup *self, kw_err code)
{
    self->code = code;
    self->done_ns = now();
    atomic_store(&self->is_done, true);
}

static void *run(void *arg)
{
    kw_lookup *self = arg;
    finish(self, kw_address_find(&self->addresses, &self->error, &self->endpoint));
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

/* A new look-up is on its way; no lock is held. */
static void set_out(const kw_resolver *resolver, kw_lookup *self)
{
    if (resolver->hosts != NULL) {
        atomic_fetch_add(&self->refs, 1); /* the host's, until kw_lookup_end */
        resolver->hosts(resolver->arg, self, self->endpoint.host);
    } else if (!start(self)) {
        kw_err code =
            kw_error_set(&self->error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                         "no thread for the look-up of host name \"%s\"", self->endpoint.host);
        finish(self, code);
    }
}

kw_lookup *kw_resolver_begin(kw_resolver *resolver, kw_error *error, const kw_endpoint *endpoint)
{
    kw_lookup *found = NULL;
    kw_monitor_lock(&resolver->monitor);
    kw_lookup **place = find_place(resolver, endpoint);
    bool is_new = place != NULL && *place == NULL;
    if (place == NULL) {
        kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                     "%d look-ups of host names are waiting for an answer already",
                     KW_RESOLVER_LOOKUPS_MAX);
    } else if (is_new && (*place = lookup_new(endpoint)) == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a look-up");
    } else {
        found = *place;
        atomic_fetch_add(&found->refs, 1);
    }
    kw_monitor_unlock(&resolver->monitor);
    if (found != NULL && is_new) {
        set_out(resolver, found);
    }
    return found;
}

kw_err kw_lookup_add(kw_lookup *lookup, kw_error *error, const char *address)
{
    kw_endpoint endpoint;
    size_t n = lookup != NULL ? lookup->addresses.n : 0;
    kw_bytes text = kw_bytes_of(address != NULL ? address : "");
    if (lookup == NULL || !kw_endpoint_set(&endpoint, text, lookup->endpoint.port) ||
        n == KW_ADDRESSES_MAX || !kw_address_parse(&lookup->addresses.at[n], &endpoint)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "lookup is NULL, address is no IPv4 or IPv6 address, or there are %d",
                            KW_ADDRESSES_MAX);
    }
    lookup->addresses.n++;
    return KW_OK;
}

void kw_lookup_end(kw_lookup *lookup, const char *failure)
{
    if (lookup == NULL) {
        return;
    }
    kw_err code = KW_OK;
    if (failure != NULL || lookup->addresses.n == 0) {
        code = kw_error_set(&lookup->error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "no address for host name \"%s\": %s", lookup->endpoint.host,
                            failure != NULL ? failure : "the program's resolver gave none");
    }
    finish(lookup, code);
    kw_lookup_unref(lookup);
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
