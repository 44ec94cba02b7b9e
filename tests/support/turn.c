/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns of a poll loop over a handle's descriptor. */
#include "support/turn.h"

#include "support/check.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>

static atomic_uint places_n;

void kw_test_on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_test_answer *answer = arg;
    answer->calls_n++;
    answer->reply = reply;
    answer->place = atomic_fetch_add(&places_n, 1) + 1;
    answer->error.size = sizeof(answer->error);
    if (error != NULL) {
        answer->error = *error;
    }
    if ((reply == NULL) != (error != NULL)) {
        kw_test_die("a callback was given both or none of reply and error");
    }
}

void kw_test_answer_clear(kw_test_answer *answer)
{
    kw_reply_free(answer->reply);
    memset(answer, 0, sizeof(*answer));
}

kw_err kw_test_turn(kw_client *kw, int wait_ms)
{
    struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
    int timeout_ms = kw_timeout(kw);
    if (timeout_ms < 0 || timeout_ms > wait_ms) {
        timeout_ms = wait_ms;
    }
    uint64_t end_ms = kw_test_now_ms() + (uint64_t)timeout_ms;
    while (poll(&entry, 1, timeout_ms) == 0 && kw_test_now_ms() < end_ms) {
        timeout_ms = (int)(end_ms - kw_test_now_ms()); /* the calm clock is behind poll's */
        timeout_ms = timeout_ms < 0 ? 0 : timeout_ms;
    }
    return kw_process(kw, NULL);
}

static size_t called_n(const kw_test_answer *answers, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += answers[i].calls_n > 0 ? 1 : 0;
    }
    return count;
}

bool kw_test_turns(kw_client *kw, const kw_test_answer *answers, size_t n, unsigned timeout_ms)
{
    uint64_t end_ms = kw_test_now_ms() + timeout_ms;
    while (called_n(answers, n) < n && kw_test_now_ms() < end_ms) {
        kw_test_turn(kw, 100);
    }
    return called_n(answers, n) == n;
}

void kw_test_turns_for(kw_client *kw, unsigned wait_ms)
{
    uint64_t end_ms = kw_test_now_ms() + wait_ms;
    for (uint64_t now_ms; (now_ms = kw_test_now_ms()) < end_ms;) {
        kw_test_turn(kw, (int)(end_ms - now_ms));
    }
}
