/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of all options, made of option_rows.def, and the readers of their values. */
#include "settings/option_table.h"

#include "base/error.h"
#include "route/ring_rules.h"

#include <stdio.h>
#include <string.h>

#define DAY_MS      UINT64_C(86400000)
#define ADDRESS_MAX 1000

/* Where the value is, and whether it may change while a handle is in use; AT_NONE: it is no member.
 */
#define AT(member)      false, offsetof(kw_options, member)
#define AT_LIVE(member) true, offsetof(kw_options, member)
#define AT_NONE         false, 0

#define ROW(name, kind, at, min, max, default_value, description)                                  \
    {name, default_value, kind, at, min, max},
static const kw_option_row rows[] = {
#include "settings/option_rows.def"
};
#undef ROW

#define ROWS_N (sizeof(rows) / sizeof(rows[0]))

_Static_assert(ROWS_N <= KW_OPTIONS_MAX, "more options than KW_OPTIONS_MAX");

const kw_option_row *kw_option_row_at(size_t index)
{
    return index < ROWS_N ? &rows[index] : NULL;
}

const kw_option_row *kw_option_row_find(kw_bytes name)
{
    for (size_t i = 0; i < ROWS_N; i++) {
        if (kw_bytes_equal(name, kw_bytes_of(rows[i].name))) {
            return &rows[i];
        }
    }
    return NULL;
}

/* How alike two names are: letters in common at both ends, in per cent of the longer name. Enough
 * to see through a slip of the pen. */
static size_t likeness(kw_bytes a, kw_bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    size_t longer = a.len < b.len ? b.len : a.len;
    size_t head = 0;
    while (head < shorter && a.data[head] == b.data[head]) {
        head++;
    }
    size_t tail = 0;
    while (tail < shorter - head && a.data[a.len - 1 - tail] == b.data[b.len - 1 - tail]) {
        tail++;
    }
    return longer > 0 ? (head + tail) * 100 / longer : 0;
}

const char *kw_option_nearest(kw_bytes name)
{
    const char *nearest = NULL;
    size_t best = 59; /* names less alike are no hint */
    for (size_t i = 0; i < ROWS_N; i++) {
        size_t like = likeness(name, kw_bytes_of(rows[i].name));
        if (like > best) {
            best = like;
            nearest = rows[i].name;
        }
    }
    return nearest;
}

const kw_option_row *kw_option_row_need(kw_error *error, kw_bytes name)
{
    const kw_option_row *row = kw_option_row_find(name);
    if (row == NULL) {
        char shown[60];
        const char *nearest = kw_option_nearest(name);
        kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "unknown option \"%s\"%s%s%s",
                     kw_bytes_show(shown, sizeof(shown), name),
                     nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "?" : "");
    }
    return row;
}

/* Words of a choice, the first of which is 0. */
#define FORK_WORDS         "refuse\0reopen"
#define SPLIT_WORDS        "split\0refuse"
#define ORDER_WORDS        "pipelined\0strict"
#define QUORUM_WORDS       "strict\0weak"
#define GUARD_WORDS        "off\0on"
#define YES_WORDS          "no\0yes"
#define RESOLVER_WORDS     "system\0thread"
#define OUTAGE_WORDS       "fail\0next\0eject\0wait" /* as kw_node_down_policy */
#define VERIFY_WORDS       "full\0ca\0none"          /* as kw_tls_verify */
#define IDENTITY_WORDS     "follow\0strict\0off"     /* as kw_identity_rule */
#define SENTINEL_TLS_WORDS "same\0off\0on"           /* as kw_sentinel_tls */

typedef struct unit {
    char name[4];
    uint64_t factor;
} unit;

static const unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
static const unit size_units[] = {
    {"", 1},         {"b", 1},       {"kb", 1 << 10}, {"mb", 1 << 20},
    {"gb", 1 << 30}, {"k", 1 << 10}, {"m", 1 << 20},  {"g", 1 << 30},
};

/* value is digits and a unit of the table. */
static bool read_with_unit(uint64_t *number, kw_bytes value, const unit *units, size_t units_n)
{
    kw_bytes digits = {value.data, 0};
    while (digits.len < value.len && value.data[digits.len] >= '0' &&
           value.data[digits.len] <= '9') {
        digits.len++;
    }
    kw_bytes name = {value.data + digits.len, value.len - digits.len};
    for (size_t i = 0; i < units_n; i++) {
        if (kw_bytes_equal_nocase(name, kw_bytes_of(units[i].name)) &&
            kw_bytes_to_uint(number, digits, UINT64_MAX / units[i].factor)) {
            *number *= units[i].factor;
            return true;
        }
    }
    return false;
}

static kw_err wrong(kw_error *error, const kw_option_row *row, kw_bytes value, const char *want)
{
    char shown[80];
    kw_bytes_show(shown, sizeof(shown), value);
    return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "option %s: \"%s\" is not %s",
                        row->name, shown, want);
}

static kw_err out_of_range(kw_error *error, const kw_option_row *row, kw_bytes value)
{
    char shown[80];
    kw_bytes_show(shown, sizeof(shown), value);
    const char *measure = row->kind == KW_OPTION_DURATION ? "ms" : "";
    return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                        "option %s: \"%s\" is out of range, %llu%s to %llu%s", row->name, shown,
                        (unsigned long long)row->min, measure, (unsigned long long)row->max,
                        measure);
}

kw_err kw_option_set_number(void *options, kw_error *error, const kw_option_row *row,
                            kw_bytes value)
{
    uint64_t number = 0;
    bool is_read = false;
    const char *want = "a whole number";
    if (row->kind == KW_OPTION_DURATION) {
        want = "a duration with its unit, such as 500ms, 2s, 1m";
        is_read = kw_bytes_equal(value, kw_bytes_of("0")) ||
                  read_with_unit(&number, value, duration_units,
                                 sizeof(duration_units) / sizeof(duration_units[0]));
    } else if (row->kind == KW_OPTION_SIZE) {
        want = "a size, such as 65536, 64kb, 16mb";
        is_read =
            read_with_unit(&number, value, size_units, sizeof(size_units) / sizeof(size_units[0]));
    } else {
        is_read = kw_bytes_to_uint(&number, value, UINT64_MAX);
    }
    if (!is_read) {
        return wrong(error, row, value, want);
    }
    if (number < row->min || number > row->max) {
        return out_of_range(error, row, value);
    }
    memcpy((char *)options + row->offset, &number, sizeof(number));
    return KW_OK;
}

static kw_err set_protocol(kw_options *options, kw_error *error, const kw_option_row *row,
                           kw_bytes value)
{
    uint64_t before = options->protocol;
    kw_err code = kw_option_set_number(options, error, row, value);
    if (code == KW_OK && options->protocol > 2 && !options->build.has_resp3) {
        options->protocol = before;
        code = kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "option %s: keyway was built with a hiredis that cannot read RESP3; "
                            "build it with hiredis 1.0 or later, or leave protocol=2",
                            row->name);
    }
    return code;
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for an option");
}

/* Secrets never show: a wrong text is named, not printed. */
static kw_err set_text(kw_options *options, kw_error *error, const kw_allocator *mem,
                       const kw_option_row *row, kw_bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.data[i];
        bool is_bad = row->kind == KW_OPTION_NAME ? byte <= ' ' || byte >= 0x7f : byte == 0;
        if (is_bad) {
            return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                                "option %s: byte %zu is a space or a byte that is not allowed",
                                row->name, i + 1);
        }
    }
    char *copy = NULL;
    if (value.len > 0) {
        copy = kw_mem_strndup(mem, value.data, value.len);
        if (copy == NULL) {
            return no_memory(error);
        }
    }
    char **place = (char **)(void *)((char *)options + row->offset);
    if (*place != NULL) {
        kw_options_free_text(*place, strlen(*place), mem);
    }
    *place = copy; /* an empty text is none */
    return KW_OK;
}

/* One of two words; the second one is true. */
static kw_err set_choice(kw_options *options, kw_error *error, const kw_option_row *row,
                         kw_bytes value, const char *words)
{
    size_t chosen = kw_texts_find(words, 2, value);
    if (chosen == 2) {
        char want[40];
        snprintf(want, sizeof(want), "%s or %s", words, kw_texts_at(words, 1));
        return wrong(error, row, value, want);
    }
    bool is_second = chosen == 1;
    memcpy((char *)options + row->offset, &is_second, sizeof(is_second));
    return KW_OK;
}

static kw_err set_outage(kw_options *options, kw_error *error, const kw_option_row *row,
                         kw_bytes value)
{
    size_t chosen = kw_texts_find(OUTAGE_WORDS, 4, value);
    if (chosen == 4) {
        return wrong(error, row, value, "fail, wait, next or eject");
    }
    options->on_node_down = (kw_node_down_policy)chosen;
    return KW_OK;
}

static kw_err set_verify(kw_options *options, kw_error *error, const kw_option_row *row,
                         kw_bytes value)
{
    size_t chosen = kw_texts_find(VERIFY_WORDS, 3, value);
    if (chosen == 3) {
        return wrong(error, row, value, "full, ca or none");
    }
    options->tls_verify = (kw_tls_verify)chosen;
    return KW_OK;
}

static kw_err set_identity(kw_options *options, kw_error *error, const kw_option_row *row,
                           kw_bytes value)
{
    size_t chosen = kw_texts_find(IDENTITY_WORDS, 3, value);
    if (chosen == 3) {
        return wrong(error, row, value, "follow, strict or off");
    }
    options->identity = (kw_identity_rule)chosen;
    return KW_OK;
}

static kw_err set_sentinel_tls(kw_options *options, kw_error *error, const kw_option_row *row,
                               kw_bytes value)
{
    size_t chosen = kw_texts_find(SENTINEL_TLS_WORDS, 3, value);
    if (chosen == 3) {
        return wrong(error, row, value, "same, off or on");
    }
    if (chosen == KW_SENTINEL_TLS_ON && !options->build.has_tls) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE, "option %s: %s", row->name,
                            KW_TLS_MISSING);
    }
    options->sentinel_tls = (kw_sentinel_tls)chosen;
    return KW_OK;
}

static kw_err set_placement(kw_options *options, kw_error *error, const kw_allocator *mem,
                            const kw_option_row *row, kw_bytes value)
{
    char text[KW_RING_PLACEMENT_MAX];
    kw_ring_rules rules;
    kw_error failure = kw_error_none();
    if (value.len >= sizeof(text) || memchr(value.data, 0, value.len) != NULL) {
        return wrong(error, row, value, "a placement");
    }
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    if (value.len > 0 && kw_ring_rules_parse(&rules, &failure, text) != KW_OK) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "option %s: %s", row->name,
                            failure.text);
    }
    return set_text(options, error, mem, row, value);
}

/* Of pairs of len bytes, each of which begins with its server. */
static bool has_pair(const void *pairs, size_t len, size_t pairs_n, const kw_endpoint *server)
{
    for (const char *at = pairs; pairs_n > 0; pairs_n--, at += len) {
        if (kw_endpoint_equal((const kw_endpoint *)(const void *)at, server)) {
            return true;
        }
    }
    return false;
}

static size_t count_pairs(kw_bytes value)
{
    size_t n = 1;
    for (size_t i = 0; i < value.len; i++) {
        n += value.data[i] == ',' ? 1 : 0;
    }
    return n;
}

static kw_err set_read(kw_options *options, kw_error *error, const kw_option_row *row,
                       kw_bytes value)
{
    kw_read_preference read;
    uint64_t zone = options->read_zone;
    if (!kw_read_preference_parse(&read, &zone, value)) {
        return wrong(error, row, value, "primary, prefer-replica, replica, nearest or zone:name");
    }
    options->read_zone = zone;
    options->read = read;
    return KW_OK;
}

static kw_err set_zones(kw_options *options, kw_error *error, const kw_allocator *mem,
                        const kw_option_row *row, kw_bytes value)
{
    size_t n = value.len > 0 ? count_pairs(value) : 0;
    kw_zone_pair *pairs = NULL;
    if (n > ADDRESS_MAX) {
        return wrong(error, row, value, "a list of at most 1000 pairs");
    }
    if (n > 0) {
        pairs = kw_mem_calloc(mem, n, sizeof(pairs[0]));
        if (pairs == NULL) {
            return no_memory(error);
        }
    }
    kw_bytes rest = value;
    for (size_t i = 0; i < n; i++) {
        kw_bytes pair = rest;
        kw_bytes server;
        kw_bytes zone;
        (void)kw_bytes_split(&pair, &rest, rest, ',');
        if (!kw_bytes_split(&server, &zone, pair, '>') || zone.len == 0 ||
            !kw_endpoint_parse(&pairs[i].server, server)) {
            kw_mem_free(mem, pairs);
            return wrong(error, row, pair, "host:port>zone");
        }
        if (has_pair(pairs, sizeof(pairs[0]), i, &pairs[i].server)) {
            kw_mem_free(mem, pairs);
            return wrong(error, row, pair, "the only zone of its server");
        }
        pairs[i].zone = kw_zone_hash(zone);
    }
    kw_mem_free(mem, options->zones);
    options->zones = pairs;
    options->zones_n = n;
    return KW_OK;
}

static kw_err set_addresses(kw_options *options, kw_error *error, const kw_allocator *mem,
                            const kw_option_row *row, kw_bytes value)
{
    size_t n = count_pairs(value);
    if (value.len == 0) { /* none */
        kw_mem_free(mem, options->address_map);
        options->address_map = NULL;
        options->address_map_n = 0;
        return KW_OK;
    }
    if (n > ADDRESS_MAX) {
        return wrong(error, row, value, "a list of at most 1000 pairs");
    }
    kw_address_pair *pairs = kw_mem_calloc(mem, n, sizeof(pairs[0]));
    if (pairs == NULL) {
        return no_memory(error);
    }
    kw_bytes rest = value;
    for (size_t i = 0; i < n; i++) {
        kw_bytes pair = rest;
        kw_bytes from;
        kw_bytes to;
        (void)kw_bytes_split(&pair, &rest, rest, ',');
        if (!kw_bytes_split(&from, &to, pair, '>') || !kw_endpoint_parse(&pairs[i].from, from) ||
            !kw_endpoint_parse(&pairs[i].to, to)) {
            kw_mem_free(mem, pairs);
            return wrong(error, row, pair, "host:port>host:port");
        }
        if (has_pair(pairs, sizeof(pairs[0]), i, &pairs[i].from)) {
            kw_mem_free(mem, pairs);
            return wrong(error, row, pair, "the only pair of its first address");
        }
    }
    kw_mem_free(mem, options->address_map);
    options->address_map = pairs;
    options->address_map_n = n;
    return KW_OK;
}

static kw_err set_nodes(kw_options *options, kw_error *error, const kw_allocator *mem,
                        const kw_option_row *row, kw_bytes value)
{
    size_t n = value.len > 0 ? count_pairs(value) : 0;
    kw_node_rule *rules = NULL;
    if (n > ADDRESS_MAX) {
        return wrong(error, row, value, "a list of at most 1000 networks and names");
    }
    if (n > 0) {
        rules = kw_mem_calloc(mem, n, sizeof(rules[0]));
        if (rules == NULL) {
            return no_memory(error);
        }
    }
    kw_bytes rest = value;
    for (size_t i = 0; i < n; i++) {
        kw_bytes rule = rest;
        (void)kw_bytes_split(&rule, &rest, rest, ',');
        if (!kw_node_rule_parse(&rules[i], rule)) {
            kw_mem_free(mem, rules);
            return wrong(error, row, rule, "a network such as 10.0.0.0/8, or .example.com");
        }
    }
    kw_mem_free(mem, options->nodes_allowed);
    options->nodes_allowed = rules;
    options->nodes_allowed_n = n;
    return KW_OK;
}

kw_err kw_option_set(kw_options *options, kw_error *error, const kw_allocator *mem,
                     const kw_option_row *row, kw_bytes value)
{
    switch ((kw_option_kind)row->kind) {
    case KW_OPTION_DURATION:
    case KW_OPTION_COUNT:
    case KW_OPTION_SIZE:
        return kw_option_set_number(options, error, row, value);
    case KW_OPTION_PROTOCOL:
        return set_protocol(options, error, row, value);
    case KW_OPTION_TEXT:
    case KW_OPTION_NAME:
        return set_text(options, error, mem, row, value);
    case KW_OPTION_FORK:
        return set_choice(options, error, row, value, FORK_WORDS);
    case KW_OPTION_SPLIT:
        return set_choice(options, error, row, value, SPLIT_WORDS);
    case KW_OPTION_ORDER:
        return set_choice(options, error, row, value, ORDER_WORDS);
    case KW_OPTION_RESOLVER:
        return set_choice(options, error, row, value, RESOLVER_WORDS);
    case KW_OPTION_YES:
        return set_choice(options, error, row, value, YES_WORDS);
    case KW_OPTION_SERVER:
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "option %s: the servers stand before the ?, not in the options",
                            row->name);
    case KW_OPTION_PLACEMENT:
        return set_placement(options, error, mem, row, value);
    case KW_OPTION_NODE_DOWN:
        return set_outage(options, error, row, value);
    case KW_OPTION_QUORUM:
        return set_choice(options, error, row, value, QUORUM_WORDS);
    case KW_OPTION_GUARD:
        return set_choice(options, error, row, value, GUARD_WORDS);
    case KW_OPTION_READ:
        return set_read(options, error, row, value);
    case KW_OPTION_VERIFY:
        return set_verify(options, error, row, value);
    case KW_OPTION_SENTINEL_TLS:
        return set_sentinel_tls(options, error, row, value);
    case KW_OPTION_IDENTITY:
        return set_identity(options, error, row, value);
    case KW_OPTION_ZONES:
        return set_zones(options, error, mem, row, value);
    case KW_OPTION_ADDRESSES:
        return set_addresses(options, error, mem, row, value);
    case KW_OPTION_NODES:
        return set_nodes(options, error, mem, row, value);
    }
    return KW_ERR_CONFIG;
}
