/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: a line per 100 ms of what a call to each primary comes to; made for a failover. */
#include "program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PRIMARIES_MAX 64

/* What is asked: the same slots or members all the time, whoever has them. */
typedef struct target {
    char name[300]; /* of a ring's member; else "" */
    int slot;       /* of a cluster; else -1 */
} target;

static size_t find_targets(target targets[PRIMARIES_MAX], kw_client *client)
{
    fleet all;
    size_t n = 0;
    if (!fleet_load(&all, client)) {
        return 0;
    }
    for (size_t i = 0; i < all.n && n < PRIMARIES_MAX; i++) {
        size_t ranges_n = 0;
        kw_slot_range range = {0, 0};
        (void)kw_client_node_slots(client, &range, 1, &ranges_n, all.numbers[i]);
        if (!all.nodes[i].is_primary) {
            continue;
        }
        targets[n].slot = ranges_n > 0 ? range.first : -1;
        snprintf(targets[n].name, sizeof(targets[n].name), "%s", all.nodes[i].member);
        n++;
    }
    fleet_free(&all);
    return n;
}

/* A key of the slot or member, for writes: numbers are tried until one fits. */
static bool find_key(char *key, size_t key_len, kw_client *client, const target *at)
{
    kw_ring *ring = kw_client_ring(client, NULL);
    bool is_found = false;
    for (unsigned i = 0; i < 2000000 && !is_found; i++) {
        int len = snprintf(key, key_len, "keyway:watch:{%u}", i);
        uint32_t node;
        if (ring != NULL) {
            is_found = kw_ring_lookup(ring, &node, key, (size_t)len) == KW_OK &&
                       strcmp(kw_ring_node_name(ring, NULL, node), at->name) == 0;
        } else {
            is_found = at->slot < 0 || kw_slot(key, (size_t)len) == (unsigned)at->slot;
        }
    }
    kw_ring_unref(ring);
    return is_found;
}

/* One call; writes what came of it. */
static bool try_call(kw_client *client, const target *at, const char *key, char *text,
                     size_t text_len)
{
    const char *ping[] = {"PING"};
    const char *write[] = {"INCR", key};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 500;
    options.fail_fast = true;
    options.route = at->slot >= 0         ? KW_ROUTE_SLOT
                    : at->name[0] != '\0' ? KW_ROUTE_NODE
                                          : KW_ROUTE_ANY;
    options.slot = at->slot >= 0 ? (unsigned)at->slot : 0;
    options.node = at->name;
    kw_argv command = {key != NULL ? 2 : 1, key != NULL ? write : ping, NULL};
    if (key != NULL) {
        options.route = KW_ROUTE_AUTO;
    }
    uint64_t begun_ns = now_ns();
    kw_reply *reply = kw_call(client, &error, &options, command);
    char took[UNIT_TEXT];
    unit_time(took, (double)(now_ns() - begun_ns));
    bool is_good = kw_reply_outcome(reply, &error) != KW_OUTCOME_ERROR;
    if (is_good) {
        snprintf(text, text_len, "%s", took);
    } else if (reply != NULL) {
        const char *said = kw_reply_text(reply, "?");
        snprintf(text, text_len, "%.*s", (int)strcspn(said, " "), said);
    } else {
        snprintf(text, text_len, "%s/%s", kw_err_name(error.code) + 7,
                 kw_effect_name(error.effect));
    }
    kw_reply_free(reply);
    return is_good;
}

/* Columns that a text of UTF-8 takes. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

#define CELL 18

static void put_cell(const app *self, bool is_good, const char *text)
{
    say_painted(self, is_good ? PLAIN : RED, "%s", text);
    say(self, "%*s", width_of(text) < CELL ? CELL - width_of(text) : 1, "");
}

static bool put_line(const app *self, kw_client *client, const target *targets, size_t n,
                     char (*keys)[64])
{
    struct timespec wall;
    struct tm local;
    char clock[16];
    bool is_good = true;
    kw_stats stats = {.size = sizeof(stats)};
    clock_gettime(CLOCK_REALTIME, &wall);
    localtime_r(&wall.tv_sec, &local);
    strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    say(self, "%s.%ld  ", clock, wall.tv_nsec / 100000000);
    if (self->is_json) {
        printf("{\"command\":\"watch\",\"time\":%.3f,\"calls\":[",
               (double)wall.tv_sec + (double)wall.tv_nsec / 1e9);
    }
    for (size_t i = 0; i < n; i++) {
        char text[64];
        bool is_answered = try_call(client, &targets[i], keys != NULL ? keys[i] : NULL, text, 64);
        put_cell(self, is_answered, text);
        if (self->is_json) {
            printf("%s{\"answered\":%s,\"text\":\"%s\"}", i > 0 ? "," : "",
                   is_answered ? "true" : "false", text);
        }
        is_good = is_good && is_answered;
    }
    (void)kw_client_stats(client, &stats);
    if (self->is_json) {
        printf("],\"map\":%" PRIu64 ",\"down\":%" PRIu64 "}\n", stats.map_number, stats.nodes_down);
    }
    say(self, "map %" PRIu64, stats.map_number);
    if (stats.nodes_down > 0) {
        say_painted(self, RED, "  %" PRIu64 " down", stats.nodes_down);
    }
    say(self, "\n");
    fflush(stdout);
    return is_good;
}

static void put_title(const app *self, kw_client *client, const target *targets, size_t n)
{
    say_painted(self, BOLD, "%-12s", "TIME");
    for (size_t i = 0; i < n; i++) {
        char text[300] = "primary";
        if (targets[i].slot >= 0) {
            (void)kw_client_slot_node(client, NULL, text, sizeof(text), (unsigned)targets[i].slot);
        } else if (targets[i].name[0] != '\0') {
            snprintf(text, sizeof(text), "%.299s", targets[i].name);
        }
        say_painted(self, BOLD, "%-*.*s", CELL, CELL - 1, text);
    }
    say(self, "\n");
}

static int watch(const app *self, kw_client *client, uint64_t every_ms, uint64_t times, bool writes)
{
    static target targets[PRIMARIES_MAX];
    static char keys[PRIMARIES_MAX][64];
    size_t n = find_targets(targets, client);
    for (size_t i = 0; writes && i < n; i++) {
        if (!find_key(keys[i], sizeof(keys[i]), client, &targets[i])) {
            fprintf(stderr, "keyway watch: no key of %s was found\n", targets[i].name);
            return STATUS_USAGE;
        }
    }
    put_title(self, client, targets, n);
    bool is_good = true;
    uint64_t next_ns = now_ns();
    for (uint64_t i = 0; !is_interrupted() && i < times; i++) {
        is_good = put_line(self, client, targets, n, writes ? keys : NULL) && is_good;
        next_ns += every_ms * UINT64_C(1000000);
        uint64_t now = now_ns();
        if (now < next_ns && i + 1 < times) {
            pause_ms((next_ns - now) / 1000000);
        }
        next_ns = now > next_ns ? now : next_ns;
    }
    for (size_t i = 0; writes && i < n; i++) {
        kw_reply_free(kw_command(client, NULL, "DEL %s", keys[i]));
    }
    return is_good ? STATUS_GOOD : STATUS_FOUND;
}

int run_watch(app *self)
{
    uint64_t every_ms = args_number(self, "--every", 100);
    uint64_t times = args_number(self, "--times", UINT64_MAX);
    bool writes = args_flag(self, "--write");
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    kw_client *client = client_connect(self, self->uri);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    catch_signals();
    int status = watch(self, client, every_ms, times, writes);
    kw_close(client);
    return status;
}
