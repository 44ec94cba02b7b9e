/* SPDX-License-Identifier: BSD-3-Clause */
/* How the scripted server carries out the steps of an answer. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "support/check.h"
#include "support/fake_parts.h"

/* Steps done in one go; the thread comes back for more. */
enum { STEPS_A_TURN = 1000, FLOOD_AHEAD = 1 << 20 };

static void say(fake_conn *conn, const char *text)
{
    fake_bytes_add(&conn->out, text, strlen(text));
}

size_t kw_fake_bulk(char *out, const char *bytes, size_t len)
{
    size_t used = (size_t)sprintf(out, "$%lu\r\n", (unsigned long)len);
    memcpy(out + used, bytes, len);
    memcpy(out + used + len, "\r\n", 2);
    return used + len + 2;
}

/* What a responder may do. */

size_t kw_fake_call_argc(const kw_fake_call *call)
{
    return call->command->argc;
}

const char *kw_fake_call_arg(const kw_fake_call *call, size_t index, size_t *len)
{
    if (index >= call->command->argc) {
        return NULL;
    }
    if (len != NULL) {
        *len = call->command->lens[index];
    }
    return call->command->argv[index];
}

unsigned kw_fake_call_connection(const kw_fake_call *call)
{
    return call->conn->number;
}

void kw_fake_call_reply(kw_fake_call *call, const char *bytes, size_t len)
{
    fake_bytes_add(&call->conn->out, bytes, len);
}

void kw_fake_call_replyf(kw_fake_call *call, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(line)) {
        kw_test_die("a fake reply of %d bytes by format", len);
    }
    kw_fake_call_reply(call, line, (size_t)len);
}

void kw_fake_call_bulk(kw_fake_call *call, const char *bytes, size_t len)
{
    kw_fake_call_replyf(call, "$%lu\r\n", (unsigned long)len);
    kw_fake_call_reply(call, bytes, len);
    kw_fake_call_reply(call, "\r\n", 2);
}

void kw_fake_call_close(kw_fake_call *call)
{
    call->conn->is_closing = true;
}

/* The greeting. */

static void say_hello(const kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    char text[300];
    bool is_three = command->argc > 1 && strcmp(command->argv[1], "3") == 0;
    snprintf(text, sizeof(text),
             "%s\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n"
             ":%d\r\n$2\r\nid\r\n:%u\r\n$4\r\nmode\r\n%s\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
             "$7\r\nmodules\r\n*0\r\n",
             is_three ? "%7" : "*14", is_three ? 3 : 2, conn->number,
             fake->is_cluster ? "$7\r\ncluster" : "$10\r\nstandalone");
    say(conn, text);
}

static unsigned own_id(const kw_fake *fake)
{
    return fake->id != 0 ? fake->id : fake->port;
}

/* Who it is, and what replication calls its data: the same for all that have no id of their own, as
 * in a group of servers. */
static void say_info(const kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    char text[300];
    char reply[340];
    if (strcasecmp(command->argv[1], "server") == 0) {
        snprintf(text, sizeof(text), "# Server\r\nrun_id:a%039u\r\n", own_id(fake));
    } else {
        snprintf(text, sizeof(text),
                 "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
                 "master_replid:b%039u\r\nmaster_replid2:%040u\r\nmaster_repl_offset:0\r\n",
                 fake->id != 0 ? fake->id : KW_FAKE_HISTORY, 0u);
    }
    snprintf(reply, sizeof(reply), "$%lu\r\n%s\r\n", (unsigned long)strlen(text), text);
    say(conn, reply);
}

static void say_cluster(const kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    bool is_slots = strcasecmp(command->argv[1], "SLOTS") == 0;
    if (strcasecmp(command->argv[1], "MYID") == 0) {
        char id[60];
        snprintf(id, sizeof(id), "$40\r\n%040u\r\n", own_id(fake));
        say(conn, fake->is_cluster ? id : "-ERR This instance has cluster support disabled\r\n");
    } else if (is_slots) {
        say(conn, fake->slots != NULL ? fake->slots
                                      : "-ERR This instance has cluster support disabled\r\n");
    } else {
        say(conn, fake->shards != NULL
                      ? fake->shards
                      : "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. "
                        "Try CLUSTER HELP.\r\n");
    }
}

static void say_command(fake_conn *conn, const fake_command *command)
{
    char text[32];
    if (command->argc > 2 && strcasecmp(command->argv[1], "INFO") == 0) {
        snprintf(text, sizeof(text), "*%lu\r\n", (unsigned long)command->argc - 2);
        say(conn, text);
        for (size_t i = 2; i < command->argc; i++) {
            say(conn, "*-1\r\n");
        }
    } else if (command->argc > 2) {
        say(conn, "-ERR Invalid command specified\r\n");
    } else {
        say(conn, "*0\r\n");
    }
}

static bool is_map_question(const fake_command *command)
{
    return strcasecmp(command->argv[0], "CLUSTER") == 0 && command->argc == 2 &&
           (strcasecmp(command->argv[1], "SLOTS") == 0 ||
            strcasecmp(command->argv[1], "MYID") == 0 ||
            strcasecmp(command->argv[1], "SHARDS") == 0);
}

static bool is_identity_question(const fake_command *command)
{
    return strcasecmp(command->argv[0], "INFO") == 0 && command->argc == 2 &&
           (strcasecmp(command->argv[1], "server") == 0 ||
            strcasecmp(command->argv[1], "replication") == 0);
}

static const struct {
    const char *name;
    const char *reply; /* NULL: made by a function */
} greetings[] = {
    {"HELLO", NULL},       {"COMMAND", NULL},
    {"AUTH", "+OK\r\n"},   {"SELECT", "+OK\r\n"},
    {"CLIENT", "+OK\r\n"}, {"READONLY", "+OK\r\n"},
    {"ASKING", "+OK\r\n"}, {"READWRITE", "+OK\r\n"},
    {"PING", "+PONG\r\n"}, {"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"},
    {"QUIT", "+OK\r\n"},
};

static const char *greeting_name(const fake_command *command, const char **reply)
{
    for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
        if (strcasecmp(greetings[i].name, command->argv[0]) == 0) {
            *reply = greetings[i].reply;
            return greetings[i].name;
        }
    }
    return NULL;
}

bool fake_is_greeting(const fake_command *command)
{
    const char *reply;
    return is_map_question(command) || is_identity_question(command) ||
           greeting_name(command, &reply) != NULL;
}

bool fake_greet(kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    const char *reply = NULL;
    const char *name = greeting_name(command, &reply);
    if (is_map_question(command)) {
        say_cluster(fake, conn, command);
        return true;
    }
    if (is_identity_question(command)) {
        say_info(fake, conn, command);
        return true;
    }
    if (name == NULL) {
        return false;
    }
    if (reply != NULL) {
        say(conn, reply);
        conn->is_closing = conn->is_closing || strcmp(name, "QUIT") == 0;
    } else if (strcmp(name, "HELLO") == 0) {
        say_hello(fake, conn, command);
    } else {
        say_command(conn, command);
    }
    return true;
}

/* Rules and scripts. */

static const kw_fake_step *rule_steps(fake_rule *rules, const char *text)
{
    for (fake_rule *rule = rules; rule != NULL; rule = rule->next) {
        if ((rule->is_endless || rule->turns > 0) &&
            (text == NULL || fake_matches(rule->pattern, text))) {
            rule->turns -= rule->is_endless ? 0 : 1;
            return rule->steps;
        }
    }
    return NULL;
}

static void frame_begin(fake_frame *frame, const kw_fake_step *steps)
{
    frame->steps = steps;
    frame->at = 0;
    frame->piece_at = 0;
}

static bool frame_is_active(const fake_frame *frame)
{
    return frame->steps != NULL && frame->steps[frame->at].act != KW_FAKE_DO_END;
}

/* The next step waits for the test, or for bytes: not for time. */
static bool frame_is_waiting(const fake_frame *frame)
{
    return frame->steps != NULL && (frame->steps[frame->at].act == KW_FAKE_DO_GATE ||
                                    frame->steps[frame->at].act == KW_FAKE_DO_PART);
}

/* One more byte, once the one before has left. */
static bool do_piece(fake_conn *conn, fake_frame *frame, uint64_t now_ms)
{
    const kw_fake_step *step = &frame->steps[frame->at];
    if (conn->out.at != conn->out.len) {
        conn->wake_ms = now_ms + 1;
        return false;
    }
    conn->wake_ms = now_ms + step->ms;
    fake_bytes_add(&conn->out, step->bytes + frame->piece_at, 1);
    frame->piece_at++;
    return frame->piece_at == step->len;
}

static void do_flood(fake_conn *conn, const kw_fake_step *step, uint64_t now_ms)
{
    conn->wake_ms = now_ms + (step->ms > 0 ? step->ms : 1);
    do {
        if (conn->out.len - conn->out.at >= FLOOD_AHEAD) {
            return;
        }
        fake_bytes_add(&conn->out, step->bytes, step->len);
    } while (step->ms == 0);
}

static bool do_gate(kw_fake *fake, fake_conn *conn)
{
    if (fake->passes_n == 0) {
        return false;
    }
    fake->passes_n--;
    conn->is_partial = false;
    return true;
}

/* True where the step is done and the next one may follow. */
static bool do_step(kw_fake *fake, fake_conn *conn, fake_frame *frame, uint64_t now_ms)
{
    const kw_fake_step *step = &frame->steps[frame->at];
    switch (step->act) {
    case KW_FAKE_DO_END:
    case KW_FAKE_DO_EXPECT:
        return true;
    case KW_FAKE_DO_SEND:
        fake_bytes_add(&conn->out, step->bytes, step->len);
        return true;
    case KW_FAKE_DO_PIECES:
        return do_piece(conn, frame, now_ms);
    case KW_FAKE_DO_FLOOD:
        do_flood(conn, step, now_ms);
        return false;
    case KW_FAKE_DO_DELAY:
        conn->wake_ms = now_ms + step->ms;
        return true;
    case KW_FAKE_DO_GATE:
        return do_gate(fake, conn);
    case KW_FAKE_DO_PART:
        conn->is_partial = conn->in.len - conn->in.at >= step->len;
        return conn->is_partial;
    case KW_FAKE_DO_CLOSE:
        conn->is_closing = true;
        return true;
    case KW_FAKE_DO_RESET:
        conn->is_closing = true;
        conn->is_resetting = true;
        return true;
    case KW_FAKE_DO_STALL:
        conn->is_stalled = true;
        return true;
    case KW_FAKE_DO_DEAF:
        conn->is_deaf = true;
        return true;
    case KW_FAKE_DO_LOOP:
        frame_begin(frame, frame->steps);
        return false;
    }
    return true;
}

/* False where it waits for something else than time. */
static bool frame_step(kw_fake *fake, fake_conn *conn, fake_frame *frame, uint64_t now_ms)
{
    if (do_step(fake, conn, frame, now_ms)) {
        frame->at++;
        frame->piece_at = 0;
        return true;
    }
    return !frame_is_waiting(frame);
}

/* The responder runs without the lock: it may look at this fake, and at others. */
static bool respond(kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    kw_fake_fn fn = fake->respond;
    void *arg = fake->respond_arg;
    kw_fake_call call = {command, conn};
    if (fn == NULL) {
        return false;
    }
    pthread_mutex_unlock(&fake->lock);
    bool is_done = fn(arg, &call);
    pthread_mutex_lock(&fake->lock);
    return is_done;
}

static void answer(kw_fake *fake, fake_conn *conn, const fake_command *command)
{
    bool is_scripted =
        frame_is_active(&conn->script) && (conn->with_greeting || !fake_is_greeting(command));
    if (is_scripted) {
        const kw_fake_step *expected = &conn->script.steps[conn->script.at];
        if (fake_matches(expected->bytes, command->text)) {
            conn->script.at++;
        } else {
            fprintf(stderr, "fake %s: \"%s\" where the script expects \"%s\"\n", fake->address,
                    command->text, expected->bytes);
            fake->mismatches++;
            conn->is_closing = true;
        }
        return;
    }
    const kw_fake_step *steps = rule_steps(fake->rules, command->text);
    if (steps != NULL) {
        frame_begin(&conn->rule, steps);
    } else if (!respond(fake, conn, command) && !fake_greet(fake, conn, command)) {
        char line[400];
        snprintf(line, sizeof(line), "-ERR unknown command '%s'\r\n", command->text);
        say(conn, line);
    }
}

void fake_conn_accept(kw_fake *fake, fake_conn *conn)
{
    const fake_script *chosen = NULL;
    for (const fake_script *script = fake->scripts; script != NULL; script = script->next) {
        if (script->connection == conn->number || (script->connection == 0 && chosen == NULL)) {
            chosen = script;
        }
    }
    if (chosen != NULL) {
        frame_begin(&conn->script, chosen->steps);
        conn->with_greeting = chosen->with_greeting;
    }
    frame_begin(&conn->rule, rule_steps(fake->accept_rules, NULL));
}

static void drop_commands(fake_conn *conn)
{
    while (conn->first != NULL) {
        fake_command *command = conn->first;
        conn->first = command->next;
        fake_command_free(command);
    }
}

/* The frame whose steps are done now: a rule's before the script's. */
static const fake_frame *active_frame(const fake_conn *conn)
{
    return frame_is_active(&conn->rule) ? &conn->rule : &conn->script;
}

bool fake_conn_is_at_gate(const fake_conn *conn)
{
    const fake_frame *frame = active_frame(conn);
    return frame_is_active(frame) && frame->steps[frame->at].act == KW_FAKE_DO_GATE;
}

bool fake_conn_is_at_rest(const fake_conn *conn)
{
    return conn->first == NULL && !frame_is_active(&conn->rule) && conn->out.at == conn->out.len;
}

bool fake_conn_is_busy(const fake_conn *conn)
{
    bool is_at_script = frame_is_active(&conn->script) &&
                        conn->script.steps[conn->script.at].act != KW_FAKE_DO_EXPECT;
    return !conn->is_stalled && !conn->is_deaf && !conn->is_closing &&
           !frame_is_waiting(active_frame(conn)) &&
           (frame_is_active(&conn->rule) || is_at_script || conn->first != NULL);
}

/* A byte of PIECES is to leave alone. */
static bool has_piece(const fake_conn *conn)
{
    return conn->out.at != conn->out.len && (conn->rule.piece_at > 0 || conn->script.piece_at > 0);
}

void fake_conn_advance(kw_fake *fake, fake_conn *conn, uint64_t now_ms)
{
    for (int i = 0; i < STEPS_A_TURN && !conn->is_closing; i++) {
        if (conn->is_stalled || conn->is_deaf) {
            drop_commands(conn);
            return;
        }
        if (conn->wake_ms > now_ms) {
            return;
        }
        if (has_piece(conn)) {
            return;
        }
        if (frame_is_active(&conn->rule)) {
            if (!frame_step(fake, conn, &conn->rule, now_ms)) {
                return;
            }
        } else if (frame_is_active(&conn->script) &&
                   conn->script.steps[conn->script.at].act != KW_FAKE_DO_EXPECT) {
            if (!frame_step(fake, conn, &conn->script, now_ms)) {
                return;
            }
        } else if (conn->first != NULL) {
            fake_command *command = conn->first;
            conn->first = command->next;
            answer(fake, conn, command);
            fake_command_free(command);
        } else {
            return;
        }
    }
}
