/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose map it is: the ids of a cluster's nodes, compared between maps. */
#include "route/map.h"

bool kw_map_has_id(const kw_map *map, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < kw_map_nodes_n(map); i++) {
        if (kw_map_member_at(map, i)->id == id) {
            return true;
        }
    }
    return false;
}

static bool has_ids(const kw_map *map)
{
    for (size_t i = 0; i < kw_map_nodes_n(map); i++) {
        if (kw_map_member_at(map, i)->id != 0) {
            return true;
        }
    }
    return false;
}

kw_kinship kw_map_kinship(const kw_map *known, const kw_map *other)
{
    if (!has_ids(known) || !has_ids(other)) {
        return KW_KINSHIP_UNKNOWN;
    }
    for (size_t i = 0; i < kw_map_nodes_n(other); i++) {
        if (kw_map_has_id(known, kw_map_member_at(other, i)->id)) {
            return KW_KINSHIP_COMMON;
        }
    }
    return KW_KINSHIP_NONE;
}
