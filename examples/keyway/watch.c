/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: a line per 100 ms of what a call to each primary comes to; made for a failover. */
#include "program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRIMARIES_MAX 1024

/* What is asked: the same slots or members all the time, whoever has them. */
typedef struct target {
    char name[300]; /* of a ring's member; else "" */
    int slot;       /* of a cluster; else -1 */
    char key[64];   /* of the slot or member, where is written; else "" */
} target;

/* What came of one call. */
typedef struct outcome {
    bool is_answered;
    double took_ns;
    char text[64];
} outcome;

/* All that is watched. */
typedef struct watching {
    const app *program;
    kw_client *client;
    target targets[PRIMARIES_MAX];
    outcome outcomes[PRIMARIES_MAX];
    size_t n;
    uint64_t map;    /* its number in the last line */
    bool is_summary; /* columns for all are wider than the terminal */
} watching;

/* False where there is no memory. */
static bool find_targets(watching *self)
{
    fleet all;
    if (!fleet_load(&all, self->client)) {
        return false;
    }
    for (size_t i = 0; i < all.n && self->n < PRIMARIES_MAX; i++) {
        size_t ranges_n = 0;
        kw_slot_range range = {0, 0};
        (void)kw_client_node_slots(self->client, &range, 1, &ranges_n, all.numbers[i]);
        if (all.nodes[i].is_primary) {
            target *fresh = &self->targets[self->n++];
            fresh->slot = ranges_n > 0 ? range.first : -1;
            snprintf(fresh->name, sizeof(fresh->name), "%s", all.nodes[i].member);
        }
    }
    fleet_free(&all);
    return true;
}

/* A key of the slot or member, for writes: numbers are tried until one fits. */
static bool find_key(target *at, kw_client *client)
{
    kw_ring *ring = kw_client_ring(client, NULL);
    bool is_found = false;
    for (unsigned i = 0; i < 2000000 && !is_found; i++) {
        int len = snprintf(at->key, sizeof(at->key), "keyway:watch:{%u}", i);
        uint32_t node;
        if (ring != NULL) {
            is_found = kw_ring_lookup(ring, &node, at->key, (size_t)len) == KW_OK &&
                       strcmp(kw_ring_node_name(ring, NULL, node), at->name) == 0;
        } else {
            is_found = at->slot < 0 || kw_slot(at->key, (size_t)len) == (unsigned)at->slot;
        }
    }
    kw_ring_unref(ring);
    return is_found;
}

/* One call, and what came of it. */
static outcome try_call(kw_client *client, const target *at)
{
    const char *ping[] = {"PING"};
    const char *write[] = {"INCR", at->key};
    bool writes = at->key[0] != '\0';
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    outcome came = {.is_answered = false};
    options.timeout_ms = 500;
    options.fail_fast = true;
    options.route = writes                ? KW_ROUTE_AUTO
                    : at->slot >= 0       ? KW_ROUTE_SLOT
                    : at->name[0] != '\0' ? KW_ROUTE_NODE
                                          : KW_ROUTE_ANY;
    options.slot = at->slot >= 0 ? (unsigned)at->slot : 0;
    options.node = at->name;
    uint64_t begun_ns = now_ns();
    kw_reply *reply =
        kw_call(client, &error, &options, (kw_argv){writes ? 2 : 1, writes ? write : ping, NULL});
    came.took_ns = (double)(now_ns() - begun_ns);
    came.is_answered = kw_reply_outcome(reply, &error) != KW_OUTCOME_ERROR;
    if (came.is_answered) {
        unit_time(came.text, came.took_ns);
    } else if (reply != NULL) {
        const char *said = kw_reply_text(reply, "?");
        snprintf(came.text, sizeof(came.text), "%.*s", (int)strcspn(said, " "), said);
    } else {
        snprintf(came.text, sizeof(came.text), "%s/%s", kw_err_name(error.code) + 7,
                 kw_effect_name(error.effect));
    }
    kw_reply_free(reply);
    return came;
}

/* Who has the slot or is the member now. */
static void find_name(const watching *self, const target *at, char *name, size_t name_len)
{
    snprintf(name, name_len, "%s", at->name[0] != '\0' ? at->name : "primary");
    if (at->slot >= 0) {
        (void)kw_client_slot_node(self->client, NULL, name, name_len, (unsigned)at->slot);
    }
}

/* A column of one node: what failed may be as wide as QUEUE_TIMEOUT/maybe. */
#define CELL 20
#define TIME 12
#define MAP  8

/* Names that are too long lose their middle: both ends tell them apart. */
static void put_cell(const app *self, paint colour, const char *text)
{
    char cut[CELL + 8];
    int len = (int)strlen(text);
    if (text_width(text) >= CELL) {
        snprintf(cut, sizeof(cut), "%.*s~%s", CELL - 9, text, text + len - 7);
        text = cut;
    }
    say_painted(self, colour, "%s", text);
    say(self, "%*s", CELL - text_width(text), "");
}

static void put_title(const watching *self)
{
    say_painted(self->program, BOLD, "%-*s", TIME, "TIME");
    if (self->is_summary) {
        say_painted(self->program, BOLD, "%-11s %-10s%s", "ANSWERED", "SLOWEST", "NOT ANSWERED");
    }
    for (size_t i = 0; !self->is_summary && i < self->n; i++) {
        char name[300];
        find_name(self, &self->targets[i], name, sizeof(name));
        put_cell(self->program, BOLD, name);
    }
    say(self->program, "\n");
}

/* All calls in the room of a few: how many were answered, the slowest, and who was not. */
static void put_summary(const watching *self)
{
    char text[64];
    size_t answered_n = 0;
    double slowest_ns = 0;
    for (size_t i = 0; i < self->n; i++) {
        const outcome *came = &self->outcomes[i];
        answered_n += came->is_answered ? 1 : 0;
        slowest_ns = came->is_answered && came->took_ns > slowest_ns ? came->took_ns : slowest_ns;
    }
    snprintf(text, sizeof(text), "%zu of %zu", answered_n, self->n);
    say_painted(self->program, answered_n < self->n ? RED : PLAIN, "%-11s ", text);
    unit_time(text, slowest_ns);
    say(self->program, "%s%*s", text, 10 - text_width(text), "");
    size_t shown_n = 0;
    for (size_t i = 0; i < self->n && shown_n < 2; i++) {
        char name[300];
        if (!self->outcomes[i].is_answered) {
            find_name(self, &self->targets[i], name, sizeof(name));
            say_painted(self->program, RED, "%s%s %s", shown_n > 0 ? ", " : "", name,
                        self->outcomes[i].text);
            shown_n++;
        }
    }
    if (self->n - answered_n > shown_n) {
        say_painted(self->program, RED, " and %zu more", self->n - answered_n - shown_n);
    }
    say(self->program, shown_n > 0 ? "  " : "");
}

static void put_json(const watching *self, double time, const kw_stats *stats)
{
    printf("{\"command\":\"watch\",\"time\":%.3f,\"calls\":[", time);
    for (size_t i = 0; i < self->n; i++) {
        char name[300];
        const outcome *came = &self->outcomes[i];
        find_name(self, &self->targets[i], name, sizeof(name));
        printf("%s{\"node\":", i > 0 ? "," : "");
        json_string(stdout, name, strlen(name));
        printf(",\"answered\":%s,\"took_ns\":%.0f,\"text\":", came->is_answered ? "true" : "false",
               came->took_ns);
        json_string(stdout, came->text, strlen(came->text));
        printf("}");
    }
    printf("],\"map\":%" PRIu64 ",\"down\":%" PRIu64 "}\n", stats->map_number, stats->nodes_down);
}

static void put_text(const watching *self, const struct timespec *wall, const kw_stats *stats)
{
    struct tm local;
    char clock[16];
    localtime_r(&wall->tv_sec, &local);
    strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    say(self->program, "%s.%ld  ", clock, wall->tv_nsec / 100000000);
    for (size_t i = 0; !self->is_summary && i < self->n; i++) {
        const outcome *came = &self->outcomes[i];
        put_cell(self->program, came->is_answered ? PLAIN : RED, came->text);
    }
    if (self->is_summary) {
        put_summary(self);
    }
    say(self->program, "map %" PRIu64, stats->map_number);
    if (stats->nodes_down > 0) {
        say_painted(self->program, RED, "  %" PRIu64 " down", stats->nodes_down);
    }
    say(self->program, "\n");
}

/* Calls all, and writes a line; heads anew where the map has changed. False where not all answer.
 */
static bool put_line(watching *self)
{
    struct timespec wall;
    bool is_good = true;
    kw_stats stats = {.size = sizeof(stats)};
    clock_gettime(CLOCK_REALTIME, &wall);
    for (size_t i = 0; i < self->n; i++) {
        self->outcomes[i] = try_call(self->client, &self->targets[i]);
        is_good = is_good && self->outcomes[i].is_answered;
    }
    (void)kw_client_stats(self->client, &stats);
    if (self->program->is_json) {
        put_json(self, (double)wall.tv_sec + (double)wall.tv_nsec / 1e9, &stats);
    } else {
        if (self->map != stats.map_number) {
            put_title(self);
        }
        put_text(self, &wall, &stats);
    }
    self->map = stats.map_number;
    fflush(stdout);
    return is_good;
}

static int watch(watching *self, uint64_t every_ms, uint64_t times, bool writes)
{
    bool is_found = find_targets(self);
    for (size_t i = 0; writes && i < self->n; i++) {
        if (!find_key(&self->targets[i], self->client)) {
            fprintf(stderr, "keyway watch: no key of %s was found\n", self->targets[i].name);
            return STATUS_USAGE;
        }
    }
    int room = self->program->is_terminal ? screen_of(STDOUT_FILENO).columns : 0;
    self->is_summary = room > 0 && TIME + CELL * self->n + MAP > (size_t)room;
    bool is_good = is_found;
    uint64_t next_ns = now_ns();
    for (uint64_t i = 0; is_found && !is_interrupted() && i < times; i++) {
        is_good = put_line(self) && is_good;
        next_ns += every_ms * UINT64_C(1000000);
        uint64_t now = now_ns();
        if (now < next_ns && i + 1 < times) {
            pause_ms((next_ns - now) / 1000000);
        }
        next_ns = now > next_ns ? now : next_ns;
    }
    for (size_t i = 0; writes && i < self->n; i++) {
        kw_reply_free(kw_command(self->client, NULL, "DEL %s", self->targets[i].key));
    }
    return is_good ? STATUS_GOOD : STATUS_FOUND;
}

int run_watch(app *self)
{
    static watching all;
    uint64_t every_ms = args_number(self, "--every", 100);
    uint64_t times = args_number(self, "--times", UINT64_MAX);
    bool writes = args_flag(self, "--write");
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    all.program = self;
    all.client = client_connect(self, self->uri);
    if (all.client == NULL) {
        return STATUS_USAGE;
    }
    catch_signals();
    int status = watch(&all, every_ms, times, writes);
    kw_close(all.client);
    return status;
}
