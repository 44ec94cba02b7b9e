/* SPDX-License-Identifier: BSD-3-Clause */
/* What people and their systems read of a handle: units of Prometheus, numbers that no locale
 * changes, and the story of a call that was tried often. */
#include "fake/fakes.h"

#include <locale.h>
#include <stdatomic.h>

static char *text_of(kw_client *kw, kw_stats_format format)
{
    size_t len = kw_stats_text(kw, NULL, 0, format) + 200;
    char *text = malloc(len);
    assert_non_null(text);
    assert_true(kw_stats_text(kw, text, len, format) < len);
    return text;
}

static kw_client *open_measured(void)
{
    renew_fakes();
    answer(fakes[1], "GET foo", "+OK");
    kw_client *kw = open_cluster("");
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY), KW_OK);
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    return kw;
}

static void test_prometheus_is_told_seconds_and_json_milliseconds(void **state)
{
    (void)state;
    kw_client *kw = open_measured();
    char *prometheus = text_of(kw, KW_STATS_PROMETHEUS);
    assert_null(strstr(prometheus, "_ms"));
    assert_non_null(strstr(prometheus, "# TYPE keyway_map_age_seconds gauge\n"
                                       "keyway_map_age_seconds 0."));
    assert_non_null(strstr(prometheus, "# TYPE keyway_node_down_seconds_total counter\n"));
    assert_non_null(strstr(prometheus, "le=\"0.000016384\"}"));
    char *json = text_of(kw, KW_STATS_JSON);
    assert_non_null(strstr(json, "\"map_age_ms\":"));
    assert_non_null(strstr(json, "\"down_total_ms\":0,"));
    free(prometheus);
    free(json);
    kw_close(kw);
}

/* Where a locale with a comma is installed; in others nothing could go wrong. */
static void test_numbers_have_a_point_in_every_locale(void **state)
{
    (void)state;
    kw_client *kw = open_measured();
    (void)(setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8"));
    char *prometheus = text_of(kw, KW_STATS_PROMETHEUS);
    char *json = text_of(kw, KW_STATS_JSON);
    (void)setlocale(LC_NUMERIC, "C");
    assert_non_null(strstr(prometheus, "le=\"0.000016384\"}"));
    assert_non_null(strstr(prometheus, "class=\"read\"} 0."));
    assert_non_null(strstr(json, "\"share\":0."));
    free(prometheus);
    free(json);
    kw_close(kw);
}

/* What is told of each member of a ring is of the placement's own hash: twemproxy's crc32 has 15
 * bits, so that on its ketama all hashes are before the first point but a few. */
static void test_shares_are_of_the_placements_own_hash(void **state)
{
    (void)state;
    static const struct {
        const char *placement;
        double share; /* of the member that has most */
    } rows[] = {{"twemproxy:ketama:crc32", 1}, {"twemproxy:modula:crc32", 10923.0 / 32768}};
    renew_servers();
    for (size_t i = 0; i < 2; i++) {
        kw_client *kw =
            kw_test_open("redis-ring://a=%s,b=%s,c=%s?placement=%s", kw_fake_address(fakes[0]),
                         kw_fake_address(fakes[1]), kw_fake_address(fakes[2]), rows[i].placement);
        kw_node_stats node = {.size = sizeof(node)};
        double most = 0;
        double sum = 0;
        for (size_t k = 0; kw_client_node_stats(kw, &node, k) == KW_OK; k++) {
            most = node.share > most ? node.share : most;
            sum += node.share;
        }
        if (most != rows[i].share || sum != 1) {
            fail_msg("%s: %f is the largest share, %f are all", rows[i].placement, most, sum);
        }
        kw_close(kw);
    }
}

/* What the callback for slow calls was told. */
typedef struct told {
    atomic_int n;
    size_t tries_n;
    char text[1024];
} told;

static void on_slow(void *arg, const kw_slow_call *call)
{
    told *last = arg;
    last->tries_n = call->tries_n;
    snprintf(last->text, sizeof(last->text), "%s", call->text);
    last->n++;
}

/* The fake answers TRYAGAIN so often before it says OK. */
static void tell_of(told *last, size_t refused_n)
{
    char uri[200];
    kw_config *config = kw_config_new(NULL);
    renew_fakes();
    for (size_t i = 0; i < refused_n; i++) {
        kw_fake_on_reply(fakes[1], 1, "GET foo", "-TRYAGAIN not yet");
    }
    answer(fakes[1], "GET foo", "+OK");
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=20s&slow-call=1ms",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    memset(last, 0, sizeof(*last));
    kw_config_set_slow_call(config, on_slow, last);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    kw_close(kw);
    assert_int_equal(last->n, 1);
}

static void expect_part(const told *last, const char *format, const char *node)
{
    char part[200];
    snprintf(part, sizeof(part), format, node);
    if (strstr(last->text, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, last->text);
    }
}

static void test_story_counts_tries_that_ended_alike(void **state)
{
    (void)state;
    told last;
    tell_of(&last, 4);
    assert_int_equal(last.tries_n, 5);
    expect_part(&last, ": %s 4 times TRYAGAIN in ", kw_fake_address(fakes[1]));
    expect_part(&last, "; %s waited ", kw_fake_address(fakes[1]));
    assert_null(strstr(last.text, "more tries"));
}

static void test_story_says_that_tries_were_not_kept(void **state)
{
    (void)state;
    told last;
    tell_of(&last, KW_SLOW_TRIES_MAX + 2);
    assert_int_equal(last.tries_n, KW_SLOW_TRIES_MAX);
    expect_part(&last, ": %s 11 times TRYAGAIN in ", kw_fake_address(fakes[1]));
    expect_part(&last, "; 3 more tries in ", "");
    expect_part(&last, "; %s waited ", kw_fake_address(fakes[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus_is_told_seconds_and_json_milliseconds),
        cmocka_unit_test(test_numbers_have_a_point_in_every_locale),
        cmocka_unit_test(test_shares_are_of_the_placements_own_hash),
        cmocka_unit_test(test_story_counts_tries_that_ended_alike),
        cmocka_unit_test(test_story_says_that_tries_were_not_kept),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}
