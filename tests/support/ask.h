/* SPDX-License-Identifier: BSD-3-Clause */
/* Short ways to ask through a handle. What must not happen stops the program. */
#ifndef SUPPORT_ASK_H
#define SUPPORT_ASK_H

#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/stats.h>

/* A handle for the URI that the format makes. */
kw_client *kw_test_open(const char *format, ...) KW_FORMAT(1, 2);

/* kw_config_new and kw_open, by the calm clock where that is on. */
kw_config *kw_test_config_new(const kw_allocator *allocator);
kw_client *kw_test_try_open(const char *uri, kw_error *error);

/* From here on every handle shares one connection with all callers of a node, however few they
 * are, unless its URI says otherwise: to run the same tests that way too. KW_TEST_SHARE_ALWAYS
 * in the environment does it for a whole run. */
void kw_test_share_always(void);

/* One command (format as in kw_command) that must be answered, by anything; for the
 * others: by OK, an integer, a string or status (the caller's to free; NULL for nil), or
 * an error (likewise). */
kw_reply *kw_test_ask(kw_client *client, const char *format, ...);
void kw_test_ask_ok(kw_client *client, const char *format, ...);
long long kw_test_ask_integer(kw_client *client, const char *format, ...);
char *kw_test_ask_text(kw_client *client, const char *format, ...);
char *kw_test_ask_error(kw_client *client, const char *format, ...);

kw_stats kw_test_stats(kw_client *client);

/* Until so many threads are in calls of the handle: one that comes after kw_close has none. */
void kw_test_await_calls(kw_client *client, unsigned calls_n);

/* A call's deadline from its start, and where to add by how much it was missed, without the
 * time in which this thread waited for a processor (crew.h). */
struct kw_test_times;
typedef struct kw_test_deadline {
    uint64_t ms;
    struct kw_test_times *over; /* or NULL */
} kw_test_deadline;

/* kw_call by a deadline with C strings, NULL behind the last. */
kw_reply *kw_test_call(kw_client *client, kw_error *error, kw_test_deadline deadline,
                       const char *const *argv);

#endif
