/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: how long commands take, and which slots are asked for most; measured on demand.
 *
 *   kw_latency latency = {.size = sizeof(latency)};
 *   kw_client_measure(client, NULL, KW_MEASURE_LATENCY);
 *   ...
 *   kw_client_latency(client, &latency, 0, KW_LATENCY_SERVICE, KW_COMMAND_CLASS_READ);
 *   printf("p99 %" PRIu64 " ns\n", kw_latency_quantile(&latency, 0.99));
 *
 * Where nothing is measured a call pays for a look at one pointer. */
#ifndef KEYWAY_MEASURE_H
#define KEYWAY_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kw_client;

/* What a handle may measure, for kw_client_measure. */
#define KW_MEASURE_LATENCY 1u /* how long commands take, by node and class; 18 KB a node */
#define KW_MEASURE_HEAT    2u /* commands for each slot of a cluster; 128 KB */

/* Kinds of commands that are measured apart. */
typedef enum kw_command_class {
    KW_COMMAND_CLASS_READ = 0,   /* changes nothing: GET, HGETALL */
    KW_COMMAND_CLASS_WRITE = 1,  /* SET, INCR; also what the library does not know */
    KW_COMMAND_CLASS_MULTI = 2,  /* takes any number of keys: MGET, MSET, DEL, EXISTS; and EXEC */
    KW_COMMAND_CLASS_SCRIPT = 3, /* EVAL, FCALL */
    KW_COMMAND_CLASS_OTHER = 4   /* without keys: PING, INFO */
} kw_command_class;

/* Number of classes. */
#define KW_COMMAND_CLASSES_N 5

/* The two parts of a command's time at a node. */
typedef enum kw_latency_part {
    KW_LATENCY_QUEUE = 0, /* from the beginning of the call, or the end of the try before, until the
                             command is handed to a connection: a place in the pool, connecting,
                             pauses */
    KW_LATENCY_SERVICE = 1 /* from there to the answer: network and server */
} kw_latency_part;

/* Number of parts. */
#define KW_LATENCY_PARTS_N 2

/* Number of a histogram's buckets. */
#define KW_LATENCY_BUCKETS_N 224

/* A histogram: below 1 microsecond a bucket is 128 ns wide, from there on an eighth of its time at
 * most (log-linear, as HdrHistogram with three bits); the last one has what took more than 2
 * minutes. */
typedef struct kw_latency {
    size_t size;    /* sizeof(kw_latency), set by the caller */
    uint64_t calls; /* answers counted, those that are errors and redirects included */
    uint64_t sum_ns;
    uint64_t counts[KW_LATENCY_BUCKETS_N];
} kw_latency;

/* Begins to measure what is named (KW_MEASURE_..., joined by |), and ends what is not; 0 ends all.
 * What was measured stays, and is added to when it begins again.
 *
 * Errors: KW_ERR_ARGUMENT (NULL, or a bit without a meaning), KW_ERR_FORKED, KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_err kw_client_measure(struct kw_client *client, kw_error *error, unsigned what);

/* Writes what was measured of commands of one class at node number index, as kw_client_node_stats
 * counts them, to *latency; nothing but zeros where nothing was.
 *
 * Errors: KW_ERR_ARGUMENT (index is past the last node, NULL, no such part or class, or
 * latency->size is not sizeof(kw_latency)), KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_client_latency(struct kw_client *client, kw_latency *latency, size_t index,
                                kw_latency_part part, kw_command_class of);

/* Adds the counts of more to those of sum, such as those of several classes or nodes; nothing where
 * one is NULL. One thread per object. */
KW_API void kw_latency_add(kw_latency *sum, const kw_latency *more);

/* Takes the counts of an earlier look away: what is left was measured since. Nothing is done where
 * one is NULL. One thread per object. */
KW_API void kw_latency_subtract(kw_latency *later, const kw_latency *earlier);

/* The time, in nanoseconds, that the part quantile (0 to 1) of all did not exceed: the upper end of
 * its bucket, so that it is an eighth too long at most; 0 where nothing was counted, and for NULL.
 * Any thread. */
KW_API uint64_t kw_latency_quantile(const kw_latency *latency, double quantile);

/* The first time, in nanoseconds, that is too long for a bucket; UINT64_MAX of the last one, and
 * past it. Any thread. */
KW_API uint64_t kw_latency_bound(size_t bucket);

/* Name of a class: "read", "write", "multi", "script" or "other"; "?" for a number that is none.
 * The text is constant. Any thread. */
KW_API const char *kw_command_class_name(kw_command_class of);

/* Writes how many answers there were for commands of each of the first counts_n slots to counts,
 * since KW_MEASURE_HEAT was first measured; zeros where it never was.
 *
 * Errors: KW_ERR_ARGUMENT (NULL), KW_ERR_FORKED. Any thread. */
KW_API kw_err kw_client_heat(struct kw_client *client, kw_error *error, uint64_t *counts,
                             size_t counts_n);

#ifdef __cplusplus
}
#endif

#endif
