/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads ids of processes and replication histories, remembers some, and compares them. */
#include "engine/lineage.h"

#include <stdbool.h>
#include <string.h>

static void add(kw_lineage *lineage, uint64_t id)
{
    size_t at = 0;
    while (at < lineage->n && lineage->ids[at] != id) {
        at++;
    }
    if (at == lineage->n && lineage->n < KW_LINEAGE_MAX) {
        lineage->n++;
    }
    at = at < KW_LINEAGE_MAX ? at : KW_LINEAGE_MAX - 1;
    memmove(&lineage->ids[1], &lineage->ids[0], at * sizeof(lineage->ids[0]));
    lineage->ids[0] = id;
}

/* No second history: an id of zeros. */
static bool is_empty(kw_bytes id)
{
    for (size_t i = 0; i < id.len; i++) {
        if (id.data[i] != '0') {
            return false;
        }
    }
    return true;
}

void kw_lineage_read(kw_lineage *said, kw_bytes info)
{
    kw_bytes name;
    kw_bytes value;
    while (kw_bytes_next_field(&name, &value, &info)) {
        if (!is_empty(value) && (kw_bytes_equal(name, kw_bytes_of("run_id")) ||
                                 kw_bytes_equal(name, kw_bytes_of("master_replid")) ||
                                 kw_bytes_equal(name, kw_bytes_of("master_replid2")))) {
            add(said, kw_bytes_id(value));
        }
    }
}

kw_kinship kw_lineage_kinship(const kw_lineage *known, const kw_lineage *said)
{
    for (size_t i = 0; i < said->n; i++) {
        for (size_t k = 0; k < known->n; k++) {
            if (said->ids[i] == known->ids[k]) {
                return KW_KINSHIP_COMMON;
            }
        }
    }
    return known->n > 0 && said->n > 0 ? KW_KINSHIP_NONE : KW_KINSHIP_UNKNOWN;
}

void kw_lineage_learn(kw_lineage *known, const kw_lineage *said)
{
    for (size_t i = said->n; i > 0; i--) {
        add(known, said->ids[i - 1]);
    }
}
