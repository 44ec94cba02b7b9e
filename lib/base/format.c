/* SPDX-License-Identifier: BSD-3-Clause */
/* A command's format and its values become arguments, by the rules of hiredis. */
#include "base/format.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Digits of a width or a precision; what is longer is a mistake, not a number. */
#define WIDTH_DIGITS_MAX 5
#define SPEC_MAX         24

typedef enum length_kind {
    LENGTH_INT,
    LENGTH_CHAR,
    LENGTH_SHORT,
    LENGTH_LONG,
    LENGTH_LONG_LONG,
    LENGTH_SIZE,
    LENGTH_MAX,
    LENGTH_POINTER_DIFFERENCE
} length_kind;

/* One conversion of printf, taken apart. */
typedef struct conversion {
    const char *flags; /* flags, width and precision, as written */
    size_t flags_len;
    length_kind length;
    char letter;
} conversion;

/* While a format is read, argv[i].len is the offset in text at which argument i ends:
 * the bytes may still move. */
typedef struct formatter {
    kw_args *args; /* what is being filled */
    kw_error *error;
    const char *format; /* its first byte, for positions in errors */
    const char *at;     /* the byte that is read next */
    va_list values;
} formatter;

void kw_args_init(kw_args *args, const kw_allocator *mem)
{
    args->mem = mem;
    args->argc = 0;
    args->argv = args->inline_argv;
    args->capacity = KW_ARGS_INLINE;
    kw_buf_init(&args->text, mem, args->inline_text, sizeof(args->inline_text));
}

void kw_args_fini(kw_args *args)
{
    if (args->argv != args->inline_argv) {
        kw_mem_free(args->mem, args->argv);
    }
    args->argv = args->inline_argv;
    args->capacity = 0;
    args->argc = 0;
    kw_buf_fini(&args->text);
}

static kw_err fail_memory(const formatter *self)
{
    return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE,
                        "no memory for the arguments of a command");
}

static kw_err fail_format(const formatter *self, const char *at, const char *what)
{
    return kw_error_set(self->error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                        "command format, character %zu: %s", (size_t)(at - self->format) + 1, what);
}

static bool grow_argv(kw_args *args)
{
    bool is_inline = args->argv == args->inline_argv;
    size_t capacity;
    if (!kw_size_mul(&capacity, args->capacity, 2)) {
        return false;
    }
    kw_bytes *argv =
        kw_mem_resize(args->mem, is_inline ? NULL : args->argv, capacity, sizeof(*argv));
    if (argv == NULL) {
        return false;
    }
    if (is_inline) {
        memcpy(argv, args->inline_argv, sizeof(args->inline_argv));
    }
    args->argv = argv;
    args->capacity = capacity;
    return true;
}

static kw_err end_argument(formatter *self)
{
    kw_args *args = self->args;
    if (args->argc == args->capacity && !grow_argv(args)) {
        return fail_memory(self);
    }
    args->argv[args->argc++].len = args->text.len;
    return KW_OK;
}

static kw_err append(formatter *self, const char *data, size_t len)
{
    kw_buf *text = &self->args->text;
    if (len > text->capacity - text->len && !kw_buf_reserve(text, len)) {
        return fail_memory(self);
    }
    if (len > 0) {
        memcpy(text->data + text->len, data, len);
        text->len += len;
    }
    return KW_OK;
}

/* Plain text up to the next space, percent sign or end. A percent sign that ends the
 * format is plain text. */
static kw_err append_literal(formatter *self)
{
    const char *start = self->at;
    const char *at = start;
    while (*at != '\0' && *at != ' ' && (*at != '%' || at[1] == '\0')) {
        at++;
    }
    self->at = at;
    return append(self, start, (size_t)(at - start));
}

static kw_err append_string(formatter *self)
{
    const char *value = va_arg(self->values, const char *);
    if (value == NULL) {
        return fail_format(self, self->at, "the value of %s is NULL");
    }
    return append(self, value, strlen(value));
}

static kw_err append_bytes(formatter *self)
{
    const char *value = va_arg(self->values, const char *);
    size_t len = va_arg(self->values, size_t);
    if (value == NULL && len > 0) {
        return fail_format(self, self->at, "the pointer of %b is NULL and its length is not 0");
    }
    return append(self, value, len);
}

static bool skip_digits(const char **at)
{
    size_t n = 0;
    while (**at >= '0' && **at <= '9') {
        (*at)++;
        n++;
    }
    return n <= WIDTH_DIGITS_MAX;
}

static length_kind parse_length(const char **at)
{
    typedef struct length_row {
        const char *text;
        length_kind kind;
    } length_row;
    static const length_row rows[] = {
        {"hh", LENGTH_CHAR},
        {"h", LENGTH_SHORT},
        {"ll", LENGTH_LONG_LONG},
        {"l", LENGTH_LONG},
        {"z", LENGTH_SIZE},
        {"j", LENGTH_MAX},
        {"t", LENGTH_POINTER_DIFFERENCE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].text);
        if (strncmp(*at, rows[i].text, len) == 0) {
            *at += len;
            return rows[i].kind;
        }
    }
    return LENGTH_INT;
}

static bool is_one_of(char c, const char *letters)
{
    return c != '\0' && strchr(letters, c) != NULL;
}

/* Reads what stands behind a percent sign; *end is the byte behind the conversion. */
static bool parse_conversion(conversion *found, const char **end, const char *at)
{
    found->flags = at;
    size_t flags_n = 0;
    while (is_one_of(*at, "#0-+ ")) {
        at++;
        flags_n++;
    }
    if (flags_n > WIDTH_DIGITS_MAX || !skip_digits(&at)) {
        return false;
    }
    if (*at == '.') {
        at++;
        if (!skip_digits(&at)) {
            return false;
        }
    }
    found->flags_len = (size_t)(at - found->flags);
    found->length = parse_length(&at);
    found->letter = *at;
    *end = at + 1;
    bool is_double = found->length == LENGTH_INT || found->length == LENGTH_LONG; /* %f, and %lf */
    return is_one_of(*at, "diouxX") || (is_double && is_one_of(*at, "eEfFgGaA"));
}

static intmax_t read_signed(formatter *self, length_kind length)
{
    switch (length) {
    case LENGTH_INT:
        return va_arg(self->values, int);
    case LENGTH_CHAR:
        return (signed char)va_arg(self->values, int);
    case LENGTH_SHORT:
        return (short)va_arg(self->values, int);
    case LENGTH_LONG:
        return va_arg(self->values, long);
    case LENGTH_LONG_LONG:
        return va_arg(self->values, long long);
    case LENGTH_SIZE: /* as wide as size_t, on every POSIX system */
    case LENGTH_POINTER_DIFFERENCE:
        return va_arg(self->values, ptrdiff_t);
    case LENGTH_MAX:
        return va_arg(self->values, intmax_t);
    }
    return 0;
}

static uintmax_t read_unsigned(formatter *self, length_kind length)
{
    switch (length) {
    case LENGTH_INT:
        return va_arg(self->values, unsigned);
    case LENGTH_CHAR:
        return (unsigned char)va_arg(self->values, unsigned);
    case LENGTH_SHORT:
        return (unsigned short)va_arg(self->values, unsigned);
    case LENGTH_LONG:
        return va_arg(self->values, unsigned long);
    case LENGTH_LONG_LONG:
        return va_arg(self->values, unsigned long long);
    case LENGTH_SIZE:
    case LENGTH_POINTER_DIFFERENCE:
        return va_arg(self->values, size_t);
    case LENGTH_MAX:
        return va_arg(self->values, uintmax_t);
    }
    return 0;
}

/* Writes the conversion as snprintf is to have it: for an intmax_t or a double, whatever type
 * the caller gave. */
static void build_spec(char spec[SPEC_MAX], const conversion *found, bool is_integer)
{
    size_t len = 0;
    spec[len++] = '%';
    memcpy(spec + len, found->flags, found->flags_len);
    len += found->flags_len;
    if (is_integer) {
        spec[len++] = 'j';
    }
    spec[len++] = found->letter;
    spec[len] = '\0';
}

/* Servers read a point, whatever the host's locale writes. */
static void use_point(kw_buf *text, size_t start)
{
    size_t out = start;
    bool is_mark = false;
    for (size_t i = start; i < text->len; i++) {
        char c = text->data[i];
        bool is_number = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == ' ';
        if (is_number || !is_mark) {
            text->data[out++] = is_number ? c : '.';
        }
        is_mark = !is_number;
    }
    text->len = out;
}

/* Makes room for what snprintf said it needs and its zero byte. */
static kw_err reserve_printed(formatter *self, int len)
{
    if (len < 0) {
        return fail_format(self, self->at, "the value cannot be written");
    }
    return kw_buf_reserve(&self->args->text, (size_t)len + 1) ? KW_OK : fail_memory(self);
}

static kw_err append_integer(formatter *self, const conversion *found)
{
    kw_buf *text = &self->args->text;
    bool is_signed = found->letter == 'd' || found->letter == 'i';
    intmax_t number = is_signed ? read_signed(self, found->length) : 0;
    uintmax_t bits = is_signed ? (uintmax_t)number : read_unsigned(self, found->length);
    if (found->flags_len == 0 && (is_signed || found->letter == 'u')) {
        char digits[24];
        size_t len = 0;
        if (number < 0) {
            digits[len++] = '-';
            bits = 0 - bits;
        }
        len += kw_uint_to_text(digits + len, bits);
        return append(self, digits, len);
    }
    char spec[SPEC_MAX];
    build_spec(spec, found, true);
    size_t room = text->capacity - text->len;
    int len = is_signed ? snprintf(text->data + text->len, room, spec, number)
                        : snprintf(text->data + text->len, room, spec, bits);
    if (len < 0 || (size_t)len >= room) {
        kw_err err = reserve_printed(self, len);
        if (err != KW_OK) {
            return err;
        }
        room = text->capacity - text->len;
        len = is_signed ? snprintf(text->data + text->len, room, spec, number)
                        : snprintf(text->data + text->len, room, spec, bits);
    }
    text->len += (size_t)len;
    return KW_OK;
}

static kw_err append_double(formatter *self, const conversion *found)
{
    kw_buf *text = &self->args->text;
    double number = va_arg(self->values, double);
    char spec[SPEC_MAX];
    build_spec(spec, found, false);
    size_t room = text->capacity - text->len;
    int len = snprintf(text->data + text->len, room, spec, number);
    if (len < 0 || (size_t)len >= room) {
        kw_err err = reserve_printed(self, len);
        if (err != KW_OK) {
            return err;
        }
        room = text->capacity - text->len;
        len = snprintf(text->data + text->len, room, spec, number);
    }
    size_t start = text->len;
    text->len += (size_t)len;
    use_point(text, start);
    return KW_OK;
}

static kw_err append_number(formatter *self)
{
    conversion found;
    const char *end;
    if (!parse_conversion(&found, &end, self->at + 1)) {
        return fail_format(self, self->at,
                           "no conversion of a command; %s, %b, %% and printf's numbers are known");
    }
    bool is_integer = is_one_of(found.letter, "diouxX");
    kw_err err = is_integer ? append_integer(self, &found) : append_double(self, &found);
    self->at = end;
    return err;
}

/* The conversion at self->at, which is a percent sign with a byte behind. */
static kw_err append_conversion(formatter *self)
{
    kw_err err;
    switch (self->at[1]) {
    case 's':
        err = append_string(self);
        break;
    case 'b':
        err = append_bytes(self);
        break;
    case '%':
        err = append(self, "%", 1);
        break;
    default:
        return append_number(self);
    }
    self->at += 2;
    return err;
}

static kw_err read_format(formatter *self)
{
    bool is_touched = false; /* the current argument exists, even if empty */
    while (*self->at != '\0') {
        kw_err err;
        if (*self->at == ' ') {
            err = is_touched ? end_argument(self) : KW_OK;
            is_touched = false;
            self->at++;
        } else {
            is_touched = true;
            bool is_conversion = *self->at == '%' && self->at[1] != '\0';
            err = is_conversion ? append_conversion(self) : append_literal(self);
        }
        if (err != KW_OK) {
            return err;
        }
    }
    if (is_touched) {
        return end_argument(self);
    }
    return KW_OK;
}

static void set_pointers(kw_args *args)
{
    size_t start = 0;
    for (size_t i = 0; i < args->argc; i++) {
        size_t end = args->argv[i].len;
        args->argv[i].data = args->text.data + start;
        args->argv[i].len = end - start;
        start = end;
    }
}

kw_err kw_args_format(kw_args *args, kw_error *error, const char *format, va_list values)
{
    formatter self;
    self.args = args;
    self.error = error;
    self.format = format;
    self.at = format;
    args->argc = 0;
    args->text.len = 0;
    if (format == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "command format is NULL");
    }
    va_copy(self.values, values);
    kw_err err = read_format(&self);
    va_end(self.values);
    if (err == KW_OK && args->argc == 0) {
        err = kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                           "command format has no argument, not even a command name");
    }
    if (err != KW_OK) {
        args->argc = 0;
        args->text.len = 0;
        return err;
    }
    set_pointers(args);
    return KW_OK;
}
