/* SPDX-License-Identifier: BSD-3-Clause */
/* check: looks for what is wrong: slots without an owner, nodes that disagree, replicas that are
 * missing or behind, refusals, TLS, versions, a URI of another kind than its servers. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* What was found, and by what it was looked for. */
typedef struct findings {
    app *program;
    table *rows;
    kw_client *client;
    fleet nodes;
    kw_reply **infos; /* INFO of each; NULL: none was had */
    uint64_t lag_max;
    uint64_t replicas_min;
    size_t faults_n;
} findings;

static void found(findings *self, const char *what, const char *node, const char *text)
{
    table_text(self->rows, RED, "fault");
    table_text(self->rows, BOLD, "%s", what);
    table_text(self->rows, PLAIN, "%s", node);
    table_text(self->rows, PLAIN, "%s", text);
    self->faults_n++;
}

static void well(findings *self, const char *what, const char *text)
{
    table_text(self->rows, GREEN, "ok");
    table_text(self->rows, BOLD, "%s", what);
    table_text(self->rows, FAINT, "%s", "all");
    table_text(self->rows, FAINT, "%s", text);
}

/* By which check it is told that a node, or all of them, did not answer. has_reply: it was the
 * server that refused. */
static const char *check_of(const kw_error *error, bool has_reply)
{
    /* A server may end TLS behind the handshake, too: when it looks for the program's certificate.
     */
    bool is_shaken = error->code == KW_ERR_HANDSHAKE && strstr(error->text, "TLS") != NULL;
    if (!has_reply && (is_shaken || strstr(error->text, "TLS: ") != NULL)) {
        return "tls";
    }
    bool is_login = error->code == KW_ERR_AUTH || error->code == KW_ERR_HANDSHAKE || has_reply;
    return is_login ? "login" : "reach";
}

/* Asks each for INFO: who refuses, or cannot be reached, is a fault. */
static void check_login(findings *self)
{
    static const char *const words[] = {"INFO", NULL};
    size_t before = self->faults_n;
    for (size_t i = 0; i < self->nodes.n; i++) {
        const char *name = node_name(&self->nodes.nodes[i]);
        kw_error error = KW_ERROR_INIT;
        self->infos[i] = client_ask(self->client, &error, name, words);
        if (kw_reply_outcome(self->infos[i], &error) == KW_OUTCOME_ERROR) {
            found(self, check_of(&error, self->infos[i] != NULL), name, error.text);
            kw_reply_free(self->infos[i]);
            self->infos[i] = NULL;
        }
    }
    if (self->faults_n == before && self->nodes.n > 0) {
        char text[80];
        snprintf(text, sizeof(text), "%zu nodes let in and answer", self->nodes.n);
        well(self, "login", text);
    }
}

/* Nodes of a cluster that are asked as if each were alone: they redirect most keys. */
static void check_kind(findings *self)
{
    for (size_t i = 0; i < self->nodes.n; i++) {
        if (self->infos[i] != NULL && info_number(self->infos[i], "cluster_enabled") > 0) {
            char text[200];
            const char *name = node_name(&self->nodes.nodes[i]);
            snprintf(text, sizeof(text),
                     "is a node of a cluster: check all of it by redis-cluster://%s", name);
            found(self, "topology", name, text);
        }
    }
}

/* Which slots have an owner by the map in use. */
static void check_holes(findings *self)
{
    static unsigned char has_owner[KW_SLOTS_N];
    bool is_cluster = false;
    memset(has_owner, 0, sizeof(has_owner));
    for (size_t i = 0; i < self->nodes.n; i++) {
        size_t n = 0;
        static kw_slot_range ranges[KW_SLOTS_N];
        (void)kw_client_node_slots(self->client, ranges, KW_SLOTS_N, &n, self->nodes.numbers[i]);
        is_cluster = is_cluster || n > 0;
        for (size_t k = 0; k < n; k++) {
            memset(has_owner + ranges[k].first, 1, (size_t)(ranges[k].last - ranges[k].first) + 1);
        }
    }
    if (!is_cluster) {
        check_kind(self);
        return;
    }
    size_t before = self->faults_n;
    for (unsigned slot = 0; slot < KW_SLOTS_N;) {
        unsigned first = slot;
        while (slot < KW_SLOTS_N && has_owner[slot] == has_owner[first]) {
            slot++;
        }
        if (has_owner[first] == 0) {
            char text[80];
            snprintf(text, sizeof(text), "slots %u to %u have no owner", first, slot - 1);
            found(self, "holes", "", text);
        }
    }
    if (self->faults_n == before) {
        well(self, "holes", "16384 slots have owners");
    }
}

/* Slots and their primaries as one node tells them: owners[slot] is a number by the address. */
static bool read_slots(findings *self, const char *name, uint64_t owners[KW_SLOTS_N])
{
    static const char *const words[] = {"CLUSTER", "SLOTS", NULL};
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = client_ask(self->client, &error, name, words);
    bool is_told = reply != NULL && !kw_reply_is_error(reply);
    memset(owners, 0, KW_SLOTS_N * sizeof(owners[0]));
    for (size_t i = 0; is_told && i < kw_reply_count(reply); i++) {
        const kw_reply *range = kw_reply_at(reply, i);
        const kw_reply *primary = kw_reply_at(range, 2);
        long long first = kw_reply_int(kw_reply_at(range, 0));
        long long last = kw_reply_int(kw_reply_at(range, 1));
        size_t len = 0;
        const char *id = kw_reply_str(kw_reply_at(primary, 2), &len);
        uint64_t number = (uint64_t)kw_reply_int(kw_reply_at(primary, 1)) + 1;
        for (size_t k = 0; id != NULL && k < len; k++) {
            number = number * 31 + (unsigned char)id[k];
        }
        for (long long slot = first; slot >= 0 && slot <= last && slot < KW_SLOTS_N; slot++) {
            owners[slot] = number;
        }
    }
    kw_reply_free(reply);
    return is_told;
}

static void check_agreement(findings *self)
{
    static uint64_t first[KW_SLOTS_N];
    static uint64_t other[KW_SLOTS_N];
    const char *first_name = NULL;
    size_t before = self->faults_n;
    for (size_t i = 0; i < self->nodes.n; i++) {
        const char *name = node_name(&self->nodes.nodes[i]);
        if (self->infos[i] == NULL || !read_slots(self, name, first_name == NULL ? first : other)) {
            continue;
        }
        if (first_name == NULL) {
            first_name = name;
            continue;
        }
        size_t differ_n = 0;
        unsigned example = 0;
        for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
            example = differ_n == 0 ? slot : example;
            differ_n += first[slot] != other[slot] ? 1 : 0;
        }
        if (differ_n > 0) {
            char text[200];
            snprintf(text, sizeof(text), "names other owners than %s for %zu slots, such as %u",
                     first_name, differ_n, example);
            found(self, "agreement", name, text);
        }
    }
    if (first_name != NULL && self->faults_n == before) {
        well(self, "agreement", "all tell the same owners");
    }
}

static void check_replicas(findings *self)
{
    size_t before = self->faults_n;
    size_t primaries_n = 0;
    for (size_t i = 0; i < self->nodes.n; i++) {
        const kw_node_stats *node = &self->nodes.nodes[i];
        if (!node->is_primary || self->infos[i] == NULL) {
            continue;
        }
        primaries_n++;
        uint64_t n = (uint64_t)info_number(self->infos[i], "connected_slaves");
        if (n < self->replicas_min) {
            char text[100];
            snprintf(text, sizeof(text), "%u of %u replicas are with it", (unsigned)n,
                     (unsigned)self->replicas_min);
            found(self, "replicas", node_name(node), text);
        }
    }
    if (self->faults_n == before && self->replicas_min > 0 && primaries_n > 0) {
        well(self, "replicas", "each primary has as many as it should");
    }
}

static const kw_reply *info_of(const findings *self, const char *name)
{
    for (size_t i = 0; i < self->nodes.n; i++) {
        if (strcmp(node_name(&self->nodes.nodes[i]), name) == 0) {
            return self->infos[i];
        }
    }
    return NULL;
}

static void check_lag(findings *self)
{
    size_t before = self->faults_n;
    bool has_replicas = false;
    for (size_t i = 0; i < self->nodes.n; i++) {
        const kw_node_stats *node = &self->nodes.nodes[i];
        const kw_reply *primary = info_of(self, node->primary);
        char link[16] = "";
        if (node->is_primary || self->infos[i] == NULL || primary == NULL) {
            continue;
        }
        has_replicas = true;
        char shown[UNIT_TEXT];
        char text[120];
        double lag = info_number(primary, "master_repl_offset") -
                     info_number(self->infos[i], "slave_repl_offset");
        bool is_cut = info_text(link, sizeof(link), self->infos[i], "master_link_status") == NULL ||
                      strcmp(link, "up") != 0;
        if (is_cut) {
            found(self, "lag", node_name(node), "its link to the primary is down");
        } else if (lag > (double)self->lag_max) {
            snprintf(text, sizeof(text), "is %s behind its primary", unit_bytes(shown, lag));
            found(self, "lag", node_name(node), text);
        }
    }
    if (has_replicas && self->faults_n == before) {
        well(self, "lag", "replicas are near their primaries");
    }
}

static void check_versions(findings *self)
{
    char first[48] = "";
    size_t before = self->faults_n;
    for (size_t i = 0; i < self->nodes.n; i++) {
        char version[32];
        char text[160];
        if (self->infos[i] == NULL ||
            (info_text(version, sizeof(version), self->infos[i], "valkey_version") == NULL &&
             info_text(version, sizeof(version), self->infos[i], "redis_version") == NULL)) {
            continue;
        }
        if (first[0] == '\0') {
            snprintf(first, sizeof(first), "%s", version);
        } else if (strcmp(first, version) != 0) {
            snprintf(text, sizeof(text), "is %s, others are %s", version, first);
            found(self, "versions", node_name(&self->nodes.nodes[i]), text);
        }
    }
    if (first[0] != '\0' && self->faults_n == before) {
        well(self, "versions", first);
    }
}

/* What connecting has failed of, where no single node was found to be the reason. */
static void check_map(findings *self, const kw_error *error)
{
    if (error->code != KW_OK && self->faults_n == 0) {
        const char *check = check_of(error, false);
        found(self, strcmp(check, "reach") == 0 ? "map" : check, error->node, error->text);
    }
}

/* The handle and its nodes; false, and said, where there is nobody to ask. */
static bool begin(findings *self, kw_error *error)
{
    self->client = client_open(self->program, self->program->uri);
    if (self->client == NULL) {
        return false;
    }
    (void)kw_connect(self->client, error);
    bool is_login = error->code == KW_ERR_AUTH || error->code == KW_ERR_HANDSHAKE;
    bool is_loaded = fleet_load(&self->nodes, self->client) && (self->nodes.n > 0 || is_login);
    self->infos = calloc(self->nodes.n + 1, sizeof(self->infos[0]));
    if (!is_loaded || self->infos == NULL) {
        fprintf(stderr, "keyway check: %s\n", error->text);
        free(self->infos);
        fleet_free(&self->nodes);
        kw_close(self->client);
        return false;
    }
    return true;
}

static int finish(findings *self)
{
    static const char *const kinds[] = {"none", "faults"};
    json_open(self->program);
    json_text(self->program, "result", kinds[self->faults_n > 0]);
    json_number(self->program, "faults", (double)self->faults_n);
    table_print(self->rows, self->program, "findings");
    json_close(self->program);
    if (self->faults_n > 0) {
        say_painted(self->program, RED, "\n%zu fault%s found\n", self->faults_n,
                    self->faults_n > 1 ? "s" : "");
    } else {
        say_painted(self->program, GREEN, "\nall is well\n");
    }
    for (size_t i = 0; i < self->nodes.n; i++) {
        kw_reply_free(self->infos[i]);
    }
    free(self->infos);
    fleet_free(&self->nodes);
    kw_close(self->client);
    return self->faults_n > 0 ? STATUS_FOUND : STATUS_GOOD;
}

int run_check(app *self)
{
    static const column columns[] = {{"", "state", false},
                                     {"CHECK", "check", false},
                                     {"NODE", "node", false},
                                     {"", "text", false}};
    findings all = {.program = self};
    all.lag_max = args_number(self, "--lag", 1 << 20);
    all.replicas_min = args_number(self, "--replicas", UINT64_MAX);
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    kw_error error = KW_ERROR_INIT;
    if (!begin(&all, &error)) {
        return STATUS_USAGE;
    }
    bool has_replicas = false;
    for (size_t i = 0; i < all.nodes.n; i++) {
        has_replicas = has_replicas || !all.nodes.nodes[i].is_primary;
    }
    all.replicas_min = all.replicas_min == UINT64_MAX ? has_replicas : all.replicas_min;
    all.rows = table_new(columns, 4);
    check_login(&all);
    check_map(&all, &error);
    check_holes(&all);
    check_agreement(&all);
    check_replicas(&all);
    check_lag(&all);
    check_versions(&all);
    return finish(&all);
}
