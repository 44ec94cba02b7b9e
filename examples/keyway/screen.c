/* SPDX-License-Identifier: BSD-3-Clause */
/* What people see: colours, units, bars, and how far long work is. */
#include "program.h"

#include <langinfo.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool has_utf8(void)
{
    const char *codeset = nl_langinfo(CODESET);
    return strcmp(codeset, "UTF-8") == 0 || strcmp(codeset, "utf8") == 0;
}

#ifdef TIOCGWINSZ
screen_size screen_of(int fd)
{
    struct winsize size = {0};
    screen_size found = {0, 0};
    if (isatty(fd) != 0 && ioctl(fd, TIOCGWINSZ, &size) == 0) {
        found = (screen_size){size.ws_col, size.ws_row};
    }
    return found;
}
#else
screen_size screen_of(int fd)
{
    (void)fd;
    return (screen_size){0, 0};
}
#endif

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
    static const char *const plain[] = {"ns", "us", "ms", "s", NULL};
    return scaled(out, ns, 1000, has_utf8() ? units : plain);
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
    if (!has_utf8()) {
        snprintf(out, BAR_TEXT, "%.*s", (left + 4) / 8, "########################################");
        return out;
    }
    for (size_t len = 0; left > 0 && len + 4 < BAR_TEXT; left -= 8) {
        strcpy(out + len, eighths[left > 8 ? 8 : left]);
        len += strlen(out + len);
    }
    return out;
}

size_t utf8_len(const char *bytes, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = len > 0 ? (unsigned char)bytes[0] : 0xff;
    size_t n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (n < 2 || n > len || first > 0xf4) {
        return n < 2 ? n : 0;
    }
    uint32_t point = first & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | ((unsigned char)bytes[i] & 0x3f);
    }
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[n] || point > 0x10ffff || is_surrogate ? 0 : n;
}

/* Control characters of ASCII, and those of 0x80 to 0x9f, by which terminals are steered as well.
 */
static bool is_control(const char *bytes, size_t len)
{
    unsigned char first = (unsigned char)bytes[0];
    return first < 0x20 || first == 0x7f ||
           (len == 2 && first == 0xc2 && (unsigned char)bytes[1] < 0xa0);
}

void put_shown(FILE *out, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t n = utf8_len(bytes, len);
        bool is_plain = n > 0 && !is_control(bytes, n);
        n = n > 0 ? n : 1;
        if (is_plain) {
            fwrite(bytes, 1, n, out);
        }
        for (size_t i = 0; !is_plain && i < n; i++) {
            fprintf(out, "\\x%02x", (unsigned char)bytes[i]);
        }
        bytes += n;
        len -= n;
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
    /* Figures take less than the rest of the line, which must not be wrapped. */
    int left = screen_of(STDERR_FILENO).columns - (int)strlen(title) - 44;
    self->bar_columns = left < 0 && left > -44 ? 0 : left > 0 && left < 24 ? left : 24;
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
    unit_bar(bar, self->bar_columns, share);
    fprintf(stderr, "\r\033[K%s  %s%*s", self->title, bar, self->bar_columns - text_width(bar), "");
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
