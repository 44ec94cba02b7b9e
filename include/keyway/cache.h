/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: values that are costly to come by, kept on the servers, and the herd held off.
 *
 * A kw_cache stands between a program and what is slow, a database for instance. kw_cache_fetch
 * gives the value that the servers have; where they have none, one caller loads it, and all others,
 * of this process and of every other one that uses the library, wait for that one load:
 *
 *   kw_cache *cache = kw_cache_open(client, &error, "ttl=5m&stale=30s");
 *   kw_cache_value value = KW_CACHE_VALUE_INIT;
 *   if (kw_cache_fetch(cache, &error, &value, kw_cache_text("user:123"),
 *                      (kw_cache_loader){load_user, database}) == KW_OK) {
 *       use(value.data, value.len);
 *       kw_cache_release(&value);
 *   }
 *
 * Works on one server, Sentinel, clusters and rings; not with copies. On the servers a value is a
 * plain string with a plain life (TTL), which every other client can read, write and delete.
 * Whoever loads has a lease, a key of its own in the same slot, named KW_CACHE_LEASE_PREFIX, a tag,
 * "}:" and the key; it also holds, for negative-ttl, that there is no value. Lua scripts run on the
 * servers.
 *
 * What is promised:
 *
 * - One load a key at a time, in this process and among all, while who loads lives, and no failover
 *   or eviction takes the lease. A process that dies while it loads is replaced when its lease
 *   ends. A load that takes longer than the option lease keeps it while others of its process wait
 *   for it; else another may begin.
 * - What was loaded before the key was written or deleted is not stored after that: the loader
 *   watches the key (WATCH), whoever writes it, and kw_cache_put and kw_cache_forget take the lease
 *   away, also where there is no value yet. A plain DEL of a key without a value changes nothing on
 *   a server, and nobody can know of it: delete by kw_cache_forget.
 * - At most loads-max loads at a time in this process, also while no server answers: then each
 *   process loads for itself, and nothing is stored.
 *
 * - A value from this process' memory (near-bytes; KW_CACHE_FROM_NEAR) was the answer of the key's
 *   owner, by this process' map, at some moment less than near-staleness before the call began. The
 *   servers tell who writes the keys that were read (CLIENT TRACKING, two connections to each), and
 *   a value is given only while answers to PING prove that no such message is missing; else the
 *   call asks the server. That holds through lost and silent connections, slots and members that
 *   move, FLUSHALL, lives that end, and a process or machine that was stopped. What a failover
 *   loses is lost for a plain GET, too. Where a server does not track for this user, all is read
 *   there.
 * - A write through the handle, in any way of sending, is seen by each get that begins after it has
 *   ended; while it is under way, nothing of its keys is given from memory.
 * - Near values, their keys and all beside them stay within near-bytes, borrowed ones included.
 *
 * Hosts with an event loop have kw_cache_get_async and its like, and loaders that end later.
 *
 * The library has no thread: calls on the cache look after connections in passing. Of a cache that
 * nobody has used for longer than near-staleness, the first gets ask the servers.
 *
 * Options, as "name=value&name=value": near-bytes, near-ttl, near-staleness, ttl, ttl-jitter,
 * stale, stale-if-error, negative-ttl, lease, loads-max and early are written in keyway(7). Caches
 * that share keys should have equal ones. */
#ifndef KEYWAY_CACHE_H
#define KEYWAY_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the names of leases begin with; they are keys of no program. */
#define KW_CACHE_LEASE_PREFIX "keyway:lease:{"

/* A cache, on a handle. Any number of threads may use one, and one handle may have several. */
typedef struct kw_cache kw_cache;

/* A key or a value: any bytes, borrowed for the call. */
typedef struct kw_cache_bytes {
    const char *data; /* may be NULL where len is 0 */
    size_t len;       /* bytes of data */
} kw_cache_bytes;

/* A text, up to its zero byte, as bytes. Any thread. */
static inline kw_cache_bytes kw_cache_text(const char *text)
{
    kw_cache_bytes bytes;
    bytes.data = text;
    bytes.len = strlen(text);
    return bytes;
}

/* Where a value came from. */
typedef enum kw_cache_source {
    KW_CACHE_FROM_NOWHERE = 0, /* there is none */
    KW_CACHE_FROM_SERVER = 1,  /* its server had it */
    KW_CACHE_FROM_LOAD = 2,    /* it was loaded, by this call or one that it waited for */
    KW_CACHE_FROM_STALE = 3,   /* its server had it, and its ttl is over (stale, stale-if-error) */
    KW_CACHE_FROM_NEAR = 4,    /* this process' memory had it (near-bytes) */
    KW_CACHE_UNKNOWN = 5       /* kw_cache_get_many: it could not be read */
} kw_cache_source;

/* A value that a call gave. The bytes never change, and stay until kw_cache_release, also when the
 * key is written or the cache closed meanwhile. Start with KW_CACHE_VALUE_INIT. */
typedef struct kw_cache_value {
    size_t size;      /* sizeof(kw_cache_value) */
    const char *data; /* NULL: there is no value */
    size_t len;       /* bytes of data */
    kw_cache_source source;
    unsigned pin; /* the library's, as hold */
    void *hold;
} kw_cache_value;

/* clang-format off */
#define KW_CACHE_VALUE_INIT { sizeof(kw_cache_value), NULL, 0, KW_CACHE_FROM_NOWHERE, 0, NULL }
/* clang-format on */

/* Makes a cache on a handle, with options (NULL: all as they are by default). The caller ends it
 * with kw_cache_close, before kw_close of the handle. In a forked child its calls end with
 * KW_ERR_FORKED.
 *
 * NULL where it fails. Errors: KW_ERR_CONFIG (an option is unknown or wrong), KW_ERR_UNSUPPORTED (a
 * handle with copies: kw_quorum keeps its values), KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Any thread. */
KW_API kw_cache *kw_cache_open(kw_client *client, kw_error *error, const char *options);

/* Frees a cache. No call on it may be in progress; values that were given stay until they are
 * released. Calls with a callback end with KW_ERR_CANCELLED in it: where there are any, no other
 * thread is in kw_process, and this is not called from a callback. NULL is allowed. One thread per
 * object. */
KW_API void kw_cache_close(kw_cache *cache);

/* One load, while the host's function runs. */
typedef struct kw_cache_load kw_cache_load;

/* How a load ended. */
typedef enum kw_cache_loaded {
    KW_CACHE_LOADED = 0, /* kw_cache_load_give was called */
    KW_CACHE_NONE = 1,   /* there is no value, which is remembered for negative-ttl */
    KW_CACHE_FAILED = 2, /* nobody knows */
    KW_CACHE_LATER = 3   /* kw_cache_load_end will say it */
} kw_cache_loaded;

/* Loads a value: gives it by kw_cache_load_give, and says how it went. Called with no lock held, in
 * the thread of the call that loads; it may use the handle and the cache, but not close them, and
 * not fetch the key that it loads. In a child that it forks the call, or kw_process, ends with
 * KW_ERR_FORKED behind it, and nothing is sent. */
typedef kw_cache_loaded (*kw_cache_load_fn)(void *arg, kw_cache_load *load);

/* Ends a load whose function has returned, or is about to return, KW_CACHE_LATER: how is one of the
 * other three. load is not used after that. Once for each such load, also where the cache was
 * closed meanwhile. Any thread, one for an object. */
KW_API void kw_cache_load_end(kw_cache_load *load, kw_cache_loaded how);

/* Who loads: fn is called with arg. A small value, passed by value. */
typedef struct kw_cache_loader {
    kw_cache_load_fn fn; /* never NULL */
    void *arg;           /* the caller's own; keyway only hands it on */
} kw_cache_loader;

/* The key that is loaded, borrowed until the load ends. One thread per object, inside
 * the host's function or before kw_cache_load_end. */
KW_API kw_cache_bytes kw_cache_load_key(const kw_cache_load *load);

/* Gives the value of a load; bytes are copied, and the last one given counts.
 *
 * Errors: KW_ERR_NOMEM, KW_ERR_ARGUMENT (load or data is NULL). One thread per object, inside
 * the host's function or before kw_cache_load_end. */
KW_API kw_err kw_cache_load_give(kw_cache_load *load, const char *data, size_t len);

/* Reads the value of a key, from this process' memory where it may be. KW_OK also where there is
 * none: value->data is NULL then. value is the caller's to release (kw_cache_release); one that is
 * over for longer than stale says counts as none. Within the handle's timeout, from memory or the
 * key's primary.
 *
 * Errors: those of kw_command; KW_ERR_SERVER (the server's error, WRONGTYPE for instance);
 * KW_ERR_ARGUMENT; KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_cache_get(kw_cache *cache, kw_error *error, kw_cache_value *value,
                           kw_cache_bytes key);

/* Reads the values of n keys as kw_cache_get does, those that are not near from all their servers
 * at once, within one timeout. values has n places, each as KW_CACHE_VALUE_INIT; those that were
 * given are the caller's to release, also where others failed: those are KW_CACHE_UNKNOWN then, and
 * error tells of one.
 *
 * Errors: those of kw_cache_get. Any thread. */
KW_API kw_err kw_cache_get_many(kw_cache *cache, kw_error *error, kw_cache_value *values,
                                const kw_cache_bytes *keys, size_t n);

/* Reads the value of a key, or has it loaded, by this call or another: KW_OK where there is a
 * value, or where the loader has said that there is none (value->data is NULL then). value is the
 * caller's to release. The handle's timeout bounds the waits for servers, for others' loads and for
 * a place among loads-max; the loader takes as long as it takes.
 *
 * Where no server answers, the value is loaded by this process alone, and not stored.
 *
 * Errors: KW_ERR_LOAD (the loader failed, here or in a call that this one waited for, and there is
 * no value that stale-if-error allows), KW_ERR_TIMEOUT (another process still loads),
 * KW_ERR_QUEUE_TIMEOUT (loads-max were under way all the time), KW_ERR_QUEUE_FULL (10,000 callers
 * wait already), KW_ERR_SERVER (the key holds something else than a string), KW_ERR_CANCELLED,
 * KW_ERR_FORKED, KW_ERR_ARGUMENT, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_cache_fetch(kw_cache *cache, kw_error *error, kw_cache_value *value,
                             kw_cache_bytes key, kw_cache_loader loader);

/* Stores a value, whatever there is, for ttl. A load of the key that began before is not stored any
 * more.
 *
 * Errors: those of kw_command, with their effects; KW_ERR_SERVER; KW_ERR_ARGUMENT. Any thread. */
KW_API kw_err kw_cache_put(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                           kw_cache_bytes value);

/* Deletes the value of a key, and what is remembered of it: to be called behind each change of what
 * it is loaded from. A load of the key that began before is not stored any more.
 *
 * Errors: those of kw_command, with their effects; KW_ERR_SERVER; KW_ERR_ARGUMENT. Any thread. */
KW_API kw_err kw_cache_forget(kw_cache *cache, kw_error *error, kw_cache_bytes key);

/* The host's callback of a call that does not wait. Where error is NULL, value is what the call
 * gave, in a place of the library's: the callback's to release (kw_cache_release), or to be kept by
 * copying the structure. Else value is NULL, and error is borrowed until the callback returns.
 * Called by kw_process, in its thread, once, with no lock held; it may call anything but kw_process
 * and kw_cache_close. */
typedef void (*kw_cache_fn)(void *arg, const kw_error *error, kw_cache_value *value);

/* Whom to call: fn with arg. A small value, passed by value. */
typedef struct kw_cache_callback {
    kw_cache_fn fn; /* never NULL */
    void *arg;      /* the caller's own; keyway only hands it on */
} kw_cache_callback;

/* Gives the value of a key where it is in this process' memory, and asks nobody: true where there
 * is one, the caller's to release. For hosts with a loop, which ask kw_cache_get_async for the
 * others. Any thread. */
KW_API bool kw_cache_peek(kw_cache *cache, kw_cache_value *value, kw_cache_bytes key);

/* kw_cache_get in the host's loop (kw_fd, kw_timeout, kw_process): never waits. KW_OK: the callback
 * will be called, within the handle's timeout as long as kw_process is; key is copied.
 *
 * Errors: KW_ERR_ARGUMENT, KW_ERR_QUEUE_FULL (10,000 calls of the cache are under way),
 * KW_ERR_FORKED, KW_ERR_CANCELLED, KW_ERR_DRAINING, KW_ERR_NOMEM. Those of kw_cache_get go to the
 * callback. Any thread. */
KW_API kw_err kw_cache_get_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                                 kw_cache_callback callback);

/* kw_cache_fetch in the host's loop. The loader's function is called by kw_process, in its thread:
 * one that would wait returns KW_CACHE_LATER instead, and kw_cache_load_end follows, from a
 * callback or another thread. Calls of this kind, and those that wait, share their loads.
 *
 * Errors: those of kw_cache_get_async; those of kw_cache_fetch go to the callback. Any thread. */
KW_API kw_err kw_cache_fetch_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                                   kw_cache_loader loader, kw_cache_callback callback);

/* kw_cache_put in the host's loop; the callback's value is empty. key and value are copied.
 *
 * Errors: those of kw_cache_get_async; those of kw_cache_put go to the callback. Any thread. */
KW_API kw_err kw_cache_put_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                                 kw_cache_bytes value, kw_cache_callback callback);

/* kw_cache_forget in the host's loop; the callback's value is empty.
 *
 * Errors: those of kw_cache_get_async; those of kw_cache_forget go to the callback. Any thread. */
KW_API kw_err kw_cache_forget_async(kw_cache *cache, kw_error *error, kw_cache_bytes key,
                                    kw_cache_callback callback);

/* Lets go of a value, which is empty then. One that is empty, and NULL, are allowed. One thread per
 * object; it may be another one than that of the call which gave it. */
KW_API void kw_cache_release(kw_cache_value *value);

/* Figures of a cache: counts since kw_cache_open, but for those that say "now". */
typedef struct kw_cache_figures {
    size_t size;            /* sizeof(kw_cache_figures), set by the caller */
    uint64_t hits;          /* gets and fetches that found a value on a server */
    uint64_t misses;        /* gets and fetches that found none */
    uint64_t loads;         /* the host's function was called */
    uint64_t load_failures; /* and failed */
    uint64_t waits;         /* fetches that waited for somebody else's load */
    uint64_t stale;         /* values given whose ttl was over */
    uint64_t fills;         /* loaded values that were stored */
    uint64_t fills_refused; /* and that were not, as the key was written meanwhile */
    uint64_t alone;         /* loads without a lease, as no server answered */
    uint64_t loading;       /* loads now */
    uint64_t near_hits;     /* gets and fetches that this process' memory answered */
    uint64_t invalidations; /* keys that servers told of, which somebody has written */
    uint64_t evictions;     /* values that left this process' memory for others */
    uint64_t near_bytes;    /* of this process' memory, now: values, keys and what is beside them */
    uint64_t near_servers;  /* servers whose values may be near, now; 0: near is off */
    uint64_t proof_age_ms;  /* age of the oldest of their proofs, now; 0: none yet */
} kw_cache_figures;

/* Writes the figures into figures, whose size the caller has set.
 *
 * Errors: KW_ERR_ARGUMENT (NULL, or a wrong size). Any thread. */
KW_API kw_err kw_cache_stats(kw_cache *cache, kw_error *error, kw_cache_figures *figures);

#ifdef __cplusplus
}
#endif

#endif
