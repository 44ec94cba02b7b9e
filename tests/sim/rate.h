/* SPDX-License-Identifier: BSD-3-Clause */
/* Rate: how often something has happened within the last second, and that it is not too often. */
#ifndef SIM_RATE_H
#define SIM_RATE_H

#include "sim/sched.h"

#define SIM_RATE_MAX 64

typedef struct sim_rate {
    uint64_t at_ns[SIM_RATE_MAX]; /* the last ones, in a circle */
    unsigned n;
} sim_rate;

/* It was asked for then: they need not come in that order. */
static inline void sim_rate_note_at(sim_rate *self, unsigned most, const char *what,
                                    unsigned number, uint64_t at_ns)
{
    self->at_ns[self->n++ % SIM_RATE_MAX] = at_ns;
    uint64_t first_ns = at_ns;
    uint64_t last_ns = at_ns;
    for (unsigned i = 1; i <= most && i < self->n; i++) {
        uint64_t other_ns = self->at_ns[(self->n - 1 - i) % SIM_RATE_MAX];
        first_ns = other_ns < first_ns ? other_ns : first_ns;
        last_ns = other_ns > last_ns ? other_ns : last_ns;
    }
    if (self->n > most && last_ns < first_ns + SIM_S) {
        sim_fail("%u %s within %lu us, of number %u", most + 1, what,
                 (unsigned long)((last_ns - first_ns) / SIM_US), number);
    }
}

/* It happens now. most: in any second, below SIM_RATE_MAX. */
static inline void sim_rate_note(sim_rate *self, unsigned most, const char *what, unsigned number)
{
    if (self->n >= most) {
        uint64_t before_ns = self->at_ns[(self->n - most) % SIM_RATE_MAX];
        if (sim_now() < before_ns + SIM_S) {
            sim_fail("%u %s within %lu us, of number %u", most + 1, what,
                     (unsigned long)((sim_now() - before_ns) / SIM_US), number);
        }
    }
    self->at_ns[self->n++ % SIM_RATE_MAX] = sim_now();
}

#endif
