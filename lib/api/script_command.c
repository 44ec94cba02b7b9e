/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that run scripts and functions, made of a caller's keys and arguments. */
#include "api/script_command.h"

#include "base/error.h"
#include "engine/script.h"
#include "net/node.h"

#include <string.h>

kw_err kw_script_command_make(kw_script_command *self, kw_error *error, const char *name,
                              kw_bytes what, const kw_script_values *values)
{
    if (values->keys_n > values->argc) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "keys_n is %zu, and there are %zu keys and arguments", values->keys_n,
                            values->argc);
    }
    size_t argc = values->argc + 3;
    self->run = NULL;
    self->argv = self->inline_argv;
    if (argc > KW_SCRIPT_ARGS_INLINE) {
        self->argv = kw_mem_calloc(self->mem, argc, sizeof(self->argv[0]));
        if (self->argv == NULL) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %zu arguments",
                                argc);
        }
    }
    kw_bytes keys_n = {self->keys_n, kw_uint_to_text(self->keys_n, values->keys_n)};
    self->argv[0] = kw_bytes_of(name);
    self->argv[1] = what;
    self->argv[2] = keys_n;
    if (values->argc > 0) {
        memcpy(self->argv + 3, values->argv, values->argc * sizeof(self->argv[0]));
    }
    memset(&self->task, 0, sizeof(self->task));
    self->task.options = &kw_plan_defaults;
    self->task.argv = self->argv;
    self->task.argc = argc;
    return KW_OK;
}

kw_err kw_script_command_init(kw_script_command *self, kw_error *error, const kw_script *script,
                              const kw_script_values *values, bool brings_text)
{
    static const char *const names[2][2] = {{"EVALSHA", "EVAL"}, {"EVALSHA_RO", "EVAL_RO"}};
    if (script == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "script is NULL");
    }
    kw_bytes what = brings_text ? script->text : kw_bytes_of(script->sha1);
    kw_err code =
        kw_script_command_make(self, error, names[script->is_read_only][brings_text], what, values);
    if (code != KW_OK || brings_text) {
        return code;
    }
    self->run = kw_node_new_script_run(self->mem, script);
    self->task.script = &self->run;
    if (self->run == NULL) {
        kw_script_command_fini(self);
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to run a script");
    }
    return KW_OK;
}

void kw_script_command_fini(kw_script_command *self)
{
    kw_script_run_state_free(self->run);
    if (self->argv != self->inline_argv) {
        kw_mem_free(self->mem, self->argv);
    }
}

kw_err kw_script_values_take(kw_script_values *values, kw_error *error, kw_arg_bytes *args,
                             const kw_allocator *mem, kw_argv given)
{
    args->mem = mem;
    args->argv = args->inline_argv;
    args->argc = 0;
    kw_err code = given.argc != 0 ? kw_arg_bytes_init(args, error, mem, &given) : KW_OK;
    values->argv = args->argv;
    values->argc = args->argc;
    return code;
}

kw_err kw_script_command_take(kw_script_command *self, kw_error *error, kw_arg_bytes *args,
                              const kw_script_input *input, bool brings_text)
{
    kw_script_values values = {.keys_n = input->keys_n};
    kw_err code = kw_script_values_take(&values, error, args, self->mem, input->values);
    if (code != KW_OK) {
        return code;
    }
    code = kw_script_command_init(self, error, input->script, &values, brings_text);
    if (code != KW_OK) {
        kw_arg_bytes_fini(args);
    }
    return code;
}

void kw_script_command_give_back(kw_script_command *self, kw_arg_bytes *args)
{
    kw_script_command_fini(self);
    kw_arg_bytes_fini(args);
}
