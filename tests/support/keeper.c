/* SPDX-License-Identifier: BSD-3-Clause */
/* The shell that kills a test's servers and removes its folder when the test is gone. */
#include "support/keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"

enum { PIDS_MAX = 256 };

/* Reads "+ pid" and "- pid" until the test is gone, or has told that it ends: children that it has
 * forked may have the pipe as well, and be there for longer. */
static const char script[] = "trap '' HUP INT TERM; pids=' '\n"
                             "while read -r op pid; do\n"
                             "  case $op in\n"
                             "  +) pids=\"$pids$pid \" ;;\n"
                             "  -) pids=\"${pids%%\" $pid \"*} ${pids#*\" $pid \"}\" ;;\n"
                             "  =) break ;;\n"
                             "  esac\n"
                             "done\n"
                             "for pid in $pids; do kill -9 \"$pid\"; done\n"
                             "rm -rf \"$1\"\n";

/* One keeper a process, made at the first use. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner; /* the process that the rest belongs to; 0 before the first use */
static pid_t keeper;
static int pipe_fd = -1;
static char folder[200];
static pid_t pids[PIDS_MAX]; /* 0 is a free place */

void kw_test_folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (dir != NULL) {
        const struct dirent *entry;
        while ((entry = readdir(dir)) != NULL) {
            char name[600];
            struct stat info;
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
                continue;
            }
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            if (lstat(name, &info) == 0 && S_ISDIR(info.st_mode)) {
                kw_test_folder_remove(name);
            } else {
                unlink(name);
            }
        }
        closedir(dir);
    }
    rmdir(path);
}

/* At a normal end: nothing is left when the process is gone. Children that a test has
 * forked own nothing. */
static void clean_up(void)
{
    if (owner != getpid()) {
        return;
    }
    for (size_t i = 0; i < PIDS_MAX; i++) {
        if (pids[i] > 0) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
    }
    kw_test_folder_remove(folder);
    if (write(pipe_fd, "= 0\n", 4) != 4) {
        kill(keeper, SIGKILL);
    }
    close(pipe_fd);
    waitpid(keeper, NULL, 0);
}

static void close_from(int fd)
{
    for (; fd < 4096; fd++) {
        close(fd);
    }
}

static void start_keeper(void)
{
    int ends[2];
    if (pipe(ends) != 0) {
        kw_test_die("pipe for the keeper");
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    keeper = fork();
    if (keeper < 0) {
        kw_test_die("fork for the keeper");
    }
    if (keeper == 0) {
        int null_fd = open("/dev/null", O_WRONLY);
        setsid();
        dup2(ends[0], 0);
        dup2(null_fd, 1);
        dup2(null_fd, 2);
        close_from(3);
        execl("/bin/sh", "sh", "-c", script, "keyway-test-keeper", folder, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    pipe_fd = ends[1];
}

/* Call with the lock held. */
static void begin(void)
{
    const char *place = getenv("TMPDIR");
    if (owner == getpid()) {
        return;
    }
    if (owner != 0) {
        kw_test_die("a forked child starts no servers");
    }
    snprintf(folder, sizeof(folder), "%s/keyway-test-XXXXXX", place == NULL ? "/tmp" : place);
    if (mkdtemp(folder) == NULL) {
        kw_test_die("no temporary folder %s", folder);
    }
    owner = getpid();
    start_keeper();
    atexit(clean_up);
}

const char *kw_test_folder(void)
{
    pthread_mutex_lock(&lock);
    begin();
    pthread_mutex_unlock(&lock);
    return folder;
}

static void tell(char op, pid_t pid)
{
    char line[32];
    int len = snprintf(line, sizeof(line), "%c %ld\n", op, (long)pid);
    if (write(pipe_fd, line, (size_t)len) != len) {
        kw_test_die("the keeper is gone");
    }
}

static void exchange(pid_t from, pid_t to)
{
    for (size_t i = 0; i < PIDS_MAX; i++) {
        if (pids[i] == from) {
            pids[i] = to;
            return;
        }
    }
    kw_test_die("more than %d servers", PIDS_MAX);
}

void kw_test_keeper_add(pid_t pid)
{
    pthread_mutex_lock(&lock);
    begin();
    exchange(0, pid);
    tell('+', pid);
    pthread_mutex_unlock(&lock);
}

void kw_test_keeper_drop(pid_t pid)
{
    pthread_mutex_lock(&lock);
    exchange(pid, 0);
    tell('-', pid);
    pthread_mutex_unlock(&lock);
}
