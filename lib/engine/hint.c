/* SPDX-License-Identifier: BSD-3-Clause */
/* Hints as commands for the server that keeps them, and the Lua script that does the keeping. */
#include "engine/hint.h"

#include <string.h>

/* KEYS: hint_keys. ARGV: s, key, record, life, life of the hint, greatest number, most bytes; or
 * g, page, most bytes; or d, key, stamp. Times are by this server's clock. */
static const char script[] =
    "local box, op = KEYS[1], ARGV[1]\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local function digits(n) return ('%015.0f'):format(n) end\n"
    "local function remove(name, field, hint)\n"
    "redis.call('HDEL', name, field)\n"
    "redis.call('HINCRBY', name, 'b', -(#field + #hint))\n"
    "if redis.call('HLEN', name) < 2 then redis.call('DEL', name) end\n"
    "end\n"
    "if op == 'g' then\n"
    "for i, name in ipairs(KEYS) do\n"
    "local out, size, at = {i - 1}, 0, '0'\n"
    "repeat\n"
    "local page = redis.call('HSCAN', name, at, 'COUNT', ARGV[2])\n"
    "at = page[1]\n"
    "for j = 1, #page[2], 2 do\n"
    "local field, hint = page[2][j], page[2][j + 1]\n"
    "if field ~= 'b' and size < tonumber(ARGV[3]) and #out < 3 * tonumber(ARGV[2]) then\n"
    "local ends, dies = tonumber(hint:sub(1, 15)), tonumber(hint:sub(16, 30))\n"
    "if ends <= now or (dies > 0 and dies <= now) then\n"
    "remove(name, field, hint)\n"
    "else\n"
    "size = size + #field + #hint\n"
    "out[#out + 1], out[#out + 2] = field:sub(2), hint:sub(31)\n"
    "out[#out + 1] = dies > 0 and dies - now or 0\n"
    "end\n"
    "end\n"
    "end\n"
    "until at == '0' or #out > 1\n"
    "if #out > 1 then return out end\n"
    "end\n"
    "return {}\n"
    "end\n"
    "local field = 'k' .. ARGV[2]\n"
    "local old = redis.call('HGET', box, field)\n"
    "if op == 'd' then\n"
    "if old and old:sub(34, 49) == ARGV[3] then remove(box, field, old) end\n"
    "return 1\n"
    "end\n"
    "local new = ARGV[3]\n"
    "if old and tonumber(old:sub(1, 15)) > now then\n"
    "for i = 4, 19 do\n"
    "local x, y = new:byte(i), old:byte(30 + i)\n"
    "if x > y then break end\n"
    "if x < y or i == 19 then return 1 end\n"
    "end\n"
    "end\n"
    "local dies = tonumber(ARGV[4])\n"
    "local hint = digits(now + ARGV[5]) .. digits(dies > 0 and now + dies or 0) .. new\n"
    "local grows = #field + #hint - (old and #field + #old or 0)\n"
    "local size = tonumber(redis.call('HGET', box, 'b') or 0) + grows\n"
    "if size > tonumber(ARGV[7]) or\n"
    "(not old and redis.call('HLEN', box) > tonumber(ARGV[6])) then\n"
    "return 0\n"
    "end\n"
    "redis.call('HSET', box, field, hint)\n"
    "redis.call('HSET', box, 'b', size)\n"
    "redis.call('PEXPIRE', box, ARGV[5])\n"
    "return 1\n";

static bool append_number(kw_buf *buf, char mark, uint64_t number)
{
    char text[24] = {mark};
    size_t len = 1 + kw_uint_to_text(text + 1, number);
    return kw_buf_append(buf, text, len) && kw_buf_append(buf, "\r\n", 2);
}

static bool append_bytes(kw_buf *buf, kw_bytes bytes)
{
    return append_number(buf, '$', bytes.len) &&
           (bytes.len == 0 || kw_buf_append(buf, bytes.data, bytes.len)) &&
           kw_buf_append(buf, "\r\n", 2);
}

/* EVAL of the script. */
static bool append_all(kw_buf *buf, const kw_bytes *keys, size_t keys_n, const kw_bytes *args,
                       size_t args_n)
{
    char text[24];
    kw_bytes count = {text, kw_uint_to_text(text, keys_n)};
    size_t len = buf->len;
    bool is_whole = append_number(buf, '*', 3 + keys_n + args_n) &&
                    append_bytes(buf, kw_bytes_of("EVAL")) &&
                    append_bytes(buf, kw_bytes_of(script)) && append_bytes(buf, count);
    for (size_t i = 0; i < keys_n && is_whole; i++) {
        is_whole = append_bytes(buf, keys[i]);
    }
    for (size_t i = 0; i < args_n && is_whole; i++) {
        is_whole = append_bytes(buf, args[i]);
    }
    if (!is_whole) {
        buf->len = len;
    }
    return is_whole;
}

static kw_bytes number_of(char text[24], uint64_t number)
{
    kw_bytes bytes = {text, kw_uint_to_text(text, number)};
    return bytes;
}

bool kw_hint_is_due(const kw_quorum_op *op, const kw_quorum_ask *ask)
{
    return op->spec.kind != KW_QUORUM_READ && ask->kind == KW_QUORUM_PUT && !ask->is_repair &&
           !ask->record.is_copied;
}

bool kw_hint_age(uint64_t *life_ms, const kw_quorum_ask *ask, uint64_t passed_ms)
{
    if (ask->life_ms > 0 && passed_ms >= ask->life_ms) {
        return false;
    }
    *life_ms = ask->life_ms > 0 ? ask->life_ms - passed_ms : 0;
    return true;
}

bool kw_hint_encode_leave(kw_buf *buf, const kw_hint *hint, uint64_t linger_ms)
{
    uint64_t ends_ms = linger_ms / 2 < KW_HINT_LIFE_MAX_MS ? linger_ms / 2 : KW_HINT_LIFE_MAX_MS;
    char texts[4][24];
    kw_bytes args[] = {kw_bytes_of("s"),
                       hint->key,
                       hint->record,
                       number_of(texts[0], hint->life_ms),
                       number_of(texts[1], ends_ms > 0 ? ends_ms : 1),
                       number_of(texts[2], KW_HINT_COUNT_MAX),
                       number_of(texts[3], KW_HINT_BYTES_MAX)};
    return append_all(buf, &hint->hint_key, 1, args, sizeof(args) / sizeof(args[0]));
}

bool kw_hint_encode_look(kw_buf *buf, const kw_bytes *hint_keys, size_t hint_keys_n)
{
    char texts[2][24];
    kw_bytes args[] = {kw_bytes_of("g"), number_of(texts[0], KW_HINT_PAGE),
                       number_of(texts[1], KW_HINT_PAGE_BYTES)};
    return append_all(buf, hint_keys, hint_keys_n, args, sizeof(args) / sizeof(args[0]));
}

bool kw_hint_encode_drop(kw_buf *buf, kw_bytes hint_key, kw_bytes key, kw_stamp stamp)
{
    unsigned char bytes[KW_STAMP_BYTES];
    kw_stamp_put(bytes, stamp);
    kw_bytes args[] = {kw_bytes_of("d"), key, {(const char *)bytes, sizeof(bytes)}};
    return append_all(buf, &hint_key, 1, args, sizeof(args) / sizeof(args[0]));
}

size_t kw_hint_count(const kw_reply *reply, size_t *hint_key, size_t hint_keys_n)
{
    size_t n = kw_reply_type(reply) == KW_REPLY_ARRAY ? kw_reply_count(reply) : 0;
    const kw_reply *first = n > 0 ? kw_reply_at(reply, 0) : NULL;
    if (n < 4 || n % 3 != 1 || n / 3 > KW_HINT_PAGE || kw_reply_type(first) != KW_REPLY_INTEGER ||
        kw_reply_int(first) < 0 || (uint64_t)kw_reply_int(first) >= hint_keys_n) {
        return 0;
    }
    *hint_key = (size_t)kw_reply_int(first);
    return n / 3;
}

bool kw_hint_at(const kw_reply *reply, size_t index, kw_bytes *key, kw_quorum_ask *ask)
{
    const kw_reply *name = kw_reply_at(reply, 3 * index + 1);
    const kw_reply *record = kw_reply_at(reply, 3 * index + 2);
    const kw_reply *life = kw_reply_at(reply, 3 * index + 3);
    kw_quorum_ask read;
    memset(&read, 0, sizeof(read));
    if (kw_reply_type(name) != KW_REPLY_STRING || kw_reply_type(record) != KW_REPLY_STRING ||
        kw_reply_type(life) != KW_REPLY_INTEGER || kw_reply_int(life) < 0 ||
        !kw_record_get(&read.record, kw_reply_bytes(record))) {
        return false;
    }
    read.kind = KW_QUORUM_PUT;
    read.is_repair = true;
    read.life_ms = (uint64_t)kw_reply_int(life);
    read.record.is_copied = true;
    read.record.floor = 0;
    read.record.recent = 0;
    memset(&read.record.promise, 0, sizeof(read.record.promise));
    if ((read.record.is_mortal || read.record.is_tombstone) && read.life_ms == 0) {
        return false; /* a hint without an end is not handed back */
    }
    *key = kw_reply_bytes(name);
    *ask = read;
    return true;
}
