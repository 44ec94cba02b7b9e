/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs of equal slots in a slot table, found and filled by what the C library does with bytes. */
#include "route/map.h"

#include <string.h>

/* So many slots are compared at a time, and are filled one by one before the others. */
#define STRIDE ((size_t)64)

size_t kw_map_run_end(const uint16_t *slots, size_t from, size_t end)
{
    size_t at = from + 1;
    /* Each of them is as the one before it. */
    while (end - at >= STRIDE &&
           memcmp(&slots[at], &slots[at - 1], STRIDE * sizeof(slots[0])) == 0) {
        at += STRIDE;
    }
    while (at < end && slots[at] == slots[from]) {
        at++;
    }
    return at;
}

void kw_map_run_fill(uint16_t *slots, size_t from, size_t end, uint16_t value)
{
    size_t at = from;
    while (at < end && at < from + STRIDE) {
        slots[at++] = value;
    }
    while (at < end) {
        size_t n = at - from < end - at ? at - from : end - at;
        memcpy(&slots[at], &slots[from], n * sizeof(slots[0]));
        at += n;
    }
}
