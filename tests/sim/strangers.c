/* SPDX-License-Identifier: BSD-3-Clause */
/* A sentinel's address that is somebody else's: a sentinel of another installation, which knows a
 * group of the same name, a plain server, one that is silent, one that speaks something else. And
 * the primary of that other installation, which nobody is to be led to. */
#include "sim/callers.h"
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* Sentinels of the group are given 300 ms for an answer: farther ones are no witnesses. */
#define WITNESS_NS (60 * SIM_MS)

void sim_strangers_begin(void)
{
    W.foreign = sim_plan_has(W.plan, SIM_STRANGER) ? sim_server_add()->number : SIM_NO_SERVER;
    if (W.foreign != SIM_NO_SERVER) {
        W.servers[W.foreign].replid = 2 * SIM_SERVERS + SIM_RUNS;
    }
}

void sim_stranger_come(sim_server *server, uint64_t value)
{
    static const sim_stranger kinds[] = {SIM_FOREIGN_SENTINEL, SIM_FOREIGN_SENTINEL,
                                         SIM_PLAIN_SERVER, SIM_SILENT, SIM_GARBLED};
    if (!sim_server_is_sentinel(server)) {
        return;
    }
    W.is_unknown = W.is_unknown || !sim_the_crew.has_map;
    sim_server_kill(server);
    server->stranger = kinds[value % 5];
    sim_say("server %u is a stranger now, of kind %u", server->number, (unsigned)server->stranger);
    sim_server_start(server);
}

void sim_stranger_leave(sim_server *server)
{
    if (server->stranger != SIM_NO_STRANGER) {
        sim_server_kill(server);
        server->stranger = SIM_NO_STRANGER;
        sim_server_start(server);
    }
}

/* What keeps every sentinel from telling of the group, or gives its data another history. */
static bool is_of_all(sim_fault_kind kind)
{
    return kind == SIM_NUMBERS || kind == SIM_NAMES_AWAY || kind == SIM_MEMORY ||
           kind == SIM_TRICKLE || kind == SIM_FORGET || kind == SIM_REBORN;
}

/* The data's history changes: who has missed one of two such changes does not know it. */
static bool changes_history(sim_fault_kind kind)
{
    return kind == SIM_FAILOVER || kind == SIM_APART || kind == SIM_STOP || kind == SIM_KILL;
}

/* A sentinel that nothing has happened to leads to what was known, or to nobody. Whoever knew
 * nothing before the strangers came goes by any of those that the settings name; so
 * does a forked child, whose handle is opened anew. */
bool sim_strangers_have_a_witness(void)
{
    const sim_plan *plan = W.plan;
    bool has_witness[SIM_SERVERS] = {false};
    unsigned changes_n = 0;
    for (unsigned i = W.sentinels_from; i < W.sentinels_end; i++) {
        has_witness[i] = plan->latency_ns <= WITNESS_NS && !plan->has_names && !W.is_unknown &&
                         !sim_system_is_child();
    }
    for (unsigned i = 0; i < plan->faults_n; i++) {
        const sim_fault *fault = &plan->faults[i];
        if (fault->is_off || fault->kind == SIM_NO_FAULT) {
            continue;
        }
        changes_n += changes_history(fault->kind) ? 1 : 0;
        if (is_of_all(fault->kind) || changes_n > 1) {
            return false;
        }
        unsigned target = fault->kind == SIM_STRANGER ? sim_stranger_of(fault->target)
                                                      : fault->target % W.servers_n;
        has_witness[target] = false;
    }
    bool has_one = false;
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        has_one = has_one || has_witness[i];
    }
    return has_one;
}

unsigned sim_stranger_of(unsigned target)
{
    return W.sentinels_from + target % (W.sentinels_end - W.sentinels_from);
}

void sim_strangers_check(const sim_server *server, unsigned id)
{
    if (server->number == W.foreign && sim_strangers_have_a_witness()) {
        sim_fail("command %u is run by a server of another group, though a sentinel leads to the "
                 "right one",
                 id);
    }
}

void sim_strangers_heal(void)
{
    bool stay = W.foreign != SIM_NO_SERVER && sim_strangers_have_a_witness();
    for (unsigned i = W.sentinels_from; i < W.sentinels_end && !stay; i++) {
        sim_stranger_leave(&W.servers[i]);
    }
    if (W.foreign != SIM_NO_SERVER && !stay) {
        sim_server_kill(&W.servers[W.foreign]);
        W.servers[W.foreign].is_gone = true;
    }
}

bool sim_stranger_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    bool asks = sim_word_is(&argv[0], "SENTINEL") || sim_word_is(&argv[0], "PSUBSCRIBE");
    switch (peer->server->stranger) {
    case SIM_NO_STRANGER:
    case SIM_FOREIGN_SENTINEL:
        return false;
    case SIM_PLAIN_SERVER:
        if (asks) {
            sim_peer_say(peer, "-ERR unknown command '%.*s'\r\n", (int)argv[0].len, argv[0].data);
        }
        return asks;
    case SIM_SILENT:
        return true;
    case SIM_GARBLED:
        sim_peer_say(peer, "HTTP/1.1 400 Bad Request\r\n");
        return true;
    }
    (void)argc;
    return false;
}
