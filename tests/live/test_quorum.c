/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on three copies, on real servers. KW_TEST_FAST */
#include "live/quorum_fixture.h"

#include <pthread.h>

static void test_quorum_value_is_written_to_its_copies_and_read(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    assert_value(&fix, "k", NULL);
    set(&fix, "k", "one");
    kw_quorum_version first = assert_value(&fix, "k", "one");
    set(&fix, "k", "two");
    kw_quorum_version second = assert_value(&fix, "k", "two");
    assert_true(second.time > first.time);
    wait_for_copies(&fix, "k", 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kw_test_server_integer(copy_of(&fix, "k", i), "EXISTS k"), 1);
    }
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_delete(fix.quorum, &error, "k", 1), KW_OK);
    assert_value(&fix, "k", NULL);
    set(&fix, "k", "three");
    assert_value(&fix, "k", "three");
    shut(&fix);
}

static void test_quorum_any_bytes_are_keys_and_values(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    kw_error error = KW_ERROR_INIT;
    static const char bytes[] = "a\0b\r\n\x93\x01\xff";
    assert_int_equal(kw_quorum_set(fix.quorum, &error, bytes, sizeof(bytes), bytes, sizeof(bytes)),
                     KW_OK);
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "", 0, "", 0), KW_OK);
    kw_quorum_results *results = kw_quorum_get(fix.quorum, &error, bytes, sizeof(bytes));
    size_t len = 0;
    assert_memory_equal(kw_quorum_value(results, &len, 0), bytes, sizeof(bytes));
    assert_int_equal(len, sizeof(bytes));
    kw_quorum_results_free(results);
    results = kw_quorum_get(fix.quorum, &error, "", 0);
    assert_non_null(kw_quorum_value(results, &len, 0));
    assert_int_equal(len, 0);
    kw_quorum_results_free(results);
    shut(&fix);
}

static void test_quorum_conditions_hold_or_change_nothing(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, "k", "first");
    request.condition = KW_QUORUM_IF_ABSENT;
    assert_true(is_written(&fix, &request));
    assert_false(is_written(&fix, &request));
    kw_quorum_version version = assert_value(&fix, "k", "first");
    request = request_of(KW_QUORUM_ACT_SET, "k", "second");
    request.condition = KW_QUORUM_IF_VERSION;
    request.expected = version;
    assert_true(is_written(&fix, &request));
    assert_false(is_written(&fix, &request)); /* that version is gone */
    version = assert_value(&fix, "k", "second");
    request = request_of(KW_QUORUM_ACT_DELETE, "k", NULL);
    request.condition = KW_QUORUM_IF_VERSION;
    request.expected = version;
    assert_true(is_written(&fix, &request));
    assert_value(&fix, "k", NULL);
    request = request_of(KW_QUORUM_ACT_SET, "k", "again");
    request.condition = KW_QUORUM_IF_ABSENT;
    assert_true(is_written(&fix, &request));
    assert_value(&fix, "k", "again");
    shut(&fix);
}

static void test_quorum_many_requests_each_have_a_result(void **state)
{
    enum { N = 200 };
    fixture fix = open_with(state, "?copies=3");
    static char keys[N][16];
    kw_quorum_request requests[N];
    for (size_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key%zu", i);
        requests[i] = request_of(KW_QUORUM_ACT_SET, keys[i], keys[i]);
    }
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_run(fix.quorum, &error, requests, N, 0);
    assert_non_null(results);
    for (size_t i = 0; i < N; i++) {
        assert_true(kw_quorum_is_written(results, i));
        requests[i].act = KW_QUORUM_ACT_GET;
    }
    assert_int_equal(kw_quorum_result(results, &error, N), KW_ERR_ARGUMENT);
    kw_quorum_results_free(results);
    results = kw_quorum_run(fix.quorum, &error, requests, N, 0);
    for (size_t i = 0; i < N; i++) {
        assert_string_equal(kw_quorum_value(results, NULL, i), keys[i]);
    }
    kw_quorum_results_free(results);
    shut(&fix);
}

static void test_quorum_life_of_a_value_ends(void **state)
{
    fixture fix = open_with(state, "?copies=3&tombstone-ttl=1h");
    kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, "long", "value");
    request.ttl_ms = 500000;
    assert_true(is_written(&fix, &request));
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_get(fix.quorum, &error, "long", 4);
    assert_string_equal(kw_quorum_value(results, NULL, 0), "value");
    assert_in_range(kw_quorum_ttl_ms(results, 0), 400000, 500000);
    kw_quorum_results_free(results);
    request = request_of(KW_QUORUM_ACT_SET, "short", "value");
    request.ttl_ms = 50;
    assert_true(is_written(&fix, &request));
    pause_ms(120);
    assert_value(&fix, "short", NULL);
    /* What is over is remembered, so that older values do not come back. */
    wait_for_copies(&fix, "short", 3);
    request.condition = KW_QUORUM_IF_ABSENT;
    request.ttl_ms = 0;
    assert_true(is_written(&fix, &request));
    assert_value(&fix, "short", "value");
    shut(&fix);
}

static void test_quorum_one_dead_or_stopped_copy_costs_nothing(void **state)
{
    fixture fix = open_with(state, "?copies=3&timeout=5s");
    set(&fix, "k", "before");
    kw_test_server *victim = copy_of(&fix, "k", 0);
    kw_test_server_pause(victim);
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        set(&fix, "k", text);
        assert_value(&fix, "k", text);
    }
    kw_test_server_resume(victim);
    kw_test_server_kill(victim);
    set(&fix, "k", "after");
    assert_value(&fix, "k", "after");
    kw_test_server_restart(victim);
    assert_value(&fix, "k", "after");
    shut(&fix);
}

static void test_quorum_without_enough_copies_says_so(void **state)
{
    fixture fix = open_with(state, "?copies=3&timeout=300ms");
    set(&fix, "k", "before");
    kw_test_server_pause(copy_of(&fix, "k", 0));
    kw_test_server_pause(copy_of(&fix, "k", 2));
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "k", 1, "x", 1), KW_ERR_QUORUM);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_non_null(strstr(error.text, "1 of the 2 copies needed"));
    assert_null(kw_quorum_get(fix.quorum, &error, "k", 1));
    assert_int_equal(error.code, KW_ERR_QUORUM);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_test_server_resume(copy_of(&fix, "k", 0));
    kw_test_server_resume(copy_of(&fix, "k", 2));
    for (size_t i = 0; i < 2; i++) { /* two that are dead: certainly nothing was written there */
        kw_test_server_kill(copy_of(&fix, "k", i));
    }
    kw_test_server_kill(copy_of(&fix, "k", 2));
    pause_ms(50);
    assert_int_not_equal(kw_quorum_set(fix.quorum, &error, "k", 1, "y", 1), KW_OK);
    for (size_t i = 0; i < 3; i++) {
        kw_test_server_restart(copy_of(&fix, "k", i));
    }
    shut(&fix);
}

static void test_quorum_read_repairs_a_copy_that_is_behind(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    kw_test_server_ok(copy_of(&fix, "k", 1), "FLUSHALL"); /* a copy that was lost */
    for (int i = 0; i < 200 && count_copies(&fix, "k") < 3; i++) {
        assert_value(&fix, "k", "value");
        pause_ms(1);
    }
    assert_int_equal(count_copies(&fix, "k"), 3);
    shut(&fix);
}

/* Its answers to all of a batch come behind the call, and each is looked at. */
static void test_quorum_read_in_a_batch_repairs_a_copy_that_is_late(void **state)
{
    enum { KEYS = 300 };
    fixture fix = open_with(state, "?copies=3&timeout=30s");
    static char names[KEYS][16];
    kw_quorum_request requests[KEYS];
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "{k}:%d", i);
        set(&fix, names[i], "value");
        requests[i] = request_of(KW_QUORUM_ACT_GET, names[i], NULL);
    }
    kw_test_server *late = copy_of(&fix, "{k}", 2);
    for (int i = 0; i < 1000 && kw_test_server_integer(late, "DBSIZE") < KEYS; i++) {
        assert_value(&fix, "{k}:0", "value");
        pause_ms(1);
    }
    kw_test_server_ok(late, "FLUSHALL");
    kw_test_server_pause(late);
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_run(fix.quorum, &error, requests, KEYS, 0);
    kw_test_server_resume(late);
    assert_non_null(results);
    assert_int_equal(error.code, KW_OK);
    assert_string_equal(kw_quorum_value(results, NULL, KEYS - 1), "value");
    kw_quorum_results_free(results);
    for (int i = 0; i < 1000 && kw_test_server_integer(late, "DBSIZE") < KEYS; i++) {
        assert_value(&fix, "{k}:0", "value");
        pause_ms(20);
    }
    assert_int_equal(kw_test_server_integer(late, "DBSIZE"), KEYS);
    shut(&fix);
}

static uint64_t slow_clock(void *arg)
{
    (void)arg;
    return (uint64_t)time(NULL) * 1000 - 5000;
}

static uint64_t fast_clock(void *arg)
{
    (void)arg;
    return (uint64_t)time(NULL) * 1000 + 5000;
}

static void test_quorum_slow_clock_loses_no_write(void **state)
{
    fixture slow = open_with(state, "?copies=3");
    fixture fast = open_with(state, "?copies=3");
    kw_quorum_set_clock(slow.quorum, slow_clock, NULL);
    kw_quorum_set_clock(fast.quorum, fast_clock, NULL);
    for (int i = 0; i < 20; i++) {
        set(&fast, "k", "fast");
        assert_value(&slow, "k", "fast");
        set(&fast, "k", "fast again");
        set(&slow, "k", "slow");
        assert_value(&fast, "k", "slow");
    }
    shut(&slow);
    shut(&fast);
}

static void test_quorum_scripts_are_loaded_again_after_they_are_lost(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    set(&fix, "k", "one");
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_ok(fix.servers->servers[i], "SCRIPT FLUSH");
    }
    assert_value(&fix, "k", "one");
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_ok(fix.servers->servers[i], "SCRIPT FLUSH");
    }
    set(&fix, "k", "two");
    assert_value(&fix, "k", "two");
    shut(&fix);
}

static void test_quorum_foreign_value_is_an_error_that_says_so(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    for (size_t i = 0; i < 2; i++) {
        kw_test_server_ok(copy_of(&fix, "k", i), "SET k plain");
    }
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "k", 1, "x", 1), KW_ERR_QUORUM);
    assert_non_null(strstr(error.text, "KWFORMAT"));
    shut(&fix);
}

static void *add_in_turns(void *arg)
{
    const fixture *fix = arg;
    for (int done = 0; done < 25;) {
        kw_error error = KW_ERROR_INIT;
        kw_quorum_results *results = kw_quorum_get(fix->quorum, &error, "count", 5);
        if (results == NULL) {
            kw_test_die("%s", error.text);
        }
        const char *value = kw_quorum_value(results, NULL, 0);
        char text[16];
        snprintf(text, sizeof(text), "%d", value != NULL ? atoi(value) + 1 : 1);
        kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, "count", text);
        request.condition = KW_QUORUM_IF_VERSION;
        request.expected = kw_quorum_version_of(results, 0);
        kw_quorum_results_free(results);
        results = kw_quorum_run(fix->quorum, &error, &request, 1, 0);
        if (results != NULL && kw_quorum_result(results, &error, 0) == KW_OK) {
            done += kw_quorum_is_written(results, 0) ? 1 : 0;
        } else if (error.effect == KW_EFFECT_MAYBE) {
            kw_quorum_results_free(results);
            return arg; /* nobody knows the sum now */
        }
        kw_quorum_results_free(results);
    }
    return NULL;
}

static void *write_in_turns(void *arg)
{
    const fixture *fix = arg;
    for (int i = 0; i < 30; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_quorum_set(fix->quorum, &error, "shared", 6, "value", 5);
        if (code != KW_OK && (code != KW_ERR_QUORUM || error.effect != KW_EFFECT_MAYBE)) {
            kw_test_die("%s", error.text);
        }
        kw_quorum_results *results = kw_quorum_get(fix->quorum, &error, "shared", 6);
        if (results == NULL) {
            kw_test_die("%s", error.text);
        }
        kw_quorum_results_free(results);
    }
    return NULL;
}

static void test_quorum_more_threads_than_connections_take_turns(void **state)
{
    enum { THREADS = 12 };
    fixture fix = open_with(state, "?copies=3&timeout=30s&pool-max=2");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_in_turns, &fix), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        kw_test_join(threads[i]);
    }
    assert_value(&fix, "shared", "value");
    shut(&fix);
}

static void count_by_versions(void **state, const char *tail)
{
    enum { THREADS = 4 };
    fixture fix = open_with(state, tail);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_in_turns, &fix), 0);
    }
    bool is_known = true;
    for (int i = 0; i < THREADS; i++) {
        is_known = kw_test_join(threads[i]) == NULL && is_known;
    }
    if (is_known) {
        assert_value(&fix, "count", "100");
    }
    shut(&fix);
}

static void test_quorum_many_threads_count_by_versions(void **state)
{
    count_by_versions(state, "?copies=3&timeout=20s");
}

static void test_quorum_threads_that_share_count_by_versions(void **state)
{
    count_by_versions(state, "?copies=3&timeout=20s&share-above=0");
}

typedef struct own_key {
    const fixture *fix;
    char name[8];
    pthread_t thread;
} own_key;

/* Sets and gets its key, each time to the number of the turn. */
static void *use_own_key(void *arg)
{
    const own_key *self = arg;
    for (int i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        set(self->fix, self->name, text);
        kw_error error = KW_ERROR_INIT;
        kw_quorum_results *results =
            kw_quorum_get(self->fix->quorum, &error, self->name, strlen(self->name));
        const char *value = results != NULL ? kw_quorum_value(results, NULL, 0) : NULL;
        if (value == NULL || strcmp(value, text) != 0) {
            kw_test_die("%s: %s instead of %s; %s", self->name, value != NULL ? value : "nothing",
                        text, error.text);
        }
        kw_quorum_results_free(results);
    }
    return NULL;
}

static void test_quorum_threads_that_share_have_their_own_answers(void **state)
{
    enum { THREADS = 12 };
    fixture fix = open_with(state, "?copies=3&timeout=30s");
    own_key keys[THREADS];
    for (int i = 0; i < THREADS; i++) {
        keys[i].fix = &fix;
        snprintf(keys[i].name, sizeof(keys[i].name), "own:%d", i);
        assert_int_equal(pthread_create(&keys[i].thread, NULL, use_own_key, &keys[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        kw_test_join(keys[i].thread);
    }
    shut(&fix);
}

static void test_quorum_of_other_handles_and_wrong_requests_is_refused(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    kw_error error = KW_ERROR_INIT;
    kw_client *plain = kw_test_open("%s", kw_test_server_uri(fix.servers->servers[0]));
    assert_null(kw_quorum_new(plain, &error));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    kw_close(plain);
    kw_quorum_request request = request_of(KW_QUORUM_ACT_GET, "k", NULL);
    request.condition = KW_QUORUM_IF_ABSENT;
    assert_null(kw_quorum_run(fix.quorum, &error, &request, 1, 0));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    request = request_of(KW_QUORUM_ACT_SET, "k", NULL);
    request.size = 0;
    assert_null(kw_quorum_run(fix.quorum, &error, &request, 1, 0));
    request = request_of(KW_QUORUM_ACT_SET, "k", NULL);
    request.value_len = 3;
    assert_null(kw_quorum_run(fix.quorum, &error, &request, 1, 0));
    kw_quorum_results *results = kw_quorum_run(fix.quorum, &error, NULL, 0, 0);
    assert_non_null(results);
    kw_quorum_results_free(results);
    shut(&fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quorum_value_is_written_to_its_copies_and_read, ring_flush),
        cmocka_unit_test_setup(test_quorum_any_bytes_are_keys_and_values, ring_flush),
        cmocka_unit_test_setup(test_quorum_conditions_hold_or_change_nothing, ring_flush),
        cmocka_unit_test_setup(test_quorum_many_requests_each_have_a_result, ring_flush),
        cmocka_unit_test_setup(test_quorum_life_of_a_value_ends, ring_flush),
        cmocka_unit_test_setup(test_quorum_one_dead_or_stopped_copy_costs_nothing, ring_flush),
        cmocka_unit_test_setup(test_quorum_without_enough_copies_says_so, ring_flush),
        cmocka_unit_test_setup(test_quorum_read_repairs_a_copy_that_is_behind, ring_flush),
        cmocka_unit_test_setup(test_quorum_read_in_a_batch_repairs_a_copy_that_is_late, ring_flush),
        cmocka_unit_test_setup(test_quorum_slow_clock_loses_no_write, ring_flush),
        cmocka_unit_test_setup(test_quorum_scripts_are_loaded_again_after_they_are_lost,
                               ring_flush),
        cmocka_unit_test_setup(test_quorum_foreign_value_is_an_error_that_says_so, ring_flush),
        cmocka_unit_test_setup(test_quorum_more_threads_than_connections_take_turns, ring_flush),
        cmocka_unit_test_setup(test_quorum_many_threads_count_by_versions, ring_flush),
        cmocka_unit_test_setup(test_quorum_threads_that_share_count_by_versions, ring_flush),
        cmocka_unit_test_setup(test_quorum_threads_that_share_have_their_own_answers, ring_flush),
        cmocka_unit_test_setup(test_quorum_of_other_handles_and_wrong_requests_is_refused,
                               ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
