/* SPDX-License-Identifier: BSD-3-Clause */
/* The arguments of a subcommand: options anywhere, words in their order. Behind -- all are words.
 */
#include "program.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void take(app *self, int at, int n)
{
    self->argc -= n;
    for (int i = at; i < self->argc; i++) {
        self->argv[i] = self->argv[i + n];
    }
}

/* Where the option is, or -1. */
static int find(const app *self, const char *name)
{
    for (int i = 0; i < self->argc && strcmp(self->argv[i], "--") != 0; i++) {
        if (strcmp(self->argv[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

bool args_flag(app *self, const char *name)
{
    int at = find(self, name);
    if (at < 0) {
        return false;
    }
    take(self, at, 1);
    return true;
}

/* The value of an option in one word, "--name=value"; NULL: there is none. */
static const char *joined_value(app *self, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < self->argc && strcmp(self->argv[i], "--") != 0; i++) {
        const char *word = self->argv[i];
        if (strncmp(word, name, len) == 0 && word[len] == '=') {
            take(self, i, 1);
            return word + len + 1;
        }
    }
    return NULL;
}

const char *args_value(app *self, const char *name, const char *otherwise)
{
    int at = find(self, name);
    if (at < 0) {
        const char *joined = joined_value(self, name);
        return joined != NULL ? joined : otherwise;
    }
    if (at + 1 >= self->argc) {
        args_usage(self, "%s lacks its value", name);
        self->is_wrong = true;
        return otherwise;
    }
    const char *value = self->argv[at + 1];
    take(self, at, 2);
    return value;
}

bool read_number(uint64_t *number, const char *text)
{
    char *end = NULL;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0';
}

uint64_t args_number(app *self, const char *name, uint64_t otherwise)
{
    const char *text = args_value(self, name, NULL);
    uint64_t number = otherwise;
    if (text != NULL && !read_number(&number, text)) {
        args_usage(self, "%s %s: that is no number", name, text);
        self->is_wrong = true;
    }
    return number;
}

bool args_end(app *self, int min, int max)
{
    const char *short_option = NULL;
    if (self->is_wrong) {
        return false;
    }
    for (int i = 0; i < self->argc; i++) {
        if (strcmp(self->argv[i], "--") == 0) {
            take(self, i, 1);
            break;
        }
        if (strncmp(self->argv[i], "--", 2) == 0) {
            args_usage(self, "%s: no such option", self->argv[i]);
            return false;
        }
        bool is_short = self->argv[i][0] == '-' && self->argv[i][1] != '\0';
        short_option = is_short && short_option == NULL ? self->argv[i] : short_option;
    }
    if (self->argc > max && short_option != NULL) {
        args_usage(self, "%s: no such option", short_option);
        return false;
    }
    if (self->argc < min || self->argc > max) {
        args_usage(self, self->argc < min ? "something is missing" : "too many arguments");
        return false;
    }
    return true;
}

int args_usage(const app *self, const char *format, ...)
{
    const subcommand *what = subcommand_find(self->command);
    va_list values;
    va_start(values, format);
    fprintf(stderr, "keyway %s: ", self->command);
    vfprintf(stderr, format, values);
    va_end(values);
    const char *usage = what != NULL ? what->usage : "";
    fprintf(stderr, "\nusage: keyway %s%s%s\n", self->command, *usage != '\0' ? " " : "", usage);
    return STATUS_USAGE;
}
