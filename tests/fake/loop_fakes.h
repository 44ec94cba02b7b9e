/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks to fakes, with each way of watching sockets: a handle for each test, and
 * what its callbacks were told. */
#ifndef FAKE_LOOP_FAKES_H
#define FAKE_LOOP_FAKES_H

#include "fake/fakes.h"

#include "api/client.h"
#include "net/poller.h"
#include "support/turn.h"

#define TIMEOUT_MS 300
#define ANSWERS_N  100

static kw_client *kw;
static kw_test_answer answers[ANSWERS_N];
static bool is_on_poll;

static inline int begin(void **state)
{
    (void)state;
    is_on_poll = false;
    renew_fakes();
    return 0;
}

static inline int begin_on_poll(void **state)
{
    begin(state);
    is_on_poll = true;
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    kw_close(kw);
    kw = NULL;
    for (size_t i = 0; i < ANSWERS_N; i++) {
        kw_test_answer_clear(&answers[i]);
    }
    return 0;
}

static inline void open_handle(const char *options)
{
    kw = kw_test_open("redis-cluster://%s?timeout=%dms%s", kw_fake_address(fakes[0]), TIMEOUT_MS,
                      options);
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
}

static inline void give(size_t at, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_vcommand_async(kw, &error, (kw_callback){kw_test_on_reply, &answers[at]},
                                    format, values);
    va_end(values);
    if (code != KW_OK) {
        fail_msg("%s: %s", format, error.text);
    }
}

static inline void wait_for(size_t first, size_t n)
{
    if (!kw_test_turns(kw, &answers[first], n, TIMEOUT_MS + LATE_MS)) {
        fail_msg("not every callback was called");
    }
}

static inline void is_number(size_t at, long long number)
{
    const kw_test_answer *told = &answers[at];
    assert_int_equal(told->calls_n, 1);
    if (told->reply == NULL || kw_reply_int(told->reply) != number) {
        fail_msg("command %zu: %s%s", at, told->error.text,
                 told->reply != NULL ? kw_reply_str(told->reply, NULL) : "");
    }
}

static inline void is_failure(size_t at, kw_err code, kw_effect effect)
{
    const kw_error *error = &answers[at].error;
    assert_int_equal(answers[at].calls_n, 1);
    if (error->code != code || error->effect != effect) {
        fail_msg("command %zu: %s, %s: %s", at, kw_err_name(error->code),
                 kw_effect_name(error->effect), error->text);
    }
}

#endif
