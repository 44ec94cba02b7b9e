/* SPDX-License-Identifier: BSD-3-Clause */
/* top: what nodes do now, from what INFO counts between two looks; and where the slots are hot. */
#include "program.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Lines of a screen beside those of nodes and the map: title, heads, what is left out (of columns,
 * of nodes), one between, the cursor's. */
#define LINES_BESIDE 6

/* What one look at a node has found. */
typedef struct sample {
    uint64_t at_ns;
    bool is_there;
    double calls;     /* commands processed */
    double busy_us;   /* of them, in the server */
    double redirects; /* MOVED and ASK answered */
    double errors;    /* errors answered, all */
    double clients;
    double memory;
    double keys;
} sample;

static double errors_of(const kw_reply *info, const char *name)
{
    char text[64];
    const char *found = info_text(text, sizeof(text), info, name);
    const char *count = found != NULL ? strstr(found, "count=") : NULL;
    return count != NULL ? number_of(count + 6) : 0;
}

/* A number for each command in the text of INFO commandstats, added up. */
static double sum_of(const kw_reply *info, const char *field)
{
    double sum = 0;
    const char *text = kw_reply_str(info, NULL);
    for (const char *at = text != NULL ? strstr(text, "cmdstat_") : NULL; at != NULL;
         at = strstr(at + 1, "\ncmdstat_")) {
        const char *found = strstr(at, field);
        sum += found != NULL ? number_of(found + strlen(field)) : 0;
    }
    return sum;
}

static sample look(kw_client *client, const char *node)
{
    static const char *const words[] = {"INFO", "all", NULL};
    static const char *const size[] = {"DBSIZE", NULL};
    sample now = {.at_ns = now_ns()};
    kw_reply *info = client_ask(client, NULL, node, words);
    now.is_there = info != NULL && !kw_reply_is_error(info);
    if (now.is_there) {
        kw_reply *keys = client_ask(client, NULL, node, size);
        now.calls = info_number(info, "total_commands_processed");
        now.busy_us = sum_of(info, ",usec=");
        now.redirects = errors_of(info, "errorstat_MOVED") + errors_of(info, "errorstat_ASK");
        now.errors = info_number(info, "total_error_replies");
        now.clients = info_number(info, "connected_clients");
        now.memory = info_number(info, "used_memory");
        now.keys = (double)kw_reply_int(keys);
        kw_reply_free(keys);
    }
    kw_reply_free(info);
    return now;
}

static void add_rate(table *rows, double before, double after, double seconds, bool is_bad)
{
    char text[UNIT_TEXT];
    double rate = after > before && seconds > 0 ? (after - before) / seconds : 0;
    table_number(rows, is_bad && rate > 0 ? YELLOW : PLAIN, rate, unit_count(text, rate));
}

static void add_node(table *rows, const kw_node_stats *node, const sample *before,
                     const sample *now)
{
    char text[UNIT_TEXT];
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    double calls = now->calls - before->calls;
    double busy_ns = calls > 0 ? (now->busy_us - before->busy_us) * 1000 / calls : 0;
    table_text(rows, node->is_primary ? BOLD : PLAIN, "%s", node_name(node));
    table_text(rows, PLAIN, "%s", node->is_primary ? "primary" : "replica");
    if (!now->is_there || !before->is_there) {
        for (int i = 0; i < 7; i++) {
            table_none(rows);
        }
        table_text(rows, RED, "no answer");
        return;
    }
    add_rate(rows, before->calls, now->calls, seconds, false);
    table_number(rows, PLAIN, busy_ns, unit_time(text, busy_ns > 0 ? busy_ns : 0));
    add_rate(rows, before->redirects, now->redirects, seconds, true);
    add_rate(rows, before->errors, now->errors, seconds, true);
    table_number(rows, PLAIN, now->clients, NULL);
    table_number(rows, PLAIN, now->keys, unit_count(text, now->keys));
    table_number(rows, PLAIN, now->memory, unit_bytes(text, now->memory));
    table_text(rows, GREEN, "ok");
}

static double rate_of(const sample *before, const sample *now, double is, double was)
{
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    return before->is_there && now->is_there && is > was && seconds > 0 ? (is - was) / seconds : 0;
}

/* What all do together, in a line above the table. */
static void put_title(const app *self, const fleet *all, const sample *before, const sample *now)
{
    char calls[UNIT_TEXT];
    char errors[UNIT_TEXT];
    char clock[16];
    size_t primaries_n = 0;
    size_t silent_n = 0;
    double calls_rate = 0;
    double errors_rate = 0;
    time_t seconds = time(NULL);
    struct tm local;
    for (size_t i = 0; i < all->n; i++) {
        primaries_n += all->nodes[i].is_primary ? 1 : 0;
        silent_n += now[i].is_there ? 0 : 1;
        calls_rate += rate_of(&before[i], &now[i], now[i].calls, before[i].calls);
        errors_rate += rate_of(&before[i], &now[i], now[i].errors, before[i].errors);
    }
    localtime_r(&seconds, &local);
    strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    say_painted(self, FAINT, "%s  ", clock);
    say(self, "%zu primar%s, %zu replica%s  %s calls/s", primaries_n,
        primaries_n == 1 ? "y" : "ies", all->n - primaries_n, all->n - primaries_n == 1 ? "" : "s",
        unit_count(calls, calls_rate));
    say_painted(self, errors_rate > 0 ? YELLOW : PLAIN, "  %s errors/s",
                unit_count(errors, errors_rate));
    if (silent_n > 0) {
        say_painted(self, RED, "  %zu no answer", silent_n);
    }
    say(self, "\n");
}

/* Which nodes a screen has room for: those that do not answer, then the busiest; in their order.
 * How many are left out. */
static size_t choose(const app *self, bool *is_shown, const fleet *all, const sample *now,
                     const double *rates)
{
    int rows = self->is_terminal && !self->is_json ? screen_of(STDOUT_FILENO).rows : 0;
    int beside = LINES_BESIDE + heat_lines(self);
    size_t room = rows <= 0 ? all->n : rows > beside ? (size_t)(rows - beside) : 1;
    size_t shown_n = 0;
    for (size_t i = 0; i < all->n; i++) {
        is_shown[i] = room >= all->n;
    }
    for (; room < all->n && shown_n < room; shown_n++) {
        size_t best = all->n;
        for (size_t i = 0; i < all->n; i++) {
            double worth = now[i].is_there ? rates[i] : 1e300;
            double most = best == all->n ? -1 : now[best].is_there ? rates[best] : 1e300;
            best = !is_shown[i] && worth > most ? i : best;
        }
        is_shown[best] = true;
    }
    return all->n > room ? all->n - room : 0;
}

/* Calls a second of each node; NULL when there is no memory. */
static double *show(app *self, const fleet *all, const sample *before, const sample *now)
{
    static const column columns[] = {
        {"NODE", "node", false},          {"ROLE", "role", false},
        {"CALLS/s", "calls", true},       {"SERVER", "server_ns", true},
        {"MOVED/s", "redirects", true},   {"ERRORS/s", "errors", true},
        {"CLIENTS", "clients", true},     {"KEYS", "keys", true},
        {"MEMORY", "memory_bytes", true}, {"STATE", "state", false},
    };
    table *rows = table_new(columns, sizeof(columns) / sizeof(columns[0]));
    double *rates = calloc(all->n + 1, sizeof(rates[0]));
    bool *is_shown = calloc(all->n + 1, sizeof(is_shown[0]));
    size_t left_n = 0;
    if (rates != NULL && is_shown != NULL) {
        for (size_t i = 0; i < all->n; i++) {
            rates[i] = rate_of(&before[i], &now[i], now[i].calls, before[i].calls);
        }
        left_n = choose(self, is_shown, all, now, rates);
        for (size_t i = 0; i < all->n; i++) {
            if (is_shown[i]) {
                add_node(rows, &all->nodes[i], &before[i], &now[i]);
            }
        }
    }
    put_title(self, all, before, now);
    table_narrow(rows, "CLIENTS MOVED/s KEYS MEMORY ROLE SERVER ERRORS/s");
    json_open(self);
    table_print(rows, self, "nodes");
    json_close(self);
    if (left_n > 0) {
        say_painted(self, FAINT, "and %zu that do%s less\n", left_n, left_n == 1 ? "es" : "");
    }
    free(is_shown);
    return rates;
}

/* Looks and shows so often; false where a node has not answered the last look. */
static bool refresh(app *self, kw_client *client, uint64_t every_ms, uint64_t times)
{
    fleet all;
    kw_stats stats = {.size = sizeof(stats)};
    static heat slots;
    sample *before = NULL;
    uint64_t map = 0;
    bool is_good = true;
    if (!fleet_load(&all, client)) {
        return false;
    }
    for (uint64_t i = 0; !is_interrupted() && i <= times; i++) {
        (void)kw_client_stats(client, &stats);
        if (map != stats.map_number && i > 0) { /* other nodes: begin anew */
            fleet_free(&all);
            free(before);
            before = NULL;
            if (!fleet_load(&all, client)) {
                return false;
            }
        }
        map = stats.map_number;
        sample *now = calloc(all.n + 1, sizeof(now[0]));
        is_good = now != NULL;
        for (size_t k = 0; now != NULL && k < all.n; k++) {
            now[k] = look(client, node_name(&all.nodes[k]));
            is_good = is_good && now[k].is_there;
        }
        heat_look(&slots, client, &all);
        if (before != NULL && now != NULL) {
            say(self, self->is_terminal ? "\033[H\033[J" : i > 1 ? "\n" : "");
            double *rates = show(self, &all, before, now);
            if (rates != NULL) {
                heat_put(&slots, self, client, &all, rates);
            }
            free(rates);
            fflush(stdout);
        }
        free(before);
        before = now;
        if (i < times && !is_interrupted()) {
            pause_ms(every_ms);
        }
    }
    free(before);
    fleet_free(&all);
    return is_good;
}

int run_top(app *self)
{
    uint64_t every_ms = args_number(self, "--every", 1000);
    uint64_t times = args_number(self, "--times", self->is_terminal ? UINT64_MAX - 1 : 1);
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    kw_client *client = client_connect(self, self->uri);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    catch_signals();
    bool is_screen = self->is_terminal && !self->is_json;
    static char whole[1 << 16]; /* a screen is written in one piece, and does not flicker */
    setvbuf(stdout, whole, _IOFBF, sizeof(whole));
    printf("%s", is_screen ? "\033[?1049h\033[?25l" : "");
    bool is_good = refresh(self, client, every_ms, times);
    printf("%s", is_screen ? "\033[?25h\033[?1049l" : "");
    kw_close(client);
    return is_good ? STATUS_GOOD : STATUS_FOUND;
}
