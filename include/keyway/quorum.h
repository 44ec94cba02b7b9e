/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a value on several plain servers, without a leader. */
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

/* On a ring opened with copies=3 (write-quorum=2 and read-quorum=2 are then the default)
 * each key lives on the first three nodes of its preference list. A write is sent to all of
 * them and done when write-quorum of them have it, a read when read-quorum agree: no node
 * leads, so none has to be replaced when it dies, and a slow one costs nothing.
 *
 * Each key is one linearizable register: a read sees the last write that was done before it
 * began, or one that ran beside it, and no later read sees less. That holds with clocks that
 * differ, messages lost, and servers killed, stopped, cut off and restarted with their data,
 * for as long as enough of them answer; else calls fail with KW_ERR_QUORUM. It does not hold
 * once a server loses what it had acknowledged (restarted empty, or with an older dump) and
 * is not repaired before it serves again. Keys are separate: there is no order between
 * them, and no command on several is atomic.
 *
 * How values are kept (19 bytes of header each, for the version) and how it works:
 * lib/engine/record.h and quorum.h. It takes Lua scripts on the servers. */
typedef struct kw_quorum kw_quorum;

/* With quorum-guard=on a server that does not hold this key is taken for one that lost its
 * data, and answers nothing until it is repaired and the key is set there, to anything:
 * examples/quorum_repair.c does both. */
#define KW_QUORUM_MARKER "keyway:quorum:in-service"

/* With quorum-hints=on a write that a copy misses is also left, as a hint, with the next node
 * of the preference list, in hashes of names that begin so; they are no keys of anybody's.
 * How hints work: lib/engine/hint.h. */
#define KW_QUORUM_HINTS "keyway:quorum:hints:"

/* Which write made a value: a hybrid logical clock and the number of the writer. Later
 * writes of a key have greater ones, by time, then by writer. All zeros: none. */
typedef struct kw_quorum_version {
    size_t size; /* sizeof(kw_quorum_version) */
    uint64_t time;
    uint64_t writer;
} kw_quorum_version;

/* Values for a handle of a ring, by its options; the handle must be closed after it is
 * freed. Any number of threads may use one, and one handle may have several. NULL, with
 * error set: KW_ERR_UNSUPPORTED for a handle that is no ring's, KW_ERR_NOMEM. Freed with
 * kw_quorum_free. In a forked child its calls say KW_ERR_FORKED. Any thread. */
KW_API kw_quorum *kw_quorum_new(kw_client *client, kw_error *error);

/* NULL is allowed. No call may be in progress. One thread per object. */
KW_API void kw_quorum_free(kw_quorum *quorum);

/* The clock that versions are made by: milliseconds since 1970; it may jump and differ from
 * other processes' clocks. Default is the system's. Before the first call; called from any
 * thread. */
typedef uint64_t (*kw_quorum_clock_fn)(void *arg);
KW_API void kw_quorum_set_clock(kw_quorum *quorum, kw_quorum_clock_fn clock, void *arg);

typedef enum kw_quorum_act {
    KW_QUORUM_ACT_GET = 0,
    KW_QUORUM_ACT_SET = 1,
    KW_QUORUM_ACT_DELETE = 2,
    KW_QUORUM_ACT_REPAIR = 3 /* reads all copies, which have to answer, and brings up those
                                that are behind; written is then: some were */
} kw_quorum_act;

typedef enum kw_quorum_condition {
    KW_QUORUM_ALWAYS = 0,
    KW_QUORUM_IF_ABSENT = 1, /* only where the key has no value */
    KW_QUORUM_IF_VERSION = 2 /* only where its value has the expected version */
} kw_quorum_condition;

/* One read or write; start with KW_QUORUM_REQUEST_INIT. Conditions cost a second round
 * trip. */
typedef struct kw_quorum_request {
    size_t size; /* sizeof(kw_quorum_request) */
    kw_quorum_act act;
    const char *key; /* any bytes, key_len of them */
    size_t key_len;
    const char *value; /* of a set: any bytes, value_len of them */
    size_t value_len;
    uint64_t ttl_ms; /* of a set: life of the value; 0: no end */
    kw_quorum_condition condition;
    kw_quorum_version expected; /* of KW_QUORUM_IF_VERSION */
} kw_quorum_request;

/* clang-format off */
#define KW_QUORUM_VERSION_INIT { sizeof(kw_quorum_version), 0, 0 }
#define KW_QUORUM_REQUEST_INIT { sizeof(kw_quorum_request), KW_QUORUM_ACT_GET, NULL, 0, NULL, 0, 0, \
                                 KW_QUORUM_ALWAYS, KW_QUORUM_VERSION_INIT }
/* clang-format on */

/* What became of requests. */
typedef struct kw_quorum_results kw_quorum_results;

/* Does all requests at once, each by itself, within timeout_ms (0: the handle's timeout).
 * NULL, with error set, where nothing was begun: KW_ERR_ARGUMENT, KW_ERR_UNSUPPORTED (a
 * condition with quorum=weak), KW_ERR_FORKED, KW_ERR_NOMEM. Else the results, freed with
 * kw_quorum_results_free; error, where one of them failed, tells of the first that did.
 * Any thread. */
KW_API kw_quorum_results *kw_quorum_run(kw_quorum *quorum, kw_error *error,
                                        const kw_quorum_request *requests, size_t requests_n,
                                        uint64_t timeout_ms);

/* How request number index went. KW_OK: read; or written; or not written, as its condition
 * did not hold. KW_ERR_QUORUM: too few copies answered as needed, error has how many. Its
 * effect: NONE, nothing was written; MAYBE, the write may be seen, at once, later, or never;
 * doing it again as a new write is safe if the value may be written twice. Any thread. */
KW_API kw_err kw_quorum_result(const kw_quorum_results *results, kw_error *error, size_t index);

/* True where request number index was written; false for one whose condition did not hold,
 * for a read, and for one that failed. Any thread. */
KW_API bool kw_quorum_is_written(const kw_quorum_results *results, size_t index);

/* The value that was read, or that stood against a condition: any bytes, with a zero byte
 * behind that value_len (may be NULL) does not count, borrowed from results; NULL where the
 * key has none. Any thread. */
KW_API const char *kw_quorum_value(const kw_quorum_results *results, size_t *value_len,
                                   size_t index);

/* Version of that value, or of what was written. Zeros where there is none. Any thread. */
KW_API kw_quorum_version kw_quorum_version_of(const kw_quorum_results *results, size_t index);

/* Milliseconds that are left of the life of the value that was read; -1 where it has no
 * end. Any thread. */
KW_API int64_t kw_quorum_ttl_ms(const kw_quorum_results *results, size_t index);

/* NULL is allowed. One thread per object. */
KW_API void kw_quorum_results_free(kw_quorum_results *results);

/* One read; NULL, with error set, where it failed; else the results of one request. Any
 * thread. */
KW_API kw_quorum_results *kw_quorum_get(kw_quorum *quorum, kw_error *error, const char *key,
                                        size_t key_len);

/* One write of a value without end, whatever was there. Any thread. */
KW_API kw_err kw_quorum_set(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len,
                            const char *value, size_t value_len);

/* One deletion, also of what is not there. Any thread. */
KW_API kw_err kw_quorum_delete(kw_quorum *quorum, kw_error *error, const char *key, size_t key_len);

#ifdef __cplusplus
}
#endif

#endif
