/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about keys, as RESP2 has them. */
#include "cache/track_hear.h"

#include "base/error.h"

#include <errno.h>

/* Bytes that one turn hears at most, in pieces. */
#define PIECE_LEN  ((size_t)16384)
#define PIECES_MAX 64

/* ["message", channel, [key, ...] or nil], ["subscribe", ...] or ["pong", ""]. */
static kw_err take_message(kw_track_pair *pair, kw_error *error, const kw_reply *reply)
{
    kw_bytes kind = kw_reply_bytes(kw_reply_at(reply, 0));
    if (kw_bytes_equal(kind, kw_bytes_of("message")) && kw_reply_count(reply) == 3) {
        const kw_reply *keys = kw_reply_at(reply, 2);
        if (kw_reply_is_nil(keys)) {
            kw_near_end_epoch(pair->near, pair->at); /* FLUSHALL */
        }
        for (size_t i = 0; i < kw_reply_count(keys); i++) {
            kw_near_kill(pair->near, kw_reply_bytes(kw_reply_at(keys, i)));
        }
        return KW_OK;
    }
    if (kw_bytes_equal(kind, kw_bytes_of("subscribe"))) {
        pair->is_subscribed = true;
        return KW_OK;
    }
    if (kw_bytes_equal(kind, kw_bytes_of("pong")) && pair->pinged_ns != 0) {
        pair->has_pong = true;
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_NONE, "no message about keys");
}

static kw_err take_messages(kw_track_pair *pair, kw_error *error)
{
    kw_reader *reader = &pair->inval->reader;
    kw_err code = KW_OK;
    while (code == KW_OK && kw_reader_has_rest(reader)) {
        kw_reply *reply = NULL;
        reader->is_internal = true;
        code = kw_reader_next(reader, &reply, error);
        if (code != KW_OK || reply == NULL) {
            break;
        }
        code = take_message(pair, error, reply);
        kw_reply_free(reply);
    }
    return code;
}

kw_err kw_track_hear(kw_track_pair *pair, kw_error *error)
{
    char data[PIECE_LEN];
    for (int i = 0; i < PIECES_MAX; i++) {
        ssize_t got = kw_conn_recv(pair->inval, data, sizeof(data), false);
        if (got == -EAGAIN) {
            return KW_OK;
        }
        if (got <= 0) {
            return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                                "the connection for messages about keys was closed");
        }
        kw_err code = kw_reader_feed(&pair->inval->reader, error, data, (size_t)got);
        code = code == KW_OK ? take_messages(pair, error) : code;
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}
