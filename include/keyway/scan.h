/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: all keys, whatever servers they are on.
 *
 * A kw_scan walks the keys of the whole handle, batch by batch, several servers at once:
 *
 *   kw_scan *scan = kw_scan_open(client, &error, NULL);
 *   kw_scan_batch batch = KW_SCAN_BATCH_INIT;
 *   while (kw_scan_next(scan, &error, &batch) == KW_OK && !batch.is_end)
 *       for (size_t i = 0; i < batch.count; i++)
 *           puts(batch.keys[i]);
 *   kw_scan_close(scan);
 *
 * The promise: a key that is there from beginning to end is given at least once, also while slots
 * move between nodes, a primary is replaced, nodes join, or a server is started anew. In a cluster,
 * what SCAN cannot answer for is walked again by its slots (CLUSTER GETKEYSINSLOT), in rounds,
 * until each slot has been at rest, or in one and the same motion, while its keys were asked for.
 * Keys that come or go meanwhile may be given or not; a key may be given several times
 * (unique_bytes).
 *
 * What it costs: CLUSTER NODES, INFO server and DBSIZE of every primary before and behind each walk
 * and each round; one command for each slot that is walked again, which are all of the nodes whose
 * config epoch rose, and about 250 KB of memory. Servers must allow these commands.
 *
 * On a ring the promise holds while nobody but keyway moves keys, and members only join; after any
 * other change of members all is walked again, which is complete once keys have ceased to move. A
 * key that an asynchronous failover loses is not there from beginning to end. */
#ifndef KEYWAY_SCAN_H
#define KEYWAY_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a scan gives. */
typedef enum kw_scan_of {
    KW_SCAN_KEYS = 0,  /* keys */
    KW_SCAN_FIELDS,    /* fields and values of one hash (HSCAN) */
    KW_SCAN_MEMBERS,   /* members of one set (SSCAN) */
    KW_SCAN_SORTED_SET /* members and scores of one sorted set (ZSCAN) */
} kw_scan_of;

/* What is walked, and how. Start with KW_SCAN_OPTIONS_INIT; all pointers are borrowed for the call.
 * Of node, a slot range and tag one at most. */
typedef struct kw_scan_options {
    size_t size; /* sizeof(kw_scan_options) */
    kw_scan_of of;
    const char *key;     /* of what is in one key: its name, any bytes */
    size_t key_len;      /* bytes of key */
    const char *match;   /* only what matches this pattern, by the rules of MATCH; NULL: all */
    size_t match_len;    /* bytes of match */
    const char *type;    /* only keys of this type, as TYPE names it ("hash"); NULL: all */
    unsigned count;      /* keys of a batch, about; 0: 500 */
    unsigned parallel;   /* servers that are asked at once; 0: 8 */
    const char *node;    /* this server alone, as for KW_ROUTE_NODE: "host:port", or a ring's
                            member; NULL: all */
    bool has_slots;      /* keys of the slots first_slot to last_slot alone; not on a ring */
    unsigned first_slot; /* 0 to 16383 */
    unsigned last_slot;  /* first_slot to 16383 */
    const char *tag;     /* keys of this hash tag alone, without its braces; NULL: all */
    size_t tag_len;      /* bytes of tag */
    size_t unique_bytes; /* memory for what was given, so that it is not given twice: as long as it
                            has room; 0: none */
    uint64_t timeout_ms; /* deadline of each batch, in milliseconds; 0: the handle's timeout */
    const char *cursor;  /* what kw_scan_cursor gave, to go on from there; NULL: from the
                            beginning */
} kw_scan_options;

/* clang-format off */
#define KW_SCAN_OPTIONS_INIT { sizeof(kw_scan_options), KW_SCAN_KEYS, NULL, 0, NULL, 0, NULL, 0, 0, NULL, false, 0, 0, NULL, 0, 0, 0, NULL }
/* clang-format on */

/* Some of what is walked. All that it points to is borrowed from the scan, until the next
 * kw_scan_next or kw_scan_next_async, or kw_scan_close. */
typedef struct kw_scan_batch {
    size_t size;               /* sizeof(kw_scan_batch) */
    size_t count;              /* how many; 0: none were found in this time, or the end */
    const char *const *keys;   /* keys, fields or members: any bytes, with a zero byte behind */
    const size_t *key_lens;    /* their bytes, without that */
    const char *const *values; /* values of fields, or scores as text; NULL for keys and sets */
    const size_t *value_lens;  /* bytes of values */
    const char *node;          /* whom they were asked of: "host:port", or a ring's member; NULL
                                  for several */
    bool is_end;               /* everything was given */
} kw_scan_batch;

/* clang-format off */
#define KW_SCAN_BATCH_INIT { sizeof(kw_scan_batch), 0, NULL, NULL, NULL, NULL, NULL, false }
/* clang-format on */

/* How far a scan is. */
typedef struct kw_scan_progress {
    size_t size;         /* sizeof(kw_scan_progress) */
    double part;         /* what is behind it of all, 0 to 1: of a cluster by slots, else by the
                            servers' keyspaces; an estimate, which need not grow all the time */
    uint64_t given_n;    /* keys given by this object */
    uint64_t repeated_n; /* keys that unique_bytes has held back */
    uint64_t commands_n; /* commands sent */
    unsigned open_slots; /* of a cluster: slots that are to be walked by themselves, as of now */
    unsigned rounds_n;   /* rounds of such slots so far */
    bool is_end;         /* everything was given */
} kw_scan_progress;

/* A walk. One thread per object. */
typedef struct kw_scan kw_scan;

/* Begins a walk, or goes on with one; NULL options are the defaults. Nothing is sent yet. The
 * caller ends it with kw_scan_close. After kw_close of the handle it can only be closed.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (wrong options; a cursor that is none, with where
 * and what is wrong in it, or that is of another walk), KW_ERR_UNSUPPORTED (slots on a ring),
 * KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_scan *kw_scan_open(kw_client *client, kw_error *error, const kw_scan_options *options);

/* Waits for the next batch, until its deadline. What comes next is asked for meanwhile, as much as
 * parallel allows.
 *
 * KW_OK with keys; with none where none were found in this time (a rare MATCH, slots in motion):
 * call again; and with batch->is_end at the end. Errors do not end a walk either: others' keys were
 * given, and another call goes on, as does a scan with its cursor later. Errors: those of
 * kw_command, where a server stays away, which error->node names; KW_ERR_SERVER (a server refuses a
 * command); KW_ERR_PROTOCOL (answers that make no sense; a SCAN that never ends); KW_ERR_NOT_SERVED
 * (slots without a node); KW_ERR_TRY_AGAIN (slots in a motion that does not end); KW_ERR_CANCELLED
 * (kw_scan_cancel, kw_close); KW_ERR_REFUSED (the scan is walked by kw_scan_next_async);
 * KW_ERR_ARGUMENT (NULL, or a wrong batch->size); KW_ERR_FORKED, KW_ERR_NOMEM. One thread per
 * object. */
KW_API kw_err kw_scan_next(kw_scan *scan, kw_error *error, kw_scan_batch *batch);

/* Takes the end of one kw_scan_next_async. Either batch is what kw_scan_next would give, and error
 * is NULL; or batch is NULL, and error says why. Both live until the callback returns. Called by
 * kw_process and kw_close alone, with no lock held; it may call everything but kw_process, and
 * kw_scan_close too. */
typedef void (*kw_scan_fn)(void *arg, const kw_scan_batch *batch, const kw_error *error);

/* Where a batch goes: fn is called with arg. */
typedef struct kw_scan_callback {
    kw_scan_fn fn; /* never NULL */
    void *arg;     /* the caller's own; keyway only hands it on */
} kw_scan_callback;

/* Asks for the next batch, which goes to the callback, in kw_process (keyway/loop.h). Never waits.
 * A scan that was begun so goes on so. No more comes than is asked for: a program that is busy with
 * a batch calls this when it is done.
 *
 * KW_OK: the callback will be called once, about as late as the deadline, or in kw_close with
 * KW_ERR_CANCELLED. Any other code: it will not be. Errors: KW_ERR_REFUSED (a callback is awaited
 * already, or the scan is walked by kw_scan_next), KW_ERR_ARGUMENT, KW_ERR_CANCELLED,
 * KW_ERR_FORKED, KW_ERR_NOMEM. Loop thread, that which calls kw_process. */
KW_API kw_err kw_scan_next_async(kw_scan *scan, kw_error *error, kw_scan_callback callback);

/* The walk as text. What was not given is not behind it; of what was given some may be given again,
 * where there was no room for it. At most 4 KB for a hundred servers; letters, digits, and ". - _"
 * alone. Another process goes on with it, by the same options (but for count, parallel,
 * unique_bytes and timeout_ms) and a handle on the same servers. It gets on even where each ends
 * behind a single batch; each asks all servers who they are, though.
 * Take it when the batch is done with. Borrowed from the scan until the next call of this, or
 * kw_scan_close.
 *
 * NULL where it fails. Errors: KW_ERR_NOMEM, KW_ERR_ARGUMENT (NULL). One thread per object. */
KW_API const char *kw_scan_cursor(kw_scan *scan, kw_error *error);

/* Writes how far the scan is to *progress, as far as progress->size reaches. Errors:
 * KW_ERR_ARGUMENT (NULL, or progress->size is not set). One thread per object. */
KW_API kw_err kw_scan_get_progress(const kw_scan *scan, kw_error *error,
                                   kw_scan_progress *progress);

/* Ends the wait of kw_scan_next, or for a callback, with KW_ERR_CANCELLED, within a tenth of a
 * second; all later ones end so, too. NULL is allowed. Any thread; where callbacks are used, that
 * which calls kw_process. */
KW_API void kw_scan_cancel(kw_scan *scan);

/* Ends a scan, wherever it is. A callback that is awaited is not called any more. NULL is allowed.
 * One thread per object. */
KW_API void kw_scan_close(kw_scan *scan);

#ifdef __cplusplus
}
#endif

#endif
