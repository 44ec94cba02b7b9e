/* SPDX-License-Identifier: BSD-3-Clause */
/* A login that changes while the handle is used: AUTH goes in front of a connection's next command,
 * where nothing may come in between it waits, and a server that refuses it costs nobody a call. */
#include "fake/fakes.h"
#include "support/ways.h"

#include <stdatomic.h>

#define CONNECTIONS_MAX 64

/* A server's passwords, and who is logged in. Used by its fake's thread; the test writes words
 * between commands. */
typedef struct vault {
    const char *words[2]; /* passwords that are taken; NULL: none */
    bool is_in[CONNECTIONS_MAX];
} vault;

static vault vaults[FAKES_N];

static bool is_taken(const vault *self, const char *word)
{
    return (self->words[0] != NULL && strcmp(word, self->words[0]) == 0) ||
           (self->words[1] != NULL && strcmp(word, self->words[1]) == 0);
}

/* False: the fake answers as a healthy server does. */
static bool guard(void *arg, kw_fake_call *call)
{
    vault *self = arg;
    size_t argc = kw_fake_call_argc(call);
    const char *name = kw_fake_call_arg(call, 0, NULL);
    bool *is_in = &self->is_in[kw_fake_call_connection(call) % CONNECTIONS_MAX];
    bool is_hello = strcmp(name, "HELLO") == 0;
    if (strcmp(name, "AUTH") == 0 || (is_hello && argc > 4)) {
        const char *word = kw_fake_call_arg(call, is_hello ? 4 : argc - 1, NULL);
        bool is_good = is_taken(self, word);
        *is_in = *is_in || is_good;
        if (!is_good) {
            kw_fake_call_replyf(call, "-WRONGPASS invalid username-password pair\r\n");
        }
        return !is_good;
    }
    if (!*is_in) {
        kw_fake_call_replyf(call, "-NOAUTH Authentication required.\r\n");
        return true;
    }
    bool is_get = strcmp(name, "GET") == 0;
    if (is_get || strcmp(name, "INCR") == 0) {
        kw_fake_call_replyf(call, is_get ? "$1\r\nv\r\n" : ":1\r\n");
    }
    return is_get || strcmp(name, "INCR") == 0;
}

/* Each fake takes that password alone. */
static void lock_all(const char *word)
{
    memset(vaults, 0, sizeof(vaults));
    for (size_t i = 0; i < FAKES_N; i++) {
        vaults[i].words[0] = word;
        kw_fake_respond(fakes[i], guard, &vaults[i]);
    }
}

static void expect_answer(kw_client *kw, kw_test_way way, const char *key)
{
    kw_test_end end = kw_test_send(kw, way, "GET", key);
    if (!end.is_answered) {
        fail_msg("%s: %s", kw_test_way_name(way), end.error.text);
    }
}

/* The commands behind each other in the log that match first and then second, on one connection. */
static bool is_followed(kw_fake *fake, const char *first, const char *second)
{
    kw_fake_entry before = {.connection = 0};
    kw_fake_entry entry;
    for (size_t i = 0; kw_fake_log_at(fake, i, &entry); i++) {
        if (before.connection == entry.connection && strcmp(before.text, first) == 0 &&
            strcmp(entry.text, second) == 0) {
            return true;
        }
        before = entry;
    }
    return false;
}

static void test_login_changed_is_sent_before_the_next_command(void **state)
{
    (void)state;
    for (int share = 0; share < 2; share++) {
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            renew_servers();
            lock_all("one");
            vaults[0].words[1] = "two";
            kw_client *kw = kw_test_open("redis://:one@%s?timeout=5s&share-above=%d",
                                         kw_fake_address(fakes[0]), share == 0 ? 3 : 0);
            expect_answer(kw, (kw_test_way)way, "a");
            unsigned accepted_n = kw_fake_accepted(fakes[0]);
            kw_fake_log_clear(fakes[0]);
            assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
            expect_answer(kw, (kw_test_way)way, "a");
            expect_answer(kw, (kw_test_way)way, "a");
            if (kw_fake_count(fakes[0], "AUTH two") != 1 ||
                !is_followed(fakes[0], "AUTH two", "GET a") ||
                kw_fake_accepted(fakes[0]) != accepted_n) {
                fail_msg("%s, share %d: %zu AUTH, %u connections",
                         kw_test_way_name((kw_test_way)way), share,
                         kw_fake_count(fakes[0], "AUTH two"), kw_fake_accepted(fakes[0]));
            }
            assert_int_equal(kw_client_set_login(kw, NULL, "me", "one"), KW_OK);
            expect_answer(kw, (kw_test_way)way, "a");
            assert_int_equal(kw_fake_count(fakes[0], "AUTH me one"), 1);
            kw_fake_disconnect(fakes[0], false);
            kw_fake_await_open(fakes[0], 0);
            expect_answer(kw, (kw_test_way)way, "a");
            assert_int_equal(kw_fake_count(fakes[0], "HELLO 2 AUTH me one"), 1);
            kw_close(kw);
        }
    }
    renew_servers();
}

static void say(kw_session *session, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    if (reply == NULL) {
        fail_msg("%s: %s", command, error.text);
    }
    kw_reply_free(reply);
}

/* The commands that the fake got, behind the greeting, joined by commas. */
static void take_log(kw_fake *fake, char *text, size_t text_len)
{
    kw_fake_entry entry;
    text[0] = '\0';
    for (size_t i = 0; kw_fake_log_at(fake, i, &entry); i++) {
        size_t len = strlen(text);
        snprintf(text + len, text_len - len, "%s%s", len > 0 ? "," : "", entry.text);
    }
}

static void test_login_changed_does_not_come_between(void **state)
{
    (void)state;
    static const struct {
        const char *commands[5]; /* the login changes behind the first one */
        const char *log;
    } rows[] = {
        {{"MULTI", "INCR a", "EXEC", "INCR b"}, "MULTI,INCR a,EXEC,AUTH two,INCR b"},
        {{"MULTI", "INCR a", "DISCARD", "INCR b"}, "MULTI,INCR a,DISCARD,AUTH two,INCR b"},
        {{"ASKING", "INCR a", "INCR b"}, "ASKING,INCR a,AUTH two,INCR b"},
        {{"CLIENT CACHING YES", "INCR a", "INCR b"}, "CLIENT CACHING YES,INCR a,AUTH two,INCR b"},
        {{"WATCH a", "MULTI", "EXEC", "INCR b"}, "WATCH a,AUTH two,MULTI,EXEC,INCR b"},
        {{"INCR a", "INCR b"}, "INCR a,AUTH two,INCR b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char log[400];
        renew_servers();
        lock_all("one");
        vaults[0].words[1] = "two";
        answer(fakes[0], "MULTI", "+OK");
        answer(fakes[0], "WATCH *", "+OK");
        answer(fakes[0], "DISCARD", "+OK");
        answer(fakes[0], "EXEC", "*0");
        kw_client *kw = kw_test_open("redis://:one@%s?timeout=5s", kw_fake_address(fakes[0]));
        kw_session *session = kw_session_open(kw, NULL, "a", 1);
        kw_fake_log_clear(fakes[0]);
        say(session, rows[i].commands[0]);
        assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
        for (size_t k = 1; rows[i].commands[k] != NULL; k++) {
            say(session, rows[i].commands[k]);
        }
        take_log(fakes[0], log, sizeof(log));
        assert_string_equal(log, rows[i].log);
        kw_session_close(session);
        expect_answer(kw, KW_TEST_CALL, "c"); /* the pool's connection has lost no right to AUTH */
        kw_close(kw);
    }
    renew_servers();
}

static void count_refusals(void *arg, const kw_event *event)
{
    if (event->kind == KW_EVENT_LOGIN_REFUSED) {
        assert_string_equal(event->node, kw_fake_address(fakes[0]));
        (*(unsigned *)arg)++;
    }
}

static kw_client *open_counting(const char *uri, unsigned *refusals_n)
{
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_config_set_event(config, count_refusals, refusals_n);
    kw_client *kw = kw_open_config(config, &error);
    kw_config_free(config);
    if (kw == NULL) {
        fail_msg("%s", error.text);
    }
    return kw;
}

/* A server that does not know the new one yet: calls go on, it is tried again a second later, new
 * connections get in by the login before; and once it knows the new one, that is all it gets. */
static void test_login_refused_keeps_the_one_before(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        unsigned refusals_n = 0;
        char uri[120];
        renew_servers();
        lock_all("one");
        snprintf(uri, sizeof(uri), "redis://:one@%s?timeout=5s", kw_fake_address(fakes[0]));
        kw_client *kw = open_counting(uri, &refusals_n);
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        expect_answer(kw, (kw_test_way)way, "a");
        assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
        uint64_t start_ms = kw_test_now_ms();
        for (int i = 0; i < 20; i++) {
            expect_answer(kw, (kw_test_way)way, "a");
        }
        assert_in_range(kw_fake_count(fakes[0], "AUTH two"), 1,
                        1 + (kw_test_now_ms() - start_ms) / 1000);
        assert_int_equal(refusals_n, 1);
        assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 1);
        kw_fake_disconnect(fakes[0], false);
        kw_fake_await_open(fakes[0], 0);
        expect_answer(kw, (kw_test_way)way, "a");
        assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 2);
        assert_in_range(kw_fake_count(fakes[0], "HELLO 2 AUTH default one"), 2, 2);
        vaults[0].words[0] = "two";
        kw_test_wait wait = kw_test_wait_begin(__FILE__, __LINE__);
        size_t before_n = kw_fake_count(fakes[0], "AUTH two");
        while (kw_fake_count(fakes[0], "AUTH two") == before_n) {
            expect_answer(kw, (kw_test_way)way, "a");
            kw_test_wait_more(&wait, "the new login is tried again");
        }
        for (int i = 0; i < 5; i++) {
            expect_answer(kw, (kw_test_way)way, "a");
        }
        assert_int_equal(kw_fake_count(fakes[0], "AUTH two"), before_n + 1);
        assert_int_equal(refusals_n, 1);
        kw_close(kw);
    }
    renew_servers();
}

/* One node knows only the new password, the other only the old one; every connection is new. */
static void test_login_of_a_cluster_in_the_middle_of_a_change(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        renew_fakes();
        lock_all("one");
        kw_client *kw = kw_test_open("redis-cluster://:one@%s?timeout=5s&resolver=system",
                                     kw_fake_address(fakes[0]));
        expect_answer(kw, (kw_test_way)way, "foo");
        assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
        vaults[1].words[0] = "two";
        for (int round = 0; round < 3; round++) {
            expect_answer(kw, (kw_test_way)way, "foo");
            expect_answer(kw, (kw_test_way)way, "bar");
            for (size_t i = 0; i < FAKES_N; i++) {
                kw_fake_disconnect(fakes[i], false);
                kw_fake_await_open(fakes[i], 0);
            }
        }
        /* The first answer that refuses is remembered: later greetings are right at once. */
        assert_in_range(kw_fake_count(fakes[0], "HELLO 2 AUTH default two"), 0, 3);
        vaults[0].words[0] = "two";
        expect_answer(kw, (kw_test_way)way, "foo");
        kw_close(kw);
    }
    renew_fakes();
}

static void test_login_refused_by_both_is_an_error(void **state)
{
    (void)state;
    renew_servers();
    lock_all("three");
    kw_error error = KW_ERROR_INIT;
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    kw_client *kw = kw_test_open("redis://:one@%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
    assert_null(kw_command(kw, &error, "INCR a"));
    expect_error("both refused", &error, KW_ERR_AUTH, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(fakes[0], "HELLO *"), 3);
    assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 1);
    /* A refusal of before does not keep the right one waiting. */
    assert_int_equal(kw_client_set_login(kw, &error, NULL, "three"), KW_OK);
    expect_answer(kw, KW_TEST_CALL, "a");
    assert_int_equal(kw_client_set_login(NULL, &error, NULL, "x"), KW_ERR_ARGUMENT);
    assert_int_equal(kw_client_set_login(kw, &error, "me", NULL), KW_ERR_ARGUMENT);
    kw_close(kw);
    renew_servers();
}

/* The host's tokens: number n is "t<n>". */
typedef struct tokens {
    unsigned n;
    unsigned asked_n;
    uint64_t renew_ms;
    bool is_out; /* it has none to give */
} tokens;

static kw_err give_token(void *arg, kw_login *login)
{
    tokens *self = arg;
    char text[20];
    self->asked_n++;
    snprintf(text, sizeof(text), "t%u", self->n);
    return self->is_out ? KW_ERR_CONNECT : kw_login_give(login, NULL, "me", text, self->renew_ms);
}

static void test_login_is_asked_at_each_greeting(void **state)
{
    (void)state;
    tokens given = {.n = 1};
    char uri[120];
    renew_servers();
    lock_all("t1");
    vaults[0].words[1] = "t2";
    kw_config *config = kw_test_config_new(NULL);
    snprintf(uri, sizeof(uri), "redis://%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_config_set_login(config, give_token, &given);
    kw_client *kw = kw_open_config(config, NULL);
    expect_answer(kw, KW_TEST_CALL, "a");
    assert_int_equal(given.asked_n, 1);
    assert_int_equal(kw_fake_count(fakes[0], "HELLO 2 AUTH me t1"), 1);
    kw_session *session = kw_session_open(kw, NULL, "a", 1); /* the pool's connection */
    given.n = 2;
    expect_answer(kw, KW_TEST_CALL, "a"); /* another one */
    assert_int_equal(given.asked_n, 2);
    assert_int_equal(kw_fake_count(fakes[0], "HELLO 2 AUTH me t2"), 1);
    say(session, "INCR a"); /* what the greeting brought is for all */
    assert_int_equal(kw_fake_count(fakes[0], "AUTH me t2"), 1);
    kw_session_close(session);
    given.is_out = true;
    kw_fake_disconnect(fakes[0], false);
    kw_fake_await_open(fakes[0], 0);
    expect_answer(kw, KW_TEST_CALL, "a");
    assert_int_equal(kw_fake_count(fakes[0], "HELLO 2 AUTH me t2"), 2);
    kw_close(kw);
    /* A token that ends: the next one is there in time, with no greeting. */
    given = (tokens){.n = 1, .renew_ms = 50};
    vaults[0].words[1] = NULL;
    kw = kw_open_config(config, NULL);
    kw_config_free(config);
    expect_answer(kw, KW_TEST_CALL, "a");
    vaults[0].words[0] = "t2";
    given.n = 2;
    kw_fake_log_clear(fakes[0]);
    kw_test_wait wait = kw_test_wait_begin(__FILE__, __LINE__);
    while (kw_fake_count(fakes[0], "AUTH me t2") == 0) {
        expect_answer(kw, KW_TEST_CALL, "a");
        kw_test_wait_more(&wait, "the next token");
    }
    assert_int_equal(kw_fake_count(fakes[0], "HELLO *"), 0);
    kw_close(kw);
    assert_int_equal(kw_login_give(NULL, NULL, "a", "b", 0), KW_ERR_ARGUMENT);
    renew_servers();
}

/* An allocator whose blocks are looked through when they are freed. */
typedef struct searcher {
    kw_allocator allocator;
    atomic_uint found_n;
} searcher;

static bool holds(const char *data, size_t len)
{
    static const char word[] = "sesame";
    for (size_t i = 0; i + sizeof(word) - 1 <= len; i++) {
        if (memcmp(data + i, word, sizeof(word) - 1) == 0) {
            return true;
        }
    }
    return false;
}

static void *search_malloc(void *arg, size_t size)
{
    (void)arg;
    size_t *block = calloc(1, size + 16);
    if (block == NULL) {
        return NULL;
    }
    block[0] = size;
    return (char *)block + 16;
}

static void search_free(void *arg, void *data)
{
    searcher *self = arg;
    if (data != NULL) {
        char *block = (char *)data - 16;
        size_t size = *(size_t *)(void *)block;
        atomic_fetch_add(&self->found_n, holds(data, size) ? 1u : 0u);
        free(block);
    }
}

static void *search_realloc(void *arg, void *data, size_t size)
{
    void *fresh = search_malloc(arg, size);
    if (fresh != NULL && data != NULL) {
        size_t old = *(size_t *)(void *)((char *)data - 16);
        memcpy(fresh, data, old < size ? old : size);
        search_free(arg, data);
    }
    return fresh;
}

static void test_login_replaced_is_written_over(void **state)
{
    (void)state;
    searcher self = {.allocator = {.arg = &self,
                                   .malloc_fn = search_malloc,
                                   .realloc_fn = search_realloc,
                                   .free_fn = search_free}};
    char uri[120];
    renew_servers();
    lock_all("sesame1");
    vaults[0].words[1] = "sesame2";
    kw_config *config = kw_test_config_new(&self.allocator);
    snprintf(uri, sizeof(uri), "redis://:sesame1@%s?timeout=5s&login-overlap=0ms",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, (kw_test_way)way, "a");
    }
    assert_int_equal(kw_client_set_login(kw, NULL, NULL, "sesame2"), KW_OK);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, (kw_test_way)way, "a");
    }
    assert_int_equal(kw_client_set_login(kw, NULL, "me", "sesame1"), KW_OK);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, (kw_test_way)way, "a");
    }
    kw_close(kw);
    assert_int_equal(self.found_n, 0);
    renew_servers();
}

/* A handle that has rested for all of login-overlap does not begin with the login that is over. */
static void test_login_before_is_not_tried_after_its_overlap(void **state)
{
    (void)state;
    char uri[120];
    renew_servers();
    lock_all("sesame1");
    snprintf(uri, sizeof(uri), "redis://:sesame1@%s?timeout=5s&login-overlap=0ms",
             kw_fake_address(fakes[0]));
    kw_client *kw = kw_open(uri, NULL);
    assert_int_equal(kw_client_set_login(kw, NULL, NULL, "sesame2"), KW_OK);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "GET a"));
    expect_error("GET a", &error, KW_ERR_AUTH, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(fakes[0], "GET a"), 0);
    kw_close(kw);
    renew_servers();
}

/* One caller of a lane. */
typedef struct lane_caller {
    pthread_t thread;
    kw_client *kw;
    const char *command;
    bool is_answered;
} lane_caller;

static void *call_on_lane(void *arg)
{
    lane_caller *self = arg;
    kw_reply *reply = kw_command(self->kw, NULL, self->command);
    self->is_answered = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    return NULL;
}

static void begin_call(lane_caller *self, kw_client *kw, const char *command)
{
    *self = (lane_caller){.kw = kw, .command = command};
    assert_int_equal(pthread_create(&self->thread, NULL, call_on_lane, self), 0);
}

/* Something is always on its way: what comes behind the change waits for it, and follows AUTH. */
static void test_login_changed_comes_to_a_lane_that_is_never_idle(void **state)
{
    (void)state;
    renew_servers();
    lock_all("one");
    vaults[0].words[1] = "two";
    kw_fake_on(fakes[0], 1, "GET held", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("$1\r\nv\r\n")));
    kw_client *kw =
        kw_test_open("redis://:one@%s?timeout=20s&share-above=0", kw_fake_address(fakes[0]));
    expect_answer(kw, KW_TEST_CALL, "a");
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    lane_caller callers[3];
    begin_call(&callers[0], kw, "GET held");
    assert_true(kw_fake_wait(fakes[0], "GET held", 1, 5000));
    assert_int_equal(kw_client_set_login(kw, NULL, NULL, "two"), KW_OK);
    begin_call(&callers[1], kw, "GET b");
    begin_call(&callers[2], kw, "GET b");
    kw_test_await_calls(kw, 3);
    kw_test_sleep_ms(20);
    kw_fake_pass(fakes[0]);
    for (size_t i = 0; i < 3; i++) {
        kw_test_join(callers[i].thread);
        assert_true(callers[i].is_answered);
    }
    assert_int_equal(kw_fake_count(fakes[0], "AUTH two"), 1);
    assert_true(is_followed(fakes[0], "GET held", "AUTH two"));
    assert_true(is_followed(fakes[0], "AUTH two", "GET b"));
    assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n);
    kw_close(kw);
    renew_servers();
}

/* A command by a ticket; true where it was answered. */
static bool gets_by_ticket(kw_client *kw, kw_error *error)
{
    kw_ticket *ticket = kw_submit(kw, error, "GET foo");
    assert_non_null(ticket);
    kw_reply *reply = kw_ticket_await(ticket, error);
    bool is_good = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    kw_ticket_free(ticket);
    return is_good;
}

/* A server that was away comes back with another password, and has the old one again later: tickets
 * that come more often than it is dialled leave the dials their time. */
static void test_login_refused_is_tried_again_however_often_it_is_asked_for(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    renew_fakes();
    lock_all("old");
    kw_client *kw =
        kw_test_open("redis://:old@%s?timeout=5s&on-node-down=fail", kw_fake_address(fakes[0]));
    KW_TEST_UNTIL(gets_by_ticket(kw, &error))
    {
    }
    kw_fake_down(fakes[0]);
    kw_ticket *ticket = kw_submit(kw, &error, "GET foo");
    assert_non_null(ticket);
    (void)kw_ticket_wait(ticket, 300); /* connects are refused */
    vaults[0].words[0] = "new";
    kw_fake_up(fakes[0]);
    kw_reply_free(kw_ticket_await(ticket, &error));
    kw_ticket_free(ticket);
    uint64_t end_ms = kw_test_now_ms() + 2500;
    while (kw_test_now_ms() < end_ms) {
        assert_false(gets_by_ticket(kw, &error));
        assert_int_equal(error.code, KW_ERR_AUTH);
        kw_test_sleep_ms(5);
    }
    vaults[0].words[0] = "old";
    KW_TEST_UNTIL(gets_by_ticket(kw, &error))
    {
        kw_test_sleep_ms(5);
    }
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_changed_is_sent_before_the_next_command),
        cmocka_unit_test(test_login_changed_does_not_come_between),
        cmocka_unit_test(test_login_refused_keeps_the_one_before),
        cmocka_unit_test(test_login_of_a_cluster_in_the_middle_of_a_change),
        cmocka_unit_test(test_login_refused_by_both_is_an_error),
        cmocka_unit_test(test_login_is_asked_at_each_greeting),
        cmocka_unit_test(test_login_replaced_is_written_over),
        cmocka_unit_test(test_login_before_is_not_tried_after_its_overlap),
        cmocka_unit_test(test_login_changed_comes_to_a_lane_that_is_never_idle),
        cmocka_unit_test(test_login_refused_is_tried_again_however_often_it_is_asked_for),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
