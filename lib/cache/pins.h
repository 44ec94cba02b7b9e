/* SPDX-License-Identifier: BSD-3-Clause */
/* Pins: when is it certain that nobody looks any more at what was taken out of a table? Who looks
 * counts itself in, in one of many places, so that threads do not meet, and one of two counters
 * there, so that an end comes in sight while others go on; what was taken out is freed when each
 * counter has been seen at zero since (McKenney's sleepable RCU). */
#ifndef CACHE_PINS_H
#define CACHE_PINS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define KW_PINS_PLACES 64

typedef struct kw_pin_place {
    _Alignas(64) atomic_llong counts[2];
    atomic_uint_fast64_t uses; /* whoever pins may count there what it found */
    struct kw_pins *pins;
} kw_pin_place;

typedef struct kw_pins {
    atomic_uint phase; /* which of the two counters is taken */
    atomic_llong left; /* once closed: pins that are left */
    uint64_t seen[2];  /* places seen at zero since the grace began, as bits; by its guard */
    unsigned turns_n;  /* of the grace: counters that are done with, 2: it is over */
    kw_pin_place places[KW_PINS_PLACES];
} kw_pins;

/* One pin, kept by whoever looks. */
typedef struct kw_pins_guard {
    kw_pin_place *place;
    unsigned at;
} kw_pins_guard;

void kw_pins_init(kw_pins *pins);

/* thread: any number that threads differ by. */
static inline kw_pins_guard kw_pins_take(kw_pins *pins, uint64_t thread)
{
    uint64_t spread = thread * UINT64_C(0x9e3779b97f4a7c15);
    kw_pins_guard pin = {&pins->places[spread >> 58], 0};
    pin.at = atomic_load_explicit(&pins->phase, memory_order_relaxed) & 1;
    atomic_fetch_add(&pin.place->counts[pin.at], 1);
    return pin;
}

/* The last pin of what was closed has gone, where this is true: then whoever gave it back frees. */
bool kw_pins_give_back_closed(kw_pins_guard pin);

/* Added to each counter when the pins are closed. */
#define KW_PINS_CLOSED (1LL << 40)

static inline bool kw_pins_give_back(kw_pins_guard pin)
{
    long long before = atomic_fetch_sub(&pin.place->counts[pin.at], 1);
    return before > KW_PINS_CLOSED && kw_pins_give_back_closed(pin);
}

/* A grace begins: what was taken out until now waits for its end. One thread at a time, as
 * kw_pins_is_over. */
void kw_pins_begin_grace(kw_pins *pins);

/* True where nobody looks any more at what was taken out before the grace began. Looks without
 * waiting. */
bool kw_pins_is_over(kw_pins *pins);

/* No pin is taken any more. True: there is none; else whoever gives the last one back is told. */
bool kw_pins_close(kw_pins *pins);

#endif
