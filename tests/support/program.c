/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the program keyway, and compares what it prints. */
#define _XOPEN_SOURCE 700 /* pseudo-terminals */

#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 40

/* What runs for longer hangs. */
#define LONGEST_MS 60000

static char program[4096]; /* set once, by kw_program_find */

void kw_program_find(const char *test)
{
    const char *end = strstr(test, "tests/");
    int len = end != NULL ? (int)(end - test) : 0;
    snprintf(program, sizeof(program), "%.*skeyway", len, test);
}

/* Cuts a line into words, in place. */
static void cut(char *line, char *words[WORDS_MAX + 2])
{
    size_t n = 0;
    words[n++] = program;
    for (char *at = strtok(line, " "); at != NULL && n <= WORDS_MAX; at = strtok(NULL, " ")) {
        char *space;
        while ((space = strstr(at, "%20")) != NULL) {
            *space = ' ';
            memmove(space + 1, space + 3, strlen(space + 3) + 1);
        }
        words[n++] = at;
    }
    words[n] = NULL;
}

/* In the child: a terminal of its own, or two pipes. */
static void become(const int out[2], const int err[2], const char *terminal, char **words,
                   const char *locale)
{
    int to = out[1];
    if (terminal != NULL) {
        setsid();
        to = open(terminal, O_RDWR);
        dup2(to, STDIN_FILENO);
    }
    if (to >= 0) {
        dup2(to, STDOUT_FILENO);
    } else {
        close(STDOUT_FILENO);
    }
    dup2(terminal != NULL ? to : err[1], STDERR_FILENO);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", locale != NULL ? locale : "C.UTF-8", 1);
    execv(program, words);
    _exit(127);
}

/* Adds what there is to read; false at the end. */
static bool take(int from, char *text)
{
    size_t len = strlen(text);
    ssize_t n = read(from, text + len, KW_PROGRAM_TEXT - 1 - len);
    if (n < 0 && errno == EINTR) {
        return true;
    }
    text[n > 0 ? len + (size_t)n : len] = '\0';
    return n > 0; /* EIO: the terminal's last user has gone */
}

static void read_all(kw_program_run *run, pid_t child, const int from[2], const char *stop)
{
    struct pollfd sockets[2] = {{from[0], POLLIN, 0}, {from[1], POLLIN, 0}};
    while (sockets[0].fd >= 0 || sockets[1].fd >= 0) {
        if (poll(sockets, 2, LONGEST_MS) <= 0) {
            kill(child, SIGKILL);
            fail_msg("the program hangs; so far:\n%s%s", run->out, run->err);
        }
        for (int i = 0; i < 2; i++) {
            if (sockets[i].fd >= 0 && sockets[i].revents != 0 &&
                !take(sockets[i].fd, i == 0 ? run->out : run->err)) {
                sockets[i].fd = -1;
            }
        }
        if (stop != NULL && strstr(run->out, stop) != NULL) {
            kill(child, SIGINT);
            stop = NULL;
        }
    }
}

static int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void set_size(int terminal, const kw_program_terminal *what)
{
    struct winsize size = {.ws_col = (unsigned short)what->columns,
                           .ws_row = (unsigned short)what->rows};
    assert_int_equal(ioctl(terminal, TIOCSWINSZ, &size), 0);
}

static void run_with(kw_program_run *run, const kw_program_terminal *what, const char *line)
{
    bool is_terminal = what != NULL;
    char copy[4096];
    char *words[WORDS_MAX + 2];
    int out[2] = {-1, -1};
    int err[2] = {-1, -1};
    char terminal[128] = "";
    snprintf(copy, sizeof(copy), "%s", line);
    cut(copy, words);
    memset(run, 0, sizeof(*run));
    if (is_terminal) {
        out[0] = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(out[0] >= 0 && grantpt(out[0]) == 0 && unlockpt(out[0]) == 0);
        snprintf(terminal, sizeof(terminal), "%s", ptsname(out[0]));
        out[1] = open(terminal, O_RDWR | O_NOCTTY); /* it stays while nobody has come yet */
        set_size(out[1], what);
    } else {
        assert_int_equal(pipe(out), 0);
        assert_int_equal(pipe(err), 0);
    }
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        become(out, err, is_terminal ? terminal : NULL, words, is_terminal ? what->locale : NULL);
    }
    if (!is_terminal) {
        close(out[1]);
        close(err[1]);
    }
    int from[2] = {out[0], err[0]};
    if (is_terminal) { /* ours is closed when the child has begun to print */
        struct pollfd first = {out[0], POLLIN, 0};
        assert_true(poll(&first, 1, LONGEST_MS) > 0);
        close(out[1]);
    }
    read_all(run, child, from, is_terminal ? what->stop : NULL);
    close(out[0]);
    if (!is_terminal) {
        close(err[0]);
    }
    run->status = end_of(child);
}

void kw_program_run_line(kw_program_run *run, bool is_terminal, const char *stop, const char *line)
{
    const kw_program_terminal terminal = {.stop = stop};
    run_with(run, is_terminal ? &terminal : NULL, line);
}

void kw_program_run_on(kw_program_run *run, const kw_program_terminal *terminal, const char *line)
{
    run_with(run, terminal, line);
}

void kw_program_run_into(kw_program_run *run, const char *path, const char *line)
{
    char copy[4096];
    char *words[WORDS_MAX + 2];
    int out[2] = {-1, -1};
    int err[2];
    snprintf(copy, sizeof(copy), "%s", line);
    cut(copy, words);
    memset(run, 0, sizeof(*run));
    assert_int_equal(pipe(err), 0);
    out[1] = path != NULL ? open(path, O_WRONLY) : -1;
    assert_true(out[1] >= 0 || path == NULL);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        become(out, err, NULL, words, NULL);
    }
    if (path != NULL) {
        close(out[1]);
    }
    close(err[1]);
    read_all(run, child, (const int[2]){-1, err[0]}, NULL);
    close(err[0]);
    run->status = end_of(child);
}

void kw_program_rename(char *text, const char *const *from, const char *const *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *at = text;
        while ((at = strstr(at, from[i])) != NULL) {
            size_t tail = strlen(at + strlen(from[i])) + 1;
            memmove(at + strlen(to[i]), at + strlen(from[i]), tail);
            memcpy(at, to[i], strlen(to[i]));
            at += strlen(to[i]);
        }
    }
}

/* Bytes of the unit at the beginning of a text, with the space before it. */
static size_t unit_len(const char *at)
{
    static const char *const units[] = {" ns", " µs", " ms",  " s",   " k",
                                        " M",  " B",  " KiB", " MiB", " GiB"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i]);
        if (strncmp(at, units[i], len) == 0 && !isalnum((unsigned char)at[len])) {
            return len;
        }
    }
    return 0;
}

void kw_program_level(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0';) {
        bool is_in_word = at > text && (isalpha((unsigned char)at[-1]) || at[-1] == '_');
        if (isdigit((unsigned char)*at) && !is_in_word) {
            at += strspn(at, "0123456789.e+-");
            at += unit_len(at);
            *to++ = '#';
        } else if (*at == ' ' && to > text && to[-1] == ' ') {
            at++;
        } else {
            *to++ = *at++;
        }
    }
    *to = '\0';
}

void kw_program_expect(const char *text, const char *name)
{
    static char good[KW_PROGRAM_TEXT];
    char path[300];
    snprintf(path, sizeof(path), "tests/%s", name);
    bool is_written = getenv("KW_TEST_WRITE") != NULL;
    FILE *file = fopen(path, is_written ? "w" : "r");
    if (file == NULL) {
        fail_msg("%s: %s; KW_TEST_WRITE=1 writes it. It would be:\n%s", path, strerror(errno),
                 text);
    }
    if (is_written) {
        fputs(text, file);
    } else {
        size_t len = fread(good, 1, sizeof(good) - 1, file);
        good[len] = '\0';
    }
    fclose(file);
    if (!is_written && strcmp(text, good) != 0) {
        fail_msg("%s has\n%s\nand not\n%s", path, good, text);
    }
}
