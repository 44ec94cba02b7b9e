/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows that are aligned for people, or the same rows as JSON. */
#include "program.h"

#include <err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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
    add(self, colour, strdup(text), written(json_string, text, strlen(text)));
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

/* Columns that a text of UTF-8 takes. */
static int width_of(const char *text)
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
    int widest = width_of(self->columns[at].title);
    for (size_t row = 0; row < rows_of(self); row++) {
        int width = width_of(cell_at(self, row, at)->text);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static bool is_last(const table *self, size_t at)
{
    for (size_t i = at + 1; i < self->columns_n; i++) {
        if (self->columns[i].title != NULL) {
            return false;
        }
    }
    return true;
}

static void put_cell(const table *self, const app *program, size_t at, const cell *what)
{
    int fill = column_width(self, at) - width_of(what->text);
    bool is_right = self->columns[at].is_right;
    printf("%*s", is_right ? fill : 0, "");
    say_painted(program, what->colour, "%s", what->text);
    if (!is_last(self, at)) {
        printf("%*s", is_right ? 2 : fill + 2, "");
    }
}

static void print_rows(const table *self, const app *program)
{
    for (size_t at = 0; at < self->columns_n; at++) {
        if (self->columns[at].title != NULL) {
            cell title = {BOLD, (char *)(uintptr_t)self->columns[at].title, NULL};
            put_cell(self, program, at, &title);
        }
    }
    printf("\n");
    for (size_t row = 0; row < rows_of(self); row++) {
        for (size_t at = 0; at < self->columns_n; at++) {
            if (self->columns[at].title != NULL) {
                put_cell(self, program, at, cell_at(self, row, at));
            }
        }
        printf("\n");
    }
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
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\') {
            fprintf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(out, "\\u%04x", byte);
        } else {
            fputc(byte, out);
        }
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
