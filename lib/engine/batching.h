/* SPDX-License-Identifier: BSD-3-Clause */
/* Batching: when commands of many callers leave on their one connection, and how many together. It
 * is told what was sent and answered, and decides; the caller's monitor guards it.
 *
 * Commands that come while a batch is unanswered wait and leave as the next batch, in one send.
 * There is no timer: the first answer to a batch lets the next one go. Only where the network is
 * what takes time does the next batch not wait for that, but for a part of the round trip. */
#ifndef ENGINE_BATCHING_H
#define ENGINE_BATCHING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A batch takes no further command once it has so many bytes. */
#define KW_BATCHING_LEN_MAX ((size_t)128 * 1024)

/* Replies since the last batch left, from this number on, are of a crowd: their callers come back
 * at once. */
#define KW_BATCHING_CROWD_MIN 3

/* Starts as zero. */
typedef struct kw_batching {
    uint64_t sent_n;     /* commands handed to the connection */
    uint64_t answered_n; /* replies that came */
    uint64_t batch_at;   /* sent_n when the last batch began */
    uint64_t batch_ns;   /* when that was */
    uint64_t trip_ns;    /* the shortest round trip of a batch lately */
    uint64_t trip_at_ns; /* when it was measured */
    size_t crowd_n;      /* replies since the last batch; 0 once they were waited for */
    size_t calm_n;       /* commands that met few others, beyond eight times those that met many */
} kw_batching;

/* A command begins its way: others_n are queued or under way. True, once, where callers have been
 * few for so long that they need not share: many commands, and nearly all of them, have met fewer
 * than share_above others. */
bool kw_batching_on_command(kw_batching *batching, size_t others_n, uint64_t share_above);

/* True where the next batch may leave now. is_read: a thread reads the replies, so that the answer
 * that opens the gate will be noticed. */
bool kw_batching_may_leave(const kw_batching *batching, bool is_read, uint64_t now_ns);

/* True where a command need not pass through the queue, although it may leave at once: nobody is
 * queued before it, and no crowd is about to come back. */
static inline bool kw_batching_goes_alone(const kw_batching *batching, size_t queued_n)
{
    return queued_n == 0 && batching->crowd_n < KW_BATCHING_CROWD_MIN;
}

/* So many commands are worth gathering before the batch leaves, 0 for none: the callers who
 * were answered since the last one will be back at once. They are waited for once only. */
size_t kw_batching_take_crowd(kw_batching *batching);

/* A batch begins; the commands that on_sent counts are in it. */
static inline void kw_batching_on_batch(kw_batching *batching, uint64_t now_ns)
{
    batching->batch_at = batching->sent_n;
    batching->batch_ns = now_ns;
    batching->crowd_n = 0;
}

static inline void kw_batching_on_sent(kw_batching *batching, size_t n)
{
    batching->sent_n += n;
}

/* n replies have come together. */
void kw_batching_on_answers(kw_batching *batching, size_t n, uint64_t now_ns);

/* A new connection: nothing is under way on it. What was measured of the network stays. */
void kw_batching_reset(kw_batching *batching);

#endif
