/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers got: each reply is its command's, no call is late, none ends before there is reason
 * to. */
#include "sim/callers.h"

#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define C sim_the_crew

/* How much later than its deadline a call may return: poll(2) waits in whole milliseconds, and the
 * receive of a socket, which is a little longer (conn_wait.c, TOLERANCE_NS). */
#define GRAIN_NS (2 * SIM_MS)

/* And what is granted for the work of very many, where work takes time. */
#define WORK_NS (50 * SIM_MS)

static uint64_t limit_ms_of(const sim_command *command, uint64_t timeout_ms)
{
    uint64_t limit_ms = timeout_ms > 0 ? timeout_ms : C.plan->timeout_ms;
    return limit_ms + (command->act == SIM_BLOCK ? sim_block_ms(command) : 0);
}

void sim_result_begin(const sim_command *command, uint64_t timeout_ms)
{
    sim_say("gives %u: %s k%u", command->id, sim_act_name(command->act), command->key);
    for (unsigned i = 0; i < command->parts_n; i++) {
        sim_result *result = &C.results[command->id + i];
        result->end = SIM_UNDER_WAY;
        result->begin_ns = sim_now();
        result->sends_n = sim_net_sends_n();
        result->limit_ns = limit_ms_of(command, timeout_ms) * SIM_MS;
        result->given = ++C.given_n;
    }
}

/* "17.4": command 17, run 4. */
static unsigned run_of(const sim_command *command, unsigned part, const kw_reply *value)
{
    unsigned id = 0;
    unsigned run = 0;
    const char *text = kw_reply_str(value, NULL);
    unsigned wanted = command->id + part;
    if (text == NULL || sscanf(text, "%u.%u", &id, &run) != 2 || id != wanted) {
        sim_fail("command %u got the reply \"%s\", which is another's", wanted,
                 text != NULL ? text : "(no text)");
    }
    return run;
}

static unsigned run_in_reply(const sim_command *command, unsigned part, const kw_reply *reply)
{
    switch (command->act) {
    case SIM_READ:
    case SIM_PINNED:
        return run_of(command, part, reply);
    case SIM_PUSH:
        return (unsigned)kw_reply_int(reply);
    case SIM_WHOLE:
        if (kw_reply_count(reply) != command->parts_n) {
            sim_fail("transaction %u has %zu replies for %u commands", command->id,
                     kw_reply_count(reply), command->parts_n);
        }
        return (unsigned)kw_reply_int(kw_reply_at(reply, part));
    case SIM_BLOCK:
        return run_of(command, part, kw_reply_at(reply, 1));
    case SIM_MANY:
        return run_of(command, part, kw_reply_at(reply, part));
    case SIM_STORE:
    case SIM_STORES:
    case SIM_ACTS_N:
        break;
    }
    if (kw_reply_str(reply, NULL) == NULL || strcmp(kw_reply_str(reply, NULL), "OK") != 0) {
        sim_fail("command %u got a reply that is another's, in place of OK", command->id);
    }
    return 0;
}

static void check_run(unsigned id, unsigned run)
{
    if (run > sim_the_world.runs_n || (run > 0 && sim_the_world.run_ids[run] != id)) {
        sim_fail("command %u got run %u, which is of command %u", id, run,
                 run <= sim_the_world.runs_n ? sim_the_world.run_ids[run] : 0);
    }
}

/* What stands in a call's way, and may pass. */
static bool is_waited_out(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_RESOLVE || code == KW_ERR_HANDSHAKE ||
           code == KW_ERR_NOT_SERVED || code == KW_ERR_CLUSTER_DOWN || code == KW_ERR_TRY_AGAIN ||
           code == KW_ERR_LOADING || code == KW_ERR_MASTER_DOWN || code == KW_ERR_TOPOLOGY;
}

/* The library sends a command so often at most. */
#define SENDS_MAX 40

/* A server is down when it was out of reach for so long. */
#define DOWN_NS SIM_S

/* Such an outage is counted from the beginning of the step that failed: to the servers of a group
 * that is some round trips before. */
#define STEP_TRIPS 8

/* And where names have dead addresses, these had their turn in that step. */
#define STEP_DEAD_NS (300 * SIM_MS)

/* Where round trips are longer than 300 ms the first call may take the server for one that is away;
 * the second does not. */
#define FIRST_FAR_NS (150 * SIM_MS)

/* Such a failure comes at the deadline, but of a server that is down, or a command that was sent as
 * often as any is. */
static void check_early(const sim_command *command, const sim_result *result)
{
    uint64_t place_ns = result->limit_ns; /* until when it waits to be sent */
    place_ns -= command->act == SIM_BLOCK ? sim_block_ms(command) * SIM_MS : 0;
    bool is_early = result->end_ns + GRAIN_NS < result->begin_ns + place_ns;
    bool is_sent_enough = result->attempts >= SENDS_MAX && result->code != KW_ERR_CONNECT;
    if (!is_early || is_sent_enough || command->way == SIM_SESSION || C.is_closing ||
        command->act == SIM_PINNED || !is_waited_out(result->code)) {
        return;
    }
    if (C.plan->latency_ns > FIRST_FAR_NS) {
        return;
    }
    uint64_t step_ns = 2 * STEP_TRIPS * C.plan->latency_ns;
    step_ns += C.plan->has_dead_address ? STEP_DEAD_NS : 0;
    bool may_be_down = !C.plan->waits_for_down && result->end_ns >= C.fault_ns &&
                       result->end_ns + step_ns >= C.fault_ns + DOWN_NS;
    if (!may_be_down) {
        sim_fail("command %u of %lu ms ends after %lu us, with %s, %s", command->id,
                 (unsigned long)(result->limit_ns / SIM_MS),
                 (unsigned long)((result->end_ns - result->begin_ns) / SIM_US),
                 kw_err_name(result->code),
                 C.plan->waits_for_down ? "though calls are to wait"
                                        : "before a server can be down");
    }
}

/* Where all servers are others, it is learnt first that the old ones are silent, and whose the new
 * ones are. */
#define MOVED_NS    (11 * SIM_S / 5)
#define MOVED_TRIPS 24

/* All has been well for long enough, and it was under way. */
static void check_recovery(const sim_command *command, const sim_result *result)
{
    uint64_t from_ns = result->begin_ns > C.heal_ns ? result->begin_ns : C.heal_ns;
    uint64_t allowed_ns = SIM_RECOVERY_NS + SIM_TRIPS * C.plan->latency_ns;
    allowed_ns +=
        sim_plan_has(C.plan, SIM_REPLACE_ALL) ? MOVED_NS + MOVED_TRIPS * C.plan->latency_ns : 0;
    bool waits_for_place = C.plan->pool_max > 0;
    bool waits_for_names = C.plan->has_names && !C.plan->has_thread;
    /* A server that had gone for good already is waited for where the caller names it. */
    bool is_gone = command->act == SIM_PINNED && sim_the_world.servers[result->server].is_gone &&
                   !result->is_known;
    if (C.heal_ns == SIM_NEVER || is_gone || command->act == SIM_BLOCK ||
        command->way == SIM_SESSION || waits_for_place || waits_for_names || C.is_closing ||
        C.plan->latency_ns > FIRST_FAR_NS) {
        return;
    }
    if (result->end_ns > from_ns + allowed_ns) {
        sim_fail("all is well, and command %u takes %lu us from then on", command->id,
                 (unsigned long)((result->end_ns - from_ns) / SIM_US));
    }
}

/* Each try of a command is handed to the system: a try of which nothing was is none. One that was
 * given up as it was put on its connection, whose effect is not known, leaves yet. */
static void check_attempts(const sim_result *result, const sim_command *command)
{
    unsigned sends_n = sim_net_sends_n() - result->sends_n;
    if (result->attempts > sends_n && result->effect == KW_EFFECT_NONE) {
        sim_fail("command %u was tried %u times, while the program has sent %u times", command->id,
                 result->attempts, sends_n);
    }
}

/* A command to a server that leaves the map ends soon after the map without it has come. */
#define LEFT_NS (2 * SIM_S)

static void check_left(const sim_command *command, const sim_result *result)
{
    static const sim_fault_kind others[] = {SIM_MEMORY,     SIM_SWALLOW, SIM_SILENCE,
                                            SIM_TRICKLE,    SIM_APART,   SIM_NUMBERS,
                                            SIM_NAMES_AWAY, SIM_STOP,    SIM_SLOWNESS};
    const sim_server *server = &sim_the_world.servers[result->server];
    bool is_other = command->act != SIM_PINNED || !result->is_known || C.plan->has_names ||
                    C.plan->latency_ns > FIRST_FAR_NS || server->left_ns == SIM_NEVER;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        is_other = is_other || sim_plan_has(C.plan, others[i]);
    }
    uint64_t from_ns = result->begin_ns > server->left_ns ? result->begin_ns : server->left_ns;
    if (!is_other && result->end_ns > from_ns + LEFT_NS + SIM_TRIPS * C.plan->latency_ns) {
        sim_fail("server %u has left the map, and command %u to it takes %lu us from then on",
                 server->number, command->id, (unsigned long)((result->end_ns - from_ns) / SIM_US));
    }
}

/* Once a map has come by which the silent owner has lost the slot, what is on its way to it is
 * given up, and what waits for it goes to the new one: stall-timeout or grace later. */
#define LOST_NS (600 * SIM_MS)

static void check_lost(const sim_command *command, const sim_result *result)
{
    unsigned slot = sim_the_world.key_slots[command->key];
    if (!C.plan->loses_owners || C.is_closing) {
        return;
    }
    const sim_server *server = &sim_the_world.servers[sim_cluster_first_owner(C.plan, slot)];
    if (server->lost_ns == SIM_NEVER || result->begin_ns >= server->lost_ns) {
        return;
    }
    uint64_t allowed_ns = LOST_NS + SIM_TRIPS * C.plan->latency_ns;
    allowed_ns += command->act == SIM_BLOCK ? sim_block_ms(command) * SIM_MS : 0;
    if (result->end_ns > server->lost_ns + allowed_ns) {
        sim_fail("server %u has lost the slot, and command %u takes %lu us from then on",
                 server->number, command->id,
                 (unsigned long)((result->end_ns - server->lost_ns) / SIM_US));
    }
}

/* Connections that went silent under commands whose callers have left by now: who comes later waits
 * two stall-timeouts for what is owed to those, and for its own answer on a new one. */
#define OWED_NS (1300 * SIM_MS)

static void check_owed(const sim_command *command, const sim_result *result)
{
    uint64_t allowed_ns = OWED_NS + SIM_TRIPS * C.plan->latency_ns;
    if (C.plan->owes && !C.is_closing && result->end_ns > result->begin_ns + allowed_ns) {
        sim_fail("connections are silent, others can be had, and command %u takes %lu us",
                 command->id, (unsigned long)((result->end_ns - result->begin_ns) / SIM_US));
    }
}

/* Where callers meet on a connection with which nothing is wrong, none is left in the queue: each
 * command ends some round trips later, and not by the next look of whoever waits. */
#define MET_NS (5 * SIM_MS)

static void check_met(const sim_command *command, const sim_result *result)
{
    uint64_t allowed_ns = MET_NS + SIM_TRIPS * C.plan->latency_ns;
    if (C.plan->meets && result->end_ns > result->begin_ns + allowed_ns) {
        sim_fail("nothing is wrong, and command %u takes %lu us", command->id,
                 (unsigned long)((result->end_ns - result->begin_ns) / SIM_US));
    }
}

/* The one server is there since before the call began. */
static bool is_there_since(uint64_t begin_ns)
{
    const sim_server *server = &sim_the_world.servers[0];
    return C.plan->only_dies && (server->dead_ns == SIM_NEVER || begin_ns >= server->back_ns);
}

/* The troubles were over when the caller came: nothing that is left of them ends the call. */
static void check_well(const sim_command *command, const sim_result *result)
{
    bool is_after = C.plan->well_ns > 0 && result->begin_ns >= C.begin_ns + C.plan->well_ns;
    if ((!is_after && !is_there_since(result->begin_ns)) || C.is_closing) {
        return;
    }
    if (result->end == SIM_FAILED) {
        sim_fail("the trouble is over, and command %u fails: %s", command->id,
                 kw_err_name(result->code));
    }
    uint64_t allowed_ns = C.plan->quick_ns + SIM_TRIPS * C.plan->latency_ns;
    if (C.plan->quick_ns > 0 && result->end_ns > result->begin_ns + allowed_ns) {
        sim_fail("the trouble is over, and command %u takes %lu us", command->id,
                 (unsigned long)((result->end_ns - result->begin_ns) / SIM_US));
    }
}

/* A server that refuses connections is down for everybody after a while: a second, and the longest
 * pause between two dials. */
#define REFUSED_NS (2 * SIM_S)

static void check_fast(const sim_command *command, const sim_result *result)
{
    const sim_plan *plan = C.plan;
    const sim_server *server = &sim_the_world.servers[0];
    bool is_other = plan->kind != SIM_PLAIN || plan->waits_for_down || plan->has_names ||
                    plan->mix.block_ns > 0 || sim_plan_has(plan, SIM_SWALLOW) ||
                    sim_plan_has(plan, SIM_NUMBERS) || plan->latency_ns > FIRST_FAR_NS;
    bool is_elsewhere = command->way == SIM_SESSION || command->way == SIM_TICKET ||
                        command->act == SIM_BLOCK || C.is_closing;
    /* Where a connection that is half open has the last place, as BLPOP waits on it, nobody dials.
     */
    bool has_no_place = plan->pool_max > 0 && sim_plan_has(plan, SIM_SILENCE);
    if (is_other || is_elsewhere || has_no_place || server->dead_ns == SIM_NEVER) {
        return;
    }
    uint64_t from_ns = result->begin_ns > server->dead_ns ? result->begin_ns : server->dead_ns;
    uint64_t until_ns = result->end_ns < server->back_ns ? result->end_ns : server->back_ns;
    if (until_ns > from_ns + REFUSED_NS + SIM_TRIPS * plan->latency_ns) {
        sim_fail("the server refuses connections, and command %u takes %lu us from then on",
                 command->id, (unsigned long)((until_ns - from_ns) / SIM_US));
    }
}

/* What passes by itself is no caller's answer, but inside a session. */
static void check_refusal(const sim_command *command, const kw_reply *reply)
{
    static const char *const texts[] = {"CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN"};
    const char *text = kw_reply_is_error(reply) ? kw_reply_str(reply, NULL) : "";
    for (size_t i = 0; command->way != SIM_SESSION && i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strncmp(text, texts[i], strlen(texts[i])) == 0) {
            sim_fail("command %u is told %s, which is to be waited out", command->id, text);
        }
    }
}

static void end_part(const sim_command *command, unsigned part, const kw_reply *reply,
                     const kw_error *error)
{
    sim_result *result = &C.results[command->id + part];
    bool has_parts = command->act == SIM_MANY || command->act == SIM_WHOLE;
    const kw_reply *element = has_parts ? kw_reply_at(reply, part) : reply;
    result->end_ns = sim_now();
    if (reply == NULL) {
        result->end = SIM_FAILED;
        result->code = error->code;
        result->effect = error->effect;
        result->attempts = error->attempts;
        if (error->code >= KW_OK || error->text[0] == '\0') {
            sim_fail("command %u has no reply, and code %d with the text \"%s\"", command->id,
                     (int)error->code, error->text);
        }
    } else if (kw_reply_is_error(reply) || kw_reply_is_error(element)) {
        result->end = SIM_REFUSED;
        check_refusal(command, reply);
    } else if (kw_reply_is_nil(reply) && command->act == SIM_BLOCK) {
        result->end = SIM_REFUSED;
    } else {
        result->end = SIM_ANSWERED;
        result->run = run_in_reply(command, part, reply);
        check_run(command->id + part, result->run);
    }
    if (result->end == SIM_FAILED) {
        check_early(command, result);
        check_attempts(result, command);
        check_left(command, result);
    }
    check_fast(command, result);
    check_lost(command, result);
    check_owed(command, result);
    check_met(command, result);
    check_well(command, result);
    check_recovery(command, result);
}

void sim_result_end(const sim_command *command, const kw_reply *reply, const kw_error *error)
{
    if (C.results[command->id].end != SIM_UNDER_WAY) {
        sim_fail("command %u has ended twice", command->id);
    }
    for (unsigned i = 0; i < command->parts_n; i++) {
        end_part(command, i, reply, error);
    }
    if (reply == NULL) {
        sim_say("ends %u: %s, %s: %s", command->id, kw_err_name(error->code),
                kw_effect_name(error->effect), error->text);
    } else {
        sim_say("ends %u: %s", command->id,
                kw_reply_is_error(reply) ? kw_reply_str(reply, NULL) : "a reply");
    }
}

void sim_result_check_time(const sim_command *command, uint64_t begin_ns, uint64_t timeout_ms)
{
    uint64_t limit_ms = limit_ms_of(command, timeout_ms);
    /* Without resolver=thread nothing bounds a look-up: it is the caller's own wait (keyway(7)). */
    bool waits_for_names = C.plan->has_names && !C.plan->has_thread;
    uint64_t work_ns = C.plan->mix.block_ns > 0 ? WORK_NS : 0;
    uint64_t granted_ns = GRAIN_NS + work_ns + (waits_for_names ? sim_names_waited_ns() : 0);
    uint64_t took_ns = sim_now() - begin_ns;
    if (C.is_closing && (C.has_loop[0] || C.has_loop[1])) {
        return; /* the host's loop has stopped, and with it all time of callbacks */
    }
    if (took_ns > limit_ms * SIM_MS + granted_ns) {
        sim_fail("command %u took %lu us; its deadline was %lu ms", command->id,
                 (unsigned long)(took_ns / SIM_US), (unsigned long)limit_ms);
    }
}
