/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, the seeds and the log of a handle. */
#include "net/env.h"

#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* Round trips of one step: a connect, TLS, a greeting and a question. */
#define STEP_TRIPS 5u

void kw_env_on_trip(kw_env *env, uint64_t trip_ns)
{
    uint64_t before_ns = atomic_load_explicit(&env->trip_ns, memory_order_relaxed);
    if (trip_ns < before_ns) {
        trip_ns = before_ns - (before_ns - trip_ns) / 2; /* one near server is not all */
    }
    atomic_store_explicit(&env->trip_ns, trip_ns, memory_order_relaxed);
}

uint64_t kw_env_patience_ns(kw_env *env, uint64_t base_ns)
{
    uint64_t trips_ns = STEP_TRIPS * atomic_load_explicit(&env->trip_ns, memory_order_relaxed);
    return trips_ns > base_ns ? trips_ns : base_ns;
}

uint64_t kw_env_seed(kw_env *env)
{
    return atomic_fetch_add_explicit(&env->seeds, 0x9e3779b97f4a7c15u, memory_order_relaxed);
}

uint64_t kw_env_unique(kw_env *env)
{
    uint64_t number = 0;
    if (getentropy(&number, sizeof(number)) != 0 || number == 0) {
        kw_random random;
        kw_random_init(&random,
                       kw_env_seed(env) ^ kw_clock_wall_ms() << 20 ^ (uint64_t)getpid() << 48);
        number = kw_random_next(&random);
    }
    return number;
}

void kw_env_log(const kw_env *env, kw_log_level level, const char *format, ...)
{
    if (env->log == NULL || level > env->log_level) {
        return;
    }
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len >= 0) {
        env->log(env->log_arg, level, line);
    }
}
