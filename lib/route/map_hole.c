/* SPDX-License-Identifier: BSD-3-Clause */
/* The slots of a map that have no owner. */
#include "route/map.h"

kw_map_hole kw_map_hole_at(const kw_map *map, unsigned slot)
{
    kw_map_hole hole = {0, 0, 0};
    unsigned at = 0;
    while (at < KW_SLOTS_N) {
        unsigned first = at;
        while (at < KW_SLOTS_N && kw_map_shard_of(map, at) == KW_MAP_NO_SHARD) {
            at++;
        }
        if (at == first) {
            at++;
            continue;
        }
        if (hole.slots_n == 0 || (first <= slot && slot < at)) {
            hole.first = first;
            hole.last = at - 1;
        }
        hole.slots_n += at - first;
    }
    return hole;
}
