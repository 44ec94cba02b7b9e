/* SPDX-License-Identifier: BSD-3-Clause */
/* A host's event loop for tests: poll over the handle's descriptor. */
#ifndef SUPPORT_TURN_H
#define SUPPORT_TURN_H

#include <keyway.h>

#include <stdbool.h>
#include <stddef.h>

/* What a callback was told. */
typedef struct kw_test_answer {
    unsigned calls_n; /* of the callback */
    kw_reply *reply;
    kw_error error;
    unsigned place; /* among all answers of the program, from 1 */
} kw_test_answer;

/* The callback: arg is an answer, zero before. */
void kw_test_on_reply(void *arg, kw_reply *reply, const kw_error *error);

/* Frees the reply; the answer is zero again. */
void kw_test_answer_clear(kw_test_answer *answer);

/* One turn: waits for the descriptor, at most for kw_timeout and for wait_ms, and
 * processes. */
kw_err kw_test_turn(kw_client *kw, int wait_ms);

/* Turns until each of n answers was called, at most timeout_ms; true then. */
bool kw_test_turns(kw_client *kw, const kw_test_answer *answers, size_t n, unsigned timeout_ms);

/* Turns for so long. */
void kw_test_turns_for(kw_client *kw, unsigned wait_ms);

#endif
