/* SPDX-License-Identifier: BSD-3-Clause */
/* nodes-allowed: an address that a redirect, a map or a sentinel names and that is outside of it is
 * never dialled, and the error names it. In every way of sending. */
#include "fake/fakes.h"
#include "support/ways.h"

/* Who listens at an address that is not the settings' own word, 127.0.0.2. */
static void expect_refused(kw_client *kw, kw_test_way way, const char *key, const char *address)
{
    kw_test_end end = kw_test_send(kw, way, "INCR", key);
    if (end.is_answered || end.error.effect != KW_EFFECT_NONE ||
        strstr(end.error.text, address) == NULL ||
        strstr(end.error.text, "nodes-allowed") == NULL) {
        fail_msg("%s: %d %s", kw_test_way_name(way), end.is_answered, end.error.text);
    }
}

static void expect_answered(kw_client *kw, kw_test_way way, const char *key)
{
    kw_test_end end = kw_test_send(kw, way, "INCR", key);
    if (!end.is_answered) {
        fail_msg("%s: %s", kw_test_way_name(way), end.error.text);
    }
}

/* The second fake, by an address that is outside. */
static void tell_map(const char *host)
{
    char slots[400];
    snprintf(slots, sizeof(slots),
             "*2\r\n*3\r\n:0\r\n:8000\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
             "*3\r\n:8001\r\n:16383\r\n*2\r\n$9\r\n%s\r\n:%u\r\n",
             kw_fake_port(fakes[0]), host, kw_fake_port(fakes[1]));
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_set_map(fakes[i], slots, NULL);
    }
}

static void test_node_of_a_map_outside_is_not_dialled(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        renew_fakes();
        answer_numbers();
        tell_map("127.0.0.2");
        char address[40];
        snprintf(address, sizeof(address), "127.0.0.2:%u", kw_fake_port(fakes[1]));
        unsigned accepted = kw_fake_accepted(fakes[1]);
        kw_client *kw = open_cluster("timeout=500ms&nodes-allowed=127.0.0.1/32,.example.com");
        expect_answered(kw, (kw_test_way)way, "bar");
        expect_refused(kw, (kw_test_way)way, "foo", address);
        expect_answered(kw, (kw_test_way)way, "bar");
        assert_int_equal(kw_fake_accepted(fakes[1]), accepted);
        kw_close(kw);
    }
}

static void test_redirect_outside_is_not_followed(void **state)
{
    (void)state;
    static const char *const kinds[] = {"MOVED", "ASK"};
    for (size_t i = 0; i < 2; i++) {
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            renew_fakes();
            own_all(fakes[0]);
            kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR foo", "-%s %u 127.0.0.2:%u", kinds[i],
                             FOO_SLOT, kw_fake_port(fakes[1]));
            answer_numbers();
            char address[40];
            snprintf(address, sizeof(address), "127.0.0.2:%u", kw_fake_port(fakes[1]));
            unsigned accepted = kw_fake_accepted(fakes[1]);
            kw_client *kw = open_cluster("timeout=500ms&nodes-allowed=127.0.0.1/32");
            expect_refused(kw, (kw_test_way)way, "foo", address);
            expect_answered(kw, (kw_test_way)way, "bar");
            assert_int_equal(kw_fake_accepted(fakes[1]), accepted);
            assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
            kw_close(kw);
        }
    }
}

static void test_servers_of_the_settings_are_always_allowed(void **state)
{
    (void)state;
    renew_fakes();
    answer_numbers();
    kw_client *kw = open_cluster("timeout=500ms&nodes-allowed=10.0.0.0/8");
    expect_answered(kw, KW_TEST_CALL, "bar");
    kw_close(kw);
    renew_servers();
    answer_numbers();
    kw = kw_test_open("%s?nodes-allowed=10.0.0.0/8", kw_fake_uri(fakes[0]));
    expect_answered(kw, KW_TEST_CALL, "bar");
    kw_close(kw);
    kw = kw_test_open("redis-ring://a=%s?nodes-allowed=10.0.0.0/8", kw_fake_address(fakes[0]));
    expect_answered(kw, KW_TEST_CALL, "bar");
    kw_close(kw);
}

static void test_primary_that_a_sentinel_names_outside_is_not_dialled(void **state)
{
    (void)state;
    renew_servers();
    answer_numbers();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.2\r\n$5\r\n%05u", (unsigned)kw_fake_port(fakes[1]));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*0");
    char address[40];
    snprintf(address, sizeof(address), "127.0.0.2:%u", kw_fake_port(fakes[1]));
    unsigned accepted = kw_fake_accepted(fakes[1]);
    kw_client *kw = kw_test_open("redis-sentinel://%s/group?timeout=500ms&nodes-allowed=10.0.0.0/8",
                                 kw_fake_address(fakes[0]));
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_refused(kw, (kw_test_way)way, "foo", address);
    }
    assert_int_equal(kw_fake_accepted(fakes[1]), accepted);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_of_a_map_outside_is_not_dialled),
        cmocka_unit_test(test_redirect_outside_is_not_followed),
        cmocka_unit_test(test_servers_of_the_settings_are_always_allowed),
        cmocka_unit_test(test_primary_that_a_sentinel_names_outside_is_not_dialled),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
