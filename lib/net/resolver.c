/* SPDX-License-Identifier: BSD-3-Clause */
/* Look-ups of host names in short-lived threads, which may outlive their callers. */
#include "net/resolver.h"

#include "base/error.h"
#include "net/clock.h"
#include "net/sync.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

struct kw_resolver {
    atomic_size_t refs;   /* the handle's, and one of each look-up */
    atomic_size_t jobs_n; /* look-ups under way */
};

/* One look-up; the caller and the thread have a reference each. */
typedef struct job {
    kw_resolver *resolver;
    atomic_size_t refs;
    kw_endpoint endpoint;
    kw_monitor monitor; /* guards all below */
    bool is_done;
    kw_err code;
    kw_error error;
    kw_addresses addresses;
} job;

kw_resolver *kw_resolver_new(void)
{
    kw_resolver *resolver = kw_mem_calloc(kw_mem_default(), 1, sizeof(*resolver));
    if (resolver != NULL) {
        atomic_init(&resolver->refs, 1);
    }
    return resolver;
}

void kw_resolver_unref(kw_resolver *resolver)
{
    if (resolver != NULL && atomic_fetch_sub(&resolver->refs, 1) == 1) {
        kw_mem_free(kw_mem_default(), resolver);
    }
}

static job *job_new(kw_resolver *resolver, const kw_endpoint *endpoint)
{
    job *self = kw_mem_calloc(kw_mem_default(), 1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    if (kw_monitor_init(&self->monitor) != KW_OK) {
        kw_mem_free(kw_mem_default(), self);
        return NULL;
    }
    atomic_fetch_add(&resolver->refs, 1);
    atomic_fetch_add(&resolver->jobs_n, 1);
    self->resolver = resolver;
    atomic_init(&self->refs, 1);
    self->endpoint = *endpoint;
    self->error.size = sizeof(self->error);
    return self;
}

static void job_unref(job *self)
{
    if (atomic_fetch_sub(&self->refs, 1) == 1) {
        atomic_fetch_sub(&self->resolver->jobs_n, 1);
        kw_resolver_unref(self->resolver);
        kw_monitor_fini(&self->monitor);
        kw_mem_free(kw_mem_default(), self);
    }
}

static void *run(void *arg)
{
    job *self = arg;
    kw_addresses addresses = {.n = 0};
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_address_find(&addresses, &error, &self->endpoint);
    kw_monitor_lock(&self->monitor);
    self->is_done = true;
    self->code = code;
    self->error = error;
    self->addresses = addresses;
    kw_monitor_wake_all(&self->monitor);
    kw_monitor_unlock(&self->monitor);
    job_unref(self);
    return NULL;
}

/* A detached thread that takes none of the process's signals. */
static bool start(job *self)
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
        job_unref(self);
    }
    return is_started;
}

/* The lock of the job is held. */
static void wait_for(job *self, uint64_t wait_ns)
{
    kw_clock clock = {NULL, NULL};
    uint64_t now_ns = kw_clock_now(&clock);
    uint64_t until_ns = now_ns + wait_ns;
    while (!self->is_done && now_ns < until_ns) {
        kw_monitor_wait(&self->monitor, until_ns - now_ns);
        now_ns = kw_clock_now(&clock);
    }
}

static kw_err take(job *self, kw_addresses *addresses, kw_error *error, uint64_t wait_ns)
{
    kw_monitor_lock(&self->monitor);
    wait_for(self, wait_ns);
    kw_err code = self->is_done ? self->code : KW_ERR_TIMEOUT;
    if (code == KW_OK) {
        *addresses = self->addresses;
    }
    kw_monitor_unlock(&self->monitor);
    if (code == KW_ERR_TIMEOUT) {
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "no answer in time about host name \"%s\"; is a name server down?",
                            self->endpoint.host);
    }
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "%s", self->error.text);
    }
    return code;
}

kw_err kw_resolver_find(kw_resolver *resolver, kw_addresses *addresses, kw_error *error,
                        const kw_endpoint *endpoint, uint64_t wait_ns)
{
    if (atomic_load(&resolver->jobs_n) >= KW_RESOLVER_JOBS_MAX) {
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "%d look-ups of host names are waiting for an answer already",
                            KW_RESOLVER_JOBS_MAX);
    }
    job *self = job_new(resolver, endpoint);
    if (self == NULL) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a look-up");
    }
    kw_err code;
    if (start(self)) {
        code = take(self, addresses, error, wait_ns);
    } else {
        code = kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "no thread for the look-up of host name \"%s\"", endpoint->host);
    }
    job_unref(self);
    return code;
}
