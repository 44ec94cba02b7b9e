/* SPDX-License-Identifier: BSD-3-Clause */
/* The program keyway, run by a test: what it prints and what it ends with, in a pipe or in a
 * pseudo-terminal, beside texts that were good before. */
#ifndef SUPPORT_PROGRAM_H
#define SUPPORT_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#define KW_PROGRAM_TEXT 65536

typedef struct kw_program_run {
    int status; /* what it ended with */
    char out[KW_PROGRAM_TEXT];
    char err[KW_PROGRAM_TEXT]; /* nothing of a terminal: there both are in out */
} kw_program_run;

/* Where it was built, from how the test was called (main's argv[0]). */
void kw_program_find(const char *test);

/* Runs it with the words of a line (no quotes: %20 is a space). is_terminal: all of it is in a
 * pseudo-terminal, and it is sent an interrupt once it has printed stop, unless that is NULL. */
void kw_program_run_line(kw_program_run *run, bool is_terminal, const char *stop, const char *line);

/* A pseudo-terminal of that size (zeros: it has none), in that locale, which is sent an interrupt
 * once stop was printed, unless that is NULL. */
typedef struct kw_program_terminal {
    int columns;
    int rows;
    const char *locale; /* NULL: one of UTF-8, in which all else is run */
    const char *stop;
} kw_program_terminal;
void kw_program_run_on(kw_program_run *run, const kw_program_terminal *terminal, const char *line);

/* Runs it with its standard output in a file, such as /dev/full; NULL: it is closed. */
void kw_program_run_into(kw_program_run *run, const char *path, const char *line);

/* Replaces what differs from run to run: each from by its to, of which there are n. */
void kw_program_rename(char *text, const char *const *from, const char *const *to, size_t n);

/* Replaces numbers, and units behind them, by #, and runs of spaces by one. */
void kw_program_level(char *text);

/* Fails where the text differs from that of the file tests/<name>; with KW_TEST_WRITE in the
 * environment it is written there. */
void kw_program_expect(const char *text, const char *name);

#endif
