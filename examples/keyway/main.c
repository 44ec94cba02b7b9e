/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: looks at, and works on, whatever servers a URI names. */
#include "program.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void help(const app *self)
{
    printf("usage: keyway [-u URI] [--json] [--color always|never] COMMAND [ARGUMENT...]\n\n");
    const subcommand *at;
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        say_painted(self, BOLD, "  %-11s", at->name);
        printf("%s\n", at->help);
    }
    printf("\nAnything else is a command for the servers: keyway get k, keyway -- del k.\n"
           "The URI may come from KEYWAY_URI. 0 is well, 1 is a fault that was found or answered, "
           "2 is\nwrong arguments, or nobody who answers.\n");
}

static int run_help(app *self)
{
    static const column columns[] = {
        {"NAME", "name", false}, {"USAGE", "usage", false}, {"HELP", "help", false}};
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    if (!self->is_json) {
        help(self);
        return STATUS_GOOD;
    }
    const subcommand *at;
    table *rows = table_new(columns, 3);
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        table_text(rows, PLAIN, "%s", at->name);
        table_text(rows, PLAIN, "%s", at->usage);
        table_text(rows, PLAIN, "%s", at->help);
    }
    json_open(self);
    table_print(rows, self, "commands");
    json_close(self);
    return STATUS_GOOD;
}

static int run_version(app *self)
{
    if (!args_end(self, 0, 0)) {
        return STATUS_USAGE;
    }
    printf(self->is_json ? "{\"command\":\"version\",\"version\":\"%s\"}\n" : "keyway %s\n",
           kw_version());
    return STATUS_GOOD;
}

static const subcommand subcommands[] = {
    {"slot", run_slot, "KEY...", "slot, or place on the ring, and owner of keys"},
    {"why", run_why, "KEY...", "how a key finds its owner, step by step"},
    {"spread", run_spread, "[--vnodes] [--within PERCENT]",
     "shares of a ring's members; by vnodes from 1 to 512"},
    {"whatif", run_whatif, "add MEMBER | remove NAME | reweight NAME WEIGHT",
     "which part of the keys would move"},
    {"nodes", run_nodes, "", "role, slots, keys, memory, latency, lag and state of each node"},
    {"check", run_check, "[--lag BYTES] [--replicas N]",
     "finds holes, disagreement, missing replicas, lag, refusals, versions"},
    {"top", run_top, "[--every MS] [--times N]", "what nodes do now, refreshed"},
    {"watch", run_watch, "[--every MS] [--times N] [--write]",
     "one line per 100 ms, for a failover"},
    {"bench", run_bench, "[--requests N] [--threads N] [--size BYTES] [--keys N] [--reads PERCENT]",
     "calls through the library's own routing, percentiles per node"},
    {"scan", run_scan, "[PATTERN] [--type TYPE] [--limit N]", "keys of all nodes"},
    {"bigkeys", run_bigkeys, "[PATTERN] [--top N]", "the keys that take the most memory"},
    {"del", run_del, "PATTERN [--dry-run] [--rate N]", "deletes what matches, on all nodes"},
    {"migrate", run_migrate, "OLD NEW [--match PATTERN] [--state FILE] [--replace] [--verify]",
     "copies all keys from one URI to another"},
    {"repair", run_repair, "[--state FILE]", "brings copies up that are missing or old (copies=N)"},
    {"completion", run_completion, "bash | zsh", "completion for a shell"},
    {"version", run_version, "", "version of keyway"},
    {"help", run_help, "", "this list"},
};

const subcommand *subcommand_at(size_t index)
{
    return index < sizeof(subcommands) / sizeof(subcommands[0]) ? &subcommands[index] : NULL;
}

/* As other programs are asked: the subcommand that does it. */
static void read_alias(char **word)
{
    static char help_name[] = "help";
    static char version_name[] = "version";
    if (strcmp(*word, "--help") == 0 || strcmp(*word, "-h") == 0) {
        *word = help_name;
    } else if (strcmp(*word, "--version") == 0) {
        *word = version_name;
    }
}

/* Options before the command; false, and said, where one is wrong. *plain: behind --. */
static bool read_globals(app *self, bool *is_plain)
{
    const char *colour = "auto";
    *is_plain = false;
    while (self->argc > 0 && self->argv[0][0] == '-') {
        read_alias(&self->argv[0]);
        const char *name = self->argv[0];
        if (name[0] != '-') {
            break;
        }
        bool is_uri = strcmp(name, "-u") == 0 || strcmp(name, "--uri") == 0;
        bool is_colour = strcmp(name, "--color") == 0;
        int n = is_uri || is_colour ? 2 : 1;
        if (strcmp(name, "--json") == 0) {
            self->is_json = true;
        } else if (strcmp(name, "--") == 0) {
            *is_plain = true;
        } else if (n == 1 || self->argc < 2) {
            fprintf(stderr, "keyway: %s: %s (keyway help lists all)\n", name,
                    n == 1 ? "no such option" : "lacks its value");
            return false;
        }
        self->uri = is_uri ? self->argv[1] : self->uri;
        colour = is_colour ? self->argv[1] : colour;
        self->argv += n;
        self->argc -= n;
        if (*is_plain) {
            break;
        }
    }
    bool is_wanted = self->is_terminal && getenv("NO_COLOR") == NULL;
    self->has_colour = strcmp(colour, "always") == 0 || (strcmp(colour, "never") != 0 && is_wanted);
    return true;
}

static int run(app *self, bool is_plain)
{
    const subcommand *at = NULL;
    for (size_t i = 0; !is_plain && (at = subcommand_at(i)) != NULL; i++) {
        if (strcmp(at->name, self->command) == 0) {
            break;
        }
    }
    if (at == NULL) {
        return run_plain(self);
    }
    self->argv++;
    self->argc--;
    self->is_json = args_flag(self, "--json") || self->is_json;
    return at->run(self);
}

int main(int argc, char **argv)
{
    app self = {.command = "", .uri = getenv("KEYWAY_URI")};
    bool is_plain;
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    self.argc = argc - 1;
    self.argv = argv + 1;
    self.is_terminal = isatty(STDOUT_FILENO) != 0;
    if (!read_globals(&self, &is_plain)) {
        return STATUS_USAGE;
    }
    if (self.argc == 0) {
        help(&self);
        return STATUS_USAGE;
    }
    self.command = self.argv[0];
    int status = run(&self, is_plain);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "keyway %s: what it says could not be written\n", self.command);
        status = status == STATUS_GOOD ? STATUS_FOUND : status;
    }
    return status;
}
