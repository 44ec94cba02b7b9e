/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads at one server that misbehaves: each gets its own reply or the right outcome
 * by its own deadline, whatever becomes of the commands beside it. */
#include "fake/fakes.h"
#include "support/crew.h"
#include "support/parts.h"

#include <stdatomic.h>

enum { THREADS = 16 };

enum { TURNS = 400, FAULTS = 10 };

typedef struct call_turn {
    bool is_answered;
    kw_effect effect;
} call_turn;

typedef struct fault_row {
    const char *name;
    const kw_fake_step *steps; /* what the fake does to ten of the commands */
    uint64_t timeout_ms;
    bool costs_little; /* a fault costs at most the calls in flight with it */
} fault_row;

typedef struct play {
    const fault_row *row;
    kw_client *kw;
    atomic_uint next; /* the turn to be taken next */
    call_turn turns[TURNS];
    atomic_uint wrong_n; /* replies of other commands */
    kw_test_times *over;
} play;

/* Every third call is a read. */
static const char *command_of(unsigned number)
{
    return number % 3 == 0 ? "GET" : "INCR";
}

static void take_turns(void *arg, unsigned thread)
{
    play *it = arg;
    (void)thread;
    for (unsigned i; (i = atomic_fetch_add(&it->next, 1)) < TURNS;) {
        char key[20];
        snprintf(key, sizeof(key), "k:%03u", i);
        const char *argv[] = {command_of(i), key, NULL};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply =
            kw_test_call(it->kw, &error, (kw_test_deadline){it->row->timeout_ms, it->over}, argv);
        it->turns[i].is_answered = reply != NULL;
        it->turns[i].effect = error.effect;
        atomic_fetch_add(&it->wrong_n, reply != NULL && (kw_reply_type(reply) != KW_REPLY_INTEGER ||
                                                         kw_reply_int(reply) != (long long)i));
        kw_reply_free(reply);
    }
}

/* The number in the key. */
static bool say_number(void *arg, kw_fake_call *call)
{
    (void)arg;
    const char *key = kw_fake_call_argc(call) == 2 ? kw_fake_call_arg(call, 1, NULL) : "";
    if (strncmp(key, "k:", 2) != 0) {
        return false;
    }
    kw_fake_call_replyf(call, ":%lu\r\n", strtoul(key + 2, NULL, 10));
    return true;
}

/* What is known of the call agrees with what the fake got. */
static void check_turn(const fault_row *row, unsigned number, const call_turn *turn)
{
    char pattern[30];
    snprintf(pattern, sizeof(pattern), "%s k:%03u", command_of(number), number);
    size_t got_n = kw_fake_count(fakes[0], pattern);
    bool is_read = number % 3 == 0;
    bool is_right = turn->is_answered                ? got_n >= 1
                    : turn->effect == KW_EFFECT_NONE ? got_n == 0
                    : turn->effect == KW_EFFECT_DONE ? got_n >= 1
                                                     : true;
    if (!is_right || (!is_read && got_n > 1)) {
        fail_msg("%s: %s: the fake got it %zu times, and the caller heard %s", row->name, pattern,
                 got_n, turn->is_answered ? "an answer" : kw_effect_name(turn->effect));
    }
}

static void wait_until_closed(kw_fake *fake)
{
    for (int i = 0; i < 2000 && kw_fake_open(fake) > 0; i++) {
        kw_test_sleep_ms(1);
    }
    assert_int_equal(kw_fake_open(fake), 0);
}

/* The handle works again by itself. */
static void assert_usable(const char *name, kw_client *kw)
{
    uint64_t end_ms = kw_test_now_ms() + 1000 * KW_TEST_SLOWNESS + 1500;
    kw_reply *reply = NULL;
    while (reply == NULL && kw_test_now_ms() < end_ms) {
        reply = kw_command(kw, NULL, "GET k:7");
    }
    if (kw_reply_int(reply) != 7) {
        fail_msg("%s: not usable afterwards", name);
    }
    kw_reply_free(reply);
}

static void run_row(const fault_row *row)
{
    play it = {.row = row, .over = kw_test_times_new()};
    unsigned answered_n = 0;
    renew_fakes();
    kw_fake_on(fakes[0], FAULTS, "* k:*5", row->steps);
    kw_fake_respond(fakes[0], say_number, NULL);
    it.kw = kw_test_open("redis://%s?timeout=1s", kw_fake_address(fakes[0]));
    uint64_t tardy_us = kw_test_crew_run(THREADS, take_turns, &it);
    kw_fake_reset(fakes[0]);
    kw_fake_respond(fakes[0], say_number, NULL);
    assert_usable(row->name, it.kw);
    kw_close(it.kw);
    wait_until_closed(fakes[0]);
    for (unsigned i = 0; i < TURNS; i++) {
        check_turn(row, i, &it.turns[i]);
        answered_n += it.turns[i].is_answered;
    }
    if (atomic_load(&it.wrong_n) > 0) {
        fail_msg("%s: %u replies of other commands", row->name, atomic_load(&it.wrong_n));
    }
    if (row->costs_little && answered_n < TURNS - FAULTS * THREADS) {
        fail_msg("%s: only %u calls answered", row->name, answered_n);
    }
    assert_false(kw_test_times_are_late(it.over, row->name, tardy_us));
    kw_test_times_free(it.over);
}

static void test_lanes_give_each_caller_its_own_outcome(void **state)
{
    (void)state;
    const fault_row rows[] = {
        {"reset", KW_FAKE_STEPS(KW_FAKE_RESET), 5000, true},
        {"close", KW_FAKE_STEPS(KW_FAKE_CLOSE), 5000, true},
        {"reset later", KW_FAKE_STEPS(KW_FAKE_DELAY(10), KW_FAKE_RESET), 5000, true},
        {"half, then reset", KW_FAKE_STEPS(KW_FAKE_SEND("$8\r\nhalf"), KW_FAKE_RESET), 5000, true},
        {"half, then close", KW_FAKE_STEPS(KW_FAKE_SEND(":12"), KW_FAKE_CLOSE), 5000, true},
        {"half, then silence", KW_FAKE_STEPS(KW_FAKE_SEND("$8\r\nhalf"), KW_FAKE_STALL), 150,
         false},
        {"half of many, then silence",
         KW_FAKE_STEPS(KW_FAKE_SEND("*3\r\n:1\r\n$2\r\n"), KW_FAKE_STALL), 150, false},
        {"silence", KW_FAKE_STEPS(KW_FAKE_STALL), 150, false},
        {"byte after byte", KW_FAKE_STEPS(KW_FAKE_SEND("$90\r\n"), KW_FAKE_FLOOD("x", 40)), 150,
         false},
        {"no type", KW_FAKE_STEPS(KW_FAKE_SEND("garbage\r\n")), 5000, true},
        {"http", KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad\r\n\r\n")), 5000, true},
        {"no number", KW_FAKE_STEPS(KW_FAKE_SEND(":seven\r\n")), 5000, true},
        {"too large", KW_FAKE_STEPS(KW_FAKE_SEND("$99999999999\r\n")), 5000, true},
        {"too many", KW_FAKE_STEPS(KW_FAKE_SEND("*1073741824\r\n")), 5000, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i]);
    }
}

enum { KEYS = 32, REPLY_MAX = 3000 };

/* What the key is answered with: itself, and filler. */
static size_t make_reply(char *out, unsigned key)
{
    char value[REPLY_MAX];
    size_t len = (size_t)snprintf(value, sizeof(value), "key:%02u:", key);
    size_t filler_n = key * 89 % (REPLY_MAX - 100);
    memset(value + len, 'a' + (int)(key % 26), filler_n);
    return kw_fake_bulk(out, value, len + filler_n);
}

static bool is_reply_of(const kw_reply *reply, unsigned key)
{
    char want[REPLY_MAX + 40];
    size_t len;
    size_t want_len = make_reply(want, key);
    const char *value = kw_reply_str(reply, &len);
    return kw_reply_type(reply) == KW_REPLY_STRING && len < want_len &&
           memcmp(want + want_len - 2 - len, value, len) == 0 && want[0] == '$' &&
           strtoul(want + 1, NULL, 10) == len;
}

typedef struct late_play {
    kw_client *kw;
    uint64_t until_ms;
    kw_test_times *over;
    atomic_uint wrong_n;
    atomic_uint answered_n;
    atomic_uint left_n;   /* calls that met a short deadline */
    atomic_uint failed_n; /* calls that failed with a long one */
} late_play;

static void call_and_leave(void *arg, unsigned thread)
{
    static const uint64_t deadlines_ms[] = {1, 10000, 5, 10000};
    late_play *it = arg;
    uint64_t deadline_ms = deadlines_ms[thread % 4];
    for (unsigned i = thread; kw_test_now_ms() < it->until_ms; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key:%02u", i * 7 % KEYS);
        const char *argv[] = {"GET", key, NULL};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply =
            kw_test_call(it->kw, &error, (kw_test_deadline){deadline_ms, it->over}, argv);
        atomic_fetch_add(&it->answered_n, reply != NULL);
        atomic_fetch_add(&it->wrong_n, reply != NULL && !is_reply_of(reply, i * 7 % KEYS));
        atomic_fetch_add(deadline_ms < 1000 ? &it->left_n : &it->failed_n, reply == NULL);
        kw_reply_free(reply);
    }
}

/* With pauses every eighth key is answered late, every eighth in two halves with a pause
 * between. */
static void set_rules(kw_fake *fake, bool has_pauses)
{
    for (unsigned key = 0; key < KEYS; key++) {
        char pattern[20];
        char bytes[REPLY_MAX + 40];
        size_t len = make_reply(bytes, key);
        unsigned pause_ms = key % 16 == 1 ? 20 : 7;
        const kw_fake_step prompt[] = {KW_FAKE_BYTES(bytes, len), KW_FAKE_END};
        const kw_fake_step late[] = {KW_FAKE_DELAY(pause_ms), KW_FAKE_BYTES(bytes, len),
                                     KW_FAKE_END};
        const kw_fake_step halves[] = {KW_FAKE_BYTES(bytes, len / 2), KW_FAKE_DELAY(pause_ms),
                                       KW_FAKE_BYTES(bytes + len / 2, len - len / 2), KW_FAKE_END};
        snprintf(pattern, sizeof(pattern), "GET key:%02u", key);
        kw_fake_on(fake, KW_FAKE_ALWAYS, pattern,
                   !has_pauses    ? prompt
                   : key % 8 == 1 ? late
                   : key % 8 == 3 ? halves
                                  : prompt);
    }
}

static void test_lanes_late_replies_reach_nobody(void **state)
{
    (void)state;
    renew_fakes();
    set_rules(fakes[0], true);
    late_play it = {.over = kw_test_times_new()};
    it.kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
    it.until_ms = kw_test_now_ms() + 1000;
    uint64_t tardy_us = kw_test_crew_run(THREADS, call_and_leave, &it);
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    assert_int_equal(atomic_load(&it.failed_n), 0);
    assert_true(atomic_load(&it.answered_n) > THREADS); /* one connection serves them in turn */
    assert_true(atomic_load(&it.left_n) > 20);
    assert_false(kw_test_times_are_late(it.over, "late replies", tardy_us));
    kw_close(it.kw);
    kw_test_times_free(it.over);
}

/* Between a late reply and the next command's, and in every order of their coming. */
static void take_late_then_next(void *arg, unsigned thread)
{
    late_play *it = arg;
    for (unsigned round = 0; round < 12; round++) {
        static const char *const late[] = {"GET", "key:17", NULL};
        static const char *const next[] = {"GET", "key:02", NULL};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply =
            kw_test_call(it->kw, &error, (kw_test_deadline){3 + thread + round, it->over}, late);
        atomic_fetch_add(&it->wrong_n, reply != NULL && !is_reply_of(reply, 17));
        atomic_fetch_add(&it->left_n, reply == NULL);
        kw_reply_free(reply);
        reply = kw_test_call(it->kw, &error, (kw_test_deadline){10000, it->over}, next);
        atomic_fetch_add(&it->failed_n, reply == NULL);
        atomic_fetch_add(&it->wrong_n, reply != NULL && !is_reply_of(reply, 2));
        kw_reply_free(reply);
    }
}

static void test_lanes_late_reply_is_not_the_next_commands(void **state)
{
    (void)state;
    for (unsigned threads_n = 1; threads_n <= THREADS; threads_n *= 4) {
        renew_fakes();
        set_rules(fakes[0], true);
        late_play it = {.over = kw_test_times_new()};
        it.kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
        uint64_t tardy_us = kw_test_crew_run(threads_n, take_late_then_next, &it);
        assert_int_equal(atomic_load(&it.wrong_n), 0);
        assert_int_equal(atomic_load(&it.failed_n), 0);
        assert_true(atomic_load(&it.left_n) > 0);
        assert_false(kw_test_times_are_late(it.over, "late, then next", tardy_us));
        kw_close(it.kw);
        kw_test_times_free(it.over);
    }
}

/* Bytes that nobody asked for come while all connections are idle. */
static void test_lanes_unasked_replies_reach_none_of_many(void **state)
{
    (void)state;
    renew_fakes();
    set_rules(fakes[0], false);
    late_play it = {.over = kw_test_times_new()};
    it.kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]));
    for (unsigned round = 0; round < 8; round++) {
        it.until_ms = kw_test_now_ms() + 60;
        kw_test_crew_run(THREADS / 2, call_and_leave, &it);
        kw_test_sleep_ms(20 * KW_TEST_SLOWNESS);    /* those that were left, too, are sent .. */
        KW_TEST_AWAIT(kw_fake_is_at_rest(fakes[0])) /* .. and answered */
        kw_fake_push(fakes[0], "$6\r\nnobody\r\n", 12);
        kw_test_sleep_ms(5 * KW_TEST_SLOWNESS);
    }
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    assert_int_equal(atomic_load(&it.failed_n), 0);
    kw_close(it.kw);
    kw_test_times_free(it.over);
}

/* One prompt reply, and one that comes 7 ms late to a caller that has left. */
static void leave_one_behind(void *arg, unsigned thread)
{
    static const char *const late[] = {"GET", "key:09", NULL};
    static const char *const prompt[] = {"GET", "key:02", NULL};
    late_play *it = arg;
    kw_error error = KW_ERROR_INIT;
    (void)thread;
    kw_reply *reply = kw_test_call(it->kw, &error, (kw_test_deadline){10000, NULL}, prompt);
    atomic_fetch_add(&it->wrong_n, !is_reply_of(reply, 2));
    kw_reply_free(reply);
    kw_reply_free(kw_test_call(it->kw, &error, (kw_test_deadline){3, NULL}, late));
}

/* An unasked reply behind those whose callers have left, and that nobody has read yet. */
static void test_lanes_unasked_reply_behind_late_ones_reaches_nobody(void **state)
{
    (void)state;
    renew_fakes();
    set_rules(fakes[0], true);
    late_play it = {.kw = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fakes[0]))};
    for (unsigned round = 0; round < 10; round++) {
        kw_test_crew_run(6, leave_one_behind, &it);
        kw_test_sleep_ms(100);                      /* the late ones are sent .. */
        KW_TEST_AWAIT(kw_fake_is_at_rest(fakes[0])) /* .. and have come */
        kw_fake_push(fakes[0], "$6\r\nnobody\r\n", 12);
        kw_test_sleep_ms(5 * KW_TEST_SLOWNESS);
    }
    leave_one_behind(&it, 0);
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    kw_close(it.kw);
}

enum { LARGE = 200 * 1024, LARGE_TURNS = 48 };

typedef struct large_play {
    kw_client *kw;
    atomic_uint next;
    kw_effect effects[LARGE_TURNS];
    bool is_answered[LARGE_TURNS];
    kw_test_times *over;
    char value[LARGE + 1];
} large_play;

static void write_large(void *arg, unsigned thread)
{
    large_play *it = arg;
    (void)thread;
    for (unsigned i; (i = atomic_fetch_add(&it->next, 1)) < LARGE_TURNS;) {
        char key[20];
        snprintf(key, sizeof(key), "large:%02u", i);
        const char *argv[] = {"SET", key, it->value, NULL};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_test_call(it->kw, &error, (kw_test_deadline){200, it->over}, argv);
        it->is_answered[i] = reply != NULL;
        it->effects[i] = error.effect;
        kw_reply_free(reply);
    }
}

static void test_lanes_large_writes_to_a_deaf_server_end_on_time(void **state)
{
    (void)state;
    static large_play it;
    memset(&it, 0, sizeof(it));
    it.over = kw_test_times_new();
    memset(it.value, 'x', LARGE);
    renew_fakes();
    kw_fake_on(fakes[0], 6, "SET large:?5 *", KW_FAKE_STEPS(KW_FAKE_DEAF));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "+OK");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET k:7", ":7");
    it.kw = kw_test_open("redis://%s?timeout=1s", kw_fake_address(fakes[0]));
    uint64_t tardy_us = kw_test_crew_run(THREADS / 2, write_large, &it);
    assert_usable("large writes", it.kw);
    kw_close(it.kw);
    for (unsigned i = 0; i < LARGE_TURNS; i++) {
        char pattern[40];
        snprintf(pattern, sizeof(pattern), "SET large:%02u *", i);
        size_t got_n = kw_fake_count(fakes[0], pattern);
        assert_true(got_n <= 1);
        assert_true(!it.is_answered[i] || got_n == 1);
        assert_true(it.is_answered[i] || it.effects[i] != KW_EFFECT_NONE || got_n == 0);
    }
    assert_false(kw_test_times_are_late(it.over, "large writes", tardy_us));
    kw_test_times_free(it.over);
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes_give_each_caller_its_own_outcome),
        cmocka_unit_test(test_lanes_late_replies_reach_nobody),
        cmocka_unit_test(test_lanes_late_reply_is_not_the_next_commands),
        cmocka_unit_test(test_lanes_unasked_replies_reach_none_of_many),
        cmocka_unit_test(test_lanes_unasked_reply_behind_late_ones_reaches_nobody),
        cmocka_unit_test(test_lanes_large_writes_to_a_deaf_server_end_on_time),
    };
    return KW_TEST_RUN_SHARE(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 3, run);
}
