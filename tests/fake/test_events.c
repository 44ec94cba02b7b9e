/* SPDX-License-Identifier: BSD-3-Clause */
/* Maps that are fetched on request, and what the host is told of maps and connections. */
#include "fake/fakes.h"
#include "support/ways.h"

#include <stdatomic.h>

/* What the host was told. */
typedef struct diary {
    pthread_mutex_t mutex;
    kw_client *client; /* NULL: the callback does not use the handle */
    size_t maps_n;
    size_t connected_n;
    size_t lost_n;
    kw_event map; /* the last one of a map */
    char text[600];
    char lost_node[128];
} diary;

static void on_event(void *arg, const kw_event *event)
{
    diary *self = arg;
    pthread_mutex_lock(&self->mutex);
    assert_int_equal(event->size, sizeof(*event));
    if (event->kind == KW_EVENT_MAP_CHANGED) {
        self->maps_n++;
        self->map = *event;
        snprintf(self->text, sizeof(self->text), "%s", event->text);
    }
    if (event->kind == KW_EVENT_CONNECTED) {
        self->connected_n++;
    }
    if (event->kind == KW_EVENT_DISCONNECTED) {
        self->lost_n++;
        snprintf(self->lost_node, sizeof(self->lost_node), "%s", event->node);
        snprintf(self->text, sizeof(self->text), "%s", event->text);
    }
    kw_client *client = self->client;
    pthread_mutex_unlock(&self->mutex);
    if (client != NULL && event->kind == KW_EVENT_MAP_CHANGED) {
        expect_number(client, "INCR foo", 2); /* at its new owner */
    }
}

static kw_client *begin(diary *self, const char *format, const char *address)
{
    char uri[300];
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    memset(self, 0, sizeof(*self));
    pthread_mutex_init(&self->mutex, NULL);
    kw_config_set_event(config, on_event, self);
    snprintf(uri, sizeof(uri), format, address);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    assert_non_null(client);
    kw_config_free(config);
    return client;
}

static kw_client *begin_cluster(diary *self)
{
    renew_fakes();
    answer_numbers();
    return begin(self, "redis-cluster://%s?timeout=5s&refresh-interval=0",
                 kw_fake_address(fakes[0]));
}

static void test_events_of_a_map_say_what_changed(void **state)
{
    (void)state;
    diary told;
    kw_client *client = begin_cluster(&told);
    kw_error error = KW_ERROR_INIT;
    expect_number(client, "INCR foo", 1);
    assert_int_equal(told.maps_n, 1);
    assert_int_equal(told.map.slots_n, 16384);
    assert_int_equal(told.map.joined_n, 2);
    assert_non_null(strstr(told.text, "first map"));
    const kw_fake_range moved[] = {{0, 8191, fakes[0], NULL}, {8192, 16383, fakes[2], NULL}};
    const kw_fake_range before[] = {{0, 8191, fakes[0], NULL}, {8192, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, before, 2);
    assert_int_equal(kw_refresh(client, &error, 0), KW_OK);
    size_t maps_n = told.maps_n;
    kw_fake_set_cluster(fakes, FAKES_N, moved, 2);
    told.client = client; /* the callback may use the handle */
    assert_int_equal(kw_refresh(client, &error, 0), KW_OK);
    assert_int_equal(told.maps_n, maps_n + 1);
    assert_int_equal(told.map.slots_n, 8192);
    assert_int_equal(told.map.joined_n, 1);
    assert_int_equal(told.map.left_n, 1);
    assert_non_null(strstr(told.text, kw_fake_address(fakes[1])));
    assert_non_null(strstr(told.text, kw_fake_address(fakes[2])));
    told.client = NULL;
    assert_int_equal(kw_refresh(client, &error, 0), KW_OK); /* the same map is no news */
    assert_int_equal(told.maps_n, maps_n + 1);
    kw_close(client);
}

static void test_events_of_connections_say_why(void **state)
{
    (void)state;
    diary told;
    renew_servers();
    answer_numbers();
    kw_client *client = begin(&told, "redis://%s?timeout=5s", kw_fake_address(fakes[1]));
    kw_error error = KW_ERROR_INIT;
    expect_number(client, "INCR foo", 1);
    assert_int_equal(told.connected_n, 1);
    assert_int_equal(told.lost_n, 0);
    kw_fake_on(fakes[1], 1, "SET *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    assert_null(kw_command(client, &error, "SET foo 1"));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(told.lost_n, 1);
    assert_string_equal(told.lost_node, kw_fake_address(fakes[1]));
    assert_non_null(strstr(told.text, "lost"));
    expect_number(client, "INCR foo", 1);
    assert_int_equal(told.connected_n, 2);
    kw_close(client);
    assert_int_equal(told.lost_n, 1); /* kw_close loses nothing */
}

/* More than are kept: the oldest are given up, and nothing else. */
static void test_events_of_many_connections_are_bounded(void **state)
{
    (void)state;
    diary told;
    renew_servers();
    answer_numbers();
    kw_client *client = begin(&told, "redis://%s?timeout=5s", kw_fake_address(fakes[1]));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "SET *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    for (int i = 0; i < 100; i++) {
        assert_null(kw_command(client, NULL, "SET foo 1"));
    }
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(told.connected_n, stats.connects);
    assert_int_equal(told.lost_n, stats.disconnects);
    kw_close(client);
}

static size_t count_maps(void)
{
    size_t n = 0;
    for (size_t i = 0; i < FAKES_N; i++) {
        n += kw_fake_count(fakes[i], "CLUSTER S*");
    }
    return n;
}

static void *refresh(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_refresh(arg, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    return NULL;
}

static void test_refresh_is_one_fetch_for_all(void **state)
{
    (void)state;
    diary told;
    kw_client *client = begin_cluster(&told);
    expect_number(client, "INCR foo", 1);
    size_t before = count_maps();
    kw_stats stats = kw_test_stats(client);
    refresh(client);
    size_t one = count_maps() - before;
    assert_true(one > 0);
    pthread_t threads[16];
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, refresh, client), 0);
    }
    for (size_t i = 0; i < 16; i++) {
        kw_test_join(threads[i]);
    }
    /* Those who come while one is under way want another. */
    assert_in_range(kw_test_stats(client).refreshes - stats.refreshes, 2, 4);
    assert_in_range(count_maps() - before, one, 4 * (one + 1));
    kw_close(client);
}

static void test_refresh_ends_at_its_deadline(void **state)
{
    (void)state;
    diary told;
    kw_client *client = begin_cluster(&told);
    kw_error error = KW_ERROR_INIT;
    expect_number(client, "INCR foo", 1);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "CLUSTER S*", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(kw_refresh(client, &error, 300), KW_ERR_TOPOLOGY);
    assert_in_range(kw_test_now_ms() - start_ms, 299, 300 + LATE_MS);
    assert_non_null(strstr(error.text, "deadline"));
    expect_number(client, "INCR foo", 1); /* the map before is still in use */
    kw_close(client);
}

static void test_refresh_of_what_has_no_map_is_done(void **state)
{
    (void)state;
    diary told;
    renew_servers();
    kw_client *client = begin(&told, "redis://%s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_refresh(client, NULL, 0), KW_OK);
    assert_int_equal(kw_test_stats(client).connects, 0);
    assert_int_equal(kw_refresh(NULL, NULL, 0), KW_ERR_ARGUMENT);
    kw_close(client);
}

/* A host's resolver. */
typedef struct names {
    _Atomic(kw_lookup *) left; /* answered later, by another thread */
    const char *address;       /* NULL: answered later */
    const char *failure;
    atomic_int asked_n;
} names;

static void resolve(void *arg, kw_lookup *lookup, const char *host)
{
    names *self = arg;
    atomic_fetch_add(&self->asked_n, 1);
    assert_string_equal(host, "cache.example");
    if (self->address == NULL && self->failure == NULL) {
        atomic_store(&self->left, lookup);
        return;
    }
    if (self->address != NULL) {
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(kw_lookup_add(lookup, &error, "no number"), KW_ERR_ARGUMENT);
        assert_int_equal(kw_lookup_add(lookup, &error, self->address), KW_OK);
    }
    kw_lookup_end(lookup, self->failure);
}

static kw_client *open_named(names *self, const char *options)
{
    char uri[200];
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    renew_servers();
    answer_numbers();
    kw_config_set_resolver(config, resolve, self);
    snprintf(uri, sizeof(uri), "cache.example:%u?%s", (unsigned)kw_fake_port(fakes[1]), options);
    assert_int_equal(kw_config_set(config, &error, "server", uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    return client;
}

static void test_resolver_of_the_host_gives_addresses(void **state)
{
    (void)state;
    names self = {.address = "127.0.0.1"};
    kw_client *client = open_named(&self, "timeout=5s");
    expect_number(client, "INCR foo", 1);
    assert_int_equal(atomic_load(&self.asked_n), 1);
    kw_close(client);
    names none = {.failure = "not in the book"};
    kw_error error = KW_ERROR_INIT;
    client = open_named(&none, "timeout=300ms");
    assert_null(kw_command(client, &error, "INCR foo"));
    expect_error("failure", &error, KW_ERR_RESOLVE, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "not in the book"));
    kw_close(client);
}

static void *answer_late(void *arg)
{
    names *self = arg;
    kw_lookup *lookup = NULL;
    KW_TEST_UNTIL((lookup = atomic_exchange(&self->left, NULL)) != NULL)
    {
        kw_test_sleep_ms(1);
    }
    assert_int_equal(kw_lookup_add(lookup, NULL, "::1"), KW_OK); /* nobody listens there */
    assert_int_equal(kw_lookup_add(lookup, NULL, "127.0.0.1"), KW_OK);
    kw_lookup_end(lookup, NULL);
    return NULL;
}

/* A name that is nobody's is said so, whatever is behind it, in every way of sending. */
static void test_name_that_is_nobodys_is_no_trouble_of_the_map(void **state)
{
    (void)state;
    static const char *const uris[] = {"redis://cache.example:1", "redis-cluster://cache.example:1",
                                       "redis-cluster://cache.example:1,cache.example:2",
                                       "redis-ring://a=cache.example:1"};
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            names none = {.failure = "not in the book"};
            kw_config *config = kw_test_config_new(NULL);
            assert_int_equal(kw_config_set_uri(config, NULL, uris[i]), KW_OK);
            assert_int_equal(kw_config_set(config, NULL, "timeout", "300ms"), KW_OK);
            kw_config_set_resolver(config, resolve, &none);
            kw_client *client = kw_open_config(config, NULL);
            kw_config_free(config);
            kw_test_end end = kw_test_send(client, (kw_test_way)way, "INCR", "foo");
            if (end.error.code != KW_ERR_RESOLVE || end.error.effect != KW_EFFECT_NONE ||
                strstr(end.error.text, "not in the book") == NULL) {
                fail_msg("%s, %s: %s: %s", uris[i], kw_test_way_name((kw_test_way)way),
                         kw_err_name(end.error.code), end.error.text);
            }
            kw_close(client);
        }
    }
}

static void test_resolver_of_the_host_may_answer_later(void **state)
{
    (void)state;
    names self = {.address = NULL};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_late, &self), 0);
    kw_client *client = open_named(&self, "timeout=10s");
    expect_number(client, "INCR foo", 1);
    kw_test_join(thread);
    kw_close(client);
}

/* Nobody waits longer than his deadline, and the answer may come after the handle's end. */
static void test_resolver_of_the_host_holds_nobody_up(void **state)
{
    (void)state;
    names self = {.address = NULL};
    kw_error error = KW_ERROR_INIT;
    kw_client *client = open_named(&self, "timeout=200ms");
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(client, &error, "INCR foo"));
    assert_in_range(kw_test_now_ms() - start_ms, 199, 200 + LATE_MS);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_close(client);
    kw_lookup *left = atomic_load(&self.left);
    assert_non_null(left);
    assert_int_equal(kw_lookup_add(left, NULL, "127.0.0.1"), KW_OK);
    kw_lookup_end(left, NULL);
    kw_lookup_end(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_of_a_map_say_what_changed),
        cmocka_unit_test(test_events_of_connections_say_why),
        cmocka_unit_test(test_events_of_many_connections_are_bounded),
        cmocka_unit_test(test_refresh_is_one_fetch_for_all),
        cmocka_unit_test(test_refresh_ends_at_its_deadline),
        cmocka_unit_test(test_refresh_of_what_has_no_map_is_done),
        cmocka_unit_test(test_resolver_of_the_host_gives_addresses),
        cmocka_unit_test(test_name_that_is_nobodys_is_no_trouble_of_the_map),
        cmocka_unit_test(test_resolver_of_the_host_may_answer_later),
        cmocka_unit_test(test_resolver_of_the_host_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
