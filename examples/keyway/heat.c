/* SPDX-License-Identifier: BSD-3-Clause */
/* heat: where the slots of a cluster are busy, as a map. Servers that count for each slot (CLUSTER
 * SLOT-STATS: Valkey 8, Redis 8.2, with cluster-slot-stats-enabled) are asked what each costs them;
 * else a slot has its share of its owner's calls. */
#include "program.h"

#include <string.h>
#include <unistd.h>

/* The map: so many cells in rows of so many columns, or half as many where that is too wide. */
#define CELLS   256
#define COLUMNS 64
#define WIDTH   (COLUMNS + 7)

static unsigned columns_of(const app *program)
{
    int room = program->is_terminal ? screen_of(STDOUT_FILENO).columns : 0;
    return room > 0 && room < WIDTH ? COLUMNS / 2 : COLUMNS;
}

int heat_lines(const app *program)
{
    return CELLS / (int)columns_of(program) + 1;
}

/* One slot's line: its number, then names and numbers by turns. */
static void take_slot(heat *self, const kw_reply *line)
{
    long long slot = kw_reply_int(kw_reply_at(line, 0));
    const kw_reply *cost = kw_reply_get(kw_reply_at(line, 1), "cpu-usec");
    if (cost != NULL && slot >= 0 && slot < KW_SLOTS_N) {
        self->now[slot] = (double)kw_reply_int(cost);
    }
}

void heat_look(heat *self, kw_client *client, const fleet *all)
{
    static const char *const words[] = {"CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec",
                                        "LIMIT",   "16384",      NULL};
    memcpy(self->before, self->now, sizeof(self->before));
    self->was_counted = self->is_counted;
    self->is_counted = !self->is_refused;
    for (size_t i = 0; i < all->n && self->is_counted; i++) {
        if (!all->nodes[i].is_primary) {
            continue;
        }
        kw_reply *lines = client_ask(client, NULL, node_name(&all->nodes[i]), words);
        self->is_refused = kw_reply_is_error(lines);
        self->is_counted = lines != NULL && !self->is_refused;
        for (size_t k = 0; k < kw_reply_count(lines); k++) {
            take_slot(self, kw_reply_at(lines, k));
        }
        kw_reply_free(lines);
    }
}

/* What each slot has cost since the look before. */
static void add_costs(const heat *self, double cells[CELLS])
{
    for (size_t slot = 0; slot < KW_SLOTS_N; slot++) {
        double cost = self->now[slot] - self->before[slot];
        cells[slot * CELLS / KW_SLOTS_N] += cost > 0 ? cost : 0;
    }
}

/* Each owner's calls a second, as if all its slots had the same. */
static void add_calls(double cells[CELLS], kw_client *client, const fleet *all, const double *rates)
{
    for (size_t i = 0; i < all->n; i++) {
        size_t n = 0;
        double slots = 0;
        static kw_slot_range ranges[KW_SLOTS_N];
        (void)kw_client_node_slots(client, ranges, KW_SLOTS_N, &n, all->numbers[i]);
        for (size_t k = 0; k < n; k++) {
            slots += ranges[k].last - ranges[k].first + 1;
        }
        for (size_t k = 0; k < n; k++) {
            for (unsigned slot = ranges[k].first; slot <= ranges[k].last; slot++) {
                cells[slot * CELLS / KW_SLOTS_N] += rates[i] / slots;
            }
        }
    }
}

static void put_row(const app *program, const double *cells, unsigned columns, double most)
{
    static const char *const blocks[] = {"·", "░", "▒", "▓", "█"};
    static const char *const letters[] = {".", ":", "+", "*", "#"};
    const char *const *shades = has_utf8() ? blocks : letters;
    for (unsigned at = 0; at < columns; at++) {
        int shade = (int)(cells[at] / most * 4 + 0.5);
        shade = shade > 4 ? 4 : shade;
        say_painted(program, shade > 3 ? RED : shade > 1 ? YELLOW : GREEN, "%s", shades[shade]);
    }
    say(program, "\n");
}

void heat_put(const heat *self, const app *program, kw_client *client, const fleet *all,
              const double *rates)
{
    double cells[CELLS] = {0};
    double most = 0;
    bool is_counted = self->is_counted && self->was_counted;
    if (is_counted) {
        add_costs(self, cells);
    } else {
        add_calls(cells, client, all, rates);
    }
    for (size_t i = 0; i < CELLS; i++) {
        most = cells[i] > most ? cells[i] : most;
    }
    if (most <= 0) {
        return;
    }
    unsigned columns = columns_of(program);
    say_painted(program, FAINT, "\n%6s %s\n", "SLOT",
                is_counted ? "by what each costs its server" : "by the calls of its server");
    for (unsigned at = 0; at < CELLS; at += columns) {
        say_painted(program, FAINT, "%6u ", at * (KW_SLOTS_N / CELLS));
        put_row(program, cells + at, columns, most);
    }
}
