/* SPDX-License-Identifier: BSD-3-Clause */
/* The program keyway on terminals: narrow and low ones, without UTF-8, with bytes that would steer
 * them; and what it does when it is interrupted. */
#include "fake/fakes.h"
#include "support/program.h"

#include <string.h>

static kw_program_run run;

/* A line for a cluster of two primaries, of which the second has a replica. */
static const char *cluster_line(const char *rest)
{
    static char line[300];
    renew_fakes();
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], fakes[2]}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "INFO*", "$20\r\nredis_version:8.0.0\n");
        answer(fakes[i], "DBSIZE", ":3");
        answer(fakes[i], "GET *", "$-1");
        answer(fakes[i], "SET *", "+OK");
        answer(fakes[i], "DEL *", ":1");
    }
    snprintf(line, sizeof(line), "--color never -u redis-cluster://%s?timeout=10s %s",
             kw_fake_address(fakes[0]), rest);
    return line;
}

/* A line for the first fake alone. */
static const char *server_line(const char *rest)
{
    static char line[300];
    snprintf(line, sizeof(line), "-u redis://%s?timeout=10s %s", kw_fake_address(fakes[0]), rest);
    return line;
}

/* Columns of the widest line, as text of UTF-8. */
static size_t widest(const char *text)
{
    size_t most = 0;
    for (size_t n = 0; *text != '\0'; text++) {
        bool is_begun = ((unsigned char)*text & 0xc0) != 0x80 && *text != '\r';
        n = *text == '\n' ? 0 : n + (is_begun ? 1 : 0);
        most = n > most ? n : most;
    }
    return most;
}

static void expect_in(const char *part)
{
    if (strstr(run.out, part) == NULL) {
        fail_msg("\"%s\" is not in what ended with %d:\n%s", part, run.status, run.out);
    }
}

static void test_tables_leave_out_what_a_terminal_has_no_room_for(void **state)
{
    (void)state;
    kw_program_run_on(&run, &(kw_program_terminal){.columns = 60}, cluster_line("nodes"));
    expect_in("(too narrow for VERSION LAG");
    expect_in("STATE");
    assert_true(widest(run.out) <= 60);
    kw_program_run_on(&run, &(kw_program_terminal){.columns = 200}, cluster_line("nodes"));
    assert_null(strstr(run.out, "too narrow"));
    kw_program_run_on(&run, &(kw_program_terminal){0}, cluster_line("nodes"));
    assert_null(strstr(run.out, "too narrow"));
}

static void test_top_shows_the_busiest_nodes_that_a_low_terminal_has_room_for(void **state)
{
    (void)state;
    const kw_program_terminal low = {.columns = 100, .rows = 11};
    kw_program_run_on(&run, &low, cluster_line("top --times 1 --every 1"));
    expect_in("2 primaries, 1 replica");
    expect_in("and 2 that do less");
    const kw_program_terminal high = {.columns = 100, .rows = 40};
    kw_program_run_on(&run, &high, cluster_line("top --times 1 --every 1"));
    assert_null(strstr(run.out, "that do"));
}

/* What CLUSTER SLOT-STATS of one slot says, at first and from then on. */
static void count_slot(kw_fake *fake, unsigned slot, unsigned first_us, unsigned then_us)
{
    static const char format[] = "*1\r\n*2\r\n:%u\r\n*4\r\n$9\r\nkey-count\r\n:1\r\n"
                                 "$8\r\ncpu-usec\r\n:%u";
    kw_fake_on_reply(fake, 1, "CLUSTER SLOT-STATS *", format, slot, first_us);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "CLUSTER SLOT-STATS *", format, slot, then_us);
}

static void test_top_shows_slots_by_what_servers_count_for_them(void **state)
{
    (void)state;
    const char *line = cluster_line("top --times 1 --every 1");
    count_slot(fakes[0], 0, 100, 500);
    count_slot(fakes[1], 16383, 0, 200);
    const kw_program_terminal wide = {.columns = 100, .rows = 40};
    kw_program_run_on(&run, &wide, line);
    expect_in("by what each costs its server");
    expect_in("     0 █·");
    expect_in("·▒\r\n");
    line = cluster_line("top --times 1 --every 1");
    count_slot(fakes[0], 0, 100, 500); /* the other does not count */
    kw_program_run_on(&run, &wide, line);
    assert_null(strstr(run.out, "by what each costs"));
}

static void test_watch_sums_up_what_a_terminal_has_no_room_for(void **state)
{
    (void)state;
    const kw_program_terminal narrow = {.columns = 50};
    kw_program_run_on(&run, &narrow, cluster_line("watch --times 1"));
    assert_int_equal(run.status, 0);
    expect_in("ANSWERED");
    expect_in("2 of 2");
    assert_true(widest(run.out) <= 50);
    const char *line = cluster_line("watch --times 1");
    answer(fakes[0], "PING", "-ERR not now");
    kw_program_run_on(&run, &narrow, line);
    assert_int_equal(run.status, 1);
    expect_in("1 of 2");
    expect_in(kw_fake_address(fakes[0]));
}

static void test_units_and_bars_are_of_ascii_where_there_is_no_utf8(void **state)
{
    (void)state;
    static const char *const lines[] = {"top --times 1 --every 1", "watch --times 1", "nodes",
                                        "bench --requests 20 --threads 2 --keys 5"};
    const char *const ring = "-u redis-ring://a=h1:6379,b=h2:6379*2,c=h3:6379 spread --vnodes";
    for (size_t i = 0; i <= sizeof(lines) / sizeof(lines[0]); i++) {
        bool is_ring = i == sizeof(lines) / sizeof(lines[0]);
        const char *line = is_ring ? ring : cluster_line(lines[i]);
        kw_program_run_on(&run, &(kw_program_terminal){.locale = "C"}, line);
        for (const char *at = run.out; *at != '\0'; at++) {
            if ((unsigned char)*at >= 0x80) {
                fail_msg("%s prints %s", line, run.out);
            }
        }
    }
    expect_in("########");
}

static void test_keys_of_any_bytes_neither_steer_terminals_nor_break_json(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "DBSIZE", ":1");
    answer(fakes[0], "GET k", "$7\r\na\033[2J\tb");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SCAN 0 *", "*2\r\n$1\r\n0\r\n*1\r\n$9\r\n%s",
                     "\303\244\302\233\377\"\355\240\200");
    kw_program_run_line(&run, false, NULL, server_line("scan"));
    assert_string_equal(run.out, "\303\244\\xc2\\x9b\\xff\"\\xed\\xa0\\x80\n");
    kw_program_run_line(&run, false, NULL, server_line("--json scan"));
    assert_string_equal(run.out,
                        "{\"command\":\"scan\",\"keys\":[\"\303\244\302\233\\ufffd\\\"\\ufffd"
                        "\\ufffd\\ufffd\"]}\n");
    kw_program_run_line(&run, true, NULL, server_line("get k"));
    expect_in("a\\x1b[2J"); /* the tab behind it is the terminal's to expand */
    kw_program_run_line(&run, false, NULL, server_line("get k"));
    assert_string_equal(run.out, "a\033[2J\tb\n");
}

static void test_del_that_is_interrupted_says_what_it_has_done(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "DBSIZE", ":1000");
    answer(fakes[0], "UNLINK *", ":1");
    kw_fake_on(
        fakes[0], KW_FAKE_ALWAYS, "SCAN 0 *",
        KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND("*2\r\n$1\r\n7\r\n*1\r\n$3\r\nbar\r\n")));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SCAN 7 *", "*2\r\n$1\r\n7\r\n*0"); /* no end */
    kw_program_run_line(&run, true, "\033[Kdel  ", server_line("del *"));
    assert_int_equal(run.status, 1);
    expect_in("1 key matched, 1 deleted");
    expect_in("keyway del: interrupted");
}

static void test_bench_that_is_interrupted_deletes_its_keys(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "GET *", "$-1");
    answer(fakes[0], "SET *", "+OK");
    answer(fakes[0], "DEL *", ":1");
    kw_program_run_line(&run, true, "\033[Kbench  ",
                        server_line("bench --requests 1000000000 --threads 1 --keys 5"));
    assert_int_equal(run.status, 1);
    expect_in("P99");
    expect_in("keyway bench: interrupted");
    assert_int_equal(kw_fake_count(fakes[0], "DEL *"), 5);
}

static void test_walk_begins_only_where_its_place_can_be_written(void **state)
{
    (void)state;
    char line[300];
    renew_servers();
    answer(fakes[0], "DBSIZE", ":1");
    snprintf(line, sizeof(line), "migrate redis://%s redis://%s --state /no/such/folder/x",
             kw_fake_address(fakes[0]), kw_fake_address(fakes[1]));
    kw_program_run_line(&run, false, NULL, line);
    assert_int_equal(run.status, 2);
    assert_string_equal(run.out, "");
    assert_non_null(strstr(run.err, "--state /no/such/folder/x: No such file or directory"));
}

static void test_options_and_help_are_given_as_elsewhere(void **state)
{
    (void)state;
    kw_program_run_line(&run, false, NULL, "help top");
    assert_int_equal(run.status, 0);
    expect_in("usage: keyway [-u URI] [--json] top [--every MS] [--times N]");
    kw_program_run_line(&run, false, NULL, "top --help");
    assert_int_equal(run.status, 0);
    expect_in("usage: keyway [-u URI] [--json] top [--every MS] [--times N]");
    kw_program_run_line(&run, false, NULL, "--color sometimes slot foo");
    assert_int_equal(run.status, 2);
    kw_program_run_line(&run, false, NULL, "--color=always slot foo");
    expect_in("\033[1mKEY");
    kw_program_run_line(&run, false, NULL, cluster_line("watch --times=1"));
    assert_int_equal(run.status, 0);
    kw_program_run_line(&run, false, NULL, "--node h:1 slot foo");
    assert_int_equal(run.status, 2);
}

static void test_command_that_concerns_one_node_goes_to_the_one_that_is_named(void **state)
{
    (void)state;
    char line[300];
    kw_program_run_line(&run, false, NULL, cluster_line("info"));
    assert_int_equal(run.status, 2);
    assert_non_null(strstr(run.err, "info concerns one node: keyway --node NODE info ..."));
    snprintf(line, sizeof(line), "--node %s %s", kw_fake_address(fakes[1]), cluster_line("info"));
    kw_program_run_line(&run, false, NULL, line);
    assert_int_equal(run.status, 0);
    assert_int_equal(kw_fake_count(fakes[1], "INFO"), 1);
    assert_int_equal(kw_fake_count(fakes[0], "INFO"), 0);
    snprintf(line, sizeof(line), "--node nope %s", cluster_line("info"));
    kw_program_run_line(&run, false, NULL, line);
    assert_int_equal(run.status, 2);
    assert_null(strstr(run.err, "options."));
    assert_non_null(strstr(run.err, "keyway: --node nope: "));
}

int main(int argc, char **argv)
{
    (void)argc;
    kw_program_find(argv[0]);
    unsetenv("KEYWAY_URI");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_leave_out_what_a_terminal_has_no_room_for),
        cmocka_unit_test(test_top_shows_the_busiest_nodes_that_a_low_terminal_has_room_for),
        cmocka_unit_test(test_top_shows_slots_by_what_servers_count_for_them),
        cmocka_unit_test(test_watch_sums_up_what_a_terminal_has_no_room_for),
        cmocka_unit_test(test_units_and_bars_are_of_ascii_where_there_is_no_utf8),
        cmocka_unit_test(test_keys_of_any_bytes_neither_steer_terminals_nor_break_json),
        cmocka_unit_test(test_del_that_is_interrupted_says_what_it_has_done),
        cmocka_unit_test(test_bench_that_is_interrupted_deletes_its_keys),
        cmocka_unit_test(test_walk_begins_only_where_its_place_can_be_written),
        cmocka_unit_test(test_options_and_help_are_given_as_elsewhere),
        cmocka_unit_test(test_command_that_concerns_one_node_goes_to_the_one_that_is_named),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
