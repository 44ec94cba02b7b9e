/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: looks at, and works on, whatever servers a URI names. */
#include "program.h"

#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void help(const app *self)
{
    printf("usage: keyway [-u URI] [--json] [--color always|never|auto] [--node NODE]\n"
           "              COMMAND [ARGUMENT...]\n\n");
    const subcommand *at;
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        say_painted(self, BOLD, "  %-11s", at->name);
        printf("%s\n", at->help);
    }
    printf("\nkeyway help COMMAND has its arguments. Anything else is a command for the servers:\n"
           "keyway get k, keyway -- del k, keyway --node HOST:PORT info. The URI may come from\n"
           "KEYWAY_URI. 0 is well, 1 is a fault that was found or answered, 2 is wrong arguments,\n"
           "or nobody who answers.\n");
}

/* What one subcommand does, and its arguments. */
static int help_one(const app *self, const subcommand *what)
{
    json_open(self);
    json_text(self, "name", what->name);
    json_text(self, "usage", what->usage);
    json_text(self, "help", what->help);
    json_close(self);
    say(self, "usage: keyway [-u URI] [--json] %s%s%s\n\n%s\n", what->name,
        what->usage[0] != '\0' ? " " : "", what->usage, what->help);
    return STATUS_GOOD;
}

static int run_help(app *self)
{
    static const column columns[] = {
        {"NAME", "name", false}, {"USAGE", "usage", false}, {"HELP", "help", false}};
    if (!args_end(self, 0, 1)) {
        return STATUS_USAGE;
    }
    if (self->argc == 1) {
        const subcommand *what = subcommand_find(self->argv[0]);
        return what != NULL ? help_one(self, what)
                            : args_usage(self, "%s is no subcommand", self->argv[0]);
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
    {"help", run_help, "[COMMAND]", "this list, or what one of them takes"},
};

const subcommand *subcommand_at(size_t index)
{
    return index < sizeof(subcommands) / sizeof(subcommands[0]) ? &subcommands[index] : NULL;
}

const subcommand *subcommand_find(const char *name)
{
    const subcommand *at = NULL;
    for (size_t i = 0; (at = subcommand_at(i)) != NULL && strcmp(at->name, name) != 0; i++) {
    }
    return at;
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

/* False, and said, where it is no word for when there are colours. */
static bool read_colour(app *self, const char *when)
{
    bool is_auto = strcmp(when, "auto") == 0;
    self->has_colour = strcmp(when, "always") == 0;
    if (!is_auto && !self->has_colour && strcmp(when, "never") != 0) {
        fprintf(stderr, "keyway: --color %s: always, never or auto\n", when);
        return false;
    }
    if (is_auto) {
        const char *none = getenv("NO_COLOR");
        const char *terminal = getenv("TERM");
        self->has_colour = self->is_terminal && (none == NULL || *none == '\0') &&
                           (terminal == NULL || strcmp(terminal, "dumb") != 0);
    }
    return true;
}

/* Takes the value of an option, "--name value" or "--name=value"; false where it is another option.
 * *value: NULL where it lacks its value. */
static bool read_value(app *self, const char *name, const char **value)
{
    const char *word = self->argv[0];
    size_t len = strlen(name);
    if (strncmp(word, name, len) != 0) {
        return false;
    }
    bool has_value = name[1] == '-' && word[len] == '=';
    if (!has_value && word[len] != '\0') {
        return false;
    }
    *value = has_value ? word + len + 1 : self->argc > 1 ? self->argv[1] : NULL;
    self->argv += has_value || self->argc < 2 ? 1 : 2;
    self->argc -= has_value || self->argc < 2 ? 1 : 2;
    return true;
}

/* Options before the command; false, and said, where one is wrong. *plain: behind --. */
static bool read_globals(app *self, bool *is_plain)
{
    const char *colour = "auto";
    *is_plain = false;
    while (self->argc > 0 && self->argv[0][0] == '-' && !*is_plain) {
        read_alias(&self->argv[0]);
        const char *name = self->argv[0];
        if (name[0] != '-') {
            break;
        }
        if (strcmp(name, "--json") == 0 || strcmp(name, "--") == 0) {
            self->is_json = self->is_json || name[2] != '\0';
            *is_plain = name[2] == '\0';
            self->argv++;
            self->argc--;
            continue;
        }
        const char *value = NULL;
        const char **to = read_value(self, "-u", &value) || read_value(self, "--uri", &value)
                              ? &self->uri
                          : read_value(self, "--color", &value) ? &colour
                          : read_value(self, "--node", &value)  ? &self->node
                                                                : NULL;
        if (to == NULL || value == NULL) {
            fprintf(stderr, "keyway: %s: %s (keyway help lists all)\n", name,
                    to == NULL ? "no such option" : "lacks its value");
            return false;
        }
        *to = value;
    }
    return read_colour(self, colour);
}

static int run(app *self, bool is_plain)
{
    const subcommand *at = is_plain ? NULL : subcommand_find(self->command);
    if (at == NULL) {
        return run_plain(self);
    }
    self->argv++;
    self->argc--;
    if (self->node != NULL) {
        return args_usage(self, "--node is for commands that go to servers");
    }
    if (args_flag(self, "--help")) {
        return help_one(self, at);
    }
    self->is_json = args_flag(self, "--json") || self->is_json;
    return at->run(self);
}

/* A standard descriptor that is closed would be that of the first connection, and what is printed
 * would go to a server. What stands in for it cannot be written to. */
static void fill_descriptors(void)
{
    int fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = open("/dev/null", O_RDONLY);
    }
    if (fd >= 0) {
        close(fd);
    }
}

int main(int argc, char **argv)
{
    app self = {.command = "", .uri = getenv("KEYWAY_URI")};
    bool is_plain;
    fill_descriptors();
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
