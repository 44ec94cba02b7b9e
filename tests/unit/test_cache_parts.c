/* SPDX-License-Identifier: BSD-3-Clause */
/* What a cache decides without a server: options, tags, leases, lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "base/reply.h"
#include "cache/cache_options.h"
#include "cache/lease.h"
#include "cache/life.h"
#include "cache/track_read.h"
#include "net/env.h"

static void test_options_default_are_those_of_the_manual(void **state)
{
    (void)state;
    kw_cache_options options;
    assert_int_equal(kw_cache_options_read(&options, NULL, NULL), KW_OK);
    assert_int_equal(options.ttl_ms, 300000);
    assert_int_equal(options.ttl_jitter, 10);
    assert_int_equal(options.stale_ms, 0);
    assert_int_equal(options.stale_if_error_ms, 0);
    assert_int_equal(options.negative_ttl_ms, 1000);
    assert_int_equal(options.lease_ms, 10000);
    assert_int_equal(options.loads_max, 32);
    assert_int_equal(options.early, 100);
}

static void test_options_text_sets_each(void **state)
{
    (void)state;
    kw_cache_options options;
    assert_int_equal(kw_cache_options_read(&options, NULL,
                                           "ttl=1m&ttl-jitter=0&stale=2s&stale-if-error=1h&"
                                           "negative-ttl=0&lease=300ms&loads-max=2&early=0"),
                     KW_OK);
    assert_int_equal(options.ttl_ms, 60000);
    assert_int_equal(options.ttl_jitter, 0);
    assert_int_equal(options.stale_ms, 2000);
    assert_int_equal(options.stale_if_error_ms, 3600000);
    assert_int_equal(kw_cache_options_extra_ms(&options), 3600000);
    assert_int_equal(options.negative_ttl_ms, 0);
    assert_int_equal(options.lease_ms, 300);
    assert_int_equal(options.loads_max, 2);
    assert_int_equal(options.early, 0);
}

static void test_options_wrong_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *word;
    } rows[] = {
        {"tll=5m", "tll"},
        {"ttl=5", "ttl"},
        {"ttl", "ttl"},
        {"", NULL},
        {"ttl=1m&", "\"\""},
        {"ttl-jitter=91", "ttl-jitter"},
        {"lease=9ms", "lease"},
        {"loads-max=0", "loads-max"},
        {"early=10001", "early"},
        {"ttl=0&stale=1s", "ttl=0"},
        {"stale=1s&ttl=0", "ttl=0"},
        {"ttl=1m&lease=9s&ttl=1m", "twice"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_cache_options options = {.lease_ms = 77};
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_cache_options_read(&options, &error, rows[i].text);
        if (rows[i].word == NULL) {
            assert_int_equal(code, KW_OK);
            continue;
        }
        assert_int_equal(code, KW_ERR_CONFIG);
        assert_non_null(strstr(error.text, rows[i].word));
        assert_int_equal(options.lease_ms, 77);
    }
}

static void test_tags_lead_to_each_slot(void **state)
{
    (void)state;
    kw_slot_tags *tags = malloc(sizeof(*tags));
    kw_slot_tags_init(tags);
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        assert_int_equal(kw_slot_of(tags->at[slot], KW_SLOT_TAG_LEN), slot);
    }
    free(tags);
}

/* Processes of different versions meet at one lease: the first tag of a slot is its tag. */
static void test_tags_are_the_first_of_their_slots(void **state)
{
    (void)state;
    static const char letters[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    static bool has_one[KW_SLOTS_N];
    kw_slot_tags *tags = malloc(sizeof(*tags));
    kw_slot_tags_init(tags);
    for (size_t i = 0; i < 64 * 64 * 64; i++) {
        char tag[] = {letters[i / 64 / 64], letters[i / 64 % 64], letters[i % 64]};
        unsigned slot = kw_slot_of(tag, sizeof(tag));
        if (!has_one[slot]) {
            assert_memory_equal(tags->at[slot], tag, sizeof(tag));
            has_one[slot] = true;
        }
    }
    free(tags);
}

static void test_lease_name_is_in_the_slot_of_its_key(void **state)
{
    (void)state;
    static const char *const keys[] = {"",     "user:1", "{a}b", "a{}b",    "{",
                                       "}x{y", "{{a}}",  "{}a",  "a{b}{c}", "}{"};
    kw_slot_tags *tags = malloc(sizeof(*tags));
    kw_slot_tags_init(tags);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        kw_buf name;
        kw_buf_init(&name, kw_mem_default(), NULL, 0);
        assert_true(kw_lease_name(&name, tags, kw_bytes_of(keys[i])));
        assert_int_equal(kw_slot_of(name.data, name.len), kw_slot_of(keys[i], strlen(keys[i])));
        assert_memory_equal(name.data, KW_LEASE_PREFIX, sizeof(KW_LEASE_PREFIX) - 1);
        kw_buf_fini(&name);
    }
    free(tags);
}

static void test_lease_tokens_differ(void **state)
{
    (void)state;
    kw_lease_token token = kw_lease_token_make(UINT64_C(0x0123456789abcdef), 0xfe);
    assert_memory_equal(token.text, "0123456789abcdef00000000000000fe", KW_LEASE_TOKEN_LEN);
}

static kw_reply *text_of(kw_reply *root, kw_reply *at, const char *text)
{
    assert_true(kw_reply_set_string(root, at, KW_REPLY_STRING, kw_bytes_of(text)));
    return at;
}

/* An answer with elements: numbers from '#', nil from '-', else text. */
static kw_reply *answer_of(const char *const *elements, size_t n)
{
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_non_null(root);
    assert_true(kw_reply_begin_array(root, root, KW_REPLY_ARRAY, n));
    for (size_t i = 0; i < n; i++) {
        kw_reply *at = kw_reply_next_slot(root, root, i);
        if (elements[i][0] == '#') {
            kw_reply_set_integer(at, KW_REPLY_INTEGER, atoll(elements[i] + 1));
        } else if (elements[i][0] != '-') {
            text_of(root, at, elements[i]);
        }
    }
    return root;
}

#define TOKEN "0123456789abcdef00000000000000fe"

static void test_lease_answers_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *elements[5];
        size_t n;
        bool is_good;
        kw_lease_state state;
        int64_t left_ms;
        uint64_t term_ms;
        bool has_value;
    } rows[] = {
        {{"#0", "-", "#-2"}, 3, true, KW_LEASE_IS_YOURS, -1, 0, false},
        {{"#0", "v", "#7"}, 3, true, KW_LEASE_IS_YOURS, 7, 0, true},
        {{"#1", "v", "#-1"}, 3, true, KW_LEASE_HAS_VALUE, -1, 0, true},
        {{"#2"}, 1, true, KW_LEASE_HAS_NONE, -1, 0, false},
        {{"#3", "-", "#-2", TOKEN, "#40"}, 5, true, KW_LEASE_IS_TAKEN, -1, 40, false},
        {{"#3", "v", "#9", TOKEN, "#-1"}, 5, true, KW_LEASE_IS_TAKEN, 9, 0, true},
        {{"#3", "v", "#9", "short", "#40"}, 5, false, KW_LEASE_IS_TAKEN, 0, 0, false},
        {{"#3", "v", "#9", TOKEN}, 4, false, KW_LEASE_IS_TAKEN, 0, 0, false},
        {{"#1", "-", "#9"}, 3, false, KW_LEASE_HAS_VALUE, 0, 0, false},
        {{"#1", "v"}, 2, false, KW_LEASE_HAS_VALUE, 0, 0, false},
        {{"#4"}, 1, false, KW_LEASE_IS_YOURS, 0, 0, false},
        {{"#-1"}, 1, false, KW_LEASE_IS_YOURS, 0, 0, false},
        {{"#0"}, 0, false, KW_LEASE_IS_YOURS, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *reply = answer_of(rows[i].elements, rows[i].n);
        kw_lease_answer answer;
        assert_int_equal(kw_lease_read(&answer, reply), rows[i].is_good);
        if (rows[i].is_good) {
            assert_int_equal(answer.state, rows[i].state);
            assert_int_equal(answer.left_ms, rows[i].left_ms);
            assert_int_equal(answer.term_ms, rows[i].term_ms);
            assert_int_equal(answer.value != NULL, rows[i].has_value);
        }
        kw_reply_free(reply);
    }
}

static void test_life_is_fresh_then_stale_then_over(void **state)
{
    (void)state;
    kw_cache_options options;
    assert_int_equal(kw_cache_options_read(&options, NULL, "ttl=10s&stale=3s&stale-if-error=5s"),
                     KW_OK);
    static const struct {
        int64_t left_ms;
        kw_life life;
    } rows[] = {
        {-1, KW_LIFE_FRESH},   {15000, KW_LIFE_FRESH}, {5001, KW_LIFE_FRESH}, {5000, KW_LIFE_STALE},
        {2001, KW_LIFE_STALE}, {2000, KW_LIFE_OVER},   {0, KW_LIFE_OVER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(kw_life_of(&options, rows[i].left_ms, 0, 0), rows[i].life);
    }
}

static void test_life_on_the_server_is_ttl_less_jitter_and_stale_time(void **state)
{
    (void)state;
    kw_cache_options options;
    assert_int_equal(kw_cache_options_read(&options, NULL, "ttl=10s&stale=3s&ttl-jitter=20"),
                     KW_OK);
    kw_random random;
    kw_random_init(&random, 1);
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t ms = kw_life_draw_ms(&options, kw_random_next(&random));
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_int_equal(least, 11000);
    assert_int_equal(most, 13000);
    options.ttl_ms = 0;
    assert_int_equal(kw_life_draw_ms(&options, 5), 0);
}

/* P(early) = P(-ln u >= left / (cost x beta)) = exp(-left / (cost x beta)). */
static void test_life_dice_are_those_of_xfetch(void **state)
{
    (void)state;
    static const uint64_t lefts[] = {0, 10, 100, 200, 500};
    kw_random random;
    kw_random_init(&random, 7);
    for (size_t i = 0; i < sizeof(lefts) / sizeof(lefts[0]); i++) {
        int n = 0;
        for (int k = 0; k < 100000; k++) {
            n += kw_life_is_early(lefts[i], 100, 100, kw_random_next(&random)) ? 1 : 0;
        }
        double expected = exp(-(double)lefts[i] / 100) * 100000;
        assert_true(fabs((double)n - expected) < 4 * sqrt(expected + 1) + 200);
    }
    assert_false(kw_life_is_early(1, 0, 100, 1));
    assert_false(kw_life_is_early(1, 100, 0, 1));
    assert_true(kw_life_is_early(4000, 100, 100, 0)); /* the least of all chances */
}

static void test_life_mean_follows_what_loads_cost(void **state)
{
    (void)state;
    uint64_t mean_ms = 0;
    mean_ms = kw_life_mean_ms(mean_ms, 80);
    assert_int_equal(mean_ms, 80);
    for (int i = 0; i < 60; i++) {
        mean_ms = kw_life_mean_ms(mean_ms, 10);
    }
    assert_in_range(mean_ms, 10, 17);
    assert_int_equal(kw_life_mean_ms(0, 0), 1);
}

/* Handles that were opened at the same time draw the same seeds. */
/* All orders in which four reads may be taken off; the others stay in theirs. */
static void test_reads_are_taken_off_wherever_they_are(void **state)
{
    (void)state;
    enum { N = 4 };
    for (unsigned order = 0; order < N * N * N * N; order++) {
        kw_track_read reads[N];
        bool is_on[N] = {true, true, true, true};
        kw_track_reads list = {NULL, NULL};
        for (size_t i = 0; i < N; i++) {
            kw_track_reads_push(&list, &reads[i]);
        }
        for (unsigned rest = order, n = 0; n < N; rest /= N, n++) {
            if (is_on[rest % N]) {
                kw_track_reads_remove(&list, &reads[rest % N]);
                is_on[rest % N] = false;
            }
            const kw_track_read *at = list.first;
            const kw_track_read *last = NULL;
            for (size_t i = 0; i < N; i++) {
                if (is_on[i]) {
                    assert_ptr_equal(at, &reads[i]);
                    last = at;
                    at = at->next;
                }
            }
            assert_null(at);
            assert_ptr_equal(list.last, last);
        }
    }
}

/* Callers that give up are many, where a server is silent: who is last looks at no other. */
static void test_a_read_is_taken_off_without_a_look_at_the_others(void **state)
{
    (void)state;
    static kw_track_read reads[3];
    kw_track_reads list = {NULL, NULL};
    for (size_t i = 0; i < 3; i++) {
        kw_track_reads_push(&list, &reads[i]);
    }
    reads[0].next = NULL; /* who goes along the list ends here */
    kw_track_reads_remove(&list, &reads[2]);
    assert_ptr_equal(list.last, &reads[1]);
    assert_null(reads[1].next);
}

static void test_processes_of_one_moment_have_names_of_their_own(void **state)
{
    (void)state;
    kw_env one;
    kw_env other;
    memset(&one, 0, sizeof(one));
    memset(&other, 0, sizeof(other));
    assert_true(kw_env_seed(&one) == kw_env_seed(&other));
    assert_true(kw_env_unique(&one) != kw_env_unique(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_default_are_those_of_the_manual),
        cmocka_unit_test(test_options_text_sets_each),
        cmocka_unit_test(test_options_wrong_are_named),
        cmocka_unit_test(test_tags_lead_to_each_slot),
        cmocka_unit_test(test_tags_are_the_first_of_their_slots),
        cmocka_unit_test(test_lease_name_is_in_the_slot_of_its_key),
        cmocka_unit_test(test_lease_tokens_differ),
        cmocka_unit_test(test_reads_are_taken_off_wherever_they_are),
        cmocka_unit_test(test_a_read_is_taken_off_without_a_look_at_the_others),
        cmocka_unit_test(test_processes_of_one_moment_have_names_of_their_own),
        cmocka_unit_test(test_lease_answers_are_read_or_refused),
        cmocka_unit_test(test_life_is_fresh_then_stale_then_over),
        cmocka_unit_test(test_life_on_the_server_is_ttl_less_jitter_and_stale_time),
        cmocka_unit_test(test_life_dice_are_those_of_xfetch),
        cmocka_unit_test(test_life_mean_follows_what_loads_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
