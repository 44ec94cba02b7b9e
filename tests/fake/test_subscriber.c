/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscribers of servers that hang up, hang, lie and refuse: what they hear, what they are told
 * that they missed, and what is asked of the servers. */
#include "fake/fakes.h"
#include "support/parts.h"

#include "support/turn.h"
#include "support/ways.h"

#include <poll.h>
#include <unistd.h>

#define WAIT_MS 30000

/* Confirms what a subscriber asks for, as servers do. */
static bool confirm(void *arg, kw_fake_call *call)
{
    static const char *const verbs[] = {"SUBSCRIBE",   "PSUBSCRIBE",   "SSUBSCRIBE",
                                        "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"};
    size_t len;
    const char *verb = kw_fake_call_arg(call, 0, &len);
    (void)arg;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            char lower[20];
            for (size_t k = 0; k <= len; k++) {
                lower[k] = (char)(verb[k] >= 'A' && verb[k] <= 'Z' ? verb[k] + 'a' - 'A' : verb[k]);
            }
            size_t name_len;
            const char *name = kw_fake_call_arg(call, 1, &name_len);
            kw_fake_call_replyf(call, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:1\r\n", len, lower,
                                name_len, name);
            return true;
        }
    }
    return false;
}

static void renew_confirming(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], confirm, NULL);
    }
}

/* A subscriber of one fake, or of the cluster, and its handle. */
typedef struct party {
    kw_client *client;
    kw_subscriber *subscriber;
} party;

static party join(const char *uri, const kw_subscriber_options *options)
{
    kw_error error = KW_ERROR_INIT;
    party self;
    self.client = kw_test_try_open(uri, &error);
    assert_non_null(self.client);
    self.subscriber = kw_subscriber_open(self.client, &error, options);
    assert_non_null(self.subscriber);
    return self;
}

static void part(party *self)
{
    kw_subscriber_close(self->subscriber);
    kw_close(self->client);
}

static party join_one(const kw_subscriber_options *options)
{
    renew_servers();
    renew_confirming();
    return join(kw_fake_uri(fakes[0]), options);
}

static party join_cluster(const kw_subscriber_options *options)
{
    char uri[200];
    renew_fakes();
    renew_confirming();
    snprintf(uri, sizeof(uri), "redis-cluster://%s,%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[1]));
    return join(uri, options);
}

static void subscribe(party *self, kw_topic_kind kind, const char *name)
{
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_subscribe(self->subscriber, &error, kind, name, strlen(name)), KW_OK);
}

static void await_ready(party *self)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_subscriber_wait(self->subscriber, &error, WAIT_MS) != KW_OK) {
        fail_msg("%s", error.text);
    }
}

/* The next message, in words: "news=text", "gap closed news". */
static const char *next(party *self)
{
    static char text[500];
    kw_error error = KW_ERROR_INIT;
    kw_message *message = kw_subscriber_take(self->subscriber, &error, WAIT_MS);
    if (message == NULL) {
        snprintf(text, sizeof(text), "none: %s", error.text);
        return text;
    }
    if (kw_message_type(message) == KW_MESSAGE_GAP) {
        const char *topic = kw_message_topic(message, NULL, NULL, 0);
        snprintf(text, sizeof(text), "gap %s %s",
                 kw_gap_reason_name(kw_message_gap_reason(message)), topic != NULL ? topic : "*");
    } else {
        snprintf(text, sizeof(text), "%s%s=%s",
                 kw_message_type(message) == KW_MESSAGE_REFUSED ? "refused " : "",
                 kw_message_channel(message, NULL), kw_message_bytes(message, NULL));
    }
    kw_message_free(message);
    return text;
}

static void expect_none(party *self)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_subscriber_take(self->subscriber, &error, 0));
    assert_int_equal(error.code, KW_ERR_TIMEOUT);
}

static void push(kw_fake *fake, const char *bytes)
{
    kw_fake_push(fake, bytes, strlen(bytes));
}

#define NEWS(text) "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\n" text "\r\n"

static void test_subscriber_lost_connection_is_a_gap(void **state)
{
    (void)state;
    party self = join_one(NULL);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    push(fakes[0], NEWS("1"));
    assert_string_equal(next(&self), "news=1");
    for (unsigned i = 0; i < 3; i++) {
        kw_fake_disconnect(fakes[0], i % 2 != 0);
        assert_string_equal(next(&self), "gap closed news");
    }
    push(fakes[0], NEWS("2"));
    assert_string_equal(next(&self), "news=2");
    expect_none(&self);
    assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE news"), 4);
    part(&self);
}

/* What came before the end is handed out before the gap. */
static void test_subscriber_messages_before_the_end_come_first(void **state)
{
    (void)state;
    party self = join_one(NULL);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    push(fakes[0], NEWS("1") NEWS("2"));
    kw_fake_disconnect(fakes[0], false);
    assert_string_equal(next(&self), "news=1");
    assert_string_equal(next(&self), "news=2");
    assert_string_equal(next(&self), "gap closed news");
    part(&self);
}

static void test_subscriber_pieces_make_whole_messages(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "SUBSCRIBE news",
               KW_FAKE_STEPS(KW_FAKE_PIECES(
                   "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n" NEWS("1") NEWS("2"), 0)));
    party self = join(kw_fake_uri(fakes[0]), NULL);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    assert_string_equal(next(&self), "news=1");
    assert_string_equal(next(&self), "news=2");
    part(&self);
}

static void test_subscriber_hostile_bytes_are_a_gap_and_no_message(void **state)
{
    (void)state;
    static const char *const pushes[] = {
        "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n", /* not asked for */
        "*2\r\n$7\r\nmessage\r\n$4\r\nnews\r\n",
        "*4\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n$1\r\ny\r\n",
        "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n",
        "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n*1\r\n$1\r\nx\r\n",
        "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nxyz\r\n", /* a wrong length */
        "*3\r\n$7\r\nmessage\r\n$99999999999\r\n",
        "*3\r\n$7\r\nmessage\r\n$-5\r\n",
        "*99999999\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n",
        "*4\r\n$8\r\npmessage\r\n$4\r\nnews\r\n$4\r\nnews\r\n$1\r\nx\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
        "*3\r\n$11\r\nunsubscribe\r\n$5\r\nother\r\n:0\r\n",
        "*2\r\n$7\r\nweather\r\n$4\r\nfine\r\n",
        ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n", /* RESP2 was asked for */
        "+OK\r\n",
        "-ERR what\r\n",
        "$4\r\nnews\r\n",
        ":1\r\n",
        "\x15\x03\x01",
        "HTTP/1.1 400 Bad Request\r\n",
    };
    party self = join_one(NULL);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    for (size_t i = 0; i < sizeof(pushes) / sizeof(pushes[0]); i++) {
        push(fakes[0], NEWS("1"));
        assert_string_equal(next(&self), "news=1");
        push(fakes[0], pushes[i]);
        const char *told = next(&self);
        if (strcmp(told, "gap protocol news") != 0) {
            fail_msg("push %zu: %s", i, told);
        }
    }
    push(fakes[0], NEWS("2"));
    assert_string_equal(next(&self), "news=2");
    part(&self);
}

/* A server that takes everything in and says nothing any more. */
static void test_subscriber_half_open_connection_is_found_by_ping(void **state)
{
    (void)state;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.silence_ms = 300;
    party self = join_one(&options);
    kw_fake_on(fakes[0], 1, "PING", KW_FAKE_STEPS(KW_FAKE_STALL));
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    assert_string_equal(next(&self), "gap silent news");
    assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE news"), 2);
    part(&self);
}

/* The wait's error, and the taker's, say why nothing is subscribed, also while there is no map. */
static void test_subscriber_without_servers_says_why(void **state)
{
    (void)state;
    static const char *const uris[] = {"redis://%s", "redis-cluster://%s",
                                       "redis-sentinel://%s/mymaster", "redis-ring://a=%s"};
    char uri[200];
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        renew_servers();
        snprintf(uri, sizeof(uri), uris[i], kw_fake_address(fakes[0]));
        kw_fake_down(fakes[0]);
        party self = join(uri, NULL);
        subscribe(&self, KW_TOPIC_CHANNEL, "news");
        kw_error error = KW_ERROR_INIT;
        KW_TEST_AWAIT(kw_subscriber_wait(self.subscriber, &error, 50) == KW_ERR_TIMEOUT &&
                      strncmp(error.text, "1 topic is not subscribed yet: ", 31) == 0 &&
                      strstr(error.text, "cannot connect") != NULL);
        assert_string_equal(error.node, kw_fake_address(fakes[0]));
        KW_TEST_AWAIT(kw_subscriber_take(self.subscriber, &error, 1) == NULL &&
                      error.code == KW_ERR_TIMEOUT &&
                      strstr(error.text, "no message came in time: 1 topic is") != NULL &&
                      strstr(error.text, "cannot connect") != NULL);
        part(&self);
    }
}

/* Where PING is answered, in either form, nothing is lost. */
static void test_subscriber_quiet_server_that_answers_is_kept(void **state)
{
    (void)state;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.silence_ms = 1000;
    party self = join_one(&options);
    kw_fake_on(fakes[0], 1, "PING", KW_FAKE_STEPS(KW_FAKE_SEND("+PONG\r\n")));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "PING",
               KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$4\r\npong\r\n$0\r\n\r\n")));
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    kw_error error = KW_ERROR_INIT;
    KW_TEST_UNTIL(kw_fake_count(fakes[0], "PING") >= 3)
    {
        assert_null(kw_subscriber_take(self.subscriber, &error, 50));
    }
    assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE news"), 1);
    part(&self);
}

static void test_subscriber_full_queue_drops_and_says_so(void **state)
{
    (void)state;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.messages_max = 2;
    for (int i = 0; i < 2; i++) {
        options.overflow = i == 0 ? KW_OVERFLOW_DROP_OLDEST : KW_OVERFLOW_DROP_NEWEST;
        party self = join_one(&options);
        subscribe(&self, KW_TOPIC_CHANNEL, "news");
        await_ready(&self);
        push(fakes[0], NEWS("1") NEWS("2") NEWS("3") NEWS("4"));
        /* Somebody reads them all before the first is taken. */
        subscribe(&self, KW_TOPIC_CHANNEL, "other");
        await_ready(&self);
        if (i == 0) {
            assert_string_equal(next(&self), "gap overflow *");
            assert_string_equal(next(&self), "news=3");
            assert_string_equal(next(&self), "news=4");
        } else {
            assert_string_equal(next(&self), "news=1");
            assert_string_equal(next(&self), "news=2");
            assert_string_equal(next(&self), "gap overflow *");
        }
        expect_none(&self);
        part(&self);
    }
}

/* With stop-reading nothing is lost as long as the server keeps it. */
static void test_subscriber_that_stops_reading_loses_nothing(void **state)
{
    (void)state;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.messages_max = 2;
    options.overflow = KW_OVERFLOW_STOP_READING;
    options.silence_ms = 200;
    party self = join_one(&options);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    for (int i = 0; i < 100; i++) {
        push(fakes[0], NEWS("1") NEWS("2") NEWS("3"));
    }
    kw_error error = KW_ERROR_INIT;
    subscribe(&self, KW_TOPIC_CHANNEL, "other"); /* behind what is not read */
    assert_int_equal(kw_subscriber_wait(self.subscriber, &error, 500), KW_ERR_TIMEOUT);
    for (int i = 0; i < 300; i++) {
        assert_string_equal(next(&self), i % 3 == 0 ? "news=1" : i % 3 == 1 ? "news=2" : "news=3");
    }
    await_ready(&self);
    part(&self);
}

/* The server sends what it has until it hears of the end. */
static void test_subscriber_overlapping_unsubscribe_takes_nothing_twice(void **state)
{
    (void)state;
    party self = join_one(NULL);
    kw_error error = KW_ERROR_INIT;
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    kw_fake_on(fakes[0], 1, "UNSUBSCRIBE news",
               KW_FAKE_STEPS(KW_FAKE_GATE,
                             KW_FAKE_SEND("*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n")));
    assert_int_equal(kw_unsubscribe(self.subscriber, &error, KW_TOPIC_CHANNEL, "news", 4), KW_OK);
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    KW_TEST_AWAIT(kw_fake_at_gates(fakes[0]) == 1);
    push(fakes[0], NEWS("1"));
    expect_none(&self);
    kw_fake_pass(fakes[0]);
    await_ready(&self);
    push(fakes[0], NEWS("2"));
    assert_string_equal(next(&self), "news=2");
    part(&self);
}

static void test_subscriber_refused_topics_are_told(void **state)
{
    (void)state;
    party self = join_one(NULL);
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "SSUBSCRIBE shard", "-ERR unknown command 'SSUBSCRIBE'");
    subscribe(&self, KW_TOPIC_SHARDED, "shard");
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    assert_int_equal(kw_subscriber_wait(self.subscriber, &error, WAIT_MS), KW_ERR_REFUSED);
    assert_non_null(strstr(error.text, "shard"));
    assert_non_null(strstr(error.text, "Redis 7"));
    assert_string_equal(next(&self), "refused shard=ERR unknown command 'SSUBSCRIBE'");
    await_ready(&self);
    push(fakes[0], NEWS("1"));
    assert_string_equal(next(&self), "news=1");
    part(&self);
}

static void test_subscriber_follows_moved_slots(void **state)
{
    (void)state;
    party self = join_cluster(NULL);
    subscribe(&self, KW_TOPIC_SHARDED, "foo");
    kw_fake_on_reply(fakes[1], 1, "SSUBSCRIBE foo", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[0]));
    await_ready(&self);
    assert_int_equal(kw_fake_count(fakes[0], "SSUBSCRIBE foo"), 1);
    assert_int_equal(kw_fake_count(fakes[1], "SSUBSCRIBE foo"), 1);
    part(&self);
}

/* The owner ends the subscription; asked again, it names the next one. */
static void test_subscriber_follows_a_slot_that_was_taken_away(void **state)
{
    (void)state;
    party self = join_cluster(NULL);
    subscribe(&self, KW_TOPIC_SHARDED, "foo");
    await_ready(&self);
    assert_int_equal(kw_fake_count(fakes[1], "SSUBSCRIBE foo"), 1);
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "SSUBSCRIBE foo", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[0]));
    const kw_fake_range ranges[] = {{0, 16383, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 1, ranges, 1);
    KW_TEST_AWAIT(kw_fake_open(fakes[1]) > 0);
    push(fakes[1], "*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n");
    assert_string_equal(next(&self), "gap moved foo");
    assert_int_equal(kw_fake_count(fakes[0], "SSUBSCRIBE foo"), 1);
    push(fakes[0], "*3\r\n$8\r\nsmessage\r\n$3\r\nfoo\r\n$1\r\n1\r\n");
    assert_string_equal(next(&self), "foo=1");
    part(&self);
}

static void test_subscriber_turned_away_comes_again(void **state)
{
    (void)state;
    party self = join_one(NULL);
    kw_fake_on_reply(fakes[0], 3, "SUBSCRIBE news", "-LOADING the data set");
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE news"), 4);
    expect_none(&self);
    part(&self);
}

/* Ordinary channels are spread over the primaries, and go elsewhere where one is down. */
static void test_subscriber_spreads_channels_over_the_nodes(void **state)
{
    (void)state;
    party self = join_cluster(NULL);
    for (int i = 0; i < 100; i++) {
        char name[20];
        snprintf(name, sizeof(name), "channel-%d", i);
        subscribe(&self, KW_TOPIC_CHANNEL, name);
    }
    await_ready(&self);
    size_t first_n = kw_fake_count(fakes[0], "SUBSCRIBE *");
    size_t second_n = kw_fake_count(fakes[1], "SUBSCRIBE *");
    assert_int_equal(first_n + second_n, 100);
    assert_in_range(first_n, 25, 75);
    kw_fake_down(fakes[1]);
    size_t told_n = 0;
    kw_error error = KW_ERROR_INIT;
    while (told_n < second_n) {
        kw_message *message = kw_subscriber_take(self.subscriber, &error, WAIT_MS);
        assert_non_null(message);
        assert_int_equal(kw_message_type(message), KW_MESSAGE_GAP);
        told_n += kw_message_topics_n(message);
        kw_message_free(message);
    }
    assert_int_equal(told_n, second_n);
    assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE *"), 100);
    kw_fake_up(fakes[1]);
    part(&self);
}

/* On a ring a channel belongs to the owner of its name, for subscribers and PUBLISH alike; patterns
 * are heard everywhere. */
static void test_subscriber_and_publish_meet_on_a_ring(void **state)
{
    (void)state;
    char uri[300];
    renew_servers();
    renew_confirming();
    snprintf(uri, sizeof(uri), "redis-ring://a=%s,b=%s,c=%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    party self = join(uri, NULL);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "PUBLISH *", ":1");
        answer(fakes[i], "SPUBLISH *", ":1");
    }
    subscribe(&self, KW_TOPIC_PATTERN, "n*");
    for (int i = 0; i < 20; i++) {
        char name[20];
        snprintf(name, sizeof(name), "channel-%d", i);
        subscribe(&self, KW_TOPIC_CHANNEL, name);
    }
    await_ready(&self);
    for (int i = 0; i < 20; i++) {
        char pattern[40];
        kw_reply_free(kw_test_ask(self.client, "PUBLISH channel-%d text", i));
        kw_reply_free(kw_test_ask(self.client, "SPUBLISH channel-%d text", i));
        for (size_t k = 0; k < FAKES_N; k++) {
            snprintf(pattern, sizeof(pattern), "SUBSCRIBE channel-%d", i);
            size_t n = kw_fake_count(fakes[k], pattern);
            snprintf(pattern, sizeof(pattern), "PUBLISH channel-%d text", i);
            assert_int_equal(kw_fake_count(fakes[k], pattern), n);
            snprintf(pattern, sizeof(pattern), "SPUBLISH channel-%d text", i);
            assert_int_equal(kw_fake_count(fakes[k], pattern), n);
        }
    }
    for (size_t k = 0; k < FAKES_N; k++) {
        assert_int_equal(kw_fake_count(fakes[k], "PSUBSCRIBE n*"), 1);
    }
    part(&self);
}

/* In a cluster PUBLISH goes to the owner of the channel's slot by every way of sending, where its
 * subscribers are, too; and elsewhere while that one is down. */
static void test_subscriber_and_publish_meet_in_a_cluster(void **state)
{
    (void)state;
    party self = join_cluster(NULL);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "PUBLISH *", ":1");
    }
    for (int i = 0; i < 4 * KW_TEST_WAYS_N; i++) {
        char name[20];
        char pattern[40];
        snprintf(name, sizeof(name), "channel-%d", i);
        subscribe(&self, KW_TOPIC_CHANNEL, name);
        await_ready(&self);
        kw_test_end end =
            kw_test_send(self.client, (kw_test_way)(i % KW_TEST_WAYS_N), "PUBLISH", name);
        assert_true(end.is_answered);
        for (size_t k = 0; k < FAKES_N; k++) {
            snprintf(pattern, sizeof(pattern), "SUBSCRIBE %s", name);
            size_t n = kw_fake_count(fakes[k], pattern);
            snprintf(pattern, sizeof(pattern), "PUBLISH %s", name);
            assert_int_equal(kw_fake_count(fakes[k], pattern), n);
        }
    }
    kw_fake_down(fakes[1]); /* foo's */
    KW_TEST_UNTIL(kw_fake_count(fakes[0], "PUBLISH foo text") > 0)
    {
        kw_reply_free(kw_command(self.client, NULL, "PUBLISH foo text"));
    }
    kw_fake_up(fakes[1]);
    part(&self);
}

static void test_subscriber_of_nodes_follows_those_that_come(void **state)
{
    (void)state;
    party self = join_cluster(NULL);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_subscribe_nodes(self.subscriber, &error, KW_AT_PRIMARIES, "__key*", 6),
                     KW_OK);
    await_ready(&self);
    assert_int_equal(kw_fake_count(fakes[0], "PSUBSCRIBE *"), 1);
    assert_int_equal(kw_fake_count(fakes[1], "PSUBSCRIBE *"), 1);
    assert_int_equal(kw_subscribe(self.subscriber, &error, KW_TOPIC_PATTERN, "__key*", 6),
                     KW_ERR_ARGUMENT);
    const kw_fake_range thirds[] = {
        {0, 8000, fakes[0], NULL}, {8001, 12000, fakes[1], NULL}, {12001, 16383, fakes[2], NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, thirds, 3);
    kw_fake_on_reply(fakes[1], 1, "GET foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer(fakes[2], "GET foo", "$1\r\n1");
    kw_reply_free(kw_test_ask(self.client, "GET foo"));
    assert_string_equal(next(&self), "gap nodes __key*");
    assert_int_equal(kw_fake_count(fakes[2], "PSUBSCRIBE *"), 1);
    part(&self);
}

/* Whoever uses the handle keeps its subscribers going. */
static void test_subscriber_is_tended_by_who_passes_by(void **state)
{
    (void)state;
    party self = join_one(NULL);
    answer(fakes[0], "GET k", "$1\r\n1");
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    KW_TEST_UNTIL(kw_fake_count(fakes[0], "SUBSCRIBE news") == 1)
    {
        kw_reply_free(kw_test_ask(self.client, "GET k"));
        kw_test_sleep_ms(1);
    }
    part(&self);
}

/* A callback's messages, and when it closes what. */
typedef struct listener {
    party party;
    char heard[100];
    unsigned messages_n;
    bool closes_subscriber;
    bool closes_handle;
} listener;

static void on_message(void *arg, kw_message *message)
{
    listener *self = arg;
    size_t len = strlen(self->heard);
    snprintf(self->heard + len, sizeof(self->heard) - len, "%s ", kw_message_bytes(message, NULL));
    self->messages_n++;
    kw_message_free(message);
    if (self->closes_subscriber) {
        kw_subscriber_close(self->party.subscriber);
        self->party.subscriber = NULL;
    }
    if (self->closes_handle) {
        kw_close(self->party.client);
    }
}

static void test_subscriber_calls_back_in_the_loop(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        listener self = {.closes_subscriber = way == 1, .closes_handle = way == 2};
        kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
        kw_error error = KW_ERROR_INIT;
        options.fn = on_message;
        options.arg = &self;
        self.party = join_one(&options);
        assert_null(kw_subscriber_take(self.party.subscriber, &error, 0));
        assert_int_equal(error.code, KW_ERR_REFUSED);
        subscribe(&self.party, KW_TOPIC_CHANNEL, "news");
        KW_TEST_UNTIL(kw_fake_count(fakes[0], "SUBSCRIBE news") == 1)
        {
            assert_int_equal(kw_test_turn(self.party.client, 20), KW_OK);
        }
        push(fakes[0], NEWS("1"));
        kw_err code = KW_OK;
        KW_TEST_UNTIL(self.messages_n > 0)
        {
            code = kw_test_turn(self.party.client, 1000);
        }
        assert_string_equal(self.heard, "1 ");
        assert_int_equal(code, way == 2 ? KW_ERR_CANCELLED : KW_OK);
        kw_subscriber_close(self.party.subscriber);
        if (way != 2) {
            kw_close(self.party.client);
        }
    }
}

/* The host is not sent to sleep while something is to be done, though no socket says so: topics of
 * a lost connection are to be subscribed again. */
static void test_subscriber_in_the_loop_comes_back_at_once(void **state)
{
    (void)state;
    listener self = {.closes_subscriber = false};
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.fn = on_message;
    options.arg = &self;
    options.silence_ms = (uint64_t)60 * 60 * 1000; /* no PING wakes it */
    self.party = join_one(&options);
    subscribe(&self.party, KW_TOPIC_CHANNEL, "news");
    await_ready(&self.party);
    for (size_t i = 1; i <= 3; i++) {
        push(fakes[0], NEWS("1"));
        KW_TEST_UNTIL(self.messages_n == 2 * i - 1)
        {
            assert_int_equal(kw_test_turn(self.party.client, 20), KW_OK);
        }
        kw_fake_disconnect(fakes[0], false);
        KW_TEST_UNTIL(self.messages_n == 2 * i) /* the gap */
        {
            assert_int_equal(kw_test_turn(self.party.client, KW_TEST_PATIENCE_MS), KW_OK);
        }
    }
    part(&self.party);
}

/* What kw_subscriber_wait has received beside what it waited for is handed out at once. */
static void test_subscriber_in_the_loop_gets_what_a_wait_has_read(void **state)
{
    (void)state;
    listener self = {.closes_subscriber = false};
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.fn = on_message;
    options.arg = &self;
    self.party = join_one(&options);
    subscribe(&self.party, KW_TOPIC_CHANNEL, "news");
    await_ready(&self.party);
    KW_TEST_UNTIL(kw_timeout(self.party.client) > 100)
    {
        assert_int_equal(kw_test_turn(self.party.client, 1), KW_OK);
    }
    kw_fake_on(
        fakes[0], 1, "SUBSCRIBE more",
        KW_FAKE_STEPS(KW_FAKE_SEND(NEWS("1") "*3\r\n$9\r\nsubscribe\r\n$4\r\nmore\r\n:2\r\n")));
    subscribe(&self.party, KW_TOPIC_CHANNEL, "more");
    await_ready(&self.party);
    struct pollfd hears = {kw_fd(self.party.client, NULL), POLLIN, 0};
    assert_true(kw_timeout(self.party.client) == 0 || poll(&hears, 1, 0) == 1);
    assert_int_equal(kw_test_turn(self.party.client, 0), KW_OK);
    assert_int_equal(self.messages_n, 1);
    part(&self.party);
}

static void *take_for_long(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_message *message = kw_subscriber_take(arg, &error, KW_TEST_PATIENCE_MS);
    kw_message_free(message);
    return (void *)(intptr_t)error.code;
}

static void test_subscriber_closed_lets_takers_go(void **state)
{
    (void)state;
    for (int by_handle = 0; by_handle < 2; by_handle++) {
        party self = join_one(NULL);
        pthread_t threads[3];
        subscribe(&self, KW_TOPIC_CHANNEL, "news");
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, take_for_long, self.subscriber), 0);
        }
        kw_test_await_calls(self.client, 3);
        if (by_handle != 0) {
            kw_close(self.client);
        }
        if (by_handle == 0) {
            kw_subscriber_close(self.subscriber);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal((intptr_t)kw_test_join(threads[i]), KW_ERR_CANCELLED);
        }
        if (by_handle != 0) {
            kw_error error = KW_ERROR_INIT;
            assert_null(kw_subscriber_take(self.subscriber, &error, 1000));
            assert_int_equal(error.code, KW_ERR_CANCELLED);
            kw_subscriber_close(self.subscriber);
        } else {
            kw_close(self.client);
        }
    }
}

static void *close_subscriber(void *arg)
{
    kw_subscriber_close(arg);
    return NULL;
}

static pthread_t closer;

/* Closes the handle while another thread closes a subscriber, which waits for the end of this turn.
 */
static void close_beside(void *arg, kw_reply *reply, const kw_error *error)
{
    party *self = arg;
    (void)error;
    kw_reply_free(reply);
    assert_int_equal(pthread_create(&closer, NULL, close_subscriber, self->subscriber), 0);
    kw_test_await_calls(self->client, 2); /* kw_process is one */
    kw_close(self->client);
}

static void test_subscriber_closed_beside_a_callback_that_closes_the_handle(void **state)
{
    (void)state;
    listener heard = {.closes_subscriber = false};
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.fn = on_message;
    options.arg = &heard;
    party self = join_one(&options);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET *", ":1");
    kw_callback callback = {close_beside, &self};
    assert_int_equal(kw_command_async(self.client, NULL, callback, "GET foo"), KW_OK);
    kw_err code = KW_OK;
    KW_TEST_UNTIL(code != KW_OK)
    {
        code = kw_test_turn(self.client, 20);
    }
    assert_int_equal(code, KW_ERR_CANCELLED);
    (void)kw_test_join(closer);
}

static void test_subscriber_of_a_drained_handle_waits_no_more(void **state)
{
    (void)state;
    party self = join_one(NULL);
    kw_error error = KW_ERROR_INIT;
    pthread_t thread;
    subscribe(&self, KW_TOPIC_CHANNEL, "news");
    await_ready(&self);
    assert_int_equal(pthread_create(&thread, NULL, take_for_long, self.subscriber), 0);
    kw_test_await_calls(self.client, 1);
    assert_int_equal(kw_drain(self.client, &error, WAIT_MS), KW_OK);
    assert_int_equal((intptr_t)kw_test_join(thread), KW_ERR_DRAINING);
    assert_null(kw_subscriber_open(self.client, &error, NULL));
    assert_int_equal(error.code, KW_ERR_DRAINING);
    part(&self);
}

/* In a child the subscriber is the parent's, who hears on. */
static void test_subscriber_is_left_alone_by_forked_children(void **state)
{
    (void)state;
    static const char *const options[] = {"", "?after-fork=reopen"};
    for (size_t i = 0; i < 2; i++) {
        char uri[200];
        renew_servers();
        renew_confirming();
        answer(fakes[0], "GET k", "$1\r\n1");
        snprintf(uri, sizeof(uri), "%s%s", kw_fake_uri(fakes[0]), options[i]);
        party self = join(uri, NULL);
        subscribe(&self, KW_TOPIC_CHANNEL, "news");
        await_ready(&self);
        pid_t child = fork();
        if (child == 0) {
            kw_error error = KW_ERROR_INIT;
            bool is_good = kw_subscriber_take(self.subscriber, &error, 1000) == NULL &&
                           error.code == KW_ERR_FORKED;
            is_good = is_good && kw_subscribe(self.subscriber, &error, KW_TOPIC_CHANNEL, "a", 1) ==
                                     KW_ERR_FORKED;
            if (i == 1) {
                kw_reply *reply = kw_command(self.client, &error, "GET k");
                is_good = is_good && reply != NULL;
                kw_reply_free(reply);
            }
            kw_subscriber_close(self.subscriber);
            kw_close(self.client);
            _exit(is_good ? 0 : 1);
        }
        wait_for_child(child);
        push(fakes[0], NEWS("1"));
        assert_string_equal(next(&self), "news=1");
        assert_int_equal(kw_fake_count(fakes[0], "SUBSCRIBE news"), 1);
        part(&self);
    }
}

/* Every allocation fails in turn, and then all from one on: nothing is lost untold, leaked or
 * broken. */
static void run_without_memory(unsigned long fail_at, bool fails_on, unsigned long *calls)
{
    kw_test_memory memory;
    kw_error error = KW_ERROR_INIT;
    renew_servers();
    renew_confirming();
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    assert_int_equal(kw_config_set_uri(config, &error, kw_fake_uri(fakes[0])), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    assert_non_null(client);
    unsigned long before = kw_test_memory_calls(&memory);
    memory.fail_at = fail_at > 0 ? before + fail_at : 0;
    memory.fail_on = fails_on;
    kw_subscriber *subscriber = kw_subscriber_open(client, &error, NULL);
    if (subscriber == NULL) {
        assert_int_equal(error.code, KW_ERR_NOMEM);
    } else {
        party self = {client, subscriber};
        kw_err code = kw_subscribe(subscriber, &error, KW_TOPIC_CHANNEL, "news", 4);
        assert_true(code == KW_OK || code == KW_ERR_NOMEM);
        (void)kw_subscriber_wait(subscriber, &error, fails_on ? 100 : WAIT_MS);
        push(fakes[0], NEWS("1"));
        (void)kw_unsubscribe(subscriber, &error, KW_TOPIC_CHANNEL, "other", 5);
        kw_message_free(kw_subscriber_take(subscriber, &error, 20));
        memory.fail_at = 0; /* there is memory again */
        memory.fail_on = false;
        subscribe(&self, KW_TOPIC_CHANNEL, "news");
        await_ready(&self);
        kw_fake_disconnect(fakes[0], false);
        const char *told = next(&self);
        KW_TEST_UNTIL(strncmp(told, "gap closed", 10) == 0)
        {
            told = next(&self);
        }
        kw_subscriber_close(subscriber);
    }
    *calls = kw_test_memory_calls(&memory) - before;
    memory.fail_at = 0;
    kw_close(client);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_subscriber_goes_on_where_memory_fails(void **state)
{
    (void)state;
    unsigned long calls;
    run_without_memory(0, false, &calls);
    assert_in_range(calls, 10, 500);
    for (unsigned long i = 1, n = calls; i <= n; i++) {
        run_without_memory(i, false, &calls);
        run_without_memory(i, true, &calls);
    }
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscriber_lost_connection_is_a_gap),
        cmocka_unit_test(test_subscriber_messages_before_the_end_come_first),
        cmocka_unit_test(test_subscriber_pieces_make_whole_messages),
        cmocka_unit_test(test_subscriber_hostile_bytes_are_a_gap_and_no_message),
        cmocka_unit_test(test_subscriber_half_open_connection_is_found_by_ping),
        cmocka_unit_test(test_subscriber_without_servers_says_why),
        cmocka_unit_test(test_subscriber_quiet_server_that_answers_is_kept),
        cmocka_unit_test(test_subscriber_full_queue_drops_and_says_so),
        cmocka_unit_test(test_subscriber_that_stops_reading_loses_nothing),
        cmocka_unit_test(test_subscriber_overlapping_unsubscribe_takes_nothing_twice),
        cmocka_unit_test(test_subscriber_refused_topics_are_told),
        cmocka_unit_test(test_subscriber_follows_moved_slots),
        cmocka_unit_test(test_subscriber_follows_a_slot_that_was_taken_away),
        cmocka_unit_test(test_subscriber_turned_away_comes_again),
        cmocka_unit_test(test_subscriber_spreads_channels_over_the_nodes),
        cmocka_unit_test(test_subscriber_and_publish_meet_on_a_ring),
        cmocka_unit_test(test_subscriber_and_publish_meet_in_a_cluster),
        cmocka_unit_test(test_subscriber_of_nodes_follows_those_that_come),
        cmocka_unit_test(test_subscriber_is_tended_by_who_passes_by),
        cmocka_unit_test(test_subscriber_calls_back_in_the_loop),
        cmocka_unit_test(test_subscriber_in_the_loop_comes_back_at_once),
        cmocka_unit_test(test_subscriber_in_the_loop_gets_what_a_wait_has_read),
        cmocka_unit_test(test_subscriber_closed_lets_takers_go),
        cmocka_unit_test(test_subscriber_closed_beside_a_callback_that_closes_the_handle),
        cmocka_unit_test(test_subscriber_of_a_drained_handle_waits_no_more),
        cmocka_unit_test(test_subscriber_is_left_alone_by_forked_children),
        cmocka_unit_test(test_subscriber_goes_on_where_memory_fails),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 6, run);
}
