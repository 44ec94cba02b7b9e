/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks to a real cluster: a handle for each test, and what its callbacks were
 * told. */
#ifndef LIVE_LOOP_CLUSTER_H
#define LIVE_LOOP_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/client.h"
#include "net/poller.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/turn.h"

#define ENOUGH_MS 20000
#define ANSWERS_N 5001 /* a multiple of 3 */

static kw_test_cluster *cluster;
static kw_client *kw;
static kw_test_answer answers[ANSWERS_N];

static inline int tear_down(void **state)
{
    (void)state;
    kw_test_cluster_free(cluster);
    return 0;
}

/* A fresh handle for each test, on the system's best poller. */
static inline int open_handle(void **state)
{
    (void)state;
    char uri[300];
    snprintf(uri, sizeof(uri), "%s?timeout=10s&redirects-max=30", kw_test_cluster_uri(cluster));
    kw = kw_test_try_open(uri, NULL);
    return kw == NULL;
}

/* The handle of a test on the poll backend, which every system has. */
static inline int open_on_poll(void **state)
{
    int status = open_handle(state);
    kw->topology->env.poller = kw_poller_poll();
    return status;
}

static inline int close_handle(void **state)
{
    (void)state;
    kw_close(kw);
    for (size_t i = 0; i < ANSWERS_N; i++) {
        kw_test_answer_clear(&answers[i]);
    }
    return 0;
}

static inline void give(kw_test_answer *answer, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_error error = KW_ERROR_INIT;
    if (kw_vcommand_async(kw, &error, (kw_callback){kw_test_on_reply, answer}, format, values) !=
        KW_OK) {
        fail_msg("%s: %s", format, error.text);
    }
    va_end(values);
}

static inline void wait_for(size_t n)
{
    if (!kw_test_turns(kw, answers, n, ENOUGH_MS)) {
        fail_msg("not every callback was called");
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(answers[i].calls_n, 1);
        if (answers[i].reply == NULL) {
            fail_msg("command %zu: %s", i, answers[i].error.text);
        }
    }
}

#endif
