/* SPDX-License-Identifier: BSD-3-Clause */
/* Door: a way to a server that a test can slow down or shut. */
#ifndef SUPPORT_DOOR_H
#define SUPPORT_DOOR_H

#include <stdint.h>

typedef struct kw_test_door kw_test_door;

typedef enum kw_test_door_state {
    KW_TEST_DOOR_OPEN,
    KW_TEST_DOOR_SLOW, /* every piece waits for a few milliseconds */
    KW_TEST_DOOR_SHUT  /* nothing passes; what is under way waits, or is lost (reset) */
} kw_test_door_state;

/* Listens on a free loopback port; connections are passed on to port once it runs. */
kw_test_door *kw_test_door_new(uint16_t port);

/* Starts its thread. */
void kw_test_door_run(kw_test_door *self);

/* NULL is allowed. */
void kw_test_door_free(kw_test_door *self);

/* "127.0.0.1:40001". Borrowed. */
const char *kw_test_door_address(const kw_test_door *self);

/* From any thread. */
void kw_test_door_set(kw_test_door *self, kw_test_door_state state);

/* Ends every connection, with what is under way. */
void kw_test_door_reset(kw_test_door *self);

#endif
