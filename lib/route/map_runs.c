/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs of equal slots in a slot table, found and filled four slots at a time. */
#include "route/map.h"

#include <string.h>

/* One value for four slots, in one word. */
static uint64_t four_of(uint16_t value)
{
    return value * UINT64_C(0x0001000100010001);
}

size_t kw_map_run_end(const uint16_t *slots, size_t from, size_t end)
{
    uint64_t run = four_of(slots[from]);
    size_t at = from + 1;
    while (at + 4 <= end) {
        uint64_t four;
        memcpy(&four, &slots[at], sizeof(four));
        if (four != run) {
            break;
        }
        at += 4;
    }
    while (at < end && slots[at] == slots[from]) {
        at++;
    }
    return at;
}

void kw_map_run_fill(uint16_t *slots, size_t from, size_t end, uint16_t value)
{
    uint64_t four = four_of(value);
    size_t at = from;
    for (; at + 4 <= end; at += 4) {
        memcpy(&slots[at], &four, sizeof(four));
    }
    for (; at < end; at++) {
        slots[at] = value;
    }
}
