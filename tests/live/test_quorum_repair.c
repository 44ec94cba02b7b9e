/* SPDX-License-Identifier: BSD-3-Clause */
/* The program that repairs a ring (examples/quorum_repair.c): from each state that the model's
 * events leave behind, all copies are made equal; and what has lost its data since it began stays
 * out. */
#include "live/quorum_fixture.h"

#include <hiredis.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/quorum_script.h"
#include "support/keeper.h"

/* The program, as a function of a child. */
#define main quorum_repair
#define exit _exit
#include "../../examples/quorum_repair.c"
#undef exit
#undef main

#define TAIL "?copies=3&quorum-guard=on&timeout=5s"

#define KEPT_AT_LEAST_MS ((long long)(KW_RECORD_KEPT_MS / 2))

static void wake(int signal_number)
{
    (void)signal_number;
}

/* Begins the program, which waits so long before it walks, or until SIGUSR1. */
static pid_t begin_repair(const fixture *fix, const char *seconds)
{
    static char uri[600];
    static char path[400];
    snprintf(path, sizeof(path), "%s/repair.state", kw_test_folder());
    size_t len = (size_t)snprintf(uri, sizeof(uri), "redis-ring://");
    for (size_t i = 0; i < RING_SERVERS; i++) {
        len += (size_t)snprintf(uri + len, sizeof(uri) - len, "%s%c=%s", i > 0 ? "," : "",
                                (char)('a' + i), kw_test_server_address(fix->servers->servers[i]));
    }
    snprintf(uri + len, sizeof(uri) - len, TAIL);
    char name[] = "quorum_repair";
    static char wait_s[8];
    snprintf(wait_s, sizeof(wait_s), "%s", seconds);
    char *argv[] = {name, uri, path, wait_s, NULL};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = wake};
        sigaction(SIGUSR1, &action, NULL);
        int status = quorum_repair(4, argv);
        fflush(NULL);
        _exit(status);
    }
    return child;
}

static int end_repair(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* It may not sleep yet when it is woken. */
static int wake_and_end(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        kill(child, SIGUSR1);
        pause_ms(20);
    }
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* All servers are in service, as after a first repair. */
static void mark_all(const fixture *fix)
{
    for (size_t i = 0; i < RING_SERVERS; i++) {
        kw_test_server_ok(fix->servers->servers[i], "SET %s 1", KW_QUORUM_MARKER);
    }
}

/* What the copy held, for it to come back with. */
static redisReply *take_away(const fixture *fix, const char *key)
{
    wait_for_copies(fix, key, 3);
    kw_test_server *server = copy_of(fix, key, 2);
    redisReply *old = kw_test_server_command(server, "GET %s", key);
    assert_int_equal(old->type, REDIS_REPLY_STRING);
    kw_test_server_kill(server);
    return old;
}

static void bring_back(const fixture *fix, const char *key, redisReply *old)
{
    kw_test_server *server = copy_of(fix, key, 2);
    kw_test_server_restart(server);
    kw_test_server_ok(server, "SET %s 1", KW_QUORUM_MARKER);
    freeReplyObject(kw_test_server_command(server, "SET %s %b", key, old->str, (size_t)old->len));
    freeReplyObject(old);
}

/* A ballot of a writer that died behind its first request: for the version that is there, or for
 * there being no value. */
static void promise_at(kw_test_server *server, const char *key, bool is_for_version)
{
    char ballot[2 * KW_STAMP_BYTES];
    kw_stamp stamp = {((uint64_t)time(NULL) + 1) * 1000 << 16, 7};
    kw_record record;
    redisReply *there = kw_test_server_command(server, "GET %s", key);
    assert_int_equal(there->type, REDIS_REPLY_STRING);
    assert_true(kw_record_get(&record, (kw_bytes){there->str, (size_t)there->len}));
    kw_stamp_put((unsigned char *)ballot, stamp);
    kw_stamp_put((unsigned char *)ballot + KW_STAMP_BYTES, record.origin);
    freeReplyObject(there);
    size_t len = is_for_version ? sizeof(ballot) : KW_STAMP_BYTES;
    redisReply *reply =
        kw_test_server_command(server, "EVAL %s 1 %s %s %b", kw_quorum_script()->text.data, key,
                               "p0 h 3600000 1800000", ballot, len);
    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    freeReplyObject(reply);
}

/* Version and value of all three copies are the same. */
static void assert_equal_copies(const fixture *fix, const char *key)
{
    kw_record first = {.linger_ms = 0};
    redisReply *replies[3];
    for (size_t i = 0; i < 3; i++) {
        kw_record record;
        replies[i] = kw_test_server_command(copy_of(fix, key, i), "GET %s", key);
        assert_int_equal(replies[i]->type, REDIS_REPLY_STRING);
        assert_true(kw_record_get(&record, (kw_bytes){replies[i]->str, (size_t)replies[i]->len}));
        first = i == 0 ? record : first;
        assert_true(kw_stamp_equal(record.stamp, first.stamp));
        assert_true(kw_stamp_equal(record.origin, first.origin));
        assert_int_equal(record.is_tombstone, first.is_tombstone);
        assert_int_equal(record.is_mortal, first.is_mortal);
        assert_false(record.is_kept);
        assert_int_equal(record.value.len, first.value.len);
        assert_memory_equal(record.value.data, first.value.data, first.value.len);
    }
    for (size_t i = 0; i < 3; i++) {
        freeReplyObject(replies[i]);
    }
}

static void change(const fixture *fix, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_request request = request_of(KW_QUORUM_ACT_SET, key, "new");
    if (strcmp(key, "deleted") == 0) {
        assert_int_equal(kw_quorum_delete(fix->quorum, &error, key, strlen(key)), KW_OK);
        return;
    }
    request.ttl_ms = strncmp(key, "mortal", 6) == 0 ? 600000 : 0;
    assert_true(is_written(fix, &request));
}

static void test_quorum_repair_heals_what_faults_leave_behind(void **state)
{
    static const char *const missed[] = {"older", "deleted", "mortal"};
    fixture fix = open_with(state, TAIL);
    mark_all(&fix);
    for (size_t i = 0; i < 3; i++) { /* a copy that was away for a write, and is back */
        set(&fix, missed[i], "old");
        redisReply *old = take_away(&fix, missed[i]);
        change(&fix, missed[i]);
        bring_back(&fix, missed[i], old);
    }
    set(&fix, "promised", "value"); /* a conditional writer that died */
    wait_for_copies(&fix, "promised", 3);
    promise_at(copy_of(&fix, "promised", 1), "promised", false);
    change(&fix, "mortal-promised"); /* and one that would have built on a value with a life */
    wait_for_copies(&fix, "mortal-promised", 3);
    for (size_t i = 1; i < 3; i++) {
        kw_test_server *server = copy_of(&fix, "mortal-promised", i);
        promise_at(server, "mortal-promised", true);
        assert_true(kw_test_server_integer(server, "PTTL mortal-promised") > KEPT_AT_LEAST_MS);
    }
    set(&fix, "alone", "value"); /* a plain one */
    wait_for_copies(&fix, "alone", 3);
    (void)kw_test_server_integer(copy_of(&fix, "alone", 0), "DEL alone");
    (void)kw_test_server_integer(copy_of(&fix, "alone", 1), "DEL alone");
    set(&fix, "emptied", "value");
    wait_for_copies(&fix, "emptied", 3);
    size_t first = copy_of(&fix, "emptied", 0) == copy_of(&fix, "alone", 2) ? 1 : 0;
    kw_test_server_ok(copy_of(&fix, "emptied", first), "FLUSHALL");
    assert_int_equal(end_repair(begin_repair(&fix, "0")), 0);
    static const char *const keys[] = {"older",    "deleted", "mortal", "mortal-promised",
                                       "promised", "alone",   "emptied"};
    for (size_t i = 0; i < 7; i++) {
        kw_quorum_request request = request_of(KW_QUORUM_ACT_REPAIR, keys[i], NULL);
        assert_equal_copies(&fix, keys[i]);
        assert_false(is_written(&fix, &request));
        for (size_t k = 0; k < 3 && i >= 1 && i <= 3; k++) { /* and what may end does */
            long long left = kw_test_server_integer(copy_of(&fix, keys[i], k), "PTTL %s", keys[i]);
            assert_true(left > 0 && left < KEPT_AT_LEAST_MS);
        }
    }
    (void)assert_value(&fix, "older", "new");
    (void)assert_value(&fix, "deleted", NULL);
    (void)assert_value(&fix, "mortal", "new");
    (void)assert_value(&fix, "mortal-promised", "new");
    (void)assert_value(&fix, "promised", "value");
    (void)assert_value(&fix, "emptied", "value");
    shut(&fix);
}

/* It would be put into service without what was repaired before that. */
static void test_quorum_repair_keeps_out_who_lost_data_meanwhile(void **state)
{
    fixture fix = open_with(state, TAIL);
    mark_all(&fix);
    set(&fix, "k", "value");
    wait_for_copies(&fix, "k", 3);
    kw_test_server *last = fix.servers->servers[RING_SERVERS - 1];
    kw_test_server *emptied = copy_of(&fix, "k", 0);
    pid_t child = begin_repair(&fix, "600");
    for (int i = 0; i < 4000 && kw_test_server_integer(last, "EXISTS " BEGUN) == 0; i++) {
        pause_ms(5);
    }
    kw_test_server_ok(emptied, "FLUSHALL");
    assert_int_not_equal(wake_and_end(child), 0);
    assert_int_equal(kw_test_server_integer(emptied, "EXISTS " KW_QUORUM_MARKER), 0);
    assert_int_equal(end_repair(begin_repair(&fix, "0")), 0);
    assert_int_equal(kw_test_server_integer(emptied, "EXISTS " KW_QUORUM_MARKER), 1);
    assert_equal_copies(&fix, "k");
    shut(&fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quorum_repair_heals_what_faults_leave_behind, ring_flush),
        cmocka_unit_test_setup(test_quorum_repair_keeps_out_who_lost_data_meanwhile, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
