/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads requests from the bytes that a scripted server gets. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/fake_parts.h"

void fake_bytes_add(fake_bytes *bytes, const char *data, size_t len)
{
    if (bytes->at == bytes->len) {
        bytes->at = 0;
        bytes->len = 0;
    }
    if (bytes->cap - bytes->len < len) {
        size_t cap = (bytes->len + len) * 2;
        char *grown = realloc(bytes->data, cap);
        if (grown == NULL) {
            kw_test_die("no memory");
        }
        bytes->data = grown;
        bytes->cap = cap;
    }
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

void fake_command_free(fake_command *command)
{
    if (command != NULL) {
        for (size_t i = 0; i < command->argc; i++) {
            free(command->argv[i]);
        }
        free(command->argv);
        free(command->lens);
        free(command);
    }
}

/* "*3\r\n": its number, and *at behind it. 1, 0 (more bytes) or -1. */
static int read_number(const fake_bytes *in, size_t *at, char type, size_t *number)
{
    const char *start = in->data + *at;
    size_t left = in->len - *at;
    if (left == 0) {
        return 0;
    }
    const char *end = memchr(start, '\n', left);
    if (start[0] != type || (end == NULL && left > 32)) {
        return -1;
    }
    if (end == NULL) {
        return 0;
    }
    *number = 0;
    for (const char *c = start + 1; c < end - 1; c++) {
        if (!isdigit((unsigned char)*c)) {
            return -1;
        }
        *number = *number * 10 + (size_t)(*c - '0');
    }
    *at = (size_t)(end - in->data) + 1;
    return end[-1] == '\r' && end - start >= 3 ? 1 : -1;
}

static int read_argument(const fake_bytes *in, size_t *at, fake_command *command)
{
    size_t len;
    int got = read_number(in, at, '$', &len);
    if (got != 1) {
        return got;
    }
    if (in->len - *at < len + 2) {
        return 0;
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        kw_test_die("no memory");
    }
    memcpy(copy, in->data + *at, len);
    copy[len] = '\0';
    command->argv[command->argc] = copy;
    command->lens[command->argc] = len;
    command->argc++;
    *at += len + 2;
    return 1;
}

/* The arguments in one line for people and patterns. */
static void render(fake_command *command)
{
    size_t room = sizeof(command->text);
    size_t used = 0;
    for (size_t i = 0; i < command->argc; i++) {
        if (i > 0 && used + 1 < room) {
            command->text[used++] = ' ';
        }
        for (size_t j = 0; j < command->lens[i] && used + 5 < room; j++) {
            unsigned char c = (unsigned char)command->argv[i][j];
            if (c >= ' ' && c < 0x7f) {
                command->text[used++] = (char)c;
            } else {
                used += (size_t)snprintf(command->text + used, room - used, "\\x%02x", c);
            }
        }
    }
    command->text[used] = '\0';
}

int fake_request_next(fake_bytes *in, fake_command **out)
{
    size_t at = in->at;
    size_t argc;
    int got = read_number(in, &at, '*', &argc);
    if (got != 1) {
        return got;
    }
    fake_command *command = calloc(1, sizeof(*command));
    if (argc == 0 || command == NULL) {
        free(command);
        return -1;
    }
    command->argv = calloc(argc, sizeof(*command->argv));
    command->lens = calloc(argc, sizeof(*command->lens));
    if (command->argv == NULL || command->lens == NULL) {
        kw_test_die("no memory");
    }
    while (got == 1 && command->argc < argc) {
        got = read_argument(in, &at, command);
    }
    if (got != 1) {
        fake_command_free(command);
        return got;
    }
    render(command);
    in->at = at;
    *out = command;
    return 1;
}

bool fake_matches(const char *pattern, const char *text)
{
    const char *star = NULL; /* behind the last star */
    const char *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == '?' ||
                   tolower((unsigned char)*pattern) == tolower((unsigned char)*text)) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}
