/* SPDX-License-Identifier: BSD-3-Clause */
/* spread, whatif: shares of a ring's members, and what a change would move. No server is asked. */
#include "program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BAR_COLUMNS 32

static int need_ring(kw_ring **ring, kw_client **client, const app *self)
{
    kw_error error = KW_ERROR_INIT;
    *ring = NULL;
    *client = client_open(self, self->uri);
    if (*client != NULL && (*ring = kw_client_ring(*client, &error)) == NULL) {
        fprintf(stderr, "keyway %s: %s\n", self->command, error.text);
        kw_close(*client);
    }
    return *ring != NULL ? STATUS_GOOD : STATUS_USAGE;
}

static double weights_of(const kw_ring *ring)
{
    double sum = 0;
    for (uint32_t i = 0; i < kw_ring_nodes_n(ring); i++) {
        sum += kw_ring_node_weight(ring, i);
    }
    return sum > 0 ? sum : 1;
}

/* A row of the member's share; how far it is off its weight, as a part of what that would be. */
static double add_share(table *rows, const kw_ring *ring, uint32_t i)
{
    char text[UNIT_TEXT];
    char bar[BAR_TEXT];
    size_t len;
    const char *name = kw_ring_node_name(ring, &len, i);
    double share = kw_ring_node_share(ring, i);
    double fair = kw_ring_node_weight(ring, i) / weights_of(ring);
    double off = fair > 0 ? share / fair - 1 : 0;
    table_bytes(rows, PLAIN, name, len);
    table_number(rows, PLAIN, kw_ring_node_weight(ring, i), NULL);
    table_number(rows, PLAIN, share, unit_share(text, share));
    snprintf(text, sizeof(text), "%+.1f %%", off * 100);
    table_number(rows, FAINT, off, text);
    table_text(rows, CYAN, "%s", unit_bar(bar, BAR_COLUMNS, share));
    return off < 0 ? -off : off;
}

/* The ring's nodes with another number of points for each; NULL, and said. */
static kw_ring *ring_of_vnodes(const kw_ring *ring, unsigned vnodes)
{
    char placement[32];
    kw_error error = KW_ERROR_INIT;
    snprintf(placement, sizeof(placement), "kw1/v%u", vnodes);
    kw_ring_change *change = kw_ring_change_new(placement, &error, NULL);
    for (uint32_t i = 0; change != NULL && i < kw_ring_nodes_n(ring); i++) {
        size_t len;
        const char *name = kw_ring_node_name(ring, &len, i);
        (void)kw_ring_change_add(change, &error, name, len, kw_ring_node_weight(ring, i));
    }
    kw_ring *made = change != NULL ? kw_ring_change_commit(change, &error) : NULL;
    if (made == NULL) {
        fprintf(stderr, "keyway: %s\n", error.text);
    }
    kw_ring_change_free(change);
    return made;
}

static void add_vnodes(table *rows, const kw_ring *ring, unsigned vnodes)
{
    kw_ring *made = ring_of_vnodes(ring, vnodes);
    if (made == NULL) {
        return;
    }
    double most = 0;
    double least = 1e9;
    for (uint32_t i = 0; i < kw_ring_nodes_n(made); i++) {
        double fair = kw_ring_node_weight(made, i) / weights_of(made);
        double load = fair > 0 ? kw_ring_node_share(made, i) / fair : 1;
        most = load > most ? load : most;
        least = load < least ? load : least;
    }
    char text[UNIT_TEXT];
    char bar[BAR_TEXT];
    table_number(rows, PLAIN, vnodes, NULL);
    table_number(rows, PLAIN, least, unit_share(text, least));
    table_number(rows, PLAIN, most, unit_share(text, most));
    table_text(rows,
               most > 1.5   ? RED
               : most > 1.2 ? YELLOW
                            : GREEN,
               "%s", unit_bar(bar, BAR_COLUMNS, most / 4));
    kw_ring_unref(made);
}

int run_spread(app *self)
{
    static const column shares[] = {{"MEMBER", "member", false},
                                    {"WEIGHT", "weight", true},
                                    {"SHARE", "share", true},
                                    {"OFF", "off", true},
                                    {"", NULL, false}};
    static const column loads[] = {{"VNODES", "vnodes", true},
                                   {"LEAST", "least", true},
                                   {"MOST", "most", true},
                                   {"", NULL, false}};
    kw_ring *ring;
    kw_client *client;
    bool has_vnodes = args_flag(self, "--vnodes");
    uint64_t within = args_number(self, "--within", UINT64_MAX);
    if (!args_end(self, 0, 0) || need_ring(&ring, &client, self) != STATUS_GOOD) {
        return STATUS_USAGE;
    }
    json_open(self);
    json_text(self, "placement", kw_ring_placement(ring));
    table *rows = table_new(shares, 5);
    size_t off_n = 0;
    for (uint32_t i = 0; i < kw_ring_nodes_n(ring); i++) {
        off_n += add_share(rows, ring, i) * 100 > (double)within ? 1 : 0;
    }
    table_print(rows, self, "members");
    if (within != UINT64_MAX) {
        json_number(self, "members_off", (double)off_n);
        say_painted(self, off_n > 0 ? RED : GREEN,
                    "\n%zu of %u are further off than %" PRIu64 " %%\n", off_n,
                    kw_ring_nodes_n(ring), within);
    }
    if (has_vnodes) {
        say(self, "\nLoad of the members that have least and most, against their weights, with "
                  "kw1:\n");
        rows = table_new(loads, 4);
        for (unsigned vnodes = 1; vnodes <= 512; vnodes *= 2) {
            add_vnodes(rows, ring, vnodes);
        }
        table_print(rows, self, "vnodes");
    }
    json_close(self);
    kw_ring_unref(ring);
    kw_close(client);
    return off_n > 0 ? STATUS_FOUND : STATUS_GOOD;
}

/* Does what the words say to the change. */
static kw_err change(app *self, kw_members *members, kw_error *error, uint64_t weight)
{
    const char *what = self->argv[0];
    const char *name = self->argv[1];
    if (strcmp(what, "add") == 0) {
        return kw_members_add(members, error, name);
    }
    if (strcmp(what, "remove") == 0) {
        return kw_members_remove(members, error, name, strlen(name));
    }
    return kw_members_reweight(members, error, name, strlen(name), (uint32_t)weight);
}

/* The part of all keys that would move if the ring were by modulo of the number of nodes. */
static double moved_by_modulo(const kw_ring *from, const kw_ring *to)
{
    const kw_ring *const rings[] = {from, to};
    kw_ring *made[2] = {NULL, NULL};
    double moved = 1;
    for (int k = 0; k < 2; k++) {
        kw_ring_change *of = kw_ring_change_new("modulo", NULL, NULL);
        for (uint32_t i = 0; of != NULL && i < kw_ring_nodes_n(rings[k]); i++) {
            size_t len;
            const char *name = kw_ring_node_name(rings[k], &len, i);
            (void)kw_ring_change_add(of, NULL, name, len, kw_ring_node_weight(rings[k], i));
        }
        made[k] = of != NULL ? kw_ring_change_commit(of, NULL) : NULL;
        kw_ring_change_free(of);
    }
    if (made[0] == NULL || made[1] == NULL ||
        kw_ring_moved(made[0], NULL, &moved, made[1]) != KW_OK) {
        moved = 1;
    }
    kw_ring_unref(made[0]);
    kw_ring_unref(made[1]);
    return moved;
}

static double share_of(const kw_ring *ring, const char *name, size_t len)
{
    uint32_t at;
    return kw_ring_find(ring, &at, name, len) == KW_OK ? kw_ring_node_share(ring, at) : 0;
}

static void add_before_and_after(table *rows, const kw_ring *from, const kw_ring *to,
                                 const char *name, size_t len)
{
    char text[UNIT_TEXT];
    double before = share_of(from, name, len);
    double after = share_of(to, name, len);
    table_bytes(rows, PLAIN, name, len);
    table_number(rows, PLAIN, before, unit_share(text, before));
    table_number(rows, PLAIN, after, unit_share(text, after));
    snprintf(text, sizeof(text), "%+.1f %%", (after - before) * 100);
    table_number(rows, after > before ? GREEN : after < before ? RED : FAINT, after - before, text);
}

static void show_change(app *self, const kw_ring *from, const kw_ring *to)
{
    static const column columns[] = {{"MEMBER", "member", false},
                                     {"BEFORE", "before", true},
                                     {"AFTER", "after", true},
                                     {"CHANGE", "change", true}};
    table *rows = table_new(columns, 4);
    for (uint32_t i = 0; i < kw_ring_nodes_n(from); i++) {
        size_t len;
        const char *name = kw_ring_node_name(from, &len, i);
        add_before_and_after(rows, from, to, name, len);
    }
    for (uint32_t i = 0; i < kw_ring_nodes_n(to); i++) {
        uint32_t at;
        size_t len;
        const char *name = kw_ring_node_name(to, &len, i);
        if (kw_ring_find(from, &at, name, len) != KW_OK) {
            add_before_and_after(rows, from, to, name, len);
        }
    }
    char text[UNIT_TEXT];
    double moved = 0;
    double by_modulo = moved_by_modulo(from, to);
    json_open(self);
    json_text(self, "placement", kw_ring_placement(from));
    table_print(rows, self, "members");
    (void)kw_ring_moved(from, NULL, &moved, to);
    json_number(self, "moved", moved);
    json_number(self, "moved_by_modulo", by_modulo);
    json_close(self);
    say(self, "\n%s of the keys move", unit_share(text, moved));
    say(self, "; by modulo it would be %s\n", unit_share(text, by_modulo));
}

int run_whatif(app *self)
{
    if (!args_end(self, 2, 3)) {
        return STATUS_USAGE;
    }
    bool is_reweight = strcmp(self->argv[0], "reweight") == 0;
    bool is_known =
        is_reweight || strcmp(self->argv[0], "add") == 0 || strcmp(self->argv[0], "remove") == 0;
    if (!is_known || self->argc != (is_reweight ? 3 : 2)) {
        return args_usage(self, "add, remove or reweight what?");
    }
    uint64_t weight = 0;
    if (is_reweight && (!read_number(&weight, self->argv[2]) || weight > UINT32_MAX)) {
        return args_usage(self, "%s: that is no weight", self->argv[2]);
    }
    kw_ring *from;
    kw_client *client;
    if (need_ring(&from, &client, self) != STATUS_GOOD) {
        return STATUS_USAGE;
    }
    kw_error error = KW_ERROR_INIT;
    kw_ring *to = NULL;
    kw_members *members = kw_members_begin(client, &error);
    if (members != NULL && change(self, members, &error, weight) == KW_OK) {
        to = kw_members_ring(members, &error);
    }
    if (to != NULL) {
        show_change(self, from, to);
    } else {
        fprintf(stderr, "keyway %s: %s\n", self->command, error.text);
    }
    bool is_good = to != NULL;
    kw_ring_unref(to);
    kw_members_free(members);
    kw_ring_unref(from);
    kw_close(client);
    return is_good ? STATUS_GOOD : STATUS_FOUND;
}
