/* SPDX-License-Identifier: BSD-3-Clause */
/* Host: what the host application gives a handle besides options: memory, log, events, login,
 * clock. */
#ifndef SETTINGS_HOST_H
#define SETTINGS_HOST_H

#include <keyway/config.h>
#include <keyway/event.h>
#include <keyway/memory.h>
#include <keyway/slow.h>

struct kw_event_part;
struct kw_observer;

typedef struct kw_host {
    kw_allocator mem;
    kw_log_level log_level; /* messages of a lower level are not formatted */
    kw_log_fn log;          /* NULL: nobody listens */
    void *log_arg;
    kw_event_fn event; /* NULL: nobody listens */
    void *event_arg;
    const struct kw_event_part *event_part; /* that tells of connections and maps; NULL: none */
    kw_slow_call_fn slow;                   /* NULL: nobody listens */
    void *slow_arg;
    const struct kw_observer *observer; /* that tells slow; NULL: none */
    kw_login_fn login;                  /* NULL: the options say it */
    void *login_arg;
    kw_resolve_fn resolve; /* NULL: the option resolver says it */
    void *resolve_arg;
    kw_clock_fn clock; /* NULL: the system's monotonic clock */
    void *clock_arg;
} kw_host;

#endif
