/* SPDX-License-Identifier: BSD-3-Clause */
/* Fifo: who owns the next reply of a connection. */
#ifndef NET_FIFO_H
#define NET_FIFO_H

#include "base/memory.h"
#include "base/reply.h"

#include <stdbool.h>
#include <stdint.h>

/* One command under way: the bytes that every try sends, and where the reply goes. */
typedef struct kw_request {
    kw_reply *reply;  /* the owner's, once is_done */
    uint32_t parts_n; /* replies that come before its own: of a whole transaction. Not on a shared
                         connection */
    bool is_done;
    bool pools;     /* its reply is not kept for long, and may share memory with others */
    bool joins;     /* others follow at once: its bytes are copied, and leave with theirs */
    bool is_shared; /* on a shared connection: its bytes are copied whatever their size */
    const kw_reply_sink *sink; /* NULL: a reply of its own. Not on a shared connection */
    kw_bytes bytes;            /* borrowed: the encoded command */
    uint64_t end_at;           /* where it ends in the stream of bytes that the connection sends */
} kw_request;

/* Nothing was sent; the bytes are to be set. */
static inline void kw_request_init(kw_request *request)
{
    request->reply = NULL;
    request->sink = NULL;
    request->end_at = 0;
    request->parts_n = 0;
    request->is_done = false;
    request->pools = false;
    request->joins = false;
    request->is_shared = false;
}

typedef enum kw_owner_kind {
    KW_OWNER_HELLO,    /* must be the server's description of itself */
    KW_OWNER_OK,       /* must be +OK: AUTH, SELECT, READONLY */
    KW_OWNER_ROLE,     /* must be the role that the connection is for */
    KW_OWNER_LOGIN,    /* AUTH on a connection that has a login already, which it keeps on error */
    KW_OWNER_IDENTITY, /* tells who answers, where it may be asked */
    KW_OWNER_OPTIONAL, /* any reply will do */
    KW_OWNER_PARTS,    /* a command whose caller waits, with replies before the one that counts */
    KW_OWNER_NOBODY,   /* a command whose caller has left: a tombstone, whose reply is dropped */
    KW_OWNER_REQUEST   /* a command whose caller waits */
} kw_owner_kind;

/* Small: a connection has as many as commands are on their way. */
typedef struct kw_owner {
    kw_owner_kind kind;
    uint32_t parts_n; /* of KW_OWNER_PARTS: replies that are to come before its own */
    union {
        const char *what;    /* the command, for an error text: "AUTH"; or NULL */
        kw_request *request; /* of KW_OWNER_REQUEST, KW_OWNER_PARTS */
        uint64_t end_at;     /* of KW_OWNER_NOBODY: its request's */
    };
} kw_owner;

/* NULL: no command, or its caller has left. */
static inline kw_request *kw_owner_request(const kw_owner *owner)
{
    bool has_request = owner->kind == KW_OWNER_REQUEST || owner->kind == KW_OWNER_PARTS;
    return has_request ? owner->request : NULL;
}

/* The question of the library's own, for an error text; NULL: it is none. */
static inline const char *kw_owner_what(const kw_owner *owner)
{
    return owner->kind < KW_OWNER_PARTS ? owner->what : NULL;
}

/* Owners in a ring buffer that grows. */
typedef struct kw_fifo {
    const kw_allocator *mem;
    kw_owner *owners;
    size_t capacity; /* a power of two, or 0 */
    size_t head;
    size_t count;
} kw_fifo;

void kw_fifo_init(kw_fifo *fifo, const kw_allocator *mem);
void kw_fifo_fini(kw_fifo *fifo);

/* The slow way of kw_fifo_reserve: there is no room yet. */
bool kw_fifo_grow(kw_fifo *fifo, size_t n);

/* Makes room for n more; false when there is no memory. */
static inline bool kw_fifo_reserve(kw_fifo *fifo, size_t n)
{
    return fifo->capacity - fifo->count >= n || kw_fifo_grow(fifo, n);
}

/* False when there is no memory. */
static inline bool kw_fifo_push(kw_fifo *fifo, kw_owner owner)
{
    if (!kw_fifo_reserve(fifo, 1)) {
        return false;
    }
    fifo->owners[(fifo->head + fifo->count++) & (fifo->capacity - 1)] = owner;
    return true;
}

/* The owner of the next reply, left there and borrowed until the next push; NULL when nobody waits.
 */
static inline const kw_owner *kw_fifo_peek(const kw_fifo *fifo)
{
    return fifo->count > 0 ? &fifo->owners[fifo->head] : NULL;
}

/* One of the replies has come that the next owner has before its own. */
static inline void kw_fifo_count_part(kw_fifo *fifo)
{
    fifo->owners[fifo->head].parts_n--;
}

/* Takes the owner of the next reply, which somebody waits for, out. */
static inline void kw_fifo_drop_first(kw_fifo *fifo)
{
    fifo->head = (fifo->head + 1) & (fifo->capacity - 1);
    fifo->count--;
}

/* The owner of the next reply, taken out; false when nobody waits for one. */
static inline bool kw_fifo_pop(kw_fifo *fifo, kw_owner *owner)
{
    if (fifo->count == 0) {
        return false;
    }
    *owner = fifo->owners[fifo->head];
    kw_fifo_drop_first(fifo);
    return true;
}

/* The owner of the reply behind the next at ones. */
static inline const kw_owner *kw_fifo_at(const kw_fifo *fifo, size_t at)
{
    return &fifo->owners[(fifo->head + at) & (fifo->capacity - 1)];
}

/* The request's owner has left: its reply will be dropped. False where it is not there. */
bool kw_fifo_forget(kw_fifo *fifo, const kw_request *request);

/* Drops the last n owners, the last of which is the request's. False where it is not. */
bool kw_fifo_drop_last(kw_fifo *fifo, const kw_request *request, size_t n);

/* Makes owners KW_OWNER_OPTIONAL, but for requests and KW_OWNER_IDENTITY: whatever the replies are,
 * they are dropped. */
void kw_fifo_make_optional(kw_fifo *fifo);

#endif
