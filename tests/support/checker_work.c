/* SPDX-License-Identifier: BSD-3-Clause */
/* What a thread of the checker sends, and how it tells a right answer from a wrong one. */
#include "support/checker_parts.h"

#include <keyway/slot.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A story quotes this much of a reply. */
#define QUOTED 60

static unsigned next_random(kw_checker_thread *self, unsigned below)
{
    self->random = self->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(self->random >> 33) % below;
}

static unsigned group_of(const char *key)
{
    return kw_checker_group(kw_slot(key, strlen(key)));
}

/* Names the item's keys, in the thread's own group unless it has none. */
static void name_item(kw_checker_item *item, unsigned thread, unsigned group, unsigned number,
                      const char *const *formats)
{
    unsigned salt = 0;
    do {
        for (size_t i = 0; i < 3 && formats[i] != NULL; i++) {
            snprintf(item->key[i], sizeof(item->key[i]), formats[i], thread, number, salt);
        }
        item->group = group_of(item->key[0]);
        salt++;
    } while (group < KW_CHECKER_GROUPS && item->group != group);
}

void kw_checker_name_keys(kw_checker *checker)
{
    static const char *const counter[] = {"n:{%u.%u.%u}", NULL, NULL};
    static const char *const value[] = {"v:{%u.%u.%u}", NULL, NULL};
    static const char *const triple[] = {"m:{%u.%u.%u}:a", "m:{%u.%u.%u}:b", "m:{%u.%u.%u}:c"};
    for (unsigned t = 0; t < checker->setup.threads_n; t++) {
        kw_checker_thread *thread = &checker->threads[t];
        for (unsigned i = 0; i < KW_CHECKER_ITEMS; i++) {
            name_item(&thread->counters[i], t, thread->group, i, counter);
            name_item(&thread->values[i], t, thread->group, i, value);
            name_item(&thread->triples[i], t, thread->group, i, triple);
        }
    }
    for (unsigned i = 0; i < KW_CHECKER_SHARED; i++) {
        kw_checker_shared *shared = &checker->shared[i];
        unsigned salt = 0;
        do {
            snprintf(shared->key, sizeof(shared->key), "s:{%u.%u}", i, salt++);
            shared->group = group_of(shared->key);
        } while (shared->group != i % KW_CHECKER_GROUPS);
    }
}

static const char *shown(const kw_reply *reply)
{
    const char *text = kw_reply_str(reply, NULL);
    return text != NULL ? text : kw_reply_is_nil(reply) ? "nil" : "no text";
}

static void accuse_of_reply(kw_checker_thread *self, const char *command, const char *key,
                            const kw_reply *reply)
{
    kw_checker_accuse(self->checker, KW_SIN_WRONG, 1, "%s %s is answered by type %d, %.*s", command,
                      key, (int)kw_reply_type(reply), QUOTED, shown(reply));
}

/* A counter of this thread alone is now value, behind `added` runs of INCR. */
static void judge_counter(kw_checker_thread *self, kw_checker_item *item, long long value,
                          long long added)
{
    long long least = item->acked + added;
    if (value < least) {
        kw_checker_accuse(self->checker, KW_SIN_LOST, (uint64_t)(least - value),
                          "%s is %lld, after %lld", item->key[0], value, item->acked);
    } else if (value > least + item->unseen) {
        kw_checker_accuse(self->checker, KW_SIN_DOUBLED, (uint64_t)(value - least - item->unseen),
                          "%s is %lld, after %lld and %lld maybes", item->key[0], value,
                          item->acked, item->unseen);
        item->unseen = 0;
    } else {
        item->unseen -= value - least;
    }
    item->acked = value;
}

static void turn_counter(kw_checker_thread *self, kw_checker_item *item)
{
    const char *argv[] = {"INCR", item->key[0]};
    kw_effect effect;
    kw_reply *reply = kw_checker_run(self, &effect, item->group, 2, argv);
    if (reply == NULL) {
        item->unseen += effect != KW_EFFECT_NONE;
    } else if (kw_reply_type(reply) != KW_REPLY_INTEGER) {
        accuse_of_reply(self, "INCR", item->key[0], reply);
        item->unseen++;
    } else {
        judge_counter(self, item, kw_reply_int(reply), 1);
    }
    kw_reply_free(reply);
}

static void turn_shared(kw_checker_thread *self)
{
    unsigned i = next_random(self, KW_CHECKER_SHARED);
    if (self->group < KW_CHECKER_GROUPS) {
        i = i - i % KW_CHECKER_GROUPS + self->group;
    }
    kw_checker_shared *shared = &self->checker->shared[i];
    const char *argv[] = {"INCR", shared->key};
    kw_effect effect;
    kw_reply *reply = kw_checker_run(self, &effect, shared->group, 2, argv);
    if (reply == NULL) {
        atomic_fetch_add(&shared->maybe, effect != KW_EFFECT_NONE);
    } else if (kw_reply_type(reply) != KW_REPLY_INTEGER) {
        accuse_of_reply(self, "INCR", shared->key, reply);
    } else {
        atomic_fetch_add(&shared->acked, 1);
    }
    kw_reply_free(reply);
}

static bool is_maybe(const kw_checker_item *item, long long number)
{
    for (size_t i = 0; i < item->maybes_n; i++) {
        if (item->maybes[i] == number) {
            return true;
        }
    }
    return false;
}

/* The place holds number (0: nothing). */
static void judge_number(kw_checker_thread *self, kw_checker_item *item, long long number)
{
    if (number == item->acked || is_maybe(item, number)) {
        return;
    }
    if (number > item->acked) {
        kw_checker_accuse(self->checker, KW_SIN_WRONG, 1,
                          "%s holds %lld, which was not sent or reported as not run (now %lld)",
                          item->key[0], number, item->acked);
    } else {
        kw_checker_accuse(self->checker, KW_SIN_LOST, 1, "%s holds %lld, and %lld was written",
                          item->key[0], number, item->acked);
        item->acked = number;
    }
}

static void note_write(kw_checker_item *item, const kw_reply *reply, kw_effect effect)
{
    if (reply != NULL) {
        item->acked = item->issued;
    } else if (effect != KW_EFFECT_NONE) {
        /* The oldest are forgotten: they were never seen in all that time. */
        item->maybes[item->maybes_n % KW_CHECKER_MAYBES] = item->issued;
        item->maybes_n += item->maybes_n < KW_CHECKER_MAYBES ? 1 : 0;
    }
}

/* The number in "key thread number"; false where key or thread differ. */
static bool read_value(long long *number, const kw_checker_thread *self, const char *key,
                       const kw_reply *reply)
{
    char start[80];
    char *end;
    if (kw_reply_is_nil(reply)) {
        *number = 0;
        return true;
    }
    int len = snprintf(start, sizeof(start), "%s %u ", key, self->number);
    const char *text = kw_reply_str(reply, NULL);
    if (kw_reply_type(reply) != KW_REPLY_STRING || strncmp(text, start, (size_t)len) != 0) {
        return false;
    }
    *number = strtoll(text + len, &end, 10);
    return *end == '\0' && *number > 0;
}

static void judge_ok(kw_checker_thread *self, const char *command, const char *key,
                     const kw_reply *reply)
{
    const char *text = kw_reply_str(reply, NULL);
    if (kw_reply_type(reply) != KW_REPLY_STATUS || strcmp(text, "OK") != 0) {
        accuse_of_reply(self, command, key, reply);
    }
}

static void set_value(kw_checker_thread *self, kw_checker_item *item)
{
    char value[100];
    const char *argv[] = {"SET", item->key[0], value};
    kw_effect effect = KW_EFFECT_NONE;
    snprintf(value, sizeof(value), "%s %u %lld", item->key[0], self->number, ++item->issued);
    kw_reply *reply = kw_checker_run(self, &effect, item->group, 3, argv);
    if (reply != NULL) {
        judge_ok(self, "SET", item->key[0], reply);
    }
    note_write(item, reply, effect);
    kw_reply_free(reply);
}

static void get_value(kw_checker_thread *self, kw_checker_item *item)
{
    const char *argv[] = {"GET", item->key[0]};
    kw_effect effect;
    long long number;
    kw_reply *reply = kw_checker_run(self, &effect, item->group, 2, argv);
    if (reply != NULL) {
        if (read_value(&number, self, item->key[0], reply)) {
            judge_number(self, item, number);
        } else {
            accuse_of_reply(self, "GET", item->key[0], reply);
        }
    }
    kw_reply_free(reply);
}

static void set_triple(kw_checker_thread *self, kw_checker_item *item)
{
    char values[3][100];
    const char *argv[7] = {"MSET"};
    kw_effect effect = KW_EFFECT_NONE;
    item->issued++;
    for (size_t i = 0; i < 3; i++) {
        snprintf(values[i], sizeof(values[i]), "%s %u %lld", item->key[i], self->number,
                 item->issued);
        argv[1 + 2 * i] = item->key[i];
        argv[2 + 2 * i] = values[i];
    }
    kw_reply *reply = kw_checker_run(self, &effect, item->group, 7, argv);
    if (reply != NULL) {
        judge_ok(self, "MSET", item->key[0], reply);
    }
    note_write(item, reply, effect);
    kw_reply_free(reply);
}

static void get_triple(kw_checker_thread *self, kw_checker_item *item)
{
    const char *argv[] = {"MGET", item->key[0], item->key[1], item->key[2]};
    kw_effect effect;
    long long numbers[3];
    kw_reply *reply = kw_checker_run(self, &effect, item->group, 4, argv);
    if (reply == NULL) {
        return;
    }
    bool is_good = kw_reply_type(reply) == KW_REPLY_ARRAY && kw_reply_count(reply) == 3;
    for (size_t i = 0; is_good && i < 3; i++) {
        const kw_reply *part = kw_reply_at(reply, i);
        is_good = read_value(&numbers[i], self, item->key[i], part) && numbers[i] == numbers[0];
    }
    if (is_good) {
        judge_number(self, item, numbers[0]);
    } else {
        accuse_of_reply(self, "MGET", item->key[0], reply);
    }
    kw_reply_free(reply);
}

void kw_checker_turn(kw_checker_thread *self)
{
    unsigned i = next_random(self, KW_CHECKER_ITEMS);
    switch (next_random(self, 8)) {
    case 0:
    case 1:
        turn_counter(self, &self->counters[i]);
        break;
    case 2:
        turn_shared(self);
        break;
    case 3:
        set_value(self, &self->values[i]);
        break;
    case 4:
        set_triple(self, &self->triples[i]);
        break;
    case 5:
        get_triple(self, &self->triples[i]);
        break;
    default:
        get_value(self, &self->values[i]);
        break;
    }
}

/* Integer at the key, 0 where there is none; false without a proper reply. */
static bool read_counter(kw_checker_thread *self, long long *value, unsigned group, const char *key)
{
    const char *argv[] = {"GET", key};
    kw_effect effect;
    kw_reply *reply = kw_checker_run(self, &effect, group, 2, argv);
    const char *text = kw_reply_str(reply, NULL);
    *value = text != NULL ? strtoll(text, NULL, 10) : 0;
    bool is_good = text != NULL || kw_reply_is_nil(reply);
    kw_reply_free(reply);
    return is_good;
}

void kw_checker_read_all(kw_checker_thread *self)
{
    long long value;
    for (unsigned i = 0; i < KW_CHECKER_ITEMS; i++) {
        kw_checker_item *counter = &self->counters[i];
        if (read_counter(self, &value, counter->group, counter->key[0])) {
            judge_counter(self, counter, value, 0);
        }
        get_value(self, &self->values[i]);
        get_triple(self, &self->triples[i]);
    }
}

void kw_checker_read_shared(kw_checker *checker)
{
    for (unsigned i = 0; i < KW_CHECKER_SHARED; i++) {
        kw_checker_shared *shared = &checker->shared[i];
        long long value;
        if (!read_counter(&checker->threads[0], &value, shared->group, shared->key)) {
            continue;
        }
        long long acked = atomic_load(&shared->acked);
        long long maybe = atomic_load(&shared->maybe);
        if (value < acked) {
            kw_checker_accuse(checker, KW_SIN_LOST, (uint64_t)(acked - value),
                              "%s is %lld after %lld were acknowledged", shared->key, value, acked);
        } else if (value > acked + maybe) {
            kw_checker_accuse(checker, KW_SIN_DOUBLED, (uint64_t)(value - acked - maybe),
                              "%s is %lld after %lld were acknowledged and %lld maybes",
                              shared->key, value, acked, maybe);
        }
    }
}
