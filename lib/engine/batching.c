/* SPDX-License-Identifier: BSD-3-Clause */
/* When a batch leaves, by the answers to the one before and by the round trip. */
#include "engine/batching.h"

/* How long a batch waits for the answers to the one before it. Where round trips are longer than
 * NEAR_NS the network is what takes time, and a part of the round trip is enough. Below that it is
 * processors that take time, which larger batches save: the wait is up to NEAR_GATE_NS. */
#define NEAR_NS      ((uint64_t)200000)
#define NEAR_GATE_NS ((uint64_t)2000000)
#define FAR_PARTS    4

/* The shortest round trip counts for so long; then a longer one takes its place. */
#define TRIP_AGE_NS ((uint64_t)1000000000)

/* Callers need not share any more once so many more commands met few others than CALM_STEP times
 * those that met many: the share of these by which a node became crowded (net/node_acquire.c). */
#define CALM_MAX  64
#define CALM_STEP 8

bool kw_batching_on_command(kw_batching *batching, size_t others_n, uint64_t share_above)
{
    if (others_n < share_above) {
        batching->calm_n++;
    } else {
        batching->calm_n -= batching->calm_n < CALM_STEP ? batching->calm_n : CALM_STEP;
    }
    if (batching->calm_n < CALM_MAX) {
        return false;
    }
    batching->calm_n = 0;
    return true;
}

bool kw_batching_may_leave(const kw_batching *batching, bool is_read, uint64_t now_ns)
{
    uint64_t trip_ns = batching->trip_ns;
    uint64_t gate_ns = trip_ns < NEAR_NS ? NEAR_GATE_NS : trip_ns / FAR_PARTS;
    return !is_read || batching->answered_n > batching->batch_at ||
           batching->answered_n == batching->sent_n || now_ns > batching->batch_ns + gate_ns;
}

size_t kw_batching_take_crowd(kw_batching *batching)
{
    size_t crowd_n = batching->crowd_n >= KW_BATCHING_CROWD_MIN ? batching->crowd_n : 0;
    batching->crowd_n = 0;
    return crowd_n;
}

void kw_batching_on_answers(kw_batching *batching, size_t n, uint64_t now_ns)
{
    bool is_first =
        batching->answered_n <= batching->batch_at && batching->answered_n + n > batching->batch_at;
    uint64_t trip_ns = now_ns - batching->batch_ns;
    if (is_first && (trip_ns < batching->trip_ns || now_ns > batching->trip_at_ns + TRIP_AGE_NS)) {
        batching->trip_ns = trip_ns;
        batching->trip_at_ns = now_ns;
    }
    batching->answered_n += n;
    batching->crowd_n += n;
}

void kw_batching_reset(kw_batching *batching)
{
    batching->sent_n = 0;
    batching->answered_n = 0;
    batching->batch_at = 0;
}
