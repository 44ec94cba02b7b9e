/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/submit.h: commands that are waited for later. */
#include <keyway/submit.h>

#include "api/ticket.h"
#include "api/args.h"
#include "api/command.h"
#include "drive/loop.h"
#include "base/error.h"
#include "base/format.h"

static kw_ticket *refuse(kw_error *error, const char *text)
{
    kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "%s", text);
    return NULL;
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_ticket_loop_end(arg, reply, error);
}

static kw_ticket *new_ticket(kw_client *client, kw_error *error)
{
    kw_ticket *ticket = kw_mem_alloc(&client->topology->env.mem, sizeof(*ticket));
    if (ticket == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a ticket");
        return NULL;
    }
    ticket->mem = client->topology->env.mem;
    ticket->client = client;
    ticket->ticket_loop = &client->ticket_loop;
    ticket->generation = client->generations_n;
    atomic_init(&ticket->state, KW_TICKET_OPEN);
    atomic_init(&ticket->reply, NULL);
    ticket->failure.size = sizeof(ticket->failure);
    ticket->failure.code = KW_OK;
    return ticket;
}

static kw_async_command *new_async(kw_client *client, kw_error *error, const kw_plan_task *task,
                                   kw_loop *loop)
{
    kw_async_command *command;
    if (kw_loop_block(loop, &command, error, task, NULL) != KW_OK) {
        return NULL;
    }
    if (kw_async_command_init(command, client->topology, error, task) != KW_OK) {
        kw_loop_unblock(loop, command);
        return NULL;
    }
    return command;
}

static kw_err foreign(kw_error *error)
{
    return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_MAYBE,
                        "the ticket belongs to the parent process");
}

/* Ends the tickets that are left. */
static void end(kw_client *client)
{
    kw_loop *loop = kw_loop_at(&client->ticket_loop.loop);
    if (loop != NULL) {
        kw_loop_end(loop);
        atomic_store(&client->ticket_loop.loop, NULL);
    }
}

static void abandon(kw_client *client)
{
    kw_loop *loop = atomic_exchange(&client->ticket_loop.loop, NULL);
    if (loop != NULL) {
        kw_error told = kw_error_none();
        foreign(&told);
        kw_loop_abandon(loop, &told);
    }
}

static void wake(kw_client *client)
{
    kw_ticket_loop_wake_all(&client->ticket_loop);
}

static void tend(kw_client *client)
{
    kw_ticket_loop_tend(&client->ticket_loop);
}

static kw_err work(kw_client *client, kw_error *error, size_t *open_n)
{
    (void)error;
    kw_ticket_loop_look(&client->ticket_loop);
    *open_n = atomic_load(&client->ticket_loop.open_n);
    return KW_OK;
}

static kw_loop *loop_of(kw_client *client)
{
    return kw_loop_at(&client->ticket_loop.loop);
}

static const kw_client_part tickets = {end, abandon, wake, tend, work, loop_of, NULL};

/* Where too much is under way, this caller works on it where nobody else does, and tries once more:
 * else callers that only submit would find the queue full for ever. */
static kw_async_command *take_room(kw_client *client, kw_error *error, const kw_plan_task *task,
                                   kw_loop *loop)
{
    kw_error full = kw_error_none();
    kw_async_command *command = new_async(client, &full, task, loop);
    if (command != NULL || full.code != KW_ERR_QUEUE_FULL) {
        if (command == NULL) {
            kw_error_copy(error, &full);
        }
        return command;
    }
    kw_ticket_loop_look(&client->ticket_loop);
    return new_async(client, error, task, loop);
}

static kw_loop *need_loop(kw_client *client, kw_error *error)
{
    kw_client_need_part(client, KW_CLIENT_TICKETS, &tickets, true);
    return kw_loop_need(client->topology, error, &client->ticket_loop.loop, &client->counts);
}

/* The handle was entered. waits: for its connection, until its deadline. */
static kw_ticket *submit(kw_client *client, kw_error *error, const kw_plan_task *task, bool waits)
{
    kw_loop *loop = need_loop(client, error);
    if (loop == NULL) {
        return NULL;
    }
    kw_ticket *ticket = new_ticket(client, error);
    kw_async_command *command = ticket != NULL ? take_room(client, error, task, loop) : NULL;
    if (command == NULL) {
        kw_mem_free(&client->topology->env.mem, ticket);
        return NULL;
    }
    command->fn = on_reply;
    command->arg = ticket;
    kw_ticket_loop_submit(ticket, command, waits ? kw_async_command_place_ns(command) : 0);
    return ticket;
}

kw_ticket *kw_submit_task(kw_client *client, kw_error *error, kw_plan_task *task)
{
    kw_ticket *ticket = NULL;
    task->is_ordered = true;
    if (kw_client_enter_new(client, error) == KW_OK) {
        ticket = submit(client, error, task, true);
        kw_client_leave(client);
    }
    return ticket;
}

kw_ticket *kw_vsubmit(kw_client *client, kw_error *error, const char *format, va_list values)
{
    if (client == NULL || format == NULL) {
        return refuse(error, "client or format is NULL");
    }
    kw_args args;
    kw_args_init(&args, &client->topology->env.mem);
    kw_ticket *ticket = NULL;
    if (kw_args_format(&args, error, format, values) == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        ticket = kw_submit_task(client, error, &task);
    }
    kw_args_fini(&args);
    return ticket;
}

kw_ticket *kw_submit(kw_client *client, kw_error *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_ticket *ticket = kw_vsubmit(client, error, format, values);
    va_end(values);
    return ticket;
}

kw_ticket *kw_submit_call(kw_client *client, kw_error *error, const kw_call_options *options,
                          kw_argv command)
{
    if (client == NULL) {
        return refuse(error, "client is NULL");
    }
    kw_call_options space;
    kw_arg_bytes args;
    options = kw_args_options(&space, error, options);
    if (options == NULL ||
        kw_arg_bytes_init(&args, error, &client->topology->env.mem, &command) != KW_OK) {
        return NULL;
    }
    kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
    kw_ticket *ticket = kw_submit_task(client, error, &task);
    kw_arg_bytes_fini(&args);
    return ticket;
}

kw_ticket *kw_ticket_begin(kw_client *client, kw_error *error, const kw_plan_task *task)
{
    return submit(client, error, task, false);
}

kw_err kw_ticket_wait_any(kw_client *client, kw_error *error, kw_ticket *const *any, size_t any_n,
                          uint64_t until_ns)
{
    if (need_loop(client, error) == NULL) {
        return KW_ERR_NOMEM;
    }
    return kw_ticket_loop_wait(&client->ticket_loop, any, any_n, until_ns);
}

/* True where a forked child holds a ticket of its parent, whose handle works on it. */
static bool is_foreign(const kw_ticket *ticket)
{
    return kw_fork_has_happened(&ticket->client->fork) ||
           ticket->generation != ticket->client->generations_n;
}

static kw_err wait_until(kw_ticket *ticket, kw_error *error, uint64_t until_ns)
{
    if (kw_ticket_has_ended(ticket)) {
        return KW_OK;
    }
    kw_client *client = ticket->client;
    if (is_foreign(ticket)) {
        return foreign(error);
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    code = kw_ticket_loop_wait(&client->ticket_loop, &ticket, 1, until_ns);
    kw_client_leave(client);
    if (code == KW_ERR_CANCELLED) {
        kw_error_set(error, code, KW_EFFECT_MAYBE, "the handle was closed while a ticket waited");
    }
    return code;
}

kw_reply *kw_ticket_await(kw_ticket *ticket, kw_error *error)
{
    if (ticket == NULL) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "ticket is NULL");
        return NULL;
    }
    if (wait_until(ticket, error, UINT64_MAX) != KW_OK) {
        return NULL;
    }
    kw_reply *reply = atomic_exchange_explicit(&ticket->reply, NULL, memory_order_acq_rel);
    if (reply == NULL && ticket->failure.code != KW_OK) {
        kw_error_copy(error, &ticket->failure);
    } else if (reply == NULL) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "the reply was taken already");
    }
    return reply;
}

bool kw_ticket_wait(kw_ticket *ticket, uint64_t timeout_ms)
{
    if (ticket == NULL) {
        return false;
    }
    if (kw_ticket_has_ended(ticket)) {
        return ticket->failure.code != KW_ERR_FORKED; /* given up, in a child */
    }
    if (is_foreign(ticket)) {
        return false;
    }
    uint64_t now_ns = kw_env_now(&ticket->client->topology->env);
    if (timeout_ms == 0) {
        if (kw_client_enter(ticket->client, NULL) == KW_OK) {
            kw_ticket_loop_look(ticket->ticket_loop);
            kw_client_leave(ticket->client);
        }
        return kw_ticket_has_ended(ticket);
    }
    return wait_until(ticket, NULL, kw_plan_deadline_ns(now_ns, timeout_ms)) == KW_OK;
}

kw_err kw_ticket_cancel(kw_ticket *ticket, kw_error *error)
{
    if (ticket == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "ticket is NULL");
    }
    if (kw_ticket_has_ended(ticket)) {
        return KW_OK;
    }
    if (is_foreign(ticket)) {
        return foreign(error);
    }
    kw_client *client = ticket->client;
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    code = kw_loop_cancel(kw_loop_at(&client->ticket_loop.loop), (kw_callback){on_reply, ticket});
    if (code == KW_OK) {
        kw_ticket_loop_look(&client->ticket_loop);
    } else {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory to give a command up");
    }
    kw_client_leave(client);
    return code;
}

void kw_ticket_free(kw_ticket *ticket)
{
    if (ticket == NULL) {
        return;
    }
    if (kw_ticket_loop_abandon(ticket)) {
        return; /* freed when its command ends, or a child gives up the parent's */
    }
    kw_allocator mem = ticket->mem;
    kw_reply_free(atomic_load(&ticket->reply));
    kw_mem_free(&mem, ticket);
}
