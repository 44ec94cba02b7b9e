/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes of a ring that die and return empty under many callers, for each on-node-down, a part of
 * the program each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/ring_outage.h"
#include "support/parts.h"

/* One of many callers, with keys of its own. */
typedef struct caller {
    pthread_t thread;
    kw_client *client;
    unsigned number;
    atomic_bool *is_over;
    atomic_ulong *answers_n;
    unsigned long wrong_n;
} caller;

#define CALLER_KEYS 20

static void *call_on(void *arg)
{
    caller *self = arg;
    unsigned last[CALLER_KEYS] = {0};
    for (unsigned turn = 1; !atomic_load(self->is_over); turn++) {
        kw_error error = KW_ERROR_INIT;
        unsigned i = turn * 7 % CALLER_KEYS;
        last[i] = turn;
        kw_reply_free(kw_command(self->client, &error, "SET %u:%u %u:%u:%u", self->number, i,
                                 self->number, i, turn));
        kw_reply *reply = kw_command(self->client, &error, "GET %u:%u", self->number, i);
        const char *text = kw_reply_str(reply, NULL);
        unsigned got[3] = {self->number, i, 0};
        bool is_good = reply == NULL || kw_reply_is_nil(reply) ||
                       (text != NULL && sscanf(text, "%u:%u:%u", &got[0], &got[1], &got[2]) == 3);
        if (!is_good || got[0] != self->number || got[1] != i || got[2] > last[i]) {
            fprintf(stderr, "%u:%u: \"%s\"\n", self->number, i, text != NULL ? text : error.text);
            self->wrong_n++;
        }
        atomic_fetch_add(self->answers_n, reply != NULL ? 1 : 0);
        kw_reply_free(reply);
        kw_test_sleep_ms(1);
    }
    return NULL;
}

static void wait_for_answers(atomic_ulong *answers_n, unsigned long more)
{
    unsigned long until = atomic_load(answers_n) + more;
    KW_TEST_AWAIT(atomic_load(answers_n) >= until)
}

static void test_nodes_die_and_return_empty_under_load(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail&timeout=500ms",
                                        "?on-node-down=next&timeout=500ms",
                                        "?on-node-down=eject&timeout=500ms"};
    enum { CALLERS = 16 };
    ring_servers *servers = *state;
    KW_TEST_SHARE_OUT(i, sizeof(tails) / sizeof(tails[0]))
    {
        diary events;
        caller callers[CALLERS];
        atomic_bool is_over = false;
        atomic_ulong answers_n = 0;
        kw_client *client = open_with(servers, &events, tails[i]);
        for (unsigned k = 0; k < CALLERS; k++) {
            caller fresh = {.client = client, .number = k};
            callers[k] = fresh;
            callers[k].is_over = &is_over;
            callers[k].answers_n = &answers_n;
            assert_int_equal(pthread_create(&callers[k].thread, NULL, call_on, &callers[k]), 0);
        }
        for (unsigned round = 0; round < 3; round++) {
            static const char *const names[] = {"a", "b", "c"};
            kw_test_server_kill(servers->servers[round]);
            call_until(client, names[round], true);
            wait_for_answers(&answers_n, 200);
            kw_test_server_restart(servers->servers[round]);
            call_until(client, names[round], false);
            wait_for_answers(&answers_n, 200);
        }
        atomic_store(&is_over, true);
        unsigned long wrong_n = 0;
        for (unsigned k = 0; k < CALLERS; k++) {
            kw_test_join(callers[k].thread);
            wrong_n += callers[k].wrong_n;
        }
        assert_int_equal(wrong_n, 0);
        assert_int_equal(atomic_load(&events.ups),
                         atomic_load(&events.downs) + atomic_load(&events.ejections));
        kw_close(client);
    }
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nodes_die_and_return_empty_under_load, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 3, run);
}
