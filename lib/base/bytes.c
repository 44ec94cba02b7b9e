/* SPDX-License-Identifier: BSD-3-Clause */
/* Borrowed bytes: compared, split, read as numbers and shown; and the buffer that grows. */
#include "base/bytes.h"

#include <string.h>

kw_bytes kw_bytes_of(const char *text)
{
    kw_bytes bytes = {text, text != NULL ? strlen(text) : 0};
    return bytes;
}

bool kw_bytes_equal(kw_bytes a, kw_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static unsigned char lower(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte + ('a' - 'A')) : byte;
}

bool kw_bytes_equal_nocase(kw_bytes a, kw_bytes b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

bool kw_bytes_starts(kw_bytes bytes, const char *prefix)
{
    size_t len = strlen(prefix);
    return bytes.len >= len && (len == 0 || memcmp(bytes.data, prefix, len) == 0);
}

static void split_at(kw_bytes *head, kw_bytes *tail, kw_bytes bytes, size_t at)
{
    kw_bytes before = {bytes.data, at};
    kw_bytes behind = {bytes.data + at + 1, bytes.len - at - 1};
    *head = before;
    *tail = behind;
}

bool kw_bytes_split(kw_bytes *head, kw_bytes *tail, kw_bytes bytes, char separator)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] == separator) {
            split_at(head, tail, bytes, i);
            return true;
        }
    }
    return false;
}

bool kw_bytes_split_last(kw_bytes *head, kw_bytes *tail, kw_bytes bytes, char separator)
{
    for (size_t i = bytes.len; i > 0; i--) {
        if (bytes.data[i - 1] == separator) {
            split_at(head, tail, bytes, i - 1);
            return true;
        }
    }
    return false;
}

bool kw_bytes_next_field(kw_bytes *name, kw_bytes *value, kw_bytes *rest)
{
    while (rest->len > 0) {
        kw_bytes line = *rest;
        if (!kw_bytes_split(&line, rest, *rest, '\n')) {
            rest->len = 0;
        }
        if (line.len > 0 && line.data[line.len - 1] == '\r') {
            line.len--;
        }
        if (kw_bytes_split(name, value, line, ':')) {
            return true;
        }
    }
    return false;
}

bool kw_bytes_to_uint(uint64_t *value, kw_bytes bytes, uint64_t max)
{
    if (bytes.len == 0) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] < '0' || bytes.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(bytes.data[i] - '0');
        if (number > max / 10 || (number == max / 10 && digit > max % 10)) {
            return false;
        }
        number = number * 10 + digit;
    }
    *value = number;
    return true;
}

char *kw_bytes_show(char *out, size_t out_len, kw_bytes bytes)
{
    static const char hex[] = "0123456789abcdef";
    static const char cut[] = "...";
    size_t at = 0;
    size_t fits = 0; /* the last length behind which the cut mark still fits */
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        bool plain = byte >= ' ' && byte < 0x7f && byte != '\\' && byte != '"';
        size_t need = plain ? 1 : 4;
        if (at + need >= out_len) {
            at = fits;
            for (size_t k = 0; k < sizeof(cut) - 1 && at + 1 < out_len; k++) {
                out[at++] = cut[k];
            }
            break;
        }
        if (plain) {
            out[at++] = (char)byte;
        } else {
            out[at++] = '\\';
            out[at++] = 'x';
            out[at++] = hex[byte >> 4];
            out[at++] = hex[byte & 15];
        }
        if (at + sizeof(cut) <= out_len) {
            fits = at;
        }
    }
    out[at] = '\0';
    return out;
}

const char *kw_texts_at(const char *texts, size_t index)
{
    for (; index > 0; index--) {
        texts += strlen(texts) + 1;
    }
    return texts;
}

size_t kw_texts_find(const char *texts, size_t texts_n, kw_bytes value)
{
    size_t index = 0;
    while (index < texts_n && !kw_bytes_equal(value, kw_bytes_of(texts))) {
        texts += strlen(texts) + 1;
        index++;
    }
    return index;
}

uint64_t kw_bytes_hash(kw_bytes bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ (unsigned char)bytes.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t kw_bytes_id(kw_bytes bytes)
{
    uint64_t hash = kw_bytes_hash(bytes);
    return hash != 0 ? hash : 1;
}

void kw_buf_init(kw_buf *buf, const kw_allocator *mem, char *inline_data, size_t inline_len)
{
    buf->mem = mem;
    buf->data = inline_data;
    buf->len = 0;
    buf->capacity = inline_len;
    buf->inline_data = inline_data;
    buf->is_secret = false;
}

/* All of it: what stood behind the length may be a secret that was cut off. */
static void write_over(const kw_buf *buf)
{
    if (buf->is_secret && buf->data != NULL) {
        kw_mem_wipe(buf->data, buf->capacity);
    }
}

void kw_buf_forget(kw_buf *buf)
{
    write_over(buf);
    buf->len = 0;
    buf->is_secret = false;
}

void kw_buf_fini(kw_buf *buf)
{
    write_over(buf);
    if (buf->data != buf->inline_data) {
        kw_mem_free(buf->mem, buf->data);
    }
    buf->data = NULL;
    buf->len = 0;
    buf->capacity = 0;
    buf->inline_data = NULL;
}

bool kw_buf_grow(kw_buf *buf, size_t len)
{
    size_t need;
    if (!kw_size_add(&need, buf->len, len)) {
        return false;
    }
    size_t capacity = buf->capacity > SIZE_MAX / 2 ? need : buf->capacity * 2;
    capacity = capacity > need ? capacity : need;
    bool is_inline = buf->data == buf->inline_data;
    bool is_moved =
        is_inline || buf->is_secret; /* not by the allocator, which would leave a copy */
    char *data = kw_mem_resize(buf->mem, is_moved ? NULL : buf->data, capacity, 1);
    if (data == NULL) {
        return false;
    }
    if (is_moved && buf->len > 0) {
        memcpy(data, buf->data, buf->len);
    }
    if (buf->is_secret) {
        write_over(buf);
        kw_mem_free(buf->mem, is_inline ? NULL : buf->data);
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool kw_buf_append(kw_buf *buf, const char *data, size_t len)
{
    if (!kw_buf_reserve(buf, len)) {
        return false;
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
        buf->len += len;
    }
    return true;
}

size_t kw_uint_to_text_long(char *out, uint64_t value)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = digits[n - 1 - i];
    }
    return n;
}
