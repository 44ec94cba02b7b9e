/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads INFO replication, and compares a replica's offset with its primary's earlier ones. */
#include "engine/lag.h"

#include "engine/read_preference.h"

#include <string.h>

/* Bits of reading.has: the lines of INFO that were found. */
#define HAS_ROLE           1u
#define HAS_LINK           2u
#define HAS_REPLID         4u
#define HAS_PRIMARY_OFFSET 8u
#define HAS_REPLICA_OFFSET 16u

#define PRIMARY_NEEDS (HAS_ROLE | HAS_REPLID | HAS_PRIMARY_OFFSET)
#define REPLICA_NEEDS (HAS_ROLE | HAS_LINK | HAS_REPLID | HAS_REPLICA_OFFSET)

typedef struct reading {
    kw_replication found;
    uint64_t primary_offset; /* the two lines of which one is the offset, by the role */
    uint64_t replica_offset;
    unsigned has;
} reading;

static bool is_named(kw_bytes name, const char *text)
{
    return kw_bytes_equal(name, kw_bytes_of(text));
}

static void read_line(reading *self, kw_bytes name, kw_bytes value)
{
    if (is_named(name, "role")) {
        self->found.is_primary = is_named(value, "master");
        self->has |= self->found.is_primary || is_named(value, "slave") ? HAS_ROLE : 0;
    } else if (is_named(name, "master_link_status")) {
        self->found.is_linked = is_named(value, "up");
        self->has |= HAS_LINK;
    } else if (is_named(name, "master_replid") && value.len > 0 && value.len <= KW_REPLID_MAX) {
        memcpy(self->found.replid, value.data, value.len);
        self->found.replid[value.len] = '\0';
        self->has |= HAS_REPLID;
    } else if (is_named(name, "master_repl_offset") &&
               kw_bytes_to_uint(&self->primary_offset, value, INT64_MAX)) {
        self->has |= HAS_PRIMARY_OFFSET;
    } else if (is_named(name, "slave_repl_offset") &&
               kw_bytes_to_uint(&self->replica_offset, value, INT64_MAX)) {
        self->has |= HAS_REPLICA_OFFSET;
    }
}

bool kw_replication_parse(kw_replication *out, kw_bytes info)
{
    reading self;
    kw_bytes name;
    kw_bytes value;
    memset(&self, 0, sizeof(self));
    while (kw_bytes_next_field(&name, &value, &info)) {
        read_line(&self, name, value);
    }
    unsigned needs = self.found.is_primary ? PRIMARY_NEEDS : REPLICA_NEEDS;
    if ((self.has & needs) != needs) {
        return false;
    }
    self.found.offset = self.found.is_primary ? self.primary_offset : self.replica_offset;
    *out = self.found;
    return true;
}

uint64_t kw_replid_hash(const char *replid)
{
    return kw_zone_hash(kw_bytes_of(replid));
}

static size_t last_of(const kw_lag_history *history)
{
    return (history->next + KW_LAG_SAMPLES_N - 1) % KW_LAG_SAMPLES_N;
}

void kw_lag_history_add(kw_lag_history *history, const kw_replication *primary, uint64_t asked_ns)
{
    size_t last = last_of(history);
    bool is_same = history->n > 0 && strcmp(history->replid, primary->replid) == 0 &&
                   primary->offset >= history->offsets[last];
    if (!is_same) {
        memset(history, 0, sizeof(*history));
        memcpy(history->replid, primary->replid, sizeof(history->replid));
    } else if (primary->offset == history->offsets[last]) {
        history->asked_ns[last] = asked_ns;
        return;
    }
    history->asked_ns[history->next] = asked_ns;
    history->offsets[history->next] = primary->offset;
    history->next = (history->next + 1) % KW_LAG_SAMPLES_N;
    history->n += history->n < KW_LAG_SAMPLES_N ? 1 : 0;
}

uint64_t kw_lag_known_ns(const kw_lag_history *history, const kw_replication *replica)
{
    if (replica->is_primary || !replica->is_linked ||
        strcmp(history->replid, replica->replid) != 0) {
        return 0;
    }
    for (size_t i = 1; i <= history->n; i++) {
        size_t at = (history->next + KW_LAG_SAMPLES_N - i) % KW_LAG_SAMPLES_N;
        if (history->offsets[at] <= replica->offset) {
            return history->asked_ns[at];
        }
    }
    return 0;
}
