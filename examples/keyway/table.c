/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows that are aligned for people, or the same rows as JSON. */
#include "program.h"

#include <err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cell {
    paint colour;
    char *text; /* for people */
    char *json;
} cell;

struct table {
    const column *columns;
    size_t columns_n;
    cell *cells;
    size_t cells_n;
    size_t room;
    const char *narrow; /* titles that a narrow terminal does without */
    int *widths;        /* of the columns; -1: not shown */
};

static void *checked(void *block)
{
    if (block == NULL) {
        err(STATUS_USAGE, "memory");
    }
    return block;
}

table *table_new(const column *columns, size_t columns_n)
{
    table *self = checked(calloc(1, sizeof(*self)));
    self->columns = columns;
    self->columns_n = columns_n;
    return self;
}

/* Takes both texts over. */
static void add(table *self, paint colour, char *text, char *json)
{
    if (self->cells_n == self->room) {
        self->room = self->room * 2 + 64;
        self->cells = checked(realloc(self->cells, self->room * sizeof(self->cells[0])));
    }
    self->cells[self->cells_n++] = (cell){colour, checked(text), checked(json)};
}

/* What a writer of bytes leaves, as a text. */
typedef void (*writer)(FILE *out, const char *bytes, size_t len);

static char *written(writer write, const char *bytes, size_t len)
{
    char *text = NULL;
    size_t text_len = 0;
    FILE *out = checked(open_memstream(&text, &text_len));
    write(out, bytes, len);
    fclose(out);
    return text;
}

void table_bytes(table *self, paint colour, const char *bytes, size_t len)
{
    add(self, colour, written(put_shown, bytes, len), written(json_string, bytes, len));
}

void table_text(table *self, paint colour, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    add(self, colour, written(put_shown, text, strlen(text)),
        written(json_string, text, strlen(text)));
}

static bool is_whole(double number)
{
    return number > -1e15 && number < 1e15 && number == (double)(long long)number;
}

static void write_number(char out[40], double number)
{
    snprintf(out, 40, is_whole(number) ? "%.0f" : "%.6g", number);
}

void table_number(table *self, paint colour, double number, const char *text)
{
    char json[40];
    write_number(json, number);
    add(self, colour, strdup(text != NULL ? text : json), strdup(json));
}

void table_bool(table *self, bool is_true)
{
    add(self, PLAIN, strdup(is_true ? "yes" : "no"), strdup(is_true ? "true" : "false"));
}

void table_none(table *self)
{
    add(self, FAINT, strdup("-"), strdup("null"));
}

int text_width(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

static const cell *cell_at(const table *self, size_t row, size_t at)
{
    return &self->cells[row * self->columns_n + at];
}

static size_t rows_of(const table *self)
{
    return self->cells_n / self->columns_n;
}

static int column_width(const table *self, size_t at)
{
    int widest = text_width(self->columns[at].title);
    for (size_t row = 0; row < rows_of(self); row++) {
        int width = text_width(cell_at(self, row, at)->text);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static bool is_last(const table *self, size_t at)
{
    for (size_t i = at + 1; i < self->columns_n; i++) {
        if (self->widths[i] >= 0) {
            return false;
        }
    }
    return true;
}

/* Columns of the terminal that all take; those of the table that are shown have a width. */
static int whole_width(const table *self)
{
    int sum = -2;
    for (size_t at = 0; at < self->columns_n; at++) {
        sum += self->widths[at] >= 0 ? self->widths[at] + 2 : 0;
    }
    return sum;
}

void table_narrow(table *self, const char *titles)
{
    self->narrow = titles;
}

/* Which columns are shown, and how wide; those that a narrow terminal has no room for are left out,
 * in their order, and named. */
static void measure(table *self, const app *program, char *left_out, size_t left_out_len)
{
    int room = program->is_terminal ? screen_of(STDOUT_FILENO).columns : 0;
    left_out[0] = '\0';
    for (size_t at = 0; at < self->columns_n; at++) {
        self->widths[at] = self->columns[at].title != NULL ? column_width(self, at) : -1;
    }
    const char *next = self->narrow != NULL ? self->narrow : "";
    while (room > 0 && *next != '\0' && whole_width(self) > room) {
        size_t len = strcspn(next, " ");
        for (size_t at = 0; at < self->columns_n; at++) {
            const char *title = self->columns[at].title;
            if (title != NULL && strlen(title) == len && strncmp(title, next, len) == 0) {
                self->widths[at] = -1;
                size_t used = strlen(left_out);
                snprintf(left_out + used, left_out_len - used, " %s", title);
            }
        }
        next += len;
        next += strspn(next, " ");
    }
}

static void put_cell(const table *self, const app *program, size_t at, const cell *what)
{
    int fill = self->widths[at] - text_width(what->text);
    bool is_right = self->columns[at].is_right;
    printf("%*s", is_right ? fill : 0, "");
    say_painted(program, what->colour, "%s", what->text);
    if (!is_last(self, at)) {
        printf("%*s", is_right ? 2 : fill + 2, "");
    }
}

static void print_rows(table *self, const app *program)
{
    char left_out[200];
    self->widths = checked(calloc(self->columns_n, sizeof(self->widths[0])));
    measure(self, program, left_out, sizeof(left_out));
    for (size_t at = 0; at < self->columns_n; at++) {
        if (self->widths[at] >= 0) {
            cell title = {BOLD, (char *)(uintptr_t)self->columns[at].title, NULL};
            put_cell(self, program, at, &title);
        }
    }
    printf("\n");
    for (size_t row = 0; row < rows_of(self); row++) {
        for (size_t at = 0; at < self->columns_n; at++) {
            if (self->widths[at] >= 0) {
                put_cell(self, program, at, cell_at(self, row, at));
            }
        }
        printf("\n");
    }
    if (left_out[0] != '\0') {
        say_painted(program, FAINT, "(too narrow for%s)\n", left_out);
    }
    free(self->widths);
}

static void print_json(const table *self, const char *name)
{
    printf(",\"%s\":[", name);
    for (size_t row = 0; row < rows_of(self); row++) {
        bool has_more = false;
        printf("%s{", row > 0 ? "," : "");
        for (size_t at = 0; at < self->columns_n; at++) {
            if (self->columns[at].name != NULL) {
                printf("%s\"%s\":%s", has_more ? "," : "", self->columns[at].name,
                       cell_at(self, row, at)->json);
                has_more = true;
            }
        }
        printf("}");
    }
    printf("]");
}

void table_print(table *self, const app *program, const char *name)
{
    if (program->is_json) {
        print_json(self, name);
    } else {
        print_rows(self, program);
    }
    for (size_t i = 0; i < self->cells_n; i++) {
        free(self->cells[i].text);
        free(self->cells[i].json);
    }
    free(self->cells);
    free(self);
}

void json_string(FILE *out, const char *bytes, size_t len)
{
    fputc('"', out);
    while (len > 0) {
        unsigned char byte = (unsigned char)bytes[0];
        size_t n = utf8_len(bytes, len);
        if (byte == '"' || byte == '\\') {
            fprintf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(out, "\\u%04x", byte);
        } else if (n > 0) {
            fwrite(bytes, 1, n, out);
        } else {
            fputs("\\ufffd", out); /* JSON is UTF-8; this stands for what is not */
        }
        bytes += n > 0 ? n : 1;
        len -= n > 0 ? n : 1;
    }
    fputc('"', out);
}

void json_open(const app *self)
{
    if (self->is_json) {
        printf("{\"command\":\"%s\"", self->command);
    }
}

void json_text(const app *self, const char *name, const char *text)
{
    if (self->is_json) {
        printf(",\"%s\":", name);
        json_string(stdout, text, strlen(text));
    }
}

void json_number(const app *self, const char *name, double number)
{
    if (self->is_json) {
        char text[40];
        write_number(text, number);
        printf(",\"%s\":%s", name, text);
    }
}

void json_close(const app *self)
{
    if (self->is_json) {
        printf("}\n");
    }
}
