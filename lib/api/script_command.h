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

/* Makes the command of a run, whose task borrows the values; by the script's text, or by its name,
 * where NOSCRIPT is answered. KW_ERR_ARGUMENT, KW_ERR_NOMEM. After success kw_script_command_fini;
 * it must not be moved. */
kw_err kw_script_command_init(kw_script_command *self, kw_error *error, const kw_script *script,
                              const kw_script_values *values, bool brings_text);
void kw_script_command_fini(kw_script_command *self);

/* A caller's input as a command. args keeps its values; after success both have to be freed
 * (kw_script_command_fini, kw_script_args_fini). self->mem is set. */
kw_err kw_script_command_take(kw_script_command *self, kw_error *error, kw_arg_bytes *args,
                              const kw_script_input *input, bool brings_text);
void kw_script_args_fini(kw_arg_bytes *args);

#endif
