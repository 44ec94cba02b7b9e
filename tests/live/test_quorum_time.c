/* SPDX-License-Identifier: BSD-3-Clause */
/* What time does to values on several real servers: tombstones that end, and clocks far ahead.
 * KW_TEST_FAST */
#include "live/quorum_fixture.h"

#include <keyway/config.h>
#include <keyway/event.h>
#include <keyway/stats.h>

#include <hiredis.h>

#define SHORT "?copies=3&tombstone-ttl=1s&timeout=250ms&version-ahead=250ms"

/* What is left of the key at the server. */
static long long left_at(kw_test_server *server, const char *key)
{
    return kw_test_server_integer(server, "PTTL %s", key);
}

static void delete_it(const fixture *fix, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_quorum_delete(fix->quorum, &error, key, strlen(key)) != KW_OK) {
        kw_test_die("delete %s: %s", key, error.text);
    }
}

/* The copy was away, and is back with what it held. */
static void restart_with(kw_test_server *server, const char *key, const redisReply *old)
{
    kw_test_server_restart(server);
    freeReplyObject(kw_test_server_command(server, "SET %s %b", key, old->str, (size_t)old->len));
}

static void test_quorum_deletion_that_a_copy_missed_does_not_end(void **state)
{
    fixture fix = open_with(state, SHORT);
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *away = copy_of(&fix, "k", 2);
    redisReply *old = kw_test_server_command(away, "GET k");
    kw_test_server_kill(away);
    delete_it(&fix, "k");
    restart_with(away, "k", old);
    freeReplyObject(old);
    pause_ms(1300); /* longer than tombstone-ttl */
    assert_int_equal(left_at(copy_of(&fix, "k", 0), "k"), -1);
    assert_int_equal(left_at(copy_of(&fix, "k", 1), "k"), -1);
    /* Reads bring it home, and then it may end. */
    for (int i = 0; i < 400 && count_copies(&fix, "k") > 0; i++) {
        (void)assert_value(&fix, "k", NULL);
        pause_ms(10);
    }
    assert_int_equal(count_copies(&fix, "k"), 0);
    shut(&fix);
}

static void test_quorum_deletion_that_all_copies_have_ends_by_itself(void **state)
{
    fixture fix = open_with(state, SHORT);
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    delete_it(&fix, "k");
    for (int i = 0; i < 400 && count_copies(&fix, "k") > 0; i++) {
        (void)assert_value(&fix, "other", NULL); /* the slowest answer comes beside a call */
        pause_ms(10);
    }
    assert_int_equal(count_copies(&fix, "k"), 0);
    shut(&fix);
}

static void test_quorum_short_life_over_a_long_one_is_kept(void **state)
{
    fixture fix = open_with(state, SHORT);
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *away = copy_of(&fix, "k", 2);
    redisReply *old = kw_test_server_command(away, "GET k");
    kw_test_server_kill(away);
    kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, "k", "brief");
    request.ttl_ms = 100;
    assert_true(is_written(&fix, &request));
    restart_with(away, "k", old);
    freeReplyObject(old);
    pause_ms(1400);
    (void)assert_value(&fix, "k", NULL);
    shut(&fix);
}

static uint64_t far_ahead(void *arg)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)arg;
    return (uint64_t)now.tv_sec * 1000 + UINT64_C(10) * 365 * 86400000;
}

static void count_event(void *arg, const kw_event *event)
{
    unsigned *n = arg;
    *n += event->kind == KW_EVENT_VERSION_AHEAD ? 1 : 0;
}

static kw_client *open_with_events(void **state, unsigned *events_n)
{
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    char uri[1000];
    ring_uri(uri, sizeof(uri), *state, RING_SERVERS, "?copies=3&timeout=2s");
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_config_set_event(config, count_event, events_n);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    if (client == NULL) {
        kw_test_die("%s", error.text);
    }
    return client;
}

/* A clock ten years ahead harms the keys that it wrote, and no others; they are healed by hand. */
static void test_quorum_clock_years_ahead_harms_its_own_keys_only(void **state)
{
    fixture mad = open_with(state, "?copies=3");
    kw_quorum_set_clock(mad.quorum, far_ahead, NULL);
    fixture fix = open_with(state, "?copies=3");
    unsigned events_n = 0;
    kw_client *client = open_with_events(state, &events_n);
    fixture sane = {.servers = *state, .client = client};
    kw_error error = KW_ERROR_INIT;
    sane.quorum = kw_quorum_new(client, &error);
    set(&sane, "k", "before");
    set(&sane, "other", "before");
    set(&mad, "k", "mad");
    wait_for_copies(&mad, "k", 3);
    assert_null(kw_quorum_get(sane.quorum, &error, "k", 1));
    assert_int_equal(error.code, KW_ERR_QUORUM);
    assert_non_null(strstr(error.text, "a clock is wrong"));
    assert_int_equal(kw_quorum_set(sane.quorum, &error, "k", 1, "x", 1), KW_ERR_QUORUM);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_true(events_n > 0);
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(client, &stats), KW_OK);
    assert_true(stats.versions_ahead >= 2);
    /* Its own writes of other keys do not go beyond that. */
    kw_quorum_version version = assert_value(&sane, "other", "before");
    assert_true(version.time >> 16 < far_ahead(NULL) - 86400000);
    set(&sane, "other", "after");
    (void)assert_value(&fix, "other", "after");
    /* Healed: the key is removed from its copies. */
    for (size_t i = 0; i < 3; i++) {
        freeReplyObject(kw_test_server_command(copy_of(&fix, "k", i), "DEL k"));
    }
    set(&sane, "k", "healed");
    (void)assert_value(&fix, "k", "healed");
    kw_quorum_free(sane.quorum);
    kw_close(client);
    shut(&fix);
    shut(&mad);
}

static uint64_t stopped_at;

static uint64_t stopped(void *arg)
{
    (void)arg;
    return stopped_at;
}

/* Its own clock was ahead, wrote, and is right again: it goes on with right versions. */
static void test_quorum_clock_that_comes_back_writes_on(void **state)
{
    fixture fix = open_with(state, "?copies=3");
    stopped_at = far_ahead(NULL);
    kw_quorum_set_clock(fix.quorum, stopped, NULL);
    set(&fix, "mad", "value");
    stopped_at -= UINT64_C(10) * 365 * 86400000;
    set(&fix, "k", "value");
    fixture other = open_with(state, "?copies=3");
    (void)assert_value(&other, "k", "value");
    /* One that is years behind believes nobody, and says so. */
    stopped_at = 1000;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "k", 1, "x", 1), KW_ERR_QUORUM);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "a clock is wrong"));
    assert_int_equal(kw_quorum_set(fix.quorum, &error, "new", 3, "x", 1), KW_ERR_QUORUM);
    (void)assert_value(&other, "k", "value");
    shut(&other);
    shut(&fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quorum_deletion_that_a_copy_missed_does_not_end, ring_flush),
        cmocka_unit_test_setup(test_quorum_deletion_that_all_copies_have_ends_by_itself,
                               ring_flush),
        cmocka_unit_test_setup(test_quorum_short_life_over_a_long_one_is_kept, ring_flush),
        cmocka_unit_test_setup(test_quorum_clock_years_ahead_harms_its_own_keys_only, ring_flush),
        cmocka_unit_test_setup(test_quorum_clock_that_comes_back_writes_on, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
