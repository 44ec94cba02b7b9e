/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of a cache's options, and how their text is read. */
#include "cache/cache_options.h"

#include "base/error.h"
#include "settings/option_table.h"

#include <string.h>

#define DAY_MS UINT64_C(86400000)

/* Of less, tables would leave nothing for values. */
#define NEAR_BYTES_MIN 65536

/* A terabyte, or where that is less half of what this machine can name. */
#define NEAR_BYTES_MAX                                                                             \
    (SIZE_MAX / 2 < UINT64_C(1) << 40 ? (uint64_t)(SIZE_MAX / 2) : UINT64_C(1) << 40)

#define AT(member) false, offsetof(kw_cache_options, member)

static const kw_option_row rows[] = {
    /* life of a value; 0 is without end */
    {"ttl", "5m", KW_OPTION_DURATION, AT(ttl_ms), 0, 3650 * DAY_MS},
    /* per cent that lives are shortened by, by chance, so that they do not end together */
    {"ttl-jitter", "10", KW_OPTION_COUNT, AT(ttl_jitter), 0, 90},
    /* behind ttl: an old value is served while one caller loads anew */
    {"stale", "0", KW_OPTION_DURATION, AT(stale_ms), 0, 365 * DAY_MS},
    /* behind ttl: an old value is served where loading fails */
    {"stale-if-error", "0", KW_OPTION_DURATION, AT(stale_if_error_ms), 0, 365 * DAY_MS},
    /* how long it is remembered that there is no value; 0 is not at all */
    {"negative-ttl", "1s", KW_OPTION_DURATION, AT(negative_ttl_ms), 0, 365 * DAY_MS},
    /* how long one caller has a key to load, before another one may */
    {"lease", "10s", KW_OPTION_DURATION, AT(lease_ms), 10, DAY_MS},
    /* loads at a time in this process */
    {"loads-max", "32", KW_OPTION_COUNT, AT(loads_max), 1, 65535},
    /* memory of this process for values, all counted; 0 is none */
    {"near-bytes", "0", KW_OPTION_SIZE, AT(near_bytes), 0, NEAR_BYTES_MAX},
    /* life of a value in this process' memory */
    {"near-ttl", "1m", KW_OPTION_DURATION, AT(near_ttl_ms), 1, 365 * DAY_MS},
    /* bound on how old a value from this process' memory may be */
    {"near-staleness", "200ms", KW_OPTION_DURATION, AT(near_staleness_ms), 10, DAY_MS},
    /* how early values are loaded anew, in per cent of what loads cost (XFetch); 0 is never */
    {"early", "100", KW_OPTION_COUNT, AT(early), 0, 10000},
};

#define ROWS_N (sizeof(rows) / sizeof(rows[0]))

static const kw_option_row *find(kw_bytes name)
{
    for (size_t i = 0; i < ROWS_N; i++) {
        if (kw_bytes_equal(name, kw_bytes_of(rows[i].name))) {
            return &rows[i];
        }
    }
    return NULL;
}

/* seen: a bit for each row that was given. */
static kw_err read_pair(kw_cache_options *options, kw_error *error, kw_bytes pair, uint32_t *seen)
{
    kw_bytes name = pair;
    kw_bytes value = {pair.data + pair.len, 0};
    (void)kw_bytes_split(&name, &value, pair, '=');
    const kw_option_row *row = find(name);
    if (row == NULL) {
        char shown[60];
        kw_bytes_show(shown, sizeof(shown), name);
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "a cache has no option \"%s\"; keyway(7) lists those that it has",
                            shown);
    }
    uint32_t bit = UINT32_C(1) << (row - rows);
    if ((*seen & bit) != 0) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "option %s: it is given twice",
                            row->name);
    }
    *seen |= bit;
    return kw_option_set_number(options, error, row, value);
}

/* What no single option can say. */
static kw_err check(const kw_cache_options *options, kw_error *error)
{
    if (options->ttl_ms == 0 && kw_cache_options_extra_ms(options) > 0) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "stale and stale-if-error begin where ttl ends, and ttl=0 has no end");
    }
    if (options->near_bytes > 0 && options->near_bytes < NEAR_BYTES_MIN) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "near-bytes is 0, or 64kb and more");
    }
    return KW_OK;
}

kw_err kw_cache_options_read(kw_cache_options *options, kw_error *error, const char *text)
{
    kw_cache_options fresh;
    memset(&fresh, 0, sizeof(fresh));
    kw_err code = KW_OK;
    for (size_t i = 0; i < ROWS_N && code == KW_OK; i++) {
        code = kw_option_set_number(&fresh, error, &rows[i], kw_bytes_of(rows[i].default_value));
    }
    uint32_t seen = 0;
    kw_bytes rest = kw_bytes_of(text);
    bool has_more = rest.len > 0;
    while (has_more && code == KW_OK) {
        kw_bytes pair = rest;
        has_more = kw_bytes_split(&pair, &rest, rest, '&');
        code = read_pair(&fresh, error, pair, &seen);
    }
    code = code == KW_OK ? check(&fresh, error) : code;
    if (code == KW_OK) {
        *options = fresh;
    }
    return code;
}
