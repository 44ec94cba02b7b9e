/* SPDX-License-Identifier: BSD-3-Clause */
/* A subscriber's decisions: scenes of topics, two streams and what comes on them; one event a line,
 * with the time in milliseconds and what is decided at it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/resp.h"
#include "engine/subscriptions.h"
#include "support/check.h"

#define MS KW_NS_PER_MS

/* A connection on which nothing comes for so long is lost. */
#define SILENCE_MS 100

typedef enum scene_event {
    ADD,   /* "A cnews": a topic, of the kind c, p or s, and its stream */
    DROP,  /* "cnews": it is unsubscribed, and had its look */
    LEFT,  /* "cnews": it is unsubscribed, and nobody had a look yet */
    MOVE,  /* "B cnews": it belongs to another stream now */
    OPEN,  /* "A": there is a connection */
    SENT,  /* "A": the commands that it is to send */
    TELL,  /* "A message news hello": what comes, by words; :1 is a number, - one of RESP3 */
    LOST,  /* "A": its connection is lost */
    TIME,  /* "A": a look at the clock */
    TAKE,  /* what the queue has */
    READY, /* how many topics are subscribed */
    RETRY, /* "A": milliseconds until it is opened again, at most */
    ROOM,  /* may more be read? */
    NOMEM, /* a message came for which there was no memory */
    GONE,  /* "A pnews": its node has left */
    COME,  /* "B pnews": a node has come later */
    END
} scene_event;

typedef struct scene_row {
    uint64_t at_ms;
    scene_event event;
    const char *text;
    const char *expected;
} scene_row;

typedef struct scene {
    const char *name;
    const scene_row *rows;
    kw_queue_rule rule; /* zeros: no limit */
} scene;

#define SCENE(...) ((const scene_row[]){__VA_ARGS__, {0, END, "", ""}})

typedef struct stage {
    kw_subscriptions subs;
    kw_push_stream streams[2];
    char out[2000];
    size_t out_len;
} stage;

static void say(stage *self, const char *format, ...) KW_FORMAT(2, 3);
static void say(stage *self, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const char *gap = self->out_len > 0 ? ", " : "";
    int n = snprintf(self->out + self->out_len, sizeof(self->out) - self->out_len, "%s", gap);
    self->out_len += (size_t)n;
    n = vsnprintf(self->out + self->out_len, sizeof(self->out) - self->out_len, format, values);
    self->out_len += (size_t)n;
    va_end(values);
}

static kw_topic_kind kind_of(char letter)
{
    return letter == 'c' ? KW_TOPIC_CHANNEL : letter == 'p' ? KW_TOPIC_PATTERN : KW_TOPIC_SHARDED;
}

static kw_topic *find(stage *self, const char *name)
{
    return kw_topics_find(&self->subs.topics, kind_of(name[0]), kw_bytes_of(name + 1));
}

/* The first word of text is a stream; *rest stands behind it. */
static kw_push_stream *stream_of(stage *self, const char *text, const char **rest)
{
    *rest = text + (text[1] == ' ' ? 2 : 1);
    return &self->streams[text[0] - 'A'];
}

static void tell(stage *self, const char *text, uint64_t now_ns)
{
    const char *rest;
    kw_push_stream *stream = stream_of(self, text, &rest);
    char words[200];
    char wire[400];
    snprintf(words, sizeof(words), "%s", rest);
    bool is_error = words[0] == '!';
    bool is_push = words[0] == '-';
    int n = 0;
    size_t len = 0;
    for (char *word = is_error ? NULL : strtok(words + (is_push ? 1 : 0), " "); word != NULL;
         word = strtok(NULL, " "), n++) {
        len += (size_t)(word[0] == ':' ? snprintf(wire + len, sizeof(wire) - len, "%s\r\n", word)
                                       : snprintf(wire + len, sizeof(wire) - len, "$%zu\r\n%s\r\n",
                                                  strlen(word), word));
    }
    char all[500];
    int all_len = is_error ? snprintf(all, sizeof(all), "-%s\r\n", words + 1)
                           : snprintf(all, sizeof(all), "%c%d\r\n%.*s", is_push ? '>' : '*', n,
                                      (int)len, wire);
    kw_push push;
    kw_bytes bytes = {all, (size_t)all_len};
    assert_int_equal(kw_push_read(&push, bytes, 10000), KW_PUSH_WHOLE);
    kw_push_stream_on_heard(stream, now_ns);
    char node[2] = {text[0], '\0'};
    static const char *const kinds[] = {
        [KW_PUSH_NOTHING] = "",    [KW_PUSH_BROKEN] = "broken", [KW_PUSH_MOVED] = "moved",
        [KW_PUSH_ENDED] = "ended", [KW_PUSH_LATER] = "later",
    };
    kw_push_news news =
        kw_subscriptions_on_push(&self->subs, stream, &push, kw_bytes_of(node), now_ns);
    kw_subscriptions_flush(&self->subs);
    if (kinds[news.kind][0] != '\0') {
        say(self, "%s", kinds[news.kind]);
    }
}

static void show_commands(stage *self, kw_push_stream *stream, uint64_t now_ns)
{
    assert_true(kw_push_stream_ask(stream, now_ns));
    kw_push push;
    kw_bytes rest = {stream->out.data, stream->out.len};
    while (rest.len > 0 && kw_push_read(&push, rest, 10000) == KW_PUSH_WHOLE) {
        kw_bytes name = push.items_n > 1 ? push.items[1].text : kw_bytes_of("");
        say(self, "%.*s%s%.*s", (int)push.items[0].text.len, push.items[0].text.data,
            name.len > 0 ? " " : "", (int)name.len, name.data);
        rest.data += push.len;
        rest.len -= push.len;
    }
    stream->out.len = 0;
}

static void show_message(stage *self, const kw_message *message)
{
    if (message->kind == KW_MESSAGE_GAP) {
        say(self, "gap %s", kw_gap_reason_name(kw_message_gap_reason(message)));
        if (kw_message_topics_n(message) > 0) {
            say(self, "%llums", (unsigned long long)kw_message_gap_ms(message));
        } else {
            say(self, "lost %llu", (unsigned long long)kw_message_gap_lost(message));
        }
        for (size_t i = 0; i < kw_message_topics_n(message); i++) {
            say(self, "%s", kw_message_topic(message, NULL, NULL, i));
        }
        return;
    }
    static const char *const kinds[] = {"", "p:", "s:", "", "subscribed ", "refused "};
    say(self, "%s%s=%s", kinds[message->kind], kw_message_channel(message, NULL),
        kw_message_bytes(message, NULL));
}

static void take(stage *self)
{
    kw_message *message;
    while ((message = kw_message_queue_pop(&self->subs.queue)) != NULL) {
        show_message(self, message);
        kw_message_free(message);
    }
    assert_true(kw_message_queue_is_empty(&self->subs.queue));
}

static void drop(stage *self, const char *name, bool had_look, uint64_t now_ns)
{
    kw_topic *topic = find(self, name);
    kw_topics_remove(&self->subs.topics, topic);
    if (had_look) {
        assert_true(kw_subscriptions_leave(&self->subs, &topic->first, KW_GAP_MOVED, now_ns));
        kw_topics_drop_todo(&self->subs.topics, topic);
        kw_topics_release(&self->subs.topics, topic);
    }
}

static void move(stage *self, const char *text, uint64_t now_ns)
{
    const char *name;
    kw_push_stream *stream = stream_of(self, text, &name);
    kw_topic *topic = find(self, name);
    assert_true(kw_subscriptions_leave(&self->subs, &topic->first, KW_GAP_MOVED, now_ns));
    kw_push_stream_attach(stream, &topic->first);
    kw_topics_drop_todo(&self->subs.topics, topic);
}

static void add(stage *self, const char *text, kw_topic_scope scope)
{
    const char *name;
    kw_push_stream *stream = stream_of(self, text, &name);
    kw_topic *topic =
        kw_topics_add(&self->subs.topics, kind_of(name[0]), kw_bytes_of(name + 1), scope);
    kw_push_stream_attach(stream, &topic->first);
    kw_topics_drop_todo(&self->subs.topics, topic);
}

/* A node of a topic at several. */
static void come_or_go(stage *self, const scene_row *row, uint64_t now_ns)
{
    const char *name;
    kw_push_stream *stream = stream_of(self, row->text, &name);
    kw_topic *topic = find(self, name);
    kw_feed *feed = kw_topics_feed(&self->subs.topics, topic, stream);
    if (row->event == COME) {
        kw_subscriptions_on_come(feed, now_ns);
        kw_push_stream_attach(stream, feed);
        return;
    }
    assert_true(kw_subscriptions_leave(&self->subs, feed, KW_GAP_NODES, now_ns));
    kw_subscriptions_on_gone(&self->subs, feed, kw_bytes_of("A"), now_ns);
    kw_topics_drop_todo(&self->subs.topics, topic);
}

static void play(stage *self, const scene_row *row)
{
    uint64_t now_ns = row->at_ms * MS;
    const char *rest = "";
    kw_push_stream *stream = row->text[0] == 'B' ? &self->streams[1] : &self->streams[0];
    switch (row->event) {
    case ADD:
        add(self, row->text, KW_TOPIC_AT_ONE);
        break;
    case DROP:
    case LEFT:
        drop(self, row->text, row->event == DROP, now_ns);
        break;
    case MOVE:
        move(self, row->text, now_ns);
        break;
    case OPEN:
        kw_push_stream_on_open(stream, now_ns, stream_of(self, row->text, &rest) && rest[0] == '3');
        break;
    case SENT:
        show_commands(self, stream, now_ns);
        break;
    case TELL:
        tell(self, row->text, now_ns);
        break;
    case LOST:
        kw_subscriptions_on_lost(&self->subs, stream, KW_GAP_CLOSED, now_ns);
        break;
    case TIME:
        say(self, "%s", kw_push_stream_on_time(stream, now_ns) == KW_PUSH_LOST ? "lost" : "wait");
        break;
    case TAKE:
        take(self);
        break;
    case READY:
        say(self, "%zu", self->subs.topics.ready_n);
        break;
    case RETRY:
        assert_true(stream->retry_ns <= now_ns + strtoull(row->text + 2, NULL, 10) * MS);
        break;
    case ROOM:
        say(self, "%s", kw_message_queue_has_room(&self->subs.queue) ? "yes" : "no");
        break;
    case NOMEM:
        kw_message_queue_lose(&self->subs.queue, false);
        break;
    case GONE:
    case COME:
        come_or_go(self, row, now_ns);
        break;
    case END:
        break;
    }
}

static void run(const scene *played)
{
    stage self;
    memset(&self, 0, sizeof(self));
    kw_subscriptions_rule rule = {.queue = played->rule, .tells_subscribed = false, .seed = 1};
    if (rule.queue.messages_max == 0) {
        rule.queue.messages_max = 1000;
    }
    if (rule.queue.bytes_max == 0) {
        rule.queue.bytes_max = 1000000;
    }
    kw_subscriptions_init(&self.subs, kw_mem_default(), &rule);
    kw_push_stream_init(&self.streams[0], kw_mem_default(), SILENCE_MS * MS);
    kw_push_stream_init(&self.streams[1], kw_mem_default(), SILENCE_MS * MS);
    for (const scene_row *row = played->rows; row->event != END; row++) {
        self.out_len = 0;
        self.out[0] = '\0';
        play(&self, row);
        if (strcmp(self.out, row->expected) != 0) {
            fail_msg("%s, line %d, at %llu ms, \"%s\": \"%s\", expected \"%s\"", played->name,
                     (int)(row - played->rows) + 1, (unsigned long long)row->at_ms, row->text,
                     self.out, row->expected);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        kw_subscriptions_on_lost(&self.subs, &self.streams[i], KW_GAP_CLOSED, 0);
        kw_push_stream_fini(&self.streams[i]);
    }
    kw_subscriptions_fini(&self.subs);
}

#define PLAY(...)                                                                                  \
    do {                                                                                           \
        const scene scenes[] = {__VA_ARGS__};                                                      \
        for (size_t i_ = 0; i_ < sizeof(scenes) / sizeof(scenes[0]); i_++) {                       \
            run(&scenes[i_]);                                                                      \
        }                                                                                          \
    } while (0)

/* clang-format off */
#define UP_A(kind, name) \
    {0, ADD, "A " kind name, ""}, {0, OPEN, "A", ""}

static void test_subscriptions_messages_come_once_and_in_order(void **state)
{
    (void)state;
    PLAY({.name = "plain", .rows = SCENE(
        UP_A("c", "news"),
        {0, READY, "", "0"},
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {1, READY, "", "1"},
        {2, TELL, "A message news one", ""},
        {3, TELL, "A message news two", ""},
        {4, TAKE, "", "news=one, news=two"})},
    {.name = "a pattern and a sharded channel", .rows = SCENE(
        UP_A("p", "n*"),
        {0, ADD, "A sshard", ""},
        {0, SENT, "A", "SSUBSCRIBE shard, PSUBSCRIBE n*"},
        {1, TELL, "A ssubscribe shard :1", ""},
        {1, TELL, "A psubscribe n* :1", ""},
        {2, TELL, "A pmessage n* news one", ""},
        {2, TELL, "A smessage shard two", ""},
        {3, TAKE, "", "p:news=one, s:shard=two"})},
    {.name = "RESP3 pushes what it likes", .rows = SCENE(
        {0, ADD, "A cnews", ""}, {0, OPEN, "A 3", ""},
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A -subscribe news :1", ""},
        {2, TELL, "A -weather fine", ""},
        {2, TELL, "A -message news one", ""},
        {3, TAKE, "", "news=one"})});
}

static void test_subscriptions_overlapping_ones_take_nothing_twice(void **state)
{
    (void)state;
    PLAY({.name = "unsubscribed and subscribed again", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {2, DROP, "cnews", ""},
        {2, ADD, "A cnews", ""},
        {2, SENT, "A", "UNSUBSCRIBE news, SUBSCRIBE news"},
        {3, TELL, "A message news of-before", ""},
        {3, TELL, "A unsubscribe news :0", ""},
        {3, READY, "", "0"},
        {3, TELL, "A subscribe news :1", ""},
        {4, TELL, "A message news one", ""},
        {4, TAKE, "", "news=one"})},
    {.name = "unsubscribed, and nobody had a look yet", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, LEFT, "cnews", ""},
        {2, TELL, "A subscribe news :1", ""},
        {2, TELL, "A message news one", ""},
        {3, TAKE, "", ""})},
    {.name = "moved there and back: only the last subscription counts", .rows = SCENE(
        UP_A("s", "shard"),
        {0, OPEN, "B", ""},
        {0, SENT, "A", "SSUBSCRIBE shard"},
        {1, TELL, "A ssubscribe shard :1", ""},
        {2, MOVE, "B sshard", ""},
        {2, SENT, "A", "SUNSUBSCRIBE shard"},
        {2, SENT, "B", "SSUBSCRIBE shard"},
        {3, TELL, "A smessage shard old", ""},
        {4, TELL, "B ssubscribe shard :1", ""},
        {4, TELL, "B smessage shard one", ""},
        {5, MOVE, "A sshard", ""},
        {5, SENT, "A", "SSUBSCRIBE shard"},
        {5, SENT, "B", "SUNSUBSCRIBE shard"},
        {6, TELL, "A smessage shard old", ""},
        {6, TELL, "A sunsubscribe shard :0", ""},
        {7, TELL, "A ssubscribe shard :1", ""},
        {7, TELL, "A smessage shard two", ""},
        {7, TELL, "B smessage shard old", ""},
        {8, TAKE, "", "gap moved, 3ms, shard, s:shard=one, gap moved, 3ms, shard, s:shard=two"})});
}

static void test_subscriptions_losses_are_told_before_what_follows(void **state)
{
    (void)state;
    PLAY({.name = "a lost connection", .rows = SCENE(
        UP_A("c", "news"),
        {0, ADD, "A csport", ""},
        {0, SENT, "A", "SUBSCRIBE sport, SUBSCRIBE news"},
        {1, TELL, "A subscribe sport :1", ""},
        {1, TELL, "A subscribe news :1", ""},
        {10, TELL, "A message news one", ""},
        {20, LOST, "A", ""},
        {20, READY, "", "0"},
        {20, RETRY, "A 30", ""},
        {21, TAKE, "", "news=one"},
        {30, OPEN, "A", ""}, {30, MOVE, "A cnews", ""}, {30, MOVE, "A csport", ""},
        {30, SENT, "A", "SUBSCRIBE sport, SUBSCRIBE news"},
        {40, TELL, "A subscribe sport :1", ""},
        {40, TELL, "A message sport two", ""},
        {50, TELL, "A subscribe news :2", ""},
        {50, TELL, "A message news three", ""},
        {60, TAKE, "", "gap closed, 30ms, sport, sport=two, gap closed, 40ms, news, news=three"})},
    {.name = "what was never subscribed has lost nothing", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, LOST, "A", ""},
        {2, OPEN, "A", ""}, {2, MOVE, "A cnews", ""},
        {2, SENT, "A", "SUBSCRIBE news"},
        {3, TELL, "A subscribe news :1", ""},
        {3, TELL, "A message news one", ""},
        {3, TAKE, "", "news=one"})},
    {.name = "lost twice is one gap, from the first time on", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {5, LOST, "A", ""},
        {6, OPEN, "A", ""}, {6, MOVE, "A cnews", ""},
        {6, SENT, "A", "SUBSCRIBE news"},
        {7, LOST, "A", ""},
        {8, OPEN, "A", ""}, {8, MOVE, "A cnews", ""},
        {8, SENT, "A", "SUBSCRIBE news"},
        {11, TELL, "A subscribe news :1", ""},
        {11, TAKE, "", "gap closed, 10ms, news"})},
    {.name = "the server ends a topic whose slot has moved", .rows = SCENE(
        UP_A("s", "shard"),
        {0, SENT, "A", "SSUBSCRIBE shard"},
        {1, TELL, "A ssubscribe shard :1", ""},
        {5, TELL, "A sunsubscribe shard :0", "ended"},
        {5, OPEN, "B", ""}, {5, MOVE, "B sshard", ""},
        {5, SENT, "A", ""},
        {5, SENT, "B", "SSUBSCRIBE shard"},
        {9, TELL, "B ssubscribe shard :1", ""},
        {9, TELL, "B smessage shard one", ""},
        {9, TAKE, "", "gap moved, 4ms, shard, s:shard=one"})},
    {.name = "MOVED before the first time is no loss", .rows = SCENE(
        UP_A("s", "shard"),
        {0, SENT, "A", "SSUBSCRIBE shard"},
        {1, TELL, "A !MOVED 3300 10.0.0.2:7000", "moved"},
        {1, OPEN, "B", ""}, {1, MOVE, "B sshard", ""},
        {1, SENT, "B", "SSUBSCRIBE shard"},
        {2, TELL, "B ssubscribe shard :1", ""},
        {2, TAKE, "", ""})},
    {.name = "the server's end crosses ours: its MOVED answers nothing", .rows = SCENE(
        UP_A("s", "shard"),
        {0, SENT, "A", "SSUBSCRIBE shard"},
        {1, TELL, "A ssubscribe shard :1", ""},
        {2, DROP, "sshard", ""},
        {2, SENT, "A", "SUNSUBSCRIBE shard"},
        {3, TELL, "A sunsubscribe shard :0", ""},
        {3, TELL, "A !MOVED 3300 10.0.0.2:7000", ""},
        {3, TELL, "A !MOVED 3300 10.0.0.2:7000", "broken"})},
    {.name = "nodes that come and go", .rows = SCENE(
        UP_A("p", "key*"),
        {0, SENT, "A", "PSUBSCRIBE key*"},
        {1, TELL, "A psubscribe key* :1", ""},
        {5, COME, "B pkey*", ""}, {5, OPEN, "B", ""},
        {5, SENT, "B", "PSUBSCRIBE key*"},
        {9, TELL, "B psubscribe key* :1", ""},
        {9, TELL, "B pmessage key* k expired", ""},
        {9, TAKE, "", "gap nodes, 4ms, key*, p:k=expired"},
        {20, GONE, "B pkey*", ""},
        {20, SENT, "B", "PUNSUBSCRIBE key*"},
        {20, TAKE, "", "gap nodes, 11ms, key*"},
        {21, TELL, "B pmessage key* k expired", ""},
        {21, TAKE, "", ""})});
}

static void test_subscriptions_silence_is_asked_and_then_lost(void **state)
{
    (void)state;
    PLAY({.name = "answered", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {50, TIME, "A", "wait"},
        {50, SENT, "A", ""},
        {51, TIME, "A", "wait"},
        {51, SENT, "A", "PING"},
        {60, TELL, "A pong pong", ""},
        {109, TIME, "A", "wait"},
        {109, SENT, "A", ""})},
    {.name = "not answered", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {51, TIME, "A", "wait"},
        {51, SENT, "A", "PING"},
        {100, TIME, "A", "wait"},
        {101, TIME, "A", "lost"})},
    {.name = "a look that is late finds the answer first", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {9000, TIME, "A", "wait"},
        {9000, SENT, "A", "PING"},
        {9100, TELL, "A pong pong", ""},
        {9100, TIME, "A", "wait"})},
    {.name = "messages before the answer: silence begins anew", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A subscribe news :1", ""},
        {51, TIME, "A", "wait"},
        {51, SENT, "A", "PING"},
        {60, TELL, "A message news 1", ""},
        {110, TIME, "A", "wait"},
        {110, SENT, "A", ""},
        {120, TELL, "A message news 2", ""},
        {170, TIME, "A", "wait"},
        {219, TIME, "A", "wait"},
        {220, TIME, "A", "lost"})},
    {.name = "a subscription that is not answered", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {49, TIME, "A", "wait"},
        {50, TIME, "A", "lost"})});
}

static void test_subscriptions_hostile_streams_are_broken(void **state)
{
    (void)state;
#define BROKEN(what) {.name = (what), .rows = SCENE( \
        UP_A("c", "news"), \
        {0, SENT, "A", "SUBSCRIBE news"}, \
        {1, TELL, "A subscribe news :1", ""}, \
        {2, TELL, "A " what, "broken"}, \
        {2, TAKE, "", ""})}
    PLAY(BROKEN("message other text"),
         BROKEN("message news"),
         BROKEN("message news text more"),
         BROKEN("message :1 text"),
         BROKEN("message news :1"),
         BROKEN("pmessage news news text"),
         BROKEN("smessage news text"),
         BROKEN("subscribe news :1"),
         BROKEN("subscribe other :1"),
         BROKEN("unsubscribe other :1"),
         BROKEN("psubscribe news :1"),
         BROKEN("pong pong"),
         BROKEN("weather fine"),
         BROKEN("-message news text"),
         BROKEN(":1 news text"),
         BROKEN("!ERR what"),
         {.name = "a topic of another stream", .rows = SCENE(
            UP_A("c", "news"), {0, OPEN, "B", ""}, {0, ADD, "B csport", ""},
            {0, SENT, "A", "SUBSCRIBE news"}, {0, SENT, "B", "SUBSCRIBE sport"},
            {1, TELL, "A subscribe news :1", ""}, {1, TELL, "B subscribe sport :1", ""},
            {2, TELL, "B message news text", "broken"},
            {2, TELL, "A message sport text", "broken"},
            {2, TAKE, "", ""})},
         {.name = "a message before the subscription is confirmed", .rows = SCENE(
            UP_A("c", "news"),
            {0, SENT, "A", "SUBSCRIBE news"},
            {1, TELL, "A message news text", "broken"})});
}

static void test_subscriptions_refusals_end_and_pauses_grow(void **state)
{
    (void)state;
    PLAY({.name = "refused", .rows = SCENE(
        UP_A("s", "shard"),
        {0, ADD, "A cnews", ""},
        {0, SENT, "A", "SUBSCRIBE news, SSUBSCRIBE shard"},
        {1, TELL, "A subscribe news :1", ""},
        {1, TELL, "A !ERR_unknown_command", ""},
        {2, READY, "", "1"},
        {2, TELL, "A message news one", ""},
        {2, TAKE, "", "refused shard=ERR_unknown_command, news=one"})},
    {.name = "turned away for now", .rows = SCENE(
        UP_A("c", "news"),
        {0, SENT, "A", "SUBSCRIBE news"},
        {1, TELL, "A !LOADING the data set", "later"},
        {1, READY, "", "0"},
        {2, MOVE, "A cnews", ""},
        {2, SENT, "A", "SUBSCRIBE news"},
        {3, TELL, "A subscribe news :1", ""},
        {3, TAKE, "", ""})});
}

static void test_subscriptions_full_queues_drop_with_a_gap(void **state)
{
    (void)state;
#define THREE \
        UP_A("c", "n"), {0, SENT, "A", "SUBSCRIBE n"}, {1, TELL, "A subscribe n :1", ""}, \
        {1, TELL, "A message n 1", ""}, {1, TELL, "A message n 2", ""}, {1, TELL, "A message n 3", ""}
    PLAY({.name = "the oldest", .rule = {2, 0, KW_QUEUE_DROP_OLDEST}, .rows = SCENE(
        THREE,
        {2, TAKE, "", "gap overflow, lost 1, n=2, n=3"},
        {2, TELL, "A message n 4", ""},
        {2, TAKE, "", "n=4"})},
    {.name = "the newest", .rule = {2, 0, KW_QUEUE_DROP_NEWEST}, .rows = SCENE(
        THREE,
        {1, TELL, "A message n 4", ""},
        {2, TAKE, "", "n=1, n=2, gap overflow, lost 2"},
        {2, TELL, "A message n 5", ""},
        {2, TAKE, "", "n=5"})},
    {.name = "nothing more is read", .rule = {2, 0, KW_QUEUE_STOP}, .rows = SCENE(
        UP_A("c", "n"), {0, SENT, "A", "SUBSCRIBE n"}, {1, TELL, "A subscribe n :1", ""},
        {1, TELL, "A message n 1", ""}, {1, ROOM, "", "yes"},
        {1, TELL, "A message n 2", ""}, {1, ROOM, "", "no"},
        {2, TAKE, "", "n=1, n=2"}, {2, ROOM, "", "yes"})},
    {.name = "bytes count as well", .rule = {100, 1, KW_QUEUE_DROP_OLDEST}, .rows = SCENE(
        THREE,
        {2, TAKE, "", "gap overflow, lost 2, n=3"})},
    {.name = "a dropped gap is a gap", .rule = {1, 0, KW_QUEUE_DROP_OLDEST}, .rows = SCENE(
        UP_A("c", "n"), {0, SENT, "A", "SUBSCRIBE n"}, {1, TELL, "A subscribe n :1", ""},
        {2, LOST, "A", ""}, {3, OPEN, "A", ""}, {3, MOVE, "A cn", ""},
        {3, SENT, "A", "SUBSCRIBE n"}, {3, TELL, "A subscribe n :1", ""},
        {4, TELL, "A message n 1", ""},
        {4, TAKE, "", "gap overflow, lost 0, n=1"})},
    {.name = "no memory", .rows = SCENE(
        UP_A("c", "n"), {0, SENT, "A", "SUBSCRIBE n"}, {1, TELL, "A subscribe n :1", ""},
        {1, TELL, "A message n 1", ""}, {1, NOMEM, "", ""}, {1, TELL, "A message n 3", ""},
        {2, TAKE, "", "n=1, gap memory, lost 1, n=3"})});
}
/* clang-format on */

/* Ten thousand topics: each found, none left behind. */
static void test_subscriptions_many_topics_are_found(void **state)
{
    (void)state;
    kw_topics topics;
    char name[32];
    kw_topics_init(&topics, kw_mem_default());
    for (int i = 0; i < 10000; i++) {
        kw_bytes bytes = {name, (size_t)snprintf(name, sizeof(name), "topic-%d", i)};
        assert_non_null(kw_topics_add(&topics, KW_TOPIC_CHANNEL, bytes, KW_TOPIC_AT_ONE));
    }
    for (int i = 0; i < 10000; i += 2) {
        kw_bytes bytes = {name, (size_t)snprintf(name, sizeof(name), "topic-%d", i)};
        kw_topic *topic = kw_topics_find(&topics, KW_TOPIC_CHANNEL, bytes);
        assert_non_null(topic);
        kw_topics_remove(&topics, topic);
    }
    for (int i = 0; i < 10000; i++) {
        kw_bytes bytes = {name, (size_t)snprintf(name, sizeof(name), "topic-%d", i)};
        kw_topic *topic = kw_topics_find(&topics, KW_TOPIC_CHANNEL, bytes);
        assert_int_equal(topic != NULL, i % 2);
        assert_null(kw_topics_find(&topics, KW_TOPIC_SHARDED, bytes));
    }
    assert_int_equal(topics.topics_n, 5000);
    assert_int_equal(topics.removed_n, 5000);
    kw_topics_fini(&topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscriptions_messages_come_once_and_in_order),
        cmocka_unit_test(test_subscriptions_overlapping_ones_take_nothing_twice),
        cmocka_unit_test(test_subscriptions_losses_are_told_before_what_follows),
        cmocka_unit_test(test_subscriptions_silence_is_asked_and_then_lost),
        cmocka_unit_test(test_subscriptions_hostile_streams_are_broken),
        cmocka_unit_test(test_subscriptions_refusals_end_and_pauses_grow),
        cmocka_unit_test(test_subscriptions_full_queues_drop_with_a_gap),
        cmocka_unit_test(test_subscriptions_many_topics_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
