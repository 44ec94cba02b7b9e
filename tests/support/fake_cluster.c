/* SPDX-License-Identifier: BSD-3-Clause */
/* What scripted servers answer to CLUSTER SLOTS and its like, from a described cluster. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/fake_parts.h"

static void add(fake_bytes *text, const char *format, ...) KW_FORMAT(2, 3);

static void add(fake_bytes *text, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fake_bytes_add(text, line, (size_t)len);
}

/* Node names are made of the fake's id, or port: 40 digits. */
static void add_slots_node(fake_bytes *text, kw_fake *node)
{
    add(text, "*4\r\n$9\r\n127.0.0.1\r\n:%u\r\n$40\r\n%040u\r\n*0\r\n", kw_fake_port(node),
        kw_fake_id(node));
}

static void add_shards_node(fake_bytes *text, kw_fake *node, bool is_primary)
{
    add(text,
        "*14\r\n$2\r\nid\r\n$40\r\n%040u\r\n$4\r\nport\r\n:%u\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n"
        "$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n$4\r\nrole\r\n%s\r\n$18\r\nreplication-offset\r\n"
        ":100\r\n$6\r\nhealth\r\n$6\r\nonline\r\n",
        kw_fake_id(node), kw_fake_port(node), is_primary ? "$6\r\nmaster" : "$7\r\nreplica");
}

static void make_slots(fake_bytes *text, const kw_fake_range *ranges, size_t ranges_n)
{
    add(text, "*%lu\r\n", (unsigned long)ranges_n);
    for (size_t i = 0; i < ranges_n; i++) {
        const kw_fake_range *range = &ranges[i];
        add(text, "*%d\r\n:%u\r\n:%u\r\n", range->replica != NULL ? 4 : 3, range->first,
            range->last);
        add_slots_node(text, range->primary);
        if (range->replica != NULL) {
            add_slots_node(text, range->replica);
        }
    }
}

/* Whether a range is the first of its primary, and how many it has. */
static bool is_first_of(const kw_fake_range *ranges, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (ranges[i].primary == ranges[index].primary) {
            return false;
        }
    }
    return true;
}

static void make_shards(fake_bytes *text, const kw_fake_range *ranges, size_t ranges_n)
{
    unsigned long shards_n = 0;
    for (size_t i = 0; i < ranges_n; i++) {
        shards_n += is_first_of(ranges, i);
    }
    add(text, "*%lu\r\n", shards_n);
    for (size_t i = 0; i < ranges_n; i++) {
        unsigned long own = 0;
        if (!is_first_of(ranges, i)) {
            continue;
        }
        for (size_t j = i; j < ranges_n; j++) {
            own += ranges[j].primary == ranges[i].primary;
        }
        add(text, "*4\r\n$5\r\nslots\r\n*%lu\r\n", own * 2);
        for (size_t j = i; j < ranges_n; j++) {
            if (ranges[j].primary == ranges[i].primary) {
                add(text, ":%u\r\n:%u\r\n", ranges[j].first, ranges[j].last);
            }
        }
        add(text, "$5\r\nnodes\r\n*%d\r\n", ranges[i].replica != NULL ? 2 : 1);
        add_shards_node(text, ranges[i].primary, true);
        if (ranges[i].replica != NULL) {
            add_shards_node(text, ranges[i].replica, false);
        }
    }
}

void kw_fake_set_cluster(kw_fake *const *fakes, size_t fakes_n, const kw_fake_range *ranges,
                         size_t ranges_n)
{
    fake_bytes slots = {NULL, 0, 0, 0};
    fake_bytes shards = {NULL, 0, 0, 0};
    make_slots(&slots, ranges, ranges_n);
    make_shards(&shards, ranges, ranges_n);
    fake_bytes_add(&slots, "", 1);
    fake_bytes_add(&shards, "", 1);
    for (size_t i = 0; i < fakes_n; i++) {
        kw_fake_set_map(fakes[i], slots.data, shards.data);
    }
    free(slots.data);
    free(shards.data);
}

void kw_fake_start_all(kw_fake **fakes, size_t fakes_n)
{
    for (size_t i = 0; i < fakes_n; i++) {
        fakes[i] = kw_fake_start();
    }
}

void kw_fake_free_all(kw_fake **fakes, size_t fakes_n)
{
    for (size_t i = 0; i < fakes_n; i++) {
        kw_fake_free(fakes[i]);
    }
}

void kw_fake_renew_all(kw_fake *const *fakes, size_t fakes_n)
{
    for (size_t i = 0; i < fakes_n; i++) {
        kw_fake_up(fakes[i]);
        kw_fake_reset(fakes[i]);
        kw_fake_log_clear(fakes[i]);
    }
}

void kw_fake_halves(kw_fake *const *fakes, size_t fakes_n)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_renew_all(fakes, fakes_n);
    kw_fake_set_cluster(fakes, fakes_n, ranges, 2);
}
