/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway, the program: what its parts share. It uses the public headers alone. */
#ifndef KEYWAY_PROGRAM_H
#define KEYWAY_PROGRAM_H

#include <keyway.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the program ends with. */
enum {
    STATUS_GOOD = 0,
    STATUS_FOUND = 1, /* something is wrong, and was said */
    STATUS_USAGE = 2  /* it could not begin: wrong arguments, or nobody to ask */
};

/* One run of the program. */
typedef struct app {
    const char *command; /* the subcommand */
    const char *uri;     /* NULL: not given */
    bool is_json;
    bool has_colour;
    bool is_terminal; /* standard output is one */
    char **argv;      /* what is left for the subcommand .. */
    int argc;         /* .. and how many */
    const char *node; /* a plain command is for this one alone; NULL: for whom it concerns */
    bool is_wrong;    /* an argument was, and was said to be */
} app;

/* args.c */

/* Takes an option away from the arguments; true where it was there. */
bool args_flag(app *self, const char *name);

/* Takes an option with its value away; otherwise where it was not there. */
const char *args_value(app *self, const char *name, const char *otherwise);
uint64_t args_number(app *self, const char *name, uint64_t otherwise);

/* False where the text is no number of digits alone. */
bool read_number(uint64_t *number, const char *text);

/* False, and said, where options are left, or fewer or more words than that. */
bool args_end(app *self, int min, int max);

/* Says what is wrong with the arguments, and how the subcommand is used. */
int args_usage(const app *self, const char *format, ...);

/* client.c */

/* The handle of the URI; NULL, and said, where there is none. */
kw_client *client_open(const app *self, const char *uri);

/* client_open, connected. */
kw_client *client_connect(const app *self, const char *uri);

/* Asks one node: "host:port", or the name of a ring's member. The words end with NULL. */
kw_reply *client_ask(kw_client *client, kw_error *error, const char *node,
                     const char *const *words);

/* Nodes of the map: primaries in their order, each before its replicas. */
typedef struct fleet {
    kw_node_stats *nodes;
    size_t *numbers; /* by which the handle knows them */
    size_t n;
} fleet;
bool fleet_load(fleet *self, kw_client *client);
void fleet_free(fleet *self);

/* The name by which a node is asked, and shown. */
const char *node_name(const kw_node_stats *node);

/* The number that a server's text begins with; 0 for what is none, and for nan and inf. */
double number_of(const char *text);

/* A field of INFO's text, or NULL; number: 0 where it is not there. */
const char *info_text(char *out, size_t out_len, const kw_reply *info, const char *field);
double info_number(const kw_reply *info, const char *field);

/* Nanoseconds of a clock that never goes back, and a pause. */
uint64_t now_ns(void);
void pause_ms(uint64_t ms);

/* From now on the first SIGINT or SIGTERM does not end the program: whether one has come. */
void catch_signals(void);
bool is_interrupted(void);

/* screen.c */

typedef enum paint {
    PLAIN = 0,
    BOLD = 1,
    FAINT = 2,
    RED = 31,
    GREEN = 32,
    YELLOW = 33,
    CYAN = 36
} paint;

/* Text for people: nothing with --json. */
void say(const app *self, const char *format, ...);
void say_painted(const app *self, paint colour, const char *format, ...);

/* Numbers with units, in a text of the caller's. */
#define UNIT_TEXT 24
const char *unit_bytes(char out[UNIT_TEXT], double bytes);
const char *unit_count(char out[UNIT_TEXT], double count);
const char *unit_time(char out[UNIT_TEXT], double ns);
const char *unit_share(char out[UNIT_TEXT], double share);

/* A bar of so many columns, share of them full. */
#define BAR_TEXT 200
const char *unit_bar(char out[BAR_TEXT], int columns, double share);

/* Whether people see UTF-8; else units and bars are of ASCII. */
bool has_utf8(void);

/* The size of the terminal that a descriptor is; zeros: none, or it does not say. */
typedef struct screen_size {
    int columns;
    int rows;
} screen_size;
screen_size screen_of(int fd);

/* Bytes of the character of UTF-8 that a text begins with; 0: it begins with none. */
size_t utf8_len(const char *bytes, size_t len);

/* Columns that a text of UTF-8 takes. */
int text_width(const char *text);

/* Bytes that may hold anything, as UTF-8 without control characters: what is not is \xNN. */
void put_shown(FILE *out, const char *bytes, size_t len);

/* How far a long piece of work is, on standard error where that is a terminal. */
typedef struct progress {
    const char *title;
    double total; /* 0: not known */
    int bar_columns;
    uint64_t next_ns;
    uint64_t begun_ns;
    bool is_shown;
} progress;
void progress_begin(progress *self, const app *program, const char *title, double total);
void progress_to(progress *self, double done);
void progress_end(progress *self);

/* table.c: rows for people, or JSON. */

typedef struct column {
    const char *title; /* NULL: in JSON only */
    const char *name;  /* in JSON; NULL: for people only */
    bool is_right;
} column;

typedef struct table table;
table *table_new(const column *columns, size_t columns_n);
void table_text(table *self, paint colour, const char *format, ...);
void table_bytes(table *self, paint colour, const char *bytes, size_t len);
void table_number(table *self, paint colour, double number, const char *text);
void table_bool(table *self, bool is_true);
void table_none(table *self); /* null, and a dash */

/* Columns that are left out first where a terminal is too narrow: their titles, with a space behind
 * each. */
void table_narrow(table *self, const char *titles);

/* Prints the rows, in JSON as a member of that name; and frees the table. */
void table_print(table *self, const app *program, const char *name);

/* The object that --json prints: opened and closed once, members between. */
void json_open(const app *self);
void json_text(const app *self, const char *name, const char *text);
void json_number(const app *self, const char *name, double number);
void json_close(const app *self);
void json_string(FILE *out, const char *bytes, size_t len);

/* heat.c: where the slots of a cluster are busy. Begins with zeros. */
typedef struct heat {
    double before[KW_SLOTS_N]; /* microseconds that servers have spent for each slot .. */
    double now[KW_SLOTS_N];    /* .. and as of the last look */
    bool was_counted;          /* each primary has told what before says .. */
    bool is_counted;           /* .. and now */
    bool is_refused;           /* one does not count: nobody is asked again */
} heat;

/* Asks the primaries. */
void heat_look(heat *self, kw_client *client, const fleet *all);

/* Prints the map, and where nothing was done nothing. rates: each node's calls a second. */
void heat_put(const heat *self, const app *program, kw_client *client, const fleet *all,
              const double *rates);

/* Lines of the map, and of what stands above it. */
int heat_lines(const app *program);

/* walk.c: all keys, batch by batch. */
typedef struct walk {
    kw_client *client;
    kw_scan *scan;
    kw_scan_batch batch;
    const char *state; /* the file by which a walk goes on where it stopped; NULL: none */
    bool was_begun;    /* it goes on with that of an earlier run */
    double total;      /* keys when it began */
} walk;

/* What is walked: all may be NULL. */
typedef struct walk_of {
    const char *match;
    const char *type;
    const char *node;
    const char *state;
} walk_of;

/* False, and said, where it cannot begin. An interrupt ends it, as KW_ERR_CANCELLED. */
bool walk_begin(walk *self, const app *program, kw_client *client, const walk_of *of);

/* The next batch with keys, good until the next call; NULL at the end, with error's code KW_OK, or
 * because of an error. */
const kw_scan_batch *walk_next(walk *self, kw_error *error);

/* The batch was done: the walk may go on behind it, in another process too. False where that could
 * not be written. */
bool walk_save(walk *self, kw_error *error);

/* Keys that are behind it, about. */
double walk_done(const walk *self);
void walk_end(walk *self, bool is_whole);

/* The subcommands; each returns the status. */
int run_slot(app *self);
int run_why(app *self);
int run_spread(app *self);
int run_whatif(app *self);
int run_nodes(app *self);
int run_check(app *self);
int run_top(app *self);
int run_watch(app *self);
int run_bench(app *self);
int run_scan(app *self);
int run_bigkeys(app *self);
int run_del(app *self);
int run_migrate(app *self);
int run_repair(app *self);
int run_plain(app *self);
int run_completion(app *self);

/* One row of the list of subcommands. */
typedef struct subcommand {
    const char *name;
    int (*run)(app *self);
    const char *usage;
    const char *help;
} subcommand;

/* NULL past the last one, and where there is none of the name. */
const subcommand *subcommand_at(size_t index);
const subcommand *subcommand_find(const char *name);

#endif
