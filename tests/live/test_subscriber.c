/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscribers of real servers under faults: numbered messages rise (but for those of a server that
 * takes itself for the owner of a slot beside another one), none comes twice, and every hole lies
 * where a gap was told. Each protocol, where hiredis reads both, has two parts of the program: the
 * cluster's storm, and the rest. KW_TEST_SECONDS: how long each storm lasts (default: until all was
 * done that it does). */
#include "live/message_ledger.h"

#include "base/reader_functions.h"
#include "route/slot.h"
#include "support/cluster.h"
#include "support/parts.h"
#include "support/server.h"

/* How often connections are killed, if no time is given. */
#define KILLS 15u

/* Between two rounds of a publisher of sharded channels: while something is done to the cluster,
 * and while it is only waited for. */
#define BRISK_MS 2u
#define SLOW_MS  25u

/* This part's. */
static unsigned protocol;

static unsigned seconds(void)
{
    const char *text = getenv("KW_TEST_SECONDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
}

/* The URI, with this part's protocol. */
static const char *uri_of(const char *uri)
{
    static char text[300];
    snprintf(text, sizeof(text), "%s?timeout=10s&protocol=%u", uri, protocol);
    return text;
}

static kw_subscriber *open_subscriber(kw_client *client, uint64_t silence_ms)
{
    kw_error error = KW_ERROR_INIT;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.silence_ms = silence_ms;
    options.messages_max = 1000000;
    options.bytes_max = (size_t)1 << 30;
    kw_subscriber *subscriber = kw_subscriber_open(client, &error, &options);
    assert_non_null(subscriber);
    return subscriber;
}

/* Kills its subscribers' connections again and again. */
typedef struct killer {
    kw_test_server *server;
    atomic_bool stops;
    atomic_uint kills_n;
} killer;

static void *kill_subscribers(void *arg)
{
    killer *self = arg;
    while (!atomic_load(&self->stops)) {
        kw_test_sleep_ms(100);
        bool is_killed = kw_test_server_integer(self->server, "CLIENT KILL TYPE pubsub") > 0;
        atomic_fetch_add(&self->kills_n, is_killed);
    }
    return NULL;
}

static void test_subscriber_killed_connections_lose_nothing_untold(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = kw_test_try_open(uri_of(kw_test_server_uri(server)), NULL);
    kw_subscriber *subscriber = open_subscriber(client, 0);
    static ledger book;
    ledger_publisher publishers[LEDGER_PUBLISHERS];
    killer killing = {.server = server};
    ledger_init(&book, "PUBLISH", KW_TOPIC_CHANNEL);
    ledger_subscribe(&book, subscriber);
    ledger_start(&book, publishers, uri_of(kw_test_server_uri(server)));
    ledger_listen(&book, subscriber, 500);
    assert_int_equal(book.gaps_n, 0); /* never without reason */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, kill_subscribers, &killing), 0);
    ledger_listen(&book, subscriber, 1000 * seconds());
    KW_TEST_UNTIL(atomic_load(&killing.kills_n) >= KILLS && book.gaps_n > 0)
    {
        ledger_listen(&book, subscriber, 100);
    }
    atomic_store(&killing.stops, true);
    kw_test_join(thread);
    ledger_finish(&book, subscriber, publishers);
    print_message("%llu messages, %u kills, %llu gaps, %llu missing in them\n",
                  (unsigned long long)book.messages_n, killing.kills_n,
                  (unsigned long long)book.gaps_n, (unsigned long long)book.missing_n);
    assert_true(book.gaps_n <= (uint64_t)killing.kills_n * LEDGER_CHANNELS);
    ledger_fini(&book);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_server_free(server);
}

/* What is done to a cluster while messages come. */
typedef void (*act_fn)(kw_test_cluster *cluster, const ledger *book);

static unsigned slot_of(const ledger *book, size_t channel)
{
    return kw_slot_of(book->channels[channel], strlen(book->channels[channel]));
}

static void move_slots(kw_test_cluster *cluster, const ledger *book)
{
    for (size_t i = 0; i < LEDGER_CHANNELS; i++) {
        unsigned slot = slot_of(book, i);
        kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
        kw_test_server *to = NULL;
        for (unsigned k = 0; k < KW_TEST_SLOTS && (to == NULL || to == owner); k += 1000) {
            to = kw_test_cluster_owner(cluster, (slot + k) % KW_TEST_SLOTS);
        }
        if (owner != NULL && to != NULL) {
            kw_test_cluster_move(cluster, slot, slot, to);
        }
    }
}

static void kill_clients(kw_test_cluster *cluster, const ledger *book)
{
    (void)book;
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        kw_test_server *node = kw_test_cluster_node(cluster, i);
        if (!kw_test_server_is_dead(node)) {
            (void)kw_test_server_integer(node, "CLIENT KILL TYPE pubsub");
        }
    }
}

static void fail_over(kw_test_cluster *cluster, const ledger *book)
{
    kw_test_server *owner = kw_test_cluster_owner(cluster, slot_of(book, 0));
    kw_test_server *replica = owner != NULL ? kw_test_cluster_replica(cluster, owner) : NULL;
    if (replica != NULL) {
        kw_test_cluster_failover(cluster, replica);
    }
}

static void kill_owner(kw_test_cluster *cluster, const ledger *book)
{
    unsigned slot = slot_of(book, 1);
    kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
    if (owner == NULL || kw_test_cluster_replica(cluster, owner) == NULL) {
        return;
    }
    kw_test_server_kill(owner);
    (void)kw_test_cluster_wait_owner(cluster, slot, owner, 30000);
    kw_test_server_restart(owner);
    kw_test_cluster_wait(cluster, 60000);
}

static void stop_owner(kw_test_cluster *cluster, const ledger *book)
{
    unsigned slot = slot_of(book, 2);
    kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
    if (owner == NULL || kw_test_cluster_replica(cluster, owner) == NULL) {
        return;
    }
    kw_test_server_pause(owner);
    (void)kw_test_cluster_wait_owner(cluster, slot, owner, 30000);
    kw_test_server_resume(owner);
    kw_test_cluster_wait(cluster, 60000);
}

/* Elections need their pause: see kw_test_cluster_failover. */
static const struct {
    const char *name;
    act_fn act;
    bool is_election;
} acts[] = {
    {"slots move", move_slots, false},          {"connections are killed", kill_clients, false},
    {"slots move", move_slots, false},          {"a primary is killed", kill_owner, true},
    {"slots move back", move_slots, false},     {"a failover is asked for", fail_over, true},
    {"a primary is stopped", stop_owner, true},
};
#define ACTS_N (sizeof(acts) / sizeof(acts[0]))

typedef struct storm {
    kw_test_cluster *cluster;
    ledger *book;
    atomic_bool is_over;
    unsigned acts_n;
} storm;

static void *make_storm(void *arg)
{
    storm *self = arg;
    uint64_t end_ms = kw_test_real_ms() + 1000 * (uint64_t)seconds();
    for (size_t i = 0; i < ACTS_N || kw_test_real_ms() < end_ms; i++) {
        print_message("%s\n", acts[i % ACTS_N].name);
        atomic_store(&self->book->pause_ms, BRISK_MS);
        acts[i % ACTS_N].act(self->cluster, self->book);
        self->acts_n++;
        kw_test_sleep_ms(200);
        atomic_store(&self->book->pause_ms, SLOW_MS);
        if (acts[i % ACTS_N].is_election) {
            kw_test_cluster_rest(self->cluster);
        }
    }
    atomic_store(&self->is_over, true);
    return NULL;
}

static void test_subscriber_sharded_channels_follow_the_cluster(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* sharded channels are of Redis 7 */
    }
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    const char *uri = uri_of(kw_test_cluster_uri(cluster));
    kw_client *client = kw_test_try_open(uri, NULL);
    kw_subscriber *subscriber = open_subscriber(client, 2000);
    static ledger book;
    ledger_publisher publishers[LEDGER_PUBLISHERS];
    ledger_init(&book, "SPUBLISH", KW_TOPIC_SHARDED);
    book.pause_ms = BRISK_MS;
    book.has_two_owners = true; /* while one is replaced */
    ledger_subscribe(&book, subscriber);
    ledger_start(&book, publishers, uri);
    ledger_listen(&book, subscriber, 500);
    assert_int_equal(book.gaps_n, 0);
    storm weather = {.cluster = cluster, .book = &book};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_storm, &weather), 0);
    while (!atomic_load(&weather.is_over)) {
        ledger_listen(&book, subscriber, 100);
    }
    kw_test_join(thread);
    ledger_finish(&book, subscriber, publishers);
    print_message(
        "%llu messages, %u acts, %llu gaps, %llu missing, %llu late by who was not the owner\n",
        (unsigned long long)book.messages_n, weather.acts_n, (unsigned long long)book.gaps_n,
        (unsigned long long)book.missing_n, (unsigned long long)book.late_n);
    assert_true(book.gaps_n > 0);
    ledger_fini(&book);
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

/* The next message's text is this one. */
static void take_text(kw_subscriber *subscriber, const char *text)
{
    kw_error error = KW_ERROR_INIT;
    kw_message *message = kw_subscriber_take(subscriber, &error, 20000);
    if (message == NULL) {
        fail_msg("%s did not come: %s", text, error.text);
    }
    assert_int_equal(kw_message_type(message), KW_MESSAGE_SHARDED);
    assert_string_equal(kw_message_bytes(message, NULL), text);
    kw_message_free(message);
}

/* What the ledger forgives rests on this: a replica runs SPUBLISH and has nobody to tell, and the
 * bus brings each message to the owner's subscriber once. */
static void test_subscriber_what_a_replica_runs_comes_once(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* sharded channels are of Redis 7 */
    }
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    kw_client *client = kw_test_try_open(uri_of(kw_test_cluster_uri(cluster)), NULL);
    kw_subscriber *subscriber = open_subscriber(client, 0);
    assert_int_equal(kw_subscribe(subscriber, &error, KW_TOPIC_SHARDED, "news", 4), KW_OK);
    assert_int_equal(kw_subscriber_wait(subscriber, &error, 20000), KW_OK);
    kw_test_server *owner = kw_test_cluster_owner(cluster, kw_slot_of("news", 4));
    kw_test_server *replica = kw_test_cluster_replica(cluster, owner);
    assert_non_null(replica);
    char text[20];
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kw_test_server_integer(replica, "SPUBLISH news %d", i), 0);
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%d", i);
        take_text(subscriber, text);
    }
    assert_int_equal(kw_test_server_integer(owner, "SPUBLISH news end"), 1);
    take_text(subscriber, "end");
    kw_subscriber_close(subscriber);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

static int run(size_t part)
{
    const struct CMUnitTest storms[] = {
        cmocka_unit_test(test_subscriber_sharded_channels_follow_the_cluster),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_subscriber_killed_connections_lose_nothing_untold),
        cmocka_unit_test(test_subscriber_what_a_replica_runs_comes_once),
    };
    protocol = 2 + (unsigned)part / 2;
    return part % 2 == 0 ? cmocka_run_group_tests(storms, NULL, NULL)
                         : cmocka_run_group_tests(others, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, kw_reader_knows_resp3() ? 4 : 2, run);
}
