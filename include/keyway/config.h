/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: settings of a handle, by name. */
#ifndef KEYWAY_CONFIG_H
#define KEYWAY_CONFIG_H

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

/* The host's log: one line of text, without newline, keys, values or secrets. May be
 * called from any thread that uses the handle, with no lock held; must not call back
 * into the same handle. */
typedef void (*kw_log_fn)(void *arg, kw_log_level level, const char *text);

/* The host's clock: nanoseconds since any fixed point, never going back. Called from
 * any thread. */
typedef uint64_t (*kw_clock_fn)(void *arg);

/* New settings with every default; allocator may be NULL for malloc and free. NULL
 * when there is no memory. Freed with kw_config_free. Any thread. */
KW_API kw_config *kw_config_new(const kw_allocator *allocator);

/* Takes a URI: scheme, user and password, servers, path and options of its query,
 * each equal to one kw_config_set; no option may be given twice, and what the URI does
 * not name keeps its setting. A later URI replaces the servers of an earlier one.
 * KW_ERR_CONFIG, KW_ERR_UNSUPPORTED (a scheme that this version lacks) or KW_ERR_NOMEM,
 * with settings unchanged, and an error that names what is wrong and where; passwords
 * never show in it. One thread per object. */
KW_API kw_err kw_config_set_uri(kw_config *config, kw_error *error, const char *uri);

/* Sets one option by its name ("timeout" to "500ms"). KW_ERR_CONFIG, with the
 * option unchanged, for an unknown name, a bad value or a missing unit; KW_ERR_NOMEM. An
 * empty text is none. One thread per object. */
KW_API kw_err kw_config_set(kw_config *config, kw_error *error, const char *name,
                            const char *value);

/* Name of option number index, with one line that describes it and its default (both may
 * be NULL where they are not wanted); NULL past the last option. Constant texts. Any
 * thread. */
KW_API const char *kw_config_option(size_t index, const char **description,
                                    const char **default_value);

/* Where to log; lines graver than or equal to level are given. Default is nowhere.
 * One thread per object. */
KW_API void kw_config_set_log(kw_config *config, kw_log_level level, kw_log_fn log, void *arg);

/* The clock to measure deadlines by; default is the system's monotonic clock. One
 * thread per object. */
KW_API void kw_config_set_clock(kw_config *config, kw_clock_fn clock, void *arg);

/* Frees the settings; handles opened from them live on. NULL is allowed. */
KW_API void kw_config_free(kw_config *config);

#ifdef __cplusplus
}
#endif

#endif
