/* SPDX-License-Identifier: BSD-3-Clause */
/* What people see: colours, units, bars, and how far long work is. */
#include "program.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

void say(const app *self, const char *format, ...)
{
    if (!self->is_json) {
        va_list values;
        va_start(values, format);
        vprintf(format, values);
        va_end(values);
    }
}

void say_painted(const app *self, paint colour, const char *format, ...)
{
    if (self->is_json) {
        return;
    }
    bool is_painted = self->has_colour && colour != PLAIN;
    if (is_painted) {
        printf("\033[%dm", (int)colour);
    }
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    if (is_painted) {
        printf("\033[0m");
    }
}

/* Three digits at most, and the unit of the right size. */
static const char *scaled(char out[UNIT_TEXT], double value, double step, const char *const *units)
{
    size_t at = 0;
    while (value >= 999.5 && units[at + 1] != NULL) {
        value /= step;
        at++;
    }
    int digits = at == 0 && value == (double)(long long)value ? 0
                 : value < 9.95                               ? 2
                 : value < 99.5                               ? 1
                                                              : 0;
    digits = digits == 2 ? 1 : digits;
    snprintf(out, UNIT_TEXT, "%.*f%s%s", digits, value, units[at][0] != '\0' ? " " : "", units[at]);
    return out;
}

const char *unit_bytes(char out[UNIT_TEXT], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL};
    return scaled(out, bytes, 1024, units);
}

const char *unit_count(char out[UNIT_TEXT], double count)
{
    static const char *const units[] = {"", "k", "M", "G", NULL};
    return scaled(out, count, 1000, units);
}

const char *unit_time(char out[UNIT_TEXT], double ns)
{
    static const char *const units[] = {"ns", "µs", "ms", "s", NULL};
    return scaled(out, ns, 1000, units);
}

const char *unit_share(char out[UNIT_TEXT], double share)
{
    snprintf(out, UNIT_TEXT, "%.1f %%", share * 100);
    return out;
}

const char *unit_bar(char out[BAR_TEXT], int columns, double share)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    double part = share < 0 ? 0 : share > 1 ? 1 : share;
    int left = (int)(part * columns * 8 + 0.5);
    out[0] = '\0';
    for (size_t len = 0; left > 0 && len + 4 < BAR_TEXT; left -= 8) {
        strcpy(out + len, eighths[left > 8 ? 8 : left]);
        len += strlen(out + len);
    }
    return out;
}

void put_shown(FILE *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte < 0x20 || byte == 0x7f) {
            fprintf(out, "\\x%02x", byte);
        } else {
            fputc(byte, out);
        }
    }
}

#define PROGRESS_PAUSE_NS UINT64_C(100000000)

void progress_begin(progress *self, const app *program, const char *title, double total)
{
    self->title = title;
    self->total = total;
    self->begun_ns = now_ns();
    self->next_ns = self->begun_ns + PROGRESS_PAUSE_NS; /* what is quick needs no bar */
    self->is_shown = !program->is_json && isatty(STDERR_FILENO) != 0;
}

void progress_to(progress *self, double done)
{
    uint64_t now = self->is_shown ? now_ns() : 0;
    if (!self->is_shown || now < self->next_ns) {
        return;
    }
    char bar[BAR_TEXT];
    char count[UNIT_TEXT];
    char rate[UNIT_TEXT];
    double seconds = (double)(now - self->begun_ns) / 1e9;
    double share = self->total > 0 ? done / self->total : 0;
    share = share < 1 ? share : 1;
    unit_bar(bar, 24, share);
    fprintf(stderr, "\r\033[K%s  %s", self->title, bar);
    if (self->total > 0) {
        fprintf(stderr, " %3.0f %%", share * 100);
    }
    fprintf(stderr, "  %s  %s/s", unit_count(count, done), unit_count(rate, done / seconds));
    if (share > 0.01 && share < 1) {
        fprintf(stderr, "  %.0f s left", seconds / share - seconds);
    }
    fflush(stderr);
    self->next_ns = now + PROGRESS_PAUSE_NS;
}

void progress_end(progress *self)
{
    if (self->is_shown) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}
