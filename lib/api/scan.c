/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/scan.h: walks over all keys, or over what is in one. */
#include "api/scan_private.h"

#include "api/ticket.h"
#include "base/error.h"
#include "engine/scan_cursor.h"

#include <string.h>
#include <unistd.h>

/* The options that a call was given, in space; NULL, with error set, where their size is wrong. */
static const kw_scan_options *options_of(kw_scan_options *space, kw_error *error,
                                         const kw_scan_options *options)
{
    static const kw_scan_options defaults = KW_SCAN_OPTIONS_INIT;
    *space = defaults;
    if (options == NULL) {
        return space;
    }
    if (options->size < offsetof(kw_scan_options, key) || options->size > sizeof(*space)) {
        kw_error_refuse(error, KW_ERR_ARGUMENT,
                        "options->size is wrong: start with KW_SCAN_OPTIONS_INIT");
        return NULL;
    }
    memcpy(space, options, options->size);
    return space;
}

static kw_scan *open_scan(kw_client *client, kw_error *error, const kw_scan_options *options)
{
    const kw_allocator *mem = &client->topology->env.mem;
    kw_scan *scan = kw_mem_calloc(mem, 1, sizeof(*scan));
    if (scan == NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a scan");
        return NULL;
    }
    scan->mem = *mem;
    scan->client = client;
    scan->pid = getpid();
    scan->call_ns = UINT64_MAX;
    scan->reply_fn = kw_scan_on_end;
    scan->failure.size = sizeof(scan->failure);
    scan->trouble.size = sizeof(scan->trouble);
    atomic_init(&scan->is_cancelled, false);
    kw_buf_init(&scan->cursor, &scan->mem, NULL, 0);
    kw_scan_unique_init(&scan->unique, &scan->mem, options->unique_bytes,
                        kw_env_seed(&client->topology->env));
    if (kw_scan_wish_init(scan, error, options) != KW_OK) {
        kw_scan_free(scan);
        return NULL;
    }
    return scan;
}

kw_scan *kw_scan_open(kw_client *client, kw_error *error, const kw_scan_options *options)
{
    kw_scan_options space;
    kw_scan *scan = NULL;
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    options = options_of(&space, error, options);
    if (options != NULL && kw_client_enter_new(client, error) == KW_OK) {
        scan = open_scan(client, error, options);
        kw_client_leave(client);
    }
    return scan;
}

/* What has come for tickets goes to their requests. */
static void collect(kw_scan *scan)
{
    kw_scan_request *request = scan->under_way.head;
    while (request != NULL) {
        if (request->ticket == NULL || !kw_ticket_has_ended(request->ticket)) {
            request = request->next;
            continue;
        }
        kw_error error = kw_error_none();
        kw_reply *reply = kw_ticket_await(request->ticket, &error);
        kw_ticket_free(request->ticket);
        request->ticket = NULL;
        kw_scan_on_end(request, reply, &error);
        request = scan->under_way.head; /* any of them may have ended with it */
    }
}

/* All tickets that are under way, in scan->tickets; false when there is no memory. */
static bool list_tickets(kw_scan *scan, size_t *n)
{
    if (scan->under_way.n > scan->tickets_n) {
        size_t room = 2 * scan->under_way.n;
        kw_ticket **tickets =
            kw_mem_resize(&scan->mem, (void *)scan->tickets, room, sizeof(tickets[0]));
        if (tickets == NULL) {
            return false;
        }
        scan->tickets = tickets;
        scan->tickets_n = room;
    }
    *n = 0;
    for (kw_scan_request *request = scan->under_way.head; request != NULL;
         request = request->next) {
        if (request->ticket != NULL) {
            scan->tickets[(*n)++] = request->ticket;
        }
    }
    return true;
}

/* Waits for a ticket, the end of a pause, or a moment. */
static kw_err wait_a_little(kw_scan *scan, kw_error *error)
{
    size_t n;
    uint64_t until_ns = kw_scan_now(scan) + KW_SLICE_NS;
    until_ns = scan->deadline_ns < until_ns ? scan->deadline_ns : until_ns;
    until_ns = scan->until_ns > 0 && scan->until_ns < until_ns ? scan->until_ns : until_ns;
    if (!list_tickets(scan, &n)) {
        return kw_error_refuse(error, KW_ERR_NOMEM, "no memory for the tickets of a scan");
    }
    kw_err code = kw_ticket_wait_any(scan->client, error, scan->tickets, n, until_ns);
    if (code == KW_ERR_CANCELLED) {
        return kw_error_refuse(error, code, "the handle was closed during the scan");
    }
    return code == KW_ERR_NOMEM ? code : KW_OK;
}

/* The handle was entered. */
static kw_err next(kw_scan *scan, kw_error *error, kw_scan_batch *batch)
{
    kw_error failure = kw_error_none();
    collect(scan);
    while (!kw_scan_poll(scan, &failure, batch)) {
        if (wait_a_little(scan, &failure) != KW_OK) {
            break;
        }
        collect(scan);
    }
    if (failure.code != KW_OK) {
        kw_error_copy(error, &failure);
    }
    return failure.code;
}

/* What both ways of the next batch begin with. */
static kw_err begin(kw_scan *scan, kw_error *error)
{
    if (scan->pid != getpid()) {
        return kw_error_refuse(error, KW_ERR_FORKED, "the scan belongs to the parent process");
    }
    kw_err code = kw_client_enter_new(scan->client, error);
    if (code == KW_OK) {
        scan->deadline_ns = kw_plan_deadline_ns(kw_scan_now(scan), scan->wish.timeout_ms);
        kw_scan_walk_stay(&scan->walk, scan->deadline_ns);
    }
    return code;
}

kw_err kw_scan_next(kw_scan *scan, kw_error *error, kw_scan_batch *batch)
{
    if (scan == NULL || batch == NULL || batch->size != sizeof(*batch)) {
        return kw_error_refuse(
            error, KW_ERR_ARGUMENT,
            "scan or batch is NULL, or its size is wrong: start with KW_SCAN_BATCH_INIT");
    }
    if (scan->is_async) {
        return kw_error_refuse(error, KW_ERR_REFUSED, "the scan is walked by kw_scan_next_async");
    }
    kw_err code = begin(scan, error);
    if (code != KW_OK) {
        return code;
    }
    scan->is_sync = true;
    code = next(scan, error, batch);
    kw_client_leave_calls(scan->client, 0, 0);
    return code;
}

kw_err kw_scan_next_async(kw_scan *scan, kw_error *error, kw_scan_callback callback)
{
    if (scan == NULL || callback.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "scan or callback.fn is NULL");
    }
    if (scan->is_sync || scan->callback.fn != NULL) {
        return kw_error_refuse(error, KW_ERR_REFUSED,
                               scan->is_sync ? "the scan is walked by kw_scan_next"
                                             : "a callback of the scan is awaited already");
    }
    kw_err code = begin(scan, error);
    if (code != KW_OK) {
        return code;
    }
    scan->is_async = true;
    scan->callback = callback;
    if (!kw_scan_need_call(scan, kw_scan_now(scan))) { /* all else is done in kw_process */
        scan->callback.fn = NULL;
        code = scan->failure.code;
        kw_error_copy(error, &scan->failure);
        scan->failure.code = KW_OK;
    }
    kw_client_leave(scan->client);
    return code;
}

const char *kw_scan_cursor(kw_scan *scan, kw_error *error)
{
    if (scan == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "scan is NULL");
        return NULL;
    }
    scan->cursor.len = 0;
    if (!kw_scan_cursor_write(&scan->cursor, &scan->walk, scan->scope) ||
        !kw_buf_append(&scan->cursor, "", 1)) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a cursor");
        return NULL;
    }
    return scan->cursor.data;
}

kw_err kw_scan_get_progress(const kw_scan *scan, kw_error *error, kw_scan_progress *progress)
{
    if (scan == NULL || progress == NULL || progress->size < sizeof(progress->size)) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "scan or progress is NULL, or its size is not set");
    }
    kw_scan_progress told = scan->figures;
    size_t len = progress->size < sizeof(told) ? progress->size : sizeof(told);
    told.size = progress->size;
    told.part = scan->is_end ? 1 : kw_scan_walk_part(&scan->walk);
    told.open_slots = kw_scan_walk_open_n(&scan->walk);
    told.rounds_n = scan->walk.rounds_n;
    told.is_end = scan->is_end;
    memcpy(progress, &told, len);
    return KW_OK;
}

void kw_scan_cancel(kw_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    atomic_store(&scan->is_cancelled, true);
    if (scan->is_async && kw_client_enter(scan->client, NULL) == KW_OK) {
        (void)kw_scan_need_call(scan, 0);
        kw_client_leave(scan->client);
    }
}

void kw_scan_close(kw_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    scan->is_closed = true;
    if (scan->pid != getpid()) {
        kw_scan_free(scan); /* no callback comes here */
        return;
    }
    kw_scan_free_if_over(scan);
}
