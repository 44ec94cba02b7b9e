/* SPDX-License-Identifier: BSD-3-Clause */
/* The program keyway where something is wrong: what each subcommand prints, for people and as JSON,
 * with a fault that is found (1), and where it cannot begin (2). A transcript for each. */
#include "fake/fakes.h"
#include "support/program.h"

#include <unistd.h>

static kw_program_run run;
static char transcript[KW_PROGRAM_TEXT];

/* Nobody listens there. */
#define NOBODY "-u redis-cluster://127.0.0.1:1?timeout=100ms"
#define RING   "-u redis-ring://a=h1:6379,b=h2:6379*2,c=h3:6379"

/* Lines of each subcommand: @ in it is the fakes' cluster, $ the first of them alone, % a ring of
 * copies on them. */
typedef struct row {
    const char *name;
    const char *line;
    int status;
} row;

/* What cannot begin: wrong arguments, nobody to ask. */
static const row unable[] = {
    {"slot", "slot", 2},
    {"slot", "--json slot --no-such-option", 2},
    {"slot", "-u nonsense://h slot foo", 2},
    {"why", "why", 2},
    {"why", "-u nonsense://h --json why foo", 2},
    {"spread", "spread", 2},
    {"spread", "--json spread too many", 2},
    {"spread", NOBODY " spread", 2},
    {"spread", RING " spread --within half", 2},
    {"whatif", RING " whatif add", 2},
    {"whatif", RING " --json whatif turn a", 2},
    {"whatif", "whatif remove a", 2},
    {"whatif", RING " whatif reweight a x", 2},
    {"whatif", RING " --json whatif reweight a 4294967297", 2},
    {"nodes", "nodes", 2},
    {"nodes", NOBODY " --json nodes", 2},
    {"nodes", "-u redis://127.0.0.1:1?timeout=100ms nodes", 2},
    {"check", "check --lag", 2},
    {"check", NOBODY " --json check", 2},
    {"top", "top --every soon", 2},
    {"top", NOBODY " --json top", 2},
    {"watch", "watch --times never", 2},
    {"watch", NOBODY " --json watch", 2},
    {"bench", "@ bench --threads 0", 2},
    {"bench", "@ bench --threads", 2},
    {"bench", "@ bench -n x", 2},
    {"bench", NOBODY " --json bench", 2},
    {"scan", "scan a b", 2},
    {"scan", NOBODY " --json scan", 2},
    {"bigkeys", "@ bigkeys --top 0", 2},
    {"bigkeys", NOBODY " --json bigkeys", 2},
    {"del", "@ del", 2},
    {"del", NOBODY " --json del x", 2},
    {"migrate", "migrate redis://h", 2},
    {"migrate", "--json migrate redis-cluster://127.0.0.1:1?timeout=100ms redis://h", 2},
    {"repair", "@ repair", 2},
    {"repair", "--json repair --state", 2},
    {"completion", "completion", 2},
    {"completion", "--json completion fish", 2},
    {"version", "version of what", 2},
    {"version", "--json version 1", 2},
    {"help", "help me", 2},
    {"help", "--json help me", 2},
    {"plain", "get foo", 2},
    {"plain", NOBODY " --json get foo", 2},
    {"plain", "--no-such-option", 2},
};

/* What is found where servers refuse nearly everything. */
static const row faults[] = {
    {"slot", NOBODY " slot foo", 1},
    {"slot", NOBODY " --json slot foo", 1},
    {"why", NOBODY " why foo", 1},
    {"why", NOBODY " --json why foo", 1},
    {"spread", RING " spread --within 1", 1},
    {"spread", RING " --json spread --within 1", 1},
    {"whatif", RING " whatif remove z", 1},
    {"whatif", RING " --json whatif remove z", 1},
    {"nodes", "@ nodes", 1},
    {"nodes", "@ --json nodes", 1},
    {"check", "@ check", 1},
    {"check", "@ --json check", 1},
    {"top", "@ top --times 1 --every 1", 1},
    {"top", "@ --json top --times 1 --every 1", 1},
    {"watch", "@ watch --times 1", 1},
    {"watch", "@ --json watch --times 1", 1},
    {"bench", "@ bench --requests 4 --threads 1", 1},
    {"bench", "@ --json bench --requests 4 --threads 1", 1},
    {"scan", "$ scan", 1},
    {"scan", "$ --json scan", 1},
    {"bigkeys", "$ bigkeys", 1},
    {"bigkeys", "$ --json bigkeys", 1},
    {"del", "$ del *", 1},
    {"del", "$ --json del *", 1},
    {"migrate", "migrate redis://NODE0?timeout=10s redis://NODE1?timeout=10s", 1},
    {"migrate", "--json migrate redis://NODE0?timeout=10s redis://NODE1?timeout=10s", 1},
    {"repair", "% repair", 1},
    {"repair", "% --json repair", 1},
    {"plain", "@ get foo", 1},
    {"plain", "@ --json get foo", 1},
    {"plain", "@ scna foo", 1},
};

/* What is found where all that is wrong is a standard output that is full. */
static const row unwritten[] = {
    {"slot", "slot foo", 1},       {"completion", "completion bash", 1},
    {"version", "version", 1},     {"version", "--json version", 1},
    {"help", "help", 1},           {"help", "--json help", 1},
    {"spread", RING " spread", 1}, {"completion", "--json completion zsh", 1},
};

static void add(char *to, size_t to_len, const char *text)
{
    size_t len = strlen(to);
    snprintf(to + len, to_len - len, "%s", text);
}

/* The line with the fakes' addresses in the places of its marks. */
static void fill_in(char *full, size_t full_len, const char *line)
{
    char one[300];
    full[0] = '\0';
    for (; *line != '\0'; line++) {
        if (*line == '@' || *line == '$') {
            snprintf(one, sizeof(one), "-u redis%s://%s?timeout=10s",
                     *line == '@' ? "-cluster" : "", kw_fake_address(fakes[0]));
        } else if (*line == '%') {
            snprintf(one, sizeof(one), "-u redis-ring://a=%s,b=%s,c=%s?timeout=10s&copies=3",
                     kw_fake_address(fakes[0]), kw_fake_address(fakes[1]),
                     kw_fake_address(fakes[2]));
        } else if (strncmp(line, "NODE", 4) == 0) {
            line += 4;
            snprintf(one, sizeof(one), "%s", kw_fake_address(fakes[*line - '0']));
        } else {
            snprintf(one, sizeof(one), "%c", *line);
        }
        add(full, full_len, one);
    }
}

/* Runs the line of a row, and adds what came of it to the transcript. */
static void play(const row *what, const char *into)
{
    char full[2000];
    char head[1000];
    const char *from[FAKES_N];
    const char *const to[FAKES_N] = {"127.0.0.1:NODE0", "127.0.0.1:NODE1", "127.0.0.1:NODE2"};
    fill_in(full, sizeof(full), what->line);
    if (into != NULL) {
        kw_program_run_into(&run, into, full);
    } else {
        kw_program_run_line(&run, false, NULL, full);
    }
    for (size_t i = 0; i < FAKES_N; i++) {
        from[i] = kw_fake_address(fakes[i]);
    }
    if (run.status != what->status || (run.status == 2 && run.err[0] == '\0')) {
        fail_msg("\"%s\" ends with %d, not %d, and says %s%s", what->line, run.status, what->status,
                 run.out, run.err);
    }
    kw_program_rename(run.out, from, to, FAKES_N);
    kw_program_rename(run.err, from, to, FAKES_N);
    kw_program_level(run.out);
    kw_program_level(run.err);
    if (strstr(run.err, "Connection refused") != NULL) { /* by which of its tries is as it comes */
        snprintf(strchr(run.err, ':'), 40, ": .. Connection refused ..\n");
    }
    snprintf(head, sizeof(head), "$ keyway %s%s%s\n", what->line, into != NULL ? " > " : "",
             into != NULL ? into : "");
    add(transcript, sizeof(transcript), head);
    add(transcript, sizeof(transcript), run.out);
    add(transcript, sizeof(transcript), run.err);
    snprintf(head, sizeof(head), "[%d]\n", run.status);
    add(transcript, sizeof(transcript), head);
}

static void play_all(const char *name, const row *rows, size_t n, const char *into)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            play(&rows[i], into);
        }
    }
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* A line with that status, for people or as JSON. */
static bool has_line(const row *rows, size_t n, const char *name, int status, bool is_json)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0 && rows[i].status == status &&
            (strstr(rows[i].line, "--json") != NULL) == is_json) {
            return true;
        }
    }
    return false;
}

/* Servers of a cluster that say where slots and keys are, and refuse the rest. */
static void renew_refusing(const char *name)
{
    static const char *const walks[] = {"scan", "bigkeys", "del", "migrate", "repair"};
    static const char *const refused[] = {"PING",     "GET *",  "SET *",  "MEMORY *",
                                          "UNLINK *", "DUMP *", "PTTL *", "RESTORE *"};
    bool is_walk = false;
    for (size_t i = 0; i < COUNT(walks); i++) {
        is_walk = is_walk || strcmp(name, walks[i]) == 0;
    }
    renew_fakes();
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], fakes[2]}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "DBSIZE", ":1");
        answer(fakes[i], "TYPE *", "+string");
        answer(fakes[i], "SCNA *", "-ERR unknown command 'scna', with args beginning with: 'foo'");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "SCAN 0 *",
                         strcmp(name, "scan") == 0 ? "-ERR not now"
                                                   : "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nbar");
        for (size_t k = 0; k < COUNT(refused); k++) {
            answer(fakes[i], refused[k], "-ERR not now");
        }
        if (!is_walk) { /* who walks asks who it is that answers */
            answer(fakes[i], "INFO*", "-ERR not now");
        }
    }
}

static const char *const names[] = {
    "slot", "why",     "spread", "whatif",  "nodes",  "check",      "top",     "watch", "bench",
    "scan", "bigkeys", "del",    "migrate", "repair", "completion", "version", "help",  "plain"};

static void test_program_says_what_is_wrong(void **state)
{
    (void)state;
    bool is_full = access("/dev/full", W_OK) == 0; /* not everywhere */
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[100];
        transcript[0] = '\0';
        renew_refusing(names[i]);
        play_all(names[i], unable, COUNT(unable), NULL);
        play_all(names[i], faults, COUNT(faults), NULL);
        if (is_full) {
            play_all(names[i], unwritten, COUNT(unwritten), "/dev/full");
            snprintf(path, sizeof(path), "fake/program/wrong_%s.txt", names[i]);
            kw_program_expect(transcript, path);
        }
    }
}

/* What is printed does not go to a server, whose connection would have the number of a standard
 * output that is closed. */
static void test_program_without_an_output_prints_to_no_server(void **state)
{
    (void)state;
    static const char *const lines[] = {"$ watch --every 1 --times 3", "$ top --every 1 --times 2",
                                        "$ nodes", "$ get foo", "slot foo"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        char full[2000];
        renew_fakes();
        fill_in(full, sizeof(full), lines[i]);
        kw_program_run_into(&run, NULL, full);
        if (run.status != 1 || strstr(run.err, "could not be written") == NULL) {
            fail_msg("%s ends with %d, and says: %s", lines[i], run.status, run.err);
        }
        assert_int_equal(kw_fake_count(fakes[0], "TIME*"), 0);
    }
}

static void test_every_subcommand_has_lines_that_end_with_1_and_2(void **state)
{
    (void)state;
    kw_program_run_line(&run, false, NULL, "--json help");
    assert_int_equal(run.status, 0);
    size_t n = 0;
    for (const char *at = strstr(run.out, "\"name\":\""); at != NULL;
         at = strstr(at + 1, "\"name\":\"")) {
        char name[40];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 8, "\""), at + 8);
        for (int is_json = 0; is_json <= 1; is_json++) {
            if (!has_line(unable, COUNT(unable), name, 2, is_json != 0) ||
                (!has_line(faults, COUNT(faults), name, 1, is_json != 0) &&
                 !has_line(unwritten, COUNT(unwritten), name, 1, is_json != 0))) {
                fail_msg("%s has no line that fails%s", name, is_json != 0 ? " with --json" : "");
            }
        }
        n++;
    }
    assert_int_equal(n, COUNT(names) - 1); /* all but "plain" */
}

int main(int argc, char **argv)
{
    (void)argc;
    kw_program_find(argv[0]);
    unsetenv("KEYWAY_URI");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_says_what_is_wrong),
        cmocka_unit_test(test_program_without_an_output_prints_to_no_server),
        cmocka_unit_test(test_every_subcommand_has_lines_that_end_with_1_and_2),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
