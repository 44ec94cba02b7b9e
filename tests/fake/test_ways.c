/* SPDX-License-Identifier: BSD-3-Clause */
/* One policy, whatever the way of sending: each failure ends with one code, effect and number of
 * sends, and as late, by a call, a batch, a ticket, a callback, a session, and a call that waits
 * for its acknowledgements: each way is a part of the program. */
#include "fake/fakes.h"
#include "support/parts.h"
#include "support/ways.h"

/* A call's deadline; what ends at once ends long before it. */
#define TIMEOUT_MS 600u
#define AT_ONCE_MS 200u

/* foo is in the upper half of the slots, fakes[1]'s. */
#define KEY "foo"

/* What goes wrong at the owner of the key. */
typedef enum trouble {
    T_NONE,
    T_REFUSED,        /* nothing listens */
    T_HELLO_SILENT,   /* the greeting is not answered */
    T_HELLO_REFUSED,  /* nor taken: the password is wrong */
    T_HOLE,           /* nobody owns the slot */
    T_MOVED_FOR_EVER, /* two nodes send it to each other */
    T_ASKED_FOR_EVER,
    T_STEPS /* what the row's steps say */
} trouble;

typedef enum end_time { AT_ONCE, AT_DEADLINE } end_time;

#define MANY 1000u /* attempts: more than one, as pauses have it */

typedef struct row {
    const char *name;
    const char *verb;
    trouble trouble;
    unsigned times; /* of the steps; KW_FAKE_ALWAYS */
    const kw_fake_step *steps;
    bool is_answered;
    kw_err code; /* KW_OK: a server's error is the reply */
    kw_effect effect;
    unsigned attempts;
    end_time when;
} row;

#define SAYS(text) ((const kw_fake_step[]){KW_FAKE_SEND(text "\r\n"), KW_FAKE_END})

static const kw_fake_step stalls[] = {KW_FAKE_STALL, KW_FAKE_END};
static const kw_fake_step resets[] = {KW_FAKE_RESET, KW_FAKE_END};
static const kw_fake_step closes[] = {KW_FAKE_CLOSE, KW_FAKE_END};
static const kw_fake_step breaks_off[] = {KW_FAKE_SEND("$5\r\nab"), KW_FAKE_RESET, KW_FAKE_END};

#define ALWAYS KW_FAKE_ALWAYS
#define NONE   KW_EFFECT_NONE
#define MAYBE  KW_EFFECT_MAYBE
#define DONE   KW_EFFECT_DONE

/* clang-format off */
static const row rows[] = {
    {"refused", "INCR", T_REFUSED, 0, NULL, false, KW_ERR_CONNECT, NONE, 0, AT_DEADLINE},
    {"greeting not answered", "INCR", T_HELLO_SILENT, 0, NULL, false, KW_ERR_HANDSHAKE, NONE, 0, AT_DEADLINE},
    {"greeting refused", "INCR", T_HELLO_REFUSED, 0, NULL, false, KW_ERR_AUTH, NONE, 0, AT_ONCE},
    {"silent", "INCR", T_STEPS, ALWAYS, stalls, false, KW_ERR_TIMEOUT, MAYBE, 1, AT_DEADLINE},
    {"silent to a read", "GET", T_STEPS, ALWAYS, stalls, false, KW_ERR_TIMEOUT, MAYBE, 1, AT_DEADLINE},
    {"reset", "INCR", T_STEPS, ALWAYS, resets, false, KW_ERR_CLOSED, MAYBE, 1, AT_ONCE},
    {"closed", "INCR", T_STEPS, ALWAYS, closes, false, KW_ERR_CLOSED, MAYBE, 1, AT_ONCE},
    {"closed within its reply", "INCR", T_STEPS, ALWAYS, breaks_off, false, KW_ERR_CLOSED, MAYBE, 1, AT_ONCE},
    {"read that ends its connection again and again", "GET", T_STEPS, ALWAYS, closes, false, KW_ERR_CLOSED, MAYBE, 5, AT_DEADLINE},
    {"read that is lost once", "GET", T_STEPS, 1, resets, true, KW_OK, NONE, 2, AT_ONCE},
    {"garbage", "INCR", T_STEPS, ALWAYS, SAYS("?what"), false, KW_ERR_PROTOCOL, MAYBE, 1, AT_ONCE},
    {"too large", "GET", T_STEPS, ALWAYS, SAYS("$99999999"), false, KW_ERR_LIMIT, DONE, 1, AT_ONCE},
    {"loading", "INCR", T_STEPS, ALWAYS, SAYS("-LOADING data"), false, KW_ERR_LOADING, NONE, MANY, AT_DEADLINE},
    {"loading twice", "INCR", T_STEPS, 2, SAYS("-LOADING data"), true, KW_OK, NONE, 3, AT_ONCE},
    {"cluster down", "INCR", T_STEPS, ALWAYS, SAYS("-CLUSTERDOWN it is"), false, KW_ERR_CLUSTER_DOWN, NONE, MANY, AT_DEADLINE},
    {"try again", "INCR", T_STEPS, ALWAYS, SAYS("-TRYAGAIN later"), false, KW_ERR_TRY_AGAIN, NONE, MANY, AT_DEADLINE},
    {"master down", "INCR", T_STEPS, ALWAYS, SAYS("-MASTERDOWN it is"), false, KW_ERR_MASTER_DOWN, NONE, MANY, AT_DEADLINE},
    {"read-only", "INCR", T_STEPS, ALWAYS, SAYS("-READONLY a replica"), false, KW_ERR_READONLY, NONE, MANY, AT_DEADLINE},
    {"busy", "INCR", T_STEPS, ALWAYS, SAYS("-BUSY a script"), false, KW_ERR_BUSY, NONE, MANY, AT_DEADLINE},
    {"moved for ever", "INCR", T_MOVED_FOR_EVER, 0, NULL, false, KW_ERR_REDIRECT, NONE, 6, AT_ONCE},
    {"asked for ever", "INCR", T_ASKED_FOR_EVER, 0, NULL, false, KW_ERR_REDIRECT, NONE, 6, AT_ONCE},
    {"moved to nonsense", "INCR", T_STEPS, ALWAYS, SAYS("-MOVED nowhere"), false, KW_OK, NONE, 0, AT_ONCE},
    {"no permission", "INCR", T_STEPS, ALWAYS, SAYS("-NOPERM no"), false, KW_OK, NONE, 0, AT_ONCE},
    {"slot of nobody", "INCR", T_HOLE, 0, NULL, false, KW_ERR_NOT_SERVED, NONE, 0, AT_DEADLINE},
    {"nothing wrong", "INCR", T_NONE, 0, NULL, true, KW_OK, NONE, 1, AT_ONCE},
};

static const row told_once[] = {
    {"lost", "GET", T_STEPS, ALWAYS, resets, false, KW_ERR_CLOSED, MAYBE, 1, AT_ONCE},
    {"loading once", "GET", T_STEPS, 1, SAYS("-LOADING data"), true, KW_OK, NONE, 2, AT_ONCE},
};
/* clang-format on */

static void redirect_for_ever(const char *word)
{
    for (size_t i = 1; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", "-%s %u %s", word, FOO_SLOT,
                         kw_fake_address(fakes[3 - i]));
    }
}

/* The fakes as a healthy cluster, which knows the key, and then what the row says. */
static kw_client *begin(const row *self, const char *settings)
{
    const kw_fake_range halves[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, halves, self->trouble == T_HOLE ? 1 : 2);
    kw_client *client = kw_test_open("redis-cluster://%s?timeout=%ums&reply-bytes-max=1mb%s",
                                     kw_fake_address(fakes[0]), TIMEOUT_MS, settings);
    need_map(client);
    if (self->steps != NULL) {
        char pattern[20];
        snprintf(pattern, sizeof(pattern), "%s *", self->verb);
        kw_fake_on(fakes[1], self->times, pattern, self->steps);
    }
    if (self->trouble == T_HELLO_SILENT) {
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "HELLO*", stalls);
    } else if (self->trouble == T_HELLO_REFUSED) {
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "HELLO*", "-NOAUTH Authentication required.");
    } else if (self->trouble == T_REFUSED) {
        kw_fake_down(fakes[1]);
    } else if (self->trouble == T_MOVED_FOR_EVER) {
        redirect_for_ever("MOVED");
    } else if (self->trouble == T_ASKED_FOR_EVER) {
        redirect_for_ever("ASK");
    }
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":1");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "WAIT *", ":1");
    }
    return client;
}

static size_t count_sends(const row *self)
{
    char pattern[20];
    size_t n = 0;
    snprintf(pattern, sizeof(pattern), "%s *", self->verb);
    for (size_t i = 0; i < FAKES_N; i++) {
        n += kw_fake_count(fakes[i], pattern);
    }
    return n;
}

#define ACKED ((kw_test_way)KW_TEST_WAYS_N)

/* This part's. */
static kw_test_way way;

static const char *way_name(void)
{
    return way == ACKED ? "acknowledged call" : kw_test_way_name(way);
}

/* By each way, and ACKED, which sends WAIT behind a write. */
static kw_test_end send_key(kw_client *client, const char *verb)
{
    if (way != ACKED) {
        return kw_test_send(client, way, verb, KEY);
    }
    kw_test_end end = {.error = KW_ERROR_INIT};
    uint64_t start_ns = kw_test_now_ns();
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    const char *argv[] = {verb, KEY};
    kw_reply *reply = kw_call(client, &end.error, &options, (kw_argv){2, argv, NULL});
    end.is_answered = reply != NULL && !kw_reply_is_error(reply);
    if (end.is_answered && end.error.code != KW_OK) {
        fail_msg("acknowledged, and yet: %s", end.error.text);
    }
    kw_reply_free(reply);
    end.took_us = (kw_test_now_ns() - start_ns) / 1000;
    return end;
}

/* What is not as the row says; NULL: nothing. */
static const char *judge(const row *self, const kw_test_end *end)
{
    unsigned long long took_ms = end->took_us / 1000;
    size_t sends_n = count_sends(self);
    bool is_failure = self->code != KW_OK;
    if (end->is_answered != self->is_answered) {
        return "answered or not";
    }
    if (is_failure && end->error.code != self->code) {
        return "code";
    }
    if (is_failure && end->error.effect != self->effect) {
        return "effect";
    }
    if (is_failure && self->attempts == MANY
            ? end->error.attempts < 2
            : is_failure && end->error.attempts != self->attempts) {
        return "attempts";
    }
    if (is_failure && self->trouble != T_HELLO_REFUSED && end->error.attempts != sends_n) {
        return "attempts that the server has not seen";
    }
    if (self->is_answered && sends_n != self->attempts) {
        return "sends";
    }
    if (self->when == AT_DEADLINE && self->attempts != 5 &&
        (took_ms < TIMEOUT_MS - 1 || took_ms > TIMEOUT_MS + LATE_MS)) {
        return "time of its deadline";
    }
    return took_ms > TIMEOUT_MS + LATE_MS ? "time" : NULL;
}

/* Where a command is tried until its deadline, that may come in the middle of a try. */
static bool is_cut(const row *self, const kw_test_end *end)
{
    return self->attempts == MANY && end->error.code == KW_ERR_TIMEOUT &&
           end->error.effect == KW_EFFECT_MAYBE && end->error.attempts >= 2;
}

/* The row's trouble; true where it ends as it says. */
static bool ends_well(const row *self, const char *settings)
{
    kw_client *client = begin(self, settings);
    kw_test_end end = send_key(client, self->verb);
    for (int i = 0; i < 20 && is_cut(self, &end); i++) {
        kw_close(client);
        client = begin(self, settings);
        end = send_key(client, self->verb);
    }
    const char *fault = judge(self, &end);
    if (fault != NULL) {
        print_error("%s, by %s: %s: %s %s, %u attempts, %zu seen, %llu ms: %s\n", self->name,
                    way_name(), fault, kw_err_name(end.error.code),
                    kw_effect_name(end.error.effect), end.error.attempts, count_sends(self),
                    (unsigned long long)(end.took_us / 1000), end.error.text);
    }
    kw_close(client);
    return fault == NULL;
}

static void test_ways_each_failure_ends_alike_by_all_of_them(void **state)
{
    (void)state;
    unsigned faults_n = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        faults_n += ends_well(&rows[i], "") ? 0 : 1;
    }
    assert_int_equal(faults_n, 0);
}

/* Refused, a read is sent again all the same: nothing has run. */
static void test_ways_lost_reads_are_not_repeated_where_told(void **state)
{
    (void)state;
    unsigned faults_n = 0;
    for (size_t i = 0; i < sizeof(told_once) / sizeof(told_once[0]); i++) {
        faults_n += ends_well(&told_once[i], "&repeat-reads=no") ? 0 : 1;
    }
    assert_int_equal(faults_n, 0);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways_each_failure_ends_alike_by_all_of_them),
        cmocka_unit_test(test_ways_lost_reads_are_not_repeated_where_told),
    };
    way = (kw_test_way)part;
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, (size_t)ACKED + 1, run);
}
