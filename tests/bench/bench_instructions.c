/* Instructions in user space per GET, counted by valgrind: keyway and raw hiredis routed
 * by hand, by argv and by format. The steadiest of the figures: it does not depend on the
 * machine's speed. Runs itself under callgrind. --gate: exit status 1 where a goal is
 * missed. */
#include <keyway.h>

#include "support/check.h"
#include "support/cluster.h"

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS_N     100
#define KEY_LEN    16
#define CALLS_FEW  1000ul
#define CALLS_MANY 3000ul

static char keys[KEYS_N][KEY_LEN + 1];

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%012zu", i);
    }
}

static void run_keyway(const char *uri, bool is_format, unsigned long calls)
{
    kw_client *kw = kw_open(uri, NULL);
    const char *argv[] = {"GET", NULL};
    const size_t lens[] = {3, KEY_LEN};
    for (unsigned long i = 0; i < calls; i++) {
        argv[1] = keys[i % KEYS_N];
        kw_reply *reply = is_format ? kw_command(kw, NULL, "GET %s", argv[1])
                                    : kw_command_argv(kw, NULL, 2, argv, lens);
        if (kw_reply_type(reply) != KW_REPLY_STRING) {
            kw_test_die("bench: keyway GET");
        }
        kw_reply_free(reply);
    }
    kw_close(kw);
}

/* keys that one node serves, so that nothing is left of routing. */
static void run_raw(int port, bool is_format, unsigned long calls)
{
    redisContext *raw = redisConnect("127.0.0.1", port);
    const char *argv[] = {"GET", NULL};
    const size_t lens[] = {3, KEY_LEN};
    for (unsigned long i = 0; i < calls; i++) {
        argv[1] = keys[i % KEYS_N];
        redisReply *reply =
            is_format ? redisCommand(raw, "GET %s", argv[1]) : redisCommandArgv(raw, 2, argv, lens);
        if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
            kw_test_die("bench: raw GET");
        }
        freeReplyObject(reply);
    }
    redisFree(raw);
}

/* Instructions of one run of this program under callgrind. */
static double count(const char *self, const char *way, const char *where, unsigned long calls)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "valgrind --tool=callgrind --callgrind-out-file=/dev/null '%s' %s '%s' %lu 2>&1 | "
             "sed -n 's/.*Collected : //p'",
             self, way, where, calls);
    FILE *pipe = popen(command, "r");
    double instructions = 0;
    if (pipe == NULL || fscanf(pipe, "%lf", &instructions) != 1) {
        kw_test_die("bench: no count from valgrind");
    }
    pclose(pipe);
    return instructions;
}

static double per_call(const char *self, const char *way, const char *where)
{
    double many = count(self, way, where, CALLS_MANY);
    return (many - count(self, way, where, CALLS_FEW)) / (double)(CALLS_MANY - CALLS_FEW);
}

static bool goal(const char *name, double value, double bound)
{
    bool is_met = value <= bound;
    printf("  %-36s %7.0f  (goal <= %.0f) %s\n", name, value, bound, is_met ? "" : "MISSED");
    return is_met;
}

static bool compare(const char *self)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, NULL);
    kw_test_server *single = kw_test_server_start(NULL);
    kw_client *both[] = {kw_open(kw_test_cluster_uri(cluster), NULL),
                         kw_open(kw_test_server_uri(single), NULL)};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < KEYS_N; i++) {
            kw_reply_free(kw_command(both[k], NULL, "SET %s %s", keys[i],
                                     "01234567890123456789012345678901"));
        }
        kw_close(both[k]);
    }
    const char *uri = kw_test_cluster_uri(cluster);
    char port[16];
    snprintf(port, sizeof(port), "%u", (unsigned)kw_test_server_port(single));
    printf("\nUser-space instructions per GET, 3 primaries\n");
    printf("  %-36s %7.0f\n", "raw hiredis, argv", per_call(self, "raw-argv", port));
    printf("  %-36s %7.0f\n", "raw hiredis, format", per_call(self, "raw-format", port));
    bool is_met = goal("keyway, argv", per_call(self, "keyway-argv", uri), 3000);
    is_met = goal("keyway, format", per_call(self, "keyway-format", uri), 4500) && is_met;
    kw_test_server_free(single);
    kw_test_cluster_free(cluster);
    return is_met;
}

int main(int argc, char **argv)
{
    make_keys();
    if (argc == 4) {
        unsigned long calls = strtoul(argv[3], NULL, 10);
        bool is_format = strstr(argv[1], "format") != NULL;
        if (strncmp(argv[1], "raw", 3) == 0) {
            run_raw(atoi(argv[2]), is_format, calls);
        } else {
            run_keyway(argv[2], is_format, calls);
        }
        return EXIT_SUCCESS;
    }
    if (system("valgrind --version > /dev/null 2>&1") != 0) {
        printf("\nInstructions per GET: not counted, valgrind is not installed\n");
        return EXIT_SUCCESS;
    }
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return compare(argv[0]) || !is_gate ? EXIT_SUCCESS : EXIT_FAILURE;
}
