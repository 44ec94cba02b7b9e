/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose turn it is among the commands of a pin, on which connection, and what their answers and
 * failures make of it. */
#include "drive/pin.h"

#include "base/error.h"

#include <stdio.h>

void kw_pin_init(kw_pin *pin, kw_topology *topology, kw_bytes key)
{
    kw_session_init(&pin->session, topology, key);
    pin->session.is_async = true;
    pin->plain = pin->session;
    atomic_init(&pin->given_n, 0);
    atomic_init(&pin->open_n, 0);
}

/* The transaction that is given now, as far as who gives it has come. */
static void note_given(kw_pin *pin, kw_session_effect effect)
{
    bool is_end = effect == KW_SESSION_EFFECT_EXEC || effect == KW_SESSION_EFFECT_DISCARD;
    pin->has_multi = effect == KW_SESSION_EFFECT_MULTI || (pin->has_multi && !is_end);
    pin->is_cut = pin->is_cut && pin->has_multi;
}

kw_err kw_pin_plan(kw_pin *pin, kw_item *item, kw_error *error, const kw_plan_task *task)
{
    kw_session_request request;
    kw_err code = kw_session_plan(&request, &pin->plain, error, task);
    code = code == KW_OK ? kw_session_check_opened(&pin->plain.state, error, &request) : code;
    if (code != KW_OK) {
        return code;
    }
    if (request.effect == KW_SESSION_EFFECT_EXEC && pin->is_cut) {
        kw_plan_fini(&request.plan);
        return kw_error_refuse(error, KW_ERR_ORDER,
                               "EXEC is given behind a command of its MULTI that was refused: give "
                               "DISCARD, or close the session");
    }
    kw_pin_command *command = kw_mem_calloc(&pin->plain.mem, 1, sizeof(*command));
    if (command == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %s",
                     kw_plan_name(&request.plan));
        kw_plan_fini(&request.plan);
        return KW_ERR_NOMEM;
    }
    command->retry.item = item;
    command->retry.pin = pin;
    command->effect = request.effect;
    command->is_free = true;
    note_given(pin, request.effect);
    command->number = atomic_fetch_add(&pin->given_n, 1) + 1;
    atomic_fetch_add(&pin->open_n, 1);
    item->plan = request.plan;
    item->retry_state = &command->retry;
    return KW_OK;
}

bool kw_pin_takes(kw_pin *pin, kw_item *item)
{
    kw_pin_command *command = kw_pin_command_of(item);
    command->is_void = command->number <= pin->void_until || pin->untold_n > 0;
    if (pin->current == NULL) {
        pin->current = item;
        return true;
    }
    command->is_waiting = true;
    command->before = pin->last;
    *(pin->last != NULL ? &pin->last->next : &pin->first) = command;
    pin->last = command;
    return false;
}

/* False where the command counts on a MULTI that has failed. */
static bool is_opened(kw_pin *pin, const kw_pin_command *command)
{
    if (pin->unopened_at != 0 && command->number > pin->unopened_at) {
        pin->unopened_at = 0;
        kw_session_state_on_failed(&pin->session.state, KW_SESSION_EFFECT_MULTI);
    }
    return kw_session_state_takes(&pin->session.state, command->effect);
}

static kw_err check_turn(kw_pin *pin, const kw_item *item, kw_error *error)
{
    const kw_pin_command *command = kw_pin_command_of(item);
    bool is_good = is_opened(pin, command);
    if (pin->session.broken != KW_OK) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "the session has lost its connection (%s); close it and open a new one",
                            kw_err_text(pin->session.broken));
    }
    if (command->is_void) {
        return kw_error_set(error, KW_ERR_ORDER, KW_EFFECT_NONE,
                            KW_DRIVER_GIVEN_BEHIND "a command of the session that failed: %s",
                            pin->void_reason);
    }
    if (!is_good) {
        return kw_error_set(error, KW_ERR_ORDER, KW_EFFECT_NONE,
                            KW_DRIVER_GIVEN_BEHIND "a MULTI that failed: begin again with WATCH or "
                                                   "MULTI, or end it with DISCARD");
    }
    kw_session_turn turn = {&item->plan, command->effect, item->request.bytes};
    return kw_session_check_turn(&pin->session, error, &turn);
}

kw_err kw_pin_begin(kw_pin *pin, kw_item *item, kw_error *error)
{
    kw_pin_command *command = kw_pin_command_of(item);
    command->has_begun = true;
    command->is_free =
        kw_session_state_is_free(&pin->session.state, command->effect, pin->session.conn != NULL);
    item->plan.is_repeatable = item->plan.is_repeatable && command->is_free;
    pin->is_lost = false;
    kw_err code = check_turn(pin, item, error);
    if (code == KW_OK && !command->is_free && pin->session.conn == NULL) {
        pin->is_lost = true;
        code = kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "the connection was closed before the command was sent");
    }
    return code;
}

void kw_pin_detach(kw_pipeline *pipeline, kw_pin *pin)
{
    kw_channel *channel = pin->channel;
    if (channel == NULL) {
        return;
    }
    if (channel->conn != NULL && !kw_session_is_clean(&pin->session)) {
        channel->conn->state = KW_CONN_DEAD;
    }
    kw_session_forget(&pin->session);
    pin->channel = NULL;
    channel->pin = NULL;
    kw_pipeline_list_channel(pipeline, channel); /* which takes it away */
}

kw_channel *kw_pin_channel(kw_pipeline *pipeline, kw_item *item, kw_node *node)
{
    kw_pin *pin = item->retry_state->pin;
    if (item->is_asking) {
        return kw_pipeline_channel(pipeline, node, true); /* for this one command */
    }
    if (pin->channel != NULL && pin->channel->node == node) {
        return pin->channel;
    }
    kw_channel *channel = kw_pipeline_channel(pipeline, node, true);
    if (channel != NULL) {
        kw_pin_detach(pipeline, pin);
        pin->channel = channel;
        channel->pin = pin;
    }
    return channel;
}

void kw_pin_on_answer(kw_pipeline *pipeline, kw_item *item)
{
    kw_pin *pin = item->retry_state->pin;
    const kw_pin_command *command = kw_pin_command_of(item);
    kw_session_answer answer = {.effect = command->effect, .reply = item->request.reply};
    answer.is_write = kw_session_writes(&item->plan);
    answer.is_asked = item->channel != pin->channel;
    kw_session_state_on_answer(&pin->session.state, &answer);
    const kw_conn *conn = pin->session.conn;
    if (!answer.is_asked && conn != NULL && !kw_conn_is_settled(conn)) {
        /* Answered before it was sent whole: what stands in the way is half a command. */
        pin->session.broken = command->is_free ? KW_OK : KW_ERR_DESYNC;
        pin->channel->conn->state = KW_CONN_DEAD;
        kw_pin_detach(pipeline, pin);
    }
}

bool kw_pin_ends_with(const kw_item *item, const kw_try_end *end)
{
    return kw_pin_binds(item) && !end->has_left && end->code != KW_ERR_TIMEOUT &&
           end->code != KW_ERR_CANCELLED;
}

static void unlist(kw_pin *pin, kw_pin_command *command)
{
    *(command->before != NULL ? &command->before->next : &pin->first) = command->next;
    *(command->next != NULL ? &command->next->before : &pin->last) = command->before;
    command->next = NULL;
    command->before = NULL;
    command->is_waiting = false;
}

/* True where what was given behind the command counts on it. */
static bool has_failed(const kw_pin_command *command, const kw_item *item, kw_err code)
{
    bool is_base =
        command->effect == KW_SESSION_EFFECT_MULTI || command->effect == KW_SESSION_EFFECT_WATCH;
    return code != KW_OK || (is_base && kw_reply_is_error(item->request.reply));
}

/* What was given behind a command that has failed, by who did not know of it, is not sent: half a
 * transaction, or one that nothing guards, would be none. More may come until its callback is
 * called. */
static void void_behind(kw_pin *pin, kw_pin_command *from, const kw_item *failed)
{
    const kw_loss *loss = failed->loss;
    const kw_reply *reply = failed->request.reply;
    char shown[sizeof(pin->void_reason)];
    kw_bytes said =
        kw_bytes_of(reply != NULL  ? kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply))
                    : loss != NULL ? loss->failure.text
                                   : "");
    bool is_story = reply == NULL && said.len > 0;
    snprintf(pin->void_reason, sizeof(pin->void_reason), "%s%s%.*s",
             is_story ? "" : kw_plan_name(&failed->plan), is_story ? "" : ": ", (int)said.len,
             said.data);
    kw_pin_command_of(failed)->is_untold = true;
    pin->untold_n++;
    for (kw_pin_command *command = from; command != NULL; command = command->next) {
        command->is_void = true;
    }
}

void kw_pin_on_told(kw_item *item)
{
    kw_pin_command *command = kw_pin_command_of(item);
    if (command != NULL && command->is_untold) {
        kw_pin *pin = item->retry_state->pin;
        command->is_untold = false;
        pin->untold_n--;
        pin->void_until = atomic_load(&pin->given_n);
    }
}

static kw_item *next_turn(kw_pipeline *pipeline, kw_pin *pin)
{
    kw_pin_command *command = pin->first;
    if (command == NULL) {
        return NULL;
    }
    unlist(pin, command);
    pin->current = command->retry.item;
    kw_items_remove(&pipeline->scan.held, pin->current);
    return pin->current;
}

kw_item *kw_pin_on_end(kw_pipeline *pipeline, kw_item *item, kw_err code)
{
    kw_pin *pin = item->retry_state->pin;
    kw_pin_command *command = kw_pin_command_of(item);
    bool is_current = item == pin->current;
    kw_pin_command *behind = is_current ? pin->first : command->next;
    if (command->is_waiting) {
        unlist(pin, command);
    } else if (is_current) {
        pin->session.broken = code != KW_OK && pin->is_lost ? code : pin->session.broken;
        pin->current = NULL;
    }
    if (code != KW_OK && command->effect == KW_SESSION_EFFECT_MULTI) {
        pin->unopened_at = command->number;
    }
    if (!command->is_void && has_failed(command, item, code)) {
        void_behind(pin, behind, item);
    }
    kw_session_keep_write(&pin->session, &item->plan);
    return is_current ? next_turn(pipeline, pin) : NULL;
}
