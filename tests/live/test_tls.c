/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS: who is believed and who is not, on real servers; and its refusal where it is not in the
 * build. Shared out to four parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/batch.h>
#include <keyway/config.h>
#include <keyway/loop.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"
#include "support/ask.h"
#include "support/certs.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/fake.h"
#include "support/far.h"
#include "support/group.h"
#include "support/parts.h"
#include "support/program.h"
#include "support/relay.h"
#include "support/server.h"
#include "support/turn.h"
#include "support/ways.h"

/* How late the machine may be at most, in milliseconds. */
#define SLACK_MS 1000

static const char *const sealed_schemes[] = {
    "rediss://h",          "valkeys://h",           "rediss-cluster://h",
    "valkeys-cluster://h", "rediss-sentinel://h/m", "valkeys-sentinel://h/m",
    "rediss-ring://a=h",   "valkeys-ring://a=h",
};

static void test_schemes_are_known_or_refused_clearly(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sealed_schemes) / sizeof(sealed_schemes[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        kw_config *config = kw_test_config_new(NULL);
        assert_non_null(config);
        kw_err code = kw_config_set_uri(config, &error, sealed_schemes[i]);
        assert_int_equal(code, kw_tls_is_built() ? KW_OK : KW_ERR_UNSUPPORTED);
        if (code != KW_OK) {
            assert_non_null(strstr(error.text, "without TLS"));
            assert_non_null(strstr(error.text, "hiredis_ssl"));
        }
        code = kw_config_set(config, &error, "sentinel-tls", "on");
        assert_int_equal(code, kw_tls_is_built() ? KW_OK : KW_ERR_UNSUPPORTED);
        assert_int_equal(kw_config_set(config, &error, "tls-verify", "some"), KW_ERR_CONFIG);
        assert_int_equal(kw_config_set(config, &error, "sentinel-tls", "some"), KW_ERR_CONFIG);
        kw_config_free(config);
    }
}

static void test_certificates_without_tls_are_an_error(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_test_try_open("redis://127.0.0.1:1?tls-ca=/nowhere", &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
    assert_non_null(strstr(error.text, "rediss"));
}

/* What follows needs the build and the command. */
static kw_test_certs *certs_of(void **state)
{
    return *state;
}

static kw_test_server *start_server(const kw_test_certs *certs, const char *name, const char *more)
{
    char config[2000];
    kw_test_certs_config(certs, config, sizeof(config), name, more);
    return kw_test_server_start(config);
}

#define FREELY "tls-auth-clients no\n"

static kw_client *open_sealed(const kw_test_certs *certs, const char *host, unsigned port,
                              const char *options)
{
    return kw_test_open("rediss://%s:%u?tls-ca=%s&%s", host, port,
                        kw_test_certs_path(certs, "ca", false), options);
}

static void assert_works(kw_client *client)
{
    kw_test_ask_ok(client, "SET sealed yes");
    char *text = kw_test_ask_text(client, "GET sealed");
    assert_string_equal(text, "yes");
    free(text);
    kw_close(client);
}

static void assert_refused(kw_client *client, const char *says)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(client, &error, "SET sealed no");
    if (reply != NULL || error.code != KW_ERR_HANDSHAKE || strstr(error.text, says) == NULL) {
        fprintf(stderr, "%s wanted: %s, %s\n", says, kw_err_name(error.code), error.text);
    }
    assert_null(reply);
    assert_int_equal(error.code, KW_ERR_HANDSHAKE);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, says));
    kw_close(client);
}

static void test_good_certificate_is_believed(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    unsigned port = kw_test_server_tls_port(server);
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s"));
    assert_works(open_sealed(certs, "localhost", port, "timeout=10s"));
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s&tls-server-name=localhost"));
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s&share-above=0"));
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s&client-name=me&db=3"));
    kw_test_server_free(server);
}

/* Waiting does not mend a certificate: calls end long before their deadline. */
#define AT_ONCE_MS 2000

static void assert_refused_at_once(kw_client *client, const char *says)
{
    uint64_t start_ms = kw_test_now_ms();
    assert_refused(client, says);
    assert_in_range(kw_test_now_ms() - start_ms, 0, AT_ONCE_MS * KW_TEST_SLOWNESS);
}

/* Refused at once by each way to a first connection: seeds of a cluster, a member of a ring. */
static void assert_schemes_refuse_at_once(const kw_test_certs *certs, unsigned port,
                                          const char *says)
{
    static const char *const uris[] = {"rediss-cluster://127.0.0.1:%u?timeout=20s&tls-ca=%s",
                                       "rediss-ring://a=127.0.0.1:%u?timeout=20s&tls-ca=%s"};
    for (size_t i = 0; i < 2; i++) {
        assert_refused_at_once(kw_test_open(uris[i], port, kw_test_certs_path(certs, "ca", false)),
                               says);
    }
}

static void test_bad_certificates_are_refused(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    static const char brief[] = "timeout=20s";
    kw_test_server *server = start_server(certs, "stranger", FREELY);
    unsigned port = kw_test_server_tls_port(server);
    assert_refused_at_once(open_sealed(certs, "127.0.0.1", port, brief), "tls-ca");
    assert_refused_at_once(open_sealed(certs, "127.0.0.1", port, "timeout=20s&tls-verify=ca"),
                           "tls-ca");
    assert_schemes_refuse_at_once(certs, port, "tls-ca");
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s&tls-verify=none"));
    kw_test_server_free(server);
    server = start_server(certs, "elsewhere", FREELY);
    port = kw_test_server_tls_port(server);
    assert_refused_at_once(open_sealed(certs, "127.0.0.1", port, brief), "tls-server-name");
    assert_refused_at_once(open_sealed(certs, "localhost", port, brief), "tls-server-name");
    assert_schemes_refuse_at_once(certs, port, "tls-server-name");
    assert_works(open_sealed(certs, "127.0.0.1", port, "timeout=10s&tls-verify=ca"));
    assert_works(
        open_sealed(certs, "127.0.0.1", port, "timeout=10s&tls-server-name=elsewhere.example"));
    kw_test_server_free(server);
    server = start_server(certs, "expired", FREELY);
    port = kw_test_server_tls_port(server);
    assert_refused_at_once(open_sealed(certs, "127.0.0.1", port, brief), "expired");
    assert_refused_at_once(open_sealed(certs, "127.0.0.1", port, "timeout=20s&tls-verify=ca"),
                           "expired");
    assert_int_equal(kw_test_server_integer(server, "EXISTS sealed"), 0);
    kw_test_server_free(server);
}

static void test_client_certificate_opens_the_door(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", "tls-auth-clients yes\n");
    unsigned port = kw_test_server_tls_port(server);
    assert_refused(open_sealed(certs, "127.0.0.1", port, "timeout=500ms"), "tls-cert");
    assert_works(kw_test_open("rediss://127.0.0.1:%u?tls-ca=%s&tls-cert=%s&tls-key=%s&timeout=10s",
                              port, kw_test_certs_path(certs, "ca", false),
                              kw_test_certs_path(certs, "client", false),
                              kw_test_certs_path(certs, "client", true)));
    kw_test_server_free(server);
}

static void test_wrong_files_are_named_at_once(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    static const char *const options[][2] = {
        {"tls-ca=/nowhere/ca.pem", "tls-ca"},
        {"tls-cert=/nowhere/a.pem&tls-key=/nowhere/a.key", "tls-cert"},
        {"tls-cert=/nowhere/a.pem", "both tls-cert and tls-key"},
        {"tls-key=/nowhere/a.key", "both tls-cert and tls-key"},
    };
    (void)certs;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        char uri[200];
        snprintf(uri, sizeof(uri), "rediss://127.0.0.1:1?%s", options[i][0]);
        assert_null(kw_test_try_open(uri, &error));
        assert_int_equal(error.code, KW_ERR_CONFIG);
        assert_non_null(strstr(error.text, options[i][1]));
    }
}

static void test_plain_and_sealed_do_not_mix(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    kw_error error = KW_ERROR_INIT;
    assert_refused(open_sealed(certs, "127.0.0.1", kw_test_server_port(server), "timeout=800ms"),
                   "TLS");
    kw_client *client =
        kw_test_open("redis://127.0.0.1:%u?timeout=800ms", kw_test_server_tls_port(server));
    assert_null(kw_command(client, &error, "SET sealed no"));
    assert_true(error.code == KW_ERR_CONNECT || error.code == KW_ERR_PROTOCOL);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "rediss://"));
    kw_close(client);
    assert_int_equal(kw_test_server_integer(server, "EXISTS sealed"), 0);
    kw_test_server_free(server);
}

static void test_silent_handshake_ends_with_the_deadline(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_fake *fake = kw_fake_start();
    kw_fake_on_accept(fake, KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_DEAF));
    uint64_t start_ms = kw_test_now_ms();
    assert_refused(open_sealed(certs, "127.0.0.1", kw_fake_port(fake), "timeout=400ms"), "TLS");
    uint64_t took_ms = kw_test_now_ms() - start_ms;
    assert_in_range(took_ms, 300, 400 + SLACK_MS * KW_TEST_SLOWNESS);
    kw_fake_free(fake);
}

#define LARGE_LEN ((size_t)8 << 20)

static void assert_large_value_passes(kw_client *client)
{
    char *value = malloc(LARGE_LEN);
    assert_non_null(value);
    for (size_t i = 0; i < LARGE_LEN; i++) {
        value[i] = (char)(i * 31 >> 5);
    }
    size_t lens[] = {1, 16383, 16384, 16385, 65536, 1000003, LARGE_LEN};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        size_t len;
        kw_test_ask_ok(client, "SET large %b", value, lens[i]);
        kw_reply *reply = kw_test_ask(client, "GET large");
        assert_non_null(kw_reply_str(reply, &len));
        assert_int_equal(len, lens[i]);
        assert_memory_equal(kw_reply_str(reply, NULL), value, len);
        kw_reply_free(reply);
    }
    free(value);
    kw_close(client);
}

static void test_large_values_pass_in_both_directions(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    unsigned port = kw_test_server_tls_port(server);
    assert_large_value_passes(open_sealed(certs, "127.0.0.1", port, "timeout=60s"));
    kw_test_relay *relay = kw_test_relay_start((uint16_t)port);
    assert_large_value_passes(kw_test_open("rediss://%s?timeout=60s&tls-ca=%s",
                                           kw_test_relay_address(relay),
                                           kw_test_certs_path(certs, "ca", false)));
    kw_test_relay_free(relay);
    kw_test_server_free(server);
}

static void test_batch_of_many_commands(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    kw_client *client =
        open_sealed(certs, "127.0.0.1", kw_test_server_tls_port(server), "timeout=60s");
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(kw_batch_add(batch, &error, "ECHO %d:%0100d", i, i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    for (size_t i = 0; i < 20000; i++) {
        const char *text = kw_reply_str(kw_batch_reply(batch, &error, i), NULL);
        assert_non_null(text);
        assert_int_equal(strtoul(text, NULL, 10), i);
    }
    kw_batch_free(batch);
    kw_close(client);
    kw_test_server_free(server);
}

enum { THREADS_N = 8, TURNS_N = 2000 };

typedef struct worker {
    kw_client *client;
    unsigned number;
    unsigned wrong_n;
} worker;

static void *work(void *arg)
{
    worker *self = arg;
    for (unsigned i = 0; i < TURNS_N; i++) {
        kw_error error = KW_ERROR_INIT;
        char want[400];
        snprintf(want, sizeof(want), "%u:%0*u", self->number, (int)(i % 300) + 1, i);
        kw_reply *reply = kw_command(self->client, &error, "ECHO %s", want);
        const char *text = kw_reply_str(reply, NULL);
        self->wrong_n += text == NULL || strcmp(text, want) != 0 ? 1 : 0;
        kw_reply_free(reply);
    }
    return NULL;
}

/* All share one connection: one seals while another one opens. */
static void test_threads_share_a_sealed_connection(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    kw_client *client = open_sealed(certs, "127.0.0.1", kw_test_server_tls_port(server),
                                    "timeout=60s&share-above=0");
    worker workers[THREADS_N];
    pthread_t threads[THREADS_N];
    for (unsigned i = 0; i < THREADS_N; i++) {
        workers[i] = (worker){client, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS_N; i++) {
        kw_test_join(threads[i]);
        assert_int_equal(workers[i].wrong_n, 0);
    }
    kw_close(client);
    kw_test_server_free(server);
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    size_t *done_n = arg;
    (void)error;
    *done_n += kw_reply_str(reply, NULL) != NULL ? 1 : 0;
    kw_reply_free(reply);
}

static void test_event_loop_drives_sealed_connections(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    kw_client *client =
        open_sealed(certs, "127.0.0.1", kw_test_server_tls_port(server), "timeout=30s");
    kw_error error = KW_ERROR_INIT;
    size_t done_n = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(
            kw_command_async(client, &error, (kw_callback){on_reply, &done_n}, "ECHO %0300d", i),
            KW_OK);
    }
    size_t turns = 0;
    uint64_t end_ms = kw_test_now_ms() + 30000;
    while (done_n < 1000 && kw_test_now_ms() < end_ms) {
        assert_int_equal(kw_test_turn(client, 1000), KW_OK);
        turns++;
    }
    assert_int_equal(done_n, 1000);
    assert_in_range(turns, 1, 20000); /* it waits in poll, also while it shakes hands */
    kw_close(client);
    kw_test_server_free(server);
}

static void test_lost_server_is_found_again(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *server = start_server(certs, "good", FREELY);
    kw_client *client =
        open_sealed(certs, "127.0.0.1", kw_test_server_tls_port(server), "timeout=20s");
    int fds_n = 0;
    for (unsigned i = 0; i < 3; i++) {
        kw_test_ask_ok(client, "SET a 1");
        fds_n = i == 0 ? kw_test_fd_count() : fds_n;
        kw_test_server_restart(server);
    }
    kw_test_ask_ok(client, "SET a 1");
    assert_in_range(kw_test_fd_count(), 1, fds_n); /* none is left behind */
    kw_close(client);
    kw_test_server_free(server);
}

static void test_cluster_speaks_tls_everywhere(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    char config[2000];
    kw_test_certs_config(certs, config, sizeof(config), "good",
                         FREELY "tls-cluster yes\ntls-replication yes\n");
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, config);
    kw_test_server *node = kw_test_cluster_node(cluster, 0);
    kw_client *client =
        kw_test_open("rediss-cluster://127.0.0.1:%u?timeout=20s&tls-ca=%s",
                     kw_test_server_tls_port(node), kw_test_certs_path(certs, "ca", false));
    kw_test_ask_ok(client, "MSET a 1 b 2 c 3 d 4");
    kw_reply *reply = kw_test_ask(client, "MGET a b c d");
    assert_int_equal(kw_reply_count(reply), 4);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 3), NULL), "4");
    kw_reply_free(reply);
    unsigned slot = kw_test_cluster_slot(cluster, "x");
    kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
    kw_test_cluster_move(cluster, slot, slot, kw_test_cluster_node(cluster, owner == node ? 1 : 0));
    kw_test_ask_ok(client, "SET x 5"); /* MOVED names a port of TLS */
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 5);
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.connect_failures, 0);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

static size_t add_pair(char *text, size_t len, size_t at, const kw_test_server *server)
{
    return at + (size_t)snprintf(text + at, len - at, "%s127.0.0.1:%u>127.0.0.1:%u",
                                 at > 0 ? "," : "", kw_test_server_port(server),
                                 kw_test_server_tls_port(server));
}

/* The group itself speaks of plain ports, so that an address map leads to the others. */
static void test_sentinel_and_servers_speak_tls(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    char config[2000];
    char map[800] = "";
    size_t at = 0;
    kw_test_certs_config(certs, config, sizeof(config), "good", FREELY);
    kw_test_group *group = kw_test_group_start(1, config, config);
    unsigned port = kw_test_server_tls_port(kw_test_group_sentinel(group, 0));
    const char *ca = kw_test_certs_path(certs, "ca", false);
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        at = add_pair(map, sizeof(map), at, kw_test_group_sentinel(group, i));
    }
    /* Sentinels alone. */
    assert_works(kw_test_open("redis-sentinel://127.0.0.1:%u/mymaster?timeout=20s&sentinel-tls=on"
                              "&tls-ca=%s&address-map=%s",
                              port, ca, map));
    for (size_t i = 0; i < kw_test_group_count(group); i++) {
        at = add_pair(map, sizeof(map), at, kw_test_group_server(group, i));
    }
    kw_client *client =
        kw_test_open("rediss-sentinel://127.0.0.1:%u/mymaster?timeout=20s&tls-ca=%s&address-map=%s",
                     port, ca, map);
    kw_test_ask_ok(client, "SET before 1");
    uint64_t promoted_ns;
    kw_test_group_failover(group, &promoted_ns);
    uint64_t end_ms = kw_test_now_ms() + 20000;
    while (kw_test_stats(client).map_changes < 2 && kw_test_now_ms() < end_ms) {
        kw_test_ask_ok(client, "SET behind 1");
        kw_test_sleep_ms(10);
    }
    assert_true(kw_test_stats(client).map_changes >= 2);
    kw_close(client);
    kw_test_group_free(group);
}

static void test_ring_speaks_tls(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    kw_test_server *a = start_server(certs, "good", FREELY);
    kw_test_server *b = start_server(certs, "good", FREELY);
    kw_client *client =
        kw_test_open("rediss-ring://a=127.0.0.1:%u,b=localhost:%u?timeout=20s&tls-ca=%s",
                     kw_test_server_tls_port(a), kw_test_server_tls_port(b),
                     kw_test_certs_path(certs, "ca", false));
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET key:%d %d", i, i);
    }
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 50);
    assert_in_range(kw_test_server_integer(a, "DBSIZE"), 1, 49);
    kw_close(client);
    kw_test_server_free(a);
    kw_test_server_free(b);
}

enum { FAR_NODES = 3, FAR_FORMS = 3 };

/* The relays to the servers' ports of TLS, and the address map that leads through them. */
typedef struct far_servers {
    kw_test_far *fars[FAR_NODES];
    char map[400];
} far_servers;

static void put_far(far_servers *self, kw_test_cluster *cluster, unsigned trip_ms)
{
    memset(self, 0, sizeof(*self));
    for (unsigned i = 0; i < FAR_NODES; i++) {
        unsigned port = kw_test_server_tls_port(kw_test_cluster_node(cluster, i));
        self->fars[i] = kw_test_far_start((uint16_t)port, trip_ms);
        size_t at = strlen(self->map);
        snprintf(self->map + at, sizeof(self->map) - at, "%s127.0.0.1:%u>%s", i > 0 ? "," : "",
                 port, kw_test_far_address(self->fars[i]));
    }
}

/* A handle of the form with that number, by the scheme and the seed that belong to it. */
static kw_client *open_far(const kw_test_certs *certs, const far_servers *servers, size_t form)
{
    static const char *const formats[FAR_FORMS] = {
        "rediss-cluster://:sesame@%s", "rediss://:sesame@%s", "rediss-ring://:sesame@a=%s"};
    char uri[100];
    snprintf(uri, sizeof(uri), formats[form], kw_test_far_address(servers->fars[0]));
    return kw_test_open("%s?timeout=5s&tls-ca=%s&address-map=%s", uri,
                        kw_test_certs_path(certs, "ca", false), servers->map);
}

/* Connecting, the handshake, the login, the map and the command: one call's time is enough for all
 * of them, two calls' where each journey takes a sixth of it. */
static void test_far_servers_are_reached_by_tls(void **state)
{
    static const struct {
        unsigned trip_ms;
        unsigned calls_max;
    } rows[] = {{150, 1}, {300, 1}, {800, 2}};
    const kw_test_certs *certs = certs_of(state);
    char config[2000];
    kw_test_certs_config(certs, config, sizeof(config), "good",
                         FREELY "tls-cluster yes\ntls-replication yes\nrequirepass sesame\n"
                                "masterauth sesame\n");
    kw_test_cluster *cluster = kw_test_cluster_start(FAR_NODES, 0, 0, config);
    unsigned slot = kw_test_cluster_slot(cluster, "foo");
    kw_test_server *first = kw_test_cluster_node(cluster, 0);
    if (kw_test_cluster_owner(cluster, slot) != first) {
        kw_test_cluster_move(cluster, slot, slot, first);
    }
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        far_servers servers;
        kw_client *clients[FAR_FORMS * KW_TEST_WAYS_N];
        char where[40];
        put_far(&servers, cluster, rows[row].trip_ms);
        for (size_t i = 0; i < FAR_FORMS * KW_TEST_WAYS_N; i++) {
            clients[i] = open_far(certs, &servers, i / KW_TEST_WAYS_N);
        }
        snprintf(where, sizeof(where), "%u ms away", rows[row].trip_ms);
        kw_test_send_all(clients, FAR_FORMS * KW_TEST_WAYS_N, rows[row].calls_max, where);
        for (size_t i = 0; i < FAR_NODES; i++) {
            kw_test_far_free(servers.fars[i]);
        }
    }
    kw_test_cluster_free(cluster);
}

/* keyway check, with a URI of the server; what it prints. */
static const char *run_check(const kw_test_certs *certs, const char *scheme, unsigned port,
                             int status)
{
    static kw_program_run run;
    char line[600];
    snprintf(line, sizeof(line), "-u %s127.0.0.1:%u?timeout=10s&tls-ca=%s check --json", scheme,
             port, kw_test_certs_path(certs, "ca", false));
    kw_program_run_line(&run, false, NULL, line);
    if (run.status != status) {
        fail_msg("%s ends with %d: %s%s", line, run.status, run.out, run.err);
    }
    return run.out;
}

static void expect_told(const char *told, const char *what)
{
    if (strstr(told, what) == NULL) {
        fail_msg("no %s in %s", what, told);
    }
}

static void test_check_finds_tls_that_is_refused(void **state)
{
    const kw_test_certs *certs = certs_of(state);
    static const char *const names[] = {"stranger", "elsewhere", "expired"};
    static const char *const says[] = {"tls-ca", "tls-server-name", "expired"};
    static const char *const schemes[] = {"rediss://", "rediss-cluster://", "rediss-ring://a="};
    for (size_t i = 0; i < 3; i++) {
        kw_test_server *server = start_server(certs, names[i], FREELY);
        unsigned port = kw_test_server_tls_port(server);
        for (size_t k = 0; k < 3; k++) {
            const char *told = run_check(certs, schemes[k], port, 1);
            expect_told(told, "{\"state\":\"fault\",\"check\":\"tls\"");
            expect_told(told, says[i]);
        }
        kw_test_server_free(server);
    }
    /* One who wants a certificate of ours; one whose port is not for TLS; and one who is well. */
    kw_test_server *server = start_server(certs, "good", "");
    expect_told(run_check(certs, "rediss://", kw_test_server_tls_port(server), 1), "\"tls\"");
    kw_test_server_free(server);
    server = start_server(certs, "good", FREELY);
    expect_told(run_check(certs, "rediss://", kw_test_server_port(server), 1), "\"tls\"");
    (void)run_check(certs, "rediss://", kw_test_server_tls_port(server), 0);
    kw_test_server_free(server);
}

static int make_certs(void **state)
{
    static kw_test_certs certs;
    *state = &certs;
    return kw_test_certs_make(&certs) ? 0 : -1;
}

static int remove_certs(void **state)
{
    kw_test_certs_remove(*state);
    return 0;
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemes_are_known_or_refused_clearly),
        cmocka_unit_test(test_certificates_without_tls_are_an_error),
    };
    const struct CMUnitTest sealed[] = {
        cmocka_unit_test(test_good_certificate_is_believed),
        cmocka_unit_test(test_bad_certificates_are_refused),
        cmocka_unit_test(test_client_certificate_opens_the_door),
        cmocka_unit_test(test_wrong_files_are_named_at_once),
        cmocka_unit_test(test_plain_and_sealed_do_not_mix),
        cmocka_unit_test(test_silent_handshake_ends_with_the_deadline),
        cmocka_unit_test(test_large_values_pass_in_both_directions),
        cmocka_unit_test(test_batch_of_many_commands),
        cmocka_unit_test(test_threads_share_a_sealed_connection),
        cmocka_unit_test(test_event_loop_drives_sealed_connections),
        cmocka_unit_test(test_lost_server_is_found_again),
        cmocka_unit_test(test_cluster_speaks_tls_everywhere),
        cmocka_unit_test(test_sentinel_and_servers_speak_tls),
        cmocka_unit_test(test_ring_speaks_tls),
        cmocka_unit_test(test_far_servers_are_reached_by_tls),
        cmocka_unit_test(test_check_finds_tls_that_is_refused),
    };
    int failed_n = KW_TEST_RUN_SHARE(tests, NULL, NULL);
    if (!kw_tls_is_built() || system("openssl version > /dev/null 2>&1") != 0) {
        fputs("TLS is not tested against servers: it is not in this build, or there is no openssl "
              "command\n",
              stderr);
        return failed_n;
    }
    return failed_n + KW_TEST_RUN_SHARE(sealed, make_certs, remove_certs);
}

int main(int argc, char **argv)
{
    (void)argc;
    kw_program_find(argv[0]);
    return kw_test_parts(argv, 4, run);
}
