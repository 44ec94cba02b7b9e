/* Nodes of a ring that go down and come back, for each on-node-down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/ring_servers.h"

/* How late the machine may be at most, in milliseconds; what is tested is seconds away. */
#define SLACK_MS 5000

/* What the host was told. */
typedef struct diary {
    atomic_uint downs;
    atomic_uint ejections;
    atomic_uint ups;
    atomic_uint others;
} diary;

static void write_diary(void *arg, const kw_event *event)
{
    diary *self = arg;
    if (event->size < sizeof(*event) || event->text[0] == '\0' ||
        strlen(event->member) != event->member_len) {
        kw_test_die("a wrong event");
    }
    switch (event->kind) {
    case KW_EVENT_NODE_DOWN:
        atomic_fetch_add(&self->downs, 1);
        break;
    case KW_EVENT_NODE_EJECTED:
        atomic_fetch_add(&self->ejections, 1);
        break;
    case KW_EVENT_NODE_UP:
        atomic_fetch_add(&self->ups, 1);
        break;
    case KW_EVENT_MEMBERS_CHANGED:
        atomic_fetch_add(&self->others, 1);
        break;
    }
}

static kw_client *open_with(const ring_servers *servers, diary *events, const char *tail)
{
    char uri[1000];
    kw_error error = KW_ERROR_INIT;
    memset(events, 0, sizeof(*events));
    kw_config *config = kw_config_new(NULL);
    ring_uri(uri, sizeof(uri), servers, RING_SERVERS, tail);
    if (kw_config_set_uri(config, uri, &error) != KW_OK) {
        kw_test_die("%s", error.text);
    }
    kw_config_set_event(config, write_diary, events);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    if (client == NULL) {
        kw_test_die("%s", error.text);
    }
    return client;
}

static bool is_down(kw_client *client, const char *member)
{
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(client, &stats, i) == KW_OK; i++) {
        if (strcmp(stats.member, member) == 0) {
            return stats.is_down;
        }
    }
    kw_test_die("no member %s", member);
}

/* Calls until the member is as wanted; any result will do. */
static void call_until(kw_client *client, const char *member, bool wants_down)
{
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    for (int i = 0; is_down(client, member) != wants_down; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply_free(kw_command(client, &error, "GET %d:any:key", i % 50));
        if (kw_test_now_ms() > until_ms) {
            kw_test_die("%s is %s after %d ms: %s", member, wants_down ? "up" : "down", SLACK_MS,
                        error.text);
        }
    }
}

/* A key of the member, by the ring alone. */
static const char *key_of(kw_client *client, char key[32], const char *member)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *ring = kw_client_ring(client, &error);
    uint32_t node = KW_RING_NO_NODE;
    for (int i = 0; node == KW_RING_NO_NODE || strcmp(kw_ring_node_name(ring, node, NULL), member);
         i++) {
        snprintf(key, 32, "%d:of:%s", i, member);
        if (kw_ring_lookup(ring, &node, key, strlen(key)) != KW_OK) {
            kw_test_die("nobody owns %s", key);
        }
    }
    kw_ring_unref(ring);
    return key;
}

static void test_fail_gives_an_error_at_once_and_moves_nothing(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_client *client = open_with(servers, &events, "?timeout=4s");
    char of_a[32];
    char of_b[32];
    key_of(client, of_a, "a");
    key_of(client, of_b, "b");
    kw_test_ask_ok(client, "SET %s 1", of_a);
    kw_test_ask_ok(client, "SET %s 1", of_b);
    kw_test_server_kill(servers->servers[1]);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(client, &error, "GET %s", of_b));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_true(error.elapsed_ms < 3500); /* long before the deadline */
    assert_true(is_down(client, "b"));
    assert_int_equal(atomic_load(&events.downs), 1);
    uint64_t start_ms = kw_test_now_ms();
    for (int i = 0; i < 200; i++) {
        assert_null(kw_command(client, &error, "INCR %s", of_b));
        assert_int_equal(error.code, KW_ERR_CONNECT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_int_equal(error.attempts, 0);
        kw_test_ask_ok(client, "SET %s 1", of_a);
    }
    assert_true(kw_test_now_ms() - start_ms < 2000);
    assert_non_null(strstr(error.text, "down"));
    assert_non_null(strstr(error.text, kw_test_server_address(servers->servers[1])));
    assert_null(kw_command(client, &error, "DBSIZE"));
    assert_int_equal(kw_test_stats(client).nodes_down, 1);
    kw_test_server_restart(servers->servers[1]);
    call_until(client, "b", false);
    assert_int_equal(kw_test_ask_integer(client, "INCR %s", of_b), 1); /* it came back empty */
    assert_int_equal(atomic_load(&events.ups), 1);
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.downs, 1);
    assert_int_equal(stats.ups, 1);
    assert_int_equal(stats.nodes_down, 0);
    kw_close(client);
}

/* Every key can be written and is where the walk, or the ring without b, says. */
static void check_without_b(const ring_servers *servers, kw_client *client, const kw_ring *ring,
                            bool is_walk)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_of((kw_ring *)(uintptr_t)ring, &error);
    assert_int_equal(kw_ring_change_remove(change, &error, "b", 1), KW_OK);
    kw_ring *rest = kw_ring_change_commit(change, &error);
    kw_ring_change_free(change);
    for (int i = 0; i < 200; i++) {
        char key[32];
        size_t key_len = (size_t)snprintf(key, sizeof(key), "%d:without", i);
        kw_test_ask_ok(client, "SET %s %d", key, i);
        uint32_t node;
        const char *name;
        if (is_walk) {
            uint32_t nodes[2];
            assert_int_equal(kw_ring_preference(ring, nodes, 2, key, key_len), 2);
            name = kw_ring_node_name(ring, nodes[0], NULL);
            name = strcmp(name, "b") != 0 ? name : kw_ring_node_name(ring, nodes[1], NULL);
        } else {
            assert_int_equal(kw_ring_lookup(rest, &node, key, key_len), KW_OK);
            name = kw_ring_node_name(rest, node, NULL);
        }
        kw_test_server *server = servers->servers[name[0] - 'a'];
        assert_int_equal(kw_test_server_integer(server, "EXISTS %s", key), 1);
    }
    kw_ring_unref(rest);
}

typedef struct policy_row {
    const char *tail;
    bool is_walk;
    bool is_ejected;
} policy_row;

static void test_next_and_eject_serve_the_keys_elsewhere(void **state)
{
    static const policy_row rows[] = {
        {"?on-node-down=next", true, false},
        {"?on-node-down=eject", true, true},
        {"?on-node-down=eject&placement=twemproxy", false, true},
        {"?on-node-down=eject&placement=modulo", false, true},
        {"?on-node-down=next&placement=go-redis", true, false},
    };
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        diary events;
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, rows[i].tail);
        kw_ring *ring = kw_client_ring(client, &error);
        char of_b[32];
        key_of(client, of_b, "b");
        kw_test_ask_ok(client, "SET %s old", of_b);
        kw_test_server_kill(servers->servers[1]);
        call_until(client, "b", true);
        check_without_b(servers, client, ring, rows[i].is_walk);
        kw_test_ask_ok(client, "SET %s new", of_b);
        kw_reply_free(kw_test_ask(client, "MGET a b c d e f g h"));
        assert_int_equal(atomic_load(&events.downs), rows[i].is_ejected ? 0 : 1);
        assert_int_equal(atomic_load(&events.ejections), rows[i].is_ejected ? 1 : 0);
        kw_test_server_restart(servers->servers[1]);
        call_until(client, "b", false);
        char *text = kw_test_ask_text(client, "GET %s", of_b);
        assert_null(text); /* b has its keys again, and is empty */
        free(text);
        assert_int_equal(atomic_load(&events.ups), 1);
        kw_ring_unref(ring);
        kw_close(client);
        ring_flush(state);
    }
}

static void test_a_stopped_node_is_found_by_timeouts_and_probes(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_client *client =
        open_with(servers, &events, "?on-node-down=next&timeout=400ms&stall-timeout=100ms");
    char of_b[32];
    key_of(client, of_b, "b");
    kw_test_ask_ok(client, "SET %s 1", of_b);
    kw_test_server_pause(servers->servers[1]);
    call_until(client, "b", true);
    kw_test_ask_ok(client, "SET %s 2", of_b);
    kw_test_server_resume(servers->servers[1]);
    call_until(client, "b", false);
    char *text = kw_test_ask_text(client, "GET %s", of_b);
    assert_string_equal(text, "1"); /* what it had, and nothing that was meant for it late */
    free(text);
    kw_close(client);
}

static void drop_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    *(size_t *)arg += 1;
    kw_reply_free(reply);
}

/* An event loop has the probes of its handle answered without a call. */
static void test_an_event_loop_finds_a_node_down_and_back(void **state)
{
    ring_servers *servers = *state;
    diary events;
    char of_b[32];
    kw_error error = KW_ERROR_INIT;
    kw_client *client = open_with(servers, &events, "?on-node-down=next");
    key_of(client, of_b, "b");
    struct pollfd entry = {kw_fd(client, &error), POLLIN, 0};
    kw_test_server_kill(servers->servers[1]);
    size_t replies_n = 0;
    assert_int_equal(kw_command_async(client, &error, drop_reply, &replies_n, "SET %s 1", of_b),
                     KW_OK);
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (replies_n == 0) {
        (void)poll(&entry, 1, kw_timeout(client));
        assert_int_equal(kw_process(client, &error), KW_OK);
        assert_true(kw_test_now_ms() < until_ms);
    }
    assert_true(is_down(client, "b")); /* and the key went to the next node */
    kw_test_server_restart(servers->servers[1]);
    until_ms = kw_test_now_ms() + SLACK_MS;
    while (is_down(client, "b")) {
        (void)poll(&entry, 1, kw_timeout(client));
        assert_int_equal(kw_process(client, &error), KW_OK);
        assert_true(kw_test_now_ms() < until_ms);
    }
    assert_int_equal(atomic_load(&events.ups), 1);
    kw_close(client);
}

/* A caller alone, who comes now and then, has the probes answered in its own calls. */
static void test_a_caller_who_comes_rarely_finds_a_node_back(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail", "?on-node-down=next"};
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        diary events;
        char of_b[32];
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, tails[i]);
        key_of(client, of_b, "b");
        kw_test_server_kill(servers->servers[1]);
        call_until(client, "b", true);
        kw_test_server_restart(servers->servers[1]);
        int calls_n = 0;
        while (is_down(client, "b") && calls_n < 5) {
            kw_test_sleep_ms(1000); /* longer than any pause between probes */
            kw_reply_free(kw_command(client, &error, "GET %s", of_b));
            calls_n++;
        }
        assert_in_range(calls_n, 1, 3);
        kw_test_ask_ok(client, "SET %s 1", of_b);
        kw_close(client);
    }
}

static void test_when_all_nodes_are_down_calls_fail_at_once(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail&timeout=10s",
                                        "?on-node-down=next&timeout=10s",
                                        "?on-node-down=eject&timeout=10s"};
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        diary events;
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, tails[i]);
        static const char *const names[] = {"a", "b", "c"};
        for (size_t k = 0; k < RING_SERVERS; k++) {
            kw_test_server_kill(servers->servers[k]);
            call_until(client, names[k], true);
        }
        uint64_t start_ms = kw_test_now_ms();
        for (int k = 0; k < 50; k++) {
            assert_null(kw_command(client, &error, "GET %d:any:key", k));
            assert_int_equal(error.code, KW_ERR_CONNECT);
            assert_int_equal(error.effect, KW_EFFECT_NONE);
        }
        assert_true(kw_test_now_ms() - start_ms < SLACK_MS);
        for (size_t k = 0; k < RING_SERVERS; k++) {
            kw_test_server_restart(servers->servers[k]);
        }
        for (size_t k = 0; k < RING_SERVERS; k++) {
            call_until(client, names[k], false);
        }
        kw_test_ask_ok(client, "SET x 1");
        assert_int_equal(kw_test_stats(client).ups, RING_SERVERS);
        kw_close(client);
    }
}

static void test_a_node_that_is_down_can_leave_and_stays_down_in_other_changes(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_error error = KW_ERROR_INIT;
    kw_client *client = open_with(servers, &events, "");
    kw_test_server_kill(servers->servers[1]);
    call_until(client, "b", true);
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_reweight(members, &error, "a", 1, 2), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    assert_true(is_down(client, "b"));
    assert_int_equal(kw_members_remove(members, &error, "b", 1), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    assert_int_equal(kw_test_stats(client).nodes_down, 0);
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET left:%d 1", i);
    }
    assert_int_equal(atomic_load(&events.others), 2);
    kw_members_free(members);
    kw_close(client);
    kw_test_server_restart(servers->servers[1]);
}

/* One of many callers, with keys of its own. */
typedef struct caller {
    pthread_t thread;
    kw_client *client;
    unsigned number;
    atomic_bool *is_over;
    atomic_ulong *answers_n;
    unsigned long wrong_n;
} caller;

#define CALLER_KEYS 20

static void *call_on(void *arg)
{
    caller *self = arg;
    unsigned last[CALLER_KEYS] = {0};
    for (unsigned turn = 1; !atomic_load(self->is_over); turn++) {
        kw_error error = KW_ERROR_INIT;
        unsigned i = turn * 7 % CALLER_KEYS;
        last[i] = turn;
        kw_reply_free(kw_command(self->client, &error, "SET %u:%u %u:%u:%u", self->number, i,
                                 self->number, i, turn));
        kw_reply *reply = kw_command(self->client, &error, "GET %u:%u", self->number, i);
        const char *text = kw_reply_str(reply, NULL);
        unsigned got[3] = {self->number, i, 0};
        bool is_good = reply == NULL || kw_reply_is_nil(reply) ||
                       (text != NULL && sscanf(text, "%u:%u:%u", &got[0], &got[1], &got[2]) == 3);
        if (!is_good || got[0] != self->number || got[1] != i || got[2] > last[i]) {
            fprintf(stderr, "%u:%u: \"%s\"\n", self->number, i, text != NULL ? text : error.text);
            self->wrong_n++;
        }
        atomic_fetch_add(self->answers_n, reply != NULL ? 1 : 0);
        kw_reply_free(reply);
    }
    return NULL;
}

static void wait_for_answers(atomic_ulong *answers_n, unsigned long more)
{
    unsigned long until = atomic_load(answers_n) + more;
    while (atomic_load(answers_n) < until) {
        kw_test_sleep_ms(1);
    }
}

static void test_nodes_die_and_return_empty_under_load(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail&timeout=500ms",
                                        "?on-node-down=next&timeout=500ms",
                                        "?on-node-down=eject&timeout=500ms"};
    enum { CALLERS = 16 };
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        diary events;
        caller callers[CALLERS];
        atomic_bool is_over = false;
        atomic_ulong answers_n = 0;
        kw_client *client = open_with(servers, &events, tails[i]);
        for (unsigned k = 0; k < CALLERS; k++) {
            caller fresh = {.client = client, .number = k};
            callers[k] = fresh;
            callers[k].is_over = &is_over;
            callers[k].answers_n = &answers_n;
            assert_int_equal(pthread_create(&callers[k].thread, NULL, call_on, &callers[k]), 0);
        }
        for (unsigned round = 0; round < 3; round++) {
            static const char *const names[] = {"a", "b", "c"};
            kw_test_server_kill(servers->servers[round]);
            call_until(client, names[round], true);
            wait_for_answers(&answers_n, 200);
            kw_test_server_restart(servers->servers[round]);
            call_until(client, names[round], false);
            wait_for_answers(&answers_n, 200);
        }
        atomic_store(&is_over, true);
        unsigned long wrong_n = 0;
        for (unsigned k = 0; k < CALLERS; k++) {
            assert_int_equal(pthread_join(callers[k].thread, NULL), 0);
            wrong_n += callers[k].wrong_n;
        }
        assert_int_equal(wrong_n, 0);
        assert_int_equal(atomic_load(&events.ups),
                         atomic_load(&events.downs) + atomic_load(&events.ejections));
        kw_close(client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fail_gives_an_error_at_once_and_moves_nothing, ring_flush),
        cmocka_unit_test_setup(test_next_and_eject_serve_the_keys_elsewhere, ring_flush),
        cmocka_unit_test_setup(test_a_stopped_node_is_found_by_timeouts_and_probes, ring_flush),
        cmocka_unit_test_setup(test_an_event_loop_finds_a_node_down_and_back, ring_flush),
        cmocka_unit_test_setup(test_a_caller_who_comes_rarely_finds_a_node_back, ring_flush),
        cmocka_unit_test_setup(test_when_all_nodes_are_down_calls_fail_at_once, ring_flush),
        cmocka_unit_test_setup(test_a_node_that_is_down_can_leave_and_stays_down_in_other_changes,
                               ring_flush),
        cmocka_unit_test_setup(test_nodes_die_and_return_empty_under_load, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
