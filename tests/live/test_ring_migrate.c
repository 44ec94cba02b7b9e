/* SPDX-License-Identifier: BSD-3-Clause */
/* The example that copies keys to a node that has joined: whole, with their lives, and from
 * where it was stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "live/ring_servers.h"
#include "support/keeper.h"

#include <unistd.h>

/* The example, as it is printed, is part of this program. */
int migrate(int argc, char **argv);
#define main migrate
#include "../../examples/ring_migrate.c"
#undef main

enum { KEYS = 3000 };

static void fill(kw_client *client)
{
    for (int i = 0; i < KEYS; i++) {
        switch (i % 4) {
        case 0:
            kw_test_ask_ok(client, "SET key:%d %b", i, "\0\r\n\xff", (size_t)4);
            break;
        case 1:
            kw_test_ask_ok(client, "SET key:%d %d PX 600000", i, i);
            break;
        case 2:
            assert_int_equal(kw_test_ask_integer(client, "HSET key:%d a 1 b %d", i, i), 2);
            break;
        default:
            assert_int_equal(kw_test_ask_integer(client, "ZADD key:%d 1.5 x", i), 1);
            break;
        }
    }
}

/* Every key reads as it was written, through the new ring. */
static void check(kw_client *client)
{
    for (int i = 0; i < KEYS; i++) {
        kw_reply *reply;
        switch (i % 4) {
        case 0:
            reply = kw_test_ask(client, "GET key:%d", i);
            assert_memory_equal(kw_reply_str(reply, NULL), "\0\r\n\xff", 4);
            break;
        case 1:
            reply = kw_test_ask(client, "GET key:%d", i);
            assert_int_equal(atoi(kw_reply_str(reply, NULL)), i);
            assert_in_range(kw_test_ask_integer(client, "PTTL key:%d", i), 1, 600000);
            break;
        case 2:
            reply = kw_test_ask(client, "HGET key:%d b", i);
            assert_int_equal(atoi(kw_reply_str(reply, NULL)), i);
            assert_int_equal(kw_test_ask_integer(client, "PTTL key:%d", i), -1);
            break;
        default:
            reply = kw_test_ask(client, "ZSCORE key:%d x", i);
            assert_string_equal(kw_reply_str(reply, NULL), "1.5");
            break;
        }
        kw_reply_free(reply);
    }
}

static int run(const ring_servers *servers, const char *place)
{
    char from[400];
    char to[400];
    ring_uri(from, sizeof(from), servers, 2, "");
    ring_uri(to, sizeof(to), servers, 3, "");
    char *argv[] = {(char *)"ring_migrate", from, to, (char *)(uintptr_t)place, NULL};
    before = NULL; /* as in a process of its own */
    after = NULL;
    return migrate(place != NULL ? 4 : 3, argv);
}

/* Runs it with its output in a file; the first place that it names. */
static char *run_for_place(const ring_servers *servers)
{
    char name[400];
    char line[6000];
    char *place = NULL;
    snprintf(name, sizeof(name), "%s/places", kw_test_folder());
    fflush(stdout);
    int screen = dup(STDOUT_FILENO);
    assert_non_null(freopen(name, "w", stdout));
    int status = run(servers, NULL);
    fflush(stdout);
    assert_int_equal(dup2(screen, STDOUT_FILENO), STDOUT_FILENO);
    close(screen);
    assert_int_equal(status, 0);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    while (place == NULL && fgets(line, sizeof(line), file) != NULL) {
        char *begin = strstr(line, "place is ");
        line[strcspn(line, "\n")] = '\0';
        place = begin != NULL ? strdup(begin + strlen("place is ")) : NULL;
    }
    fclose(file);
    assert_non_null(place);
    return place;
}

static void test_keys_that_moved_are_at_their_new_owner(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    kw_client *two = kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, 2, ""));
    fill(two);
    kw_close(two);
    kw_client *three = ring_open(servers, "");
    /* What was written with the new ring is newer, and stays. */
    kw_test_server *c = servers->servers[2];
    size_t used[RING_SERVERS] = {0};
    int newer = 0;
    char key[32];
    do {
        newer += 4;
        snprintf(key, sizeof(key), "key:%d", newer);
        assert_in_range(newer, 4, 10000);
    } while (ring_owner(servers, three, key, strlen(key), used) != c);
    kw_test_ask_ok(three, "SET %s newer", key);
    assert_int_equal(run(servers, NULL), 0);
    char *text = kw_test_ask_text(three, "GET %s", key);
    assert_string_equal(text, "newer");
    free(text);
    kw_test_ask_ok(three, "SET %s %b", key, "\0\r\n\xff", (size_t)4);
    check(three);
    assert_in_range(kw_test_server_integer(c, "DBSIZE"), KEYS / 6, KEYS / 2);
    kw_close(three);
}

static void test_it_goes_on_from_a_place_and_may_run_twice(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    kw_client *two = kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, 2, ""));
    fill(two);
    kw_close(two);
    kw_test_server *c = servers->servers[2];
    char *place = run_for_place(servers);
    long long all = kw_test_server_integer(c, "DBSIZE");
    kw_test_server_ok(c, "FLUSHALL");
    assert_int_equal(run(servers, place), 0); /* what is behind the first batch */
    long long part = kw_test_server_integer(c, "DBSIZE");
    assert_in_range(part, 1, all - 1);
    assert_int_equal(run(servers, place), 0);
    assert_int_equal(kw_test_server_integer(c, "DBSIZE"), part);
    free(place);
    assert_int_equal(run(servers, NULL), 0);
    assert_int_equal(kw_test_server_integer(c, "DBSIZE"), all);
    kw_client *three = ring_open(servers, "");
    check(three);
    kw_close(three);
    assert_int_not_equal(run(servers, "nowhere"), 0);
}

static void test_a_node_that_takes_nothing_stops_it(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    kw_client *two = kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, 2, ""));
    fill(two);
    kw_close(two);
    kw_test_server *c = servers->servers[2];
    kw_test_server_ok(c, "CONFIG SET maxmemory 1");
    assert_int_not_equal(run(servers, NULL), 0);
    kw_test_server_ok(c, "CONFIG SET maxmemory 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_keys_that_moved_are_at_their_new_owner, ring_flush),
        cmocka_unit_test_setup(test_it_goes_on_from_a_place_and_may_run_twice, ring_flush),
        cmocka_unit_test_setup(test_a_node_that_takes_nothing_stops_it, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
