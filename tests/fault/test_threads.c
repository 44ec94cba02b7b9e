/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads on one handle and one real server, with deadlines too short for it, signals,
 * values that fill the sockets, blocked callers, a fork and an end in the middle: every
 * reply is its caller's, no write runs twice. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/relay.h"
#include "support/server.h"

#include <keyway.h>

enum { KEYS = 64, VALUE_MAX = 4200, COUNTERS = 16, LONG_MS = 20000 };

/* A run with fewer answers, or fewer calls that were left, says nothing. */
enum { ANSWERS_MIN = 100, LEFT_MIN = 50 };

/* How often the server is away, and how many children are forked: all that there is to see was seen
 * in each, some thousand calls of all threads. */
enum { ROUNDS = 2, CHILDREN = 25 };

/* Values that name their keys, and are of many lengths. */
static void make_value(char *out, unsigned key)
{
    int len = snprintf(out, VALUE_MAX, "key:%02u:", key);
    size_t filler_n = key % 4 == 0 ? 4000 : key * 3;
    memset(out + len, 'a' + (int)(key % 26), filler_n);
    out[(size_t)len + filler_n] = '\0';
}

typedef struct counter {
    atomic_llong acked;
    atomic_llong maybe;
} counter;

/* Threads that know what every reply must be. */
typedef struct mix {
    kw_client *kw;
    atomic_bool is_over; /* once enough was answered */
    bool is_patient;     /* no short deadlines */
    counter counters[COUNTERS];
    atomic_uint answered_n;
    atomic_uint wrong_n;
    atomic_uint left_n;   /* calls that met a short deadline */
    atomic_uint failed_n; /* calls that failed with a long one */
    kw_test_times *over;
} mix;

typedef struct mixer {
    mix *it;
    kw_test_deadline deadline;
    uint64_t random;
} mixer;

static unsigned next_random(mixer *self, unsigned below)
{
    self->random = self->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(self->random >> 33) % below;
}

/* One call; NULL with *effect where there is no reply. */
static kw_reply *call(mixer *self, kw_effect *effect, const char *const *argv)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_test_call(self->it->kw, &error, self->deadline, argv);
    bool is_long = self->deadline.ms == LONG_MS;
    atomic_fetch_add(&self->it->answered_n, reply != NULL);
    atomic_fetch_add(is_long ? &self->it->failed_n : &self->it->left_n, reply == NULL);
    if (reply == NULL && is_long) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], kw_err_name(error.code), error.text);
    }
    *effect = error.effect;
    return reply;
}

/* The reply is this text, or there is none. */
static void expect(mixer *self, kw_reply *reply, const char *const *argv, const char *want)
{
    const char *text = kw_reply_str(reply, NULL);
    if (reply != NULL && (text == NULL || strcmp(text, want) != 0)) {
        atomic_fetch_add(&self->it->wrong_n, 1);
        fprintf(stderr, "%s %s: type %d, %.80s, not %.80s\n", argv[0], argv[1],
                (int)kw_reply_type(reply), text != NULL ? text : "", want);
    }
    kw_reply_free(reply);
}

static void count(mixer *self, unsigned number)
{
    char key[30];
    kw_effect effect;
    snprintf(key, sizeof(key), "counter:%u", number);
    const char *argv[] = {"INCR", key, NULL};
    counter *self_counter = &self->it->counters[number];
    kw_reply *reply = call(self, &effect, argv);
    if (reply == NULL) {
        atomic_fetch_add(&self_counter->maybe, effect != KW_EFFECT_NONE);
    } else if (kw_reply_type(reply) == KW_REPLY_INTEGER) {
        atomic_fetch_add(&self_counter->acked, 1);
    } else {
        expect(self, reply, argv, "a number");
        return;
    }
    kw_reply_free(reply);
}

static void take_turn(mixer *self)
{
    char key[30];
    char value[VALUE_MAX];
    kw_effect effect;
    unsigned number = next_random(self, KEYS);
    unsigned kind = next_random(self, 8);
    snprintf(key, sizeof(key), "value:%u", number);
    make_value(value, number);
    if (kind == 0) {
        const char *argv[] = {"SET", key, value, NULL};
        expect(self, call(self, &effect, argv), argv, "OK");
    } else if (kind == 1) {
        const char *argv[] = {"ECHO", value, NULL};
        expect(self, call(self, &effect, argv), argv, value);
    } else if (kind < 4) {
        count(self, number % COUNTERS);
    } else {
        const char *argv[] = {"GET", key, NULL};
        expect(self, call(self, &effect, argv), argv, value);
    }
}

static void run_mixer(void *arg, unsigned thread)
{
    mix *it = arg;
    static const uint64_t deadlines_ms[] = {1, LONG_MS, 5, LONG_MS};
    mixer self = {it, {it->is_patient ? LONG_MS : deadlines_ms[thread % 4], it->over}, thread};
    while (!atomic_load(&it->is_over)) {
        take_turn(&self);
    }
}

/* Ends the threads once they have met what the test wants, which they must. */
static uint64_t end_mix(mix *it, kw_test_crew *crew)
{
    KW_TEST_AWAIT(atomic_load(&it->answered_n) > ANSWERS_MIN);
    atomic_store(&it->is_over, true);
    return kw_test_crew_join(crew);
}

/* Values in place, counters at nothing. */
static void open_mix(mix *it, const char *uri, const char *options)
{
    memset(it, 0, sizeof(*it));
    it->kw = kw_test_open("%s?timeout=20s%s", uri, options);
    it->over = kw_test_times_new();
    kw_test_ask_ok(it->kw, "FLUSHALL");
    for (unsigned i = 0; i < KEYS; i++) {
        char value[VALUE_MAX];
        make_value(value, i);
        kw_test_ask_ok(it->kw, "SET value:%u %s", i, value);
    }
}

/* Nothing was wrong, doubled, lost or late. */
static void check_mix(const char *name, mix *it, uint64_t tardy_us)
{
    for (unsigned i = 0; i < COUNTERS; i++) {
        char *text = kw_test_ask_text(it->kw, "GET counter:%u", i);
        long long value = text != NULL ? atoll(text) : 0;
        long long acked = atomic_load(&it->counters[i].acked);
        long long maybe = atomic_load(&it->counters[i].maybe);
        free(text);
        if (value < acked || value > acked + maybe) {
            fail_msg("%s: counter:%u is %lld after %lld acknowledged and %lld maybes", name, i,
                     value, acked, maybe);
        }
    }
    assert_int_equal(atomic_load(&it->wrong_n), 0);
    assert_int_equal(atomic_load(&it->failed_n), 0);
    assert_false(kw_test_times_are_late(it->over, name, tardy_us));
    kw_close(it->kw);
    kw_test_times_free(it->over);
}

/* The server is away once for long, and for 20 ms again and again: many replies find
 * nobody. */
static void disturb(kw_test_server *server)
{
    kw_test_sleep_ms(50);
    kw_test_server_pause(server);
    kw_test_sleep_ms(250);
    kw_test_server_resume(server);
    for (unsigned i = 0; i < ROUNDS; i++) {
        kw_test_server_ok(server, "DEBUG SLEEP 0.02");
        kw_test_sleep_ms(25);
        kw_test_server_ok(server, "CLIENT PAUSE 15 ALL");
        kw_test_sleep_ms(40);
    }
}

static void run_disturbed_mix(const char *name, kw_test_server *server, unsigned threads_n)
{
    static mix it;
    open_mix(&it, kw_test_server_uri(server), "");
    kw_test_crew *crew = kw_test_crew_start(threads_n, run_mixer, &it);
    disturb(server);
    while (atomic_load(&it.left_n) <= LEFT_MIN) {
        kw_test_server_ok(server, "DEBUG SLEEP 0.02");
    }
    uint64_t tardy_us = end_mix(&it, crew);
    check_mix(name, &it, tardy_us);
}

static void test_threads_with_short_deadlines_disturb_nobody(void **state)
{
    run_disturbed_mix("1 ms and 5 ms", *state, 32);
    run_disturbed_mix("1 ms and 5 ms, 64 threads", *state, 64);
}

static void on_alarm(int number)
{
    (void)number;
}

/* The threads are interrupted each millisecond. */
static void test_threads_under_signals_disturb_nobody(void **state)
{
    static mix it;
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct sigaction old_action;
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct itimerval never = {{0, 0}, {0, 0}};
    sigset_t alarm;
    sigset_t old_mask;
    open_mix(&it, kw_test_server_uri(*state), "");
    kw_test_crew *crew = kw_test_crew_start(32, run_mixer, &it);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, &old_mask); /* the threads get them all */
    sigaction(SIGALRM, &action, &old_action);
    setitimer(ITIMER_REAL, &often, NULL);
    disturb(*state);
    uint64_t tardy_us = end_mix(&it, crew);
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_IGN); /* drops one that is pending */
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
    sigaction(SIGALRM, &old_action, NULL);
    check_mix("signals", &it, tardy_us);
}

/* Values of size bytes, written and read by as many threads as bytes fit. */
typedef struct bulk {
    kw_client *kw;
    size_t size;
    unsigned rounds_n;
    atomic_uint bad_n;
} bulk;

static void fill(char *out, size_t size, unsigned thread, unsigned round)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (char)('!' + (i * 7 + i / 997 + thread * 13 + round * 5) % 90);
    }
}

static void move_bulk(void *arg, unsigned thread)
{
    bulk *it = arg;
    kw_error error = KW_ERROR_INIT;
    char *value = malloc(it->size);
    if (value == NULL) {
        kw_test_die("no memory");
    }
    for (unsigned round = 0; round < it->rounds_n; round++) {
        size_t len = 0;
        fill(value, it->size, thread, round);
        kw_reply *set = kw_command(it->kw, &error, "SET bulk:%u %b", thread, value, it->size);
        kw_reply *get = kw_command(it->kw, &error, "GET bulk:%u", thread);
        const char *got = kw_reply_str(get, &len);
        bool is_good = set != NULL && get != NULL && strcmp(kw_reply_str(set, NULL), "OK") == 0 &&
                       got != NULL && len == it->size && memcmp(got, value, len) == 0;
        if (!is_good) {
            fprintf(stderr, "bulk:%u, round %u: %zu bytes, %s\n", thread, round, len, error.text);
            atomic_fetch_add(&it->bad_n, 1);
        }
        kw_reply_free(set);
        kw_reply_free(get);
    }
    free(value);
}

static void test_threads_with_large_values_let_small_ones_pass(void **state)
{
    static mix small;
    open_mix(&small, kw_test_server_uri(*state), "");
    small.is_patient = true;
    bulk large = {small.kw, 4u << 20, 3, 0};
    kw_test_crew *crew = kw_test_crew_start(16, run_mixer, &small);
    kw_test_crew_run(4, move_bulk, &large);
    uint64_t tardy_us = end_mix(&small, crew);
    assert_int_equal(atomic_load(&large.bad_n), 0);
    check_mix("large values", &small, tardy_us);
}

/* Both directions fill: who writes must read as well. */
static void test_threads_that_fill_both_directions_do_not_deadlock(void **state)
{
    kw_test_relay *relay = kw_test_relay_start(kw_test_server_port(*state));
    bulk it = {kw_test_open("redis://%s?timeout=60s", kw_test_relay_address(relay)), 900 * 1024, 2,
               0};
    kw_test_crew_run(16, move_bulk, &it);
    assert_int_equal(atomic_load(&it.bad_n), 0);
    kw_close(it.kw);
    kw_test_relay_free(relay);
}

typedef struct blocker {
    kw_client *kw;
    atomic_uint popped_n;
    atomic_uint empty_n;
} blocker;

/* One of two lists is never pushed to. */
static void block(void *arg, unsigned thread)
{
    blocker *it = arg;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(it->kw, &error, "BLPOP list:%u 2", thread % 2);
    const kw_reply *value = kw_reply_count(reply) == 2 ? kw_reply_at(reply, 1) : NULL;
    bool is_popped = value != NULL && strcmp(kw_reply_str(value, NULL), "pushed") == 0;
    atomic_fetch_add(&it->popped_n, is_popped && thread % 2 == 0);
    atomic_fetch_add(&it->empty_n, kw_reply_is_nil(reply) && thread % 2 == 1);
    kw_reply_free(reply);
}

static void test_threads_that_block_hold_up_nobody(void **state)
{
    static mix it;
    open_mix(&it, kw_test_server_uri(*state), "");
    it.is_patient = true;
    blocker blocked = {it.kw, 0, 0};
    kw_test_crew *blockers = kw_test_crew_start(6, block, &blocked);
    long long blocked_clients = 0;
    for (int i = 0; i < 1000 && blocked_clients < 6; i++) {
        kw_test_sleep_ms(1);
        blocked_clients = kw_test_server_info(*state, "blocked_clients");
    }
    assert_int_equal(blocked_clients, 6);
    /* A hundred calls behind six callers that have two seconds to wait. */
    kw_test_crew *crew = kw_test_crew_start(16, run_mixer, &it);
    uint64_t tardy_us = end_mix(&it, crew);
    assert_int_equal(kw_test_server_info(*state, "blocked_clients"), 6);
    for (int i = 0; i < 3; i++) {
        kw_test_ask_integer(it.kw, "RPUSH list:0 pushed");
    }
    kw_test_crew_join(blockers);
    assert_int_equal(atomic_load(&blocked.popped_n), 3);
    assert_int_equal(atomic_load(&blocked.empty_n), 3);
    check_mix("blocked callers", &it, tardy_us);
}

/* A child of the traffic: its exit status is 0 where all is as it should be. */
static void run_child(kw_client *kw, bool is_refused)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        unsigned good_n = 0;
        for (unsigned i = 0; i < 5; i++) {
            kw_reply *reply = kw_command(kw, &error, "ECHO child:%u", i);
            const char *text = kw_reply_str(reply, NULL);
            good_n += is_refused ? error.code == KW_ERR_FORKED && error.effect == KW_EFFECT_NONE
                                 : text != NULL && strncmp(text, "child:", 6) == 0;
            kw_reply_free(reply);
        }
        kw_close(kw);
        _exit(good_n == 5 ? 0 : 1);
    }
    status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_threads_go_on_while_the_process_forks(void **state)
{
    static mix it;
    for (unsigned k = 0; k < 2; k++) {
        open_mix(&it, kw_test_server_uri(*state), k == 0 ? "" : "&after-fork=reopen");
        it.is_patient = true;
        kw_test_crew *crew = kw_test_crew_start(8, run_mixer, &it);
        for (unsigned i = 0; i < CHILDREN; i++) {
            run_child(it.kw, k == 0);
        }
        uint64_t tardy_us = end_mix(&it, crew);
        assert_int_equal(kw_test_stats(it.kw).disconnects, 0);
        check_mix("fork", &it, tardy_us);
    }
}

enum { WAITERS = 32, CLOSE_MS = 100 * KW_TEST_SLOWNESS };

typedef struct closing {
    kw_client *kw;
    kw_err codes[WAITERS];
} closing;

/* Readers, writers, writers of much, and those that block. */
static void wait_for_end(void *arg, unsigned thread)
{
    static const char *const commands[] = {"GET k:%u", "INCR k:%u", "SETRANGE k:%u 200000 end",
                                           "BLPOP k:%u 0"};
    closing *it = arg;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(it->kw, &error, commands[thread % 4], thread);
    it->codes[thread] = reply != NULL ? KW_OK : error.code;
    kw_reply_free(reply);
}

/* Milliseconds that it takes to end 32 calls that wait for a server that is stopped. */
static uint64_t close_under_waiters(kw_test_server *server)
{
    closing it = {0};
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    int descriptors_n = kw_test_fd_count();
    kw_config *config = kw_test_config_new(&memory.allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_test_server_uri(server)), KW_OK);
    assert_int_equal(kw_config_set(config, NULL, "timeout", "20s"), KW_OK);
    it.kw = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_test_ask_ok(it.kw, "SET k x");
    kw_test_server_pause(server);
    kw_test_crew *crew = kw_test_crew_start(WAITERS, wait_for_end, &it);
    kw_test_await_calls(it.kw, WAITERS);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    uint64_t start_ms = kw_test_now_ms();
    kw_close(it.kw);
    kw_test_crew_join(crew);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    kw_test_server_resume(server);
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(it.codes[i], KW_ERR_CANCELLED);
    }
    assert_int_equal(kw_test_memory_live(&memory), 0);
    assert_int_equal(kw_test_fd_count(), descriptors_n);
    return elapsed_ms;
}

static void test_close_cancels_the_calls_of_all_threads(void **state)
{
    uint64_t best_ms = UINT64_MAX;
    for (int i = 0; i < 3 || (i < 8 && best_ms > CLOSE_MS); i++) {
        uint64_t elapsed_ms = close_under_waiters(*state);
        best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
    }
    assert_in_range(best_ms, 0, CLOSE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_with_short_deadlines_disturb_nobody),
        cmocka_unit_test(test_threads_under_signals_disturb_nobody),
        cmocka_unit_test(test_threads_with_large_values_let_small_ones_pass),
        cmocka_unit_test(test_threads_that_fill_both_directions_do_not_deadlock),
        cmocka_unit_test(test_threads_that_block_hold_up_nobody),
        cmocka_unit_test(test_threads_go_on_while_the_process_forks),
        cmocka_unit_test(test_close_cancels_the_calls_of_all_threads),
    };
    int failed = cmocka_run_group_tests(tests, kw_test_server_begin, kw_test_server_end);
    kw_test_share_always();
    return failed +
           cmocka_run_group_tests_name("on lanes", tests, kw_test_server_begin, kw_test_server_end);
}
