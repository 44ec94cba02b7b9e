/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds a command's keys among its arguments, and the one slot that they must share. */
#include "route/keys.h"

#include <keyway/slot.h>

#include "base/error.h"
#include "route/command_table.h"

#include <string.h>

/* Text of an argument in an error. */
#define SHOWN_LEN 64

/* What every finder works on. */
typedef struct keys_search {
    const kw_command_info *command;
    const kw_bytes *argv;
    size_t argc;
    kw_error *error;
} keys_search;

static void keys_add(kw_keys *keys, size_t at, size_t count, size_t step)
{
    kw_key_range range = {at, count, step};
    keys->ranges[keys->ranges_n++] = range;
}

static kw_err too_few(const keys_search *search)
{
    return kw_error_set(search->error, KW_ERR_KEYS, KW_EFFECT_NONE,
                        "%s has too few arguments (%zu) to find its keys",
                        kw_command_row_name(search->command), search->argc - 1);
}

/* The first key alone, which must be there. */
static kw_err find_first(kw_keys *keys, const keys_search *search)
{
    size_t first = search->command->keys.first;
    if (first >= search->argc) {
        return too_few(search);
    }
    keys_add(keys, first, 1, 1);
    return KW_OK;
}

static kw_err find_range(kw_keys *keys, const keys_search *search)
{
    const kw_key_rule *rule = &search->command->keys;
    size_t end; /* behind the last argument that may be a key */
    if (rule->last >= 0) {
        end = (size_t)rule->last + 1;
        if (end > search->argc) {
            return too_few(search);
        }
    } else {
        size_t behind_n = (size_t)(-rule->last) - 1;
        if (search->argc <= rule->first + behind_n) {
            return too_few(search);
        }
        end = search->argc - behind_n;
    }
    size_t step = rule->step;
    keys_add(keys, rule->first, step == 1 ? end - rule->first : (end - rule->first - 1) / step + 1,
             step);
    return KW_OK;
}

static kw_err find_optional(kw_keys *keys, const keys_search *search)
{
    return search->command->keys.first < search->argc ? find_range(keys, search) : KW_OK;
}

/* Keys behind their number at argument at. */
static kw_err add_counted(kw_keys *keys, const keys_search *search, size_t at)
{
    if (at >= search->argc) {
        return too_few(search);
    }
    uint64_t count;
    char shown[SHOWN_LEN];
    if (!kw_bytes_to_uint(&count, search->argv[at], UINT64_MAX)) {
        return kw_error_set(search->error, KW_ERR_KEYS, KW_EFFECT_NONE,
                            "%s: argument %zu is \"%s\", and must be the number of keys",
                            kw_command_row_name(search->command), at,
                            kw_bytes_show(shown, sizeof(shown), search->argv[at]));
    }
    size_t step = search->command->keys.step;
    size_t behind_n = search->argc - at - 1;
    size_t room = (behind_n + step - 1) / step;
    if (count > room) {
        return kw_error_set(
            search->error, KW_ERR_KEYS, KW_EFFECT_NONE,
            "%s: argument %zu promises %s keys, and there is room for %zu behind it",
            kw_command_row_name(search->command), at,
            kw_bytes_show(shown, sizeof(shown), search->argv[at]), room);
    }
    if (count > 0) {
        keys_add(keys, at + 1, (size_t)count, step);
    }
    return KW_OK;
}

static kw_err find_counted(kw_keys *keys, const keys_search *search)
{
    return add_counted(keys, search, search->command->keys.first);
}

static kw_err find_store(kw_keys *keys, const keys_search *search)
{
    kw_err err = find_first(keys, search);
    return err != KW_OK ? err : add_counted(keys, search, search->command->keys.first + 1u);
}

/* SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [STORE key]: the last
 * STORE counts, as in the server. What BY and GET read is not found in the arguments;
 * a cluster refuses it outside the key's own slot. */
static kw_err find_sort(kw_keys *keys, const keys_search *search)
{
    kw_err err = find_first(keys, search);
    if (err != KW_OK) {
        return err;
    }
    size_t store_at = 0;
    for (size_t i = 2; i + 1 < search->argc; i++) {
        if (kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("STORE"))) {
            store_at = ++i;
        } else if (kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("LIMIT"))) {
            i += 2;
        } else if (kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("BY")) ||
                   kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("GET"))) {
            i++;
        }
    }
    if (store_at > 0) {
        keys_add(keys, store_at, 1, 1);
    }
    return KW_OK;
}

/* GEORADIUS key ... [STORE key] [STOREDIST key]: of several only one is written. */
static kw_err find_georadius(kw_keys *keys, const keys_search *search)
{
    kw_err err = find_first(keys, search);
    if (err != KW_OK) {
        return err;
    }
    /* Servers store to the last key that is named by either option. */
    size_t store = 0;
    for (size_t i = (size_t)search->command->keys.last; i + 1 < search->argc; i++) {
        if (kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("STORE")) ||
            kw_bytes_equal_nocase(search->argv[i], kw_bytes_of("STOREDIST"))) {
            store = ++i;
        }
    }
    if (store > 0) {
        keys_add(keys, store, 1, 1);
    }
    return KW_OK;
}

/* XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS key ... id ... */
static kw_err find_streams(kw_keys *keys, const keys_search *search)
{
    size_t at = search->command->keys.first;
    while (at < search->argc && !kw_bytes_equal_nocase(search->argv[at], kw_bytes_of("STREAMS"))) {
        at += kw_bytes_equal_nocase(search->argv[at], kw_bytes_of("GROUP")) ? 3 : 1;
    }
    if (at >= search->argc) {
        return kw_error_set(search->error, KW_ERR_KEYS, KW_EFFECT_NONE,
                            "%s: the word STREAMS is missing before the keys",
                            kw_command_row_name(search->command));
    }
    size_t behind_n = search->argc - at - 1;
    if (behind_n == 0 || behind_n % 2 != 0) {
        return kw_error_set(
            search->error, KW_ERR_KEYS, KW_EFFECT_NONE,
            "%s: STREAMS has %zu arguments behind it, and needs as many ids as keys",
            kw_command_row_name(search->command), behind_n);
    }
    keys_add(keys, at + 1, behind_n / 2, 1);
    return KW_OK;
}

/* MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password |
 * AUTH2 user password] [KEYS key ...] */
static kw_err find_migrate(kw_keys *keys, const keys_search *search)
{
    if (search->argc <= search->command->keys.first) {
        return too_few(search);
    }
    if (search->argv[search->command->keys.first].len > 0) {
        return find_first(keys, search);
    }
    size_t at = (size_t)search->command->keys.last;
    for (; at < search->argc; at++) {
        if (kw_bytes_equal_nocase(search->argv[at], kw_bytes_of("KEYS"))) {
            if (at + 1 == search->argc) {
                return too_few(search);
            }
            keys_add(keys, at + 1, search->argc - at - 1, 1);
            return KW_OK;
        }
        if (kw_bytes_equal_nocase(search->argv[at], kw_bytes_of("AUTH"))) {
            at += 1;
        } else if (kw_bytes_equal_nocase(search->argv[at], kw_bytes_of("AUTH2"))) {
            at += 2;
        }
    }
    return find_first(keys, search);
}

size_t kw_keys_only(const kw_command_info *command, size_t argc)
{
    const kw_key_rule *rule = &command->keys;
    bool is_only = rule->finder == KW_KEYS_RANGE && rule->last == rule->first && rule->first < argc;
    return is_only ? rule->first : 0;
}

kw_err kw_keys_find(kw_keys *keys, kw_error *error, const kw_command_info *command,
                    const kw_bytes *argv, size_t argc)
{
    keys->argv = argv;
    keys->argc = argc;
    keys_search search = {command, argv, argc, error};
    keys->ranges_n = 0;
    switch ((kw_key_finder)command->keys.finder) {
    case KW_KEYS_NONE:
        return KW_OK;
    case KW_KEYS_RANGE:
        return find_range(keys, &search);
    case KW_KEYS_OPTIONAL:
        return find_optional(keys, &search);
    case KW_KEYS_COUNTED:
        return find_counted(keys, &search);
    case KW_KEYS_STORE:
        return find_store(keys, &search);
    case KW_KEYS_SORT:
        return find_sort(keys, &search);
    case KW_KEYS_GEORADIUS:
        return find_georadius(keys, &search);
    case KW_KEYS_STREAMS:
        return find_streams(keys, &search);
    case KW_KEYS_MIGRATE:
        return find_migrate(keys, &search);
    }
    return KW_OK;
}

size_t kw_keys_count(const kw_keys *keys)
{
    size_t n = 0;
    for (size_t r = 0; r < keys->ranges_n; r++) {
        n += keys->ranges[r].count;
    }
    return n;
}

kw_bytes kw_keys_at(const kw_keys *keys, size_t index)
{
    size_t r = 0;
    while (index >= keys->ranges[r].count) {
        index -= keys->ranges[r++].count;
    }
    return keys->argv[keys->ranges[r].at + index * keys->ranges[r].step];
}

static uint16_t slot_of(kw_bytes key)
{
    return (uint16_t)kw_slot(key.data, key.len);
}

static kw_err set_crossslot(kw_error *error, kw_bytes a, kw_bytes b)
{
    char shown_a[SHOWN_LEN];
    char shown_b[SHOWN_LEN];
    if (error == NULL) {
        return KW_ERR_CROSSSLOT; /* of a command that can be split */
    }
    return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                        "keys \"%s\" (slot %u) and \"%s\" (slot %u) live in different slots; give "
                        "them the same {hash tag}, or send one command per slot",
                        kw_bytes_show(shown_a, sizeof(shown_a), a), (unsigned)slot_of(a),
                        kw_bytes_show(shown_b, sizeof(shown_b), b), (unsigned)slot_of(b));
}

kw_err kw_keys_check_whole(const kw_keys *keys, kw_error *error)
{
    const kw_key_range *range = &keys->ranges[keys->ranges_n - 1];
    if (range->at + range->count * range->step <= keys->argc) {
        return KW_OK;
    }
    char name[SHOWN_LEN];
    char key[SHOWN_LEN];
    size_t last = range->at + (range->count - 1) * range->step;
    return kw_error_set(
        error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
        "wrong number of arguments for %s: its last key, \"%s\", lacks what belongs "
        "to each",
        kw_bytes_show(name, sizeof(name), keys->argv[0]),
        kw_bytes_show(key, sizeof(key), keys->argv[last]));
}

kw_err kw_keys_slot(uint16_t *slot, kw_error *error, const kw_keys *keys)
{
    kw_bytes first = keys->argv[keys->ranges[0].at];
    uint16_t first_slot = slot_of(first);
    for (size_t r = 0; r < keys->ranges_n; r++) {
        const kw_key_range *range = &keys->ranges[r];
        for (size_t i = r == 0 ? 1 : 0; i < range->count; i++) {
            kw_bytes key = keys->argv[range->at + i * range->step];
            if (slot_of(key) != first_slot) {
                kw_err code = kw_keys_check_whole(keys, error);
                return code == KW_OK ? set_crossslot(error, first, key) : code;
            }
        }
    }
    *slot = first_slot;
    return KW_OK;
}

kw_bytes kw_keys_channel(const kw_command_info *command, const kw_bytes *argv, size_t argc)
{
    static const kw_bytes none = {NULL, 0};
    return argc > 1 && strcmp(kw_command_name(command), "PUBLISH") == 0 ? argv[1] : none;
}
