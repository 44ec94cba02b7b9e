/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules of a value's life, in whole numbers: the library needs no mathematics library. */
#include "cache/life.h"

#include "base/moment.h"

/* Numbers with 16 binary places. */
#define PLACES 16
#define LN2    UINT64_C(45426) /* ln 2 */

/* -ln(x / 2^64) of x > 0, with 16 binary places: the logarithm of base 2 by squaring. */
static uint64_t minus_ln(uint64_t x)
{
    unsigned shift = 0;
    while ((x >> 63) == 0) {
        x <<= 1;
        shift++;
    }
    uint64_t m = x >> 32; /* in [1, 2), with 31 binary places */
    uint64_t fraction = 0;
    for (unsigned i = 0; i < PLACES; i++) {
        m = (m * m) >> 31;
        bool is_two = (m >> 32) != 0;
        fraction = fraction << 1 | (is_two ? 1 : 0);
        m >>= is_two ? 1 : 0;
    }
    uint64_t log2 = ((uint64_t)(shift + 1) << PLACES) - fraction; /* of 2^64 / x */
    return (log2 * LN2) >> PLACES;
}

bool kw_life_is_early(uint64_t left_ms, uint64_t cost_ms, uint64_t beta, uint64_t random)
{
    if (cost_ms == 0 || beta == 0) {
        return false;
    }
    uint64_t cost = cost_ms < UINT32_MAX ? cost_ms : UINT32_MAX;
    uint64_t ahead = ((cost * beta / 100) * minus_ln(random | 1)) >> PLACES;
    return ahead >= left_ms;
}

kw_life kw_life_of(const kw_cache_options *options, int64_t left_ms, uint64_t cost_ms,
                   uint64_t random)
{
    if (left_ms < 0) {
        return KW_LIFE_FRESH;
    }
    uint64_t left = (uint64_t)left_ms;
    uint64_t extra = kw_cache_options_extra_ms(options);
    if (left > extra) {
        bool is_early = kw_life_is_early(left - extra, cost_ms, options->early, random);
        return is_early ? KW_LIFE_EARLY : KW_LIFE_FRESH;
    }
    return extra > 0 && left + options->stale_ms > extra ? KW_LIFE_STALE : KW_LIFE_OVER;
}

uint64_t kw_life_end_ns(uint64_t now_ns, uint64_t ms)
{
    return ms < (UINT64_MAX - now_ns) / KW_NS_PER_MS ? now_ns + ms * KW_NS_PER_MS : UINT64_MAX;
}

uint64_t kw_life_draw_ms(const kw_cache_options *options, uint64_t random)
{
    if (options->ttl_ms == 0) {
        return 0;
    }
    uint64_t most = options->ttl_ms / 100 * options->ttl_jitter +
                    options->ttl_ms % 100 * options->ttl_jitter / 100;
    uint64_t ttl = options->ttl_ms - (most > 0 ? random % (most + 1) : 0);
    return (ttl > 0 ? ttl : 1) + kw_cache_options_extra_ms(options);
}

uint64_t kw_life_mean_ms(uint64_t mean_ms, uint64_t last_ms)
{
    uint64_t last = last_ms > 0 ? last_ms : 1;
    return mean_ms == 0 ? last : (mean_ms * 7 + last + 7) / 8;
}
