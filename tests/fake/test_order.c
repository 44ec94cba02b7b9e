/* SPDX-License-Identifier: BSD-3-Clause */
/* Order per key in batches, tickets and callbacks: the order of adding, or an error, never another
 * order in silence; and the bounds of what may be under way. */
#include "fake/fakes.h"
#include "net/conn.h"
#include "support/meter.h"
#include "support/turn.h"

enum { VALUES = 4 };

/* foo is in the upper half of the slots, fakes[1]'s. */
#define KEY "foo"

typedef enum way { BY_BATCH, BY_TICKETS, BY_CALLBACKS, WAYS_N } way;

static const char *const way_names[] = {"batch", "tickets", "callbacks"};

/* What is sent with each value; a channel has its order as a key has. */
static const char *verb = "RPUSH";

/* How each of the values fared. */
typedef struct fate {
    bool is_answered;
    kw_error error;
} fate;

static kw_client *open_anew(const char *options)
{
    renew_fakes();
    return kw_test_open("redis-cluster://%s?timeout=3s%s", kw_fake_address(fakes[0]), options);
}

static void answer_pushes(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "RPUSH *", ":1");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "PUBLISH *", ":1");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
    }
}

static void take(fate *self, const kw_reply *reply)
{
    self->is_answered = reply != NULL && !kw_reply_is_error(reply);
}

static void push_by_batch(kw_client *kw, fate fates[VALUES])
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (int i = 0; i < VALUES; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "%s " KEY " v%d", verb, i), KW_OK);
    }
    (void)kw_batch_run(batch, NULL, 0);
    for (size_t i = 0; i < VALUES; i++) {
        take(&fates[i], kw_batch_reply(batch, &fates[i].error, i));
    }
    kw_batch_free(batch);
}

static void push_by_tickets(kw_client *kw, fate fates[VALUES])
{
    kw_ticket *tickets[VALUES];
    for (int i = 0; i < VALUES; i++) {
        tickets[i] = kw_submit(kw, NULL, "%s " KEY " v%d", verb, i);
        assert_non_null(tickets[i]);
    }
    for (size_t i = 0; i < VALUES; i++) {
        kw_reply *reply = kw_ticket_await(tickets[i], &fates[i].error);
        take(&fates[i], reply);
        kw_reply_free(reply);
        kw_ticket_free(tickets[i]);
    }
}

static void push_by_callbacks(kw_client *kw, fate fates[VALUES])
{
    kw_test_answer answers[VALUES] = {{0}};
    for (int i = 0; i < VALUES; i++) {
        kw_callback callback = {kw_test_on_reply, &answers[i]};
        assert_int_equal(kw_command_async(kw, NULL, callback, "%s " KEY " v%d", verb, i), KW_OK);
    }
    assert_true(kw_test_turns(kw, answers, VALUES, 10000));
    for (size_t i = 0; i < VALUES; i++) {
        take(&fates[i], answers[i].reply);
        fates[i].error = answers[i].error;
        kw_test_answer_clear(&answers[i]);
    }
}

static void push(kw_client *kw, way by, fate fates[VALUES])
{
    for (size_t i = 0; i < VALUES; i++) {
        fates[i].is_answered = false;
        fates[i].error = (kw_error)KW_ERROR_INIT;
    }
    switch (by) {
    case BY_BATCH:
        push_by_batch(kw, fates);
        break;
    case BY_TICKETS:
        push_by_tickets(kw, fates);
        break;
    case BY_CALLBACKS:
        push_by_callbacks(kw, fates);
        break;
    case WAYS_N:
        break;
    }
}

/* The last time that the fakes have seen the value; 0: never. */
static size_t last_seen(kw_fake *fake, size_t value)
{
    char text[40];
    size_t at = 0;
    snprintf(text, sizeof(text), "%s " KEY " v%zu", verb, value);
    for (size_t i = 0; i < kw_fake_log_count(fake); i++) {
        kw_fake_entry entry;
        kw_fake_log_at(fake, i, &entry);
        at = strcmp(entry.text, text) == 0 ? i + 1 : at;
    }
    return at;
}

/* Those that were answered ran last in the order of adding. */
static void judge_order(kw_fake *fake, const char *name, way by, const fate fates[VALUES])
{
    for (size_t i = 0; i < VALUES; i++) {
        for (size_t k = i + 1; k < VALUES; k++) {
            if (fates[i].is_answered && fates[k].is_answered &&
                last_seen(fake, i) > last_seen(fake, k)) {
                fail_msg("%s, %s: v%zu ran after v%zu", name, way_names[by], i, k);
            }
        }
        bool is_told = fates[i].is_answered || (fates[i].error.code == KW_ERR_ORDER &&
                                                fates[i].error.effect == KW_EFFECT_NONE);
        if (!is_told) {
            fail_msg("%s, %s: v%zu: %s %s", name, way_names[by], i,
                     kw_err_name(fates[i].error.code), fates[i].error.text);
        }
    }
}

static const char *const states[] = {"LOADING data", "CLUSTERDOWN it is", "TRYAGAIN later",
                                     "BUSY a script", "MASTERDOWN it is"};

static void refuse_one(const char *by_verb)
{
    char pattern[20];
    verb = by_verb;
    snprintf(pattern, sizeof(pattern), "%s * v0", verb);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        for (int by = 0; by < WAYS_N; by++) {
            fate fates[VALUES];
            kw_client *kw = open_anew("");
            assert_int_equal(kw_connect(kw, NULL), KW_OK);
            kw_fake_on_reply(fakes[1], 1, pattern, "-%s", states[i]);
            answer_pushes();
            push(kw, (way)by, fates);
            judge_order(fakes[1], states[i], (way)by, fates);
            if (by == BY_BATCH) { /* all four had left before the first was answered */
                assert_int_equal(fates[0].error.code, KW_ERR_ORDER);
                assert_int_equal(kw_fake_count(fakes[1], pattern), 1);
            }
            assert_int_equal(kw_fake_count(fakes[0], pattern), 0);
            kw_close(kw);
        }
    }
    verb = "RPUSH";
}

static void test_order_one_refused_in_a_pipeline_is_overtaken_and_says_so(void **state)
{
    (void)state;
    refuse_one("RPUSH");
}

/* Messages of one channel go to one node, one behind the other, as what is done to a key. */
static void test_order_messages_of_a_channel_keep_theirs(void **state)
{
    (void)state;
    refuse_one("PUBLISH");
}

static void test_order_all_refused_are_sent_again_in_their_order(void **state)
{
    (void)state;
    for (int by = 0; by < WAYS_N; by++) {
        fate fates[VALUES];
        kw_client *kw = open_anew("");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_fake_on_reply(fakes[1], VALUES, "RPUSH *", "-LOADING data");
        answer_pushes();
        push(kw, (way)by, fates);
        for (size_t i = 0; i < VALUES; i++) {
            assert_true(fates[i].is_answered);
        }
        judge_order(fakes[1], "all refused", (way)by, fates);
        kw_close(kw);
    }
}

static void test_order_strict_waits_for_each(void **state)
{
    (void)state;
    for (int by = 0; by < WAYS_N; by++) {
        fate fates[VALUES];
        kw_client *kw = open_anew("&order=strict");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_fake_on_reply(fakes[1], 1, "RPUSH * v0", "-LOADING data");
        answer_pushes();
        push(kw, (way)by, fates);
        for (size_t i = 0; i < VALUES; i++) {
            assert_true(fates[i].is_answered);
        }
        judge_order(fakes[1], "strict", (way)by, fates);
        kw_close(kw);
    }
}

/* The connection ends with some of them on it: what may have run is not repeated, and nothing
 * behind it comes before it. */
static void test_order_lost_in_a_pipeline_keeps_it(void **state)
{
    (void)state;
    for (int by = 0; by < WAYS_N; by++) {
        fate fates[VALUES];
        kw_client *kw = open_anew("");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_fake_on(fakes[1], 1, "RPUSH * v1", KW_FAKE_STEPS(KW_FAKE_RESET));
        answer_pushes();
        push(kw, (way)by, fates);
        for (size_t i = 0; i < VALUES; i++) {
            if (!fates[i].is_answered) {
                assert_int_equal(fates[i].error.code, KW_ERR_CLOSED);
                assert_int_equal(fates[i].error.effect, KW_EFFECT_MAYBE);
                assert_true(kw_fake_count(fakes[1], "RPUSH * v1") == 1);
            }
        }
        kw_close(kw);
    }
}

static void test_order_is_by_key_not_by_slot(void **state)
{
    (void)state;
    kw_client *kw = open_anew("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on_reply(fakes[1], 1, "RPUSH a{foo} x", "-TRYAGAIN later");
    answer_pushes();
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "RPUSH a{foo} x"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "RPUSH b{foo} x"), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK); /* another key: nothing overtakes */
    assert_int_equal(kw_fake_count(fakes[1], "RPUSH a{foo} x"), 2);
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_queue_is_full_at_its_bounds(void **state)
{
    (void)state;
    static const char *const options[] = {"&queue-max=3", "&queue-bytes-max=1kb"};
    for (size_t k = 0; k < 2; k++) {
        kw_client *kw = open_anew(options[k]);
        kw_test_answer answers[64] = {{0}};
        kw_error error = KW_ERROR_INIT;
        size_t n = 0;
        answer_pushes();
        while (n < 64 && kw_command_async(kw, &error, (kw_callback){kw_test_on_reply, &answers[n]},
                                          "GET %s", KEY) == KW_OK) {
            n++;
        }
        assert_in_range(n, 3, k == 0 ? 3 : 63);
        assert_int_equal(error.code, KW_ERR_QUEUE_FULL);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_true(kw_test_turns(kw, answers, n, 10000));
        for (size_t i = 0; i < n; i++) {
            assert_non_null(answers[i].reply);
            kw_test_answer_clear(&answers[i]);
        }
        /* There is room again, for tickets of their own as well. */
        assert_int_equal(kw_command_async(kw, &error, (kw_callback){kw_test_on_reply, &answers[0]},
                                          "GET %s", KEY),
                         KW_OK);
        assert_true(kw_test_turns(kw, answers, 1, 10000));
        kw_test_answer_clear(&answers[0]);
        kw_close(kw);
    }
}

/* Tickets count as callbacks do; those that were given up count until they have ended. */
static void test_queue_of_tickets_is_full_at_its_bounds(void **state)
{
    (void)state;
    static const char *const options[] = {"&queue-max=3", "&queue-bytes-max=1kb"};
    for (size_t k = 0; k < 2; k++) {
        kw_client *kw = open_anew(options[k]);
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_GATE));
        kw_ticket *tickets[64];
        kw_error error = KW_ERROR_INIT;
        size_t n = 0;
        while (n < 64 && (tickets[n] = kw_submit(kw, &error, "GET %s", KEY)) != NULL) {
            n++;
        }
        assert_in_range(n, 3, k == 0 ? 3 : 63);
        expect_error("a ticket too many", &error, KW_ERR_QUEUE_FULL, KW_EFFECT_NONE);
        while (n > 0) {
            kw_ticket_free(tickets[--n]);
        }
        assert_null(kw_submit(kw, &error, "GET %s", KEY));
        assert_int_equal(error.code, KW_ERR_QUEUE_FULL);
        kw_close(kw);
    }
}

#define MANY_N ((size_t)8000)

/* What a command may take beside its own bytes: given, and on a connection as well. */
#define GIVEN_LEN     ((size_t)388)
#define UNDER_WAY_LEN ((size_t)440)
#define LOST_LEN      ((size_t)280) /* of one that was lost, and waits to be sent again, besides */

static void test_queue_takes_little_memory_a_command(void **state)
{
    (void)state;
    kw_test_meter memory = {0, 0};
    kw_allocator allocator = kw_test_meter_allocator(&memory);
    renew_fakes();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_config *config = kw_test_config_new(&allocator);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=60s&on-node-down=wait",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_test_answer first = {0};
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){kw_test_on_reply, &first}, "PING"),
                     KW_OK);
    assert_true(kw_test_turns(kw, &first, 1, 10000));
    kw_test_answer_clear(&first);
    kw_test_answer *answers = calloc(MANY_N, sizeof(*answers));
    size_t before_len = memory.len;
    size_t own_len = strlen("*2\r\n$3\r\nGET\r\n$16\r\n{foo}00000000000\r\n");
    for (size_t i = 0; i < MANY_N; i++) {
        kw_callback callback = {kw_test_on_reply, &answers[i]};
        assert_int_equal(kw_command_async(kw, NULL, callback, "GET {foo}%011d", (int)i), KW_OK);
    }
    assert_in_range((memory.len - before_len) / MANY_N, own_len, own_len + GIVEN_LEN);
    memory.most_len = 0;
    kw_test_turns_for(kw, 200);
    assert_true(kw_fake_count(fakes[1], "GET *") > 0);
    size_t most_len = (memory.most_len - before_len) / MANY_N;
    if (most_len > own_len + UNDER_WAY_LEN) {
        fail_msg("%zu bytes a command of %zu", most_len, own_len);
    }
    size_t sent_n = kw_fake_count(fakes[1], "GET *");
    kw_fake_down(fakes[1]);
    kw_test_turns_for(kw, 200);
    size_t lost_len = (memory.most_len - before_len - most_len * MANY_N) / sent_n;
    if (lost_len > LOST_LEN) {
        fail_msg("%zu bytes a command that was lost", lost_len);
    }
    kw_close(kw);
    for (size_t i = 0; i < MANY_N; i++) {
        kw_test_answer_clear(&answers[i]);
    }
    free(answers);
}

/* As many as a connection owes replies at most, and more. */
#define TOO_MANY_N (KW_CONN_OWNERS_MAX + 1000)

/* Answers nothing until a connection owes as much as it may; then all of it, and what follows. */
static bool answer_late(void *arg, kw_fake_call *call)
{
    size_t *asked_n = arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "GET") != 0) {
        return false;
    }
    size_t owed_n = ++*asked_n == KW_CONN_OWNERS_MAX ? KW_CONN_OWNERS_MAX : 1;
    for (size_t i = 0; *asked_n >= KW_CONN_OWNERS_MAX && i < owed_n; i++) {
        kw_fake_call_reply(call, "$1\r\nv\r\n", 7);
    }
    return true;
}

/* A handle that has been given too many. */
static kw_client *give_too_many(kw_test_answer *answers)
{
    kw_client *kw =
        kw_test_open("redis-cluster://%s?timeout=60s&stall-timeout=60s", kw_fake_address(fakes[0]));
    for (size_t i = 0; i < TOO_MANY_N; i++) {
        kw_callback callback = {kw_test_on_reply, &answers[i]};
        assert_int_equal(kw_command_async(kw, NULL, callback, "GET " KEY), KW_OK);
    }
    return kw;
}

static void close_and_free(kw_client *kw, kw_test_answer *answers)
{
    kw_close(kw);
    for (size_t i = 0; i < TOO_MANY_N; i++) {
        kw_test_answer_clear(&answers[i]);
    }
    free(answers);
}

static void test_queue_sends_no_more_than_a_connection_may_owe(void **state)
{
    (void)state;
    kw_test_answer *answers = calloc(TOO_MANY_N, sizeof(*answers));
    renew_fakes();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_client *kw = give_too_many(answers);
    uint64_t end_ms = kw_test_now_ms() + 30000;
    while (kw_fake_count(fakes[1], "GET *") < KW_CONN_OWNERS_MAX) {
        kw_test_turns_for(kw, 10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    kw_test_turns_for(kw, 100);
    assert_int_equal(kw_fake_count(fakes[1], "GET *"), KW_CONN_OWNERS_MAX);
    close_and_free(kw, answers);
}

static void test_queue_goes_on_once_a_connection_owes_less(void **state)
{
    (void)state;
    kw_test_answer *answers = calloc(TOO_MANY_N, sizeof(*answers));
    size_t asked_n = 0;
    renew_fakes();
    kw_fake_respond(fakes[1], answer_late, &asked_n);
    kw_client *kw = give_too_many(answers);
    assert_true(kw_test_turns(kw, answers, TOO_MANY_N, 60000));
    close_and_free(kw, answers);
    kw_fake_respond(fakes[1], NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_one_refused_in_a_pipeline_is_overtaken_and_says_so),
        cmocka_unit_test(test_order_messages_of_a_channel_keep_theirs),
        cmocka_unit_test(test_order_all_refused_are_sent_again_in_their_order),
        cmocka_unit_test(test_order_strict_waits_for_each),
        cmocka_unit_test(test_order_lost_in_a_pipeline_keeps_it),
        cmocka_unit_test(test_order_is_by_key_not_by_slot),
        cmocka_unit_test(test_queue_is_full_at_its_bounds),
        cmocka_unit_test(test_queue_of_tickets_is_full_at_its_bounds),
        cmocka_unit_test(test_queue_takes_little_memory_a_command),
        cmocka_unit_test(test_queue_sends_no_more_than_a_connection_may_owe),
        cmocka_unit_test(test_queue_goes_on_once_a_connection_owes_less),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
