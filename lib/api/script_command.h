/* SPDX-License-Identifier: BSD-3-Clause */
/* Script command: the command that a run of a script is. */
#ifndef API_SCRIPT_COMMAND_H
#define API_SCRIPT_COMMAND_H

#include <keyway/script.h>

#include "api/args.h"
#include "drive/plan.h"

/* Arguments up to this number need no heap. */
#define KW_SCRIPT_ARGS_INLINE 16

typedef struct kw_script_command {
    const kw_allocator *mem;
    kw_bytes *argv;
    kw_bytes inline_argv[KW_SCRIPT_ARGS_INLINE];
    char keys_n[21];          /* as text */
    kw_script_run_state *run; /* NULL: the plan's by now, or it brings the text */
    kw_plan_task task;
} kw_script_command;

/* Keys and arguments in the library's own form. */
typedef struct kw_script_values {
    size_t keys_n;
    const kw_bytes *argv;
    size_t argc;
} kw_script_values;

/* Takes what a caller gives, which may be nothing; args keeps it. After success kw_arg_bytes_fini.
 */
kw_err kw_script_values_take(kw_script_values *values, kw_error *error, kw_arg_bytes *args,
                             const kw_allocator *mem, kw_argv given);

/* Makes the command "name what keys_n values", whose task borrows what and values; self->mem is
 * set. KW_ERR_ARGUMENT, KW_ERR_NOMEM. After success kw_script_command_fini; it must not be moved.
 */
kw_err kw_script_command_make(kw_script_command *self, kw_error *error, const char *name,
                              kw_bytes what, const kw_script_values *values);

/* kw_script_command_make of a run; by the script's text, or by its name, where NOSCRIPT is
 * answered. */
kw_err kw_script_command_init(kw_script_command *self, kw_error *error, const kw_script *script,
                              const kw_script_values *values, bool brings_text);
void kw_script_command_fini(kw_script_command *self);

/* Both, of a caller's input; after success kw_script_command_give_back. */
kw_err kw_script_command_take(kw_script_command *self, kw_error *error, kw_arg_bytes *args,
                              const kw_script_input *input, bool brings_text);
void kw_script_command_give_back(kw_script_command *self, kw_arg_bytes *args);

/* To many nodes a run leaves with its text at once. */
static inline bool kw_script_goes_to_many(const kw_call_options *options)
{
    return options->route == KW_ROUTE_ALL_PRIMARIES || options->route == KW_ROUTE_ALL_NODES;
}

#endif
