/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/script.h: libraries of functions, loaded at all primaries, and where one lacks them. */
#include <keyway/script.h>

#include "api/args.h"
#include "api/client.h"
#include "api/command.h"
#include "api/script_command.h"
#include "base/error.h"
#include "engine/script.h"

#include <string.h>

/* What a server says that has run nothing. */
#define NOT_FOUND "ERR Function not found"

struct kw_library {
    kw_allocator mem;
    kw_bytes text;
};

kw_library *kw_library_new(const kw_allocator *allocator, kw_error *error, const char *text,
                           size_t text_len)
{
    const kw_allocator *mem = allocator != NULL ? allocator : kw_mem_default();
    size_t len;
    if (text == NULL || text_len == 0) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "the library's text is NULL or empty");
        return NULL;
    }
    kw_library *library = NULL;
    if (kw_size_add(&len, sizeof(*library), text_len)) {
        library = kw_mem_alloc(mem, len);
    }
    if (library == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a library");
        return NULL;
    }
    library->mem = *mem;
    library->text.data = memcpy(library + 1, text, text_len);
    library->text.len = text_len;
    return library;
}

void kw_library_free(kw_library *library)
{
    if (library != NULL) {
        kw_allocator mem = library->mem;
        kw_mem_free(&mem, library);
    }
}

/* FUNCTION LOAD by the options' route. */
static kw_reply *load(kw_client *client, kw_error *error, const kw_call_options *options,
                      const kw_library *library, bool replaces)
{
    kw_bytes argv[4] = {kw_bytes_of("FUNCTION"), kw_bytes_of("LOAD"), kw_bytes_of("REPLACE")};
    size_t argc = replaces ? 3 : 2;
    argv[argc++] = library->text;
    kw_plan_task task = {.options = options, .argv = argv, .argc = argc};
    return kw_command_run(client, error, &task);
}

kw_err kw_library_load(kw_client *client, kw_error *error, const kw_library *library)
{
    if (client == NULL || library == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client or library is NULL");
    }
    kw_error failure = kw_error_none();
    kw_reply *reply = load(client, &failure, &kw_plan_defaults, library, true);
    kw_err code = KW_OK;
    kw_error told = failure; /* of whom a server's error is */
    if (kw_reply_outcome(reply, &failure) == KW_OUTCOME_ERROR) {
        kw_error_set_node(&failure, told.node);
        kw_error_copy(error, &failure);
        code = failure.code;
    }
    kw_reply_free(reply);
    return code;
}

/* A call on its way: what it sends, and until when. */
typedef struct function_call {
    kw_client *client;
    kw_call_options options;
    uint64_t deadline_ns;
    kw_plan_task task;
} function_call;

/* What is left of the call's time; the least there is, once it is over. */
static uint64_t left_ms(const function_call *self)
{
    uint64_t now_ns = kw_env_now(&self->client->topology->env);
    uint64_t left_ns = now_ns < self->deadline_ns ? self->deadline_ns - now_ns : 0;
    return left_ns / KW_NS_PER_MS + 1;
}

static bool is_not_found(const kw_reply *reply)
{
    return kw_reply_is_error(reply) && kw_bytes_starts(kw_reply_bytes(reply), NOT_FOUND);
}

/* Brings the library to where the call goes; NULL: it is there now, else why it is not. */
static kw_reply *bring(function_call *self, kw_error *error, const kw_function_input *input)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = left_ms(self);
    options.acks = KW_ACKS_NONE;
    options.route = self->options.route;
    options.key = self->options.key;
    options.key_len = self->options.key_len;
    options.slot = self->options.slot;
    options.node = self->options.node;
    if (options.route == KW_ROUTE_AUTO && input->keys_n > 0) {
        options.route = KW_ROUTE_KEY;
        options.key = self->task.argv[3].data;
        options.key_len = self->task.argv[3].len;
    } else if (options.route == KW_ROUTE_ANY) { /* the next one may go elsewhere */
        options.route = KW_ROUTE_AUTO;
    }
    kw_reply *reply = load(self->client, error, &options, input->library, false);
    bool is_there = reply != NULL && (!kw_reply_is_error(reply) ||
                                      strstr(kw_reply_str(reply, NULL), "already exists") != NULL);
    if (is_there) {
        kw_reply_free(reply);
        error->code = KW_OK;
        return NULL;
    }
    return reply;
}

static kw_reply *run(function_call *self, kw_error *error, const kw_function_input *input)
{
    self->task.options = &self->options;
    self->options.timeout_ms = left_ms(self);
    kw_reply *reply = kw_command_run(self->client, error, &self->task);
    if (!is_not_found(reply)) {
        return reply;
    }
    kw_error failure = kw_error_none();
    kw_reply *refusal = bring(self, &failure, input);
    if (refusal != NULL || failure.code != KW_OK) {
        kw_reply_free(reply);
        kw_error_copy(error, &failure);
        return refusal;
    }
    kw_reply_free(reply);
    self->options.read = KW_READ_PRIMARY; /* a replica may not have it yet */
    self->options.timeout_ms = left_ms(self);
    self->task.options = &self->options;
    return kw_command_run(self->client, error, &self->task);
}

kw_reply *kw_library_call(kw_client *client, kw_error *error, const kw_call_options *options,
                          kw_function_input input)
{
    if (client == NULL || input.library == NULL || input.function == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client, library or function is NULL");
        return NULL;
    }
    kw_call_options space;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return NULL;
    }
    function_call self = {.client = client, .options = *options};
    uint64_t timeout_ms =
        options->timeout_ms > 0 ? options->timeout_ms : client->topology->env.options.timeout_ms;
    self.deadline_ns = kw_plan_deadline_ns(kw_env_now(&client->topology->env), timeout_ms);
    kw_script_command command = {.mem = &client->topology->env.mem};
    kw_script_values values = {.keys_n = input.keys_n};
    kw_arg_bytes args;
    if (kw_script_values_take(&values, error, &args, command.mem, input.values) != KW_OK) {
        return NULL;
    }
    kw_reply *reply = NULL;
    if (kw_script_command_make(&command, error, input.is_read_only ? "FCALL_RO" : "FCALL",
                               kw_bytes_of(input.function), &values) == KW_OK) {
        self.task = command.task;
        reply = run(&self, error, &input);
        kw_script_command_fini(&command);
    }
    kw_arg_bytes_fini(&args);
    return reply;
}
