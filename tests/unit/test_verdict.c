/* SPDX-License-Identifier: BSD-3-Clause */
/* Server errors and what they mean: one row an error. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/endpoint.h"
#include "base/random.h"
#include "engine/verdict.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

typedef struct kind_row {
    const char *text;
    kw_verdict_kind kind;
    kw_verdict_kind script_kind;
} kind_row;

static const kind_row kinds[] = {
    {"MOVED 1 h:1", KW_VERDICT_MOVED, KW_VERDICT_MOVED},
    {"ASK 1 h:1", KW_VERDICT_ASK, KW_VERDICT_ASK},
    {"REDIRECT 10.0.0.1:6380", KW_VERDICT_REDIRECT, KW_VERDICT_REDIRECT},
    {"REDIRECT ::1:6380", KW_VERDICT_REDIRECT, KW_VERDICT_REDIRECT},
    {"REDIRECT", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"REDIRECT h", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"REDIRECT h:0", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"REDIRECT 1 h:1", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"TRYAGAIN Multiple keys request during rehashing of slot", KW_VERDICT_TRY_AGAIN,
     KW_VERDICT_TRY_AGAIN},
    {"TRYAGAIN Slot is being trimmed", KW_VERDICT_TRY_AGAIN, KW_VERDICT_TRY_AGAIN}, /* Redis 8.4 */
    {"NOTREADY Cluster is not ready to migrate slots", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOGOODPRIMARY Primary does not support FAILOVER command", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"CLUSTERDOWN Hash slot not served", KW_VERDICT_CLUSTER_DOWN, KW_VERDICT_CLUSTER_DOWN},
    {"CLUSTERDOWN The cluster is down", KW_VERDICT_CLUSTER_DOWN, KW_VERDICT_CLUSTER_DOWN},
    {"CLUSTERDOWN", KW_VERDICT_CLUSTER_DOWN, KW_VERDICT_CLUSTER_DOWN},
    {"LOADING Redis is loading the dataset in memory", KW_VERDICT_LOADING, KW_VERDICT_LOADING},
    {"LOADINGX", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"loading", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {" LOADING", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"MASTERDOWN Link with MASTER is down", KW_VERDICT_MASTER_DOWN, KW_VERDICT_MASTER_DOWN},
    {"READONLY You can't write against a read only replica.", KW_VERDICT_READONLY,
     KW_VERDICT_FINAL},
    {"BUSY Redis is busy running a script.", KW_VERDICT_BUSY, KW_VERDICT_FINAL},
    {"BUSYKEY Target key name already exists.", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"BUSYGROUP Consumer Group name already exists", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
     "replica?)",
     KW_VERDICT_UNBLOCKED, KW_VERDICT_FINAL},
    {"UNBLOCKED client unblocked via CLIENT UNBLOCK", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOAUTH Authentication required.", KW_VERDICT_AUTH, KW_VERDICT_FINAL},
    {"WRONGPASS invalid username-password pair or user is disabled.", KW_VERDICT_AUTH,
     KW_VERDICT_FINAL},
    {"NOPERM this user has no permissions to run the 'get' command", KW_VERDICT_AUTH,
     KW_VERDICT_FINAL},
    {"DENIED Redis is running in protected mode", KW_VERDICT_AUTH, KW_VERDICT_FINAL},
    {"ERR max number of clients reached", KW_VERDICT_FULL, KW_VERDICT_FINAL},
    {"ERR max number of clients + cluster connections reached", KW_VERDICT_FULL, KW_VERDICT_FINAL},
    {"ERR max number of clients reached, says a script", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"ERR unknown command 'X', with args beginning with: ", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"CROSSSLOT Keys in request don't hash to the same slot", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"OOM command not allowed when used memory > 'maxmemory'.", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"MISCONF Redis is configured to save RDB snapshots", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOREPLICAS Not enough good replicas to write.", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOSCRIPT No matching script. Please use EVAL.", KW_VERDICT_NO_SCRIPT, KW_VERDICT_NO_SCRIPT},
    {"NOSCRIPT No matching script", KW_VERDICT_NO_SCRIPT, KW_VERDICT_NO_SCRIPT},
    {"NOSCRIPT says a script", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOSCRIPT", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"NOPROTO unsupported protocol version", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {"EXECABORT Transaction discarded because of previous errors.", KW_VERDICT_FINAL,
     KW_VERDICT_FINAL},
    {"", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
    {" ", KW_VERDICT_FINAL, KW_VERDICT_FINAL},
};

static void test_verdict_each_server_error_has_its_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        kw_bytes text = kw_bytes_of(kinds[i].text);
        if (kw_verdict_of(text, false).kind != kinds[i].kind ||
            kw_verdict_of(text, true).kind != kinds[i].script_kind) {
            fail_msg("\"%s\" has another kind", kinds[i].text);
        }
    }
    kw_bytes none = {NULL, 0};
    assert_int_equal(kw_verdict_of(none, false).kind, KW_VERDICT_FINAL);
}

typedef struct redirect_row {
    const char *text; /* behind "MOVED " or "ASK " */
    unsigned slot;
    const char *host;
    unsigned port;
} redirect_row;

static const redirect_row redirects[] = {
    {"3999 127.0.0.1:6381", 3999, "127.0.0.1", 6381},
    {"0 h:1", 0, "h", 1},
    {"16383 node-1.example.com:65535", 16383, "node-1.example.com", 65535},
    {"5 :7000", 5, "", 7000},
    {"5 ?:7000", 5, "?", 7000},
    {"5 ::1:7000", 5, "::1", 7000},
    {"5 [::1]:7000", 5, "::1", 7000},
    {"5 2001:db8::7:7000", 5, "2001:db8::7", 7000},
    {"5 ::ffff:10.0.0.1:7000", 5, "::ffff:10.0.0.1", 7000},
    {"5 [fe80::1%eth0]:7000", 5, "fe80::1%eth0", 7000},
};

static void check_redirect(const redirect_row *row, const char *word, kw_verdict_kind kind)
{
    char text[200];
    snprintf(text, sizeof(text), "%s %s", word, row->text);
    kw_verdict verdict = kw_verdict_of(kw_bytes_of(text), false);
    if (verdict.kind != kind) {
        fail_msg("\"%s\" is no redirect", text);
    }
    assert_int_equal(verdict.slot, row->slot);
    assert_int_equal(verdict.port, row->port);
    assert_true(kw_bytes_equal(verdict.host, kw_bytes_of(row->host)));
    assert_int_equal(verdict.is_unknown, strcmp(row->host, "?") == 0);
}

static void test_verdict_good_redirect_gives_slot_and_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(redirects); i++) {
        check_redirect(&redirects[i], "MOVED", KW_VERDICT_MOVED);
        check_redirect(&redirects[i], "ASK", KW_VERDICT_ASK);
    }
}

static void test_verdict_bad_redirect_is_final(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "MOVED",
        "MOVED ",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED 1 h",
        "MOVED 1 h:",
        "MOVED 1 :",
        "MOVED 1 h:0",
        "MOVED 1 h:65536",
        "MOVED 1 h:99999999999999999999",
        "MOVED 1 h:+1",
        "MOVED 1 h:-1",
        "MOVED 1 h:1x",
        "MOVED 1 h:port",
        "MOVED 16384 h:1",
        "MOVED -1 h:1",
        "MOVED +1 h:1",
        "MOVED x h:1",
        "MOVED 1.5 h:1",
        "MOVED  h:1",
        "MOVED  1 h:1",
        "MOVED 1  h:1",
        "MOVED 1 h:1 ",
        "MOVED 1 h:1 more",
        "MOVED 1 h:1\r\n",
        "MOVED 1\th:1",
        "MOVED 1 h\x01:1",
        "MOVED 1 h@x:1",
        "MOVED 1 /tmp/socket:1",
        "MOVED 1 []:1",
        "MOVED 1 [:1",
        "MOVED 1 [::1:1",
        "MOVED 1 [h]:1",
        "MOVED 1 [[::1]]:1",
        "MOVED 1 h:1:2",
        "MOVED 1 1.2.3.4:7000:7001",
        "MOVEDX 1 h:1",
        "moved 1 h:1",
        "ASKX 1 h:1",
        "ASKING 1 h:1",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        kw_verdict verdict = kw_verdict_of(kw_bytes_of(texts[i]), false);
        if (verdict.kind != KW_VERDICT_FINAL) {
            fail_msg("\"%s\" is a redirect", texts[i]);
        }
        assert_int_equal(verdict.port, 0);
    }
}

static void test_verdict_longest_host_is_taken_and_one_more_is_not(void **state)
{
    (void)state;
    char text[KW_HOST_MAX + 32];
    for (size_t len = KW_HOST_MAX; len <= KW_HOST_MAX + 1; len++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "MOVED 1 ");
        memset(text + at, 'h', len);
        memcpy(text + at + len, ":1", 3);
        bool is_taken = kw_verdict_of(kw_bytes_of(text), false).kind == KW_VERDICT_MOVED;
        assert_int_equal(is_taken, len == KW_HOST_MAX);
    }
}

static void test_verdict_cut_anywhere_is_final_or_whole(void **state)
{
    (void)state;
    static const char whole[] = "MOVED 3999 127.0.0.1:6381";
    for (size_t len = 0; len < sizeof(whole); len++) {
        kw_bytes text = {whole, len};
        kw_verdict verdict = kw_verdict_of(text, false);
        /* from the first digit of the port on */
        assert_int_equal(verdict.kind == KW_VERDICT_MOVED, len > strlen("MOVED 3999 127.0.0.1:"));
    }
}

static void check_bounds(kw_verdict verdict, kw_bytes text)
{
    if (verdict.kind != KW_VERDICT_MOVED && verdict.kind != KW_VERDICT_ASK) {
        assert_int_equal(verdict.host.len, 0);
        return;
    }
    assert_true(verdict.slot <= 16383 && verdict.port > 0);
    assert_true(verdict.host.len <= KW_HOST_MAX);
    assert_true(verdict.host.data >= text.data &&
                verdict.host.data + verdict.host.len <= text.data + text.len);
}

static void test_verdict_random_changes_stay_in_bounds(void **state)
{
    (void)state;
    static const char *const texts[] = {"MOVED 16383 [::1]:65535", "ASK 1 10.0.0.1:7000"};
    static const char bytes[] = " :[]?0123456789.+-a\n";
    kw_random random;
    kw_random_init(&random, kw_test_seed("verdict"));
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t len = strlen(texts[round % 2]);
        memcpy(text, texts[round % 2], len);
        for (uint64_t n = 1 + kw_random_below(&random, 3); n > 0; n--) {
            text[kw_random_below(&random, len)] = bytes[kw_random_below(&random, sizeof(bytes))];
        }
        kw_bytes changed = {text, len};
        check_bounds(kw_verdict_of(changed, round % 4 < 2), changed);
    }
}

static void test_verdict_code_is_ok_only_where_nothing_is_waited_for(void **state)
{
    (void)state;
    for (int kind = KW_VERDICT_FINAL; kind <= KW_VERDICT_FULL; kind++) {
        bool is_final =
            kind == KW_VERDICT_FINAL || kind == KW_VERDICT_AUTH || kind == KW_VERDICT_NO_SCRIPT;
        assert_int_equal(kw_verdict_code((kw_verdict_kind)kind) == KW_OK, is_final);
    }
    assert_int_equal(kw_verdict_code(KW_VERDICT_LOADING), KW_ERR_LOADING);
    assert_int_equal(kw_verdict_code(KW_VERDICT_UNBLOCKED), KW_ERR_READONLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdict_each_server_error_has_its_kind),
        cmocka_unit_test(test_verdict_good_redirect_gives_slot_and_address),
        cmocka_unit_test(test_verdict_bad_redirect_is_final),
        cmocka_unit_test(test_verdict_longest_host_is_taken_and_one_more_is_not),
        cmocka_unit_test(test_verdict_cut_anywhere_is_final_or_whole),
        cmocka_unit_test(test_verdict_random_changes_stay_in_bounds),
        cmocka_unit_test(test_verdict_code_is_ok_only_where_nothing_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
