/* SPDX-License-Identifier: BSD-3-Clause */
/* A parser for plain replies that are all there: one pass to measure, one to build. */
#include "base/reader_plain.h"

#include "base/apart.h"
#include "base/reader_limits.h"

#include <string.h>

/* A longer number may be out of range: hiredis judges it. No line ends behind so many digits then.
 */
#define DIGITS_MAX 18

/* What is left of the bytes. */
typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

/* A reply without elements, or the head of an array. */
typedef struct item {
    kw_reply_kind kind;
    kw_bytes text;
    long long value; /* of an integer; or the number of elements */
} item;

static inline bool read_line_end(cursor *self)
{
    if (self->end - self->at < 2 || self->at[0] != '\r' || self->at[1] != '\n') {
        return false;
    }
    self->at += 2;
    return true;
}

/* A number and the end of its line, written as servers write it: no plus sign, no zero in
 * front. */
static inline bool read_number(cursor *self, long long *value)
{
    const char *at = self->at;
    bool is_negative = at < self->end && *at == '-';
    at += is_negative;
    const char *first = at;
    const char *stop = self->end - at > DIGITS_MAX ? at + DIGITS_MAX : self->end;
    unsigned digit;
    long long number = 0;
    for (; at < stop && (digit = (unsigned)(*at - '0')) <= 9; at++) {
        number = number * 10 + digit;
    }
    if (at == first || (*first == '0' && (at - first > 1 || is_negative))) {
        return false;
    }
    *value = is_negative ? -number : number;
    self->at = at;
    return read_line_end(self);
}

static bool read_line(cursor *self, kw_bytes *text)
{
    const char *end = memchr(self->at, '\r', (size_t)(self->end - self->at));
    if (end == NULL) {
        return false;
    }
    text->data = self->at;
    text->len = (size_t)(end - self->at);
    self->at = end;
    return read_line_end(self);
}

/* What stands behind "$" or "*" says that there is nothing. */
KW_APART static bool read_nil(cursor *self, item *found)
{
    found->kind = KW_REPLY_NIL;
    found->value = -1;
    if (self->end - self->at < 4 || memcmp(self->at, "-1\r\n", 4) != 0) {
        return false;
    }
    self->at += 4;
    return true;
}

/* Behind "$" a length, and so many bytes, each with the end of its line: what most replies are. */
static inline bool read_text(cursor *self, kw_bytes *text)
{
    const char *first = self->at;
    const char *at = first;
    const char *stop = self->end - at > DIGITS_MAX ? at + DIGITS_MAX : self->end;
    unsigned digit;
    uint64_t len = 0; /* more digits than a size_t of 32 bits holds */
    for (; at < stop && (digit = (unsigned)(*at - '0')) <= 9; at++) {
        len = len * 10 + digit;
    }
    size_t rest_len = (size_t)(self->end - at);
    if (at == first || (*first == '0' && at - first > 1) || rest_len < 4 || len > rest_len - 4 ||
        memcmp(at, "\r\n", 2) != 0 || memcmp(at + 2 + len, "\r\n", 2) != 0) {
        return false;
    }
    text->data = at + 2;
    text->len = (size_t)len;
    self->at = at + 4 + text->len;
    return true;
}

/* Likewise, or that there is nothing. */
static inline bool read_string(cursor *self, item *found)
{
    found->kind = KW_REPLY_STRING;
    return read_text(self, &found->text) || read_nil(self, found);
}

static inline bool read_array_head(cursor *self, item *found)
{
    if (read_nil(self, found)) {
        return true;
    }
    found->kind = KW_REPLY_ARRAY;
    return read_number(self, &found->value) && found->value >= 0;
}

/* What is no string. */
static bool read_other(cursor *self, item *found)
{
    switch (*self->at++) {
    case ':':
        found->kind = KW_REPLY_INTEGER;
        return read_number(self, &found->value);
    case '+':
        found->kind = KW_REPLY_STATUS;
        return read_line(self, &found->text);
    case '-':
        found->kind = KW_REPLY_ERROR;
        return read_line(self, &found->text);
    case '*':
        return read_array_head(self, found);
    default:
        return false;
    }
}

static inline bool read_item(cursor *self, item *found)
{
    if (self->at == self->end) {
        return false;
    }
    if (*self->at != '$') {
        return read_other(self, found);
    }
    self->at++;
    return read_string(self, found);
}

static bool has_text(const item *found)
{
    return found->kind == KW_REPLY_STRING || found->kind == KW_REPLY_STATUS ||
           found->kind == KW_REPLY_ERROR;
}

static void set_number(kw_reply *reply, const item *found)
{
    kw_reply_set_integer(reply, found->kind, found->kind == KW_REPLY_INTEGER ? found->value : 0);
}

/* The memory there was room for; false never happens then. */
static bool build_item(kw_reply *root, kw_reply *reply, const item *found)
{
    if (has_text(found)) {
        return kw_reply_set_string(root, reply, found->kind, found->text);
    }
    set_number(reply, found);
    return true;
}

/* The first elements of an array are read once; those behind them, to know how much memory
 * they need, and again to build them. */
#define FIRST_N ((size_t)4)

typedef struct elements {
    item first[FIRST_N];
    cursor others; /* behind the first ones */
    size_t room;   /* what all texts need */
} elements;

static bool measure(elements *self, cursor *at, size_t count)
{
    item found;
    self->room = 0;
    for (size_t i = 0; i < count; i++) {
        item *it = i < FIRST_N ? &self->first[i] : &found;
        if (!read_item(at, it) || it->kind == KW_REPLY_ARRAY) {
            return false;
        }
        self->room += has_text(it) ? kw_reply_room(it->text.len + 1) : 0;
        if (i + 1 == FIRST_N) {
            self->others = *at;
        }
    }
    return true;
}

static bool build_elements(kw_reply *root, elements *self, size_t count)
{
    item found;
    for (size_t i = 0; i < count; i++) {
        const item *it = i < FIRST_N ? &self->first[i] : &found;
        if ((i >= FIRST_N && !read_item(&self->others, &found)) ||
            !build_item(root, kw_reply_slot(root, i), it)) {
            return false;
        }
    }
    return true;
}

/* A root with room. */
static kw_reply *new_root(kw_reader *reader, kw_reply_stream stream, size_t room)
{
    return reader->pools ? kw_reply_pool_new(&reader->pool, reader->mem, room, stream)
                         : kw_reply_new(reader->mem, room);
}

/* Of "*0\r\n", the shortest line before elements. */
#define ARRAY_HEAD_LEN ((size_t)4)

static kw_reply *read_array(kw_reader *reader, cursor *self, size_t count)
{
    elements found;
    kw_reply_stream stream = {ARRAY_HEAD_LEN + (size_t)(self->end - self->at), 0};
    if (!measure(&found, self, count)) {
        return NULL;
    }
    stream.reply_len = stream.len - (size_t)(self->end - self->at);
    kw_reply *root = new_root(reader, stream, found.room + kw_reply_array_room(count));
    if (root != NULL && (!kw_reply_set_array(root, root, KW_REPLY_ARRAY, count) ||
                         !build_elements(root, &found, count))) {
        kw_reply_free(root);
        return NULL;
    }
    return root;
}

/* The elements of an array, into the sink. Where that breaks off they are there in part, to be
 * replaced. */
static kw_reply *sink_array(const kw_reply_sink *sink, cursor *self)
{
    item found;
    for (size_t i = 0; i < sink->count; i++) {
        if (!read_item(self, &found) || found.kind == KW_REPLY_ARRAY ||
            !build_item(sink->root, kw_reply_slot(sink->root, sink->places[i]), &found)) {
            return NULL;
        }
    }
    return kw_reply_sunk();
}

/* An array of n elements takes at least this many bytes for each. */
#define ELEMENT_MIN_LEN 3

/* The reply whose first line is head. */
static kw_reply *read_root_array(kw_reader *reader, cursor *self, const item *head)
{
    uint64_t told = (uint64_t)head->value; /* more than a size_t of 32 bits holds */
    kw_reader_limits limits = kw_reader_limits_of(reader);
    bool is_allowed = told <= limits.items && limits.depth > 0 &&
                      told <= (size_t)(self->end - self->at) / ELEMENT_MIN_LEN;
    if (!is_allowed) {
        return NULL;
    }
    size_t count = (size_t)told;
    bool sinks = reader->sink != NULL && reader->sink->count == count;
    return sinks ? sink_array(reader->sink, self) : read_array(reader, self, count);
}

static inline kw_reply *new_string(kw_reader *reader, kw_reply_kind kind, kw_bytes text,
                                   kw_reply_stream stream)
{
    return reader->pools ? kw_reply_pool_string(&reader->pool, reader->mem, stream, kind, text)
                         : kw_reply_new_string(reader->mem, kind, text);
}

static kw_reply *new_item(kw_reader *reader, const item *found, kw_reply_stream stream)
{
    if (has_text(found)) {
        return new_string(reader, found->kind, found->text, stream);
    }
    kw_reply *root = new_root(reader, stream, 0);
    if (root != NULL) {
        set_number(root, found);
    }
    return root;
}

/* What is no string that is all there. */
KW_APART static kw_reply *read_root(kw_reader *reader, cursor self)
{
    const char *start = self.at;
    kw_reply_stream stream = {.len = (size_t)(self.end - start)};
    item found;
    if (!read_item(&self, &found)) {
        return NULL;
    }
    bool is_array = found.kind == KW_REPLY_ARRAY;
    kw_reply *root = is_array ? read_root_array(reader, &self, &found) : NULL;
    size_t used = (size_t)(self.at - start);
    if ((is_array && root == NULL) || used > kw_reader_limits_of(reader).bytes) {
        kw_reply_free(root);
        return NULL;
    }
    stream.reply_len = used;
    root = is_array ? root : new_item(reader, &found, stream);
    reader->input_at += root != NULL ? used : 0;
    return root;
}

kw_reply *kw_reader_plain(kw_reader *reader)
{
    uint64_t limit = kw_reader_limits_of(reader).bytes;
    const char *start = reader->input.data + reader->input_at;
    const char *end = reader->input.data + reader->input.len;
    cursor self = {start + 1, end};
    kw_bytes text;
    if (*start != '$' || !read_text(&self, &text)) {
        return read_root(reader, (cursor){start, end});
    }
    kw_reply_stream stream = {(size_t)(end - start), (size_t)(self.at - start)};
    if (stream.reply_len > limit) {
        return NULL;
    }
    kw_reply *root = new_string(reader, KW_REPLY_STRING, text, stream);
    reader->input_at += root != NULL ? stream.reply_len : 0;
    return root;
}
