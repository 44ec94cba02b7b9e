/* SPDX-License-Identifier: BSD-3-Clause */
/* The Lua script of leases, its commands and its replies. */
#include "cache/lease.h"

#include <string.h>

/* KEYS: the key, its lease. ARGV: what is to be done, token, milliseconds, value. A change of the
 * text changes its SHA1. */
static const char script[] =
    "local key, lease, op, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2]\n"
    "local ms, value = tonumber(ARGV[3]), ARGV[4]\n"
    "local call = redis.call\n"
    "local function set(k, v)\n"
    "if ms > 0 then call('SET', k, v, 'PX', ms) else call('SET', k, v) end\n"
    "end\n"
    "if op == 'put' then\n"
    "set(key, value) call('DEL', lease) return 1\n"
    "elseif op == 'forget' then\n"
    "call('DEL', lease) return call('DEL', key)\n"
    "end\n"
    "local old = call('GET', key)\n"
    "if op == 'read' then\n"
    "if not old then return {2} end\n"
    "return {1, old, call('PTTL', key)}\n"
    "end\n"
    "local has = call('GET', lease)\n"
    "if op == 'acquire' or op == 'refresh' then\n"
    "local left = old and call('PTTL', key) or -2\n"
    "if old and op == 'acquire' then return {1, old, left} end\n"
    "if has == 'N' and not old then return {2} end\n"
    "if has and has ~= 'N' then\n"
    "return {3, old, left, has:sub(2, 33), call('PTTL', lease)}\n"
    "end\n"
    "call('SET', lease, 'L' .. token .. ':' .. (old and redis.sha1hex(old) or ''), 'PX', ms)\n"
    "return {0, old, left}\n"
    "end\n"
    "if not has or has:sub(1, 33) ~= 'L' .. token then return 0 end\n"
    "if op == 'extend' then return call('PEXPIRE', lease, ms) end\n"
    "local same = has:sub(35) == (old and redis.sha1hex(old) or '')\n"
    "if op == 'none' and same and ms > 0 then\n"
    "call('SET', lease, 'N', 'PX', ms)\n"
    "else\n"
    "call('DEL', lease)\n"
    "end\n"
    "if op == 'release' or not same then return 0 end\n"
    "if op == 'fill' then set(key, value) elseif old then call('DEL', key) end\n"
    "return 1\n";

#define SCRIPT_SHA1 "0a092d90b7e07d899c09d96b9c8b87bfe8e25227"

static const char *const act_names[] = {
    [KW_LEASE_READ] = "read",       [KW_LEASE_ACQUIRE] = "acquire", [KW_LEASE_REFRESH] = "refresh",
    [KW_LEASE_EXTEND] = "extend",   [KW_LEASE_FILL] = "fill",       [KW_LEASE_NONE] = "none",
    [KW_LEASE_RELEASE] = "release", [KW_LEASE_PUT] = "put",         [KW_LEASE_FORGET] = "forget",
};

static void put_hex(char *out, uint64_t number)
{
    for (int i = 15; i >= 0; i--) {
        out[i] = "0123456789abcdef"[number & 15];
        number >>= 4;
    }
}

kw_lease_token kw_lease_token_make(uint64_t process, uint64_t number)
{
    kw_lease_token token;
    put_hex(token.text, process);
    put_hex(token.text + 16, number);
    return token;
}

bool kw_lease_name(kw_buf *buf, const kw_slot_tags *tags, kw_bytes key)
{
    const char *tag = tags->at[kw_slot_of(key.data, key.len)];
    size_t before = buf->len;
    bool is_whole = kw_buf_append(buf, KW_LEASE_PREFIX, sizeof(KW_LEASE_PREFIX) - 1) &&
                    kw_buf_append(buf, tag, KW_SLOT_TAG_LEN) && kw_buf_append(buf, "}:", 2) &&
                    kw_buf_append(buf, key.data, key.len);
    buf->len = is_whole ? buf->len : before;
    return is_whole;
}

void kw_lease_argv(kw_bytes argv[KW_LEASE_ARGC], kw_lease_space *space, const kw_lease_ask *ask,
                   bool is_whole)
{
    argv[0] = kw_bytes_of(is_whole ? "EVAL" : "EVALSHA");
    argv[1] = kw_bytes_of(is_whole ? script : SCRIPT_SHA1);
    argv[2] = kw_bytes_of("2");
    argv[3] = ask->key;
    argv[4] = ask->name;
    argv[5] = kw_bytes_of(act_names[ask->act]);
    argv[6] = ask->token;
    argv[7].data = space->ms;
    argv[7].len = kw_uint_to_text(space->ms, ask->ms);
    argv[8] = ask->value;
}

bool kw_lease_is_script_missing(const kw_reply *reply)
{
    return kw_reply_is_error(reply) && kw_bytes_starts(kw_reply_bytes(reply), "NOSCRIPT");
}

static bool read_value(kw_lease_answer *answer, const kw_reply *reply)
{
    const kw_reply *value = kw_reply_at(reply, 1);
    if (value == NULL || kw_reply_is_nil(value)) {
        return answer->state != KW_LEASE_HAS_VALUE;
    }
    answer->value = value;
    answer->left_ms = kw_reply_int(kw_reply_at(reply, 2));
    return kw_reply_type(value) == KW_REPLY_STRING && kw_reply_count(reply) >= 3;
}

bool kw_lease_read(kw_lease_answer *answer, const kw_reply *reply)
{
    memset(answer, 0, sizeof(*answer));
    size_t n = kw_reply_type(reply) == KW_REPLY_ARRAY ? kw_reply_count(reply) : 0;
    long long state = n > 0 ? kw_reply_int(kw_reply_at(reply, 0)) : -1;
    if (state < 0 || state > KW_LEASE_IS_TAKEN) {
        return false;
    }
    answer->state = (kw_lease_state)state;
    answer->left_ms = -1;
    if (answer->state == KW_LEASE_HAS_NONE) {
        return true;
    }
    if (!read_value(answer, reply)) {
        return false;
    }
    if (answer->state == KW_LEASE_IS_TAKEN) {
        kw_bytes holder = kw_reply_bytes(kw_reply_at(reply, 3));
        long long term_ms = kw_reply_int(kw_reply_at(reply, 4));
        if (n != 5 || holder.len != KW_LEASE_TOKEN_LEN) {
            return false;
        }
        memcpy(answer->holder.text, holder.data, holder.len);
        answer->term_ms = term_ms > 0 ? (uint64_t)term_ms : 0;
    }
    return true;
}

const char *kw_lease_script(void)
{
    return script;
}

const char *kw_lease_script_sha1(void)
{
    return SCRIPT_SHA1;
}
