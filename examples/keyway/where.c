/* SPDX-License-Identifier: BSD-3-Clause */
/* slot, why: how keys find their owners. No server is asked but for the map of a cluster. */
#include "program.h"

#include <inttypes.h>
#include <string.h>

/* Owners behind the first that are shown. */
#define NEXT_MAX 4

/* Who places keys: a ring that the URI spells out, or slots, whose owners a cluster knows. */
typedef struct place {
    kw_client *client; /* NULL: slots without owners */
    kw_ring *ring;     /* NULL: slots */
    bool is_missing;   /* an owner could not be had, and why was said */
} place;

static bool place_open(place *self, const app *program)
{
    memset(self, 0, sizeof(*self));
    if (program->uri == NULL) {
        return true;
    }
    self->client = client_open(program, program->uri);
    self->ring = self->client != NULL ? kw_client_ring(self->client, NULL) : NULL;
    return self->client != NULL;
}

static void place_close(place *self)
{
    kw_ring_unref(self->ring);
    kw_close(self->client);
}

static void add_tag(table *rows, const char *key, size_t key_len)
{
    size_t len;
    const char *tag = kw_hash_tag(key, key_len, &len);
    if (len == key_len) {
        table_none(rows);
    } else {
        table_bytes(rows, PLAIN, tag, len);
    }
}

/* "host:port" of the owner, "" where it is not known. */
static void find_owner(place *self, char *owner, size_t owner_len, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    owner[0] = '\0';
    if (self->client == NULL || self->is_missing) {
        return;
    }
    if (kw_client_key_node(self->client, &error, owner, owner_len, key, strlen(key)) != KW_OK) {
        fprintf(stderr, "keyway: %s\n", error.text);
        self->is_missing = true;
        owner[0] = '\0';
    }
}

static void add_slot(place *self, table *rows, const char *key)
{
    char owner[256];
    table_bytes(rows, PLAIN, key, strlen(key));
    add_tag(rows, key, strlen(key));
    table_number(rows, PLAIN, kw_slot(key, strlen(key)), NULL);
    find_owner(self, owner, sizeof(owner), key);
    if (owner[0] != '\0') {
        table_text(rows, CYAN, "%s", owner);
    } else {
        table_none(rows);
    }
}

static void add_point(place *self, table *rows, const char *key)
{
    uint32_t nodes[1];
    table_bytes(rows, PLAIN, key, strlen(key));
    add_tag(rows, key, strlen(key));
    char text[24];
    uint64_t hash = kw_ring_hash(self->ring, key, strlen(key));
    snprintf(text, sizeof(text), "%012" PRIx64, hash);
    table_text(rows, PLAIN, "%s", text);
    if (kw_ring_preference(self->ring, nodes, 1, key, strlen(key)) == 1) {
        size_t len;
        const char *name = kw_ring_node_name(self->ring, &len, nodes[0]);
        table_bytes(rows, CYAN, name, len);
    } else {
        table_none(rows);
    }
}

int run_slot(app *self)
{
    static const column slots[] = {{"KEY", "key", false},
                                   {"TAG", "tag", false},
                                   {"SLOT", "slot", true},
                                   {"OWNER", "owner", false}};
    static const column points[] = {{"KEY", "key", false},
                                    {"TAG", "tag", false},
                                    {"POINT", "point", true},
                                    {"OWNER", "owner", false}};
    place where;
    if (!args_end(self, 1, 1000000) || !place_open(&where, self)) {
        return STATUS_USAGE;
    }
    table *rows = table_new(where.ring != NULL ? points : slots, 4);
    for (int i = 0; i < self->argc; i++) {
        if (where.ring != NULL) {
            add_point(&where, rows, self->argv[i]);
        } else {
            add_slot(&where, rows, self->argv[i]);
        }
    }
    json_open(self);
    table_print(rows, self, "keys");
    json_close(self);
    place_close(&where);
    return where.is_missing ? STATUS_FOUND : STATUS_GOOD;
}

static void step(table *rows, const char *what, const char *value, const char *because)
{
    table_text(rows, FAINT, "%s", what);
    table_text(rows, BOLD, "%s", value);
    table_text(rows, PLAIN, "%s", because);
}

static void explain_tag(table *rows, const char *key)
{
    char shown[200];
    size_t len;
    const char *tag = kw_hash_tag(key, strlen(key), &len);
    snprintf(shown, sizeof(shown), "%.*s", (int)(len < 199 ? len : 199), tag);
    step(rows, "tag", shown,
         len == strlen(key) ? "no {tag} in it: all of the key is hashed"
                            : "what stands between the first { and the next } is hashed");
}

static void explain_slot(place *self, table *rows, const char *key)
{
    char text[64];
    char owner[256];
    snprintf(text, sizeof(text), "%u", kw_slot(key, strlen(key)));
    step(rows, "slot", text, "CRC16 of that, modulo 16384");
    find_owner(self, owner, sizeof(owner), key);
    step(rows, "owner", owner[0] != '\0' ? owner : "-",
         owner[0] != '\0'       ? "by the map that the servers give"
         : self->client == NULL ? "no URI: nobody was asked"
                                : "it could not be had");
}

static void explain_point(place *self, table *rows, const char *key)
{
    char text[64];
    uint32_t nodes[NEXT_MAX];
    snprintf(text, sizeof(text), "%012" PRIx64, kw_ring_hash(self->ring, key, strlen(key)));
    step(rows, "point", text, kw_ring_placement(self->ring));
    size_t n = kw_ring_preference(self->ring, nodes, NEXT_MAX, key, strlen(key));
    for (size_t i = 0; i < n; i++) {
        step(rows, i == 0 ? "owner" : "next", kw_ring_node_name(self->ring, NULL, nodes[i]),
             i == 0 ? "the first point at or after it" : "clockwise behind it, if that is down");
    }
}

int run_why(app *self)
{
    static const column columns[] = {
        {"STEP", "step", false}, {"VALUE", "value", false}, {"BECAUSE", "because", false}};
    place where;
    if (!args_end(self, 1, 1000) || !place_open(&where, self)) {
        return STATUS_USAGE;
    }
    json_open(self);
    for (int i = 0; i < self->argc; i++) {
        table *rows = table_new(columns, 3);
        step(rows, "key", self->argv[i], "as it was given");
        explain_tag(rows, self->argv[i]);
        if (where.ring != NULL) {
            explain_point(&where, rows, self->argv[i]);
        } else {
            explain_slot(&where, rows, self->argv[i]);
        }
        say(self, i > 0 ? "\n" : "");
        char name[32];
        snprintf(name, sizeof(name), self->argc > 1 ? "steps_%d" : "steps", i + 1);
        table_print(rows, self, name);
    }
    json_close(self);
    place_close(&where);
    return where.is_missing ? STATUS_FOUND : STATUS_GOOD;
}
