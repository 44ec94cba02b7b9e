/* SPDX-License-Identifier: BSD-3-Clause */
/* What sentinels say of a name, and what servers say of their role. */
#include "route/topology_sentinel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "route/role.h"
#include "support/check.h"
#include "unit/reply_text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

typedef enum answer { PRIMARY, REPLICAS, PEERS, ROLE } answer;

/* A text, and what it is read as: endpoints, a role, or a part of the error. */
typedef struct row {
    answer kind;
    const char *text;
    const char *expected;
} row;

static void append_endpoint(char *out, size_t out_len, const kw_endpoint *endpoint)
{
    char text[KW_ENDPOINT_TEXT];
    kw_endpoint_text(text, endpoint);
    assert_true(strlen(out) + strlen(text) + 2 < out_len);
    strcat(out, out[0] != '\0' ? " " : "");
    strcat(out, text);
}

static kw_err read_list(answer kind, char *out, size_t out_len, kw_error *error,
                        const kw_allocator *mem, const kw_reply *reply)
{
    kw_endpoints list = {NULL, 0};
    kw_endpoint heir = {"", 0};
    kw_err code = kind == REPLICAS ? kw_topology_sentinel_replicas(&list, &heir, error, mem, reply)
                                   : kw_topology_sentinel_peers(&list, error, mem, reply);
    for (size_t i = 0; i < list.n; i++) {
        append_endpoint(out, out_len, &list.items[i]);
    }
    if (heir.host[0] != '\0') {
        strcat(out, " heir");
        append_endpoint(out, out_len, &heir);
    }
    kw_mem_free(mem, list.items);
    return code;
}

static kw_err read_answer(answer kind, char *out, size_t out_len, kw_error *error,
                          const kw_allocator *mem, const kw_reply *reply)
{
    kw_endpoint primary;
    kw_role role;
    kw_err code = KW_OK;
    out[0] = '\0';
    switch (kind) {
    case PRIMARY:
        code = kw_topology_sentinel_primary(&primary, error, reply);
        if (code == KW_OK) {
            append_endpoint(out, out_len, &primary);
        }
        break;
    case REPLICAS:
    case PEERS:
        code = read_list(kind, out, out_len, error, mem, reply);
        break;
    case ROLE:
        code = kw_role_read(&role, error, reply);
        if (code == KW_OK) {
            snprintf(out, out_len, "%s%s %lld", kw_role_name(role.kind),
                     role.is_linked ? " linked" : "", role.offset);
        }
        break;
    }
    return code;
}

static const row good[] = {
    {PRIMARY, "['10.0.0.1','6379']", "10.0.0.1:6379"},
    {PRIMARY, "['::1','65535']", "[::1]:65535"},
    {PRIMARY, "['primary.example','1']", "primary.example:1"},
    {REPLICAS, "[]", ""},
    {REPLICAS, "[['name','x','ip','a','port','1','flags','slave']]", "a:1"},
    {REPLICAS, "[{'port','1','ip','a'},['flags','slave','ip','b','port','2','other',[1,2]]]",
     "a:1 b:2"},
    {REPLICAS,
     "[['ip','a','port','1','flags','slave,s_down'],['ip','b','port','2','flags','slave'],"
     "['ip','c','port','3','flags','o_down,slave'],['ip','d','port','4','flags','disconnected']]",
     "b:2"},
    /* What cannot be dialled is passed over. */
    {REPLICAS, "[['ip','','port','1'],['ip','?','port','1'],['ip','a','port','0']]", ""},
    /* A link to a primary that is gone says nothing against reading. */
    {REPLICAS, "[['ip','a','port','1','flags','slave','master-link-status','err']]", "a:1"},
    {REPLICAS, "[['ip','a','port','1','flags','slave_s_down']]", "a:1"},
    {REPLICAS, "[['ip','a','port','1'],['ip','b','port','2','flags','slave,promoted']]",
     "a:1 b:2 heir b:2"},
    {REPLICAS, "[['ip','a','port','1','flags','slave,promoted,s_down']]", " heir a:1"},
    {PEERS, "[['ip','a','port','1','flags','sentinel,s_down'],['ip','b','port','2']]", "a:1 b:2"},
    {ROLE, "['master',3129659,[['127.0.0.1','9001','3129242']]]", "primary 3129659"},
    {ROLE, "['master',0,[]]", "primary 0"},
    {ROLE, "['slave','127.0.0.1',9000,'connected',3167038]", "replica linked 3167038"},
    {ROLE, "['slave','127.0.0.1',9000,'connect',-1]", "replica -1"},
    {ROLE, "['slave','127.0.0.1',9000,'sync',5]", "replica 5"},
    {ROLE, "['sentinel',['resque-master']]", "sentinel 0"},
};

static const row bad[] = {
    {PRIMARY, "nil", "does not know the name"},
    {PRIMARY, "!'ERR unknown command'", "ADDR-BY-NAME: ERR unknown command"},
    {PRIMARY, "1", "no array of host and port"},
    {PRIMARY, "['a']", "no array of host and port"},
    {PRIMARY, "['a','1','2']", "no array of host and port"},
    {PRIMARY, "['a',1]", "host or port is no string"},
    {PRIMARY, "[nil,'1']", "host or port is no string"},
    {PRIMARY, "['a','65536']", "port \"65536\" is not within 0 to 65535"},
    {PRIMARY, "['a','-1']", "port \"-1\""},
    {PRIMARY, "['a','1 ']", "port \"1 \""},
    {PRIMARY, "['a','']", "port \"\""},
    {PRIMARY, "['a','0']", "address of the primary is not known"},
    {PRIMARY, "['','1']", "address of the primary is not known"},
    {PRIMARY, "['?','1']", "address of the primary is not known"},
    {PRIMARY, "['a b','1']", "\"a b\" (3 bytes) is no host name"},
    {PRIMARY, "['a@b','1']", "is no host name"},
    {REPLICAS, "nil", "no array of at most 2000 servers"},
    {REPLICAS, "'x'", "no array of at most 2000 servers"},
    {REPLICAS, "!'ERR No such master with that name'", "No such master"},
    {REPLICAS, "[1]", "entry 0: no map of fields and values"},
    {REPLICAS, "[['ip','a','port']]", "entry 0: no map of fields and values"},
    {REPLICAS, "[['ip','a','port','1'],['ip','a']]", "entry 1: no ip or no port"},
    {REPLICAS, "[['ip','a','port','1'],['port','1']]", "entry 1: no ip or no port"},
    {REPLICAS, "[['ip','a','port',1]]", "entry 0: host or port is no string"},
    {REPLICAS, "[['ip',['a'],'port','1']]", "entry 0: host or port is no string"},
    {REPLICAS, "[['ip','a','port','x']]", "entry 0: port \"x\""},
    {REPLICAS, "[['ip','a/','port','1'],['ip','a\tb','port','1']]", "entry 1: \"a\\x09b\""},
    {PEERS, "[['ip','a','port','70000']]", "SENTINEL SENTINELS entry 0: port \"70000\""},
    {ROLE, "nil", "no server's description of its role"},
    {ROLE, "[]", "no server's description of its role"},
    {ROLE, "'master'", "no server's description of its role"},
    {ROLE, "['master']", "no server's description of its role"},
    {ROLE, "['master',1]", "no server's description of its role"},
    {ROLE, "['primary',1,[]]", "no server's description of its role"},
    {ROLE, "['master','1',[]]", "offset is no such number"},
    {ROLE, "['master',-2,[]]", "offset is no such number"},
    {ROLE, "['slave','a',1,'connected']", "no server's description of its role"},
    {ROLE, "['slave','a',1,'connected','x']", "offset is no such number"},
    {ROLE, "['sentinel']", "no server's description of its role"},
};

static void test_sentinel_good_answers_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char found[1024];
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = reply_of(good[i].text);
        kw_err code =
            read_answer(good[i].kind, found, sizeof(found), &error, kw_mem_default(), reply);
        if (code != KW_OK || strcmp(found, good[i].expected) != 0) {
            fail_msg("%s: %s%s", good[i].text, found, error.text);
        }
        kw_reply_free(reply);
    }
}

static void test_sentinel_bad_answers_are_refused_with_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        char found[1024];
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = reply_of(bad[i].text);
        kw_err code =
            read_answer(bad[i].kind, found, sizeof(found), &error, kw_mem_default(), reply);
        kw_err expected = i == 0 ? KW_ERR_NO_SERVICE : KW_ERR_TOPOLOGY;
        if (code != expected || found[0] != '\0' || strstr(error.text, bad[i].expected) == NULL) {
            fail_msg("%s: %s: %s", bad[i].text, kw_err_name(code), error.text);
        }
        kw_reply_free(reply);
    }
}

/* Who is where: once through the answer, however many sentinels it names. */
static void test_sentinel_peers_say_who_they_are(void **state)
{
    (void)state;
    kw_reply *reply = reply_of("[['ip','a','port','1','runid','x'],['port','2','ip','b'],"
                               "['ip','?','port','3','runid','y'],['runid','z'],'no entry']");
    static const struct {
        const char *place; /* NULL: nowhere */
        const char *id;    /* NULL: it does not say */
    } expected[] = {{"a:1", "x"}, {"b:2", NULL}, {NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    assert_int_equal(kw_reply_count(reply), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        kw_endpoint peer;
        uint64_t id;
        bool is_somewhere = kw_topology_sentinel_peer(&peer, &id, kw_reply_at(reply, i));
        assert_int_equal(is_somewhere, expected[i].place != NULL);
        if (is_somewhere) {
            char text[KW_ENDPOINT_TEXT];
            assert_string_equal(kw_endpoint_text(text, &peer), expected[i].place);
            assert_true(id ==
                        (expected[i].id != NULL ? kw_bytes_id(kw_bytes_of(expected[i].id)) : 0));
        }
    }
    kw_reply_free(reply);
}

/* Reads what the reply is by now, as everything. */
static void check_any(const kw_reply *reply)
{
    for (int kind = PRIMARY; kind <= ROLE; kind++) {
        static char found[64 * 1024];
        kw_error error = KW_ERROR_INIT;
        kw_err code =
            read_answer((answer)kind, found, sizeof(found), &error, kw_mem_default(), reply);
        assert_true((code == KW_OK) == (error.text[0] == '\0'));
    }
    kw_endpoint peer;
    uint64_t id;
    (void)kw_topology_sentinel_peer(&peer, &id, reply);
}

static void truncate_all(kw_reply *root, kw_reply *reply)
{
    size_t count = kw_reply_count(reply);
    for (size_t i = 0; i < count; i++) {
        reply->hiredis.elements = i;
        check_any(root);
        reply->hiredis.elements = count;
        truncate_all(root, kw_reply_slot(reply, i));
    }
}

static void test_sentinel_truncated_answers_are_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        kw_reply *reply = reply_of(good[i].text);
        truncate_all(reply, reply);
        kw_reply_free(reply);
    }
}

static void test_sentinel_mutated_answers_are_safe(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "nil",     "0",  "-1", "''",       "'?'",   "'ip'",     "'port'",  "'flags'",  "'a'",
        "'65536'", "[]", "{}", "!'ERR x'", "['a']", "'master'", "'slave'", "['a','1']"};
    kw_random random;
    kw_random_init(&random, kw_test_seed("sentinel_mutated"));
    for (int round = 0; round < 3000; round++) {
        kw_reply *reply = reply_of(good[kw_random_below(&random, COUNT(good))].text);
        kw_reply *target = reply;
        while (kw_reply_count(target) > 0 && kw_random_below(&random, 4) != 0) {
            target =
                kw_reply_slot(target, (size_t)kw_random_below(&random, kw_reply_count(target)));
        }
        reply_text_fill(reply, target, texts[kw_random_below(&random, COUNT(texts))]);
        check_any(reply);
        kw_reply_free(reply);
    }
}

static void test_sentinel_huge_answers_are_bounded(void **state)
{
    (void)state;
    for (size_t n = KW_MAP_NODES_MAX; n <= KW_MAP_NODES_MAX + 1; n++) {
        kw_reply *root = kw_reply_new(kw_mem_default(), 0);
        assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, n));
        for (size_t i = 0; i < n; i++) {
            reply_text_fill(root, kw_reply_slot(root, i), "['ip','a','port','1']");
        }
        kw_endpoints list = {NULL, 0};
        kw_endpoint heir;
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_topology_sentinel_replicas(&list, &heir, &error, kw_mem_default(), root);
        assert_int_equal(code, n > KW_MAP_NODES_MAX ? KW_ERR_TOPOLOGY : KW_OK);
        assert_int_equal(list.n, n > KW_MAP_NODES_MAX ? 0 : n);
        kw_mem_free(kw_mem_default(), list.items);
        kw_reply_free(root);
    }
}

static void test_sentinel_map_has_one_shard_and_each_node_once(void **state)
{
    (void)state;
    kw_endpoint primary = {"a", 1};
    kw_endpoint items[] = {{"b", 1}, {"a", 1}, {"c", 1}, {"b", 1}};
    kw_endpoints replicas = {items, COUNT(items)};
    kw_map *map = kw_topology_sentinel_map(kw_mem_default(), &primary, &replicas);
    assert_non_null(map);
    assert_false(kw_map_is_cluster(map));
    assert_int_equal(kw_map_shards_n(map), 1);
    assert_int_equal(kw_map_nodes_n(map), 3);
    const kw_map_shard *shard = kw_map_shard_at(map, 0);
    assert_true(kw_endpoint_equal(kw_map_node(map, shard->primary), &primary));
    assert_int_equal(shard->replicas_n, 2);
    assert_int_equal(kw_map_shard_of(map, 16383), 0);
    kw_endpoints none = {NULL, 0};
    kw_map *bare = kw_topology_sentinel_map(kw_mem_default(), &primary, &none);
    assert_int_equal(kw_map_nodes_n(bare), 1);
    assert_false(kw_map_equal(map, bare));
    kw_map_unref(map);
    kw_map_unref(bare);
}

static void test_sentinel_without_memory_leaves_nothing(void **state)
{
    (void)state;
    kw_reply *reply = reply_of("[['ip','a','port','1'],['ip','b','port','2']]");
    for (unsigned long fail_at = 1; fail_at <= 6; fail_at++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, fail_at);
        kw_error error = KW_ERROR_INIT;
        kw_endpoints list = {NULL, 0};
        kw_endpoint primary = {"c", 1};
        kw_err code = kw_topology_sentinel_peers(&list, &error, &memory.allocator, reply);
        kw_map *map =
            code == KW_OK ? kw_topology_sentinel_map(&memory.allocator, &primary, &list) : NULL;
        assert_true(code == KW_OK ? fail_at > 1 : code == KW_ERR_NOMEM);
        kw_mem_free(&memory.allocator, list.items);
        kw_map_unref(map);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
    kw_reply_free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentinel_good_answers_are_read),
        cmocka_unit_test(test_sentinel_bad_answers_are_refused_with_reason),
        cmocka_unit_test(test_sentinel_peers_say_who_they_are),
        cmocka_unit_test(test_sentinel_truncated_answers_are_safe),
        cmocka_unit_test(test_sentinel_mutated_answers_are_safe),
        cmocka_unit_test(test_sentinel_huge_answers_are_bounded),
        cmocka_unit_test(test_sentinel_map_has_one_shard_and_each_node_once),
        cmocka_unit_test(test_sentinel_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("topology_sentinel", tests, NULL, NULL);
}
