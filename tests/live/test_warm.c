/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that are made ahead, on a real cluster and a Sentinel group: after a failover the new
 * primary has them before the first command that it is sent, in the time of callers who pass by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/server.h"

#define WAIT_MS 60000u

/* Connections of the handle that are open at the server, by its own word. */
static unsigned open_at(kw_test_server *server)
{
    char *clients = kw_test_server_text(server, "CLIENT LIST");
    unsigned n = 0;
    for (const char *at = clients; (at = strstr(at, " name=warm ")) != NULL; at++) {
        n++;
    }
    free(clients);
    return n;
}

/* Connections that the handle has made to the server, and that were greeted. */
static uint64_t connects_to(kw_client *kw, const kw_test_server *server)
{
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(kw, &stats, i) == KW_OK; i++) {
        if (strcmp(stats.node, kw_test_server_address(server)) == 0) {
            return stats.connects;
        }
    }
    return 0;
}

/* A key in a slot of that owner. */
static void key_at(char *key, size_t len, kw_test_cluster *cluster, const kw_test_server *owner)
{
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, len, "key%u", i);
        if (kw_test_cluster_owner(cluster, kw_test_cluster_slot(cluster, key)) == owner) {
            return;
        }
    }
    fail_msg("no key lives at %s", kw_test_server_address(owner));
}

/* Calls on another node's key until the heir has its connection. */
static void pass_by_until_warm(kw_client *kw, kw_test_server *heir, const char *key)
{
    KW_TEST_UNTIL(open_at(heir) >= 1 && connects_to(kw, heir) >= 1)
    {
        kw_reply_free(kw_test_ask(kw, "GET %s", key));
        kw_test_sleep_ms(10);
    }
    for (int i = 0; i < 100; i++) { /* and whatever else is made ahead */
        kw_reply_free(kw_test_ask(kw, "GET %s", key));
        kw_test_sleep_ms(2);
    }
}

static void test_warm_new_primary_of_a_cluster(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1500, "save \"\"\n");
    kw_client *kw =
        kw_test_open("%s?pool-min=1&refresh-interval=200ms&client-name=warm&timeout=20s",
                     kw_test_cluster_uri(cluster));
    kw_error error = KW_ERROR_INIT;
    if (kw_connect(kw, &error) != KW_OK) {
        fail_msg("%s", error.text);
    }
    unsigned slot = kw_test_cluster_slot(cluster, "foo");
    kw_test_server *primary = kw_test_cluster_owner(cluster, slot);
    kw_test_server *replica = kw_test_cluster_replica(cluster, primary);
    char other[20];
    key_at(other, sizeof(other), cluster,
           kw_test_cluster_owner(cluster, (slot + 6000) % KW_SLOTS_N));
    assert_int_equal(open_at(primary), 1); /* kw_connect has dialled it */
    assert_int_equal(open_at(replica), 0); /* which nobody reads from */
    kw_test_server_kill(primary);
    kw_test_server *heir = kw_test_cluster_wait_owner(cluster, slot, primary, WAIT_MS);
    assert_ptr_equal(heir, replica);
    pass_by_until_warm(kw, heir, other);
    uint64_t connects_n = connects_to(kw, heir);
    kw_test_ask_ok(kw, "SET foo 1"); /* the first command that it gets */
    assert_int_equal(connects_to(kw, heir), connects_n);
    kw_close(kw);
    kw_test_cluster_free(cluster);
}

/* There is one data set, and nobody calls meanwhile: a host's loop keeps it warm. */
static void test_warm_new_primary_of_a_sentinel_group(void **state)
{
    (void)state;
    kw_test_group *group = kw_test_group_start(2, "save \"\"\n", NULL);
    kw_client *kw =
        kw_test_open("%s?pool-min=1&refresh-interval=200ms&client-name=warm&timeout=20s",
                     kw_test_group_uri(group));
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_test_server *old = kw_test_group_primary(group);
    assert_true(open_at(old) >= 1);
    assert_true(kw_fd(kw, NULL) >= 0);
    kw_test_server_kill(old);
    uint64_t promoted_ns;
    kw_test_server *heir = kw_test_group_wait_promotion(group, old, &promoted_ns);
    unsigned turns_n = 0; /* since the last connect to it: the greeting is to be answered */
    uint64_t connects_n = connects_to(kw, heir);
    KW_TEST_UNTIL(turns_n >= 100)
    {
        kw_test_server *primary = kw_test_group_primary(group); /* another one, on a busy machine */
        bool is_same = primary == NULL || primary == heir;
        heir = is_same ? heir : primary;
        turns_n = is_same && connects_to(kw, heir) == connects_n ? turns_n : 0;
        connects_n = connects_to(kw, heir);
        int wait_ms = kw_timeout(kw);
        kw_test_sleep_ms(wait_ms >= 0 && wait_ms < 10 ? (unsigned)wait_ms : 10);
        assert_int_equal(kw_process(kw, NULL), KW_OK);
        turns_n += turns_n > 0 || open_at(heir) >= 1 ? 1 : 0;
    }
    kw_test_ask_ok(kw, "SET foo 1");
    assert_int_equal(connects_to(kw, heir), connects_n);
    kw_close(kw);
    kw_test_group_free(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_new_primary_of_a_cluster),
        cmocka_unit_test(test_warm_new_primary_of_a_sentinel_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
