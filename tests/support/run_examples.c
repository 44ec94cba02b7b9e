/* Starts a cluster, runs each program named on the command line with its URI, and
 * fails where one fails or says nothing. Those about rings get plain servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/cluster.h"
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
    } else if (strstr(program, "quorum_values") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s,c=%s/1?copies=3'", a, b, c);
    } else if (strstr(program, "quorum_repair") != NULL) {
        snprintf(arguments, len, "'redis-ring://a=%s,b=%s,c=%s/1?copies=3' '%s/repair.state'", a, b,
                 c, kw_test_folder());
    } else {
        snprintf(arguments, len, "'%s'", cluster);
    }
}

int main(int argc, char **argv)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 2000, NULL);
    kw_test_server *plain[PLAIN];
    for (int i = 0; i < PLAIN; i++) {
        plain[i] = kw_test_server_start(NULL);
    }
    for (int i = 1; i < argc; i++) {
        char arguments[600];
        choose(arguments, sizeof(arguments), argv[i], kw_test_cluster_uri(cluster), plain);
        if (run(argv[i], arguments) == 0) {
            kw_test_die("%s says nothing", argv[i]);
        }
    }
    for (int i = 0; i < PLAIN; i++) {
        kw_test_server_free(plain[i]);
    }
    kw_test_cluster_free(cluster);
    return EXIT_SUCCESS;
}
