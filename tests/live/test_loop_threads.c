/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks of many threads on a real cluster, whose slots move and whose nodes
 * stop and die. */
#include "live/loop_cluster.h"
#include "support/checker.h"
#include "support/parts.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

/* Slots from 0 to this one are moved, so often. */
#define LAST_MOVING 40u
#define MOVES       4u

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    return cluster == NULL;
}

/* Threads that give commands, threads that wait for theirs, and two that process. */
typedef struct worker {
    pthread_t thread;
    unsigned number;
    kw_test_answer *answers;
    size_t n;
} worker;

static atomic_bool stops;

static void *give_many(void *arg)
{
    worker *self = arg;
    for (size_t i = 0; i < self->n; i++) {
        give(&self->answers[i], "INCR thread:%u", self->number);
    }
    return NULL;
}

static void *process_all(void *arg)
{
    (void)arg;
    while (!atomic_load(&stops)) {
        kw_test_turn(kw, 5);
    }
    return NULL;
}

static void test_loop_threads_give_wait_and_process_at_once(void **state)
{
    (void)state;
    worker givers[4];
    pthread_t processors[2];
    give(&answers[0], "FLUSHALL");
    wait_for(1);
    kw_test_answer_clear(&answers[0]);
    atomic_store(&stops, false);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&processors[i], NULL, process_all, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        givers[i].answers = &answers[i * 500];
        givers[i].n = 500;
        givers[i].number = (unsigned)i;
        assert_int_equal(pthread_create(&givers[i].thread, NULL, give_many, &givers[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        kw_reply *reply = kw_command(kw, NULL, "INCR waiting:%d", i % 10);
        assert_int_equal(kw_reply_int(reply), i / 10 + 1);
        kw_reply_free(reply);
    }
    for (size_t i = 0; i < 4; i++) {
        kw_test_join(givers[i].thread);
    }
    kw_reply *last = NULL;
    uint64_t end_ms = kw_test_now_ms() + ENOUGH_MS;
    for (size_t done_n = 0; done_n < 4 && kw_test_now_ms() < end_ms; kw_test_sleep_ms(5)) {
        done_n = 0;
        for (size_t i = 0; i < 4; i++) {
            last = kw_command(kw, NULL, "GET thread:%zu", i);
            const char *text = kw_reply_str(last, NULL);
            done_n += text != NULL && strcmp(text, "500") == 0 ? 1 : 0;
            kw_reply_free(last);
        }
    }
    kw_test_sleep_ms(50);
    atomic_store(&stops, true);
    for (size_t i = 0; i < 2; i++) {
        kw_test_join(processors[i]);
    }
    wait_for(2000);
    for (size_t i = 0; i < 2000; i++) {
        assert_int_equal(kw_reply_int(answers[i].reply), i % 500 + 1);
    }
}

/* Slots move there and back while commands are under way: one key's keep their order. */
static void *move_slots(void *arg)
{
    atomic_uint *moves_n = arg;
    while (!atomic_load(&stops)) {
        kw_test_server *to = kw_test_cluster_node(cluster, (atomic_load(moves_n) + 1) % 2);
        kw_test_cluster_move(cluster, 0, LAST_MOVING, to);
        kw_test_sleep_ms(300); /* until all nodes agree on who has the slots */
        atomic_fetch_add(moves_n, 1);
    }
    return NULL;
}

/* Numbers of keys ("moving:%d"), every third one in the slots that move. */
static void pick_numbers(int *numbers, size_t n)
{
    int next = 0;
    for (size_t i = 0; i < n; i++) {
        char key[32];
        bool is_moving;
        do {
            int len = snprintf(key, sizeof(key), "moving:%d", next++);
            is_moving = kw_slot(key, (size_t)len) <= LAST_MOVING;
        } while (is_moving != (i % 3 == 0));
        numbers[i] = next - 1;
    }
}

static void test_loop_slots_moving_keep_order_per_key(void **state)
{
    (void)state;
    static int numbers[ANSWERS_N / 3];
    pick_numbers(numbers, ANSWERS_N / 3);
    pthread_t thread;
    atomic_uint moves_n = 0;
    kw_stats stats = {.size = sizeof(stats)};
    give(&answers[0], "FLUSHALL");
    wait_for(1);
    kw_test_answer_clear(&answers[0]);
    atomic_store(&stops, false);
    assert_int_equal(pthread_create(&thread, NULL, move_slots, &moves_n), 0);
    int rounds_n = 0;
    KW_TEST_UNTIL(atomic_load(&moves_n) >= MOVES && stats.moved > 0)
    {
        for (int i = 0; i < ANSWERS_N; i++) {
            /* Three commands a key, one behind the other. */
            give(&answers[i], "INCR moving:%d", numbers[i / 3]);
        }
        wait_for(ANSWERS_N);
        for (int i = 0; i < ANSWERS_N; i++) {
            assert_int_equal(kw_reply_int(answers[i].reply), 3 * rounds_n + i % 3 + 1);
            kw_test_answer_clear(&answers[i]);
        }
        rounds_n++;
        assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    }
    atomic_store(&stops, true);
    kw_test_join(thread);
}

/* One call of the checker, by a callback. */
typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    kw_reply *reply;
    kw_error *error;
    bool is_done;
} waiter;

static void on_called(void *arg, kw_reply *reply, const kw_error *error)
{
    waiter *self = arg;
    pthread_mutex_lock(&self->lock);
    self->reply = reply;
    if (error != NULL) {
        *self->error = *error;
    }
    self->is_done = true;
    pthread_cond_signal(&self->cond);
    pthread_mutex_unlock(&self->lock);
}

static kw_reply *call_async(void *arg, unsigned thread, kw_client *client, kw_error *error,
                            const kw_call_options *options, int argc, const char **argv,
                            const size_t *argvlen)
{
    (void)arg;
    (void)thread;
    waiter self = {.error = error};
    pthread_mutex_init(&self.lock, NULL);
    pthread_cond_init(&self.cond, NULL);
    if (kw_call_async(client, error, (kw_callback){on_called, &self}, options,
                      (kw_argv){argc, argv, argvlen}) == KW_OK) {
        pthread_mutex_lock(&self.lock);
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 4 * KW_TEST_PATIENCE_MS / 1000;
        while (!self.is_done) {
            if (pthread_cond_timedwait(&self.cond, &self.lock, &end) == ETIMEDOUT) {
                kw_test_die("a command with a deadline has not called back");
            }
        }
        pthread_mutex_unlock(&self.lock);
    }
    pthread_cond_destroy(&self.cond);
    pthread_mutex_destroy(&self.lock);
    return self.reply;
}

static void check(const char *what, const kw_checker_report *report)
{
    fprintf(stderr, "%s: %lu calls; failed: %lu none, %lu maybe. %s\n", what,
            (unsigned long)report->calls, (unsigned long)report->failed_none,
            (unsigned long)report->failed_maybe, report->story);
    assert_int_equal(report->wrong, 0);
    assert_int_equal(report->doubled, 0);
    assert_int_equal(report->late, 0);
}

/* Slots move, and a primary stops, goes on, dies and is replaced, while threads check every
 * reply, every effect and every deadline of their commands. */
static void test_loop_under_disturbances_is_never_wrong(void **state)
{
    (void)state;
    kw_checker_setup setup = {.threads_n = 8, .timeout_ms = {2000, 5000}, .call = call_async};
    kw_checker_report report;
    pthread_t processor;
    atomic_store(&stops, false);
    assert_int_equal(pthread_create(&processor, NULL, process_all, NULL), 0);
    kw_checker *checker = kw_checker_start(kw, &setup);
    kw_test_sleep_ms(500);
    kw_checker_take(checker, &report);
    check("calm", &report);
    assert_int_equal(report.failed_none + report.failed_maybe + report.failed_done, 0);
    kw_test_cluster_move(cluster, 0, 300, kw_test_cluster_node(cluster, 1));
    kw_checker_take(checker, &report);
    check("moved", &report);
    assert_int_equal(report.failed_none + report.failed_maybe + report.failed_done, 0);
    kw_test_server *stopped = kw_test_cluster_wait_owner(cluster, 13000, NULL, 30000);
    kw_test_server_pause(stopped);
    kw_test_sleep_ms(400);
    kw_test_server_resume(stopped);
    kw_test_sleep_ms(300);
    kw_checker_take(checker, &report);
    check("stopped", &report);
    kw_test_server *killed = kw_test_cluster_wait_owner(cluster, 8000, NULL, 30000);
    kw_test_server_kill(killed);
    assert_non_null(kw_test_cluster_wait_owner(cluster, 8000, killed, 30000));
    kw_test_sleep_ms(1500);
    kw_checker_take(checker, &report);
    check("killed", &report);
    kw_test_sleep_ms(500);
    kw_checker_stop(checker, &report);
    check("healed", &report);
    assert_int_equal(report.failed_none + report.failed_maybe + report.failed_done, 0);
    assert_true(report.calls > 0);
    atomic_store(&stops, true);
    kw_test_join(processor);
}

static int run(size_t part)
{
    (void)part;
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, open_handle, close_handle),                              \
        cmocka_unit_test_setup_teardown(name, open_on_poll, close_handle)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_threads_give_wait_and_process_at_once),
        TEST(test_loop_slots_moving_keep_order_per_key),
        cmocka_unit_test_setup_teardown(test_loop_under_disturbances_is_never_wrong, open_handle,
                                        close_handle),
    };
#undef TEST
    return KW_TEST_RUN_SHARE(tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 3, run);
}
