/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring under load of many threads, with the checker: servers that are killed, restarted
 * with their data, and stopped, where a node that is down keeps its keys. */
#include "fault/checker_asserts.h"
#include "support/ask.h"
#include "support/server.h"

enum { SERVERS = 3, THREADS = 12, ROUNDS = 3 };

static void assert_kept(const kw_checker_report *report)
{
    assert_never(report);
    assert_int_equal(report->lost, 0);
}

static uint64_t answered(kw_checker *checker)
{
    uint64_t n = 0;
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        n += kw_checker_answered(checker, group);
    }
    return n;
}

static void wait_for_answers(kw_checker *checker, uint64_t more)
{
    uint64_t until = answered(checker) + more;
    KW_TEST_AWAIT(answered(checker) >= until)
}

/* The checker's own calls are those that pass by. */
static void wait_for(kw_client *client, uint64_t nodes_down)
{
    uint64_t until_ms = kw_test_now_ms() + 20000;
    while (kw_test_stats(client).nodes_down != nodes_down) {
        assert_true(kw_test_now_ms() < until_ms);
        kw_test_sleep_ms(1);
    }
}

static void test_ring_nodes_that_die_and_return_lose_and_double_nothing(void **state)
{
    (void)state;
    kw_test_server *servers[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        servers[i] = kw_test_server_start("appendonly yes\nappendfsync always\n");
    }
    kw_client *client = kw_test_open(
        "redis-ring://a=%s,b=%s*2,c=%s?stall-timeout=200ms", kw_test_server_address(servers[0]),
        kw_test_server_address(servers[1]), kw_test_server_address(servers[2]));
    kw_checker_setup setup = {.threads_n = THREADS, .timeout_ms = {500, 2000}};
    kw_checker *checker = kw_checker_start(client, &setup);
    kw_checker_report report;
    wait_for_answers(checker, 500);
    kw_checker_take(checker, &report);
    kw_checker_print("calm", &report);
    assert_kept(&report);
    assert_int_equal(report.failed_none + report.failed_maybe + report.failed_done, 0);
    for (size_t round = 0; round < ROUNDS; round++) {
        kw_test_server *server = servers[round % SERVERS];
        kw_test_server_kill(server);
        wait_for(client, 1);
        wait_for_answers(checker, 300);
        kw_test_server_restart(server);
        wait_for(client, 0);
        wait_for_answers(checker, 300);
        kw_checker_take(checker, &report);
        kw_checker_print("killed and restarted", &report);
        assert_kept(&report);
        kw_test_server_pause(server);
        wait_for(client, 1);
        wait_for_answers(checker, 300);
        kw_test_server_resume(server);
        wait_for(client, 0);
        wait_for_answers(checker, 300);
        kw_checker_take(checker, &report);
        kw_checker_print("stopped and resumed", &report);
        assert_kept(&report);
    }
    kw_checker_stop(checker, &report);
    kw_checker_print("in the end", &report);
    assert_kept(&report);
    kw_stats stats = kw_test_stats(client);
    assert_true(stats.downs >= (uint64_t)2 * ROUNDS);
    assert_int_equal(stats.downs, stats.ups);
    kw_close(client);
    for (size_t i = 0; i < SERVERS; i++) {
        kw_test_server_free(servers[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_nodes_that_die_and_return_lose_and_double_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
