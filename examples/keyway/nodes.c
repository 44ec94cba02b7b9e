/* SPDX-License-Identifier: BSD-3-Clause */
/* nodes: every node of the map, and what it says of itself. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* The shortest of so many PINGs is what a node is away. */
#define PINGS_N 3

static double ping(kw_client *client, const char *node)
{
    static const char *const words[] = {"PING", NULL};
    double best = 0;
    for (int i = 0; i < PINGS_N; i++) {
        uint64_t begun_ns = now_ns();
        kw_reply *reply = client_ask(client, NULL, node, words);
        double took = (double)(now_ns() - begun_ns);
        best = reply != NULL && (best == 0 || took < best) ? took : best;
        kw_reply_free(reply);
    }
    return best;
}

static double slots_of(kw_client *client, size_t number, char *text, size_t text_len)
{
    size_t n = 0;
    double slots = 0;
    size_t len = 0;
    text[0] = '\0';
    static kw_slot_range ranges[KW_SLOTS_N];
    (void)kw_client_node_slots(client, ranges, KW_SLOTS_N, &n, number);
    for (size_t i = 0; i < n; i++) {
        slots += ranges[i].last - ranges[i].first + 1;
        if (len + 16 < text_len) {
            len += (size_t)snprintf(text + len, text_len - len, "%s%u-%u", i > 0 ? "," : "",
                                    ranges[i].first, ranges[i].last);
        }
    }
    return slots;
}

/* The share of a cluster's primary and its slots, or of a ring's member and its name. */
static void add_place(table *rows, kw_client *client, const kw_node_stats *node, size_t number)
{
    char text[UNIT_TEXT];
    char ranges[160];
    double slots = slots_of(client, number, ranges, sizeof(ranges));
    if (node->member_len > 0) {
        table_number(rows, PLAIN, node->share, unit_share(text, node->share));
        table_bytes(rows, PLAIN, node->member, node->member_len);
    } else if (slots > 0) {
        table_number(rows, PLAIN, slots / KW_SLOTS_N, unit_share(text, slots / KW_SLOTS_N));
        table_text(rows, PLAIN, "%s", ranges);
    } else {
        table_none(rows);
        table_none(rows);
    }
}

static void add_lag(table *rows, kw_client *client, const kw_node_stats *node, const kw_reply *info)
{
    static const char *const words[] = {"INFO", "replication", NULL};
    char text[UNIT_TEXT];
    if (node->is_primary) {
        table_none(rows);
        return;
    }
    kw_reply *primary = client_ask(client, NULL, node->primary, words);
    double lag =
        info_number(primary, "master_repl_offset") - info_number(info, "slave_repl_offset");
    kw_reply_free(primary);
    table_number(rows, lag > 1e6 ? YELLOW : PLAIN, lag > 0 ? lag : 0,
                 unit_bytes(text, lag > 0 ? lag : 0));
}

static void add_state(table *rows, const kw_node_stats *node, const kw_reply *info,
                      const kw_error *error)
{
    char link[16];
    if (info == NULL || kw_reply_is_error(info)) {
        table_text(rows, RED, "%s", info == NULL ? kw_err_name(error->code) + 7 : "refuses INFO");
    } else if (node->is_down) {
        table_text(rows, RED, "down");
    } else if (info_number(info, "loading") > 0) {
        table_text(rows, YELLOW, "loading");
    } else if (info_text(link, sizeof(link), info, "master_link_status") != NULL &&
               strcmp(link, "up") != 0) {
        table_text(rows, RED, "without its primary");
    } else {
        table_text(rows, GREEN, "ok");
    }
}

/* Figures of INFO; dashes where there are none. */
static void add_figures(table *rows, kw_client *client, const char *name, const kw_reply *info)
{
    static const char *const words[] = {"DBSIZE", NULL};
    char text[UNIT_TEXT];
    if (info == NULL || kw_reply_is_error(info)) {
        for (int i = 0; i < 3; i++) {
            table_none(rows);
        }
        return;
    }
    kw_reply *size = client_ask(client, NULL, name, words);
    double keys = (double)kw_reply_int(size);
    kw_reply_free(size);
    table_number(rows, PLAIN, keys, unit_count(text, keys));
    double memory = info_number(info, "used_memory");
    table_number(rows, PLAIN, memory, unit_bytes(text, memory));
    double away = ping(client, name);
    table_number(rows, PLAIN, away, unit_time(text, away));
}

/* False where the node has not answered; one that refuses the login has. */
static bool add_node(table *rows, kw_client *client, const fleet *all, size_t at, bool *is_bad)
{
    static const char *const words[] = {"INFO", NULL};
    const kw_node_stats *node = &all->nodes[at];
    const char *name = node_name(node);
    kw_error error = KW_ERROR_INIT;
    char version[32];
    kw_reply *info = client_ask(client, &error, name, words);
    table_text(rows, node->is_primary ? BOLD : PLAIN, "%s%s", "", name);
    table_text(rows, PLAIN, "%s", node->is_primary ? "primary" : "replica");
    if (node->is_primary) {
        table_none(rows);
    } else {
        table_text(rows, PLAIN, "%s", node->primary);
    }
    add_place(rows, client, node, all->numbers[at]);
    add_figures(rows, client, name, info);
    if (info != NULL && !kw_reply_is_error(info)) {
        add_lag(rows, client, node, info);
        const char *known = info_text(version, sizeof(version), info, "valkey_version");
        known = known != NULL ? known : info_text(version, sizeof(version), info, "redis_version");
        table_text(rows, FAINT, "%s", known != NULL ? known : "?");
    } else {
        table_none(rows);
        table_none(rows);
        *is_bad = true;
        (void)kw_reply_outcome(info, &error);
        bool is_named = strstr(error.text, name) != NULL;
        fprintf(stderr, "keyway nodes: %s%s%s\n", is_named ? "" : name, is_named ? "" : ": ",
                error.text);
    }
    add_state(rows, node, info, &error);
    kw_reply_free(info);
    return info != NULL || error.code == KW_ERR_AUTH;
}

int run_nodes(app *self)
{
    static const column columns[] = {
        {"NODE", "node", false},       {"ROLE", "role", false},   {NULL, "primary", false},
        {"SHARE", "share", true},      {"SLOTS", "slots", false}, {"KEYS", "keys", true},
        {"MEMORY", "memory", true},    {"PING", "ping_ns", true}, {"LAG", "lag_bytes", true},
        {"VERSION", "version", false}, {"STATE", "state", false},
    };
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    kw_client *client = client_open(self, self->uri);
    kw_error error = KW_ERROR_INIT;
    fleet all = {NULL, NULL, 0};
    bool is_bad = client != NULL && kw_connect(client, &error) != KW_OK;
    if (client == NULL || !fleet_load(&all, client) || all.n == 0) {
        fprintf(stderr, client != NULL ? "keyway nodes: %s\n" : "%s",
                client != NULL ? error.text : "");
        fleet_free(&all);
        kw_close(client);
        return STATUS_USAGE;
    }
    table *rows = table_new(columns, sizeof(columns) / sizeof(columns[0]));
    bool is_answered = false;
    for (size_t i = 0; i < all.n; i++) {
        is_answered = add_node(rows, client, &all, i, &is_bad) || is_answered;
    }
    table_narrow(rows, "VERSION LAG SLOTS MEMORY PING ROLE");
    json_open(self);
    table_print(rows, self, "nodes");
    json_close(self);
    fleet_free(&all);
    kw_close(client);
    if (!is_answered) {
        return STATUS_USAGE;
    }
    return is_bad ? STATUS_FOUND : STATUS_GOOD;
}
