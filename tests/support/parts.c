/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts a test program once for each of its parts, and gathers how they end. */
#include "support/parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"

enum { PARTS_MAX = 16, TESTS_MAX = 40 };

static const char variable[] = "KW_TEST_PART";

/* Which part this process is, and of how many. */
static size_t own;
static size_t parts_n = 1;

typedef struct part {
    pid_t pid;
    FILE *output; /* what it prints; without a name, and gone with us */
} part;

static void start(part *self, char **argv, size_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%zu", number);
    self->output = tmpfile();
    self->pid = self->output != NULL ? fork() : -1;
    if (self->pid < 0) {
        kw_test_die("part %zu cannot be started", number);
    }
    if (self->pid == 0) {
        dup2(fileno(self->output), 1);
        dup2(fileno(self->output), 2);
        setenv(variable, text, 1);
        execv(argv[0], argv);
        _exit(127);
    }
}

static void show(FILE *output)
{
    char line[1000];
    rewind(output);
    while (fgets(line, sizeof(line), output) != NULL) {
        fputs(line, stdout);
    }
    fclose(output);
}

/* True where the part has ended well. */
static bool finish(part *self)
{
    int status = -1;
    while (waitpid(self->pid, &status, 0) < 0 && errno == EINTR) {
    }
    show(self->output);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int kw_test_parts(char **argv, size_t n, int (*run)(size_t part))
{
    part parts[PARTS_MAX];
    const char *chosen = getenv(variable);
    if (n > PARTS_MAX) {
        kw_test_die("more than %d parts", PARTS_MAX);
    }
    if (chosen != NULL) {
        own = (size_t)strtoul(chosen, NULL, 10);
        parts_n = n;
        return run(own);
    }
    int failed_n = 0;
    fflush(NULL);
    for (size_t i = 0; i < n; i++) {
        start(&parts[i], argv, i);
    }
    for (size_t i = 0; i < n; i++) {
        if (!finish(&parts[i])) {
            printf("part %zu has failed (%s=%zu)\n", i, variable, i);
            failed_n++;
        }
    }
    return failed_n;
}

size_t kw_test_own_part(void)
{
    return own;
}

size_t kw_test_parts_n(void)
{
    return parts_n;
}

int kw_test_run_share(const struct CMUnitTest *tests, size_t tests_n, CMFixtureFunction set_up,
                      CMFixtureFunction tear_down)
{
    struct CMUnitTest share[TESTS_MAX];
    size_t share_n = 0;
    KW_TEST_SHARE_OUT(i, tests_n)
    {
        if (share_n == TESTS_MAX) {
            kw_test_die("more than %d tests", TESTS_MAX);
        }
        share[share_n++] = tests[i];
    }
    return _cmocka_run_group_tests("share", share, share_n, set_up, tear_down);
}
