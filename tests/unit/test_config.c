/* SPDX-License-Identifier: BSD-3-Clause */
/* Options by name and by URI: good ones are taken whole, bad ones are refused whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/config.h"
#include "base/random.h"
#include "support/check.h"

#include <keyway.h>

#include <stdio.h>
#include <string.h>

static void says(const kw_error *error, const char *input, const char *word)
{
    if (strstr(error->text, word) == NULL) {
        fail_msg("\"%s\" says \"%s\", not \"%s\"", input, error->text, word);
    }
}

static kw_config *config_of(const char *uri)
{
    kw_config *config = kw_config_new(NULL);
    kw_error error = KW_ERROR_INIT;
    if (kw_config_set_uri(config, &error, uri) != KW_OK) {
        fail_msg("\"%s\": %s", uri, error.text);
    }
    return config;
}

typedef struct good_row {
    const char *uri;
    kw_scheme scheme;
    const char *seeds; /* as texts, joined by spaces */
} good_row;

static void test_uri_good_ones_give_servers(void **state)
{
    (void)state;
    static const good_row rows[] = {
        {"redis://localhost", KW_SCHEME_SINGLE, "localhost:6379"},
        {"redis://h:1", KW_SCHEME_SINGLE, "h:1"},
        {"redis://h:65535/", KW_SCHEME_SINGLE, "h:65535"},
        {"REDIS://h", KW_SCHEME_SINGLE, "h:6379"},
        {"valkey://[::1]:7000", KW_SCHEME_SINGLE, "[::1]:7000"},
        {"redis://[fe80::1]", KW_SCHEME_SINGLE, "[fe80::1]:6379"},
        {"redis://[fe80::1%25lo]:6390", KW_SCHEME_SINGLE, "[fe80::1%lo]:6390"}, /* RFC 6874 */
        {"redis://[fe80::1%lo]:6390", KW_SCHEME_SINGLE, "[fe80::1%lo]:6390"},
        {"redis://ho%73t:1", KW_SCHEME_SINGLE, "host:1"},
        {"redis+unix:///run/redis.sock", KW_SCHEME_SINGLE, "/run/redis.sock"},
        {"h", KW_SCHEME_SINGLE, "h:6379"},
        {"127.0.0.1:7000", KW_SCHEME_SINGLE, "127.0.0.1:7000"},
        {"[::1]:7000/2?timeout=1s", KW_SCHEME_SINGLE, "[::1]:7000"},
        {"user:p%3Aw@h:1", KW_SCHEME_SINGLE, "h:1"},
        {"h:1?password=a://b", KW_SCHEME_SINGLE, "h:1"},
        {"/run/redis.sock?db=1", KW_SCHEME_SINGLE, "/run/redis.sock"},
        {"valkey+unix:///a%20b.sock?timeout=1s", KW_SCHEME_SINGLE, ""},
        {"redis-cluster://a:1,b,[::1]:3,a:1", KW_SCHEME_CLUSTER, "a:1 b:6379 [::1]:3"},
        {"valkey-cluster://a:1/0?timeout=5s", KW_SCHEME_CLUSTER, "a:1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        kw_config *config = kw_config_new(NULL);
        kw_err code = kw_config_set_uri(config, &error, rows[i].uri);
        if (rows[i].seeds[0] == '\0') { /* a space in a path */
            assert_int_equal(code, KW_ERR_CONFIG);
            kw_config_free(config);
            continue;
        }
        assert_int_equal(code, KW_OK);
        assert_int_equal(config->options.scheme, rows[i].scheme);
        const char *expected = rows[i].seeds;
        for (size_t k = 0; k < config->options.seeds_n; k++) {
            char text[KW_ENDPOINT_TEXT];
            kw_endpoint_text(text, &config->options.seeds[k]);
            size_t len = strcspn(expected, " ");
            assert_int_equal(strlen(text), len);
            assert_memory_equal(text, expected, len);
            expected += len + (expected[len] == ' ' ? 1 : 0);
        }
        assert_string_equal(expected, "");
        kw_config_free(config);
    }
}

static void test_uri_login_database_and_query_are_options(void **state)
{
    (void)state;
    kw_config *config = config_of("redis://us%40er:p%3Aw%2Fd@h:1/3?timeout=500ms&pool-max=2&"
                                  "client-name=app&reply-bytes-max=1kb&after-fork=reopen&"
                                  "resolver=thread&address-map=a:1>b:2,[::1]:3>c:4");
    const kw_options *options = &config->options;
    assert_string_equal(options->user, "us@er");
    assert_string_equal(options->password, "p:w/d");
    assert_int_equal(options->database, 3);
    assert_int_equal(options->timeout_ms, 500);
    assert_int_equal(options->pool_max, 2);
    assert_string_equal(options->client_name, "app");
    assert_int_equal(options->reply_bytes_max, 1024);
    assert_true(options->is_reopened_after_fork);
    assert_true(options->has_resolver_thread);
    assert_int_equal(options->address_map_n, 2);
    assert_string_equal(options->address_map[1].from.host, "::1");
    assert_int_equal(options->address_map[1].to.port, 4);
    assert_int_equal(kw_options_connect_timeout_ms(options), 125);
    kw_config_free(config);
    config = config_of("redis://:secret@h");
    assert_null(config->options.user);
    assert_string_equal(config->options.password, "secret");
    kw_config_free(config);
}

static void test_uri_of_sentinels_has_a_name_and_a_login_of_their_own(void **state)
{
    (void)state;
    kw_config *config = config_of("redis-sentinel://us:pw@h1,[::1]:7,h2:26380/my%2Fmaster/3?"
                                  "sentinel-user=su&sentinel-password=sp");
    const kw_options *options = &config->options;
    assert_int_equal(options->scheme, KW_SCHEME_SENTINEL);
    assert_int_equal(options->seeds_n, 3);
    assert_int_equal(options->seeds[0].port, 26379);
    assert_int_equal(options->seeds[1].port, 7);
    assert_string_equal(options->service, "my/master");
    assert_int_equal(options->database, 3);
    assert_string_equal(options->user, "us");
    assert_string_equal(options->password, "pw");
    assert_string_equal(options->sentinel_user, "su");
    assert_string_equal(options->sentinel_password, "sp");
    kw_options copy;
    assert_true(kw_options_copy(&copy, options, kw_mem_default()));
    assert_string_equal(copy.sentinel_password, "sp");
    assert_string_equal(copy.service, "my/master");
    kw_options_fini(&copy, kw_mem_default());
    kw_config_free(config);
    config = config_of("redis-cluster://h?read-preference=zone:east&zones=a:1>west,b:2>east");
    assert_int_equal(config->options.read, KW_READ_OF_ZONE);
    assert_int_equal(config->options.zones_n, 2);
    assert_true(config->options.zones[1].zone == config->options.read_zone);
    assert_true(config->options.zones[0].zone != config->options.read_zone);
    assert_true(kw_options_copy(&copy, &config->options, kw_mem_default()));
    assert_string_equal(copy.zones[1].server.host, "b");
    kw_options_fini(&copy, kw_mem_default());
    assert_int_equal(kw_config_set(config, NULL, "zones", ""), KW_OK);
    assert_int_equal(kw_config_set(config, NULL, "read-preference", "nearest"), KW_OK);
    assert_int_equal(config->options.read, KW_READ_OF_NEAREST);
    assert_int_equal(config->options.max_staleness_ms, 0);
    assert_int_equal(kw_config_set(config, NULL, "max-staleness", "500ms"), KW_OK);
    assert_int_equal(config->options.max_staleness_ms, 500);
    assert_int_equal(config->options.zones_n, 0);
    kw_config_free(config);
    config = config_of("valkey-sentinel://h");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_open_config(config, &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
    says(&error, "no name", "/mymaster");
    assert_int_equal(kw_config_set(config, NULL, "service", "m"), KW_OK);
    kw_client *client = kw_open_config(config, &error); /* dials nothing */
    assert_non_null(client);
    kw_close(client);
    kw_config_free(config);
}

static void test_uri_member_with_a_service_is_a_sentinel_group(void **state)
{
    (void)state;
    kw_config *config = config_of("redis-ring://a=h1,b=s1*3;sentinel=s2:7;zone=z;service=m%2Fx;"
                                  "sentinel=s1,s3;service=lone?sentinel-password=sp");
    const kw_options *options = &config->options;
    assert_int_equal(options->ring_members.n, 3);
    const kw_member *members = options->ring_members.members;
    assert_false(kw_member_is_group(&members[0]));
    assert_int_equal(members[0].server.port, 6379);
    assert_true(kw_member_is_group(&members[1]));
    assert_string_equal(members[1].service, "m/x");
    assert_string_equal(members[1].zone, "z");
    assert_int_equal(members[1].weight, 3);
    assert_int_equal(members[1].sentinels_n, 2); /* s1 is there once */
    assert_string_equal(members[1].sentinels[0].host, "s1");
    assert_int_equal(members[1].sentinels[0].port, 26379);
    assert_int_equal(members[1].sentinels[1].port, 7);
    assert_true(kw_endpoint_is_unknown(&members[1].server));
    assert_string_equal(members[2].service, "lone");
    assert_string_equal(options->sentinel_password, "sp");
    kw_options copy;
    const kw_allocator *mem = &config->host.mem;
    assert_true(kw_options_copy(&copy, options, mem));
    assert_true(kw_member_is_same_group(&copy.ring_members.members[1], &members[1]));
    assert_false(kw_member_is_same_group(&copy.ring_members.members[2], &members[1]));
    assert_false(kw_member_is_same_group(&copy.ring_members.members[0], &members[0]));
    kw_options_fini(&copy, mem);
    kw_config_free(config);
}

static void test_uri_members_of_a_ring_have_names_weights_zones_and_replicas(void **state)
{
    (void)state;
    kw_config *config = config_of("redis-ring://user:pw@a=h1:6379,%2C%00%3d=h2*2;zone=z%201,"
                                  "[::1]:7;replica=h4:1;replica=[::2]/2?vnodes=7&"
                                  "placement=kw1/seed:5&on-node-down=eject&down-after=9");
    const kw_options *options = &config->options;
    assert_int_equal(options->scheme, KW_SCHEME_RING);
    assert_string_equal(options->user, "user");
    assert_int_equal(options->ring_members.n, 3);
    const kw_member *members = options->ring_members.members;
    assert_string_equal(members[0].name, "a");
    assert_int_equal(members[0].weight, 1);
    assert_string_equal(members[0].zone, "");
    assert_int_equal(members[1].name_len, 3);
    assert_memory_equal(members[1].name, ",\0=", 4);
    assert_int_equal(members[1].weight, 2);
    assert_string_equal(members[1].zone, "z 1");
    assert_int_equal(members[1].server.port, 6379);
    assert_int_equal(members[2].name_len, 0);
    assert_int_equal(members[2].replicas_n, 2);
    assert_string_equal(members[2].replicas[1].host, "::2");
    assert_int_equal(options->database, 2);
    assert_int_equal(options->vnodes, 7);
    assert_string_equal(options->placement, "kw1/seed:5");
    assert_int_equal(options->on_node_down, KW_NODE_DOWN_EJECT);
    assert_int_equal(options->down_after, 9);
    kw_config_free(config);
}

typedef struct bad_row {
    const char *uri;
    kw_err code;
    const char *says;
} bad_row;

static void test_uri_bad_ones_name_what_and_where(void **state)
{
    (void)state;
    static const bad_row rows[] = {
        {"", KW_ERR_CONFIG, "character 1: the host name is missing"},
        {"localhost:x", KW_ERR_CONFIG, "character 11: the port"},
        {"a:1,b:2", KW_ERR_CONFIG, "redis-cluster://"},
        {"h?server=h:1", KW_ERR_CONFIG, "before the ?"},
        {"h?repeat-reads=maybe", KW_ERR_CONFIG, "no or yes"},
        {"redis-ring://a=%2Frun%2Fa.sock:1", KW_ERR_CONFIG, "no port"},
        {"http://h", KW_ERR_CONFIG, "unknown scheme"},
        {"redisss://h", KW_ERR_CONFIG, "unknown scheme"},
        {"redis://h?tls-verify=host", KW_ERR_CONFIG, "full, ca or none"},
        {"redis://h?tls-server-name=a%20b", KW_ERR_CONFIG, "tls-server-name"},
        {"redis://h?protocol=4", KW_ERR_CONFIG, "range"},
        {"redis://h?read-preference=any", KW_ERR_CONFIG, "prefer-replica"},
        {"redis://h?read-preference=zone:", KW_ERR_CONFIG, "zone:name"},
        {"redis://h?zones=a:1", KW_ERR_CONFIG, "host:port>zone"},
        {"redis://h?zones=a:1>x,a:1>y", KW_ERR_CONFIG, "the only zone of its server"},
        {"redis://h?quorum-guard=on", KW_ERR_CONFIG, "quorum-guard are for a ring"},
        {"redis://h?zones=a:1>", KW_ERR_CONFIG, "host:port>zone"},
        {"redis://h?zones=a>z", KW_ERR_CONFIG, "host:port>zone"},
        {"redis-sentinel://h/m/x", KW_ERR_CONFIG, "database"},
        {"redis-sentinel://h/a%20b", KW_ERR_CONFIG, "service"},
        {"redis-sentinel://h/m?service=n", KW_ERR_CONFIG, "twice"},
        {"redis-sentinel:///m", KW_ERR_CONFIG, "missing"},
        {"redis-sentinel://h/m?sentinel-password=a%00b", KW_ERR_CONFIG, "sentinel-password"},
        {"redis-ring://", KW_ERR_CONFIG, "host name is missing"},
        {"redis-ring://a=h:1,,b=h:2", KW_ERR_CONFIG, "host name is missing"},
        {"redis-ring://=h:1", KW_ERR_CONFIG, "1 to 255 bytes"},
        {"redis-ring://a=h:1,a=h:2", KW_ERR_CONFIG, "character 20: a node of this name"},
        {"redis-ring://a=h:1*x", KW_ERR_CONFIG, "weight"},
        {"redis-ring://a=h:1*-1", KW_ERR_CONFIG, "weight"},
        {"redis-ring://a=h:1*4294967296", KW_ERR_CONFIG, "weight"},
        {"redis-ring://a=h:1;zone", KW_ERR_CONFIG, "zone=name"},
        {"redis-ring://a=h:1;zone=", KW_ERR_CONFIG, "1 to 63 bytes"},
        {"redis-ring://a=h:1;zone=x;zone=y", KW_ERR_CONFIG, "character 27: a node has one zone"},
        {"redis-ring://a=h:1;zone=a%00b", KW_ERR_CONFIG, "zero byte"},
        {"redis-ring://a=h:1;replica=", KW_ERR_CONFIG, "host name is missing"},
        {"redis-ring://a=h:1;color=red", KW_ERR_CONFIG, "replica=host:port"},
        {"redis-ring://a=h:1;sentinel=h:2", KW_ERR_CONFIG, "service=name"},
        {"redis-ring://a=h:1;service=", KW_ERR_CONFIG, "1 to 100 bytes"},
        {"redis-ring://a=h:1;service=a%00b", KW_ERR_CONFIG, "zero byte"},
        {"redis-ring://a=h:1;service=m;service=n", KW_ERR_CONFIG, "one service"},
        {"redis-ring://a=h:1;service=m;replica=h:2", KW_ERR_CONFIG, "sentinels' to name"},
        {"redis-ring://a=h:1;service=m;sentinel=", KW_ERR_CONFIG, "host name is missing"},
        {"redis-ring://a=;service=m", KW_ERR_CONFIG, "host name is missing"},
        {"redis-ring://a=h:1?placement=kw2", KW_ERR_CONFIG, "kw2"},
        {"redis-ring://a=h:1?vnodes=65537", KW_ERR_CONFIG, "range"},
        {"redis-ring://a=h:1?on-node-down=stay", KW_ERR_CONFIG, "fail, wait, next or eject"},
        {"redis-ring://a=h:1?down-after=0", KW_ERR_CONFIG, "range"},
        {"redis-cluster://a:1;b:2", KW_ERR_CONFIG,
         "character 20: servers are separated by a comma"},
        {"redis-cluster://a:1,redis-cluster://b:2", KW_ERR_CONFIG, "scheme is written once"},
        {"redis://redis://h", KW_ERR_CONFIG, "character 14: the scheme is written once"},
        {"redis://[1.2.3.4]", KW_ERR_CONFIG, "IPv6"},
        {"redis://[fe80::g]", KW_ERR_CONFIG, "character 16"},
        {"redis://[fe80::1%]", KW_ERR_CONFIG, "IPv6"},
        {"redis://a%20b", KW_ERR_CONFIG, "not allowed"},
        {"redis://%2Fsocket", KW_ERR_CONFIG, "not allowed"},
        {"redis://", KW_ERR_CONFIG, "character 9"},
        {"redis://h:0", KW_ERR_CONFIG, "port"},
        {"redis://h:65536", KW_ERR_CONFIG, "character 11"},
        {"redis://h:x", KW_ERR_CONFIG, "port"},
        {"redis://h:", KW_ERR_CONFIG, "port"},
        {"redis://a:1,b:2", KW_ERR_CONFIG, "redis-cluster://"},
        {"redis://::1:6379", KW_ERR_CONFIG, "brackets"},
        {"redis:h:6379", KW_ERR_CONFIG, "character 7: // is missing behind the scheme"},
        {"Redis:/h:6379", KW_ERR_CONFIG, "// is missing"},
        {"redis-cluster:a:1,b:2", KW_ERR_CONFIG, "// is missing"},
        {"redis-ring:a=h", KW_ERR_CONFIG, "// is missing"},
        {"::1:6379", KW_ERR_CONFIG, "brackets"},
        {"redis://[::1", KW_ERR_CONFIG, "]"},
        {"redis://[::1]x", KW_ERR_CONFIG, "]"},
        {"redis://h/x", KW_ERR_CONFIG, "database"},
        {"redis-cluster://a:1,,b:2", KW_ERR_CONFIG, "missing"},
        {"redis+unix://x", KW_ERR_CONFIG, "path"},
        {"redis://h?timeout", KW_ERR_CONFIG, "name=value"},
        {"redis://h?timeout=5", KW_ERR_CONFIG, "unit"},
        {"redis://h?timeout=0", KW_ERR_CONFIG, "out of range"},
        {"redis://h?timeout=25h", KW_ERR_CONFIG, "out of range"},
        {"redis://h?timeout=99999999999999999999s", KW_ERR_CONFIG, "timeout"},
        {"redis://h?timeout=1s&timeout=2s", KW_ERR_CONFIG, "twice"},
        {"redis://h?time-out=1s", KW_ERR_CONFIG, "did you mean timeout?"},
        {"redis://h?nonsense=1", KW_ERR_CONFIG, "unknown option \"nonsense\""},
        {"redis://h?pool-max=0", KW_ERR_CONFIG, "out of range"},
        {"redis://h?pool-max=-1", KW_ERR_CONFIG, "whole number"},
        {"redis://h?client-name=a%20b", KW_ERR_CONFIG, "client-name"},
        {"redis://h?client-name=%zz", KW_ERR_CONFIG, "hexadecimal"},
        {"redis://h?client-name=%4", KW_ERR_CONFIG, "hexadecimal"},
        {"redis://h?password=a%00b", KW_ERR_CONFIG, "password"},
        {"redis://h?after-fork=maybe", KW_ERR_CONFIG, "refuse or reopen"},
        {"redis://h?address-map=a:1", KW_ERR_CONFIG, "host:port>host:port"},
        {"redis://u@h?user=u", KW_ERR_CONFIG, "twice"},
        {"redis://:p@h?password=p", KW_ERR_CONFIG, "twice"},
        {"redis://h/1?db=1", KW_ERR_CONFIG, "twice"},
        {"redis://h#part", KW_ERR_CONFIG, "%23"},
        {"redis://[host]:1", KW_ERR_CONFIG, "IPv6"},
        {"redis://:p?w@h", KW_ERR_CONFIG, "%3F"},
        {"redis://h?address-map=a:1>b:1,a:1>c:1", KW_ERR_CONFIG, "address"},
        {"redis://h?timeout=1s&", KW_ERR_CONFIG, "name=value"},
        {"redis://h?address-map=", KW_OK, ""},
        {"redis://h?", KW_OK, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_config *config = config_of("redis://before:1?timeout=7s");
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_config_set_uri(config, &error, rows[i].uri);
        if (code != rows[i].code) {
            fail_msg("\"%s\" gives %s", rows[i].uri, kw_err_name(code));
        }
        if (code != KW_OK) {
            says(&error, rows[i].uri, rows[i].says);
            assert_int_equal(error.code, code);
            assert_string_equal(config->options.seeds[0].host, "before");
            assert_int_equal(config->options.timeout_ms, 7000);
        }
        kw_config_free(config);
    }
}

static void test_uri_error_never_shows_the_password(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "redis://u:hunter2@h:99999",
        "redis://u:hunter2@h?timeout=5",
        "redis://u:hunter2@",
        "redis://u:hunter2%zz@h",
        "x://u:hunter2@h",
        "redis://u:hunter2@h/x",
        "redis://h?password=hunter2%00",
        /* a password that is not percent-encoded, cut at its own ? or & */
        "redis://u:1?hunter2=x@h",
        "redis://u:1?timeout=hunter2@h",
        "redis://h?password=a&hunter2=b",
        "redis://h?password=a&db=hunter2",
        "redis://h?password=a&address-map=hunter2",
    };
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_open(uris[i], &error));
        assert_null(strstr(error.text, "hunter2"));
        assert_true(error.text[0] != '\0');
    }
}

static void test_uri_cut_anywhere_is_taken_or_refused_whole(void **state)
{
    (void)state;
    static const char whole[] = "redis-cluster://u:p%41@[::1]:7000,h:7001/0?timeout=5s&"
                                "address-map=a:1>b:2&pool-max=3";
    for (size_t len = 0; len < sizeof(whole); len++) {
        char text[sizeof(whole)];
        memcpy(text, whole, len);
        text[len] = '\0';
        kw_config *config = kw_config_new(NULL);
        kw_error error = KW_ERROR_INIT;
        if (kw_config_set_uri(config, &error, text) != KW_OK) {
            assert_int_equal(config->options.seeds_n, 0);
        }
        kw_config_free(config);
    }
}

static void test_uri_each_allocation_failing_changes_nothing(void **state)
{
    (void)state;
    bool is_done = false;
    for (unsigned long k = 1; !is_done; k++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, 0);
        kw_config *config = kw_config_new(&memory.allocator);
        assert_int_equal(kw_config_set_uri(config, NULL, "redis://old:1?client-name=old"), KW_OK);
        memory.fail_at = kw_test_memory_calls(&memory) + k;
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_config_set_uri(
            config, &error, "redis-cluster://u:p@a:1,b:2?client-name=new&address-map=a:1>b:2");
        is_done = code == KW_OK;
        if (!is_done) {
            assert_int_equal(code, KW_ERR_NOMEM);
            assert_string_equal(config->options.client_name, "old");
            assert_string_equal(config->options.seeds[0].host, "old");
        }
        kw_config_free(config);
        assert_int_equal(kw_test_memory_live(&memory), 0);
        assert_true(k < 1000);
    }
}

static void test_config_every_option_has_name_text_and_valid_default(void **state)
{
    (void)state;
    kw_config *config = kw_config_new(NULL);
    const char *name;
    const char *description;
    const char *value;
    size_t n = 0;
    for (; (name = kw_config_option(n, &description, &value)) != NULL; n++) {
        kw_error error = KW_ERROR_INIT;
        assert_true(description[0] != '\0');
        if (value[0] != '\0') {
            assert_int_equal(kw_config_set(config, &error, name, value), KW_OK);
        }
    }
    assert_true(n >= 19 && n < 64);
    assert_int_equal(kw_config_set(config, NULL, "stall-time", "1s"), KW_ERR_CONFIG);
    assert_int_equal(kw_config_set(config, NULL, NULL, "1s"), KW_ERR_CONFIG);
    kw_config_free(config);
    kw_config_free(NULL);
}

static void test_config_later_uri_keeps_options_replaces_servers(void **state)
{
    (void)state;
    kw_config *config = config_of("redis://a:1?timeout=9s");
    assert_int_equal(kw_config_set_uri(config, NULL, "redis-cluster://b:2"), KW_OK);
    assert_int_equal(config->options.timeout_ms, 9000);
    assert_int_equal(config->options.seeds_n, 1);
    assert_string_equal(config->options.seeds[0].host, "b");
    kw_config_free(config);
}

static void test_uri_without_a_login_keeps_the_one_that_was_set(void **state)
{
    (void)state;
    kw_config *config = kw_config_new(NULL);
    assert_int_equal(kw_config_set(config, NULL, "password", "secret"), KW_OK);
    assert_int_equal(kw_config_set_uri(config, NULL, "redis://user@h"), KW_OK);
    assert_string_equal(config->options.user, "user");
    assert_string_equal(config->options.password, "secret");
    assert_int_equal(kw_config_set_uri(config, NULL, "redis://:other@h"), KW_OK);
    assert_string_equal(config->options.user, "user");
    assert_string_equal(config->options.password, "other");
    assert_int_equal(kw_config_set(config, NULL, "user", ""), KW_OK);
    assert_null(config->options.user);
    kw_config_free(config);
}

/* The greeting names a user by AUTH alone: without a password the default one would be logged in.
 */
static void test_open_user_without_a_password_is_refused(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "redis://bob@h",
        "redis://bob:@h",
        "redis-cluster://h?user=bob",
        "redis-sentinel://:p@h/name?sentinel-user=bob",
    };
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_open(uris[i], &error));
        assert_int_equal(error.code, KW_ERR_CONFIG);
        says(&error, uris[i], i == 3 ? "sentinel-password" : "password");
    }
    kw_client *client = kw_open("redis://bob:p@h?sentinel-password=p", NULL);
    assert_non_null(client);
    kw_close(client);
}

/* Whether a cluster has more than one is its servers' to say. */
static void test_config_database_on_a_cluster_is_taken(void **state)
{
    (void)state;
    kw_config *config = config_of("redis-cluster://h/1");
    assert_int_equal(config->options.database, 1);
    assert_int_equal(kw_config_set(config, NULL, "db", "3"), KW_OK);
    assert_int_equal(config->options.database, 3);
    kw_config_free(config);
}

/* Changed bytes are taken whole or refused whole, with a text. */
static void test_uri_random_changes_are_taken_or_refused_whole(void **state)
{
    (void)state;
    static const char whole[] = "redis-cluster://u:p%41@[::1]:7000,h:7001/0?timeout=5s&"
                                "address-map=a:1>b:2&pool-max=3";
    static const char bytes[] = ":/?#[]@&=%,>.0a\x01 ";
    kw_random random;
    kw_random_init(&random, kw_test_seed("uri"));
    for (int round = 0; round < 3000; round++) {
        char text[sizeof(whole)];
        memcpy(text, whole, sizeof(whole));
        for (uint64_t n = 1 + kw_random_below(&random, 3); n > 0; n--) {
            text[kw_random_below(&random, sizeof(whole) - 1)] =
                bytes[kw_random_below(&random, sizeof(bytes) - 1)];
        }
        kw_config *config = kw_config_new(NULL);
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_config_set_uri(config, &error, text);
        assert_int_equal(error.code, code);
        assert_int_equal(config->options.seeds_n == 0, code != KW_OK);
        assert_int_equal(error.text[0] == '\0', code == KW_OK);
        kw_config_free(config);
    }
}

static void test_config_server_is_an_option(void **state)
{
    (void)state;
    kw_config *config = kw_config_new(NULL);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_config_set(config, &error, "server", "h:7"), KW_OK);
    assert_string_equal(config->options.seeds[0].host, "h");
    assert_int_equal(kw_config_set(config, &error, "timeout", "3s"), KW_OK);
    assert_int_equal(kw_config_set(config, &error, "server", "redis-cluster://a:1,b:2"), KW_OK);
    assert_int_equal(config->options.scheme, KW_SCHEME_CLUSTER);
    assert_int_equal(config->options.seeds_n, 2);
    assert_int_equal(config->options.timeout_ms, 3000);
    assert_int_equal(kw_config_set(config, &error, "server", "redis-cluster://a:x"), KW_ERR_CONFIG);
    says(&error, "server", "port");
    assert_int_equal(config->options.seeds_n, 2);
    assert_int_equal(kw_config_set(config, &error, "server", ""), KW_OK);
    assert_null(kw_open_config(config, &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
    kw_config_free(config);
}

static void test_config_ring_has_unix_sockets_as_members(void **state)
{
    (void)state;
    kw_config *config =
        config_of("redis-ring://a=%2Frun%2Fa.sock*2,b=%2Frun%2Fb.sock;zone=z,c=h:1");
    const kw_ring_members *members = &config->options.ring_members;
    assert_int_equal(members->n, 3);
    assert_string_equal(members->members[0].server.host, "/run/a.sock");
    assert_int_equal(members->members[0].server.port, 0);
    assert_int_equal(members->members[0].weight, 2);
    assert_string_equal(members->members[1].server.host, "/run/b.sock");
    assert_string_equal(members->members[1].zone, "z");
    assert_int_equal(members->members[2].server.port, 1);
    kw_client *client = kw_open_config(config, NULL);
    assert_non_null(client);
    kw_close(client);
    kw_config_free(config);
}

static void test_uri_escape_makes_a_part_of_every_byte(void **state)
{
    (void)state;
    char all[256];
    char escaped[3 * sizeof(all) + 1];
    char uri[sizeof(escaped) + 40];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (char)i;
    }
    size_t len = kw_uri_escape(escaped, sizeof(escaped), all + 1, 255);
    assert_int_equal(len, strlen(escaped));
    snprintf(uri, sizeof(uri), "redis://u:%s@h", escaped);
    kw_config *config = config_of(uri);
    assert_int_equal(strlen(config->options.password), 255);
    assert_memory_equal(config->options.password, all + 1, 255);
    kw_config_free(config);
    char small[4] = "xyz";
    assert_int_equal(kw_uri_escape(small, 3, "@", 1), 3);
    assert_string_equal(small, "");
    assert_int_equal(kw_uri_escape(small, 4, "@", 1), 3);
    assert_string_equal(small, "%40");
    assert_int_equal(kw_uri_escape(NULL, 0, "a b", 3), 5);
    assert_int_equal(kw_uri_escape(small, 4, NULL, 0), 0);
    assert_string_equal(small, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri_good_ones_give_servers),
        cmocka_unit_test(test_uri_login_database_and_query_are_options),
        cmocka_unit_test(test_uri_of_sentinels_has_a_name_and_a_login_of_their_own),
        cmocka_unit_test(test_uri_member_with_a_service_is_a_sentinel_group),
        cmocka_unit_test(test_uri_members_of_a_ring_have_names_weights_zones_and_replicas),
        cmocka_unit_test(test_uri_bad_ones_name_what_and_where),
        cmocka_unit_test(test_uri_error_never_shows_the_password),
        cmocka_unit_test(test_uri_cut_anywhere_is_taken_or_refused_whole),
        cmocka_unit_test(test_uri_each_allocation_failing_changes_nothing),
        cmocka_unit_test(test_uri_without_a_login_keeps_the_one_that_was_set),
        cmocka_unit_test(test_open_user_without_a_password_is_refused),
        cmocka_unit_test(test_uri_random_changes_are_taken_or_refused_whole),
        cmocka_unit_test(test_config_database_on_a_cluster_is_taken),
        cmocka_unit_test(test_config_every_option_has_name_text_and_valid_default),
        cmocka_unit_test(test_config_later_uri_keeps_options_replaces_servers),
        cmocka_unit_test(test_config_server_is_an_option),
        cmocka_unit_test(test_config_ring_has_unix_sockets_as_members),
        cmocka_unit_test(test_uri_escape_makes_a_part_of_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
