/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbered messages, and what a subscriber may get of them: none comes twice, per channel and
 * publisher the numbers rise, and every hole lies where a gap was told.
 *
 * While servers of a cluster disagree on a slot's owner, two of them run SPUBLISH (and a replica
 * does without MOVED), each at once for its own subscribers and over the bus for the other's. What
 * was run by the one that the subscriber is not at may be lost on the bus, or come late: behind
 * higher numbers that the other one ran. Its publisher knows: that server had nobody to tell. */
#ifndef LIVE_MESSAGE_LEDGER_H
#define LIVE_MESSAGE_LEDGER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"

#define LEDGER_CHANNELS   6
#define LEDGER_PUBLISHERS 2
#define LEDGER_BATCH      10 /* messages of one channel in one run */

/* What the publisher of a message knows of it. UNHEARD: the server that ran it had nobody to tell;
 * either that is in a gap, or the server was not the owner, which had the subscriber.
 * DOUBTED: no answer came, so it was run at any time, or never. */
enum { LEDGER_PUBLISHED, LEDGER_DOUBTED, LEDGER_PENDING, LEDGER_UNHEARD };

typedef struct ledger_entry {
    unsigned char what; /* LEDGER_PUBLISHED and so on */
    bool has_come;
} ledger_entry;

/* One that is missing without a gap, or came late, and its publisher has no answer yet. */
typedef struct ledger_suspect {
    size_t channel;
    size_t publisher;
    uint64_t number;
} ledger_suspect;

#define LEDGER_SUSPECTS 10000

/* What one publisher has said in one channel. */
typedef struct ledger_line {
    ledger_entry *entries; /* by number */
    size_t entries_n;
    uint64_t sent_n;  /* numbers are 1 .. sent_n */
    uint64_t first;   /* the number that came first; 0: none has come */
    uint64_t heard_n; /* the highest number that came */
    uint64_t gaps_n;  /* of the channel, when it came */
} ledger_line;

typedef struct ledger {
    pthread_mutex_t mutex; /* guards lines */
    const char *verb;      /* PUBLISH or SPUBLISH */
    kw_topic_kind kind;
    char channels[LEDGER_CHANNELS][32];
    ledger_line lines[LEDGER_CHANNELS][LEDGER_PUBLISHERS];
    uint64_t channel_gaps_n[LEDGER_CHANNELS];
    atomic_bool stops;
    uint64_t messages_n;
    uint64_t gaps_n;
    uint64_t missing_n;  /* at the end */
    bool has_two_owners; /* servers may disagree on who the owner is */
    uint64_t late_n;     /* came late, run by one that was not */
    ledger_suspect suspects[LEDGER_SUSPECTS];
    size_t suspects_n;
    atomic_uint pause_ms; /* between two rounds of a publisher */
    bool is_judged;       /* what is wrong is not the test's end, but in .. */
    char wrong[200];      /* .. this, what was first */
} ledger;

typedef struct ledger_publisher {
    ledger *book;
    size_t number;
    const char *uri;
    pthread_t thread;
} ledger_publisher;

static inline void ledger_init(ledger *self, const char *verb, kw_topic_kind kind)
{
    memset(self, 0, sizeof(*self));
    pthread_mutex_init(&self->mutex, NULL);
    self->verb = verb;
    self->kind = kind;
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        snprintf(self->channels[i], sizeof(self->channels[i]), "channel-%zu", i);
    }
}

static inline void ledger_fini(ledger *self)
{
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        for (size_t k = 0; k < LEDGER_PUBLISHERS; k++) {
            free(self->lines[i][k].entries);
        }
    }
    pthread_mutex_destroy(&self->mutex);
}

/* Something is wrong. */
KW_FORMAT(2, 3) static inline void ledger_accuse(ledger *self, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!self->is_judged) {
        fail_msg("%s", text);
    }
    if (self->wrong[0] == '\0') {
        memcpy(self->wrong, text, sizeof(text));
    }
}

/* Numbers of a line that are about to be published: from the one that is returned on. Until they
 * are answered they are in doubt. */
static inline uint64_t ledger_begin(ledger *self, size_t channel, size_t publisher, size_t n)
{
    ledger_line *line = &self->lines[channel][publisher];
    pthread_mutex_lock(&self->mutex);
    uint64_t first = line->sent_n + 1;
    line->sent_n += n;
    if (line->sent_n >= line->entries_n) {
        line->entries_n = 2 * ((size_t)line->sent_n + 1000);
        line->entries = realloc(line->entries, line->entries_n * sizeof(line->entries[0]));
        assert_non_null(line->entries);
    }
    for (uint64_t i = first; i <= line->sent_n; i++) {
        line->entries[i] = (ledger_entry){LEDGER_PENDING, false};
    }
    pthread_mutex_unlock(&self->mutex);
    return first;
}

static inline void ledger_end(ledger *self, size_t channel, size_t publisher, uint64_t number,
                              unsigned char what)
{
    pthread_mutex_lock(&self->mutex);
    self->lines[channel][publisher].entries[number].what = what;
    pthread_mutex_unlock(&self->mutex);
}

/* Publishes some messages in one channel. */
static inline void ledger_publish(ledger *self, kw_client *client, size_t channel, size_t publisher,
                                  size_t n)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    uint64_t first = ledger_begin(self, channel, publisher, n);
    for (size_t i = 0; i < n; i++) {
        char text[80];
        snprintf(text, sizeof(text), "%zu:%llu:%032d", publisher, (unsigned long long)(first + i),
                 0);
        kw_batch_add(batch, &error, "%s %s %s", self->verb, self->channels[channel], text);
    }
    (void)kw_batch_run(batch, &error, 0);
    for (size_t i = 0; i < n; i++) {
        const kw_reply *reply = kw_batch_reply(batch, &error, i);
        bool is_published = reply != NULL && !kw_reply_is_error(reply);
        bool is_unheard = is_published && kw_reply_int(reply) == 0;
        ledger_end(self, channel, publisher, first + i,
                   is_unheard     ? LEDGER_UNHEARD
                   : is_published ? LEDGER_PUBLISHED
                                  : LEDGER_DOUBTED);
    }
    kw_batch_free(batch);
}

static inline void *ledger_work(void *arg)
{
    ledger_publisher *self = arg;
    kw_client *client = kw_test_try_open(self->uri, NULL);
    while (!atomic_load(&self->book->stops)) {
        for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
            ledger_publish(self->book, client, i, self->number, LEDGER_BATCH);
        }
        kw_test_sleep_ms(atomic_load(&self->book->pause_ms));
    }
    kw_close(client);
    return NULL;
}

static inline void ledger_start(ledger *self, ledger_publisher *publishers, const char *uri)
{
    for (size_t i = 0; i < LEDGER_PUBLISHERS; i++) {
        publishers[i] = (ledger_publisher){.book = self, .number = i, .uri = uri};
        assert_int_equal(pthread_create(&publishers[i].thread, NULL, ledger_work, &publishers[i]),
                         0);
    }
}

static inline size_t ledger_channel(const ledger *self, const char *name)
{
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        if (strcmp(self->channels[i], name) == 0) {
            return i;
        }
    }
    fail_msg("a message of %s, which nobody has subscribed", name);
    return 0;
}

/* A gap: of its topics, or of all. */
static inline void ledger_on_gap(ledger *self, const kw_message *message)
{
    size_t n = kw_message_topics_n(message);
    self->gaps_n++;
    for (size_t i = 0; i < LEDGER_CHANNELS && n == 0; i++) {
        self->channel_gaps_n[i]++;
    }
    for (size_t i = 0; i < n; i++) {
        kw_topic_kind kind;
        const char *name = kw_message_topic(message, NULL, &kind, i);
        assert_int_equal(kind, self->kind);
        self->channel_gaps_n[ledger_channel(self, name)]++;
    }
    assert_true(kw_message_gap_reason(message) != 0);
}

/* To be judged once the publishers have their answers. */
static inline void ledger_suspect_one(ledger *self, size_t channel, size_t publisher,
                                      uint64_t number)
{
    assert_true(self->suspects_n < LEDGER_SUSPECTS);
    ledger_suspect suspect = {channel, publisher, number};
    self->suspects[self->suspects_n++] = suspect;
}

/* Whether a message may be missing without a gap: it was not published, or may not have been, or
 * was by a server that was not the owner. */
static inline bool ledger_may_miss(const ledger *self, unsigned char what)
{
    return what == LEDGER_DOUBTED || (what == LEDGER_UNHEARD && self->has_two_owners);
}

/* Numbers below number that did not come are in a gap, or were not published. */
static inline void ledger_check_hole(ledger *self, size_t channel, size_t publisher,
                                     uint64_t number)
{
    ledger_line *line = &self->lines[channel][publisher];
    bool has_gap = line->gaps_n != self->channel_gaps_n[channel];
    for (uint64_t i = line->heard_n + 1; i < number && !has_gap; i++) {
        unsigned char what = line->entries[i].what;
        if (what == LEDGER_PENDING) {
            ledger_suspect_one(self, channel, publisher, i);
        } else if (!ledger_may_miss(self, what)) {
            ledger_accuse(self,
                          "%s: number %llu of publisher %zu is missing before %llu, and no gap was "
                          "told",
                          self->channels[channel], (unsigned long long)i, publisher,
                          (unsigned long long)number);
        }
    }
}

/* A number that comes behind higher ones, for the first time: only one that another server ran than
 * that of the subscriber, or of which nobody knows when it was run. */
static inline void ledger_check_late(ledger *self, size_t channel, size_t publisher,
                                     uint64_t number)
{
    ledger_line *line = &self->lines[channel][publisher];
    unsigned char what = line->entries[number].what;
    if (self->has_two_owners && what == LEDGER_PENDING) {
        ledger_suspect_one(self, channel, publisher, number);
    } else if (!self->has_two_owners || !ledger_may_miss(self, what)) {
        ledger_accuse(self, "%s: number %llu of publisher %zu came behind %llu",
                      self->channels[channel], (unsigned long long)number, publisher,
                      (unsigned long long)line->heard_n);
    }
    self->late_n++;
}

static inline void ledger_check_suspects(ledger *self)
{
    for (size_t i = 0; i < self->suspects_n; i++) {
        const ledger_suspect *suspect = &self->suspects[i];
        const ledger_entry *entry =
            &self->lines[suspect->channel][suspect->publisher].entries[suspect->number];
        if (!ledger_may_miss(self, entry->what)) {
            ledger_accuse(self, "%s: number %llu of publisher %zu %s",
                          self->channels[suspect->channel], (unsigned long long)suspect->number,
                          suspect->publisher,
                          entry->has_come ? "came late" : "is missing, and no gap was told");
        }
    }
}

static inline void ledger_count_missing(ledger *self)
{
    for (size_t i = 0; i < LEDGER_CHANNELS * LEDGER_PUBLISHERS; i++) {
        const ledger_line *line = &self->lines[i / LEDGER_PUBLISHERS][i % LEDGER_PUBLISHERS];
        for (uint64_t k = line->first; k > 0 && k <= line->sent_n; k++) {
            const ledger_entry *entry = &line->entries[k];
            self->missing_n += !entry->has_come && entry->what != LEDGER_DOUBTED ? 1 : 0;
        }
    }
}

/* One message has come; the mutex is held. */
static inline void ledger_note(ledger *self, size_t channel, size_t publisher, uint64_t number)
{
    ledger_line *line = &self->lines[channel][publisher];
    assert_true(number > 0 && number <= line->sent_n);
    if (line->entries[number].has_come) {
        ledger_accuse(self, "%s: number %llu of publisher %zu came twice, behind %llu",
                      self->channels[channel], (unsigned long long)number, publisher,
                      (unsigned long long)line->heard_n);
        return;
    }
    line->entries[number].has_come = true;
    if (line->first == 0) { /* before it everything may be missing: nobody was subscribed */
        line->first = number;
    } else if (number < line->heard_n) {
        ledger_check_late(self, channel, publisher, number);
        return;
    } else {
        ledger_check_hole(self, channel, publisher, number);
    }
    line->heard_n = number;
    line->gaps_n = self->channel_gaps_n[channel];
}

static inline void ledger_hear(ledger *self, const kw_message *message)
{
    if (kw_message_type(message) == KW_MESSAGE_GAP) {
        ledger_on_gap(self, message);
        return;
    }
    assert_int_equal(kw_message_type(message), (kw_message_kind)self->kind);
    size_t channel = ledger_channel(self, kw_message_channel(message, NULL));
    char *end;
    size_t publisher = strtoul(kw_message_bytes(message, NULL), &end, 10);
    uint64_t number = strtoull(end + 1, NULL, 10);
    assert_true(publisher < LEDGER_PUBLISHERS);
    pthread_mutex_lock(&self->mutex);
    ledger_note(self, channel, publisher, number);
    pthread_mutex_unlock(&self->mutex);
    self->messages_n++;
}

static inline void ledger_subscribe(const ledger *self, kw_subscriber *subscriber)
{
    kw_error error = KW_ERROR_INIT;
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        const char *name = self->channels[i];
        assert_int_equal(kw_subscribe(subscriber, &error, self->kind, name, strlen(name)), KW_OK);
    }
    if (kw_subscriber_wait(subscriber, &error, 20000) != KW_OK) {
        fail_msg("not subscribed: %s", error.text);
    }
}

/* Takes what comes within so many milliseconds. */
static inline void ledger_listen(ledger *self, kw_subscriber *subscriber, unsigned ms)
{
    kw_error error = KW_ERROR_INIT;
    uint64_t end_ms = kw_test_now_ms() + ms;
    while (kw_test_now_ms() < end_ms) {
        kw_message *message = kw_subscriber_take(subscriber, &error, 20);
        if (message != NULL) {
            ledger_hear(self, message);
            kw_message_free(message);
        } else {
            assert_int_equal(error.code, KW_ERR_TIMEOUT);
        }
    }
}

/* The publishers stop; what is under way is heard, and then a last message of each, which has to
 * come: so the end has no hole either. */
static inline void ledger_finish(ledger *self, kw_subscriber *subscriber,
                                 ledger_publisher *publishers)
{
    kw_error error = KW_ERROR_INIT;
    atomic_store(&self->stops, true);
    for (size_t i = 0; i < LEDGER_PUBLISHERS; i++) {
        kw_test_join(publishers[i].thread);
    }
    if (kw_subscriber_wait(subscriber, &error, 30000) != KW_OK) {
        fail_msg("not subscribed again: %s", error.text);
    }
    ledger_listen(self, subscriber, 500);
    kw_client *client = kw_test_try_open(publishers[0].uri, NULL);
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        for (size_t k = 0; k < LEDGER_PUBLISHERS; k++) {
            ledger_publish(self, client, i, k, 1);
            ledger_line *line = &self->lines[i][k];
            bool is_doubted = line->entries[line->sent_n].what != LEDGER_PUBLISHED;
            KW_TEST_UNTIL(is_doubted || line->heard_n == line->sent_n)
            {
                ledger_listen(self, subscriber, 10);
            }
        }
    }
    kw_close(client);
    ledger_check_suspects(self);
    ledger_count_missing(self);
}

#endif
