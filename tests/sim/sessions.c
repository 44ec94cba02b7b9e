/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions, by calls or with callbacks: one command alone, or a transaction. */
#include "sim/callers.h"

#include <stdio.h>
#include <string.h>

#define C sim_the_crew

/* By the reply of the last of them. */
static void end_all(const sim_command *const *commands, unsigned n, const kw_reply *reply,
                    const kw_error *error)
{
    for (unsigned i = 0; i < n; i++) {
        sim_command one = *commands[i];
        one.act = SIM_PUSH;
        const kw_reply *element =
            kw_reply_type(reply) == KW_REPLY_ARRAY && !kw_reply_is_error(reply)
                ? kw_reply_at(reply, i)
                : reply;
        sim_result_end(&one, element, error);
    }
}

/* EXEC was never said: nothing has run. */
static void give_up(const sim_command *const *commands, unsigned n)
{
    static const sim_result nothing;
    for (unsigned i = 0; i < n; i++) {
        C.results[commands[i]->id] = nothing;
    }
}

static void run_transaction(kw_session *session, const sim_command *const *commands, unsigned n)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, "MULTI");
    bool is_open = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    unsigned queued_n = 0;
    while (is_open && queued_n < n) {
        reply = kw_session_command(session, &error, "RPUSH k%u %u", commands[0]->key,
                                   commands[queued_n]->id);
        queued_n++;
        if (reply == NULL && error.effect != KW_EFFECT_NONE) {
            sim_fail("command %u is lost inside MULTI, with the effect %s", commands[0]->id,
                     kw_effect_name(error.effect));
        }
        is_open = reply != NULL;
        kw_reply_free(reply);
    }
    if (!is_open) {
        give_up(commands, n);
        return;
    }
    uint64_t begin_ns = sim_now();
    reply = kw_session_command(session, &error, "EXEC");
    sim_result_check_time(commands[0], begin_ns, 0);
    if (reply != NULL && kw_reply_is_nil(reply)) {
        sim_fail("EXEC has no reply without WATCH");
    }
    end_all(commands, n, reply, &error);
    kw_reply_free(reply);
}

static void run_calls(kw_client *client, const sim_command *const *commands, unsigned n)
{
    kw_error error = KW_ERROR_INIT;
    char key[8];
    int len = snprintf(key, sizeof(key), "k%u", commands[0]->key);
    uint64_t begin_ns = sim_now();
    for (unsigned i = 0; i < n; i++) {
        sim_result_begin(commands[i], 0);
    }
    kw_session *session = kw_session_open(client, &error, key, (size_t)len);
    sim_result_check_time(commands[0], begin_ns, 0);
    if (session == NULL) {
        for (unsigned i = 0; i < n; i++) {
            sim_result_end(commands[i], NULL, &error);
        }
        return;
    }
    if (n > 1) {
        run_transaction(session, commands, n);
    } else {
        begin_ns = sim_now();
        kw_reply *reply = kw_session_command(session, &error, "RPUSH %s %u", key, commands[0]->id);
        sim_result_check_time(commands[0], begin_ns, 0);
        end_all(commands, 1, reply, &error);
        kw_reply_free(reply);
    }
    kw_session_close(session);
}

/* With callbacks: all is given at once, or each by the callback of the one before. */

#define STEPS_MAX (SIM_GROUP + 2) /* MULTI, and EXEC */

struct pin;

typedef struct step {
    struct pin *pin;
    unsigned number;
    uint64_t begin_ns;
} step;

typedef struct pin {
    const sim_command *const *commands;
    unsigned commands_n;
    kw_async_session *session;
    bool is_stepwise;
    step steps[STEPS_MAX];
    unsigned steps_n;
    unsigned left; /* that were given, and have not ended */
    sim_tasks waiter;
} pin;

static void on_step(void *arg, kw_reply *reply, const kw_error *error);
static void end_step(pin *self, unsigned number, const kw_reply *reply, const kw_error *error);

static kw_err send_step(pin *self, kw_error *error, unsigned number)
{
    char key[8];
    char value[16];
    bool is_whole = self->commands_n > 1;
    unsigned at = is_whole ? number - 1 : number; /* of a command */
    kw_callback callback = {on_step, &self->steps[number]};
    const char *argv[] = {number == 0 ? "MULTI" : "EXEC", key, value};
    if (is_whole && (number == 0 || number + 1 == self->steps_n)) {
        return kw_async_session_command_argv(self->session, error, callback,
                                             (kw_argv){1, argv, NULL});
    }
    argv[0] = "RPUSH";
    snprintf(key, sizeof(key), "k%u", self->commands[0]->key);
    snprintf(value, sizeof(value), "%u", self->commands[at]->id);
    return kw_async_session_command_argv(self->session, error, callback, (kw_argv){3, argv, NULL});
}

static void give_step(pin *self, unsigned number)
{
    kw_error error = KW_ERROR_INIT;
    self->steps[number] = (step){self, number, sim_now()};
    self->left++;
    if (send_step(self, &error, number) != KW_OK) {
        sim_say("step %u is refused: %s", number, error.text);
        end_step(self, number, NULL, &error);
        self->left--;
    }
}

/* Where all were given at once it is the EXEC that says what came of them. */
static void end_step(pin *self, unsigned number, const kw_reply *reply, const kw_error *error)
{
    if (number + 1 == self->steps_n) {
        end_all(self->commands, self->commands_n, reply, error);
        return;
    }
    if (reply == NULL && number > 0 && error->effect != KW_EFFECT_NONE) {
        sim_fail("command %u is lost inside MULTI, with the effect %s",
                 self->commands[number - 1]->id, kw_effect_name(error->effect));
    }
    if (!self->is_stepwise) {
        return;
    }
    if (reply != NULL && (number > 0 || !kw_reply_is_error(reply))) {
        give_step(self, number + 1);
    } else {
        give_up(self->commands, self->commands_n);
    }
}

static void on_step(void *arg, kw_reply *reply, const kw_error *error)
{
    const step *done = arg;
    pin *self = done->pin;
    if (sim_locks_n() > 0) {
        sim_fail("a callback is called with a lock held");
    }
    sim_result_check_time(self->commands[0], done->begin_ns, 0);
    end_step(self, done->number, reply, error);
    kw_reply_free(reply);
    self->left--;
    sim_wake(self->waiter);
}

static void run_pin(kw_client *client, const sim_command *const *commands, unsigned n)
{
    kw_error error = KW_ERROR_INIT;
    char key[8];
    int len = snprintf(key, sizeof(key), "k%u", commands[0]->key);
    bool is_whole = n > 1;
    pin self = {.commands = commands, .commands_n = n, .waiter = sim_self_bit()};
    self.steps_n = is_whole ? n + 2 : 1;
    self.is_stepwise = commands[0]->id % 2 == 0;
    for (unsigned i = 0; i < n; i++) {
        sim_result_begin(commands[i], 0);
    }
    self.session = kw_async_session_open(client, &error, key, (size_t)len);
    if (self.session == NULL) {
        end_all(commands, n, NULL, &error);
        return;
    }
    for (unsigned i = 0; i < (self.is_stepwise ? 1 : self.steps_n); i++) {
        give_step(&self, i);
    }
    bool is_left = !self.is_stepwise && commands[0]->id % 4 == 1; /* what was given is told yet */
    if (is_left) {
        kw_async_session_close(self.session);
    }
    while (self.left > 0) {
        sim_park(SIM_NEVER);
    }
    while (C.is_closing && !C.is_closed) { /* before the handle's end, or behind it */
        sim_park(sim_now() + SIM_MS);
    }
    if (!is_left) {
        kw_async_session_close(self.session);
    }
}

void sim_session_run(kw_client *client, const sim_command *const *commands, unsigned n,
                     bool is_in_loop)
{
    if (is_in_loop) {
        run_pin(client, commands, n);
    } else {
        run_calls(client, commands, n);
    }
}
