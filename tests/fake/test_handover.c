/* SPDX-License-Identifier: BSD-3-Clause */
/* A primary outside of a cluster is handed over (Valkey 8, FAILOVER): who said CLIENT CAPA redirect
 * is told REDIRECT instead of READONLY, and the command is run by the new primary, once. */
#include "fake/fakes.h"
#include "support/ways.h"

#include <poll.h>
#include <stdatomic.h>

#define CONNECTIONS_MAX 256

/* A server as the documentation of CLIENT CAPA and READONLY says. */
typedef struct server {
    _Atomic(kw_fake *) primary; /* NULL: it is one itself */
    atomic_uint turns_n;        /* commands after which it becomes a primary; 0: never */
    bool knows_no_capa;         /* before Valkey 8 */
    bool is_capable[CONNECTIONS_MAX];
    bool is_readonly[CONNECTIONS_MAX];
} server;

static server servers[FAKES_N];

static void note(server *self, const kw_fake_call *call, const char *name)
{
    unsigned at = kw_fake_call_connection(call) % CONNECTIONS_MAX;
    if (strcmp(name, "HELLO") == 0) {
        self->is_capable[at] = false;
        self->is_readonly[at] = false;
    } else if (strcmp(name, "READONLY") == 0) {
        self->is_readonly[at] = true;
    } else if (strcmp(kw_fake_call_arg(call, 1, NULL), "CAPA") == 0) {
        self->is_capable[at] = !self->knows_no_capa;
    }
}

static bool serve(void *arg, kw_fake_call *call)
{
    server *self = arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    bool is_read = strcmp(name, "GET") == 0;
    unsigned at = kw_fake_call_connection(call) % CONNECTIONS_MAX;
    kw_fake *primary = atomic_load(&self->primary);
    if (!is_read && strcmp(name, "INCR") != 0) {
        bool is_client = strcmp(name, "CLIENT") == 0;
        if (is_client || strcmp(name, "HELLO") == 0 || strcmp(name, "READONLY") == 0) {
            note(self, call, name);
        }
        bool is_refused = is_client && self->knows_no_capa &&
                          strcmp(kw_fake_call_arg(call, 1, NULL), "CAPA") == 0;
        if (is_refused) {
            kw_fake_call_replyf(call, "-ERR unknown subcommand 'CAPA'. Try CLIENT HELP.\r\n");
        }
        return is_refused;
    }
    if (primary != NULL && self->is_capable[at] && (!is_read || !self->is_readonly[at])) {
        kw_fake_call_replyf(call, "-REDIRECT %s\r\n", kw_fake_address(primary));
    } else if (primary != NULL && !is_read) {
        kw_fake_call_replyf(call, "-READONLY You can't write against a read only replica.\r\n");
    } else {
        kw_fake_call_replyf(call, is_read ? "$1\r\nv\r\n" : ":1\r\n");
    }
    unsigned turns_n = atomic_load(&self->turns_n);
    if (turns_n > 0) {
        atomic_store(&self->turns_n, turns_n - 1);
        if (turns_n == 1) {
            atomic_store(&self->primary, NULL);
        }
    }
    return true;
}

static void start_servers(void)
{
    renew_servers();
    memset(servers, 0, sizeof(servers));
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], serve, &servers[i]);
    }
}

/* From now on the first is a replica of the second. */
static void hand_over(size_t from, size_t to)
{
    atomic_store(&servers[to].primary, NULL);
    atomic_store(&servers[from].primary, fakes[to]);
}

static void expect_answer(kw_client *kw, kw_test_way way, const char *verb, const char *key)
{
    kw_test_end end = kw_test_send(kw, way, verb, key);
    if (!end.is_answered) {
        fail_msg("%s, %s: %s", kw_test_way_name(way), verb, end.error.text);
    }
}

static size_t runs(size_t fake)
{
    return kw_fake_count(fakes[fake], "INCR *");
}

static void test_handover_of_a_server_is_followed(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        start_servers();
        kw_client *kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        hand_over(0, 1);
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        assert_int_equal(runs(0), 2); /* the second was told where to go */
        assert_int_equal(runs(1), 1);
        for (int i = 0; i < 3; i++) {
            expect_answer(kw, (kw_test_way)way, "INCR", "a");
        }
        assert_int_equal(runs(0), 2); /* later ones know */
        assert_int_equal(runs(1), 4);
        assert_true(kw_test_stats(kw).moved >= 1);
        hand_over(1, 0);
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        assert_int_equal(runs(0), 3);
        hand_over(0, 1);
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        /* The new one dies, and the first is promoted: what the URI names is asked again. */
        kw_fake_down(fakes[1]);
        atomic_store(&servers[0].primary, NULL);
        expect_answer(kw, (kw_test_way)way, "GET", "a");
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        kw_close(kw);
    }
    start_servers();
}

/* For a moment each says that the other is the primary. */
static void test_handover_under_way_is_waited_for(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        start_servers();
        kw_client *kw = kw_test_open("redis://%s?timeout=20s", kw_fake_address(fakes[0]));
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        hand_over(0, 1);
        atomic_store(&servers[1].primary, fakes[0]);
        atomic_store(&servers[1].turns_n, 6);
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        assert_int_equal(runs(1), 7);
        kw_close(kw);
    }
}

/* A server that the host has named may be a replica on purpose: it is read from where it is. */
static void test_handover_leaves_reads_of_a_replica_alone(void **state)
{
    (void)state;
    start_servers();
    hand_over(0, 1);
    kw_client *kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, (kw_test_way)way, "GET", "a");
    }
    assert_int_equal(kw_fake_accepted(fakes[1]) > 0 ? kw_fake_count(fakes[1], "GET *") : 0, 0);
    expect_answer(kw, KW_TEST_CALL, "INCR", "a");
    assert_int_equal(runs(1), 1);
    kw_close(kw);
}

static void test_handover_of_a_rings_member_is_followed(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        start_servers();
        kw_client *kw = kw_test_open("redis-ring://a=%s?timeout=10s", kw_fake_address(fakes[0]));
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        hand_over(0, 1);
        for (int i = 0; i < 3; i++) {
            expect_answer(kw, (kw_test_way)way, "INCR", "a");
        }
        assert_int_equal(runs(1), 3);
        hand_over(1, 0);
        expect_answer(kw, (kw_test_way)way, "INCR", "a");
        assert_int_equal(runs(1), 3);
        kw_close(kw);
    }
}

/* A sentinel, which names the primary that it has been told of. */
static bool name_primary(void *arg, kw_fake_call *call)
{
    _Atomic(kw_fake *) *primary = arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "SENTINEL") != 0) {
        return false;
    }
    if (strcmp(kw_fake_call_arg(call, 1, NULL), "GET-MASTER-ADDR-BY-NAME") == 0) {
        kw_fake_call_replyf(call, "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n",
                            (unsigned)kw_fake_port(atomic_load(primary)));
    } else {
        kw_fake_call_replyf(call, "*0\r\n");
    }
    return true;
}

/* Whether the next command goes to the new primary, and not by the old one. */
static bool goes_straight(kw_client *kw, kw_test_way way)
{
    size_t before_n = runs(1);
    expect_answer(kw, way, "INCR", "key");
    return runs(1) == before_n;
}

/* The sentinels learn of it later: until then each command goes where the old primary says. */
static void test_handover_under_sentinel_is_followed_before_the_sentinels_know(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        _Atomic(kw_fake *) named = fakes[1];
        start_servers();
        kw_fake_respond(fakes[0], name_primary, &named);
        kw_client *kw = kw_test_open("redis-sentinel://%s/group?timeout=5s&refresh-interval=0",
                                     kw_fake_address(fakes[0]));
        expect_answer(kw, (kw_test_way)way, "INCR", "key");
        assert_int_equal(runs(1), 1);
        atomic_store(&servers[1].primary, fakes[2]);
        for (size_t i = 1; i <= 3; i++) {
            expect_answer(kw, (kw_test_way)way, "INCR", "key");
            assert_int_equal(runs(2), i);
        }
        atomic_store(&named, fakes[2]);
        KW_TEST_AWAIT(goes_straight(kw, (kw_test_way)way))
        kw_close(kw);
        kw_fake_respond(fakes[0], NULL, NULL); /* named ends here */
    }
}

static void hear(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_err *code = arg;
    *code = reply != NULL ? KW_OK : error->code;
    kw_reply_free(reply);
}

#define UNHEARD ((kw_err)1)

static bool is_heard(const kw_err *code)
{
    return *code != UNHEARD;
}

/* A session's command has dialled the primary, which is none any more when the greeting is
 * answered: it goes to the next one, and does not dial the old one again and again. */
static void test_handover_before_the_greeting_is_answered_costs_one_connection(void **state)
{
    (void)state;
    _Atomic(kw_fake *) named = fakes[1];
    kw_error error = KW_ERROR_INIT;
    kw_err code = UNHEARD;
    start_servers();
    kw_fake_respond(fakes[0], name_primary, &named);
    kw_client *kw = kw_test_open("redis-sentinel://%s/group?timeout=5s&refresh-interval=0",
                                 kw_fake_address(fakes[0]));
    need_map(kw);
    kw_fake_disconnect(fakes[1], false); /* by which ROLE was asked */
    kw_fake_await_open(fakes[1], 0);
    kw_test_sleep_ms(5); /* idle for longer than what is used without a look */
    unsigned before_n = kw_fake_accepted(fakes[1]);
    size_t greetings_n = kw_fake_count(fakes[1], "HELLO *");
    struct pollfd entry = {kw_fd(kw, &error), POLLIN, 0};
    kw_async_session *session = kw_async_session_open(kw, &error, "a", 1);
    assert_non_null(session);
    kw_fake_on_accept(fakes[1], 1, KW_FAKE_STEPS(KW_FAKE_GATE));
    assert_int_equal(
        kw_async_session_command(session, &error, (kw_callback){hear, &code}, "INCR a"), KW_OK);
    KW_TEST_UNTIL(kw_fake_at_gates(fakes[1]) == 1)
    {
        assert_int_equal(kw_process(kw, &error), KW_OK);
    }
    for (int i = 0; i < 20; i++) { /* the greeting leaves */
        (void)poll(&entry, 1, 1);
        assert_int_equal(kw_process(kw, &error), KW_OK);
    }
    atomic_store(&named, fakes[2]);
    assert_int_equal(kw_refresh(kw, &error, 20000), KW_OK);
    kw_fake_pass(fakes[1]);
    for (int i = 0; i < 100 && kw_fake_count(fakes[1], "HELLO *") == greetings_n; i++) {
        kw_test_sleep_ms(1); /* its answer and the map are seen in one turn, mostly */
    }
    KW_TEST_UNTIL(is_heard(&code))
    {
        (void)poll(&entry, 1, 10);
        assert_int_equal(kw_process(kw, &error), KW_OK);
    }
    assert_int_equal(code, KW_OK);
    assert_int_equal(runs(1), 0);
    assert_int_equal(runs(2), 1);
    assert_in_range(kw_fake_accepted(fakes[1]) - before_n, 1, 3);
    kw_async_session_close(session);
    kw_close(kw);
    kw_fake_respond(fakes[0], NULL, NULL); /* named ends here */
}

/* Servers before Valkey 8 answer an error, once a connection, and READONLY as ever. */
static void test_handover_unknown_to_the_server_costs_nothing(void **state)
{
    (void)state;
    start_servers();
    servers[0].knows_no_capa = true;
    kw_error error = KW_ERROR_INIT;
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    kw_client *kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
    for (int i = 0; i < 5; i++) {
        expect_answer(kw, KW_TEST_CALL, "INCR", "a");
    }
    assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 1);
    assert_int_equal(kw_fake_count(fakes[0], "CLIENT CAPA redirect"), 1);
    assert_int_equal(runs(0), 5);
    kw_close(kw);
    /* The caller named the node: the redirect is the caller's to read. */
    start_servers();
    hand_over(0, 1);
    kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = kw_fake_address(fakes[0]);
    const char *command[] = {"INCR", "a"};
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){2, command, NULL});
    assert_non_null(reply);
    assert_memory_equal(kw_reply_str(reply, NULL), "REDIRECT ", 9);
    kw_reply_free(reply);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handover_of_a_server_is_followed),
        cmocka_unit_test(test_handover_under_way_is_waited_for),
        cmocka_unit_test(test_handover_leaves_reads_of_a_replica_alone),
        cmocka_unit_test(test_handover_of_a_rings_member_is_followed),
        cmocka_unit_test(test_handover_under_sentinel_is_followed_before_the_sentinels_know),
        cmocka_unit_test(test_handover_before_the_greeting_is_answered_costs_one_connection),
        cmocka_unit_test(test_handover_unknown_to_the_server_costs_nothing),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
