/* SPDX-License-Identifier: BSD-3-Clause */
/* The twemproxy placements against twemproxy itself: nutcracker in front of real servers,
 * keys written through the one and read through the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <keyway/members.h>

#include "base/random.h"
#include "support/ask.h"
#include "support/keeper.h"
#include "support/server.h"
#include "unit/ring_make.h"

enum { SERVERS_N = 4, NODES_MAX = 25, KEYS_N = 2000, KEY_MAX = 64 };

/* A pool of nutcracker. Node i runs on server i modulo SERVERS_N. */
typedef struct pool {
    const char *placement;
    const char *settings; /* lines of the configuration, each ended by a newline */
    const char *nodes;    /* "weight" or "weight:name" of each; other marks before it: '0', a
                             zero before its port, '/', its Unix socket */
} pool;

static const pool pools[] = {
    {"twemproxy", "", "1 1 1"},
    {"twemproxy:ketama:fnv1a_64", "  hash: fnv1a_64\n  distribution: ketama\n", "1 3 2 7"},
    {"twemproxy:ketama:md5", "  hash: md5\n", "1:alpha 3:b 2:gamma-node"},
    {"twemproxy:ketama:one_at_a_time/tag", "  hash: one_at_a_time\n  hash_tag: \"{}\"\n",
     "1 1 1 1"},
    {"twemproxy:ketama:murmur/tag:$$", "  hash: murmur\n  hash_tag: \"$$\"\n", "7:a 13:b 5:c 29:d"},
    {"twemproxy:ketama:jenkins/tag:<>", "  hash: jenkins\n  hash_tag: \"<>\"\n", "/1 /2 /1"},
    {"twemproxy:ketama:crc16", "  hash: crc16\n", "01 1 02 1"},
    {"twemproxy:ketama:crc32", "  hash: crc32\n", "1:n1 1:n2 1:n3"},
    {"twemproxy:ketama:crc32a", "  hash: crc32a\n", "100 1 17 3"},
    {"twemproxy:ketama:fnv1_64", "  hash: fnv1_64\n",
     "1:a 1:b 1:c 1:d 1:e 1:f 1:g 1:h 1:i 1:j 1:k 1:l 1:m 1:n 1:o 1:p 1:q 1:r 1:s 1:t 1:u 1:v 1:w "
     "1:x 1:y"},
    {"twemproxy:ketama:fnv1_32", "  hash: fnv1_32\n", "113:a 7:b 999:c 41:dd 63:e 1:f 350:g"},
    {"twemproxy:ketama:fnv1a_32", "  hash: fnv1a_32\n", "2 1"},
    {"twemproxy:modula:fnv1a_64", "  distribution: modula\n", "1 1 1"},
    {"twemproxy:modula:crc32a/tag", "  hash: crc32a\n  distribution: modula\n  hash_tag: \"{}\"\n",
     "2:zz 1:a 3:m"},
    {"twemproxy:modula:md5", "  hash: md5\n  distribution: modula\n", "5 1 1 3"},
    {"twemproxy:ketama:md5", "  hash: md5\n", "1"},
    /* The last one loses a server. */
    {"twemproxy:ketama:md5",
     "  hash: md5\n  auto_eject_hosts: true\n  server_failure_limit: 1\n"
     "  server_retry_timeout: 600000\n",
     "1:a 5:b 2:c 3:d"},
};

enum { POOLS_N = sizeof(pools) / sizeof(pools[0]) };

static kw_test_server *servers[SERVERS_N];
static redisContext *direct[SERVERS_N];
static uint16_t ports[POOLS_N];
static pid_t proxy;

/* Bytes of keys on this machine, as nutcracker compiled for it has them. */
static void full_placement(char out[80], const pool *p)
{
    snprintf(out, 80, "%s%s", p->placement, CHAR_MIN < 0 ? "" : "/unsigned");
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        kw_test_die("no free port: %s", strerror(errno));
    }
    close(fd);
    return ntohs(address.sin_port);
}

/* The line of node number index in nutcracker's configuration. */
static void node_line(char out[300], const char *spec, unsigned index)
{
    const kw_test_server *server = servers[index % SERVERS_N];
    char weight[16];
    char name[32] = "";
    const char *zero = spec[0] == '0' ? "0" : "";
    bool is_path = spec[0] == '/';
    sscanf(spec + strspn(spec, "0/"), "%15[0-9]:%31s", weight, name);
    if (is_path) {
        snprintf(out, 300, "%s:%s%s%s", kw_test_server_socket(server), weight, name[0] ? " " : "",
                 name);
    } else {
        snprintf(out, 300, "127.0.0.1:%s%u:%s%s%s", zero, kw_test_server_port(server), weight,
                 name[0] ? " " : "", name);
    }
}

/* Calls with each word of the pool's nodes. */
static unsigned split_nodes(char words[NODES_MAX][32], const pool *p)
{
    unsigned n = 0;
    const char *at = p->nodes;
    for (int used = 0; n < NODES_MAX && sscanf(at, " %31s%n", words[n], &used) == 1; at += used) {
        n++;
    }
    return n;
}

static void write_config(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        kw_test_die("%s: %s", path, strerror(errno));
    }
    for (unsigned i = 0; i < POOLS_N; i++) {
        char words[NODES_MAX][32];
        unsigned n = split_nodes(words, &pools[i]);
        ports[i] = free_port();
        fprintf(file, "pool%u:\n  listen: 127.0.0.1:%u\n  redis: true\n  timeout: 20000\n%s", i,
                ports[i], pools[i].settings);
        fprintf(file, "  servers:\n");
        for (unsigned k = 0; k < n; k++) {
            char line[300];
            node_line(line, words[k], k);
            fprintf(file, "    - %s\n", line);
        }
    }
    fclose(file);
}

static const char *find_nutcracker(void)
{
    static char found[300];
    char places[4096];
    const char *path = getenv("PATH");
    snprintf(places, sizeof(places), "%s:/usr/sbin:/usr/local/sbin", path != NULL ? path : "");
    for (char *rest, *place = strtok_r(places, ":", &rest); place != NULL;
         place = strtok_r(NULL, ":", &rest)) {
        snprintf(found, sizeof(found), "%.280s/nutcracker", place);
        if (access(found, X_OK) == 0) {
            return found;
        }
    }
    kw_test_die("no nutcracker: install the package nutcracker (Debian, Ubuntu), or twemproxy");
}

static redisContext *open_port(uint16_t port)
{
    struct timeval limit = {20, 0};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", port, limit);
    if (context != NULL && context->err == 0 && redisSetTimeout(context, limit) == REDIS_OK) {
        return context;
    }
    redisFree(context);
    return NULL;
}

static bool wait_ready(void)
{
    for (int tries = 0; tries < 500; tries++) {
        redisContext *context = open_port(ports[POOLS_N - 1]);
        if (context != NULL) {
            redisFree(context);
            return true;
        }
        if (waitpid(proxy, NULL, WNOHANG) == proxy) {
            kw_test_keeper_drop(proxy);
            return false;
        }
        kw_test_sleep_ms(20);
    }
    return false;
}

static bool start_proxy(void)
{
    char config[300];
    char log[300];
    char pid_file[300];
    char stats[8];
    const char *program = find_nutcracker();
    snprintf(config, sizeof(config), "%s/nutcracker.yml", kw_test_folder());
    snprintf(log, sizeof(log), "%s/nutcracker.log", kw_test_folder());
    snprintf(pid_file, sizeof(pid_file), "%s/nutcracker.pid", kw_test_folder());
    write_config(config);
    snprintf(stats, sizeof(stats), "%u", free_port());
    proxy = fork();
    if (proxy == 0) {
        int null_fd = open("/dev/null", O_RDWR);
        dup2(null_fd, 0);
        dup2(null_fd, 1);
        dup2(null_fd, 2);
        execl(program, program, "-c", config, "-o", log, "-p", pid_file, "-s", stats, "-a",
              "127.0.0.1", (char *)NULL);
        _exit(127);
    }
    kw_test_keeper_add(proxy);
    return wait_ready();
}

static int start_all(void **state)
{
    (void)state;
    for (int i = 0; i < SERVERS_N; i++) {
        servers[i] = kw_test_server_start(NULL);
        direct[i] = open_port(kw_test_server_port(servers[i]));
        if (direct[i] == NULL) {
            kw_test_die("no connection to a server");
        }
    }
    /* A port may be gone between its choice and its use. */
    for (int tries = 0; !start_proxy(); tries++) {
        if (tries == 3) {
            kw_test_die("nutcracker does not start");
        }
    }
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    for (int i = 0; i < SERVERS_N; i++) {
        redisFree(direct[i]);
        kw_test_server_free(servers[i]);
    }
    kill(proxy, SIGKILL);
    waitpid(proxy, NULL, 0);
    kw_test_keeper_drop(proxy);
    return 0;
}

/* The ring of a pool, and the server of each of its nodes. */
static kw_ring *ring_of_pool(unsigned server_of[NODES_MAX], const pool *p, int without)
{
    char placement[80];
    char words[NODES_MAX][32];
    unsigned n = split_nodes(words, p);
    full_placement(placement, p);
    kw_ring_change *change = ring_change(placement);
    for (unsigned i = 0; i < n; i++) {
        char line[300];
        node_line(line, words[i], i);
        assert_int_equal(kw_ring_change_add_server(change, NULL, line), KW_OK);
    }
    kw_ring *ring = ring_commit(change);
    /* Numbers follow names, so each is found by a ring of its line alone. */
    for (unsigned i = 0; i < n; i++) {
        char line[300];
        uint32_t node;
        size_t len;
        node_line(line, words[i], i);
        kw_ring_change *alone_change = ring_change(placement);
        assert_int_equal(kw_ring_change_add_server(alone_change, NULL, line), KW_OK);
        kw_ring *alone = ring_commit(alone_change);
        const char *name = kw_ring_node_name(alone, &len, 0);
        assert_int_equal(kw_ring_find(ring, &node, name, len), KW_OK);
        server_of[node] = i % SERVERS_N;
        if ((int)i == without) {
            assert_int_equal(kw_ring_change_remove(change, NULL, name, len), KW_OK);
        }
        kw_ring_unref(alone);
        kw_ring_change_free(alone_change);
    }
    if (without >= 0) {
        kw_ring *less = ring_commit(change);
        unsigned servers_before[NODES_MAX];
        memcpy(servers_before, server_of, sizeof(servers_before));
        for (uint32_t i = 0; i < kw_ring_nodes_n(less); i++) {
            uint32_t node;
            size_t len;
            const char *name = kw_ring_node_name(less, &len, i);
            assert_int_equal(kw_ring_find(ring, &node, name, len), KW_OK);
            server_of[i] = servers_before[node];
        }
        kw_ring_unref(ring);
        ring = less;
    }
    kw_ring_change_free(change);
    return ring;
}

/* Text, bytes past ASCII, zeros, and tags of all kinds; the first of a pool is empty. */
static size_t make_key(char key[KEY_MAX], kw_random *random, unsigned pool_at, unsigned number)
{
    static const char *const shapes[] = {"%u:%u",     "{%u}:%u", "a{%u:%u}b",    "$%u$:%u",
                                         "x$%u:%u$y", "<%u>%u",  "}{%u:%u}",     "{}%u:%u",
                                         "$$%u:%u",   "{%u:%u",  "<%u:%u><tag>", "%u:$a%u"};
    if (number == 0) {
        return 0;
    }
    const char *shape = shapes[kw_random_below(random, sizeof(shapes) / sizeof(shapes[0]))];
    /* The shapes take the same two numbers. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t len = (size_t)snprintf(key, KEY_MAX - 20, shape, pool_at, number);
#pragma GCC diagnostic pop
    for (uint64_t more = kw_random_below(random, 20); more > 0; more--) {
        key[len++] = (char)(unsigned char)kw_random_below(random, 256);
    }
    return len;
}

static void append(redisContext *context, const char *verb, const char *key, size_t key_len,
                   const char *value)
{
    const char *argv[3] = {verb, key, value};
    size_t lens[3] = {strlen(verb), key_len, value != NULL ? strlen(value) : 0};
    assert_int_equal(redisAppendCommandArgv(context, value != NULL ? 3 : 2, argv, lens), REDIS_OK);
}

static void expect(redisContext *context, int type, const char *text)
{
    redisReply *reply = NULL;
    assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
    if (reply->type != type || strcmp(reply->str, text) != 0) {
        fail_msg("%s instead of %s", reply->str != NULL ? reply->str : "nil", text);
    }
    freeReplyObject(reply);
}

/* Writes keys by one way and reads them by the other. */
static void cross(const kw_ring *ring, const unsigned *server_of, redisContext *through,
                  unsigned pool_at, bool by_proxy)
{
    static char keys[KEYS_N][KEY_MAX];
    static size_t lens[KEYS_N];
    static redisContext *homes[KEYS_N];
    char value[32];
    kw_random random;
    kw_random_init(&random, 1000 * pool_at + by_proxy);
    for (unsigned i = 0; i < KEYS_N; i++) {
        uint32_t node;
        lens[i] = make_key(keys[i], &random, pool_at, i);
        assert_int_equal(kw_ring_lookup(ring, &node, keys[i], lens[i]), KW_OK);
        homes[i] = direct[server_of[node]];
        snprintf(value, sizeof(value), "%u.%u.%d", pool_at, i, by_proxy);
        append(by_proxy ? through : homes[i], "SET", keys[i], lens[i], value);
    }
    for (unsigned i = 0; i < KEYS_N; i++) {
        expect(by_proxy ? through : homes[i], REDIS_REPLY_STATUS, "OK");
    }
    for (unsigned i = 0; i < KEYS_N; i++) {
        append(by_proxy ? homes[i] : through, "GET", keys[i], lens[i], NULL);
    }
    for (unsigned i = 0; i < KEYS_N; i++) {
        snprintf(value, sizeof(value), "%u.%u.%d", pool_at, i, by_proxy);
        expect(by_proxy ? homes[i] : through, REDIS_REPLY_STRING, value);
    }
}

static void test_twemproxy_pools_find_the_same_servers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < POOLS_N; i++) {
        unsigned server_of[NODES_MAX];
        kw_ring *ring = ring_of_pool(server_of, &pools[i], -1);
        redisContext *through = open_port(ports[i]);
        printf("%s, nodes %s\n", kw_ring_placement(ring), pools[i].nodes);
        fflush(stdout);
        assert_non_null(through);
        cross(ring, server_of, through, i, true);
        cross(ring, server_of, through, i, false);
        redisFree(through);
        kw_ring_unref(ring);
    }
}

/* A handle on the pool; NULL where a URI cannot name its nodes: two on one server, a path, a
 * port with a zero before it. */
static kw_client *open_pool(const pool *p, const char *tail)
{
    char uri[1000] = "redis-ring://";
    char words[NODES_MAX][32];
    char placement[80];
    kw_error error = KW_ERROR_INIT;
    unsigned n = split_nodes(words, p);
    for (unsigned i = 0; i < n && n <= SERVERS_N; i++) {
        char weight[16];
        char name[32] = "";
        if (words[i][0] == '0' || sscanf(words[i], "%15[0-9]%*1[:]%31s", weight, name) < 1) {
            return NULL;
        }
        size_t len = strlen(uri);
        snprintf(uri + len, sizeof(uri) - len, "%s%s%s127.0.0.1:%u*%s", i > 0 ? "," : "", name,
                 name[0] != '\0' ? "=" : "", kw_test_server_port(servers[i]), weight);
    }
    full_placement(placement, p);
    size_t len = strlen(uri);
    snprintf(uri + len, sizeof(uri) - len, "?placement=%s%s", placement, tail);
    kw_client *client = n <= SERVERS_N ? kw_test_try_open(uri, &error) : NULL;
    assert_true(client != NULL || n > SERVERS_N);
    return client;
}

/* Writes through the proxy what the handle then reads, and the other way round. */
static void cross_handle(kw_client *client, redisContext *through, const char *what)
{
    for (unsigned i = 0; i < 200; i++) {
        redisReply *reply = redisCommand(through, "SET %u:%s:{%u} %u", i, what, i, i);
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
        assert_int_equal(kw_test_ask_integer(client, "INCR %u:%s:{%u}", i, what, i), i + 1);
        reply = redisCommand(through, "GET %u:%s:{%u}", i, what, i);
        assert_int_equal(atoi(reply->str), i + 1);
        freeReplyObject(reply);
    }
}

static void test_twemproxy_a_handle_shares_the_keys_of_a_proxy(void **state)
{
    (void)state;
    unsigned handles_n = 0;
    for (unsigned i = 0; i < POOLS_N; i++) {
        unsigned server_of[NODES_MAX];
        kw_client *client = open_pool(&pools[i], "");
        if (client == NULL) {
            continue;
        }
        kw_ring *ring = ring_of_pool(server_of, &pools[i], -1);
        kw_ring *own = kw_client_ring(client, NULL);
        assert_true(kw_ring_fingerprint(own) == kw_ring_fingerprint(ring));
        redisContext *through = open_port(ports[i]);
        assert_non_null(through);
        cross_handle(client, through, "shared");
        redisFree(through);
        kw_ring_unref(own);
        kw_ring_unref(ring);
        kw_close(client);
        handles_n++;
    }
    assert_true(handles_n >= 8);
}

/* True where every key is answered. */
static bool all_answer(redisContext *through)
{
    unsigned good = 0;
    for (unsigned i = 0; i < 200; i++) {
        redisReply *reply = redisCommand(through, "SET eject:%u x", i);
        assert_non_null(reply);
        good += reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
    }
    return good == 200;
}

static void test_twemproxy_ejecting_a_server_equals_removing_a_node(void **state)
{
    (void)state;
    unsigned server_of[NODES_MAX];
    unsigned at = POOLS_N - 1;
    redisContext *through = open_port(ports[at]);
    assert_non_null(through);
    kw_test_server_kill(servers[1]);
    for (int tries = 0; !all_answer(through); tries++) {
        assert_true(tries < 100);
        kw_test_sleep_ms(20);
    }
    kw_ring *ring = ring_of_pool(server_of, &pools[at], 1);
    assert_int_equal(kw_ring_nodes_n(ring), 3);
    cross(ring, server_of, through, at + 1, true);
    cross(ring, server_of, through, at + 1, false);
    kw_client *client = open_pool(&pools[at], "&on-node-down=eject&down-after=1");
    KW_TEST_UNTIL(kw_test_stats(client).nodes_down > 0)
    {
        kw_reply_free(kw_command(client, NULL, "MGET 1 2 3 4 5 6 7 8 9"));
    }
    cross_handle(client, through, "ejected");
    kw_close(client);
    redisFree(through);
    kw_ring_unref(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twemproxy_pools_find_the_same_servers),
        cmocka_unit_test(test_twemproxy_a_handle_shares_the_keys_of_a_proxy),
        cmocka_unit_test(test_twemproxy_ejecting_a_server_equals_removing_a_node),
    };
    return cmocka_run_group_tests_name("twemproxy", tests, start_all, stop_all);
}
