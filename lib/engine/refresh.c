/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides when the map is fetched, at most one fetch at a time, and in which order nodes are
 * asked. */
#include "engine/refresh.h"

/* Pauses between fetches while the map stays in doubt. The ceiling is half of the
 * time in which a promoted primary is to be found. */
#define DOUBT_FIRST_NS KW_REFRESH_FLOOR_NS
#define DOUBT_MAX_NS   (250 * KW_NS_PER_MS)

/* An outage is long after this; then the pauses are as long as errors may last after its end. */
#define STALE_AFTER_NS (5000 * KW_NS_PER_MS)
#define STALE_PAUSE_NS (1000 * KW_NS_PER_MS)

/* Reads of the last second beyond which no fetch begins, and no server is asked besides another. */
#define READS_TO_START 8u
#define READS_TO_HEDGE 4u
#define READS_SPAN_NS  (1000 * KW_NS_PER_MS)

static void plan_periodic(kw_refresh_policy *refresh, uint64_t now_ns)
{
    if (refresh->interval_ns == 0) {
        refresh->periodic_ns = UINT64_MAX;
        return;
    }
    uint64_t jitter = kw_random_below(&refresh->random, refresh->interval_ns / 4 + 1);
    refresh->periodic_ns = now_ns + refresh->interval_ns - jitter;
}

void kw_refresh_init(kw_refresh_policy *refresh, uint64_t interval_ns, uint64_t now_ns,
                     uint64_t seed)
{
    kw_random_init(&refresh->random, seed);
    kw_backoff_init(&refresh->backoff, DOUBT_FIRST_NS, DOUBT_MAX_NS);
    refresh->interval_ns = interval_ns;
    refresh->allowed_ns = now_ns;
    refresh->started_n = 0;
    refresh->ended_n = 0;
    refresh->is_wanted = false;
    refresh->started_ns = 0;
    refresh->failed_n = 0;
    refresh->failing_ns = 0;
    refresh->failed_ns = 0;
    refresh->stale_ns = 0;
    refresh->reads_n = 0;
    plan_periodic(refresh, now_ns);
}

void kw_refresh_set_interval(kw_refresh_policy *refresh, uint64_t interval_ns, uint64_t now_ns)
{
    refresh->interval_ns = interval_ns;
    plan_periodic(refresh, now_ns);
}

uint64_t kw_refresh_want(kw_refresh_policy *refresh)
{
    refresh->is_wanted = true;
    return refresh->started_n + 1;
}

/* From when on fewer than so many were read within a second. */
static uint64_t room_ns(const kw_refresh_policy *refresh, uint64_t reads_n)
{
    if (refresh->reads_n < reads_n) {
        return 0;
    }
    return refresh->read_ns[(refresh->reads_n - reads_n) % KW_REFRESH_READS_MAX] + READS_SPAN_NS;
}

void kw_refresh_on_read(kw_refresh_policy *refresh, uint64_t now_ns)
{
    refresh->read_ns[refresh->reads_n++ % KW_REFRESH_READS_MAX] = now_ns;
}

bool kw_refresh_may_hedge(const kw_refresh_policy *refresh, uint64_t now_ns)
{
    return now_ns >= room_ns(refresh, READS_TO_HEDGE);
}

bool kw_refresh_may_go_on(const kw_refresh_policy *refresh, uint64_t now_ns)
{
    return now_ns >= room_ns(refresh, KW_REFRESH_READS_MAX);
}

uint64_t kw_refresh_due_ns(const kw_refresh_policy *refresh)
{
    if (refresh->started_n != refresh->ended_n) {
        return UINT64_MAX;
    }
    uint64_t allowed_ns = room_ns(refresh, READS_TO_START);
    allowed_ns = allowed_ns > refresh->allowed_ns ? allowed_ns : refresh->allowed_ns;
    if (refresh->is_wanted || refresh->periodic_ns < allowed_ns) {
        return allowed_ns;
    }
    return refresh->periodic_ns;
}

void kw_refresh_on_start(kw_refresh_policy *refresh, uint64_t now_ns)
{
    /* After a while in which nobody was in need an outage is another one. */
    bool is_apart = now_ns > refresh->started_ns + KW_FAILURE_GAP_NS;
    refresh->started_n++;
    refresh->started_ns = now_ns;
    if (!refresh->is_wanted) {
        refresh->stale_ns = 0; /* a slow periodic one: nobody is in need */
    } else if (refresh->stale_ns == 0 || is_apart) {
        refresh->stale_ns = now_ns;
    }
    refresh->is_wanted = false;
    uint64_t pause = kw_backoff_next(&refresh->backoff, &refresh->random);
    pause = pause > KW_REFRESH_FLOOR_NS ? pause : KW_REFRESH_FLOOR_NS;
    refresh->allowed_ns = now_ns + (kw_refresh_is_stale(refresh, now_ns) ? STALE_PAUSE_NS : pause);
}

void kw_refresh_on_end(kw_refresh_policy *refresh, uint64_t now_ns, bool has_map, bool has_news)
{
    refresh->ended_n++;
    bool is_apart = refresh->started_ns > refresh->failed_ns + KW_FAILURE_GAP_NS;
    /* One that nobody went on with for long says nothing of the time before. */
    bool was_left = now_ns > refresh->started_ns + KW_FAILURE_GAP_NS;
    refresh->failed_n = has_map || is_apart || was_left ? 0 : refresh->failed_n;
    if (!has_map) {
        refresh->failed_ns = now_ns;
        uint64_t since_ns = was_left ? now_ns : refresh->started_ns;
        refresh->failing_ns = refresh->failed_n++ == 0 ? since_ns : refresh->failing_ns;
    }
    if (has_news) {
        kw_backoff_reset(&refresh->backoff);
        refresh->stale_ns = 0;
    }
    plan_periodic(refresh, now_ns);
}

bool kw_refresh_is_stale(const kw_refresh_policy *refresh, uint64_t now_ns)
{
    return refresh->stale_ns != 0 && refresh->failed_n == 0 &&
           now_ns >= refresh->stale_ns + STALE_AFTER_NS;
}

void kw_refresh_on_moved(kw_refresh_policy *refresh)
{
    uint64_t soon_ns = refresh->started_ns + KW_REFRESH_FLOOR_NS;
    refresh->stale_ns = 0;
    refresh->allowed_ns = refresh->allowed_ns < soon_ns ? refresh->allowed_ns : soon_ns;
}

void kw_refresh_on_excused(kw_refresh_policy *refresh)
{
    refresh->failed_n = 0;
}

kw_admission kw_refresh_admit(const kw_refresh_policy *refresh, uint64_t now_ns,
                              uint64_t down_after)
{
    /* What failed at once, and was not tried again, is no outage. */
    if (refresh->failed_n < down_after ||
        refresh->failed_ns < refresh->failing_ns + KW_FAILURE_SPAN_NS) {
        return KW_ADMITTED;
    }
    return now_ns >= refresh->started_ns + KW_FAILURE_RETRY_NS ? KW_ADMITTED_AS_PROBE
                                                               : KW_ADMITTED_NOT;
}

static unsigned rank(const kw_refresh_candidate *candidate)
{
    return (candidate->is_seed ? 2u : 0u) + (candidate->is_suspect ? 1u : 0u);
}

/* A seed comes behind the first node, and one behind each of the next: all the others may be gone.
 */
static void mix_seeds_in(kw_refresh_candidate *candidates, size_t candidates_n)
{
    size_t seed = 0;
    while (seed < candidates_n && !candidates[seed].is_seed) {
        seed++;
    }
    for (size_t to = 1; to < seed && seed < candidates_n; to += 2, seed++) {
        kw_refresh_candidate moving = candidates[seed];
        for (size_t i = seed; i > to; i--) {
            candidates[i] = candidates[i - 1];
        }
        candidates[to] = moving;
    }
}

void kw_refresh_order(kw_refresh_candidate *candidates, size_t candidates_n, kw_random *random)
{
    /* Fisher-Yates, then a stable insertion by rank. */
    for (size_t i = candidates_n; i > 1; i--) {
        size_t k = (size_t)kw_random_below(random, i);
        kw_refresh_candidate other = candidates[k];
        candidates[k] = candidates[i - 1];
        candidates[i - 1] = other;
    }
    for (size_t i = 1; i < candidates_n; i++) {
        kw_refresh_candidate moving = candidates[i];
        size_t k = i;
        while (k > 0 && rank(&candidates[k - 1]) > rank(&moving)) {
            candidates[k] = candidates[k - 1];
            k--;
        }
        candidates[k] = moving;
    }
    mix_seeds_in(candidates, candidates_n);
}
