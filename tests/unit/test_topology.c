/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers of CLUSTER SLOTS and SHARDS: good ones give maps, bad ones a reason. */
#include "route/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/check.h"
#include "unit/reply_text.h"

static const kw_endpoint from = {"seed", 7000};

typedef enum answer { SLOTS, SHARDS, SHARDS_TLS } answer;

static kw_err read_answer(answer kind, kw_map **map, kw_error *error, const kw_allocator *mem,
                          const kw_reply *reply, const kw_map *previous)
{
    kw_topology_source source = {mem, &from, previous, kind == SHARDS_TLS};
    return kind == SLOTS ? kw_topology_from_slots(map, error, &source, reply)
                         : kw_topology_from_shards(map, error, &source, reply);
}

static void append(char *out, size_t out_len, const char *text)
{
    assert_true(strlen(out) + strlen(text) < out_len);
    strcat(out, text);
}

static void append_node(char *out, size_t out_len, const kw_map *map, size_t node)
{
    char text[KW_ENDPOINT_TEXT];
    append(out, out_len, kw_endpoint_text(text, kw_map_node(map, node)));
}

/* "0-99 a:1 (ra:1 rb:1); 200-200 b:1" */
static void describe(char *out, size_t out_len, const kw_map *map)
{
    out[0] = '\0';
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        uint16_t owner = kw_map_shard_of(map, slot);
        unsigned first = slot;
        while (slot + 1 < KW_SLOTS_N && kw_map_shard_of(map, slot + 1) == owner) {
            slot++;
        }
        if (owner == KW_MAP_NO_SHARD) {
            continue;
        }
        const kw_map_shard *shard = kw_map_shard_at(map, owner);
        char range[32];
        snprintf(range, sizeof(range), "%s%u-%u ", out[0] != '\0' ? "; " : "", first, slot);
        append(out, out_len, range);
        append_node(out, out_len, map, shard->primary);
        for (size_t i = 0; i < shard->replicas_n; i++) {
            append(out, out_len, i == 0 ? " (" : " ");
            append_node(out, out_len, map, kw_map_replica(map, shard, i));
        }
        append(out, out_len, shard->replicas_n > 0 ? ")" : "");
    }
}

/* A text, and the map or the error that it gives. */
typedef struct row {
    answer kind;
    const char *text;
    const char *expected;
} row;

static void check_good(const row *rows, size_t rows_n, const kw_map *previous)
{
    for (size_t i = 0; i < rows_n; i++) {
        kw_reply *reply = reply_of(rows[i].text);
        kw_error error = KW_ERROR_INIT;
        kw_map *map = NULL;
        kw_err err = read_answer(rows[i].kind, &map, &error, kw_mem_default(), reply, previous);
        if (err != KW_OK) {
            print_error("%s: %s\n", rows[i].text, error.text);
        }
        assert_int_equal(err, KW_OK);
        assert_int_equal(error.code, KW_OK);
        char found[2048];
        describe(found, sizeof(found), map);
        assert_string_equal(found, rows[i].expected);
        kw_map_unref(map);
        kw_reply_free(reply);
    }
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Nodes of CLUSTER SHARDS. */
#define NODE(host, port, role, health)                                                             \
    "['id','x','port'," #port ",'ip','" host "','endpoint','" host "','role','" role               \
    "','replication-offset',10,'health','" health "']"

#define MASTER(host)  NODE(host, 1, "master", "online")
#define REPLICA(host) NODE(host, 1, "replica", "online")

static const row good_slots[] = {
    {SLOTS, "[[0,16383,['a',1]]]", "0-16383 a:1"},
    {SLOTS, "[[0,99,['a',1,'id'],['ra',1,'id']],[100,100,['b',65535,'id',[]]]]",
     "0-99 a:1 (ra:1); 100-100 b:65535"},
    /* Ranges of one primary become one shard, its replicas are listed once. */
    {SLOTS, "[[0,1,['a',1],['ra',1]],[2,3,['b',1]],[4,5,['a',1],['ra',1],['rb',1]]]",
     "0-1 a:1 (ra:1 rb:1); 2-3 b:1; 4-5 a:1 (ra:1 rb:1)"},
    /* Null and empty hosts are the answering server's; null with metadata as well. */
    {SLOTS, "[[0,1,[nil,1]],[2,3,['',2]]]", "0-1 seed:1; 2-3 seed:2"},
    {SLOTS, "[[0,1,[nil,1,'id',['ip','10.0.0.1']],['',2,'id',{'ip','10.0.0.2'}]]]",
     "0-1 seed:1 (seed:2)"},
    /* Nodes that cannot be dialled leave holes. */
    {SLOTS, "[[0,1,['?',1,'id',['ip','10.0.0.1']],['ra',1]],[2,3,['b',1],['?',2]]]", "2-3 b:1"},
    {SLOTS, "[[0,1,['a',0],['ra',1]],[2,3,['b',1],['rb',0]]]", "2-3 b:1"},
    {SLOTS, "[[0,1,['::1',1],['fe80::2',65535]]]", "0-1 [::1]:1 ([fe80::2]:65535)"},
    {SLOTS, "[[0,1,['host-1.example.com',1]]]", "0-1 host-1.example.com:1"},
    {SLOTS, "[[0,9,['a',1],['ra',1]],[0,9,['a',1],['ra',1]]]", "0-9 a:1 (ra:1)"},
    /* A primary elsewhere is no replica here, in either order. */
    {SLOTS, "[[0,1,['a',1],['b',1]],[2,3,['b',1],['a',1]]]", "0-1 a:1; 2-3 b:1"},
    /* Overlap: the first. */
    {SLOTS, "[[0,9,['a',1]],[5,12,['b',1]]]", "0-9 a:1; 10-12 b:1"},
    {SLOTS, "[[0,9,['a',1]],[5,6,['b',1],['rb',1]]]", "0-9 a:1"},
    {SLOTS, "[[0,1,['a',1,'id',['hostname','x'],'more',7]]]", "0-1 a:1"},
};

static void test_topology_slots_good_answers_give_maps(void **state)
{
    (void)state;
    check_good(good_slots, COUNT(good_slots), NULL);
}

static const row good_shards[] = {
    {SHARDS, "[['slots',[0,16383],'nodes',[" MASTER("a") "]]]", "0-16383 a:1"},
    {SHARDS,
     "[['nodes',[" REPLICA("ra") "," MASTER("a") "],'new-field',[1,{'x','y'}],'slots',[0,1,5,6]]]",
     "0-1 a:1 (ra:1); 5-6 a:1 (ra:1)"},
    {SHARDS, "[{'slots',[0,1],'nodes',[{'role','master','port',1,'endpoint','a','tls-port',2}]}]",
     "0-1 a:1"},
    {SHARDS_TLS,
     "[{'slots',[0,1],'nodes',[{'role','master','port',1,'endpoint','a','tls-port',2}]}]",
     "0-1 a:2"},
    /* Without the port that is asked for a node cannot be dialled. */
    {SHARDS_TLS,
     "[{'slots',[0,1],'nodes',[{'role','master','port',1,'endpoint','a'}]},"
     "{'slots',[2,3],'nodes',[{'role','master','tls-port',3,'endpoint','b'},"
     "{'role','replica','port',3,'endpoint','c','health','online'}]}]",
     "2-3 b:3"},
    {SHARDS, "[['slots',['0','1'],'nodes',[" MASTER("a") "]]]", "0-1 a:1"},
    /* Replicas that are not online are left out; a failed primary keeps its slots. */
    {SHARDS,
     "[['slots',[0,1],'nodes',[" NODE("a", 1, "master", "failed") "," NODE(
         "r1", 1, "replica", "failed") "," NODE("r2", 1, "replica",
                                                "loading") "," REPLICA("r3") "]]]",
     "0-1 a:1 (r3:1)"},
    {SHARDS, "[['slots',[0,1],'nodes',[" NODE("a", 1, "master", "loading") "]]]", "0-1 a:1"},
    /* After a failover: the online one of two primaries, in either order. */
    {SHARDS, "[['slots',[0,1],'nodes',[" NODE("old", 1, "master", "fail") "," MASTER("new") "]]]",
     "0-1 new:1"},
    {SHARDS, "[['slots',[0,1],'nodes',[" MASTER("new") "," NODE("old", 1, "master", "fail") "]]]",
     "0-1 new:1"},
    {SHARDS,
     "[['slots',[0,1],'nodes',[['endpoint','old','port',1,'role','master','replication-offset',5],"
     "['endpoint','new','port',1,'role','master','replication-offset',6]]]]",
     "0-1 new:1"},
    /* Shards without slots, nodes without a known address, and null hosts. */
    {SHARDS, "[['slots',[],'nodes',[" MASTER("x") "]],['slots',[0,1],'nodes',[" MASTER("a") "]]]",
     "0-1 a:1"},
    {SHARDS,
     "[['slots',[7,7],'nodes',[" MASTER("?") "," REPLICA("r") "]],['slots',[0,1],'nodes',[" MASTER(
         "a") "," REPLICA("?") "]]]",
     "0-1 a:1"},
    {SHARDS, "[['slots',[7,7],'nodes',[]],['slots',[0,1],'nodes',[" MASTER("") "]]]", "0-1 seed:1"},
    {SHARDS,
     "[['slots',[0,1],'nodes',[['endpoint',nil,'ip','10.0.0.1','port',1,'role','master']]]]",
     "0-1 seed:1"},
    {SHARDS, "[['slots',[0,1],'nodes',[['ip','10.0.0.1','port',1,'role','master']]]]",
     "0-1 10.0.0.1:1"},
};

static void test_topology_shards_good_answers_give_maps(void **state)
{
    (void)state;
    check_good(good_shards, COUNT(good_shards), NULL);
}

/* "availability-zone" of Valkey 9.1: of each node that has one, in both forms. */
static void test_topology_zones_are_read(void **state)
{
    (void)state;
    static const struct {
        answer kind;
        const char *text;
    } rows[] = {
        {SLOTS, "[[0,16383,['a',1,'id',['hostname','h','availability-zone','east']],"
                "['ra',1,'id',['availability-zone','west']],['rb',1,'id',[]]]]"},
        {SHARDS,
         "[['slots',[0,16383],'nodes',[['id','x','port',1,'ip','a','endpoint','a','role',"
         "'master','health','online','availability-zone','east'],['port',1,'endpoint','ra',"
         "'role','replica','health','online','availability-zone','west']," REPLICA("rb") "]]]"},
        /* What is no text is no zone. */
        {SLOTS,
         "[[0,16383,['a',1,'id',['availability-zone','east','availability-zone']],"
         "['ra',1,'id',['availability-zone','west']],['rb',1,'id',['availability-zone',7]]]]"},
    };
    static const char *const zones[] = {"east", "west", NULL};
    static const kw_endpoint nodes[] = {{"a", 1}, {"ra", 1}, {"rb", 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        kw_reply *reply = reply_of(rows[i].text);
        kw_map *map = NULL;
        assert_int_equal(read_answer(rows[i].kind, &map, NULL, kw_mem_default(), reply, NULL),
                         KW_OK);
        for (size_t k = 0; k < COUNT(nodes); k++) {
            size_t node;
            assert_true(kw_map_find_node(map, &node, &nodes[k]));
            uint64_t zone = zones[k] != NULL ? kw_bytes_id(kw_bytes_of(zones[k])) : 0;
            assert_true(kw_map_member_at(map, node)->zone == zone);
        }
        kw_map_unref(map);
        kw_reply_free(reply);
    }
}

/* For a moment a node has no address, and a shard no primary. */
static void test_topology_slots_without_an_address_stay_with_previous_owner(void **state)
{
    (void)state;
    static const row before = {SLOTS, "[[0,9,['a',1,'ida']],[10,19,['b',1,'idb'],['rb',1]]]", NULL};
    static const row after[] = {
        {SLOTS, "[[0,9,['?',1,'ida']],[10,19,['b',1,'idb']]]", "0-9 a:1; 10-19 b:1"},
        {SLOTS, "[[0,9,['a',0,'ida']],[10,25,['b',1,'idb']]]", "0-9 a:1; 10-25 b:1"},
        {SLOTS, "[[0,9,['a',1]],[10,25,['?',1]]]", "0-9 a:1; 10-19 b:1"},
        {SLOTS, "[[0,9,['?',1]],[10,19,['a',1]]]", "0-19 a:1"},
        {SLOTS, "[[10,19,['b',1]]]", "10-19 b:1"},
        {SLOTS, "[[0,9,['?',1]],[10,19,['x',1]]]", "10-19 x:1"}, /* another cluster's, perhaps */
        {SHARDS, "[['slots',[0,9],'nodes',[]],['slots',[10,19],'nodes',[" MASTER("b") "]]]",
         "0-9 a:1; 10-19 b:1"},
        {SHARDS,
         "[['slots',[0,9],'nodes',[" REPLICA("r") "]],['slots',[10,19],'nodes',[" MASTER("b") "]]]",
         "0-9 a:1; 10-19 b:1"},
        /* Nor its slots: they are of the shard's nodes still, but for what others have. */
        {SHARDS,
         "[['slots',[],'nodes',[" NODE("b", 1, "master", "fail") "," MASTER(
             "rb") "]],['slots',[0,12],'nodes',[" MASTER("a") "]]]",
         "0-12 a:1; 13-19 rb:1"},
        {SHARDS,
         "[['slots',[0,9],'nodes',[" MASTER("a") "]],['slots',[],'nodes',[" MASTER("b") "]]]",
         "0-9 a:1; 10-19 b:1"},
        {SHARDS,
         "[['slots',[],'nodes',[" REPLICA("rb") "]],['slots',[0,9],'nodes',[" MASTER("a") "]]]",
         "0-9 a:1; 10-19 b:1"},
        {SHARDS,
         "[['slots',[0,9],'nodes',[" MASTER("a") "]],['slots',[],'nodes',[" MASTER("x") "]]]",
         "0-9 a:1"},
    };
    kw_reply *reply = reply_of(before.text);
    kw_map *previous = NULL;
    assert_int_equal(read_answer(SLOTS, &previous, NULL, kw_mem_default(), reply, NULL), KW_OK);
    check_good(after, COUNT(after), previous);
    kw_map_unref(previous);
    kw_reply_free(reply);
}

static void test_topology_overlap_stays_with_previous_owner(void **state)
{
    (void)state;
    static const row before[] = {{SLOTS, "[[0,9,['a',1],['c',1]],[10,19,['b',1]]]", NULL}};
    static const row after[] = {
        {SLOTS, "[[0,19,['a',1]],[0,19,['b',1]]]", "0-9 a:1; 10-19 b:1"},
        {SLOTS, "[[0,19,['b',1]],[0,19,['a',1]]]", "0-9 a:1; 10-19 b:1"},
        {SLOTS, "[[0,19,['x',1]],[0,19,['b',1]]]", "0-9 x:1; 10-19 b:1"},
        {SLOTS, "[[0,19,['x',1]],[0,19,['y',1]]]", "0-19 x:1"},
        {SLOTS, "[[0,19,['b',1]],[0,19,['x',1]],[0,19,['a',1]]]", "0-9 a:1; 10-19 b:1"},
        /* No overlap: what the answer says. A replica of before owned nothing. */
        {SLOTS, "[[0,19,['x',1]]]", "0-19 x:1"},
        {SLOTS, "[[0,19,['x',1]],[0,19,['c',1]]]", "0-19 x:1"},
        {SHARDS,
         "[['slots',[0,19],'nodes',[" MASTER("b") "]],"
                                                  "['slots',[0,19],'nodes',[" MASTER("a") "]]]",
         "0-9 a:1; 10-19 b:1"},
    };
    kw_reply *reply = reply_of(before[0].text);
    kw_map *previous = NULL;
    assert_int_equal(read_answer(SLOTS, &previous, NULL, kw_mem_default(), reply, NULL), KW_OK);
    check_good(after, COUNT(after), previous);
    kw_map_unref(previous);
    kw_reply_free(reply);
    /* The map of one server says nothing about slots. */
    static const row first[] = {{SLOTS, "[[0,1,['x',1]],[0,1,['seed',7000]]]", "0-1 x:1"}};
    kw_map *single = kw_map_new_single(kw_mem_default(), &from);
    check_good(first, COUNT(first), single);
    kw_map_unref(single);
}

static const row bad_answers[] = {
    {SLOTS, "[]", "CLUSTER SLOTS: no slot has a primary with a known address"},
    {SLOTS, "nil", "CLUSTER SLOTS: the answer is no array"},
    {SLOTS, "7", "CLUSTER SLOTS: the answer is no array"},
    {SLOTS, "'OK'", "CLUSTER SLOTS: the answer is no array"},
    {SLOTS, "!'ERR This instance has cluster support disabled'",
     "CLUSTER SLOTS: ERR This instance has cluster support disabled"},
    {SLOTS, "!'ERR %n%s'", "CLUSTER SLOTS: ERR %n%s"},
    {SLOTS, "[[0,1,['a',1]],nil]", "CLUSTER SLOTS entry 1: no array of first slot"},
    {SLOTS, "[[0,1,['a',1]],[]]", "CLUSTER SLOTS entry 1: no array of first slot"},
    {SLOTS, "[[0]]", "CLUSTER SLOTS entry 0: no array of first slot"},
    {SLOTS, "[[0,1]]", "CLUSTER SLOTS entry 0: no array of first slot"},
    {SLOTS, "[['0',1,['a',1]]]", "CLUSTER SLOTS entry 0: a slot number is no integer"},
    {SLOTS, "[[0,nil,['a',1]]]", "CLUSTER SLOTS entry 0: a slot number is no integer"},
    {SLOTS, "[[0,1,nil]]", "CLUSTER SLOTS entry 0, node 0: no array of host and port"},
    {SLOTS, "[[0,1,'a']]", "CLUSTER SLOTS entry 0, node 0: no array of host and port"},
    {SLOTS, "[[0,1,['a']]]", "CLUSTER SLOTS entry 0, node 0: no array of host and port"},
    {SLOTS, "[[0,1,['a',1],[]]]", "CLUSTER SLOTS entry 0, node 1: no array of host and port"},
    {SLOTS, "[[0,1,['a','1']]]", "CLUSTER SLOTS entry 0, node 0: the port is no integer"},
    {SLOTS, "[[0,1,[1,1]]]", "CLUSTER SLOTS entry 0, node 0: the host is no string"},
    {SLOTS, "[[0,1,[!'a',1]]]", "CLUSTER SLOTS entry 0, node 0: the host is no string"},
    {SLOTS, "[[0,1,[['a'],1]]]", "CLUSTER SLOTS entry 0, node 0: the host is no string"},
    {SLOTS, "[[0,1,['a',65536]]]", "node 0: port 65536 is outside 0 to 65535"},
    {SLOTS, "[[0,1,['a',-1]]]", "node 0: port -1 is outside 0 to 65535"},
    {SLOTS, "[[0,1,['a',4294967297]]]", "node 0: port 4294967297 is outside"},
    {SLOTS, "[[0,1,['?',65536]]]", "node 0: port 65536 is outside 0 to 65535"},
    {SLOTS, "[[0,1,['a b',1]]]", "node 0: \"a b\" (3 bytes) is no host name or address"},
    {SLOTS, "[[0,1,['a\r\nb',1]]]", "node 0: \"a\\x0d\\x0ab\" (4 bytes) is no host name"},
    {SLOTS, "[[0,1,['a\tb',0]]]", "node 0: \"a\\x09b\" (3 bytes) is no host name"},
    {SLOTS, "[[0,1,['/tmp/x',1]]]", "node 0: \"/tmp/x\" (6 bytes) is no host name"},
    {SLOTS, "[[-1,1,['a',1]]]", "entry 0: slots -1 to 1 are not within 0 to 16383"},
    {SLOTS, "[[0,16384,['a',1]]]", "entry 0: slots 0 to 16384 are not within 0 to 16383"},
    {SLOTS, "[[65536,65537,['a',1]]]", "entry 0: slots 65536 to 65537 are not within"},
    {SLOTS, "[[4294967296,4294967297,['a',1]]]", "entry 0: slots 4294967296 to"},
    {SLOTS, "[[0,9223372036854775807,['a',1]]]", "to 9223372036854775807 are not within"},
    {SLOTS, "[[-9223372036854775808,0,['a',1]]]", "slots -9223372036854775808 to 0 are not"},
    {SLOTS, "[[0,16384,['?',1]]]", "entry 0: slots 0 to 16384 are not within 0 to 16383"},
    {SLOTS, "[[5,4,['a',1]]]", "entry 0: first slot 5 is behind last slot 4"},
    {SLOTS, "[[0,1,['?',1]],[2,3,['a',0]]]", "CLUSTER SLOTS: no slot has a primary"},
    {SLOTS, "[[0,16383,['?',1]]]",
     "CLUSTER SLOTS: no slot has a primary with a known address; the host \"?\" is a server's that "
     "lacks cluster-announce-hostname"},
    {SHARDS, "[]", "CLUSTER SHARDS: no slot has a primary with a known address"},
    {SHARDS, "!'ERR unknown subcommand'", "CLUSTER SHARDS: ERR unknown subcommand"},
    {SHARDS, "{'slots',[]}", "CLUSTER SHARDS: the answer is no array"},
    {SHARDS, "[[]]", "CLUSTER SHARDS entry 0: slots are no array"},
    {SHARDS, "[nil]", "CLUSTER SHARDS entry 0: no map of fields and values"},
    {SHARDS, "[['slots']]", "CLUSTER SHARDS entry 0: no map of fields and values"},
    {SHARDS, "[['slots',[0,1]]]", "CLUSTER SHARDS entry 0: nodes are no array"},
    {SHARDS, "[['slots',[0,1],'nodes',nil]]", "CLUSTER SHARDS entry 0: nodes are no array"},
    {SHARDS, "[['slots',7,'nodes',[]]]", "CLUSTER SHARDS entry 0: slots are no array"},
    {SHARDS, "[['slots',[0],'nodes',[]]]", "CLUSTER SHARDS entry 0: slots are no array"},
    {SHARDS, "[['slots',[0,'x'],'nodes',[]]]", "entry 0: a slot number is no integer"},
    {SHARDS, "[['slots',[0,'99999999999999999999'],'nodes',[]]]", "a slot number is no integer"},
    {SHARDS, "[['slots',[0,nil],'nodes',[]]]", "entry 0: a slot number is no integer"},
    {SHARDS, "[['slots',[0,'16384'],'nodes',[]]]", "slots 0 to 16384 are not within"},
    {SHARDS, "[['slots',[-1,4],'nodes',[]]]", "slots -1 to 4 are not within"},
    {SHARDS, "[['slots',[4,3],'nodes',[]]]", "first slot 4 is behind last slot 3"},
    {SHARDS, "[['slots',[],'nodes',[7]]]", "entry 0, node 0: no map of fields and values"},
    {SHARDS, "[['slots',[],'nodes',[[]]]]", "entry 0, node 0: no endpoint"},
    {SHARDS, "[['slots',[],'nodes',[['endpoint','a','port',1]]]]",
     "node 0: the role is neither master nor replica"},
    {SHARDS, "[['slots',[],'nodes',[['endpoint','a','port',1,'role',7]]]]",
     "node 0: the role is neither master nor replica"},
    {SHARDS, "[['slots',[],'nodes',[['endpoint',7,'port',1,'role','master']]]]",
     "node 0: the host is no string"},
    {SHARDS, "[['slots',[],'nodes',[['endpoint','a','port','x','role','master']]]]",
     "node 0: the port is no integer"},
    {SHARDS, "[['slots',[0,1],'nodes',[" NODE("a", 70000, "master", "online") "]]]",
     "CLUSTER SHARDS entry 0, node 0: port 70000 is outside 0 to 65535"},
    {SHARDS, "[['slots',[0,1],'nodes',[" MASTER("a") "," NODE("b", -1, "replica", "failed") "]]]",
     "CLUSTER SHARDS entry 0, node 1: port -1 is outside 0 to 65535"},
    {SHARDS,
     "[['slots',[0,1],'nodes',[['endpoint','a','port',1,'role','master','replication-offset','z'"
     "]]]]",
     "node 0: the replication offset is no integer"},
};

static void test_topology_bad_answers_are_refused_with_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_answers); i++) {
        const row *bad = &bad_answers[i];
        kw_reply *reply = reply_of(bad->text);
        kw_error error = KW_ERROR_INIT;
        kw_map *map = NULL;
        kw_err err = read_answer(bad->kind, &map, &error, kw_mem_default(), reply, NULL);
        if (err != KW_ERR_TOPOLOGY || strstr(error.text, bad->expected) == NULL) {
            print_error("%s: %s\n", bad->text, error.text);
        }
        assert_int_equal(err, KW_ERR_TOPOLOGY);
        assert_int_equal(error.code, KW_ERR_TOPOLOGY);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, bad->expected));
        assert_null(map);
        assert_int_equal(read_answer(bad->kind, &map, NULL, kw_mem_default(), reply, NULL),
                         KW_ERR_TOPOLOGY);
        kw_reply_free(reply);
    }
}

static void test_topology_empty_host_over_a_path_is_refused(void **state)
{
    (void)state;
    const kw_endpoint path = {"/tmp/socket", 0};
    kw_reply *reply = reply_of("[[0,1,['',1]]]");
    kw_error error = KW_ERROR_INIT;
    kw_map *map = NULL;
    kw_topology_source source = {kw_mem_default(), &path, NULL, false};
    assert_int_equal(kw_topology_from_slots(&map, &error, &source, reply), KW_ERR_TOPOLOGY);
    assert_non_null(strstr(error.text, "entry 0, node 0: the host is empty"));
    kw_reply_free(reply);
}

static void test_topology_host_length_has_a_bound(void **state)
{
    (void)state;
    for (size_t len = 254; len <= 257; len++) {
        char text[300] = "[[0,1,['";
        memset(text + strlen(text), 'h', len);
        strcat(text, "',1]]]");
        kw_reply *reply = reply_of(text);
        kw_map *map = NULL;
        kw_err err = read_answer(SLOTS, &map, NULL, kw_mem_default(), reply, NULL);
        assert_int_equal(err, len <= KW_HOST_MAX ? KW_OK : KW_ERR_TOPOLOGY);
        kw_map_unref(map);
        kw_reply_free(reply);
    }
}

/* An answer of ranges_n single slots over nodes_n primaries, or over the whole range. */
static kw_reply *big_slots(size_t entries_n, size_t nodes_n, bool is_whole)
{
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, entries_n));
    for (size_t i = 0; i < entries_n; i++) {
        char host[32];
        snprintf(host, sizeof(host), "10.0.%zu.%zu", i % nodes_n / 250, i % nodes_n % 250);
        kw_reply *entry = kw_reply_slot(root, i);
        assert_true(kw_reply_set_array(root, entry, KW_REPLY_ARRAY, 3));
        kw_reply_set_integer(kw_reply_slot(entry, 0), KW_REPLY_INTEGER,
                             is_whole ? 0 : (long long)(i % KW_SLOTS_N));
        kw_reply_set_integer(kw_reply_slot(entry, 1), KW_REPLY_INTEGER,
                             is_whole ? KW_SLOTS_N - 1 : (long long)(i % KW_SLOTS_N));
        kw_reply *node = kw_reply_slot(entry, 2);
        assert_true(kw_reply_set_array(root, node, KW_REPLY_ARRAY, 2));
        assert_true(
            kw_reply_set_string(root, kw_reply_slot(node, 0), KW_REPLY_STRING, kw_bytes_of(host)));
        kw_reply_set_integer(kw_reply_slot(node, 1), KW_REPLY_INTEGER, 6379);
    }
    return root;
}

static kw_err read_big(char *text, size_t text_len, size_t entries_n, size_t nodes_n, bool is_whole)
{
    kw_reply *reply = big_slots(entries_n, nodes_n, is_whole);
    kw_error error = KW_ERROR_INIT;
    kw_map *map = NULL;
    uint64_t start = kw_test_now_ns();
    kw_err err = read_answer(SLOTS, &map, &error, kw_mem_default(), reply, NULL);
    print_message("%zu entries, %zu nodes: %.1f ms\n", entries_n, nodes_n,
                  (double)(kw_test_now_ns() - start) / 1e6);
    snprintf(text, text_len, "%s", error.text);
    if (err == KW_OK) {
        assert_int_equal(kw_map_nodes_n(map), nodes_n);
    }
    kw_map_unref(map);
    kw_reply_free(reply);
    return err;
}

static void test_topology_huge_answers_are_bounded(void **state)
{
    (void)state;
    char text[400];
    assert_int_equal(read_big(text, sizeof(text), 16384, 1000, false), KW_OK);
    assert_int_equal(read_big(text, sizeof(text), 2000, 2000, false), KW_OK);
    assert_int_equal(read_big(text, sizeof(text), 2001, 2001, false), KW_ERR_TOPOLOGY);
    assert_string_equal(text, "CLUSTER SLOTS entry 2000, node 0: more than 2000 nodes");
    assert_int_equal(read_big(text, sizeof(text), 16385, 5, false), KW_ERR_TOPOLOGY);
    assert_non_null(strstr(text, "16385 entries"));
    assert_int_equal(read_big(text, sizeof(text), 16384, 2, true), KW_ERR_TOPOLOGY);
    assert_non_null(strstr(text, "entry 16: more than 262144 slots claimed in all"));
}

static void test_topology_without_memory_leaves_nothing(void **state)
{
    (void)state;
    /* More nodes than the first arrays of the builder hold. */
    kw_reply *reply = big_slots(40, 40, false);
    kw_err err = KW_ERR_NOMEM;
    for (unsigned long k = 1; err == KW_ERR_NOMEM; k++) {
        assert_true(k < 100);
        kw_test_memory memory;
        kw_test_memory_init(&memory, k);
        kw_error error = KW_ERROR_INIT;
        kw_map *map = NULL;
        err = read_answer(SLOTS, &map, &error, &memory.allocator, reply, NULL);
        assert_int_equal(error.code, err);
        assert_true((map == NULL) == (err != KW_OK));
        kw_map_unref(map);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
    assert_int_equal(err, KW_OK);
    kw_reply_free(reply);
}

/* Reads an answer that may be anything; a map must be whole. */
static void check_any(answer kind, const kw_reply *reply)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_error error = KW_ERROR_INIT;
    kw_map *map = NULL;
    kw_err err = read_answer(kind, &map, &error, &memory.allocator, reply, NULL);
    assert_true(err == KW_OK || err == KW_ERR_TOPOLOGY);
    assert_true((map != NULL) == (err == KW_OK));
    assert_true((error.text[0] != '\0') == (err != KW_OK));
    if (map != NULL) {
        char text[4096];
        describe(text, sizeof(text), map);
        assert_true(kw_map_equal(map, map));
        kw_map_unref(map);
    }
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

/* Cuts every array below reply to every length. */
static void truncate_all(answer kind, kw_reply *root, kw_reply *reply)
{
    size_t count = kw_reply_count(reply);
    for (size_t i = 0; i < count; i++) {
        reply->hiredis.elements = i;
        check_any(kind, root);
        reply->hiredis.elements = count;
        truncate_all(kind, root, kw_reply_slot(reply, i));
    }
}

static void test_topology_truncated_answers_are_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_slots) + COUNT(good_shards); i++) {
        const row *good =
            i < COUNT(good_slots) ? &good_slots[i] : &good_shards[i - COUNT(good_slots)];
        kw_reply *reply = reply_of(good->text);
        truncate_all(good->kind, reply, reply);
        kw_reply_free(reply);
    }
}

static kw_reply *random_element(kw_reply *reply, kw_random *random)
{
    while (kw_reply_count(reply) > 0 && kw_random_below(random, 5) != 0) {
        reply = kw_reply_slot(reply, (size_t)kw_random_below(random, kw_reply_count(reply)));
    }
    return reply;
}

static void mutate(kw_reply *root, kw_random *random)
{
    static const char *const texts[] = {"nil",      "0",       "-1",      "16383",
                                        "16384",    "65535",   "65536",   "9223372036854775807",
                                        "''",       "'?'",     "'a'",     "'16383'",
                                        "'master'", "'slots'", "'nodes'", "'role'",
                                        "[]",       "{}",      "[0,1]",   "[[0,1,['z',1]]]",
                                        "!'ERR x'", "['a',1]"};
    kw_reply *target = random_element(root, random);
    if (kw_random_below(random, 3) == 0) {
        /* Two elements change places. */
        kw_reply *other = random_element(root, random);
        if (kw_reply_count(target) == 0 && kw_reply_count(other) == 0) {
            kw_reply kept = *target;
            *target = *other;
            *other = kept;
        }
        return;
    }
    reply_text_fill(root, target, texts[kw_random_below(random, COUNT(texts))]);
}

static void test_topology_mutated_answers_are_safe(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, kw_test_seed("topology_mutated"));
    for (int round = 0; round < 3000; round++) {
        size_t pick = (size_t)kw_random_below(&random, COUNT(good_slots) + COUNT(good_shards));
        const row *good =
            pick < COUNT(good_slots) ? &good_slots[pick] : &good_shards[pick - COUNT(good_slots)];
        kw_reply *reply = reply_of(good->text);
        for (uint64_t changes = 1 + kw_random_below(&random, 3); changes > 0; changes--) {
            mutate(reply, &random);
            check_any(good->kind, reply);
        }
        kw_reply_free(reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topology_slots_good_answers_give_maps),
        cmocka_unit_test(test_topology_shards_good_answers_give_maps),
        cmocka_unit_test(test_topology_zones_are_read),
        cmocka_unit_test(test_topology_overlap_stays_with_previous_owner),
        cmocka_unit_test(test_topology_slots_without_an_address_stay_with_previous_owner),
        cmocka_unit_test(test_topology_bad_answers_are_refused_with_reason),
        cmocka_unit_test(test_topology_empty_host_over_a_path_is_refused),
        cmocka_unit_test(test_topology_host_length_has_a_bound),
        cmocka_unit_test(test_topology_huge_answers_are_bounded),
        cmocka_unit_test(test_topology_without_memory_leaves_nothing),
        cmocka_unit_test(test_topology_truncated_answers_are_safe),
        cmocka_unit_test(test_topology_mutated_answers_are_safe),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
