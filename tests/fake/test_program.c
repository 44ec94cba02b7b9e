/* SPDX-License-Identifier: BSD-3-Clause */
/* The program keyway: what each subcommand prints, for people and as JSON, what it ends with, the
 * faults that check finds, and colours, which are for terminals only. */
#include "fake/fakes.h"
#include "support/program.h"

static kw_program_run run;

/* Runs a line; @ in it is the fakes' cluster, $ the first of them alone. */
static int run_line(const char *line)
{
    char full[1000] = "";
    for (; *line != '\0'; line++) {
        if (*line == '@' || *line == '$') {
            snprintf(full + strlen(full), sizeof(full) - strlen(full),
                     "-u redis%s://%s?timeout=10s", *line == '@' ? "-cluster" : "",
                     kw_fake_address(fakes[0]));
        } else {
            snprintf(full + strlen(full), sizeof(full) - strlen(full), "%c", *line);
        }
    }
    kw_program_run_line(&run, false, NULL, full);
    const char *from[FAKES_N];
    const char *const to[FAKES_N] = {"127.0.0.1:NODE0", "127.0.0.1:NODE1", "127.0.0.1:NODE2"};
    for (size_t i = 0; i < FAKES_N; i++) {
        from[i] = kw_fake_address(fakes[i]);
    }
    kw_program_rename(run.out, from, to, FAKES_N);
    kw_program_rename(run.err, from, to, FAKES_N);
    return run.status;
}

static void answer_info(kw_fake *fake, const char *pattern, const char *format, ...)
{
    char text[2000];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, pattern, "$%zu\r\n%s", strlen(text), text);
}

#define INFO "redis_version:%s\r\nused_memory:2097152\r\nloading:0\r\nconnected_slaves:%d\r\n"

/* A cluster of two primaries, of which the second has a replica. */
static void renew_cluster(void)
{
    renew_fakes();
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], fakes[2]}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "DBSIZE", ":3");
    }
}

static void answer_infos(void)
{
    for (size_t i = 0; i < 2; i++) {
        answer_info(fakes[i], "INFO", INFO "role:master\r\nmaster_repl_offset:1000\r\n", "8.0.0",
                    (int)i);
    }
    answer_info(fakes[2], "INFO",
                INFO "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:990\r\n", "8.0.0",
                0);
}

/* Two pages of keys on the first fake. */
static void answer_keys(void)
{
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SCAN 0 *", "*2\r\n$1\r\n7\r\n*1\r\n$3\r\nbar");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SCAN 7 *", "*2\r\n$1\r\n0\r\n*1\r\n$5\r\n{bar}");
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "MEMORY USAGE bar*", ":4096");
        answer(fakes[i], "MEMORY USAGE *", ":100");
        answer(fakes[i], "TYPE *", "+string");
        answer(fakes[i], "UNLINK *", ":1");
        answer(fakes[i], "DUMP *", "$3\r\nabc");
        answer(fakes[i], "PTTL *", ":-1");
        answer(fakes[i], "RESTORE *", "+OK");
    }
}

#define RING "-u redis-ring://a=h1:6379,b=h2:6379*2,c=h3:6379"

typedef struct golden {
    const char *name;
    const char *line;
    int status;
    bool is_level; /* its numbers differ from run to run */
} golden;

static const golden offline[] = {
    {"slot", "slot user:{42}:a foo", 0, false},
    {"slot_ring", RING " slot user:{42}:a foo", 0, false},
    {"slot_json", "--json slot user:{42}:a foo", 0, false},
    {"why", "why user:{42}:a", 0, false},
    {"why_ring", RING " why user:{42}:a", 0, false},
    {"why_json", RING " why user:{42}:a --json", 0, false},
    {"spread", RING " spread --vnodes", 0, false},
    {"spread_json", RING " spread --json", 0, false},
    {"whatif_add", RING " whatif add d=h4:6379", 0, false},
    {"whatif_remove", RING " whatif remove a", 0, false},
    {"whatif_reweight", RING " whatif reweight a 3", 0, false},
    {"spread_within", RING " spread --within 50", 0, false},
    {"whatif_json", RING " --json whatif add d=h4:6379", 0, false},
    {"completion_bash", "completion bash", 0, false},
    {"completion_zsh", "completion zsh", 0, false},
    {"completion_json", "--json completion bash", 0, false},
    {"version", "version", 0, true}, /* its numbers are the header's */
    {"version", "--version", 0, true},
    {"version_json", "version --json", 0, true},
    {"help", "help", 0, false},
    {"help_json", "--json help", 0, false},
    {"help", "--help", 0, false},
    {"help", "-h", 0, false},
};

static const golden live[] = {
    {"slot_live", "@ slot foo bar", 0, false},
    {"nodes", "@ nodes", 0, true},
    {"nodes_json", "@ --json nodes", 0, true},
    {"check", "@ check --replicas 0", 0, false},
    {"check_json", "@ check --replicas 0 --json", 0, false},
    {"top", "@ top --times 1 --every 1", 0, true},
    {"top_json", "@ top --times 1 --every 1 --json", 0, true},
    {"watch", "@ watch --times 2 --every 1", 0, true},
    {"watch_json", "@ watch --times 2 --every 1 --json", 0, true},
    {"bench", "@ bench --requests 20 --threads 2 --keys 5", 0, true},
    {"bench_json", "@ bench --requests 20 --threads 2 --keys 5 --json", 0, true},
    {"get", "@ get foo", 0, false},
    {"get_json", "@ --json get foo", 0, false},
    {"lrange", "@ lrange foo 0 -1", 0, false},
    {"lrange_json", "@ --json lrange foo 0 -1", 0, false},
};

static const golden of_keys[] = {
    {"scan", "$ scan", 0, false},
    {"scan_json", "$ scan --json", 0, false},
    {"bigkeys", "$ bigkeys --top 2", 0, false},
    {"bigkeys_json", "$ bigkeys --top 2 --json", 0, false},
    {"del_dry", "$ del *a* --dry-run", 0, false},
    {"del", "$ del *a*", 0, false},
    {"del_json", "$ del *a* --json", 0, false},
};

static void expect_golden(const golden *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[100];
        int status = run_line(rows[i].line);
        if (status != rows[i].status || run.err[0] != '\0') {
            fail_msg("%s ends with %d and says %s", rows[i].line, status, run.err);
        }
        if (rows[i].is_level) {
            kw_program_level(run.out);
        }
        snprintf(name, sizeof(name), "fake/program/%s.txt", rows[i].name);
        kw_program_expect(run.out, name);
    }
}

static bool has_golden(const golden *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0 && rows[i].status == 0) {
            return true;
        }
    }
    return false;
}

static void expect_has(const char *name, const char *end)
{
    char full[80];
    snprintf(full, sizeof(full), "%s%s", name, end);
    if (!has_golden(offline, sizeof(offline) / sizeof(offline[0]), full) &&
        !has_golden(live, sizeof(live) / sizeof(live[0]), full) &&
        !has_golden(of_keys, sizeof(of_keys) / sizeof(of_keys[0]), full)) {
        fail_msg("no row says what %s is", full);
    }
}

static void test_every_subcommand_has_a_golden_text_and_golden_json(void **state)
{
    (void)state;
    char said[KW_PROGRAM_TEXT];
    run_line("--json help");
    snprintf(said, sizeof(said), "%s", run.out);
    for (const char *at = said; (at = strstr(at, "\"name\":\"")) != NULL;) {
        char name[40];
        at += 8;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "\""), at);
        /* These two are below, and with real servers. */
        if (strcmp(name, "migrate") != 0 && strcmp(name, "repair") != 0) {
            expect_has(name, strcmp(name, "completion") == 0 ? "_bash"
                             : strcmp(name, "whatif") == 0   ? "_add"
                                                             : "");
            expect_has(name, "_json");
        }
    }
}

static void test_program_prints_what_it_did_before(void **state)
{
    (void)state;
    renew_cluster();
    answer_infos();
    answer_keys();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer_info(fakes[i], "INFO all",
                    INFO "total_commands_processed:100\r\nconnected_clients:2\r\n"
                         "total_error_replies:0\r\n",
                    "8.0.0", 0);
        answer(fakes[i], "SET *", "+OK");
        answer(fakes[i], "DEL *", ":1");
        answer(fakes[i], "GET *", "$3\r\nbar");
        answer(fakes[i], "LRANGE *", "*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n$1\r\nb");
    }
    expect_golden(offline, sizeof(offline) / sizeof(offline[0]));
    expect_golden(live, sizeof(live) / sizeof(live[0]));
    renew_servers();
    answer_keys();
    answer(fakes[0], "DBSIZE", ":2");
    expect_golden(of_keys, sizeof(of_keys) / sizeof(of_keys[0]));
}

static void test_program_ends_with_0_1_or_2(void **state)
{
    (void)state;
    renew_cluster();
    answer_infos();
    answer(fakes[1], "GET foo", "-WRONGTYPE no");
    answer(fakes[1], "SET foo *", "+OK");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "PING", "-ERR not now");
        answer(fakes[i], "GET *", "-ERR not now");
        answer(fakes[i], "SET *", "-ERR not now");
        answer(fakes[i], "UNLINK *", "-ERR not now");
        answer(fakes[i], "MEMORY *", ":1");
        answer(fakes[i], "TYPE *", "+string");
    }
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SCAN 0 *", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nbar");
    const struct {
        const char *line;
        int status;
    } rows[] = {
        {"", 2},
        {"--no-such-option", 2},
        {"-u", 2},
        {"slot", 2},
        {"slot --no-such-option", 2},
        {"slot -- --a-key", 0},
        {"get foo", 2}, /* whom to ask? */
        {"-u redis://127.0.0.1:1?timeout=1s get foo", 2},
        {"-u nonsense://h get foo", 2},
        {"-u redis://127.0.0.1:1?timeout=1s nodes", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s nodes", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s check", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s top", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s watch", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s bench", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s scan", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s del x", 2},
        {"-u redis-cluster://127.0.0.1:1?timeout=1s slot x", 1},
        {"@ set foo bar", 0},
        {"@ get foo", 1},
        {"@ incr foo", 1},
        {"@ -- del", 2},
        {"@ del", 2},
        {"@ spread", 2},
        {"@ bench --threads 0", 2},
        {"@ bench --threads many", 2},
        {"@ bench --threads", 2},
        {"@ bigkeys --top 0", 2},
        {"@ migrate one", 2},
        {"@ repair", 2},
        {"@ scan", 1},            /* SCAN is not known there */
        {"@ watch --times 1", 1}, /* below, each is what its servers answer */
        {"@ bench --requests 4 --threads 1", 1},
        {"$ del *", 1},
        {"$ bigkeys", 0},
        {"@ top --every soon", 2},
        {"@ why", 2},
        {"@ why foo", 0},
        {"completion", 2},
        {"completion fish", 2},
        {RING " whatif add", 2},
        {RING " whatif turn a", 2},
        {RING " whatif remove zz", 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = run_line(rows[i].line);
        if (status != rows[i].status || (status == 2 && run.err[0] == '\0' && *rows[i].line)) {
            fail_msg("\"%s\" ends with %d, not %d, and says %s%s", rows[i].line, status,
                     rows[i].status, run.out, run.err);
        }
    }
}

/* check finds what is planted, and ends with 1. */
static void expect_fault(const char *options, const char *check, const char *node, const char *text)
{
    char line[200];
    char expected[300];
    snprintf(line, sizeof(line), "@ check --json %s", options);
    int status = run_line(line);
    snprintf(expected, sizeof(expected),
             "{\"state\":\"fault\",\"check\":\"%s\",\"node\":\"%s\",\"text\":\"%s", check, node,
             text);
    if (status != 1 || strstr(run.out, expected) == NULL) {
        fail_msg("%s is not in what ended with %d:\n%s%s", expected, status, run.out, run.err);
    }
}

static void test_check_finds_planted_faults(void **state)
{
    (void)state;
    renew_cluster();
    answer_infos();
    expect_fault("", "replicas", "127.0.0.1:NODE0", "0 of 1 replicas are with it");
    expect_fault("--lag 5 --replicas 0", "lag", "127.0.0.1:NODE2", "is 10 B behind its primary");

    const kw_fake_range hole[] = {{0, 8000, fakes[0], NULL}, {8003, 16383, fakes[1], fakes[2]}};
    kw_fake_set_cluster(fakes, FAKES_N, hole, 2);
    expect_fault("--replicas 0", "holes", "", "slots 8001 to 8002 have no owner");

    renew_cluster();
    answer_infos();
    kw_fake_on_reply(fakes[2], KW_FAKE_ALWAYS, "CLUSTER SLOTS",
                     "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nx",
                     kw_fake_port(fakes[0]));
    expect_fault("--replicas 0", "agreement", "127.0.0.1:NODE2", "names other owners than");

    renew_cluster();
    answer_info(fakes[0], "INFO", INFO, "7.2.0", 0);
    answer_infos();
    expect_fault("--replicas 0", "versions", "127.0.0.1:NODE1", "is 8.0.0, others are 7.2.0");

    renew_cluster();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INFO", "-NOAUTH Authentication required.");
    answer_infos();
    expect_fault("--replicas 0", "login", "127.0.0.1:NODE1", "the server says: NOAUTH");

    renew_cluster();
    answer_info(fakes[2], "INFO", INFO "role:slave\r\nmaster_link_status:down\r\n", "8.0.0", 0);
    answer_infos();
    expect_fault("--replicas 0", "lag", "127.0.0.1:NODE2", "its link to the primary is down");

    renew_servers();
    answer_info(fakes[0], "INFO", INFO "role:master\r\ncluster_enabled:1\r\n", "8.0.0", 0);
    assert_int_equal(run_line("$ check"), 1);
    assert_non_null(strstr(run.out, "check all of it by redis-cluster://127.0.0.1:NODE0"));
}

/* A cluster whose slots were handed out one by one. */
static void test_check_finds_no_hole_where_a_node_has_many_ranges(void **state)
{
    (void)state;
    enum { SINGLE = 4000 };
    static kw_fake_range ranges[SINGLE + 1];
    renew_cluster();
    answer_infos();
    for (unsigned slot = 0; slot < SINGLE; slot++) {
        ranges[slot] = (kw_fake_range){slot, slot, fakes[slot % 2], NULL};
    }
    ranges[SINGLE] = (kw_fake_range){SINGLE, 16383, fakes[2], NULL};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, SINGLE + 1);
    run_line("@ check --replicas 0");
    assert_non_null(strstr(run.out, "16384 slots have owners"));
}

/* What a server says instead of a number is none in JSON. */
static void test_top_prints_numbers_alone(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer_info(fakes[i], "INFO all",
                    "used_memory:nan\r\nconnected_clients:inf\r\n"
                    "errorstat_MOVED:count=nan\r\ncmdstat_get:calls=1,usec=1e999\r\n");
    }
    assert_int_equal(run_line("@ top --times 1 --every 1 --json"), 0);
    assert_null(strstr(run.out, "nan"));
    assert_null(strstr(run.out, "inf"));
}

static void test_words_that_nobody_knows_get_a_hint(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "SCNA", "-ERR unknown command 'scna', with args beginning with: ");
    assert_int_equal(run_line("$ scna"), 1);
    assert_non_null(strstr(run.err, "\"scna\" is no subcommand"));
    assert_int_equal(run_line("--no-such-option"), 2);
    assert_non_null(strstr(run.err, "keyway help lists all"));
}

static void test_colours_are_for_terminals(void **state)
{
    (void)state;
    run_line("slot foo");
    assert_null(strstr(run.out, "\033["));
    run_line("--color always slot foo");
    assert_non_null(strstr(run.out, "\033[1mKEY"));
    kw_program_run_line(&run, true, NULL, "slot foo");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.out, "\033[1mKEY"));
    kw_program_run_line(&run, true, NULL, "--color never slot foo");
    assert_null(strstr(run.out, "\033["));
    kw_program_run_line(&run, true, NULL, "--json slot foo");
    assert_null(strstr(run.out, "\033["));
}

static void test_long_work_has_a_bar_on_terminals(void **state)
{
    (void)state;
    char line[200];
    renew_servers();
    kw_fake_on(
        fakes[0], KW_FAKE_ALWAYS, "SCAN 0 *",
        KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND("*2\r\n$1\r\n7\r\n*1\r\n$3\r\nbar\r\n")));
    answer_keys();
    answer(fakes[0], "DBSIZE", ":2");
    snprintf(line, sizeof(line), "-u redis://%s?timeout=10s del *", kw_fake_address(fakes[0]));
    kw_program_run_line(&run, true, NULL, line);
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.out, "\r\033[Kdel  "));
    assert_non_null(strstr(run.out, "2 keys matched, 2 deleted"));
    kw_program_run_line(&run, false, NULL, line);
    assert_string_equal(run.err, "");
}

static void test_top_refreshes_its_screen_until_interrupted(void **state)
{
    (void)state;
    char line[200];
    renew_cluster();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer_info(fakes[i], "INFO all", INFO, "8.0.0", 0);
    }
    snprintf(line, sizeof(line), "-u redis-cluster://%s?timeout=10s top --every 10",
             kw_fake_address(fakes[0]));
    kw_program_run_line(&run, true, "\033[J", line);
    assert_int_equal(run.status, 0);
    assert_int_equal(strncmp(run.out, "\033[?1049h\033[?25l", 14), 0);
    assert_non_null(strstr(run.out, "\033[H\033[J"));
    assert_non_null(strstr(run.out, "CALLS/s"));
    assert_non_null(strstr(run.out, "\033[?25h\033[?1049l")); /* the screen is as before */
}

static void test_migrate_copies_what_has_another_owner(void **state)
{
    (void)state;
    char line[600];
    renew_servers();
    answer_keys();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "DBSIZE", ":3");
    }
    /* Of one server's keys all go to another one; of a server to itself none. */
    snprintf(line, sizeof(line), "--json migrate redis://%s redis://%s --verify",
             kw_fake_address(fakes[0]), kw_fake_address(fakes[2]));
    assert_int_equal(run_line(line), 1); /* the fakes' dumps are too short to be equal */
    kw_program_expect(run.out, "fake/program/migrate_json.txt");
    assert_int_equal(kw_fake_count(fakes[2], "RESTORE bar 0 abc"), 1);
    snprintf(line, sizeof(line), "migrate redis://%s redis://%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[0]));
    assert_int_equal(run_line(line), 0);
    kw_program_expect(run.out, "fake/program/migrate_same.txt");
    snprintf(line, sizeof(line), "--json migrate redis://%s redis://%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[0]));
    assert_int_equal(run_line(line), 0);
    kw_program_expect(run.out, "fake/program/migrate_same_json.txt");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "RESTORE *", "-BUSYKEY there already");
    kw_fake_reset(fakes[2]);
    kw_fake_on_reply(fakes[2], KW_FAKE_ALWAYS, "RESTORE *", "-BUSYKEY there already");
    snprintf(line, sizeof(line), "migrate redis://%s redis://%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[2]));
    assert_int_equal(run_line(line), 0);
    kw_program_expect(run.out, "fake/program/migrate.txt");
}

/* A key in its last millisecond: RESTORE takes 0 for a life without end. */
static void test_migrate_makes_no_key_that_ends_immortal(void **state)
{
    (void)state;
    char line[600];
    renew_servers();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "PTTL *", ":0");
    answer_keys();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "DBSIZE", ":3");
    }
    snprintf(line, sizeof(line), "migrate redis://%s redis://%s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[2]));
    assert_int_equal(run_line(line), 0);
    assert_int_equal(kw_fake_count(fakes[2], "RESTORE *"), 0);
    assert_non_null(strstr(run.out, "2 gone meanwhile"));
}

/* A line that has an apostrophe in its words would leave a quotation open. */
static void test_completion_closes_its_quotations(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh"};
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        char line[100];
        snprintf(line, sizeof(line), "completion %s", shells[i]);
        assert_int_equal(run_line(line), 0);
        bool is_open = false;
        for (const char *at = run.out; *at != '\0'; at++) {
            if (*at == '\'') {
                is_open = !is_open;
            } else if (*at == '\\' && !is_open && at[1] == '\'') {
                at++;
            } else if (*at == '\n' && is_open) {
                fail_msg("%s: open before %.60s", shells[i], at + 1);
            }
        }
    }
}

static void test_bash_completes_behind_a_uri(void **state)
{
    (void)state;
    static const char *const lines[] = {"-u redis : //127.0.0.1 : 7000", "--uri = redis : //h : 1",
                                        "-u localhost", "--color always"};
    if (system("command -v bash >/dev/null") != 0) {
        skip();
    }
    assert_int_equal(run_line("completion bash"), 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        FILE *bash = popen("bash", "w");
        assert_non_null(bash);
        fprintf(bash,
                "%s\nCOMP_WORDS=(keyway %s benc)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_keyway\n"
                "[ \"${COMPREPLY[*]}\" = bench ]\n",
                run.out, lines[i]);
        assert_int_equal(pclose(bash), 0);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    kw_program_find(argv[0]);
    unsetenv("KEYWAY_URI");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_prints_what_it_did_before),
        cmocka_unit_test(test_every_subcommand_has_a_golden_text_and_golden_json),
        cmocka_unit_test(test_program_ends_with_0_1_or_2),
        cmocka_unit_test(test_check_finds_planted_faults),
        cmocka_unit_test(test_check_finds_no_hole_where_a_node_has_many_ranges),
        cmocka_unit_test(test_top_prints_numbers_alone),
        cmocka_unit_test(test_words_that_nobody_knows_get_a_hint),
        cmocka_unit_test(test_colours_are_for_terminals),
        cmocka_unit_test(test_long_work_has_a_bar_on_terminals),
        cmocka_unit_test(test_top_refreshes_its_screen_until_interrupted),
        cmocka_unit_test(test_migrate_copies_what_has_another_owner),
        cmocka_unit_test(test_migrate_makes_no_key_that_ends_immortal),
        cmocka_unit_test(test_completion_closes_its_quotations),
        cmocka_unit_test(test_bash_completes_behind_a_uri),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
