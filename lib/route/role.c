/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a server's answer to ROLE. */
#include "route/role.h"

#include "base/error.h"

/* ["master", offset, [replica ...]], ["slave", host, port, state of the link, offset],
 * ["sentinel", [name ...]]. */
#define PRIMARY_FIELDS  3
#define REPLICA_FIELDS  5
#define SENTINEL_FIELDS 2

static kw_err refuse(kw_error *error, const char *why)
{
    return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE, "ROLE: %s", why);
}

static kw_err read_offset(long long *offset, kw_error *error, const kw_reply *reply)
{
    if (kw_reply_type(reply) != KW_REPLY_INTEGER || kw_reply_int(reply) < -1) {
        return refuse(error, "the replication offset is no such number");
    }
    *offset = kw_reply_int(reply);
    return KW_OK;
}

kw_err kw_role_read(kw_role *role, kw_error *error, const kw_reply *reply)
{
    kw_role read = {KW_ROLE_SENTINEL, false, 0};
    kw_bytes name = kw_reply_bytes(kw_reply_at(reply, 0));
    size_t count = kw_reply_type(reply) == KW_REPLY_ARRAY ? kw_reply_count(reply) : 0;
    kw_err code = KW_OK;
    if (kw_bytes_equal(name, kw_bytes_of("master")) && count >= PRIMARY_FIELDS) {
        read.kind = KW_ROLE_PRIMARY;
        code = read_offset(&read.offset, error, kw_reply_at(reply, 1));
    } else if (kw_bytes_equal(name, kw_bytes_of("slave")) && count >= REPLICA_FIELDS) {
        read.kind = KW_ROLE_REPLICA;
        read.is_linked =
            kw_bytes_equal(kw_reply_bytes(kw_reply_at(reply, 3)), kw_bytes_of("connected"));
        code = read_offset(&read.offset, error, kw_reply_at(reply, 4));
    } else if (!kw_bytes_equal(name, kw_bytes_of("sentinel")) || count < SENTINEL_FIELDS) {
        code = refuse(error, "the answer is no server's description of its role");
    }
    if (code == KW_OK) {
        *role = read;
    }
    return code;
}

const char *kw_role_name(kw_role_kind kind)
{
    switch (kind) {
    case KW_ROLE_PRIMARY:
        return "primary";
    case KW_ROLE_REPLICA:
        return "replica";
    case KW_ROLE_SENTINEL:
        return "sentinel";
    }
    return "?";
}
