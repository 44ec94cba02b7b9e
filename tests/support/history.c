/* SPDX-License-Identifier: BSD-3-Clause */
/* The search for an order in which one register could have given a history. */
#include "support/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beginnings and ends in order of time, in a ring of links. */
typedef struct entry {
    struct entry *before;
    struct entry *next;
    size_t act;
    uint64_t at;
    bool is_end;
    struct entry *end; /* of a beginning; NULL: never */
} entry;

typedef struct state_set {
    uint64_t *rows; /* each: what was done, as bits, and the value */
    bool *used;
    size_t row_len; /* in words */
    size_t capacity;
    size_t n;
} state_set;

typedef struct search {
    const kw_test_act *acts;
    size_t acts_n;
    entry *entries;
    entry head;
    state_set seen;
    uint64_t *done; /* bits, and the value behind them */
} search;

static void *need(void *memory)
{
    if (memory == NULL) {
        fputs("history: no memory\n", stderr);
        exit(1);
    }
    return memory;
}

static uint64_t hash_of(const uint64_t *row, size_t len)
{
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ row[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool add_row(state_set *set, const uint64_t *row)
{
    size_t at = (size_t)hash_of(row, set->row_len) & (set->capacity - 1);
    while (set->used[at]) {
        if (memcmp(&set->rows[at * set->row_len], row, set->row_len * sizeof(*row)) == 0) {
            return false;
        }
        at = (at + 1) & (set->capacity - 1);
    }
    set->used[at] = true;
    memcpy(&set->rows[at * set->row_len], row, set->row_len * sizeof(*row));
    set->n++;
    return true;
}

static void make_room(state_set *set, size_t capacity)
{
    state_set old = *set;
    set->capacity = capacity;
    set->n = 0;
    set->rows = need(calloc(capacity * set->row_len, sizeof(set->rows[0])));
    set->used = need(calloc(capacity, sizeof(set->used[0])));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.used[i]) {
            add_row(set, &old.rows[i * old.row_len]);
        }
    }
    free(old.rows);
    free(old.used);
}

/* True where the state is new. */
static bool remember(state_set *set, const uint64_t *row)
{
    if (2 * set->n >= set->capacity) {
        make_room(set, 2 * set->capacity);
    }
    return add_row(set, row);
}

static int by_time(const void *a, const void *b)
{
    const entry *x = a;
    const entry *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    return x->is_end == y->is_end ? 0 : x->is_end ? 1 : -1; /* at once: together */
}

static void link_entries(search *self)
{
    size_t n = 0;
    self->entries = need(calloc(2 * self->acts_n + 1, sizeof(self->entries[0])));
    for (size_t i = 0; i < self->acts_n; i++) {
        entry begin = {.act = i, .at = self->acts[i].begin};
        self->entries[n++] = begin;
        if (self->acts[i].end != KW_TEST_NEVER) {
            entry end = {.act = i, .at = self->acts[i].end, .is_end = true};
            self->entries[n++] = end;
        }
    }
    qsort(self->entries, n, sizeof(self->entries[0]), by_time);
    entry **begins = need(calloc(self->acts_n + 1, sizeof(begins[0])));
    entry *last = &self->head;
    for (size_t i = 0; i < n; i++) {
        entry *here = &self->entries[i];
        here->before = last;
        last->next = here;
        last = here;
        if (here->is_end) {
            begins[here->act]->end = here;
        } else {
            begins[here->act] = here;
        }
    }
    free(begins);
}

static void unlink_entry(entry *at)
{
    at->before->next = at->next;
    if (at->next != NULL) {
        at->next->before = at->before;
    }
}

static void relink(entry *at)
{
    at->before->next = at;
    if (at->next != NULL) {
        at->next->before = at;
    }
}

#define EXPIRED (UINT64_C(1) << 63)

static bool can_happen(uint64_t *value, const kw_test_act *act)
{
    uint64_t there = (*value & EXPIRED) != 0 ? 0 : *value;
    switch (act->kind) {
    case KW_TEST_READ:
        return there == act->value;
    case KW_TEST_MISMATCH:
        return there == act->value && there != act->expected;
    case KW_TEST_SWAP:
        if (there != act->expected && (*value & ~EXPIRED) != act->expected) {
            return false;
        }
        break;
    case KW_TEST_EXPIRE:
        *value |= EXPIRED;
        return there == act->value && there != 0;
    case KW_TEST_WRITE:
        break;
    }
    *value = act->value;
    return true;
}

static bool sees(const kw_test_act *act, uint64_t value)
{
    return act->kind == KW_TEST_SWAP
               ? act->expected == value
               : (act->kind == KW_TEST_READ || act->kind == KW_TEST_MISMATCH) &&
                     act->value == value;
}

/* True where an act that perhaps was may be followed at once by one that sees what it left. Any
 * other place of it says nothing: the next act writes, so that there is an order without it. A
 * value that is written only to end is one too many where the one that is there may end, or none
 * is. */
static bool is_of_use(const search *self, const kw_test_act *act)
{
    uint64_t value = self->done[self->seen.row_len - 1];
    bool has_none = value == 0 || (value & EXPIRED) != 0;
    bool sees_it = false;
    bool sees_none = false;
    bool ends = false;
    for (const entry *at = self->head.next; at != NULL && !at->is_end; at = at->next) {
        const kw_test_act *other = &self->acts[at->act];
        bool is_expiry = other->kind == KW_TEST_EXPIRE;
        sees_it = sees_it || (other != act && sees(other, act->value));
        sees_none = sees_none || (other != act && sees(other, 0));
        ends = ends || (is_expiry && other->value == act->value);
        has_none = has_none || (is_expiry && other->value == value);
    }
    return act->kind == KW_TEST_EXPIRE ? sees_none : sees_it || (ends && sees_none && !has_none);
}

static bool may_be_next(const search *self, const kw_test_act *act)
{
    return act->end != KW_TEST_NEVER || is_of_use(self, act);
}

static kw_test_verdict run(search *self, size_t states_max)
{
    size_t words = self->seen.row_len - 1;
    entry **stack = need(calloc(self->acts_n + 1, sizeof(stack[0])));
    uint64_t *values = need(calloc(self->acts_n + 1, sizeof(values[0])));
    size_t depth = 0;
    kw_test_verdict verdict = KW_TEST_LINEARIZABLE;
    size_t open_n = 0;
    for (size_t i = 0; i < self->acts_n; i++) {
        open_n += self->acts[i].end != KW_TEST_NEVER ? 1 : 0;
    }
    entry *at = self->head.next;
    while (open_n > 0) {
        if (at != NULL && !at->is_end) {
            uint64_t value = self->done[words];
            const kw_test_act *act = &self->acts[at->act];
            if (may_be_next(self, act) && can_happen(&value, act)) {
                uint64_t old = self->done[words];
                self->done[at->act / 64] |= UINT64_C(1) << (at->act % 64);
                self->done[words] = value;
                if (remember(&self->seen, self->done)) {
                    values[depth] = old;
                    stack[depth++] = at;
                    unlink_entry(at);
                    if (at->end != NULL) {
                        unlink_entry(at->end);
                        open_n--;
                    }
                    at = self->head.next;
                    continue;
                }
                self->done[at->act / 64] &= ~(UINT64_C(1) << (at->act % 64));
                self->done[words] = old;
            }
            at = at->next;
            continue;
        }
        if (depth == 0 || self->seen.n > states_max) {
            verdict = depth == 0 ? KW_TEST_VIOLATION : KW_TEST_TOO_HARD;
            break;
        }
        entry *last = stack[--depth]; /* an end came before its beginning could happen */
        self->done[last->act / 64] &= ~(UINT64_C(1) << (last->act % 64));
        self->done[words] = values[depth];
        if (last->end != NULL) {
            relink(last->end);
            open_n++;
        }
        relink(last);
        at = last->next;
    }
    free(stack);
    free(values);
    return verdict;
}

/* True for a write that perhaps was, and that nobody saw: whether it was says nothing. */
static bool is_unseen(const kw_test_act *acts, size_t acts_n, const kw_test_act *act)
{
    if (act->end != KW_TEST_NEVER) {
        return false;
    }
    if (act->kind == KW_TEST_READ || act->kind == KW_TEST_MISMATCH) {
        return true;
    }
    if (act->kind == KW_TEST_EXPIRE) {
        return false;
    }
    for (size_t i = 0; i < acts_n; i++) {
        bool is_write = acts[i].kind == KW_TEST_WRITE || acts[i].kind == KW_TEST_SWAP;
        if ((!is_write && acts[i].value == act->value) ||
            (acts[i].kind == KW_TEST_SWAP && acts[i].expected == act->value)) {
            return false;
        }
    }
    return true;
}

static kw_test_verdict check(const kw_test_act *acts, size_t acts_n, size_t states_max)
{
    search self;
    memset(&self, 0, sizeof(self));
    self.acts = acts;
    self.acts_n = acts_n;
    self.seen.row_len = acts_n / 64 + 2;
    make_room(&self.seen, 1024);
    self.done = need(calloc(self.seen.row_len, sizeof(self.done[0])));
    link_entries(&self);
    kw_test_verdict verdict = run(&self, states_max);
    free(self.entries);
    free(self.seen.rows);
    free(self.seen.used);
    free(self.done);
    return verdict;
}

kw_test_verdict kw_test_history_check(const kw_test_act *acts, size_t acts_n, size_t states_max)
{
    kw_test_act *seen = need(calloc(acts_n + 1, sizeof(seen[0])));
    size_t n = 0;
    for (size_t i = 0; i < acts_n; i++) {
        if (!is_unseen(acts, acts_n, &acts[i])) {
            seen[n++] = acts[i];
        }
    }
    kw_test_verdict verdict = check(seen, n, states_max);
    free(seen);
    return verdict;
}

void kw_test_history_print(const kw_test_act *acts, size_t acts_n)
{
    static const char *const names[] = {"read", "write", "swap", "mismatch", "expire"};
    for (uint64_t from = 0; from < KW_TEST_NEVER;) {
        uint64_t next = KW_TEST_NEVER;
        for (size_t i = 0; i < acts_n; i++) {
            const kw_test_act *act = &acts[i];
            if (act->begin == from) {
                fprintf(stderr, "%12llu ", (unsigned long long)act->begin);
                if (act->end == KW_TEST_NEVER) {
                    fprintf(stderr, "       never");
                } else {
                    fprintf(stderr, "%12llu", (unsigned long long)act->end);
                }
                fprintf(stderr, " client %u %s %llu (expected %llu)\n", act->client,
                        names[act->kind], (unsigned long long)act->value,
                        (unsigned long long)act->expected);
            } else if (act->begin > from && act->begin < next) {
                next = act->begin;
            }
        }
        from = next;
    }
}
