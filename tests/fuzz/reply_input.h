/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a reply, read by hiredis as on the wire. */
#ifndef FUZZ_REPLY_INPUT_H
#define FUZZ_REPLY_INPUT_H

#include <hiredis.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/reply.h"

#define INPUT_MAX  ((size_t)64 * 1024)
#define DIGITS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void expect(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

/* Arrays that claim more elements than the input holds are the reader's business, and
 * old readers get memory for them at once. */
static inline bool is_modest(const uint8_t *data, size_t len)
{
    size_t digits = 0;
    bool is_count = false;
    for (size_t i = 0; i < len; i++) {
        bool is_digit = data[i] >= '0' && data[i] <= '9';
        digits = is_digit && is_count ? digits + 1 : 0;
        is_count = data[i] == '*' || (is_count && (is_digit || data[i] == '+' || data[i] == '-'));
        if (digits > DIGITS_MAX) {
            return false;
        }
    }
    return len <= INPUT_MAX;
}

/* Reads the bytes as a reply, and has it checked. */
static inline int check_input(const uint8_t *data, size_t len, void (*check)(const kw_reply *))
{
    redisReader *reader = is_modest(data, len) ? redisReaderCreate() : NULL;
    if (reader == NULL) {
        return 0;
    }
    void *reply = NULL;
    if (redisReaderFeed(reader, (const char *)data, len) == REDIS_OK &&
        redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
        /* A kw_reply that is only read is a redisReply. */
        check((const kw_reply *)reply);
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}

#endif
