/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts a cluster, runs each program named on the command line with its URI, and
 * fails where one fails or says nothing. Those about rings get plain servers;
 * one_program gets one server, a Sentinel group and the cluster, and its server dies
 * while it runs. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/keeper.h"
#include "support/server.h"

/* Bytes that the program wrote to standard output; stops where it fails. */
static size_t run(const char *program, const char *arguments)
{
    char command[1024];
    char line[1024];
    size_t bytes = 0;
    snprintf(command, sizeof(command), "'%s' %s", program, arguments);
    printf("%s\n", command);
    FILE *output = popen(command, "r");
    if (output == NULL) {
        kw_test_die("cannot run %s", program);
    }
    for (size_t got; (got = fread(line, 1, sizeof(line), output)) > 0;) {
        fwrite(line, 1, got, stdout);
        bytes += got;
    }
    int status = pclose(output);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        kw_test_die("%s fails with status %d", program, status);
    }
    return bytes;
}

enum { PLAIN = 3 };

/* What a program is called with. */
static void choose(char *arguments, size_t len, const char *program, const char *cluster,
                   kw_test_server *const *plain)
{
    const char *a = kw_test_server_address(plain[0]);
    const char *b = kw_test_server_address(plain[1]);
    const char *c = kw_test_server_address(plain[2]);
    if (strstr(program, "ring_members") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s' 'c=%s'", a, b, c);
    } else if (strstr(program, "ring_migrate") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s' 'redis-ring://a=%s,b=%s,c=%s'", a, b, a,
                 b, c);
    } else if (strstr(program, "delete_by_pattern") != NULL) {
        snprintf(arguments, len, "'%s' 'user:*' 100000", cluster);
    } else if (strstr(program, "quorum_values") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s,c=%s/1?copies=3'", a, b, c);
    } else if (strstr(program, "quorum_repair") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s,c=%s/1?copies=3' '%s/repair.state' 0", a,
                 b, c, kw_test_folder());
    } else {
        snprintf(arguments, len, "'%s'", cluster);
    }
}

/* Kills who serves the program; its heir, once there is one, as "host:port". */
typedef const char *(*kill_fn)(void *arg);

static const char *kill_single(void *arg)
{
    kw_test_server_kill(arg);
    kw_test_server_restart(arg);
    return kw_test_server_address(arg);
}

static const char *kill_in_group(void *arg)
{
    uint64_t promoted_ns;
    kw_test_server *old = kw_test_group_primary(arg);
    if (old == NULL) {
        kw_test_die("the group has no primary");
    }
    kw_test_server_kill(old);
    return kw_test_server_address(kw_test_group_wait_promotion(arg, old, &promoted_ns));
}

static const char *kill_in_cluster(void *arg)
{
    unsigned slot = kw_test_cluster_slot(arg, "{123}");
    kw_test_server *old = kw_test_cluster_owner(arg, slot);
    if (old == NULL) {
        kw_test_die("nobody serves slot %u", slot);
    }
    kw_test_server_kill(old);
    kw_test_server *heir = kw_test_cluster_wait_owner(arg, slot, old, 30000);
    if (heir == NULL) {
        kw_test_die("nobody takes slot %u over", slot);
    }
    return kw_test_server_address(heir);
}

/* Runs the program until the server that it uses has died and has an heir, to which it
 * must have come by its end. */
static void survive(const char *program, const char *uri, kill_fn kill, void *arg)
{
    char fifo[300];
    char command[1024];
    char line[1024];
    char end[200] = "";
    snprintf(fifo, sizeof(fifo), "%s/input", kw_test_folder());
    snprintf(command, sizeof(command), "'%s' '%s' < '%s'", program, uri, fifo);
    printf("%s\n", command);
    unlink(fifo);
    FILE *output = mkfifo(fifo, 0600) == 0 ? popen(command, "r") : NULL;
    int input = output != NULL ? open(fifo, O_WRONLY | O_CLOEXEC) : -1;
    if (input < 0) {
        kw_test_die("cannot run %s", program);
    }
    bool is_heard = false;
    while (fgets(line, sizeof(line), output) != NULL) {
        printf("%s", line);
        if (strncmp(line, "counting", 8) == 0) {
            snprintf(end, sizeof(end), "ends at %s\n", kill(arg));
            close(input);
        }
        is_heard = is_heard || strcmp(line, end) == 0;
    }
    if (pclose(output) != 0 || !is_heard) {
        kw_test_die("%s does not survive: no \"%s\"", program, end);
    }
}

static void survive_all(const char *program, kw_test_cluster *cluster)
{
    kw_test_server *single = kw_test_server_start("appendonly yes\n");
    survive(program, kw_test_server_uri(single), kill_single, single);
    kw_test_server_free(single);
    kw_test_group *group = kw_test_group_start(2, NULL, NULL);
    survive(program, kw_test_group_uri(group), kill_in_group, group);
    kw_test_group_free(group);
    survive(program, kw_test_cluster_uri(cluster), kill_in_cluster, cluster);
}

static void survive_failover(const char *program)
{
    kw_test_group *group = kw_test_group_start(2, NULL, NULL);
    survive(program, kw_test_group_uri(group), kill_in_group, group);
    kw_test_group_free(group);
}

int main(int argc, char **argv)
{
    const char *last = NULL;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    kw_test_server *plain[PLAIN];
    for (int i = 0; i < PLAIN; i++) {
        plain[i] = kw_test_server_start(NULL);
    }
    for (int i = 1; i < argc; i++) {
        char arguments[600];
        if (strstr(argv[i], "one_program") != NULL) {
            last = argv[i]; /* it leaves the cluster with a node less */
            continue;
        }
        if (strstr(argv[i], "sentinel_failover") != NULL) {
            survive_failover(argv[i]);
            continue;
        }
        choose(arguments, sizeof(arguments), argv[i], kw_test_cluster_uri(cluster), plain);
        if (run(argv[i], arguments) == 0) {
            kw_test_die("%s says nothing", argv[i]);
        }
    }
    if (last != NULL) {
        survive_all(last, cluster);
    }
    for (int i = 0; i < PLAIN; i++) {
        kw_test_server_free(plain[i]);
    }
    kw_test_cluster_free(cluster);
    return EXIT_SUCCESS;
}
