/* SPDX-License-Identifier: BSD-3-Clause */
/* Ways: one command sent by each of the library's ways of sending, so that a test can ask that all
 * of them end alike. */
#ifndef SUPPORT_WAYS_H
#define SUPPORT_WAYS_H

#include <keyway/client.h>
#include <keyway/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kw_test_way {
    KW_TEST_CALL,
    KW_TEST_BATCH,
    KW_TEST_TICKET,
    KW_TEST_CALLBACK,
    KW_TEST_SESSION,
    KW_TEST_ASYNC_SESSION
} kw_test_way;

#define KW_TEST_WAYS_N 6

const char *kw_test_way_name(kw_test_way way);

/* How one command ended. */
typedef struct kw_test_end {
    bool is_answered; /* by a reply that is no error */
    kw_error error;   /* where there was no reply; text is the server's for an error reply */
    uint64_t took_us;
} kw_test_end;

/* "<verb> <key>" on the handle, which the calling thread alone uses; waits for its end. The
 * session is opened for the command, and closed behind it. */
kw_test_end kw_test_send(kw_client *client, kw_test_way way, const char *verb, const char *key);

/* "INCR foo" on all handles at once, on clients[i] by the way i % KW_TEST_WAYS_N. Stops the
 * program where none of the first calls_max calls is answered, and says i and where. Closes the
 * handles. */
void kw_test_send_all(kw_client **clients, size_t clients_n, unsigned calls_max, const char *where);

#endif
