/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies of several nodes become one, by the response policies of the command tips. */
#include "route/combine.h"

#include <limits.h>

/* The parts of a combination that every policy needs. */
typedef struct combination {
    const kw_allocator *mem;
    kw_reply *const *replies;
    size_t replies_n;
} combination;

static bool has_elements(const kw_reply *reply)
{
    kw_reply_kind kind = kw_reply_type(reply);
    return kind == KW_REPLY_ARRAY || kind == KW_REPLY_SET || kind == KW_REPLY_MAP ||
           kind == KW_REPLY_PUSH;
}

static bool is_number(const kw_reply *reply)
{
    kw_reply_kind kind = kw_reply_type(reply);
    return kind == KW_REPLY_INTEGER || kind == KW_REPLY_BOOL;
}

static kw_err finish(kw_reply **combined, kw_reply *root, bool is_whole)
{
    if (!is_whole) {
        kw_reply_free(root);
        return KW_ERR_NOMEM;
    }
    *combined = root;
    return KW_OK;
}

static kw_err copy(kw_reply **combined, const combination *parts, const kw_reply *from)
{
    kw_reply *root = kw_reply_clone(parts->mem, from);
    return finish(combined, root, root != NULL);
}

/* An error reply of our own, where replies do not fit together: a wrong number would be worse. */
static kw_err refuse(kw_reply **combined, const combination *parts)
{
    kw_reply *root = kw_reply_new(parts->mem, 0);
    return finish(combined, root,
                  root != NULL &&
                      kw_reply_set_string(root, root, KW_REPLY_ERROR,
                                          kw_bytes_of("ERR the replies of the nodes differ in "
                                                      "kind and cannot be combined")));
}

static const kw_reply *first_error(const combination *parts)
{
    for (size_t i = 0; i < parts->replies_n; i++) {
        if (kw_reply_is_error(parts->replies[i])) {
            return parts->replies[i];
        }
    }
    return NULL;
}

static kw_err all_succeeded(kw_reply **combined, const combination *parts)
{
    const kw_reply *error = first_error(parts);
    return copy(combined, parts, error != NULL ? error : parts->replies[0]);
}

/* SCRIPT KILL: every node without a script says NOTBUSY; another error says more. */
static kw_err one_succeeded(kw_reply **combined, const combination *parts)
{
    const kw_reply *best = NULL;
    for (size_t i = 0; i < parts->replies_n; i++) {
        const kw_reply *reply = parts->replies[i];
        if (!kw_reply_is_error(reply)) {
            return copy(combined, parts, reply);
        }
        if (best == NULL && !kw_bytes_starts(kw_reply_bytes(reply), "NOTBUSY")) {
            best = reply;
        }
    }
    return copy(combined, parts, best != NULL ? best : parts->replies[0]);
}

static long long add_saturated(long long a, long long b)
{
    if (b > 0 && a > LLONG_MAX - b) {
        return LLONG_MAX;
    }
    if (b < 0 && a < LLONG_MIN - b) {
        return LLONG_MIN;
    }
    return a + b;
}

static long long aggregate(kw_response_policy policy, long long a, long long b)
{
    switch (policy) {
    case KW_RESPONSE_AGG_LOGICAL_AND:
        return a != 0 && b != 0;
    case KW_RESPONSE_AGG_LOGICAL_OR:
        return a != 0 || b != 0;
    case KW_RESPONSE_AGG_MIN:
        return a < b ? a : b;
    case KW_RESPONSE_AGG_MAX:
        return a > b ? a : b;
    case KW_RESPONSE_AGG_SUM:
        return add_saturated(a, b);
    case KW_RESPONSE_DEFAULT_KEYLESS:
    case KW_RESPONSE_DEFAULT_KEYED:
    case KW_RESPONSE_ONE_SUCCEEDED:
    case KW_RESPONSE_ALL_SUCCEEDED:
    case KW_RESPONSE_ANY_VALUE:
    case KW_RESPONSE_SPECIAL:
        break;
    }
    return a;
}

/* True where each reply is a number, or each an array of count numbers. */
static bool can_aggregate(const combination *parts)
{
    const kw_reply *first = parts->replies[0];
    size_t count = kw_reply_count(first);
    for (size_t i = 0; i < parts->replies_n; i++) {
        const kw_reply *reply = parts->replies[i];
        if (is_number(first)) {
            if (!is_number(reply)) {
                return false;
            }
            continue;
        }
        if (kw_reply_type(first) != KW_REPLY_ARRAY || kw_reply_type(reply) != KW_REPLY_ARRAY ||
            kw_reply_count(reply) != count) {
            return false;
        }
        for (size_t k = 0; k < count; k++) {
            if (!is_number(kw_reply_at(reply, k))) {
                return false;
            }
        }
    }
    return true;
}

static kw_err aggregated(kw_reply **combined, const combination *parts, kw_response_policy policy)
{
    const kw_reply *error = first_error(parts);
    if (error != NULL) {
        return copy(combined, parts, error);
    }
    if (!can_aggregate(parts)) {
        return refuse(combined, parts);
    }
    kw_err err = copy(combined, parts, parts->replies[0]);
    if (err != KW_OK) {
        return err;
    }
    kw_reply *root = *combined;
    for (size_t i = 1; i < parts->replies_n; i++) {
        const kw_reply *reply = parts->replies[i];
        root->hiredis.integer = aggregate(policy, kw_reply_int(root), kw_reply_int(reply));
        for (size_t k = 0; k < kw_reply_count(root); k++) {
            kw_reply *slot = kw_reply_slot(root, k);
            slot->hiredis.integer =
                aggregate(policy, kw_reply_int(slot), kw_reply_int(kw_reply_at(reply, k)));
        }
    }
    return KW_OK;
}

/* All elements of all replies in one; a map or set where all of them are one. */
static kw_err appended(kw_reply **combined, const combination *parts)
{
    kw_reply_kind kind = kw_reply_type(parts->replies[0]);
    size_t total = 0;
    for (size_t i = 0; i < parts->replies_n; i++) {
        if (kw_reply_type(parts->replies[i]) != kind) {
            kind = KW_REPLY_ARRAY;
        }
        if (!kw_size_add(&total, total, kw_reply_count(parts->replies[i]))) {
            return KW_ERR_NOMEM;
        }
    }
    kw_reply *root = kw_reply_new(parts->mem, 0);
    bool is_whole = root != NULL && kw_reply_set_array(root, root, kind, total);
    size_t at = 0;
    for (size_t i = 0; is_whole && i < parts->replies_n; i++) {
        size_t count = kw_reply_count(parts->replies[i]);
        for (size_t k = 0; is_whole && k < count; k++) {
            is_whole =
                kw_reply_copy(root, kw_reply_slot(root, at++), kw_reply_at(parts->replies[i], k));
        }
    }
    return finish(combined, root, is_whole);
}

static kw_err by_default(kw_reply **combined, const combination *parts)
{
    for (size_t i = 0; i < parts->replies_n; i++) {
        if (!has_elements(parts->replies[i])) {
            return all_succeeded(combined, parts);
        }
    }
    return appended(combined, parts);
}

/* RANDOMKEY: a node without keys says nil. Of several keys the one with the least hash, so that no
 * node is preferred. */
static kw_err any_value(kw_reply **combined, const combination *parts)
{
    const kw_reply *best = NULL;
    for (size_t i = 0; i < parts->replies_n; i++) {
        const kw_reply *reply = parts->replies[i];
        bool has_value = !kw_reply_is_error(reply) && !kw_reply_is_nil(reply);
        if (has_value && (best == NULL || kw_bytes_hash(kw_reply_bytes(reply)) <
                                              kw_bytes_hash(kw_reply_bytes(best)))) {
            best = reply;
        }
    }
    return best != NULL ? copy(combined, parts, best) : all_succeeded(combined, parts);
}

/* An array of all replies, in their order. */
static kw_err listed(kw_reply **combined, const combination *parts)
{
    kw_reply *root = kw_reply_new(parts->mem, 0);
    bool is_whole =
        root != NULL && kw_reply_set_array(root, root, KW_REPLY_ARRAY, parts->replies_n);
    for (size_t i = 0; is_whole && i < parts->replies_n; i++) {
        is_whole = kw_reply_copy(root, kw_reply_slot(root, i), parts->replies[i]);
    }
    return finish(combined, root, is_whole);
}

static kw_err combine(kw_reply **combined, const combination *parts, kw_response_policy policy)
{
    if (parts->replies_n == 1) {
        return copy(combined, parts, parts->replies[0]);
    }
    switch (policy) {
    case KW_RESPONSE_DEFAULT_KEYLESS:
    case KW_RESPONSE_DEFAULT_KEYED:
        return by_default(combined, parts);
    case KW_RESPONSE_ONE_SUCCEEDED:
        return one_succeeded(combined, parts);
    case KW_RESPONSE_ALL_SUCCEEDED:
        return all_succeeded(combined, parts);
    case KW_RESPONSE_AGG_LOGICAL_AND:
    case KW_RESPONSE_AGG_LOGICAL_OR:
    case KW_RESPONSE_AGG_MIN:
    case KW_RESPONSE_AGG_MAX:
    case KW_RESPONSE_AGG_SUM:
        return aggregated(combined, parts, policy);
    case KW_RESPONSE_ANY_VALUE:
        return any_value(combined, parts);
    case KW_RESPONSE_SPECIAL:
        return listed(combined, parts);
    }
    return by_default(combined, parts);
}

kw_err kw_combine(kw_reply **combined, const kw_allocator *mem, const kw_command_info *command,
                  kw_reply *const *replies, size_t replies_n)
{
    combination parts = {mem, replies, replies_n};
    kw_err code =
        combine(combined, &parts,
                command != NULL ? kw_command_response(command) : KW_RESPONSE_DEFAULT_KEYLESS);
    for (size_t i = 0; code == KW_OK && kw_reply_is_error(*combined) && i < replies_n; i++) {
        if (!kw_reply_is_error(replies[i])) { /* what the others did counts */
            kw_reply_mark_partial(*combined);
        }
    }
    return code;
}
