/* SPDX-License-Identifier: BSD-3-Clause */
/* Grace, and the end of pins. */
#include "cache/pins.h"

#include <string.h>

void kw_pins_init(kw_pins *pins)
{
    memset(pins, 0, sizeof(*pins));
    for (int i = 0; i < KW_PINS_PLACES; i++) {
        pins->places[i].pins = pins;
    }
}

void kw_pins_begin_grace(kw_pins *pins)
{
    pins->turns_n = 0;
    pins->seen[0] = pins->seen[1] = 0;
    atomic_fetch_xor(&pins->phase, 1);
}

/* Looks at the counters that are left of the one that is not taken now. */
static bool is_drained(kw_pins *pins, unsigned at)
{
    for (unsigned i = 0; pins->seen[at] != UINT64_MAX && i < KW_PINS_PLACES; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((pins->seen[at] & bit) == 0 && atomic_load(&pins->places[i].counts[at]) == 0) {
            pins->seen[at] |= bit;
        }
    }
    return pins->seen[at] == UINT64_MAX;
}

bool kw_pins_is_over(kw_pins *pins)
{
    while (pins->turns_n < 2) {
        unsigned old = (atomic_load(&pins->phase) & 1) ^ 1;
        if (!is_drained(pins, old)) {
            return false;
        }
        pins->turns_n++;
        if (pins->turns_n < 2) {
            atomic_fetch_xor(&pins->phase, 1);
        }
    }
    return true;
}

bool kw_pins_close(kw_pins *pins)
{
    long long left = 0;
    for (int i = 0; i < KW_PINS_PLACES; i++) {
        for (int at = 0; at < 2; at++) {
            left += atomic_fetch_add(&pins->places[i].counts[at], KW_PINS_CLOSED);
        }
    }
    return atomic_fetch_add(&pins->left, left) + left == 0;
}

bool kw_pins_give_back_closed(kw_pins_guard pin)
{
    return atomic_fetch_sub(&pin.place->pins->left, 1) == 1;
}
