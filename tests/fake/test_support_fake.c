/* SPDX-License-Identifier: BSD-3-Clause */
/* The scripted server itself, over plain hiredis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <hiredis.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"
#include "support/fake.h"

static redisContext *join(const kw_fake *fake)
{
    struct timeval limit = {2, 0};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", kw_fake_port(fake), limit);
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    redisSetTimeout(context, limit);
    return context;
}

static void expect(redisContext *context, const char *command, int type, const char *text)
{
    redisReply *reply = redisCommand(context, command);
    assert_non_null(reply);
    assert_int_equal(reply->type, type);
    if (text != NULL) {
        assert_string_equal(reply->str, text);
    }
    freeReplyObject(reply);
}

static void test_fake_greeting_answers_as_a_server(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    redisContext *context = join(fake);
    expect(context, "PING", REDIS_REPLY_STATUS, "PONG");
    expect(context, "HELLO 2 AUTH user secret", REDIS_REPLY_ARRAY, NULL);
    expect(context, "CLIENT SETINFO LIB-NAME keyway", REDIS_REPLY_STATUS, "OK");
    expect(context, "CLUSTER SLOTS", REDIS_REPLY_ERROR, NULL);
    expect(context, "COMMAND INFO a b", REDIS_REPLY_ARRAY, NULL);
    expect(context, "FROB", REDIS_REPLY_ERROR, "ERR unknown command 'FROB'");
    assert_int_equal(kw_fake_count(fake, "client setinfo *"), 1);
    assert_int_equal(kw_fake_log_count(fake), 6);
    redisFree(context);
    kw_fake_free(fake);
}

static void test_fake_rules_take_turns(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on(fake, 2, "GET *", KW_FAKE_STEPS(KW_FAKE_SEND("-TRYAGAIN later\r\n")));
    kw_fake_on_reply(fake, 1, "GET *", "-MOVED %u 127.0.0.1:%u", 5u, 7u);
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_PIECES("$3\r\na\0b\r\n", 0)));
    kw_fake_on(fake, 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_RESET));
    redisContext *context = join(fake);
    expect(context, "GET a", REDIS_REPLY_ERROR, "TRYAGAIN later");
    expect(context, "GET a", REDIS_REPLY_ERROR, "TRYAGAIN later");
    expect(context, "GET a", REDIS_REPLY_ERROR, "MOVED 5 127.0.0.1:7");
    uint64_t start_ms = kw_test_now_ms();
    redisReply *reply = redisCommand(context, "GET a");
    assert_int_equal(reply->len, 3);
    assert_memory_equal(reply->str, "a\0b", 3);
    assert_true(kw_test_now_ms() - start_ms >= 19);
    freeReplyObject(reply);
    assert_null(redisCommand(context, "INCR a"));
    redisFree(context);
    kw_fake_free(fake);
}

static void test_fake_script_expects_in_order(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_script(fake, 0, false,
                   KW_FAKE_STEPS(KW_FAKE_EXPECT("ASKING"), KW_FAKE_SEND("+OK\r\n")));
    kw_fake_script(fake, 1, true,
                   KW_FAKE_STEPS(KW_FAKE_EXPECT("SET ?ey *"), KW_FAKE_SEND("+OK\r\n"),
                                 KW_FAKE_EXPECT("PING"), KW_FAKE_SEND("+pong\r\n"), KW_FAKE_LOOP));
    redisContext *context = join(fake);
    expect(context, "SET key value", REDIS_REPLY_STATUS, "OK");
    expect(context, "PING", REDIS_REPLY_STATUS, "pong");
    expect(context, "SET key value", REDIS_REPLY_STATUS, "OK");
    assert_int_equal(kw_fake_mismatches(fake), 0);
    assert_null(redisCommand(context, "SET key value"));
    assert_int_equal(kw_fake_mismatches(fake), 1);
    redisFree(context);
    kw_fake_free(fake);
}

/* What the test has to do comes between what the fake does, however long it takes. */
static void test_fake_gate_holds_until_it_is_passed(void **state)
{
    (void)state;
    static const char command[] = "*2\r\n$3\r\nGET\r\n$900\r\n";
    char value[902];
    kw_fake *fake = kw_fake_start();
    kw_fake_on(fake, 1, "PING",
               KW_FAKE_STEPS(KW_FAKE_SEND("+A\r\n"), KW_FAKE_GATE, KW_FAKE_SEND("+B\r\n"),
                             KW_FAKE_PART(100), KW_FAKE_SEND("+C\r\n"), KW_FAKE_GATE));
    redisContext *context = join(fake);
    expect(context, "PING", REDIS_REPLY_STATUS, "A");
    KW_TEST_AWAIT(kw_fake_at_gates(fake) == 1)
    kw_fake_pass(fake);
    redisReply *reply = NULL;
    assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
    assert_string_equal(reply->str, "B");
    freeReplyObject(reply);
    memset(value, 'v', sizeof(value));
    memcpy(value + 900, "\r\n", 2);
    assert_int_equal(write(context->fd, command, sizeof(command) - 1), sizeof(command) - 1);
    assert_int_equal(write(context->fd, value, 500), 500);
    assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
    assert_string_equal(reply->str, "C");
    freeReplyObject(reply);
    assert_int_equal(write(context->fd, value + 500, 402), 402);
    assert_int_equal(kw_fake_count(fake, "GET *"), 0); /* not read */
    kw_fake_pass(fake);
    assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
    assert_int_equal(reply->type, REDIS_REPLY_ERROR); /* unknown command 'GET .. */
    freeReplyObject(reply);
    assert_int_equal(kw_fake_count(fake, "GET *"), 1);
    redisFree(context);
    kw_fake_await_open(fake, 0);
    kw_fake_free(fake);
}

static bool counting(void *arg, kw_fake_call *call)
{
    int *count = arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "INCR") != 0) {
        return false;
    }
    kw_fake_call_replyf(call, ":%d\r\n", ++*count);
    return true;
}

static void test_fake_goes_down_and_comes_back(void **state)
{
    (void)state;
    int count = 0;
    kw_fake *fake = kw_fake_start();
    kw_fake_respond(fake, counting, &count);
    redisContext *context = join(fake);
    expect(context, "INCR a", REDIS_REPLY_INTEGER, NULL);
    assert_int_equal(kw_fake_open(fake), 1);
    kw_fake_down(fake);
    assert_int_equal(kw_fake_open(fake), 0);
    redisContext *refused = redisConnect("127.0.0.1", kw_fake_port(fake));
    assert_int_not_equal(refused->err, 0);
    redisFree(refused);
    redisFree(context);
    kw_fake_up(fake);
    context = join(fake);
    expect(context, "INCR a", REDIS_REPLY_INTEGER, NULL);
    assert_int_equal(count, 2);
    kw_fake_push(fake, "+stray\r\n", 8);
    expect(context, "PING", REDIS_REPLY_STATUS, "stray");
    kw_fake_disconnect(fake, false);
    redisFree(context);
    kw_fake_free(fake);
}

#ifdef __linux__
static const bool is_port_kept = true;
#else
static const bool is_port_kept = false;
#endif

static void test_fake_that_is_down_keeps_its_port(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(kw_fake_port(fake));
    kw_fake_down(fake);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(bind(other, (struct sockaddr *)&address, sizeof(address)) != 0 || !is_port_kept);
    close(other);
    kw_fake_up(fake);
    redisContext *context = join(fake);
    expect(context, "PING", REDIS_REPLY_STATUS, "PONG");
    redisFree(context);
    kw_fake_free(fake);
}

static void test_fake_accept_and_silence_are_scripted(void **state)
{
    struct timeval soon = {0, 50000};
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on_accept(
        fake, 1,
        KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE));
    kw_fake_on(fake, 1, "GET stall", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fake, 1, "GET deaf", KW_FAKE_STEPS(KW_FAKE_DEAF));
    kw_fake_on(fake, 1, "GET flood", KW_FAKE_STEPS(KW_FAKE_FLOOD("?", 0)));
    redisContext *context = join(fake);
    expect(context, "PING", REDIS_REPLY_ERROR, "ERR max number of clients reached");
    redisFree(context);
    const char *const silent[] = {"GET stall", "GET deaf", "GET flood"};
    for (size_t i = 0; i < 3; i++) {
        context = join(fake);
        redisSetTimeout(context, soon);
        assert_null(redisCommand(context, silent[i]));
        redisFree(context);
    }
    assert_int_equal(kw_fake_accepted(fake), 4);
    assert_true(kw_fake_wait(fake, "GET *", 3, 1000));
    kw_fake_free(fake);
}

static void test_fake_cluster_has_one_map(void **state)
{
    (void)state;
    kw_fake *fakes[2] = {kw_fake_start(), kw_fake_start()};
    const kw_fake_range ranges[] = {
        {0, 99, fakes[0], fakes[1]},
        {100, 16382, fakes[1], NULL},
        {16383, 16383, fakes[0], fakes[1]},
    };
    kw_fake_set_cluster(fakes, 2, ranges, 3);
    redisContext *context = join(fakes[1]);
    redisReply *reply = redisCommand(context, "CLUSTER SLOTS");
    assert_int_equal(reply->elements, 3);
    assert_int_equal(reply->element[0]->element[3]->element[1]->integer, kw_fake_port(fakes[1]));
    freeReplyObject(reply);
    reply = redisCommand(context, "CLUSTER SHARDS");
    assert_int_equal(reply->elements, 2);
    assert_int_equal(reply->element[0]->element[1]->elements, 4);
    freeReplyObject(reply);
    redisFree(context);
    kw_fake_free(fakes[0]);
    kw_fake_free(fakes[1]);
}

static void test_hole_swallows_connects(void **state)
{
    struct timeval soon = {0, 100000};
    kw_test_hole hole;
    (void)state;
    assert_true(kw_test_hole_open(&hole));
    redisContext *context = redisConnectWithTimeout("127.0.0.1", hole.port, soon);
    assert_int_not_equal(context->err, 0);
    redisFree(context);
    kw_test_hole_close(&hole);
}

static void test_memory_fails_where_told(void **state)
{
    kw_test_memory memory;
    (void)state;
    kw_test_memory_init(&memory, 2);
    const kw_allocator *a = &memory.allocator;
    void *block = a->malloc_fn(a->arg, 10);
    assert_null(a->realloc_fn(a->arg, block, 20));
    block = a->realloc_fn(a->arg, block, 30);
    assert_non_null(block);
    assert_int_equal(kw_test_memory_live(&memory), 1);
    a->free_fn(a->arg, block);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    assert_int_equal(kw_test_memory_calls(&memory), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fake_greeting_answers_as_a_server),
        cmocka_unit_test(test_fake_rules_take_turns),
        cmocka_unit_test(test_fake_script_expects_in_order),
        cmocka_unit_test(test_fake_gate_holds_until_it_is_passed),
        cmocka_unit_test(test_fake_goes_down_and_comes_back),
        cmocka_unit_test(test_fake_that_is_down_keeps_its_port),
        cmocka_unit_test(test_fake_accept_and_silence_are_scripted),
        cmocka_unit_test(test_fake_cluster_has_one_map),
        cmocka_unit_test(test_hole_swallows_connects),
        cmocka_unit_test(test_memory_fails_where_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
