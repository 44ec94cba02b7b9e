/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a read preference as options and calls give it. */
#include "engine/read_preference.h"

uint64_t kw_zone_hash(kw_bytes name)
{
    return kw_bytes_id(name);
}

bool kw_read_preference_parse(kw_read_preference *read, uint64_t *zone, kw_bytes text)
{
    static const char *const words[] = {"primary", "prefer-replica", "replica", "nearest"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (kw_bytes_equal(text, kw_bytes_of(words[i]))) {
            *read = (kw_read_preference)i;
            return true;
        }
    }
    kw_bytes head;
    kw_bytes name;
    if (!kw_bytes_split(&head, &name, text, ':') || !kw_bytes_equal(head, kw_bytes_of("zone")) ||
        name.len == 0) {
        return false;
    }
    *read = KW_READ_OF_ZONE;
    *zone = kw_zone_hash(name);
    return true;
}
