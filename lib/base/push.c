/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the messages of subscriptions in place: lengths, and what they say is there. */
#include "base/push.h"

#include <string.h>

/* A line (a length, a status, an error) is shorter. */
#define LINE_MAX_LEN ((size_t)64 * 1024)

/* A longer number is none that a server writes. */
#define DIGITS_MAX 18

/* Elements within elements that are passed over, all in all. */
#define NESTED_MAX ((size_t)4096)

typedef struct cursor {
    const char *start;
    const char *at;
    const char *end;
    size_t len_max;   /* from start on */
    size_t nested_n;  /* elements within elements so far */
    size_t short_len; /* bytes that are known to be missing */
} cursor;

/* A line up to its end; at stands behind that. */
static kw_push_state read_line(cursor *self, kw_bytes *line)
{
    size_t len = (size_t)(self->end - self->at);
    const char *stop = memchr(self->at, '\r', len);
    if (stop == NULL) {
        return len > LINE_MAX_LEN ? KW_PUSH_BAD : KW_PUSH_MORE;
    }
    if (self->end - stop < 2) {
        return KW_PUSH_MORE;
    }
    line->data = self->at;
    line->len = (size_t)(stop - self->at);
    self->at = stop + 2;
    return stop[1] == '\n' && line->len <= LINE_MAX_LEN ? KW_PUSH_WHOLE : KW_PUSH_BAD;
}

/* A number and the end of its line. */
static inline kw_push_state read_number(cursor *self, long long *value)
{
    const char *at = self->at;
    bool is_negative = at < self->end && *at == '-';
    at += is_negative;
    const char *first = at;
    long long number = 0;
    for (; at < self->end && *at >= '0' && *at <= '9'; at++) {
        if (at - first == DIGITS_MAX) {
            return KW_PUSH_BAD;
        }
        number = number * 10 + (*at - '0');
    }
    if (self->end - at < 2) {
        bool is_bad = (at < self->end && *at != '\r') || (at < self->end && at == first);
        return is_bad ? KW_PUSH_BAD : KW_PUSH_MORE;
    }
    if (at == first || at[0] != '\r' || at[1] != '\n') {
        return KW_PUSH_BAD;
    }
    *value = is_negative ? -number : number;
    self->at = at + 2;
    return KW_PUSH_WHOLE;
}

/* So many bytes and the end of a line behind them. */
static inline kw_push_state read_text(cursor *self, kw_push_item *item, long long len)
{
    size_t used_len = (size_t)(self->at - self->start) + 2;
    if (used_len > self->len_max || (unsigned long long)len > self->len_max - used_len) {
        return KW_PUSH_BAD;
    }
    if (len + 2 > self->end - self->at) {
        self->short_len = (size_t)(len + 2 - (self->end - self->at));
        return KW_PUSH_MORE;
    }
    item->kind = KW_PUSH_TEXT;
    item->text.data = self->at;
    item->text.len = (size_t)len;
    self->at += len + 2;
    return self->at[-2] == '\r' && self->at[-1] == '\n' ? KW_PUSH_WHOLE : KW_PUSH_BAD;
}

/* What one element is, but for the elements that it has, of which *inner says how many follow. */
static inline kw_push_state read_element(cursor *self, kw_push_item *item, size_t *inner)
{
    long long number = 0;
    kw_bytes line;
    item->kind = KW_PUSH_OTHER;
    *inner = 0;
    if (self->at == self->end) {
        return KW_PUSH_MORE;
    }
    char type = *self->at++;
    kw_push_state state;
    switch (type) {
    case '$':
    case '=':
        state = read_number(self, &number);
        return state == KW_PUSH_WHOLE && number >= 0 ? read_text(self, item, number) : state;
    case ':':
        state = read_number(self, &number);
        item->kind = KW_PUSH_NUMBER;
        return state;
    case '+':
    case '_':
    case '#':
    case ',':
    case '(':
        return read_line(self, &line);
    case '*':
    case '~':
    case '%':
        state = read_number(self, &number);
        if (state == KW_PUSH_WHOLE && number > (long long)NESTED_MAX) {
            return KW_PUSH_BAD;
        }
        *inner = number > 0 ? (size_t)number * (type == '%' ? 2 : 1) : 0;
        return state;
    default:
        return KW_PUSH_BAD;
    }
}

/* Passes over the elements of an element. */
static kw_push_state skip(cursor *self, size_t n)
{
    kw_push_item item;
    while (n > 0) {
        if (self->nested_n + n > NESTED_MAX) {
            return KW_PUSH_BAD;
        }
        size_t inner;
        kw_push_state state = read_element(self, &item, &inner);
        if (state != KW_PUSH_WHOLE) {
            return state;
        }
        self->nested_n++;
        n += inner;
        n--;
    }
    return KW_PUSH_WHOLE;
}

static kw_push_state read_items(kw_push *push, cursor *self)
{
    long long count = 0;
    kw_push_state state = read_number(self, &count);
    if (state != KW_PUSH_WHOLE) {
        return state;
    }
    if (count < 1 || count > (long long)NESTED_MAX) {
        return KW_PUSH_BAD;
    }
    push->items_n = (size_t)count;
    for (size_t i = 0; i < push->items_n && state == KW_PUSH_WHOLE; i++) {
        kw_push_item other;
        size_t inner;
        state = read_element(self, i < KW_PUSH_ITEMS_MAX ? &push->items[i] : &other, &inner);
        if (state == KW_PUSH_WHOLE && inner > 0) {
            state = skip(self, inner);
        }
    }
    return state;
}

static kw_push_state read_only_line(kw_push *push, cursor *self)
{
    push->items_n = 1;
    push->items[0].kind = KW_PUSH_TEXT;
    return read_line(self, &push->items[0].text);
}

kw_push_state kw_push_read(kw_push *push, kw_bytes input, size_t len_max)
{
    if (input.len == 0) {
        push->wanted_len = 0;
        return KW_PUSH_MORE;
    }
    cursor self = {input.data, input.data + 1, input.data + input.len, len_max, 0, 0};
    push->type = input.data[0];
    kw_push_state state = KW_PUSH_BAD;
    if (push->type == '*' || push->type == '>') {
        state = read_items(push, &self);
    } else if (push->type == '+' || push->type == '-') {
        state = read_only_line(push, &self);
    }
    push->len = (size_t)(self.at - input.data);
    push->wanted_len = self.short_len > 0 ? input.len + self.short_len : 0;
    if (state == KW_PUSH_MORE && input.len > len_max) {
        return KW_PUSH_BAD;
    }
    return state == KW_PUSH_WHOLE && push->len > len_max ? KW_PUSH_BAD : state;
}
