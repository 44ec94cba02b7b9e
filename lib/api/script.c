/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/script.h: scripts, and their runs by a call. */
#include <keyway/script.h>

#include "api/client.h"
#include "api/command.h"
#include "api/script_command.h"
#include "engine/script.h"
#include "net/node.h"
#include "base/error.h"
#include "base/format.h"

#include <string.h>

static kw_err refuse(kw_error *error, const char *text)
{
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "%s", text);
}

kw_script *kw_script_new(const kw_allocator *allocator, kw_error *error, kw_script_kind kind,
                         const char *text, size_t text_len)
{
    const kw_allocator *mem = allocator != NULL ? allocator : kw_mem_default();
    if (text == NULL || text_len == 0) {
        refuse(error, "the script's text is NULL or empty");
        return NULL;
    }
    if (kind != KW_SCRIPT_WRITES && kind != KW_SCRIPT_READ_ONLY) {
        refuse(error, "kind is none of kw_script_kind");
        return NULL;
    }
    kw_bytes bytes = {text, text_len};
    kw_script *script = kw_script_make(mem, bytes, kind == KW_SCRIPT_READ_ONLY);
    if (script == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a script");
    }
    return script;
}

const char *kw_script_sha1(const kw_script *script)
{
    return script != NULL ? script->sha1 : NULL;
}

void kw_script_free(kw_script *script)
{
    kw_script_unref(script);
}

kw_err kw_script_command_init(kw_script_command *self, kw_error *error, const kw_script *script,
                              const kw_script_values *values, bool brings_text)
{
    static const char *const names[2][2] = {{"EVALSHA", "EVAL"}, {"EVALSHA_RO", "EVAL_RO"}};
    if (script == NULL) {
        return refuse(error, "script is NULL");
    }
    if (values->keys_n > values->argc) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "keys_n is %zu, and the script is given %zu keys and arguments",
                            values->keys_n, values->argc);
    }
    size_t argc = values->argc + 3;
    self->argv = self->inline_argv;
    if (argc > KW_SCRIPT_ARGS_INLINE) {
        self->argv = kw_mem_calloc(self->mem, argc, sizeof(self->argv[0]));
        if (self->argv == NULL) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %zu arguments",
                                argc);
        }
    }
    kw_bytes keys_n = {self->keys_n, kw_uint_to_text(self->keys_n, values->keys_n)};
    self->argv[0] = kw_bytes_of(names[script->is_read_only][brings_text]);
    self->argv[1] = brings_text ? script->text : kw_bytes_of(script->sha1);
    self->argv[2] = keys_n;
    if (values->argc > 0) {
        memcpy(self->argv + 3, values->argv, values->argc * sizeof(self->argv[0]));
    }
    self->run = brings_text ? NULL : kw_node_new_script_run(self->mem, script);
    if (!brings_text && self->run == NULL) {
        kw_script_command_fini(self);
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to run a script");
    }
    memset(&self->task, 0, sizeof(self->task));
    self->task.options = &kw_plan_defaults;
    self->task.argv = self->argv;
    self->task.argc = argc;
    self->task.script = brings_text ? NULL : &self->run;
    return KW_OK;
}

void kw_script_command_fini(kw_script_command *self)
{
    kw_script_run_state_free(self->run);
    if (self->argv != self->inline_argv) {
        kw_mem_free(self->mem, self->argv);
    }
}

kw_err kw_script_command_take(kw_script_command *self, kw_error *error, kw_arg_bytes *args,
                              const kw_script_input *input, bool brings_text)
{
    kw_script_values values = {.keys_n = input->keys_n};
    args->mem = self->mem;
    args->argv = args->inline_argv;
    args->argc = 0;
    if (input->values.argc != 0) {
        kw_err code = kw_arg_bytes_init(args, error, self->mem, input->values);
        if (code != KW_OK) {
            return code;
        }
    }
    values.argv = args->argv;
    values.argc = args->argc;
    kw_err code = kw_script_command_init(self, error, input->script, &values, brings_text);
    if (code != KW_OK) {
        kw_script_args_fini(args);
    }
    return code;
}

void kw_script_args_fini(kw_arg_bytes *args)
{
    kw_arg_bytes_fini(args);
}

kw_reply *kw_script_run(kw_client *client, kw_error *error, const kw_script *script, size_t keys_n,
                        const char *format, ...)
{
    if (client == NULL || format == NULL) {
        refuse(error, "client or format is NULL");
        return NULL;
    }
    const kw_allocator *mem = &client->topology->env.mem;
    kw_args args;
    kw_args_init(&args, mem);
    va_list words;
    va_start(words, format);
    bool is_empty = format[0] == '\0';
    kw_err code = is_empty ? KW_OK : kw_args_format(&args, error, format, words);
    va_end(words);
    kw_reply *reply = NULL;
    kw_script_values values = {keys_n, is_empty ? NULL : args.argv, is_empty ? 0 : args.argc};
    kw_script_command command = {.mem = mem};
    bool is_acked = client->topology->env.options.acks > 0;
    if (code == KW_OK &&
        kw_script_command_init(&command, error, script, &values, is_acked) == KW_OK) {
        reply = kw_command_run(client, error, &command.task);
        kw_script_command_fini(&command);
    }
    kw_args_fini(&args);
    return reply;
}

/* Where a run goes to many nodes, or has another command behind it in the same write, it leaves
 * with its text at once. */
static bool needs_text(const kw_client *client, const kw_call_options *options)
{
    bool is_acked =
        options->acks == 0 ? client->topology->env.options.acks > 0 : options->acks != KW_ACKS_NONE;
    return options->route == KW_ROUTE_ALL_PRIMARIES || options->route == KW_ROUTE_ALL_NODES ||
           options->token_out != NULL || options->acks_local > 0 || is_acked;
}

kw_reply *kw_script_call(kw_client *client, kw_error *error, const kw_call_options *options,
                         kw_script_input input)
{
    if (client == NULL) {
        refuse(error, "client is NULL");
        return NULL;
    }
    kw_call_options space;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return NULL;
    }
    kw_arg_bytes args;
    kw_script_command command = {.mem = &client->topology->env.mem};
    kw_reply *reply = NULL;
    if (kw_script_command_take(&command, error, &args, &input, needs_text(client, options)) ==
        KW_OK) {
        command.task.options = options;
        reply = kw_command_run(client, error, &command.task);
        kw_script_command_fini(&command);
        kw_script_args_fini(&args);
    }
    return reply;
}
