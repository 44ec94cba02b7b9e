/* SPDX-License-Identifier: BSD-3-Clause */
/* Reader: hiredis' protocol parser, with our limits and our replies; a short way for plain
 * replies that are all there. */
#ifndef BASE_READER_H
#define BASE_READER_H

#include <keyway/error.h>

#include "base/bytes.h"
#include "base/reply.h"

/* What one reply may be. */
typedef struct kw_reader_limits {
    uint64_t bytes;
    uint64_t items; /* elements of all its arrays */
    uint64_t depth; /* arrays in arrays; 1: one that holds none */
} kw_reader_limits;

typedef struct kw_reader {
    const kw_allocator *mem;
    kw_reader_limits limits; /* of replies to a caller */
    redisReader *hiredis;
    kw_reply *root;  /* of the reply being built */
    size_t items_n;  /* array elements of that reply */
    kw_bytes input;  /* bytes from the socket: those of kept, or lent ones */
    size_t input_at; /* the first byte that neither hiredis nor a reply has */
    kw_buf kept;
    bool is_lent;              /* until kw_reader_end_loan */
    size_t pending_len;        /* bytes of an unfinished reply that hiredis has */
    size_t piece_len;          /* what hiredis gets next of it */
    size_t buffer_len;         /* most bytes that hiredis' buffer has held */
    kw_reply_pool pool;        /* of replies that are not kept for long */
    bool is_too_deep;          /* why the last object was not made: a limit, or else memory */
    bool has_too_many;         /* the same: of elements */
    bool pools;                /* the next reply goes into the pool; reset after it */
    const kw_reply_sink *sink; /* of the next reply, or NULL; reset after it */
    bool is_internal;          /* the next reply is to the library's own question, which the
                              caller's limits are not about */
    bool is_resp3;             /* the server was asked for that: it may push messages */
    bool has_nested_aside;     /* why the last object was not made: a push inside a reply */
    char head;                 /* first byte of what hiredis is reading */
    size_t pushes_row;         /* messages since the last reply */
    size_t pushes_n;           /* messages dropped; whoever counts them makes it 0 */
} kw_reader;

/* KW_ERR_NOMEM. The reader must not be moved: hiredis points to it. */
kw_err kw_reader_init(kw_reader *reader, const kw_allocator *mem, const kw_reader_limits *limits);
void kw_reader_fini(kw_reader *reader);

/* Takes bytes that came from the socket. KW_ERR_NOMEM. */
kw_err kw_reader_feed(kw_reader *reader, kw_error *error, const char *data, size_t len);

/* As kw_reader_feed, of bytes that need not be copied: they stay where they are until
 * kw_reader_end_loan, which keeps what no reply has taken. KW_ERR_NOMEM, of both. */
kw_err kw_reader_lend(kw_reader *reader, kw_error *error, const char *data, size_t len);
kw_err kw_reader_end_loan(kw_reader *reader, kw_error *error);

/* The next whole reply, the caller's to free; KW_OK with *reply NULL while it is not
 * all there. Messages that a server pushes between two replies (RESP3) are dropped, and so
 * are attributes in front of one. KW_ERR_PROTOCOL, KW_ERR_LIMIT, KW_ERR_NOMEM: the stream is lost.
 */
kw_err kw_reader_next(kw_reader *reader, kw_reply **reply, kw_error *error);

/* Bytes that have come of a reply that is not whole. */
static inline size_t kw_reader_unfinished_len(const kw_reader *reader)
{
    return reader->pending_len + (reader->input.len - reader->input_at);
}

/* True where bytes behind the last whole reply are there. */
static inline bool kw_reader_has_rest(const kw_reader *reader)
{
    return reader->pending_len > 0 || reader->input_at < reader->input.len;
}

/* True where bytes behind the last whole reply are there, and are not of a message that the server
 * pushes: that is no reply. */
bool kw_reader_has_reply_rest(const kw_reader *reader);

#endif
