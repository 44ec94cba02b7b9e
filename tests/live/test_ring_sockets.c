/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring whose members are Unix sockets: calls, batches, sessions, and a member that joins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include "live/ring_servers.h"

/* "a=%2Ftmp%2F...%2Fredis.sock", as it stands in a URI. */
static void write_member(char *out, size_t room, const ring_servers *servers, size_t i)
{
    char path[300];
    const char *socket = kw_test_server_socket(servers->servers[i]);
    assert_true(kw_uri_escape(path, sizeof(path), socket, strlen(socket)) < sizeof(path));
    snprintf(out, room, "%c=%s", (char)('a' + (int)i), path);
}

static void test_ring_of_sockets_has_keys_on_each(void **state)
{
    ring_servers *servers = *state;
    char first[400];
    char second[400];
    char third[400];
    write_member(first, sizeof(first), servers, 0);
    write_member(second, sizeof(second), servers, 1);
    write_member(third, sizeof(third), servers, 2);
    kw_client *client = kw_test_open("redis-ring://%s,%s*2", first, second);
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(kw_batch_add(batch, &error, "SET socket:%d %d", i, i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    kw_batch_free(batch);
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 200);
    assert_true(kw_test_server_integer(servers->servers[0], "DBSIZE") > 20);
    assert_true(kw_test_server_integer(servers->servers[1], "DBSIZE") > 60);
    kw_session *session = kw_session_open(client, &error, "socket:7", 8);
    assert_non_null(session);
    kw_reply *reply = kw_session_command(session, &error, "GET socket:7");
    assert_string_equal(kw_reply_str(reply, NULL), "7");
    kw_reply_free(reply);
    kw_session_close(session);
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_add(members, &error, third), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    kw_members_free(members);
    for (int i = 0; i < 60; i++) {
        kw_test_ask_ok(client, "SET later:%d %d", i, i);
    }
    assert_true(kw_test_server_integer(servers->servers[2], "DBSIZE") > 0);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ring_of_sockets_has_keys_on_each, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}
