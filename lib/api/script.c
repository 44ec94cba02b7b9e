/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/script.h: scripts, and their runs by a call. */
#include <keyway/script.h>

#include "api/client.h"
#include "api/command.h"
#include "api/script_command.h"
#include "engine/script.h"
#include "base/error.h"
#include "base/format.h"

kw_script *kw_script_new(const kw_allocator *allocator, kw_error *error, kw_script_kind kind,
                         const char *text, size_t text_len)
{
    const kw_allocator *mem = allocator != NULL ? allocator : kw_mem_default();
    if (text == NULL || text_len == 0) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "the script's text is NULL or empty");
        return NULL;
    }
    if (kind != KW_SCRIPT_WRITES && kind != KW_SCRIPT_READ_ONLY) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "kind is none of kw_script_kind");
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

kw_reply *kw_script_run(kw_client *client, kw_error *error, const kw_script *script, size_t keys_n,
                        const char *format, ...)
{
    if (client == NULL || format == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client or format is NULL");
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

/* So does a run that has another command behind it in the same write. */
static bool needs_text(const kw_client *client, const kw_call_options *options)
{
    bool is_acked =
        options->acks == 0 ? client->topology->env.options.acks > 0 : options->acks != KW_ACKS_NONE;
    return kw_script_goes_to_many(options) || options->token_out != NULL ||
           options->acks_local > 0 || is_acked;
}

kw_reply *kw_script_call(kw_client *client, kw_error *error, const kw_call_options *options,
                         kw_script_input input)
{
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
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
        kw_script_command_give_back(&command, &args);
    }
    return reply;
}
