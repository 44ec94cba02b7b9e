/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscribers of real servers, as programs use them: ten thousand channels, a taker that is slow, a
 * child of the process, and keyspace notifications while a primary is replaced. Each protocol is a
 * part of the program, where hiredis reads both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/reader_functions.h"
#include "route/slot.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/parts.h"
#include "support/server.h"

#define CHANNELS_N 10000
#define MANY       20000 /* messages that nobody takes meanwhile */
#define KEEP       1000  /* of them, those that a queue has room for */
#define DELETED    "__keyevent@0__:del"

/* This part's. */
static unsigned protocol;

static kw_client *open_client(const char *uri)
{
    char text[300];
    kw_error error = KW_ERROR_INIT;
    snprintf(text, sizeof(text), "%s?timeout=20s&protocol=%u", uri, protocol);
    kw_client *client = kw_test_try_open(text, &error);
    if (client == NULL) {
        fail_msg("%s", error.text);
    }
    return client;
}

static kw_subscriber *open_subscriber(kw_client *client, const kw_subscriber_options *options)
{
    kw_error error = KW_ERROR_INIT;
    kw_subscriber *subscriber = kw_subscriber_open(client, &error, options);
    assert_non_null(subscriber);
    return subscriber;
}

static void await_ready(kw_subscriber *subscriber)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_subscriber_wait(subscriber, &error, 60000) != KW_OK) {
        fail_msg("not subscribed: %s", error.text);
    }
}

static kw_message *next(kw_subscriber *subscriber)
{
    kw_error error = KW_ERROR_INIT;
    kw_message *message = kw_subscriber_take(subscriber, &error, 60000);
    if (message == NULL) {
        fail_msg("nothing came: %s", error.text);
    }
    return message;
}

/* Ten thousand channels. */

static void name_channel(char name[32], unsigned number)
{
    snprintf(name, 32, "channel:%u", number);
}

/* One message to each channel, which says its number. */
static void publish_to_all(kw_client *client, const char *verb)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (unsigned i = 0; i < CHANNELS_N; i++) {
        char name[32];
        name_channel(name, i);
        assert_int_equal(kw_batch_add(batch, &error, "%s %s %u", verb, name, i), KW_OK);
    }
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    for (unsigned i = 0; i < CHANNELS_N; i++) {
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, i)), 1);
    }
    kw_batch_free(batch);
}

/* Each of them comes once, and nothing else. */
static void take_all(kw_subscriber *subscriber)
{
    unsigned char *has_come = calloc(CHANNELS_N, 1);
    assert_non_null(has_come);
    for (unsigned i = 0; i < CHANNELS_N; i++) {
        char name[32];
        kw_message *message = next(subscriber);
        unsigned long number = strtoul(kw_message_bytes(message, NULL), NULL, 10);
        assert_in_range(kw_message_type(message), KW_MESSAGE_CHANNEL, KW_MESSAGE_SHARDED);
        assert_in_range(number, 0, CHANNELS_N - 1);
        name_channel(name, (unsigned)number);
        assert_string_equal(kw_message_channel(message, NULL), name);
        assert_int_equal(has_come[number]++, 0);
        kw_message_free(message);
    }
    free(has_come);
}

/* Gaps name each channel once. */
static void take_gaps(kw_subscriber *subscriber)
{
    size_t topics_n = 0;
    while (topics_n < CHANNELS_N) {
        kw_message *message = next(subscriber);
        assert_int_equal(kw_message_type(message), KW_MESSAGE_GAP);
        assert_int_equal(kw_message_gap_reason(message), KW_GAP_CLOSED);
        topics_n += kw_message_topics_n(message);
        kw_message_free(message);
    }
    assert_int_equal(topics_n, CHANNELS_N);
}

static void subscribe_all(kw_subscriber *subscriber, kw_topic_kind kind)
{
    kw_error error = KW_ERROR_INIT;
    for (unsigned i = 0; i < CHANNELS_N; i++) {
        char name[32];
        name_channel(name, i);
        assert_int_equal(kw_subscribe(subscriber, &error, kind, name, strlen(name)), KW_OK);
    }
    await_ready(subscriber);
}

static void test_ten_thousand_channels_of_one_server(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = open_client(kw_test_server_uri(server));
    kw_subscriber *subscriber = open_subscriber(client, NULL);
    subscribe_all(subscriber, KW_TOPIC_CHANNEL);
    publish_to_all(client, "PUBLISH");
    take_all(subscriber);
    assert_int_equal(kw_test_server_integer(server, "CLIENT KILL TYPE pubsub"), 1);
    take_gaps(subscriber);
    publish_to_all(client, "PUBLISH");
    take_all(subscriber);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_server_free(server);
}

static void test_ten_thousand_sharded_channels_of_a_cluster(void **state)
{
    (void)state;
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* sharded channels are of Redis 7 */
    }
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, NULL);
    kw_client *client = open_client(kw_test_cluster_uri(cluster));
    kw_subscriber *subscriber = open_subscriber(client, NULL);
    subscribe_all(subscriber, KW_TOPIC_SHARDED);
    publish_to_all(client, "SPUBLISH");
    take_all(subscriber);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            kw_test_server_integer(kw_test_cluster_node(cluster, i), "CLIENT KILL TYPE pubsub"), 1);
    }
    take_gaps(subscriber);
    publish_to_all(client, "SPUBLISH");
    take_all(subscriber);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

/* A taker that is slow. */

static void publish_many(kw_client *client)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(kw_batch_add(batch, &error, "PUBLISH news %010u", i), KW_OK);
    }
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    kw_batch_free(batch);
}

/* Numbers first to first + n - 1 come, in that order. */
static void take_numbers(kw_subscriber *subscriber, unsigned long first, unsigned long n)
{
    for (unsigned long i = first; i < first + n; i++) {
        kw_message *message = next(subscriber);
        assert_int_equal(kw_message_type(message), KW_MESSAGE_CHANNEL);
        assert_int_equal(strtoul(kw_message_bytes(message, NULL), NULL, 10), i);
        kw_message_free(message);
    }
}

static void take_overflow(kw_subscriber *subscriber)
{
    kw_message *message = next(subscriber);
    assert_int_equal(kw_message_type(message), KW_MESSAGE_GAP);
    assert_int_equal(kw_message_gap_reason(message), KW_GAP_OVERFLOW);
    assert_int_equal(kw_message_gap_lost(message), MANY - KEEP);
    kw_message_free(message);
}

static kw_subscriber *open_slow(kw_client *client, kw_overflow overflow)
{
    kw_error error = KW_ERROR_INIT;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.messages_max = KEEP;
    options.overflow = overflow;
    kw_subscriber *subscriber = open_subscriber(client, &options);
    assert_int_equal(kw_subscribe(subscriber, &error, KW_TOPIC_CHANNEL, "news", 4), KW_OK);
    await_ready(subscriber);
    return subscriber;
}

/* What was published is read, though nobody takes: a topic behind it is confirmed. */
static void read_all(kw_subscriber *subscriber)
{
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_subscribe(subscriber, &error, KW_TOPIC_CHANNEL, "behind", 6), KW_OK);
    await_ready(subscriber);
}

static void test_slow_taker_loses_what_it_was_told(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = open_client(kw_test_server_uri(server));
    kw_subscriber *oldest = open_slow(client, KW_OVERFLOW_DROP_OLDEST);
    kw_subscriber *newest = open_slow(client, KW_OVERFLOW_DROP_NEWEST);
    kw_subscriber *stopped = open_slow(client, KW_OVERFLOW_STOP_READING);
    publish_many(client);
    read_all(oldest);
    read_all(newest);
    take_overflow(oldest);
    take_numbers(oldest, MANY - KEEP, KEEP);
    take_numbers(newest, 0, KEEP);
    take_overflow(newest);
    take_numbers(stopped, 0, MANY);
    kw_subscriber_close(oldest);
    kw_subscriber_close(newest);
    kw_subscriber_close(stopped);
    kw_close(client);
    kw_test_server_free(server);
}

/* The server's own limit ends a connection that is not read: that is a gap, behind what had come,
 * and the subscriber goes on. */
static void test_server_ends_a_subscriber_that_stops_reading(void **state)
{
    (void)state;
    kw_test_server *server =
        kw_test_server_start("client-output-buffer-limit pubsub 200kb 200kb 1\n");
    kw_client *client = open_client(kw_test_server_uri(server));
    kw_subscriber *stopped = open_slow(client, KW_OVERFLOW_STOP_READING);
    KW_TEST_UNTIL(kw_test_server_integer(server, "PUBLISH news 9") == 0)
    {
        publish_many(client);
    }
    unsigned long n = 0;
    kw_message *message = next(stopped);
    for (; kw_message_type(message) == KW_MESSAGE_CHANNEL; n++) {
        unsigned long number = strtoul(kw_message_bytes(message, NULL), NULL, 10);
        assert_int_equal(number, n % (MANY + 1) == 0 ? 9 : n % (MANY + 1) - 1);
        kw_message_free(message);
        message = next(stopped);
    }
    assert_true(n >= KEEP);
    assert_int_equal(kw_message_type(message), KW_MESSAGE_GAP);
    assert_int_equal(kw_message_gap_reason(message), KW_GAP_CLOSED);
    kw_message_free(message);
    assert_int_equal(kw_test_server_integer(server, "PUBLISH news 0"), 1);
    take_numbers(stopped, 0, 1);
    kw_subscriber_close(stopped);
    kw_close(client);
    kw_test_server_free(server);
}

/* In a child the subscriber is the parent's, who hears on, and what the child closes is not its. */
static void test_forked_child_leaves_the_subscriber_alone(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = open_client(kw_test_server_uri(server));
    kw_subscriber *subscriber = open_subscriber(client, NULL);
    assert_int_equal(kw_subscribe(subscriber, &error, KW_TOPIC_CHANNEL, "news", 4), KW_OK);
    await_ready(subscriber);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        bool is_good =
            kw_subscriber_take(subscriber, &error, 1000) == NULL && error.code == KW_ERR_FORKED &&
            kw_unsubscribe(subscriber, &error, KW_TOPIC_CHANNEL, "news", 4) == KW_ERR_FORKED;
        kw_subscriber_close(subscriber);
        kw_close(client);
        _exit(is_good ? 0 : 1);
    }
    assert_int_equal(kw_test_wait_child(child), 0);
    assert_int_equal(kw_test_server_integer(server, "PUBLISH news 0"), 1);
    take_numbers(subscriber, 0, 1);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_server_free(server);
}

/* Keyspace notifications. */

/* Deletes the key until its owner's notification comes: who is subscribed there says so. What comes
 * before it are gaps, and notifications of earlier tries. Their number is returned. */
static unsigned hear_of(kw_client *client, kw_subscriber *subscriber, const char *key,
                        const char *node)
{
    unsigned gaps_n = 0;
    bool is_heard = false;
    KW_TEST_UNTIL(is_heard)
    {
        kw_error error = KW_ERROR_INIT;
        kw_reply_free(kw_command(client, NULL, "SET %s v", key));
        kw_reply_free(kw_command(client, NULL, "DEL %s", key));
        kw_message *message;
        while (!is_heard && (message = kw_subscriber_take(subscriber, &error, 200)) != NULL) {
            gaps_n += kw_message_type(message) == KW_MESSAGE_GAP ? 1 : 0;
            is_heard = kw_message_type(message) == KW_MESSAGE_PATTERN &&
                       strcmp(kw_message_bytes(message, NULL), key) == 0 &&
                       strcmp(kw_message_node(message), node) == 0;
            kw_message_free(message);
        }
    }
    return gaps_n;
}

static void test_keyspace_notifications_go_on_behind_a_failover(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, "notify-keyspace-events Eg\n");
    kw_client *client = open_client(kw_test_cluster_uri(cluster));
    kw_subscriber *subscriber = open_subscriber(client, NULL);
    assert_int_equal(
        kw_subscribe_nodes(subscriber, &error, KW_AT_PRIMARIES, DELETED, strlen(DELETED)), KW_OK);
    await_ready(subscriber);
    static const char *const keys[] = {"foo", "bar", "hello"}; /* on three nodes */
    for (size_t i = 0; i < 3; i++) {
        kw_test_server *owner =
            kw_test_cluster_owner(cluster, kw_slot_of(keys[i], strlen(keys[i])));
        assert_int_equal(hear_of(client, subscriber, keys[i], kw_test_server_address(owner)), 0);
    }
    unsigned slot = kw_slot_of("foo", 3);
    kw_test_server *old = kw_test_cluster_owner(cluster, slot);
    kw_test_server_kill(old);
    kw_test_server *heir = kw_test_cluster_wait_owner(cluster, slot, old, 60000);
    assert_non_null(heir);
    assert_true(hear_of(client, subscriber, "foo", kw_test_server_address(heir)) > 0);
    kw_test_server_restart(old);
    kw_test_cluster_wait(cluster, 60000);
    kw_test_cluster_failover(cluster, old);
    assert_true(hear_of(client, subscriber, "foo", kw_test_server_address(old)) > 0);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

/* A publisher that says nothing while the owner of its channel is replaced, and comes back as a
 * replica: that one runs SPUBLISH and says no MOVED, but when it is connected to. */
static void test_publisher_that_was_away_finds_the_new_owner(void **state)
{
    (void)state;
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* sharded channels are of Redis 7 */
    }
    kw_error error = KW_ERROR_INIT;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    char uri[300];
    snprintf(uri, sizeof(uri), "%s?timeout=20s&refresh-interval=0&protocol=%u",
             kw_test_cluster_uri(cluster), protocol);
    kw_client *publisher = kw_test_try_open(uri, &error);
    assert_non_null(publisher);
    kw_client *client = open_client(kw_test_cluster_uri(cluster));
    kw_subscriber *subscriber = open_subscriber(client, NULL);
    assert_int_equal(kw_subscribe(subscriber, &error, KW_TOPIC_SHARDED, "news", 4), KW_OK);
    await_ready(subscriber);
    kw_reply *reply = kw_command(publisher, &error, "SPUBLISH news a");
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    unsigned slot = kw_slot_of("news", 4);
    kw_test_server *old = kw_test_cluster_owner(cluster, slot);
    kw_test_server_kill(old);
    assert_non_null(kw_test_cluster_wait_owner(cluster, slot, old, 60000));
    kw_test_server_restart(old);
    kw_test_cluster_wait(cluster, 60000);
    bool is_heard = false;
    KW_TEST_UNTIL(is_heard)
    {
        kw_message_free(kw_subscriber_take(subscriber, &error, 10)); /* it follows */
        reply = kw_command(publisher, &error, "SPUBLISH news b");
        is_heard = kw_reply_int(reply) == 1;
        kw_reply_free(reply);
    }
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_close(publisher);
    kw_test_cluster_free(cluster);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_channels_of_one_server),
        cmocka_unit_test(test_ten_thousand_sharded_channels_of_a_cluster),
        cmocka_unit_test(test_slow_taker_loses_what_it_was_told),
        cmocka_unit_test(test_server_ends_a_subscriber_that_stops_reading),
        cmocka_unit_test(test_forked_child_leaves_the_subscriber_alone),
        cmocka_unit_test(test_keyspace_notifications_go_on_behind_a_failover),
        cmocka_unit_test(test_publisher_that_was_away_finds_the_new_owner),
    };
    protocol = 2 + (unsigned)part;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, kw_reader_knows_resp3() ? 2 : 1, run);
}
