/* SPDX-License-Identifier: BSD-3-Clause */
/* The command table against a real server: names, flags, policies and key positions.
 * KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/command_table.h"
#include "route/keys.h"
#include "support/server.h"

#define ARGS_MAX 24

/* The server, and a connection to it. */
typedef struct scene {
    kw_test_server *server;
    redisContext *link;
} scene;

static int scene_open(void **state)
{
    scene *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return -1;
    }
    *state = self;
    self->server = kw_test_server_start(NULL);
    struct timeval limit = {30, 0};
    self->link = redisConnectWithTimeout("127.0.0.1", kw_test_server_port(self->server), limit);
    return self->link != NULL && self->link->err == 0 ? 0 : -1;
}

static int scene_close(void **state)
{
    scene *self = *state;
    redisFree(self->link);
    kw_test_server_free(self->server);
    free(self);
    return 0;
}

/* The reply to a command, which must not be an error. */
static redisReply *ask(scene *self, int argc, const char **argv)
{
    redisReply *reply = redisCommandArgv(self->link, argc, argv, NULL);
    assert_non_null(reply);
    return reply;
}

static redisReply *ask_list(scene *self)
{
    const char *argv[] = {"COMMAND", "LIST"};
    redisReply *list = ask(self, 2, argv);
    assert_int_equal(list->type, REDIS_REPLY_ARRAY);
    assert_true(list->elements > 300);
    return list;
}

/* Splits "config|get" into words of text; the number of words. */
static size_t words_of(kw_bytes *words, const char *name)
{
    words[0] = kw_bytes_of(name);
    return kw_bytes_split(&words[0], &words[1], words[0], '|') ? 2 : 1;
}

static const kw_command_info *row_of(const char *name)
{
    kw_bytes words[2];
    size_t words_n = words_of(words, name);
    return kw_command_find(words, words_n);
}

/* A container is asked for without its subcommands, which nest deeper than hiredis
 * reads; it has no facts of its own but its name. */
static bool is_container(const redisReply *list, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < list->elements; i++) {
        const char *other = list->element[i]->str;
        if (strncmp(other, name, len) == 0 && other[len] == '|') {
            return true;
        }
    }
    return false;
}

/* COMMAND INFO of one command: 0 name, 1 arity, 2 flags, 7 tips. */
static redisReply *info_of(scene *self, const char *name)
{
    const char *argv[] = {"COMMAND", "INFO", name};
    redisReply *info = ask(self, 3, argv);
    assert_int_equal(info->elements, 1);
    assert_true(info->element[0]->elements >= 8);
    return info;
}

static bool has_word(const redisReply *words, const char *word)
{
    for (size_t i = 0; i < words->elements; i++) {
        if (strcmp(words->element[i]->str, word) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_listed(const char *const *names, size_t names_n, const char *name)
{
    for (size_t i = 0; i < names_n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

#define LISTED(names, name) is_listed(names, sizeof(names) / sizeof((names)[0]), name)

/* Runs check for every command of the server that is no container; the failures are
 * printed by check, and none may be left. */
static void for_each_command(scene *self,
                             int (*check)(const kw_command_info *row, const redisReply *info))
{
    redisReply *list = ask_list(self);
    int failures = 0;
    for (size_t i = 0; i < list->elements; i++) {
        const char *name = list->element[i]->str;
        const kw_command_info *row = row_of(name);
        if (row == NULL || is_container(list, name)) {
            continue;
        }
        redisReply *info = info_of(self, name);
        failures += check(row, info->element[0]);
        freeReplyObject(info);
    }
    freeReplyObject(list);
    assert_int_equal(failures, 0);
}

static void test_getkeys_every_command_of_the_server_is_in_the_table(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* what servers say of their commands is of Redis 7 */
    }
    scene *self = *state;
    redisReply *list = ask_list(self);
    int missing = 0;
    for (size_t i = 0; i < list->elements; i++) {
        const char *name = list->element[i]->str;
        if (row_of(name) == NULL) {
            redisReply *info = info_of(self, name);
            /* a module's commands are learnt from the server */
            if (!has_word(info->element[0]->element[2], "module")) {
                fprintf(stderr, "%s is not in the table\n", name);
                missing++;
            }
            freeReplyObject(info);
        }
    }
    freeReplyObject(list);
    assert_int_equal(missing, 0);
}

/* Without keys, and flagged neither read nor write by the servers: they change nothing,
 * so the table says read. */
/* clang-format off */
static const char *const reads[] = {
    "ACL CAT", "ACL DRYRUN", "ACL GENPASS", "ACL GETUSER", "ACL HELP", "ACL LIST", "ACL USERS",
    "ACL WHOAMI", "CLIENT GETNAME", "CLIENT GETREDIR", "CLIENT HELP", "CLIENT ID", "CLIENT INFO",
    "CLIENT LIST", "CLIENT TRACKINGINFO", "CLUSTER COUNT-FAILURE-REPORTS",
    "CLUSTER COUNTKEYSINSLOT", "CLUSTER GETKEYSINSLOT", "CLUSTER GETSLOTMIGRATIONS",
    "CLUSTER HELP", "CLUSTER INFO", "CLUSTER KEYSLOT", "CLUSTER LINKS", "CLUSTER MYID",
    "CLUSTER MYSHARDID", "CLUSTER NODES", "CLUSTER REPLICAS", "CLUSTER SHARDS", "CLUSTER SLAVES",
    "CLUSTER SLOT-STATS", "CLUSTER SLOTS", "COMMAND", "COMMAND COUNT", "COMMAND DOCS",
    "COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS", "COMMAND HELP", "COMMAND INFO", "COMMAND LIST",
    "COMMANDLOG GET", "COMMANDLOG HELP", "COMMANDLOG LEN", "CONFIG GET", "CONFIG HELP", "ECHO",
    "FUNCTION DUMP", "FUNCTION HELP", "FUNCTION LIST", "FUNCTION STATS", "HOTKEYS GET",
    "HOTKEYS HELP", "INFO",
    "JSON.DEBUG HELP", "LASTSAVE", "LATENCY DOCTOR", "LATENCY GRAPH", "LATENCY HELP",
    "LATENCY HISTOGRAM", "LATENCY HISTORY", "LATENCY LATEST", "MEMORY DOCTOR", "MEMORY HELP",
    "MEMORY MALLOC-STATS", "MEMORY STATS", "MODULE HELP", "MODULE LIST", "OBJECT HELP", "PING",
    "PUBSUB CHANNELS", "PUBSUB HELP", "PUBSUB NUMPAT", "PUBSUB NUMSUB", "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDNUMSUB", "ROLE", "SCRIPT EXISTS", "SCRIPT HELP", "SCRIPT SHOW", "SLOWLOG GET",
    "SLOWLOG HELP", "SLOWLOG LEN", "TIME", "XGROUP HELP", "XINFO HELP",
};
/* clang-format on */

/* Release 7.0 does not flag these as blocking yet. */
static const char *const blocking[] = {"WAIT", "WAITAOF"};

static int check_flags(const kw_command_info *row, const redisReply *info)
{
    const redisReply *words = info->element[2];
    const char *name = kw_command_name(row);
    unsigned expected = 0;
    expected |= has_word(words, "readonly") || LISTED(reads, name) ? KW_COMMAND_READ : 0;
    expected |= has_word(words, "write") ? KW_COMMAND_WRITE : 0;
    expected |= has_word(words, "blocking") || LISTED(blocking, name) ? KW_COMMAND_BLOCKING : 0;
    unsigned flags =
        kw_command_flags(row) & (KW_COMMAND_READ | KW_COMMAND_WRITE | KW_COMMAND_BLOCKING);
    if (flags != expected) {
        fprintf(stderr, "%s has flags %#x, and the server says %#x\n", name, flags, expected);
        return 1;
    }
    return 0;
}

static void test_getkeys_flags_are_those_of_the_server(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* what servers say of their commands is of Redis 7 */
    }
    for_each_command(*state, check_flags);
}

/* Policies that differ between releases, where the table has those of the newer ones
 * (MSETNX: not split any more). */
static const char *const newer[] = {"ACL DELUSER",    "ACL SAVE",         "ACL SETUSER",
                                    "CLIENT SETNAME", "CONFIG RESETSTAT", "CONFIG REWRITE",
                                    "LATENCY RESET",  "MSETNX",           "SCAN"};

/* Policies where the table goes its own way, see command_rows.def. */
static const char *const own[] = {"CLUSTERSCAN",  "HOTKEYS GET", "HOTKEYS RESET", "HOTKEYS START",
                                  "HOTKEYS STOP", "MSETEX",      "RANDOMKEY"};

static const char *const requests[] = {"all_shards", "all_nodes", "multi_shard", "special"};
static const kw_request_policy requests_of[] = {KW_REQUEST_ALL_SHARDS, KW_REQUEST_ALL_NODES,
                                                KW_REQUEST_MULTI_SHARD, KW_REQUEST_SPECIAL};
static const char *const responses[] = {"one_succeeded",  "all_succeeded", "agg_logical_and",
                                        "agg_logical_or", "agg_min",       "agg_max",
                                        "agg_sum",        "special"};
static const kw_response_policy responses_of[] = {
    KW_RESPONSE_ONE_SUCCEEDED,  KW_RESPONSE_ALL_SUCCEEDED, KW_RESPONSE_AGG_LOGICAL_AND,
    KW_RESPONSE_AGG_LOGICAL_OR, KW_RESPONSE_AGG_MIN,       KW_RESPONSE_AGG_MAX,
    KW_RESPONSE_AGG_SUM,        KW_RESPONSE_SPECIAL};

static int check_policies(const kw_command_info *row, const redisReply *info)
{
    const redisReply *tips = info->element[7];
    bool has_keys = row->keys.finder != KW_KEYS_NONE;
    kw_request_policy request = has_keys ? KW_REQUEST_KEYED : KW_REQUEST_ANY;
    kw_response_policy response =
        has_keys ? KW_RESPONSE_DEFAULT_KEYED : KW_RESPONSE_DEFAULT_KEYLESS;
    char tip[64];
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        snprintf(tip, sizeof(tip), "request_policy:%s", requests[i]);
        request = has_word(tips, tip) ? requests_of[i] : request;
    }
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        snprintf(tip, sizeof(tip), "response_policy:%s", responses[i]);
        response = has_word(tips, tip) ? responses_of[i] : response;
    }
    const char *name = kw_command_name(row);
    if (request == KW_REQUEST_ANY && kw_command_request(row) == KW_REQUEST_ONE_NODE) {
        request = KW_REQUEST_ONE_NODE; /* the tips do not tell the two from each other */
    }
    if ((kw_command_request(row) != request || kw_command_response(row) != response) &&
        !LISTED(newer, name) && !LISTED(own, name)) {
        fprintf(stderr, "%s has policies %d and %d, and the server says %d and %d\n", name,
                (int)kw_command_request(row), (int)kw_command_response(row), (int)request,
                (int)response);
        return 1;
    }
    return 0;
}

static void test_getkeys_policies_are_those_of_the_server(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* what servers say of their commands is of Redis 7 */
    }
    for_each_command(*state, check_policies);
}

/* Keys only in the table: shard channels, which are routed like keys; the cursor of CLUSTERSCAN,
 * whose hash tag is in the slot where it stands; and a PFMERGE without sources, which the server
 * runs but finds no keys in. */
static const char *const ours[] = {"CLUSTERSCAN", "SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE",
                                   "PFMERGE"};

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* True where the keys that the server and the table see are the same; order aside. */
static bool is_same_keys(const redisReply *theirs, const kw_keys *keys)
{
    const char *a[ARGS_MAX];
    const char *b[ARGS_MAX];
    size_t n = kw_keys_count(keys);
    for (size_t i = 0; i < n; i++) {
        a[i] = kw_keys_at(keys, i).data;
    }
    if (theirs->elements != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        b[i] = theirs->element[i]->str;
    }
    qsort(a, n, sizeof(a[0]), compare_text);
    qsort(b, n, sizeof(b[0]), compare_text);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void show_difference(const char **argv, size_t argc, const redisReply *theirs,
                            const kw_error *error)
{
    for (size_t i = 0; i < argc; i++) {
        fprintf(stderr, "%s ", argv[i]);
    }
    fprintf(stderr, ": the table says %s, and the server %zu keys %s\n",
            error->code == KW_OK ? "other keys" : error->text, theirs->elements,
            theirs->type == REDIS_REPLY_ERROR ? theirs->str : "");
}

/* 1 where the table and the server differ on the keys of a command. *agreed_n counts
 * those where both see keys. */
static int compare_keys(scene *self, size_t *agreed_n, const char **argv, size_t argc)
{
    const char *question[ARGS_MAX + 2] = {"COMMAND", "GETKEYS"};
    kw_bytes bytes[ARGS_MAX];
    for (size_t i = 0; i < argc; i++) {
        question[i + 2] = argv[i];
        bytes[i] = kw_bytes_of(argv[i]);
    }
    redisReply *theirs = ask(self, (int)argc + 2, question);
    const kw_command_info *row = kw_command_find(bytes, argc);
    assert_non_null(row);
    kw_keys keys = {0};
    kw_error error = KW_ERROR_INIT;
    kw_err err = kw_keys_find(&keys, &error, row, bytes, argc);
    bool is_same = false;
    if (theirs->type == REDIS_REPLY_ERROR) {
        bool is_internal = LISTED(ours, kw_command_name(row));
        bool is_arity = strstr(theirs->str, "number of arguments specified") != NULL;
        is_same = err != KW_OK || keys.ranges_n == 0 || is_internal || is_arity;
    } else if (err == KW_OK) {
        is_same = is_same_keys(theirs, &keys);
        *agreed_n += is_same && keys.ranges_n > 0 ? 1 : 0;
    } else {
        is_same = theirs->elements == 0; /* EVAL with a wrong numkeys: none for the server */
    }
    if (!is_same) {
        show_difference(argv, argc, theirs, &error);
    }
    freeReplyObject(theirs);
    return is_same ? 0 : 1;
}

/* The command with arguments a1, a2, ...; but where is number a 2, for numkeys. */
static size_t arguments_make(const char **argv, char text[ARGS_MAX][64], const char *name,
                             size_t argc, size_t number_at)
{
    kw_bytes words[2];
    size_t words_n = words_of(words, name);
    for (size_t i = 0; i < argc; i++) {
        if (i < words_n) {
            snprintf(text[i], 64, "%.*s", (int)words[i].len, words[i].data);
        } else if (i == number_at) {
            snprintf(text[i], 64, "2");
        } else {
            snprintf(text[i], 64, "a%zu", i);
        }
        argv[i] = text[i];
    }
    return argc > words_n ? argc : words_n;
}

/* Commands with keys in places that depend on other arguments. */
static const char *const examples[] = {
    "EVAL s 0 x",
    "EVAL s 1 k x",
    "EVALSHA h 2 k l x y",
    "EVAL_RO s 3 k l m",
    "EVALSHA_RO h 1 k",
    "FCALL f 2 k l x",
    "FCALL_RO f 1 k",
    "SORT k",
    "SORT k BY w_* LIMIT 0 5 GET x_* GET # DESC ALPHA STORE d",
    "SORT k STORE d STORE e",
    "SORT k STORE d DESC",
    "SORT k GET STORE",
    "SORT k BY STORE STORE e",
    "SORT_RO k GET x",
    "GEORADIUS k 1 2 3 km",
    "GEORADIUS k 1 2 3 km COUNT 3 ASC STORE d",
    "GEORADIUS k 1 2 3 km STOREDIST d",
    "GEORADIUSBYMEMBER k m 3 km store d",
    "GEORADIUSBYMEMBER k m 3 km",
    "GEORADIUS_RO k 1 2 3 km",
    "GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km",
    "XREAD STREAMS k 0",
    "XREAD COUNT 2 BLOCK 5 STREAMS k l 0 1",
    "XREAD count 2 streams k l m 0 1 2",
    "XREADGROUP GROUP g c STREAMS k >",
    "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS k l > >",
    "XREADGROUP GROUP streams streams STREAMS k >",
    "MIGRATE h 1 k 0 100",
    "MIGRATE h 1 k 0 100 COPY REPLACE",
    "MIGRATE h 1  0 100 KEYS k l m",
    "MIGRATE h 1  0 100 COPY AUTH keys KEYS k l",
    "MIGRATE h 1  0 100 AUTH2 keys keys KEYS k",
    "ZUNIONSTORE d 2 k l WEIGHTS 1 2",
    "ZINTERSTORE d 1 k AGGREGATE MAX",
    "ZDIFFSTORE d 3 k l m",
    "ZUNION 2 k l WITHSCORES",
    "ZINTER 1 k",
    "ZDIFF 2 k l",
    "ZINTERCARD 2 k l LIMIT 5",
    "SINTERCARD 2 k l LIMIT 5",
    "LMPOP 2 k l LEFT",
    "BLMPOP 0 2 k l LEFT COUNT 3",
    "ZMPOP 1 k MIN",
    "BZMPOP 0 2 k l MAX",
    "BITOP AND d k l",
    "BITOP NOT d k",
    "MSET k 1 l 2",
    "MSETNX k 1 l 2 m 3",
    "BLPOP k l m 0",
    "BZPOPMIN k l 0",
    "LCS k l IDX",
    "PFMERGE d k l",
    "COPY k l DB 1",
    "MEMORY USAGE k SAMPLES 1",
    "OBJECT HELP",
    "SPUBLISH c m",
};

static bool is_example(const kw_command_info *row)
{
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (strncmp(examples[i], kw_command_row_name(row), row->name_len) == 0 &&
            examples[i][row->name_len] == ' ') {
            return true;
        }
    }
    return false;
}

static void test_getkeys_every_command_with_plain_arguments_has_the_same_keys(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* what servers say of their commands is of Redis 7 */
    }
    scene *self = *state;
    redisReply *list = ask_list(self);
    int failures = 0;
    size_t agreed_n = 0;
    size_t commands_n = 0;
    for (size_t i = 0; i < list->elements; i++) {
        const char *name = list->element[i]->str;
        if (row_of(name) == NULL || is_container(list, name)) {
            continue;
        }
        redisReply *info = info_of(self, name);
        long long arity = info->element[0]->element[1]->integer;
        freeReplyObject(info);
        size_t least = (size_t)(arity < 0 ? -arity : arity);
        least = least < 2 ? 2 : least; /* COMMAND GETKEYS wants an argument */
        size_t before_n = agreed_n;
        for (size_t argc = least; argc <= least + (arity < 0 ? 4 : 0); argc++) {
            for (size_t number_at = 0; number_at < 4; number_at++) {
                const char *argv[ARGS_MAX];
                char text[ARGS_MAX][64];
                size_t n = arguments_make(argv, text, name, argc, number_at);
                failures += compare_keys(self, &agreed_n, argv, n);
            }
        }
        commands_n += agreed_n > before_n ? 1 : 0;
        const kw_command_info *row = row_of(name);
        if (row->keys.finder != KW_KEYS_NONE && agreed_n == before_n && !is_example(row) &&
            !LISTED(ours, kw_command_row_name(row))) {
            fprintf(stderr, "%s was never compared\n", name);
            failures++;
        }
    }
    freeReplyObject(list);
    printf("[   INFO   ] same keys for %zu commands\n", commands_n);
    assert_int_equal(failures, 0);
    assert_true(commands_n > 180);
}

static void test_getkeys_movable_keys_are_the_same(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* what servers say of their commands is of Redis 7 */
    }
    scene *self = *state;
    int failures = 0;
    size_t agreed_n = 0;
    const size_t examples_n = sizeof(examples) / sizeof(examples[0]);
    for (size_t i = 0; i < examples_n; i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s", examples[i]);
        const char *argv[ARGS_MAX];
        size_t argc = 0;
        for (char *word = text; word != NULL; argc++) {
            assert_true(argc < ARGS_MAX);
            argv[argc] = word; /* two spaces hold an empty argument */
            word = strchr(word, ' ');
            if (word != NULL) {
                *word++ = '\0';
            }
        }
        failures += compare_keys(self, &agreed_n, argv, argc);
    }
    assert_int_equal(failures, 0);
    assert_true(agreed_n + 3 >= examples_n); /* three of them have no keys */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_getkeys_every_command_of_the_server_is_in_the_table),
        cmocka_unit_test(test_getkeys_flags_are_those_of_the_server),
        cmocka_unit_test(test_getkeys_policies_are_those_of_the_server),
        cmocka_unit_test(test_getkeys_every_command_with_plain_arguments_has_the_same_keys),
        cmocka_unit_test(test_getkeys_movable_keys_are_the_same),
    };
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
