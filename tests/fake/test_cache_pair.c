/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults of the two connections by which values are near, one at a time: lost, silent, late,
 * refused, and with bytes on them that nobody asked for. What must hold in each case: values that
 * the fault leaves unproven end, at once or within near-staleness; calls go on to be answered; and
 * values are near again once the server is well. Where near-staleness is an hour, only the fault
 * itself can have ended a value. */
#include "fake/fakes.h"

#include <stdatomic.h>

#include "api/client.h"
#include "support/near_ask.h"
#include "support/parts.h"

/* What is wrong with the server, as bits. */
enum fault {
    NO_ID = 1,         /* CLIENT ID is refused */
    NO_TRACKING = 2,   /* CLIENT TRACKING is */
    NO_TARGET = 4,     /* the connection for messages is not there */
    MUTE_MESSAGES = 8, /* nothing comes on the connection for messages */
    MUTE_READS = 16,   /* nor on the one that reads */
    CLOSES_AT_ID = 32, /* they are closed instead of an answer */
    CLOSES_AT_LISTEN = 64,
    CLOSES_AT_TRACKING = 128,
    STRANGE_PONG = 256, /* the answer to PING is one to GET */
    STRANGE_LIFE = 512, /* and that to PTTL */
    MUTE = 1024         /* nothing is answered on any connection */
};

/* A server that tracks, as far as the test tells the messages. */
typedef struct tracking_server {
    kw_fake *fake;
    atomic_uint faults;
    atomic_uint faults_once; /* until one was met */
    atomic_uint hearing;     /* connections; 0: none yet */
    atomic_uint reading;
    atomic_uint value; /* of all keys */
} tracking_server;

static tracking_server server;

static bool has_fault(unsigned fault)
{
    return (atomic_load(&server.faults) & fault) != 0 ||
           (atomic_fetch_and(&server.faults_once, ~fault) & fault) != 0;
}

static bool answer_client(kw_fake_call *call)
{
    const char *what = kw_fake_call_arg(call, 1, NULL);
    unsigned connection = kw_fake_call_connection(call);
    if (strcmp(what, "ID") == 0) {
        if (has_fault(CLOSES_AT_ID)) {
            kw_fake_call_close(call);
        } else if (has_fault(NO_ID)) {
            kw_fake_call_replyf(call, "-NOPERM no permission to run 'client|id'\r\n");
        } else {
            kw_fake_call_replyf(call, ":%u\r\n", connection);
        }
        return true;
    }
    if (strcmp(what, "TRACKING") != 0) {
        return false;
    }
    if (has_fault(CLOSES_AT_TRACKING)) {
        kw_fake_call_close(call);
    } else if (has_fault(NO_TRACKING)) {
        kw_fake_call_replyf(call, "-NOPERM no permission to run 'client|tracking'\r\n");
    } else if (has_fault(NO_TARGET)) {
        kw_fake_call_replyf(call, "-ERR The client ID you want redirect to does not exist\r\n");
    } else {
        atomic_store(&server.reading, connection);
        kw_fake_call_replyf(call, "+OK\r\n");
    }
    return true;
}

static bool answer_ping(kw_fake_call *call)
{
    unsigned connection = kw_fake_call_connection(call);
    bool is_hearing = connection == atomic_load(&server.hearing);
    if (connection == atomic_load(&server.reading)) {
        bool is_strange = has_fault(STRANGE_PONG);
        if (is_strange) {
            kw_fake_call_replyf(call, "$1\r\n3\r\n");
        }
        return is_strange || has_fault(MUTE_READS);
    }
    if (is_hearing && !has_fault(MUTE_MESSAGES)) {
        kw_fake_call_replyf(call, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    }
    return is_hearing;
}

static bool respond(void *arg, kw_fake_call *call)
{
    (void)arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    unsigned connection = kw_fake_call_connection(call);
    bool is_mute =
        has_fault(MUTE) || (connection == atomic_load(&server.reading) && has_fault(MUTE_READS));
    char text[20];
    if (strcmp(name, "CLIENT") == 0) {
        return answer_client(call);
    }
    if (strcmp(name, "PING") == 0) {
        return answer_ping(call);
    }
    if (strcmp(name, "SUBSCRIBE") == 0) {
        atomic_store(&server.hearing, connection);
        if (has_fault(CLOSES_AT_LISTEN)) {
            kw_fake_call_close(call);
        } else {
            kw_fake_call_replyf(call,
                                "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n");
        }
        return true;
    }
    if (strcmp(name, "GET") == 0 && !is_mute) {
        int len = snprintf(text, sizeof(text), "%u", atomic_load(&server.value));
        kw_fake_call_bulk(call, text, (size_t)len);
    } else if (strcmp(name, "PTTL") == 0 && !is_mute) {
        kw_fake_call_replyf(call, has_fault(STRANGE_LIFE) ? "$1\r\n3\r\n" : ":-1\r\n");
    }
    return strcmp(name, "GET") == 0 || strcmp(name, "PTTL") == 0;
}

/* What the host was told. */
typedef struct diary {
    atomic_uint on_n;
    atomic_uint off_n;
    atomic_uint slow_n; /* off as answers to PING take too long */
} diary;

static diary told;

static void on_event(void *arg, const kw_event *event)
{
    (void)arg;
    atomic_fetch_add(&told.on_n, event->kind == KW_EVENT_NEAR_ON ? 1 : 0);
    if (event->kind == KW_EVENT_NEAR_OFF) {
        atomic_fetch_add(&told.slow_n, strstr(event->text, "takes as long") != NULL ? 1 : 0);
        atomic_fetch_add(&told.off_n, 1);
    }
}

typedef struct pair_stage {
    kw_client *client;
    kw_cache *cache;
} pair_stage;

#define AN_HOUR "near-bytes=1mb&near-staleness=1h"
#define STALL   "stall-timeout=100ms"

#define CLOSE_MS (100 * KW_TEST_SLOWNESS)

static void begin_server(void)
{
    memset(&told, 0, sizeof(told));
    memset(&server, 0, sizeof(server));
    server.fake = fakes[0];
    atomic_store(&server.value, 1);
    kw_fake_respond(server.fake, respond, NULL);
}

static pair_stage open_pair(const char *scheme, const char *uri_options, const char *options)
{
    begin_server();
    char uri[200];
    snprintf(uri, sizeof(uri), "%s://%s?timeout=5s&%s", scheme, kw_fake_address(server.fake),
             uri_options);
    pair_stage self;
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    kw_config_set_event(config, on_event, NULL);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    self.client = kw_open_config(config, &error);
    assert_non_null(self.client);
    kw_config_free(config);
    self.cache = kw_cache_open(self.client, &error, options);
    assert_non_null(self.cache);
    return self;
}

static pair_stage begin(const char *uri_options, const char *options)
{
    renew_servers();
    return open_pair("redis", uri_options, options);
}

static void end(pair_stage *self)
{
    kw_cache_close(self->cache);
    kw_close(self->client);
}

static kw_cache_figures figures_of(kw_cache *cache)
{
    kw_cache_figures figures = {.size = sizeof(figures)};
    assert_int_equal(kw_cache_stats(cache, NULL, &figures), KW_OK);
    return figures;
}

static void tell(const char *bytes)
{
    kw_fake_push_to(server.fake, atomic_load(&server.hearing), bytes, strlen(bytes));
}

#define MESSAGE "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

static size_t tracked_n(void)
{
    return kw_fake_count(server.fake, "CLIENT TRACKING *");
}

/* Only the way of asking that the proof goes by: of messages in broadcast mode (BCAST) some may
 * come behind a PING's answer, OPTIN would track one of the two reads, and NOLOOP would not tell of
 * writes. The value is read before its life: whoever writes in between tells of it, also on servers
 * on which PTTL does not track. */
static void test_a_key_is_read_before_its_life_and_tracked_in_one_way(void **state)
{
    (void)state;
    pair_stage self = begin(STALL, AN_HOUR);
    await_near(self.cache, "key", "1");
    char expected[100];
    snprintf(expected, sizeof(expected), "CLIENT TRACKING ON REDIRECT %u",
             atomic_load(&server.hearing));
    assert_int_equal(kw_fake_count(server.fake, expected), tracked_n());
    assert_int_equal(kw_fake_count(server.fake, "CLIENT CACHING *"), 0);
    kw_fake_entry entry;
    kw_fake_entry before = {0};
    size_t lives_n = 0;
    for (size_t i = 0; kw_fake_log_at(server.fake, i, &entry); i++) {
        if (strcmp(entry.text, "PTTL key") == 0) {
            assert_string_equal(before.text, "GET key");
            assert_int_equal(before.connection, entry.connection);
            assert_int_equal(entry.connection, atomic_load(&server.reading));
            lives_n++;
        }
        before = entry;
    }
    assert_true(lives_n >= 1);
    end(&self);
}

static void test_a_lost_connection_ends_what_came_by_it(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        pair_stage self = begin(STALL, AN_HOUR);
        await_near(self.cache, "key", "1");
        unsigned lost = atomic_load((way & 1) != 0 ? &server.hearing : &server.reading);
        atomic_store(&server.value, 2); /* and nobody tells */
        kw_fake_disconnect_one(server.fake, lost, (way & 2) != 0);
        await_value(self.cache, "key", "2");
        await_near(self.cache, "key", "2");
        assert_true(tracked_n() >= 2);
        end(&self);
    }
}

/* While a connection says nothing, nothing older than the bound is given, and calls are answered;
 * it is given up, and another pair opened. */
static void test_a_silent_connection_proves_nothing(void **state)
{
    (void)state;
    static const unsigned faults[] = {MUTE_MESSAGES, MUTE_READS};
    const uint64_t bound_ms = 200;
    for (size_t i = 0; i < 2; i++) {
        pair_stage self = begin(STALL, "near-bytes=1mb&near-staleness=200ms");
        await_near(self.cache, "key", "1");
        atomic_store(&server.faults, faults[i]);
        atomic_store(&server.value, 2);
        uint64_t changed_ms = kw_test_now_ms();
        size_t news_n = 0;
        KW_TEST_UNTIL(news_n == 20)
        {
            char text[100];
            uint64_t begun_ms = kw_test_now_ms();
            (void)near_get(self.cache, text, "key");
            assert_true(strcmp(text, "2") == 0 || begun_ms <= changed_ms + bound_ms + 1);
            news_n += strcmp(text, "2") == 0 ? 1 : 0;
            kw_test_sleep_ms(5);
        }
        size_t pairs_n = tracked_n();
        KW_TEST_UNTIL(tracked_n() > pairs_n)
        {
            assert_is(self.cache, "key", "2");
            kw_test_sleep_ms(5);
        }
        atomic_store(&server.faults, 0);
        await_near(self.cache, "key", "2");
        end(&self);
    }
}

/* A read that waited for its answer until the deadline does not wait for another one behind it,
 * which would be answered. */
static void test_a_silent_read_has_one_deadline_for_all_its_ways(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    pair_stage self = begin("stall-timeout=10s", AN_HOUR);
    await_near(self.cache, "key", "1");
    assert_int_equal(kw_client_set(self.client, NULL, "timeout", "1s"), KW_OK);
    atomic_store(&server.faults, MUTE_READS);
    assert_int_not_equal(kw_cache_get(self.cache, &error, &value, kw_cache_text("other")), KW_OK);
    end(&self);
}

typedef struct async_get {
    unsigned ends_n;
    kw_err code;
} async_get;

static void on_end(void *arg, const kw_error *error, kw_cache_value *value)
{
    async_get *self = arg;
    self->ends_n++;
    self->code = error != NULL ? error->code : KW_OK;
    kw_cache_release(value);
}

static uint64_t told_ns;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return told_ns;
}

/* Nor does one in the host's loop, by a clock that goes a little each turn. */
static void test_a_silent_read_in_the_loop_has_one_deadline_for_all_its_ways(void **state)
{
    (void)state;
    const uint64_t timeout_ns = 5000 * KW_NS_PER_MS; /* as open_pair says */
    const uint64_t turn_ns = 10 * KW_NS_PER_MS;
    kw_error error = KW_ERROR_INIT;
    pair_stage self = begin("stall-timeout=2s", AN_HOUR);
    await_near(self.cache, "key", "1");
    kw_env *env = &self.client->topology->env;
    kw_clock before = env->clock;
    uint64_t begin_ns = told_ns = kw_env_now(env);
    env->clock = (kw_clock){tell_time, NULL};
    atomic_store(&server.faults, MUTE);
    async_get get = {0, KW_OK};
    assert_int_equal(kw_cache_get_async(self.cache, &error, kw_cache_text("other"),
                                        (kw_cache_callback){on_end, &get}),
                     KW_OK);
    while (get.ends_n == 0 && told_ns < begin_ns + 3 * timeout_ns) {
        told_ns += turn_ns;
        (void)kw_process(self.client, &error);
    }
    assert_int_equal(get.ends_n, 1);
    assert_int_not_equal(get.code, KW_OK);
    assert_true(told_ns <= begin_ns + timeout_ns + turn_ns);
    env->clock = before;
    end(&self);
}

/* Whoever calls more rarely than a connect may take finds the answers of before, and goes on. */
static void test_rare_calls_open_a_pair(void **state)
{
    (void)state;
    pair_stage self = begin("connect-timeout=20ms", AN_HOUR);
    char text[100];
    kw_reply *reply = NULL;
    KW_TEST_UNTIL(reply != NULL)
    {
        reply = kw_command(self.client, NULL, "GET key");
    }
    kw_reply_free(reply);
    kw_fake_on(server.fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(40), KW_FAKE_SEND("+OK\r\n")));
    KW_TEST_UNTIL(near_get(self.cache, text, "key") == KW_CACHE_FROM_NEAR)
    {
        kw_test_sleep_ms(60);
    }
    end(&self);
}

/* Until the server was asked once more. */
static void await_ping(kw_cache *cache)
{
    size_t pings_n = kw_fake_count(server.fake, "PING");
    KW_TEST_UNTIL(kw_fake_count(server.fake, "PING") > pings_n)
    {
        char text[100];
        (void)near_get(cache, text, "key");
        kw_test_sleep_ms(1);
    }
}

/* An answer to PING that takes as long as near-staleness proves nothing, which the host hears. */
static void test_answers_that_are_late_turn_near_off(void **state)
{
    (void)state;
    pair_stage self = begin("stall-timeout=10s", "near-bytes=1mb&near-staleness=100ms");
    await_near(self.cache, "key", "1");
    KW_TEST_UNTIL(atomic_load(&told.on_n) > 0)
    {
        assert_is(self.cache, "key", "1");
        kw_test_sleep_ms(1);
    }
    atomic_store(&server.faults, MUTE_MESSAGES);
    unsigned hearing = atomic_load(&server.hearing);
    KW_TEST_UNTIL(atomic_load(&told.slow_n) > 0)
    {
        char text[100];
        await_ping(self.cache);
        kw_test_sleep_ms(150);
        tell("*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        for (int i = 0; i < 20; i++) { /* no longer than the bound */
            assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_SERVER);
            kw_test_sleep_ms(1);
        }
    }
    assert_int_equal(atomic_load(&server.hearing), hearing); /* the pair stays */
    atomic_store(&server.faults, 0);
    tell("*2\r\n$4\r\npong\r\n$0\r\n\r\n"); /* of the last PING, if one is out */
    await_near(self.cache, "key", "1");
    end(&self);
}

/* A get of another thread, and what it found. */
typedef struct other_get {
    kw_cache *cache;
    kw_cache_source source;
    char text[100];
} other_get;

static void *get_beside(void *arg)
{
    other_get *self = arg;
    self->source = near_get(self->cache, self->text, "key");
    return NULL;
}

/* Asks nobody: the connection that reads may be held up. */
static bool is_near(kw_cache *cache, const char *key)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    bool is_there = kw_cache_peek(cache, &value, kw_cache_text(key));
    kw_cache_release(&value);
    return is_there;
}

/* The answer is on its way while the message is heard: it is given, and not kept. */
static void test_a_message_before_the_answer_takes_its_place(void **state)
{
    (void)state;
    static const char *const messages[] = {MESSAGE "*1\r\n$3\r\nkey\r\n", MESSAGE "*-1\r\n",
                                           MESSAGE "$-1\r\n"};
    for (size_t i = 0; i < 3; i++) {
        pair_stage self = begin("stall-timeout=10s", AN_HOUR);
        await_near(self.cache, "other", "1");
        kw_fake_on(server.fake, 1, "GET key",
                   KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("$1\r\n1\r\n")));
        pthread_t thread;
        other_get other = {.cache = self.cache};
        assert_int_equal(pthread_create(&thread, NULL, get_beside, &other), 0);
        KW_TEST_AWAIT(kw_fake_at_gates(server.fake) == 1);
        atomic_store(&server.value, 2);
        tell(messages[i]);
        if (i == 0) {
            KW_TEST_AWAIT(figures_of(self.cache).invalidations == 1);
        } else { /* FLUSHALL ends what had come as well */
            KW_TEST_UNTIL(!is_near(self.cache, "other"))
            {
                kw_test_sleep_ms(1);
            }
        }
        kw_fake_pass(server.fake);
        kw_test_join(thread);
        assert_int_equal(other.source, KW_CACHE_FROM_SERVER);
        assert_string_equal(other.text, "1");
        char text[100];
        assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_SERVER);
        assert_string_equal(text, "2");
        end(&self);
    }
}

static void test_messages_end_the_values_that_they_name(void **state)
{
    (void)state;
    static const char *const messages[] = {MESSAGE "*1\r\n$1\r\na\r\n",
                                           MESSAGE "*3\r\n$1\r\nx\r\n$1\r\na\r\n$0\r\n\r\n",
                                           MESSAGE "*-1\r\n", MESSAGE "$-1\r\n"};
    for (size_t i = 0; i < 4; i++) {
        pair_stage self = begin(STALL, AN_HOUR);
        await_near(self.cache, "a", "1");
        await_near(self.cache, "b", "1");
        atomic_store(&server.value, 2);
        tell(messages[i]);
        await_value(self.cache, "a", "2");
        assert_is(self.cache, "b", i < 2 ? "1" : "2");
        assert_int_equal(tracked_n(), 1); /* no connection was given up for it */
        end(&self);
    }
}

/* What is no message, on either connection, is its end, and that of what came by it. */
static void test_bytes_that_nobody_asked_for_end_the_pair(void **state)
{
    (void)state;
    static const char *const garbage[] = {"+hello\r\n",
                                          ":1\r\n",
                                          "$3\r\nabc\r\n",
                                          "-ERR max number of clients reached\r\n",
                                          "*2\r\n$5\r\nhello\r\n$1\r\nx\r\n",
                                          "*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
                                          "*0\r\n",
                                          "*-1\r\n",
                                          "HTTP/1.1 400 Bad Request\r\n\r\n",
                                          MESSAGE "*1073741824\r\n",
                                          "$600000000\r\n",
                                          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
    KW_TEST_SHARE_OUT(i, 2 * sizeof(garbage) / sizeof(garbage[0]))
    {
        pair_stage self = begin(STALL, "near-bytes=1mb&near-staleness=1s");
        await_near(self.cache, "key", "1");
        atomic_store(&server.value, 2);
        const char *bytes = garbage[i / 2];
        kw_fake_push_to(server.fake, atomic_load(i % 2 == 0 ? &server.hearing : &server.reading),
                        bytes, strlen(bytes));
        await_value(self.cache, "key", "2");
        KW_TEST_UNTIL(tracked_n() >= 2)
        {
            assert_is(self.cache, "key", "2");
            kw_test_sleep_ms(2);
        }
        await_near(self.cache, "key", "2");
        end(&self);
    }
}

/* Until there is another pair, while nothing is near and calls are answered. */
static void await_another_pair(const pair_stage *self, size_t pairs_n)
{
    KW_TEST_UNTIL(tracked_n() > pairs_n)
    {
        char text[100];
        (void)near_get(self->cache, text, "key");
        kw_test_sleep_ms(2);
    }
}

/* The beginning of a reply swallows those that follow, and is the first answer itself: all later
 * ones belong to other questions. No answer is given that came behind it. */
static void test_half_a_reply_that_nobody_asked_for_ends_the_pair(void **state)
{
    (void)state;
    enum { ROUNDS = 5 };
    pair_stage self = begin("stall-timeout=50ms", AN_HOUR);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[100];
        await_near(self.cache, "key", "1");
        kw_fake_push_to(server.fake, atomic_load(&server.reading), "*3\r\n*3\r\n", 8);
        tell(MESSAGE "*1\r\n$3\r\nkey\r\n");
        kw_test_sleep_ms(3); /* it has rested for so long that it is looked at */
        (void)near_get(self.cache, text, "other");
        await_another_pair(&self, i + 1);
    }
    await_near(self.cache, "key", "1");
    end(&self);
}

/* Nothing is near, so that nobody wants a proof: reads alone meet the silence. */
static void test_reads_without_an_answer_ask_for_a_proof(void **state)
{
    (void)state;
    pair_stage self = begin("stall-timeout=50ms", AN_HOUR);
    await_near(self.cache, "key", "1");
    for (unsigned i = 0; i < 100; i++) { /* no proof is wanted any more */
        assert_is(self.cache, "key", "1");
        kw_test_sleep_ms(1);
    }
    atomic_store(&server.faults, MUTE_READS);
    tell(MESSAGE "*1\r\n$3\r\nkey\r\n");
    await_another_pair(&self, 1);
    atomic_store(&server.faults, 0);
    await_near(self.cache, "key", "1");
    end(&self);
}

/* An answer of another kind than its question has is another one's. It is not given. */
static void test_answers_to_other_questions_end_the_pair(void **state)
{
    (void)state;
    static const unsigned faults[] = {STRANGE_PONG, STRANGE_LIFE};
    for (size_t i = 0; i < 2; i++) {
        pair_stage self = begin(STALL, "near-bytes=1mb&near-staleness=200ms");
        await_near(self.cache, "key", "1");
        atomic_store(&server.faults_once, faults[i]);
        tell(MESSAGE "*-1\r\n");
        await_another_pair(&self, 1);
        assert_int_equal(atomic_load(&server.faults_once), 0);
        await_near(self.cache, "key", "1");
        end(&self);
    }
}

/* Messages without end, and large ones, keep no call from its answer. */
static void test_many_messages_hold_no_call_up(void **state)
{
    (void)state;
    pair_stage self = begin("stall-timeout=10s", AN_HOUR);
    await_near(self.cache, "key", "1");
    const size_t len = 1 << 20;
    const char one[] = MESSAGE "*1\r\n$5\r\nother\r\n";
    char *many = malloc(len);
    size_t n = len / (sizeof(one) - 1);
    for (size_t i = 0; i < n; i++) {
        memcpy(many + i * (sizeof(one) - 1), one, sizeof(one) - 1);
    }
    for (int i = 0; i < 4; i++) {
        kw_fake_push_to(server.fake, atomic_load(&server.hearing), many, n * (sizeof(one) - 1));
        assert_is(self.cache, "key", "1");
        assert_is(self.cache, "far", "1");
    }
    KW_TEST_UNTIL(figures_of(self.cache).invalidations == 4 * n)
    {
        assert_is(self.cache, "key", "1");
        kw_test_sleep_ms(1);
    }
    assert_int_equal(tracked_n(), 1);
    free(many);
    end(&self);
}

/* The server does not track for this user: it is asked once a minute, and the host told once. */
static void test_a_refusal_turns_near_off_and_nothing_else(void **state)
{
    (void)state;
    static const unsigned faults[] = {NO_ID, NO_TRACKING, NO_TARGET};
    KW_TEST_SHARE_OUT(i, 3)
    {
        pair_stage self = begin(STALL, AN_HOUR);
        atomic_store(&server.faults, faults[i]);
        KW_TEST_UNTIL(atomic_load(&told.off_n) > 0)
        {
            assert_is(self.cache, "key", "1");
            kw_test_sleep_ms(2);
        }
        size_t asked_n = tracked_n() + kw_fake_count(server.fake, "CLIENT ID");
        for (int k = 0; k < 200; k++) {
            char text[100];
            assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_SERVER);
            kw_test_sleep_ms(5);
        }
        assert_int_equal(tracked_n() + kw_fake_count(server.fake, "CLIENT ID"), asked_n);
        assert_int_equal(atomic_load(&told.off_n), 1);
        assert_int_equal(atomic_load(&told.on_n), 0);
        assert_int_equal(figures_of(self.cache).near_servers, 0);
        end(&self);
    }
}

/* The connection for messages went between its number and its use, or any of the two while it was
 * opened: the next pair is there soon, not in a minute. */
static void test_a_pair_that_fails_while_it_is_opened_is_opened_anew(void **state)
{
    (void)state;
    static const unsigned faults[] = {NO_TARGET, CLOSES_AT_ID, CLOSES_AT_LISTEN,
                                      CLOSES_AT_TRACKING};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        pair_stage self = begin(STALL, AN_HOUR);
        atomic_store(&server.faults_once, faults[i]);
        uint64_t start_ms = kw_test_now_ms();
        await_near(self.cache, "key", "1");
        assert_true(kw_test_now_ms() - start_ms < 30000);
        assert_int_equal(atomic_load(&server.faults_once), 0);
        assert_int_equal(atomic_load(&told.off_n), 0);
        end(&self);
    }
}

/* No server may have so many connections for us. */
static void test_connections_that_are_refused_are_tried_again(void **state)
{
    (void)state;
    pair_stage self = begin(STALL, AN_HOUR);
    char text[100];
    assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_SERVER);
    unsigned accepted = kw_fake_accepted(server.fake);
    kw_fake_on_accept(
        server.fake, 2,
        KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE));
    KW_TEST_UNTIL(kw_fake_accepted(server.fake) >= accepted + 3)
    {
        assert_is(self.cache, "key", "1");
        kw_test_sleep_ms(2);
    }
    await_near(self.cache, "key", "1");
    end(&self);
}

/* Hits alone go on with the handle's common work: the map is fetched, and the host is told. */
static void test_hits_alone_keep_the_map_fresh_and_tell_events(void **state)
{
    (void)state;
    renew_fakes();
    own_all(fakes[0]);
    pair_stage self = open_pair("redis-cluster", "refresh-interval=1s", AN_HOUR);
    await_near(self.cache, "key", "1");
    size_t maps_n = maps_asked();
    KW_TEST_UNTIL(maps_asked() > maps_n && atomic_load(&told.on_n) > 0)
    {
        char text[100];
        assert_int_equal(near_get(self.cache, text, "key"), KW_CACHE_FROM_NEAR);
        kw_test_sleep_ms(5);
    }
    end(&self);
}

/* Whether there is anything left of the node. */
static bool is_there(kw_client *client, const char *name)
{
    kw_env *env = &client->topology->env;
    bool is_found = false;
    kw_monitor_lock(&env->nodes_monitor);
    for (const kw_node *node = env->nodes; node != NULL; node = node->after) {
        is_found = is_found || strcmp(node->name, name) == 0;
    }
    kw_monitor_unlock(&env->nodes_monitor);
    return is_found;
}

/* Nodes are replaced one by one, for months: pairs of those that left make room for others. */
static void test_a_node_that_left_the_map_leaves_no_pair_behind(void **state)
{
    (void)state;
    renew_fakes();
    own_all(fakes[1]);
    pair_stage self = open_pair("redis-cluster", "refresh-interval=1s", AN_HOUR);
    kw_fake_respond(fakes[1], respond, NULL);
    for (int i = 0; i < 3; i++) {
        own_all(fakes[1]);
        KW_TEST_UNTIL(is_there(self.client, kw_fake_address(fakes[1])))
        {
            assert_is(self.cache, "key", "1");
            kw_test_sleep_ms(2);
        }
        await_near(self.cache, "key", "1");
        own_all(fakes[0]);
        KW_TEST_UNTIL(!is_there(self.client, kw_fake_address(fakes[1])))
        {
            assert_is(self.cache, "key", "1");
            kw_test_sleep_ms(2);
        }
        await_near(self.cache, "key", "1");
    }
    end(&self);
}

static bool has_resp3(void)
{
    kw_config *config = kw_config_new(NULL);
    bool has_it = kw_config_set(config, NULL, "protocol", "3") == KW_OK;
    kw_config_free(config);
    return has_it;
}

/* RESP3 alone says that the other connection is gone: nothing has to be lost, or late. */
static void test_a_broken_redirection_ends_the_pair(void **state)
{
    (void)state;
    if (!has_resp3()) {
        skip();
    }
    static const char broken[] = ">2\r\n$21\r\ntracking-redir-broken\r\n:7\r\n";
    pair_stage self = begin(STALL "&protocol=3", AN_HOUR);
    await_near(self.cache, "key", "1");
    atomic_store(&server.value, 2);
    kw_fake_push_to(server.fake, atomic_load(&server.reading), broken, sizeof(broken) - 1);
    await_value(self.cache, "key", "2");
    await_near(self.cache, "key", "2");
    assert_true(tracked_n() >= 2);
    end(&self);
}

/* A caller that is in the cache until its handle is closed. */
typedef struct reader {
    kw_cache *cache;
    kw_err code;
    atomic_bool has_ended;
} reader;

static void *read_until_closed(void *arg)
{
    reader *self = arg;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    self->code = kw_cache_get(self->cache, NULL, &value, kw_cache_text("other"));
    kw_cache_release(&value);
    atomic_store(&self->has_ended, true);
    return NULL;
}

static void *close_handle(void *arg)
{
    kw_close(arg);
    return NULL;
}

/* While another handle shares what it knows: nothing else tells that its waits are over. */
static void test_readers_end_at_once_where_their_shared_handle_is_closed(void **state)
{
    (void)state;
    uint64_t best_ms = UINT64_MAX;
    for (int k = 0; k < 5 && best_ms > CLOSE_MS; k++) {
        pair_stage self = begin("stall-timeout=4s", AN_HOUR);
        kw_client *other = kw_open_shared(self.client, NULL);
        await_near(self.cache, "key", "1");
        atomic_store(&server.faults, MUTE_READS);
        reader readers[2] = {{.cache = self.cache}, {.cache = self.cache}};
        pthread_t threads[3];
        kw_client_count_in(self.client); /* until the cache is closed */
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, read_until_closed, &readers[i]), 0);
        }
        kw_test_await_calls(self.client, 3);
        assert_true(kw_fake_wait(server.fake, "PTTL other", 2, 5000));
        uint64_t start_ms = kw_test_now_ms();
        assert_int_equal(pthread_create(&threads[2], NULL, close_handle, self.client), 0);
        KW_TEST_AWAIT(atomic_load(&readers[0].has_ended) && atomic_load(&readers[1].has_ended))
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
        assert_int_equal(readers[0].code, KW_ERR_CANCELLED);
        assert_int_equal(readers[1].code, KW_ERR_CANCELLED);
        kw_cache_close(self.cache);
        kw_client_leave(self.client);
        for (size_t i = 0; i < 3; i++) {
            kw_test_join(threads[i]);
        }
        kw_close(other);
    }
    assert_in_range(best_ms, 0, CLOSE_MS);
}

static int run(size_t part)
{
    const struct CMUnitTest of_all_parts[] = {
        cmocka_unit_test(test_bytes_that_nobody_asked_for_end_the_pair),
        cmocka_unit_test(test_a_refusal_turns_near_off_and_nothing_else),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_a_key_is_read_before_its_life_and_tracked_in_one_way),
        cmocka_unit_test(test_a_lost_connection_ends_what_came_by_it),
        cmocka_unit_test(test_a_silent_connection_proves_nothing),
        cmocka_unit_test(test_a_silent_read_has_one_deadline_for_all_its_ways),
        cmocka_unit_test(test_a_silent_read_in_the_loop_has_one_deadline_for_all_its_ways),
        cmocka_unit_test(test_rare_calls_open_a_pair),
        cmocka_unit_test(test_answers_that_are_late_turn_near_off),
        cmocka_unit_test(test_a_message_before_the_answer_takes_its_place),
        cmocka_unit_test(test_messages_end_the_values_that_they_name),
        cmocka_unit_test(test_half_a_reply_that_nobody_asked_for_ends_the_pair),
        cmocka_unit_test(test_reads_without_an_answer_ask_for_a_proof),
        cmocka_unit_test(test_answers_to_other_questions_end_the_pair),
        cmocka_unit_test(test_many_messages_hold_no_call_up),
        cmocka_unit_test(test_a_pair_that_fails_while_it_is_opened_is_opened_anew),
        cmocka_unit_test(test_connections_that_are_refused_are_tried_again),
        cmocka_unit_test(test_hits_alone_keep_the_map_fresh_and_tell_events),
        cmocka_unit_test(test_a_node_that_left_the_map_leaves_no_pair_behind),
        cmocka_unit_test(test_a_broken_redirection_ends_the_pair),
        cmocka_unit_test(test_readers_end_at_once_where_their_shared_handle_is_closed),
    };
    (void)part;
    return cmocka_run_group_tests(of_all_parts, start_fakes, stop_fakes) +
           KW_TEST_RUN_SHARE(others, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 5, run);
}
