/* Starts a cluster, runs each program named on the command line with its URI, and
 * fails where one fails or says nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/cluster.h"

/* Bytes that the program wrote to standard output; stops where it fails. */
static size_t run(const char *program, const char *uri)
{
    char command[1024];
    char line[1024];
    size_t bytes = 0;
    snprintf(command, sizeof(command), "'%s' '%s'", program, uri);
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

int main(int argc, char **argv)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 2000, NULL);
    for (int i = 1; i < argc; i++) {
        if (run(argv[i], kw_test_cluster_uri(cluster)) == 0) {
            kw_test_die("%s says nothing", argv[i]);
        }
    }
    kw_test_cluster_free(cluster);
    return EXIT_SUCCESS;
}
