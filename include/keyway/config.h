/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: settings of a handle, by name.
 *
 * A kw_config is for programs that take settings from elsewhere than a URI, or that give a log, a
 * clock or an allocator of their own:
 *
 *   kw_config *config = kw_config_new(NULL);
 *   kw_config_set_uri(config, &error, "redis-cluster://127.0.0.1:7000");
 *   kw_config_set(config, &error, "timeout", "500ms");
 *
 * kw_open_config opens a handle from it. */
#ifndef KEYWAY_CONFIG_H
#define KEYWAY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Settings for kw_open_config. One thread per object. */
typedef struct kw_config kw_config;

/* How grave a logged line is. */
typedef enum kw_log_level {
    KW_LOG_ERROR = 0,
    KW_LOG_WARNING = 1,
    KW_LOG_INFO = 2,
    KW_LOG_DEBUG = 3
} kw_log_level;

/* The host's log. text is one line without a newline, borrowed until the function returns; it
 * never holds keys, values or secrets. Called from any thread that uses the handle, with no lock
 * held; it must not call back into that handle. */
typedef void (*kw_log_fn)(void *arg, kw_log_level level, const char *text);

/* The host's clock: nanoseconds since any fixed point, never going back. Called from any thread
 * that uses the handle. */
typedef uint64_t (*kw_clock_fn)(void *arg);

/* A look-up of a host name, by the host's resolver. */
typedef struct kw_lookup kw_lookup;

/* The host's resolver: finds the addresses of host, a name without a port, borrowed until the
 * function returns. It gives them by kw_lookup_add and ends the look-up by kw_lookup_end, exactly
 * once: at once, or later, from any thread, and even after the handle was closed. Asked for every
 * name that is dialled, and for no number. Nobody waits for it beyond his own deadline: who needs
 * the name looks for the answer now and then, and one that comes later serves the next call.
 *
 * Called from any thread that uses the handle, in the middle of that thread's own call, with no
 * lock held, for each name by one at a time. It must not call back into that handle, and should not
 * block: that would hold up the call, and, in kw_process, the loop. */
typedef void (*kw_resolve_fn)(void *arg, kw_lookup *lookup, const char *host);

/* What the host's callback for logins gives its login to; lives until that returns. */
typedef struct kw_login kw_login;

/* The host's callback for logins that end, such as tokens: gives the one to use now by
 * kw_login_give, and returns KW_OK. Anything else, and one that gives none: the login before goes
 * on. Asked at each greeting of a server (not of sentinels, which have a login of their own), and
 * when the time that it gave is over. A login that is not the one in use changes it, as
 * kw_client_set_login does. Called from any thread that uses the handle, in the middle of that
 * thread's own call and at its cost, with no lock held; several threads may be in it at once. It
 * must not call back into that handle. */
typedef kw_err (*kw_login_fn)(void *arg, kw_login *login);

/* Makes settings that have every default. The caller frees them with kw_config_free. allocator is
 * copied, and gives the memory of the settings and of the handles opened from them; NULL: malloc
 * and free. NULL where there is no memory. Any thread. */
KW_API kw_config *kw_config_new(const kw_allocator *allocator);

/* Takes all that a URI says, as kw_open has them: scheme, user and password, servers, path and the
 * options of its query, each as by kw_config_set. No option may be given twice. What the URI does
 * not name keeps its setting; a later URI replaces the servers of an earlier one. A failure changes
 * nothing, and error names what is wrong and where, without showing passwords.
 *
 * Errors: KW_ERR_CONFIG (wrong, or NULL), KW_ERR_UNSUPPORTED (what this build is without),
 * KW_ERR_NOMEM. One thread per object. */
KW_API kw_err kw_config_set_uri(kw_config *config, kw_error *error, const char *uri);

/* Sets one option by its name, "timeout" to "500ms". Durations have a unit (ms, s, m, h), sizes
 * may (kb, mb, gb). An empty value takes a text away. "server" takes "host:port", and all else that
 * kw_config_set_uri does. A failure changes nothing.
 *
 * Errors: KW_ERR_CONFIG (an unknown name, a wrong value, a missing unit, or NULL),
 * KW_ERR_UNSUPPORTED (what this build is without), KW_ERR_NOMEM. One thread per object. */
KW_API kw_err kw_config_set(kw_config *config, kw_error *error, const char *name,
                            const char *value);

/* Writes text, of len bytes, with %HH in the place of every byte that means something in a URI: for
 * users, passwords, names of members, paths of Unix sockets, values of options. out is a text of
 * the caller's with room for room bytes (NULL only with 0): 3 * len + 1 always do, and where it is
 * too little it becomes "". Returns the length of what was to be written, without the zero byte.
 * Any thread. */
KW_API size_t kw_uri_escape(char *out, size_t room, const char *text, size_t len);

/* Name of option number index, counted from 0, for programs that list all options. *description
 * becomes one line that describes it, *default_value its default, "" without one; both may be
 * NULL. All texts are constant. NULL past the last option. Any thread. */
KW_API const char *kw_config_option(size_t index, const char **description,
                                    const char **default_value);

/* True where option number index may change while a handle is in use (kw_client_set); false past
 * the last option. Any thread. */
KW_API bool kw_config_option_is_live(size_t index);

/* Sets where to log: log is called with arg for each line that is as grave as level or graver.
 * Default, and NULL: nowhere. arg must outlive the handles opened from the settings. One thread
 * per object. */
KW_API void kw_config_set_log(kw_config *config, kw_log_level level, kw_log_fn log, void *arg);

/* Sets the clock that deadlines are measured by; it is called with arg. Default, and NULL: the
 * system's monotonic clock. arg must outlive the handles opened from the settings. One thread per
 * object. */
KW_API void kw_config_set_clock(kw_config *config, kw_clock_fn clock, void *arg);

/* Sets whom to ask for user and password at each greeting; login is called with arg. Default, and
 * NULL: nobody, the options user and password are used. arg must outlive the handles opened from
 * the settings. One thread per object. */
KW_API void kw_config_set_login(kw_config *config, kw_login_fn login, void *arg);

/* Sets who looks host names up; resolve is called with arg. Default, and NULL: the option resolver
 * says who. arg must outlive the handles opened from the settings, and every look-up that has not
 * ended. One thread per object. */
KW_API void kw_config_set_resolver(kw_config *config, kw_resolve_fn resolve, void *arg);

/* Gives one more address of a look-up, "192.0.2.7", "2001:db8::7" or "fe80::7%eth0"; those that
 * were given first are tried first, 8 at the most. Errors: KW_ERR_ARGUMENT (NULL, no such address,
 * or one too many). One thread per look-up. */
KW_API kw_err kw_lookup_add(kw_lookup *lookup, kw_error *error, const char *address);

/* Ends a look-up, once. failure is why there is no address, one line for people; NULL where they
 * were given. NULL is allowed for lookup. One thread per look-up. */
KW_API void kw_lookup_end(kw_lookup *lookup, const char *failure);

/* Gives user and password, in a kw_login_fn: both are copied. user NULL: the default one; password
 * NULL: none. renew_ms: milliseconds after which the host is asked again, with some call of any
 * thread, so that open connections have the next login before this one ends: give less than its
 * life, and leave more than pool-idle; 0: at greetings only.
 *
 * Errors: KW_ERR_ARGUMENT (login is NULL, or a user without a password), KW_ERR_NOMEM. One thread:
 * the one that the callback is called by. */
KW_API kw_err kw_login_give(kw_login *login, kw_error *error, const char *user,
                            const char *password, uint64_t renew_ms);

/* Frees the settings; handles that were opened from them live on. NULL is allowed. One thread per
 * object. */
KW_API void kw_config_free(kw_config *config);

#ifdef __cplusplus
}
#endif

#endif
