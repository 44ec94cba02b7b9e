/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines: which version of a key that is kept near each server has had, and since when; who has the
 * one that counts, while slots move and primaries change. */
#include "sim/leases.h"

#include <string.h>

#define W sim_the_world

/* One version at one server. */
typedef struct turn {
    uint64_t from_ns;
    unsigned version; /* SIM_NEAR_NONE: there is no value */
    unsigned number;  /* of the write that made it so */
} turn;

static struct {
    turn turns[SIM_SERVERS][SIM_NEAR_KEYS][SIM_NEAR_VERSIONS];
    unsigned turns_n[SIM_SERVERS][SIM_NEAR_KEYS];
    unsigned numbers[SIM_NEAR_KEYS]; /* of the last write */
    unsigned homes[SIM_NEAR_KEYS];
    unsigned lost[SIM_NEAR_KEYS]; /* writes up to this one may be gone */
} lines;

static const turn *last_of(unsigned server, unsigned key)
{
    static const turn none = {0, SIM_NEAR_NONE, 0};
    unsigned n = lines.turns_n[server][key];
    return n > 0 ? &lines.turns[server][key][n - 1] : &none;
}

static bool add(unsigned server, unsigned key, unsigned version, unsigned number)
{
    unsigned *n = &lines.turns_n[server][key];
    if (*n == SIM_NEAR_VERSIONS) {
        return false;
    }
    lines.turns[server][key][(*n)++] = (turn){sim_now(), version, number};
    return true;
}

/* All begin alike: a cluster's keys where their slots are, others' everywhere. */
void sim_near_begin_lines(void)
{
    memset(lines.turns_n, 0, sizeof(lines.turns_n));
    memset(lines.numbers, 0, sizeof(lines.numbers));
    memset(lines.lost, 0, sizeof(lines.lost));
    for (unsigned key = 0; key < SIM_NEAR_KEYS; key++) {
        bool has_slots = W.plan->kind == SIM_CLUSTER;
        lines.homes[key] = has_slots ? sim_cluster_first_owner(W.plan, W.key_slots[key]) : 0;
        for (unsigned i = 0; i < W.servers_n; i++) {
            if (!has_slots || i == lines.homes[key]) {
                (void)add(i, key, 0, 0);
            }
        }
    }
}

sim_server *sim_near_home(unsigned key)
{
    return &W.servers[lines.homes[key]];
}

unsigned sim_near_at(const sim_server *server, unsigned key)
{
    return last_of(server->number, key)->version;
}

bool sim_near_is_lost(unsigned key, unsigned version)
{
    return version <= lines.lost[key];
}

unsigned sim_near_put(const sim_server *server, unsigned key, bool is_gone)
{
    unsigned number = lines.numbers[key] + 1;
    unsigned version = is_gone ? SIM_NEAR_NONE : number;
    if (number == SIM_NEAR_VERSIONS || !add(server->number, key, version, number)) {
        return 0;
    }
    lines.numbers[key] = number;
    if (W.plan->kind != SIM_RING && server->number != lines.homes[key]) {
        lines.lost[key] = number;
    }
    return number;
}

bool sim_near_was(unsigned server, unsigned key, unsigned version, uint64_t from_ns)
{
    const turn *turns = lines.turns[server][key];
    unsigned n = lines.turns_n[server][key];
    if (n == 0) {
        return version == SIM_NEAR_NONE;
    }
    for (unsigned i = n; i-- > 0;) {
        if (turns[i].version == version) {
            return true;
        }
        if (turns[i].from_ns <= from_ns) {
            return false; /* what was before was over */
        }
    }
    return version == SIM_NEAR_NONE; /* before the first one there was none */
}

static bool has_keys(void)
{
    return W.plan->nears_n > 0 || W.plan->loads_n > 0;
}

/* The key's data is the other server's from now on. */
static void hand_over(unsigned key, const sim_server *to)
{
    const turn *last = last_of(lines.homes[key], key);
    if (lines.homes[key] == to->number) {
        return;
    }
    sim_leases_hand_over(key, sim_near_home(key), to);
    lines.lost[key] = last->number < lines.numbers[key] ? lines.numbers[key] : lines.lost[key];
    lines.homes[key] = to->number;
    sim_say("the key n%u is server %u's, with version %u", key, to->number, last->version);
    if (!add(to->number, key, last->version, last->number)) {
        sim_fail("a key goes from server to server too often");
    }
    sim_near_tell_of(to, key); /* who has read it there long ago */
}

/* Who is still, or cut off from the others, has not heard of it. */
static bool may_tell(const sim_server *server)
{
    return server->is_there && !server->is_stopped && !server->is_apart;
}

void sim_near_take(const sim_server *server, const sim_unit *unit, bool tells)
{
    for (unsigned key = 0; has_keys() && key < SIM_NEAR_KEYS; key++) {
        const sim_server *before = sim_near_home(key);
        bool goes =
            W.key_slots[key] >= unit->first && W.key_slots[key] <= unit->last && before != server;
        if (goes) {
            hand_over(key, server);
        }
        if (goes && tells && may_tell(before)) { /* DEL behind MIGRATE */
            (void)add(before->number, key, SIM_NEAR_NONE, last_of(before->number, key)->number);
            sim_near_tell_of(before, key);
            sim_leases_drop(key, before);
        }
    }
}

void sim_near_inherit(const sim_server *server, unsigned from)
{
    for (unsigned key = 0; has_keys() && key < SIM_NEAR_KEYS; key++) {
        if (lines.homes[key] == from) {
            hand_over(key, server);
        }
    }
}

/* It has the data of its primary from now on, and nothing of its own: who has read of that is told.
 */
void sim_near_follow(const sim_server *server)
{
    for (unsigned key = 0; has_keys() && key < SIM_NEAR_KEYS; key++) {
        const turn *last = last_of(server->primary, key);
        (void)add(server->number, key, last->version, last->number);
        sim_leases_copy(key, &W.servers[server->primary], server);
    }
    sim_near_tell(server, SIM_NEAR_ALL, "*-1\r\n");
}

void sim_near_replicate(const sim_server *primary, unsigned key)
{
    const turn *last = last_of(primary->number, key);
    for (unsigned i = 0; W.plan->kind == SIM_SENTINEL && i < W.servers_n; i++) {
        const sim_server *server = &W.servers[i];
        bool hears = server->primary == primary->number && server != primary && may_tell(server);
        if (hears && !sim_server_is_sentinel(server)) {
            (void)add(i, key, last->version, last->number);
            sim_near_tell_of(server, key);
        }
    }
}
