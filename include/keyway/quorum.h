/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a value on several plain servers, without a leader.
 *
 * A kw_quorum reads and writes values that a ring keeps several copies of:
 *
 *   kw_quorum *quorum = kw_quorum_new(client, &error);
 *   kw_err code = kw_quorum_set(quorum, &error, "user:123", 8, "Ann", 3);
 *   kw_quorum_results *found = kw_quorum_get(quorum, &error, "user:123", 8);
 *
 * On a ring opened with copies=3 (write-quorum=2 and read-quorum=2 are then the default) each key
 * lives on the first three nodes of its preference list. A write is sent to all of them and done
 * when write-quorum of them have it, a read when read-quorum agree: no node leads, so none has to
 * be replaced when it dies, and a slow one costs nothing.
 *
 * Each key is one linearizable register: a read sees the last write that was done before it began,
 * or one that ran beside it, and no later read sees an earlier one. That holds with clocks that
 * differ, messages lost, and servers killed, stopped, cut off and restarted with their data, for as
 * long as enough of them answer; else calls fail with KW_ERR_QUORUM. It does not hold once a server
 * loses what it had acknowledged (restarted empty, or with an older dump) and is not repaired
 * before it serves again. Keys are separate: there is no order between them, and no command on
 * several is atomic.
 *
 * What is assumed, and what comes of it where it does not hold:
 *
 * - Nothing is evicted (maxmemory-policy noeviction): an evicted copy is a copy that lost its data.
 * - A message arrives within a quarter of tombstone-ttl after its call's deadline, or never: a
 *   server that hung for longer is restarted before it goes on, else a write that waited in its
 *   sockets may be seen late. How long a server is away does not matter: what it missed, deletions
 *   and ends of lives included, is remembered by the others until it has it.
 * - Data that comes back is no older than tombstone-ttl: a server that is restored from an older
 *   dump, or joins again with what it once held, is emptied first. One that came back empty, or
 *   with any dump, is repaired before it serves (quorum-guard=on and examples/quorum_repair.c), by
 *   a repair that began when it was back and no call was under way any more that had begun
 *   before.
 * - Between two repairs fewer than write-quorum copies of a key lose their data.
 * - Servers' clocks differ by less than a quarter of tombstone-ttl, and do not jump by more.
 *   Where one does, a promise that a conditional write is under way by may be forgotten.
 * - Members are changed one at a time, with quorum-guard=on, by all processes, and quorum_repair
 *   runs, once all go by the new ones, before the new node is marked as in service.
 * - A write that failed with effect maybe may be read for the first time long after, where no value
 *   is there, and no later write, or repair, has come to all copies. A write on a version is not
 *   read above a later one.
 * - The end of a life is nobody's write: once one read has seen it no later one sees the value, but
 *   a write on the version of a value whose life ends while it is under way may still succeed.
 *
 * Clocks. A version that is further ahead of the reader's clock than version-ahead (a quarter of
 * tombstone-ttl) is not believed: such a copy counts as one without an answer,
 * KW_EVENT_VERSION_AHEAD and versions_ahead of kw_stats tell of it, and where too few others are
 * left the call fails with KW_ERR_QUORUM, effect none, and a text that says so. A clock that is
 * further ahead harms the keys that it wrote; to heal one, stop that writer and remove the key from
 * its servers (DEL). A process whose clock is further behind can neither read nor write; nothing is
 * lost by it.
 *
 * How values are kept (19 bytes of header each, for the version) and how it works is written in
 * lib/engine/record.h and lib/engine/quorum.h. Lua scripts run on the servers. */
#ifndef KEYWAY_QUORUM_H
#define KEYWAY_QUORUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of a ring, by its handle's options. Any number of threads may use one, and one handle may
 * have several. */
typedef struct kw_quorum kw_quorum;

/* Key that says that a server is in service. With quorum-guard=on a server that does not hold it is
 * taken for one that lost its data, and answers nothing until it is repaired and the key is set
 * there, to anything: examples/quorum_repair.c does both. */
#define KW_QUORUM_MARKER "keyway:quorum:in-service"

/* What the names of hints begin with. With quorum-hints=on a write that a copy misses is also left,
 * as a hint, with the next node of the preference list, in hashes of such names; they are keys of
 * no program. How hints work is written in lib/engine/hint.h. */
#define KW_QUORUM_HINTS "keyway:quorum:hints:"

/* Which write made a value: a hybrid logical clock (Kulkarni and others 2014) and the number of the
 * writer. Later writes of a key have greater versions, by time, then by writer. All zeros: none. */
typedef struct kw_quorum_version {
    size_t size;     /* sizeof(kw_quorum_version) */
    uint64_t time;   /* milliseconds since 1970 in the upper 48 bits, a counter in the lower 16 */
    uint64_t writer; /* a random number of the kw_quorum that wrote */
} kw_quorum_version;

/* Makes a kw_quorum for a handle of a ring. The caller frees it with kw_quorum_free, before
 * kw_close of the handle. In a forked child its calls end with KW_ERR_FORKED.
 *
 * NULL where it fails. Errors: KW_ERR_UNSUPPORTED (the handle is not of a ring), KW_ERR_ARGUMENT
 * (client is NULL), KW_ERR_NOMEM. Any thread. */
KW_API kw_quorum *kw_quorum_new(kw_client *client, kw_error *error);

/* Frees a kw_quorum. No call on it may be in progress. NULL is allowed. One thread per object. */
KW_API void kw_quorum_free(kw_quorum *quorum);

/* The host's clock for versions: milliseconds since 1970. It may jump, and differ from the clocks
 * of other processes, by up to the option version-ahead: see "Clocks" above. Called from any thread
 * that uses the kw_quorum. */
typedef uint64_t (*kw_quorum_clock_fn)(void *arg);

/* Sets the clock that versions are made by; it is called with arg. Default, and NULL: the system's.
 * Before the first call on the kw_quorum. One thread per object. */
KW_API void kw_quorum_set_clock(kw_quorum *quorum, kw_quorum_clock_fn clock, void *arg);

/* What a request does. */
typedef enum kw_quorum_act {
    KW_QUORUM_ACT_GET = 0,
    KW_QUORUM_ACT_SET = 1,
    KW_QUORUM_ACT_DELETE = 2,
    KW_QUORUM_ACT_REPAIR = 3 /* reads all copies, which have to answer, and brings those
                                up to date that are behind; it counts as written where some were */
} kw_quorum_act;

/* On what condition a request writes. */
typedef enum kw_quorum_condition {
    KW_QUORUM_ALWAYS = 0,
    KW_QUORUM_IF_ABSENT = 1, /* only where the key has no value */
    KW_QUORUM_IF_VERSION = 2 /* only where its value has the expected version */
} kw_quorum_condition;

/* One read or write. Start with KW_QUORUM_REQUEST_INIT. A condition costs a second round trip. All
 * pointers are borrowed for the call. */
typedef struct kw_quorum_request {
    size_t size; /* sizeof(kw_quorum_request) */
    kw_quorum_act act;
    const char *key;   /* any bytes */
    size_t key_len;    /* bytes of key */
    const char *value; /* of a set: any bytes */
    size_t value_len;  /* bytes of value */
    uint64_t ttl_ms;   /* of a set: life of the value in milliseconds, which servers count; 0: no
                          end. Where a read or a repair brings a copy up to date it may end sooner,
                          by as long as that waited for an answer: a lock is held for less */
    kw_quorum_condition condition;
    kw_quorum_version expected; /* of KW_QUORUM_IF_VERSION */
} kw_quorum_request;

/* clang-format off */
#define KW_QUORUM_VERSION_INIT { sizeof(kw_quorum_version), 0, 0 }
#define KW_QUORUM_REQUEST_INIT { sizeof(kw_quorum_request), KW_QUORUM_ACT_GET, NULL, 0, NULL, 0, 0, \
                                 KW_QUORUM_ALWAYS, KW_QUORUM_VERSION_INIT }
/* clang-format on */

/* What became of requests. Reading is safe from any thread. */
typedef struct kw_quorum_results kw_quorum_results;

/* Does requests_n requests at once, each by itself, within timeout_ms milliseconds (0: the handle's
 * timeout; at most a quarter of tombstone-ttl). The caller frees the results with
 * kw_quorum_results_free. Where a request failed, error tells of the first that did, and
 * kw_quorum_result of each.
 *
 * NULL where no request was begun. Errors of that kind: KW_ERR_ARGUMENT (a wrong request, or NULL),
 * KW_ERR_UNSUPPORTED (a condition with quorum=weak), KW_ERR_QUORUM (the ring has fewer nodes with
 * weight than copies), KW_ERR_POOL_FULL (pool-max calls were under way all the time),
 * KW_ERR_CANCELLED, KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_quorum_results *kw_quorum_run(kw_quorum *quorum, kw_error *error,
                                        const kw_quorum_request *requests, size_t requests_n,
                                        uint64_t timeout_ms);

/* How request number index, counted from 0, went. KW_OK: read, or written, or not written as its
 * condition did not hold (kw_quorum_is_written).
 *
 * Errors: KW_ERR_QUORUM (too few copies answered as needed; error says how many. Effect none:
 * nothing was written. Effect maybe: the write may be seen, at once, later, or never; doing it
 * again as a new write is safe where the value may be written twice), KW_ERR_CANCELLED (with the
 * effect of KW_ERR_QUORUM), KW_ERR_NOMEM (for the value that was read), KW_ERR_ARGUMENT (no such
 * request). Any thread. */
KW_API kw_err kw_quorum_result(const kw_quorum_results *results, kw_error *error, size_t index);

/* True where request number index was written; false for one whose condition did not hold, for a
 * read, and for one that failed. Any thread. */
KW_API bool kw_quorum_is_written(const kw_quorum_results *results, size_t index);

/* The value that request number index read, or that stood against its condition: any bytes, with a
 * zero byte behind that *value_len (may be NULL) does not count. Borrowed from results. NULL where
 * the key has no value. Any thread. */
KW_API const char *kw_quorum_value(const kw_quorum_results *results, size_t *value_len,
                                   size_t index);

/* Version of what request number index wrote, or else of the value that kw_quorum_value gives.
 * Zeros where there is none. Any thread. */
KW_API kw_quorum_version kw_quorum_version_of(const kw_quorum_results *results, size_t index);

/* Milliseconds that are left of the life of the value that request number index read; -1 where it
 * has no end, and where there is no value. Any thread. */
KW_API int64_t kw_quorum_ttl_ms(const kw_quorum_results *results, size_t index);

/* Frees the results with all values in them. NULL is allowed. One thread per object. */
KW_API void kw_quorum_results_free(kw_quorum_results *results);

/* Reads one value, within the handle's timeout. The caller frees the results, which are of this one
 * request, number 0, with kw_quorum_results_free. A key without a value gives results whose value
 * is NULL.
 *
 * NULL where it fails. Errors: those of kw_quorum_run and kw_quorum_result. Any thread. */
KW_API kw_quorum_results *kw_quorum_get(kw_quorum *quorum, kw_error *error, const char *key,
                                        size_t key_len);

/* Writes one value without end of life, whatever was there, within the handle's timeout.
 *
 * Errors: those of kw_quorum_run and kw_quorum_result. Any thread. */
KW_API kw_err kw_quorum_set(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len,
                            const char *value, size_t value_len);

/* Deletes one value, also one that is not there, within the handle's timeout.
 *
 * Errors: those of kw_quorum_run and kw_quorum_result. Any thread. */
KW_API kw_err kw_quorum_delete(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len);

#ifdef __cplusplus
}
#endif

#endif
