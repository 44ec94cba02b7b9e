/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the story of a call that took long, told to the host.
 *
 *   static void on_slow(void *arg, const kw_slow_call *call) { puts(call->text); }
 *   ...
 *   kw_config_set(config, &error, "slow-call", "50ms");
 *   kw_config_set_slow_call(config, on_slow, NULL);
 *
 * The option slow-call says how long a call may take, and may change while the handle is in use;
 * without it, and without the callback, nothing is kept of any call. Calls, sessions, batches,
 * tickets and callbacks are all told of. */
#ifndef KEYWAY_SLOW_H
#define KEYWAY_SLOW_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/config.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One try: the command went to a node, or was to. */
typedef struct kw_slow_try {
    size_t size;      /* sizeof(kw_slow_try) */
    const char *node; /* "host:port", or "" where none could be chosen */
    uint64_t wait_us; /* microseconds from the beginning of the call, or the end of the try before,
                         until it was handed to a connection: queue, connecting, pauses; all of the
                         try where it never was */
    uint64_t service_us; /* microseconds from there to its end */
    kw_err code;         /* KW_OK: the server has answered; else why it has not */
    const char *verdict; /* of an error: its first word, with the target of a redirect ("MOVED 42
                            host:port"), never more of the server's text; "" of any other answer,
                            and where there was none */
} kw_slow_try;

/* One call. All that it points to is borrowed until the callback returns; no argument of the
 * command is in it. */
typedef struct kw_slow_call {
    size_t size;         /* sizeof(kw_slow_call) */
    const char *command; /* its name, "GET"; "command" for one that the library does not know */
    int slot;            /* of a command with keys, on a cluster; else -1 */
    uint64_t elapsed_us; /* microseconds from its beginning to its end */
    kw_err code;         /* KW_OK: it has a reply */
    kw_effect effect;    /* of a failed one */
    size_t tries_n;
    const kw_slow_try *const *tries; /* in their order; of more than KW_SLOW_TRIES_MAX the last of
                                        these is that of the end */
    const char *text;                /* all of it in one line, for people: of tries at one node
                                        that ended alike their number, and how long they took */
} kw_slow_call;

/* Tries that are kept of one call. */
#define KW_SLOW_TRIES_MAX 12

/* The host's callback for slow calls. It is called from any thread that uses the handle, in the
 * middle of that thread's own call, with no lock held: it may not use the handle, and should be
 * quick. */
typedef void (*kw_slow_call_fn)(void *arg, const kw_slow_call *call);

/* Sets whom to tell of calls that took longer than the option slow-call: slow is called with arg.
 * Default, and NULL: nobody. arg must outlive the handles opened from the settings. One thread per
 * object. */
KW_API void kw_config_set_slow_call(kw_config *config, kw_slow_call_fn slow, void *arg);

#ifdef __cplusplus
}
#endif

#endif
