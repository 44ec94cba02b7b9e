/* SPDX-License-Identifier: BSD-3-Clause */
/* Version clock: gives the versions of a handle's writes, by the host's clock or the system's, and
 * says which versions of others can be believed. Any thread. */
#ifndef DRIVE_VERSION_CLOCK_H
#define DRIVE_VERSION_CLOCK_H

#include <keyway/quorum.h>

#include "engine/quorum.h"
#include "net/env.h"
#include "net/sync.h"

typedef struct kw_version_clock {
    kw_env *env;
    kw_quorum_clock_fn clock; /* NULL: the system's */
    void *clock_arg;
    uint64_t ahead_ms;              /* a version that is further ahead is not believed */
    atomic_uint_fast64_t notice_ns; /* the host is told of such versions again from then on */
    atomic_uint_fast64_t known;     /* stamper.last */
    kw_monitor monitor;             /* guards what follows */
    kw_stamper stamper;
} kw_version_clock;

/* False when there is no memory. */
bool kw_version_clock_init(kw_version_clock *self, kw_env *env);
void kw_version_clock_fini(kw_version_clock *self);

/* The clock as ops see it; self must outlive them. */
kw_quorum_clock kw_version_clock_face(kw_version_clock *self);

/* The greatest time of a version that is believed now. Where the clock was further ahead once
 * and is not any more, versions are given under another writer's number from here on, so
 * that they need not be later than those that nobody believes. */
uint64_t kw_version_clock_latest(kw_version_clock *self);

/* Milliseconds that the version is ahead of the clock; 0 where it is not. */
uint64_t kw_version_clock_ahead_ms(const kw_version_clock *self, kw_stamp version);

/* True once a second at most: the host is to be told of versions that were not believed. */
bool kw_version_clock_may_tell(kw_version_clock *self);

#endif
