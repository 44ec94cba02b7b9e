/* SPDX-License-Identifier: BSD-3-Clause */
#include "route/places.h"

kw_places *kw_places_new(const kw_allocator *mem, size_t n)
{
    kw_places *places = kw_mem_alloc(mem, sizeof(*places) + n * sizeof(places->at[0]));
    if (places != NULL) {
        places->mem = *mem;
        places->is_torn = false;
        places->n = n;
    }
    return places;
}

void kw_places_free(kw_places *places)
{
    if (places != NULL) {
        kw_allocator mem = places->mem;
        kw_mem_free(&mem, places);
    }
}

size_t kw_keys_count(const kw_keys *keys)
{
    size_t n = 0;
    for (size_t r = 0; r < keys->ranges_n; r++) {
        n += keys->ranges[r].count;
    }
    return n;
}

kw_bytes kw_keys_at(const kw_keys *keys, const kw_bytes *argv, size_t index)
{
    size_t r = 0;
    while (index >= keys->ranges[r].count) {
        index -= keys->ranges[r++].count;
    }
    return argv[keys->ranges[r].at + index * keys->ranges[r].step];
}
