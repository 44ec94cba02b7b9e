/* SPDX-License-Identifier: BSD-3-Clause */
/* Splits MGET and its like by slot or node, and joins what the parts answered. */
#include "route/split.h"

#include "base/resp.h"
#include "route/slot.h"

#include <stdio.h>
#include <string.h>

/* Where the arguments behind the keys begin. */
static size_t options_at(const kw_key_range *range)
{
    return range->at + range->count * range->step;
}

/* NX and XX of MSETEX: a condition that all keys have to meet. */
static bool has_condition(const kw_keys *keys, size_t at)
{
    for (size_t i = at; i < keys->argc; i++) {
        if (kw_bytes_equal_nocase(keys->argv[i], kw_bytes_of("NX")) ||
            kw_bytes_equal_nocase(keys->argv[i], kw_bytes_of("XX"))) {
            return true;
        }
    }
    return false;
}

bool kw_split_can(const kw_command_info *command, const kw_keys *keys, size_t argc)
{
    const kw_key_range *range = &keys->ranges[0];
    if (kw_command_request(command) != KW_REQUEST_MULTI_SHARD || keys->ranges_n != 1 ||
        range->count > UINT32_MAX || options_at(range) > argc) {
        return false;
    }
    return range->at == 1 ? options_at(range) == argc
                          : range->at == 2 && !has_condition(keys, options_at(range));
}

/* Slots, or groups, are sorted by these bits of theirs at a time: twice that is all of them. */
#define SLOT_BITS  7
#define GROUP_BITS 8
#define DIGITS_MAX (1u << GROUP_BITS)

static inline unsigned digit_of(uint16_t slot, unsigned shift, unsigned bits)
{
    return (unsigned)slot >> shift & ((1u << bits) - 1);
}

/* Where the keys of each digit begin. */
static void count_digits(uint32_t *starts, const uint16_t *slots, size_t n, unsigned shift,
                         unsigned bits)
{
    uint32_t counts[DIGITS_MAX];
    memset(counts, 0, sizeof(counts[0]) << bits);
    for (size_t i = 0; i < n; i++) {
        counts[digit_of(slots[i], shift, bits)]++;
    }
    uint32_t start = 0;
    for (size_t i = 0; i < 1u << bits; i++) {
        starts[i] = start;
        start += counts[i];
    }
}

/* Numbers of the keys by slot, those of one slot as the caller has them: a radix sort (Knuth,
 * TAOCP volume 3, 5.2.5) by the low half of the slot, then by the high one. */
static void sort_keys(kw_split *split, uint32_t *half, const uint16_t *slots, unsigned bits)
{
    size_t n = split->keys.count;
    uint32_t starts[DIGITS_MAX];
    count_digits(starts, slots, n, 0, bits);
    for (size_t i = 0; i < n; i++) {
        half[starts[digit_of(slots[i], 0, bits)]++] = (uint32_t)i;
    }
    count_digits(starts, slots, n, bits, bits);
    for (size_t i = 0; i < n; i++) {
        split->order[starts[digit_of(slots[half[i]], bits, bits)]++] = half[i];
    }
}

static void group_keys(kw_split *split, const uint16_t *slots)
{
    kw_split_part *part = NULL;
    for (size_t i = 0; i < split->keys.count; i++) {
        uint16_t slot = slots[split->order[i]];
        if (part == NULL || part->slot != slot) {
            part = &split->parts[split->parts_n++];
            part->slot = slot;
            part->at = i;
            part->count = 0;
        }
        part->count++;
    }
}

kw_err kw_split_init(kw_split *split, const kw_allocator *mem, const kw_keys *keys,
                     const kw_split_groups *groups)
{
    memset(split, 0, sizeof(*split));
    split->mem = mem;
    split->argv = keys->argv;
    split->argc = keys->argc;
    split->keys = keys->ranges[0];
    size_t n = split->keys.count;
    size_t behind = options_at(&split->keys);
    size_t room = behind + (split->argc > behind ? split->argc - behind : 0);
    uint32_t *half = kw_mem_resize(mem, NULL, n, sizeof(half[0]));
    uint16_t *slots = kw_mem_resize(mem, NULL, n, sizeof(slots[0]));
    split->parts = kw_mem_resize(mem, NULL, n, sizeof(split->parts[0]));
    split->order = kw_mem_resize(mem, NULL, n, sizeof(split->order[0]));
    split->scratch = kw_mem_resize(mem, NULL, room, sizeof(split->scratch[0]));
    bool is_whole = half != NULL && slots != NULL && split->parts != NULL && split->order != NULL &&
                    split->scratch != NULL;
    for (size_t i = 0; is_whole && i < n; i++) {
        const kw_bytes *key = &split->argv[split->keys.at + i * split->keys.step];
        slots[i] =
            groups != NULL ? groups->group_fn(groups->arg, *key) : kw_slot_of(key->data, key->len);
    }
    if (is_whole) {
        sort_keys(split, half, slots, groups != NULL ? GROUP_BITS : SLOT_BITS);
        group_keys(split, slots);
    } else {
        kw_split_fini(split);
    }
    kw_mem_free(mem, half);
    kw_mem_free(mem, slots);
    return is_whole ? KW_OK : KW_ERR_NOMEM;
}

void kw_split_fini(kw_split *split)
{
    kw_mem_free(split->mem, split->parts);
    kw_mem_free(split->mem, split->order);
    kw_mem_free(split->mem, split->scratch);
    kw_mem_free(split->mem, split->sinks);
    kw_reply_free(split->root);
    split->parts = NULL;
    split->order = NULL;
    split->scratch = NULL;
    split->sinks = NULL;
    split->root = NULL;
}

bool kw_split_open(kw_split *split, const kw_command_info *command)
{
    if (kw_command_response(command) != KW_RESPONSE_DEFAULT_KEYED) {
        return true;
    }
    size_t n = split->keys.count;
    split->root = kw_reply_new(split->mem, kw_reply_array_room(n));
    split->sinks = kw_mem_resize(split->mem, NULL, split->parts_n, sizeof(split->sinks[0]));
    if (split->root == NULL || split->sinks == NULL ||
        !kw_reply_set_array(split->root, split->root, KW_REPLY_ARRAY, n)) {
        return false;
    }
    for (size_t i = 0; i < split->parts_n; i++) {
        const kw_split_part *part = &split->parts[i];
        kw_reply_sink sink = {split->root, &split->order[part->at], part->count};
        split->sinks[i] = sink;
    }
    return true;
}

const kw_reply_sink *kw_split_sink(const kw_split *split, size_t part)
{
    return split->sinks != NULL ? &split->sinks[part] : NULL;
}

size_t kw_split_gather(kw_split *split, const kw_split_part *part)
{
    size_t argc = 0;
    split->scratch[argc++] = split->argv[0];
    if (split->keys.at == 2) {
        kw_bytes number = {split->number, kw_uint_to_text(split->number, part->count)};
        split->scratch[argc++] = number;
    }
    for (size_t i = 0; i < part->count; i++) {
        size_t at = split->keys.at + split->order[part->at + i] * split->keys.step;
        for (size_t k = 0; k < split->keys.step; k++) {
            split->scratch[argc++] = split->argv[at + k];
        }
    }
    for (size_t at = options_at(&split->keys); at < split->argc; at++) {
        split->scratch[argc++] = split->argv[at];
    }
    return argc;
}

bool kw_split_encode(kw_split *split, kw_buf *buf, const kw_split_part *part)
{
    if (part->count == 1 && split->keys.at == 1 && split->keys.step == 1 &&
        options_at(&split->keys) == split->argc) { /* as most are: keys are in many slots */
        kw_bytes argv[] = {split->argv[0], split->argv[1 + split->order[part->at]]};
        return kw_resp_append(buf, argv, 2);
    }
    size_t argc = kw_split_gather(split, part);
    return kw_resp_append(buf, split->scratch, argc);
}

/* True where the part's reply is of the kind that its command gives: a value for each key, a
 * number of keys, a status; of MSETEX, whose keys are counted, 1. */
static bool is_good(const kw_split *split, const kw_split_part *part, kw_response_policy policy,
                    const kw_split_result *result)
{
    bool has_count = split->keys.at == 2;
    if (result->reply == kw_reply_sunk()) {
        return true;
    }
    switch (kw_reply_type(result->reply)) {
    case KW_REPLY_ARRAY:
        return policy == KW_RESPONSE_DEFAULT_KEYED && kw_reply_count(result->reply) == part->count;
    case KW_REPLY_INTEGER:
        if (policy == KW_RESPONSE_ALL_SUCCEEDED) {
            return has_count && kw_reply_int(result->reply) == 1;
        }
        return policy == KW_RESPONSE_AGG_SUM && kw_reply_int(result->reply) >= 0 &&
               (unsigned long long)kw_reply_int(result->reply) <= part->count;
    case KW_REPLY_STATUS:
        return policy == KW_RESPONSE_ALL_SUCCEEDED && !has_count;
    default:
        return false;
    }
}

static kw_bytes text_of(const kw_split_result *result)
{
    if (kw_reply_is_error(result->reply)) {
        return kw_reply_bytes(result->reply);
    }
    return kw_bytes_of(result->reply != NULL ? "ERR a reply of an unexpected kind" : result->text);
}

/* Of a part whose number of keys says it of each of them: none, or all. */
static bool is_told_by_number(const kw_split_part *part, const kw_split_result *result)
{
    long long number = kw_reply_int(result->reply);
    return kw_reply_type(result->reply) == KW_REPLY_INTEGER &&
           (number == 0 || number == (long long)part->count);
}

static bool join_part(kw_reply *root, const kw_split *split, const kw_split_part *part,
                      const kw_split_result *result, bool good)
{
    if (result->reply == kw_reply_sunk()) {
        return true; /* the values are in their places */
    }
    kw_bytes text = good ? kw_bytes_of("OK") : text_of(result);
    kw_reply_kind kind = good ? KW_REPLY_STATUS : KW_REPLY_ERROR;
    bool has_values = good && kw_reply_type(result->reply) == KW_REPLY_ARRAY;
    bool has_number = good && split->is_counted && is_told_by_number(part, result);
    for (size_t i = 0; i < part->count; i++) {
        kw_reply *element = kw_reply_slot(root, split->order[part->at + i]);
        if (has_number) {
            kw_reply_set_integer(element, KW_REPLY_INTEGER, kw_reply_int(result->reply) > 0);
            continue;
        }
        bool is_set = has_values ? kw_reply_copy(root, element, kw_reply_at(result->reply, i))
                                 : kw_reply_set_string(root, element, kind, text);
        if (!is_set) {
            return false;
        }
        if (result->reply == NULL) { /* nobody knows what became of it */
            kw_reply_mark_partial(element);
        }
    }
    return true;
}

/* An array with an element for each key. all_good: none of them failed. */
static bool join_keys(kw_reply *root, const kw_split *split, kw_response_policy policy,
                      const kw_split_result *results, bool all_good)
{
    for (size_t i = 0; i < split->parts_n; i++) {
        bool good = all_good || is_good(split, &split->parts[i], policy, &results[i]);
        if (!join_part(root, split, &split->parts[i], &results[i], good)) {
            return false;
        }
    }
    return true;
}

/* What failed, and what the parts that did not fail have counted. */
typedef struct outcome {
    size_t sunk_n;   /* parts whose values are in their places */
    size_t failed_n; /* keys */
    size_t first;    /* part that failed */
    long long sum;   /* of the others' numbers */
} outcome;

static outcome outcome_of(const kw_split *split, kw_response_policy policy,
                          const kw_split_result *results)
{
    outcome found = {0, 0, 0, 0};
    const kw_reply *sunk = kw_reply_sunk();
    for (size_t i = 0; i < split->parts_n; i++) {
        if (results[i].reply == sunk) {
            found.sunk_n++;
        } else if (is_good(split, &split->parts[i], policy, &results[i])) {
            bool is_counted = policy == KW_RESPONSE_AGG_SUM;
            found.sum +=
                is_counted ? kw_reply_int(results[i].reply) : 0; /* at most the number of keys */
        } else {
            found.first = found.failed_n == 0 ? i : found.first;
            found.failed_n += split->parts[i].count;
        }
    }
    return found;
}

/* Makes the array of all keys an error that counts them; its number is that of the parts that did
 * not fail. */
static bool make_partial(kw_reply *root, const kw_split *split, kw_response_policy policy,
                         const outcome *found)
{
    char shown[160];
    char counted[60] = "";
    char text[360];
    kw_reply *element = kw_reply_slot(root, split->order[split->parts[found->first].at]);
    kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(element));
    if (policy == KW_RESPONSE_AGG_SUM) {
        snprintf(counted, sizeof(counted), ", the others count %lld", found->sum);
    }
    int len = snprintf(text, sizeof(text), "PARTIAL %zu of %zu keys failed%s, the first with: %s",
                       found->failed_n, split->keys.count, counted, shown);
    kw_bytes bytes = {text, len > 0 ? (size_t)len : 0};
    bool is_made = kw_reply_make_error(root, bytes);
    root->hiredis.integer = found->sum;
    return is_made;
}

static bool join_whole(kw_reply *root, const kw_split *split, kw_response_policy policy,
                       const kw_split_result *results, const outcome *found)
{
    if (policy == KW_RESPONSE_DEFAULT_KEYED) {
        return found->sunk_n == split->parts_n || join_keys(root, split, policy, results, true);
    }
    if (policy == KW_RESPONSE_ALL_SUCCEEDED) {
        return kw_reply_copy(root, root, results[0].reply);
    }
    kw_reply_set_integer(root, KW_REPLY_INTEGER, found->sum);
    return true;
}

/* The root that the results go to: the one with the sinks, or a new one. */
static kw_reply *take_root(kw_split *split, bool has_elements)
{
    kw_reply *root = split->root;
    split->root = NULL;
    if (root == NULL) {
        size_t count = has_elements ? split->keys.count : 0;
        root = kw_reply_new(split->mem, kw_reply_array_room(count));
        if (root != NULL && has_elements &&
            !kw_reply_set_array(root, root, KW_REPLY_ARRAY, count)) {
            kw_reply_free(root);
            return NULL;
        }
    }
    return root;
}

kw_err kw_split_join(kw_reply **joined, kw_split *split, const kw_command_info *command,
                     const kw_split_result *results)
{
    kw_response_policy policy = kw_command_response(command);
    split->is_counted = policy == KW_RESPONSE_AGG_SUM;
    outcome found = outcome_of(split, policy, results);
    kw_reply *root = take_root(split, found.failed_n > 0 || policy == KW_RESPONSE_DEFAULT_KEYED);
    if (root == NULL) {
        return KW_ERR_NOMEM;
    }
    bool is_joined = found.failed_n == 0 ? join_whole(root, split, policy, results, &found)
                                         : join_keys(root, split, policy, results, false) &&
                                               make_partial(root, split, policy, &found);
    if (!is_joined) {
        kw_reply_free(root);
        return KW_ERR_NOMEM;
    }
    *joined = root;
    return KW_OK;
}
