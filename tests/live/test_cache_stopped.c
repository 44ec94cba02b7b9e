/* SPDX-License-Identifier: BSD-3-Clause */
/* A process that is stopped while somebody writes: what it has in memory is no younger for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "live/cache_places.h"
#include "support/calm.h"
#include "support/near_ask.h"

#define BOUND_MS 200
#define ROUNDS   5

/* What parent and child see. */
typedef struct board {
    atomic_uint near_n;              /* gets from memory so far */
    atomic_uint value;               /* that was acknowledged last */
    atomic_uint_fast64_t changed_ns; /* when */
    atomic_bool is_over;
    atomic_uint wrong_n;
} board;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A value that was replaced longer than the bound before the call began is wrong. */
static void read_all_the_time(board *self)
{
    kw_client *client = kw_test_open("%s", here.uri);
    kw_cache *cache = cache_open(client, "near-bytes=1mb&near-staleness=200ms");
    while (!atomic_load(&self->is_over)) {
        unsigned value = atomic_load(&self->value);
        uint64_t changed_ns = atomic_load(&self->changed_ns);
        bool is_one = value == atomic_load(&self->value); /* and changed_ns is of it */
        uint64_t begun_ns = now_ns();
        char text[100];
        kw_cache_source source = near_get(cache, text, "key");
        bool is_old = is_one && (unsigned)atoi(text) < value &&
                      begun_ns > changed_ns + (uint64_t)BOUND_MS * 1000000;
        atomic_fetch_add(&self->wrong_n, is_old ? 1 : 0);
        atomic_fetch_add(&self->near_n, source == KW_CACHE_FROM_NEAR ? 1 : 0);
    }
    kw_cache_close(cache);
    kw_close(client);
    _exit(0);
}

static void test_a_stopped_process_gives_nothing_old(void **state)
{
    (void)state;
    board *self =
        mmap(NULL, sizeof(*self), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(self != MAP_FAILED);
    kw_client *other = kw_test_open("%s", here.uri);
    kw_test_ask_ok(other, "SET key 0");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        read_all_the_time(self);
    }
    for (unsigned i = 1; i <= ROUNDS; i++) {
        unsigned near_n = atomic_load(&self->near_n);
        KW_TEST_AWAIT(atomic_load(&self->near_n) > near_n + 10);
        assert_int_equal(kill(child, SIGSTOP), 0);
        kw_test_ask_ok(other, "SET key %u", i);
        atomic_store(&self->changed_ns, now_ns());
        atomic_store(&self->value, i);
        kw_test_sleep_ms(BOUND_MS + 100);
        assert_int_equal(kill(child, SIGCONT), 0);
    }
    unsigned near_n = atomic_load(&self->near_n);
    KW_TEST_AWAIT(atomic_load(&self->near_n) > near_n + 10);
    atomic_store(&self->is_over, true);
    int status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(atomic_load(&self->wrong_n), 0);
    kw_close(other);
    munmap(self, sizeof(*self));
}

int main(void)
{
    kw_test_calm_forbid(); /* the bound is one of real time */
    char *place = (char *)(uintptr_t) "server";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_a_stopped_process_gives_nothing_old,
                                                 cache_here_start, cache_here_stop, place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
