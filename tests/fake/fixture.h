/* SPDX-License-Identifier: BSD-3-Clause */
/* What all tests with fakes have in common: what they include, what a machine may add to a time,
 * and short ways to say what a fake answers and what a caller must get. */
#ifndef FAKE_FIXTURE_H
#define FAKE_FIXTURE_H

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
#include <sys/wait.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

/* Added to bounds of time, by the calm clock (calm.h). */
#define LATE_MS (1500 * KW_TEST_SLOWNESS)

/* The fake answers so from now on, without the closing CR LF. */
static inline void answer(kw_fake *fake, const char *pattern, const char *reply)
{
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, pattern, "%s", reply);
}

/* The command is answered by that number. */
static inline void expect_number(kw_client *kw, const char *command, long long number)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, command);
    if (reply == NULL || kw_reply_is_error(reply) || kw_reply_int(reply) != number) {
        fail_msg("%s: %s %s", command, error.text, reply != NULL ? kw_reply_str(reply, NULL) : "");
    }
    kw_reply_free(reply);
}

/* The error has that code and effect; what names the case. */
static inline void expect_error(const char *what, const kw_error *error, kw_err code,
                                kw_effect effect)
{
    if (error->code != code || error->effect != effect) {
        fail_msg("%s: %s, %s: %s", what, kw_err_name(error->code), kw_effect_name(error->effect),
                 error->text);
    }
}

/* The child ends by itself, and well. */
static inline void wait_for_child(pid_t child)
{
    assert_true(child > 0);
    int status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
