/* SPDX-License-Identifier: BSD-3-Clause */
/* The Lua script that keeps a record on a server, its commands and its replies. */
#include "engine/quorum_script.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

/* KEYS: the key, and perhaps one that says that this server has all it should. ARGV: g for
 * get; s, record, TTL, h or f (head or full record when refused) for a put; p, ballot, TTL
 * for a prepare. Numbers of records are compared byte by byte: Lua's own order of strings
 * depends on the server's locale, and its numbers end at 53 bits. The script is part of the
 * format: a change of its text changes its name. */
static const char script[] =
    "local key, op = KEYS[1], ARGV[1]\n"
    "if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then\n"
    "return redis.error_reply('KWEMPTY this copy lost its data and is not repaired yet')\n"
    "end\n"
    "local old = redis.call('GET', key)\n"
    "local mark, form, bits\n"
    "if old then\n"
    "mark, form, bits = old:byte(1, 3)\n"
    "if mark ~= 147 or form ~= 1 or #old < 19 then\n"
    "return redis.error_reply('KWFORMAT the key holds a value that is no copy of a quorum')\n"
    "end\n"
    "if op == 'g' and bits % 16 < 8 then return old end\n"
    "elseif op == 'g' then\n"
    "return false\n"
    "end\n"
    "if op == 's' and (not old or bits < 2) then\n"
    "local new, i, x, y = ARGV[2], 4, 1, 0\n"
    "while old and i < 20 do\n"
    "x, y, i = new:byte(i), old:byte(i), i + 1\n"
    "if x ~= y then break end\n"
    "end\n"
    "if x > y then\n"
    "if ARGV[3] == '0' then redis.call('SET', key, new)\n"
    "else redis.call('SET', key, new, 'PX', ARGV[3]) end\n"
    "return 1\n"
    "end\n"
    "end\n"
    "local function has(flags, bit) return math.floor(flags / bit) % 2 == 1 end\n"
    "local function number(s) local n = 0 for i = 1, #s do n = n * 256 + s:byte(i) end return n "
    "end\n"
    "local function bytes(n, len)\n"
    "local s = ''\n"
    "for i = 1, len do s = string.char(n % 256) .. s n = math.floor(n / 256) end\n"
    "return s\n"
    "end\n"
    "local function less(a, b)\n"
    "for i = 1, #a do\n"
    "local x, y = a:byte(i), b:byte(i)\n"
    "if x ~= y then return x < y end\n"
    "end\n"
    "return false\n"
    "end\n"
    "local zero, none = ('\\0'):rep(16), ('\\0'):rep(8)\n"
    "local function parse(s)\n"
    "local r = {flags = s:byte(3), stamp = s:sub(4, 19), floor = none, recent = none, promise = "
    "zero}\n"
    "local at = 20\n"
    "r.origin = r.stamp\n"
    "if has(r.flags, 4) then r.origin = s:sub(at, at + 15) at = at + 16 end\n"
    "if has(r.flags, 8) then r.linger = number(s:sub(at, at + 5)) at = at + 6 end\n"
    "r.first = s:sub(4, at - 1)\n"
    "if has(r.flags, 16) then\n"
    "r.floor, r.recent, at = s:sub(at, at + 7), s:sub(at + 8, at + 15), at + 16\n"
    "end\n"
    "if has(r.flags, 32) then r.promise = s:sub(at, at + 15) at = at + 16 end\n"
    "r.head = at - 1\n"
    "return r\n"
    "end\n"
    "local function left(r) return redis.call('PTTL', key) - r.linger end\n"
    "local function give(status, s, r)\n"
    "if r.linger then return {status, s, left(r)} end\n"
    "return {status, s}\n"
    "end\n"
    "local function put(s, ms)\n"
    "if ms > 0 then redis.call('SET', key, s, 'PX', ms) else redis.call('SET', key, s) end\n"
    "end\n"
    "local function join(r, floor, recent, promise, value)\n"
    "local flags, tail = r.flags % 16, ''\n"
    "if floor ~= none or recent ~= none then flags = flags + 16 tail = floor .. recent end\n"
    "if promise ~= zero then flags = flags + 32 tail = tail .. promise end\n"
    "return '\\147\\1' .. string.char(flags) .. r.first .. tail .. value\n"
    "end\n"
    "local have\n"
    "if old then\n"
    "have = parse(old)\n"
    "else\n"
    "have = {flags = 1, stamp = zero, origin = zero, floor = none, recent = none, promise = zero, "
    "first = zero}\n"
    "end\n"
    "if op == 'g' then return give(1, old, have) end\n"
    "if op == 'p' then\n"
    "local ballot = ARGV[2]\n"
    "if not less(have.stamp, ballot) or not less(have.promise, ballot) then\n"
    "return give(0, old, have)\n"
    "end\n"
    "local answer, ms = {1}, tonumber(ARGV[3])\n"
    "local value = ''\n"
    "if old then\n"
    "answer, value = give(1, old, have), old:sub(have.head + 1)\n"
    "local ends = redis.call('PTTL', key)\n"
    "if ends == -1 then\n"
    "ms = 0\n"
    "elseif ends > ms then\n"
    "ms = ends\n"
    "elseif have.linger then\n" /* what is left of the value's own life stays */
    "have.first = have.first:sub(1, -7) .. bytes(have.linger + ms - ends, 6)\n"
    "end\n"
    "end\n"
    "local floor = ballot:sub(1, 8)\n"
    "if less(floor, have.floor) then floor = have.floor end\n"
    "put(join(have, floor, have.recent, ballot, value), ms)\n"
    "return answer\n"
    "end\n"
    "local new, ms = parse(ARGV[2]), tonumber(ARGV[3])\n"
    "if new.stamp == have.stamp then\n"
    "if has(new.flags, 1) and have.linger and left(have) > 0 then\n"
    "redis.call('PEXPIRE', key, have.linger)\n"
    "end\n"
    "return 1\n"
    "end\n"
    "if less(new.stamp, have.stamp) or less(new.stamp, have.promise) then\n"
    "if ARGV[4] == 'h' then return {0, old:sub(1, have.head)} end\n"
    "return give(0, old, have)\n"
    "end\n"
    "local floor, recent = have.floor, have.recent\n"
    "if less(floor, new.floor) then floor = new.floor end\n"
    "if has(have.flags, 2) then\n"
    "local came = have.origin:sub(1, 8)\n"
    "local older = came\n"
    "if less(recent, came) then recent, older = came, recent end\n"
    "if older ~= recent and less(floor, older) then floor = older end\n"
    "end\n"
    "if floor == none and recent == none then\n"
    "put(ARGV[2], ms)\n"
    "else\n"
    "put(join(new, floor, recent, zero, ARGV[2]:sub(new.head + 1)), ms)\n"
    "end\n"
    "return 1\n";

#define SCRIPT_SHA1 "907dccdb842a42fb93b6cb7ce7fe8950b59054d3"

#define ARGS_MAX 9u

const char *kw_quorum_script_text(void)
{
    return script;
}

const char *kw_quorum_script_sha1(void)
{
    return SCRIPT_SHA1;
}

/* One argument in two pieces, the header of a record and its value, which need not be joined
 * first. */
typedef struct piece {
    kw_bytes head;
    kw_bytes tail;
} piece;

static bool append_count(kw_buf *buf, char mark, size_t count)
{
    char text[24];
    text[0] = mark;
    size_t len = 1 + kw_uint_to_text(text + 1, count);
    text[len++] = '\r';
    text[len++] = '\n';
    return kw_buf_append(buf, text, len);
}

static bool append_piece(kw_buf *buf, const piece *part)
{
    size_t len;
    size_t room;
    return kw_size_add(&len, part->head.len, part->tail.len) && kw_size_add(&room, len, 32) &&
           kw_buf_reserve(buf, room) && append_count(buf, '$', len) &&
           kw_buf_append(buf, part->head.data, part->head.len) &&
           kw_buf_append(buf, part->tail.data, part->tail.len) && kw_buf_append(buf, "\r\n", 2);
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

static bool append_all(kw_buf *buf, const piece *parts, size_t n)
{
    size_t len = buf->len;
    bool is_whole = append_count(buf, '*', n);
    for (size_t i = 0; i < n && is_whole; i++) {
        is_whole = append_piece(buf, &parts[i]);
    }
    if (!is_whole) {
        buf->len = len;
    }
    return is_whole;
}

bool kw_quorum_script_encode(kw_buf *buf, const kw_quorum_place *place, const kw_quorum_ask *ask)
{
    piece parts[ARGS_MAX];
    unsigned char head[KW_RECORD_HEAD_MAX];
    char life[24];
    size_t n = 0;
    if (place->is_plain) {
        parts[n++] = piece_of_text("GET");
        parts[n++] = piece_of(place->key);
        return append_all(buf, parts, n);
    }
    parts[n++] = piece_of_text(place->has_script ? "EVALSHA" : "EVAL");
    parts[n++] = piece_of_text(place->has_script ? SCRIPT_SHA1 : script);
    parts[n++] = piece_of_text(place->marker.len > 0 ? "2" : "1");
    parts[n++] = piece_of(place->key);
    if (place->marker.len > 0) {
        parts[n++] = piece_of(place->marker);
    }
    kw_bytes head_bytes = {(const char *)head, KW_STAMP_BYTES};
    kw_bytes life_bytes = {life, kw_uint_to_text(life, ask->life_ms)};
    switch (ask->kind) {
    case KW_QUORUM_GET:
        parts[n++] = piece_of_text("g");
        break;
    case KW_QUORUM_PREPARE:
        kw_stamp_put(head, ask->record.stamp);
        parts[n++] = piece_of_text("p");
        parts[n++] = piece_of(head_bytes);
        parts[n++] = piece_of(life_bytes);
        break;
    case KW_QUORUM_PUT:
        head_bytes.len = kw_record_put_head(head, &ask->record);
        parts[n++] = piece_of_text("s");
        parts[n] = piece_of(head_bytes);
        parts[n++].tail = ask->record.value;
        parts[n++] = piece_of(life_bytes);
        parts[n++] = piece_of_text(ask->wants_value ? "f" : "h");
        break;
    }
    return append_all(buf, parts, n);
}

bool kw_quorum_script_expand(kw_buf *buf, kw_bytes command)
{
    static const char short_name[] = "$7\r\nEVALSHA\r\n$40\r\n" SCRIPT_SHA1 "\r\n";
    static const char full_name[] = "$4\r\nEVAL\r\n";
    size_t count_len = 4; /* "*6\r\n" */
    size_t at = count_len + sizeof(short_name) - 1;
    assert(command.len > at && memcmp(command.data + count_len, short_name, at - count_len) == 0);
    piece text = piece_of_text(script);
    size_t len = buf->len;
    bool is_whole = kw_buf_append(buf, command.data, count_len) &&
                    kw_buf_append(buf, full_name, sizeof(full_name) - 1) &&
                    append_piece(buf, &text) &&
                    kw_buf_append(buf, command.data + at, command.len - at);
    if (!is_whole) {
        buf->len = len;
    }
    return is_whole;
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
    size_t at = 4; /* "*7\r\n" */
    kw_bytes argument = {NULL, 0};
    size_t keys_n = 0;
    for (size_t i = 0; i < 3 + keys_n + 2; i++) { /* name, script, number, keys, "s", record */
        argument = next_argument(command, &at);
        keys_n = i == 2 ? (size_t)(argument.data[0] - '0') : keys_n;
    }
    return argument;
}

bool kw_quorum_script_is_missing(const kw_reply *reply)
{
    return kw_reply_is_error(reply) && kw_bytes_starts(kw_reply_bytes(reply), "NOSCRIPT");
}

bool kw_quorum_script_is_mortal(const kw_reply *reply)
{
    kw_record record;
    return kw_reply_type(reply) == KW_REPLY_STRING &&
           kw_record_get(&record, kw_reply_bytes(reply)) && record.is_mortal;
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
        if (kw_bytes_starts(text, harmless[i])) {
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
    kw_quorum_answer read;
    memset(&read, 0, sizeof(read));
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
        is_sound = kind == KW_QUORUM_PUT && kw_reply_int(reply) == 1;
        break;
    case KW_REPLY_ARRAY:
        is_sound = read_array(&read, reply);
        is_sound = is_sound && (kind != KW_QUORUM_GET || (read.is_taken && read.has_record)) &&
                   (kind != KW_QUORUM_PUT || !read.is_taken);
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
