/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of a scan: what each request asks, of whom, and until when. */
#include "api/scan_private.h"

#include "api/loop_calls.h"
#include "api/ticket.h"
#include "base/error.h"

#include <string.h>

#define ARGS_MAX 10

/* The arguments of one command; numbers are in it. */
typedef struct words {
    kw_bytes argv[ARGS_MAX];
    size_t n;
    char numbers[2][20];
    size_t numbers_n;
} words;

static void add(words *command, kw_bytes word)
{
    command->argv[command->n++] = word;
}

static void add_text(words *command, const char *text)
{
    add(command, kw_bytes_of(text));
}

static void add_number(words *command, uint64_t value)
{
    char *digits = command->numbers[command->numbers_n++];
    size_t len = kw_uint_to_text(digits, value);
    add(command, (kw_bytes){digits, len});
}

/* One page, of keys or of what is in one. */
static void write_page(words *command, const kw_scan *scan, uint64_t cursor)
{
    static const char *const names[] = {"SCAN", "HSCAN", "SSCAN", "ZSCAN"};
    const kw_scan_wish *wish = &scan->wish;
    add_text(command, names[wish->of]);
    if (wish->of != KW_SCAN_KEYS) {
        add(command, wish->key);
    }
    add_number(command, cursor);
    add_text(command, "COUNT");
    add_number(command, wish->count);
    if (wish->match.data != NULL) {
        add_text(command, "MATCH");
        add(command, wish->match);
    }
    if (wish->type.data != NULL) {
        add_text(command, "TYPE");
        add(command, wish->type);
    }
}

static void write_question(words *command, kw_scan_question question)
{
    switch (question) {
    case KW_SCAN_ASKS_NODES:
        add_text(command, "CLUSTER");
        add_text(command, "NODES");
        break;
    case KW_SCAN_ASKS_INFO:
        add_text(command, "INFO");
        add_text(command, "server");
        break;
    case KW_SCAN_ASKS_SIZE:
        add_text(command, "DBSIZE");
        break;
    }
}

static void write_step(words *command, const kw_scan_request *request)
{
    const kw_scan_step *step = &request->step;
    switch (step->act) {
    case KW_SCAN_ASK:
        write_question(command, request->question);
        break;
    case KW_SCAN_PAGE:
    case KW_SCAN_LARGE:
        write_page(command, request->scan, step->cursor);
        break;
    case KW_SCAN_COUNT:
        add_text(command, "CLUSTER");
        add_text(command, "COUNTKEYSINSLOT");
        add_number(command, step->slot);
        break;
    case KW_SCAN_SLOT:
        add_text(command, "CLUSTER");
        add_text(command, "GETKEYSINSLOT");
        add_number(command, step->slot);
        add_number(command, step->count);
        break;
    case KW_SCAN_ROSTER:
    case KW_SCAN_WAIT:
    case KW_SCAN_PAUSE:
    case KW_SCAN_FAIL_HOST:
    case KW_SCAN_FAIL_SLOT:
    case KW_SCAN_END:
        break;
    }
}

static void write_command(words *command, const kw_scan_request *request)
{
    if (request->need == KW_SCAN_NEEDS_MAP) {
        add_text(command, "PING");
    } else if (request->need == KW_SCAN_NEEDS_TYPE) {
        size_t len;
        const char *key = kw_reply_str(kw_reply_at(request->parent->keys, request->index), &len);
        add_text(command, "TYPE");
        add(command, (kw_bytes){key, len});
    } else {
        write_step(command, request);
    }
}

/* Whom the request asks. */
static void choose_route(kw_call_options *options, const kw_scan_request *request)
{
    const kw_scan *scan = request->scan;
    kw_scheme scheme = scan->client->topology->env.options.scheme;
    bool is_alone = scheme == KW_SCHEME_SINGLE || scheme == KW_SCHEME_SENTINEL;
    if (request->need == KW_SCAN_NEEDS_TYPE) {
        return;
    }
    if (request->need == KW_SCAN_NEEDS_MAP) {
        options->route = KW_ROUTE_ANY;
    } else if (scan->wish.of != KW_SCAN_KEYS) {
        options->route = KW_ROUTE_KEY;
        options->key = scan->wish.key.data;
        options->key_len = scan->wish.key.len;
    } else if (scan->wish.node.data == NULL && is_alone) {
        options->route = KW_ROUTE_ANY; /* the primary, whoever that is */
    } else {
        options->route = KW_ROUTE_NODE;
        options->node = scan->walk.hosts[request->step.host].name;
        options->fail_fast = true; /* the walk waits for it, and others go on */
    }
}

/* What is left of the batch's time; for the next batch its own. A host that is asked who it is gets
 * half of that: others have to go on without it. Half of a whole batch's time is granted in any
 * case, beyond its end: the next batch goes on with the answer, and a walk gets on also where all
 * that has to be asked takes longer than a batch may. */
static uint64_t time_left_ms(const kw_scan *scan, bool is_question)
{
    uint64_t now_ns = kw_scan_now(scan);
    uint64_t left_ms = scan->deadline_ns > now_ns ? (scan->deadline_ns - now_ns) / KW_NS_PER_MS : 0;
    uint64_t least_ms = scan->wish.timeout_ms / 2;
    left_ms = is_question ? left_ms / 2 : left_ms;
    left_ms = left_ms > least_ms ? left_ms : least_ms;
    return left_ms > 0 ? left_ms : 1;
}

bool kw_scan_send(kw_scan_request *request, kw_error *error)
{
    kw_scan *scan = request->scan;
    words command = {.n = 0};
    write_command(&command, request);
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    bool is_question = request->need == KW_SCAN_NEEDS_STEP && request->step.act == KW_SCAN_ASK;
    options.timeout_ms = time_left_ms(scan, is_question);
    options.read = KW_READ_PRIMARY;
    options.idempotent = true;
    choose_route(&options, request);
    kw_plan_task task = {
        .options = &options, .argv = command.argv, .argc = command.n, .is_ordered = true};
    scan->figures.commands_n++;
    if (scan->is_async) {
        kw_callback callback = {scan->reply_fn, request};
        return kw_client_begin(scan->client, error, callback, &task) == KW_OK;
    }
    request->ticket = kw_ticket_begin(scan->client, error, &task);
    return request->ticket != NULL;
}
