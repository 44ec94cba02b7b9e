/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan: what its sources share. The engine's walk says what is to be asked of whom; requests carry
 * it, as tickets for callers who wait, as commands with callbacks for event loops. Keys that have
 * come are ready until they are given, in the order in which they came; only then the walk hears of
 * them, so that its cursor is behind what was given, and behind nothing else. */
#ifndef API_SCAN_PRIVATE_H
#define API_SCAN_PRIVATE_H

#include <keyway/loop.h>
#include <keyway/scan.h>
#include <keyway/submit.h>

#include "api/client.h"
#include "base/endpoint.h"
#include "engine/scan_unique.h"
#include "engine/scan_walk.h"

#include <stdatomic.h>
#include <sys/types.h>

/* What a request is for. */
typedef enum kw_scan_need {
    KW_SCAN_NEEDS_STEP, /* a step of the walk */
    KW_SCAN_NEEDS_MAP,  /* the first map */
    KW_SCAN_NEEDS_TYPE, /* the type of one key of a SLOT step, whose request is parent */
    KW_SCAN_NEEDS_TIME  /* a pause, in an event loop */
} kw_scan_need;

/* Commands of an ASK step, one behind the other. */
typedef enum kw_scan_question {
    KW_SCAN_ASKS_NODES,
    KW_SCAN_ASKS_INFO,
    KW_SCAN_ASKS_SIZE
} kw_scan_question;

typedef struct kw_scan_request kw_scan_request;
struct kw_scan_request {
    kw_scan_request *next; /* of its list: those under way, or those that are ready */
    kw_scan_request *before;
    kw_scan *scan;
    kw_scan_need need;
    kw_scan_step step;
    kw_ticket *ticket; /* where the scan waits */
    kw_scan_question question;
    kw_scan_seen *seen;     /* of ASK */
    kw_reply *reply;        /* with keys that have come */
    const kw_reply *keys;   /* in it */
    uint64_t cursor;        /* the next one of a page */
    unsigned char *is_kept; /* of a SLOT step, by type: one for each key */
    size_t types_n;         /* keys whose type was asked for .. */
    size_t types_open_n;    /* .. and was not told yet */
    bool has_failed;        /* one of these */
    kw_scan_request *parent;
    size_t index; /* of the key in parent->keys */
};

typedef struct kw_scan_requests {
    kw_scan_request *head;
    kw_scan_request *tail;
    size_t n;
} kw_scan_requests;

/* Options, in memory of the scan's own. */
typedef struct kw_scan_wish {
    kw_scan_of of;
    kw_bytes key;
    kw_bytes match; /* empty data: none */
    kw_bytes type;
    kw_bytes node;
    kw_bytes tag;
    bool has_slots;
    unsigned first; /* slots, all where they do not matter */
    unsigned last;
    unsigned count;
    unsigned parallel;
    uint64_t timeout_ms;
} kw_scan_wish;

struct kw_scan {
    kw_allocator mem; /* the handle's; a scan may be closed after it */
    kw_client *client;
    pid_t pid; /* whose it is */
    kw_scan_wish wish;
    uint32_t scope; /* of cursors */
    kw_scan_walk walk;
    kw_scan_requests under_way;
    kw_scan_requests ready;
    kw_scan_requests given; /* whose keys the last batch points at */
    const char **texts;     /* of the last batch: keys, and as many values behind them */
    size_t *lens;
    size_t capacity; /* keys that have room there */
    kw_ticket **tickets;
    size_t tickets_n; /* room */
    kw_scan_unique unique;
    kw_buf cursor;
    kw_error failure; /* what the next batch is told instead; KW_OK: nothing */
    kw_error trouble; /* why the last request failed that did, and of whom */
    uint64_t deadline_ns;
    uint64_t until_ns; /* of a pause that the walk makes; 0: none */
    uint64_t call_ns;  /* in an event loop: when a request for that ends; UINT64_MAX: none is */
    bool is_end;
    char node[KW_ENDPOINT_TEXT]; /* of the last batch */
    bool is_async;               /* walked by callbacks; and */
    bool is_sync;                /* by kw_scan_next */
    bool is_telling;
    bool is_closed;            /* it is freed with its last request */
    atomic_bool is_cancelled;  /* by any thread */
    kw_reply_fn reply_fn;      /* kw_scan_on_end */
    kw_scan_callback callback; /* fn NULL: none is awaited */
    kw_scan_progress figures;  /* given_n, repeated_n, commands_n of it */
};

/* In scan_options.c: */

/* Checks options, and takes copies of what they point at; the scan is new. After success, and after
 * a failure, kw_scan_wish_fini. */
kw_err kw_scan_wish_init(kw_scan *scan, kw_error *error, const kw_scan_options *options);
void kw_scan_wish_fini(kw_scan *scan);

/* In scan_request.c: */

/* A request under way; NULL, with a failure, when there is no memory. */
kw_scan_request *kw_scan_request_new(kw_scan *scan, kw_scan_need need, const kw_scan_step *step);

/* Takes one that is under way out of its list, and frees it. */
void kw_scan_request_free(kw_scan_request *request);

/* Moves one that was under way to the end of those that are ready. */
void kw_scan_request_is_ready(kw_scan_request *request);

/* The oldest of those that are ready, of which there is one, is given. */
kw_scan_request *kw_scan_request_give(kw_scan *scan);

/* Frees all that were given. */
void kw_scan_end_given(kw_scan *scan);

/* Frees all requests, also those that callbacks may come for. */
void kw_scan_end_requests(kw_scan *scan);

/* In scan_ask.c: sends the next command of the request, whose end comes to scan->reply_fn; false,
 * with error, where it cannot be sent. */
bool kw_scan_send(kw_scan_request *request, kw_error *error);

/* In scan_answer.c: */

/* What an answer to the request means; the request may be gone behind it. */
void kw_scan_on_answer(kw_scan_request *request, kw_reply *reply);

/* The request ends without: the walk hears of it. */
void kw_scan_on_failure(kw_scan_request *request, const kw_error *error);

/* In scan_places.c: hands the walk whom the map names. False: there is no map yet, or no memory
 * (scan->failure). */
bool kw_scan_find_places(kw_scan *scan);

/* In scan_batch.c: */

/* What comes of requests that are ready. */
typedef enum kw_scan_taken {
    KW_SCAN_TOOK_NONE, /* there is none (scan->failure may be set) */
    KW_SCAN_TOOK_EMPTY,
    KW_SCAN_TOOK_KEYS
} kw_scan_taken;

/* Gives the keys of the oldest request that is ready, or of several of slots: to the batch, where
 * some are wanted, and the walk hears of them. What the batch before points at is gone. */
kw_scan_taken kw_scan_take(kw_scan *scan, kw_scan_batch *batch);

/* In scan_run.c: */

static inline uint64_t kw_scan_now(const kw_scan *scan)
{
    return kw_env_now(&scan->client->topology->env);
}

/* Does what the walk says, as far as that goes without waiting. */
void kw_scan_pump(kw_scan *scan);

/* In an event loop: something is to be done at that time, or at the deadline, whatever comes.
 * False, with scan->failure, where that cannot be. */
bool kw_scan_need_call(kw_scan *scan, uint64_t at_ns);

/* In scan_tell.c: */

/* The end of a command of the request arg: reply, the callee's now, or why there is none. In an
 * event loop the caller's callback may be called, and the scan be gone behind it. */
void kw_scan_on_end(void *arg, kw_reply *reply, const kw_error *error);

/* The next batch, the end, or a failure, as it is known without waiting; false: nothing yet. */
bool kw_scan_poll(kw_scan *scan, kw_error *error, kw_scan_batch *batch);

/* Frees a scan that was closed, and whose last request has ended. */
void kw_scan_free_if_over(kw_scan *scan);
void kw_scan_free(kw_scan *scan);

#endif
