/* SPDX-License-Identifier: BSD-3-Clause */
/* The Lua script that keeps a record on a server, its commands and its replies. */
#include "engine/quorum_script.h"

#include "base/error.h"
#include "engine/script.h"

#include <assert.h>
#include <string.h>

/* KEYS: the key, and perhaps one that says that this server has all it should. ARGV: what is to be
 * done, as a text, and a record or version. "g": get; "s1500 h 1000 500": put, with TTL, h or f
 * (head or full record when refused), linger, behind; "p0 h 1000 500": prepare, perhaps with a
 * second version, whose value is kept; "e0 h 1000 0": the end of what was kept, perhaps with the
 * promise that does not hinder it. Each argument costs the server a tenth of a plain SET, so they
 * are few. behind: milliseconds that a version may be behind this server's clock where there is no
 * key: what was there, and has ended, was older than that. Numbers of records are compared as three
 * numbers of at most 48 bits: Lua's own order of strings depends on the server's locale, and
 * its numbers end at 53 bits. What most puts are, one without end over an older one without
 * anything beside its version, is decided first, mostly by the first of the three. The script is
 * part of the format: a change of its text changes its name. */
static const char script[] =
    "local key, todo, arg = KEYS[1], ARGV[1], ARGV[2]\n"
    "if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then\n"
    "return redis.error_reply('KWEMPTY this copy lost its data and is not repaired yet')\n"
    "end\n"
    "local old = redis.call('GET', key)\n"
    "local unpack = struct.unpack\n"
    "local mark, form, bits\n"
    "if old then\n"
    "mark, form, bits = old:byte(1, 3)\n"
    "if mark ~= 147 or form ~= 1 or #old < 19 then\n"
    "return redis.error_reply('KWFORMAT the key holds a value that is no copy of a quorum')\n"
    "end\n"
    "if bits < 2 and arg and todo:sub(1, 3) == 's0 ' then\n"
    "local x, u = unpack('>I6', old, 4), unpack('>I6', arg, 4)\n"
    "if x == u then\n"
    "local y, z = unpack('>I6I4', old, 10)\n"
    "local v, w = unpack('>I6I4', arg, 10)\n"
    "if y < v or y == v and z < w then x = u - 1 end\n"
    "end\n"
    "if x < u then\n"
    "redis.call('SET', key, arg)\n"
    "return arg:byte(3) < 64 and 1 or 2\n"
    "end\n"
    "end\n"
    "if todo == 'g' and bits % 16 < 8 then return old end\n"
    "elseif todo == 'g' then\n"
    "return false\n"
    "end\n"
    "local op, life, mode, linger, behind = todo:match('^(%a)(%d*) ?(%a?) ?(%d*) ?(%d*)$')\n"
    "life, linger, behind = tonumber(life), tonumber(linger), tonumber(behind)\n"
    "local function less(a, b, i, k)\n"
    "local x, y, z = unpack('>I6I6I4', a, i)\n"
    "local u, v, w = unpack('>I6I6I4', b, k)\n"
    "return x < u or x == u and (y < v or y == v and z < w)\n"
    "end\n"
    "local zero, none, forever = ('\\0'):rep(16), ('\\0'):rep(8), 1099511627776\n"
    "local function has(flags, bit) return math.floor(flags / bit) % 2 == 1 end\n"
    "local function parse(s)\n"
    "local r = {flags = s:byte(3), stamp = s:sub(4, 19), floor = none, recent = none, promise = "
    "zero}\n"
    "local at = 20\n"
    "r.origin, r.kept = r.stamp, has(r.flags, 64)\n"
    "if has(r.flags, 4) then r.origin = s:sub(at, at + 15) at = at + 16 end\n"
    "r.first = s:sub(4, at - 1)\n"
    "if has(r.flags, 8) then r.linger = unpack('>I6', s, at) at = at + 6 end\n"
    "if has(r.flags, 16) then\n"
    "r.floor, r.recent, at = s:sub(at, at + 7), s:sub(at + 8, at + 15), at + 16\n"
    "end\n"
    "if has(r.flags, 32) then r.promise = s:sub(at, at + 15) at = at + 16 end\n"
    "r.value = at\n"
    "return r\n"
    "end\n"
    "local function later(a, b) return less(a .. none, b .. none, 1, 1) end\n" /* times */
    "local ends = old and redis.call('PTTL', key)\n"
    "local function give(status, s, r)\n"
    "if r.linger then return {status, s, ends - r.linger} end\n"
    "return {status, s}\n"
    "end\n"
    "local function head(r)\n"
    "local flags, tail = r.flags % 16 + (r.kept and 64 or 0), ''\n"
    "if r.linger then tail = struct.pack('>I6', r.linger) end\n"
    "if r.floor ~= none or r.recent ~= none then\n"
    "flags, tail = flags + 16, tail .. r.floor .. r.recent\n"
    "end\n"
    "if r.promise ~= zero then flags, tail = flags + 32, tail .. r.promise end\n"
    "return '\\147\\1' .. string.char(flags) .. r.first .. tail\n"
    "end\n"
    "local function put(r, s, ms)\n" /* the value is that of s */
    "s = head(r) .. s:sub(r.value)\n"
    "if ms > 0 then redis.call('SET', key, s, 'PX', ms) else redis.call('SET', key, s) end\n"
    "end\n"
    /* Stays for ms at least; what is left of the value's own life does not change. */
    "local function hold(r, s, ms)\n"
    "if ends ~= -1 and ends < ms then\n"
    "if r.linger then r.linger = r.linger + ms - ends end\n"
    "ends = ms\n"
    "end\n"
    "put(r, s, math.max(ends, 0))\n"
    "end\n"
    "local have\n"
    "if old then\n"
    "have = parse(old)\n"
    "else\n"
    "have = {flags = 1, stamp = zero, origin = zero, floor = none, recent = none, promise = zero, "
    "first = zero, value = 1}\n"
    "if op == 'p' or op == 's' then\n"
    "local t = redis.call('TIME')\n"
    "local ms = t[1] * 1000 + math.floor(t[2] / 1000) - behind\n"
    "if ms > 0 then have.promise = struct.pack('>I6', ms) .. ('\\0'):rep(10) end\n"
    "end\n"
    "end\n"
    "if op == 'g' then return give(1, old, have) end\n"
    "if op == 'e' then\n"
    "if have.kept and have.stamp == arg:sub(1, 16) and not less(arg, have.promise, #arg - 15, 1) "
    "then\n"
    "have.kept = false\n"
    "if have.linger then have.linger, ends = have.linger - forever, math.max(ends - forever, 0) "
    "else ends = 0 end\n"
    "hold(have, old, linger)\n"
    "end\n"
    "return 1\n"
    "end\n"
    "if op == 'p' then\n"
    "if not less(have.stamp, arg, 1, 1) or not less(have.promise, arg, 1, 1) then\n"
    "return give(0, old or head(have), have)\n"
    "end\n"
    "if have.linger and not have.kept and have.origin == arg:sub(17) then\n"
    "have.kept, have.linger, ends = true, have.linger + forever, ends + forever\n"
    "old = head(have) .. old:sub(have.value)\n"
    "end\n"
    "local answer = old and give(1, old, have) or {1}\n"
    "have.promise = arg:sub(1, 16)\n"
    "if later(have.floor, arg:sub(1, 8)) then have.floor = arg:sub(1, 8) end\n"
    "if old then hold(have, old, linger) else put(have, '', linger) end\n"
    "return answer\n"
    "end\n"
    "local new, ms = parse(arg), life\n"
    "if new.stamp == have.stamp then\n"
    "if new.kept and not have.kept and ends ~= -1 then\n"
    "have.kept = true\n"
    "if have.linger then have.linger, ends = have.linger + forever, ends + forever else ends = -1 "
    "end\n"
    "put(have, old, math.max(ends, 0))\n"
    "end\n"
    "if has(new.flags, 1) and have.linger and ends > have.linger then\n"
    "redis.call('PEXPIRE', key, have.linger)\n"
    "end\n"
    "return have.kept and 2 or 1\n"
    "end\n"
    "if less(new.stamp, have.stamp, 1, 1) or less(new.stamp, have.promise, 1, 1) then\n"
    "if not old then return {0, head(have)} end\n"
    "local answer = mode == 'h' and {0, old:sub(1, have.value - 1)} or give(0, old, have)\n"
    "if ends ~= -1 and ends < linger then hold(have, old, linger) end\n"
    "return answer\n"
    "end\n"
    "if new.linger and new.origin == have.origin then\n" /* nobody makes a life longer */
    "ms = math.min(ms, new.linger + (have.linger and math.max(ends - have.linger, 0) or 0))\n"
    "end\n"
    "if old and ms > 0 and not new.kept and (ends == -1 or ends > ms) then\n"
    "new.kept = true\n" /* what it ends may be elsewhere, and would outlive it */
    "if new.linger then new.linger, ms = new.linger + forever, ms + forever else ms = 0 end\n"
    "end\n"
    "if later(new.floor, have.floor) then new.floor = have.floor end\n"
    "new.recent = have.recent\n"
    "if has(have.flags, 2) then\n"
    "local older = have.origin:sub(1, 8)\n"
    "if later(new.recent, older) then new.recent, older = older, new.recent end\n"
    "if older ~= new.recent and later(new.floor, older) then new.floor = older end\n"
    "end\n"
    "put(new, arg, ms)\n"
    "return new.kept and 2 or 1\n";

#define SCRIPT_SHA1 "9a7c74ca8d0db31a4674e41537215e30e2e904f7"

#define ARGS_MAX 7u
#define TODO_MAX 72u /* three numbers of at most 20 digits */

const kw_script *kw_quorum_script(void)
{
    static const kw_script constant = {.text = {script, sizeof(script) - 1}, .sha1 = SCRIPT_SHA1};
    return &constant;
}

/* One argument in two pieces, the header of a record and its value, which need not be joined
 * first. */
typedef struct piece {
    kw_bytes head;
    kw_bytes tail;
} piece;

/* What an argument takes beside its bytes, at most. */
#define PIECE_ROOM 32u

static bool append_count(kw_buf *buf, char mark, size_t count)
{
    char text[24];
    text[0] = mark;
    size_t len = 1 + kw_uint_to_text(text + 1, count);
    text[len++] = '\r';
    text[len++] = '\n';
    return kw_buf_append(buf, text, len);
}

/* Where what follows goes. */
static char *put_bytes(char *place, kw_bytes bytes)
{
    if (bytes.len > 0) {
        memcpy(place, bytes.data, bytes.len);
    }
    return place + bytes.len;
}

static bool append_piece(kw_buf *buf, const piece *part)
{
    static const kw_bytes line_end = {"\r\n", 2};
    size_t len;
    size_t room;
    if (!kw_size_add(&len, part->head.len, part->tail.len) ||
        !kw_size_add(&room, len, PIECE_ROOM) || !kw_buf_reserve(buf, room)) {
        return false;
    }
    char *place = buf->data + buf->len;
    *place++ = '$';
    place += kw_uint_to_text(place, len);
    place = put_bytes(place, line_end);
    place = put_bytes(place, part->head);
    place = put_bytes(place, part->tail);
    place = put_bytes(place, line_end);
    buf->len = (size_t)(place - buf->data);
    return true;
}

static piece piece_of(kw_bytes bytes)
{
    piece part = {bytes, {NULL, 0}};
    return part;
}

static piece piece_of_text(const char *text)
{
    return piece_of(kw_bytes_of(text));
}

/* A run of the script: what all have in common, and these parts. */
static bool append_all(kw_buf *buf, const piece *parts, size_t n)
{
    static const char begin[] = "$7\r\nEVALSHA\r\n$40\r\n" SCRIPT_SHA1 "\r\n";
    size_t len = buf->len;
    bool is_whole = append_count(buf, '*', n + 2) && kw_buf_append(buf, begin, sizeof(begin) - 1);
    for (size_t i = 0; i < n && is_whole; i++) {
        is_whole = append_piece(buf, &parts[i]);
    }
    if (!is_whole) {
        buf->len = len;
    }
    return is_whole;
}

size_t kw_quorum_script_room(kw_quorum_ask_kind kind, size_t lens)
{
    size_t room = 3 * PIECE_ROOM; /* a GET */
    if (kind != KW_QUORUM_GET) {
        room = ARGS_MAX * PIECE_ROOM + sizeof(SCRIPT_SHA1) + TODO_MAX + KW_RECORD_HEAD_MAX;
    }
    return kw_size_add(&room, room, lens) ? room : 0;
}

/* A GET, which most are. */
static bool append_get(kw_buf *buf, kw_bytes key)
{
    static const char begin[] = "*2\r\n$3\r\nGET\r\n";
    size_t room;
    if (!kw_size_add(&room, key.len, sizeof(begin) + PIECE_ROOM) || !kw_buf_reserve(buf, room)) {
        return false;
    }
    memcpy(buf->data + buf->len, begin, sizeof(begin) - 1);
    buf->len += sizeof(begin) - 1;
    (void)append_piece(buf, &(const piece){.head = key});
    return true;
}

/* What the script is to do, as a text: its op, and for all but a get TTL, mode, linger and behind.
 */
static kw_bytes write_todo(char *out, char op, const kw_quorum_ask *ask)
{
    size_t len = 0;
    out[len++] = op;
    len += kw_uint_to_text(out + len, ask->life_ms);
    out[len++] = ' ';
    out[len++] = ask->wants_value ? 'f' : 'h';
    out[len++] = ' ';
    len += kw_uint_to_text(out + len, ask->linger_ms);
    out[len++] = ' ';
    len += kw_uint_to_text(out + len, ask->behind_ms);
    kw_bytes todo = {out, len};
    return todo;
}

bool kw_quorum_script_encode(kw_buf *buf, const kw_quorum_place *place, const kw_quorum_ask *ask)
{
    piece parts[ARGS_MAX];
    unsigned char head[KW_RECORD_HEAD_MAX];
    char todo[TODO_MAX];
    kw_stamp second;
    size_t n = 0;
    if (place->is_plain) {
        return append_get(buf, place->key);
    }
    parts[n++] = piece_of_text(place->marker.len > 0 ? "2" : "1");
    parts[n++] = piece_of(place->key);
    if (place->marker.len > 0) {
        parts[n++] = piece_of(place->marker);
    }
    kw_bytes head_bytes = {(const char *)head, KW_STAMP_BYTES};
    switch (ask->kind) {
    case KW_QUORUM_GET:
        parts[n++] = piece_of_text("g");
        return append_all(buf, parts, n);
    case KW_QUORUM_PREPARE:
    case KW_QUORUM_SEAL:
        second = ask->kind == KW_QUORUM_SEAL ? ask->record.promise : ask->record.origin;
        kw_stamp_put(head, ask->record.stamp);
        kw_stamp_put(head + KW_STAMP_BYTES, second);
        head_bytes.len += kw_stamp_is_zero(second) ? 0 : KW_STAMP_BYTES;
        parts[n++] = piece_of(write_todo(todo, ask->kind == KW_QUORUM_SEAL ? 'e' : 'p', ask));
        parts[n++] = piece_of(head_bytes);
        break;
    case KW_QUORUM_PUT:
        head_bytes.len = kw_record_put_head(head, &ask->record);
        parts[n++] = piece_of(write_todo(todo, 's', ask));
        parts[n] = piece_of(head_bytes);
        parts[n++].tail = ask->record.value;
        break;
    }
    return append_all(buf, parts, n);
}

/* The next argument of a command of ours, from *at on. */
static kw_bytes next_argument(kw_bytes command, size_t *at)
{
    size_t len = 0;
    size_t i = *at + 1; /* behind '$' */
    for (; command.data[i] != '\r'; i++) {
        len = len * 10 + (size_t)(command.data[i] - '0');
    }
    kw_bytes argument = {command.data + i + 2, len};
    *at = i + 2 + len + 2;
    return argument;
}

kw_bytes kw_quorum_script_record(kw_bytes command)
{
    size_t at = (size_t)((const char *)memchr(command.data, '\n', command.len) - command.data) +
                1; /* behind "*9\r\n" */
    kw_bytes argument = {NULL, 0};
    size_t keys_n = 0;
    for (size_t i = 0; i < 3 + keys_n + 2; i++) { /* name, script, number, keys, what, record */
        argument = next_argument(command, &at);
        keys_n = i == 2 ? (size_t)(argument.data[0] - '0') : keys_n;
    }
    return argument;
}

bool kw_quorum_script_is_mortal(const kw_reply *reply)
{
    return kw_reply_type(reply) == KW_REPLY_STRING && kw_record_says_mortal(kw_reply_bytes(reply));
}

static kw_err strange(kw_error *error)
{
    return kw_error_set(
        error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
        "the key holds, or the script of the quorum says, what is none of a quorum's");
}

/* A refusal that the script makes, or the server before it runs, has changed nothing. */
static kw_err read_error(kw_error *error, const kw_reply *reply)
{
    static const char *const harmless[] = {"KWEMPTY", "KWFORMAT", "WRONGTYPE",  "LOADING",
                                           "NOPERM",  "NOAUTH",   "MASTERDOWN", "NOSCRIPT"};
    kw_bytes text = kw_reply_bytes(reply);
    kw_effect effect = KW_EFFECT_MAYBE;
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (kw_script_error_is(text, harmless[i])) {
            effect = KW_EFFECT_NONE;
        }
    }
    char shown[200];
    return kw_error_set(error, KW_ERR_PROTOCOL, effect, "%s",
                        kw_bytes_show(shown, sizeof(shown), text));
}

static bool read_record(kw_quorum_answer *answer, kw_bytes bytes)
{
    answer->has_record = kw_record_get(&answer->record, bytes);
    return answer->has_record;
}

/* {status, record, what is left of its life}; the last two may be missing. */
static bool read_array(kw_quorum_answer *answer, const kw_reply *reply)
{
    size_t n = kw_reply_count(reply);
    const kw_reply *status = kw_reply_at(reply, 0);
    const kw_reply *record = kw_reply_at(reply, 1);
    const kw_reply *left = kw_reply_at(reply, 2);
    if (n < 1 || n > 3 || kw_reply_type(status) != KW_REPLY_INTEGER ||
        (kw_reply_int(status) != 0 && kw_reply_int(status) != 1)) {
        return false;
    }
    answer->is_taken = kw_reply_int(status) == 1;
    if (n == 1) {
        return answer->is_taken;
    }
    if (kw_reply_type(record) != KW_REPLY_STRING || !read_record(answer, kw_reply_bytes(record)) ||
        (n == 3 && kw_reply_type(left) != KW_REPLY_INTEGER)) {
        return false;
    }
    answer->is_mortal = n == 3;
    answer->left_ms = n == 3 ? kw_reply_int(left) : 0;
    return n == 2 || answer->record.is_mortal;
}

kw_err kw_quorum_script_read(kw_quorum_answer *answer, kw_error *error, kw_quorum_ask_kind kind,
                             const kw_reply *reply)
{
    static const kw_quorum_answer blank;
    kw_quorum_answer read = blank;
    bool is_sound = false;
    switch (kw_reply_type(reply)) {
    case KW_REPLY_ERROR:
        return read_error(error, reply);
    case KW_REPLY_NIL:
        read.is_taken = true;
        is_sound = kind == KW_QUORUM_GET;
        break;
    case KW_REPLY_STRING:
        read.is_taken = true;
        is_sound = kind == KW_QUORUM_GET && read_record(&read, kw_reply_bytes(reply)) &&
                   !read.record.is_mortal;
        break;
    case KW_REPLY_INTEGER:
        read.is_taken = true;
        read.is_kept = kw_reply_int(reply) == 2;
        is_sound = (kind == KW_QUORUM_PUT && (kw_reply_int(reply) == 1 || read.is_kept)) ||
                   (kind == KW_QUORUM_SEAL && kw_reply_int(reply) == 1);
        break;
    case KW_REPLY_ARRAY:
        is_sound = read_array(&read, reply);
        is_sound = is_sound && (kind != KW_QUORUM_GET || (read.is_taken && read.has_record)) &&
                   (kind != KW_QUORUM_PUT || !read.is_taken) && kind != KW_QUORUM_SEAL;
        break;
    case KW_REPLY_NONE:
    case KW_REPLY_STATUS:
    case KW_REPLY_DOUBLE:
    case KW_REPLY_BOOL:
    case KW_REPLY_MAP:
    case KW_REPLY_SET:
    case KW_REPLY_ATTR:
    case KW_REPLY_PUSH:
    case KW_REPLY_BIGNUM:
    case KW_REPLY_VERB:
        break;
    }
    if (!is_sound) {
        return strange(error);
    }
    *answer = read;
    return KW_OK;
}
