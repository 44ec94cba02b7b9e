/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads at clusters and servers that are silent, full, or send everybody elsewhere:
 * deadlines hold, the other nodes' keys notice nothing, every write runs once. */
#include "fake/fakes.h"
#include "support/crew.h"

#include <stdatomic.h>

/* Keys "{foo}:..." are in slot 12182 of the second fake; "{bar}:...", 5061, in the first
 * one's. */
enum { THREADS = 16, CALLS = 600 };

/* Calls with a key of their own each; the reply to each is its number. */
typedef struct crowd {
    kw_client *kw;
    const char *format;      /* of a key, with its number */
    uint64_t deadline_ms[2]; /* of the first thread, and how much more each next one has */
    uint64_t until_ms;
    unsigned pause_ms;
    atomic_uint next;
    atomic_uint wrong_n;
    atomic_uint failed_n;
    unsigned char outcomes[CALLS]; /* 1 + effect, 4: answered, 0: not made */
    kw_test_times *over;
    kw_test_times *spent;
} crowd;

static void open_crowd(crowd *it, const char *scheme, const char *options, const char *format)
{
    *it = (crowd){.format = format, .deadline_ms = {10000, 0}};
    it->kw = kw_test_open("%s://%s?%s", scheme, kw_fake_address(fakes[0]), options);
    it->over = kw_test_times_new();
    it->spent = kw_test_times_new();
}

static void close_crowd(crowd *it)
{
    kw_close(it->kw);
    kw_test_times_free(it->over);
    kw_test_times_free(it->spent);
}

static void increment(void *arg, unsigned thread)
{
    crowd *it = arg;
    uint64_t deadline_ms = it->deadline_ms[0] + thread * it->deadline_ms[1];
    while (kw_test_now_ms() < it->until_ms) {
        unsigned i = atomic_fetch_add(&it->next, 1);
        if (i >= CALLS) {
            return;
        }
        char key[40];
        snprintf(key, sizeof(key), it->format, i);
        const char *argv[] = {"INCR", key, NULL};
        kw_error error = KW_ERROR_INIT;
        uint64_t queued_ns = kw_test_queued_ns();
        uint64_t start_ns = kw_test_now_ns();
        kw_reply *reply =
            kw_test_call(it->kw, &error, (kw_test_deadline){deadline_ms, it->over}, argv);
        uint64_t spent_ns = kw_test_now_ns() - start_ns;
        queued_ns = kw_test_queued_ns() - queued_ns;
        kw_test_times_add(it->spent, spent_ns > queued_ns ? (spent_ns - queued_ns) / 1000 : 0);
        it->outcomes[i] = (unsigned char)(reply != NULL ? 4 : 1 + error.effect);
        atomic_fetch_add(&it->failed_n, reply == NULL);
        atomic_fetch_add(&it->wrong_n, reply != NULL && (kw_reply_type(reply) != KW_REPLY_INTEGER ||
                                                         kw_reply_int(reply) != (long long)i));
        kw_reply_free(reply);
        if (it->pause_ms > 0) {
            kw_test_sleep_ms(it->pause_ms);
        }
    }
}

static bool say_number(void *arg, kw_fake_call *call)
{
    (void)arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "INCR") != 0) {
        return false;
    }
    const char *number = strrchr(kw_fake_call_arg(call, 1, NULL), ':');
    kw_fake_call_replyf(call, ":%lu\r\n", number != NULL ? strtoul(number + 1, NULL, 10) : 0);
    return true;
}

/* All fakes up, two with half the slots each, all answer numbers. */
static void renew_crowded(void)
{
    renew_fakes();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], say_number, NULL);
    }
}

/* What the callers heard agrees with what the fake that runs the writes got. */
static void check_outcomes(const char *name, const crowd *it, kw_fake *fake)
{
    for (unsigned i = 0; i < CALLS && it->outcomes[i] != 0; i++) {
        char key[40];
        char pattern[50];
        snprintf(key, sizeof(key), it->format, i);
        snprintf(pattern, sizeof(pattern), "INCR %s", key);
        size_t got_n = kw_fake_count(fake, pattern);
        bool is_answered = it->outcomes[i] == 4;
        bool is_none = it->outcomes[i] == 1 + KW_EFFECT_NONE;
        if (got_n > 1 || (is_answered && got_n == 0) || (is_none && got_n == 1)) {
            fail_msg("%s: %s: the fake got it %zu times, and the caller heard %s", name, pattern,
                     got_n,
                     is_answered ? "an answer" : kw_effect_name((kw_effect)(it->outcomes[i] - 1)));
        }
    }
    if (atomic_load(&it->wrong_n) > 0) {
        fail_msg("%s: %u replies of other commands", name, atomic_load(&it->wrong_n));
    }
}

typedef struct silence {
    const char *name;
    const char *pattern; /* of the command that meets it; NULL: the connection does */
    const kw_fake_step *steps;
} silence;

/* Sixteen callers wait for a node that says nothing, with deadlines of 60 to 360 ms. */
static void run_silence(const silence *row)
{
    static crowd stuck;
    static crowd others;
    renew_crowded();
    if (row->pattern == NULL) {
        kw_fake_on_accept(fakes[1], KW_FAKE_ALWAYS, row->steps);
    } else {
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, row->pattern, row->steps);
    }
    open_crowd(&stuck, "redis-cluster", "timeout=10s&stall-timeout=100ms", "{foo}:%u");
    open_crowd(&others, "redis-cluster", "timeout=10s", "{bar}:%u");
    kw_client *unused = others.kw;
    others.kw = stuck.kw; /* one handle for both */
    need_map(stuck.kw);
    kw_test_ask_integer(stuck.kw, "INCR {bar}:0");
    kw_fake_log_clear(fakes[0]);
    stuck.deadline_ms[0] = 60;
    stuck.deadline_ms[1] = 20;
    stuck.until_ms = kw_test_now_ms() + 500;
    others.until_ms = stuck.until_ms;
    others.pause_ms = 4;
    kw_test_crew *waiters = kw_test_crew_start(THREADS, increment, &stuck);
    uint64_t tardy_us = kw_test_crew_run(2, increment, &others);
    kw_test_crew_join(waiters);
    assert_int_equal(atomic_load(&others.failed_n), 0);
    assert_int_equal(atomic_load(&stuck.failed_n), kw_test_times_count(stuck.over));
    assert_true(kw_test_times_count(others.spent) > 20);
    uint64_t p99_us = kw_test_times_at(others.spent, 990);
    if (p99_us > 40000 * KW_TEST_SLOWNESS + 2 * tardy_us) {
        fail_msg("%s: the other node's keys took %llu us", row->name, (unsigned long long)p99_us);
    }
    assert_false(kw_test_times_are_late(stuck.over, row->name, tardy_us));
    check_outcomes(row->name, &stuck, fakes[1]);
    check_outcomes(row->name, &others, fakes[0]);
    others.kw = unused;
    close_crowd(&others);
    close_crowd(&stuck);
}

static void test_crowd_silent_node_costs_only_its_callers(void **state)
{
    (void)state;
    const silence rows[] = {
        {"accepts, reads", NULL, KW_FAKE_STEPS(KW_FAKE_STALL)},
        {"accepts, does not read", NULL, KW_FAKE_STEPS(KW_FAKE_DEAF)},
        {"does not greet", "HELLO *", KW_FAKE_STEPS(KW_FAKE_STALL)},
        {"greets byte by byte", "HELLO *", KW_FAKE_STEPS(KW_FAKE_FLOOD("$", 50))},
        {"greets", "INCR *", KW_FAKE_STEPS(KW_FAKE_STALL)},
        {"greets, then reads no more", "INCR *", KW_FAKE_STEPS(KW_FAKE_DEAF)},
        {"half a reply", "INCR *", KW_FAKE_STEPS(KW_FAKE_SEND(":1"), KW_FAKE_STALL)},
        {"byte by byte", "INCR *",
         KW_FAKE_STEPS(KW_FAKE_SEND("$1000\r\n"), KW_FAKE_FLOOD("x", 30))},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_silence(&rows[i]);
    }
}

/* As a real server does it: the refusal comes before anything is read. */
static void test_crowd_full_server_is_waited_for_and_writes_run_once(void **state)
{
    (void)state;
    static crowd it;
    static const char full[] = "-ERR max number of clients reached\r\n";
    const kw_fake_step refuse[] = {KW_FAKE_BYTES(full, sizeof(full) - 1), KW_FAKE_CLOSE,
                                   KW_FAKE_END};
    for (unsigned k = 0; k < 2; k++) {
        renew_crowded();
        kw_fake_on_accept(fakes[0], 6, refuse);
        open_crowd(&it, k == 0 ? "redis" : "redis-cluster", "timeout=10s", "{bar}:%u");
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        it.until_ms = UINT64_MAX;
        uint64_t start_ms = kw_test_now_ms();
        kw_test_crew_run(THREADS, increment, &it);
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        assert_int_equal(atomic_load(&it.failed_n), 0);
        check_outcomes("full server", &it, fakes[0]);
        /* Not one dial for each caller and refusal. */
        assert_in_range(kw_fake_accepted(fakes[0]) - accepted_n, 7,
                        6 + THREADS + 20 * (elapsed_ms + 500) / 1000);
        close_crowd(&it);
    }
}

/* One connection is served, all others are refused. */
static bool have_one_place(void *arg, kw_fake_call *call)
{
    unsigned place = *(const unsigned *)arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "HELLO") != 0 ||
        kw_fake_call_connection(call) <= place) {
        return say_number(NULL, call);
    }
    kw_fake_call_replyf(call, "-ERR max number of clients reached\r\n");
    kw_fake_call_close(call);
    return true;
}

static void test_crowd_one_place_serves_all_threads(void **state)
{
    (void)state;
    static crowd it;
    renew_crowded();
    unsigned place = kw_fake_accepted(fakes[0]) + 1;
    kw_fake_respond(fakes[0], have_one_place, &place);
    open_crowd(&it, "redis", "timeout=10s", "{bar}:%u");
    it.until_ms = UINT64_MAX;
    kw_test_crew_run(THREADS, increment, &it);
    check_outcomes("one place", &it, fakes[0]);
    assert_in_range(atomic_load(&it.failed_n), 0, CALLS / 50); /* callers are not served in turn */
    close_crowd(&it);
}

/* The second fake sends all its callers to the third; the map is never set right. */
static void run_storm(const char *word, bool is_spread)
{
    static crowd it;
    renew_crowded();
    open_crowd(&it, "redis-cluster", "timeout=10s", is_spread ? "k:%u" : "{foo}:%u");
    assert_int_equal(kw_connect(it.kw, NULL), KW_OK);
    for (unsigned i = 0; i < CALLS; i++) {
        char key[40];
        char pattern[50];
        snprintf(key, sizeof(key), it.format, i);
        snprintf(pattern, sizeof(pattern), "INCR %s", key);
        unsigned slot = kw_slot(key, strlen(key));
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, pattern, "-%s %u %s", word, slot,
                         kw_fake_address(fakes[2]));
    }
    size_t maps_n = maps_asked();
    it.until_ms = UINT64_MAX;
    uint64_t start_ms = kw_test_now_ms();
    kw_test_crew_run(THREADS, increment, &it);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_int_equal(atomic_load(&it.failed_n), 0);
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    size_t maps_more_n = maps_asked() - maps_n;
    assert_in_range(maps_more_n, 0, elapsed_ms / 100 + 2);
    size_t run_n = kw_fake_count(fakes[2], "INCR *") + kw_fake_count(fakes[0], "INCR *");
    assert_int_equal(run_n, CALLS);
    assert_true(kw_fake_count(fakes[1], "INCR *") > 0);
    close_crowd(&it);
}

static void test_crowd_moved_storm_runs_writes_once_and_asks_for_few_maps(void **state)
{
    (void)state;
    run_storm("MOVED", false);
    run_storm("MOVED", true);
}

/* Each INCR that the third fake got stands right behind an ASKING of its own. */
static void test_crowd_ask_storm_puts_asking_before_each_command(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        run_storm("ASK", k == 1);
        enum { CONNECTIONS = 1024 };
        static bool is_asking[CONNECTIONS];
        memset(is_asking, 0, sizeof(is_asking));
        kw_fake_entry entry;
        for (size_t i = 0; kw_fake_log_at(fakes[2], i, &entry); i++) {
            assert_true(entry.connection < CONNECTIONS);
            if (strncmp(entry.text, "INCR ", 5) == 0) {
                assert_true(is_asking[entry.connection]);
            }
            is_asking[entry.connection] = strcmp(entry.text, "ASKING") == 0;
        }
        assert_int_equal(kw_fake_count(fakes[2], "ASKING"), kw_fake_count(fakes[2], "INCR *"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd_silent_node_costs_only_its_callers),
        cmocka_unit_test(test_crowd_full_server_is_waited_for_and_writes_run_once),
        cmocka_unit_test(test_crowd_one_place_serves_all_threads),
        cmocka_unit_test(test_crowd_moved_storm_runs_writes_once_and_asks_for_few_maps),
        cmocka_unit_test(test_crowd_ask_storm_puts_asking_before_each_command),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
