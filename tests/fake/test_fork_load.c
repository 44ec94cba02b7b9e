/* SPDX-License-Identifier: BSD-3-Clause */
/* Forks beside threads that are anywhere inside a handle: what the child does with its copy never
 * waits for a lock of theirs, nor for a thread that is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKS_N    (60 / KW_TEST_SLOWNESS)
#define THREADS_N  4
#define CHILD_MS   (10000 * KW_TEST_SLOWNESS)
#define COMMANDS_N 2
#define OPEN_MAX_N 8

static kw_fake *fake;

typedef struct load {
    kw_client *kw;
    atomic_bool is_over;
    pthread_t threads[THREADS_N];
} load;

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fake);
    return 0;
}

/* A host's loop that asks how long it may sleep. */
static void *ask_timeouts(void *arg)
{
    load *self = arg;
    while (!atomic_load(&self->is_over)) {
        (void)kw_timeout(self->kw);
    }
    return NULL;
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    (*(size_t *)arg)--;
    kw_reply_free(reply);
}

/* With a few commands under way. */
static void *process(void *arg)
{
    load *self = arg;
    size_t open[1] = {0}; /* their number, which is this thread's */
    while (!atomic_load(&self->is_over)) {
        kw_callback callback = {on_reply, open};
        if (open[0] < OPEN_MAX_N &&
            kw_command_async(self->kw, NULL, callback, "INCR callback") == KW_OK) {
            open[0]++;
        }
        (void)kw_process(self->kw, NULL);
    }
    KW_TEST_UNTIL(open[0] == 0)
    {
        (void)kw_process(self->kw, NULL);
    }
    return NULL;
}

/* Each so often a ticket is waited for, so that they do not pile up. */
static void *fire_and_forget(void *arg)
{
    load *self = arg;
    for (unsigned i = 0; !atomic_load(&self->is_over); i++) {
        kw_ticket *ticket = kw_submit(self->kw, NULL, "INCR ticket");
        (void)kw_ticket_wait(ticket, i % OPEN_MAX_N == 0 ? CHILD_MS : 0);
        kw_ticket_free(ticket);
    }
    return NULL;
}

static void *call(void *arg)
{
    load *self = arg;
    while (!atomic_load(&self->is_over)) {
        kw_reply_free(kw_command(self->kw, NULL, "INCR call"));
    }
    return NULL;
}

typedef void *work_fn(void *arg);

static void begin_load(load *self, const char *options, work_fn *const *works)
{
    self->kw = kw_test_open("redis://%s?%s", kw_fake_address(fake), options);
    atomic_init(&self->is_over, false);
    assert_true(kw_fd(self->kw, NULL) >= 0); /* there is a loop */
    kw_reply_free(kw_command(self->kw, NULL, "INCR first"));
    for (size_t i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&self->threads[i], NULL, works[i], self), 0);
    }
}

static void end_load(load *self)
{
    atomic_store(&self->is_over, true);
    for (size_t i = 0; i < THREADS_N; i++) {
        kw_test_join(self->threads[i]);
    }
    kw_close(self->kw);
}

/* True where the child ended by itself, and well. */
static bool ends_well(pid_t child)
{
    int status = 0;
    for (int ms = 0; ms < CHILD_MS; ms++) {
        if (waitpid(child, &status, WNOHANG) == child) {
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }
        kw_test_sleep_ms(1);
    }
    kill(child, SIGKILL);
    (void)waitpid(child, &status, 0);
    return false;
}

/* 0 where the child's copy of a handle did what it promises. */
static int use_copy(kw_client *kw, kw_ticket *ticket, bool is_reopened)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_timeout(kw) != -1 || kw_ticket_wait(ticket, 0)) {
        return 1;
    }
    for (int i = 0; i < COMMANDS_N && is_reopened; i++) {
        kw_reply *reply = kw_command(kw, &error, "INCR child");
        if (kw_reply_int(reply) != 1) {
            return 2;
        }
        kw_reply_free(reply);
    }
    if (!is_reopened && kw_command(kw, &error, "INCR child") == NULL &&
        error.code != KW_ERR_FORKED) {
        return 3;
    }
    if (kw_ticket_await(ticket, &error) != NULL || error.code != KW_ERR_FORKED) {
        return 4;
    }
    kw_close(kw);
    kw_ticket_free(ticket); /* also allowed behind kw_close */
    return 0;
}

static void fork_often(const char *options, work_fn *const *works)
{
    load self;
    int failures_n = 0;
    bool is_reopened = strstr(options, "reopen") != NULL;
    begin_load(&self, options, works);
    kw_fake_on(fake, KW_FAKE_ALWAYS, "BLPOP *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_ticket *ticket = kw_submit(self.kw, NULL, "BLPOP nothing 0");
    for (int i = 0; i < FORKS_N; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(use_copy(self.kw, ticket, is_reopened));
        }
        failures_n += ends_well(child) ? 0 : 1;
    }
    kw_ticket_free(ticket);
    end_load(&self);
    assert_int_equal(failures_n, 0);
}

static const char plain[] = "timeout=60s";
static const char reopening[] = "timeout=60s&after-fork=reopen";

static work_fn *const timeouts[THREADS_N] = {ask_timeouts, ask_timeouts, ask_timeouts,
                                             ask_timeouts};
static work_fn *const tickets[THREADS_N] = {fire_and_forget, fire_and_forget, fire_and_forget,
                                            fire_and_forget};
static work_fn *const all[THREADS_N] = {ask_timeouts, process, fire_and_forget, call};

static void test_fork_beside_timeouts_never_hangs(void **state)
{
    (void)state;
    fork_often(plain, timeouts);
    fork_often(reopening, timeouts);
}

static void test_fork_beside_tickets_never_hangs(void **state)
{
    (void)state;
    fork_often(plain, tickets);
    fork_often(reopening, tickets);
}

static void test_fork_beside_everything_never_hangs(void **state)
{
    (void)state;
    fork_often(plain, all);
    fork_often(reopening, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_beside_timeouts_never_hangs),
        cmocka_unit_test(test_fork_beside_tickets_never_hangs),
        cmocka_unit_test(test_fork_beside_everything_never_hangs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
