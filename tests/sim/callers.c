/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways in which callers give their commands and get what comes of them. */
#include "sim/callers.h"

#include "sim/world.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

sim_crew sim_the_crew;

#define C sim_the_crew

uint64_t sim_block_ms(const sim_command *command)
{
    return 100 + command->id % 7 * 150;
}

void sim_words_of(sim_words *words, const sim_command *command)
{
    static const char *const names[SIM_ACTS_N] = {"HGET", "RPUSH", "SET",  "MGET",
                                                  "MSET", "BLPOP", "HGET", "RPUSH"};
    words->argc = 0;
    words->argv[words->argc++] = names[command->act];
    bool has_parts = command->act == SIM_MANY || command->act == SIM_STORES;
    for (unsigned i = 0; has_parts && i < command->parts_n; i++) {
        char *key = words->text[words->argc];
        snprintf(key, sizeof(words->text[0]), "{k%u}:%u", (command->key + i) % SIM_KEYS,
                 command->id + i);
        words->argv[words->argc++] = key;
        if (command->act == SIM_STORES) {
            words->argv[words->argc++] = "v";
        }
    }
    if (has_parts) {
        return;
    }
    bool blocks = command->act == SIM_BLOCK;
    char *key = words->text[words->argc];
    if (blocks) {
        snprintf(key, sizeof(words->text[0]), "{k%u}:%u", command->key, command->id);
    } else {
        snprintf(key, sizeof(words->text[0]), "k%u", command->key);
    }
    words->argv[words->argc++] = key;
    char *value = words->text[words->argc];
    if (blocks) {
        snprintf(value, sizeof(words->text[0]), "%.3f", (double)sim_block_ms(command) / 1000);
    } else {
        snprintf(value, sizeof(words->text[0]), "%u", command->id);
    }
    words->argv[words->argc++] = value;
}

static kw_argv argv_of(const sim_words *words)
{
    return (kw_argv){words->argc, (const char **)words->argv, NULL};
}

/* One call after the other. */

static kw_client *client_of(const sim_command *command)
{
    return C.clients[command->handle];
}

static kw_reply *call(kw_error *error, const sim_command *command, const kw_call_options *options,
                      const sim_words *words)
{
    if (command->act != SIM_WHOLE) {
        return kw_call(client_of(command), error, options, argv_of(words));
    }
    kw_transaction *whole = sim_whole_new(client_of(command), error, command);
    kw_reply *reply = whole != NULL ? kw_transaction_run(whole, error, options) : NULL;
    kw_transaction_free(whole);
    return reply;
}

static void run_call(const sim_command *command)
{
    sim_words words;
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    sim_words_of(&words, command);
    options.timeout_ms = command->timeout_ms;
    char node[24];
    if (command->act == SIM_PINNED) {
        const sim_world *world = &sim_the_world;
        unsigned number =
            (command->server > 0 ? command->server - 1 : command->id) % world->servers_n;
        const sim_host *host = world->servers[number].host;
        C.results[command->id].server = number;
        C.results[command->id].is_known = C.has_map && !world->servers[number].is_gone;
        snprintf(node, sizeof(node), "10.0.%u.%u:%u", host->ip >> 8 & 255, host->ip & 255,
                 host->port);
        options.route = KW_ROUTE_NODE;
        options.node = node;
    }
    uint64_t begin_ns = sim_now();
    sim_result_begin(command, command->timeout_ms);
    kw_reply *reply = call(&error, command, &options, &words);
    sim_result_end(command, reply, &error);
    sim_result_check_time(command, begin_ns, command->timeout_ms);
    kw_reply_free(reply);
}

/* Groups. */

static kw_err add_to_batch(kw_batch *batch, kw_error *error, const sim_command *command)
{
    sim_words words;
    if (command->act != SIM_WHOLE) {
        sim_words_of(&words, command);
        return kw_batch_add_argv(batch, error, words.argc, (const char **)words.argv, NULL);
    }
    kw_transaction *whole = sim_whole_new(client_of(command), error, command);
    kw_err code = whole != NULL ? kw_batch_add_transaction(batch, error, whole) : error->code;
    kw_transaction_free(whole);
    return code;
}

static void run_batch(const sim_command *const *commands, unsigned n)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client_of(commands[0]), &error);
    const sim_command *added[8];
    unsigned added_n = 0;
    for (unsigned i = 0; batch != NULL && i < n; i++) {
        if (add_to_batch(batch, &error, commands[i]) == KW_OK) {
            sim_result_begin(commands[i], commands[0]->timeout_ms);
            added[added_n++] = commands[i];
        }
    }
    uint64_t run_ns = sim_now();
    if (added_n > 0) {
        (void)kw_batch_run(batch, &error, commands[0]->timeout_ms);
        sim_result_check_time(commands[0], run_ns, commands[0]->timeout_ms);
    }
    for (unsigned i = 0; i < added_n; i++) {
        kw_error why = KW_ERROR_INIT;
        const kw_reply *reply = kw_batch_reply(batch, &why, i);
        sim_result_end(added[i], reply, &why);
    }
    kw_batch_free(batch);
}

static void forget(const sim_command *command)
{
    sim_say("forgets %u", command->id);
    for (unsigned i = 0; i < command->parts_n; i++) {
        C.results[command->id + i].end = SIM_FORGOTTEN;
    }
}

static kw_ticket *submit(kw_error *error, const sim_command *command)
{
    sim_words words;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = command->timeout_ms;
    if (command->act != SIM_WHOLE) {
        sim_words_of(&words, command);
        return kw_submit_call(client_of(command), error, &options, argv_of(&words));
    }
    kw_transaction *whole = sim_whole_new(client_of(command), error, command);
    kw_ticket *ticket = whole != NULL ? kw_transaction_submit(whole, error, &options) : NULL;
    kw_transaction_free(whole);
    return ticket;
}

static void pause_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
}

typedef struct tickets {
    const sim_command *const *commands;
    unsigned n;
    kw_ticket *all[8]; /* NULL: nobody waits for it */
    uint64_t begin_ns[8];
} tickets;

static void await_ticket(const tickets *self, unsigned at)
{
    kw_error error = KW_ERROR_INIT;
    const sim_command *command = self->commands[at];
    if (command->is_cancelled) {
        pause_for(command->cancel_ns);
        if (!C.is_closing) {
            sim_say("cancels %u", command->id);
            (void)kw_ticket_cancel(self->all[at], &error);
        }
    }
    uint64_t await_ns = sim_now();
    kw_reply *reply = kw_ticket_await(self->all[at], &error);
    sim_result_end(command, reply, &error);
    if (sim_now() > await_ns) {
        sim_result_check_time(command, self->begin_ns[at], command->timeout_ms);
    }
    kw_reply_free(reply);
    kw_ticket_free(self->all[at]);
}

static void await_tickets(const tickets *self, bool are_blocking)
{
    for (unsigned i = 0; i < self->n; i++) {
        if (self->all[i] != NULL && are_blocking == (self->commands[i]->act == SIM_BLOCK)) {
            await_ticket(self, i);
        }
    }
}

static void run_tickets(const sim_command *const *commands, unsigned n)
{
    tickets self = {commands, n, {NULL}, {0}};
    for (unsigned i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        self.begin_ns[i] = sim_now();
        sim_result_begin(commands[i], commands[i]->timeout_ms);
        self.all[i] = submit(&error, commands[i]);
        sim_result_check_time(commands[i], self.begin_ns[i], commands[i]->timeout_ms);
        if (self.all[i] == NULL) {
            sim_result_end(commands[i], NULL, &error);
        } else if (commands[i]->is_given_up) {
            forget(commands[i]);
            kw_ticket_free(self.all[i]);
            self.all[i] = NULL;
        }
    }
    /* When one has ended is known once it is waited for: not behind those that may block for long.
     */
    await_tickets(&self, false);
    await_tickets(&self, true);
}

/* Callbacks: the caller waits for its own. */

typedef struct expected {
    const sim_command *command;
    uint64_t begin_ns;
    unsigned *left;
    sim_tasks waiter;
    uint64_t cancelled_ns; /* 0: it was not */
} expected;

/* What was given up is told in the next turn of the loop, which its descriptor asks for. */
static void check_cancelled(const expected *self)
{
    bool is_slow = C.plan->mix.block_ns > 0 || (C.plan->has_names && !C.plan->has_thread);
    bool is_late = self->cancelled_ns != 0 && sim_now() > self->cancelled_ns + 25 * SIM_MS;
    if (is_late && !is_slow && !C.is_closing) {
        sim_fail("command %u was cancelled, and ends %lu us later", self->command->id,
                 (unsigned long)((sim_now() - self->cancelled_ns) / SIM_US));
    }
}

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    expected *self = arg;
    if (sim_locks_n() > 0) {
        sim_fail("a callback is called with a lock held");
    }
    sim_result_end(self->command, reply, error);
    sim_result_check_time(self->command, self->begin_ns, self->command->timeout_ms);
    check_cancelled(self);
    kw_reply_free(reply);
    --*self->left;
    sim_wake(self->waiter);
}

static kw_err give(kw_error *error, const sim_command *command, kw_callback callback)
{
    sim_words words;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = command->timeout_ms;
    if (command->act != SIM_WHOLE) {
        sim_words_of(&words, command);
        return kw_call_async(client_of(command), error, callback, &options, argv_of(&words));
    }
    kw_transaction *whole = sim_whole_new(client_of(command), error, command);
    kw_err code =
        whole != NULL ? kw_transaction_async(whole, error, callback, &options) : error->code;
    kw_transaction_free(whole);
    return code;
}

static void cancel(expected *self)
{
    kw_error error = KW_ERROR_INIT;
    const sim_command *command = self->command;
    pause_for(command->cancel_ns);
    if (C.is_closing || C.results[command->id].end != SIM_UNDER_WAY) {
        return;
    }
    sim_say("cancels %u", command->id);
    if (kw_cancel(client_of(command), &error, (kw_callback){on_reply, self}) == KW_OK) {
        self->cancelled_ns = sim_now();
    }
}

static void run_callbacks(const sim_command *const *commands, unsigned n)
{
    expected all[8];
    unsigned left = 0;
    for (unsigned i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        all[i] = (expected){commands[i], sim_now(), &left, sim_self_bit(), 0};
        sim_result_begin(commands[i], commands[i]->timeout_ms);
        left++;
        if (give(&error, commands[i], (kw_callback){on_reply, &all[i]}) != KW_OK) {
            sim_result_end(commands[i], NULL, &error);
            left--;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (commands[i]->is_cancelled) {
            cancel(&all[i]);
        }
    }
    while (left > 0) {
        sim_park(SIM_NEVER);
    }
}

/* One command given very often at once: what comes of each is looked at where it ends. */

typedef struct crowd {
    const sim_command *command;
    uint64_t begin_ns;
    unsigned left;
    sim_tasks waiter;
} crowd;

static void on_one(void *arg, kw_reply *reply, const kw_error *error)
{
    crowd *self = arg;
    const char *text = kw_reply_str(reply, NULL);
    unsigned id = 0;
    if (reply != NULL && !kw_reply_is_error(reply) &&
        (text == NULL || sscanf(text, "%u.", &id) != 1 || id != self->command->id)) {
        sim_fail("one of many got the reply \"%s\", which is another's", text != NULL ? text : "");
    }
    if (reply == NULL && error->text[0] == '\0') {
        sim_fail("one of many has no reply, and no reason");
    }
    sim_result_check_time(self->command, self->begin_ns, self->command->timeout_ms);
    kw_reply_free(reply);
    self->left--;
    sim_wake(self->waiter);
}

static void run_crowd(const sim_command *command)
{
    crowd self = {command, sim_now(), 0, sim_self_bit()};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = command->timeout_ms;
    sim_result_begin(command, command->timeout_ms);
    for (unsigned i = 0; i < command->times_n; i++) {
        char key[8];
        char value[16];
        kw_error error = KW_ERROR_INIT;
        snprintf(key, sizeof(key), "k%u", i % SIM_KEYS);
        snprintf(value, sizeof(value), "%u", command->id);
        const char *argv[] = {"HGET", key, value};
        if (kw_call_async(client_of(command), &error, (kw_callback){on_one, &self}, &options,
                          (kw_argv){3, argv, NULL}) == KW_OK) {
            self.left++;
        }
    }
    self.begin_ns = sim_now();
    while (self.left > 0) {
        sim_park(SIM_NEVER);
    }
    forget(command);
}

static void run_group(const sim_caller *caller, const sim_command *const *commands, unsigned n)
{
    switch (caller->way) {
    case SIM_CALL:
        for (unsigned i = 0; i < n; i++) {
            for (unsigned k = 0; k == 0 || (k < commands[i]->times_n && !C.is_closing); k++) {
                run_call(commands[i]);
            }
        }
        return;
    case SIM_BATCH:
        run_batch(commands, n);
        return;
    case SIM_TICKET:
        run_tickets(commands, n);
        return;
    case SIM_CALLBACK:
        if (commands[0]->times_n > 0) {
            run_crowd(commands[0]);
        } else {
            run_callbacks(commands, n);
        }
        return;
    case SIM_SESSION:
        sim_session_run(client_of(commands[0]), commands, n, caller->is_in_loop);
        return;
    case SIM_WAYS_N:
        return;
    }
}

void sim_caller_run(const sim_caller *caller)
{
    const sim_command *group[SIM_GROUP];
    unsigned at = caller->first;
    unsigned end = at + caller->commands_n;
    unsigned group_n = caller->way == SIM_CALL ? 1 : caller->group_n;
    while (at < end) {
        unsigned n = 0;
        for (; at < end && n < group_n; at++) {
            if (!C.plan->commands[at].is_off) {
                group[n++] = &C.plan->commands[at];
            }
        }
        if (n == 0) {
            return;
        }
        uint64_t until_ns = sim_now() + group[0]->pause_ns;
        while (sim_now() < until_ns) {
            sim_park(until_ns);
        }
        if (C.is_closing) {
            return;
        }
        C.inside_n++;
        run_group(caller, group, n);
        C.inside_n--;
    }
}
