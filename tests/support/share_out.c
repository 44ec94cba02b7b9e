/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that take the next task from a counter that they share. */
#include "support/share_out.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct board {
    atomic_size_t next;
    atomic_bool has_failed;
} board;

static void work(board *self, size_t tasks_n, bool (*task)(size_t number))
{
    for (;;) {
        size_t number = atomic_fetch_add(&self->next, 1);
        if (number >= tasks_n || atomic_load(&self->has_failed)) {
            return;
        }
        if (!task(number)) {
            atomic_store(&self->has_failed, true);
        }
    }
}

bool kw_test_share_out(size_t tasks_n, bool (*task)(size_t number), unsigned jobs_n)
{
    board *self =
        mmap(NULL, sizeof(*self), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self == MAP_FAILED) {
        perror("share_out");
        exit(1);
    }
    fflush(NULL);
    unsigned children_n = 0;
    for (unsigned i = 1; i < jobs_n; i++) {
        pid_t child = fork();
        if (child == 0) {
            work(self, tasks_n, task);
            fflush(NULL);
            _exit(0);
        }
        children_n += child > 0 ? 1 : 0;
    }
    work(self, tasks_n, task);
    bool is_sound = true;
    for (; children_n > 0; children_n--) {
        int status = 1;
        (void)wait(&status);
        is_sound = is_sound && status == 0;
    }
    is_sound = is_sound && !atomic_load(&self->has_failed);
    munmap(self, sizeof(*self));
    return is_sound;
}
