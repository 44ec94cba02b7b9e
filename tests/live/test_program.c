/* SPDX-License-Identifier: BSD-3-Clause */
/* The program keyway with real servers: a cluster is looked at and measured, its keys are copied to
 * a ring and verified, counted, deleted; a copy that is missing on a ring is brought up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include "live/ring_servers.h"
#include "support/cluster.h"
#include "support/program.h"

#include <unistd.h>

static kw_program_run run;

/* Runs the line behind the URI; what is printed has each of the parts, which are joined by |. */
static void expect(const char *uri, const char *line, int status, const char *parts)
{
    char full[2000];
    char wanted[500];
    snprintf(full, sizeof(full), "-u %s %s", uri, line);
    kw_program_run_line(&run, false, NULL, full);
    if (run.status != status) {
        fail_msg("%s ends with %d: %s%s", line, run.status, run.out, run.err);
    }
    snprintf(wanted, sizeof(wanted), "%s", parts);
    for (char *part = strtok(wanted, "|"); part != NULL; part = strtok(NULL, "|")) {
        if (strstr(run.out, part) == NULL) {
            fail_msg("%s: \"%s\" is not in %s", line, part, run.out);
        }
    }
}

static void ring_text(char *uri, size_t uri_len, ring_servers *servers, const char *options)
{
    snprintf(uri, uri_len, "redis-ring://a=%s,b=%s,c=%s?timeout=20s%s",
             kw_test_server_address(servers->servers[0]),
             kw_test_server_address(servers->servers[1]),
             kw_test_server_address(servers->servers[2]), options);
}

/* Texts that end by themselves, and lists that do not. */
static void fill(const char *uri)
{
    kw_client *kw = kw_open(uri, NULL);
    for (int i = 0; i < 300; i++) {
        kw_reply_free(i % 2 == 0 ? kw_command(kw, NULL, "SET key:%d %d PX 600000", i, i)
                                 : kw_command(kw, NULL, "RPUSH key:%d a b %d", i, i));
    }
    kw_close(kw);
}

/* Leaves in a file how far a walk over the keys is that has given some; how many those were. */
static size_t begin_walk(const char *uri, const char *path)
{
    kw_client *kw = kw_open(uri, NULL);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    options.count = 10;
    kw_scan *scan = kw_scan_open(kw, NULL, &options);
    size_t given_n = 0;
    while (given_n == 0) {
        assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
        given_n = batch.count;
    }
    FILE *file = fopen(path, "w");
    fprintf(file, "%s\n", kw_scan_cursor(scan, NULL));
    fclose(file);
    kw_scan_close(scan);
    kw_close(kw);
    return given_n;
}

/* A migration goes on behind the keys that another run has copied, and then forgets where it was.
 */
static void go_on(const char *uri, const char *ring, kw_test_server *server)
{
    char path[300];
    char line[1900];
    char copied[60];
    snprintf(path, sizeof(path), "%s/walk", kw_test_server_folder(server));
    size_t given_n = begin_walk(uri, path);
    snprintf(line, sizeof(line), "--json migrate %s %s --replace --state %s", uri, ring, path);
    snprintf(copied, sizeof(copied), "\"copied\":%zu,", 300 - given_n);
    expect(uri, line, 0, copied);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_program_looks_at_a_cluster_and_moves_its_keys(void **state)
{
    ring_servers *servers = *state;
    char uri[600];
    char ring[600];
    char line[1500];
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, NULL);
    snprintf(uri, sizeof(uri), "%s?timeout=20s", kw_test_cluster_uri(cluster));
    ring_text(ring, sizeof(ring), servers, "");
    expect(uri, "nodes", 0, "NODE|primary|ok|0-5460|-16383");
    expect(uri, "check", 0, "all is well|16384 slots have owners|all tell the same owners");
    expect(uri, "bench --requests 600 --threads 3 --keys 50", 0, "all|P99");
    expect(uri, "bench --requests 60 --threads 3 --keys 50 --json", 0, "\"failures\":0");
    expect(uri, "top --times 1 --every 50", 0, "CALLS/s|primary|ok");
    expect(uri, "watch --times 2 --every 10 --write", 0, "TIME|map ");
    expect(uri, "scan --json", 0, "{\"command\":\"scan\",\"keys\":[]}");
    fill(uri);
    snprintf(line, sizeof(line), "--json migrate %s %s --verify", uri, ring);
    expect(uri, line, 0, "\"copied\":300|\"verified\":300|\"differ\":0");
    snprintf(line, sizeof(line), "--json migrate %s %s --match key:1*", uri, ring);
    expect(uri, line, 0, "\"copied\":0|\"already_there\":111");
    go_on(uri, ring, servers->servers[0]);
    expect(ring, "get key:10", 0, "10\n");
    expect(ring, "lrange key:11 0 -1", 0, "3) 11\n");
    expect(ring, "--json ttl key:11", 0, "-1\n");
    expect(ring, "bigkeys --top 3 --json", 0, "\"seen\":300|\"type\":\"list\"");
    expect(ring, "del key:2* --dry-run", 0, "111 keys match; none was deleted");
    expect(ring, "del key:2*", 0, "111 keys matched, 111 deleted");
    expect(ring, "check", 0, "all is well");
    kw_test_server_ok(kw_test_cluster_node(cluster, 0), "CLUSTER DELSLOTS 7");
    expect(uri, "check", 1, "fault|agreement");
    kw_test_cluster_free(cluster);
}

/* Keys of a ring that are not of the library's own. */
static long long keys_of(kw_test_server *server)
{
    return kw_test_server_integer(server, "EXISTS a b c d e");
}

static void test_repair_brings_copies_up(void **state)
{
    ring_servers *servers = *state;
    char uri[600];
    ring_text(uri, sizeof(uri), servers, "&copies=3");
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_ok(servers->servers[i], "FLUSHALL");
    }
    kw_client *kw = kw_open(uri, NULL);
    kw_quorum *quorum = kw_quorum_new(kw, NULL);
    for (int i = 0; i < 5; i++) {
        char key[2] = {(char)('a' + i), '\0'};
        assert_int_equal(kw_quorum_set(quorum, NULL, key, 1, "v", 1), KW_OK);
    }
    kw_quorum_free(quorum);
    kw_close(kw);
    kw_test_server_ok(servers->servers[1], "FLUSHALL");
    expect(uri, "repair", 0, "all agree");
    kw_program_expect(run.out, "live/program/repair.txt");
    assert_int_equal(keys_of(servers->servers[1]), 5);
    expect(uri, "repair --json", 0, "\"result\":\"agree\"");
    kw_program_expect(run.out, "live/program/repair_json.txt");
    kw_test_server_ok(servers->servers[1],
                      "CONFIG SET min-replicas-to-write 1"); /* refuses writes */
    expect(uri, "repair", 1, "");
    assert_non_null(strstr(run.err, "keyway repair: "));
}

static void test_check_finds_a_login_that_is_refused(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("requirepass secret\n");
    char uri[200];
    snprintf(uri, sizeof(uri), "redis://:wrong@%s?timeout=2s", kw_test_server_address(server));
    expect(uri, "check", 1, "fault|login");
    expect(uri, "nodes", 1, "AUTH");
    kw_test_server_free(server);
}

int main(int argc, char **argv)
{
    (void)argc;
    kw_program_find(argv[0]);
    unsetenv("KEYWAY_URI");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_looks_at_a_cluster_and_moves_its_keys),
        cmocka_unit_test(test_repair_brings_copies_up),
        cmocka_unit_test(test_check_finds_a_login_that_is_refused),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
